"""Training rows that stay on a disk: brought to the device a chunk ahead, in the order they would have there."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from vae_jax.data import splits as views
from vae_jax.data.arrays import BINARIZATIONS, rows
from vae_jax.data.raw import one_line, permutation
from vae_jax.data.splits import Data, Split
from vae_jax.errors import ENVIRONMENT, Fault

_BLOCK = 2**25  # bytes that a check reads at a time


@dataclasses.dataclass(frozen=True, eq=False)
class Picked:
    """Some rows of a source, in the order given, read when they are asked for."""

    source: Any
    numbers: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.numbers), *self.source.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        return self.source.dtype

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self.source[self.numbers[rows]])


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """Image files of one size as rows u8 [h, w, 1 or 3], decoded by grain's threads when they are asked for."""

    files: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype = dataclasses.field(default=np.dtype(np.uint8))

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        import grain

        chosen = [self.files[i] for i in rows]
        options = grain.ReadOptions(num_threads=8, prefetch_buffer_size=256)
        decoded = grain.MapDataset.source(chosen).map(self._pixels).to_iter_dataset(options)
        return np.stack(list(decoded)) if chosen else np.zeros((0, *self.shape[1:]), np.uint8)

    def _pixels(self, file: str) -> np.ndarray:
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(file) as image:
                found = np.asarray(image.convert('L' if self.shape[-1] == 1 else 'RGB'))
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise Fault(
                f'{file} is no readable image ({one_line(error)})', 'remove or replace it', ENVIRONMENT
            ) from error
        found = found if found.ndim == 3 else found[..., None]
        if found.shape != self.shape[1:]:
            seen = f'{file} is {found.shape[1]}x{found.shape[0]}, the first {self.shape[2]}x{self.shape[1]}'
            raise Fault(seen, 'resize all images to one size', ENVIRONMENT)
        return found


def images(files: Sequence[str | os.PathLike]) -> Images:
    """A source of image files; grey where the first is. Raises Fault where grain is not installed, or on no files."""
    try:
        import grain  # noqa: F401
    except ImportError as error:
        fix = "pip install 'vae_jax[grain]', or use --rows device"
        raise Fault('decoding images as they are needed takes grain', fix, ENVIRONMENT) from error
    if not files:
        raise Fault('there are no images', 'give at least one file', ENVIRONMENT)
    from PIL import Image

    with Image.open(files[0]) as image:
        (w, h), channels = image.size, 1 if image.mode in ('1', 'L', 'LA') else 3
    return Images(tuple(map(str, files)), (len(files), h, w, channels))


def streamed(
    name: str,
    x: Any,
    label: Any = None,
    *,
    levels: int | None = 256,
    binarization: str = 'none',
    validation: int | None = None,
    test: int | None = None,
) -> Data:
    """Data whose training rows stay where they are: x a memmap, or anything with shape, dtype and [rows] -> array.

    test and validation (None: a tenth, at most 10,000; 0: no validation) come from the end of a fixed permutation and
    are put on the device. Binarization is 'dynamic' or 'none': what is drawn once would be another copy of the rows.
    Raises Fault on an empty source, on values that are not finite or outside 0 .. levels - 1, on other dtypes.
    """
    if binarization not in ('none', 'dynamic'):
        raise Fault(f'{binarization} binarization changes rows that stay on disk', "use 'dynamic' or 'none'")
    if binarization == 'dynamic' and levels in (None, 2):
        raise Fault(f'{name} has no grey levels to binarize', "use binarization='none'")
    n, kind = x.shape[0], np.dtype(x.dtype)
    if kind != (np.float32 if levels is None else np.uint8) or len(x.shape) < 2:
        raise Fault(
            f'{name} holds {kind} rows of shape {tuple(x.shape)}',
            'stream u8 rows, or float32 with levels=None',
            ENVIRONMENT,
        )
    columns = rows(name, x, label)
    share = min(n // 10, 10_000)
    held, out = share if validation is None else validation, max(share, 1) if test is None else test
    if held < 0 or out < 1 or held + out >= n:
        raise Fault(f'{name} has {n} rows, of which {held} and {out} cannot be held out', 'hold out fewer', ENVIRONMENT)
    if not isinstance(x, Images):  # whose values are those of decoded pixels
        _check(name, x, levels)
    order = permutation(n)
    where = {
        'train': np.sort(order[: n - held - out]),
        'validation': np.sort(order[n - held - out : n - out]),
        'test': np.sort(order[n - out :]),
    }
    made: dict[str, Split] = {}
    for split, numbers in where.items():
        if split == 'train':
            view = views.identity() if levels is None else views.scale(levels)
            view = views.dynamic(levels) if binarization == 'dynamic' and levels is not None else view
            picked = {key: Picked(column, numbers) for key, column in columns.items()}
            made[split] = Split(picked, levels, view)
        elif len(numbers):
            here = {key: np.asarray(column[numbers]) for key, column in columns.items()}
            values, kept, view = BINARIZATIONS[binarization](here['x'], levels, split)
            made[split] = Split({key: jnp.asarray(v) for key, v in {**here, 'x': values}.items()}, kept, view)
    return Data(name, made['train'], made.get('validation'), made['test'], binarization)


def _check(name: str, x: Any, levels: int | None) -> None:
    if levels == 256:
        return  # whatever a byte holds
    for start, block in _blocks(x):
        bad = ~np.isfinite(block) if levels is None else block > levels - 1
        if bad.any():
            row = start + int(np.argwhere(bad)[0][0])
            wanted = 'finite numbers' if levels is None else f'values of 0 to {levels - 1}'
            raise Fault(f'row {row} of {name} has other than {wanted}', 'mend or remove that row', ENVIRONMENT)


def _blocks(x: Any) -> Iterator[tuple[int, np.ndarray]]:
    size = max(1, _BLOCK // max(1, int(np.prod(x.shape[1:])) * np.dtype(x.dtype).itemsize))
    for start in range(0, x.shape[0], size):
        yield start, np.asarray(x[np.arange(start, min(start + size, x.shape[0]))])


def from_disk(
    path: str | os.PathLike, *, levels: Any = ..., binarization: str = 'none', validation: int | None = None
) -> Data:
    """Streamed data from file.npy (u8 or float32 [n, ...]; labels in file.label.npy), or a folder of png, jpg images.

    Raises Fault for other files, and what `streamed` and `images` refuse.
    """
    from vae_jax.data.files import image_files

    path = Path(path).expanduser()
    if path.is_dir():
        files, label = image_files(path)
        return streamed(path.stem, images(files), label, binarization=binarization, validation=validation)
    if path.suffix != '.npy' or not path.exists():
        raise Fault(f'{path} is no .npy file and no folder of images', 'save one array with numpy.save', ENVIRONMENT)
    beside = path.with_suffix('.label.npy')
    try:
        x = np.load(path, mmap_mode='r', allow_pickle=False)
        label = np.load(beside, mmap_mode='r', allow_pickle=False) if beside.exists() else None
    except (OSError, ValueError, EOFError) as error:
        raise Fault(
            f'{path} cannot be read ({one_line(error)})', 'save a plain array with numpy.save', ENVIRONMENT
        ) from error
    known = (None if x.dtype.kind == 'f' else 256) if levels is ... else levels
    return streamed(path.stem, x, label, levels=known, binarization=binarization, validation=validation)

"""The user's own files to Data: an npz, or a folder of images."""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from vae_jax.data.arrays import Levels, from_arrays
from vae_jax.data.raw import one_line
from vae_jax.data.splits import Data
from vae_jax.errors import ENVIRONMENT, Fault, nearest

_IMAGES = {'.png', '.jpg', '.jpeg'}
_FLAT_MODES = {'1', 'L', 'P', 'RGB', 'RGBA', 'LA', 'CMYK', 'YCbCr'}


def from_path(
    path: str | os.PathLike, *, levels: Levels = ..., binarization: str = 'none', validation: int | None = None
) -> Data:
    """Data from file.npz ('x' or 'image', optional 'label', 'test_x', 'test_label') or a folder of png, jpg images.

    Subfolders of a folder are its labels, numbered in the order of their names. Splits and levels as in `from_arrays`.
    Raises Fault for missing or unreadable files, wrong keys, images of different sizes, and what `from_arrays` refuses.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise Fault(f'{path} does not exist', 'give an .npz file or a folder of png or jpg images', ENVIRONMENT)
    if path.is_dir():
        columns = _folder(path)
    elif path.suffix == '.npz':
        columns = _npz(path)
    else:
        raise Fault(f'{path} is neither an .npz file nor a folder', 'save the arrays with numpy.savez', ENVIRONMENT)
    return from_arrays(path.stem, **columns, levels=levels, binarization=binarization, validation=validation)


def _npz(path: Path) -> dict[str, Any]:
    aliases = {
        'x': 'x',
        'image': 'x',
        'label': 'label',
        'test_x': 'test_x',
        'test_image': 'test_x',
        'test_label': 'test_label',
    }
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {member.filename.removesuffix('.npy'): member.file_size for member in archive.infolist()}
        wanted = [key for key in sizes if key in aliases]
        if sum(key in ('x', 'image') for key in wanted) != 1:
            raise Fault(
                f'{path} has the keys {", ".join(sizes) or "(none)"}', "name the images 'x' or 'image'", ENVIRONMENT
            )
        for key in sizes.keys() - aliases.keys():
            if (said := nearest(key, aliases)).startswith('did'):  # other keys are other people's business
                raise Fault(f'{path} has the key {key!r}', said, ENVIRONMENT)
        _fits(path, sum(sizes[key] for key in wanted))
        with np.load(path, allow_pickle=False) as archive:
            return {aliases[key]: archive[key] for key in wanted}
    except Fault:
        raise
    except Exception as error:  # a damaged archive raises whatever its decoder happens to: zlib's, tokenize's, ...
        raise Fault(
            f'{path} cannot be read ({one_line(error)})', 'save plain arrays with numpy.savez', ENVIRONMENT
        ) from error


def _fits(path: Path, size: int) -> None:
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    if size > memory:
        found = f'{path} unpacks to {size / 2**30:.1f} GiB, this machine has {memory / 2**30:.1f}'
        raise Fault(found, 'use fewer rows, or save them with numpy.save and give --rows disk', ENVIRONMENT)


def image_files(path: Path) -> tuple[list[Path], np.ndarray | None]:
    """The images of a folder in order, and their labels where they lie in subfolders. Raises Fault on other folders."""
    loose = sorted(child for child in path.iterdir() if child.suffix.lower() in _IMAGES)
    classes = sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith('.'))
    found = [
        (file, i)
        for i, folder in enumerate(classes)
        for file in sorted(folder.rglob('*'))
        if file.suffix.lower() in _IMAGES
    ]
    if loose and found:
        raise Fault(f'{path} holds images both loose and in subfolders', 'use one or the other', ENVIRONMENT)
    if {folder.name.lower() for folder in classes} & {'train', 'test'}:
        raise Fault(
            f'the subfolders of {path} are splits, not labels', 'give the folder of one split, or an .npz', ENVIRONMENT
        )
    if not loose and not found:
        raise Fault(f'{path} holds no png or jpg images', 'check the folder', ENVIRONMENT)
    return (loose, None) if loose else ([file for file, _ in found], np.array([i for _, i in found]))


def _folder(path: Path) -> dict[str, Any]:
    files, label = image_files(path)
    return {'x': _images(files)} if label is None else {'x': _images(files), 'label': label}


def _images(files: list[Path]) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    modes, size = set(), None
    for file in files:
        try:
            with Image.open(file) as image:
                mode, this = image.mode, image.size
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise Fault(
                f'{file} is no readable image ({one_line(error)})', 'remove or replace it', ENVIRONMENT
            ) from error
        if mode not in _FLAT_MODES:
            raise Fault(f'{file} has the pixel format {mode}', 'save 8-bit images', ENVIRONMENT)
        if size is not None and this != size:
            found = f'{file} is {this[0]}x{this[1]} (width x height), {files[0].name} {size[0]}x{size[1]}'
            raise Fault(found, 'resize all images to one size', ENVIRONMENT)
        size = this
        modes.add(mode)
    target = '1' if modes == {'1'} else 'L' if modes <= {'1', 'L', 'LA'} else 'RGB'
    assert size is not None
    _fits(files[0].parent, len(files) * size[0] * size[1] * (3 if target == 'RGB' else 1))

    def pixels(file: Path) -> np.ndarray:
        try:
            with Image.open(file) as image:
                array = np.asarray(image.convert(target))
        except OSError as error:
            raise Fault(f'{file} is damaged ({one_line(error)})', 'remove or replace it', ENVIRONMENT) from error
        return array if array.ndim == 3 else array[..., None]

    return np.stack([pixels(file) for file in files])

"""A dataset made once: raw files or downloads -> tfds (array_record) -> the .npy cache, under one lock a dataset."""

import contextlib
import io
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vae_jax.data import cache, raw, tables
from vae_jax.data.catalogue import CATALOGUE, Spec, canonical
from vae_jax.data.checksums import raw_files, wanted
from vae_jax.errors import ENVIRONMENT, Fault, nearest


class Prepared(NamedTuple):
    """A dataset on disk: its name, its folder (None where nothing is to prepare), rows of each split as stored."""

    name: str
    folder: Path | None
    sizes: dict[str, int]


def prepare(name: str, source: str | os.PathLike | None = None, data_dir: str | os.PathLike | None = None) -> Prepared:
    """Makes the tfds dataset and its cache, from raw files in `source` (or `source/<dataset>`) or by download.

    What is there already is kept. Two at once wait for each other; an interrupted one leaves nothing that is believed.
    Raises Fault for an unknown name, missing files, a wrong checksum, and where there are neither files nor network.
    """
    if name in tables.TABLES:
        place, n = tables.prepare_table(name, source, data_dir)
        return Prepared(name, place, {'rows': n})
    name = canonical(name)
    spec = CATALOGUE.get(name)
    if spec is not None and spec.ready:
        return Prepared(name, None, dict(spec.sizes))
    folder, splits = arrays(name, data_dir, source)
    return Prepared(name, folder, {split: len(columns['x']) for split, columns in splits.items()})


def arrays(
    name: str, data_dir: str | os.PathLike | None = None, source: str | os.PathLike | None = None
) -> tuple[Path, raw.Splits]:
    """The folder and the rows of a dataset, prepared first where it is not. Raises as `prepare` does."""
    root, spec = cache.root(data_dir), CATALOGUE.get(name)
    if ready := _cached(root, name, spec):
        return ready
    if spec is None:
        _known(name, root)
    with cache.one_writer(root, name):
        if ready := _cached(root, name, spec):
            return ready
        with _quiet():
            made = _catalogued(spec, root, source) if spec else _other(name, root, source)
            folder, splits = Path(made.data_dir), _read(made)
        try:
            cache.write(folder, splits)
        except OSError as error:
            found = f'no cache beside {folder} ({error.strerror}): every start reads the records'
            print(f'{name}: {found}', file=sys.stderr)
    return folder, splits


def _cached(root: Path, name: str, spec: Spec | None) -> tuple[Path, raw.Splits] | None:
    folder = cache.find(root, name, spec.version if spec else '')
    if folder is None:
        return None
    try:
        return folder, cache.read(folder)
    except cache.Damaged as damage:
        print(f'{name}: the cache is damaged and is made again ({damage})', file=sys.stderr)
        return None


def _catalogued(spec: Spec, root: Path, source: str | os.PathLike | None) -> Any:
    from vae_jax.data import builders

    made = builders.builder(spec, spec.sources[0], root)
    if made.is_prepared():
        return made
    cache.writable(root)
    if source is None:
        offered = next((kind for kind in spec.sources if kind.urls), None)
        if offered is None:
            raise Fault(f'{spec.name} is not in {root} and nobody offers its files', _fix(spec, root), ENVIRONMENT)
        made = builders.builder(spec, offered, root)
        _online(spec.name, builders.missing_downloads(made, root, offered.urls.values()), root, _fix(spec, root))
        return _run(made, spec.name, _fix(spec, root))
    kind, files = raw_files(spec, Path(source).expanduser())
    with cache.scratch(root, spec.name) as folder:
        if kind.unpack:
            files = kind.unpack(files, folder)
            kind = next(other for other in spec.sources if set(other.files) == set(files))
        made = builders.builder(spec, kind, root, files)
        return _run(made, spec.name, _fix(spec, root), manual_dir=next(iter(files.values())).parent)


def _fix(spec: Spec, root: Path) -> str:
    command = f'python -m vae_jax prepare {spec.name} --from DIR --data-dir {shlex.quote(str(root))}'
    return f'{command}, where DIR holds {wanted(spec)}'


def _known(name: str, root: Path) -> None:
    import tensorflow_datasets as tfds

    base = name.partition(':')[0].partition('/')[0]
    known = tfds.list_builders(with_community_datasets=False)
    if base not in known and not (root / base).is_dir():
        raise Fault(f'unknown dataset {name!r}', nearest(name, [*CATALOGUE, *known]))


def _other(name: str, root: Path, source: str | os.PathLike | None) -> Any:
    import tensorflow_datasets as tfds

    from vae_jax.data import builders

    try:
        made = tfds.builder(name, data_dir=str(root))
    except Exception as error:
        raise Fault(
            f'tfds cannot build {name} ({raw.one_line(error)})', 'check the name and its configuration'
        ) from error
    if made.is_prepared():
        return made
    cache.writable(root)
    fix = f'prepare it where there is a network (python -m vae_jax prepare {name}) and copy {root / made.name}'
    if source is None:
        _online(name, builders.missing_downloads(made, root, made.url_infos or {}), root, fix)
    return _run(made, name, fix, manual_dir=source)


def _online(name: str, urls: list[str], root: Path, fix: str) -> None:
    from vae_jax.data.network import unreachable

    if urls and (host := unreachable(urls)):
        raise Fault(f'{name} is not in {root} and {host} does not answer', fix, ENVIRONMENT)
    if urls:
        print(f'{name}: downloading {len(urls)} files, the first from {urls[0]}', file=sys.stderr)


def _run(made: Any, name: str, fix: str, manual_dir: str | os.PathLike | None = None) -> Any:
    import tensorflow_datasets as tfds

    if Path(made.data_dir).exists():
        found = f'{made.data_dir} exists but is no complete dataset'
        raise Fault(found, 'remove that folder and prepare again', ENVIRONMENT)
    config = tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False)
    try:
        made.download_and_prepare(download_config=config, file_format='array_record')
    except Fault:
        raise
    except Exception as error:
        if package := _missing_package(error):
            found = f"tfds's own builder of {name} needs {package} to prepare it"
            raise Fault(
                found, f'pip install {package} and prepare again (reading does without)', ENVIRONMENT
            ) from error
        raise Fault(f'{name} could not be prepared ({raw.one_line(error)})', fix, ENVIRONMENT) from error
    return made


def _missing_package(error: BaseException | None) -> str | None:
    # tfds wraps the error of a lazy import, some of them in words of its own without a module's name.
    while error is not None:
        if isinstance(error, ImportError) or 'Failed to import TensorFlow' in str(error):
            return getattr(error, 'name', None) or 'tensorflow'
        error = error.__cause__ or error.__context__
    return None


def _read(made: Any) -> raw.Splits:
    from vae_jax.data import builders

    try:
        return builders.arrays(made)
    except Fault:
        raise
    except NotImplementedError as error:
        found = f'{made.data_dir} is not stored as array_record'
        raise Fault(found, 'prepare it again in another --data-dir', ENVIRONMENT) from error
    except Exception as error:
        found = f'{made.data_dir} cannot be read ({raw.one_line(error)})'
        raise Fault(found, 'remove that folder and prepare again', ENVIRONMENT) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # Standard output belongs to the result's JSON; tfds prints there, draws several bars, and advises OpenCV.
    import tensorflow_datasets as tfds
    from absl import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()
        logging.set_verbosity(before)

"""The uint8 .npy files beside a prepared tfds dataset: <data_dir>/<name>/<version>/arrays/. Reading them needs no tfds.

They appear by one rename, lie inside the dataset's own folder so that deleting or rebuilding it takes them along, and
carry a SHA-256 that every reading checks.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vae_jax.data.raw import Splits
from vae_jax.errors import ENVIRONMENT, Fault

_FORMAT = 1
_FOLDER, _INDEX = 'arrays', 'arrays.json'


class Damaged(Exception):
    """A cache that is not what its index says; it can be made again from the dataset beside it."""


def root(data_dir: str | os.PathLike | None) -> Path:
    """Where datasets live: data_dir, else $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    return Path(data_dir or os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets').expanduser()


def find(data_dir: Path, name: str, version: str = '') -> Path | None:
    """The folder of the newest version of `name` ('name', 'name/config', either with ':1.2.3') whose cache exists."""
    name, _, asked = name.partition(':')
    exact = version or asked
    indices = (data_dir / name).glob(f'{exact or "*.*.*"}/{_FOLDER}/{_INDEX}')
    versions = {_version(index.parent.parent): index.parent.parent for index in indices}
    return versions[max(versions)] if versions else None


def _version(folder: Path) -> tuple[int, ...]:
    parts = folder.name.split('.')
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else ()


def _digest(values: np.ndarray) -> str:
    return hashlib.sha256(values.reshape(-1).view(np.uint8).data).hexdigest()


def write(folder: Path, splits: Splits) -> None:
    """Writes the arrays of every split beside the dataset in `folder`, replacing what is there. Raises OSError."""
    fresh = Path(tempfile.mkdtemp(prefix=f'{_FOLDER}.incomplete-', dir=folder))
    try:
        index: dict = {'format': _FORMAT, 'splits': {}}
        for split, columns in splits.items():
            entries = index['splits'][split] = {}
            for column, values in columns.items():
                values = np.ascontiguousarray(values)
                file = f'{split}.{column}.npy'
                with open(fresh / file, 'wb') as out:
                    np.save(out, values, allow_pickle=False)
                    out.flush()
                    os.fsync(out.fileno())
                entries[column] = {
                    'file': file,
                    'shape': values.shape,
                    'dtype': values.dtype.name,
                    'sha256': _digest(values),
                }
        (fresh / _INDEX).write_text(json.dumps(index, indent=1))
        fresh.chmod(0o775)
        if (folder / _FOLDER).exists():
            os.rename(folder / _FOLDER, tempfile.mkdtemp(prefix=f'{_FOLDER}.incomplete-', dir=folder) + '/old')
        os.rename(fresh, folder / _FOLDER)
    finally:
        for left in folder.glob(f'{_FOLDER}.incomplete-*'):
            shutil.rmtree(left, ignore_errors=True)


def read(folder: Path) -> Splits:
    """The arrays of every split; raises Damaged where anything differs from the index."""
    place = folder / _FOLDER
    try:
        index = json.loads((place / _INDEX).read_text())
        if index['format'] != _FORMAT:
            raise Damaged(f'{place} has format {index["format"]}')
        return {
            split: {column: _array(place, entry) for column, entry in columns.items()}
            for split, columns in index['splits'].items()
        }
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise Damaged(f'{place}: {error}') from error


def _array(place: Path, entry: dict) -> np.ndarray:
    path = place / Path(entry['file']).name
    mapped = np.load(path, mmap_mode='r', allow_pickle=False)
    if list(mapped.shape) != entry['shape'] or mapped.dtype.name != entry['dtype']:
        raise Damaged(f'{path} holds {mapped.dtype} {mapped.shape}')
    values = np.array(mapped)
    if _digest(values) != entry['sha256']:
        raise Damaged(f'{path} does not have the SHA-256 of its index')
    return values


def writable(data_dir: Path) -> None:
    """Makes data_dir; raises Fault where it cannot be made or written."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=data_dir).close()
    except OSError as error:
        raise Fault(
            f'{data_dir} cannot be written ({error.strerror})', 'choose another --data-dir', ENVIRONMENT
        ) from error


def _own(data_dir: Path, name: str, kind: str) -> Path:
    return data_dir / '.vae_jax' / f'{name.replace("/", ".").replace(":", ".")}.{kind}'


@contextlib.contextmanager
def one_writer(data_dir: Path, name: str) -> Iterator[None]:
    """Holds the dataset's lock, freed with the process. Where nothing can be written, nothing is held."""
    path = _own(data_dir, name, 'lock')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open('a')
    except OSError:
        yield
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print(f'{name}: waiting for another process that prepares it', file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def scratch(data_dir: Path, name: str) -> Iterator[Path]:
    """An empty folder for the holder of the lock; what a killed one left there goes first."""
    folder = _own(data_dir, name, 'scratch')
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)

"""Files that survive a kill: whole or not there, of strict JSON; lines are acknowledged once they are on the disk."""

import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vae_jax.errors import ENVIRONMENT, Fault

__all__ = ['append', 'dumps', 'first_line', 'loads', 'read_json', 'read_metrics', 'replacing', 'sync', 'sync_tree']
__all__ += ['truncate', 'write_json']
_NOT_FINITE = {'nan': math.nan, 'inf': math.inf, '-inf': -math.inf}
TEMPORARY = '.tmp-'


def dumps(value: Any) -> str:
    """One line of strict JSON. Floats read back exactly; what is not finite becomes 'nan', 'inf' or '-inf'.

    Takes dicts, NamedTuples, dataclasses, lists, tuples, paths, and numpy or jax scalars and arrays. Raises TypeError
    for anything else, and for a key that is not a string.
    """
    return json.dumps(_plain(value), allow_nan=False)


def loads(text: str | bytes) -> Any:
    """What `dumps` wrote, 'nan', 'inf' and '-inf' as floats again. Raises ValueError where it is not strict JSON."""

    def refuse(word: str) -> None:
        raise ValueError(f'{word} is not JSON')

    return _with_floats(json.loads(text, parse_constant=refuse))


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """The whole file or none of it, by rename, and on the disk. Raises Fault (code 3) where it cannot be written."""
    text = dumps(value)
    with replacing(path) as temporary:
        temporary.write_text(text + '\n', encoding='utf-8')


def read_json(path: str | os.PathLike[str]) -> Any:
    """What `write_json` wrote. Raises Fault (code 3) where it is no JSON or cannot be read."""
    try:
        return loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise Fault(f'cannot read {path}: {first_line(error)}', 'restore a copy of the file', ENVIRONMENT) from error


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives the name of a file to write; on leaving without an error it is on the disk and takes the name `path`."""
    path = Path(path)
    temporary = path.with_name(f'{TEMPORARY}{os.getpid()}-{path.name}')
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        raise Fault(
            f'cannot write {path}: {first_line(error)}', 'make room, or give another --out', ENVIRONMENT
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def append(path: str | os.PathLike[str], values: Iterable[Any]) -> int:
    """Adds one line of JSON for each value and returns the size in bytes, once all is on the disk.

    A last line without its end, which a killed writer left, goes. Raises Fault (code 3) where it cannot be written.
    """
    lines = ''.join(dumps(value) + '\n' for value in values).encode()
    try:
        is_new = not os.path.exists(path)
        with open(path, 'ab+') as file:
            file.truncate(_end_of_lines(file))
            file.seek(0, os.SEEK_END)
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        if is_new:
            sync(Path(path).parent)
    except OSError as error:
        raise Fault(
            f'cannot write {path}: {first_line(error)}', 'make room, or give another --out', ENVIRONMENT
        ) from error
    return size


def _end_of_lines(file: Any) -> int:
    """The offset behind the last newline."""
    at = file.seek(0, os.SEEK_END)
    while at:
        start = max(0, at - 4096)
        file.seek(start)
        if (found := file.read(at - start).rfind(b'\n')) >= 0:
            return start + found + 1
        at = start
    return 0


def truncate(path: str | os.PathLike[str], offset: int) -> None:
    """Cuts the file to `offset` bytes, on the disk. Raises Fault (code 3) where it has fewer: lines were lost."""
    size = os.path.getsize(path) if os.path.exists(path) else 0
    if size < offset:
        what = f'{path} has {size} bytes, the checkpoint was saved at {offset}'
        raise Fault(what, 'restore a copy of the file, or start the run again with --fresh', ENVIRONMENT)
    if size > offset:
        try:
            os.truncate(path, offset)
            sync(path)
        except OSError as error:
            raise Fault(f'cannot write {path}: {first_line(error)}', 'make it writable', ENVIRONMENT) from error


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The objects of a file of lines; none where there is no file. A last line without its end is left out.

    Raises Fault (code 3) naming the first line that is not a JSON object.
    """
    if not os.path.exists(path):
        return []
    rows = []
    for number, line in enumerate(Path(path).read_bytes().split(b'\n')[:-1], 1):
        try:
            row = loads(line)
            if not isinstance(row, dict):
                raise ValueError('not an object')
        except (ValueError, RecursionError) as error:
            what = f'line {number} of {path} is not a JSON object: {first_line(error)}'
            raise Fault(what, 'restore a copy of the file, or remove that line', ENVIRONMENT) from error
        rows.append(row)
    return rows


def first_line(error: BaseException) -> str:
    """The first line of an error's text, in 300 characters; its type where it has no text."""
    return (str(error).strip().splitlines() or [''])[0][:300] or type(error).__name__


def sync_tree(path: Path) -> None:
    """Returns once all that is in a folder is on the disk; its own name is not, before its parent's sync."""
    for folder, _, files in os.walk(path, topdown=False):
        for name in (*files, ''):
            sync(os.path.join(folder, name))


def sync(path: str | os.PathLike[str]) -> None:
    """Returns once a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | float) and not hasattr(value, 'dtype'):
        return value if math.isfinite(value) else str(float(value))
    if hasattr(value, 'dtype') and hasattr(value, 'tolist'):
        return _plain(value.astype('float32').tolist() if value.dtype.kind == 'V' else value.tolist())
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f'{key!r} is no name of a JSON field: names are strings')
        return {key: _plain(item) for key, item in value.items()}
    if hasattr(value, '_asdict'):
        return _plain(value._asdict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f'{type(value).__name__} has no JSON: give numbers, strings, lists, dicts or arrays')


def _with_floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_floats(item) for item in value]
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value

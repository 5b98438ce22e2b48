"""Making, holding and finishing a run directory. Nothing that is there is ever overwritten."""

import contextlib
import datetime
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vae_jax.errors import ENVIRONMENT, Fault
from vae_jax.files import TEMPORARY, dumps, first_line, loads, read_json, replacing, write_json
from vae_jax.runs import manifest
from vae_jax.runs.environment import FORMAT, environment, flat, say_differences, software

__all__ = ['Directory', 'finished', 'opened', 'record', 'save_examples']
_LOCK = '.lock'


class Directory(NamedTuple):
    """A run directory that is held, with the result where the run is finished."""

    path: Path
    result: dict[str, Any] | None = None

    @property
    def metrics(self) -> Path:
        return self.path / 'metrics.jsonl'

    @property
    def last(self) -> Path:
        return self.path / 'checkpoints' / 'last'

    @property
    def best(self) -> Path:
        return self.path / 'checkpoints' / 'best'

    def save_examples(self, arrays: Mapping[str, Any]) -> Path:
        return save_examples(self.path, **arrays)

    def record(self, result: Mapping[str, Any], data: str | None = None) -> Path:
        return record(self.path, result, data)


@contextlib.contextmanager
def opened(
    path: str | os.PathLike[str], config: Any, fresh: bool = False, extra: Mapping[str, Any] | None = None
) -> Iterator[Directory]:
    """A new or unfinished run, held against other writers until the block ends; or a finished one, with its result.

    `config` says which run this is and is compared with what is there; `extra` (`build`, `version`, the whole `config`)
    is written beside it, once, and not compared. `fresh` sets a run that is there aside as <name>.old-<n>. Raises Fault
    where the folder holds another configuration, naming each field, what was found and what was expected, or is no run
    (code 2); where another process holds it, naming that at once, or it cannot be written (code 3).
    """
    folder, identity = _checked(path), loads(dumps(config))
    if fresh and (folder / 'config.json').exists():
        with held(folder):
            _set_aside(folder)
    result = finished(folder, identity)
    if result is not None:
        stored = read_json(folder / 'config.json')
        say_differences(folder, stored, software(stored.get('build')))
        yield Directory(folder, result)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Fault(f'cannot make {folder}: {first_line(error)}', 'give another --out', ENVIRONMENT) from error
    with held(folder):
        if (folder / 'config.json').exists():
            stored = _same(folder, identity)
            say_differences(folder, stored, environment(stored.get('build')))
        else:
            extra = loads(dumps(extra or {}))
            made = {'format': FORMAT, 'started': _now(), 'cwd': os.getcwd()}  # `load` finds relative paths from there
            made['environment'] = environment(extra.get('build'))
            write_json(folder / 'config.json', {'config': identity, **extra, 'identity': identity, **made})
        yield Directory(folder, finished(folder))


def finished(path: str | os.PathLike[str], config: Any = None) -> dict[str, Any] | None:
    """The result of a run that is done, else None. Raises Fault where it is damaged or of another `config`."""
    folder = Path(path)
    if not (folder / 'result.json').exists():
        return None
    if config is not None:
        _same(folder, loads(dumps(config)))
    return read_json(folder / 'result.json')


def record(path: str | os.PathLike[str], result: Mapping[str, Any], data: str | None = None) -> Path:
    """Writes result.json, the last act of a run: from then on it is done. Raises Fault where there is one already.

    `data`, the fingerprint of what it was trained on, goes to manifest.json with the SHA-256 of each file.
    """
    file = Path(path) / 'result.json'
    if file.exists():
        raise Fault(f'{file} is there already', 'a result never changes: give another --out, or --fresh')
    content = (dumps(result) + '\n').encode()
    manifest.write(file.parent, content, data)
    with replacing(file) as temporary:
        temporary.write_bytes(content)
    return file


def save_examples(path: str | os.PathLike[str], **arrays: Any) -> Path:
    """Writes evaluation.npz of a run, whole or not at all, and the same bytes for the same values: one row an example.

    Adds `index` [n] where it is not given. Raises ValueError where lengths differ or there are no numbers.
    """
    import numpy as np

    values = {name: np.asarray(value) for name, value in arrays.items()}
    values = {name: v.astype(np.float32) if v.dtype.kind == 'V' else v for name, v in values.items()}
    kinds = {name: f'{v.dtype}{list(v.shape)}' for name, v in values.items()}
    rows = {v.shape[0] if v.shape else None for v in values.values()}
    if len(rows) != 1 or None in rows or any(v.dtype.kind not in 'biuf' for v in values.values()):
        raise ValueError(f'every array needs a row of numbers for each example: {kinds}')
    file = Path(path) / 'evaluation.npz'
    with replacing(file) as temporary, open(temporary, 'wb') as stream:
        np.savez(stream, **({'index': np.arange(*rows)} | values))  # type: ignore[arg-type]
    return file


def _checked(path: str | os.PathLike[str]) -> Path:
    text = os.fspath(path)
    if not text.strip() or not text.isprintable():
        raise Fault(f'the run directory is {text!r}', 'give --out a name of letters that can be printed')
    folder = Path(text).expanduser()
    try:
        entries = {entry for entry in os.listdir(folder) if entry != _LOCK and not entry.startswith(TEMPORARY)}
    except FileNotFoundError:
        return folder
    except OSError as error:
        raise Fault(f'cannot use {folder}: {first_line(error)}', 'give another --out', ENVIRONMENT) from error
    if entries and 'config.json' not in entries:
        raise Fault(
            f'{folder} is not empty and no run: it has {min(entries)!r} and no config.json', 'give another --out'
        )
    return folder


def _same(folder: Path, identity: Any) -> dict[str, Any]:
    """config.json, where it is of this identity."""
    stored = read_json(folder / 'config.json')
    if not isinstance(stored, dict) or 'identity' not in stored or stored.get('format') != FORMAT:
        raise Fault(f'{folder / "config.json"} is not of a run of format {FORMAT}', 'give another --out')
    found, expected = flat(stored['identity']), flat(identity)
    names = [name for name in {**expected, **found} if _said(found, name) != _said(expected, name)]
    if names:
        told = [f'{name} is {_said(found, name)} there, expected {_said(expected, name)}' for name in names[:3]]
        more = f'; and {len(names) - 3} more fields' if len(names) > 3 else ''
        fix = 'give another --out, or set that run aside with --fresh'
        raise Fault(f'{folder} is a run of another configuration: {"; ".join(told)}{more}', fix)
    return stored


def _said(values: Mapping[str, Any], name: str) -> str:
    return dumps(values[name]) if name in values else 'absent'


def _set_aside(folder: Path) -> None:
    n = 1
    while (old := folder.with_name(f'{folder.name}.old-{n}')).exists():
        n += 1
    os.rename(folder, old)
    print(f'note: {folder} is set aside as {old}', file=sys.stderr)


@contextlib.contextmanager
def held(folder: Path, otherwise: str = ', or give another --out') -> Iterator[None]:
    """Holds a folder against other processes. Raises Fault (code 3) where one has it, or it cannot be written.

    The kernel lets go of the lock when its process ends, however it ends: none is ever stale.
    """
    lock = folder / _LOCK
    try:
        handle = _hold(lock)
        while not _is_same_file(handle, lock):  # the folder was set aside between opening and locking
            os.close(handle)
            folder.mkdir(exist_ok=True)
            handle = _hold(lock)
    except BlockingIOError:
        holder = _holder(lock)
        who = f'process {holder["pid"]} on {holder["host"]}, since {holder["started"]}' if holder else 'another process'
        raise Fault(f'{folder} is in use by {who}', f'wait for it or stop it{otherwise}', ENVIRONMENT) from None
    except OSError as error:
        raise Fault(f'cannot write {folder}: {first_line(error)}', 'give another --out', ENVIRONMENT) from error
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, dumps({'pid': os.getpid(), 'host': socket.gethostname(), 'started': _now()}).encode(), 0)
        yield
    finally:
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
        os.close(handle)


def _hold(lock: Path) -> int:
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


def _is_same_file(handle: int, lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(lock))
    except FileNotFoundError:
        return False


def _holder(lock: Path) -> dict[str, Any] | None:
    """What the holder wrote, which it may be about to do."""
    for _ in range(20):
        with contextlib.suppress(OSError, ValueError):
            holder = json.loads(lock.read_text())
            if holder.keys() >= {'pid', 'host', 'started'}:
                return holder
        time.sleep(0.02)
    return None


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')

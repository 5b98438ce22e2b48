"""manifest.json of a finished run: the SHA-256 of its files and of the data that it was trained on.

It lies beside result.json and not in it, as a run that was stopped on the way has the same result as one that was not,
while the times in metrics.jsonl and config.json, and so their hashes, differ.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

from vae_jax.errors import ENVIRONMENT, Fault
from vae_jax.files import dumps, read_json, write_json

__all__ = ['changed', 'trained_on', 'write']
_MANIFEST, _FILES = 'manifest.json', ('config.json', 'metrics.jsonl', 'evaluation.npz', 'sweep.csv', 'result.json')


def write(folder: Path, result: bytes, data: str | None) -> None:
    """Writes what the files are now, `result` being what result.json will be; `data` is a fingerprint."""
    files = {name: _digest((folder / name).read_bytes()) for name in _FILES if (folder / name).is_file()}
    found = {'data': data, 'files': files | {'result.json': _digest(result)}}
    write_json(folder / _MANIFEST, {'sha256': _digest(dumps(found).encode()), 'manifest': found})


def trained_on(path: str | os.PathLike[str]) -> str | None:
    """The fingerprint of the data of a finished run; None where there is none. Raises Fault where it is damaged."""
    return _read(Path(path))['data'] if (Path(path) / _MANIFEST).exists() else None


def changed(folder: Path) -> dict[str, str]:
    """{name: problem} of the files of a finished run that are not as they were written."""
    try:
        files = _read(folder)['files']
    except Fault as fault:
        return {_MANIFEST: fault.what}
    problems = {}
    for name in _FILES:
        file = folder / name
        if name in files and not file.is_file():
            problems[name] = f'{file} is missing'
        elif file.is_file() and files.get(name) != _digest(file.read_bytes()):
            problems[name] = f'{file} has not the SHA-256 it was written with'
    return problems


def _read(folder: Path) -> dict[str, Any]:
    stored = read_json(folder / _MANIFEST)
    found = stored.get('manifest') if isinstance(stored, dict) else None
    if not isinstance(found, dict) or stored.get('sha256') != _digest(dumps(found).encode()):
        what = f'{folder / _MANIFEST} has not the SHA-256 it was written with'
        raise Fault(what, 'restore a copy of the file', ENVIRONMENT)
    return found


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

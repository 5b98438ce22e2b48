"""What verbs share: a run that is opened, a file that is written, the last line."""

from pathlib import Path
from typing import Any

from vae_jax import process
from vae_jax.errors import ENVIRONMENT, USAGE, Fault
from vae_jax.files import dumps, replacing


def loaded_run(directory: str, split: str, member: int | None = None) -> tuple[Any, Any]:
    """A run with its model and data, and the rows of a split; `member` is the number of a run of a sweep.

    Raises Fault.
    """
    path = run_directory(directory)
    process.start_jax()
    from vae_jax import runs

    loaded = runs.load(directory, run=member)
    path = path if member is None else loaded.path
    if loaded.experiment is None:
        fix = 'use vae_jax.load(run, build=your_build) from Python, in the folder of the experiment'
        raise Fault(f'the experiment of {directory} cannot be imported', fix, ENVIRONMENT)
    data = loaded.experiment.data
    if runs.trained_on(path) not in (None, data.fingerprint):
        what = f'the data {data.name} have changed: they are not those that {directory} was trained on'
        raise Fault(what, 'put back the data as they were, or train again on these with another --out', ENVIRONMENT)
    rows = getattr(data, split)
    if rows is None:
        raise Fault(f'{data.name} has no {split} split', 'choose another --split', USAGE)
    return loaded, rows


def run_directory(name: str) -> Path:
    """The path of a run. Raises Fault where it is none."""
    path = Path(name)
    if not (path / 'config.json').is_file():
        raise Fault(f'{name} is no run directory: it has no config.json', 'give the path of a run, such as runs/...')
    return path


def out_file(name: str, *suffixes: str) -> Path:
    """The path of a file to write. Raises Fault on another suffix, and where there is no such folder."""
    path = Path(name)
    if path.suffix not in suffixes:
        raise Fault(f'--out is {name!r}', f'give a file that ends in {" or ".join(suffixes)}')
    if not path.parent.is_dir():
        raise Fault(f'--out is {name!r}, and {path.parent} is no folder', f'mkdir -p {path.parent}')
    return path


def write_npz(path: Path, arrays: dict[str, Any]) -> None:
    """The whole file or none of it."""
    import numpy as np

    with replacing(path) as draft, draft.open('wb') as file:
        np.savez(file, allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()})


def say_done(path: Path, told: dict[str, Any] | None = None) -> None:
    """The last line of a verb: strict JSON with its path, as `files.dumps` has it."""
    process.say(dumps({**(told or {}), 'path': str(path)}))

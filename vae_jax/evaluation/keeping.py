"""Parts of a long evaluation, on the disk as they are made: it goes on behind them when it is started again."""

import hashlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from vae_jax.files import TEMPORARY, replacing

EVERY = 5.0  # seconds of work that a kill may cost


class Store(NamedTuple):
    """Where the parts of one evaluation are: `folder`/<first row>.npz, each the leaves of a tree in jax's order."""

    folder: Path
    structure: Any


def store(kept: str | os.PathLike[str], what: str, f: Callable[..., Any], inputs: tuple[Any, ...]) -> Store:
    """The store of f(*inputs) and no other: its name is the SHA-256 of `what`, of f's jaxpr and of all arrays in both.

    So another model, view, schedule or family is another store, and so is changed code. A part has the structure of
    what f returns.
    """
    program, like = jax.make_jaxpr(f, return_shape=True)(*inputs)
    text = re.sub(r'0x[0-9a-f]+', '', str(program.jaxpr))  # where a function lies in memory
    digest = hashlib.sha256(f'{what}|{jax.__version__}|{text}'.encode())
    for leaf in [*jax.tree.leaves(inputs), *program.consts]:
        is_key = isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        array = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
        digest.update(f'{array.dtype}{array.shape}'.encode() + array.tobytes())
    folder = Path(kept) / digest.hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return Store(folder, jax.tree.structure(like))


def read(store: Store) -> tuple[list[Any], int]:
    """The parts from row 0 on without a gap, and the row behind them. What cannot be read is not there."""
    parts: list[Any] = []
    row = 0
    while (path := store.folder / f'{row}.npz').exists():
        try:
            with path.open('rb') as stream, np.load(stream, allow_pickle=False) as file:
                leaves = [file[f'{i}'] for i in range(store.structure.num_leaves)]
                rows = int(file['rows'])
        except Exception:  # zipfile, zlib and numpy raise whatever befell them
            break
        parts.append(jax.tree.unflatten(store.structure, leaves))
        row += rows
    return parts, row


def write(store: Store, row: int, rows: int, part: Any) -> None:
    """Adds the part that begins at `row`, whole or not at all. Raises Fault (code 3) where it cannot be written."""
    named = {f'{i}': leaf for i, leaf in enumerate(jax.tree.leaves(part))}
    with replacing(store.folder / f'{row}.npz') as temporary, open(temporary, 'wb') as stream:
        np.savez(stream, rows=np.int64(rows), **named)


def forget(kept: str | os.PathLike[str]) -> None:
    """Removes what was kept, once the result of it is written. What is no part of an evaluation stays."""
    folder = Path(kept)
    for path in [*folder.glob('*/*.npz'), *folder.glob(f'*/{TEMPORARY}*')]:
        path.unlink(missing_ok=True)
    for place in [*folder.glob('*/'), folder]:
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()


class Clock(NamedTuple):
    """Rows done and when they were last written."""

    row: int
    at: float


def started(row: int) -> Clock:
    """A clock behind `row` rows, all of which are written."""
    return Clock(row, time.monotonic())


def is_due(clock: Clock) -> bool:
    """Whether what was done since is worth a file."""
    return time.monotonic() - clock.at > EVERY

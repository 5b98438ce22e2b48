"""A split in blocks of a fixed size, the last one filled up, and each row as the model sees it."""

import dataclasses
import math
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, random, vmap

from vae_jax import placement
from vae_jax.errors import NUMBERS, USAGE, Fault
from vae_jax.evaluation import keeping
from vae_jax.evaluation.checks import applied, counted, split_and_key
from vae_jax.models import Conditional, Model
from vae_jax.models.conditional import at_row

Rows = Callable[[Any, Any], Any]
ROWS = 1600  # decoder rows at a time: where two cores are fastest, and 5 MB for MNIST
CHAINED = 128  # the same of chains, which come back to their rows thousands of times


def dims_of(split: Any, model: Any = None) -> int:
    """How many numbers x has in one row; of a Conditional, the x that it finds there."""
    if not isinstance(model, Conditional):
        return math.prod(split.rows['x'].shape[1:])
    x = jax.eval_shape(lambda split, key: example(model, split, key, 0)[1], split, random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(x))


def log_cell(split: Any) -> float:
    """log of the width that one stored level has in the model's units: -log levels for dequantized data, else 0."""
    return getattr(split.view, 'log_cell', 0.0)


def at_a_time(split: Any, rows: int = 1) -> int:
    """How many examples of a split make a block, each with so many decoder rows."""
    return max(1, min(len(split), ROWS // rows))


def chained_at_a_time(split: Any, chains: int) -> int:
    """`at_a_time` of examples with so many chains each; no value depends on it."""
    # a block of chains takes minutes and what was begun of one is lost: on a CPU few rows, which stay in its caches,
    # are as fast as many, so that there is progress to see and to keep; other devices need many to be busy
    most = CHAINED if jax.default_backend() == 'cpu' else ROWS
    return max(1, min(len(split), most // chains))


def bar(total: int, quiet: bool, what: str) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, disable=quiet, file=sys.stderr, unit='image', desc=what, mininterval=0.2)


def some(split: Any, n: int) -> Any:
    """The first n rows of a split; they are seen under the keys they have in the whole of it.

    Raises Fault on n < 1 and on fewer rows than that.
    """
    if not 1 <= (n := counted('n', n, 0)) <= len(split):
        raise Fault(
            f'{n} examples were asked for, the split has {len(split)}', 'ask for 1 or more that are there', USAGE
        )
    return dataclasses.replace(split, rows={name: column[:n] for name, column in split.rows.items()})


def blocks(split: Any, size: int, quiet: bool, what: str, first: int = 0) -> Iterator[tuple[np.ndarray, int]]:
    """Row numbers i32[size] from `first` on, the last block filled with its last row, and how many of them count."""
    n = len(split)
    if n == 0:
        raise Fault('the split is empty', 'evaluate a split that has examples')
    if split.streamed:
        raise Fault('a streamed split cannot be evaluated as a whole', 'evaluate the test or the validation split')
    with bar(n, quiet, what) as progress:
        progress.update(first)
        for start in range(first, n, size):
            count = min(size, n - start)
            yield np.minimum(np.arange(start, start + size), n - 1).astype(np.int32), count
            progress.update(count)


def _block(f: Rows, way: placement.Way, members: Any, shared: Any) -> Any:
    return way.over(f)(members, shared)


@cache
def compiled_block(platform: str) -> Any:
    """`block` for one platform, as jax compiles it."""
    # XLA's CPU compiler puts decoder and likelihood into one fusion that takes half as long again as its parts
    options = {'xla_cpu_experimental_ynn_fusion_type': ''} if platform == 'cpu' else None
    return jax.jit(_block, static_argnames=('f', 'way'), compiler_options=options)


def block(f: Rows, way: placement.Way, members: Any, shared: Any) -> Any:
    """f of one model, or of each member of a population, on one block of rows."""
    return compiled_block(jax.default_backend())(f, way, members, shared)


def over(
    f: Rows, params: Any, key: Array, split: Any, size: int, quiet: bool, what: str, kept: str | Path | None = None
) -> Any:
    """f((params, key), (split, rows i32[size])) -> arrays [size, ...] over the whole split: numpy arrays [n, ...].

    Of keys [m] and params [m, ...], the members of a population, a list of m of these. What is done is stored in the
    folder `kept` every few seconds, and a second call goes on behind it where `what` and all arrays are the same.
    """
    split_and_key(split, key)
    way = placement.default() if key.ndim else placement.alone
    members, (shared,) = placement.padded((params, key), way), placement.shared((split,), way)

    def made(rows: np.ndarray) -> Any:
        with applied(split):
            return block(f, way, members, (shared, placement.shared(jnp.asarray(rows), way)))

    def cut(arrays: Any, count: int) -> Any:
        return jax.tree.map(lambda a: np.asarray(a)[:, :count] if key.ndim else np.asarray(a)[:count], arrays)

    parts: list[Any] = []
    begun, store = 0, None
    if kept is not None and len(split):
        with applied(split):
            store = keeping.store(kept, what, partial(_block, f, way), (members, (shared, jnp.zeros(size, jnp.int32))))
        parts, begun = keeping.read(store)
    clock, row, fresh = keeping.started(begun), begun, []
    for rows, count in blocks(split, size, quiet, what, begun):
        fresh.append(cut(made(rows), count))
        row += count
        if store is not None and (keeping.is_due(clock) or row == len(split)):
            keeping.write(store, clock.row, row - clock.row, _joined(fresh, key.ndim))
            parts, fresh, clock = [*parts, _joined(fresh, key.ndim)], [], keeping.started(row)
    whole = _joined([*parts, *fresh], key.ndim)
    return [jax.tree.map(lambda a, i=i: a[i], whole) for i in range(key.size)] if key.ndim else whole


def _joined(parts: list[Any], axis: int) -> Any:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves, axis), *parts)


def viewed(split: Any, key: Array, row: Array) -> tuple[Array, Array]:
    """The x of one row, and a key of its own for the model."""
    view_key, model_key = random.split(random.fold_in(key, row))
    return split.view(view_key, split.rows['x'][row]), model_key


def example(model: Model | Conditional, split: Any, key: Array, row: Any) -> tuple[Model, Any, Array]:
    """The model of one row, its x as the model sees it, and a key of its own; a Conditional's model is that given c."""
    x, model_key = viewed(split, key, row)
    columns = {name: column[row] for name, column in split.rows.items() if name != 'x'}
    return *at_row(model, {**columns, 'x': x}), model_key


@cache
def _seen_rows(model: Model | Conditional) -> Rows:
    def rows_of(member: tuple[Any, Array], shared: tuple[Any, Array]) -> Any:
        (_, key), (split, rows) = member, shared
        return vmap(lambda row: example(model, split, key, row)[1])(rows)

    return rows_of


def seen(model: Model | Conditional, split: Any, key: Array) -> Any:
    """x [n, *shape], any tree, of a whole split as the model sees it: of a Conditional what is not its condition."""
    split_and_key(split, key)
    return over(_seen_rows(model), (), key, split, at_a_time(split), True, 'x as it is seen')


def finite(values: np.ndarray, what: str, rows: Any = None) -> np.ndarray:
    """values [n], those of `rows` [n], of all by default. Raises Fault (code 4) where one is not finite."""
    if len(bad := np.flatnonzero(~np.isfinite(values))):
        first = bad[0] if rows is None else np.asarray(rows)[bad[0]]
        found = f'{what} is not finite for {len(bad)} of {len(values)} examples, the first is row {first}'
        fix = (
            'leave that row out if its x is not finite, or not what the model is made for; else the model has diverged'
        )
        raise Fault(found, fix, NUMBERS)
    return values


def view_rows(split: Any, key: Array, rows: Any) -> Array:
    """x of the given rows as the model sees them, [n, *shape]; of a streamed split too."""
    rows = np.asarray(rows)
    keys = vmap(lambda row: random.split(random.fold_in(key, row))[0])(jnp.asarray(rows))
    return vmap(split.view)(keys, jnp.asarray(split.at(rows).rows['x']))

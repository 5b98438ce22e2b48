"""Split and Data: rows as they are stored, and the view through which a model sees one of them."""

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.errors import Fault

Array = Any
View = Callable[[Array, Array], Array]


@functools.partial(jax.tree_util.register_dataclass, data_fields=['rows'], meta_fields=['levels', 'view'])
@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Rows of one split on the device; a pytree of its arrays, with `levels` and `view` static.

    rows: 'x' [n, *shape] uint8 (float32 where levels is None), often 'label' [n] int32, and any further factor [n].
    Columns that are not arrays of jax stay where they are, and training brings rows to the device a chunk ahead: numpy
    arrays and memmaps, or anything with shape, dtype and [rows i64[k]] -> array [k, ...] (`streaming`).
    levels: number of values of a stored x: 0 .. levels - 1; None for real numbers.
    view: view(key, x) -> float32 [*shape], one stored row as the model sees it.
    """

    rows: dict[str, Array]
    levels: int | None
    view: View

    def __len__(self) -> int:
        return self.rows['x'].shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return tuple(self.rows['x'].shape[1:])

    @property
    def streamed(self) -> bool:
        """Whether rows are brought to the device when they are needed."""
        return not isinstance(self.rows['x'], jax.Array | jax.ShapeDtypeStruct)

    def at(self, rows: Any) -> 'Split':
        """The split of these rows [k] alone; of a streamed one, in memory."""
        if not self.streamed:
            return dataclasses.replace(self, rows={name: column[rows] for name, column in self.rows.items()})
        order = np.argsort(rows, kind='stable')  # a disk is read forwards
        back, ordered = np.argsort(order, kind='stable'), np.asarray(rows)[order]
        columns = {name: np.asarray(column[ordered])[back] for name, column in self.rows.items()}
        return dataclasses.replace(self, rows=columns)


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """A dataset: its splits and the way it was binarized ('static', 'dynamic', 'threshold' or 'none')."""

    name: str
    train: Split
    validation: Split | None
    test: Split
    binarization: str
    stand_in: bool = False

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that exist, by name."""
        pairs = {'train': self.train, 'validation': self.validation, 'test': self.test}
        return {name: split for name, split in pairs.items() if split is not None}

    @functools.cached_property
    def example(self) -> Array:
        """The first training example as the model sees it, float32 [*shape], under a fixed key."""
        return self.train.view(jax.random.key(0), jnp.asarray(self.train.at(np.zeros(1, np.int64)).rows['x'][0]))

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of every row of every split, their levels and views, and the binarization."""
        digest = hashlib.sha256(json.dumps(['vae_jax data 1', self.binarization]).encode())
        for name, split in self.splits.items():
            for field, column in sorted(split.rows.items()):
                head = [name, split.levels, split.view.__name__, field, column.shape, str(column.dtype)]
                digest.update(json.dumps(head).encode())
                for values in _blocks(column):
                    digest.update(values.reshape(-1).view(np.uint8).data)
        return digest.hexdigest()


def _blocks(column: Any) -> Iterator[np.ndarray]:
    """The values of a column in order: at once where it is an array, some rows at a time where it may be larger."""
    if isinstance(column, jax.Array):
        yield np.ascontiguousarray(column)
        return
    size = max(1, 2**25 // max(1, math.prod(column.shape[1:]) * column.dtype.itemsize))
    for start in range(0, column.shape[0], size):
        yield np.ascontiguousarray(column[np.arange(start, min(start + size, column.shape[0]))])


def _named(name: str, view: View) -> View:
    view.__name__ = view.__qualname__ = name
    return view


# The factories below are cached because jit keys its programs by the view's identity.


@functools.cache
def scale(levels: int) -> View:
    """x / (levels - 1) in [0, 1]; the key is not used."""
    return _named(f'scale({levels})', lambda key, x: x.astype(jnp.float32) / (levels - 1))


@functools.cache
def identity() -> View:
    """x itself, for real numbers; the key is not used."""
    return _named('identity()', lambda key, x: x.astype(jnp.float32))


@functools.cache
def dynamic(levels: int) -> View:
    """Bernoulli(x / (levels - 1)) drawn anew from each key; 0 and levels - 1 are certain."""

    def view(key: Array, x: Array) -> Array:
        from vae_jax import kernels

        return kernels.binarize(key, x, levels)

    return _named(f'dynamic({levels})', view)


@functools.cache
def dequantize(levels: int) -> View:
    """(x + u) / levels in [0, 1), u ~ U[0, 1) from each key: its log-density bounds the pixels' from below.

    `view.log_cell` is the log of a cell's width in these units, which turns that density's nats into the pixels'.
    """

    def view(key: Array, x: Array) -> Array:
        # 8 bits of x and 16 of u fill float32's 24 exactly: 255 + u never rounds up to 256.
        u = jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.float32) / 65536
        return (x.astype(jnp.float32) + u) / levels

    view.log_cell = -math.log(levels)  # type: ignore[attr-defined]
    return _named(f'dequantize({levels})', view)


def dequantized(data: Data) -> Data:
    """The same rows seen through `dequantize`, in every split.

    Raises Fault where there is nothing to dequantize: real numbers, or pixels binarized at load.
    """
    if data.binarization != 'none' or data.train.levels is None:
        seen = 'real numbers' if data.train.levels is None else f'binarized ({data.binarization})'
        raise Fault(f'{data.name} cannot be dequantized: its rows are {seen}', "load it with binarization='none'")
    view = dequantize(data.train.levels)
    changed = {name: dataclasses.replace(split, view=view) for name, split in data.splits.items()}
    return Data(data.name, changed['train'], changed.get('validation'), changed['test'], 'none', data.stand_in)

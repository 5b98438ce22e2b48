"""Smaller data out of data: the first rows, the mean image."""

import dataclasses

import jax.numpy as jnp
from jax import Array

from vae_jax.data.splits import Data, Split
from vae_jax.errors import Fault


def first(data: Data, n: int) -> Data:
    """The data with at most the first n rows of each split. Raises Fault on n < 1."""
    if n < 1:
        raise Fault(f'the first {n} rows of {data.name} are none', 'ask for 1 or more')
    smaller = {
        name: dataclasses.replace(split, rows={key: column[:n] for key, column in split.rows.items()})
        for name, split in data.splits.items()
    }
    return dataclasses.replace(data, train=smaller['train'], validation=smaller.get('validation'), test=smaller['test'])


def mean(split: Split) -> Array:
    """The mean x [*shape] of the rows, stored levels scaled to [0, 1]; real numbers as they are."""
    top = 1 if split.levels is None else split.levels - 1
    return jnp.mean(split.rows['x'], 0, dtype=jnp.float32) / top

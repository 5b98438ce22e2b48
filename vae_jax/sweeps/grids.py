"""Grids in a script: hyperparameters and keys with a leading axis, ready for a population.

g = vj.grid(Hyper, beta=[0.5, 1, 2, 4], lr=[1e-3, 3e-4], seeds=5)
run = vj.fit(vj.population(trainer), data, g.hyper, g.keys, steps=5000)
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.errors import Fault, nearest


class Grid(NamedTuple):
    """hyper of arrays [n], typed keys [n], and the n points {field: value, 'seed': seed} that they are."""

    hyper: Any
    keys: Any
    points: list[dict[str, Any]]


def grid(hyper: Any, seeds: int | Sequence[int] = 1, **fields: Sequence[float]) -> Grid:
    """Every combination of the values, the last field fastest and seeds within.

    `hyper` is the NamedTuple class or a value of it, whose other fields all members share; `seeds` are 0 .. n-1, or
    those given. Raises Fault for an unknown field, an empty list or a value given twice.
    """
    base = hyper() if isinstance(hyper, type) else hyper
    numbers = list(range(seeds)) if isinstance(seeds, int) else [int(seed) for seed in seeds]
    lists: dict[str, list[float]] = {name: [float(v) for v in values] for name, values in fields.items()}
    for name in lists:
        if name not in base._fields:
            raise Fault(f'{type(base).__name__} has no field {name!r}', nearest(name, base._fields))
    checked: dict[str, Sequence[float]] = {**lists, 'seeds': numbers}
    for name, values in checked.items():
        if not values or len(set(values)) < len(values):
            raise Fault(f'{name} is {values}', 'give one or more values, each once')
    names = [*lists, 'seed']
    points: list[dict[str, Any]] = [dict(zip(names, held)) for held in itertools.product(*lists.values(), numbers)]
    column = lambda name, shared: np.array([point.get(name, shared) for point in points], np.float32)
    each = {name: column(name, shared) for name, shared in base._asdict().items()}
    return Grid(type(base)(**each), jnp.stack([jax.random.key(point['seed']) for point in points]), points)

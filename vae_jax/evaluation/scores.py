"""A mean over examples that is not in nats, with its standard error; and randomness on the host from a key of jax."""

import math
from typing import Any, NamedTuple

import numpy as np
from jax import Array, random

from vae_jax.errors import Fault


class Score(NamedTuple):
    """A mean over examples: `values` [n], one an example, in the unit of whoever made them."""

    values: np.ndarray

    @property
    def mean(self) -> float:
        return float(np.mean(self.values, dtype=np.float64))

    @property
    def se(self) -> float:
        """Standard error of the mean over examples: std / sqrt(n); nan for one example."""
        n = len(self.values)
        return float(np.std(self.values, ddof=1, dtype=np.float64) / math.sqrt(n)) if n > 1 else math.nan

    def __str__(self) -> str:
        return f'{self.mean:.4g} +- {self.se:.2g}'


def generator(key: Array) -> np.random.Generator:
    """numpy's generator seeded by the words of a key: what is drawn on the host follows from the key alone."""
    return np.random.default_rng(np.asarray(random.key_data(key)).ravel())


def matrix(values: Any, what: str, at_least: int = 1) -> np.ndarray:
    """values as float64 [n, d]. Raises Fault on another rank, on n < at_least, and where one is not finite."""
    found = np.asarray(values, np.float64)
    if found.ndim != 2 or found.shape[1] < 1:
        raise Fault(f'{what} have shape {list(found.shape)}, expected [n, d]', 'flatten each to one vector')
    if len(found) < at_least:
        raise Fault(f'{len(found)} {what}, expected {at_least} or more', 'give more of them')
    if bad := int(np.sum(~np.isfinite(found).all(1))):
        raise Fault(f'{bad} of {len(found)} {what} are not finite', 'leave them out, or look for what diverged')
    return found


def pair(a: Any, b: Any, names: tuple[str, str], at_least: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Two matrices over the same d. Raises Fault where they are not."""
    first, second = matrix(a, names[0], at_least), matrix(b, names[1], at_least)
    if first.shape[1] != second.shape[1]:
        found = f'{names[0]} have {first.shape[1]} dimensions, {names[1]} {second.shape[1]}'
        raise Fault(found, 'give vectors of one space')
    return first, second

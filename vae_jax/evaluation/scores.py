"""A mean over examples that is not in nats, with its standard error; and randomness on the host from a key of jax."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jax import Array, random

from vae_jax.errors import Fault


def mean_error(values: np.ndarray) -> float:
    """std / sqrt(n) of values [n], the standard error of their mean; nan for one."""
    n = len(values)
    return float(np.std(values, ddof=1, dtype=np.float64) / math.sqrt(n)) if n > 1 else math.nan


def share_error(values: np.ndarray) -> float:
    """`mean_error` of indicators or shares in [0, 1]; that of `share_se` where all are 0 or all are 1."""
    n, mean = len(values), float(np.mean(values, dtype=np.float64))
    return float(share_se(mean, n)) if n > 1 and mean in (0.0, 1.0) else mean_error(values)


class Score(NamedTuple):
    """A mean over examples: `values` [n], one an example, in the unit of whoever made them; `error` gives its se."""

    values: np.ndarray
    error: Callable[[np.ndarray], float] = mean_error

    @property
    def mean(self) -> float:
        return float(np.mean(self.values, dtype=np.float64))

    @property
    def se(self) -> float:
        """Standard error of the mean over examples; nan for one example."""
        return self.error(self.values)

    def __str__(self) -> str:
        return f'{self.mean:.4g} +- {self.se:.2g}'


def share_se(share: Any, n: int) -> Any:
    """sqrt(p (1 - p) / n) of shares p [...] of n examples; of 0 and 1, where that is 0, with 4 examples more.

    There p = (n share + 2) / (n + 4), of n + 4: two successes and two failures are added (Agresti & Coull 1998,
    section 3), as none seen does not say that there are none.
    """
    share = np.asarray(share, np.float64)
    sure = (share == 0) | (share == 1)
    more = np.where(sure, 4, 0)
    p = (n * share + more / 2) / (n + more)
    return np.sqrt(p * (1 - p) / (n + more))


def classes(labels: Any, n: int, what: str = 'labels') -> np.ndarray:
    """labels [n] of classes. Raises Fault on another length, and on real numbers, nan among them."""
    found = np.asarray(labels)
    if found.shape != (n,):
        raise Fault(f'{what} {list(found.shape)} of {n} codes', 'give one label a code')
    if found.dtype.kind == 'f' and (bad := int(np.sum(~(np.isfinite(found) & (found == np.rint(found)))))):
        raise Fault(f'{bad} of {n} {what} are no whole numbers', 'leave out what has no label; regress on real values')
    return found


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

"""The mean of some values with an interval that says which kind it is."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from vae_jax.errors import Fault

LEVEL = 0.95


class Interval(NamedTuple):
    """A mean of n values with its interval of a `kind`; low and high are nan where n < 2."""

    mean: float
    low: float
    high: float
    n: int
    kind: str = 't'

    @property
    def contains_zero(self) -> bool:
        """Also where there is no interval: a difference of one pair is not called one."""
        return not (self.low > 0 or self.high < 0)


def interval(values: Iterable[float], level: float = LEVEL) -> Interval:
    """mean +- t_{n-1}((1 + level) / 2) s / sqrt(n), s^2 = sum (x - mean)^2 / (n - 1) (Student 1908).

    Raises Fault on a level that is not between 0 and 1.
    """
    from scipy.special import stdtrit

    if not 0 < level < 1:
        raise Fault(f'the level is {level}, expected a share between 0 and 1', f'pass level={LEVEL}')
    found = [float(v) for v in values]
    n = len(found)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = math.fsum(found) / n
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1)
    s = math.sqrt(math.fsum((v - mean) ** 2 for v in found) / (n - 1))
    half = float(stdtrit(n - 1, (1 + level) / 2)) * s / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def places(spread: float) -> int:
    """Decimals that leave two significant figures of a spread, from 0 to 7; 2 where it is none."""
    return min(max(1 - math.floor(math.log10(spread)), 0), 7) if spread > 0 and math.isfinite(spread) else 2


def bca_interval(values: Iterable[float], level: float = LEVEL, resamples: int = 9999, seed: int = 0) -> Interval:
    """The bias-corrected and accelerated bootstrap interval of the mean (Efron 1987), by scipy.

    For skewed values, of some tens or more: of five it is too narrow, and `interval` is the better one.
    """
    return _resampled(values, level, resamples, seed, 'BCa')


def percentile_interval(
    values: Iterable[float], level: float = LEVEL, resamples: int = 9999, seed: int = 0
) -> Interval:
    """The quantiles (1 -+ level) / 2 of the means of `resamples` draws with replacement, by scipy."""
    return _resampled(values, level, resamples, seed, 'percentile')


def _resampled(values: Iterable[float], level: float, resamples: int, seed: int, method: str) -> Interval:
    import numpy as np
    from scipy.stats import bootstrap

    if resamples < 1:
        raise Fault(f'{resamples} resamples, expected 1 or more', 'pass resamples=9999')
    found = [float(v) for v in values]
    plain, kind = interval(found, level), f'{method} bootstrap'
    if plain.n < 2 or len(set(found)) == 1:  # scipy has no interval of what does not vary
        return plain._replace(kind=kind)
    drawn = bootstrap(
        (found,), np.mean, confidence_level=level, n_resamples=resamples, method=method, rng=np.random.default_rng(seed)
    ).confidence_interval
    return Interval(plain.mean, float(drawn.low), float(drawn.high), plain.n, kind)

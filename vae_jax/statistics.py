"""Means over seeds with their t intervals, and configurations compared seed by seed."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from vae_jax.errors import Fault, nearest

LEVEL = 0.95


class Interval(NamedTuple):
    """A mean of n values with its t interval; low and high are nan where n < 2."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def contains_zero(self) -> bool:
        """Also where there is no interval: a difference of one pair is not called one."""
        return not (self.low > 0 or self.high < 0)


class Summary(NamedTuple):
    """One configuration: its flags, its rows, the metric over its finished seeds, and that less the best one's.

    `lost` counts the runs that diverged. `difference` is None of the best itself and where no seed is in both.
    """

    flags: dict[str, Any]
    rows: list[Mapping[str, Any]]
    value: Interval
    lost: int
    difference: Interval | None = None


def interval(values: Iterable[float], level: float = LEVEL) -> Interval:
    """mean +- t_{n-1}((1 + level) / 2) s / sqrt(n), s^2 = sum (x - mean)^2 / (n - 1) (Student 1908)."""
    from scipy.special import stdtrit

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


def paired(ours: Mapping[Any, float], theirs: Mapping[Any, float], level: float = LEVEL) -> Interval:
    """The interval of ours - theirs over the seeds that are in both: {seed: value}."""
    return interval([ours[seed] - theirs[seed] for seed in ours if seed in theirs], level)


def compared(
    rows: Sequence[Mapping[str, Any]], flags: Sequence[str], metric: str, direction: str = 'min'
) -> list[Summary]:
    """A Summary of each combination of `flags`, the best first: by the mean of `metric` over seeds.

    Rows have the flags, `seed`, and the metric where they are finished. A configuration that lost a run comes behind
    all that did not; one that lost all comes last.
    """
    groups: dict[tuple, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[flag] for flag in flags), []).append(row)
    found = []
    for values, members in groups.items():
        held = _by_seed(members, metric)
        found.append(Summary(dict(zip(flags, values)), members, interval(held.values()), len(members) - len(held)))
    sign = -1.0 if direction == 'max' else 1.0
    found.sort(key=lambda one: (one.value.n == 0, one.lost > 0, sign * one.value.mean if one.value.n else 0.0))
    best = _by_seed(found[0].rows, metric) if found else {}
    return [
        one if i == 0 else one._replace(difference=difference if difference.n else None)
        for i, one in enumerate(found)
        for difference in [paired(_by_seed(one.rows, metric), best)]
    ]


def best(rows: Sequence[Mapping[str, Any]], metric: str = 'validation/loss', direction: str = 'min') -> dict[str, Any]:
    """The row with the lowest (or 'max': highest) finite value of a metric: of a run's metrics, or of `runs.table`.

    Raises Fault where no row has one.
    """
    finite = [row for row in rows if _is_number(row.get(metric))]
    if not finite:
        known = dict.fromkeys(name for row in rows for name in row)
        raise Fault(f'no row has a finite {metric!r}', nearest(metric, known))
    return dict((max if direction == 'max' else min)(finite, key=lambda row: row[metric]))


def _by_seed(rows: Iterable[Mapping[str, Any]], metric: str) -> dict[Any, float]:
    return {row.get('seed'): float(row[metric]) for row in rows if _is_number(row.get(metric))}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

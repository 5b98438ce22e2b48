"""Configurations of a sweep compared seed by seed, and the best row of a table."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from vae_jax.errors import Fault, nearest
from vae_jax.statistics.intervals import LEVEL, Interval, interval
from vae_jax.statistics.pairs import all_pairs


class Summary(NamedTuple):
    """One configuration: its flags, its rows, the metric over its finished seeds, and that less the best one's.

    `lost` counts the runs that diverged. `difference` is None of the best itself and where no seed is in both. `p` is
    that of its paired t test, corrected by Holm's method for all pairs of configurations; None where there is no test.
    """

    flags: dict[str, Any]
    rows: list[Mapping[str, Any]]
    value: Interval
    lost: int
    difference: Interval | None = None
    p: float | None = None

    @property
    def differs(self) -> bool:
        """Whether the difference to the best is one that seeds alone would hardly make: p at most 0.05."""
        return self.p is not None and self.p <= 1 - LEVEL


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
    tested = all_pairs([_by_seed(one.rows, metric) for one in found])
    told = found[:1]
    for i, one in enumerate(found[1:], 1):
        test, p = tested[i, 0]
        difference = test.interval if test.interval.n else None
        told.append(one._replace(difference=difference, p=None if math.isnan(p) else p))
    return told


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

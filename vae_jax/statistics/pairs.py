"""Two methods seed by seed: tests of their mean difference, and what many such tests together may say."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from vae_jax.errors import Fault
from vae_jax.statistics.intervals import LEVEL, Interval, interval

Values = Mapping[Any, float] | Sequence[float]
_EXACT = 13  # pairs whose 2^n signs are all looked at


class Difference(NamedTuple):
    """ours - theirs over n pairs with its t interval, the two-sided p-value of a test of a `kind`, nan where n < 2.

    `least` is the smallest p-value that this test can give for so many pairs.
    """

    interval: Interval
    p: float
    kind: str
    least: float = 0.0


Test = Callable[[Values, Values], Difference]


def differences(ours: Values, theirs: Values) -> list[float]:
    """ours - theirs, of {seed: value} over the seeds that are in both, of two sequences one after the other.

    Raises Fault on sequences of two lengths, and where a mapping meets a sequence.
    """
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return [float(ours[seed]) - float(theirs[seed]) for seed in ours if seed in theirs]
    if isinstance(ours, Mapping) or isinstance(theirs, Mapping) or len(ours) != len(theirs):
        found = f'values to be paired have lengths {len(ours)} and {len(theirs)}'
        raise Fault(found, 'pass two sequences of one length, or {seed: value} of each')
    return [float(a) - float(b) for a, b in zip(ours, theirs)]


def paired(ours: Values, theirs: Values, level: float = LEVEL) -> Interval:
    """The t interval of ours - theirs over the seeds that are in both: {seed: value}, or two sequences."""
    return interval(differences(ours, theirs), level)


def t_test(ours: Values, theirs: Values) -> Difference:
    """p = P(|T| >= |mean| sqrt(n) / s), T of Student, n - 1 degrees of freedom: p < 0.05 where `paired` has no 0."""
    from scipy.special import stdtr

    found = differences(ours, theirs)
    value, n = interval(found), len(found)
    if n < 2:
        return Difference(value, math.nan, 'paired t')
    error = math.sqrt(math.fsum((d - value.mean) ** 2 for d in found) / (n - 1) / n)
    if error == 0:
        return Difference(value, float(value.mean == 0), 'paired t')
    return Difference(value, 2 * float(stdtr(n - 1, -abs(value.mean) / error)), 'paired t')


def sign_flips(ours: Values, theirs: Values, resamples: int = 9999, seed: int = 0) -> Difference:
    """p = share of the 2^n signs of the differences whose mean is as far from 0 (Fisher 1935); exact up to 13 pairs.

    Of more pairs `resamples` random signs. It supposes no shape: only that ours and theirs could be exchanged.
    """
    import numpy as np
    from scipy.stats import permutation_test

    found = differences(ours, theirs)
    value, n = interval(found), len(found)
    if n < 2:
        return Difference(value, math.nan, 'sign flips')
    count = max(resamples, 2**_EXACT) if n <= _EXACT else resamples
    tested = permutation_test(
        (np.array(found),),
        lambda d, axis: np.mean(d, axis),
        permutation_type='samples',
        vectorized=True,
        n_resamples=count,
        rng=np.random.default_rng(seed),
    )
    return Difference(value, float(tested.pvalue), 'sign flips', 2.0 / min(2**n, count + 1))


def wilcoxon(ours: Values, theirs: Values) -> Difference:
    """Wilcoxon's signed ranks (1945), by scipy; exact up to 13 pairs, with ties too. Differences of 0 are left out."""
    import numpy as np
    from scipy import stats

    found = differences(ours, theirs)
    value, kind = interval(found), 'Wilcoxon'
    apart = np.array([d for d in found if d])
    if len(found) < 2:
        return Difference(value, math.nan, kind)
    if not len(apart):
        return Difference(value, 1.0, kind, 1.0)
    method = stats.PermutationMethod() if len(apart) <= _EXACT else 'auto'
    return Difference(value, float(stats.wilcoxon(apart, method=method).pvalue), kind, 2.0 ** (1 - len(apart)))


def holm(ps: Iterable[float]) -> list[float]:
    """Corrected p-values: p_(i) becomes max_{j <= i} min(1, (m - j + 1) p_(j)), j = 1 the smallest (Holm 1979).

    All at most alpha are called differences with a chance of at most alpha that any of them is none, whatever depends
    on what. A nan, which stands for no test, stays one and does not count. Raises Fault on what is no p-value.
    """
    found = [float(p) for p in ps]
    if wrong := [p for p in found if p < 0 or p > 1]:
        raise Fault(f'{len(wrong)} of {len(found)} are no p-values: {wrong[0]:g}', 'give numbers between 0 and 1')
    order = sorted((i for i, p in enumerate(found) if not math.isnan(p)), key=lambda i: found[i])
    raised = itertools.accumulate(((len(order) - j) * found[i] for j, i in enumerate(order)), max)
    for i, p in zip(order, raised):
        found[i] = min(1.0, p)
    return found


def all_pairs(methods: Sequence[Values], test: Test = t_test) -> dict[tuple[int, int], tuple[Difference, float]]:
    """{(i, j): (test of i - j, its p corrected by `holm` for all pairs)}, i > j.

    All pairs count even where only those with the best are shown: these values chose which one that is.
    """
    tested = {(i, j): test(methods[i], methods[j]) for i in range(len(methods)) for j in range(i)}
    return {pair: (one, p) for (pair, one), p in zip(tested.items(), holm(one.p for one in tested.values()))}

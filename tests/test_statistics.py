"""Intervals, paired tests and corrections against scipy and hand values; how often a table is bold without a cause."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from vae_jax import statistics
from vae_jax.errors import Fault

DRAWS = np.random.default_rng(1)


def test_bootstrap_intervals_are_those_of_scipy_and_say_so():
    x = DRAWS.exponential(size=40)
    for ours, method in ((statistics.bca_interval, 'BCa'), (statistics.percentile_interval, 'percentile')):
        found = ours(x, resamples=2000, seed=7)
        drawn = scipy.stats.bootstrap((x,), np.mean, n_resamples=2000, method=method, rng=np.random.default_rng(7))
        expected = drawn.confidence_interval
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
        assert found.kind == f'{method} bootstrap' and found.n == 40 and found.mean == pytest.approx(x.mean())
        # of a mean of many it is near the normal one; narrower at a lower level
        assert found.high - found.low == pytest.approx(2 * 1.96 * scipy.stats.sem(x), rel=0.15)
        assert ours(x, 0.5, resamples=2000).high < found.high
    assert statistics.bca_interval([2.0, 2.0, 2.0])[:4] == (2.0, 2.0, 2.0, 3)
    assert math.isnan(statistics.bca_interval([2.0]).low) and statistics.bca_interval([2.0]).kind == 'BCa bootstrap'
    for f in (statistics.interval, statistics.bca_interval):
        with pytest.raises(Fault, match='the level is 95, expected a share'):
            f([1.0, 2.0], 95)
    with pytest.raises(Fault, match='0 resamples'):
        statistics.percentile_interval([1.0, 2.0], resamples=0)


@pytest.mark.parametrize('n', [2, 3, 5, 30])
def test_the_paired_t_test_is_that_of_scipy_and_agrees_with_its_interval(n):
    for shift in (0.0, 0.7, 3.0):
        x, y = DRAWS.normal(shift, 1, n), DRAWS.normal(0, 1, n)
        found = statistics.t_test(x, y)
        assert found.p == pytest.approx(scipy.stats.ttest_rel(x, y).pvalue, rel=1e-9)
        assert (found.p > 0.05) == found.interval.contains_zero and found.kind == 'paired t'
    assert statistics.t_test([1.0, 2.0], [1.0, 2.0]).p == 1 and statistics.t_test([2.0, 3.0], [1.0, 2.0]).p == 0
    assert math.isnan(statistics.t_test([2.0], [1.0]).p)


def test_sign_flips_look_at_every_sign():
    for n in (3, 6, 11):
        d = DRAWS.normal(0.5, 1, n)
        means = np.array(list(itertools.product((-1, 1), repeat=n))) @ d / n
        exact = np.mean(np.abs(means) >= abs(d.mean()) - 1e-12)
        found = statistics.sign_flips(d, np.zeros(n))
        assert found.p == pytest.approx(exact, rel=1e-12) and found.least == 2.0 ** (1 - n)
    assert statistics.sign_flips(np.ones(5), np.zeros(5)).p == statistics.sign_flips(np.ones(5), np.zeros(5)).least
    d = DRAWS.normal(0.4, 1, 40)  # random ones: near the normal limit
    assert statistics.sign_flips(d, 0 * d).p == pytest.approx(statistics.t_test(d, 0 * d).p, abs=0.02)


def test_wilcoxon_is_exact_with_ties_and_without():
    for d in (DRAWS.normal(0.5, 1, 8), np.array([1.0, 1.0, -1.0, 2.0, 2.0, 3.0, 4.0]), DRAWS.normal(0.5, 1, 20)):
        ranks = scipy.stats.rankdata(np.abs(d))
        found = statistics.wilcoxon(d, 0 * d)
        if len(d) <= 13:
            sums = np.array(list(itertools.product((0, 1), repeat=len(d)))) @ ranks
            w = ranks[d > 0].sum()
            exact = min(1.0, 2 * min(np.mean(sums >= w - 1e-9), np.mean(sums <= w + 1e-9)))
        else:
            exact = scipy.stats.wilcoxon(d, method='exact').pvalue
        assert found.p == pytest.approx(exact, rel=1e-9)
    assert statistics.wilcoxon([1.0, 2.0], [1.0, 2.0]).p == 1
    assert statistics.wilcoxon([2.0, 3.0, 3.5, 1.0], [1.0, 2.0, 3.0, 1.0]).least == 0.25


def test_pairs_are_by_seed():
    ours, theirs = {0: 1.0, 2: 5.0, 3: 2.0}, {3: 1.0, 0: 0.5, 7: 9.0}
    assert statistics.differences(ours, theirs) == [0.5, 1.0]
    assert statistics.paired(ours, theirs).mean == 0.75
    for wrong in ([1.0, 2.0], {0: 1.0}):
        with pytest.raises(Fault, match='lengths'):
            statistics.t_test([1.0, 2.0, 3.0], wrong)


def test_holm_has_its_hand_values():
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.5, 0.6]) == [1.0, 1.0] and statistics.holm([]) == []
    with_none = statistics.holm([0.02, math.nan, 0.03])  # what was not tested does not count
    assert with_none[0] == pytest.approx(0.04) and math.isnan(with_none[1]) and with_none[2] == pytest.approx(0.04)
    with pytest.raises(Fault, match='2 of 3 are no p-values: 1.5'):
        statistics.holm([1.5, 0.1, -1])


def test_a_bold_number_differs_from_every_other():
    noise = DRAWS.normal(0, 1, 6)
    apart = {'a': 10 + noise, 'b': 12 + noise + DRAWS.normal(0, 0.1, 6), 'c': 15 + noise + DRAWS.normal(0, 0.1, 6)}
    found = statistics.table(apart, title='nats')
    text = str(found)
    assert found.bold == 'a' and [row.name for row in found.rows] == ['a', 'b', 'c']
    assert '| **a** | **' in text and text.count('**') == 4 and '| 6 |' in text
    assert 'nats [95 % t interval]' in text and "Holm's method for all 3 pairs" in text
    assert found.rows[1].p == pytest.approx(statistics.all_pairs(list(apart.values()))[1, 0][1])
    assert statistics.table(apart, 'max').rows[0].name == 'c'

    tied = statistics.table({**apart, 'd': apart['a'] + DRAWS.normal(0, 0.2, 6)}, within=statistics.bca_interval)
    assert tied.bold is None and '**' not in str(tied) and '95 % BCa bootstrap interval' in str(tied)
    assert 'cannot be told from' in tied.note and 'b' not in tied.note.split(' cannot')[0].split(': ')[1]

    flips = statistics.table({name: held[:5] for name, held in apart.items()}, test=statistics.sign_flips)
    assert flips.bold is None and 'no p below 0.062' in flips.note  # five pairs have 32 signs


def test_one_seed_has_no_interval_and_nothing_bold():
    found = statistics.table({'a': [1.0], 'b': [2.0]})
    assert found.bold is None and '**' not in str(found) and 'fewer than two seeds' in found.note
    assert '| a | 1.00 | 1 |' in str(found) and '| b | 2.00 | 1 | 1.00 |  |' in str(found)
    alone = statistics.table({'a': [1.0, 2.0]})
    assert alone.bold is None and alone.note == ''
    apart = statistics.table({'a': {0: 1.0, 1: 1.1}, 'b': {2: 9.0, 3: 9.1}})  # no seed in common
    assert apart.bold is None and 'fewer than two' in apart.note and str(apart)
    with pytest.raises(Fault, match='b has 2 values, 1 of them finite'):
        statistics.table({'a': [1.0, 2.0], 'b': [1.0, math.nan]})
    with pytest.raises(Fault, match='no methods'):
        statistics.table({})


@pytest.mark.parametrize('centres', [(0, 0), (0, 0, 0, 0), (0, 0, 50, 60)])
def test_a_table_of_methods_that_are_alike_is_seldom_bold(centres):
    """2,000 tables: two that are alike before two that are far behind is the worst case, and it keeps to 5 %."""
    count, draws = 2000, np.random.default_rng(0)
    bold = 0
    for _ in range(count):
        values = {str(i): draws.normal(centre, 1, 5) for i, centre in enumerate(centres)}
        bold += statistics.table(values).bold is not None
    assert bold / count <= 0.05 + 5 * math.sqrt(0.05 * 0.95 / count)
    assert bold > 0 or len(centres) == 4


def test_any_difference_that_is_called_one_among_many_alike_is_seldom():
    """The best was chosen by the same seeds, so its comparisons are corrected for all pairs, not for its five."""
    count, draws, wrong = 1000, np.random.default_rng(0), 0
    for _ in range(count):
        values = draws.normal(0, 1, (6, 5))
        rows = [{'m': i, 'seed': s, 'nll': values[i, s]} for i in range(6) for s in range(5)]
        wrong += any(one.differs for one in statistics.compared(rows, ['m'], 'nll'))
    assert wrong / count <= 0.05 + 5 * math.sqrt(0.05 * 0.95 / count)

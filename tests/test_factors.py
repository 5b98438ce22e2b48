"""The mutual information gap and the parts of the rate, against formulas, scikit-learn and codes of known worth."""

import jax
import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import mutual_info_score

from vae_jax.errors import Fault
from vae_jax.evaluation.factors import binned, mutual_information, mutual_information_gap, spent

draws = np.random.default_rng(4)
N = 4000
FACTORS = {'a': draws.integers(0, 4, N), 'b': draws.integers(0, 5, N), 'c': draws.integers(0, 3, N)}


def test_mutual_information_is_that_of_scikit_learn():
    a, b = FACTORS['a'], (FACTORS['a'] + draws.integers(0, 2, N)) % 4
    assert mutual_information(a, b) == pytest.approx(mutual_info_score(a, b), rel=1e-9)
    assert mutual_information(a, a) == pytest.approx(stats.entropy(np.bincount(a)), rel=1e-9)
    # Independent columns: 2 n I is chi-squared with (A - 1)(B - 1) degrees of freedom.
    found = 2 * N * mutual_information(FACTORS['a'], FACTORS['b'])
    assert stats.chi2(12).ppf(1e-7) < found < stats.chi2(12).ppf(1 - 1e-7)


def test_bins_are_equal_and_hold_every_code():
    codes = np.stack([np.linspace(-3, 5, 81), np.full(81, 2.0)], 1)
    found = binned(codes, 8)
    assert found[:, 0].min() == 0 and found[:, 0].max() == 7 and not found[:, 1].any()
    assert np.bincount(found[:, 0]).tolist() == [10] * 7 + [11]


def test_one_dimension_a_factor_has_the_whole_gap():
    noise = draws.normal(0, 1, (N, 2))
    codes = np.stack([FACTORS['b'], -2.0 * FACTORS['a'], 0.1 * FACTORS['c']], 1)
    found = mutual_information_gap(np.concatenate([codes, noise], 1), FACTORS)
    assert list(found.each) == ['a', 'b', 'c'] and found.mean == pytest.approx(np.mean(list(found.each.values())))
    assert min(found.each.values()) > 0.95 and found.information.shape == (3, 5)
    assert found.information.argmax(1).tolist() == [1, 0, 2]


def test_codes_that_are_rotated_doubled_or_noise_have_no_gap():
    a = FACTORS['a'] + draws.normal(0, 0.05, N)
    doubled = np.stack([a, a, FACTORS['b']], 1)
    assert abs(mutual_information_gap(doubled, {'a': FACTORS['a']}).mean) < 0.02
    assert mutual_information_gap(doubled, {'b': FACTORS['b']}).mean > 0.95
    assert mutual_information_gap(draws.normal(0, 1, (N, 4)), FACTORS).mean < 0.03
    straight = np.stack([FACTORS['a'], FACTORS['b']], 1) + draws.normal(0, 0.05, (N, 2))
    turned = straight @ np.array([[1, 1], [-1, 1]]) / np.sqrt(2)
    two = {name: FACTORS[name] for name in 'ab'}
    assert mutual_information_gap(straight, two).mean > mutual_information_gap(turned, two).mean + 0.5


@pytest.mark.parametrize(
    ('codes', 'factors', 'said'),
    [
        (np.ones((5, 1)), {'a': np.arange(5)}, '--latent 2'),
        (np.ones((5, 2)), {'a': np.arange(4)}, 'one value for each of 5'),
        (np.ones((5, 2)), {'a': np.ones(5, int)}, '2 or more values'),
    ],
)
def test_what_has_no_gap_is_refused(codes, factors, said):
    with pytest.raises(Fault, match=said):
        mutual_information_gap(codes, factors)


def test_the_parts_of_a_rate_of_known_codes():
    key = jax.random.key(1)
    # q(z|x) = q(z) for all x: nothing is told, and each dimension's KL is that of N(1, 0.5^2).
    same = spent(np.ones((50, 2), np.float32), np.full((50, 2), np.log(0.5), np.float32), key, 20_000)
    exact = 2 * (0.5 * (0.25 + 1) - 0.5 - np.log(0.5))
    assert abs(same.information) < 1e-4 and abs(same.total_correlation) < 1e-4
    assert same.dimension_kl == pytest.approx(exact, abs=5 * 1.5 / np.sqrt(20_000))
    # Means far apart: log n nats are told; where both dimensions tell them, they are in common to both.
    far = np.arange(16, dtype=np.float32) * 10
    twice = spent(np.stack([far, far], 1), np.zeros((16, 2), np.float32), key, 200)
    once = spent(np.stack([far, 0 * far], 1), np.zeros((16, 2), np.float32), key, 200)
    assert twice.information == pytest.approx(np.log(16), abs=1e-3)
    assert once.information == pytest.approx(np.log(16), abs=1e-3)
    assert twice.total_correlation == pytest.approx(np.log(16), abs=1e-3) and abs(once.total_correlation) < 1e-3


def test_the_parts_add_up_to_the_rate():
    mean = draws.normal(0, 1, (300, 3)).astype(np.float32)
    log_std = draws.normal(-1, 0.3, (300, 3)).astype(np.float32)
    rates = 0.5 * (np.exp(2 * log_std) + mean**2 - 1) - log_std
    found = spent(mean, log_std, jax.random.key(2), 20_000)
    assert sum(found) == pytest.approx(rates.sum(1).mean(), abs=5 * 3 / np.sqrt(20_000))
    assert min(found) > 0

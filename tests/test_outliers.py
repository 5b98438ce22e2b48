"""AUROC against scikit-learn and its own spread, and scores of outliers of a model whose density is known."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random
from sklearn.metrics import roc_auc_score

from tests import oracles, small
from vae_jax.data.splits import Split, identity, scale
from vae_jax.errors import Fault
from vae_jax.evaluation import outliers, view_rows

pytestmark = pytest.mark.usefixtures('quickly_compiled')
KEY = random.key(7)


def test_auroc_is_scikit_learns_with_ties_and_its_known_cases():
    rng = np.random.default_rng(0)
    inside, outside = rng.integers(0, 6, 80), rng.integers(1, 8, 50)
    truth = np.repeat([0, 1], [80, 50])
    found = outliers.auroc(inside, outside)
    assert found.value == pytest.approx(roc_auc_score(truth, np.concatenate([inside, outside])), rel=1e-12)
    assert outliers.auroc(outside, inside).value == pytest.approx(1 - found.value)
    sure = outliers.auroc([0.0, 1], [2, 3, 4])  # the spread of nothing but right pairs is no standard error
    assert sure[::2] == (1, 2) and np.isnan(sure.se) and str(sure) == 'AUROC 1.0000 +- unknown (3 outliers, 2 inliers)'
    assert outliers.auroc([2.0, 3], [0, 1]).value == 0
    equal = outliers.auroc([1.0] * 5, [1.0] * 9)
    assert equal.value == 0.5 and np.isnan(equal.se)
    assert outliers.auroc([0.0, 1], [np.inf, -1]).value == 0.5


@pytest.mark.parametrize('shift', [0.0, 1.0])
def test_the_standard_error_of_auroc_is_its_spread(shift):
    rng = np.random.default_rng(1)
    found = [outliers.auroc(rng.normal(size=40), shift + 0.2 * rng.normal(size=150)) for _ in range(400)]
    values, errors = np.array([one.value for one in found]), np.array([one.se for one in found])
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(values.std(), rel=5 / np.sqrt(800))


def test_complexity_is_what_zlib_takes_in_nats():
    rng = np.random.default_rng(2)
    even, noise = np.zeros((1, 28, 28, 1), np.uint8), rng.integers(0, 256, (1, 28, 28, 1))
    found = outliers.compressed(np.concatenate([even, noise]), 256)
    assert found[1] == pytest.approx(8 * len(zlib.compress(noise.astype(np.uint8).tobytes(), 9)) * np.log(2))
    assert found[1] > 784 * np.log(256) > 30 * found[0]  # noise cannot be compressed
    bits = outliers.compressed(rng.integers(0, 2, (1, 784)), 2)
    assert 784 * np.log(2) < bits < 1.2 * 784 * np.log(2)
    np.testing.assert_allclose(outliers.less_complexity([900.0, 100.0], [800.0, 5.0]), [100, 95])
    np.testing.assert_allclose(outliers.likelihood_ratio([3.0, 4.0], [1.0, 5.0]), [2, -1])
    np.testing.assert_allclose(outliers.typicality([3.0, 9.0], [4.0, 6.0]), [2, 4])


def gaussian_split(params, spread, n, key):
    """Draws of the linear-Gaussian model with its covariance times spread^2."""
    covariance = params['W'] @ params['W'].T + jnp.exp(2 * params['log_s']) * jnp.eye(4)
    x = random.multivariate_normal(key, jnp.zeros(4), covariance, (n,))
    return Split({'x': params['b'][None] + spread * x}, None, identity())


def test_scores_of_a_known_density_find_what_they_should():
    """Draws twice as wide are less likely; draws half as wide are likelier than the data, and not typical of it."""
    model = oracles.linear_gaussian(latent=2, dims=4)
    params = oracles.with_exact_encoder(oracles.rotated(model.init(random.key(2), jnp.zeros(4))))
    a, b, c, d = random.split(KEY, 4)
    inside, wide, narrow = (gaussian_split(params, s, 200, k) for s, k in ((1.0, a), (2.0, b), (0.3, c)))
    train = -np.asarray(jax.vmap(lambda x: oracles.log_p(params, x))(gaussian_split(params, 1.0, 400, d).rows['x']))
    far = outliers.detection(model, params, inside, wide, KEY, train_nll=train, k=5)
    exact = [-np.asarray(jax.vmap(lambda x: oracles.log_p(params, x))(split.rows['x'])) for split in (inside, wide)]
    assert far.likelihood.value == pytest.approx(outliers.auroc(*exact).value, abs=1e-3)
    assert far.likelihood.value > 0.8 and far.complexity is None
    near = outliers.detection(model, params, inside, narrow, KEY, train_nll=train, k=5)
    assert near.likelihood.value < 0.2 and near.typicality.value > 0.6
    assert 'likelihood' in str(near) and 'complexity' not in str(near)


def test_complexity_is_that_of_x_as_the_model_sees_it():
    """Views that binarize are compressed as bits, stored levels as bytes: the scores are put together by hand here."""
    params = small.MODEL.init(KEY, small.DATA.example)
    blank = Split({'x': jnp.zeros((9, 6, 5, 1), jnp.uint8)}, 17, small.DATA.train.view)
    scores = [outliers.nll(small.MODEL, params, split, KEY, k=3).estimate.values for split in (small.DATA.train, blank)]
    found = outliers.detection(small.MODEL, params, small.DATA.train, blank, KEY, train_nll=scores[0], k=3)
    seen = [np.asarray(view_rows(split, KEY, range(len(split)))) for split in (small.DATA.train, blank)]
    lengths = [
        [8 * len(zlib.compress(np.packbits(x.astype(np.uint8).ravel()).tobytes(), 9)) * np.log(2) for x in xs]
        for xs in seen
    ]
    by_hand = outliers.auroc(*(s - np.array(length) for s, length in zip(scores, lengths)))
    assert found.complexity == pytest.approx(by_hand)
    xs = np.arange(17, dtype=np.uint8)[:, None].repeat(2, 1)
    values, levels = outliers._levels(np.float32(xs) / 16, Split({'x': jnp.asarray(xs)}, 17, scale(17)))
    np.testing.assert_array_equal(values, xs)
    assert levels == 17
    assert outliers._levels(np.full((2, 2), 0.513), Split({'x': jnp.asarray(xs)}, 17, scale(17))) is None


def test_bad_calls_are_one_line():
    params = small.MODEL.init(KEY, small.DATA.example)
    other = Split({'x': jnp.zeros((9, 7, 5, 1), jnp.uint8)}, 2, scale(2))
    test = small.DATA.test
    calls = [
        (lambda: outliers.auroc([1.0], [1.0, 2]), 'inliers have shape'),
        (lambda: outliers.auroc([1.0, 2], [np.nan, 2]), '1 of them nan'),
        (lambda: outliers.likelihood_ratio([1.0], [1.0, 2]), '1 scores beside 2'),
        (lambda: outliers.compressed(np.full((1, 2), 0.5), 256), 'whole numbers'),
        (lambda: outliers.compressed(np.full((1, 2), 3), 2), 'whole numbers below 2'),
        (lambda: outliers.detection(small.MODEL, params, test, other, KEY, train_nll=[1.0]), r'\(7, 5, 1\)'),
        (lambda: outliers.detection(small.MODEL, params, test, test, KEY, train_nll=[1.0], k=0), 'k is 0'),
        (lambda: outliers.detection(small.MODEL, params, test.at(np.arange(0)), test, KEY, train_nll=[1.0]), 'empty'),
    ]
    for call, told in calls:
        with pytest.raises(Fault, match=told) as fault:
            call()
        assert '\n' not in str(fault.value)

"""The gaps of inference on a linear-Gaussian model, where all three of them are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from tests import oracles
from vae_jax.data.splits import Split, dequantize, identity
from vae_jax.errors import Fault
from vae_jax.evaluation.gaps import gaps_of, inference_gaps
from vae_jax.evaluation.refined import diagonal, full

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(9)
MODEL = oracles.linear_gaussian(latent=2, dims=4)
PARAMS = MODEL.init(random.key(2), jnp.zeros(4))
X = random.normal(random.key(6), (60, 4))
SPLIT = Split({'x': X}, None, identity())
LOG_P = np.asarray(jax.vmap(lambda x: oracles.log_p(PARAMS, x))(X), np.float64)
BEST = np.asarray(jax.vmap(lambda x: oracles.elbo(PARAMS, oracles.optimal_diagonal(PARAMS, x), x))(X), np.float64)
ELBO = np.asarray(jax.vmap(lambda x: oracles.elbo(PARAMS, MODEL.encode(PARAMS, x), x))(X), np.float64)
exact = lambda model, params, split, key, refined: LOG_P


def assert_near(values, expected, slack=0.0):
    """Means of values [n] within five standard errors of the differences to what is expected of each."""
    gap = values - expected
    assert abs(gap.mean()) < 5 * gap.std(ddof=1) / np.sqrt(len(gap)) + slack


def test_gaps_of_exact_columns_are_the_closed_forms():
    found = gaps_of(LOG_P, BEST, ELBO)
    covariance = np.asarray(oracles.posterior(PARAMS, X[0]).covariance, np.float64)
    turned = 0.5 * (np.sum(np.log(np.diag(np.linalg.inv(covariance)))) + np.log(np.linalg.det(covariance)))
    np.testing.assert_allclose(found.approximation.values, turned, atol=2e-4)

    # KL(q || q*) of diagonal Gaussians, as q* is the posterior's information projection for means and scales
    def lost(x):
        q, best = MODEL.encode(PARAMS, x), oracles.optimal_diagonal(PARAMS, x)
        precision = jnp.linalg.inv(oracles.posterior(PARAMS, x).covariance)
        away = q.mean - best.mean
        ratio = jnp.exp(2 * (q.log_std - best.log_std))
        return 0.5 * (away @ precision @ away + jnp.sum(ratio - 1) - jnp.sum(jnp.log(ratio)))

    np.testing.assert_allclose(found.amortization.values, jax.vmap(lost)(X), rtol=1e-3, atol=2e-4)
    np.testing.assert_allclose(
        found.inference.values, found.approximation.values + found.amortization.values, rtol=1e-12
    )
    assert found.amortization.se == pytest.approx(np.std(BEST - ELBO, ddof=1) / np.sqrt(60))
    assert found.approximation.se < 0.01 * found.log_p.se and 'note' not in str(found)


def test_a_refined_diagonal_has_the_gaps_of_the_best_one():
    found = inference_gaps(MODEL, PARAMS, SPLIT, KEY, log_p=exact, steps=200, lr=0.05, k=400)
    assert_near(found.amortization.values, BEST - ELBO, slack=0.01)
    assert_near(found.approximation.values, LOG_P - BEST, slack=0.01)
    assert_near(found.inference.values, LOG_P - ELBO)
    np.testing.assert_array_equal(found.log_p.values, LOG_P)
    assert str(found).startswith('gap of inference ') and found.amortization.dims == 4


def test_a_full_covariance_leaves_no_gap_of_approximation():
    found = inference_gaps(MODEL, PARAMS, SPLIT, KEY, family=full(), log_p=exact, steps=200, lr=0.05, k=400)
    assert_near(found.approximation.values, 0 * LOG_P, slack=0.01)
    assert_near(found.amortization.values, LOG_P - ELBO, slack=0.01)
    sampled = inference_gaps(MODEL, PARAMS, SPLIT, KEY, family=full(), steps=200, lr=0.05, k=400)
    assert_near(sampled.log_p.values, LOG_P, slack=0.01)  # importance samples of the refined q
    assert not np.array_equal(sampled.log_p.values, LOG_P)


def test_no_steps_leave_no_gap_of_amortization_and_members_are_their_own():
    keys = random.split(KEY, 2)
    members = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), PARAMS)
    several = inference_gaps(MODEL, members, SPLIT, keys, family=diagonal(), log_p=exact, steps=0, k=200)
    assert_near(several[1].amortization.values, 0 * LOG_P)
    alone = inference_gaps(MODEL, PARAMS, SPLIT, keys[1], log_p=exact, steps=0, k=200)
    np.testing.assert_allclose(several[1].elbo.values, alone.elbo.values, rtol=1e-5)


def test_what_cannot_be_is_told():
    with pytest.raises(Fault, match=r'\[60\], \[60\], \[59\]'):
        gaps_of(LOG_P, BEST, ELBO[:-1])
    with pytest.raises(Fault, match='not finite'):
        gaps_of(LOG_P * np.nan, BEST, ELBO)
    assert 'raise steps' in str(gaps_of(LOG_P, ELBO, BEST))
    assert 'raise k' in str(gaps_of(ELBO, LOG_P, ELBO - 1))
    with pytest.raises(Fault, match='k is 0'):
        inference_gaps(MODEL, PARAMS, SPLIT, KEY, k=0)


def test_bounds_of_dequantized_pixels_are_theirs_in_bits_and_gaps_are_of_no_unit_of_x():
    levels = jnp.asarray(np.random.default_rng(0).integers(0, 8, (5, 4)), jnp.uint8)
    found = inference_gaps(MODEL, PARAMS, Split({'x': levels}, 8, dequantize(8)), KEY, steps=0, k=50)
    for bound in (found.log_p, found.refined, found.elbo):  # a cell of 1/8 is three bits wide
        assert bound.bits_per_dim == pytest.approx(bound.mean / (4 * np.log(2)) - 3)
    assert found.inference.bits_per_dim == pytest.approx(found.inference.mean / (4 * np.log(2)))

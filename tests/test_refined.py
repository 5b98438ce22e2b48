"""A posterior refined for each example: the best of its family where that is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random, vmap

import vae_jax as vj
from tests import oracles
from vae_jax import flows, models
from vae_jax.data.splits import Split, identity
from vae_jax.errors import Fault
from vae_jax.evaluation import exact, refined

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(4)
MODEL = oracles.linear_gaussian(2, 4)
PARAMS = MODEL.init(random.key(2), jnp.zeros(4))
X = random.normal(random.key(6), (12, 4)) + PARAMS['b'][None]
SPLIT = Split({'x': X}, None, identity())
EXACT = exact.linear_gaussian(MODEL, PARAMS, SPLIT, KEY)
LOG_P = -EXACT.estimate.values


def test_a_refined_diagonal_is_the_optimal_one():
    found = refined.refine(MODEL, PARAMS, SPLIT, KEY, k=4000)
    best = LOG_P - EXACT.approximation.values
    gap = found.elbo.values - best
    # log w at the best q has twice the variance of its gap at the most; what Adam lost is below a hundredth of a nat
    assert np.all(np.abs(gap) < 5 * np.sqrt(4 * EXACT.approximation.mean / 4000) + 0.01)
    assert abs(gap.mean()) < 0.01
    own = best - EXACT.amortization.values
    assert np.all(np.abs(found.start.values - own) < 0.1 * (1 + np.abs(own)))
    assert np.mean(found.elbo.values - found.start.values) > 2
    np.testing.assert_allclose(found.nll.estimate.values, -LOG_P, atol=0.05)
    assert np.median(found.nll.effective) > 2000 and found.nll.k == 4000
    assert 'refined from' in str(found) and found.elbo.bits_per_dim == pytest.approx(found.elbo.mean / 4 / np.log(2))


@pytest.mark.parametrize('family', [refined.full(), pytest.param(refined.flowed(flows.iaf()), marks=pytest.mark.slow)])
def test_a_richer_family_closes_the_approximation_gap(family):
    found = refined.refine(MODEL, PARAMS, SPLIT, KEY, family=family, steps=600)
    left = LOG_P - found.elbo.values
    assert EXACT.approximation.mean > 0.02
    assert -0.01 < left.mean() < 0.4 * EXACT.approximation.mean
    assert np.median(found.nll.effective) > 900


def test_no_steps_leave_the_encoder_as_it_is():
    found = refined.refine(MODEL, PARAMS, SPLIT, KEY, steps=0, k=1000)
    bound = vj.elbo_estimate(MODEL, PARAMS, SPLIT, KEY, samples=1000).elbo.values
    spread = np.abs(bound) * 0.1 + 0.5
    assert np.all(np.abs(found.elbo.values - bound) < spread)
    assert np.all(np.abs(found.start.values - bound) < spread)


@pytest.mark.slow
def test_a_hierarchy_is_refined_as_one_vector():
    model = models.stacked(oracles.linear_gaussian(2, 4), oracles.linear_gaussian(2, 2))
    params = model.init(KEY, jnp.zeros(4))
    found = refined.refine(model, params, SPLIT, KEY, family=refined.full(), steps=600, k=500)
    above, C = params['upper'], params['W']
    inner = above['W'] @ above['W'].T + jnp.exp(2 * above['log_s']) * jnp.eye(2)
    log_p = vmap(lambda x: _log_normal(x, params, C @ inner @ C.T, C @ above['b']))(X)
    np.testing.assert_allclose(found.nll.estimate.values, -np.asarray(log_p), atol=0.1)
    assert np.all(found.elbo.values < np.asarray(log_p) + 0.05)


def _log_normal(x, params, covariance, mean):
    covariance = covariance + jnp.exp(2 * params['log_s']) * jnp.eye(4)
    return jax.scipy.stats.multivariate_normal.logpdf(x, params['b'] + mean, covariance)


def test_moments_of_a_posterior_without_its_own_are_those_of_its_draws():
    base = vj.Normal(jnp.array([1.0, -2.0]), jnp.array([0.5, -0.5]))
    flow = flows.identity
    mean, log_std = refined.moments(KEY, flows.Flowed(base, {}, flow))
    np.testing.assert_allclose(mean, base.mean, atol=5 * 1.7 / 16)
    np.testing.assert_allclose(log_std, base.log_std, atol=5 / np.sqrt(2 * 256))
    for ours, exact_ones in zip(refined.moments(KEY, base), (base.mean, base.log_std)):
        np.testing.assert_array_equal(ours, exact_ones)


def test_bad_calls_are_refused():
    for options, said in (({'steps': -1}, 'steps is -1'), ({'samples': 0}, 'samples is 0'), ({'k': 0}, 'k is 0')):
        with pytest.raises(Fault, match=said):
            refined.refine(MODEL, PARAMS, SPLIT, KEY, **options)
    with pytest.raises(Fault, match='empty'):
        refined.refine(MODEL, PARAMS, Split({'x': X[:0]}, None, identity()), KEY)
    with pytest.raises(Fault, match='not finite') as fault:
        refined.refine(MODEL, {**PARAMS, 'b': PARAMS['b'] * jnp.nan}, SPLIT, KEY, steps=2, k=10)
    assert fault.value.code == 4
    point = MODEL._replace(encode=lambda p, x: vj.distributions.Delta(MODEL.encode(p, x).mean))
    with pytest.raises(Fault, match='a point'):
        refined.refine(point, PARAMS, SPLIT, KEY)

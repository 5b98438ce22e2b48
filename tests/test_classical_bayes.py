"""Full variational Bayes beside the conjugate answer, and what of params it draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random, vmap
from scipy.stats import multivariate_normal

import vae_jax as vj
from tests import short
from tests.statistics import assert_mean
from vae_jax.classical import linear_gaussian as lg
from vae_jax.classical import variational_bayes as vb
from vae_jax.errors import Fault

pytestmark = pytest.mark.usefixtures('quickly_compiled')
DIMS = 5
MODEL = lg.probabilistic_pca(2, jnp.zeros(DIMS))
NOISE, ROWS = 0.5, 40
INPUTS = np.random.RandomState(3).randn(ROWS, 2) @ np.array([[1.0, 0.8], [0.0, 0.6]])
TARGETS = INPUTS @ np.array([1.0, -0.5]) + NOISE * np.random.RandomState(4).randn(ROWS)


def weigh(params, key, row, hyper):
    return -vj.Normal(params['w'] @ row[:2], jnp.log(jnp.float32(NOISE))).log_prob(row[2]), {}


def conjugate():
    """(mean [2], precision [2, 2], log p(targets)) of Bayesian linear regression under w ~ N(0, I)."""
    precision = INPUTS.T @ INPUTS / NOISE**2 + np.eye(2)
    evidence = multivariate_normal.logpdf(TARGETS, np.zeros(ROWS), INPUTS @ INPUTS.T + NOISE**2 * np.eye(ROWS))
    return np.linalg.solve(precision, INPUTS.T @ TARGETS / NOISE**2), precision, evidence


BATCH = {'x': jnp.asarray(np.c_[INPUTS, TARGETS], jnp.float32)}
BOUND = vb.bayesian(vj.per_example(weigh), ('w',), ROWS)


def test_the_bound_at_the_best_belief_is_the_evidence_less_its_kl():
    mean, precision, evidence = conjugate()
    best = {'w': {'mean': jnp.asarray(mean, jnp.float32), 'log_std': jnp.asarray(-0.5 * np.log(np.diag(precision)))}}
    best = jax.tree.map(lambda a: a.astype(jnp.float32), best)
    losses = jax.jit(vmap(lambda key: BOUND(best, key, BATCH, ())[0]))(random.split(random.key(0), 4000))
    kl = 0.5 * (np.sum(np.log(np.diag(precision))) - np.linalg.slogdet(precision)[1])
    assert_mean(-ROWS * losses, evidence - kl)
    grads = jax.jit(vmap(jax.grad(lambda p, key: BOUND(p, key, BATCH, ())[0]), (None, 0)))(
        best, random.split(random.key(1), 4000)
    )['w']
    assert_mean(grads['mean'], np.zeros(2))
    assert_mean(grads['log_std'], np.zeros(2))


def test_the_kl_of_parameters_is_that_of_their_normals():
    params = {'w': {'mean': {'a': jnp.ones(2), 'b': jnp.zeros(())}, 'log_std': {'a': -jnp.ones(2), 'b': jnp.zeros(())}}}
    prior, each = np.exp(2 * 0.5), []
    for m, s in ((1.0, -1.0), (1.0, -1.0), (0.0, 0.0)):
        each.append(0.5 * (np.exp(2 * s) / prior + m**2 / prior - 1 - 2 * s + np.log(prior)))
    np.testing.assert_allclose(vb.parameter_kl(params, ('w',), 0.5), sum(each), rtol=1e-5)


def test_only_the_parts_that_are_named_are_drawn():
    init = vb.believed(MODEL.init, ('decode',), log_std=-2.0)
    params = init(random.key(0), jnp.zeros(DIMS))
    assert np.all(params['decode']['log_std']['loadings'] == -2.0) and set(params['encode']) == {'V', 'c', 'log_std'}
    one, other = (vb.drawn(params, random.key(k), ('decode',)) for k in (1, 2))
    assert short.moved(jax.tree.map(lambda a, b: a - b, one, other)) == {'decode'}
    spread = vmap(lambda k: vb.drawn(params, k, ('decode',))['decode']['mean'])(random.split(random.key(3), 2000))
    np.testing.assert_allclose(np.std(spread, 0), np.exp(-2.0), rtol=0.1)


def test_beliefs_that_cannot_be():
    with pytest.raises(Fault, match='rows is 0'):
        vb.bayesian(vj.per_example(weigh), ('w',), 0)
    with pytest.raises(Fault, match="params have no part 'decoder'"):
        vb.believed(MODEL.init, ('decoder',))(random.key(0), jnp.zeros(DIMS))
    with pytest.raises(Fault, match='no part of params is named'):
        vb.believed(MODEL.init, ())(random.key(0), jnp.zeros(DIMS))

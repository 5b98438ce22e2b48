"""log p(x) without samples, against closed forms, scipy and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from jax import random, vmap

import vae_jax as vj
from tests import oracles, small
from vae_jax.data.splits import Split, identity
from vae_jax.errors import Fault
from vae_jax.evaluation import exact

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(4)


def sharp(latent, log_s):
    """A linear-Gaussian model, x of its own in float64, and the closed form of each."""
    model = oracles.linear_gaussian(latent, latent + 3)
    params = {**model.init(random.key(2), jnp.zeros(latent + 3)), 'log_s': jnp.array(log_s)}
    draws = vmap(lambda key: model.decode(params, model.prior(params).sample(key)).sample(key))
    x = draws(random.split(random.key(3), 9))
    wide = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    return model, params, Split({'x': x}, None, identity()), wide


def log_ps(params, split):
    covariance = params['W'] @ params['W'].T + np.exp(2 * params['log_s']) * np.eye(len(params['b']))
    return scipy.stats.multivariate_normal.logpdf(np.asarray(split.rows['x'], np.float64), params['b'], covariance)


@pytest.mark.parametrize('latent, log_s', [(1, -3.0), (2, 0.5), (3, -1.0)])
def test_quadrature_is_the_closed_form(latent, log_s):
    model, params, split, wide = sharp(latent, log_s)
    found = exact.quadrature(model, params, split, KEY)
    np.testing.assert_allclose(found.estimate.values, -log_ps(wide, split), rtol=0, atol=1e-7)
    assert found.error.shape == (9,) and found.error.max() < 1e-5 and 'quadrature' in str(found)
    assert found.estimate.bits_per_dim == pytest.approx(found.estimate.mean / (latent + 3) / np.log(2))


def test_its_error_covers_what_is_wrong_where_points_are_few():
    model, params, split, wide = sharp(2, -3.0)
    found = exact.quadrature(model, params, split, KEY, points=7)
    off = np.abs(found.estimate.values + log_ps(wide, split))
    assert off.max() > 1e-4 and np.all(off < 5 * found.error + 1e-9)


def test_quadrature_of_two_modes_is_scipys():
    """x = z^2 + noise: a posterior with a mode on either side, and a prior that is not Gaussian."""
    model = oracles.linear_gaussian(1, 1)._replace(
        decode=lambda params, z: vj.Normal(z**2, jnp.full(1, -2.0)),
        prior=lambda params: vj.distributions.Laplace(jnp.zeros(1), jnp.zeros(1)),
    )
    params, xs = model.init(KEY, jnp.zeros(1)), np.array([[1.5], [0.1], [4.0]], np.float32)
    found = exact.quadrature(model, params, Split({'x': jnp.asarray(xs)}, None, identity()), KEY)
    for x, value, error in zip(xs[:, 0].astype(np.float64), found.estimate.values, found.error):
        density = lambda z, x=x: (
            scipy.stats.norm.pdf(x, z**2, np.exp(-2)) * scipy.stats.laplace.pdf(z, scale=np.sqrt(0.5))
        )
        p, _ = scipy.integrate.quad(density, -8, 8, points=[-np.sqrt(x), 0, np.sqrt(x)], limit=200)
        assert abs(value + np.log(p)) < 2e-3 and error < 1e-2


def test_quadrature_is_importance_sampling_of_a_network_within_its_error():
    params = small.MODEL.init(KEY, small.DATA.example)
    found = exact.quadrature(small.MODEL, params, small.DATA.test, KEY)
    sampled = vj.nll(small.MODEL, params, small.DATA.test, KEY, k=4000)
    gap = sampled.estimate.values - found.estimate.values
    assert found.error.max() < 1e-2  # relu has kinks
    assert np.all(np.abs(gap) < 5 / np.sqrt(sampled.effective))


def test_exact_answers_are_those_of_the_oracle():
    model, params, split, wide = sharp(3, -1.0)
    found = exact.linear_gaussian(model, params, split, KEY)
    np.testing.assert_allclose(found.estimate.values, -log_ps(wide, split), rtol=1e-10)
    with jax.enable_x64(True):
        wide, x = jax.tree.map(jnp.asarray, wide), jnp.asarray(split.rows['x'], jnp.float64)
        posterior = vmap(lambda x: oracles.posterior(wide, x))(x)
        best = vmap(lambda x: oracles.optimal_diagonal(wide, x))(x)
        of_best = vmap(lambda x: oracles.elbo(wide, oracles.optimal_diagonal(wide, x), x))(x)
        own = vmap(lambda x: oracles.elbo(wide, model.encode(wide, x), x))(x)
        np.testing.assert_allclose(found.mean, posterior.mean, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(found.covariance, posterior.covariance, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(found.log_std, best.log_std, rtol=1e-10)
        np.testing.assert_allclose(found.approximation.values, -found.estimate.values - of_best, atol=1e-9)
        np.testing.assert_allclose(found.amortization.values, of_best - own, rtol=1e-9)
    assert 'amortization gap' in str(found) and found.approximation.mean > 0.01


def test_exact_answers_of_a_prior_that_is_not_standard():
    model, params, split, wide = sharp(2, -1.0)
    mean, log_std = jnp.array([1.0, -2.0]), jnp.array([0.5, -0.7])
    moved = model._replace(prior=lambda params: vj.Normal(mean, log_std))
    W, b = wide['W'], wide['b']
    covariance = W @ np.diag(np.exp(2 * np.asarray(log_std))) @ W.T + np.exp(-2.0) * np.eye(5)
    x = np.asarray(split.rows['x'], np.float64)
    expected = scipy.stats.multivariate_normal.logpdf(x, b + W @ np.asarray(mean), covariance)
    for f, tolerance in ((exact.linear_gaussian, 1e-6), (exact.quadrature, 1e-6)):
        np.testing.assert_allclose(f(moved, params, split, KEY).estimate.values, -expected, atol=tolerance)


def test_bad_calls_are_refused():
    model, params, split, _ = sharp(2, 0.0)
    bent = model._replace(decode=lambda params, z: model.decode(params, jnp.tanh(z)))
    with pytest.raises(Fault, match='not affine'):
        exact.linear_gaussian(bent, params, split, KEY)
    louder = model._replace(decode=lambda params, z: vj.Normal(params['W'] @ z + params['b'], jnp.full(5, 0.1) * z[0]))
    with pytest.raises(Fault, match='not affine'):
        exact.linear_gaussian(louder, params, split, KEY)
    with pytest.raises(Fault, match='Bernoulli'):
        exact.linear_gaussian(small.MODEL, small.MODEL.init(KEY, small.DATA.example), small.DATA.test, KEY)
    wide = oracles.linear_gaussian(4, 5)
    with pytest.raises(Fault, match='4 numbers'):
        exact.quadrature(wide, wide.init(KEY, jnp.zeros(5)), split, KEY)
    with pytest.raises(Fault, match='points is 3'):
        exact.quadrature(model, params, split, KEY, points=3)
    for f in (exact.quadrature, exact.linear_gaussian):
        with pytest.raises(Fault, match='empty'):
            f(model, params, Split({'x': split.rows['x'][:0]}, None, identity()), KEY)
        with pytest.raises(Fault, match='not finite') as fault:
            f(model, {**params, 'b': params['b'] * jnp.nan}, split, KEY)
        assert fault.value.code == 4

"""Bounds and their gradients against models whose log p(x) is exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random, vmap
from jax.flatten_util import ravel_pytree

from tests import oracles
from tests.statistics import assert_mean
from vae_jax import bounds
from vae_jax.distributions import Bernoulli, Normal
from vae_jax.errors import Fault
from vae_jax.models import Model, standard_normal

KEY = random.key(1)
N = 20_000  # draws
MODEL = oracles.linear_gaussian(latent=2, dims=4)
EXACT = oracles.with_exact_encoder(oracles.rotated(MODEL.init(random.key(2), jnp.zeros(4))))
PARAMS = {**EXACT, 'V': 0.8 * EXACT['V'], 'log_std': EXACT['log_std'] + 0.2}  # an encoder that is near, and wrong
X = jnp.array([0.5, -1.0, 2.0, 0.3])

BOUNDS = {  # every bound: below log p(x) in the mean, finite, one trace
    'elbo': bounds.elbo,
    'elbo, monte carlo': lambda *a: bounds.elbo(*a, kl=bounds.monte_carlo),
    'iwae 1': lambda *a: bounds.iwae(*a, k=1),
    'iwae 8': lambda *a: bounds.iwae(*a, k=8),
}


def draws(f, params=PARAMS, n=N):
    return jax.jit(lambda keys: vmap(lambda key: f(MODEL, params, key, X))(keys))(random.split(KEY, n))


@pytest.mark.parametrize('name', BOUNDS)
def test_a_bound_is_below_log_p_and_compiles_once(name):
    values = draws(BOUNDS[name])
    se = np.std(values) / np.sqrt(N)
    assert np.all(np.isfinite(values)) and np.mean(values) < oracles.log_p(PARAMS, X) + 5 * se
    traces = []

    @jax.jit
    def f(params, key, x):
        traces.append(1)
        return BOUNDS[name](MODEL, params, key, x)

    f(PARAMS, KEY, X), f(PARAMS, random.key(9), X + 1)
    assert len(traces) == 1


@pytest.mark.parametrize('kl', [bounds.closed_form, bounds.monte_carlo])
def test_elbo_and_its_gradient_average_to_the_closed_form(kl):
    exact, grad = jax.value_and_grad(lambda p: oracles.elbo(p, MODEL.encode(p, X), X))(PARAMS)
    assert_mean(draws(lambda *a: bounds.elbo(*a, kl=kl)), exact)
    one = lambda m, p, key, x: ravel_pytree(jax.grad(lambda p: bounds.elbo(m, p, key, x, kl))(p))[0]
    assert_mean(draws(one), ravel_pytree(grad)[0])


def test_elbo_is_log_p_and_has_no_variance_at_the_exact_posterior():
    values = draws(BOUNDS['elbo, monte carlo'], EXACT, 100)
    np.testing.assert_allclose(values, oracles.log_p(EXACT, X), rtol=1e-5)


def test_oracle_knows_the_best_diagonal_posterior():
    params = MODEL.init(random.key(3), X)  # columns of W not orthogonal: a gap remains
    best = oracles.optimal_diagonal(params, X)
    precision = jnp.linalg.inv(oracles.posterior(params, X).covariance)
    gap = 0.5 * (jnp.sum(jnp.log(jnp.diag(precision))) - jnp.linalg.slogdet(precision)[1])
    np.testing.assert_allclose(oracles.log_p(params, X) - oracles.elbo(params, best, X), gap, rtol=2e-4)
    grads = jax.grad(lambda q: oracles.elbo(params, q, X))(best)
    np.testing.assert_allclose(ravel_pytree(grads)[0], 0, atol=2e-4)


def test_iwae_of_one_sample_is_the_elbo_in_value_and_gradient():
    inner = random.split(KEY, 1)[0]
    f = jax.value_and_grad(lambda p: bounds.iwae(MODEL, p, KEY, X, 1))
    g = jax.value_and_grad(lambda p: bounds.elbo(MODEL, p, inner, X, bounds.monte_carlo))
    for a, b in zip(jax.tree.leaves(f(PARAMS)), jax.tree.leaves(g(PARAMS))):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_iwae_rises_to_log_p():
    exact = oracles.log_p(PARAMS, X)
    means = [np.mean(draws(lambda *a, k=k: bounds.iwae(*a, k=k), n=4000)) for k in (1, 4, 32, 256)]
    assert np.all(np.diff(means) > 0) and means[-1] < exact + 0.02
    np.testing.assert_allclose(means[-1], exact, atol=0.05)


def test_weights_average_to_p():
    ratio = lambda m, p, key, x: jnp.exp(bounds.log_weights(m, p, key, x, 1)[0] - oracles.log_p(p, x))
    assert_mean(draws(ratio), 1.0)


def test_quadrature_equals_the_closed_form_and_serves_any_decoder():
    model = oracles.linear_gaussian(latent=1, dims=4)
    params = model.init(random.key(4), X)
    with jax.enable_x64(True):
        wide, x = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), jnp.float64), (params, X))
        by_sum = jax.value_and_grad(lambda p: oracles.log_p_by_quadrature(model, p, x))(wide)
        by_formula = jax.value_and_grad(lambda p: oracles.log_p(p, x))(wide)
        np.testing.assert_allclose(by_sum[0], by_formula[0], rtol=1e-10)
        np.testing.assert_allclose(ravel_pytree(by_sum[1])[0], ravel_pytree(by_formula[1])[0], rtol=1e-9, atol=1e-9)

    def decode(params, z):
        return Bernoulli(2 * jnp.sin(params['W'] @ z + params['b']))

    curved = Model(model.init, standard_normal(1), model.encode, decode)
    x = (X > 0.4).astype(jnp.float32)
    exact, grad = jax.value_and_grad(lambda p: oracles.log_p_by_quadrature(curved, p, x))(params)
    ratio = lambda key: jnp.exp(bounds.log_weights(curved, params, key, x, 1)[0] - exact)
    assert_mean(jax.jit(vmap(ratio))(random.split(KEY, N)), 1.0)

    def weighted_gradient(key):  # E_q[w grad log p(x, z)] = grad p(x): the exact gradient, through samples
        q = curved.encode(params, x)
        z = q.sample(key)
        joint = lambda p: curved.decode(p, z).log_prob(x) + curved.prior(p).log_prob(z)
        w = jnp.exp(joint(params) - q.log_prob(z) - exact)
        return w * ravel_pytree(jax.grad(joint)(params))[0]

    assert_mean(jax.jit(vmap(weighted_gradient))(random.split(KEY, N)), ravel_pytree(grad)[0])


def test_effective_samples_counts():
    np.testing.assert_allclose(bounds.effective_samples(jnp.zeros(7)), 7, rtol=1e-6)
    np.testing.assert_allclose(bounds.effective_samples(jnp.array([0.0, -200.0, -200.0])), 1, rtol=1e-6)


def test_bad_calls_are_refused_in_one_line():
    discrete = MODEL._replace(encode=lambda p, x: Bernoulli(jnp.zeros(2)))
    for f in (bounds.elbo, lambda *a: bounds.iwae(*a, k=2)):
        with pytest.raises(Fault, match='reparameterized'):
            f(discrete, PARAMS, KEY, X)
    with pytest.raises(Fault, match='k is 0'):
        bounds.iwae(MODEL, PARAMS, KEY, X, 0)
    with pytest.raises(Fault, match='monte_carlo'):
        Normal(jnp.zeros(2), jnp.zeros(2)).kl(Bernoulli(jnp.zeros(2)))

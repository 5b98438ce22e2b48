"""Radial flows against their Jacobian, their inverse and their formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random, vmap

from tests import oracles
from tests.families import quick_jit
from vae_jax import bounds, flows
from vae_jax.distributions import Normal
from vae_jax.errors import Fault
from vae_jax.flows.radial import radial
from vae_jax.models import flow_posterior, flow_prior

KEY = random.key(5)
STRENGTHS = [-30.0, -8.0, -1.0, 0.0, 2.0, 30.0]


def numbers(strength, d=3, dtype=jnp.float32):
    return {
        'center': jnp.linspace(-0.5, 0.7, d).astype(dtype),
        'log_alpha': jnp.asarray(-0.4, dtype),
        'strength': jnp.asarray(strength, dtype),
    }


@pytest.mark.parametrize('strength', STRENGTHS)
@pytest.mark.parametrize('d', [1, 3])
def test_the_log_determinant_is_that_of_the_jacobian_and_the_inverse_goes_back(strength, d):
    with jax.enable_x64(True):
        params = numbers(strength, d, jnp.float64)
        zs = 1.5 * random.normal(KEY, (20, d), jnp.float64)

        @quick_jit
        def all_of(z):
            y, log_det = radial.forward(params, z)
            return y, log_det, jax.jacfwd(lambda z: radial.forward(params, z)[0])(z), radial.inverse(params, y)

        y, log_det, jacobian, (back, log_back) = vmap(all_of)(zs)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(np.asarray(jacobian))[1], atol=1e-7)
    # what is drawn to one point leaves its digits there: a contraction by 1e-13 keeps three
    np.testing.assert_allclose(back, zs, atol=1e-10 if strength > -20 else 1e-2)
    np.testing.assert_allclose(log_back, -log_det, atol=1e-8 if strength > -20 else 1e-1)


def test_it_is_the_formula_of_the_paper():
    params, z = numbers(1.3), jnp.array([0.4, -2.0, 1.0])
    alpha = np.exp(-0.4)
    beta = alpha * (np.log1p(np.exp(1.3 + np.log(np.e - 1))) - 1)
    away = np.asarray(z, np.float64) - np.asarray(params['center'], np.float64)
    r = np.linalg.norm(away)
    h = 1 / (alpha + r)
    y, log_det = radial.forward(params, z)
    np.testing.assert_allclose(y, np.asarray(z) + beta * h * away, rtol=1e-5)
    expected = 2 * np.log(1 + beta * h) + np.log(1 + beta * h - beta * r * h**2)
    np.testing.assert_allclose(log_det, expected, rtol=1e-5)


def test_it_starts_near_the_identity_and_has_gradients_at_its_center():
    params = radial.init(KEY, jnp.zeros(4))
    z = random.normal(KEY, (4,))
    y, log_det = radial.forward(params, z)
    np.testing.assert_allclose(y, z, atol=0.1)
    np.testing.assert_allclose(log_det, 0, atol=0.1)
    still = radial.forward({**params, 'strength': jnp.zeros(())}, z)
    np.testing.assert_allclose(still[0], z, atol=1e-6)
    for strength in STRENGTHS:
        # the way back from a point that all of a ball was drawn to has a slope of 1e13
        for f in (radial.forward, *[radial.inverse] * (strength > -20)):
            total = lambda p, z, f=f: sum(jnp.sum(a) for a in f(p, z))
            params = numbers(strength)
            slopes = jax.grad(total, (0, 1))(params, params['center'])
            assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))


def test_densities_integrate_to_one_and_a_chain_has_an_inverse():
    two = flows.chain(radial, radial)
    params = (numbers(1.0, 2), {**numbers(-1.0, 2), 'center': jnp.array([1.0, 0.0])})
    q = flows.Flowed(Normal(jnp.zeros(2), jnp.full(2, -0.2)), params, two)
    ticks = jnp.linspace(-9, 9, 401)
    grid = jnp.stack(jnp.meshgrid(ticks, ticks), -1).reshape(-1, 2)
    log_p = np.asarray(quick_jit(lambda q, grid: vmap(q.log_prob)(grid))(q, grid), np.float64)
    assert np.exp(log_p).sum() * float(ticks[1] - ticks[0]) ** 2 == pytest.approx(1, abs=2e-3)
    y, log_q = q.sample_and_log_prob(KEY)
    np.testing.assert_allclose(q.log_prob(y), log_q, atol=1e-4)


def test_beside_planar_flows_it_is_a_posterior_and_alone_a_prior():
    model, x = oracles.linear_gaussian(2, 3), jnp.array([0.5, -1.0, 0.7])
    for wrapped, name in (
        (flow_posterior(model, flows.chain(flows.planar, radial, flows.planar, radial)), 'flow_posterior'),
        (flow_prior(model, radial), 'flow_prior'),
    ):
        params = wrapped.init(KEY, x)
        found = quick_jit(jax.value_and_grad(lambda p, m=wrapped: bounds.elbo(m, p, KEY, x, bounds.monte_carlo)))
        value, grads = found(params)
        assert np.isfinite(value) and all(np.any(leaf != 0) for leaf in jax.tree.leaves(grads[name]))
    with pytest.raises(Fault, match='one vector'):
        radial.init(KEY, jnp.zeros((2, 2)))

"""The log-cosh density: its total, its spread, its samples, its two limits, and digits where cosh has none."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from jax import random, vmap

from tests import small
from tests.families import quick_jit
from vae_jax import bounds, vae
from vae_jax.distributions import Laplace, Normal
from vae_jax.distributions.hyperbolic import LogCosh, fixed_log_cosh, log_cosh, log_cosh_of, unit_log_std
from vae_jax.errors import Fault
from vae_jax.networks import mlp_decoder, mlp_encoder

KEY = random.key(6)
SHARPNESS = [1e-4, 0.05, 0.5, 1.0, 3.0, 10.0, 100.0]


@pytest.mark.parametrize('sharpness', SHARPNESS)
@pytest.mark.parametrize('log_std', [-3.0, 0.7])
def test_the_density_integrates_to_one_with_the_spread_it_names(sharpness, log_std):
    mean, std = 0.3, math.exp(log_std)
    with jax.enable_x64(True):
        p = LogCosh(jnp.asarray(mean), jnp.asarray(log_std), sharpness)
        half = np.linspace(0, 60, 200_001)  # the mean is a node: the corner of a sharp one lies on it
        x = mean + std * np.concatenate([-half[:0:-1], half])
        density = np.exp(np.asarray(vmap(p.log_prob)(jnp.asarray(x))))
    total = scipy.integrate.simpson(density, x=x)
    np.testing.assert_allclose(total, 1, atol=3e-7)
    np.testing.assert_allclose(scipy.integrate.simpson(density * (x - mean) ** 2, x=x), std**2, rtol=1e-6)


@pytest.mark.parametrize('sharpness', SHARPNESS)
def test_it_is_the_formula_with_scipys_functions(sharpness):
    nu, x = 1 / sharpness, np.linspace(-4, 4, 9)
    std = nu * np.sqrt(scipy.special.polygamma(1, nu / 2) / 2)
    np.testing.assert_allclose(unit_log_std(sharpness), np.log(std), rtol=1e-11, atol=1e-12)
    cost = (np.logaddexp(sharpness * x, -sharpness * x) - np.log(2)) / sharpness
    log_z = np.log(nu) + 0.5 * np.log(np.pi) + scipy.special.gammaln(nu / 2) - scipy.special.gammaln((nu + 1) / 2)
    with jax.enable_x64(True):
        p = fixed_log_cosh(sharpness, unit_log_std(sharpness)).from_features(jnp.zeros((9, 1)))
        np.testing.assert_allclose(p.each(jnp.asarray(x)), -cost - log_z, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('sharpness', [0.05, 1.0, 100.0])
def test_samples_have_its_distribution_function(sharpness):
    mean, log_std = jnp.full(20_000, 0.3), jnp.full(20_000, -0.4)
    draw = lambda mean, log_std: LogCosh(mean, log_std, sharpness).sample(KEY)
    sample, slopes = quick_jit(lambda *leaves: jax.jvp(draw, leaves, (jnp.ones(20_000), jnp.ones(20_000))))(
        mean, log_std
    )
    np.testing.assert_allclose(slopes, 1 + sample - mean, atol=1e-4)
    draws = np.asarray(sample, np.float64)
    nu = 1 / sharpness
    v = (draws - 0.3) / math.exp(-0.4) * math.sqrt(scipy.special.polygamma(1, nu / 2) / 2)
    # the law of sigmoid(2 v), from the nearer end: a beta's mass near 1 is lost to rounding
    tail = scipy.stats.beta.cdf(scipy.special.expit(-2 * np.abs(v)), nu / 2, nu / 2)
    assert scipy.stats.kstest(np.where(v < 0, tail, 1 - tail), 'uniform').pvalue > 1e-4


def test_gradients_are_exact_and_limits_are_normal_and_laplace():
    x, mean, log_std = jnp.array([-2.0, 0.31, 3.0]), jnp.array([0.5, 0.3, -1.0]), jnp.array([0.2, -1.0, 0.0])
    with jax.enable_x64(True):
        leaves = [jnp.asarray(np.asarray(a), jnp.float64) for a in (x, mean, log_std)]
        for sharpness in (0.05, 1.0, 10.0):
            value = lambda x, mean, log_std, s=sharpness: LogCosh(mean, log_std, s).log_prob(x)
            slopes = quick_jit(jax.grad(value, (0, 1, 2)))(*leaves)
            forward = quick_jit(lambda *at, f=value: jax.jvp(f, at, tuple(jnp.ones_like(a) for a in at)))(*leaves)[1]
            std_of_v = np.sqrt(scipy.special.polygamma(1, 0.5 / sharpness) / 2)
            v = std_of_v * (leaves[0] - leaves[1]) * np.exp(-leaves[2])
            pull = -np.tanh(v) / sharpness  # of one v
            expected = pull * std_of_v * np.exp(-leaves[2]), -pull * std_of_v * np.exp(-leaves[2]), -pull * v - 1
            np.testing.assert_allclose(slopes, expected, rtol=1e-9)
            np.testing.assert_allclose(forward, sum(np.sum(e) for e in expected), rtol=1e-9)
        x, mean, log_std = leaves
        np.testing.assert_allclose(LogCosh(mean, log_std, 1e-7).each(x), Normal(mean, log_std).each(x), atol=1e-4)
        np.testing.assert_allclose(LogCosh(mean, log_std, 1e6).each(x), Laplace(mean, log_std).each(x), atol=1e-4)


def test_log_cosh_keeps_its_digits_near_zero_and_far_from_it():
    v = np.array([0.0, 1e-12, 1e-6, 1e-3, 0.1, 0.999, 1.0, 1.001, 5.0, 80.0, 1e30])
    v = np.concatenate([v, -v])
    wide = np.abs(v)
    expected = np.where(
        wide < 0.5, np.log1p(2 * np.sinh(np.minimum(wide, 1) / 2) ** 2), np.logaddexp(v, -v) - np.log(2)
    )
    found, slope = vmap(jax.value_and_grad(log_cosh_of))(jnp.asarray(v, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=2e-6)
    np.testing.assert_allclose(slope, np.tanh(v), rtol=2e-6)


def test_extreme_features_stay_finite_and_a_batch_is_refused():
    family = log_cosh(10.0)
    f = jnp.array([[8.0, -8.0], [-8.0, 8.0], [0.0, 0.0]])
    value, grad = jax.value_and_grad(lambda f: family.from_features(f).log_prob(jnp.array([1.0, 0.0, 0.5])))(f)
    assert np.isfinite(value) and np.all(np.isfinite(grad)) and np.any(grad[2] != 0)
    with pytest.raises(Fault, match='vmap'):
        vmap(family.from_features)(jnp.zeros((2, 3, 2))).log_prob(jnp.zeros((2, 3)))
    with pytest.raises(Fault, match='no closed form'):
        bounds.closed_form(LogCosh(jnp.zeros(2), jnp.zeros(2)), Normal(jnp.zeros(2), jnp.zeros(2)), None, None)
    for bad in (0.0, -1.0, math.nan):
        with pytest.raises(Fault, match='above 0'):
            log_cosh(bad)


@pytest.mark.parametrize('family', [log_cosh(10.0), fixed_log_cosh(10.0, -1.0)])
def test_as_a_likelihood_all_of_the_model_learns(family):
    like = small.DATA.example
    model = vae(mlp_encoder((8,)), mlp_decoder((8,)), latent=2, like=like, likelihood=family)
    params = model.init(KEY, like)
    grads = quick_jit(jax.grad(lambda p: -bounds.elbo(model, p, KEY, like)))(params)
    assert all(np.any(leaf != 0) and np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(grads['decode']))

"""Unit vectors from dimension 2 to 512 and concentration 1e-6 to 1e4: normalizers, samples, their gradients, KLs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from jax import random, vmap

from tests.families import quick_jit
from tests.statistics import assert_mean
from vae_jax import distributions as d
from vae_jax.distributions import special
from vae_jax.errors import Fault

KEY = random.key(0)
DIMS = [2, 3, 10, 64, 512]
SOME_DIMS = [10, *(pytest.param(dims, marks=pytest.mark.slow) for dims in (2, 3, 64, 512))]
KAPPAS = np.array([1e-6, 1e-3, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4])
FAMILIES = {'vmf': d.VonMisesFisher, 'power': d.PowerSpherical}


def log_mean_of(name, kappa, dims):
    """log E_uniform[exp(kappa x_1)] by its power series, all terms positive; of ((1 + x_1) / 2)^kappa by log-beta."""
    if name == 'power':
        half = (dims - 1) / 2
        return scipy.special.betaln(half + kappa, half) - scipy.special.betaln(half, half)
    n = np.arange(1, 20_000)
    log_terms = np.cumsum(np.log(kappa**2 / 4) - np.log(n) - np.log(dims / 2 + n - 1))
    return np.logaddexp(0, scipy.special.logsumexp(log_terms))


def unit(dims, seed=0):
    v = np.random.default_rng(seed).normal(size=dims)
    return v / np.linalg.norm(v)


@pytest.mark.parametrize('dims', [2, 64, 512, *(pytest.param(d, marks=pytest.mark.slow) for d in (3, 10))])
def test_normalizers_and_their_slopes_are_exact_in_both_precisions(dims):
    expected = np.array([log_mean_of('vmf', k, dims) for k in KAPPAS])
    steps = KAPPAS * 1e-3
    up, down = (np.array([log_mean_of('vmf', k, dims) for k in KAPPAS + s]) for s in (steps, -steps))
    power = np.array([log_mean_of('power', k, dims) for k in KAPPAS])

    def of_kappa(k):
        (value, less), slope = jax.value_and_grad(lambda k: special.log_sphere_mean(k, dims), has_aux=True)(k)
        return (value, slope), less, jax.value_and_grad(lambda k: special.log_beta_mean(k, dims))(k)

    slope = scipy.special.digamma((dims - 1) / 2 + KAPPAS) - scipy.special.digamma(dims - 1 + KAPPAS)
    for dtype, rtol in ((np.float32, 1e-6), (np.float64, 1e-9)):
        with jax.enable_x64(True):
            kappa = jnp.asarray(KAPPAS, dtype)
            both, less, beta = quick_jit(vmap(of_kappa))(kappa)
        np.testing.assert_allclose(both[0], expected, rtol=rtol)
        np.testing.assert_allclose(both[1], (up - down) / (2 * steps), rtol=max(rtol, 1e-5))
        # scaled by exp(-kappa), so that 1e4 does not drown the rest
        np.testing.assert_allclose(less, KAPPAS - expected, rtol=3 * rtol)
        np.testing.assert_allclose(beta[0], power, rtol=rtol, atol=1e-11)
        np.testing.assert_allclose(beta[1], slope, rtol=3 * rtol, atol=1e-12)


@pytest.mark.parametrize('name', FAMILIES)
@pytest.mark.parametrize('dims', DIMS)
def test_densities_integrate_to_one_over_the_sphere(name, dims):
    # by the angle to the direction: area of the sphere of R^(d-1) times sin^(d-2), in double precision
    for kappa in (1e-6, 1.0, 100.0, 1e4):
        mu = unit(dims)
        across = np.linalg.svd(mu[None])[2][1]
        if name == 'vmf':
            mode = 2 * kappa / (dims - 2 + np.sqrt((dims - 2) ** 2 + 4 * kappa**2))
        else:
            mode = kappa / (kappa + dims - 2) if dims > 2 else 1.0
        centre, width = np.arccos(mode), 1 / np.sqrt(kappa / 2 + dims - 2 + 1e-9)
        ends = np.clip([centre - 16 * width, centre + 16 * width], 0, np.pi)
        nodes, weights = np.polynomial.legendre.leggauss(400)
        angle = ends[0] + (ends[1] - ends[0]) * (nodes + 1) / 2
        xs = np.cos(angle)[:, None] * mu + np.sin(angle)[:, None] * across
        with jax.enable_x64(True):
            p = FAMILIES[name](jnp.asarray(mu), jnp.asarray(np.log(kappa)))
            log_p = np.asarray(vmap(p.log_prob)(jnp.asarray(xs)))
        log_area = np.log(2) + (dims - 1) / 2 * np.log(np.pi) - scipy.special.gammaln((dims - 1) / 2)
        log_terms = log_p + log_area + (dims - 2) * np.log(np.sin(angle)) + np.log(weights * (ends[1] - ends[0]) / 2)
        np.testing.assert_allclose(scipy.special.logsumexp(log_terms), 0.0, atol=1e-8)


def test_von_mises_fisher_is_scipys_and_the_uniform_is_a_constant():
    for dims, kappa in ((2, 3.0), (3, 0.5), (10, 40.0)):
        mu, x = unit(dims), unit(dims, 1)
        expected = scipy.stats.vonmises_fisher(mu, kappa).logpdf(x)
        p = d.VonMisesFisher(jnp.asarray(mu, jnp.float32), jnp.log(kappa))
        np.testing.assert_allclose(p.log_prob(jnp.asarray(x, jnp.float32)), expected, rtol=1e-5)
    np.testing.assert_allclose(d.HypersphericalUniform(3).log_prob(jnp.array([0.0, 0.6, 0.8])), -np.log(4 * np.pi))
    np.testing.assert_allclose(
        d.HypersphericalUniform(2).log_prob(jnp.array([0.6, 0.8])), -np.log(2 * np.pi), rtol=1e-6
    )
    draws = vmap(d.HypersphericalUniform(5).sample)(random.split(KEY, 4_000))
    np.testing.assert_allclose(jnp.sum(draws**2, -1), 1.0, rtol=1e-5)
    assert_mean(draws[:, :, None] * draws[:, None], np.eye(5) / 5)
    # importance sampling from the uniform: another road to a total of one
    p = d.PowerSpherical(jnp.asarray(unit(5), jnp.float32), jnp.log(2.0))
    assert_mean(jnp.exp(vmap(p.log_prob)(draws) - d.HypersphericalUniform(5).log_prob(draws[0])), 1.0)


@pytest.mark.parametrize('name', FAMILIES)
@pytest.mark.parametrize('dims', SOME_DIMS)
def test_samples_and_their_gradients_at_every_concentration(name, dims):
    """Two moments of 1 - direction.x, and the mean of their pathwise gradients: the derivative of the moments."""
    n = 1_000 if dims == 512 else 4_000
    mu = jnp.asarray(unit(dims), jnp.float32)
    kappas = np.array([1e-6, 0.5, 20.0, 1e4])

    def draws(log_kappa):
        def one(key):
            moments = lambda lk: jnp.stack([v := 1 - FAMILIES[name](mu, lk).sample(key) @ mu, v * v])
            slopes = jax.jvp(moments, (log_kappa,), (jnp.ones_like(log_kappa),))
            x = FAMILIES[name](mu, log_kappa).sample(key)
            return *slopes, x @ x

        return jax.lax.map(one, random.split(KEY, n), batch_size=n)

    values, slopes, norms = vmap(quick_jit(draws))(jnp.log(jnp.asarray(kappas, jnp.float32)))
    np.testing.assert_allclose(norms, 1.0, atol=1e-5)
    for i, kappa in enumerate(kappas):
        moments = [_moments(LOG_POWER[name], k, dims) for k in kappa * np.exp([-1e-4, 0, 1e-4])]
        assert_mean(values[i], moments[1])
        assert_mean(slopes[i], (moments[2] - moments[0]) / 2e-4)


LOG_POWER = {'vmf': lambda v: -v, 'power': lambda v: np.log1p(-v / 2)}  # of a density in v, but for kappa


def _moments(log_power, kappa, dims):
    """E[v], E[v^2] of v = 1 - cos(angle) by quadrature over the angle, where the density is not negligible."""
    angle = np.linspace(0, np.pi, 200_001)[1:-1]
    v = 2 * np.sin(angle / 2) ** 2
    log_p = kappa * log_power(v) + (dims - 2) * np.log(np.sin(angle))
    p = np.exp(log_p - log_p.max())
    return np.array([p @ v, p @ v**2]) / p.sum()


@pytest.mark.parametrize('name', FAMILIES)
@pytest.mark.parametrize('dims', SOME_DIMS)
def test_kl_to_the_uniform_is_exact_with_its_gradient(name, dims):
    def kl(log_kappa):
        return FAMILIES[name](jnp.asarray(unit(dims), log_kappa.dtype), log_kappa).kl(d.HypersphericalUniform(dims))

    with jax.enable_x64(True):
        exact, slope = quick_jit(vmap(jax.value_and_grad(kl)))(jnp.asarray(np.log(KAPPAS)))
    rough, rough_slope = quick_jit(vmap(jax.value_and_grad(kl)))(jnp.asarray(np.log(KAPPAS), jnp.float32))
    # KL = kappa F' - F, with F' by central differences of the exact F
    step = 1e-3
    f = np.array(
        [[log_mean_of(name, k * np.exp(s), dims) for s in (-2 * step, -step, 0, step, 2 * step)] for k in KAPPAS]
    )
    expected = (f[:, 0] - 8 * f[:, 1] + 8 * f[:, 3] - f[:, 4]) / (12 * step) - f[:, 2]
    np.testing.assert_allclose(exact, expected, rtol=1e-5, atol=3e-9)
    np.testing.assert_allclose(rough, exact, rtol=3e-5, atol=3e-7)
    np.testing.assert_allclose(rough_slope, slope, rtol=1e-3, atol=1e-6)
    assert np.all(np.asarray(exact)[1:] > 0) and np.all(np.diff(np.asarray(exact)) > 0)


@pytest.mark.parametrize('name', FAMILIES)
def test_kl_is_the_mean_of_log_ratios_and_others_are_refused(name):
    q, p = FAMILIES[name](jnp.asarray(unit(6), jnp.float32), jnp.log(9.0)), d.HypersphericalUniform(6)

    def ratio(key):
        z, log_q = q.sample_and_log_prob(key)
        return log_q - p.log_prob(z)

    assert_mean(quick_jit(vmap(ratio))(random.split(KEY, 10_000)), quick_jit(lambda q: q.kl(p))(q))
    with pytest.raises(Fault, match='no closed form.*monte_carlo'):
        q.kl(d.Normal(jnp.zeros(6), jnp.zeros(6)))
    with pytest.raises(Fault, match='6 dimensions met a prior over 7'):
        q.kl(d.HypersphericalUniform(7))
    with pytest.raises(Fault, match='no closed form'):
        d.Normal(jnp.zeros(6), jnp.zeros(6)).kl(p)
    with pytest.raises(Fault, match='2 or more'):
        d.HypersphericalUniform(1)
    assert q.support == p.support != d.Normal.support


@pytest.mark.slow
@pytest.mark.parametrize('name', FAMILIES)
def test_the_direction_learns_by_exact_pathwise_gradients(name):
    """E[f(x)], f quadratic, at d = 2 and 3 where reflections and projections go wrong most easily."""
    for dims in (2, 3):
        matrix = jnp.asarray(np.random.default_rng(2).normal(size=(dims, dims)), jnp.float32)

        def second(v, dims=dims, matrix=matrix):
            """E[x' M x] = E[t^2] mu' M mu + E[1 - t^2] (tr M - mu' M mu) / (d - 1)."""
            mu = v / jnp.sqrt(v @ v)
            one, two = _moments(LOG_POWER[name], 1.7, dims)
            square = 1 - 2 * one + two
            along = mu @ matrix @ mu
            return square * along + (1 - square) * (jnp.trace(matrix) - along) / (dims - 1)

        def drawn(v, key, matrix=matrix):
            x = FAMILIES[name](v / jnp.sqrt(v @ v), jnp.log(1.7)).sample(key)
            return x @ matrix @ x

        for v in (unit(dims, 1), -unit(dims, 3), np.eye(dims)[0], -np.eye(dims)[0]):
            v = jnp.asarray(v, jnp.float32)
            slopes = quick_jit(vmap(jax.grad(drawn), (None, 0)))(v, random.split(KEY, 6_000))
            assert_mean(slopes, jax.grad(second)(v))


def test_features_without_a_direction_point_along_the_first_axis():
    make = d.VonMisesFisher.from_features
    q, grads = quick_jit(lambda f: (make(f), jax.jacobian(make)(f)))(jnp.zeros((4, 2)))
    np.testing.assert_array_equal(q.direction, [1, 0, 0, 0])
    np.testing.assert_allclose(jnp.exp(q.log_concentration), 4.0, rtol=1e-6)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(grads))

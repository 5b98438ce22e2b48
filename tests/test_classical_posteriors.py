"""Posteriors by grids, Laplace, mean field, gradients and HMC: each against a formula, scipy, or another of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random
from scipy import stats

from vae_jax.classical import grids, hmc, laplace, mean_field, normal_gamma, variational
from vae_jax.distributions import Bernoulli, FullNormal, Normal
from vae_jax.errors import Fault

pytestmark = pytest.mark.usefixtures('quickly_compiled')

COVARIANCE = np.array([[1.0, -0.9], [-0.9, 2.0]])
LOWER = jnp.asarray(np.linalg.cholesky(COVARIANCE), jnp.float32)
GAUSSIAN = FullNormal(jnp.array([0.5, -1.0]), jnp.log(jnp.diag(LOWER)), LOWER)
AXES = grids.steps_of(-7, 8, 121), grids.steps_of(-11, 9, 121)
X = jnp.array([171.0, 158.5, 163.0, 166.5, 160.0])
PRIOR = normal_gamma.NormalGamma(160.0, 2.0, 1.5, 40.0)
KEY = random.key(3)


def skewed(z):
    """Logistic regression on three observations: one mode, no Gaussian."""
    return Normal(jnp.zeros(2), jnp.full(2, 0.3)).log_prob(z) + Bernoulli(
        z[0] + z[1] * jnp.array([0.5, 2.0, 3.0])
    ).log_prob(jnp.array([0.0, 1.0, 1.0]))


@pytest.fixture(scope='module')
def exact():
    return grids.gridded(GAUSSIAN.log_prob, AXES)


def test_a_grid_has_the_integral_the_moments_and_the_marginals_of_a_gaussian(exact):
    scaled = grids.gridded(lambda z: GAUSSIAN.log_prob(z) + 2.5, AXES)
    np.testing.assert_allclose(scaled.log_total, 2.5, atol=1e-4)
    mean, covariance = grids.moments(exact)
    np.testing.assert_allclose(mean, GAUSSIAN.mean, atol=1e-4)
    np.testing.assert_allclose(covariance, COVARIANCE, atol=1e-3)
    first = grids.marginal(exact, 1)
    np.testing.assert_allclose(first.log_prob[40:80], stats.norm.logpdf(AXES[1][40:80], -1, 2**0.5), atol=1e-3)
    fitted = grids.gaussian(exact)
    np.testing.assert_allclose(fitted.factor, GAUSSIAN.factor, atol=1e-3)


def test_divergences_of_grids_are_those_of_formulas(exact):
    other = FullNormal(jnp.array([0.0, 0.0]), jnp.zeros(2), jnp.zeros((2, 2)))
    q = grids.gridded(other.log_prob, AXES)
    np.testing.assert_allclose(grids.divergence(q, exact), other.kl(GAUSSIAN), rtol=1e-3)
    np.testing.assert_allclose(grids.divergence(exact, q), GAUSSIAN.kl(other), rtol=1e-3)
    alone = grids.product(grids.marginal(exact, 0), grids.marginal(exact, 1))  # the KL is the mutual information
    correlation = COVARIANCE[0, 1] / np.sqrt(COVARIANCE[0, 0] * COVARIANCE[1, 1])
    np.testing.assert_allclose(grids.divergence(exact, alone), -0.5 * np.log(1 - correlation**2), atol=1e-3)


def test_a_level_bounds_the_mass_of_a_gaussian(exact):
    edge = float(GAUSSIAN.log_prob(GAUSSIAN.mean)) - 0.5 * stats.chi2.ppf(0.9, 2)
    assert grids.level(exact) == pytest.approx(edge, abs=0.02)


def test_laplace_is_exact_of_a_gaussian_from_far_away():
    far = laplace.laplace_approximation(lambda z: GAUSSIAN.log_prob(z) - 4.0, jnp.array([30.0, -50.0]))
    np.testing.assert_allclose(far.q.mean, GAUSSIAN.mean, atol=1e-4)
    np.testing.assert_allclose(far.q.factor, GAUSSIAN.factor, atol=1e-4)
    np.testing.assert_allclose(far.log_total, -4.0, atol=1e-4)


def test_laplace_has_the_mode_and_curvature_of_a_gamma_to_float64():
    # of log tau: log f = a log tau - b tau, whose mode is log(a / b) and curvature a (MacKay 2003, exercise 27.1)
    a, b = 3.0, 2.0
    with jax.enable_x64(True):
        found = laplace.laplace_approximation(lambda z: a * z[0] - b * jnp.exp(z[0]), jnp.array([4.0]))
        np.testing.assert_allclose(found.q.mean, [np.log(a / b)], rtol=1e-8)
        np.testing.assert_allclose(jnp.exp(2 * found.q.log_std), [1 / a], rtol=1e-8)
        stirling = 0.5 * np.log(2 * np.pi / a) + a * np.log(a) - a - a * np.log(b)
        np.testing.assert_allclose(found.log_total, stirling, rtol=1e-10)


def test_laplace_over_starts_finds_each_mode():
    two = lambda z: jnp.logaddexp(Normal(jnp.full(1, -4.0), jnp.zeros(1)).log_prob(z), -jnp.sum((z - 4) ** 2))
    found = jax.vmap(lambda start: laplace.around_mode(two, start))(jnp.array([[-3.0], [3.2]]))
    np.testing.assert_allclose(found.q.mean[:, 0], [-4, 4], atol=1e-3)


def test_laplace_refuses_a_ridge_and_a_start_that_is_no_vector():
    with pytest.raises(Fault, match='no mode was found'):
        laplace.laplace_approximation(lambda z: -(z[0] ** 2), jnp.ones(2))
    with pytest.raises(Fault, match='give one vector'):
        laplace.laplace_approximation(lambda z: -(z**2), jnp.ones(()))


def test_free_factors_of_a_gaussian_are_the_best_diagonal(exact):
    best = mean_field.best_diagonal(GAUSSIAN)
    np.testing.assert_allclose(jnp.exp(-2 * best.log_std), np.diag(np.linalg.inv(COVARIANCE)), rtol=1e-5)
    found = mean_field.free_form(exact, 60)
    assert float(grids.divergence(found.q, grids.gridded(best.log_prob, AXES))) < 1e-4
    assert np.all(np.diff(found.kls) < 1e-5) and np.ptp(found.kls[-10:]) < 1e-5
    np.testing.assert_allclose(
        found.kls[-1], FullNormal(best.mean, best.log_std, jnp.zeros((2, 2))).kl(GAUSSIAN), atol=1e-4
    )
    np.testing.assert_allclose(
        mean_field.moment_matched(GAUSSIAN).log_std, 0.5 * np.log(np.diag(COVARIANCE)), atol=1e-6
    )


def test_one_sweep_from_a_given_factor_is_the_expected_log_density(exact):
    start = -0.5 * (jnp.asarray(AXES[1], jnp.float32) - 1.0) ** 2  # N(1, 1)
    found = mean_field.free_form(exact, 1, (jnp.zeros(121), start))
    precision = np.linalg.inv(COVARIANCE)
    expected = 0.5 - precision[0, 1] / precision[0, 0] * (1.0 + 1.0)  # the conditional mean where z_2 is 1
    mean, variance = grids.moments(found.factors[0])
    np.testing.assert_allclose([mean[0], variance[0, 0]], [expected, 1 / precision[0, 0]], rtol=1e-3)


def test_three_axes_find_three_factors():
    axes = (grids.steps_of(-6, 6, 31),) * 3
    p = grids.gridded(Normal(jnp.array([1.0, 0.0, -1.0]), jnp.zeros(3)).log_prob, axes)
    found = mean_field.free_form(p, 2)
    assert abs(float(found.kls[-1])) < 1e-4 and len(found.factors) == 3
    np.testing.assert_allclose(grids.moments(found.q)[0], [1, 0, -1], atol=1e-3)


def test_the_posterior_of_a_normal_gamma_is_that_of_quadrature():
    axes = grids.steps_of(120, 200, 241), grids.steps_of(-8, -1, 241)

    def log_joint(z):  # over (mu, log tau)
        tau = jnp.exp(z[1])
        prior = stats_gamma(tau, PRIOR.shape, PRIOR.rate)
        prior += Normal(jnp.asarray(PRIOR.mean), -0.5 * jnp.log(PRIOR.worth * tau)).log_prob(z[0])
        return prior + Normal(jnp.full(5, z[0]), jnp.full(5, -0.5 * z[1])).log_prob(X) + z[1]

    p = grids.gridded(log_joint, axes)
    np.testing.assert_allclose(normal_gamma.log_evidence(PRIOR, X), p.log_total, atol=1e-3)
    exact = normal_gamma.exact_posterior(PRIOR, X)
    density = lambda z: exact.log_prob(z[0], jnp.exp(z[1])) + z[1]
    assert abs(float(grids.divergence(p, grids.gridded(density, axes)))) < 1e-4
    student = stats.t(2 * float(exact.shape), float(exact.mean), float((exact.rate / exact.shape / exact.worth) ** 0.5))
    np.testing.assert_allclose(grids.marginal(p, 0).log_prob[90:150], student.logpdf(axes[0][90:150]), atol=1e-2)


def stats_gamma(tau, shape, rate):
    return jax.scipy.stats.gamma.logpdf(tau * rate, shape) + jnp.log(rate)


def test_the_mean_field_of_a_normal_gamma_has_its_fixed_point_and_its_elbo():
    with jax.enable_x64(True):
        x = jnp.asarray(np.asarray(X), jnp.float64)
        exact, q = normal_gamma.exact_posterior(PRIOR, x), normal_gamma.factored_posterior(PRIOR, x)
        a = float(exact.shape)
        variance = float(exact.rate / (exact.worth * (a - 1)))
        np.testing.assert_allclose(jnp.exp(2 * q.mu.log_std), (a - 1) / a * variance, rtol=1e-10)
        np.testing.assert_allclose(q.shape / q.rate, exact.shape / exact.rate, rtol=1e-10)
        np.testing.assert_allclose(q.shape / q.rate**2, a / (a + 0.5) * exact.shape / exact.rate**2, rtol=1e-10)
        assert np.all(np.diff(q.elbos) > -1e-12) and q.elbos[1] > q.elbos[0]

        # log p(x) - ELBO = E_q[log q - log p(mu, tau | x)], by many draws of the factors
        draw = np.random.RandomState(0)
        mu = float(q.mu.mean) + float(jnp.exp(q.mu.log_std)) * draw.randn(200_000)
        tau = draw.gamma(float(q.shape), 1 / float(q.rate), 200_000)
        log_q = stats.norm.logpdf(mu, float(q.mu.mean), float(jnp.exp(q.mu.log_std)))
        log_q += stats.gamma.logpdf(tau, float(q.shape), scale=1 / float(q.rate))
        apart = log_q - np.asarray(exact.log_prob(jnp.asarray(mu), jnp.asarray(tau)))
        gap = float(normal_gamma.log_evidence(PRIOR, x) - q.elbos[-1])
        assert abs(gap - apart.mean()) < 5 * apart.std() / np.sqrt(len(apart)) and gap > 0.01


def test_bad_observations_and_priors_are_refused():
    with pytest.raises(Fault, match='at least one'):
        normal_gamma.exact_posterior(PRIOR, jnp.zeros(0))
    with pytest.raises(Fault, match='positive rate'):
        normal_gamma.log_evidence(PRIOR._replace(rate=0.0), X)
    with pytest.raises(Fault, match='sweeps is 0'):
        normal_gamma.factored_posterior(PRIOR, X, sweeps=0)


def test_gradients_find_the_gaussian_and_the_best_diagonal():
    start = FullNormal(jnp.zeros(2), jnp.zeros(2), jnp.zeros((2, 2)))
    fitted, elbos = variational.reverse_kl_fit(lambda z: GAUSSIAN.log_prob(z) + 1.5, start, KEY, steps=600)
    assert float(fitted.kl(GAUSSIAN)) < 1e-4
    np.testing.assert_allclose(elbos[-50:], 1.5, atol=1e-2)
    found, _ = variational.reverse_kl_fit(GAUSSIAN.log_prob, Normal(jnp.zeros(2), jnp.zeros(2)), KEY, steps=600)
    best = mean_field.best_diagonal(GAUSSIAN)
    np.testing.assert_allclose(found.mean, best.mean, atol=0.05)
    np.testing.assert_allclose(found.log_std, best.log_std, atol=0.05)


def test_hmc_has_the_means_and_the_covariance_of_the_grid():
    p = grids.gridded(skewed, (grids.steps_of(-8, 8, 121),) * 2)
    mode = laplace.laplace_approximation(skewed, jnp.zeros(2)).q
    starts = jnp.tile(mode.mean[None], (64, 1))
    for variance in (mode.factor @ mode.factor.T, jnp.exp(2 * mode.log_std)):
        drawn = hmc.hmc_draws(skewed, starts, KEY, steps=400, size=0.7, leapfrog=4, variance=variance)
        assert drawn.zs.shape == (64, 400, 2) and 0.8 < float(drawn.acceptance.mean()) < 1
        zs, (mean, covariance) = np.asarray(drawn.zs[:, 40:]), grids.moments(p)
        found, error = hmc.mean_of_chains(zs)
        assert np.all(np.abs(found - mean) < 5 * error) and np.all(error < 0.02)
        off = (zs - np.asarray(mean)).reshape(64, -1, 2)
        squares, error = hmc.mean_of_chains(off[..., :, None] * off[..., None, :])
        assert np.all(np.abs(squares - covariance) < 5 * error)


@pytest.mark.parametrize(
    'call, says',
    [
        (lambda: grids.steps_of(1, 0, 5), 'from low to high'),
        (lambda: grids.normalized(AXES, jnp.zeros((2, 2))), 'one value a point'),
        (lambda: grids.level(grids.normalized((jnp.arange(3.0),), jnp.zeros(3)), 1.0), 'between 0 and 1'),
        (lambda: mean_field.free_form(grids.normalized((jnp.arange(3.0),), jnp.zeros(3))), 'no factors'),
        (lambda: mean_field.free_form(grids.normalized((jnp.arange(3.0),) * 2, jnp.zeros((3, 3))), 0), 'sweeps is 0'),
        (
            lambda: mean_field.free_form(grids.normalized((jnp.arange(3.0),) * 2, jnp.zeros((3, 3))), 1, (X, X)),
            'one for each axis',
        ),
        (lambda: variational.reverse_kl_fit(GAUSSIAN.log_prob, GAUSSIAN, KEY, steps=0), 'counts of 1'),
        (lambda: variational.reverse_kl_fit(GAUSSIAN.log_prob, Bernoulli(jnp.zeros(2)), KEY), 'no gradient'),
        (lambda: hmc_from(jnp.zeros(2)), r'starts \[chains, d\]'),
        (lambda: hmc_from(jnp.zeros((2, 2)), steps=0), 'counts of 1'),
        (lambda: hmc_from(jnp.full((2, 2), jnp.inf)), 'not finite'),
        (lambda: hmc.mean_of_chains(jnp.zeros((1, 9))), 'no spread'),
    ],
)
def test_what_has_no_meaning_is_refused(call, says):
    with pytest.raises(Fault, match=says):
        call()


def hmc_from(starts, steps=2):
    return hmc.hmc_draws(GAUSSIAN.log_prob, starts, KEY, steps=steps, size=0.5, leapfrog=1, variance=jnp.ones(2))

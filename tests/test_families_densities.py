"""Densities against scipy and numpyro over grids, totals of one, and the special functions under them."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.special
import scipy.stats
from jax import random, vmap
from jax.scipy.special import logsumexp

from tests.families import quick_jit
from tests.statistics import assert_mean
from vae_jax import distributions as d
from vae_jax.distributions import special
from vae_jax.errors import Fault

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(0)


def f64(*arrays):
    return [jnp.asarray(np.asarray(a, np.float64)) for a in arrays]


def grid(*axes):
    return [a.ravel() for a in np.meshgrid(*axes)]


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def test_laplace_is_scipys(x64):
    x, mean, log_std = grid([-3.0, 0.0, 0.2, 4.0], [-1.0, 0.2], [-4.0, 0.0, 3.0])
    expected = scipy.stats.laplace.logpdf(x, mean, np.exp(log_std) / np.sqrt(2))
    np.testing.assert_allclose(d.Laplace(*f64(mean, log_std)).each(jnp.asarray(x)), expected, rtol=1e-12)


def test_full_normal_is_scipys_and_reads_nothing_above_the_diagonal(x64):
    rng = np.random.default_rng(0)
    mean, log_diagonal, lower, x = (rng.normal(size=s) for s in ((4,), (4,), (4, 4), (4,)))
    p = d.FullNormal(*f64(mean, log_diagonal, lower))
    factor = np.tril(lower, -1) + np.diag(np.exp(log_diagonal))
    oracle = scipy.stats.multivariate_normal(mean, factor @ factor.T)
    np.testing.assert_allclose(p.log_prob(jnp.asarray(x)), oracle.logpdf(x), rtol=1e-11)
    np.testing.assert_allclose(np.exp(2 * p.log_std), np.diag(oracle.cov), rtol=1e-12)
    draws = vmap(p.sample)(random.split(KEY, 20_000))
    assert_mean(draws[:, :, None] * draws[:, None], oracle.cov + np.outer(mean, mean))


@pytest.mark.parametrize('logits', [0.0, 1e-8, -1e-6, 1e-4, 1e-2, -0.999, 1.001, 7.0, 50.0, -50.0, 300.0])
def test_continuous_bernoulli_integrates_to_one_with_its_mean_and_gradient(logits):
    nodes, weights = np.polynomial.legendre.leggauss(200)
    x, w = (nodes + 1) / 2, weights / 2

    def log_prob(logits, x):
        return d.ContinuousBernoulli(logits).log_prob(x)

    @quick_jit
    def found(at, x):
        each = vmap(log_prob, (None, 0))(at, x)
        return each, d.ContinuousBernoulli(at).mean, jax.grad(log_prob)(at, jnp.full_like(at, 0.25))

    for dtype, rtol in ((np.float32, 3e-6), (np.float64, 1e-10)):
        with jax.enable_x64(True):
            at = jnp.asarray(logits, dtype)
            density, mean, slope = found(at, jnp.asarray(x, dtype))
        density = np.exp(np.asarray(density, np.float64))
        np.testing.assert_allclose(density @ w, 1.0, rtol=10 * rtol)
        np.testing.assert_allclose(mean, (density * x) @ w, rtol=10 * rtol)
        np.testing.assert_allclose(slope, 0.25 - (density * x) @ w, rtol=10 * rtol, atol=10 * rtol)


def test_continuous_bernoulli_keeps_digits_where_the_usual_form_has_none():
    # (2 atanh(1 - 2 p)) / (1 - 2 p) is 0 / 0 at p = 1/2; the normalizer there is 2, the log-density 0
    logits = jnp.array([0.0, 1e-8, 1e-6, 1e-4, 1e-3, 1e-2])
    values = d.ContinuousBernoulli(logits).each(jnp.full(6, 0.75))
    np.testing.assert_allclose(values, 0.25 * logits - logits**2 / 24, rtol=1e-5, atol=1e-12)
    for curve in (jax.grad, lambda f: jax.grad(jax.grad(f))):
        assert bool(jnp.all(jnp.isfinite(vmap(curve(special.log_sinhc))(logits))))


def test_relaxed_bernoulli_is_numpyros_in_logits(x64):
    logits, t, z = grid([-3.0, 0.0, 2.0], [0.2, 1.0, 3.0], [-6.0, 0.1, 4.0])
    with jax.numpy_rank_promotion('allow'):
        in_unit = dist.RelaxedBernoulliLogits(*f64(t, logits)).log_prob(jax.nn.sigmoid(jnp.asarray(z)))
    expected = in_unit + jax.nn.log_sigmoid(jnp.asarray(z)) + jax.nn.log_sigmoid(-jnp.asarray(z))
    p = d.RelaxedBernoulli(*f64(logits, np.log(t)))
    np.testing.assert_allclose(p.each(jnp.asarray(z)), expected, rtol=1e-9)


def test_gumbel_softmax_of_two_is_the_relaxed_bernoulli_and_of_three_integrates_to_one(x64):
    logits, t, z = jnp.array([0.7, -0.4]), 0.6, 1.3
    two = d.GumbelSoftmax(logits, jnp.log(t)).log_prob(jnp.array([z / 2, -z / 2]))
    one = d.RelaxedBernoulli(logits[0] - logits[1], jnp.log(t)).log_prob(jnp.asarray(z))
    np.testing.assert_allclose(two, one, rtol=1e-12)
    p = d.GumbelSoftmax(jnp.array([0.7, -0.4, 0.1]), jnp.log(t))
    ticks = jnp.linspace(-60, 60, 1201)
    centred = lambda a, b: jnp.stack([a, b, jnp.zeros(())]) - (a + b) / 3
    log_p = vmap(lambda a: vmap(lambda b: p.log_prob(centred(a, b)))(ticks))(ticks)
    np.testing.assert_allclose(logsumexp(log_p) + 2 * jnp.log(ticks[1] - ticks[0]), 0.0, atol=1e-8)
    assert jnp.argmax(p.discrete.logits) == 0


def test_relaxations_choose_as_their_discrete_laws_do():
    p = d.GumbelSoftmax(jnp.array([0.7, -0.4, 0.1]), jnp.log(0.5))
    draws = vmap(p.sample)(random.split(KEY, 20_000))
    assert_mean(jax.nn.one_hot(jnp.argmax(draws, -1), 3), p.discrete.mean)
    b = d.RelaxedBernoulli(jnp.array([0.8]), jnp.zeros(1))
    assert_mean(vmap(b.sample)(random.split(KEY, 20_000)) > 0, b.discrete.mean)


def test_categorical_is_numpyros_at_large_logits():
    logits = jnp.array([[90.0, 0.0, -90.0], [1.0, 2.0, 3.0]])
    x = jnp.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    with jax.numpy_rank_promotion('allow'):
        expected = dist.Categorical(logits=logits).log_prob(jnp.array([1, 2])).sum()
    np.testing.assert_allclose(d.Categorical(logits).log_prob(x), expected, rtol=3e-6)
    codes = d.CategoricalLevels(logits)
    np.testing.assert_allclose(codes.log_prob(jnp.array([1.0, 2.0])), expected, rtol=3e-6)


@pytest.mark.parametrize(
    'family, low',
    [
        (d.categorical_levels(17), -6.0),
        (d.discretized_logistic(17), -4.0),
        (d.logistic_mixture(17, 3), -4.0),
        (d.beta_binomial(17), -9.0),
        (d.beta_binomial(256), 9.0),
        (d.logistic_mixture(256, 5), 2.0),
    ],
)
def test_levels_sum_to_one(family, low):
    levels = int(d.family_name(family).split('(')[1].split(')')[0].split(',')[0])
    values = jnp.arange(levels) / (levels - 1)

    @quick_jit
    def totals(features):
        p = family.from_features(features)
        return vmap(p.log_prob)(values), p.mean

    for features in (
        jnp.zeros(family.arity),
        random.normal(KEY, (family.arity,)),
        jnp.linspace(low, 2.0, family.arity),
    ):
        log_p, mean = totals(features)
        # 1e-4 is what float32 leaves of the terms of a beta-binomial, about 250 nats at 256 levels
        np.testing.assert_allclose(logsumexp(log_p), 0.0, atol=1e-4 if levels > 17 else 2e-5)
        np.testing.assert_allclose(jnp.exp(log_p) @ values, mean, rtol=1e-4)


def test_a_mixture_of_logistics_is_the_mixture_of_its_logistics():
    leaves = random.normal(KEY, (3, 5))
    each = d.LogisticMixture(*leaves, levels=17)
    whole = d.Mixture(leaves[0], d.DiscretizedLogistic(leaves[1], leaves[2], levels=17, rank=0))
    for x in (0.0, 5 / 16, 1.0):
        np.testing.assert_allclose(each.log_prob(jnp.array(x)), whole.log_prob(jnp.array(x)), rtol=1e-6)


def test_the_logistics_of_a_mixture_start_apart_and_so_learn_apart():
    family = d.logistic_mixture(256, 4)
    grad = quick_jit(jax.grad(lambda f: family.from_features(f).log_prob(jnp.array(0.2))))(jnp.zeros(12))
    assert len(set(np.round(np.asarray(grad[:4]), 5))) == 4


def test_counts_are_scipys(x64):
    x, rate, shape = grid([0.0, 1.0, 7.0, 300.0, 20_000.0], [1e-3, 1.0, 250.0, 2e4], [1e-3, 0.7, 30.0, 1e5])
    value = d.Poisson(*f64(np.log(rate))).each(jnp.asarray(x))
    np.testing.assert_allclose(value, scipy.stats.poisson.logpmf(x, rate), rtol=1e-9, atol=1e-9)
    value = d.NegativeBinomial(*f64(np.log(rate), np.log(shape))).each(jnp.asarray(x))
    expected = scipy.stats.nbinom.logpmf(x, shape, shape / (shape + rate))
    np.testing.assert_allclose(value, expected, rtol=1e-7, atol=1e-7)
    x, a, b = grid(np.arange(0.0, 256.0, 51.0), [1e-3, 0.7, 30.0, 1e4], [1e-3, 2.0, 1e4])
    value = d.BetaBinomial(*f64(np.log(a), np.log(b))).each(jnp.asarray(x / 255))
    np.testing.assert_allclose(value, scipy.stats.betabinom.logpmf(x, 255, a, b), rtol=1e-7, atol=1e-7)


def test_counts_in_float32_keep_digits_that_lgamma_loses():
    x, mean, shape = (np.float32([900.0, 5.0, 1000.0]), np.float32([950.0, 4.0, 1000.0]), np.float32([2.0, 1e6, 1e5]))
    expected = scipy.stats.nbinom.logpmf(x, shape.astype(float), shape / (shape + mean.astype(float)))
    value = d.NegativeBinomial(jnp.log(mean), jnp.log(shape)).each(jnp.asarray(x))
    np.testing.assert_allclose(value, expected, atol=1e-3)
    lost = scipy.special.gammaln(np.float32(x + shape)).astype(np.float32) - scipy.special.gammaln(shape)
    exact = scipy.special.gammaln(x.astype(float) + shape) - scipy.special.gammaln(shape.astype(float))
    assert np.max(np.abs(lost - exact)) > 1e-2
    k, a = np.arange(0, 256, 15), 1e4
    value = d.BetaBinomial(jnp.full(18, jnp.log(a)), jnp.full(18, jnp.log(a))).each(jnp.asarray(k / 255, jnp.float32))
    np.testing.assert_allclose(value, scipy.stats.betabinom.logpmf(k, 255, a, a), rtol=1e-5, atol=1e-3)


def test_counts_sum_to_one():
    x = jnp.arange(400.0)
    inflated = d.ZeroInflated(d.Poisson(jnp.array(2.0)), jnp.array(-0.3))
    for p in (d.Poisson(jnp.array(3.0)), d.NegativeBinomial(jnp.array(2.0), jnp.array(0.3)), inflated):
        log_p = vmap(p.log_prob)(x)
        np.testing.assert_allclose(logsumexp(log_p), 0.0, atol=1e-5)
        np.testing.assert_allclose(jnp.exp(log_p) @ x, p.mean, rtol=1e-5)
    np.testing.assert_allclose(
        jnp.exp(inflated.log_prob(x[0])), jax.nn.sigmoid(-0.3) + jax.nn.sigmoid(0.3) * jnp.exp(-jnp.exp(2.0)), rtol=1e-6
    )


def test_extreme_parameters_of_counts_have_finite_values_and_gradients():
    def total(log_a, log_b, x):
        counts = d.NegativeBinomial(log_a, log_b).log_prob(x) + d.Poisson(log_a).log_prob(x)
        return counts + d.BetaBinomial(log_a, log_b).log_prob(x / 255)

    for a in (-90.0, -30.0, 0.0, 20.0):
        for b in (-90.0, 0.0, 30.0):
            value, grads = jax.value_and_grad(total, (0, 1))(
                *jnp.full((2, 2), jnp.array([[a], [b]])), jnp.array([0.0, 9])
            )
            assert jnp.isfinite(value) and bool(jnp.all(jnp.isfinite(jnp.stack(grads))))


def test_too_few_levels_categories_components_or_counts_are_refused():
    for make in (d.categorical_levels, d.beta_binomial, d.logistic_mixture, d.categorical, d.category_codes):
        with pytest.raises(Fault, match='2 or more'):
            make(1)
    with pytest.raises(Fault, match='0 components'):
        d.logistic_mixture(256, 0)
    with pytest.raises(Fault, match='not of counts'):
        d.zero_inflated(d.Normal)

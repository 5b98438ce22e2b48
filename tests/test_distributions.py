"""Densities against scipy and numpyro, samples against their moments, and what every distribution promises."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats
from jax import random, vmap

from tests.statistics import assert_mean
from vae_jax import distributions as d
from vae_jax.errors import Fault

KEY = random.key(0)
MEAN, LOG_STD = jnp.array([0.3, -1.2, 2.0]), jnp.array([-1.0, 0.4, 0.0])

MEMBERS = {  # the conformance list: a distribution over [3], and an x it can give
    'Normal': (d.Normal(MEAN, LOG_STD), MEAN + 0.7),
    'Bernoulli': (d.Bernoulli(jnp.array([-2.0, 0.0, 3.0])), jnp.array([0.0, 1.0, 1.0])),
    'DiscretizedLogistic': (
        d.DiscretizedLogistic(jnp.array([0.1, 0.5, 0.9]), jnp.array([-2.0, -1.0, -3.0]), 17),
        jnp.array([0.0, 5 / 16, 1.0]),
    ),
}
FAMILIES = {
    'Normal': (d.Normal, jnp.array([-2.0, 0.5])),
    'Bernoulli': (d.Bernoulli, jnp.array([0.0, 1.0])),
    'SoftBernoulli': (d.SoftBernoulli, jnp.array([0.2, 1.0])),
    'discretized_logistic': (d.discretized_logistic(17), jnp.array([0.0, 3 / 16])),
    'fixed_normal': (d.fixed_normal(-0.5), jnp.array([-2.0, 0.5])),
    'bounded_normal': (d.bounded_normal(-3.0, 1.0), jnp.array([-2.0, 0.5])),
}


@pytest.mark.parametrize('name', MEMBERS)
def test_density_is_a_finite_scalar_and_compiles_once(name):
    p, x = MEMBERS[name]
    traces = []

    @jax.jit
    def log_prob(p, x):
        traces.append(1)
        return p.log_prob(x)

    for scale in (1.0, 0.5):
        value = log_prob(jax.tree.map(lambda leaf, s=scale: leaf * s, p), x)
        assert value.shape == () and jnp.isfinite(value)
    assert len(traces) == 1


@pytest.mark.parametrize('name', MEMBERS)
def test_sample_and_log_prob_agree_with_both(name):
    p, _ = MEMBERS[name]
    x, log_p = p.sample_and_log_prob(KEY)
    np.testing.assert_array_equal(x, p.sample(KEY))
    np.testing.assert_allclose(log_p, p.log_prob(x), rtol=1e-6)


@pytest.mark.parametrize('name', MEMBERS)
def test_mean_is_the_mean_of_samples(name):
    p, _ = MEMBERS[name]
    assert_mean(vmap(p.sample)(random.split(KEY, 20_000)), p.mean)


@pytest.mark.parametrize('name', MEMBERS)
def test_leaves_give_the_per_dimension_density(name):
    p, x = MEMBERS[name]
    each = vmap(lambda p, x: p.log_prob(x))(p, x)
    assert each.shape == (3,)
    np.testing.assert_allclose(each.sum(), p.log_prob(x), rtol=1e-6)


@pytest.mark.parametrize('name', MEMBERS)
def test_a_batch_is_refused_and_another_shape_too(name):
    p, x = MEMBERS[name]
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), p)
    with pytest.raises(Fault, match='vmap'):
        batch.log_prob(jnp.stack([x, x]))
    with pytest.raises(Fault, match='shape'):
        p.log_prob(jnp.zeros(4))
    assert vmap(lambda p: p.log_prob(x))(batch).shape == (2,)


@pytest.mark.parametrize('name', MEMBERS)
def test_gradients_are_finite_and_match_differences(name):
    p, x = MEMBERS[name]
    with jax.enable_x64(True):
        p, x = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), jnp.float64), (p, x))
        grads = jax.grad(lambda p: p.log_prob(x))(p)
        for leaf, grad in zip(jax.tree.leaves(p), jax.tree.leaves(grads)):
            for i in range(3):
                h = 1e-6

                def at(v, leaf=leaf, i=i):
                    changed = jax.tree.map(lambda a: a.at[i].set(v) if a is leaf else a, p)
                    return changed.log_prob(x)

                central = (at(leaf[i] + h) - at(leaf[i] - h)) / (2 * h)
                np.testing.assert_allclose(grad[i], central, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize('name', FAMILIES)
def test_a_family_makes_distributions_and_knows_its_support(name):
    family, x = FAMILIES[name]
    p = family.from_features(random.normal(KEY, (2, family.arity)))
    assert jnp.isfinite(p.log_prob(x))
    d.check_support(family, x)
    outside = (
        jnp.array([0.0, jnp.nan])
        if 'normal' in name.lower()
        else jnp.array([0.0, 0.1234 if name != 'SoftBernoulli' else 2.0])
    )
    with pytest.raises(Fault, match='expects'):
        d.check_support(family, outside)


def test_normal_against_scipy_in_float64():
    with jax.enable_x64(True):
        mean, log_std, x = (np.asarray(a, np.float64) for a in (MEAN, LOG_STD, MEAN + 0.7))
        value = d.Normal(jnp.asarray(mean), jnp.asarray(log_std)).log_prob(jnp.asarray(x))
        np.testing.assert_allclose(value, scipy.stats.norm.logpdf(x, mean, np.exp(log_std)).sum(), rtol=1e-12)


def test_bernoulli_against_numpyro_where_logits_are_large():
    logits, x = jnp.array([-60.0, -1.0, 0.0, 5.0, 80.0]), jnp.array([0.0, 1.0, 1.0, 0.0, 1.0])
    with jax.numpy_rank_promotion('allow'):
        expected = dist.Bernoulli(logits=logits).log_prob(x).sum()
    np.testing.assert_allclose(d.Bernoulli(logits).log_prob(x), expected, rtol=3e-6)


def test_kl_of_normals_is_numpyros_and_the_mean_of_log_ratios():
    q, p = d.Normal(MEAN, LOG_STD), d.Normal(MEAN - 0.5, LOG_STD + 0.3)
    expected = dist.kl_divergence(
        dist.Normal(q.mean, jnp.exp(q.log_std)), dist.Normal(p.mean, jnp.exp(p.log_std))
    ).sum()
    np.testing.assert_allclose(q.kl(p), expected, rtol=3e-6)

    def ratio(key):
        z, log_q = q.sample_and_log_prob(key)
        return log_q - p.log_prob(z)

    assert_mean(vmap(ratio)(random.split(KEY, 20_000)), expected)
    np.testing.assert_allclose(q.kl(q), 0.0, atol=1e-7)


@pytest.mark.parametrize('log_std', [-7.0, -3.0, 0.0, 3.0])
def test_discretized_logistic_sums_to_one_at_any_scale(log_std):
    for mean in (-0.2, 0.0, 0.37, 1.0):
        grid = jnp.arange(256) / 255
        one = d.DiscretizedLogistic(jnp.array(mean), jnp.array(log_std), 256)
        total = jax.scipy.special.logsumexp(vmap(one.log_prob)(grid))
        np.testing.assert_allclose(total, 0.0, atol=2e-5)


def test_discretized_logistic_against_float64_differences_of_cdf():
    mean, log_std, x = 0.3, -2.5, np.array([0.0, 3 / 16, 5 / 16, 1.0])
    scale = np.exp(log_std) * np.sqrt(3) / np.pi
    cdf = lambda v: scipy.stats.logistic.cdf(v, mean, scale)
    low = np.where(x == 0, 0.0, cdf(x - 1 / 32))
    high = np.where(x == 1, 1.0, cdf(x + 1 / 32))
    p = d.DiscretizedLogistic(jnp.full(4, mean), jnp.full(4, log_std), 17)
    np.testing.assert_allclose(p.log_prob(jnp.asarray(x, jnp.float32)), np.log(high - low).sum(), rtol=3e-6)


def test_a_stopped_distribution_has_the_value_and_no_gradient():
    def value(mean):
        return jax.lax.stop_gradient(d.Normal(mean, LOG_STD)).log_prob(MEAN + 1)

    assert jnp.all(jax.grad(value)(MEAN) == 0)
    np.testing.assert_allclose(value(MEAN), d.Normal(MEAN, LOG_STD).log_prob(MEAN + 1))

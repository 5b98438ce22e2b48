"""KLs between families, mixtures, straight-through samples, missing entries, tables."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.integrate
import scipy.stats
from jax import random, vmap

from tests.families import quick_jit
from tests.statistics import assert_mean
from vae_jax import bounds
from vae_jax import distributions as d
from vae_jax.errors import Fault

KEY = random.key(0)


def normals(seed, dims=3):
    a, b, c = random.split(random.key(seed), 3)
    return random.normal(a, (dims,)), 0.5 * random.normal(b, (dims,)), random.normal(c, (dims, dims))


def full(seed):
    return d.FullNormal(*normals(seed))


def diagonal(seed):
    return d.Normal(*normals(seed)[:2])


PAIRS = {
    'full to full': lambda: (full(1), full(2)),
    'full to diagonal': lambda: (full(1), diagonal(2)),
    'full to standard': lambda: (full(1), d.Normal(jnp.zeros(3), jnp.zeros(3))),
    'laplace': lambda: (d.Laplace(*normals(1)[:2]), d.Laplace(*normals(2)[:2])),
    'bernoulli': lambda: (d.Bernoulli(normals(1)[0]), d.Bernoulli(normals(2)[0])),
    'categorical': lambda: (d.Categorical(normals(1)[2]), d.Categorical(normals(2)[2])),
    'straight-through': lambda: (d.StraightThrough(d.Categorical(normals(1)[2])), d.Categorical(normals(2)[2])),
}


@pytest.mark.parametrize('name', PAIRS)
def test_a_closed_form_is_the_mean_of_log_ratios_and_zero_to_itself(name):
    q, p = PAIRS[name]()

    @quick_jit
    def ratios(keys):
        def one(key):
            z, log_q = q.sample_and_log_prob(key)
            return log_q - p.log_prob(z)

        return vmap(one)(keys)

    assert_mean(ratios(random.split(KEY, 20_000)), q.kl(p))
    np.testing.assert_allclose(q.kl(q), 0.0, atol=1e-6)
    assert q.kl(p) > 0
    with pytest.raises(Fault, match='KL.* has no closed form.*monte_carlo'):
        q.kl(d.Mixture(jnp.zeros(1), diagonal(1)))


def test_closed_forms_are_numpyros_and_those_of_quadrature():
    q, p = full(1), full(2)
    oracle = dist.kl_divergence(*(dist.MultivariateNormal(n.mean, scale_tril=n.factor) for n in (q, p)))
    np.testing.assert_allclose(q.kl(p), oracle, rtol=1e-5)
    diagonal_q = d.FullNormal(q.mean, q.log_diagonal, jnp.zeros((3, 3)))
    np.testing.assert_allclose(diagonal_q.kl(diagonal(2)), d.Normal(q.mean, q.log_diagonal).kl(diagonal(2)), rtol=1e-6)
    for m, s in ((0.0, 0.3), (2.0, -1.0), (1e-3, 1e-3)):
        a, b = (
            scipy.stats.laplace(0.4, np.exp(0.2) / np.sqrt(2)),
            scipy.stats.laplace(0.4 + m, np.exp(0.2 + s) / np.sqrt(2)),
        )
        integrand = lambda x, a=a, b=b: a.pdf(x) * (a.logpdf(x) - b.logpdf(x))
        expected = sum(
            scipy.integrate.quad(integrand, *ends)[0] for ends in ((-40, 0.4), (0.4, 0.4 + m), (0.4 + m, 40))
        )
        q, p = (d.Laplace(jnp.array(u), jnp.array(v)) for u, v in ((0.4, 0.2), (0.4 + m, 0.2 + s)))
        np.testing.assert_allclose(q.kl(p), expected, rtol=2e-5, atol=1e-7)
    l, r = jnp.array([-80.0, -3.0, 0.0, 80.0]), jnp.array([80.0, 0.0, 1.0, 79.0])
    sigmoid = np.exp(-np.logaddexp(0, -np.asarray(l, np.float64)))
    expected = np.sum(sigmoid * (l - r) + np.logaddexp(0, r) - np.logaddexp(0, l))
    np.testing.assert_allclose(d.Bernoulli(l).kl(d.Bernoulli(r)), expected, rtol=1e-6)
    assert bool(jnp.all(jnp.isfinite(jax.grad(lambda l: d.Bernoulli(l).kl(d.Bernoulli(r)))(l))))


def test_pairs_without_a_closed_form_are_refused_in_a_sentence():
    for q in (d.RelaxedBernoulli(jnp.zeros(3), jnp.zeros(3)), d.GumbelSoftmax(jnp.zeros((1, 3)), jnp.zeros(1))):
        with pytest.raises(Fault, match='no closed form here; fix: pass kl=monte_carlo'):
            bounds.closed_form(q, diagonal(1), None, jnp.zeros(()))
    with pytest.raises(Fault, match='no closed form'):
        d.Delta(jnp.zeros(3)).kl(diagonal(1))
    assert d.Delta(jnp.zeros(3)).kl(d.Delta(jnp.zeros(3))) == 0
    with pytest.raises(Fault, match='no closed form'):
        d.Mixture(jnp.zeros(1), diagonal(1)).kl(diagonal(1))


def test_a_mixture_is_normalized_whatever_its_weights_and_one_component_is_itself():
    components = d.Normal(*(jnp.stack(a) for a in zip(normals(1)[:2], normals(2)[:2])), rank=1)
    x = jnp.ones(3)
    first, second = (jax.tree.map(lambda leaf, i=i: leaf[i], components) for i in (0, 1))
    expected = jnp.logaddexp(jnp.log(0.25) + first.log_prob(x), jnp.log(0.75) + second.log_prob(x))
    mixture = d.Mixture(jnp.log(jnp.array([5.0, 15.0])), components)
    np.testing.assert_allclose(mixture.log_prob(x), expected, rtol=1e-6)
    alone = d.Mixture(jnp.array([3.0]), jax.tree.map(lambda leaf: leaf[:1], components))
    np.testing.assert_allclose(alone.log_prob(x), first.log_prob(x), rtol=1e-6)
    assert mixture.support == d.Normal.support and bool(jnp.all(mixture.supports(x)))
    spheres = vmap(lambda f: d.VonMisesFisher.from_features(f))(random.normal(KEY, (4, 3, 2)))
    assert jnp.isfinite(d.Mixture(jnp.zeros(4), spheres).log_prob(jnp.array([0.0, 0.6, 0.8])))


def test_straight_through_samples_are_discrete_and_learn_as_the_mean_does():
    family = d.straight_through(d.categorical(3))
    features = normals(1)[2]
    x = family.from_features(features).sample(KEY)
    np.testing.assert_array_equal(x, d.Categorical(features).sample(KEY))
    weights = normals(2)[2]
    slope = jax.grad(lambda f: jnp.vdot(weights, family.from_features(f).sample(KEY)))(features)
    np.testing.assert_allclose(
        slope, jax.grad(lambda f: jnp.vdot(weights, jax.nn.softmax(f)))(features), rtol=1e-5, atol=1e-7
    )
    assert family.from_features(features).reparameterized and not d.Categorical(features).reparameterized
    with pytest.raises(Fault, match='gradient of their own'):
        d.straight_through(d.Normal)


@pytest.mark.parametrize(
    'family', [d.Normal, d.Bernoulli, d.discretized_logistic(17), d.ContinuousBernoulli, d.Poisson, d.beta_binomial(17)]
)
def test_a_missing_entry_leaves_no_trace_in_values_or_gradients(family):
    features = random.normal(KEY, (4, family.arity))
    x = quick_jit(lambda f: family.from_features(f).sample(KEY))(features)
    mask = jnp.array([True, False, True, False])

    def masked(features, x):
        return d.masked(family).from_features(features).log_prob(d.Observed(x, mask))

    value, grad = quick_jit(jax.value_and_grad(masked))(features, jnp.where(mask, x, jnp.nan))
    some = features[mask], x[mask]
    seen = quick_jit(jax.value_and_grad(lambda f, x: family.from_features(f).log_prob(x)))(*some)
    np.testing.assert_allclose(value, seen[0], rtol=1e-6)
    np.testing.assert_allclose(grad[mask], seen[1], rtol=1e-5, atol=1e-6)
    assert bool(jnp.all(grad[~mask] == 0))
    d.check_support(d.masked(family), d.Observed(jnp.where(mask, x, jnp.nan), mask))
    with pytest.raises(Fault, match='expects'):
        d.check_support(d.masked(family), d.Observed(jnp.full(4, jnp.nan), mask))


def test_columns_are_each_its_family_in_the_tables_order():
    table = d.columns(d.Normal, d.category_codes(4), d.Poisson, d.Normal, d.Bernoulli)
    features = random.normal(KEY, (5, table.arity))
    p = table.from_features(features)
    x = jnp.array([0.3, 2.0, 4.0, -1.0, 1.0])
    each = [
        d.Normal(features[0, 0], features[0, 1]).log_prob(x[0]),
        jax.nn.log_softmax(features[1])[2],
        scipy.stats.poisson.logpmf(4, np.exp(features[2, 0])),
        d.Normal(features[3, 0], features[3, 1]).log_prob(x[3]),
        jax.nn.log_sigmoid(features[4, 0]),
    ]
    np.testing.assert_allclose(p.each(x), np.array(each), rtol=1e-5)
    assert len(p.parts) == 4 and p.mean.shape == (5,)
    d.check_support(table, x)
    d.check_support(table, jnp.stack([x, x]))
    mask = jnp.array([True, True, False, True, True])
    some = d.masked(table).from_features(features).log_prob(d.Observed(jnp.where(mask, x, jnp.nan), mask))
    np.testing.assert_allclose(some, sum(each) - each[2], rtol=1e-5)


def test_wrong_products_are_refused_when_built():
    for wrap in (d.masked, d.columns):
        for family in (d.categorical(3), d.full_normal(3), d.VonMisesFisher):
            with pytest.raises(Fault, match='no densities of their own'):
                wrap(family)
    with pytest.raises(Fault, match='without columns'):
        d.columns()
    with pytest.raises(Fault, match='2 columns got features'):
        d.columns(d.Normal, d.Normal).from_features(jnp.zeros((3, 2)))
    with pytest.raises(Fault, match='full_normal'):
        d.full_normal(3).from_features(jnp.zeros((2, 4)))

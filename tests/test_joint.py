"""Latents in parts: the density and the KL of a product, the family that packs them, JointVAE's rate and capacities."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import random, vmap

import vae_jax as vj
from tests import small
from tests.families import quick_jit
from tests.statistics import assert_mean
from vae_jax import bounds
from vae_jax.distributions import (
    Bernoulli,
    Categorical,
    GumbelSoftmax,
    Normal,
    PowerSpherical,
    full_normal,
    gumbel_softmax,
    straight_through,
)
from vae_jax.distributions.joined import Joint, discrete_kl, joint, part_kls, seen_parts
from vae_jax.errors import Fault
from vae_jax.losses.transport import part_capacities

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(4)
FAMILY = joint(continuous=(Normal, 2), categories=(gumbel_softmax(3, 0.7), 2))


class Hyper(NamedTuple):
    gamma_continuous: float = 3.0
    capacity_continuous: float = 0.5
    gamma_categories: float = 5.0
    capacity_categories: float = 0.25


def made(seed, family=FAMILY):
    return family.from_features(0.8 * random.normal(random.key(seed), (family.dims, 1)))


def model(family=FAMILY, **options):
    encoder, decoder = vj.mlp_encoder((16,)), vj.mlp_decoder((16,))
    seen = seen_parts(categories=jax.nn.softmax)
    return vj.vae(
        encoder, decoder, latent=family.dims, like=small.DATA.example, posterior=family, seen_as=seen, **options
    )


MODEL = model()
XS = {'x': vmap(small.DATA.train.view, (None, 0))(KEY, small.DATA.train.rows['x'][:8])}
PARAMS = MODEL.init(KEY, XS['x'][0])


def test_a_joint_is_the_product_of_its_parts():
    q, p = made(1), made(2)
    z, log_q = q.sample_and_log_prob(KEY)
    np.testing.assert_allclose(log_q, sum(q.parts[name].log_prob(z[name]) for name in z), rtol=1e-6)
    np.testing.assert_allclose(q.log_prob(z), log_q, rtol=1e-6)
    for name, part in q.sample(KEY).items():
        np.testing.assert_array_equal(part, z[name])
        np.testing.assert_array_equal(q.mean[name], q.parts[name].mean)
    draws, log_qs = vmap(q.sample_and_log_prob)(random.split(KEY, 10_000))
    assert_mean(jnp.exp(vmap(p.log_prob)(draws) - log_qs), 1.0)
    assert_mean(draws['continuous'], q.mean['continuous'])
    apart = np.corrcoef(np.concatenate([draws['continuous'], draws['categories'].reshape(-1, 6)[:, [0, 3]]], 1).T)
    assert np.max(np.abs(apart - np.eye(4))) < 5 / np.sqrt(10_000)
    assert q.reparameterized and not Joint({'a': Bernoulli(jnp.zeros(2)), **q.parts}).reparameterized
    assert q.support == FAMILY.support == 'categories: real vectors of mean zero, continuous: any real number'
    assert np.all(FAMILY.supports(z)) and not np.all(FAMILY.supports({**z, 'continuous': jnp.array([0.0, jnp.nan])}))


def test_the_order_of_names_changes_no_draw_and_compiling_neither():
    a, b = Normal(jnp.zeros(2), jnp.zeros(2)), Normal(jnp.ones(2), jnp.zeros(2))
    one, other = Joint({'b': b, 'a': a}), Joint({'a': a, 'b': b})
    assert list(one.parts) == ['a', 'b']
    compiled = jax.jit(lambda q: q.sample(KEY))(one)
    for name in ('a', 'b'):
        np.testing.assert_array_equal(one.sample(KEY)[name], other.sample(KEY)[name])
        np.testing.assert_allclose(one.sample(KEY)[name], compiled[name], rtol=1e-6)
    assert not np.array_equal(one.sample(KEY)['a'], one.sample(KEY)['b'] - 1)  # a key each


def test_the_kl_is_the_sum_over_parts_and_monte_carlos_mean():
    family = joint(wide=(full_normal(2), 2), plain=(Normal, 3))
    q, p = made(1, family), made(2, family)
    each = {name: q.parts[name].kl(p.parts[name]) for name in q.parts}
    np.testing.assert_allclose(q.kl(p), sum(each.values()), rtol=1e-6)
    z, log_q = vmap(q.sample_and_log_prob)(random.split(KEY, 20_000))
    assert_mean(log_q - vmap(p.log_prob)(z), q.kl(p))
    sampled = vmap(lambda z: part_kls(q, p, z, bounds.monte_carlo))(z)
    for name, rate in each.items():
        assert_mean(sampled[name], rate)


@pytest.mark.parametrize('temperature', [0.2, 2.0])
def test_the_rate_of_jointvae_is_the_categoricals_below_that_of_the_relaxed_density_at_any_temperature(temperature):
    family = joint(continuous=(Normal, 2), categories=(gumbel_softmax(3, temperature), 2))
    features = 1.5 * random.normal(random.key(1), (family.dims, 1))
    q, p = family.from_features(features), family.from_features(jnp.zeros_like(features))
    relaxed, flat = q.parts['categories'], p.parts['categories']
    expected = q.parts['continuous'].kl(p.parts['continuous']) + Categorical(relaxed.logits).kl(
        Categorical(flat.logits)
    )
    z, log_q = vmap(q.sample_and_log_prob)(random.split(KEY, 20_000))
    np.testing.assert_allclose(discrete_kl(q, p, z, log_q), expected, rtol=1e-6)
    sampled = np.asarray(log_q - vmap(p.log_prob)(z))
    assert sampled.mean() - 5 * sampled.std() / np.sqrt(20_000) > expected
    other = lambda part: GumbelSoftmax(part.logits, jnp.zeros(2))
    ones, zs = other(relaxed), vmap(other(relaxed).sample)(random.split(random.key(9), 20_000))
    at_one = np.asarray(vmap(lambda z: ones.log_prob(z) - other(flat).log_prob(z))(zs))
    mine = np.asarray(vmap(lambda z: relaxed.log_prob(z) - flat.log_prob(z))(z['categories']))
    error = np.hypot(at_one.std(), mine.std()) / np.sqrt(20_000)
    assert abs(at_one.mean() - mine.mean()) < 5 * error


def test_the_family_packs_every_number_once():
    q = FAMILY.from_features(jnp.arange(10.0)[:, None])
    assert FAMILY.dims == 10 and FAMILY.arity == 1 and FAMILY.normalized
    np.testing.assert_array_equal(q.parts['continuous'].mean, [0, 2])
    np.testing.assert_array_equal(q.parts['continuous'].log_std, [1, 3])
    np.testing.assert_array_equal(q.parts['categories'].logits, [[4, 5, 6], [7, 8, 9]])
    assert 'gumbel_softmax(3, 0.7), 2' in FAMILY.name


def test_a_model_of_parts_has_their_priors_and_its_decoder_sees_shares():
    prior = MODEL.prior(PARAMS)
    assert not any(np.any(leaf) for leaf in (prior.parts['continuous'].mean, prior.parts['categories'].logits))
    kernel = PARAMS['decode']['params']['Dense_0']['kernel']
    assert kernel.shape[0] == 2 + 2 * 3
    z = {'continuous': jnp.ones(2), 'categories': jnp.array([[60.0, -30, -30], [-30.0, 60, -30]])}
    shares = {**z, 'categories': jnp.array([[1.0, 0, 0], [0.0, 1, 0]])}
    plain = vj.vae(vj.mlp_encoder((16,)), vj.mlp_decoder((16,)), latent=10, like=small.DATA.example, posterior=FAMILY)
    np.testing.assert_allclose(MODEL.decode(PARAMS, z).logits, plain.decode(PARAMS, shares).logits, atol=1e-5)


@pytest.mark.parametrize('kl', [discrete_kl, bounds.monte_carlo])
def test_capacities_are_their_formula_and_all_parts_learn(kl):
    loss = part_capacities(MODEL, kl)
    with_gradient = quick_jit(jax.value_and_grad(loss, has_aux=True))
    (value, found), grads = with_gradient(PARAMS, KEY, XS, Hyper())
    cost = 3 * abs(found['rate_continuous'] - 0.5) + 5 * abs(found['rate_categories'] - 0.25)
    np.testing.assert_allclose(value, found['distortion'] + cost, rtol=1e-5)
    np.testing.assert_allclose(found['rate'], found['rate_continuous'] + found['rate_categories'], rtol=1e-6)
    head = grads['encode']['head']['params']['kernel']
    assert np.all(np.any(np.asarray(head) != 0, 0))  # no feature is dead
    assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(grads['decode']))
    if kl is discrete_kl:
        one = lambda x: part_kls(MODEL.encode(PARAMS, x), MODEL.prior(PARAMS), None, kl)
        expected = jax.tree.map(jnp.mean, vmap(one)(XS['x']))
        for name, rate in expected.items():
            np.testing.assert_allclose(found[f'rate_{name}'], rate, rtol=1e-5)
    hypers = Hyper(capacity_continuous=jnp.arange(3.0), gamma_categories=jnp.ones(3))
    axes = Hyper(None, 0, 0, None)
    assert vmap(lambda hyper: loss(PARAMS, KEY, XS, hyper)[0], (axes,))(hypers).shape == (3,)  # a population's axis


@pytest.mark.slow
def test_training_brings_each_rate_to_its_capacity():
    capacities = Hyper(gamma_continuous=30.0, gamma_categories=30.0, capacity_continuous=2.0, capacity_categories=0.7)
    loss, optimizer = part_capacities(MODEL), optax.adam(3e-3)

    @jax.jit
    def step(carry, key):
        params, state = carry
        (_, found), grads = jax.value_and_grad(loss, has_aux=True)(params, key, XS, capacities)
        updates, state = optimizer.update(grads, state)
        return (optax.apply_updates(params, updates), state), found

    _, found = jax.lax.scan(step, (PARAMS, optimizer.init(PARAMS)), random.split(KEY, 1000))
    assert abs(float(np.mean(found['rate_continuous'][-100:])) - 2.0) < 0.1
    assert abs(float(np.mean(found['rate_categories'][-100:])) - 0.7) < 0.1
    assert found['distortion'][-1] < 0.7 * found['distortion'][0]


def test_bounds_take_parts():
    x = XS['x'][0]
    terms = quick_jit(lambda: bounds.elbo_terms(MODEL, PARAMS, KEY, x, discrete_kl))()
    exact = discrete_kl(MODEL.encode(PARAMS, x), MODEL.prior(PARAMS), None, None)
    np.testing.assert_allclose(terms.rate, exact, rtol=1e-5)
    assert np.isfinite(bounds.iwae(MODEL, PARAMS, KEY, x, 3))
    assert np.isfinite(bounds.dreg(MODEL, PARAMS, KEY, x, 3))
    hard = model(joint(continuous=(Normal, 2), categories=(straight_through(vj.distributions.categorical(3)), 2)))
    assert np.isfinite(bounds.elbo(hard, hard.init(KEY, x), KEY, x))  # both parts have a KL by formula


def test_what_cannot_work_is_refused():
    x, q = XS['x'][0], made(1)
    for f, words in (
        (lambda: bounds.elbo(MODEL, PARAMS, KEY, x), 'no closed form'),  # the relaxed part has none
        (lambda: q.kl(q.parts['continuous']), 'no closed form'),
        (lambda: q.kl(Joint({'continuous': q.parts['continuous']})), 'no closed form'),
        (lambda: q.log_prob({'continuous': jnp.zeros(2)}), 'one value for each part'),
        (lambda: q.log_prob(jnp.zeros(2)), 'one value for each part'),
        (lambda: vmap(made)(jnp.arange(2)).log_prob(vmap(q.sample)(random.split(KEY))), 'vmap'),
        (lambda: joint(), 'no parts'),
        (lambda: joint(a=(Normal, 0)), '1 or more'),
        (lambda: joint(a=(full_normal(3), 2)), 'ask for 3'),
        (lambda: FAMILY.from_features(jnp.zeros((9, 1))), 'latent=10'),
        (lambda: model(prior=lambda params: Normal(jnp.zeros(2), jnp.zeros(2))), 'prior'),
        (lambda: seen_parts(colours=jax.nn.softmax)(q.mean), 'name parts'),
        (lambda: part_capacities(small.MODEL)(small.MODEL.init(KEY, x), KEY, XS, Hyper()), 'not in parts'),
    ):
        with pytest.raises(Fault, match=words):
            f()
    pathless = model(joint(continuous=(Normal, 2), categories=(Bernoulli, 2)))
    with pytest.raises(Fault, match='no gradient'):
        part_capacities(pathless)(pathless.init(KEY, x), KEY, XS, Hyper())
    assert joint(a=(PowerSpherical, 3)).support == f'a: {PowerSpherical.support}'

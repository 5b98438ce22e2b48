"""Sliced Wasserstein distances by sorting and in closed form, the squared-exponential kernel, losses without a rate."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax, random, vmap

import vae_jax as vj
from tests import small
from tests.families import quick_jit
from tests.statistics import assert_mean
from vae_jax import losses
from vae_jax.distributions import Bernoulli, Delta, Normal
from vae_jax.errors import Fault
from vae_jax.losses.transport import sliced_distance, sliced_wasserstein, squared_exponential, wae

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(8)


class Hyper(NamedTuple):
    swd: float = 10.0
    mmd: float = 10.0
    beta: float = 0.0


def codes(z):
    return losses.Codes(None, z, Normal(jnp.zeros(z.shape[1:]), jnp.zeros(z.shape[1:])), None)


def directions(k, d):
    normal = random.normal(random.key(1), (k, d))
    return normal / jnp.linalg.norm(normal, axis=1, keepdims=True)


@pytest.mark.parametrize('p', [1.0, 2.0, 3.0])
def test_in_one_dimension_it_is_the_best_of_all_matchings(p):
    rng = np.random.default_rng(0)
    xs, ys = (rng.normal(size=(5, 1)).astype(np.float32) for _ in range(2))
    expected = min(np.mean(np.abs(xs - ys[list(order)]) ** p) for order in itertools.permutations(range(5)))
    for sign in (1.0, -1.0):
        np.testing.assert_allclose(sliced_distance(xs, ys, jnp.full((1, 1), sign), p), expected, rtol=1e-5)


def test_equal_points_in_any_order_are_at_no_distance_and_others_are():
    xs = random.normal(KEY, (16, 4))
    assert float(sliced_distance(xs, xs[::-1], directions(20, 4))) == 0
    assert float(sliced_distance(xs, xs + 0.5, directions(20, 4))) > 0.01
    slope = jax.grad(lambda xs: sliced_distance(xs, xs[::-1], directions(20, 4)))(xs)
    assert np.all(np.isfinite(slope))


def test_a_shift_costs_its_square_over_the_dimensions():
    """The projections of x and x + s differ by s . u, whose square has the mean |s|^2 / d over directions u."""
    xs, shift = random.normal(KEY, (8, 3)), jnp.array([0.3, -2.0, 1.0])
    each = vmap(lambda u: sliced_distance(xs, xs + shift[None], u[None]))(directions(4000, 3))
    assert_mean(each, float(jnp.sum(shift**2)) / 3)


def test_the_penalty_of_gaussians_comes_near_the_closed_form():
    """SW_2^2 of N(m, s^2 I) and N(0, I) is |m|^2 / d + (s - 1)^2, plus what the sampling of few codes adds."""
    m, s = jnp.array([1.0, -1.0]), 0.5
    z = m[None] + s * random.normal(KEY, (4000, 2))
    value, found = quick_jit(sliced_wasserstein(500))(codes(z), KEY, Hyper())
    assert float(found['swd']) == pytest.approx(2 / 2 + 0.25, abs=0.08)
    np.testing.assert_allclose(value, 10 * found['swd'], rtol=1e-6)
    at_home = quick_jit(sliced_wasserstein(500))(codes(random.normal(random.key(1), (4000, 2))), KEY, Hyper())[0]
    assert float(at_home) < 0.02 * float(value)


@pytest.mark.parametrize('p', [1.0, 2.0])
def test_its_gradient_carries_codes_to_the_prior(p):
    slope = jax.grad(lambda z, key: sliced_wasserstein(20, p)(codes(z), key, Hyper())[0])
    move = lambda z, key: (z - 0.5 * slope(z, key), None)
    z, _ = jax.jit(lambda z: lax.scan(move, z, random.split(KEY, 300)))(3 + 0.1 * random.normal(KEY, (64, 2)))
    assert np.all(np.abs(np.mean(z, 0)) < 0.4) and np.all(np.abs(np.std(z, 0) - 1) < 0.4)


def test_the_kernel_is_its_formula_and_mmd_takes_it():
    a, b = jnp.array([0.3, -1.0]), jnp.array([1.0, 1.0])
    assert float(squared_exponential(jnp.log(2.0))(a, b)) == pytest.approx(np.exp(-(0.7**2 + 4) / 8), rel=1e-6)
    assert float(squared_exponential(0.0)(a, a)) == 1
    one = lambda key, shift: losses.mmd(squared_exponential(0.0))(
        codes(shift + random.normal(key, (16, 2))), random.fold_in(key, 1), Hyper()
    )[1]['mmd']
    keys = random.split(KEY, 2000)
    assert_mean(quick_jit(vmap(lambda key: one(key, 0.0)))(keys), 0.0)
    # E k(x, y) over x ~ N(m, I), y ~ N(0, I) is (s^2 / (s^2 + 2))^(d / 2) exp(-|m|^2 / (2 (s^2 + 2)))
    expected = 2 * (1 / 3) * (1 - np.exp(-2 / 6))
    assert_mean(quick_jit(vmap(lambda key: one(key, 1.0)))(keys), expected)


XS = {'x': vmap(small.DATA.train.view, (None, 0))(KEY, small.DATA.train.rows['x'][:8])}
PENALTIES = {'swd': sliced_wasserstein(10), 'mmd': losses.mmd(squared_exponential(0.0)), 'none': losses.no_penalty}


def deterministic(posterior=Delta):
    return vj.vae(vj.mlp_encoder((16,)), vj.mlp_decoder((16,)), latent=2, like=small.DATA.example, posterior=posterior)


@pytest.mark.parametrize('posterior', [Delta, Normal])
@pytest.mark.parametrize('name', PENALTIES)
def test_an_autoencoder_without_a_rate_learns_in_all_of_its_parts(name, posterior):
    model = deterministic(posterior)
    params = model.init(KEY, XS['x'][0])
    loss = wae(model, PENALTIES[name])
    (value, found), grads = quick_jit(jax.value_and_grad(loss, has_aux=True))(params, KEY, XS, Hyper())
    np.testing.assert_allclose(value, found['distortion'] + 10 * found.get(name, 0.0), rtol=1e-6)
    for part in ('encode', 'decode'):
        assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(grads[part]))
    if posterior is Delta:
        exact = vmap(lambda x: model.decode(params, model.encode(params, x).mean).log_prob(x))(XS['x'])
        np.testing.assert_allclose(found['distortion'], -jnp.mean(exact), rtol=1e-5)
    else:  # that of a code with weight 0 on the rate, which coded takes too
        both = losses.coded(model, penalty=PENALTIES[name])(params, KEY, XS, Hyper())
        np.testing.assert_allclose(value, both[0], rtol=1e-5)


def test_training_brings_codes_to_the_prior():
    model, optimizer = deterministic(), optax.adam(1e-2)
    params = model.init(KEY, XS['x'][0])
    xs = {'x': vmap(small.DATA.train.view, (None, 0))(KEY, small.DATA.train.rows['x'])}
    loss = wae(model, sliced_wasserstein(20))

    @jax.jit
    def step(carry, key):
        params, state = carry
        (_, found), grads = jax.value_and_grad(loss, has_aux=True)(params, key, xs, Hyper(swd=50.0))
        updates, state = optimizer.update(grads, state)
        return (optax.apply_updates(params, updates), state), found

    _, found = lax.scan(step, (params, optimizer.init(params)), random.split(KEY, 300))
    assert np.mean(found['swd'][-30:]) < 0.3 * np.mean(found['swd'][:5])
    assert np.mean(found['distortion'][-30:]) < np.mean(found['distortion'][:5])


def test_what_cannot_work_is_refused():
    for f, words in (
        (lambda: sliced_wasserstein(0), '1 or more'),
        (lambda: sliced_wasserstein(5, p=0.5), '1 or more'),
        (lambda: sliced_wasserstein(5)(codes(jnp.zeros((4, 2, 2))), KEY, Hyper()), 'vectors'),
        (lambda: sliced_wasserstein(5)(codes(jnp.zeros((4, 2)))._replace(z={}), KEY, Hyper()), 'vectors'),
    ):
        with pytest.raises(Fault, match=words):
            f()
    model = deterministic(Bernoulli)
    with pytest.raises(Fault, match='no gradient'):
        wae(model, losses.no_penalty)(model.init(KEY, XS['x'][0]), KEY, XS, Hyper())

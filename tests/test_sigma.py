"""Sigmas that are best, and sigmas that learn to be."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import random, vmap

import vae_jax as vj
from tests import oracles, short, small
from tests.short import moved
from vae_jax import losses
from vae_jax.distributions import Delta, Normal, fixed_normal
from vae_jax.errors import Fault
from vae_jax.losses import sigma
from vae_jax.models.scales import learned_scale

KEY = random.key(9)


class Hyper(NamedTuple):
    lr: float = 1e-2
    beta: float = 1.0


# a point posterior: the distortion is then a function of params alone, and its best sigma is known
POINT = oracles.linear_gaussian(latent=2, dims=4)._replace(encode=lambda params, x: Delta(params['V'] @ x))
NO_RATE = lambda q, p, z, log_q: jnp.zeros(())
XS = {'x': random.normal(KEY, (10, 4))}
SCALED = learned_scale(POINT)
PARAMS = SCALED.init(KEY, XS['x'][0])


def errors(params=PARAMS, xs=XS['x']):
    return np.asarray(vmap(lambda x: (x - POINT.decode(params, POINT.encode(params, x).mean).mean) ** 2)(xs))


def test_the_best_sigma_squared_is_the_mean_squared_error():
    square = errors()
    _, metrics = sigma.optimal_sigma(SCALED, NO_RATE)(PARAMS, KEY, XS, Hyper())
    np.testing.assert_allclose(jnp.exp(2 * metrics['log_std']), square.mean(), rtol=1e-5)
    for i in range(10):
        _, told = sigma.optimal_sigma_each(POINT, NO_RATE)(PARAMS, KEY, XS['x'][i], Hyper())
        np.testing.assert_allclose(jnp.exp(2 * told['log_std']), square[i].mean(), rtol=1e-5)


def at(log_std, params=PARAMS):
    """The mean distortion of the batch under a given sigma."""
    x_given = lambda x: Normal(POINT.decode(params, POINT.encode(params, x).mean).mean, jnp.full(4, log_std))
    return -jnp.mean(vmap(lambda x: x_given(x).log_prob(x))(XS['x']))


def test_the_distortion_is_the_likelihood_at_that_sigma_which_no_other_betters():
    value, metrics = sigma.optimal_sigma(SCALED, NO_RATE)(PARAMS, KEY, XS, Hyper())
    best = metrics['log_std']
    np.testing.assert_allclose(metrics['distortion'], at(best), rtol=1e-5)
    np.testing.assert_allclose(value, at(best) + 0.5 * best**2, rtol=1e-5)  # log_std starts at 0
    np.testing.assert_allclose(jax.grad(at)(best), 0, atol=1e-4)
    assert all(at(best + d) > metrics['distortion'] for d in (-0.1, 0.1))


def test_its_gradient_is_that_of_the_likelihood_with_sigma_held():
    best = sigma.optimal_sigma(SCALED, NO_RATE)(PARAMS, KEY, XS, Hyper())[1]['log_std']
    found = jax.grad(lambda p: sigma.optimal_sigma(SCALED, NO_RATE)(p, KEY, XS, Hyper())[0])(PARAMS)
    held = jax.grad(lambda p: at(best, p))(PARAMS)
    for part in ('W', 'b', 'V'):
        np.testing.assert_allclose(found[part], held[part], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found['scale']['log_std'], -best, rtol=1e-5)  # only towards the best


@pytest.mark.parametrize('shape', [(), (4,)])
def test_a_sigma_that_learns_comes_to_the_best(shape):
    model = learned_scale(POINT, shape)
    params = model.init(KEY, XS['x'][0])
    objective = losses.per_example(lambda p, key, x, h: (-model.decode(p, model.encode(p, x).mean).log_prob(x), {}))
    trainer = vj.trainer(
        lambda key, x: params, objective, vj.freeze(lambda h: optax.adam(h.lr), 'W', 'b', 'V', 'log_s')
    )
    run = jax.jit(lambda s: jax.lax.scan(lambda s, _: trainer.step(s, XS), s, length=1500))
    state, _ = run(trainer.init(KEY, XS, Hyper()))
    expected = errors().mean(0) if shape else errors().mean()
    np.testing.assert_allclose(jnp.exp(2 * state.params['scale']['log_std']), expected, rtol=1e-3)


def test_the_followed_sigma_is_an_average_under_sgd():
    loss = sigma.optimal_sigma(SCALED, NO_RATE)
    trainer = vj.trainer(SCALED.init, loss, vj.freeze(lambda h: optax.sgd(0.1), 'W', 'b', 'V', 'log_s'))
    state = trainer.init(KEY, XS, Hyper())
    best = loss(state.params, KEY, XS, Hyper())[1]['log_std']
    for _ in range(3):
        state, _ = trainer.step(state, XS)
    np.testing.assert_allclose(state.params['scale']['log_std'], best * (1 - 0.9**3), rtol=1e-4)


BASE = vj.vae(
    vj.mlp_encoder((16,)), vj.mlp_decoder((16,)), latent=2, like=jnp.zeros((3, 2)), likelihood=fixed_normal(0.0)
)


def test_a_learned_scale_keeps_the_mean_and_owns_one_part():
    for shape in ((), (3, 2)):
        model = learned_scale(BASE, shape, start=-1.0)
        params = model.init(KEY, jnp.zeros((3, 2)))
        assert params['scale']['log_std'].shape == shape
        p, z = model.decode(params, jnp.ones(2)), jnp.ones(2)
        np.testing.assert_array_equal(p.mean, BASE.decode(params, z).mean)
        np.testing.assert_allclose(p.log_std, -1.0)
        same = BASE.init(KEY, jnp.zeros((3, 2)))
        np.testing.assert_allclose(p.log_prob(jnp.zeros((3, 2))), fixed(same, z).log_prob(jnp.zeros((3, 2))), rtol=1e-6)
    with pytest.raises(Fault, match='already'):
        learned_scale(model).init(KEY, jnp.zeros((3, 2)))
    with pytest.raises(Fault, match='fused'):
        learned_scale(BASE._replace(terms=lambda *a: a))


def fixed(params, z):
    return Normal(BASE.decode(params, z).mean, jnp.full((3, 2), -1.0))


def objectives(model):
    return {
        'learned': losses.per_example(losses.beta_elbo(model)),
        'optimal': sigma.optimal_sigma(model),
        'each': losses.per_example(sigma.optimal_sigma_each(model)),
    }


@pytest.mark.slow
@pytest.mark.parametrize('name', ['learned', 'optimal', 'each'])
def test_a_few_steps_learn_and_a_member_is_its_lone_run(name):
    base = small.model(small.DATA.example)
    xs = {'x': vmap(small.DATA.train.view, (None, 0))(KEY, small.DATA.train.rows['x'][:12])}
    model = learned_scale(base)
    trainer = vj.trainer(model.init, objectives(model)[name], lambda hyper: optax.adam(hyper.lr))

    state, _ = short.steps(trainer, xs, KEY, Hyper())
    grads = jax.jit(jax.grad(lambda p: objectives(model)[name](p, KEY, xs, Hyper())[0]))(state.params)
    assert moved(grads) == {'encode', 'decode'} | ({'scale'} if name != 'each' else set())
    if name == 'optimal':
        short.assert_a_member_is_its_lone_run(trainer, xs, KEY, Hyper())

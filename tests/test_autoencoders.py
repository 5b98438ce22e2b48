"""Autoencoders: their terms by hand, noise at the input, and who learns from what."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import random, vmap

import vae_jax as vj
from tests import oracles, short
from tests.short import moved
from vae_jax import losses
from vae_jax.distributions import Bernoulli, Delta, fixed_normal
from vae_jax.errors import Fault
from vae_jax.losses import autoencoders as ae

KEY = random.key(8)


class Hyper(NamedTuple):
    lr: float = 1e-3
    beta: float = 0.3
    regular: float = 0.7


LINEAR = oracles.linear_gaussian(latent=2, dims=4)
PARAMS = LINEAR.init(KEY, jnp.zeros(4))
X = jnp.array([0.5, -1.0, 2.0, 0.3])
GREY = vj.data.load('digits', binarization='none')
XS = {'x': vmap(GREY.train.view, (None, 0))(KEY, GREY.train.rows['x'][:12])}
MODEL = vj.vae(
    vj.mlp_encoder((16,), jnp.tanh),
    vj.mlp_decoder((16,), jnp.tanh),
    latent=3,
    like=GREY.example,
    posterior=Delta,
    likelihood=fixed_normal(0.0),
)
MEMBERS = {
    'autoencoder': ae.autoencoder(MODEL),
    'rae': ae.rae(MODEL),
    'rae-l2': ae.rae(MODEL, ae.decoder_l2()),
    'rae-gp': ae.rae(MODEL, ae.decoder_gradient),
    'contractive': ae.rae(MODEL, ae.contraction),
    'denoising': ae.denoising(ae.autoencoder, MODEL, ae.gaussian_noise(-1.0)),
    'denoising, erased': ae.denoising(ae.autoencoder, MODEL, ae.erased(0.3)),
}


@pytest.fixture(scope='module', autouse=True)
def unoptimized():
    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', False)


def test_the_terms_of_a_linear_model_are_known():
    z = PARAMS['V'] @ (X - PARAMS['b'])
    error = np.sum((X - PARAMS['W'] @ z - PARAMS['b']) ** 2)
    distortion = 0.5 * error * np.exp(1.0) + 4 * (-0.5 + 0.5 * np.log(2 * np.pi))  # log_s = -1/2
    extras = {
        'nothing': (ae.unregularized, 0.0),
        'l2': (ae.decoder_l2('W', 'b'), np.sum(PARAMS['W'] ** 2) + np.sum(PARAMS['b'] ** 2)),
        'gradient': (ae.decoder_gradient, np.sum(PARAMS['W'] ** 2)),
        'contraction': (ae.contraction, np.sum(PARAMS['V'] ** 2)),
    }
    for regularizer, extra in extras.values():
        loss, metrics = ae.rae(LINEAR, regularizer)(PARAMS, KEY, X, Hyper())
        np.testing.assert_allclose(metrics['distortion'], distortion, rtol=1e-5)
        np.testing.assert_allclose(metrics['code_norm'], 0.5 * np.sum(z**2), rtol=1e-5)
        np.testing.assert_allclose(metrics['regularizer'], extra, rtol=1e-5)
        np.testing.assert_allclose(loss, distortion + 0.3 * 0.5 * np.sum(z**2) + 0.7 * extra, rtol=1e-5)


def test_the_decoders_gradient_is_that_of_differences():
    params = MODEL.init(KEY, GREY.example)
    z = jnp.array([0.3, -0.2, 0.5])
    mean = jax.jit(lambda z: MODEL.decode(params, z).mean)
    steps = [(mean(z + 1e-2 * e) - mean(z - 1e-2 * e)) / 2e-2 for e in jnp.eye(3)]
    np.testing.assert_allclose(ae.decoder_gradient(MODEL, params, z, None), sum(np.sum(s**2) for s in steps), rtol=1e-3)


def test_a_regularizer_moves_the_parts_it_names():
    params = MODEL.init(KEY, GREY.example)
    for name, parts in (
        ('rae', set()),
        ('rae-l2', {'decode'}),
        ('rae-gp', {'encode', 'decode'}),
        ('contractive', {'encode'}),
    ):
        terms = jax.jit(jax.jacrev(lambda p, name=name: MEMBERS[name](p, KEY, XS['x'][0], Hyper())[1]))(params)
        assert moved(terms['regularizer']) == parts
        assert moved(terms['code_norm']) == {'encode'} and moved(terms['distortion']) == {'encode', 'decode'}


def trainer(name):
    return vj.trainer(MODEL.init, losses.per_example(MEMBERS[name]), lambda hyper: optax.adam(hyper.lr))


def test_noise_is_seen_by_the_encoder_alone_and_is_new_under_each_key():
    zeroed = lambda key, x: jnp.zeros_like(x)
    loss, _ = ae.denoising(ae.autoencoder, LINEAR, zeroed)(PARAMS, KEY, X, Hyper())
    q = LINEAR.encode(PARAMS, jnp.zeros(4))
    z = q.sample(random.split(KEY)[1])
    np.testing.assert_allclose(loss, -LINEAR.decode(PARAMS, z).log_prob(X), rtol=1e-6)
    clean = ae.denoising(losses.beta_elbo, LINEAR, lambda key, x: x)(PARAMS, KEY, X, Hyper())[0]
    plain = losses.beta_elbo(LINEAR)(PARAMS, random.split(KEY)[1], X, Hyper())[0]
    np.testing.assert_allclose(clean, plain, rtol=1e-6)
    noisy = MEMBERS['denoising']
    params = MODEL.init(KEY, GREY.example)
    values = set(np.asarray(vmap(lambda key: noisy(params, key, XS['x'][0], Hyper())[0])(random.split(KEY, 3))))
    assert len(values) == 3


def test_corruptions_are_what_they_say():
    x = jnp.ones(20_000)
    kept = ae.erased(0.3)(KEY, x)
    assert set(np.unique(kept)) == {0.0, 1.0}
    assert abs(float(jnp.mean(kept)) - 0.7) < 5 * np.sqrt(0.21 / 20_000)
    noise = ae.gaussian_noise(-1.0)(KEY, x) - 1
    assert abs(float(jnp.std(noise)) - np.exp(-1)) < 5 * np.exp(-1) / np.sqrt(40_000)


@pytest.mark.parametrize('name', MEMBERS)
def test_a_few_steps_on_digits(name):
    short.steps(trainer(name), XS, KEY, Hyper())


@pytest.mark.slow
def test_a_member_of_a_population_is_its_lone_run():
    short.assert_a_member_is_its_lone_run(trainer('denoising'), XS, KEY, Hyper())


def test_any_objective_can_be_denoised_and_what_cannot_is_refused():
    vae = vj.vae(vj.mlp_encoder((8,)), vj.mlp_decoder((8,)), latent=2, like=GREY.example, likelihood=vj.Normal)
    params, noise = vae.init(KEY, GREY.example), ae.erased(0.5)
    for make in (losses.beta_elbo, lambda model: losses.negative(vj.iwae, model, k=3)):
        loss = losses.per_example(ae.denoising(make, vae, noise))
        assert np.isfinite(jax.jit(loss)(params, KEY, XS, Hyper())[0])
    with pytest.raises(Fault, match='fused'):
        ae.denoising(losses.beta_elbo, vae._replace(terms=lambda *a: a), noise)
    discrete = vae._replace(encode=lambda params, x: Bernoulli(jnp.zeros(2)))
    with pytest.raises(Fault, match='no gradient'):
        ae.autoencoder(discrete)(params, KEY, XS['x'][0], Hyper())

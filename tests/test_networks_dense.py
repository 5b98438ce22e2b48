"""Gated and normalized dense networks, patch transformers, inputs of any shape, and networks from elsewhere."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from jax import random, vmap

import vae_jax as vj
from vae_jax import networks
from vae_jax.errors import Fault
from vae_jax.networks import transformer

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(5)
SMALL = {'patch': 2, 'width': 8, 'depth': 1, 'heads': 2}
ENCODERS = {
    'mlp': networks.mlp_encoder((6,)),
    'normalized': networks.mlp_encoder((6, 5), norm=nn.LayerNorm),
    'gated': networks.gated_mlp_encoder((6, 5)),
    'gated, normalized': networks.gated_mlp_encoder((6,), nn.tanh, norm=nn.LayerNorm),
    'transformer': networks.transformer_encoder(**SMALL),
    'mean pool': networks.transformer_encoder(**SMALL, pool=networks.mean_pool),
    'class token': networks.transformer_encoder(
        **SMALL, pool=networks.class_token, positions=networks.sinusoidal_positions
    ),
    'bfloat16': networks.transformer_encoder(**SMALL, dtype=jnp.bfloat16),
}
DECODERS = {
    'mlp': networks.mlp_decoder((6,)),
    'normalized': networks.mlp_decoder((6,), norm=nn.LayerNorm),
    'gated': networks.gated_mlp_decoder((6, 5)),
    'conv': networks.conv_decoder((4,), 6),
    'transformer': networks.transformer_decoder(**SMALL),
    'sinusoidal': networks.transformer_decoder(**SMALL, positions=networks.sinusoidal_positions),
    'bfloat16': networks.transformer_decoder(**SMALL, dtype=jnp.bfloat16),
}
SHAPE = (4, 6, 3)


def off_zero(params):
    rng = np.random.default_rng(3)
    return jax.tree.map(lambda a: a + 0.1 * rng.standard_normal(a.shape).astype(np.float32), params)


def pairs():
    yield from (pytest.param(network, SHAPE, id=f'{name} encoder') for name, network in ENCODERS.items())
    yield from (pytest.param(make(SHAPE), (3, 2), id=f'{name} decoder') for name, make in DECODERS.items())


@pytest.mark.parametrize(('network', 'shape'), list(pairs()))
def test_a_batch_is_its_examples_and_gradients_are_finite(network, shape):
    xs = random.normal(KEY, (3, *shape))
    params = off_zero(jax.jit(network.init)(KEY, xs[0]))
    alone = jax.jit(network.apply)
    together = jax.jit(vmap(network.apply, (None, 0)))(params, xs)
    tolerance = 0.03 if 'bfloat16' in str(network) else 3e-6
    np.testing.assert_allclose(together, jnp.stack([alone(params, x) for x in xs]), rtol=0, atol=tolerance)
    assert together.dtype == jnp.float32 and not jnp.allclose(together[0], together[1], atol=1e-3)
    grads = jax.jit(jax.grad(lambda params: jnp.sum(network.apply(params, xs[0]) ** 2)))(params)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert grad.dtype == jnp.float32 and jnp.all(jnp.isfinite(grad)), path
        assert jnp.any(grad != 0), path


@pytest.mark.parametrize('name', DECODERS)
def test_a_decoder_takes_a_code_of_any_shape(name):
    network, z = DECODERS[name](SHAPE), random.normal(KEY, (3, 2))
    params = jax.jit(network.init)(KEY, z)
    apply = jax.jit(network.apply)
    assert apply(params, z).shape == SHAPE
    np.testing.assert_array_equal(apply(params, z), apply(params, z.reshape(-1)))
    np.testing.assert_allclose(apply(params, (z[:1], z[1:])), apply(params, z), rtol=0, atol=1e-6)


def test_a_dense_encoder_takes_a_table_of_columns():
    row = {'age': jnp.float32(3), 'colour': jnp.eye(4)[1], 'image': jnp.ones((2, 2))}
    for network in (networks.mlp_encoder((6,)), networks.gated_mlp_encoder((6,))):
        assert network.apply(network.init(KEY, row), row).shape == (6,)


def test_a_gated_layer_is_its_formula():
    x = random.normal(KEY, (2, 3))
    network = networks.gated_mlp_encoder((4,))
    params = off_zero(network.init(KEY, x))
    kernel, bias = params['params']['Dense_0']['kernel'], params['params']['Dense_0']['bias']
    both = x.reshape(-1) @ kernel + bias
    np.testing.assert_allclose(network.apply(params, x), both[:4] / (1 + np.exp(-both[4:])), rtol=1e-5)
    with_tanh = networks.gated_mlp_encoder((4,), nn.tanh).apply(params, x)
    np.testing.assert_allclose(with_tanh, np.tanh(both[:4]) / (1 + np.exp(-both[4:])), rtol=1e-5)


def test_a_layer_norm_comes_between_the_product_and_the_activation():
    x, network = random.normal(KEY, (7,)), networks.mlp_encoder((4,), nn.tanh, norm=nn.LayerNorm)
    params = off_zero(network.init(KEY, x))['params']
    y = np.asarray(x @ params['Dense_0']['kernel'] + params['Dense_0']['bias'])
    y = (y - y.mean()) / np.sqrt(y.var() + 1e-6) * params['LayerNorm_0']['scale'] + params['LayerNorm_0']['bias']
    np.testing.assert_allclose(network.apply({'params': params}, x), np.tanh(y), rtol=0, atol=1e-5)
    plain = networks.mlp_encoder((4,), nn.tanh)
    assert jax.tree.structure(plain.init(KEY, x)) != jax.tree.structure({'params': params})


def test_equal_networks_are_equal_values_and_compile_once():
    traces = []

    def apply(params, z, network):
        traces.append(network)
        return network.apply(params, z)

    apply = jax.jit(apply, static_argnums=2)
    makes = [
        lambda: networks.gated_mlp_decoder([6]),
        lambda: networks.mlp_decoder((6,), norm=nn.LayerNorm),
        lambda: networks.transformer_decoder(**SMALL),
    ]
    for make in makes:
        assert make() == make() and hash(make()) == hash(make()) and make()((4, 4)) == make()([4, 4])
        params = jax.jit(make()((4, 4)).init)(KEY, jnp.ones(2))
        before = len(traces)
        for _ in range(2):
            apply(params, jnp.ones(2), make()((4, 4)))
        assert len(traces) == before + 1
    assert networks.transformer_encoder(pool=networks.class_token) == networks.transformer_encoder(
        pool=networks.class_token
    )
    assert networks.transformer_encoder(pool=networks.class_token) != networks.transformer_encoder()
    assert hash(networks.gated_mlp_encoder()) == hash(networks.gated_mlp_encoder())


# Transformers


def test_patches_are_read_row_by_row_and_put_back():
    x = jnp.arange(4 * 6 * 2.0).reshape(4, 6, 2)
    tokens = transformer.patches(x, 2)
    assert tokens.shape == (6, 8)
    np.testing.assert_array_equal(tokens[4].reshape(2, 2, 2), x[2:4, 2:4])
    np.testing.assert_array_equal(transformer.unpatched(tokens, (4, 6, 2), 2), x)
    np.testing.assert_array_equal(transformer.unpatched(tokens[:, ::2], (4, 6), 2), x[..., 0])


def test_attention_is_its_formula():
    q, k, v = random.normal(KEY, (3, 5, 2, 4))
    ours = transformer._attention(q, k, v, None)
    for head in range(2):
        scores = np.asarray(q[:, head], np.float64) @ np.asarray(k[:, head], np.float64).T / 2
        weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        np.testing.assert_allclose(ours[:, head], weights @ v[:, head], rtol=0, atol=1e-5)
    theirs = nn.dot_product_attention(q[None], k[None], v[None])[0]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_a_block_without_positions_does_not_know_the_order_of_its_tokens():
    block, tokens = transformer._Block(2, nn.gelu, None), random.normal(KEY, (5, 8))
    params = off_zero(block.init(KEY, tokens))
    order = jnp.array([3, 0, 4, 1, 2])
    straight = block.apply(params, tokens)
    np.testing.assert_allclose(block.apply(params, tokens[order]), straight[order], rtol=0, atol=1e-5)
    changed = block.apply(params, tokens.at[4].set(tokens[4, ::-1]))
    assert jnp.all(jnp.any(jnp.abs(changed - straight) > 1e-5, 1)), 'every token attends to every other'


def test_positions_tell_patches_apart():
    for positions in (networks.learned_positions, networks.sinusoidal_positions):
        network = networks.transformer_encoder(**SMALL, positions=positions)
        x = random.normal(KEY, (4, 4))
        params = network.init(KEY, x)
        moved = x.reshape(2, 2, 4)[::-1].reshape(4, 4)
        assert not jnp.allclose(network.apply(params, x), network.apply(params, moved), atol=1e-4)
    waves = networks.sinusoidal_positions(None, (3, 4), 8)
    assert waves.shape == (12, 8) and len(np.unique(np.round(waves, 4), axis=0)) == 12
    np.testing.assert_allclose(waves[6, :4], [np.sin(1), np.sin(0.01), np.cos(1), np.cos(0.01)], rtol=1e-5)
    np.testing.assert_allclose(waves[6, 4:], [np.sin(2), np.sin(0.02), np.cos(2), np.cos(0.02)], rtol=1e-5)


REFUSED = {
    'patch, encoder': (
        lambda: networks.transformer_encoder(3),
        (8, 9),
        r'3 x 3 do not divide.*8 x 9; fix: use a patch of 1(\n|$)',
    ),
    'patch, decoder': (lambda: networks.transformer_decoder(4)((6, 8)), (2,), 'use a patch of 1, 2'),
    'no image': (lambda: networks.transformer_encoder(2), (8,), r'shape \[8\].*use an mlp'),
    'no image, decoder': (lambda: networks.transformer_decoder(2)((8,)), (2,), r'shape \[8\].*use an mlp'),
    'heads': (lambda: networks.transformer_encoder(2, 6, heads=4), (4, 4), 'multiple of the heads'),
    'heads, decoder': (lambda: networks.transformer_decoder(2, 6, heads=4)((4, 4)), (2,), 'multiple of the heads'),
    'waves': (
        lambda: networks.transformer_encoder(2, 6, heads=2, positions=networks.sinusoidal_positions),
        (4, 4),
        'multiple of 4',
    ),
}


@pytest.mark.parametrize('name', REFUSED)
def test_shapes_that_cannot_be_are_refused_in_one_line(name):
    make, shape, said = REFUSED[name]
    with pytest.raises(Fault, match=said) as fault:
        make().init(KEY, jnp.ones(shape))
    assert '\n' not in str(fault.value)


# Networks from elsewhere


class Hyper(NamedTuple):
    lr: float = 1e-2
    beta: float = 1.0


class Pair(NamedTuple):
    """A network written by hand: any object with init and apply will do."""

    init: object
    apply: object


def by_hand(shape):
    """x or z -> features [*shape] = tanh(x w) in plain jax."""

    def init(key, x):
        return [0.1 * random.normal(key, (x.size, int(np.prod(shape))))]

    def apply(params, x):
        return jnp.tanh(x.reshape(-1) @ params[0]).reshape(shape)

    return Pair(init, apply)


@pytest.mark.parametrize('decoder', [by_hand, networks.transformer_decoder(**SMALL)], ids=['by hand', 'mixed'])
def test_a_pair_of_functions_is_a_network(decoder):
    batch = {'x': vj.data.load('digits').test.rows['x'][:64] * 1.0}
    model = vj.vae(by_hand((5,)), decoder, latent=2, like=batch['x'][0])
    trainer = vj.trainer(model.init, vj.per_example(vj.beta_elbo(model)), lambda hyper: optax.adam(hyper.lr))
    state = trainer.init(KEY, batch, Hyper())
    found = jax.jit(lambda state: jax.lax.scan(lambda s, _: trainer.step(s, batch), state, None, 60))(state)[1]
    assert jnp.all(jnp.isfinite(found['loss'])) and found['loss'][-1] < 0.9 * found['loss'][0]


@pytest.mark.slow
def test_a_transformer_learns_where_a_mark_is():
    """A mark in one of 16 places: its code tells the decoder which, half as far off as the mean image is."""
    xs = jnp.eye(16).reshape(16, 4, 4).repeat(2, 1).repeat(2, 2)
    encode = networks.Head(networks.transformer_encoder(2, 16, 1, 2), 4)
    decode = networks.transformer_decoder(2, 16, 1, 2)((8, 8))
    adam = optax.adam(3e-3)

    def loss(params):
        return jnp.mean((vmap(lambda x: decode.apply(params['d'], encode.apply(params['e'], x)))(xs) - xs) ** 2)

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = adam.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), value

    params = {'e': encode.init(KEY, xs[0]), 'd': decode.init(KEY, jnp.ones(4))}
    losses = jax.jit(lambda p: jax.lax.scan(step, (p, adam.init(p)), None, 1000))(params)[1]
    assert losses[-1] < 0.5 * jnp.var(xs, 0).mean()

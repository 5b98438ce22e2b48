"""Every network: features of the promised shape, one example equal to its batched form, no convolution on a CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from jax import lax, random, vmap

from vae_jax import networks
from vae_jax.errors import Fault

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(3)
LATENT = 4
MLP = (networks.mlp_encoder((9,), nn.tanh), networks.mlp_decoder((9,), nn.tanh))
CONV = (networks.conv_encoder((4, 8), 10), networks.conv_decoder((8, 4), 10))
RESNET = (networks.resnet_encoder((4, 8), 10), networks.resnet_decoder((8, 4), 10))
BFLOAT16 = (
    networks.conv_encoder((4, 8), 10, dtype=jnp.bfloat16),
    networks.resnet_decoder((8, 4), 10, dtype=jnp.bfloat16),
)
GATED = (networks.gated_mlp_encoder((9,)), networks.gated_mlp_decoder((9,), norm=nn.LayerNorm))
TRANSFORMER = (networks.transformer_encoder(1, 8, 1, 2), networks.transformer_decoder(1, 8, 1, 2))
PAIRS = {'mlp': MLP, 'gated': GATED, 'conv': CONV, 'resnet': RESNET, 'bfloat16': BFLOAT16, 'transformer': TRANSFORMER}
IMAGES = [(8, 8), (7, 5), (28, 20, 1), (9, 12, 3), (1, 2)]


def scale_up(params):
    """Biases and scales off their initial zeros and ones, that a wrong axis may show."""
    rng = np.random.default_rng(3)
    return jax.tree.map(lambda a: a + 0.1 * rng.standard_normal(a.shape).astype(np.float32), params)


@pytest.mark.parametrize('shape', [*IMAGES, (5,), (6, 4, 2, 3)])
@pytest.mark.parametrize('name', PAIRS)
def test_features_have_the_promised_shape(name, shape):
    encoder, decoder = PAIRS[name]
    if len(shape) == 1 and name not in ('mlp', 'gated'):
        for network, x in ((encoder, jnp.ones(shape)), (decoder(shape), jnp.ones(LATENT))):
            with pytest.raises(Fault, match=r'got data of shape \[5\].*use an mlp'):
                network.init(KEY, x)
        return
    if len(shape) < 4:
        network = networks.Head(encoder, 6)
        features = jax.eval_shape(lambda x: network.apply(network.init(KEY, x), x), jnp.ones(shape))
        assert features.shape == (6,)
    network = decoder(shape)
    features = jax.eval_shape(lambda z: network.apply(network.init(KEY, z), z), jnp.ones(LATENT))
    assert features.shape == shape and features.dtype == jnp.float32


@pytest.mark.parametrize(('name', 'shape'), [('mlp', (9, 12, 3)), ('conv', (9, 12, 3)), ('resnet', (7, 5))])
def test_one_example_equals_its_place_in_a_batch(name, shape):
    encoder, decoder = PAIRS[name]
    for network, size in ((networks.Head(encoder, 6), shape), (decoder(shape), (LATENT,))):
        xs = random.normal(KEY, (5, *size))
        params = scale_up(jax.jit(network.init)(KEY, xs[0]))
        together = jax.jit(vmap(network.apply, (None, 0)))(params, xs)
        alone = jax.jit(network.apply)
        one_by_one = [alone(params, x) for x in xs]
        np.testing.assert_allclose(together, jnp.stack(one_by_one), rtol=0, atol=3e-6)
        assert not jnp.allclose(together[0], together[1], atol=1e-3)


def test_a_residual_block_equals_its_batched_formula():
    xs = random.normal(KEY, (3, 7, 5, 8))
    block = networks.convolutional._Block(nn.relu)
    params = scale_up(jax.jit(block.init)(KEY, xs[0]))['params']

    @jax.jit
    def batched(params, y):
        for i in range(2):
            y = nn.relu(nn.GroupNorm(8).apply({'params': params[f'GroupNorm_{i}']}, y))
            conv = params[f'_Conv_{i}']
            y = lax.conv_general_dilated(y, conv['kernel'], (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
            y = y + conv['bias'][None, None, None]
        return xs + y

    one_by_one = jax.jit(vmap(block.apply, (None, 0)))({'params': params}, xs)
    np.testing.assert_allclose(one_by_one, batched(params, xs), rtol=0, atol=1e-5)


def test_equal_networks_are_equal_values_and_compile_once():
    traces = []

    def apply(params, x, network):
        traces.append(network)
        return network.apply(params, x)

    apply = jax.jit(apply, static_argnums=2)
    for make in (networks.mlp_encoder, networks.conv_encoder, networks.resnet_encoder):
        assert networks.Head(make(), 4) == networks.Head(make(), 4) != networks.Head(make(), 5)
        assert hash(make()) == hash(make())
    for make in (networks.mlp_decoder, networks.conv_decoder, networks.resnet_decoder):
        assert make() == make() and hash(make()) == hash(make()) and make()((8, 8)) == make()([8, 8])
        network = make((4, 2))
        params = jax.jit(network((4, 4)).init)(KEY, jnp.ones(2))
        before = len(traces)
        for again in (network, make([4, 2])):
            apply(params, jnp.ones(2), again((4, 4)))
        assert len(traces) == before + 1


def test_initialization_is_that_of_flax():
    kernel = jax.jit(networks.conv_encoder((64,), 300).init)(KEY, jnp.ones((28, 28, 3)))['params']
    assert np.std(kernel['_Conv_0']['kernel']) == pytest.approx((3 * 3 * 3) ** -0.5, rel=0.05)
    assert np.std(kernel['Dense_0']['kernel']) == pytest.approx((14 * 14 * 64) ** -0.5, rel=0.05)
    assert not np.any(kernel['Dense_0']['bias'])


def training_chunk(encoder, decoder, shape, n=4, steps=3):
    """A scan of training steps over one example's loss, vmapped: what a run compiles."""
    encode, decode, adam = networks.Head(encoder, LATENT), decoder(shape), optax.adam(1e-3)

    def init(key):
        return {'e': encode.init(key, jnp.ones(shape)), 'd': decode.init(key, jnp.ones(LATENT))}

    def loss(params, xs):
        return jnp.mean(vmap(lambda x: jnp.sum((decode.apply(params['d'], encode.apply(params['e'], x)) - x) ** 2))(xs))

    def step(carry, xs):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params, xs)
        updates, state = adam.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), value

    def chunk(params, xs):
        return lax.scan(step, (params, adam.init(params)), xs)

    return init, chunk, random.normal(KEY, (steps, n, *shape))


@pytest.mark.parametrize('name', ['conv', 'resnet', 'bfloat16', 'transformer'])
def test_the_cpu_training_chunk_holds_no_convolution(name):
    init, chunk, xs = training_chunk(*PAIRS[name], (7, 5))
    text = jax.jit(chunk).lower(jax.eval_shape(init, KEY), xs).compile().as_text()
    assert 'dot(' in text and 'while(' in text and 'convolution(' not in text


@pytest.mark.parametrize('platform', ['cpu', 'cuda', 'tpu'])
@pytest.mark.parametrize('name', PAIRS)
def test_the_training_chunk_lowers_for_every_platform(name, platform):
    init, chunk, xs = training_chunk(*PAIRS[name], (7, 5))
    params = jax.eval_shape(init, KEY)
    assert jax.jit(chunk).trace(params, xs).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize('name', ['mlp', 'conv'])
def test_a_population_is_its_members(name):
    init, chunk, xs = training_chunk(*PAIRS[name], (5, 3))
    init, chunk = jax.jit(init), jax.jit(chunk)
    members = [init(key) for key in random.split(KEY, 3)]
    together = jax.jit(vmap(chunk, (0, None)))(jax.tree.map(lambda *a: jnp.stack(a), *members), xs)[1]
    for losses, params in zip(together, members, strict=True):
        np.testing.assert_allclose(losses, chunk(params, xs)[1], rtol=3e-5)
    assert len(np.unique(together[:, -1])) == 3

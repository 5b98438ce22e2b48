"""Each fast kernel equals its plain formula: values, gradients in every argument, forward mode, under vmap."""

from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax, random, vmap
from jax.extend.random import threefry_2x32

from vae_jax import kernels

KEY = random.key(7)
PRECISION = [('float32', 3e-6, 3e-5), ('float64', 1e-10, 1e-10)]
PLATFORMS = ('cpu', 'cuda', 'tpu')


def double(dtype):
    return jax.enable_x64(True) if dtype == 'float64' else nullcontext()


def assert_equal_in_every_derivative(fast, plain, args, value, gradient):
    """Value, reverse mode in every argument, forward mode and reverse over forward, relative to the largest entry."""
    weights = jnp.cos(jnp.arange(plain(*args).size, dtype=args[0].dtype)).reshape(plain(*args).shape)
    tangents = tuple(jnp.sin(1 + jnp.arange(a.size, dtype=a.dtype)).reshape(a.shape) for a in args)
    every = tuple(range(len(args)))

    def close(f, tolerance):
        a, b = jax.jit(f(fast))(*args), jax.jit(f(plain))(*args)
        for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * max(1, float(jnp.abs(other).max())))

    def scalar(f):
        return lambda *args: jnp.sum(weights * jnp.sin(f(*args)))

    def slope(f):
        return lambda *args: jax.jvp(f, args, tangents)[1]

    close(lambda f: f, value)
    close(lambda f: jax.grad(scalar(f), every), gradient)
    close(slope, gradient)
    close(lambda f: jax.grad(lambda *args: jnp.sum(slope(scalar(f))(*args)), every), 10 * gradient)


@pytest.mark.parametrize('n', [1, 2, 7, 64])
def test_the_random_words_are_those_of_jaxs_threefry(n):
    half = (n + 1) // 2
    counters = jnp.concatenate([jnp.arange(half, dtype=jnp.uint32), jnp.zeros(half, jnp.uint32)])
    expected = threefry_2x32(random.key_data(KEY), counters)[:n]
    np.testing.assert_array_equal(kernels.threefry_bits(KEY, n), expected)
    keys = random.split(KEY, 3)
    np.testing.assert_array_equal(
        vmap(lambda key: kernels.threefry_bits(key, n))(keys), [kernels.threefry_bits(key, n) for key in keys]
    )


@pytest.mark.parametrize('levels', [2, 17, 256])
def test_binarize_has_the_mean_of_every_level_and_certain_extremes(levels):
    n = 20_000
    x = jnp.arange(levels, dtype=jnp.uint8)
    draws = np.asarray(vmap(lambda key: kernels.binarize(key, x, levels))(random.split(KEY, n)))
    assert set(np.unique(draws)) == {0.0, 1.0}
    assert not draws[:, 0].any() and draws[:, -1].all()
    # enough draws for the largest of the 2^16 values to come up some thirty times
    assert kernels.binarize(KEY, jnp.full(2_000_000, levels - 1, jnp.uint8), levels).all()
    p = np.arange(levels)[1:-1] / (levels - 1)
    assert np.all(np.abs(draws[:, 1:-1].mean(0) - p) < 5 * np.sqrt(p * (1 - p) / n))


def test_binarize_draws_every_pixel_by_itself():
    n, x = 4_000, jnp.full((7, 5), 128, jnp.uint8)
    draws = np.asarray(vmap(lambda key: kernels.binarize(key, x, 256))(random.split(KEY, n))).reshape(n, -1)
    off_diagonal = np.corrcoef(draws.T) - np.eye(draws.shape[1])
    assert np.abs(off_diagonal).max() < 5 / np.sqrt(n)


@pytest.mark.parametrize(('dtype', 'value', 'gradient'), PRECISION)
def test_bernoulli_log_prob(dtype, value, gradient):
    with double(dtype):
        logits = jnp.asarray([-90.0, -20.0, -1.0, 0.0, 0.0, 0.5, 3.0, 90.0], dtype)
        x = jnp.asarray([0.0, 1.0, 1.0, 0.0, 1.0, 0.3, 0.0, 1.0], dtype)
        assert_equal_in_every_derivative(
            kernels.bernoulli_log_prob, kernels.bernoulli_log_prob_plain, (logits, x), value, gradient
        )


def test_bernoulli_log_prob_at_logit_zero():
    zero, one = jnp.zeros(()), jnp.ones(())
    dl, dx = jax.grad(kernels.bernoulli_log_prob, (0, 1))(zero, one)
    assert (dl, dx) == (0.5, 0.0)
    assert jax.grad(jax.grad(kernels.bernoulli_log_prob))(zero, one) == -0.25
    assert jax.grad(kernels.bernoulli_log_prob, 1)(jnp.float32(1.7), zero) == jnp.float32(1.7)


@pytest.mark.parametrize(('dtype', 'value', 'gradient'), PRECISION)
def test_product(dtype, value, gradient):
    with double(dtype):
        x, w = random.normal(KEY, (6, 3, 4), dtype), random.normal(KEY, (4, 5), dtype)
        assert_equal_in_every_derivative(kernels.product, kernels.product_plain, (x, w), value, gradient)
        for axes in ((0, None), (None, 0), (0, 0)) if dtype == 'float64' else ():
            args = [a if axis is None else jnp.stack([a, 2 * a, a - 1]) for a, axis in zip((x, w), axes)]
            fast, plain = (vmap(f, axes) for f in (kernels.product, kernels.product_plain))
            assert_equal_in_every_derivative(fast, plain, args, value, gradient)


def test_product_gradients_of_single_examples_equal_those_of_the_batch():
    x, w = random.normal(KEY, (6, 4)), random.normal(KEY, (4, 5))
    f = lambda w, x: jnp.sum(jnp.sin(kernels.product(x, w)))
    each = vmap(jax.grad(f), (None, 0))(w, x)
    whole = jax.grad(lambda w: jnp.sum(vmap(f, (None, 0))(w, x)))(w)
    np.testing.assert_allclose(each.sum(0), whole, rtol=0, atol=3e-6)


def test_product_in_bfloat16_keeps_the_weights_gradient_in_float32():
    x, w = random.normal(KEY, (64, 32)), random.normal(KEY, (32, 16))
    f = lambda product: jax.value_and_grad(lambda x, w: jnp.sum(product(x, w)), (0, 1))
    (_, (dx, dw)), (_, (dx0, dw0)) = (
        f(lambda x, w: kernels.product(x, w, jnp.bfloat16))(x, w),
        f(kernels.product_plain)(x, w),
    )
    y = kernels.product(x, w, jnp.bfloat16)
    assert (y.dtype, dx.dtype, dw.dtype) == (jnp.float32,) * 3
    np.testing.assert_allclose(dw, dw0, rtol=0, atol=3e-5)
    # 2^-8 a factor, and it must show: a float32 product in disguise is no bfloat16
    assert 1e-6 < jnp.abs(y - x @ w).max() < 2**-7 * (jnp.abs(x) @ jnp.abs(w)).max()
    assert 1e-6 < jnp.abs(dx - dx0).max() < 2**-6 * jnp.abs(w).sum(1).max()


@pytest.mark.parametrize(
    ('shape', 'k', 'd', 'stride', 'precision'),
    [
        ((7, 5, 2), 3, 4, 2, PRECISION[0]),
        ((7, 5, 2), 3, 4, 2, PRECISION[1]),
        ((7, 5, 3), 3, 2, 1, PRECISION[1]),
        ((6, 9, 3), 4, 2, 2, PRECISION[1]),
        ((1, 1, 1), 3, 2, 2, PRECISION[1]),
    ],
)
def test_conv(shape, k, d, stride, precision):
    dtype, value, gradient = precision
    with double(dtype):
        x, w = random.normal(KEY, shape, dtype), random.normal(KEY, (k, k, shape[-1], d), dtype)
        fast, plain = (lambda x, w, f=f: f(x, w, stride) for f in (kernels.conv, kernels.conv_plain))
        same = lax.conv_general_dilated(x[None], w, (stride,) * 2, 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
        np.testing.assert_allclose(fast(x, w), same[0], rtol=0, atol=value * max(1, float(jnp.abs(same).max())))
        assert_equal_in_every_derivative(fast, plain, (x, w), value, gradient)


@pytest.mark.parametrize(('dtype', 'value', 'gradient'), PRECISION)
@pytest.mark.parametrize(('c', 'd'), [(2, 3), (5, 1)])
def test_upsample(dtype, value, gradient, c, d):
    with double(dtype):
        x, w = random.normal(KEY, (4, 3, c), dtype), random.normal(KEY, (2, 2, c, 4 * d), dtype)
        assert_equal_in_every_derivative(kernels.upsample, kernels.upsample_plain, (x, w), value, gradient)


def test_depth_to_space_puts_each_quarter_of_the_channels_in_its_corner():
    y = jnp.arange(2 * 3 * 8).reshape(2, 3, 8)
    x = kernels.depth_to_space(y)
    for i in range(2):
        for j in range(2):
            np.testing.assert_array_equal(x[i::2, j::2], y[..., (2 * i + j) * 2 : (2 * i + j + 1) * 2])


@pytest.mark.parametrize('platform', PLATFORMS)
def test_kernels_lower_for_every_platform_and_only_a_cpu_does_without_convolutions(platform):
    x, w, v = jnp.ones((2, 6, 6, 3)), jnp.ones((3, 3, 3, 4)), jnp.ones((2, 2, 4, 8))
    f = lambda w, v: jnp.sum(vmap(lambda x: kernels.upsample(kernels.conv(x, w, 2), v))(x))
    text = jax.jit(jax.grad(f, (0, 1))).trace(w, v).lower(lowering_platforms=(platform,)).as_text()
    assert ('convolution' in text) == (platform != 'cpu')
    random_kernel = vmap(lambda key, x: kernels.binarize(key, x, 256))
    keys, pixels = random.split(KEY, 2), jnp.zeros((2, 28, 28), jnp.uint8)
    jax.jit(random_kernel).trace(keys, pixels).lower(lowering_platforms=(platform,))

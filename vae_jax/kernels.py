"""The inner loops written for speed, each beside the plain formula that it must equal (`*_plain`)."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from vae_jax.errors import Fault


def flat(*leaves: Array) -> tuple[Array, ...]:
    """The leaves as vectors, for arithmetic that ends in a sum over all axes.

    XLA's CPU loops run along the last axis: over [28, 28, 1] its softplus takes fifteen times as long as over [784].
    """
    return tuple(leaf.reshape(-1) for leaf in leaves)


def threefry_bits(key: Array, n: int) -> Array:
    """u32[n]: the first n words of threefry2x32-20 on the counters (0, 0), (1, 0), ... (Salmon et al. 2011).

    Bit-equal to `jax.extend.random.threefry_2x32`, but unrolled, so that it fuses with its consumer on every device.
    """
    words = jax.random.key_data(key)
    if words.shape != (2,):
        raise Fault(f'a key of {words.shape} words is not of threefry', "make keys with impl='threefry2x32'")
    k0, k1 = words
    ks = (k0, k1, k0 ^ k1 ^ jnp.uint32(0x1BD11BDA))
    half = (n + 1) // 2
    x0, x1 = lax.iota(jnp.uint32, half) + k0, jnp.full(half, k1)
    for i in range(5):
        for r in ((13, 15, 26, 6), (17, 29, 16, 24))[i % 2]:
            x0 = x0 + x1
            x1 = x0 ^ ((x1 << r) | (x1 >> (32 - r)))
        x0, x1 = x0 + ks[(i + 1) % 3], x1 + ks[(i + 2) % 3] + jnp.uint32(i + 1)
    return jnp.concatenate([x0, x1])[:n]


def binarize(key: Array, x: Array, levels: int) -> Array:
    """Bernoulli(x / (levels - 1)) as float32, for u8 x of any shape, from 16 random bits u a pixel.

    u / 2^16 < x / (levels - 1): right to 2^-16, and 0 and levels - 1 are certain. One byte a pixel would turn a
    saturated one off once in 256, about a nat an image.
    """
    words = threefry_bits(key, (x.size + 1) // 2)
    u = lax.bitcast_convert_type(words, jnp.uint16).reshape(-1)[: x.size]
    on = u.astype(jnp.uint32) * (levels - 1) < x.reshape(-1).astype(jnp.uint32) * 65536
    return on.astype(jnp.float32).reshape(x.shape)


@jax.custom_jvp
def bernoulli_log_prob(logits: Array, x: Array) -> Array:
    """log p(x) = sum x l - softplus(l), in nats, for logits l and x of one shape, with gradients x - sigmoid(l), l."""
    logits, x = flat(logits, x)
    return jnp.sum(x * logits - jnp.maximum(logits, 0) - jnp.log1p(jnp.exp(-jnp.abs(logits))))


@bernoulli_log_prob.defjvp
def _bernoulli_log_prob_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    logits, x, dl, dx = flat(*primals, *tangents)
    # differentiating the value itself would lose sigmoid(0) = 1/2 to the corners of max and abs
    return bernoulli_log_prob(logits, x), jnp.sum((x - jax.nn.sigmoid(logits)) * dl + logits * dx)


def bernoulli_log_prob_plain(logits: Array, x: Array) -> Array:
    """sum x l - softplus(l)."""
    return jnp.sum(x * logits - jnp.logaddexp(logits, 0.0))


def product(x: Array, w: Array, dtype: Any = None) -> Array:
    """x [..., k] by w [k, d] to [..., d], in `dtype` forward and towards x, summed in the type of x and w.

    The gradient of w is computed in the type of x and w whatever `dtype` is: bfloat16 has no place in it.
    """
    y = _product.bind(x.reshape(-1, x.shape[-1]), w, dtype=None if dtype is None else jnp.dtype(dtype))
    return y.reshape(*x.shape[:-1], w.shape[-1])


def product_plain(x: Array, w: Array) -> Array:
    """x @ w."""
    return x @ w


def _contract(x: Array, w: Array, axes: tuple[int, int], dtype: Any) -> Array:
    out = jnp.result_type(x, w)
    x, w = (x, w) if dtype is None else (x.astype(dtype), w.astype(dtype))
    return lax.dot_general(x, w, (((axes[0],), (axes[1],)), ((), ())), preferred_element_type=out)


def _rows_by_matrix(x: Array, w: Array, *, dtype: Any) -> Array:
    return _contract(x, w, (1, 0), dtype)


def _batch_product(args: tuple[Array, Array], axes: tuple[int, int | None], *, dtype: Any) -> tuple[Array, int]:
    (x, w), (x_axis, w_axis) = args, axes
    if w_axis is not None:
        return jax.vmap(partial(_rows_by_matrix, dtype=dtype), axes)(x, w), 0
    x = jnp.moveaxis(x, x_axis, 0)
    return product(x, w, dtype), 0


# A primitive, because vmap must give one product over rows x examples: as a batched dot_general XLA's CPU compiler
# copies a convolution's whole gradient, transposed, to form dW (a fifth of the convolutional step). Being
# bilinear it has forward mode and all higher derivatives, which custom_vmap and custom_vjp would not leave us.
_product = Primitive('product')
_product.def_impl(jax.jit(_rows_by_matrix, static_argnames='dtype'))
_product.def_abstract_eval(
    lambda x, w, *, dtype: jax.core.ShapedArray((x.shape[0], w.shape[1]), jnp.result_type(x.dtype, w.dtype))
)
mlir.register_lowering(_product, mlir.lower_fun(_rows_by_matrix, multiple_results=False))
batching.primitive_batchers[_product] = _batch_product
ad.defbilinear(
    _product,
    lambda g, x, w, *, dtype: _contract(g, w, (1, 1), dtype),
    lambda g, x, w, *, dtype: _contract(x, g, (0, 0), None),
)


def conv(x: Array, w: Array, stride: int = 1, dtype: Any = None) -> Array:
    """SAME convolution of one example: x [h, w, c] by w [k, k, c, d] to [ceil(h / stride), ceil(w / stride), d].

    On a CPU one product of patches: inside a scan, the weight gradient of `lax.conv` is 46 times slower there.
    """
    pads = [_same(n, w.shape[0], stride) for n in x.shape[:2]]
    return _conv(jnp.pad(x, (*pads, (0, 0))), w, stride, dtype)


def conv_plain(x: Array, w: Array, stride: int = 1) -> Array:
    """The same by `lax`."""
    pads = [_same(n, w.shape[0], stride) for n in x.shape[:2]]
    return _lax_conv(jnp.pad(x, (*pads, (0, 0))), w, stride, None)


def upsample(x: Array, w: Array, dtype: Any = None) -> Array:
    """Transposed 4x4 convolution of stride 2: x [h, w, c] by w [2, 2, c, 4 d] to [2 h, 2 w, d].

    Computed as what it equals: a 2x2 convolution of x in a border of one, `depth_to_space`, and the border cut off.
    """
    x = jnp.pad(x, ((1, 1), (1, 1), (0, 0)))
    return depth_to_space(_conv(x, w, 1, dtype))[1:-1, 1:-1]


def upsample_plain(x: Array, w: Array) -> Array:
    """The same by `lax`: a convolution of x spread out with zeros between its pixels."""
    c, d = w.shape[2], w.shape[3] // 4
    # tap t of the spread-out kernel is tap t // 2 of w for the corner that lies t % 2 before the last
    w = w.reshape(2, 2, c, 2, 2, d)[:, :, :, ::-1, ::-1].transpose(0, 3, 1, 4, 2, 5).reshape(4, 4, c, d)
    return lax.conv_transpose(x[None], w, (2, 2), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))[0]


def depth_to_space(y: Array) -> Array:
    """[h, w, 4 d] -> [2 h, 2 w, d]: channel (2 i + j) d + e of a pixel becomes channel e of its corner (i, j)."""
    h, w, c = y.shape
    return y.reshape(h, w, 2, 2, c // 4).transpose(0, 2, 1, 3, 4).reshape(2 * h, 2 * w, c // 4)


def _same(n: int, k: int, stride: int) -> tuple[int, int]:
    missing = max((-(-n // stride) - 1) * stride + k - n, 0)
    return missing // 2, missing - missing // 2


def _conv(x: Array, w: Array, stride: int, dtype: Any) -> Array:
    cpu, other = partial(_product_conv, stride=stride, dtype=dtype), partial(_lax_conv, stride=stride, dtype=dtype)
    return lax.platform_dependent(x, w, cpu=cpu, default=other)


def _lax_conv(x: Array, w: Array, stride: int, dtype: Any) -> Array:
    out = jnp.result_type(x, w)
    x, w = (x, w) if dtype is None else (x.astype(dtype), w.astype(dtype))
    y = lax.conv_general_dilated(x[None], w, (stride, stride), 'VALID', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
    return y[0].astype(out)


def _product_conv(x: Array, w: Array, stride: int, dtype: Any) -> Array:
    """VALID convolution as one product: of patches, or (d < c) of pixels whose outputs are shifted and added."""
    k, _, c, d = w.shape
    h, wd = ((n - k) // stride + 1 for n in x.shape[:2])

    def tap(y: Array, i: int, j: int) -> Array:
        return y[i : i + (h - 1) * stride + 1 : stride, j : j + (wd - 1) * stride + 1 : stride]

    taps = [(i, j) for i in range(k) for j in range(k)]
    if d < c and stride == 1:
        y = product(x, w.transpose(2, 0, 1, 3).reshape(c, -1), dtype).reshape(*x.shape[:2], k, k, d)
        return sum((tap(y[:, :, i, j], i, j) for i, j in taps[1:]), tap(y[:, :, 0, 0], 0, 0))
    return product(jnp.concatenate([tap(x, i, j) for i, j in taps], -1), w.reshape(-1, d), dtype)

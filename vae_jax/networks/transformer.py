"""Transformers of image patches: attention and dense blocks with the norm before each, over one example's tokens.

Where tokens are and how they become one vector are arguments that are functions: `learned_positions` or
`sinusoidal_positions`; `mean_pool`, `class_token` or `every_token`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from vae_jax.errors import Fault
from vae_jax.networks.base import Activation, Decoder, Shape, image, linear, not_an_image, vector

Param = Callable[..., Array]  # name, initializer, shape -> a parameter of the network
Positions = Callable[[Param, tuple[int, int], int], Array]  # param, (rows, columns), width -> [rows columns, width]


class Pool(NamedTuple):
    """before(param, tokens [n, w]) -> tokens [m, w] for the blocks; after(tokens [m, w]) -> features."""

    before: Callable[[Param, Array], Array]
    after: Callable[[Array], Array]


def learned_positions(param: Param, places: tuple[int, int], width: int) -> Array:
    """A vector of its own for each place, N(0, 0.02^2) at first (Dosovitskiy et al. 2021, section 3.1)."""
    return param('positions', nn.initializers.normal(0.02), (math.prod(places), width))


def sinusoidal_positions(param: Param, places: tuple[int, int], width: int) -> Array:
    """Sines and cosines of the row, then of the column, at rates 10000^(-4 i / width) (Vaswani et al. 2017, 3.5).

    Raises Fault on a width that is not a multiple of 4.
    """
    if width % 4:
        raise Fault(f'positions of width {width} have no two sines and two cosines', 'use a multiple of 4')
    rates = 10_000.0 ** (-jnp.arange(width // 4) / (width // 4))
    waves = lambda n: jnp.concatenate([f(jnp.arange(n)[:, None] * rates[None]) for f in (jnp.sin, jnp.cos)], 1)
    rows, columns = waves(places[0]), waves(places[1])
    return jnp.concatenate([jnp.repeat(rows, places[1], 0), jnp.tile(columns, (places[0], 1))], 1)


def _prepended(param: Param, tokens: Array) -> Array:
    return jnp.concatenate([param('class_token', nn.initializers.normal(0.02), (1, tokens.shape[1])), tokens])


def _as_it_is(param: Param, tokens: Array) -> Array:
    return tokens


def _mean(tokens: Array) -> Array:
    return jnp.mean(tokens, 0)


def _first(tokens: Array) -> Array:
    return tokens[0]


def _all(tokens: Array) -> Array:
    return tokens.reshape(-1)


mean_pool = Pool(_as_it_is, _mean)
class_token = Pool(_prepended, _first)
every_token = Pool(_as_it_is, _all)


def transformer_encoder(
    patch: int = 4,
    width: int = 64,
    depth: int = 2,
    heads: int = 4,
    activation: Activation = nn.gelu,
    dtype: Any = None,
    positions: Positions = learned_positions,
    pool: Pool = every_token,
) -> nn.Module:
    """x [h, w] or [h, w, c] -> features [n width] of n patches ([width] of other pools): blocks, LayerNorm, pool.

    (Dosovitskiy et al. 2021, eq. 1 to 4.) A block is x + attention(norm x), then x + dense(activation(dense(norm x)))
    of 4 width units. `mean_pool` and `class_token` learn places far more slowly. Raises Fault on x of another rank,
    patches that do not divide it, heads that do not divide the width.
    """
    return _Encoder(patch, _checked(width, heads), depth, heads, activation, dtype, positions, pool)


def transformer_decoder(
    patch: int = 4,
    width: int = 64,
    depth: int = 2,
    heads: int = 4,
    activation: Activation = nn.gelu,
    dtype: Any = None,
    positions: Positions = learned_positions,
) -> Decoder:
    """z of any shape -> features [h, w, ...]: a dense layer to tokens, positions, `depth` blocks, each token a patch.

    All axes after w are channels. Raises Fault on a shape [d], patches that do not divide it, heads that do not divide
    the width.
    """
    options = {'patch': patch, 'width': _checked(width, heads), 'depth': depth, 'heads': heads}
    return Decoder(_Decoder, (*options.items(), ('activation', activation), ('dtype', dtype), ('positions', positions)))


def patches(x: Array, patch: int) -> Array:
    """x [h, w, c] -> [h w / patch^2, patch^2 c], row by row. Raises Fault where the patch does not divide h and w."""
    rows, columns = _places(x.shape, patch)
    return x.reshape(rows, patch, columns, patch, -1).transpose(0, 2, 1, 3, 4).reshape(rows * columns, -1)


def unpatched(tokens: Array, shape: Shape, patch: int) -> Array:
    """The image [h, w, ...] whose `patches` these are. Raises Fault where the patch does not divide h and w."""
    rows, columns = _places(shape, patch)
    return tokens.reshape(rows, columns, patch, patch, -1).transpose(0, 2, 1, 3, 4).reshape(shape)


def _places(shape: Sequence[int], patch: int) -> tuple[int, int]:
    h, w = shape[:2]
    if patch < 1 or h % patch or w % patch:
        common = math.gcd(h, w)
        fits = ', '.join(str(n) for n in range(1, common + 1) if not common % n)
        raise Fault(f'patches of {patch} x {patch} do not divide an image of {h} x {w}', f'use a patch of {fits}')
    return h // patch, w // patch


def _checked(width: int, heads: int) -> int:
    if heads < 1 or width % heads:
        raise Fault(f'{heads} heads do not divide a width of {width}', 'make the width a multiple of the heads')
    return width


class _Encoder(nn.Module):
    patch: int
    width: int
    depth: int
    heads: int
    activation: Activation
    dtype: Any
    positions: Positions
    pool: Pool

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = image(x)
        tokens = linear(self.width, self.dtype)(patches(x, self.patch))
        tokens = tokens + self.positions(self.param, _places(x.shape, self.patch), self.width)
        tokens = self.pool.before(self.param, tokens)
        for _ in range(self.depth):
            tokens = _Block(self.heads, self.activation, self.dtype)(tokens)
        return self.pool.after(nn.LayerNorm()(tokens))


class _Decoder(nn.Module):
    shape: Shape
    patch: int
    width: int
    depth: int
    heads: int
    activation: Activation
    dtype: Any
    positions: Positions

    @nn.compact
    def __call__(self, z: Any) -> Array:
        if len(self.shape) < 2:
            raise not_an_image(self.shape)
        places = _places(self.shape, self.patch)
        at = self.positions(self.param, places, self.width)
        tokens = linear(math.prod(places) * self.width, self.dtype)(vector(z)).reshape(at.shape) + at
        for _ in range(self.depth):
            tokens = _Block(self.heads, self.activation, self.dtype)(tokens)
        tokens = linear(self.patch**2 * math.prod(self.shape[2:]), self.dtype)(nn.LayerNorm()(tokens))
        return unpatched(tokens, self.shape, self.patch)


class _Block(nn.Module):
    """x + attention(norm x), then x + dense(activation(dense(norm x))) (Xiong et al. 2020, "pre-LN")."""

    heads: int
    activation: Activation
    dtype: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        n, width = x.shape
        qkv = linear(3 * width, self.dtype)(nn.LayerNorm()(x)).reshape(n, 3, self.heads, width // self.heads)
        x = x + linear(width, self.dtype)(_attention(qkv[:, 0], qkv[:, 1], qkv[:, 2], self.dtype).reshape(n, width))
        y = self.activation(linear(4 * width, self.dtype)(nn.LayerNorm()(x)))
        return x + linear(width, self.dtype)(y)


def _attention(q: Array, k: Array, v: Array, dtype: Any) -> Array:
    """softmax(q k' / sqrt(d)) v of each head: [n, heads, d] thrice to [n, heads, d] (Vaswani et al. 2017, eq. 1)."""
    cast = lambda a: a if dtype is None else a.astype(dtype)
    scores = jnp.einsum('qhd,khd->hqk', cast(q), cast(k), preferred_element_type=q.dtype)
    weights = jax.nn.softmax(scores / math.sqrt(q.shape[-1]))
    return jnp.einsum('hqk,khd->qhd', cast(weights), cast(v), preferred_element_type=q.dtype)

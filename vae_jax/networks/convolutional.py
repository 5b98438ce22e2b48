"""Networks over one example, behind `.init(key, x) -> params` and `.apply(params, x) -> features`; flax is only here.

An encoder is a network with features [f]; a decoder is a function `shape -> network` whose features have exactly that
shape. Both are equal by value, so that a jitted function meeting an equal network again does not compile again.
Parameters are float32. `dtype` (say jnp.bfloat16) is what the products are computed in, forward and towards the input;
sums, activations and, on a CPU, the weights' gradients stay float32.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
from jax import Array, random

from vae_jax import kernels
from vae_jax.errors import Fault

Shape = tuple[int, ...]
Activation = Callable[[Array], Array]


@dataclass(frozen=True)
class Decoder:
    """shape -> a network whose features have exactly that shape: one of the modules below, but for its shape."""

    module: Callable[..., nn.Module]
    options: tuple[tuple[str, Any], ...]

    def __call__(self, shape: Sequence[int]) -> nn.Module:
        return self.module(shape=tuple(shape), **dict(self.options))


def mlp_encoder(hidden: Sequence[int] = (500,), activation: Activation = nn.relu, dtype: Any = None) -> nn.Module:
    """x of any shape -> features [hidden[-1]]: dense layers, each with the activation."""
    return _MlpEncoder(tuple(hidden), activation, dtype)


def mlp_decoder(hidden: Sequence[int] = (500,), activation: Activation = nn.relu, dtype: Any = None) -> Decoder:
    """z [d] -> features of any shape: dense layers with the activation, and a last one without."""
    return Decoder(_MlpDecoder, (('hidden', tuple(hidden)), ('activation', activation), ('dtype', dtype)))


def conv_encoder(
    channels: Sequence[int] = (32, 64), dense: int = 256, activation: Activation = nn.relu, dtype: Any = None
) -> nn.Module:
    """x [h, w] or [h, w, c] -> features [dense]: 3x3 convolutions of stride 2, then a dense layer.

    Raises Fault on x of another rank.
    """
    return _ConvEncoder(tuple(channels), dense, activation, dtype)


def conv_decoder(
    channels: Sequence[int] = (64, 32), dense: int = 256, activation: Activation = nn.relu, dtype: Any = None
) -> Decoder:
    """z [d] -> features [h, w, ...]: two dense layers, then transposed 4x4 convolutions of stride 2, cropped.

    `channels` are those before each doubling; all axes after w are channels. Raises Fault on a shape [d].
    """
    return _image_decoder(channels, dense, activation, dtype, None)


def resnet_encoder(
    channels: Sequence[int] = (32, 64), dense: int = 256, activation: Activation = nn.relu, dtype: Any = None
) -> nn.Module:
    """x [h, w] or [h, w, c] -> features [dense]: as `conv_encoder`, with a residual block after each convolution."""
    return _ConvEncoder(tuple(channels), dense, activation, dtype, _Block)


def resnet_decoder(
    channels: Sequence[int] = (64, 32), dense: int = 256, activation: Activation = nn.relu, dtype: Any = None
) -> Decoder:
    """z [d] -> features [h, w, ...]: as `conv_decoder`, with a residual block before each doubling."""
    return _image_decoder(channels, dense, activation, dtype, _Block)


@dataclass(frozen=True)
class Head:
    """x -> features [size]: one dense layer, without activation, on the features of any (init, apply) network."""

    network: Any
    size: int

    def init(self, key: Array, x: Any) -> dict[str, Any]:
        """{'network': of the network, 'head': of the layer}."""
        a, b = random.split(key)
        params = self.network.init(a, x)
        return {'network': params, 'head': nn.Dense(self.size).init(b, self.network.apply(params, x))}

    def apply(self, params: Any, x: Any) -> Array:
        """features [size]."""
        features = self.network.apply(params['network'], x)
        return nn.Dense(self.size).apply(params['head'], features)  # type: ignore[return-value]


class _MlpEncoder(nn.Module):
    hidden: Shape
    activation: Activation
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = x.reshape(-1)
        for size in self.hidden:
            x = self.activation(_dense(size, self.dtype)(x))
        return x


class _MlpDecoder(nn.Module):
    shape: Shape
    hidden: Shape
    activation: Activation
    dtype: Any = None

    @nn.compact
    def __call__(self, z: Array) -> Array:
        for size in self.hidden:
            z = self.activation(_dense(size, self.dtype)(z))
        return _dense(math.prod(self.shape), self.dtype)(z).reshape(self.shape)


class _ConvEncoder(nn.Module):
    channels: Shape
    dense: int
    activation: Activation
    dtype: Any = None
    block: Callable[..., nn.Module] | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        if x.ndim not in (2, 3):
            raise _not_an_image(x.shape)
        x = x if x.ndim == 3 else x[..., None]
        for c in self.channels:
            x = self.activation(_Conv(c, 2, self.dtype)(x))
            x = self.block(self.activation, self.dtype)(x) if self.block else x
        return self.activation(_dense(self.dense, self.dtype)(x.reshape(-1)))


class _ConvDecoder(nn.Module):
    shape: Shape
    channels: Shape
    dense: int
    activation: Activation
    dtype: Any = None
    block: Callable[..., nn.Module] | None = None

    @nn.compact
    def __call__(self, z: Array) -> Array:
        if len(self.shape) < 2:
            raise _not_an_image(self.shape)
        # halving with rounding up, read backwards: a doubling never falls short of the size above it
        sizes = [tuple(-(-n // 2**i) for n in self.shape[:2]) for i in reversed(range(len(self.channels) + 1))]
        z = self.activation(_dense(self.dense, self.dtype)(z))
        z = self.activation(_dense(math.prod(sizes[0]) * self.channels[0], self.dtype)(z))
        y = z.reshape(*sizes[0], self.channels[0])
        for i, (h, w) in enumerate(sizes[1:], 1):
            y = self.block(self.activation, self.dtype)(y) if self.block else y
            last = i == len(self.channels)
            y = _Upsample(math.prod(self.shape[2:]) if last else self.channels[i], self.dtype)(y)[:h, :w]
            y = y if last else self.activation(y)
        return y.reshape(self.shape)


class _Conv(nn.Module):
    features: int
    stride: int = 1
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        w = self.param('kernel', nn.initializers.lecun_normal(), (3, 3, x.shape[-1], self.features))
        b = self.param('bias', nn.initializers.zeros, (self.features,))
        return kernels.conv(x, w, self.stride, self.dtype) + b[None, None]


class _Upsample(nn.Module):
    features: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        w = self.param('kernel', nn.initializers.lecun_normal(), (2, 2, x.shape[-1], 4 * self.features))
        b = self.param('bias', nn.initializers.zeros, (self.features,))
        return kernels.upsample(x, w, self.dtype) + b[None, None]


class _Block(nn.Module):
    """x + f(f(x)), f = convolution after activation after normalization (He et al. 2016, "Identity mappings")."""

    activation: Activation
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        c, y = x.shape[-1], x
        for _ in range(2):
            # without reduction_axes flax takes the rows of one image for a batch, and is silently wrong
            y = nn.GroupNorm(math.gcd(8, c), reduction_axes=(-3, -2, -1))(y)
            y = _Conv(c, 1, self.dtype)(self.activation(y))
        return x + y


def _dense(size: int, dtype: Any) -> nn.Module:
    return nn.Dense(size) if dtype is None else nn.Dense(size, dot_general=partial(_dot_general, compute=dtype))


def _dot_general(x: Array, w: Array, dims: Any, precision: Any = None, *, compute: Any) -> Array:
    return kernels.product(x, w, compute)


def _image_decoder(channels: Sequence[int], dense: int, activation: Activation, dtype: Any, block: Any) -> Decoder:
    options = {'channels': tuple(channels), 'dense': dense, 'activation': activation, 'dtype': dtype, 'block': block}
    return Decoder(_ConvDecoder, tuple(options.items()))


def _not_an_image(shape: Sequence[int]) -> Fault:
    return Fault(
        f'a convolutional network got data of shape {list(shape)}, expected an image [h, w] or [h, w, c]',
        'use an mlp network (--network mlp), or reshape the data to images',
    )

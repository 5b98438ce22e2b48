"""Convolutional networks of images, plain and residual: halvings down to features, doublings up from a code."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
from jax import Array

from vae_jax import kernels
from vae_jax.networks.base import Activation, Decoder, Shape, image, linear, not_an_image, vector


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
    """z of any shape -> features [h, w, ...]: two dense layers, then transposed 4x4 convolutions of stride 2, cropped.

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
    """z of any shape -> features [h, w, ...]: as `conv_decoder`, with a residual block before each doubling."""
    return _image_decoder(channels, dense, activation, dtype, _Block)


class _ConvEncoder(nn.Module):
    channels: Shape
    dense: int
    activation: Activation
    dtype: Any = None
    block: Callable[..., nn.Module] | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = image(x)
        for c in self.channels:
            x = self.activation(_Conv(c, 2, self.dtype)(x))
            x = self.block(self.activation, self.dtype)(x) if self.block else x
        return self.activation(linear(self.dense, self.dtype)(vector(x)))


class _ConvDecoder(nn.Module):
    shape: Shape
    channels: Shape
    dense: int
    activation: Activation
    dtype: Any = None
    block: Callable[..., nn.Module] | None = None

    @nn.compact
    def __call__(self, z: Any) -> Array:
        if len(self.shape) < 2:
            raise not_an_image(self.shape)
        # halving with rounding up, read backwards: a doubling never falls short of the size above it
        sizes = [tuple(-(-n // 2**i) for n in self.shape[:2]) for i in reversed(range(len(self.channels) + 1))]
        z = self.activation(linear(self.dense, self.dtype)(vector(z)))
        z = self.activation(linear(math.prod(sizes[0]) * self.channels[0], self.dtype)(z))
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


def _image_decoder(channels: Sequence[int], dense: int, activation: Activation, dtype: Any, block: Any) -> Decoder:
    options = {'channels': tuple(channels), 'dense': dense, 'activation': activation, 'dtype': dtype, 'block': block}
    return Decoder(_ConvDecoder, tuple(options.items()))

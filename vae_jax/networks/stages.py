"""Parts of deep networks of images: a stage of residual blocks from image to image, and the last one, down to x."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from vae_jax.networks.base import Activation, Decoder, Shape, image, linear, not_an_image
from vae_jax.networks.convolutional import _Conv, _Upsample


def conv_stage(
    channels: int,
    blocks: int = 1,
    *,
    halvings: int = 0,
    doublings: int = 0,
    activation: Activation = nn.silu,
    dtype: Any = None,
) -> nn.Module:
    """x [h, w] or [h, w, c] -> [h', w', channels]: convolutions that halve, residual blocks, ones that double.

    A block is x + g f(x), f a 3x3 convolution of half as many channels between two of 1x1, g a learned number that
    starts at 0: however deep, a stage needs no normalization (De & Smith 2020, SkipInit). Raises Fault on x of another
    rank.
    """
    return _Stage(channels, blocks, halvings, doublings, activation, dtype)


def conv_output(
    channels: int, blocks: int = 1, *, doublings: int = 1, activation: Activation = nn.silu, dtype: Any = None
) -> Decoder:
    """h [h, w, c] -> features [h', w', ...]: residual blocks, then transposed 4x4 convolutions of stride 2, cropped.

    Raises Fault on a shape [d], and where h is too small for it.
    """
    options = {'channels': channels, 'blocks': blocks, 'doublings': doublings, 'activation': activation, 'dtype': dtype}
    return Decoder(_Output, tuple(options.items()))


class _Residual(nn.Module):
    inner: int
    activation: Activation
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        y = linear(self.inner, self.dtype)(self.activation(x))
        y = _Conv(self.inner, 1, self.dtype)(self.activation(y))
        y = linear(x.shape[-1], self.dtype)(self.activation(y))
        return x + self.param('gain', nn.initializers.zeros, ()) * y


class _Stage(nn.Module):
    channels: int
    blocks: int
    halvings: int
    doublings: int
    activation: Activation
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = image(x)
        for _ in range(self.halvings):
            x = _Conv(self.channels, 2, self.dtype)(x)
        x = x if self.halvings else linear(self.channels, self.dtype)(x)
        for _ in range(self.blocks):
            x = _Residual(-(-self.channels // 2), self.activation, self.dtype)(x)
        for _ in range(self.doublings):
            x = _Upsample(self.channels, self.dtype)(self.activation(x))
        return x


class _Output(nn.Module):
    shape: Shape
    channels: int
    blocks: int
    doublings: int
    activation: Activation
    dtype: Any = None

    @nn.compact
    def __call__(self, h: Array) -> Array:
        if len(self.shape) < 2:
            raise not_an_image(self.shape)
        h = _Stage(self.channels, self.blocks, 0, max(self.doublings - 1, 0), self.activation, self.dtype)(h)
        features = math.prod(self.shape[2:])
        last = _Upsample(features, self.dtype) if self.doublings else _Conv(features, 1, self.dtype)
        y = last(self.activation(h))
        if any(found < wanted for found, wanted in zip(y.shape, self.shape)):
            raise not_an_image(self.shape)
        return jnp.reshape(y[: self.shape[0], : self.shape[1]], self.shape)

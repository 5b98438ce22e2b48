"""Dense networks, plain and gated: x and z of any shape, also trees of arrays."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from vae_jax.networks.base import Activation, Decoder, Norm, Shape, linear, no_norm, vector

Layer = Callable[..., Array]  # x [d], size, dtype, norm -> [size]; called inside a module, whose its parameters are


def mlp_encoder(
    hidden: Sequence[int] = (500,), activation: Activation = nn.relu, dtype: Any = None, norm: Norm = no_norm
) -> nn.Module:
    """x of any shape -> features [hidden[-1]]: dense layers, each with the norm and then the activation.

    `norm` makes what is applied to each layer's output: `flax.linen.LayerNorm` (Ba et al. 2016), or a function of none.
    """
    return _Encoder(tuple(hidden), _plain, activation, dtype, norm)


def mlp_decoder(
    hidden: Sequence[int] = (500,), activation: Activation = nn.relu, dtype: Any = None, norm: Norm = no_norm
) -> Decoder:
    """z of any shape -> features of any shape: layers as those of `mlp_encoder`, and a last one that is only linear."""
    return _decoder(hidden, _plain, activation, dtype, norm)


def gated_mlp_encoder(
    hidden: Sequence[int] = (300, 300), activation: Activation | None = None, dtype: Any = None, norm: Norm = no_norm
) -> nn.Module:
    """x of any shape -> features [hidden[-1]]: layers f(A x + a) * sigmoid(B x + b), f the identity if not given.

    (Dauphin et al. 2017, eq. 1; Tomczak & Welling 2018, section 4.) The norm acts on [A x + a, B x + b] as a whole.
    """
    return _Encoder(tuple(hidden), _gated, activation, dtype, norm)


def gated_mlp_decoder(
    hidden: Sequence[int] = (300, 300), activation: Activation | None = None, dtype: Any = None, norm: Norm = no_norm
) -> Decoder:
    """z of any shape -> features of any shape: layers as those of `gated_mlp_encoder`, and a last one only linear."""
    return _decoder(hidden, _gated, activation, dtype, norm)


class _Encoder(nn.Module):
    hidden: Shape
    layer: Layer
    activation: Activation | None
    dtype: Any
    norm: Norm

    @nn.compact
    def __call__(self, x: Any) -> Array:
        x = vector(x)
        for size in self.hidden:
            x = self.layer(x, size, self.activation, self.dtype, self.norm)
        return x


class _Decoder(nn.Module):
    shape: Shape
    hidden: Shape
    layer: Layer
    activation: Activation | None
    dtype: Any
    norm: Norm

    @nn.compact
    def __call__(self, z: Any) -> Array:
        z = vector(z)
        for size in self.hidden:
            z = self.layer(z, size, self.activation, self.dtype, self.norm)
        return linear(math.prod(self.shape), self.dtype)(z).reshape(self.shape)


def _plain(x: Array, size: int, activation: Activation, dtype: Any, norm: Norm) -> Array:
    return activation(norm()(linear(size, dtype)(x)))


def _gated(x: Array, size: int, activation: Activation | None, dtype: Any, norm: Norm) -> Array:
    a, b = jnp.split(norm()(linear(2 * size, dtype)(x)), 2)
    return (activation(a) if activation else a) * nn.sigmoid(b)


def _decoder(hidden: Sequence[int], layer: Layer, activation: Any, dtype: Any, norm: Norm) -> Decoder:
    options = {'hidden': tuple(hidden), 'layer': layer, 'activation': activation, 'dtype': dtype, 'norm': norm}
    return Decoder(_Decoder, tuple(options.items()))

"""What networks are made of: products in a chosen type, inputs of any shape, decoders by shape, the linear head."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, random

from vae_jax import kernels
from vae_jax.errors import Fault

Shape = tuple[int, ...]
Activation = Callable[[Array], Array]
Norm = Callable[[], Callable[[Array], Array]]


@dataclass(frozen=True)
class Decoder:
    """shape -> a network whose features have exactly that shape: one of the package's modules, but for its shape."""

    module: Callable[..., nn.Module]
    options: tuple[tuple[str, Any], ...]

    def __call__(self, shape: Sequence[int]) -> nn.Module:
        return self.module(shape=tuple(shape), **dict(self.options))


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


def no_norm() -> Callable[[Array], Array]:
    """The normalization that is none; `flax.linen.LayerNorm` is one that is."""
    return lambda x: x


def vector(x: Any) -> Array:
    """All numbers of an array of any shape, or of a tree of them, as one vector [d]."""
    leaves = [jnp.reshape(leaf, -1) for leaf in jax.tree.leaves(x)]
    return leaves[0] if len(leaves) == 1 else jnp.concatenate(leaves)


def image(x: Array) -> Array:
    """x [h, w] or [h, w, c] as [h, w, c]. Raises Fault on another rank."""
    if x.ndim not in (2, 3):
        raise not_an_image(x.shape)
    return x if x.ndim == 3 else x[..., None]


def not_an_image(shape: Sequence[int]) -> Fault:
    """What a network of images says of other data."""
    return Fault(
        f'a network of images got data of shape {list(shape)}, expected [h, w] or [h, w, c]',
        'use an mlp network (--network mlp), or reshape the data to images',
    )


def linear(size: int, dtype: Any) -> nn.Module:
    """A dense layer whose products are in `dtype`, summed in float32."""
    return nn.Dense(size) if dtype is None else nn.Dense(size, dot_general=partial(_dot_general, compute=dtype))


def _dot_general(x: Array, w: Array, dims: Any, precision: Any = None, *, compute: Any) -> Array:
    return kernels.product(x, w, compute)

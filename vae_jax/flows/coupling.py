"""Couplings: the first half of z decides how each entry of the second half moves. Both ways cost one pass.

One layer leaves the first half as it is, so stack them: `stacked(affine_coupling(), 4)` reverses z between layers.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from vae_jax import networks
from vae_jax.errors import Fault
from vae_jax.flows.base import NEAR_IDENTITY, Flow, dims, joined

Move = Callable[[Array, Array], tuple[Array, Array]]  # z [m], features [m, arity] -> y [m], log|dy/dz| [m]
CONDITIONER = networks.mlp_encoder((64,))
LARGEST = 3.0


def softly(log_scale: Array) -> Array:
    """log_scale within (-3, 3), and as it is near 0: no step of training can make a scale explode."""
    return LARGEST * jnp.tanh(log_scale / LARGEST)


def _stretch(z: Array, features: Array) -> tuple[Array, Array]:
    log_scale = softly(features[:, 1])
    return z * jnp.exp(log_scale) + features[:, 0], log_scale


def _shrink(y: Array, features: Array) -> tuple[Array, Array]:
    log_scale = softly(features[:, 1])
    return (y - features[:, 0]) * jnp.exp(-log_scale), -log_scale


def affine_coupling(conditioner: Any = CONDITIONER) -> Flow:
    """y_2 = z_2 exp(s(z_1, h)) + t(z_1, h), y_1 = z_1, log|det| = sum s (Dinh et al. 2017, eq. 4-6).

    z_1 is the first half of z; s lies within (-3, 3). `conditioner` is any (init, apply) network that makes features
    [f] of z_1 and h in one vector; it is hashed, so that equal ones make equal flows. Raises Fault on z of one entry.
    """
    return coupling(conditioner, 2, _stretch, _shrink)


@functools.cache
def coupling(conditioner: Any, arity: int, move: Move, back: Move) -> Flow:
    """y_2 = move(z_2, features [m, arity] of (z_1, h)) entry by entry, and `back` its inverse given the features."""

    def head(z: Array) -> tuple[int, networks.Head]:
        d = dims(z)
        if d < 2:
            raise Fault('a coupling of z [1] has no half to move the other by', 'use iaf, maf or planar')
        return d // 2, networks.Head(conditioner, (d - d // 2) * arity)

    def init(key: Array, z: Array, h: Array | None = None) -> dict[str, Any]:
        half, net = head(z)
        params = net.init(key, joined(z[:half], h))
        return {**params, 'head': jax.tree.map(lambda leaf: NEAR_IDENTITY * leaf, params['head'])}

    def through(f: Move, params: Any, z: Array, h: Array | None) -> tuple[Array, Array]:
        half, net = head(z)
        features = net.apply(params, joined(z[:half], h)).reshape(-1, arity)
        moved, log_slopes = f(z[half:], features)
        return jnp.concatenate([z[:half], moved]), jnp.sum(log_slopes)

    def forward(params: Any, z: Array, h: Array | None = None) -> tuple[Array, Array]:
        return through(move, params, z, h)

    def inverse(params: Any, y: Array, h: Array | None = None) -> tuple[Array, Array]:
        return through(back, params, y, h)

    return Flow(init, forward, inverse)

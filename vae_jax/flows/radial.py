"""Radial flows: z is drawn towards a point or pushed from it. Unlike planar ones they have a closed-form inverse."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, random

from vae_jax.flows.base import NEAR_IDENTITY, Flow, dims

_SHIFT = math.log(math.e - 1)  # softplus(_SHIFT) = 1: strength 0 is then the identity


def _distance(away: Array) -> Array:
    """|away|, with gradient 0 at 0, where the norm has none."""
    square = jnp.sum(away**2)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def _numbers(params: Any, z: Array) -> tuple[Array, Array, Array]:
    dims(z)
    return params['center'], jnp.exp(params['log_alpha']), jax.nn.softplus(params['strength'] + _SHIFT)


def _log_det(near: Array, far: Array, positive: Array, d: int) -> Array:
    # 1 + beta h and 1 + beta h + beta h' r as sums of positive terms; near = alpha / (alpha + r), far = 1 - near
    around, along = far + near * positive, far * (1 + near) + near**2 * positive
    return (d - 1) * jnp.log(around) + jnp.log(along)


def _init(key: Array, z: Array, h: Any = None) -> dict[str, Array]:
    a, b = random.split(key)
    center, strength = random.normal(a, (dims(z),), z.dtype), NEAR_IDENTITY * random.normal(b, (), z.dtype)
    return {'center': center, 'log_alpha': jnp.zeros((), z.dtype), 'strength': strength}


def _forward(params: Any, z: Array, h: Any = None) -> tuple[Array, Array]:
    center, alpha, positive = _numbers(params, z)
    r = _distance(z - center)
    near, far = alpha / (alpha + r), r / (alpha + r)
    return center + (far + near * positive) * (z - center), _log_det(near, far, positive, z.shape[0])


def _inverse(params: Any, y: Array, h: Any = None) -> tuple[Array, Array]:
    center, alpha, positive = _numbers(params, y)
    # r^2 + (alpha + beta - R) r - alpha R = 0, R = |y - z_0|: the root above 0, by the form that subtracts nothing
    half = (_distance(y - center) - alpha * positive) / 2
    product = alpha * _distance(y - center)
    root = jnp.sqrt(half**2 + product)
    r = jnp.where(half > 0, half + root, product / (root + jnp.abs(half)))
    near, far = alpha / (alpha + r), r / (alpha + r)
    return center + (y - center) / (far + near * positive), -_log_det(near, far, positive, y.shape[0])


radial = Flow(_init, _forward, _inverse)
"""y = z + beta (z - z_0) / (alpha + r), r = |z - z_0|; log|det| = (d - 1) log(1 + beta h) + log(1 + beta h + beta h' r)
with h = 1 / (alpha + r) (Rezende & Mohamed 2015, eq. 14); the context h is not read.

beta = alpha (softplus(strength + log(e - 1)) - 1) > -alpha, so that it is invertible (their appendix A.2, shifted so
that strength 0 is the identity).
"""

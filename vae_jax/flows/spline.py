"""Couplings by rational-quadratic splines: monotone curves with a closed inverse, far more supple than a scale."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, vmap

from vae_jax.errors import Fault
from vae_jax.flows.base import Flow
from vae_jax.flows.coupling import CONDITIONER, Move, coupling

_LEAST = 1e-3  # of a bin's width and height as shares, and of a slope


def spline_coupling(conditioner: Any = CONDITIONER, bins: int = 8, bound: float = 5.0) -> Flow:
    """y_2 = spline(z_2; features of (z_1, h)) on [-bound, bound], the identity outside (Durkan et al. 2019, section 3).

    Monotone rational quadratics through bins + 1 knots (their eq. 4-8), slope 1 at both ends; features 0 are the
    identity. `conditioner` as in `affine_coupling`. Raises Fault on z of one entry, bins < 2 and bound <= 0.
    """
    if not 2 <= bins < 1 / _LEAST or bound <= 0:
        raise Fault(f'a spline of {bins} bins within {bound:g}', f'ask for 2 to {1 / _LEAST - 1:g} bins, bound above 0')
    return coupling(conditioner, 3 * bins - 1, *_spline(bins, float(bound)))


@functools.cache
def _spline(bins: int, bound: float) -> tuple[Move, Move]:
    def knots(raw: Array) -> Array:
        shares = _LEAST + (1 - _LEAST * bins) * jax.nn.softmax(raw)
        inner = bound * (2 * jnp.cumsum(shares)[:-1] - 1)
        ends = jnp.full(1, bound, raw.dtype)
        return jnp.concatenate([-ends, inner, ends])

    def slopes(raw: Array) -> Array:
        inner = _LEAST + jax.nn.softplus(raw + math.log(math.expm1(1 - _LEAST)))
        ends = jnp.ones(1, raw.dtype)
        return jnp.concatenate([ends, inner, ends])

    def piece(features: Array, at: Array, axis: int) -> tuple[Array, ...]:
        """The bin of `at` along x (0) or y (1): where it begins, its sizes, and the slopes at its ends."""
        xs, ys = knots(features[:bins]), knots(features[bins : 2 * bins])
        d = slopes(features[2 * bins :])
        k = jnp.sum(at >= (xs, ys)[axis][1:-1])
        return xs[k], ys[k], xs[k + 1] - xs[k], ys[k + 1] - ys[k], d[k], d[k + 1]

    def log_slope(t: Array, s: Array, d0: Array, d1: Array) -> Array:
        below = s + (d1 + d0 - 2 * s) * t * (1 - t)
        return 2 * jnp.log(s) + jnp.log(d1 * t**2 + 2 * s * t * (1 - t) + d0 * (1 - t) ** 2) - 2 * jnp.log(below)

    def forward(x: Array, features: Array) -> tuple[Array, Array]:
        inside = jnp.abs(x) < bound
        # a value in range for the branch that is not taken, whose gradient would else be nan
        x0, y0, width, height, d0, d1 = piece(features, jnp.where(inside, x, 0), 0)
        t, s = (jnp.where(inside, x, x0) - x0) / width, height / width
        y = y0 + height * (s * t**2 + d0 * t * (1 - t)) / (s + (d1 + d0 - 2 * s) * t * (1 - t))
        return jnp.where(inside, y, x), jnp.where(inside, log_slope(t, s, d0, d1), 0)

    def inverse(y: Array, features: Array) -> tuple[Array, Array]:
        inside = jnp.abs(y) < bound
        x0, y0, width, height, d0, d1 = piece(features, jnp.where(inside, y, 0), 1)
        rise, s = jnp.where(inside, y, y0) - y0, height / width
        bend = rise * (d1 + d0 - 2 * s)
        a, b, c = height * (s - d0) + bend, height * d0 - bend, -s * rise
        t = 2 * c / (-b - jnp.sqrt(b**2 - 4 * a * c))
        return jnp.where(inside, x0 + t * width, y), jnp.where(inside, -log_slope(t, s, d0, d1), 0)

    return vmap(forward), vmap(inverse)

"""Planar flows: one direction of z is bent; many in a chain. They have no inverse, so they are for posteriors."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, random

from vae_jax.errors import Fault
from vae_jax.flows.base import NEAR_IDENTITY, Flow, dims

_SHIFT = math.log(math.e - 1)  # softplus(_SHIFT) = 1: u = 0 is then the identity
_TINY = 1e-12


def _bend(u: Array, w: Array, b: Array, z: Array) -> tuple[Array, Array]:
    wu, bent = w @ u, jnp.tanh(w @ z + b)
    positive = jax.nn.softplus(wu + _SHIFT)
    # w is divided by |w|^2, which an amortized w may bring to nothing
    u = u + (positive - 1 - wu) * w / (w @ w + _TINY)
    # 1 + u.w (1 - bent^2), with u.w = positive - 1 and no difference of near equals
    return z + u * bent, jnp.log(bent**2 + (1 - bent**2) * positive)


def _start(key: Array, z: Array) -> tuple[Array, Array, Array]:
    a, b = random.split(key)
    d = dims(z)
    u = NEAR_IDENTITY * random.normal(a, (d,), z.dtype)
    return u, random.normal(b, (d,), z.dtype) / math.sqrt(d), jnp.zeros((), z.dtype)


def _init(key: Array, z: Array, h: Any = None) -> dict[str, Array]:
    return dict(zip('uwb', _start(key, z)))


def _forward(params: Any, z: Array, h: Any = None) -> tuple[Array, Array]:
    return _bend(params['u'], params['w'], params['b'], z)


planar = Flow(_init, _forward)
"""y = z + u' tanh(w.z + b), log|1 + u'.w (1 - tanh^2)| (Rezende & Mohamed 2015, eq. 10-12); h is not read.

u' = u + (m(w.u) - w.u) w / |w|^2 with m(t) = softplus(t + log(e - 1)) - 1 > -1, so that it is invertible (their
appendix A.1, with t shifted: u = 0 is the identity).
"""


def _context(h: Array | None) -> Array:
    if h is None:
        raise Fault(
            'amortized_planar has no context to read u, w and b from',
            'use flow_posterior with posterior=contextual(Normal, n), or planar',
        )
    return h


def _init_amortized(key: Array, z: Array, h: Array | None = None) -> dict[str, Array]:
    a, b = random.split(key)
    u, w, bias = _start(a, z)
    n = _context(h).shape[0]
    kernel = NEAR_IDENTITY * random.normal(b, (n, 2 * dims(z) + 1), z.dtype) / math.sqrt(n)
    return {'kernel': kernel, 'bias': jnp.concatenate([u, w, bias[None]])}


def _forward_amortized(params: Any, z: Array, h: Array | None = None) -> tuple[Array, Array]:
    numbers, d = _context(h) @ params['kernel'] + params['bias'], dims(z)
    return _bend(numbers[:d], numbers[d : 2 * d], numbers[-1], z)


amortized_planar = Flow(_init_amortized, _forward_amortized)
"""`planar` whose u, w and b are a linear function of the context h [n] (Rezende & Mohamed 2015, section 4.2).

Raises Fault without a context.
"""

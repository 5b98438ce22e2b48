"""Flow: an invertible map with its log-determinant; and what makes flows of flows.

Factories give the same value for equal arguments (`functools.cache`): a flow is static in what carries it, and fresh
closures would be traced anew and refused as the carry of a scan.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, random

from vae_jax.errors import Fault

NEAR_IDENTITY = 0.01
"""What the last layers of conditioners are multiplied by when made: a wrapped model then starts as the bare one."""


class Flow(NamedTuple):
    """y = f(z; params, h) over ONE example z [d], with an optional context h [n]; log|det| in nats."""

    init: Callable[..., Any]  # key, z, h=None -> params
    forward: Callable[..., tuple[Array, Array]]  # params, z, h=None -> y, log|det dy/dz|
    inverse: Callable[..., tuple[Array, Array]] | None = None  # params, y, h=None -> z, log|det dz/dy|


def dims(z: Any) -> int:
    """d of z [d]. Raises Fault on anything but one vector."""
    shape = getattr(z, 'shape', None)
    if shape is None or len(shape) != 1:
        said = f'an array {tuple(shape)}' if shape is not None else type(z).__name__
        raise Fault(f'a flow got {said}, expected one example z [d]', 'vmap it, or use a latent that is one vector')
    return shape[0]


def joined(z: Array, h: Array | None) -> Array:
    """z [d] and the context behind it, as a conditioner reads them."""
    return z if h is None else jnp.concatenate([z, h])


def _nothing(key: Array, z: Any, h: Any = None) -> dict[str, Any]:
    return {}


def _same(params: Any, z: Any, h: Any = None) -> tuple[Any, Array]:
    return z, jnp.zeros(())


def _reversed(params: Any, z: Array, h: Any = None) -> tuple[Array, Array]:
    return z[::-1], jnp.zeros((), z.dtype)


identity = Flow(_nothing, _same, _same)
"""y = z."""

reverse = Flow(_nothing, _reversed, _reversed)
"""y_i = z_{d+1-i}: what stands between couplings, or between autoregressive layers (Kingma et al. 2016, section 4)."""


def inverse(flow: Flow) -> Flow:
    """The flow the other way. Raises Fault where it has no inverse."""
    if flow.inverse is None:
        raise Fault('the flow has no inverse', 'use a coupling, iaf or maf')
    return Flow(flow.init, flow.inverse, flow.forward)


def stacked(flow: Flow, layers: int) -> Flow:
    """`layers` of the flow, each with its own params, and a reversal of z between any two. Raises Fault below 1."""
    if layers < 1:
        raise Fault(f'{layers} layers of a flow', 'ask for 1 or more')
    return chain(*(flow, reverse) * (layers - 1), flow)


@functools.cache
def chain(*flows: Flow) -> Flow:
    """f_n(...f_1(z)), log-determinants added; all get the same h. It has an inverse where each of them has one."""

    def init(key: Array, z: Array, h: Any = None) -> tuple[Any, ...]:
        keys = random.split(key, max(len(flows), 1))
        return tuple(flow.init(k, z, h) for flow, k in zip(flows, keys))

    def forward(params: Any, z: Array, h: Any = None) -> tuple[Array, Array]:
        total = jnp.zeros((), z.dtype)
        for flow, part in zip(flows, params):
            z, log_det = flow.forward(part, z, h)
            total = total + log_det
        return z, total

    backwards = [flow.inverse for flow in flows if flow.inverse is not None]
    if len(backwards) < len(flows):
        return Flow(init, forward)

    def back(params: Any, y: Array, h: Any = None) -> tuple[Array, Array]:
        total = jnp.zeros((), y.dtype)
        for f, part in zip(reversed(backwards), reversed(params)):
            y, log_det = f(part, y, h)
            total = total + log_det
        return y, total

    return Flow(init, forward, back)

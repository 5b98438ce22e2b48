"""Autoregressive flows: each entry moves as the entries before it say. One way is one pass, the other d passes.

iaf    one pass forward (samples, as posteriors need), d passes back
maf    d passes forward, one pass back (densities, as priors need)
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax, random

from vae_jax.errors import Fault
from vae_jax.flows.base import NEAR_IDENTITY, Flow, dims
from vae_jax.flows.coupling import softly

Activation = Callable[[Array], Array]
Affine = Callable[[Array], tuple[Array, Array]]  # features [2, d] -> log_scale [d], shift [d]
_OPEN = 2.0  # where gates start: mostly open


def made_masks(d: int, hidden: Sequence[int], arity: int = 2) -> list[np.ndarray]:
    """0/1 masks [in, out] of the layers d, *hidden, arity * d whose features [arity, i] see z_1 to z_{i-1} alone.

    Hidden units have degrees 0 to d - 1, in even shares; those of degree 0 see a context only (Germain et al. 2015,
    section 4).
    """
    degrees = [np.arange(1, d + 1), *(np.arange(n) * d // n for n in hidden)]
    masks = [after[None] >= before[:, None] for before, after in zip(degrees, degrees[1:])]
    last = np.arange(1, d + 1)[None] > degrees[-1][:, None]
    return [mask.astype(np.float32) for mask in (*masks, np.tile(last, (1, arity)))]


def iaf(hidden: Sequence[int] = (64,), activation: Activation = jax.nn.elu) -> Flow:
    """y_i = g_i z_i + (1 - sigmoid(s_i + 2)) m_i, with m and s of z_1 to z_{i-1} and h by MADE; log|det| = sum log g.

    g = sigmoid(s + 2) / sigmoid(2): the stable gate of Kingma et al. 2016 (section 4, algorithm 1), over a constant
    that makes s = m = 0 the identity. Forward is one pass, inverse d. Raises Fault without a hidden layer.
    """
    init, parallel, sequential = _autoregressive(_checked(hidden), activation, _gate)
    return Flow(init, parallel, sequential)


def maf(hidden: Sequence[int] = (64,), activation: Activation = jax.nn.elu) -> Flow:
    """z_i = (y_i - m_i) exp(-a_i), with m and a of y_1 to y_{i-1} and h by MADE; log|det dy/dz| = sum a.

    a lies within (-3, 3). Inverse is one pass, forward d (Papamakarios et al. 2017, eq. 3-5). Raises Fault without a
    hidden layer.
    """
    init, parallel, sequential = _autoregressive(_checked(hidden), activation, _standardize)
    return Flow(init, sequential, parallel)


def _checked(hidden: Sequence[int]) -> tuple[int, ...]:
    if not hidden or min(hidden) < 1:
        raise Fault(f'MADE with hidden layers {list(hidden)}', 'give the size of one or more')
    return tuple(hidden)


def _gate(features: Array) -> tuple[Array, Array]:
    shift, gate = features[0], features[1] + _OPEN
    return jax.nn.log_sigmoid(gate) + math.log1p(math.exp(-_OPEN)), jax.nn.sigmoid(-gate) * shift


def _standardize(features: Array) -> tuple[Array, Array]:
    log_scale = -softly(features[1])
    return log_scale, -features[0] * jnp.exp(log_scale)


def _made_init(key: Array, z: Array, h: Array | None, hidden: tuple[int, ...]) -> dict[str, Any]:
    masks = made_masks(dims(z), hidden)
    *keys, context = random.split(key, len(masks) + 1)
    # each unit by the number of those that it sees
    layers = [
        {
            'w': random.normal(k, mask.shape, z.dtype) / np.sqrt(np.maximum(mask.sum(0, keepdims=True), 1)),
            'b': jnp.zeros(mask.shape[1], z.dtype),
        }
        for k, mask in zip(keys, masks)
    ]
    layers[-1]['w'] = NEAR_IDENTITY * layers[-1]['w']
    if h is None:
        return {'layers': layers}
    return {'layers': layers, 'context': random.normal(context, (h.shape[0], hidden[0]), z.dtype) / len(h) ** 0.5}


def _made(params: Any, z: Array, h: Array | None, hidden: tuple[int, ...], activation: Activation) -> Array:
    masks = made_masks(z.shape[0], hidden)
    y = z
    for i, (layer, mask) in enumerate(zip(params['layers'], masks)):
        y = y @ (layer['w'] * mask) + layer['b']
        if h is not None and i == 0:
            y = y + h @ params['context']
        y = activation(y) if i < len(hidden) else y
    return y.reshape(-1, z.shape[0])


@functools.cache
def _autoregressive(hidden: tuple[int, ...], activation: Activation, affine: Affine) -> tuple[Callable, ...]:
    """(init, parallel, sequential): y = exp(log_scale(z)) z + shift(z) in one pass over z, and its inverse."""

    def init(key: Array, z: Array, h: Array | None = None) -> dict[str, Any]:
        return _made_init(key, z, h, hidden)

    def parallel(params: Any, z: Array, h: Array | None = None) -> tuple[Array, Array]:
        log_scale, shift = affine(_made(params, z, h, hidden, activation))
        return jnp.exp(log_scale) * z + shift, jnp.sum(log_scale)

    def sequential(params: Any, y: Array, h: Array | None = None) -> tuple[Array, Array]:
        def entry(z: Array, i: Array) -> tuple[Array, Array]:
            log_scale, shift = affine(_made(params, z, h, hidden, activation))
            # entries still to come stay 0: what they would be could overflow, and 0 times inf reaches the others
            return z.at[i].set((y[i] - shift[i]) * jnp.exp(-log_scale[i])), -log_scale[i]

        z, log_slopes = lax.scan(entry, jnp.zeros_like(y), jnp.arange(dims(y)))
        return z, jnp.sum(log_slopes)

    return init, parallel, sequential

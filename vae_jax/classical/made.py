"""MADE: one network that gives every factor of p(x) = prod_i p(x_i | x_1 ... x_{i-1}), by masks (Germain et al. 2015).

density = samplers.autoregressive(made((200,)), 64, 17);   density.given(params).log_prob(one_hot)       one pass
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, random

from vae_jax.errors import Fault
from vae_jax.flows import made_masks
from vae_jax.kernels import product


@dataclasses.dataclass(frozen=True)
class Made:
    """x [n, K] one-hot -> logits [n, K]; those at i are functions of x_1 ... x_{i-1}."""

    hidden: tuple[int, ...]
    activation: Callable[[Array], Array]

    def init(self, key: Array, x: Array) -> dict[str, Any]:
        """Even logits to start with."""
        masks = made_masks(x.shape[0], self.hidden, x.shape[1])
        layers = [
            {'w': random.normal(k, mask.shape) / np.sqrt(np.maximum(mask.sum(0, keepdims=True), 1)), 'b': jnp.zeros(n)}
            for k, mask, n in zip(random.split(key, len(masks)), masks, (mask.shape[1] for mask in masks))
        ]
        layers[-1]['w'] = jnp.zeros_like(layers[-1]['w'])
        return {str(i): layer for i, layer in enumerate(layers)}

    def apply(self, params: Any, x: Array) -> Array:
        """logits [n, K]. The network reads of x_i which category it is, as a number from -1 to 1."""
        n, categories = x.shape
        masks = made_masks(n, self.hidden, categories)
        y = x @ jnp.linspace(-1.0, 1.0, categories, dtype=x.dtype)
        for i, mask in enumerate(masks):
            y = product(y, params[str(i)]['w'] * mask) + params[str(i)]['b']
            y = self.activation(y) if i < len(self.hidden) else y
        return y.reshape(categories, n).T


def made(hidden: Sequence[int] = (200,), activation: Callable[[Array], Array] = jax.nn.relu) -> Made:
    """The network of `samplers.autoregressive` for categories with an order, such as grey levels.

    Raises Fault without a hidden layer.
    """
    if not hidden or min(hidden) < 1:
        raise Fault(f'MADE with hidden layers {list(hidden)}', 'give the size of one or more')
    return Made(tuple(hidden), activation)

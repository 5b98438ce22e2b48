"""Autoencoders of what was observed of x, with entries missing at random."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from vae_jax.distributions import Bernoulli, Observed, masked
from vae_jax.models.base import Model, vae
from vae_jax.models.conditional import Holding


def observed(key: Array, x: Array) -> Observed:
    """A view of rows whose missing entries are stored as nan: Observed(x with 0 there, mask); the key is not used."""
    seen = ~jnp.isnan(x)
    return Observed(jnp.where(seen, x, 0.0).astype(jnp.float32), seen)


def partly_observed(
    encoder: Any, decoder: Callable[[tuple[int, ...]], Any], *, like: Any, likelihood: Any = Bernoulli, **options: Any
) -> Model:
    """A `vae` whose x is `Observed`: q(z | x with zeros, mask), and p(x|z) of the entries that were seen alone.

    `bounds.iwae` of it is the MIWAE bound on log p(x_seen), right where entries are missing at random (Mattei &
    Frellsen 2019, eq. 4). The encoder's network sees the tree (x, mask). `like` is one Observed, or an array of its
    shape. Raises Fault as `vae` does.
    """
    shape: Any = jax.ShapeDtypeStruct(jnp.shape(like.x if isinstance(like, Observed) else like), jnp.float32)

    def model_of(mask: Array) -> Model:
        network = Holding(encoder, mask.astype(jnp.float32))
        return vae(network, decoder, like=shape, likelihood=masked(likelihood), **options)

    def zeroed(x: Observed) -> Array:
        return jnp.where(jnp.asarray(x.mask, bool), x.x, 0.0)

    whole = model_of(jnp.ones(shape.shape))
    return whole._replace(
        init=lambda key, x: model_of(x.mask).init(key, zeroed(x)),
        encode=lambda params, x: model_of(x.mask).encode(params, zeroed(x)),
    )

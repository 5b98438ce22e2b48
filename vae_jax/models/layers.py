"""Latents in layers: what a hierarchy is made of, and the rate of each of its layers.

z is a tuple, the top first; the prior draws it downwards. Each layer's prior and posterior read one state, which starts
as a constant and takes in a layer at a time, so that a fused pass computes it once for both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, random
from jax.tree_util import Partial

from vae_jax.distributions.chain import Chain, exact_kl, layer_kls
from vae_jax.models.base import Model


class Passes(NamedTuple):
    """The functions of a hierarchy, one example each; i = 0 is the top layer."""

    up: Callable[[Any, Any], tuple[Any, ...]]  # params, x -> what each layer's posterior sees of x
    start: Callable[[Any], Any]  # params -> state above all layers
    prior: Callable[[Any, int, Any], Any]  # params, i, state -> p(z_i | those above)
    posterior: Callable[[Any, int, Any, Any, Any], Any]  # params, i, state, features, that p -> q(z_i | those above, x)
    down: Callable[[Any, int, Any, Any], Any]  # params, i, state, z_i -> state below
    output: Callable[[Any, Any], Any]  # params, state below all layers -> p(x|z)


@dataclass(frozen=True)
class Fused:
    """Model.terms of a hierarchy: distortion, and the sum of the rates that `kl` gives of each layer."""

    layers: Callable[..., tuple[Array, Array]]  # params, key, x, kl -> distortion, rates [L]
    kl: Callable[..., Array] = exact_kl

    def __call__(self, params: Any, key: Array, x: Any) -> tuple[Array, Array]:
        distortion, rates = self.layers(params, key, x, self.kl)
        return distortion, jnp.sum(rates)


def hierarchy(
    init: Callable[[Array, Any], Any], passes: Passes, count: int, kl: Callable[..., Array] = exact_kl
) -> Model:
    """prod_i p(z_i | z_<i) p(x|z) and prod_i q(z_i | z_<i, x), with fused terms; nats.

    `kl(q, p, z, log_q)` of a layer is what elbo_terms counts: its closed form, or bounds.monte_carlo.
    """

    def above(params: Any, z: tuple[Any, ...]) -> Any:
        state = passes.start(params)
        for i, z_i in enumerate(z):
            state = passes.down(params, i, state, z_i)
        return state

    def prior_link(params: Any, z: tuple[Any, ...]) -> Any:
        return passes.prior(params, len(z), above(params, z))

    def posterior_link(params: Any, features: Any, z: tuple[Any, ...]) -> Any:
        state = above(params, z)
        return passes.posterior(params, len(z), state, features, passes.prior(params, len(z), state))

    def prior(params: Any) -> Chain:
        return Chain((Partial(prior_link, params),) * count)

    def encode(params: Any, x: Any) -> Chain:
        return Chain(tuple(Partial(posterior_link, params, features) for features in passes.up(params, x)))

    def decode(params: Any, z: Any) -> Any:
        return passes.output(params, above(params, z))

    def layers(params: Any, key: Array, x: Any, kl: Callable[..., Array]) -> tuple[Array, Array]:
        state, rates = passes.start(params), []
        for i, (key_i, features) in enumerate(zip(random.split(key, count), passes.up(params, x))):
            p = passes.prior(params, i, state)
            q = passes.posterior(params, i, state, features, p)
            z, log_q = q.sample_and_log_prob(key_i)
            rates.append(kl(q, p, z, log_q))
            state = passes.down(params, i, state, z)
        return -passes.output(params, state).log_prob(x), jnp.stack(rates)

    return Model(init, prior, encode, decode, Fused(layers, kl))


def layer_terms(
    model: Model, params: Any, key: Array, x: Any, kl: Callable[..., Array] = exact_kl
) -> tuple[Array, Array]:
    """-log p(x|z) at z ~ q(z|x), and the rate of each layer of z [L], the top first; nats. Of any model: L = 1.

    `kl(q, p, z, log_q)` of a layer is its closed form, or bounds.monte_carlo. Raises Fault where `kl` does.
    """
    if isinstance(model.terms, Fused):
        return model.terms.layers(params, key, x, kl)
    q, p = model.encode(params, x), model.prior(params)
    if isinstance(q, Chain):
        z, dists, log_qs = q.draws(key)
        rates = layer_kls(q, p, z, dists, log_qs, kl)
    else:
        z, log_q = q.sample_and_log_prob(key)
        rates = kl(q, p, z, log_q)[None]
    return -model.decode(params, z).log_prob(x), rates


def layer_rates(model: Model, params: Any, key: Array, x: Any, kl: Callable[..., Array] = exact_kl) -> Array:
    """The rate of each layer of z [L], the top first: 0 where a layer says nothing of x; nats. See `layer_terms`."""
    return layer_terms(model, params, key, x, kl)[1]

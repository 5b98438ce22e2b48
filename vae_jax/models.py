"""A model is three pure functions of one params dict: prior p(z), encode q(z|x), decode p(x|z); and init."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, random

from vae_jax import networks
from vae_jax.distributions import Bernoulli, Normal, check_support
from vae_jax.errors import Fault


class Model(NamedTuple):
    """Pure functions over one example; `params` is one dict shared by all of them."""

    init: Callable[[Array, Any], Any]  # key, x -> params
    prior: Callable[[Any], Any]  # params -> p(z)
    encode: Callable[[Any, Any], Any]  # params, x -> q(z|x)
    decode: Callable[[Any, Any], Any]  # params, z -> p(x|z)


def standard_normal(latent: int) -> Callable[[Any], Normal]:
    """params -> N(0, I) over z [latent]."""

    def prior(params: Any) -> Normal:
        return Normal(jnp.zeros(latent, jnp.float32), jnp.zeros(latent, jnp.float32))

    return prior


def _features_shape(shape: tuple[int, ...], arity: int) -> tuple[int, ...]:
    """What the decoder's network must give so that features [*shape, arity] can be made of it, channels kept last."""
    if arity == 1:
        return shape
    return (*shape, arity) if len(shape) == 2 else (*shape[:-1], shape[-1] * arity)


def vae(
    encoder: Any,
    decoder: Callable[[tuple[int, ...]], Any],
    *,
    latent: int,
    like: Array,
    posterior: Any = Normal,
    likelihood: Any = Bernoulli,
    prior: Callable[[Any], Any] | None = None,
    output_bias: Array | None = None,
) -> Model:
    """p(z) p(x|z) with amortized q(z|x) = posterior(head(encoder(x))), p(x|z) = likelihood(decoder(z)).

    `like` is one example [*shape] as the model sees it: it gives the sizes, and a likelihood without mass there is
    refused. `output_bias` [*shape] starts the first feature (logits, mean) at the data's, e.g. `losses.logit(mean)`.
    Raises Fault on latent < 1 and on values outside the likelihood's support. (Kingma & Welling 2013, section 3.)
    """
    if latent < 1:
        raise Fault(f'latent is {latent}, expected 1 or more', 'set --latent to a positive number')
    shape = tuple(jnp.shape(like))
    if not shape:
        raise Fault('one example is a scalar, expected an array of rank 1 to 3', 'give the data a feature axis')
    if not isinstance(like, jax.ShapeDtypeStruct):
        check_support(likelihood, like)
    encode_net = networks.Head(encoder, latent * posterior.arity)
    decode_net: Any = decoder(_features_shape(shape, likelihood.arity))
    if output_bias is not None and tuple(jnp.shape(output_bias)) != shape:
        raise Fault(f'output_bias has shape {jnp.shape(output_bias)}, one example {shape}', 'give one number a pixel')

    def check(x: Array) -> None:
        if tuple(jnp.shape(x)) != shape:
            raise Fault(
                f'encode got x of shape {tuple(jnp.shape(x))}, expected one example {shape}',
                'vmap it over the batch, or build the model with like= an example of this data',
            )

    def init(key: Array, x: Array) -> dict[str, Any]:
        check(x)
        a, b = random.split(key)
        params = {'encode': encode_net.init(a, x), 'decode': decode_net.init(b, jnp.zeros(latent))}
        return params if output_bias is None else {**params, 'output_bias': jnp.asarray(output_bias)}

    def encode(params: Any, x: Array) -> Any:
        check(x)
        features = encode_net.apply(params['encode'], x)
        return posterior.from_features(features.reshape(latent, posterior.arity))

    def decode(params: Any, z: Array) -> Any:
        features = decode_net.apply(params['decode'], z).reshape(*shape, likelihood.arity)
        if output_bias is not None:
            features = features.at[..., 0].add(params['output_bias'])
        return likelihood.from_features(features)

    return Model(init, prior or standard_normal(latent), encode, decode)


def parameter_count(params: Any) -> int:
    """How many numbers learn."""
    return sum(math.prod(jnp.shape(leaf)) for leaf in jax.tree.leaves(params))

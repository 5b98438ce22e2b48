"""Model, what a condition makes one of, and `vae`, which makes one from networks and families."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, random

from vae_jax import networks
from vae_jax.distributions import Bernoulli, HypersphericalUniform, Normal, check_support, family_name
from vae_jax.errors import Fault


class Model(NamedTuple):
    """Pure functions over one example; `params` is one dict shared by all of them; x and z are any pytrees.

    A deep hierarchy whose prior and posterior share their passes brings `terms`: (distortion, rate) in one of them.
    """

    init: Callable[[Array, Any], Any]  # key, x -> params
    prior: Callable[[Any], Any]  # params -> p(z)
    encode: Callable[[Any, Any], Any]  # params, x -> q(z|x)
    decode: Callable[[Any, Any], Any]  # params, z -> p(x|z)
    terms: Callable[[Any, Array, Any], tuple[Array, Array]] | None = None  # params, key, x -> distortion, rate


class Conditional(NamedTuple):
    """A model for each condition c (any pytree): given(c) -> Model; `of` finds x and c in a row of the data."""

    init: Callable[[Array, tuple[Any, Any]], Any]  # key, (x, c) -> params
    given: Callable[[Any], Model]  # its functions take the params of `init`
    of: Callable[[Any], tuple[Any, Any]]  # row {'x': ..., 'label': ...} -> x, c


def add_part(params: dict[str, Any], name: str, part: Any) -> dict[str, Any]:
    """params with a part of its own for a wrapper. Raises Fault where the name is taken: it was wrapped twice."""
    if name in params:
        raise Fault(f'params have a part {name!r} already', 'wrap the model once, or give the second wrapper a name=')
    return {**params, name: part}


def check_fit(q: Any, p: Any) -> None:
    """Raises Fault where the posterior's samples lie where the prior has no mass."""
    if q.support != p.support:
        found = f'the posterior {type(q).__name__} gives {q.support}, the prior {type(p).__name__} {p.support}'
        raise Fault(found, 'choose a prior over the same values, or leave it to vae(): it has one for each family')


def standard_normal(latent: int) -> Callable[[Any], Normal]:
    """params -> N(0, I) over z [latent]."""

    def prior(params: Any) -> Normal:
        return Normal(jnp.zeros(latent, jnp.float32), jnp.zeros(latent, jnp.float32))

    return prior


def natural_prior(family: Any, latent: int) -> Callable[[Any], Any]:
    """params -> the prior that says least of a posterior family's z: N(0, I), or uniform on a sphere, on categories.

    For families other than Gaussian and spherical ones it is what they make of features of zero.
    """
    if family.support == Normal.support:
        return standard_normal(latent)
    if family.support == HypersphericalUniform.support:
        return lambda params: HypersphericalUniform(latent)

    def prior(params: Any) -> Any:
        made = family.from_features(jnp.zeros((latent, family.arity), jnp.float32))
        return getattr(made, 'base', made)  # the prior of a straight-through q needs no gradient of samples

    return prior


def _as_it_is(z: Any) -> Any:
    return z


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
    seen_as: Callable[[Any], Any] = _as_it_is,
) -> Model:
    """p(z) p(x|z) with amortized q(z|x) = posterior(head(encoder(x))), p(x|z) = likelihood(decoder(z)).

    `like` is one example [*shape] as the model sees it: it gives the sizes, and a likelihood without mass there is
    refused. `prior` is a function of params, by default `natural_prior` of the posterior's family. `output_bias`
    [*shape] starts the first feature (logits, mean) at the data's, e.g. `losses.logit(mean)`. `seen_as` is how the
    decoder's network sees z: `jax.nn.softmax` of Gumbel-softmax's logits. Raises Fault on latent < 1, on values outside
    the likelihood's support, and on a prior over other values than the posterior's. (Kingma & Welling 2013, section 3.)
    """
    if latent < 1:
        raise Fault(f'latent is {latent}, expected 1 or more', 'set --latent to a positive number')
    shape = tuple(jnp.shape(like))
    if not shape:
        raise Fault('one example is a scalar, expected an array of rank 1 to 3', 'give the data a feature axis')
    if not isinstance(like, jax.ShapeDtypeStruct):
        check_support(likelihood, like)
    dims = getattr(posterior, 'dims', None)
    if dims not in (None, latent):
        raise Fault(f'{family_name(posterior)} is over {dims} dimensions, latent is {latent}', f'use latent={dims}')
    features_like = jax.ShapeDtypeStruct((latent, posterior.arity), jnp.float32)
    q_like = jax.eval_shape(posterior.from_features, features_like)
    z_like = jax.eval_shape(
        lambda f, key: seen_as(posterior.from_features(f).sample(key)), features_like, random.key(0)
    )
    prior = prior or natural_prior(posterior, latent)
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
        params = {
            'encode': encode_net.init(a, x),
            'decode': decode_net.init(b, jax.tree.map(lambda z: jnp.zeros(z.shape, z.dtype), z_like)),
        }
        return params if output_bias is None else {**params, 'output_bias': jnp.asarray(output_bias)}

    def encode(params: Any, x: Array) -> Any:
        check(x)
        features = encode_net.apply(params['encode'], x)
        return posterior.from_features(features.reshape(latent, posterior.arity))

    def decode(params: Any, z: Array) -> Any:
        features = decode_net.apply(params['decode'], seen_as(z)).reshape(*shape, likelihood.arity)
        if output_bias is not None:
            features = features.at[..., 0].add(params['output_bias'])
        return likelihood.from_features(features)

    params_like = jax.eval_shape(init, random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32))
    check_fit(q_like, jax.eval_shape(prior, params_like))
    return Model(init, prior, encode, decode)


def parameter_count(params: Any) -> int:
    """How many numbers learn."""
    return sum(math.prod(jnp.shape(leaf)) for leaf in jax.tree.leaves(params))

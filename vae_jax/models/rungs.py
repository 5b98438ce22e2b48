"""Hierarchies of latents: models stacked on each other, and the ladder. z is a tuple, the top layer first."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, random
from jax.tree_util import Partial

from vae_jax import networks
from vae_jax.distributions import Bernoulli, Normal, check_support, family_name
from vae_jax.distributions.base import made_by
from vae_jax.distributions.chain import Chain, as_chain, exact_kl, given
from vae_jax.errors import Fault
from vae_jax.models.base import Model, _features_shape, add_part, check_fit, standard_normal
from vae_jax.models.layers import Passes, hierarchy


def stacked(lower: Model, upper: Model, *, name: str = 'upper') -> Model:
    """p(z_1) p(z_2|z_1) p(x|z_2), q(z_2|x) q(z_1|z_2): `upper` is a model of z_2, the latent of `lower`.

    The prior of `lower` is not read. Where `upper` is stacked itself, z has its layers above. (Burda et al. 2015,
    section 5: two layers of 100 and 50.) The top layer's KL has a closed form, the others' have not: `layered_kl`
    takes both. Raises Fault, at init, where the name is taken or `upper` models other values than those of z_2.
    """

    def init(key: Array, x: Any) -> dict[str, Any]:
        a, b, c = random.split(key, 3)
        params = lower.init(a, x)
        q = lower.encode(params, x)
        params = add_part(params, name, upper.init(b, q.sample(c)))
        check_fit(q, jax.eval_shape(lambda p, key: below(p, as_chain(upper.prior(p)).sample(key)), params[name], c))
        return params

    def below(params: Any, above: tuple[Any, ...]) -> Any:
        return upper.decode(params, above if isinstance(upper.prior(params), Chain) else above[0])

    def after(params: Any, before: tuple[Any, ...]) -> Any:
        return as_chain(upper.encode(params, before[0])).links[len(before) - 1](before[1:])

    def prior(params: Any) -> Chain:
        return Chain((*as_chain(upper.prior(params[name])).links, Partial(below, params[name])))

    def encode(params: Any, x: Any) -> Chain:
        q = lower.encode(params, x)
        z_like = jax.eval_shape(q.sample, random.key(0))
        order = as_chain(jax.eval_shape(upper.encode, params[name], z_like)).order
        return Chain((Partial(given, q), *[Partial(after, params[name])] * len(order)), (len(order), *order))

    return Model(init, prior, encode, lambda params, z: lower.decode(params, z[-1]))


def precision_weighted(p: Normal, own: Normal) -> Normal:
    """The normalized product of p(z_i | those above) and what x says of z_i (Sonderby et al. 2016, section 2)."""
    logit = 2 * (p.log_std - own.log_std)  # of own share in the sum of both precisions
    mean = jax.nn.sigmoid(logit) * own.mean + jax.nn.sigmoid(-logit) * p.mean
    return Normal(mean, -0.5 * jnp.logaddexp(-2 * own.log_std, -2 * p.log_std))


def relative(p: Normal, own: Normal) -> Normal:
    """N(m_p + m, exp(s_p + s)): what x says is a step from the prior (Vahdat & Kautz 2020, section 3.2)."""
    return Normal(p.mean + own.mean, p.log_std + own.log_std)


def unmerged(p: Normal, own: Normal) -> Normal:
    """What x says of z_i alone."""
    return own


Merge = Callable[[Any, Any], Any]


class Network(NamedTuple):
    """What every (init, apply) pair is."""

    init: Callable[[Array, Any], Any]  # key, x -> params
    apply: Callable[[Any, Any], Any]  # params, x -> features


SAME = Network(lambda key, x: {}, lambda params, x: x)


def ladder(
    encoders: Sequence[Any],
    decoders: Sequence[Callable[[tuple[int, ...]], Any]],
    *,
    latents: Sequence[int],
    like: Array,
    posterior: Any = Normal,
    prior: Any = Normal,
    likelihood: Any = Bernoulli,
    output_bias: Array | None = None,
    merge: Merge = precision_weighted,
    kl: Callable[..., Array] = exact_kl,
) -> Model:
    """p(z_1) = N(0, I), p(z_i | z_(i-1)) and p(x | z_L) by decoders; q(z_i | z_<i, x) merges p with what x says.

    Networks stand in the order in which data passes them: encoders[0] sees x, each further one the features before it,
    the last feeds z_1; decoders[0] sees z_1, the last gives x. `latents` are the sizes of z_1, ..., z_L, the top first.
    `prior` is the family of p(z_i | z_(i-1)), `posterior` of what x says, which is all that q of the top layer is.
    Terms are fused, `kl` that of a layer. (Sonderby et al. 2016, section 2.) Raises Fault where the lists differ in
    length, and where a family makes no Normal.
    """
    count = check_sizes(latents, encoders=encoders, decoders=decoders)
    check_gaussian(posterior)
    check_gaussian(prior)
    encode = [networks.Head(SAME, n * posterior.arity) for n in latents]
    between: list[Any] = [decoder((n, prior.arity)) for decoder, n in zip(decoders, latents[1:])]
    output_init, output = output_of(decoders[-1], like, likelihood, output_bias)
    top = standard_normal(latents[0])

    def init(key: Array, x: Any) -> dict[str, Any]:
        a, b, c, d = random.split(key, 4)
        nets = init_up(encoders, a, x)
        features = up_through(encoders, nets, x)
        heads = {f'z{i + 1}': h.init(k, f) for i, (h, f, k) in enumerate(zip(encode, features, random.split(b, count)))}
        below = {
            f'z{i + 2}': net.init(k, jnp.zeros(n))
            for i, (net, n, k) in enumerate(zip(between, latents, random.split(c, count)))
        }
        return {'encode': {'networks': nets, 'heads': heads}, 'prior': below, **output_init(d, jnp.zeros(latents[-1]))}

    def from_above(params: Any, i: int, z: Any) -> Any:
        if i == 0:
            return top(params)
        features = between[i - 1].apply(params['prior'][f'z{i + 1}'], z)
        return prior.from_features(features.reshape(latents[i], prior.arity))

    def of_x(params: Any, i: int, z: Any, features: Any, p: Any) -> Any:
        own = encode[i].apply(params['encode']['heads'][f'z{i + 1}'], features)
        own = posterior.from_features(own.reshape(latents[i], posterior.arity))
        return merge(p, own) if i else own

    return hierarchy(
        init,
        Passes(
            up=lambda params, x: up_through(encoders, params['encode']['networks'], x),
            start=lambda params: None,
            prior=from_above,
            posterior=of_x,
            down=lambda params, i, above, z: z,
            output=output,
        ),
        count,
        kl,
    )


def init_up(encoders: Sequence[Any], key: Array, x: Any) -> dict[str, Any]:
    """Parameters of encoders in a row, each named after the layer that its features feed."""
    nets = {}
    for i, (net, k) in enumerate(zip(encoders, random.split(key, len(encoders)))):
        nets[f'z{len(encoders) - i}'] = net.init(k, x)
        x = net.apply(nets[f'z{len(encoders) - i}'], x)
    return nets


def up_through(encoders: Sequence[Any], nets: Any, x: Any) -> tuple[Any, ...]:
    """The features of encoders in a row, those for the top layer first."""
    features: tuple[Any, ...] = ()
    for i, net in enumerate(encoders):
        x = net.apply(nets[f'z{len(encoders) - i}'], x)
        features = (x, *features)
    return features


def output_of(
    decoder: Callable[[tuple[int, ...]], Any], like: Array, likelihood: Any, output_bias: Array | None
) -> tuple[Callable[[Array, Any], dict[str, Any]], Callable[[Any, Any], Any]]:
    """(init, apply) of p(x | state), whose parameters are parts `decode` and `output_bias`; as `vae` has them."""
    shape = tuple(jnp.shape(like))
    if not isinstance(like, jax.ShapeDtypeStruct):
        check_support(likelihood, like)
    if output_bias is not None and jnp.shape(output_bias) != shape:
        raise Fault(f'output_bias has shape {jnp.shape(output_bias)}, one example {shape}', 'give one number a pixel')
    net: Any = decoder(_features_shape(shape, likelihood.arity))

    def init(key: Array, state: Any) -> dict[str, Any]:
        params = {'decode': net.init(key, state)}
        return params if output_bias is None else {**params, 'output_bias': jnp.asarray(output_bias)}

    def apply(params: Any, state: Any) -> Any:
        features = net.apply(params['decode'], state).reshape(*shape, likelihood.arity)
        if output_bias is not None:
            features = features.at[..., 0].add(params['output_bias'])
        return likelihood.from_features(features)

    return init, apply


def check_sizes(latents: Sequence[int], **lists: Sequence[Any]) -> int:
    """How many layers there are. Raises Fault where the lists differ in length, or a latent is below 1."""
    for name, found in lists.items():
        if len(found) != len(latents) or not latents:
            raise Fault(f'{len(latents)} latents met {len(found)} {name}', 'give one of each for every layer')
    if min(latents) < 1:
        raise Fault(f'latents are {list(latents)}', 'give sizes of 1 or more')
    return len(latents)


def check_gaussian(posterior: Any) -> None:
    """Raises Fault where a family makes no diagonal Gaussian: what is merged are means and scales."""
    if not isinstance(made_by(posterior), Normal):
        raise Fault(
            f'{family_name(posterior)} is no diagonal Gaussian, and only those merge with a prior',
            'use Normal or bounded_normal, or stack models of other families',
        )

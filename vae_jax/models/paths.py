"""The residual top-down path: a state that prior and posterior share, from a learned start down to x."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array, random

from vae_jax import networks
from vae_jax.distributions import Bernoulli, Normal
from vae_jax.distributions.chain import exact_kl
from vae_jax.errors import Fault
from vae_jax.models import rungs
from vae_jax.models.base import Model
from vae_jax.models.layers import Passes, hierarchy


def top_down(
    encoders: Sequence[Any],
    blocks: Sequence[Any],
    decoder: Callable[[tuple[int, ...]], Any],
    *,
    latents: Sequence[int],
    state: tuple[int, ...],
    like: Array,
    posterior: Any = Normal,
    prior: Any = Normal,
    likelihood: Any = Bernoulli,
    output_bias: Array | None = None,
    merge: rungs.Merge = rungs.relative,
    kl: Callable[..., Array] = exact_kl,
) -> Model:
    """p(z_i | h_i), q(z_i | h_i, x) = merge(p, head([h_i, d_i])), h_(i+1) = h_i + head(block_i([h_i, z_i])), p(x | h).

    h_1 [*state] is learned; d_i are the features of `encoders` in a row, the last of them for z_1. Heads are linear on
    the last axis, so state (h, w, c) makes latents z_i [h, w, latents[i]] of images: features d_i then have the rows
    and columns of h_i, and a block that returns more of them enlarges the state. `blocks` and `latents` begin at the
    top. Terms are fused, `kl` that of a layer. (Kingma et al. 2016, bidirectional inference; Child 2021.)
    Raises Fault where the lists differ in length, a family makes no Normal, or, at init, shapes do not meet.
    """
    count = rungs.check_sizes(latents, encoders=encoders, blocks=blocks)
    rungs.check_gaussian(posterior)
    rungs.check_gaussian(prior)
    width = state[-1]
    heads = [networks.Head(rungs.SAME, prior.arity * n) for n in latents]
    own_heads = [networks.Head(rungs.SAME, posterior.arity * n) for n in latents]
    steps = [networks.Head(block, width) for block in blocks]
    output_init, output = rungs.output_of(decoder, like, likelihood, output_bias)

    def init(key: Array, x: Any) -> dict[str, Any]:
        a, b, c = random.split(key, 3)
        nets = rungs.init_up(encoders, a, x)
        h, features = jnp.zeros(state), rungs.up_through(encoders, nets, x)
        path: dict[str, Any] = {'start': h}
        own: dict[str, Any] = {}
        for i, (k, d) in enumerate(zip(random.split(b, count), features)):
            if h.shape[:-1] != d.shape[:-1]:
                found = f'layer {i + 1} has the state {h.shape} and features {d.shape}'
                raise Fault(found, 'make all of their axes but the last equal')
            first, second, third = random.split(k, 3)
            z = jnp.zeros((*h.shape[:-1], latents[i]))
            own[_name(i)] = own_heads[i].init(first, _joined(h, d))
            path[_name(i)] = {'prior': heads[i].init(second, h), 'step': steps[i].init(third, _joined(h, z))}
            h = down({'prior': path}, i, h, z)
        return {'encode': {'networks': nets, 'heads': own}, 'prior': path, **output_init(c, h)}

    def from_above(params: Any, i: int, h: Array) -> Normal:
        features = heads[i].apply(params['prior'][_name(i)]['prior'], h)
        return prior.from_features(features.reshape(*h.shape[:-1], latents[i], prior.arity))

    def of_x(params: Any, i: int, h: Array, d: Array, p: Normal) -> Normal:
        features = own_heads[i].apply(params['encode']['heads'][_name(i)], _joined(h, d))
        return merge(p, posterior.from_features(features.reshape(*h.shape[:-1], latents[i], posterior.arity)))

    def down(params: Any, i: int, h: Array, z: Array) -> Array:
        step = steps[i].apply(params['prior'][_name(i)]['step'], _joined(h, z))
        return _enlarged(h, step.shape) + step

    return hierarchy(
        init,
        Passes(
            up=lambda params, x: rungs.up_through(encoders, params['encode']['networks'], x),
            start=lambda params: params['prior']['start'],
            prior=from_above,
            posterior=of_x,
            down=down,
            output=output,
        ),
        count,
        kl,
    )


def _name(i: int) -> str:
    return f'z{i + 1}'


def _joined(a: Array, b: Array) -> Array:
    return jnp.concatenate([a, b], -1)


def _enlarged(h: Array, shape: tuple[int, ...]) -> Array:
    """h with each row and column repeated, cropped to a larger shape."""
    for axis, n in enumerate(shape[:-1]):
        if h.shape[axis] != n:
            h = jnp.repeat(h, -(-n // h.shape[axis]), axis)
            h = h[(slice(None),) * axis + (slice(n),)]
    return h

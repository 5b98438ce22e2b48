"""Distances of the aggregate posterior to the prior beside those of `codes`, where no rate is needed; parts of z."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, random, vmap

from vae_jax.bounds.elbo import check_pathwise
from vae_jax.distributions.joined import Kl, discrete_kl, part_kls
from vae_jax.errors import Fault
from vae_jax.losses.codes import Codes, Penalty
from vae_jax.losses.objectives import Loss, x_of
from vae_jax.models import Model


def wae(model: Model, penalty: Penalty, of: Callable[[Any], Any] = x_of) -> Loss:
    """mean distortion + penalty(codes), without a rate: so q may be a Delta (Tolstikhin et al. 2018, algorithm 2).

    The penalty finds no rates in the codes. Raises Fault on a q without a pathwise gradient.
    """

    def loss(params: Any, key: Array, batch: Mapping[str, Any], hyper: Any) -> tuple[Array, dict[str, Array]]:
        xs = of(batch)
        sample_key, penalty_key = random.split(key)
        q, p = vmap(lambda x: model.encode(params, x))(xs), model.prior(params)
        check_pathwise(q)
        b = jax.tree.leaves(xs)[0].shape[0]
        z = vmap(lambda q, key: q.sample(key))(q, random.split(sample_key, b))
        distortion = -jnp.mean(vmap(lambda z, x: model.decode(params, z).log_prob(x))(z, xs))
        value, metrics = penalty(Codes(q, z, p, jnp.zeros((b, 0))), penalty_key, hyper)
        return distortion + value, {'distortion': distortion, **metrics}

    return loss


def sliced_distance(xs: Array, ys: Array, directions: Array, p: float = 2.0) -> Array:
    """mean over directions [k, d] of W_p^p between the projections of xs [b, d] and ys [b, d], which sorting gives."""
    along = lambda points: jnp.sort(points @ directions.T, axis=0)
    return jnp.mean(jnp.abs(along(xs) - along(ys)) ** p)


def sliced_wasserstein(projections: int = 50, p: float = 2.0) -> Penalty:
    """hyper.swd SW_p^p(q(z), p(z)) over random directions, from as many draws of the prior as there are codes z [b, d].

    `wae` with it is the sliced-Wasserstein autoencoder (Kolouri et al. 2019, algorithm 1). Raises Fault on projections
    < 1, on p < 1, and on codes that are not vectors.
    """
    if projections < 1 or p < 1:
        raise Fault(f'{projections} projections and p = {p} give no distance', 'ask for 1 or more of either')

    def penalty(codes: Codes, key: Array, hyper: Any) -> tuple[Array, dict[str, Array]]:
        if len(getattr(codes.z, 'shape', ())) != 2:
            raise Fault('sliced_wasserstein needs codes that are vectors, z [b, d]', 'use a latent that is one vector')
        b, d = codes.z.shape
        a, c = random.split(key)
        draws = vmap(codes.p.sample)(random.split(a, b))
        normal = random.normal(c, (projections, d), codes.z.dtype)
        value = sliced_distance(codes.z, draws, normal / jnp.linalg.norm(normal, axis=1, keepdims=True), p)
        return hyper.swd * value, {'swd': value}

    return penalty


def squared_exponential(log_std: Any) -> Callable[[Array, Array], Array]:
    """exp(-|a - b|^2 / (2 s^2)), s = exp(log_std), a kernel for `mmd` (Gretton et al. 2012).

    Its tails are light: codes some s away from all others feel no pull. PyTorch-VAE's has s = d for z [d].
    """
    return lambda a, b: jnp.exp(-0.5 * jnp.sum((a - b) ** 2) * jnp.exp(-2.0 * log_std))


def part_capacities(model: Model, kl: Kl = discrete_kl, of: Callable[[Any], Any] = x_of) -> Loss:
    """mean distortion + sum_i hyper.gamma_i |rate_i - hyper.capacity_i| over the parts i of z (Dupont 2018, eq. 7).

    The fields of hyper are `gamma_` and `capacity_` before the name of each part of a Joint; schedule the capacities
    upwards. A choice among n holds at most log n nats. Metrics are those of Terms, and rate_<name>. Raises Fault on a q
    that is no Joint, or without a pathwise gradient.
    """

    def loss(params: Any, key: Array, batch: Mapping[str, Any], hyper: Any) -> tuple[Array, dict[str, Array]]:
        def one(key: Array, x: Any) -> tuple[Array, dict[str, Array]]:
            q = model.encode(params, x)
            check_pathwise(q)
            if not hasattr(q, 'parts'):
                raise Fault(f'the posterior {type(q).__name__} is not in parts', 'make the model with a joint(...)')
            z = q.sample(key)
            return -model.decode(params, z).log_prob(x), part_kls(q, model.prior(params), z, kl)

        xs = of(batch)
        each = vmap(one)(random.split(key, jax.tree.leaves(xs)[0].shape[0]), xs)
        distortion, rates = jax.tree.map(jnp.mean, each)
        costs = [
            getattr(hyper, f'gamma_{name}') * jnp.abs(rate - getattr(hyper, f'capacity_{name}'))
            for name, rate in rates.items()
        ]
        metrics = {'distortion': distortion, 'rate': sum(rates.values())}
        return distortion + sum(costs), metrics | {f'rate_{name}': rate for name, rate in rates.items()}

    return loss

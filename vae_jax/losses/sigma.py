"""Gaussians at their best sigma: sigma^2 = mean squared error, and no weight of the rate is left to choose."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax, random, vmap

from vae_jax import kernels
from vae_jax.bounds.elbo import check_pathwise, closed_form
from vae_jax.losses.objectives import Loss, x_of
from vae_jax.models import Model


def best_log_std(error: Array) -> Array:
    """log sqrt(error): the sigma under which a mean squared error is most likely (Rybkin et al. 2021, section 4)."""
    return 0.5 * jnp.log(error)


def distortion_at_best(error: Array, dims: int) -> Array:
    """-log N(x; mean, error I) where error = mean (x - mean)^2: dims / 2 (log(2 pi error) + 1), nats."""
    return dims * (best_log_std(error) + 0.5 * (math.log(2 * math.pi) + 1))


def _error_and_rate(model: Model, params: Any, key: Array, x: Array, kl: Callable[..., Array]) -> tuple[Array, Array]:
    q, p = model.encode(params, x), model.prior(params)
    check_pathwise(q)
    z, log_q = q.sample_and_log_prob(key)
    x, mean = kernels.flat(jnp.asarray(x), model.decode(params, z).mean)
    return jnp.mean((x - mean) ** 2), kl(q, p, z, log_q)


def optimal_sigma_each(model: Model, kl: Callable[..., Array] = closed_form) -> Callable[..., tuple[Array, Any]]:
    """dims / 2 (log(2 pi e mse)) + hyper.beta rate of one example, at its own best sigma (Rybkin et al. 2021, 4).

    The sigma of an example depends on it, so this is no likelihood: evaluate with one that does not.
    """

    def objective(params: Any, key: Array, x: Array, hyper: Any) -> tuple[Array, dict[str, Array]]:
        error, rate = _error_and_rate(model, params, key, x, kl)
        distortion = distortion_at_best(error, x.size)
        return distortion + hyper.beta * rate, {'distortion': distortion, 'rate': rate, 'log_std': best_log_std(error)}

    return objective


def optimal_sigma(
    model: Model, kl: Callable[..., Array] = closed_form, of: Callable[[Any], Any] = x_of, name: str = 'scale'
) -> Loss:
    """As `optimal_sigma_each`, with one sigma for the batch, which log_std of a `learned_scale` follows.

    The term 1/2 (log_std - best)^2 moves log_std alone: under SGD of rate r it is the average of decay 1 - r, and the
    model that is evaluated has a sigma that knows nothing of the example.
    """

    def loss(params: Any, key: Array, batch: Any, hyper: Any) -> tuple[Array, dict[str, Array]]:
        xs = of(batch)
        keys = random.split(key, xs.shape[0])
        errors, rates = vmap(lambda key, x: _error_and_rate(model, params, key, x, kl))(keys, xs)
        error, rate = jnp.mean(errors), jnp.mean(rates)
        distortion = distortion_at_best(error, xs[0].size)
        best = lax.stop_gradient(best_log_std(error))
        follow = 0.5 * sum(jnp.sum((leaf - best) ** 2) for leaf in jax.tree.leaves(params[name]))
        metrics = {'distortion': distortion, 'rate': rate, 'log_std': best}
        return distortion + hyper.beta * rate + follow, metrics

    return loss

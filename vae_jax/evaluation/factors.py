"""Codes as a whole: how they go with known factors, and what the rate is spent on."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax, random
from jax.scipy.special import logsumexp
from jax.scipy.stats import norm

from vae_jax.disentanglement.information import Gap, binned, mutual_information, mutual_information_gap

__all__ = ['Gap', 'Spent', 'binned', 'mutual_information', 'mutual_information_gap', 'spent']


class Spent(NamedTuple):
    """Nats of the rate: information + total_correlation + dimension_kl (Chen et al. 2018, eq. 2)."""

    information: float
    total_correlation: float
    dimension_kl: float


def spent(mean: Any, log_std: Any, key: Array, draws: int = 256) -> Spent:
    """I_q(x; z), KL(q(z) || prod_d q(z_d)) and sum_d KL(q(z_d) || N(0, 1)), q(z) = 1/n sum_i q(z|x_i) of all n codes.

    mean, log_std [n, d] of q(z|x_i) = N(mean, exp(2 log_std)); over `draws` of z ~ q(z). No minibatch stands for q(z).
    """
    return Spent(*map(float, jnp.mean(_parts(jnp.asarray(mean), jnp.asarray(log_std), key, draws), 0)))


@partial(jax.jit, static_argnames='draws')
def _parts(mean: Array, log_std: Array, key: Array, draws: int) -> Array:
    def one(key: Array) -> Array:
        a, b = random.split(key)
        i = random.randint(a, (), 0, mean.shape[0])
        z = mean[i] + jnp.exp(log_std[i]) * random.normal(b, mean.shape[1:])
        log_q = norm.logpdf((z[None] - mean) * jnp.exp(-log_std)) - log_std
        aggregate = logsumexp(jnp.sum(log_q, 1)) - jnp.log(mean.shape[0])
        product = jnp.sum(logsumexp(log_q, 0) - jnp.log(mean.shape[0]))
        return jnp.stack([jnp.sum(log_q[i]) - aggregate, aggregate - product, product - jnp.sum(norm.logpdf(z))])

    return lax.map(one, random.split(key, draws))

"""Codes as a whole: how they go with known factors, and what the rate is spent on."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax, random
from jax.scipy.special import logsumexp
from jax.scipy.stats import norm

from vae_jax.errors import Fault


class Gap(NamedTuple):
    """MIG: `mean` over factors, `each` factor's, and `information` [factors, d] in nats, its rows named by `each`."""

    mean: float
    each: dict[str, float]
    information: np.ndarray


def binned(codes: Any, bins: int = 20) -> np.ndarray:
    """Codes [n, d] as int [n, d]: the number of the equal bin between the least and the largest of their dimension."""
    codes = np.asarray(codes, np.float64)
    low, high = codes.min(0), codes.max(0)
    width = np.where(high > low, high - low, 1.0)
    return np.minimum((codes - low) / width * bins, bins - 1).astype(np.int64)


def mutual_information(a: Any, b: Any) -> float:
    """I(a; b) = sum p(a, b) log p(a, b) / (p(a) p(b)) of the joint counts of two int columns [n]; nats.

    From n draws it is too high by about (A - 1)(B - 1) / 2 n for A and B values (Miller 1955).
    """
    (values_a, a), (values_b, b) = (np.unique(column, return_inverse=True) for column in (a, b))
    joint = np.bincount(a * len(values_b) + b, minlength=len(values_a) * len(values_b))
    p = joint.reshape(len(values_a), len(values_b)) / len(a)
    independent = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
    return float(np.sum(p[p > 0] * np.log(p[p > 0] / independent[p > 0])))


def mutual_information_gap(codes: Any, factors: Mapping[str, Any], bins: int = 20) -> Gap:
    """mean over factors v of (I(z_1; v) - I(z_2; v)) / H(v), z_1 and z_2 the two dimensions that tell most of v.

    Chen et al. (2018), eq. 6, with the codes [n, d] in bins, as Locatello et al. (2019) take it; 0 to 1. Factors are
    int [n]. Raises Fault on fewer than two dimensions, on columns of other lengths and on a factor of one value.
    """
    codes = np.asarray(codes)
    if codes.ndim != 2 or codes.shape[1] < 2:
        found = f'the gap between two dimensions needs codes [n, 2] or more, found {list(codes.shape)}'
        raise Fault(found, 'train with --latent 2 or more')
    columns, information, each = binned(codes, bins), [], {}
    for name, factor in factors.items():
        factor = np.asarray(factor)
        if factor.shape != codes.shape[:1] or len(np.unique(factor)) < 2:
            found = f'the factor {name} has {len(np.unique(factor))} values of shape {list(factor.shape)}'
            raise Fault(found, f'give one value for each of {len(codes)} codes, and 2 or more values')
        information.append([mutual_information(column, factor) for column in columns.T])
        second, first = np.sort(information[-1])[-2:]
        each[name] = float((first - second) / mutual_information(factor, factor))
    return Gap(float(np.mean(list(each.values()))), each, np.array(information))


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

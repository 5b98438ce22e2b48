"""Probabilistic PCA, the linear VAE whose best parameters are known: z ~ N(0, I_q), x = W z + mean + noise.

found = ppca(xs, 10);   density(found).log_prob(x);   posterior(found, x)       all exact (Tipping & Bishop 1999)
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from vae_jax.distributions import FullNormal, Normal
from vae_jax.errors import Fault


class Factors(NamedTuple):
    """p(x|z) = N(x; loadings z + mean, exp(2 log_std) I)."""

    mean: Array  # [d]
    loadings: Array  # [d, q]
    log_std: Array  # []


def from_moments(mean: Array, covariance: Array, q: int) -> Factors:
    """The likeliest W = U (Lambda - s^2 I)^(1/2), s^2 the mean of the other eigenvalues (eq. 7, 8, with R = I).

    Raises Fault where 0 < q < d does not hold.
    """
    d = covariance.shape[0]
    if not 0 < q < d:
        raise Fault(f'{q} factors of {d} columns', f'ask for 1 to {d - 1}')
    values, vectors = jnp.linalg.eigh(covariance)
    noise = jnp.mean(values[: d - q])
    scales = jnp.sqrt(jnp.maximum(values[d - q :] - noise, 0))
    return Factors(mean, (vectors[:, d - q :] * scales[None])[:, ::-1], 0.5 * jnp.log(noise))


def ppca(xs: Array, q: int) -> Factors:
    """Maximum likelihood of rows xs [n, d], the largest factor first; the first q principal directions.

    Raises Fault on rows that are no table, on q that is not between 1 and d - 1, and on q + 1 rows or fewer.
    """
    if xs.ndim != 2 or xs.shape[0] < q + 2:
        raise Fault(f'{q} factors of rows {xs.shape}', 'give more rows [n, d] than factors')
    mean = jnp.mean(xs, 0)
    off = xs - mean[None]
    return from_moments(mean, off.T @ off / xs.shape[0], q)


def density(factors: Factors) -> FullNormal:
    """p(x) = N(x; mean, W W^T + s^2 I) (eq. 4)."""
    d = factors.mean.shape[0]
    noise = jnp.exp(2 * factors.log_std) * jnp.eye(d, dtype=factors.mean.dtype)
    factor = jnp.linalg.cholesky(factors.loadings @ factors.loadings.T + noise)
    return FullNormal(factors.mean, jnp.log(jnp.diagonal(factor)), factor)


def posterior(factors: Factors, x: Array) -> FullNormal:
    """p(z|x) = N(z; M^-1 W^T (x - mean), s^2 M^-1), M = W^T W + s^2 I (eq. 6), of one x [d]."""
    w, noise = factors.loadings, jnp.exp(2 * factors.log_std)
    inverse = jnp.linalg.inv(w.T @ w + noise * jnp.eye(w.shape[1], dtype=w.dtype))
    factor = jnp.linalg.cholesky(noise * inverse)
    return FullNormal(inverse @ (w.T @ (x - factors.mean)), jnp.log(jnp.diagonal(factor)), factor)


def decoded(factors: Factors, z: Array) -> Normal:
    """p(x|z) of one z [q]."""
    mean = factors.loadings @ z + factors.mean
    return Normal(mean, jnp.full_like(mean, factors.log_std))

"""What the components of a mixture may be: how the likeliest ones follow from responsibilities, and how free they are.

Each is the M step of `mixtures.em`, and what `mixtures.bic` counts.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, vmap

from vae_jax.distributions import Bernoulli, FullNormal, Normal


class Shape(NamedTuple):
    """What components may be: two functions."""

    likeliest: Callable[[Array, Array, Any], Any]  # xs [n, d], resp [n, k], ridge -> components, leaves [k, ...]
    free: Callable[[int, int], int]  # k, d -> how many numbers they have


def _moments(xs: Array, resp: Array) -> tuple[Array, Array]:
    """counts [k] and means [k, d]."""
    counts = jnp.sum(resp, 0) + 10 * jnp.finfo(resp.dtype).eps
    return counts, resp.T @ xs / counts[:, None]


def _variances(xs: Array, resp: Array, counts: Array, means: Array) -> Array:
    return vmap(lambda w, n, mean: w @ (xs - mean[None]) ** 2 / n, (1, 0, 0))(resp, counts, means)


def _covariances(xs: Array, resp: Array, counts: Array, means: Array) -> Array:
    def one(w: Array, n: Array, mean: Array) -> Array:
        off = xs - mean[None]
        return (w[:, None] * off).T @ off / n

    return vmap(one, (1, 0, 0))(resp, counts, means)


def _normals(means: Array, covariances: Array) -> FullNormal:
    factors = jnp.linalg.cholesky(covariances)
    return vmap(FullNormal)(means, jnp.log(jnp.diagonal(factors, axis1=1, axis2=2)), factors)


def _full(xs: Array, resp: Array, ridge: Any) -> FullNormal:
    counts, means = _moments(xs, resp)
    return _normals(means, _covariances(xs, resp, counts, means) + ridge * jnp.eye(xs.shape[1], dtype=xs.dtype)[None])


def _tied(xs: Array, resp: Array, ridge: Any) -> FullNormal:
    counts, means = _moments(xs, resp)
    within = jnp.tensordot(counts, _covariances(xs, resp, counts, means), 1) / jnp.sum(counts)
    one = within + ridge * jnp.eye(xs.shape[1], dtype=xs.dtype)
    return _normals(means, jnp.broadcast_to(one[None], (len(counts), *one.shape)))


def _diagonal(xs: Array, resp: Array, ridge: Any) -> Normal:
    counts, means = _moments(xs, resp)
    return vmap(Normal)(means, 0.5 * jnp.log(_variances(xs, resp, counts, means) + ridge))


def _spherical(xs: Array, resp: Array, ridge: Any) -> Normal:
    counts, means = _moments(xs, resp)
    variances = jnp.mean(_variances(xs, resp, counts, means), 1, keepdims=True) + ridge
    return vmap(Normal)(means, jnp.broadcast_to(0.5 * jnp.log(variances), means.shape))


def _bits(xs: Array, resp: Array, ridge: Any) -> Bernoulli:
    on, off = resp.T @ xs, resp.T @ (1 - xs)
    return vmap(Bernoulli)(jnp.log(on + ridge) - jnp.log(off + ridge))


full = Shape(_full, lambda k, d: k * (d + d * (d + 1) // 2))
"""A covariance for each group; ridge (units of x^2) is added to its diagonal."""

tied = Shape(_tied, lambda k, d: k * d + d * (d + 1) // 2)
"""One covariance for all groups, their average by size: with known groups, linear discriminant analysis."""

diagonal = Shape(_diagonal, lambda k, d: 2 * k * d)
"""A variance for each group and column: with known groups, Gaussian naive Bayes."""

spherical = Shape(_spherical, lambda k, d: k * (d + 1))
"""One variance for each group."""

bits = Shape(_bits, lambda k, d: k * d)
"""P(x_i = 1) for each group and column, x in {0, 1}; ridge is added to both counts, so it must be above 0."""

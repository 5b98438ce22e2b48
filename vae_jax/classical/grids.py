"""Densities of two or three real numbers on a grid: every integral is a sum, so that answers are exact to its steps.

The oracle for methods that have to approximate: normalizer, moments, marginals and divergences of any density.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax, vmap
from jax.scipy.special import logsumexp

from vae_jax.distributions import FullNormal
from vae_jax.errors import Fault

TOGETHER = 4096  # points that are evaluated at once


class Gridded(NamedTuple):
    """A density on the points of a grid: `log_prob` [n_1, ..., n_d] is normalized over it; nats.

    axes: d vectors of equal steps; log_total: log of the sum over all cells before it was normalized.
    """

    axes: tuple[Array, ...]
    log_prob: Array
    log_total: Array


def steps_of(low: float, high: float, n: int) -> np.ndarray:
    """n points from low to high, [n]. Raises Fault where these are no grid."""
    if n < 2 or not low < high:
        raise Fault(f'an axis of {n} points from {low:g} to {high:g}', 'give 2 points or more, from low to high')
    return np.linspace(low, high, n)


def log_cell(axes: tuple[Any, ...]) -> Array:
    """log of the volume of one cell."""
    return sum((jnp.log(axis[1] - axis[0]) for axis in axes), jnp.zeros(()))


def points_of(axes: tuple[Any, ...]) -> Array:
    """All points, [n_1, ..., n_d, d]."""
    return jnp.stack(jnp.meshgrid(*axes, indexing='ij'), -1)


def normalized(axes: tuple[Any, ...], log_density: Array) -> Gridded:
    """Values of any log-density on a grid, [n_1, ..., n_d], as one that sums to 1. Raises Fault on another shape."""
    axes = tuple(jnp.asarray(axis) for axis in axes)
    if log_density.shape != (shape := tuple(axis.size for axis in axes)):
        raise Fault(f'values of shape {log_density.shape} on a grid of {shape}', 'give one value a point')
    log_total = logsumexp(log_density) + log_cell(axes)
    return Gridded(axes, log_density - log_total, log_total)


def gridded(log_density: Callable[[Array], Array], axes: tuple[Any, ...]) -> Gridded:
    """log_density(z [d]) at every point, normalized; log_total is log of its integral, by the rectangle rule.

    What lies outside the grid is not seen: let it end where the density is as good as 0.
    """
    points = points_of(axes)
    n, d = points.size // len(axes), len(axes)
    blocks = -(-n // TOGETHER)
    filled = jnp.pad(points.reshape(n, d), ((0, -(-n // blocks) * blocks - n), (0, 0)), mode='edge')
    values = jax.jit(lambda zs: lax.map(vmap(log_density), zs))(filled.reshape(blocks, -1, d))
    return normalized(axes, values.reshape(-1)[:n].reshape(points.shape[:-1]))


def moments(grid: Gridded) -> tuple[Array, Array]:
    """E z [d], Cov z [d, d]."""
    w = jax.nn.softmax(grid.log_prob.reshape(-1))
    points = points_of(grid.axes).reshape(-1, len(grid.axes))
    mean = w @ points
    off = points - mean[None]
    return mean, jnp.einsum('n,ni,nj->ij', w, off, off)


def gaussian(grid: Gridded) -> FullNormal:
    """N(E z, Cov z): least KL(p || q) of all Gaussians (Bishop 2006, section 10.7)."""
    mean, covariance = moments(grid)
    lower = jnp.linalg.cholesky(covariance)
    return FullNormal(mean, jnp.log(jnp.diag(lower)), lower)


def marginal(grid: Gridded, i: int) -> Gridded:
    """p(z_i), a Gridded of one axis."""
    others = tuple(j for j in range(len(grid.axes)) if j != i)
    rest = tuple(grid.axes[j] for j in others)
    return Gridded((grid.axes[i],), logsumexp(grid.log_prob, others) + log_cell(rest), jnp.zeros(()))


def product(*parts: Gridded) -> Gridded:
    """p(z_1) ... p(z_d) of densities of one axis each: independent, with these marginals."""
    outer = parts[0].log_prob
    for part in parts[1:]:
        outer = outer[..., None] + part.log_prob.reshape((1,) * outer.ndim + part.log_prob.shape)
    return Gridded(tuple(axis for part in parts for axis in part.axes), outer, jnp.zeros(()))


def divergence(q: Gridded, p: Gridded) -> Array:
    """KL(q || p) = sum q (log q - log p) over the cells of one grid, nats. Raises Fault on grids of two shapes."""
    if q.log_prob.shape != p.log_prob.shape:
        raise Fault(f'grids of {q.log_prob.shape} and {p.log_prob.shape} points', 'evaluate both on the same axes')
    return jnp.sum(jax.nn.softmax(q.log_prob.reshape(-1)) * (q.log_prob - p.log_prob).reshape(-1))


def level(grid: Gridded, mass: float = 0.9) -> float:
    """The log-density that bounds the smallest region with this share of the mass. Raises Fault outside (0, 1)."""
    if not 0 < mass < 1:
        raise Fault(f'a region with {mass:g} of the mass', 'give a share between 0 and 1')
    falling = np.sort(np.asarray(grid.log_prob, np.float64), None)[::-1]
    shares = np.cumsum(np.exp(falling - np.logaddexp.reduce(falling)))
    return float(falling[np.searchsorted(shares, mass)])

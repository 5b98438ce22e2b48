"""Laplace's approximation: the Gaussian that has a density's mode and its curvature there."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from vae_jax.distributions import FullNormal
from vae_jax.errors import NUMBERS, Fault

MOST = 200  # steps of the search


class AtMode(NamedTuple):
    """N(mode, (-Hessian)^-1), and log of the density's integral as that Gaussian has it; nats.

    away: by how many standard deviations of q a further Newton step would move, 0 at the mode itself.
    """

    q: FullNormal
    log_total: Array
    away: Array


class _Place(NamedTuple):
    z: Array
    value: Array
    slope: Array  # along the eigenvectors of -Hessian, the columns of `axes`, whose eigenvalues are `along`
    along: Array
    axes: Array
    damping: Array
    steps: Array


def around_mode(log_density: Callable[[Array], Array], start: Array) -> AtMode:
    """log f(z) ~ log f(z*) - 1/2 (z - z*)^T A (z - z*), A = -Hessian at the mode z* [d] above `start` [d].

    log integral f = log f(z*) + d/2 log 2 pi - 1/2 log |A| (Bishop 2006, eq. 4.135). The mode is found by damped Newton
    steps along the eigenvectors of the Hessian, uphill along each; of several modes, one. May be vmapped over starts.
    """
    slack = 8 * jnp.finfo(start.dtype).eps

    def look(z: Array, damping: Array, steps: Array) -> _Place:
        value, slope = jax.value_and_grad(log_density)(z)
        along, axes = jnp.linalg.eigh(-jax.hessian(log_density)(z))
        return _Place(z, value, axes.T @ slope, along, axes, damping, steps)

    def away(place: _Place) -> Array:
        return jnp.sqrt(jnp.sum(place.slope**2 / (jnp.abs(place.along) + jnp.finfo(start.dtype).tiny)))

    def go(place: _Place) -> _Place:
        curve = jnp.abs(place.along) + place.damping + jnp.finfo(start.dtype).tiny
        new = look(place.z + place.axes @ (place.slope / curve), place.damping / 8, place.steps + 1)
        better = new.value >= place.value - slack * jnp.abs(place.value)
        held = place._replace(damping=8 * place.damping + 1e-3, steps=place.steps + 1)
        return jax.tree.map(lambda a, b: jnp.where(better, a, b), new, held)

    first = look(start, jnp.zeros((), start.dtype), jnp.zeros((), jnp.int32))
    found = lax.while_loop(lambda place: (place.steps < MOST) & (away(place) > jnp.sqrt(slack)), go, first)
    # L of A^-1 = L L^T, by the R of a square root: no matrix is inverted, and none is squared
    lower = jnp.linalg.qr((found.axes * found.along[None] ** -0.5).T, mode='r').T
    lower = lower * jnp.sign(jnp.diag(lower))[None]
    q = FullNormal(found.z, jnp.log(jnp.diag(lower)), lower)
    log_total = found.value + 0.5 * (start.size * jnp.log(2 * jnp.pi) - jnp.sum(jnp.log(found.along)))
    return AtMode(q, log_total, away(found))


def laplace_approximation(log_density: Callable[[Array], Array], start: Array) -> AtMode:
    """`around_mode`, checked: raises Fault (code 4) where the search ends at no maximum, such as on a ridge."""
    start = jnp.asarray(start)
    if start.ndim != 1:
        raise Fault(f'the start has shape {start.shape}', 'give one vector z [d]')
    found = jax.jit(lambda start: around_mode(log_density, start))(start)
    if not bool(jnp.isfinite(found.log_total) & (found.away < 1e-2)):
        what = f'no mode was found above the start {start.tolist()}: the search ended at {found.q.mean.tolist()}'
        raise Fault(what, 'start elsewhere, or give a density with a maximum, such as by a proper prior', NUMBERS)
    return found

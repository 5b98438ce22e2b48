"""Mean field: the best q(z) = q_1(z_1) ... q_d(z_d), found by coordinate ascent; no family is assumed.

The calculus of variations gives each factor with the others held, log q_i(z_i) = E[log p(z, x)] over the others + const
(Bishop 2006, eq. 10.9). The ELBO rises with every update, and KL(q || p) falls by as much.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from vae_jax.classical.grids import Gridded, log_cell, product
from vae_jax.distributions import FullNormal, Normal
from vae_jax.errors import Fault


class FreeForm(NamedTuple):
    """The factors, a Gridded of one axis each, and KL(q || p) [sweeps + 1] from the start on, nats."""

    factors: tuple[Gridded, ...]
    kls: Array
    log_total: Array  # of p

    @property
    def q(self) -> Gridded:
        """Their product."""
        return product(*self.factors)

    @property
    def elbos(self) -> Array:
        """log_total - KL(q || p) [sweeps + 1]: E_q[log f(z) - log q(z)] of what p was normalized from."""
        return self.log_total - self.kls


def _expected(log_p: Array, qs: tuple[Array, ...], leave: int | None = None) -> Array:
    """E[log p] over the probabilities qs of all axes but `leave`."""
    for axis in reversed(range(len(qs))):
        if axis != leave:
            log_p = jnp.tensordot(log_p, qs[axis], ((axis,), (0,)))
    return log_p


def free_form(p: Gridded, sweeps: int = 100, start: tuple[Array, ...] | None = None) -> FreeForm:
    """`sweeps` times each factor in turn, log q_i = E_{others}[log p] + const, on the grid of p.

    start: log-probabilities [n_i] of each axis up to a constant, even where None; the first factor's is not used.
    Raises Fault on fewer than two axes, sweeps < 1 and another shape of the start.
    """
    d, shapes = len(p.axes), tuple(axis.shape for axis in p.axes)
    if d < 2:
        raise Fault('a density of one axis has no factors', 'give a grid of two axes or more')
    if sweeps < 1:
        raise Fault(f'sweeps is {sweeps}, expected 1 or more', 'pass sweeps=1 or more')
    begun = tuple(jnp.zeros_like(axis) for axis in p.axes) if start is None else tuple(jnp.asarray(a) for a in start)
    if tuple(a.shape for a in begun) != shapes:
        raise Fault(f'starts of {[a.shape for a in begun]} on axes of {list(shapes)}', 'give one for each axis')
    cells = tuple(log_cell((axis,)) for axis in p.axes)

    def kl(log_qs: tuple[Array, ...]) -> Array:
        qs = tuple(jnp.exp(log_q) for log_q in log_qs)
        return sum(q @ log_q - cell for q, log_q, cell in zip(qs, log_qs, cells)) - _expected(p.log_prob, qs)

    def sweep(log_qs: tuple[Array, ...], _: None) -> tuple[tuple[Array, ...], Array]:
        for i in range(d):
            best = _expected(p.log_prob, tuple(jnp.exp(log_q) for log_q in log_qs), leave=i)
            log_qs = (*log_qs[:i], jax.nn.log_softmax(best), *log_qs[i + 1 :])
        return log_qs, kl(log_qs)

    first = tuple(jax.nn.log_softmax(a) for a in begun)
    log_qs, kls = jax.jit(lambda log_qs: lax.scan(sweep, log_qs, length=sweeps))(first)
    factors = tuple(Gridded((axis,), log_q - cell, jnp.zeros(())) for axis, log_q, cell in zip(p.axes, log_qs, cells))
    return FreeForm(factors, jnp.concatenate([kl(first)[None], kls]), p.log_total)


def best_diagonal(p: FullNormal) -> Normal:
    """argmin KL(q || p) over independent q: N(mean, 1 / diag of p's precision) (Bishop 2006, eq. 10.12 to 10.15).

    In two dimensions of correlation r both variances are 1 - r^2 times those of p.
    """
    inverse = jax.scipy.linalg.solve_triangular(p.factor, jnp.eye(p.mean.size, dtype=p.mean.dtype), lower=True)
    return Normal(p.mean, -0.5 * jnp.log(jnp.sum(inverse**2, 0)))


def moment_matched(p: FullNormal) -> Normal:
    """argmin KL(p || q) over independent q: the means and variances of p's marginals (Bishop 2006, eq. 10.17)."""
    return Normal(p.mean, p.log_std)

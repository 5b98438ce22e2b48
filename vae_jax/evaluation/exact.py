"""log p(x) without samples: by quadrature over a small z, and in closed form where the model is linear and Gaussian."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax, random, vmap
from jax.flatten_util import ravel_pytree
from jax.scipy.special import logsumexp

from vae_jax.distributions import Normal
from vae_jax.errors import Fault
from vae_jax.evaluation.annealing import check_real
from vae_jax.evaluation.checks import counted, in_type
from vae_jax.evaluation.likelihood import Estimate
from vae_jax.evaluation.streaming import Rows, dims_of, example, finite, log_cell, over
from vae_jax.evaluation.weights import as_type, precision, shapes_of
from vae_jax.models import Conditional, Model

LARGEST = 3  # dimensions of z for a grid
POINTS = {1: 201, 2: 61, 3: 21}  # of each axis
DEPTH = 35.0  # nats below the best point at which a grid ends: 8 standard deviations of a Gaussian
DEPTHS = (10 * DEPTH, 2 * DEPTH, DEPTH, DEPTH)  # of the grids before the last two: a coarse one sees little
ROWS_OF_Z, IMAGES = 200, 8


class Quadrature(NamedTuple):
    """-log p(x) by quadrature: `estimate`, and what each value moved by [n] between two widths and resolutions."""

    estimate: Estimate
    error: np.ndarray

    def __str__(self) -> str:
        return f'{self.estimate}, quadrature with an error of about {np.max(self.error):.1e} nats at most'


def _grid(points: int, d: int) -> np.ndarray:
    """[points^d, d] over [-1, 1]^d."""
    axes = np.meshgrid(*[np.linspace(-1.0, 1.0, points)] * d, indexing='ij')
    return np.stack([axis.reshape(-1) for axis in axes], 1)


def _log_p(model: Model, params: Any, x: Any, points: int) -> tuple[Array, Array]:
    """(log p(x), its error): grids over boxes that are turned and fitted to the posterior, from the prior's on."""
    p = model.prior(params)
    z_like = jax.eval_shape(p.sample, random.key(0))
    flat, unravel = ravel_pytree(jax.tree.map(lambda z: jnp.zeros(z.shape, z.dtype), z_like))
    d, dtype = flat.size, flat.dtype

    def log_joint(z: Array) -> Array:
        z = unravel(z)
        return model.decode(params, z).log_prob(x) + p.log_prob(z)

    def on(points: int, middle: Array, axes: Array) -> tuple[Array, Array]:
        zs = middle[None] + jnp.einsum('ij,nj->ni', axes, jnp.asarray(_grid(points, d), dtype))
        return zs, lax.map(log_joint, zs, batch_size=ROWS_OF_Z)

    def fitted(zs: Array, log_ps: Array, axes: Array, count: int, depth: float) -> tuple[Array, Array]:
        """The box of all points within `depth` nats of the best and a cell more, turned to the tempered covariance."""
        w = jax.nn.softmax(log_ps * (DEPTH / depth))
        mean = w @ zs
        off = zs - mean[None]
        turn = jnp.linalg.eigh(jnp.einsum('n,ni,nj->ij', w, off, off))[1]
        inside = (log_ps > jnp.max(log_ps) - depth)[:, None]
        turned = off @ turn
        low, high = (jnp.where(inside, turned, sign * jnp.inf) for sign in (1, -1))
        low, high = jnp.min(low, 0), jnp.max(high, 0)
        # a posterior narrower than a cell may lie anywhere in it
        spacing = jnp.sum(jnp.abs(turn.T @ axes), 1) * 2 / (count - 1)
        return mean + turn @ ((low + high) / 2), turn * ((high - low) / 2 + spacing)[None]

    def total(points: int, axes: Array, log_ps: Array) -> Array:
        return logsumexp(log_ps) + jnp.sum(jnp.log(jnp.linalg.norm(axes, axis=0) * 2 / (points - 1)))

    if isinstance(p, Normal):
        middle, std = ravel_pytree(p.mean)[0], jnp.exp(ravel_pytree(p.log_std)[0])
    else:  # a fixed key: a prior's box is the same for all x
        draws = vmap(lambda key: ravel_pytree(p.sample(key))[0])(random.split(random.key(0), 1024))
        middle, std = jnp.mean(draws, 0), jnp.std(draws, 0)
    count, axes = 2 * points - 1, 8 * jnp.diag(std)
    for depth in DEPTHS:
        zs, log_ps = on(count, middle, axes)
        middle, axes = fitted(zs, log_ps, axes, count, depth)
        count = points
    zs, log_ps = on(points, middle, axes)
    coarse = total(points, axes, log_ps)
    middle, axes = fitted(zs, log_ps, axes, points, DEPTH)
    _, log_ps = on(2 * points - 1, middle, axes)
    fine = total(2 * points - 1, axes, log_ps)
    return fine, jnp.abs(fine - coarse)


@cache
def _quadrature_rows(model: Model | Conditional, points: int, dtype: Any) -> Rows:
    def rows_of(member: tuple[Any, Array], shared: tuple[Any, Array]) -> tuple[Array, Array]:
        (params, key), (split, rows) = member, shared

        def one(row: Array) -> tuple[Array, Array]:
            of_row, x, _ = example(model, split, key, row)
            return _log_p(of_row, params, as_type(x, dtype), points)

        return vmap(one)(rows)

    return rows_of


def quadrature(
    model: Model | Conditional,
    params: Any,
    split: Any,
    key: Array,
    *,
    points: int | None = None,
    dtype: Any = 'float64',
    quiet: bool = True,
    kept: str | Path | None = None,
) -> Any:
    """-log of the integral of p(x|z) p(z) over z of 1 to 3 real numbers, by the trapezoidal rule; nats.

    Four grids find where the posterior is, from eight standard deviations of the prior on, each turned and fitted to
    what the one before saw of it; the last two, of `points` and 2 points - 1 an axis, give the value and its error.
    Narrow modes far apart need more `points` than the default of 201, 61 or 21 for 1, 2, 3 dimensions: a mode that the
    search misses is in neither grid, and the error cannot tell. dtype as in `nll`. A Quadrature; of the members of a
    population, a list of them. Raises Fault on more dimensions, points < 5, z without a density on R^d, an empty split,
    and (code 4) where a value is not finite.
    """
    check_real(model, params, split, key)
    p, _, _ = shapes_of(model, params, split, key)
    size = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda p: p.sample(random.key(0)), p)))
    if size > LARGEST:
        raise Fault(f'z has {size} numbers, and quadrature takes {LARGEST} at the most', 'use nll, or anneal')
    if (points := POINTS[size] if points is None else counted('points', points, 0)) < 5:
        raise Fault(f'points is {points}, expected 5 or more of each axis', f'leave it at {POINTS[size]}')
    what, block = f'log p(x) by quadrature, {points} points{in_type(dtype)}', min(IMAGES, len(split))
    with precision(dtype):
        rows, params = _quadrature_rows(model, points, dtype), as_type(params, dtype)
        found = over(rows, params, key, split, block, quiet, what, kept)
    dims = dims_of(split, model)

    def told(one: tuple[np.ndarray, np.ndarray]) -> Quadrature:
        values = -finite(one[0], 'log p(x)').astype(np.float64)
        return Quadrature(Estimate(values, dims, log_cell(split)), one[1])

    return [told(one) for one in found] if key.ndim else told(found)


class LinearGaussian(NamedTuple):
    """Exact answers of a linear-Gaussian model, one an example: p(z|x) = N(mean, covariance), z flat [d]; nats.

    log_std [n, d] is that of the best diagonal q, whose mean is the posterior's. approximation = log p(x) - its ELBO;
    amortization = its ELBO - that of q(z|x), None where q(z|x) is no diagonal Gaussian.
    """

    estimate: Estimate  # -log p(x)
    mean: np.ndarray  # [n, d]
    covariance: np.ndarray  # [n, d, d]
    log_std: np.ndarray
    approximation: Estimate
    amortization: Estimate | None

    def __str__(self) -> str:
        gaps = f'approximation gap {self.approximation.mean:.3f}'
        gaps += '' if self.amortization is None else f', amortization gap {self.amortization.mean:.3f}'
        return f'{self.estimate}, exact ({gaps})'


def _exactly(model: Model, params: Any, key: Array, x: Any) -> dict[str, Array]:
    p, q = model.prior(params), model.encode(params, x)
    flat = lambda tree: ravel_pytree(tree)[0]
    m, unravel = ravel_pytree(p.mean)
    mean_of = lambda z: flat(model.decode(params, unravel(z)).mean)
    log_std_of = lambda z: flat(model.decode(params, unravel(z)).log_std)
    zs = [flat(p.sample(k)) for k in random.split(key)]
    W, b, log_s = jax.jacfwd(mean_of)(zs[0]), mean_of(zs[0]), log_std_of(zs[0])
    b = b - W @ zs[0]
    moved = [mean_of(zs[1]) - b - W @ zs[1], log_std_of(zs[1]) - log_s, jax.jacfwd(mean_of)(zs[1]) - W]
    off = jnp.stack([jnp.max(jnp.abs(a)) for a in moved]) / (1 + jnp.max(jnp.abs(W)) + jnp.max(jnp.abs(b)))

    inverse = jnp.exp(-2 * log_s)  # of the noise's variance
    lam = jnp.diag(jnp.exp(-2 * flat(p.log_std))) + (W.T * inverse[None]) @ W
    residual = flat(x) - b - W @ m
    h = W.T @ (inverse * residual)
    covariance = jnp.linalg.inv(lam)
    log_det = jnp.linalg.slogdet(lam)[1]
    square = jnp.sum(inverse * residual**2) - h @ covariance @ h
    log_p = -0.5 * (square + log_det + b.size * jnp.log(2 * jnp.pi)) - jnp.sum(log_s) - jnp.sum(flat(p.log_std))
    best = 0.5 * (jnp.sum(jnp.log(jnp.diag(lam))) - log_det)
    found = {'log_p': log_p, 'mean': m + covariance @ h, 'covariance': covariance, 'best': best, 'off': jnp.max(off)}
    found['log_std'] = -0.5 * jnp.log(jnp.diag(lam))
    if isinstance(q, Normal):
        e, log_std = flat(q.mean) - found['mean'], flat(q.log_std)
        traces = jnp.diag(lam) @ jnp.exp(2 * log_std) + e @ lam @ e - e.size
        found['amortized'] = 0.5 * (traces - log_det) - jnp.sum(log_std) - best
    return found


@cache
def _exact_rows(model: Model | Conditional, dtype: Any) -> Rows:
    def rows_of(member: tuple[Any, Array], shared: tuple[Any, Array]) -> dict[str, Array]:
        (params, key), (split, rows) = member, shared

        def one(row: Array) -> dict[str, Array]:
            of_row, x, _ = example(model, split, key, row)
            return _exactly(of_row, params, key, as_type(x, dtype))  # one key: a Model is linearised once for all rows

        return vmap(one)(rows)

    return rows_of


def linear_gaussian(
    model: Model | Conditional,
    params: Any,
    split: Any,
    key: Array,
    *,
    dtype: Any = 'float64',
    quiet: bool = True,
    kept: str | Path | None = None,
) -> Any:
    """log N(x; b + W m, W diag(s_0^2) W^T + diag(s^2)) and p(z|x), where E[x|z] = W z + b; nats.

    For a prior N(m, diag s_0^2) and a Gaussian p(x|z) of log_std s that does not depend on z (Tipping & Bishop 1999,
    section 3; the best diagonal q has the diagonal of the posterior's precision, Bishop 2006, eq. 10.12). W is the
    decoder's Jacobian. A LinearGaussian; of a population, a list of them. Raises Fault where prior or likelihood are of
    other families, W or s differ between two z, the split is empty, and (code 4) where a value is not finite.
    """
    check_real(model, params, split, key)
    p, _, p_x = shapes_of(model, params, split, key)
    for found, what in ((p, 'p(z)'), (p_x, 'p(x|z)')):
        if not isinstance(found, Normal):
            raise Fault(f'{what} is {type(found).__name__}, and only a Normal has exact answers here', 'use nll')
    what, block = f'exact log p(x){in_type(dtype)}', min(ROWS_OF_Z, len(split))
    with precision(dtype):
        told = over(_exact_rows(model, dtype), as_type(params, dtype), key, split, block, quiet, what, kept)
    dims, cell = dims_of(split, model), log_cell(split)
    return [_told(one, dims, cell) for one in told] if key.ndim else _told(told, dims, cell)


def _told(found: dict[str, np.ndarray], dims: int, cell: float) -> LinearGaussian:
    values = -finite(found['log_p'], 'log p(x)').astype(np.float64)
    limit = 1e-9 if found['log_p'].dtype == np.float64 else 1e-4
    if (off := float(np.max(found['off']))) > limit:
        raise Fault(f'the decoder is not affine in z: two points differ by {off:.1e} of its size', 'use nll or anneal')
    gap = Estimate(found['amortized'].astype(np.float64), dims) if 'amortized' in found else None
    best = Estimate(found['best'].astype(np.float64), dims)
    mean, covariance, log_std = (found[name] for name in ('mean', 'covariance', 'log_std'))
    return LinearGaussian(Estimate(values, dims, cell), mean, covariance, log_std, best, gap)

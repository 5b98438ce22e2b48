"""Functions of (model, params, split): estimates with standard errors, streamed over examples and samples.

Each is a function of one example, vmapped a few examples at a time; sums are made once, over the true number of
examples, so a ragged last block weighs what it should. Example i is always seen under fold_in(key, i).
"""

import math
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax, random, vmap
from jax.scipy.special import logsumexp

from vae_jax import bounds
from vae_jax.errors import NUMBERS, Fault
from vae_jax.models import Model

_ROWS = 1600  # decoder rows at a time: where two cores are fastest, and 5 MB for MNIST


class Estimate(NamedTuple):
    """A mean over examples: `values` [n] in nats, one an example; `dims` numbers an example; log_cell as in `nll`."""

    values: np.ndarray
    dims: int
    log_cell: float = 0.0

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def se(self) -> float:
        """Standard error of the mean over examples: std / sqrt(n); nan for one example."""
        n = len(self.values)
        return float(np.std(self.values, ddof=1) / math.sqrt(n)) if n > 1 else math.nan

    @property
    def bits_per_dim(self) -> float:
        """mean / (dims log 2), less log2 of a cell's width where x is a density over dequantized data."""
        return (self.mean / self.dims - self.log_cell) / math.log(2)

    @property
    def bits_per_dim_se(self) -> float:
        return self.se / (self.dims * math.log(2))

    def __str__(self) -> str:
        bits = f'{self.bits_per_dim:.4f} +- {self.bits_per_dim_se:.4f} bits/dim'
        return f'{self.mean:.3f} +- {self.se:.3f} nats, {bits}'


class NLL(NamedTuple):
    """-log p(x) by importance sampling: an upper bound in expectation, `effective` samples [n] beside each value."""

    estimate: Estimate
    effective: np.ndarray
    k: int

    def __str__(self) -> str:
        low, median = np.min(self.effective), np.median(self.effective)
        return f'{self.estimate}, {self.k} samples ({median:.0f} effective in the median, {low:.1f} at the least)'


class ELBO(NamedTuple):
    """One-sample ELBO of each example with its halves: elbo = -(distortion + rate), nats."""

    elbo: Estimate
    rate: Estimate
    distortion: Estimate

    def __str__(self) -> str:
        return f'ELBO {self.elbo} (rate {self.rate.mean:.3f}, distortion {self.distortion.mean:.3f})'


def _dims(split: Any) -> int:
    return math.prod(split.rows['x'].shape[1:])


def log_cell(split: Any) -> float:
    """log of the width that one stored level has in the model's units: -log levels for dequantized data, else 0."""
    return getattr(split.view, 'log_cell', 0.0)


def _bar(total: int, quiet: bool, what: str) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, disable=quiet, file=sys.stderr, unit='image', desc=what, mininterval=0.2)


def _blocks(split: Any, size: int, quiet: bool, what: str) -> Iterator[tuple[np.ndarray, int]]:
    """Row numbers i32[size], the last block filled with its last row, and how many of them count."""
    n = len(split)
    if n == 0:
        raise Fault('the split is empty', 'evaluate a split that has examples')
    with _bar(n, quiet, what) as bar:
        for start in range(0, n, size):
            count = min(size, n - start)
            yield np.minimum(np.arange(start, start + size), n - 1).astype(np.int32), count
            bar.update(count)


def _over(f: Callable[[np.ndarray], Any], split: Any, size: int, quiet: bool, what: str) -> Any:
    """f(rows i32[size]) -> arrays [size, ...] over the whole split: numpy arrays [n, ...]."""
    parts = [
        jax.tree.map(lambda a: np.asarray(a)[:count], f(rows)) for rows, count in _blocks(split, size, quiet, what)
    ]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def _view(split: Any, key: Array, row: Array) -> tuple[Array, Array]:
    """The x of one row, and a key of its own for the model."""
    view_key, model_key = random.split(random.fold_in(key, row))
    return split.view(view_key, split.rows['x'][row]), model_key


def _finite(values: np.ndarray, what: str) -> np.ndarray:
    if bad := int(np.sum(~np.isfinite(values))):
        raise Fault(f'{what} is not finite for {bad} of {len(values)} examples', 'the model has diverged', NUMBERS)
    return values


@partial(jax.jit, static_argnames=('model', 'samples', 'kl'))
def _elbo_rows(model: Model, samples: int, kl: Any, params: Any, key: Array, split: Any, rows: Array) -> bounds.Terms:
    def one(row: Array) -> bounds.Terms:
        x, model_key = _view(split, key, row)
        terms = vmap(lambda k: bounds.elbo_terms(model, params, k, x, kl))(random.split(model_key, samples))
        return jax.tree.map(lambda t: jnp.mean(t, 0), terms)

    return vmap(one)(rows)


def elbo_estimate(
    model: Model,
    params: Any,
    split: Any,
    key: Array,
    samples: int = 1,
    kl: Callable[..., Array] = bounds.closed_form,
    quiet: bool = True,
) -> ELBO:
    """Mean ELBO over a split with its rate and distortion, `samples` of z an example; nats.

    Raises Fault on an empty split and (code 4) where a value is not finite.
    """
    size = max(1, min(len(split), _ROWS // samples))
    terms = _over(lambda rows: _elbo_rows(model, samples, kl, params, key, split, rows), split, size, quiet, 'ELBO')
    rate, distortion = _finite(terms.rate, 'rate'), _finite(terms.distortion, 'distortion')
    dims, cell = _dims(split), log_cell(split)
    return ELBO(
        Estimate(-(rate.astype(np.float64) + distortion), dims, -cell),
        Estimate(rate.astype(np.float64), dims),
        Estimate(distortion.astype(np.float64), dims, cell),
    )


def log_p_streamed(model: Model, params: Any, key: Array, x: Any, k: int, rows: int) -> tuple[Array, Array]:
    """(log 1/k sum w, effective samples) of one example, `rows` samples of z at a time: memory does not grow with k."""
    q, count = model.encode(params, x), -(-k // rows)

    def block(carry: tuple[Array, Array], i: Array) -> tuple[tuple[Array, Array], None]:
        zs = vmap(q.sample)(random.split(random.fold_in(key, i), rows))
        log_w = vmap(lambda z: bounds.log_weight(model, params, q, z, x))(zs)
        log_w = jnp.where(i * rows + jnp.arange(rows) < k, log_w, -jnp.inf)
        first, second = carry
        return (jnp.logaddexp(first, logsumexp(log_w)), jnp.logaddexp(second, logsumexp(2 * log_w))), None

    start = (jnp.array(-jnp.inf, jnp.float32), jnp.array(-jnp.inf, jnp.float32))
    (first, second), _ = lax.scan(block, start, jnp.arange(count))
    return first - math.log(k), jnp.exp(2 * first - second)


@partial(jax.jit, static_argnames=('model', 'k', 'rows_of_z'))
def _nll_rows(model: Model, k: int, rows_of_z: int, params: Any, key: Array, split: Any, rows: Array) -> Any:
    def one(row: Array) -> tuple[Array, Array]:
        x, model_key = _view(split, key, row)
        return log_p_streamed(model, params, model_key, x, k, rows_of_z)

    return vmap(one)(rows)


def nll(model: Model, params: Any, split: Any, key: Array, k: int = 5000, quiet: bool = True) -> NLL:
    """-log p(x) of each example, -log 1/k sum_i p(x, z_i) / q(z_i|x): importance sampling (Burda et al. 2015), nats.

    Streams over examples and samples: about 1,600 decoder rows are alive at a time, whatever n and k are. For
    dequantized data it is the density's, and bits/dim those of the pixels. Raises Fault on k < 1, an empty split, and
    (code 4) on values that are not finite.
    """
    if k < 1:
        raise Fault(f'k is {k}, expected 1 or more samples', 'pass k=5000')
    rows_of_z = min(k, 200)
    size = max(1, min(len(split), _ROWS // rows_of_z))
    log_p, effective = _over(
        lambda rows: _nll_rows(model, k, rows_of_z, params, key, split, rows), split, size, quiet, f'log p(x), k={k}'
    )
    values = -_finite(log_p, 'log p(x)').astype(np.float64)
    return NLL(Estimate(values, _dims(split), log_cell(split)), effective, k)


@partial(jax.jit, static_argnames='model')
def _code_rows(model: Model, params: Any, key: Array, split: Any, rows: Array) -> dict[str, Array]:
    def one(row: Array) -> dict[str, Array]:
        q = model.encode(params, _view(split, key, row)[0])
        return {'mean': q.mean, 'log_std': q.log_std}

    return vmap(one)(rows)


def encode(
    model: Model, params: Any, split: Any, key: Array | None = None, quiet: bool = True
) -> dict[str, np.ndarray]:
    """Codes of a split: mean and log_std [n, latent] of q(z|x), `index` [n], and the rows' other columns (labels)."""
    key = random.key(0) if key is None else key
    size = min(len(split), _ROWS) or 1
    codes = _over(lambda rows: _code_rows(model, params, key, split, rows), split, size, quiet, 'encoding')
    columns = {name: np.asarray(column) for name, column in split.rows.items() if name != 'x'}
    return {**codes, 'index': np.arange(len(split)), **columns}


def rate_per_dim(codes: dict[str, np.ndarray]) -> np.ndarray:
    """KL(q(z_i|x) || N(0, 1)) [latent] of Gaussian codes, mean over examples; nats. Near 0 the dimension is unused."""
    mean, log_std = codes['mean'].astype(np.float64), codes['log_std'].astype(np.float64)
    return np.mean(0.5 * (np.expm1(2 * log_std) + mean**2) - log_std, 0)


def view_rows(split: Any, key: Array, rows: Any) -> Array:
    """x of the given rows as the model sees them, [n, *shape]."""
    return vmap(lambda row: _view(split, key, row)[0])(jnp.asarray(rows))


@partial(jax.jit, static_argnames=('model', 'n'))
def sample(model: Model, params: Any, key: Array, n: int) -> Array:
    """n draws x ~ p(x|z), z ~ p(z): [n, *shape]."""

    def one(key: Array) -> Array:
        a, b = random.split(key)
        return model.decode(params, model.prior(params).sample(a)).sample(b)

    return vmap(one)(random.split(key, n))


@partial(jax.jit, static_argnames=('model', 'n'))
def sample_means(model: Model, params: Any, key: Array, n: int) -> Array:
    """n means E[x|z], z ~ p(z): [n, *shape]. The usual picture; it has less noise than a sample of x has."""
    one = lambda key: model.decode(params, model.prior(params).sample(key)).mean
    return vmap(one)(random.split(key, n))


@partial(jax.jit, static_argnames='model')
def reconstruct(model: Model, params: Any, xs: Array) -> Array:
    """E[x'|z] at the mean z of q(z|x), for xs [n, *shape]."""
    return vmap(lambda x: model.decode(params, model.encode(params, x).mean).mean)(xs)


@partial(jax.jit, static_argnames=('model', 'steps'))
def interpolate(model: Model, params: Any, starts: Array, ends: Array, steps: int = 9) -> Array:
    """E[x|z] on straight lines between the mean codes of starts and ends [n, *shape]: [n, steps, *shape]."""

    def one(a: Array, b: Array) -> Array:
        za, zb = model.encode(params, a).mean, model.encode(params, b).mean
        return vmap(lambda t: model.decode(params, (1 - t) * za + t * zb).mean)(jnp.linspace(0, 1, steps))

    return vmap(one)(starts, ends)


@partial(jax.jit, static_argnames=('model', 'side'))
def manifold(model: Model, params: Any, side: int = 15) -> Array:
    """E[x|z] on the [side, side] grid of standard normal quantiles of a two-dimensional latent: [side, side, *shape].

    (Kingma & Welling 2013, figure 4.) Raises Fault where z has another size.
    """
    z = jax.eval_shape(lambda: model.prior(params).sample(random.key(0)))
    if z.shape != (2,):
        raise Fault(f'the manifold needs a latent of 2, found {z.shape}', 'train with --latent 2')
    ticks = jax.scipy.stats.norm.ppf((jnp.arange(side) + 0.5) / side)
    return vmap(lambda y: vmap(lambda x: model.decode(params, jnp.stack([x, -y])).mean)(ticks))(ticks)

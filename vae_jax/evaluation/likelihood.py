"""ELBO and -log p(x) of a split, with standard errors."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax, random, vmap
from jax.scipy.special import logsumexp

from vae_jax import bounds
from vae_jax.errors import Fault
from vae_jax.evaluation.streaming import ROWS, Rows, dims_of, example, finite, log_cell, over
from vae_jax.models import Conditional, Model


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


@cache
def _elbo_rows(model: Model | Conditional, samples: int, kl: Any) -> Rows:
    def rows_of(member: tuple[Any, Array], shared: tuple[Any, Array]) -> bounds.Terms:
        (params, key), (split, rows) = member, shared

        def one(row: Array) -> bounds.Terms:
            of_row, x, model_key = example(model, split, key, row)
            terms = vmap(lambda k: bounds.sampled_terms(of_row, params, k, x, kl))(random.split(model_key, samples))
            return jax.tree.map(lambda t: jnp.mean(t, 0), terms)

        return vmap(one)(rows)

    return rows_of


def elbo_estimate(
    model: Model | Conditional,
    params: Any,
    split: Any,
    key: Array,
    samples: int = 1,
    kl: Callable[..., Array] = bounds.closed_form,
    quiet: bool = True,
) -> Any:
    """Mean ELBO over a split with its rate and distortion, `samples` of z an example; nats. Of a Conditional, given c.

    An ELBO; of the members of a population, params [m, ...] and keys [m], a list of m. Raises Fault on an empty split
    and (code 4) where a value is not finite.
    """
    size = max(1, min(len(split), ROWS // samples))
    found = over(_elbo_rows(model, samples, kl), params, key, split, size, quiet, 'ELBO')
    dims = dims_of(split, model)
    return [_elbo(terms, split, dims) for terms in found] if key.ndim else _elbo(found, split, dims)


def _elbo(terms: bounds.Terms, split: Any, dims: int) -> ELBO:
    rate, distortion = (finite(getattr(terms, half), half).astype(np.float64) for half in ('rate', 'distortion'))
    cell = log_cell(split)
    return ELBO(Estimate(-(rate + distortion), dims, -cell), Estimate(rate, dims), Estimate(distortion, dims, cell))


def log_p_streamed(model: Model, params: Any, key: Array, x: Any, k: int, rows: int) -> tuple[Array, Array]:
    """(log 1/k sum w, effective samples) of one example, `rows` samples of z at a time: memory does not grow with k."""
    # the prior is made outside of the loop: that of pseudo-inputs or a flow has networks of its own
    q, p, count = model.encode(params, x), model.prior(params), -(-k // rows)

    def block(carry: tuple[Array, Array], i: Array) -> tuple[tuple[Array, Array], None]:
        keys = random.split(random.fold_in(key, i), rows)
        log_w = vmap(lambda key: bounds.sampled_weight(model, params, q, p, key, x))(keys)
        log_w = jnp.where(i * rows + jnp.arange(rows) < k, log_w, -jnp.inf)
        first, second = carry
        return (jnp.logaddexp(first, logsumexp(log_w)), jnp.logaddexp(second, logsumexp(2 * log_w))), None

    dtype = jax.eval_shape(lambda: bounds.sampled_weight(model, params, q, p, key, x)).dtype
    start = (jnp.array(-jnp.inf, dtype), jnp.array(-jnp.inf, dtype))
    (first, second), _ = lax.scan(block, start, jnp.arange(count))
    return first - math.log(k), jnp.exp(2 * first - second)


@cache
def _nll_rows(model: Model | Conditional, k: int, rows_of_z: int) -> Rows:
    def rows_of(member: tuple[Any, Array], shared: tuple[Any, Array]) -> tuple[Array, Array]:
        (params, key), (split, rows) = member, shared

        def one(row: Array) -> tuple[Array, Array]:
            of_row, x, model_key = example(model, split, key, row)
            return log_p_streamed(of_row, params, model_key, x, k, rows_of_z)

        return vmap(one)(rows)

    return rows_of


def nll(model: Model | Conditional, params: Any, split: Any, key: Array, k: int = 5000, quiet: bool = True) -> Any:
    """-log p(x) of each example, -log 1/k sum_i p(x, z_i) / q(z_i|x): importance sampling (Burda et al. 2015), nats.

    Of a Conditional -log p(x|c). An NLL; of the members of a population, params [m, ...] and keys [m], a list of m.
    Streams over examples and samples: about 1,600 decoder rows are alive at a time, whatever n and k are. For
    dequantized data it is the density's, and bits/dim those of the pixels. Raises Fault on k < 1, an empty split, and
    (code 4) on values that are not finite.
    """
    if k < 1:
        raise Fault(f'k is {k}, expected 1 or more samples', 'pass k=5000')
    rows_of_z = min(k, 200)
    size = max(1, min(len(split), ROWS // rows_of_z))
    found = over(_nll_rows(model, k, rows_of_z), params, key, split, size, quiet, f'log p(x), k={k}')
    dims = dims_of(split, model)
    return [_nll(one, k, split, dims) for one in found] if key.ndim else _nll(found, k, split, dims)


def _nll(found: tuple[np.ndarray, np.ndarray], k: int, split: Any, dims: int) -> NLL:
    log_p, effective = found
    values = -finite(log_p, 'log p(x)').astype(np.float64)
    return NLL(Estimate(values, dims, log_cell(split)), effective, k)

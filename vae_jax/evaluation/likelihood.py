"""ELBO and -log p(x) of a split, with standard errors."""

import math
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, random, vmap

from vae_jax import bounds
from vae_jax.evaluation.checks import counted, in_type, split_and_key
from vae_jax.evaluation.streaming import Rows, at_a_time, dims_of, example, finite, log_cell, over
from vae_jax.evaluation.weights import as_type, check_densities, precision, weights_streamed
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


FEW, FEW_IN_THE_MEDIAN = 2, 10  # effective samples below which weights say little


class NLL(NamedTuple):
    """-log p(x) by importance sampling: an upper bound in expectation, `effective` samples [n] beside each value."""

    estimate: Estimate
    effective: np.ndarray
    k: int

    @property
    def note(self) -> str:
        """What is to be said of too few effective samples, below 2 of an example or 10 in the median; else empty."""
        few = int(np.sum(self.effective < FEW))
        if not few and np.median(self.effective) >= FEW_IN_THE_MEDIAN:
            return ''
        if not few:
            return f'; note: {np.median(self.effective):.1f} effective samples in the median are few: raise k'
        return f'; note: {few} of {len(self.effective)} examples have fewer than {FEW} effective samples: raise k'

    def __str__(self) -> str:
        low, median = np.min(self.effective), np.median(self.effective)
        told = f'{self.k} samples ({median:.0f} effective in the median, {low:.1f} at the least)'
        return f'{self.estimate}, {told}{self.note}'


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
    kept: str | Path | None = None,
) -> Any:
    """Mean ELBO over a split with its rate and distortion, `samples` of z an example; nats. Of a Conditional, given c.

    An ELBO; of the members of a population, params [m, ...] and keys [m], a list of m. `kept` as in `nll`. Raises Fault
    on samples < 1, an empty split, x that the model cannot take and (code 4) where a value is not finite.
    """
    split_and_key(split, key)
    size = at_a_time(split, samples := counted('samples', samples))
    what = f'ELBO, {samples} samples' if samples > 1 else 'ELBO'
    told = what if kept is None else f'{what}, {getattr(kl, "__name__", kl)}'
    found = over(_elbo_rows(model, samples, kl), params, key, split, size, quiet, told, kept)
    dims = dims_of(split, model)
    return [_elbo(terms, split, dims) for terms in found] if key.ndim else _elbo(found, split, dims)


def _elbo(terms: bounds.Terms, split: Any, dims: int) -> ELBO:
    rate, distortion = (finite(getattr(terms, half), half).astype(np.float64) for half in ('rate', 'distortion'))
    cell = log_cell(split)
    return ELBO(Estimate(-(rate + distortion), dims, -cell), Estimate(rate, dims), Estimate(distortion, dims, cell))


def log_p_streamed(model: Model, params: Any, key: Array, x: Any, k: int, rows: int) -> tuple[Array, Array]:
    """(log 1/k sum w, effective samples) of one example, `rows` samples of z at a time: memory does not grow with k."""
    # the prior is made outside of the loop: that of pseudo-inputs or a flow has networks of its own
    q, p = model.encode(params, x), model.prior(params)
    found = weights_streamed(lambda key: bounds.sampled_weight(model, params, q, p, key, x), key, k, rows)
    return found.log_mean, found.effective


@cache
def _nll_rows(model: Model | Conditional, k: int, rows_of_z: int, dtype: Any = None) -> Rows:
    def rows_of(member: tuple[Any, Array], shared: tuple[Any, Array]) -> tuple[Array, Array]:
        (params, key), (split, rows) = member, shared

        def one(row: Array) -> tuple[Array, Array]:
            of_row, x, model_key = example(model, split, key, row)
            return log_p_streamed(of_row, params, model_key, as_type(x, dtype), k, rows_of_z)

        return vmap(one)(rows)

    return rows_of


def nll(
    model: Model | Conditional,
    params: Any,
    split: Any,
    key: Array,
    k: int = 5000,
    quiet: bool = True,
    *,
    dtype: Any = None,
    kept: str | Path | None = None,
) -> Any:
    """-log p(x) of each example, -log 1/k sum_i p(x, z_i) / q(z_i|x): importance sampling (Burda et al. 2015), nats.

    Of a Conditional -log p(x|c). An NLL; of the members of a population, params [m, ...] and keys [m], a list of m.
    Streams over examples and samples: about 1,600 decoder rows are alive at a time, whatever n and k are. For
    dequantized data it is the density's, and bits/dim those of the pixels. What is done lies in the folder `kept`, and
    a second call goes on behind it. dtype='float64' computes with params and x in that, where the networks let it
    (their own dtype= wins), with other draws; float32 and its running sums are within 1e-5 nats of it for log w near
    100. With quiet=False too few effective samples are told on stderr. Raises Fault on k < 1, an empty split, x that
    the model cannot take, a model without a density, and (code 4) on values that are not finite.
    """
    split_and_key(split, key)
    k = counted('k', k)
    if len(split):
        check_densities(model, params, split, key)
    rows_of_z = min(k, 200)
    size = at_a_time(split, rows_of_z)
    what = f'log p(x), k={k}{in_type(dtype)}'
    with precision(dtype):
        rows = _nll_rows(model, k, rows_of_z, dtype)
        found = over(rows, as_type(params, dtype), key, split, size, quiet, what, kept)
    dims = dims_of(split, model)
    each = [_nll(one, k, split, dims) for one in (found if key.ndim else [found])]
    for note in dict.fromkeys(one.note for one in each if one.note and not quiet):
        print(note.removeprefix('; '), file=sys.stderr)
    return each if key.ndim else each[0]


def _nll(found: tuple[np.ndarray, np.ndarray], k: int, split: Any, dims: int) -> NLL:
    log_p, effective = found
    values = -finite(log_p, 'log p(x)').astype(np.float64)
    return NLL(Estimate(values, dims, log_cell(split)), effective, k)

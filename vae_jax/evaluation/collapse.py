"""Whether a model uses its z, in words: what was found, what it means, what helps."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array, vmap

from vae_jax.distributions import Normal
from vae_jax.distributions.chain import exact_kl
from vae_jax.errors import NUMBERS, Fault
from vae_jax.evaluation.aggregate import Aggregate, Rates, aggregate_posterior, rates_by_dimension
from vae_jax.evaluation.checks import split_and_key
from vae_jax.evaluation.codes import active_units, encode
from vae_jax.evaluation.likelihood import Estimate
from vae_jax.evaluation.streaming import Rows, at_a_time, dims_of, example, finite, over
from vae_jax.evaluation.weights import check_densities
from vae_jax.models import Conditional, Model
from vae_jax.models.layers import layer_rates

LITTLE = 0.1  # nats: below it a rate, that of a layer or an information counts as none
VARIANCE = 0.01  # of E[z|x] over examples, above which a dimension is active (Burda et al. 2015)
MENDS = 'fix: let beta rise from 0 (warm-up), allow free bits, or make the decoder weaker'


class Collapse(NamedTuple):
    """What z is used for; nats, and None where a model has no such thing.

    rate over examples; layers [L, the top first], one Estimate each; by_dimension of Gaussians; `active` of `dims`
    dimensions; spent: information and the distance of q(z) from the prior. `findings` are sentences.
    """

    rate: Estimate
    layers: list[Estimate]
    by_dimension: Rates | None
    active: int | None
    dims: int
    spent: Aggregate | None
    findings: list[str]

    @property
    def collapsed(self) -> bool:
        """Whether z as a whole tells nothing of x: a rate, or an information, below 0.1 nats."""
        return self.rate.mean < LITTLE or (self.spent is not None and self.spent.information.mean < LITTLE)

    def __str__(self) -> str:
        return ' '.join(self.findings)


def _exact_or_sampled(q: Any, p: Any, z: Any, log_q: Array) -> Array:
    try:
        return exact_kl(q, p, z, log_q)
    except Fault:  # of a pair of families without a formula
        return log_q - p.log_prob(z)


@cache
def _layer_rows(model: Model | Conditional) -> Rows:
    def rows_of(member: tuple[Any, Array], shared: tuple[Any, Array]) -> Array:
        (params, key), (split, rows) = member, shared

        def one(row: Array) -> Array:
            of_row, x, model_key = example(model, split, key, row)
            return layer_rates(of_row, params, model_key, x, _exact_or_sampled)

        return vmap(one)(rows)

    return rows_of


def collapse_report(
    model: Model | Conditional,
    params: Any,
    split: Any,
    key: Array,
    *,
    draws: int = 512,
    quiet: bool = True,
    kept: str | Path | None = None,
) -> Any:
    """Rate, rates of layers and dimensions, active units, information and KL(q(z) || p(z)) of a split, and their sense.

    `draws` are those of `aggregate_posterior`. A Collapse, whose words are sentences; of the members of a population,
    params [m, ...] and keys [m], a list of m. Raises Fault on fewer than two examples, on a model whose z has no
    density (a plain autoencoder), and (code 4) on values that are not finite.
    """
    split_and_key(split, key)
    if key.ndim:
        each = [jax.tree.map(lambda leaf, i=i: leaf[i], params) for i in range(key.size)]
        asked: dict[str, Any] = {'draws': draws, 'quiet': quiet, 'kept': kept}
        return [collapse_report(model, one, split, k, **asked) for one, k in zip(each, key)]
    if len(split) < 2:
        raise Fault(f'the split has {len(split)} examples, whether z differs takes two', 'evaluate a larger split')
    p, q, _ = check_densities(model, params, split, key)
    size = at_a_time(split)
    rates = over(_layer_rows(model), params, key, split, size, quiet, 'rate by layer', kept)
    finite(rates.sum(1), 'the rate')
    rates, x_dims = rates.astype(np.float64), dims_of(split, model)
    layers = [Estimate(column, x_dims) for column in rates.T]
    real = getattr(q, 'support', None) == Normal.support
    asked = {'quiet': quiet, 'kept': kept}
    spent, why = _or_why(aggregate_posterior, model, params, split, key, draws=draws, **asked)
    by_dimension, _ = _or_why(rates_by_dimension, model, params, split, key, **asked)
    codes = encode(model, params, split, key, quiet) if real else None
    dims = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda p, k: p.sample(k), p, jax.random.key(0))))
    found = Collapse(
        Estimate(rates.sum(1), x_dims),
        layers,
        by_dimension,
        None if codes is None else active_units(codes, VARIANCE),
        dims,
        spent,
        [],
    )
    alone = None if codes is None else np.var(codes['mean'].astype(np.float64), axis=0, ddof=1) <= VARIANCE
    return found._replace(findings=_findings(found, alone, why))


def _or_why(f: Any, *args: Any, **options: Any) -> tuple[Any, str]:
    """What f finds, or why there is nothing to find: a Fault of the numbers is one all the same."""
    try:
        return f(*args, **options), ''
    except Fault as fault:
        if fault.code == NUMBERS:
            raise
        return None, fault.what


def _findings(found: Collapse, idle: np.ndarray | None, why: str) -> list[str]:
    rate, spent, told = found.rate.mean, found.spent, []
    if rate < LITTLE:
        told.append(f'The rate of {rate:.2g} nats says that the decoder ignores z; {MENDS}.')
    elif found.collapsed and spent is not None:
        told.append(
            f'The rate is {rate:.2f} nats, but z tells {max(spent.information.mean, 0):.2g} nats of x: q(z|x) is the '
            f'same for all x, away from the prior; {MENDS}.'
        )
    if found.active is not None:
        could = 0 < found.active < found.dims
        rest = ': the others could be left out' if could else ''
        told.append(f'{found.active} of {found.dims} dimensions are active{rest}.')
    if not found.collapsed:
        troubles = [*_of_layers(found.layers), *_of_idle(found, idle)]
        told += [*troubles, *([_of_information(spent)] if spent is not None else [])]
        if not troubles and found.active in (None, found.dims):
            told.append('No sign of collapse.')
    if why:
        told.append(f'Information was not estimated: {why}.')
    return told


def _of_layers(layers: list[Estimate]) -> list[str]:
    unused = [i for i, one in enumerate(layers) if one.mean < LITTLE]
    return [
        f'Layer {i + 1} of {len(layers)}, counted from the top, has a rate of {max(layers[i].mean, 0):.2g} nats: it is '
        'not used; fix: free bits for each layer, or warm-up.'
        for i in (unused if len(layers) > 1 else [])
    ]


def _of_idle(found: Collapse, idle: np.ndarray | None) -> list[str]:
    if idle is None or found.by_dimension is None:
        return []
    costly = idle & (found.by_dimension.mean >= LITTLE)
    cost = found.by_dimension.mean[costly].sum()
    return [f'{costly.sum()} that are not active cost {cost:.2f} nats: they only miss the prior.'] if cost else []


def _of_information(spent: Aggregate) -> str:
    information, marginal = spent.information.mean, spent.marginal_kl.mean
    if spent.at_ceiling:
        return (
            f'z tells {information:.2f} nats or more of x: {spent.n} examples cannot show more than '
            f'{spent.ceiling:.2f}, log n.'
        )
    told = f'z tells {information:.2f} nats of x, and {marginal:.2f} are the distance of q(z) from the prior'
    return f'{told}{"; fix: a learned prior (vampprior, a flow)" if marginal > information else ""}.'

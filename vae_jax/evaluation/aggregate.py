"""What the rate is spent on: information, and the distance of all codes together from the prior; rates by dimension."""

import math
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, random, vmap
from scipy.special import logsumexp

from vae_jax import placement
from vae_jax.distributions import Normal
from vae_jax.distributions.chain import as_chain
from vae_jax.errors import Fault
from vae_jax.evaluation.checks import counted, split_and_key
from vae_jax.evaluation.likelihood import Estimate
from vae_jax.evaluation.streaming import ROWS, Rows, at_a_time, block, blocks, dims_of, example, finite, over
from vae_jax.evaluation.weights import check_densities
from vae_jax.models import Conditional, Model
from vae_jax.models.flows import Contextual

GROUP = 256  # draws whose densities under n codes are held at a time: 10 MB for 10,000 codes


class Aggregate(NamedTuple):
    """rate = information + marginal_kl, nats: I_q(x; z), and KL(q(z) || p(z)) of q(z) = 1/n sum_i q(z|x_i).

    One value a draw of z ~ q(z), so that `se` is over draws. (Hoffman & Johnson 2016, section 2.)
    """

    information: Estimate
    marginal_kl: Estimate
    rate: Estimate
    n: int

    @property
    def ceiling(self) -> float:
        """log n: n codes hold no more information, nats."""
        return math.log(self.n)

    @property
    def at_ceiling(self) -> bool:
        """Information within a nat of log n: more data may hold more of it, and have a lower marginal_kl."""
        return self.information.mean > self.ceiling - 1

    def __str__(self) -> str:
        parts = (('information', self.information), ('KL(q(z) || p(z))', self.marginal_kl))
        told = ', '.join(f'{name} {one.mean:.3f} +- {one.se:.3f}' for name, one in parts)
        told = f'rate {self.rate.mean:.3f} +- {self.rate.se:.3f} nats: {told}'
        if not self.at_ceiling:
            return told
        return f'{told}; note: {self.n} codes hold at most log n = {self.ceiling:.2f} nats, so it may be more: raise n'


@cache
def _drawn(model: Model | Conditional) -> Rows:
    def rows_of(member: tuple[Any, Array], shared: tuple[Any, Array, Array, Array]) -> tuple[Any, ...]:
        (params, key), (split, rows, others, keys) = member, shared

        def one(row: Array, other: Array, draw_key: Array) -> tuple[Any, ...]:
            of_row, x, _ = example(model, split, key, row)
            z, log_q = of_row.encode(params, x).sample_and_log_prob(draw_key)
            of_other = example(model, split, key, other)[0] if isinstance(model, Conditional) else of_row
            return z, log_q, of_row.prior(params).log_prob(z), of_other.prior(params).log_prob(z)

        return vmap(one)(rows, others, keys)

    return rows_of


@cache
def _density_rows(model: Model | Conditional) -> Rows:
    def rows_of(member: tuple[Any, Array], shared: tuple[Any, Array]) -> Array:
        ((params, zs), key), (split, rows) = member, shared

        def one(row: Array) -> Array:
            of_row, x, _ = example(model, split, key, row)
            return vmap(of_row.encode(params, x).log_prob)(zs)

        return vmap(one)(rows)

    return rows_of


def aggregate_posterior(
    model: Model | Conditional,
    params: Any,
    split: Any,
    key: Array,
    *,
    draws: int = 1024,
    quiet: bool = True,
    kept: str | Path | None = None,
) -> Any:
    """I_q(x; z) = E log q(z|x) / q(z) and KL(q(z) || p(z)) = E log q(z) / p(z), all n codes of the split in q(z).

    z ~ q(z) as often as `draws`; any q with log_prob, any prior. Of a Conditional x is (x, c). An Aggregate; of the
    members of a population, params [m, ...] and keys [m], a list of m. Raises Fault on draws < 2, an empty split, a
    q that is a point or has no density of a given z (a flow without inverse), a prior that depends on c, and (code 4)
    on values that are not finite.
    """
    split_and_key(split, key)
    if (draws := counted('draws', draws, 0)) < 2:
        raise Fault(f'{draws} draws have no standard error', 'pass draws=1024')
    if key.ndim:
        each = [jax.tree.map(lambda leaf, i=i: leaf[i], params) for i in range(key.size)]
        asked: dict[str, Any] = {'draws': draws, 'quiet': quiet, 'kept': kept}
        return [aggregate_posterior(model, one, split, k, **asked) for one, k in zip(each, key)]
    next(blocks(split, 1, True, 'codes'))  # refuses a split without rows here
    _check(model, params, split, key)
    n, dims = len(split), dims_of(split, model)
    choose_key, other_key, draw_key = random.split(random.fold_in(key, n), 3)
    chosen, others = (random.randint(k, (draws,), 0, n) for k in (choose_key, other_key))
    keys, size, parts = random.split(draw_key, draws), max(1, min(n, 16 * ROWS // GROUP)), []
    for start in range(0, draws, GROUP):
        few = slice(start, start + GROUP)
        shared = (split, chosen[few], others[few], keys[few])
        zs, log_q, log_p, other = block(_drawn(model), placement.alone, (params, key), shared)
        log_q, log_p = (
            finite(np.asarray(a), 'a log-density of z', chosen[few]).astype(np.float64) for a in (log_q, log_p)
        )
        if not np.allclose(log_p, other, atol=1e-4, rtol=1e-4):
            raise Fault('p(z|c) depends on c, so that there is no one p(z)', 'evaluate the rate of each condition')
        under_all = over(_density_rows(model), (params, zs), key, split, size, quiet, f'log q(z), {draws} draws', kept)
        # a row may give no draw of any other a density, and log q(z|x) = -inf is no fault; nan is
        finite(np.maximum(under_all.max(1), 0.0), 'log q(z|x)')
        mixture = logsumexp(under_all.astype(np.float64), 0) - math.log(n)
        parts.append((log_q - mixture, mixture - log_p, log_q - log_p))
    information, marginal, rate = (Estimate(np.concatenate(each), dims) for each in zip(*parts))
    return Aggregate(information, marginal, rate, n)


def _check(model: Model | Conditional, params: Any, split: Any, key: Array) -> None:
    p, q, _ = check_densities(model, params, split, key)
    try:
        jax.eval_shape(lambda q, key: q.log_prob(q.sample(key)), q, key)
        jax.eval_shape(lambda p, q, key: p.log_prob(q.sample(key)), p, q, key)
    except Fault as fault:
        raise Fault(
            f'q(z) needs densities of any z: {fault.what}', 'use a posterior whose flow has an inverse'
        ) from None


class Rates(NamedTuple):
    """KL of each dimension of z, mean [d] over examples and its standard error [d]; nats."""

    mean: np.ndarray
    se: np.ndarray

    def __str__(self) -> str:
        largest = np.argsort(-self.mean)[:3]
        told = ', '.join(f'{self.mean[i]:.3f} +- {self.se[i]:.3f} (z{i})' for i in largest)
        return f'rate {np.sum(self.mean):.3f} nats over {len(self.mean)} dimensions, the largest {told}'


def _gaussians(q: Any, p: Any, key: Array) -> list[tuple[Normal, Normal]]:
    """(q_i, p_i) of each layer of z, given the layers before it at a draw. Raises Fault where one is no Normal."""
    q, p = as_chain(q), as_chain(p)
    z, layers, _ = q.draws(key)
    whole = len(q.links) == len(p.links)
    under = p.layers(z if whole else z[:1]) if whole else ()
    pairs = [(one.base if isinstance(one, Contextual) else one, other) for one, other in zip(layers, under)]
    plain = all(isinstance(one, Normal) for pair in pairs for one in pair)
    if not pairs or not plain or not all(p.before(i) <= q.before(i) for i in range(len(pairs))):
        found = ' and '.join(sorted({type(one).__name__ for pair in pairs for one in pair})) or 'other layers'
        what = f'a rate for each dimension needs a Gaussian posterior and prior, independent over them; found {found}'
        raise Fault(what, 'take the rate as a whole, or that of each layer')
    return pairs


@cache
def _dimension_rows(model: Model | Conditional) -> Rows:
    def rows_of(member: tuple[Any, Array], shared: tuple[Any, Array]) -> Array:
        (params, key), (split, rows) = member, shared
        each = lambda q, p: vmap(lambda a, b, c, d: Normal(a, b).kl(Normal(c, d)))(
            *(jnp.ravel(leaf) for leaf in (q.mean, q.log_std, p.mean, p.log_std))
        )

        def one(row: Array) -> Array:
            of_row, x, model_key = example(model, split, key, row)
            pairs = _gaussians(of_row.encode(params, x), of_row.prior(params), model_key)
            return jnp.concatenate([each(q, p) for q, p in pairs])

        return vmap(one)(rows)

    return rows_of


def rates_by_dimension(
    model: Model | Conditional,
    params: Any,
    split: Any,
    key: Array,
    *,
    quiet: bool = True,
    kept: str | Path | None = None,
) -> Any:
    """KL(q(z_d|x) || p(z_d)) of each dimension of z, the layers of a hierarchy one after the other; nats.

    The prior is any Gaussian that is independent over dimensions, a learned one or one of c; that of a layer is given
    those above it at one draw. A Rates; of the members of a population a list of m. Raises Fault where posterior or
    prior is of another family, on an empty split, and (code 4) on values that are not finite.
    """
    split_and_key(split, key)
    size = at_a_time(split)
    found = over(_dimension_rows(model), params, key, split, size, quiet, 'rate by dimension', kept)
    told = [_rates(values) for values in (found if key.ndim else [found])]
    return told if key.ndim else told[0]


def _rates(values: np.ndarray) -> Rates:
    finite(values.sum(1), 'a rate')
    values, n = values.astype(np.float64), len(values)
    se = np.std(values, 0, ddof=1) / math.sqrt(n) if n > 1 else np.full(values.shape[1], math.nan)
    return Rates(values.mean(0), se)

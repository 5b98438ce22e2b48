"""Bidirectional Monte Carlo: log p(x) between two bounds, on x drawn from the model (Grosse et al. 2015, 2016)."""

import math
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax import Array, random, vmap
from jax.flatten_util import ravel_pytree
from jax.scipy.special import logsumexp

from vae_jax.evaluation.annealing import Annealed, Settings, anneal, check
from vae_jax.evaluation.chains import Schedule, Start, bridge_of, from_prior, run, sigmoid, step_sizes
from vae_jax.evaluation.checks import split_and_key
from vae_jax.evaluation.likelihood import Estimate
from vae_jax.evaluation.streaming import Rows, chained_at_a_time, dims_of, example, finite, log_cell, over
from vae_jax.models import Conditional, Model


class Sandwich(NamedTuple):
    """log p(x) of simulated x: forward <= log p(x) <= reverse in expectation, one value an example each; nats.

    gap = reverse - forward; acceptance [n, 2] of the transitions of either.
    """

    forward: Estimate
    reverse: Estimate
    gap: Estimate
    acceptance: np.ndarray
    chains: int
    steps: int

    def __str__(self) -> str:
        between = f'log p(x) of {len(self.gap.values)} simulated examples between {self.forward.mean:.3f} +- '
        between += f'{self.forward.se:.3f} and {self.reverse.mean:.3f} +- {self.reverse.se:.3f} nats'
        return f'{between}: gap {self.gap.mean:.3f} +- {self.gap.se:.3f}, {self.chains} chains of {self.steps} steps'


class Bracketed(NamedTuple):
    """AIS of real data, beside the sandwich of data that the same model drew, under the same settings.

    The gap bounds the error of AIS on simulated data; on real data it says how far to trust it as far as both are
    alike.
    """

    real: Annealed
    simulated: Sandwich

    def __str__(self) -> str:
        return f'-log p(x) {self.real}; on simulated data the gap is {self.simulated.gap.mean:.3f} nats'


@cache
def _rows(model: Model | Conditional, how: Settings) -> Rows:
    def rows_of(member: tuple[Any, Array], shared: tuple[Any, Array]) -> tuple[Array, Array, Array, Array]:
        (params, key), (split, rows) = member, shared

        def one(row: Array) -> tuple[Array, Array, Array, Array]:
            of_row, _, model_key = example(model, split, key, row)  # of a Conditional, given the c of this row
            keys = random.split(model_key, 6)
            z = of_row.prior(params).sample(keys[0])
            x = of_row.decode(params, z).sample(keys[1])
            bridge = bridge_of(of_row, params, x, how.start)
            sizes = step_sizes(bridge, keys[2], how.betas, how.leapfrog, how.pilot)
            zs = vmap(bridge.draw)(random.split(keys[3], how.chains))
            up, rose, _ = run(bridge, keys[4], zs, how.betas, sizes, how.leapfrog)
            # z is an exact draw of p(z|x): all chains back may begin at it, as each weight is unbiased by itself
            zs = vmap(lambda _: ravel_pytree(z)[0])(zs)
            down, fell, _ = run(bridge, keys[5], zs, how.betas[::-1], sizes[::-1], how.leapfrog)
            log_m = math.log(how.chains)
            return logsumexp(up) - log_m, log_m - logsumexp(down), rose, fell

        return vmap(one)(rows)

    return rows_of


def sandwich(
    model: Model | Conditional,
    params: Any,
    split: Any,
    key: Array,
    *,
    chains: int = 16,
    steps: int = 1000,
    schedule: Schedule = sigmoid,
    leapfrog: int = 10,
    start: Start = from_prior,
    pilot: int = 2,
    quiet: bool = True,
    kept: str | Path | None = None,
) -> Any:
    """log 1/M sum_m w_m <= log p(x) <= -log 1/M sum_m 1/w'_m in expectation, w' of chains run backwards; nats.

    For each row of the split z ~ p(z) and x ~ p(x|z) are drawn, of a Conditional given the c of that row; nothing else
    of it is used. The chains back begin at z, a draw of p(z|x), and take the transitions of the chains of `anneal` in
    the other order. (Grosse et al. 2016, section 3: E w = p(x), E 1/w' = 1/p(x).) A Sandwich; of the members of a
    population, a list of them. Arguments and Faults are those of `anneal`.
    """
    how = Settings(chains, steps, schedule, leapfrog, start, pilot)
    check(how, model, params, split, key)
    size = chained_at_a_time(split, chains)
    what = f'sandwich of {how.what(kept)}'
    found = over(_rows(model, how), params, key, split, size, quiet, what, kept)
    dims, cell = dims_of(split, model), log_cell(split)

    def told(one: tuple[np.ndarray, ...]) -> Sandwich:
        up, down = (finite(values, 'log p(x)').astype(np.float64) for values in one[:2])
        forward, reverse = Estimate(up, dims, -cell), Estimate(down, dims, -cell)
        return Sandwich(forward, reverse, Estimate(down - up, dims), np.stack(one[2:], 1), chains, steps)

    return [told(one) for one in found] if key.ndim else told(found)


def bracketed(model: Model | Conditional, params: Any, split: Any, key: Array, **options: Any) -> Any:
    """`anneal` of a split beside the `sandwich` of as many simulated examples: a Bracketed, or a list of a population.

    Options and Faults are those of both.
    """
    split_and_key(split, key)
    a, b = random.split(key) if not key.ndim else vmap(random.split, out_axes=1)(key)
    real, simulated = anneal(model, params, split, a, **options), sandwich(model, params, split, b, **options)
    return list(map(Bracketed, real, simulated)) if key.ndim else Bracketed(real, simulated)

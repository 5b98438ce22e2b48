"""Annealed importance sampling of log p(x) (Neal 2001)."""

import math
import zlib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax import Array, random, vmap
from jax.scipy.special import logsumexp

from vae_jax import bounds
from vae_jax.distributions import Normal, RelaxedBernoulli
from vae_jax.errors import Fault
from vae_jax.evaluation.chains import Schedule, Start, bridge_of, from_prior, run, sigmoid, step_sizes
from vae_jax.evaluation.checks import called, counted, split_and_key
from vae_jax.evaluation.likelihood import Estimate
from vae_jax.evaluation.streaming import Rows, chained_at_a_time, dims_of, example, finite, log_cell, over
from vae_jax.evaluation.weights import check_densities
from vae_jax.models import Conditional, Model


class Settings(NamedTuple):
    """Of the chains: how many, of how many temperatures by which schedule, and their transitions."""

    chains: int
    steps: int
    schedule: Schedule
    leapfrog: int
    start: Start
    pilot: int

    @property
    def betas(self) -> np.ndarray:
        return np.asarray(self.schedule(self.steps), np.float64)

    def what(self, kept: Any) -> str:
        """In words, for the progress bar; where parts are kept, with what tells two schedules and starts apart."""
        told = f'AIS, {self.chains} chains, {self.steps} steps'
        if kept is None:
            return told
        marks = f'{zlib.crc32(self.betas.tobytes()):08x}, {self.leapfrog} leapfrog, {self.pilot} pilot'
        return f'{told}, {marks}, {getattr(self.start, "__name__", self.start)}'


class Annealed(NamedTuple):
    """-log p(x) by annealed importance sampling, an upper bound in expectation: `estimate`, one value an example.

    effective [n]: how many of the chains the weights are worth; acceptance [n]: of the transitions, nan without any.
    """

    estimate: Estimate
    effective: np.ndarray
    acceptance: np.ndarray
    chains: int
    steps: int

    def __str__(self) -> str:
        worth = f'{np.median(self.effective):.1f} effective in the median'
        told = f'{self.chains} chains ({worth}) of {self.steps} steps, acceptance {np.mean(self.acceptance):.2f}'
        return f'{self.estimate}, AIS with {told}'


@cache
def _rows(model: Model | Conditional, how: Settings) -> Rows:
    def rows_of(member: tuple[Any, Array], shared: tuple[Any, Array]) -> tuple[Array, Array, Array]:
        (params, key), (split, rows) = member, shared

        def one(row: Array) -> tuple[Array, Array, Array]:
            of_row, x, model_key = example(model, split, key, row)
            bridge = bridge_of(of_row, params, x, how.start)
            a, b, c = random.split(model_key, 3)
            sizes = step_sizes(bridge, a, how.betas, how.leapfrog, how.pilot)
            zs = vmap(bridge.draw)(random.split(b, how.chains))
            log_w, accepted, _ = run(bridge, c, zs, how.betas, sizes, how.leapfrog)
            return logsumexp(log_w) - math.log(how.chains), bounds.effective_samples(log_w), accepted

        return vmap(one)(rows)

    return rows_of


def anneal(
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
    """-log p(x) of each example, -log 1/M sum_m w_m over M chains, E w = p(x) (Neal 2001; Wu et al. 2016); nats.

    T = `steps` temperatures with T - 1 transitions between: steps=1 is importance sampling from p_0 = `start`. HMC is
    blackjax's, `leapfrog` steps of a size that `pilot` other chains found for each example and temperature; as the
    chains themselves adapt nothing, their weights are exactly unbiased. z is any tree of real numbers, hierarchies
    too. An Annealed; of the members of a population, a list of them. `kept` as in `nll`. Raises Fault on counts < 1, a
    schedule that does not rise from 0 to 1, z without a density on R^d, an empty split, and (code 4) where a value is
    not finite.
    """
    how = Settings(chains, steps, schedule, leapfrog, start, pilot)
    check(how, model, params, split, key)
    size = chained_at_a_time(split, chains)
    found = over(_rows(model, how), params, key, split, size, quiet, how.what(kept), kept)
    dims = dims_of(split, model)

    def told(one: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Annealed:
        log_p, effective, acceptance = one
        values = -finite(log_p, 'log p(x)').astype(np.float64)
        return Annealed(Estimate(values, dims, log_cell(split)), effective, acceptance, chains, steps)

    return [told(one) for one in found] if key.ndim else told(found)


def is_real(distribution: Any) -> bool:
    """Whether it has a density over all of R^d, of z as one vector."""
    if hasattr(distribution, 'parts'):
        return all(is_real(part) for part in distribution.parts.values())
    return getattr(distribution, 'support', None) in (Normal.support, RelaxedBernoulli.support)


def check_real(model: Any, params: Any, split: Any, key: Array) -> None:
    """Raises Fault where p(z) or q(z|x) is no density over R^d: of codes, on a sphere, a point."""
    split_and_key(split, key)
    if not len(split):
        raise Fault('the split is empty', 'evaluate a split that has examples')
    p, q, _ = check_densities(model, params, split, key)
    for distribution, what in ((p, 'p(z)'), (q, 'q(z|x)')):
        if not is_real(distribution):
            support = getattr(distribution, 'support', 'something else')
            raise Fault(f'{what} is over {support}, and this needs z of any real numbers', 'use nll')


def check(how: Settings, model: Any, params: Any, split: Any, key: Array) -> None:
    """Raises Fault on settings that mean nothing, and as `check_real` does."""
    for name in ('chains', 'steps', 'leapfrog', 'pilot'):
        counted(name, getattr(how, name))
    called('schedule', how.schedule, 'evaluation.sigmoid')
    called('start', how.start, 'evaluation.from_prior')
    betas = how.betas
    rises = betas.shape == (how.steps + 1,) and np.all(np.diff(betas) > 0)
    if not rises or betas[0] != 0 or abs(betas[-1] - 1) > 1e-12:
        raise Fault(
            f'the schedule gives {betas.shape[0]} betas from {betas[0]:g} to {betas[-1]:g}',
            f'give {how.steps + 1} that rise from 0 to 1',
        )
    check_real(model, params, split, key)

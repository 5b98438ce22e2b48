"""What inference loses: to the family of q, and to the encoder that gives one q for each x."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array, random

from vae_jax.errors import Fault
from vae_jax.evaluation.checks import split_and_key
from vae_jax.evaluation.likelihood import Estimate
from vae_jax.evaluation.refined import Refined, Variational, diagonal, refine
from vae_jax.evaluation.streaming import dims_of, finite, log_cell
from vae_jax.models import Conditional, Model

LogP = Callable[[Model | Conditional, Any, Any, Array, Refined], Any]


class Gaps(NamedTuple):
    """log p(x), ELBO of the best q* of a family for each x, and of q(z|x); nats. (Cremer, Li & Duvenaud 2018, eq. 2.)

    The gaps are differences of each example, so that their `se` is that of pairs.
    """

    log_p: Estimate
    refined: Estimate
    elbo: Estimate

    @property
    def approximation(self) -> Estimate:
        """log p(x) - ELBO[q*] = KL(q* || p(z|x)): of the family."""
        return _less(self.log_p, self.refined)

    @property
    def amortization(self) -> Estimate:
        """ELBO[q*] - ELBO[q]: of the encoder."""
        return _less(self.refined, self.elbo)

    @property
    def inference(self) -> Estimate:
        """log p(x) - ELBO[q] = KL(q || p(z|x)): both together."""
        return _less(self.log_p, self.elbo)

    @property
    def note(self) -> str:
        """That the refined q is no better than where it began, or has a higher ELBO than log p(x); else empty."""
        if self.amortization.mean < -2 * self.amortization.se:
            return '; note: the refined q is worse than q(z|x): raise steps, or take its family'
        if self.approximation.mean < -2 * self.approximation.se:
            return '; note: log p(x) is below ELBO[q*]: raise k'
        return ''

    def __str__(self) -> str:
        named = ('inference', 'approximation', 'amortization')
        told = (f'{name} {getattr(self, name).mean:.3f} +- {getattr(self, name).se:.3f}' for name in named)
        whole, *parts = told
        bounds = f'log p(x) {self.log_p.mean:.3f}, ELBO[q*] {self.refined.mean:.3f}, ELBO[q] {self.elbo.mean:.3f}'
        return f'gap of {whole} = {" + ".join(parts)} nats ({bounds}){self.note}'


def _less(a: Estimate, b: Estimate) -> Estimate:
    return Estimate(a.values - b.values, a.dims)


def gaps_of(log_p: Any, refined: Any, elbo: Any, dims: int = 1, cell: float = 0.0) -> Gaps:
    """Gaps of three columns [n] of the same examples, however they were had; `cell` is their split's log_cell.

    Raises Fault on other shapes.
    """
    columns = [np.asarray(column, np.float64) for column in (log_p, refined, elbo)]
    if len({column.shape for column in columns}) > 1 or columns[0].ndim != 1:
        found = ', '.join(str(list(column.shape)) for column in columns)
        raise Fault(f'the columns have shapes {found}', 'give log p(x), ELBO[q*] and ELBO[q] of the same examples')
    return Gaps(*(Estimate(finite(column, 'a bound'), dims, -cell) for column in columns))


def importance(model: Model | Conditional, params: Any, split: Any, key: Array, refined: Refined) -> np.ndarray:
    """log p(x) [n] by the importance samples of the refined q: below it in expectation, nats."""
    return -refined.nll.estimate.values


def inference_gaps(
    model: Model | Conditional,
    params: Any,
    split: Any,
    key: Array,
    *,
    family: Variational = diagonal(),  # noqa: B008 - it is cached and equal to itself
    log_p: LogP = importance,
    steps: int = 300,
    lr: float = 0.02,
    samples: int = 8,
    k: int = 1000,
    quiet: bool = True,
    kept: str | Path | None = None,
) -> Any:
    """log p(x) - ELBO[q] = (log p(x) - ELBO[q*]) + (ELBO[q*] - ELBO[q]) of each example, q* `refine`d; nats.

    The gap of amortization is that of q(z|x) where the family is its own. `log_p(model, params, split, key, refined)`
    gives log p(x) [n]: `importance` samples of q*, annealed ones, exact values. What is too low in it is missing in the
    gap of approximation, and where `refine` has not ended that gap has what is missing of the other's. A Gaps; of the
    members of a population, params [m, ...] and keys [m], a list of m. Raises Fault as `refine` does.
    """
    asked: dict[str, Any] = {'family': family, 'steps': steps, 'lr': lr, 'samples': samples, 'k': k}
    asked |= {'quiet': quiet, 'kept': kept}
    split_and_key(split, key)
    if key.ndim:
        each = [jax.tree.map(lambda leaf, i=i: leaf[i], params) for i in range(key.size)]
        return [inference_gaps(model, one, split, k, log_p=log_p, **asked) for one, k in zip(each, key)]
    refine_key, density_key = random.split(key)
    found = refine(model, params, split, refine_key, **asked)
    values = log_p(model, params, split, density_key, found)
    return gaps_of(values, found.elbo.values, found.start.values, dims_of(split, model), log_cell(split))

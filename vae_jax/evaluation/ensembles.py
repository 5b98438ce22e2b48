"""The members of a population as one model, a mixture of equal parts: its -log p(x), and how far members disagree."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from scipy.special import logsumexp

from vae_jax.errors import Fault
from vae_jax.evaluation.likelihood import nll
from vae_jax.evaluation.scores import Score
from vae_jax.evaluation.streaming import seen, some
from vae_jax.models import Conditional, Model


class Ensemble(NamedTuple):
    """log p_j(x_i) [m, n] of m members and n examples, nats; the estimates are of -log p, so lower is better."""

    log_p: np.ndarray

    @property
    def nll(self) -> Score:
        """-log 1/m sum_j p_j(x) of each example."""
        return Score(math.log(len(self.log_p)) - logsumexp(self.log_p, 0))

    @property
    def members(self) -> list[Score]:
        """-log p_j(x) of each example, for each member."""
        return [Score(-one) for one in self.log_p]

    @property
    def gain(self) -> Score:
        """Nats that the ensemble's -log p is below the mean over members: never below zero (Jensen).

        With few importance samples a part of it is theirs, as m members have m times as many: what one member gains
        over itself under m keys is to be taken off.
        """
        return Score(-np.mean(self.log_p, 0) - self.nll.values)

    @property
    def disagreement(self) -> np.ndarray:
        """Variance over members of log p_j(x) [n], nats^2, unbiased: a score of outliers."""
        return np.var(self.log_p, 0, ddof=1)

    @property
    def waic(self) -> np.ndarray:
        """-(mean - variance over members of log p_j(x)) [n]: a score of outliers, the higher the less like the data.

        (Choi et al. 2018, eq. 3, with its sign turned.)
        """
        return self.disagreement - np.mean(self.log_p, 0)

    def __str__(self) -> str:
        low, high = (f(one.mean for one in self.members) for f in (min, max))
        return (
            f'-log p {self.nll} nats, {self.gain} below the mean of {len(self.log_p)} members ({low:.3f} to {high:.3f})'
        )


def ensemble(log_p: Any) -> Ensemble:
    """The ensemble of members whose log p_j(x_i) [m, n] are known.

    Raises Fault on fewer than two members, on no examples, and where a value is not finite.
    """
    log_p = np.asarray(log_p, np.float64)
    if log_p.ndim != 2 or len(log_p) < 2 or not log_p.shape[1]:
        found = f'log p of shape {list(log_p.shape)}, expected [members, examples], 2 members or more'
        raise Fault(found, 'train a population: --seeds 3')
    if not np.isfinite(log_p).all():
        bad = int(np.sum(~np.isfinite(log_p).all(1)))
        raise Fault(f'log p of {bad} of {len(log_p)} members is not finite', 'leave out members that diverged')
    return Ensemble(log_p)


def ensembled(
    model: Model | Conditional,
    params: Any,
    split: Any,
    keys: Array,
    *,
    k: int = 1000,
    quiet: bool = True,
    kept: Any = None,
) -> Ensemble:
    """log p_j(x) of each member of a population, params [m, ...] and keys [m], by importance sampling of k samples.

    Raises Fault where the keys are not those of two members or more, where members would see different x, and as `nll`
    does.
    """
    if keys.ndim != 1 or keys.size < 2:
        found = f'keys of shape {list(keys.shape)}, an ensemble has two members or more'
        raise Fault(found, 'stack the params of the members, [m, ...], and split a key into m')
    sizes = {leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(params)}
    if sizes - {keys.size}:
        raise Fault(f'{keys.size} keys beside params of {sorted(sizes)} members', 'give one key a member')
    first = some(split, min(len(split), 8))
    views = [jax.tree.leaves(seen(model, first, key)) for key in (keys[0], keys[1])]
    if any(not np.array_equal(a, b) for a, b in zip(*views)):
        found = 'x is drawn anew for each member (it is binarized or dequantized as it is seen)'
        raise Fault(found, 'evaluate the test split of binarized data, which is drawn once')
    found = nll(model, params, split, keys, k=k, quiet=quiet, kept=kept)
    return ensemble([-one.estimate.values for one in found])

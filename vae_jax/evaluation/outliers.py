"""Scores of how unlike the training data an example is, and how well they tell two splits apart."""

import math
import zlib
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from vae_jax.errors import Fault
from vae_jax.evaluation.likelihood import nll
from vae_jax.evaluation.streaming import seen
from vae_jax.models import Conditional, Model

BITS = math.log(2)


class AUROC(NamedTuple):
    """P(a score of an outlier > one of an inlier), ties a half, with DeLong's standard error; n of each.

    `se` is nan where all scores are on the right side of all others, or none, or all are equal: it is not known there.
    """

    value: float
    se: float
    n_inside: int
    n_outside: int

    @property
    def error(self) -> str:
        """The standard error in words."""
        return '+- unknown' if math.isnan(self.se) else f'+- {self.se:.4f}'

    def __str__(self) -> str:
        return f'AUROC {self.value:.4f} {self.error} ({self.n_outside} outliers, {self.n_inside} inliers)'


class Detection(NamedTuple):
    """AUROC of each score; `complexity` is -log p(x) less the nats that zlib takes, None where x is not in levels."""

    likelihood: AUROC
    typicality: AUROC
    complexity: AUROC | None

    def __str__(self) -> str:
        named = zip(self._fields, self)
        return ', '.join(f'{name} {found.value:.4f} {found.error}' for name, found in named if found)


def _scores(scores: Any, what: str, at_least: int = 1) -> np.ndarray:
    found = np.asarray(scores, np.float64)
    if found.ndim != 1 or len(found) < at_least or np.isnan(found).any():
        bad = f'scores of {what} have shape {list(found.shape)}, {int(np.isnan(found).sum())} of them nan'
        raise Fault(bad, f'give {at_least} or more numbers, one an example')
    return found


def auroc(inside: Any, outside: Any) -> AUROC:
    """P(outside > inside) + P(equal) / 2 over all pairs of scores [n], [m], the higher the less like the data.

    Its variance is var(V) / n + var(U) / m, V and U the share of the other set that each score is on the right side of
    (DeLong et al. 1988); where neither varies, as at 0 and 1, it tells nothing and the standard error is nan. Raises
    Fault on fewer than two of either and on nan.
    """
    from scipy.stats import rankdata

    inside, outside = _scores(inside, 'inliers', 2), _scores(outside, 'outliers', 2)
    n, m = len(inside), len(outside)
    ranks = rankdata(np.concatenate([inside, outside]))
    above = (ranks[n:] - rankdata(outside)) / n  # of each outlier: inliers below it
    below = 1 - (ranks[:n] - rankdata(inside)) / m  # of each inlier: outliers above it
    variance = np.var(below, ddof=1) / n + np.var(above, ddof=1) / m
    return AUROC(float(above.mean()), math.sqrt(variance) if variance > 0 else math.nan, n, m)


def likelihood_ratio(nll_values: Any, background: Any) -> np.ndarray:
    """-log p(x) + log p_0(x) [n] of two models' -log p: what the background explains too counts for nothing.

    (Ren et al. 2019, eq. 3: p_0 learned from perturbed data, or any broader data.)
    """
    ours, theirs = _scores(nll_values, 'the model'), _scores(background, 'the background')
    if ours.shape != theirs.shape:
        raise Fault(f'{len(ours)} scores beside {len(theirs)} of the background', 'score the same examples with both')
    return ours - theirs


def compressed(xs: Any, levels: int) -> np.ndarray:
    """Nats [n] that zlib takes for each x [*shape] of int levels; eight pixels a byte where there are two.

    A bound from above on the complexity of Serra et al. (2020), which is in bits. Raises Fault on other values.
    """
    xs = np.asarray(xs)
    if not 2 <= levels <= 256 or np.any(xs != np.rint(xs)) or xs.min(initial=0) < 0 or xs.max(initial=0) >= levels:
        raise Fault(f'zlib is given whole numbers below {levels}', 'pass x as it is stored, uint8, and its levels')
    flat = xs.reshape(len(xs), -1).astype(np.uint8)
    flat = np.packbits(flat, 1) if levels == 2 else flat
    return np.array([8 * len(zlib.compress(row.tobytes(), 9)) for row in flat]) * BITS


def less_complexity(nll_values: Any, complexity: Any) -> np.ndarray:
    """-log p(x) - L(x) [n], L the nats of a compressor: simple outliers are no longer likely ones (Serra et al. 2020).

    A likelihood ratio whose second model is the compressor.
    """
    return likelihood_ratio(nll_values, complexity)


def typicality(nll_values: Any, train_nll: Any) -> np.ndarray:
    """|-log p(x) - H| [n], H the mean -log p of training examples: too likely is unlike too (Nalisnick et al. 2019)."""
    return np.abs(_scores(nll_values, 'the examples') - _scores(train_nll, 'the training examples').mean())


def detected(inside: Any, outside: Any, train: Any, complexity: tuple[Any, Any] | None = None) -> Detection:
    """AUROC of -log p(x) [n], [m] of inliers and outliers, of its typicality, and of it less x's complexity.

    `train` is -log p(x) [t] of training examples, complexity in nats [n], [m] as `compressed` gives it. Raises Fault
    where an array is not one number an example.
    """
    scores = inside, outside
    return Detection(
        auroc(*scores),
        auroc(*(typicality(values, train) for values in scores)),
        auroc(*map(less_complexity, scores, complexity)) if complexity else None,
    )


def _levels(xs: Any, split: Any) -> tuple[np.ndarray, int] | None:
    """x as whole numbers, and how many levels it has: 2 where the view binarizes, else those stored; None of others."""
    if not isinstance(xs, np.ndarray) or split.levels is None:
        return None
    if np.isin(xs, (0.0, 1.0)).all():
        return xs, 2
    whole = xs * (split.levels - 1)
    return (np.rint(whole), split.levels) if np.allclose(whole, np.rint(whole), atol=1e-3) else None


def detection(
    model: Model | Conditional,
    params: Any,
    inside: Any,
    outside: Any,
    key: Array,
    *,
    train_nll: Any,
    k: int = 100,
    quiet: bool = True,
    kept: Any = None,
) -> Detection:
    """`detected` for the examples of two splits, complexity where x is seen in the same number of levels in both.

    -log p(x) by importance sampling of k samples; `train_nll` [t] that of some training examples, for typicality.
    Raises Fault as `nll` does, and where the two splits have other shapes.
    """
    if inside.shape != outside.shape:
        raise Fault(f'examples of {inside.shape} beside {outside.shape}', 'give splits of one shape')
    scores: list[np.ndarray] = []
    xs = []
    for split in (inside, outside):
        scores.append(nll(model, params, split, key, k=k, quiet=quiet, kept=kept).estimate.values)
        xs.append(_levels(seen(model, split, key), split))
    a, b = xs
    comparable = a is not None and b is not None and a[1] == b[1]
    nats = (compressed(*a), compressed(*b)) if comparable else None  # type: ignore[misc]
    return detected(scores[0], scores[1], train_nll, nats)

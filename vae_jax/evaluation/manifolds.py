"""Samples and examples as balls that reach to the k-th neighbour: precision, recall, density, coverage; and copies."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from vae_jax.errors import Fault
from vae_jax.evaluation.checks import counted
from vae_jax.evaluation.features import Featured, check_alike
from vae_jax.evaluation.outliers import AUROC, auroc
from vae_jax.evaluation.scores import Score, pair, share_error


class Manifolds(NamedTuple):
    """Two scores under `names`: of the samples, and of the examples; balls reach to the k-th neighbour.

    Their standard errors are those of the rows that are counted, the balls taken as given.
    """

    names: tuple[str, str]
    samples: Score
    examples: Score
    k: int
    features: str

    def __str__(self) -> str:
        told = ', '.join(f'{name} {score}' for name, score in zip(self.names, (self.samples, self.examples)))
        return f'{told} (k = {self.k}, {self.features})'


class Copies(NamedTuple):
    """Whether samples lie closer to the training set than test examples do.

    `closer` P(d(sample) < d(test)), ties a half: 0.5 where a model copies nothing; `p_value` of no more than that;
    distances to the nearest training example of each sample [n] and each test example [m].
    """

    closer: AUROC
    p_value: float
    of_samples: np.ndarray
    of_test: np.ndarray

    def __str__(self) -> str:
        medians = f'{np.median(self.of_samples):.4g} and {np.median(self.of_test):.4g}'
        told = f'closer to training data than test data: {self.closer.value:.4f} {self.closer.error}'
        return f'{told}, p = {self.p_value:.3g}; median distances {medians}'


def _named(samples: Featured, reference: Featured, k: int) -> tuple[np.ndarray, np.ndarray]:
    check_alike(samples, reference)
    a, b = pair(samples.values, reference.values, ('samples', 'examples'), 2)
    least = min(len(a), len(b))
    if not 1 <= (k := counted('k', k, 0)) < least:
        raise Fault(f'{k} neighbours among {least} rows', f'pass k between 1 and {least - 1}')
    return a, b


def radii(xs: Any, k: int) -> np.ndarray:
    """Distance [n] of each x [d] to the k-th nearest other one."""
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=k, algorithm='brute').fit(xs).kneighbors()[0][:, -1]


def _distances(a: np.ndarray, b: np.ndarray) -> Iterator[np.ndarray]:
    from sklearn.metrics import pairwise_distances_chunked

    return pairwise_distances_chunked(a, b, working_memory=64)


def _within(points: np.ndarray, centres: np.ndarray, reach: np.ndarray) -> np.ndarray:
    return np.concatenate([np.any(block <= reach[None], 1) for block in _distances(points, centres)])


def precision_recall(samples: Featured, reference: Featured, k: int = 3) -> Manifolds:
    """Share of samples inside of a ball of an example (precision), and of examples inside of a sample's (recall).

    (Kynkaanniemi et al. 2019.) Comparable for equal numbers of rows only. Raises Fault on features of
    different names, and where k is not below the number of rows.
    """
    a, b = _named(samples, reference, k)
    precision, recall = _within(a, b, radii(b, k)), _within(b, a, radii(a, k))
    return Manifolds(
        ('precision', 'recall'), Score(precision * 1.0, share_error), Score(recall * 1.0, share_error), k, samples.name
    )


def density_coverage(samples: Featured, reference: Featured, k: int = 5) -> Manifolds:
    """How many balls of examples a sample lies in, over k (density), and the share of balls with a sample (coverage).

    (Naeem et al. 2020.) Density may be above 1. Raises Fault as `precision_recall` does.
    """
    a, b = _named(samples, reference, k)
    reach, covered, density = radii(b, k), np.zeros(len(b), bool), []
    for block in _distances(a, b):
        inside = block <= reach[None]
        density.append(inside.sum(1) / k)
        covered |= inside.any(0)
    return Manifolds(
        ('density', 'coverage'), Score(np.concatenate(density)), Score(covered * 1.0, share_error), k, samples.name
    )


def nearest(xs: Any, train: Any, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """(distances, row numbers) [n, k] of the k nearest training vectors [m, d] of each x [n, d], the nearest first.

    Raises Fault where there are fewer than k.
    """
    from sklearn.neighbors import NearestNeighbors

    xs, train = pair(xs, train, ('samples', 'training vectors'))
    if not 1 <= (k := counted('k', k, 0)) <= len(train):
        raise Fault(f'{k} neighbours among {len(train)} training vectors', f'pass k between 1 and {len(train)}')
    return NearestNeighbors(n_neighbors=k, algorithm='brute').fit(train).kneighbors(xs)


def copies(samples: Any, train: Any, test: Any) -> Copies:
    """Whether samples [n, d] lie closer to the training set [t, d] than test examples [m, d] do: they are copies of it.

    By ranks of the distance to the nearest training example, Mann-Whitney's test (Meehan et al. 2020).
    A small p speaks of copying; a share below a half of samples that are far from all data.
    """
    from scipy.stats import mannwhitneyu

    of_samples, of_test = nearest(samples, train)[0][:, 0], nearest(test, train)[0][:, 0]
    p_value = float(mannwhitneyu(of_samples, of_test, alternative='less').pvalue)
    return Copies(auroc(of_samples, of_test), p_value, of_samples, of_test)

"""Codes without labels, held against labels: clusters by k-means or a Gaussian mixture, purity of neighbourhoods."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from vae_jax.errors import Fault
from vae_jax.evaluation.checks import counted
from vae_jax.evaluation.scores import Score, classes, generator, matrix, share_error

Assign = Callable[[np.ndarray, int, int], np.ndarray]  # codes [n, d], clusters, seed -> int [n]
RESAMPLED = 100


class Agreement(NamedTuple):
    """Clusters beside labels: ARI (0 by chance) and NMI, with standard errors over examples, the clusters as given."""

    ari: float
    ari_se: float
    nmi: float
    nmi_se: float
    clusters: int

    def __str__(self) -> str:
        told = f'ARI {self.ari:.4f} +- {self.ari_se:.4f}, NMI {self.nmi:.4f} +- {self.nmi_se:.4f}'
        return f'{told} ({self.clusters} clusters)'


def k_means(codes: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """The cluster [n] of each code, the best of ten starts (scikit-learn's KMeans)."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ConvergenceWarning)  # codes of a discrete z are few
        return KMeans(clusters, n_init=10, random_state=seed).fit_predict(codes)


def gaussian_mixture(codes: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """The likeliest component [n] of each code under a mixture of full covariances (scikit-learn's GaussianMixture)."""
    from sklearn.mixture import GaussianMixture

    return GaussianMixture(clusters, max_iter=300, reg_covar=1e-4, random_state=seed).fit_predict(codes)


def agreement(clusters: Any, labels: Any, key: Array) -> Agreement:
    """Adjusted Rand index (Hubert & Arabie 1985) and normalized mutual information I / ((H + H) / 2), of int [n] each.

    Standard errors by 100 bootstrap samples of examples. Raises Fault on two lengths and on one example.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    clusters, labels = np.asarray(clusters), np.asarray(labels)
    if clusters.shape != labels.shape or clusters.ndim != 1 or len(labels) < 2:
        found = f'clusters {list(clusters.shape)} beside labels {list(labels.shape)}'
        raise Fault(found, 'give one of each for two or more examples')
    labels = classes(labels, len(labels))
    both = lambda rows: (
        adjusted_rand_score(labels[rows], clusters[rows]),
        normalized_mutual_info_score(labels[rows], clusters[rows]),
    )
    rng, n = generator(key), len(labels)
    spread = np.std([both(rng.integers(0, n, n)) for _ in range(RESAMPLED)], 0, ddof=1)
    ari, nmi = both(slice(None))
    return Agreement(float(ari), float(spread[0]), float(nmi), float(spread[1]), len(np.unique(clusters)))


def clustered(codes: Any, labels: Any, key: Array, assign: Assign = k_means, clusters: int | None = None) -> Agreement:
    """ARI and NMI of the clusters that `assign` finds in codes [n, d], as many as labels by default.

    Raises Fault where labels do not go with codes, and on clusters < 2 or more than codes.
    """
    codes = matrix(codes, 'codes', 2)
    labels = classes(labels, len(codes))
    clusters = len(np.unique(labels)) if clusters is None else counted('clusters', clusters, 0)
    if not 2 <= clusters <= len(codes):
        raise Fault(f'{clusters} clusters of {len(codes)} codes', f'pass clusters between 2 and {len(codes)}')
    return agreement(assign(codes, clusters, int(generator(key).integers(2**31))), labels, key)


def purity(codes: Any, labels: Any, k: int = 10) -> Score:
    """Share of the k nearest other codes that have the same label, of each code [n]; by chance sum of squared shares.

    Raises Fault where labels do not go with codes, and where k is not below their number.
    """
    from sklearn.neighbors import NearestNeighbors

    codes = matrix(codes, 'codes', 2)
    labels = classes(labels, len(codes))
    if not 1 <= (k := counted('k', k, 0)) < len(codes):
        raise Fault(f'{k} neighbours among {len(codes)} codes', f'pass k between 1 and {len(codes) - 1}')
    found = NearestNeighbors(n_neighbors=k).fit(codes).kneighbors(return_distance=False)
    return Score(np.mean(labels[found] == labels[:, None], 1), share_error)

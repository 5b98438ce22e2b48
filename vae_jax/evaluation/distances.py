"""FID and KID: distances of samples to examples under features that the result names."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from vae_jax.errors import Fault
from vae_jax.evaluation.checks import counted
from vae_jax.evaluation.features import Featured, check_alike, check_comparable
from vae_jax.evaluation.scores import generator, matrix
from vae_jax.evaluation.two_samples import mmd

GROUPS = 20  # of the jackknife


class Distance(NamedTuple):
    """A distance of `n` samples to `n_reference` examples under the features of this name, of `dims` numbers."""

    measure: str
    value: float
    se: float
    features: str
    dims: int
    n: int
    n_reference: int

    @property
    def note(self) -> str:
        """What is to be said of a FID of fewer than two rows a dimension, whose covariances are noise; else empty."""
        if not self.measure.startswith('FID') or min(self.n, self.n_reference) >= 2 * self.dims:
            return ''
        return f'; note: {min(self.n, self.n_reference)} rows are few for {self.dims} dims, FID is mostly its bias'

    def __str__(self) -> str:
        of = f'{self.n} samples, {self.n_reference} examples, {self.features}, {self.dims} dims'
        return f'{self.measure} {self.value:.4g} +- {self.se:.2g} ({of}){self.note}'


class _Moments(NamedTuple):
    n: float
    sums: np.ndarray
    squares: np.ndarray


def _root(covariance: np.ndarray) -> np.ndarray:
    values, axes = np.linalg.eigh(covariance)
    return (axes * np.sqrt(np.maximum(values, 0.0))) @ axes.T  # rounding leaves a singular one a little below zero


def frechet(mean_a: Any, covariance_a: Any, mean_b: Any, covariance_b: Any) -> float:
    """|m_a - m_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2): the squared Wasserstein-2 distance of two Gaussians.

    (Dowson & Landau 1982.) The trace of the root is the nuclear norm of A^1/2 B^1/2, which is symmetric in A and B and,
    where they commute, as accurate as the roots themselves.
    """
    shift = np.asarray(mean_a, np.float64) - np.asarray(mean_b, np.float64)
    a, b = np.asarray(covariance_a, np.float64), np.asarray(covariance_b, np.float64)
    root = np.linalg.svd(_root(a) @ _root(b), compute_uv=False).sum()
    return float(shift @ shift + np.trace(a) + np.trace(b) - 2 * root)


def _moments(values: np.ndarray) -> _Moments:
    return _Moments(len(values), values.sum(0), values.T @ values)


def _between(a: _Moments, b: _Moments) -> float:
    def normal(of: _Moments) -> tuple[np.ndarray, np.ndarray]:
        mean = of.sums / of.n
        return mean, (of.squares - of.n * np.outer(mean, mean)) / (of.n - 1)

    return frechet(*normal(a), *normal(b))


def _centred(samples: Featured, reference: Featured, at_least: int) -> tuple[np.ndarray, np.ndarray]:
    """Both sets less one mean, so that second moments keep their digits."""
    check_alike(samples, reference)
    a, b = matrix(samples.values, 'samples', at_least), matrix(reference.values, 'reference examples', at_least)
    return a - b.mean(0), b - b.mean(0)


def _without(a: np.ndarray, b: np.ndarray, groups: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Masks of all rows but those of one group, for each group in turn."""
    for i in range(groups):
        yield np.arange(len(a)) % groups != i, np.arange(len(b)) % groups != i


def _jackknife(values: list[float]) -> float:
    g = len(values)
    return math.sqrt((g - 1) * float(np.var(values)))


def fid(samples: Featured, reference: Featured) -> Distance:
    """`frechet` between the Gaussians of two sets of features (Heusel et al. 2017); too high by about c / n.

    c depends on the model, so FIDs of different n are not compared; `fid_infinity` takes most of it away. The standard
    error is that of a jackknife over 20 groups of rows, taken to be in random order. Raises Fault on features of
    different names and on fewer than 40 rows of either.
    """
    a, b = _centred(samples, reference, 2 * GROUPS)
    whole_a, whole_b = _moments(a), _moments(b)
    less = lambda whole, part: _Moments(*(w - p for w, p in zip(whole, _moments(part))))
    others = [_between(less(whole_a, a[~i]), less(whole_b, b[~j])) for i, j in _without(a, b, GROUPS)]
    value, se = _between(whole_a, whole_b), _jackknife(others)
    return Distance('FID', value, se, samples.name, a.shape[1], len(a), len(b))


def fid_infinity(samples: Featured, reference: Featured, key: Array, points: int = 15) -> Distance:
    """FID at n -> infinity: the intercept of a line in 1/n through FIDs of `points` sizes, a tenth of the rows to all.

    (Chong & Forsyth 2020; here both sets shrink together, so that the bias of both goes.) Standard error as
    in `fid`. Raises Fault as `fid` does, and on points < 2.
    """
    a, b = _centred(samples, reference, 2 * GROUPS)
    if (points := counted('points', points, 0)) < 2:
        raise Fault(f'a line through {points} points', 'pass points=15')
    rng = generator(key)
    parts = [
        [rng.permutation(len(rows))[: round(share * len(rows))] for rows in (a, b)]
        for share in np.linspace(0.1, 1.0, points)
    ]

    def intercept(keep_a: np.ndarray, keep_b: np.ndarray) -> float:
        rows = [(a[i[keep_a[i]]], b[j[keep_b[j]]]) for i, j in parts]
        inverse = [1 / len(x) + 1 / len(y) for x, y in rows]
        return float(np.polyfit(inverse, [_between(_moments(x), _moments(y)) for x, y in rows], 1)[1])

    value = intercept(np.ones(len(a), bool), np.ones(len(b), bool))
    se = _jackknife([intercept(i, j) for i, j in _without(a, b, GROUPS)])
    return Distance('FID at infinite n', value, se, samples.name, a.shape[1], len(a), len(b))


def cubic_kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(a . b / d + 1)^3 (Binkowski et al. 2018, section 4)."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def kid(samples: Featured, reference: Featured) -> Distance:
    """Unbiased MMD^2 under the cubic kernel (Binkowski et al. 2018), over all pairs at once; may be below zero.

    Raises Fault on features of different names and on fewer than 4 rows of either.
    """
    check_alike(samples, reference)
    found = mmd(samples.values, reference.values, cubic_kernel)
    return Distance('KID', *found, samples.name, samples.values.shape[1], len(samples), len(reference))


def side_by_side(distances: Mapping[str, Distance]) -> str:
    """Distances of several models as a table in markdown.

    Raises Fault on different features or measures, and on FIDs of other numbers of rows: they differ by their bias.
    """
    rows = list(distances.values())
    check_comparable(*(row.features for row in rows))
    if len({row.measure for row in rows}) > 1:
        raise Fault(f'{", ".join(sorted({row.measure for row in rows}))} in one table', 'make a table of each')
    if rows and rows[0].measure == 'FID' and len({(row.n, row.n_reference) for row in rows}) > 1:
        found = f'FIDs of {", ".join(sorted({f"{row.n}/{row.n_reference}" for row in rows}))} rows differ by their bias'
        raise Fault(found, 'take all of the same numbers of rows, or fid_infinity')
    head = f'| | {rows[0].measure} under {rows[0].features} | samples / examples |\n| --- | --- | --- |' if rows else ''
    lines = [f'| {name} | {d.value:.4g} +- {d.se:.2g} | {d.n} / {d.n_reference} |' for name, d in distances.items()]
    return '\n'.join([head, *lines])

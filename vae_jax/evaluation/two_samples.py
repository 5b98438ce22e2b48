"""Whether two sets of vectors come from one distribution: MMD with its permutation test, and a classifier's test."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from vae_jax.errors import Fault
from vae_jax.evaluation.checks import counted
from vae_jax.evaluation.scores import generator, pair, share_se

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]  # [r, d], [s, d] -> [r, s]
BLOCK = 1000  # rows of a kernel matrix that are there at a time


class MMD(NamedTuple):
    """An unbiased estimate of MMD^2, which may be below zero, with its standard error."""

    value: float
    se: float


class MMDTest(NamedTuple):
    """MMD^2 with p = (1 + #{permuted >= value}) / (1 + permutations); `kernel` names the kernel and its width."""

    value: float
    p_value: float
    permutations: int
    kernel: str

    def __str__(self) -> str:
        return f'MMD^2 {self.value:.4g}, p = {self.p_value:.3g} of {self.permutations} permutations, {self.kernel}'


class C2ST(NamedTuple):
    """Accuracy of a classifier of the two sets on `n` held-out vectors, and P(so many right | it guesses)."""

    accuracy: float
    se: float
    p_value: float
    n: int

    def __str__(self) -> str:
        return f'C2ST accuracy {self.accuracy:.4f} +- {self.se:.4f} of {self.n}, p = {self.p_value:.3g} (guessing: 0.5)'


class _Sums(NamedTuple):
    rows: np.ndarray
    columns: np.ndarray
    squares: float


def _summed(a: np.ndarray, b: np.ndarray, kernel: Kernel, same: bool) -> _Sums:
    """Sums of kernel(a, b) over each row and column, and of its squares; without its diagonal where a is b."""
    rows, columns, squares = np.empty(len(a)), np.zeros(len(b)), 0.0
    for start in range(0, len(a), BLOCK):
        values = kernel(a[start : start + BLOCK], b)
        if same:
            np.fill_diagonal(values[:, start:], 0.0)
        rows[start : start + BLOCK] = values.sum(1)
        columns += values.sum(0)
        squares += float(np.einsum('ij,ij->', values, values))
    return _Sums(rows, columns, squares)


def mmd(xs: Any, ys: Any, kernel: Kernel) -> MMD:
    """MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_ij k(x_i, y_j) of xs [n, d], ys [m, d].

    (Gretton et al. 2012, Lemma 6.) The variance is that of a U-statistic to second order, so that it holds where both
    have one distribution too: 4 s_x^2 / n + 4 s_y^2 / m - 2 V_xx / n^2 - 2 V_yy / m^2 - 4 V_xy / nm, s_x^2 that of
    the row means of k(x, .) and V those of the kernel less its row and column means. Raises Fault on fewer
    than 4 of either.
    """
    xs, ys = pair(xs, ys, ('samples', 'reference vectors'), 4)
    n, m = len(xs), len(ys)
    xx, yy, xy = _summed(xs, xs, kernel, True), _summed(ys, ys, kernel, True), _summed(xs, ys, kernel, False)
    x_in, y_in = xx.rows / (n - 1), yy.rows / (m - 1)
    x_across, y_across = xy.rows / m, xy.columns / n
    value = x_in.mean() + y_in.mean() - 2 * x_across.mean()

    def within(sums: _Sums, means: np.ndarray) -> float:
        count = len(means)
        total = sums.squares / (count * (count - 1)) - means.mean() ** 2
        return max(0.0, (total - 2 * means.var(ddof=1)) / (1 - 2 / (count - 1)))

    total = xy.squares / (n * m) - x_across.mean() ** 2
    between = max(0.0, (total - x_across.var(ddof=1) - y_across.var(ddof=1)) / (1 - 1 / n - 1 / m))
    second = 2 * within(xx, x_in) / n**2 + 2 * within(yy, y_in) / m**2 + 4 * between / (n * m)
    first = 4 * (x_in - x_across).var(ddof=1) / n + 4 * (y_in - y_across).var(ddof=1) / m
    return MMD(float(value), math.sqrt(max(first - second, second)))


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a_i - b_j|^2 [r, s] by one matrix product."""
    return np.maximum(np.sum(a**2, 1)[:, None] + np.sum(b**2, 1)[None] - 2 * a @ b.T, 0.0)


def gaussian_kernel(width: float) -> Kernel:
    """exp(-|a - b|^2 / (2 width^2))."""
    return lambda a, b: np.exp(squared_distances(a, b) / (-2 * width**2))


def median_distance(xs: Any, ys: Any, most: int = 1000) -> float:
    """The median of |a - b| over pairs of both sets together, of at most `most` of each: the median heuristic.

    (Gretton et al. 2012.) Raises Fault where it is zero: more than half of all pairs are equal.
    """
    xs, ys = pair(xs, ys, ('samples', 'reference vectors'))
    pooled = np.concatenate([xs[:most], ys[:most]])
    found = np.sqrt(np.median(squared_distances(pooled, pooled)[np.triu_indices(len(pooled), 1)]))
    if not found > 0:
        raise Fault('the median distance is zero: most vectors are equal', 'give gaussian_kernel a width of your own')
    return float(found)


def mmd_test(xs: Any, ys: Any, key: Array, permutations: int = 200, kernel: Kernel | None = None) -> MMDTest:
    """Whether xs [n, d] and ys [m, d] have one distribution: unbiased MMD^2 against itself under permuted sets.

    Exact at any n, as p counts the value itself (Phipson & Smyth 2010). The kernel is by default Gaussian of the
    `median_distance`. Raises Fault on permutations < 1 and fewer than 4 of either.
    """
    xs, ys = pair(xs, ys, ('samples', 'reference vectors'), 4)
    if (permutations := counted('permutations', permutations, 0)) < 1:
        raise Fault(f'{permutations} permutations give no p-value', 'pass permutations=200')
    name = 'a kernel of the caller'
    if kernel is None:
        width = median_distance(xs, ys)
        kernel, name = gaussian_kernel(width), f'Gaussian kernel of width {width:.4g} (median distance)'
    n, m, rng, pooled = len(xs), len(ys), generator(key), np.concatenate([xs, ys])
    chosen = np.zeros((n + m, 1 + permutations))
    chosen[:n, 0] = 1
    for i in range(1, permutations + 1):
        chosen[rng.permutation(n + m)[:n], i] = 1
    inside, outside, across = np.zeros((3, 1 + permutations))
    for start in range(0, n + m, BLOCK):
        values, here = kernel(pooled[start : start + BLOCK], pooled), chosen[start : start + BLOCK]
        np.fill_diagonal(values[:, start:], 0.0)
        to_first = values @ chosen
        to_second = values.sum(1)[:, None] - to_first
        inside += np.sum(here * to_first, 0)
        outside += np.sum((1 - here) * to_second, 0)
        across += np.sum(here * to_second, 0)
    found = inside / (n * (n - 1)) + outside / (m * (m - 1)) - 2 * across / (n * m)
    slack = 1e-12 * (abs(inside[0]) / (n * (n - 1)) + abs(outside[0]) / (m * (m - 1)))  # sums in another order
    larger = int(np.sum(found[1:] >= found[0] - slack))
    return MMDTest(float(found[0]), (1 + larger) / (1 + permutations), permutations, name)


def c2st(xs: Any, ys: Any, key: Array, classifier: Any = None, held_out: float = 0.5) -> C2ST:
    """Whether a classifier tells xs [n, d] from ys [n, d]: accuracy on a held-out part, p by the binomial tail.

    (Lopez-Paz & Oquab 2017, section 3.) `classifier` is any of scikit-learn, unfitted; by default sqrt(training rows)
    nearest neighbours. The test is one-sided and no stricter than its level, as held-out halves are of equal size.
    Raises Fault where the sets differ in size, on fewer than 4 of each, and on held_out outside of (0, 1).
    """
    from scipy.stats import binomtest
    from sklearn.base import clone
    from sklearn.neighbors import KNeighborsClassifier

    xs, ys = pair(xs, ys, ('samples', 'reference vectors'), 4)
    if len(xs) != len(ys):
        raise Fault(f'{len(xs)} samples against {len(ys)}: guessing is not 0.5', 'give as many of each')
    if not 0 < held_out < 1:
        raise Fault(f'held_out is {held_out}, expected a share between 0 and 1', 'pass held_out=0.5')
    n, rng = len(xs), generator(key)
    tested = min(n - 1, max(1, round(n * held_out)))
    parts = [np.split(values[rng.permutation(n)], [tested]) for values in (xs, ys)]
    test, train = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    labels = lambda rows: np.repeat([0, 1], len(rows) // 2)
    model = KNeighborsClassifier(max(1, math.isqrt(len(train)))) if classifier is None else clone(classifier)
    correct = int(np.sum(model.fit(train, labels(train)).predict(test) == labels(test)))
    accuracy = correct / len(test)
    se = float(share_se(accuracy, len(test)))
    return C2ST(accuracy, se, float(binomtest(correct, len(test), 0.5, 'greater').pvalue), len(test))

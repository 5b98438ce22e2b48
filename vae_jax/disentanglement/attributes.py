"""Metrics of predictors: SAP, and disentanglement, completeness and informativeness (DCI)."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jax import Array, random

from vae_jax.disentanglement.tables import Score, checked, is_real, needs_two, parted, seed_of

Fitted = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int], tuple[np.ndarray, float]]
"""(codes [n, d] and values [n] to fit, codes [m, d] and values [m] to judge by, seed) -> (importances [d], score)."""


def sap(codes: Any, factors: Mapping[str, Any], key: Array) -> Score:
    """mean over factors v of S(z_1, v) - S(z_2, v), z_1 and z_2 the two dimensions that predict v best, each alone.

    Kumar et al. (2018), section 3. S of a real factor (a column of floats) is the squared correlation; of classes (a
    column of ints) the balanced accuracy, of a third of the rows, of thresholds fitted to the others: those of a tree
    with as many leaves as classes, where Locatello et al. (2019) take a linear SVM. So the best is 1 for a real factor
    and 1 - 1/c for c classes; 0 is the least that is expected. Raises Fault as `tables.checked` does, and on fewer than
    two dimensions.
    """
    needs_two(codes, 'SAP')
    checked(codes, factors, several=False)
    each, real = {}, [name for name, values in factors.items() if is_real(values)]
    for k, (name, values) in zip(random.split(key, len(factors)), factors.items()):
        table = checked(codes, {name: values}, least=1 if name in real else 3, several=False)
        if name in real:
            scores = _squared_correlation(table.codes, table.real[:, 0])
        else:
            scores = _thresholds(table.codes, table.numbers[:, 0], k)
        second, first = np.sort(scores)[-2:]
        each[name] = float(first - second)
    kinds = f'squared correlation of {len(real)} factors, thresholds for {len(each) - len(real)}'
    return Score(float(np.mean(list(each.values()))), each, f'{kinds}; {len(table.codes)} rows')


def _squared_correlation(codes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """R^2 [d] of the linear regression of a factor on each dimension alone; 0 of one that does not vary."""
    z, v = codes - codes.mean(0), values - values.mean()
    power = np.sum(z**2, 0) * np.sum(v**2)
    live = np.ptp(codes, 0) > 0
    return np.where(live, (z.T @ v) ** 2 / np.where(live, power, 1.0), 0.0)


def _thresholds(codes: np.ndarray, numbers: np.ndarray, key: Array) -> np.ndarray:
    """Balanced accuracy [d] of a factor's value, told from each dimension alone."""
    from sklearn.metrics import recall_score
    from sklearn.tree import DecisionTreeClassifier

    fit, judge = parted(numbers, key)
    found = []
    for z in codes.T[..., None]:
        tree = DecisionTreeClassifier(max_leaf_nodes=int(numbers.max()) + 1, class_weight='balanced', random_state=0)
        told = tree.fit(z[fit], numbers[fit]).predict(z[judge])
        found.append(recall_score(numbers[judge], told, average='macro', zero_division=0.0))
    return np.array(found)


def forest(codes: Any, values: Any, held: Any, truth: Any, seed: int) -> tuple[np.ndarray, float]:
    """Fifty trees with ten rows or more in a leaf: (mean decrease of impurity [d], accuracy).

    Leaves of single rows fit noise, and so share the importance out among all dimensions.
    """
    from sklearn.ensemble import RandomForestClassifier

    made = RandomForestClassifier(50, max_features=None, min_samples_leaf=10, random_state=seed)
    return _of_trees(made, codes, values, held, truth)


def boosted_trees(codes: Any, values: Any, held: Any, truth: Any, seed: int) -> tuple[np.ndarray, float]:
    """A hundred boosted trees of depth three for each value: (mean decrease of impurity [d], accuracy)."""
    from sklearn.ensemble import GradientBoostingClassifier

    return _of_trees(GradientBoostingClassifier(random_state=seed), codes, values, held, truth)


def _of_trees(made: Any, codes: Any, values: Any, held: Any, truth: Any) -> tuple[np.ndarray, float]:
    made.fit(codes, _numbered(values))
    return np.asarray(made.feature_importances_), float(np.mean(made.predict(held) == _numbered(truth)))


def _numbered(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1]


def lasso(codes: Any, values: Any, held: Any, truth: Any, seed: int) -> tuple[np.ndarray, float]:
    """|coefficients| [d] of codes and values of unit variance, the penalty chosen on five folds; R^2, 0 at least."""
    from sklearn.linear_model import LassoCV

    centre, scale = codes.mean(0), np.where(np.ptp(codes, 0) > 0, codes.std(0), 1.0)
    made = LassoCV(cv=5, random_state=seed).fit((codes - centre) / scale, (values - values.mean()) / values.std())
    score = made.score((held - centre) / scale, (truth - values.mean()) / values.std())
    return np.abs(made.coef_), max(0.0, float(score))


class DCI(NamedTuple):
    """Disentanglement, completeness, informativeness; `importances` [d, factors]; `how`, their conventions."""

    disentanglement: float
    completeness: float
    informativeness: float
    importances: np.ndarray
    how: str

    def __str__(self) -> str:
        each = f'D {self.disentanglement:.4f}, C {self.completeness:.4f}, I {self.informativeness:.4f}'
        return f'{each} ({self.how})'


def dci(codes: Any, factors: Mapping[str, Any], key: Array, fitted: Fitted = forest) -> DCI:
    """D = sum_i w_i (1 - H_k(R_i. / sum_j R_ij)), C = mean_j (1 - H_d(R_.j / sum_i R_ij)), I = mean_j of the scores.

    Eastwood & Williams (2018), section 2; R_ij is the importance of dimension i for factor j, w_i = sum_j R_ij / sum R,
    and H_k, H_d are entropies to the base of the number of factors and dimensions; each 0 to 1. `fitted` is `forest`,
    `boosted_trees` (Locatello et al. 2019) or `lasso`: two thirds of the rows are fitted, and I is the accuracy, or R^2
    of the lasso, on the others. D and C depend much on what is fitted: compare like with like. A dimension without
    importance has no weight, and a factor for which none has any a completeness of 0. Raises Fault as `tables.checked`
    does, and on fewer than two dimensions.
    """
    needs_two(codes, 'completeness')
    table = checked(codes, factors, least=3)
    z = table.codes
    columns, scores = [], []
    for numbers, values, k in zip(table.numbers.T, table.real.T, random.split(key, len(table.names))):
        a, b = random.split(k)
        fit, judge = parted(numbers, a)
        importances, score = fitted(z[fit], values[fit], z[judge], values[judge], seed_of(b))
        columns.append(importances)
        scores.append(score)
    found = np.stack(columns, 1)
    weights = found.sum(1) / (found.sum() or 1.0)
    how = f'{fitted.__name__}; {len(z)} rows, a third to judge by; {", ".join(table.names)}'
    each = _concentrated(found), _concentrated(found.T)
    return DCI(float(weights @ each[0]), float(each[1].mean()), float(np.mean(scores)), found, how)


def _concentrated(importances: np.ndarray) -> np.ndarray:
    """1 - H(row / its sum) / log m for rows [n, m]; 0 of a row of zeros."""
    from scipy.stats import entropy

    rows = np.where(importances.sum(1, keepdims=True) > 0, importances, 1.0)
    return np.asarray(1 - entropy(rows, axis=1) / np.log(rows.shape[1]))

"""Modularity and explicitness (Ridgeway & Mozer 2018), and their later forms in nats: InfoMEC (Hsu et al. 2023)."""

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jax import Array, random

from vae_jax.disentanglement.information import BINS, entropies, informed
from vae_jax.disentanglement.tables import Score, Table, checked, needs_two, parted, seed_of


def modularity(codes: Any, factors: Mapping[str, Any], bins: int = BINS) -> Score:
    """mean over d of 1 - sum_{k != k*} m_dk^2 / (m_dk*^2 (factors - 1)), m_dk = I(z_d; v_k), k* the factor told best.

    Ridgeway & Mozer (2018), section 3; 0 to 1, the information of codes in equal bins. Whether several dimensions tell
    the same is of no account. A constant dimension counts 0, as in Locatello et al. (2019); one that hardly varies
    counts like any other, and random codes have about 0.7: leave out unused dimensions before comparing models.
    `each` is by dimension. Raises Fault as `tables.checked` does.
    """
    table = checked(codes, factors, least=2)
    squares = informed(table, bins) ** 2
    most = squares.max(0)
    others = (squares.sum(0) - most) / (np.where(most > 0, most, 1.0) * (len(table.names) - 1))
    found = np.where(np.ptp(table.codes, 0) > 0, 1 - others, 0.0)
    return Score(float(found.mean()), {f'z{d}': float(v) for d, v in enumerate(found)}, f'{bins} equal bins')


def explicitness(codes: Any, factors: Mapping[str, Any], key: Array) -> Score:
    """mean over factors, and their values, of the area under the ROC curve of logistic regression: value or not.

    Ridgeway & Mozer (2018), section 3; 1/2 is chance, 1 best. One against the rest, on codes of unit variance; two
    thirds of the rows are fitted, the curve is that of the others. A value between two others on a line cannot be told
    so: one dimension that is the factor itself, of c values, has the mean of max(i, c - 1 - i) / (c - 1).
    Raises Fault as `tables.checked` does, each value being in three rows or more.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    table, each = checked(codes, factors, least=3), {}
    z = _scaled(table.codes)
    for name, numbers, size, k in zip(table.names, table.numbers.T, table.sizes, random.split(key, len(factors))):
        fit, judge = parted(numbers, k)
        areas = []
        for value in range(size):
            is_it = numbers == value
            made = LogisticRegression(max_iter=1000).fit(z[fit], is_it[fit])
            areas.append(roc_auc_score(is_it[judge], made.decision_function(z[judge])))
        each[name] = float(np.mean(areas))
    how = f'one against the rest; {len(z)} rows, a third to judge by'
    return Score(float(np.mean(list(each.values()))), each, how)


def _scaled(codes: np.ndarray) -> np.ndarray:
    live = np.ptp(codes, 0) > 0
    return (codes - codes.mean(0)) / np.where(live, codes.std(0), 1.0)


class InfoMEC(NamedTuple):
    """InfoM, InfoE, InfoC; `information` [factors, live dimensions] over H(v); `live` bool [d]; `how`, conventions."""

    modularity: float
    explicitness: float
    completeness: float
    information: np.ndarray
    live: np.ndarray
    how: str

    def __str__(self) -> str:
        each = f'M {self.modularity:.4f}, E {self.explicitness:.4f}, C {self.completeness:.4f}'
        return f'{each} ({self.how})'


def infomec(codes: Any, factors: Mapping[str, Any], key: Array, neighbours: int = 10) -> InfoMEC:
    """InfoM = (mean_d max_k R_kd / sum_k R_kd - 1/factors) / (1 - 1/factors), R_kd = I(z_d; v_k) / H(v_k).

    InfoC is the same with factors and dimensions exchanged; InfoE = mean_k (1 - CE_k / H(v_k)), CE_k the least
    cross-entropy of multinomial logistic regression on all dimensions. Hsu et al. (2023); each 0 to 1.
    Conventions are those of the paper's code, but that E weighs every row alike: information by the tenth neighbour
    (Ross 2014), M and C without dimensions whose range is 1/20 of the widest or less, E of the rows that were fitted.
    Where a dimension tells next to nothing its share in M is that of the estimator's noise. With one live dimension
    InfoC is 1, with none all three are 0. Raises Fault as `tables.checked` does.
    """
    from sklearn.feature_selection import mutual_info_classif

    needs_two(codes, 'InfoC')
    table = checked(codes, factors, least=3)
    ranges = np.ptp(table.codes, 0)
    live = ranges > ranges.max() / 20
    how = f'{neighbours} neighbours, {int(live.sum())} of {len(live)} dimensions live, {len(table.codes)} rows'
    if not live.any():
        return InfoMEC(0.0, 0.0, 0.0, np.zeros((len(factors), 0)), live, how)
    z, seed = _scaled(table.codes), seed_of(key)
    nats = [
        mutual_info_classif(z[:, live], column, discrete_features=False, n_neighbors=neighbours, random_state=seed)
        for column in table.numbers.T
    ]
    information = np.array(nats) / entropies(table)[:, None]
    told = float(np.mean(_told(table, z)))
    return InfoMEC(_one_sided(information.T), told, _one_sided(information), information, live, how)


def _one_sided(rows: np.ndarray) -> float:
    """(mean_i max_j r_ij / sum_j r_ij - 1/m) / (1 - 1/m) for rows [n, m]; a row of zeros counts as 1/m."""
    m = rows.shape[1]
    if m == 1:
        return 1.0
    sums = rows.sum(1)
    share = np.where(sums > 0, rows.max(1) / np.where(sums > 0, sums, 1.0), 1 / m)
    return float((share.mean() - 1 / m) / (1 - 1 / m))


def _told(table: Table, z: np.ndarray) -> np.ndarray:
    """1 - CE_k / H(v_k) [factors]; 0 at the least, as the codes need not be used."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    errors = []
    for column in table.numbers.T:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', ConvergenceWarning)  # classes that are told wholly have no finite optimum
            made = LogisticRegression(C=1e6, max_iter=200).fit(z, column)
        errors.append(log_loss(column, made.predict_proba(z)))
    return np.maximum(0.0, 1 - np.array(errors) / entropies(table))

"""What a code's dimensions tell of the factors: mutual information of binned columns, MIG, total correlation."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vae_jax.disentanglement.tables import Table, checked, needs_two
from vae_jax.errors import Fault

BINS = 20


class Gap(NamedTuple):
    """MIG: `mean` over factors, `each` factor's, and `information` [factors, d] in nats, its rows named by `each`."""

    mean: float
    each: dict[str, float]
    information: np.ndarray
    how: str = ''

    def __str__(self) -> str:
        return f'{self.mean:.4f} ({self.how})'


def binned(codes: Any, bins: int = BINS) -> np.ndarray:
    """Codes [n, d] as int [n, d]: the number of the equal bin between the least and the largest of their dimension."""
    codes = np.asarray(codes, np.float64)
    low, high = codes.min(0), codes.max(0)
    width = np.where(high > low, high - low, 1.0)
    return np.minimum((codes - low) / width * bins, bins - 1).astype(np.int64)


def mutual_information(a: Any, b: Any) -> float:
    """I(a; b) = sum p(a, b) log p(a, b) / (p(a) p(b)) of the joint counts of two int columns [n]; nats.

    From n draws it is too high by about (A - 1)(B - 1) / 2 n for A and B values (Miller 1955).
    """
    (values_a, a), (values_b, b) = (np.unique(column, return_inverse=True) for column in (a, b))
    joint = np.bincount(a * len(values_b) + b, minlength=len(values_a) * len(values_b))
    p = joint.reshape(len(values_a), len(values_b)) / len(a)
    independent = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
    return float(np.sum(p[p > 0] * np.log(p[p > 0] / independent[p > 0])))


def informed(table: Table, bins: int = BINS) -> np.ndarray:
    """I(z_j; v_k) [factors, d] of the codes in equal bins; nats. Raises Fault on fewer than two bins."""
    if bins < 2:
        raise Fault(f'codes in {bins} bins tell nothing', 'give 2 bins or more')
    columns = binned(table.codes, bins).T
    return np.array([[mutual_information(column, factor) for column in columns] for factor in table.numbers.T])


def entropies(table: Table) -> np.ndarray:
    """H(v) of each factor [factors]; nats."""
    return np.array([mutual_information(factor, factor) for factor in table.numbers.T])


def mutual_information_gap(codes: Any, factors: Mapping[str, Any], bins: int = BINS) -> Gap:
    """mean over factors v of (I(z_1; v) - I(z_2; v)) / H(v), z_1 and z_2 the two dimensions that tell most of v.

    Chen et al. (2018), eq. 6, with the codes [n, d] in bins, as Locatello et al. (2019) take it; 0 to 1. Factors are
    int [n]. Raises Fault on fewer than two dimensions, on columns of other lengths and on a factor of one value.
    """
    needs_two(codes, 'the gap between two dimensions')
    table = checked(codes, factors, least=2, several=False)
    information = informed(table, bins)
    ordered = np.sort(information, 1)
    gaps = (ordered[:, -1] - ordered[:, -2]) / entropies(table)
    each = {name: float(gap) for name, gap in zip(table.names, gaps)}
    return Gap(float(gaps.mean()), each, information, f'{bins} equal bins; {", ".join(table.names)}')


def gaussian_total_correlation(codes: Any) -> float:
    """KL(N(m, C) || prod_d N(m_d, C_dd)) = 1/2 (sum_d log C_dd - log det C), C the covariance of codes [n, d]; nats.

    Of sampled codes it is near 0 where a penalty of their total correlation worked, of means it need not be (Locatello
    et al. 2019, section 5.2). Dimensions that do not vary are left out. Raises Fault on no more rows than dimensions.
    """
    codes = np.asarray(codes, np.float64)
    if codes.ndim != 2 or len(codes) <= codes.shape[1]:
        raise Fault(f'codes {list(codes.shape)} have no covariance of full rank', 'give more rows than dimensions')
    live = codes[:, np.ptp(codes, 0) > 0]
    if live.shape[1] < 2:
        return 0.0
    return float(-0.5 * np.linalg.slogdet(np.corrcoef(live, rowvar=False))[1])

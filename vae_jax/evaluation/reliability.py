"""Class probabilities beside what came true: expected calibration error, Brier score, log loss."""

from typing import Any, NamedTuple

import numpy as np
from jax import Array

from vae_jax.errors import Fault
from vae_jax.evaluation.scores import Score, generator

RESAMPLED = 100


class Calibration(NamedTuple):
    """`ece` in [0, 1] over `bins` bins with its bootstrap standard error, Brier score, -log of the true class in nats.

    `confidence` and `accuracy` [bins] are the diagram's, nan where `counts` [bins] is 0.
    """

    ece: float
    ece_se: float
    brier: Score
    log_loss: Score
    confidence: np.ndarray
    accuracy: np.ndarray
    counts: np.ndarray

    def __str__(self) -> str:
        told = f'ECE {self.ece:.4f} +- {self.ece_se:.4f} ({len(self.counts)} bins)'
        return f'{told}, Brier {self.brier}, log loss {self.log_loss} nats'


def _binned(confidence: np.ndarray, correct: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts, sums of confidence and of right answers in bins ((i - 1) / bins, i / bins]."""
    place = np.clip(np.ceil(confidence * bins) - 1, 0, bins - 1).astype(int)
    return tuple(np.bincount(place, weights, bins) for weights in (None, confidence, correct))  # type: ignore[return-value]


def _error(confidence: np.ndarray, correct: np.ndarray, bins: int) -> float:
    _, sure, right = _binned(confidence, correct, bins)
    return float(np.sum(np.abs(sure - right)) / len(confidence))


def class_calibration(probabilities: Any, truth: Any, key: Array, bins: int = 15) -> Calibration:
    """ECE = sum_b |accuracy_b - confidence_b| n_b / n of the likeliest class, in equal bins of its probability.

    (Naeini et al. 2015; Guo et al. 2017, eq. 3.) probabilities [n, classes], truth int [n] the index of the class; the
    Brier score is sum_c (p_c - [c is true])^2, 0 to 2. ECE is too high by chance where bins hold few examples. Raises
    Fault on bins < 1, and on rows that are no probabilities or have no class of the truth.
    """
    p, truth = np.asarray(probabilities, np.float64), np.asarray(truth)
    if bins < 1:
        raise Fault(f'{bins} bins', 'pass bins=15')
    if p.ndim != 2 or truth.shape != p.shape[:1] or not len(p) or not 0 <= truth.min() <= truth.max() < p.shape[1]:
        found = f'probabilities {list(p.shape)} beside classes {list(truth.shape)}'
        raise Fault(found, 'give [n, classes] and the index of the true class of each')
    if not ((p >= 0).all() and np.allclose(p.sum(1), 1, atol=1e-4)):
        raise Fault('rows are no probabilities: they do not sum to 1', 'pass predict_proba, or the softmax of logits')
    n, confidence = len(p), p.max(1)
    correct = (p.argmax(1) == truth) * 1.0
    counts, sure, right = _binned(confidence, correct, bins)
    rng = generator(key)
    again = [_error(confidence[rows], correct[rows], bins) for rows in rng.integers(0, n, (RESAMPLED, n))]
    hot = np.eye(p.shape[1])[truth]
    with np.errstate(divide='ignore', invalid='ignore'):
        return Calibration(
            _error(confidence, correct, bins),
            float(np.std(again, ddof=1)),
            Score(np.sum((p - hot) ** 2, 1)),
            Score(-np.log(p[np.arange(n), truth])),
            sure / counts,
            right / counts,
            counts.astype(int),
        )


def averaged(probabilities: Any) -> np.ndarray:
    """1/m sum_j p_j [n, classes] of members [m, n, classes]: the ensemble's. Raises Fault on another rank."""
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 3:
        raise Fault(f'probabilities of shape {list(p.shape)}, expected [members, n, classes]', 'stack the members')
    return p.mean(0)

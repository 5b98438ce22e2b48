"""What simple readers find in codes: linear and nearest-neighbour classifiers, few labels, measured factors."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from vae_jax.errors import Fault
from vae_jax.evaluation.checks import counted
from vae_jax.evaluation.scores import classes, generator, matrix, share_se


class Labelled(NamedTuple):
    """Codes [n, d] and the label of each [n]."""

    codes: np.ndarray
    labels: np.ndarray


class Probe(NamedTuple):
    """A classifier on test codes: `correct` bool [n], its `probabilities` [n, classes], the index `truth` [n]."""

    correct: np.ndarray
    probabilities: np.ndarray
    truth: np.ndarray

    @property
    def accuracy(self) -> float:
        return float(np.mean(self.correct))

    @property
    def se(self) -> float:
        """`share_se` of the test examples; that of the training set is not in it."""
        return float(share_se(self.accuracy, len(self.correct)))

    def __str__(self) -> str:
        return f'accuracy {self.accuracy:.4f} +- {self.se:.4f} of {len(self.correct)}'


class LowLabel(NamedTuple):
    """Test accuracy [draws] of linear probes, each from `per_class` labels of every class drawn anew."""

    values: np.ndarray
    per_class: int

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def se(self) -> float:
        """Over draws of the labelled examples; nan for one."""
        n = len(self.values)
        return float(np.std(self.values, ddof=1) / math.sqrt(n)) if n > 1 else math.nan

    def __str__(self) -> str:
        return f'accuracy {self.mean:.4f} +- {self.se:.4f} of {self.per_class} labels a class, {len(self.values)} draws'


class Fit(NamedTuple):
    """R^2 = 1 - mean (y - f)^2 / var y on test codes: 1 exact, 0 no better than the mean, below where it is worse."""

    r2: float
    se: float
    n: int

    def __str__(self) -> str:
        return f'R^2 {self.r2:.4f} +- {self.se:.4f} of {self.n}'


def labelled(codes: Mapping[str, Any], column: str = 'label') -> Labelled:
    """Codes of `encode` with a column of the split as labels. Raises Fault where there is none of this name."""
    if column not in codes:
        known = ', '.join(name for name in codes if name not in ('mean', 'log_std', 'index')) or 'none'
        raise Fault(f'the split has no {column!r}, its columns are: {known}', 'use data with labels, as mnist has')
    return Labelled(np.asarray(codes['mean']), np.asarray(codes[column]))


def _checked(train: Labelled, test: Labelled) -> tuple[Labelled, Labelled]:
    """The two as float64 codes. Raises Fault as `classes`, on other dimensions, one class, and classes not trained."""
    made = []
    for name, (codes, labels) in {'training': train, 'test': test}.items():
        codes = matrix(codes, f'{name} codes', 2)
        made.append(Labelled(codes, classes(labels, len(codes), f'{name} labels')))
    if made[0].codes.shape[1] != made[1].codes.shape[1]:
        raise Fault('training and test codes differ in dimensions', 'encode both with the same model')
    known = np.unique(made[0].labels)
    if len(known) < 2:
        raise Fault('the training labels have one class', 'give two or more')
    if extra := sorted(set(np.unique(made[1].labels).tolist()) - set(known.tolist())):
        raise Fault(f'the test labels {extra[:5]} are not among the training labels', 'divide the data another way')
    return made[0], made[1]


def _told(classifier: Any, train: Labelled, test: Labelled) -> Probe:
    fitted = classifier.fit(*train)
    probabilities = fitted.predict_proba(test.codes)
    truth = np.searchsorted(fitted.classes_, test.labels)
    return Probe(fitted.classes_[probabilities.argmax(1)] == test.labels, probabilities, truth)


def _linear(strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=1 / strength, max_iter=2000))


def linear_probe(train: Labelled, test: Labelled, strength: float = 1.0) -> Probe:
    """Test accuracy of logistic regression on codes standardised by the training set, penalty strength |w|^2 / 2.

    (Alain & Bengio 2016; scikit-learn's LogisticRegression.) Raises Fault where labels do not go with codes.
    """
    return _told(_linear(strength), *_checked(train, test))


def neighbour_probe(train: Labelled, test: Labelled, k: int = 5) -> Probe:
    """Test accuracy of the vote of the k nearest training codes, in the units of the codes: unused ones hardly count.

    Raises Fault where labels do not go with codes, and on k beyond the number of training codes.
    """
    from sklearn.neighbors import KNeighborsClassifier

    train, test = _checked(train, test)
    if not 1 <= (k := counted('k', k, 0)) <= len(train.codes):
        raise Fault(f'{k} neighbours among {len(train.codes)} codes', f'pass k between 1 and {len(train.codes)}')
    return _told(KNeighborsClassifier(k), train, test)


def low_label(
    train: Labelled, test: Labelled, key: Array, per_class: int = 10, draws: int = 10, strength: float = 1.0
) -> LowLabel:
    """Test accuracy of `linear_probe` from `per_class` labels of each class, in `draws` draws without replacement.

    Raises Fault where a class has fewer, and on draws < 1.
    """
    train, test = _checked(train, test)
    names, counts = np.unique(train.labels, return_counts=True)
    if not 1 <= (per_class := counted('per_class', per_class, 0)) <= counts.min():
        found = f'{per_class} labels a class, and class {names[counts.argmin()]} has {counts.min()} examples'
        raise Fault(found, f'pass per_class between 1 and {counts.min()}')
    if (draws := counted('draws', draws, 0)) < 1:
        raise Fault(f'{draws} draws', 'pass draws=10')
    rng, rows_of = generator(key), [np.flatnonzero(train.labels == label) for label in names]
    values = []
    for _ in range(draws):
        rows = np.concatenate([rng.permutation(rows)[:per_class] for rows in rows_of])
        values.append(_told(_linear(strength), Labelled(train.codes[rows], train.labels[rows]), test).accuracy)
    return LowLabel(np.array(values), per_class)


def regression(codes: Any, values: Any, test_codes: Any, test_values: Any, strength: float = 1.0) -> Fit:
    """R^2 on test codes of ridge regression of a measured value [n] from standardised codes [n, d].

    Its standard error is that of a ratio of two means over test examples. Raises Fault where the values do not go with
    codes, and where the test values are all equal.
    """
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    codes, test_codes = matrix(codes, 'training codes', 2), matrix(test_codes, 'test codes', 2)
    values, test_values = (np.asarray(v, np.float64) for v in (values, test_values))
    for rows, of in ((codes, values), (test_codes, test_values)):
        if of.shape != rows.shape[:1] or not np.isfinite(of).all():
            raise Fault(f'values {list(of.shape)} of codes {list(rows.shape)}', 'give one finite value a code')
    spread = np.var(test_values)
    if not spread > 0:
        raise Fault('the test values are all equal, so nothing is explained', 'give values that differ')
    fitted = make_pipeline(StandardScaler(), Ridge(strength)).fit(codes, values)
    errors = (test_values - fitted.predict(test_codes)) ** 2
    ratio, n = np.mean(errors) / spread, len(errors)
    influence = (errors - ratio * (test_values - np.mean(test_values)) ** 2) / spread
    return Fit(float(1 - ratio), float(np.std(influence, ddof=1) / math.sqrt(n)), n)

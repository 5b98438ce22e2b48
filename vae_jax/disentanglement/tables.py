"""What the metrics read: codes [n, d] beside the factors that the data were made from, checked once."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jax import Array, random

from vae_jax.errors import NUMBERS, Fault


class Score(NamedTuple):
    """A metric: `value`, higher is better; `each` of its parts by name; `how`, its conventions; `se` of drawn ones."""

    value: float
    each: dict[str, float]
    how: str
    se: float | None = None

    def __str__(self) -> str:
        error = '' if self.se is None else f' +- {self.se:.4f}'
        return f'{self.value:.4f}{error} ({self.how})'


class Table(NamedTuple):
    """Codes f64 [n, d]; `numbers` i64 [n, k], which of its values each factor has; `real` [n, k], the values."""

    codes: np.ndarray
    names: tuple[str, ...]
    numbers: np.ndarray
    real: np.ndarray

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many values each factor has."""
        return tuple(int(column.max()) + 1 for column in self.numbers.T)


def checked(codes: Any, factors: Mapping[str, Any], least: int = 1, several: bool = True) -> Table:
    """The table of codes [n, d] and factors {name: [n]}; each value of a factor is in `least` rows or more.

    Raises Fault: no factors, or one where the metric compares several; a factor of one value, of another length, or
    whose values are in too few rows; codes that are not [n, 1] or more, or (code 4) not finite.
    """
    codes = np.asarray(codes)
    if codes.ndim != 2 or 0 in codes.shape:
        raise Fault(f'codes have the shape {list(codes.shape)}', 'give codes [n, d], as evaluation.encode does')
    codes = codes.astype(np.float64)
    if bad := int(np.sum(~np.isfinite(codes).all(1))):
        raise Fault(f'{bad} of {len(codes)} codes are not finite', 'the model has diverged', NUMBERS)
    if len(factors) < 1 + several:
        found = f'{len(factors)} factors' if len(factors) != 1 else f'one factor, {next(iter(factors))}'
        needed = 'two or more' if several else 'one or more'
        raise Fault(f'{found} given, and the metric needs {needed}', 'give factors {name: values [n]}')
    columns = [_column(name, np.asarray(values), len(codes), least) for name, values in factors.items()]
    numbers, real = (np.stack(part, 1) for part in zip(*columns))
    return Table(codes, tuple(factors), numbers, real)


def _column(name: str, values: np.ndarray, n: int, least: int) -> tuple[np.ndarray, np.ndarray]:
    if values.dtype.kind not in 'biuf':
        raise Fault(f'the factor {name} has values of type {values.dtype}', 'give numbers, one for each code')
    held, numbers, counts = np.unique(values, return_inverse=True, return_counts=True)
    if values.shape != (n,) or len(held) < 2:
        found = f'the factor {name} has {len(held)} values of shape {list(values.shape)}'
        raise Fault(found, f'give one value for each of {n} codes, and 2 or more values')
    if not np.isfinite(values).all():
        raise Fault(f'the factor {name} is not finite in {int(np.sum(~np.isfinite(values)))} rows', 'leave them out')
    if (rarest := int(counts.min())) < least:
        found = f'the factor {name} has a value that is in {rarest} of {n} rows, and the metric needs {least}'
        raise Fault(found, 'give more rows, or the numbers of the bins that a real factor falls into')
    return numbers, values.astype(np.float64)


def needs_two(codes: Any, what: str) -> None:
    """Raises Fault where codes [n, d] have fewer than two dimensions to compare."""
    shape = np.shape(codes)
    if len(shape) != 2 or shape[1] < 2:
        raise Fault(f'{what} needs codes [n, 2] or more, found {list(shape)}', 'train with --latent 2 or more')


def is_real(values: Any) -> bool:
    """Whether a factor is a real number and not one of several classes: a column of floats."""
    return np.asarray(values).dtype.kind == 'f'


def seed_of(key: Array) -> int:
    """A seed for scikit-learn."""
    return int(random.randint(key, (), 0, 2**31 - 1))


def parted(numbers: np.ndarray, key: Array) -> tuple[np.ndarray, np.ndarray]:
    """Rows to fit and rows to judge by, two to one at random and alike in each value of a factor [n]."""
    order = np.lexsort((np.asarray(random.uniform(key, numbers.shape)), numbers))
    judged = np.zeros(len(numbers), bool)
    judged[order[::3]] = True
    return np.flatnonzero(~judged), np.flatnonzero(judged)

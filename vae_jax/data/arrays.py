"""Arrays to Data: what a stored row may hold, how train gives up a validation split, and binarization."""

from collections.abc import Callable, Mapping
from types import EllipsisType
from typing import Any

import jax.numpy as jnp
import numpy as np

from vae_jax.data import splits as views
from vae_jax.data.raw import permutation
from vae_jax.data.splits import Data, Split, View
from vae_jax.errors import ENVIRONMENT, Fault, nearest

Rows = dict[str, np.ndarray]
Levels = int | None | EllipsisType


def stored(what: str, x: Any, levels: Levels = ...) -> tuple[np.ndarray, int | None]:
    """x as it is kept and its levels: uint8 and a number, or float32 and None for real numbers.

    `levels=...` follows the dtype: bool 2, integers 256 (2 where all are 0 or 1), floats None.
    Raises Fault for other dtypes, NaN and inf, integers outside 0 .. levels - 1, and impossible levels.
    """
    x = np.asarray(x)
    if x.dtype.kind not in 'biuf':
        raise Fault(f'{what} holds {x.dtype}, not numbers', 'store uint8, bool or float arrays', ENVIRONMENT)
    if x.ndim < 2 or 0 in x.shape[1:]:
        raise Fault(f'{what} has shape {x.shape}', 'give it one row an example: [n, ...]', ENVIRONMENT)
    if levels is not ... and levels is not None and not 2 <= levels <= 256:
        raise Fault(f'levels = {levels} is impossible for 8-bit pixels', 'use 2 to 256, or None for real numbers')
    if x.dtype.kind == 'f':
        _finite(what, x)
        with np.errstate(over='ignore'):  # what float32 cannot hold is inf from here on
            x = x.astype(np.float32)
        _finite(f'{what}, as float32,', x)
        if levels is not ... and levels is not None:
            raise Fault(f'{what} is real-valued and has no levels', 'use levels=None, or store integers')
    if levels is None or x.dtype.kind == 'f':
        return np.ascontiguousarray(x, np.float32), None
    top = int(x.max(initial=0))
    known = (2 if top <= 1 else 256) if levels is ... else int(levels)
    _in_range(what, x, known)
    return np.ascontiguousarray(x, np.uint8), known


def _finite(what: str, x: np.ndarray) -> None:
    bad = ~np.isfinite(x)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        kind = 'NaN' if np.isnan(x[first]) else 'inf'
        found = f'{what} has {int(bad.sum())} values that are not finite, the first ({kind}) at {list(first)}'
        raise Fault(found, 'remove or mend those rows', ENVIRONMENT)


def _in_range(what: str, x: np.ndarray, levels: int) -> None:
    if x.size and (x.max() > levels - 1 or x.min() < 0):
        bad = (x > levels - 1) | (x < 0)
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        found = f'{what} has {int(bad.sum())} values outside 0..{levels - 1}, the first ({x[first]}) at {list(first)}'
        raise Fault(found, 'give the right levels, or mend those rows', ENVIRONMENT)


def rows(what: str, x: np.ndarray, label: Any = None) -> Rows:
    """The columns of a split. Raises Fault for labels that are not integers or not one a row."""
    if label is None:
        return {'x': x}
    label = np.asarray(label)
    if label.shape != x.shape[:1]:
        raise Fault(
            f'{what} has {x.shape[0]} rows but labels of shape {label.shape}', 'give one label a row', ENVIRONMENT
        )
    if label.dtype.kind not in 'biu':
        raise Fault(f'the labels of {what} are {label.dtype}', 'number the classes with integers from 0', ENVIRONMENT)
    if label.size and not -(2**31) <= label.min() <= label.max() < 2**31:
        raise Fault(f'the labels of {what} do not fit 32 bits', 'number the classes with integers from 0', ENVIRONMENT)
    return {'x': x, 'label': label.astype(np.int32)}


def carved(columns: Rows, count: int, order: np.ndarray) -> tuple[Rows, Rows]:
    """(the rest, the rows that `order` names last), both in the order in which they were stored."""
    keep, held = np.sort(order[: len(order) - count]), np.sort(order[len(order) - count :])
    return tuple({name: column[at] for name, column in columns.items()} for at in (keep, held))  # type: ignore[return-value]


def completed(
    name: str, parts: Mapping[str, Rows], validation: int | None, order: Callable = permutation
) -> dict[str, Rows]:
    """train, test and perhaps validation: what is missing is taken from the end of `order(len(train))`.

    A missing test split is a tenth of train; `validation=None` a tenth of the rest, at most 10,000; 0 means none.
    Raises Fault for an empty split, and for a validation split larger than train or other than the official one.
    """
    parts = dict(parts)
    if validation is not None and validation < 0:
        raise Fault(f'validation = {validation} is negative', 'use 0 for none')
    for split, columns in parts.items():
        if not len(columns['x']):
            raise Fault(f'the {split} split of {name} is empty', 'give it at least one row', ENVIRONMENT)
    if 'test' not in parts:
        n = len(parts['train']['x'])
        if n < 2:
            raise Fault(f'{name} has {n} row, none is left for a test split', 'give test_x, or more rows', ENVIRONMENT)
        parts['train'], parts['test'] = carved(parts['train'], max(1, n // 10), permutation(n))
    if 'validation' in parts:
        official = len(parts['validation']['x'])
        if validation == 0:
            del parts['validation']
        elif validation not in (None, official):
            raise Fault(
                f'{name} has its own validation split of {official} rows', 'leave validation out, or use 0 for none'
            )
        return parts
    n = len(parts['train']['x'])
    count = min(n // 10, 10_000) if validation is None else validation
    if count >= n:
        raise Fault(f'validation = {count} leaves nothing of the {n} training rows of {name}', 'use a smaller number')
    if count:
        parts['train'], parts['validation'] = carved(parts['train'], count, order(n))
    return parts


def _drawn(x: np.ndarray, levels: int, split: str) -> np.ndarray:
    # An integer below levels - 1 is below x with probability x / (levels - 1) exactly; numpy's legacy stream is frozen
    # (NEP 19), so that the sampled sets are the same for every version of jax and numpy.
    seed = {'train': 1, 'validation': 2, 'test': 3}[split]
    return (np.random.RandomState(seed).randint(0, levels - 1, x.shape, np.uint8) < x).astype(np.uint8)


def _none(x: np.ndarray, levels: int | None, split: str) -> tuple[np.ndarray, int | None, View]:
    return x, levels, views.identity() if levels is None else views.scale(levels)


def _static(x: np.ndarray, levels: int, split: str) -> tuple[np.ndarray, int, View]:
    return _drawn(x, levels, split), 2, views.scale(2)


def _dynamic(x: np.ndarray, levels: int, split: str) -> tuple[np.ndarray, int, View]:
    return (x, levels, views.dynamic(levels)) if split == 'train' else _static(x, levels, split)


def _threshold(x: np.ndarray, levels: int, split: str) -> tuple[np.ndarray, int, View]:
    return (x > (levels - 1) // 2).astype(np.uint8), 2, views.scale(2)


BINARIZATIONS: dict[str, Callable] = {'none': _none, 'static': _static, 'dynamic': _dynamic, 'threshold': _threshold}


def assembled(
    name: str, parts: Mapping[str, Rows], levels: int | None, binarization: str, stand_in: bool = False
) -> Data:
    """Data on the device from complete splits, binarized as told.

    Raises Fault for an unknown binarization, one that does not fit the levels, and splits of different shapes.
    """
    if binarization not in BINARIZATIONS:
        raise Fault(f'unknown binarization {binarization!r}', nearest(binarization, BINARIZATIONS))
    if binarization != 'none' and levels in (None, 2):
        seen = 'real-valued' if levels is None else 'binary already'
        raise Fault(f'{name} is {seen}: {binarization} binarization does not fit it', "use binarization='none'")
    shape = parts['train']['x'].shape[1:]
    made = {}
    for split, columns in parts.items():
        if columns['x'].shape[1:] != shape:
            found = f'{name}: {split} rows have shape {columns["x"].shape[1:]}, train rows {shape}'
            raise Fault(found, 'give all splits one shape', ENVIRONMENT)
        x, kept, view = BINARIZATIONS[binarization](columns['x'], levels, split)
        made[split] = Split({key: jnp.asarray(value) for key, value in {**columns, 'x': x}.items()}, kept, view)
    return Data(name, made['train'], made.get('validation'), made['test'], binarization, stand_in)


def from_arrays(
    name: str,
    x: Any,
    label: Any = None,
    test_x: Any = None,
    test_label: Any = None,
    levels: Levels = ...,
    binarization: str = 'none',
    validation: int | None = None,
) -> Data:
    """Data from arrays of one's own: x [n, ...], label [n]; see `stored` for dtypes and levels.

    Without test_x the test split is a tenth of the rows, validation (None: a tenth, 0: none) comes from what is left;
    both from the end of a fixed permutation, since own data are often sorted by label.
    Raises Fault for everything that `stored`, `rows`, `completed` and `assembled` refuse.
    """
    if test_x is None and test_label is not None:
        raise Fault(f'{name} has test labels but no test rows', 'give test_x too', ENVIRONMENT)
    x, known = stored(f'{name} (x)', x, levels)
    parts = {'train': rows(f'{name} (x)', x, label)}
    if test_x is not None:
        other, found = stored(f'{name} (test_x)', test_x, levels)
        if levels is ... and found != known:
            # Only 0 and 1 on one side of a grey dataset is chance, not a second kind of data.
            if None in (found, known):
                raise Fault(
                    f'{name}: x and test_x differ in kind', 'store both as integers or both as floats', ENVIRONMENT
                )
            known = 256
        parts['test'] = rows(f'{name} (test_x)', other, test_label)
    return assembled(name, completed(name, parts, validation), known, binarization)

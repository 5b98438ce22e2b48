"""Data with less in it: labels of a few rows only, entries of x that are missing."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from vae_jax.data.splits import Data, Split, View
from vae_jax.errors import ENVIRONMENT, Fault

UNKNOWN = -1  # the label of a row without one


def few_labels(data: Data, per_class: int, seed: int = 0, share: float = 0.0) -> Data:
    """The data with the labels of `per_class` training rows of each class; those of all other rows are -1.

    With `share` labelled rows are repeated until they are about that share of all rows, and the column 'weight' says
    how much a row counts, so that a weighted mean over rows is the mean over the rows that there were: a minibatch then
    has labelled rows, and no estimate is biased. Raises Fault where there are no labels, or too few of a class.
    """
    if not 0 <= share < 1:
        raise Fault(f'a share of {share} labelled rows', 'give one of 0 to below 1')
    if 'label' not in data.train.rows:
        raise Fault(f'{data.name} has no labels', 'use data with labels', ENVIRONMENT)
    label = np.asarray(data.train.rows['label'])
    order = np.random.RandomState(seed).permutation(len(label))
    kept = np.concatenate([_some(data.name, order[label[order] == c], c, per_class) for c in np.unique(label)])
    hidden = np.full_like(label, UNKNOWN)
    hidden[kept] = label[kept]
    n, times = len(label), max(1, round(share / (1 - share) * (len(label) - len(kept)) / len(kept)))
    rows = np.concatenate([np.arange(n), np.tile(kept, times - 1)])
    weight = np.where(hidden[rows] == UNKNOWN, 1.0, 1 / times) * len(rows) / n
    columns = {**data.train.at(rows).rows, 'label': jnp.asarray(hidden[rows])}
    train = dataclasses.replace(data.train, rows={**columns, 'weight': jnp.asarray(weight, jnp.float32)})
    return dataclasses.replace(data, train=train)


def _some(name: str, rows: np.ndarray, label: Any, count: int) -> np.ndarray:
    if not 1 <= count <= len(rows):
        raise Fault(f'{count} labels of class {label} are asked for, {name} has {len(rows)}', f'use 1 to {len(rows)}')
    return rows[:count]


def missing(data: Data, share: float, view: View, seed: int = 0) -> Data:
    """The data with each entry of x missing with probability `share`, the same in every epoch: stored as nan.

    Missing completely at random. x is kept as real numbers in [0, 1] (levels scaled, real numbers as they are), to be
    seen through `view`, such as `models.observed`; the column 'whole' has x without gaps. Raises Fault on a share
    outside [0, 1), and on data drawn anew in every epoch.
    """
    if not 0 <= share < 1:
        raise Fault(f'a share of {share} missing entries', 'give one of 0 to below 1')
    if data.binarization == 'dynamic':
        raise Fault(f'{data.name} is binarized anew in every epoch', "load it with binarization='static' or 'none'")
    splits: dict[str, Any] = {
        name: _gaps(split, share, view, np.random.RandomState([seed, i]))
        for i, (name, split) in enumerate(data.splits.items())
    }
    return dataclasses.replace(data, **splits)


def _gaps(split: Split, share: float, view: View, draws: np.random.RandomState) -> Split:
    top = 1 if split.levels is None else split.levels - 1
    whole = jnp.asarray(split.rows['x'], jnp.float32) / top
    x = jnp.where(jnp.asarray(draws.uniform(size=whole.shape) < share), jnp.nan, whole)
    return Split({**split.rows, 'x': x, 'whole': whole}, None, view)

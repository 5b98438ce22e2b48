"""Codes of any model read by simple readers: everything that labels and pictures tell of them, in one call."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jax import Array, random

from vae_jax.evaluation.checks import counted
from vae_jax.evaluation.clusters import Agreement, clustered, purity
from vae_jax.evaluation.codes import encode
from vae_jax.evaluation.probes import (
    Fit,
    Labelled,
    LowLabel,
    Probe,
    labelled,
    linear_probe,
    low_label,
    neighbour_probe,
    regression,
)
from vae_jax.evaluation.scores import Score
from vae_jax.evaluation.style import slant, thickness
from vae_jax.models import Conditional, Model


class Read(NamedTuple):
    """Test accuracy of a linear probe, of nearest neighbours and of few labels; clusters and purity of test codes.

    `purity_k` neighbours are those of purity.
    """

    linear: Probe
    neighbours: Probe
    few: LowLabel
    clusters: Agreement
    purity: Score
    purity_k: int

    def __str__(self) -> str:
        told = f'linear {self.linear}; neighbours {self.neighbours}; few {self.few}'
        return f'{told}; {self.clusters}; purity {self.purity} (k = {self.purity_k})'


def read(train: Labelled, test: Labelled, key: Array, *, per_class: int = 10, draws: int = 10, k: int = 5) -> Read:
    """Probes trained on some codes and tested on others, clusters of the test codes, purity among 2 k neighbours.

    Purity takes fewer where the smallest class of the test is smaller: of five no more than four others can agree.
    Raises Fault as `linear_probe`, `neighbour_probe`, `low_label` and `purity` do.
    """
    a, b = random.split(key)
    smallest = int(np.unique(np.asarray(test.labels), return_counts=True)[1].min(initial=len(test.labels)))
    near = max(1, min(2 * counted('k', k), smallest - 1))
    return Read(
        linear_probe(train, test),
        neighbour_probe(train, test, k),
        low_label(train, test, a, per_class, draws),
        clustered(*test, b),
        purity(*test, k=near),
        near,
    )


def read_codes(
    model: Model | Conditional,
    params: Any,
    train: Any,
    test: Any,
    key: Array,
    *,
    column: str = 'label',
    per_class: int = 10,
    draws: int = 10,
    k: int = 5,
    quiet: bool = True,
) -> Read:
    """`read` of the mean codes of two splits, by a column of labels of both.

    Raises Fault where there are no such labels, and as `read` does.
    """
    keys = random.split(key, 3)
    known, asked = (
        labelled(encode(model, params, split, one, quiet), column) for split, one in zip((train, test), keys)
    )
    return read(known, asked, keys[2], per_class=per_class, draws=draws, k=k)


def read_values(
    model: Model | Conditional,
    params: Any,
    train: Any,
    test: Any,
    key: Array,
    values: Mapping[str, tuple[Any, Any]],
    *,
    quiet: bool = True,
) -> dict[str, Fit]:
    """R^2 of measured values, {name: ([n] of the train rows, [m] of the test rows)}, by ridge regression on mean codes.

    Raises Fault as `regression` does.
    """
    codes = [encode(model, params, split, k, quiet)['mean'] for split, k in zip((train, test), random.split(key))]
    return {name: regression(codes[0], first, codes[1], second) for name, (first, second) in values.items()}


def styles(train_pictures: Any, test_pictures: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Slant and thickness of the pictures [n, h, w] of two splits, for `read_values`: grey ones, not binarized ones.

    Raises Fault as `slant` and `thickness` do.
    """
    return {f.__name__: (f(train_pictures), f(test_pictures)) for f in (slant, thickness)}

"""Samples of a model beside the data: how good they are, whether a test tells them apart, whether they are copies."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array, random, vmap

from vae_jax.errors import Fault
from vae_jax.evaluation.checks import counted, split_and_key
from vae_jax.evaluation.distances import Distance, fid, kid
from vae_jax.evaluation.features import Features, featured
from vae_jax.evaluation.manifolds import Copies, Manifolds, copies, density_coverage, precision_recall
from vae_jax.evaluation.streaming import ROWS, Rows, example, over, seen
from vae_jax.evaluation.two_samples import C2ST, MMDTest, c2st, mmd_test
from vae_jax.models import Conditional, Model


class Quality(NamedTuple):
    """What samples of a model are worth beside as many examples, all under the same features."""

    fid: Distance
    kid: Distance
    precision_recall: Manifolds
    density_coverage: Manifolds

    def __str__(self) -> str:
        return '; '.join(map(str, self))


class Told(NamedTuple):
    """Whether samples are told from as many examples, by a kernel and by a classifier, under named features."""

    mmd: MMDTest
    c2st: C2ST
    features: str
    n: int

    def __str__(self) -> str:
        return f'{self.mmd}; {self.c2st} ({self.n} of each, {self.features})'


def drawn(p: Any, key: Array) -> Any:
    """x ~ p(x|z): what a model of the data as it sees them is to be judged by."""
    return p.sample(key)


def mean_of(p: Any, key: Array) -> Any:
    """E[x|z]: the usual picture; another distribution than that of x, with less noise."""
    return p.mean


@cache
def _beside_rows(model: Model | Conditional, draw: Callable[[Any, Array], Any]) -> Rows:
    def rows_of(member: tuple[Any, Array], shared: tuple[Any, Array]) -> tuple[Any, Any]:
        (params, key), (split, rows) = member, shared

        def one(row: Array) -> tuple[Any, Any]:
            of_row, x, model_key = example(model, split, key, row)
            a, b = random.split(model_key)
            return draw(of_row.decode(params, of_row.prior(params).sample(a)), b), x

        return vmap(one)(rows)

    return rows_of


def samples_beside(
    model: Model | Conditional,
    params: Any,
    split: Any,
    key: Array,
    *,
    n: int | None = None,
    draw: Callable[[Any, Array], Any] = drawn,
    quiet: bool = True,
    kept: Any = None,
) -> tuple[Any, Any]:
    """n samples of a model and the first n examples x as it sees them, each [n, *shape]; all of the split by default.

    z ~ p(z), or p(z|c) with the condition c of example i: a Conditional's samples have the conditions of the data.
    Raises Fault where the split has fewer than n.
    """
    split_and_key(split, key)
    n = len(split) if n is None else counted('n', n, 0)
    if not 1 <= n <= len(split):
        raise Fault(f'{n} examples were asked for, the split has {len(split)}', f'pass n between 1 and {len(split)}')
    part = split.at(np.arange(n))
    what = f'samples, {getattr(draw, "__name__", draw)}'
    return over(_beside_rows(model, draw), params, key, part, min(n, ROWS), quiet, what, kept)


def sample_quality(
    model: Model | Conditional,
    params: Any,
    split: Any,
    key: Array,
    *,
    features: Features,
    n: int | None = None,
    k: int = 3,
    draw: Callable[[Any, Array], Any] = drawn,
    quiet: bool = True,
    kept: Any = None,
) -> Quality:
    """FID, KID, precision and recall (k neighbours), density and coverage (k + 2) of n samples against n examples.

    Under the features given, which the result names. Raises Fault as `samples_beside`, `fid` and `precision_recall` do.
    """
    made, examples = samples_beside(model, params, split, key, n=n, draw=draw, quiet=quiet, kept=kept)
    a, b = featured(features, jax.tree.map(np.asarray, made)), featured(features, examples)
    return Quality(fid(a, b), kid(a, b), precision_recall(a, b, k), density_coverage(a, b, k + 2))


def sample_tests(
    model: Model | Conditional,
    params: Any,
    split: Any,
    key: Array,
    *,
    features: Features,
    n: int | None = None,
    permutations: int = 200,
    draw: Callable[[Any, Array], Any] = drawn,
    quiet: bool = True,
    kept: Any = None,
) -> Told:
    """`mmd_test` and `c2st` of n samples against n examples, under the features given, which the result names.

    Raises Fault as `samples_beside`, `mmd_test` and `c2st` do.
    """
    a, b = random.split(key)
    pair = samples_beside(model, params, split, key, n=n, draw=draw, quiet=quiet, kept=kept)
    made, examples = (featured(features, xs).values for xs in pair)
    return Told(mmd_test(made, examples, a, permutations), c2st(made, examples, b), features.name, len(made))


def sample_copies(
    model: Model | Conditional,
    params: Any,
    train: Any,
    test: Any,
    key: Array,
    *,
    features: Features,
    n: int | None = None,
    draw: Callable[[Any, Array], Any] = drawn,
    quiet: bool = True,
    kept: Any = None,
) -> Copies:
    """`copies`: whether n samples lie closer to the training split than n test examples do, under the features given.

    Raises Fault as `samples_beside` does.
    """
    pair = samples_beside(model, params, test, key, n=n, draw=draw, quiet=quiet, kept=kept)
    made, fresh = (featured(features, xs).values for xs in pair)
    return copies(made, featured(features, seen(model, train, key)).values, fresh)

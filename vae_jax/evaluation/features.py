"""Features of x under which samples are judged. A result carries their name, and only equal names are compared."""

import hashlib
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array, vmap

from vae_jax.errors import Fault
from vae_jax.evaluation.checks import shown
from vae_jax.evaluation.codes import _flat
from vae_jax.evaluation.scores import matrix
from vae_jax.evaluation.streaming import ROWS
from vae_jax.models import Model


class Features(NamedTuple):
    """of(params, x) -> [d] of one x, under a name that no other features have."""

    name: str
    of: Callable[[Any, Any], Array]
    params: Any = None


class Featured(NamedTuple):
    """Features [n, d] of n examples, and what they are called."""

    name: str
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)


def check_comparable(*names: str) -> None:
    """Raises Fault where features have different names."""
    if len(set(names)) > 1:
        found = (
            f'features {" and ".join(sorted(set(names)))}: numbers under different features are never put side by side'
        )
        raise Fault(found, 'take all of them under the same features')


def check_alike(*found: Any) -> None:
    """Raises Fault where one is no Featured (a plain array, say), and where their features have different names."""
    for one in found:
        if not isinstance(one, Featured):
            fix = "pass evaluation.featured(features, xs), or Featured('a name', values) of features that are ready"
            raise Fault(f'the features are {shown(one)}, expected a Featured', fix)
    check_comparable(*(one.name for one in found))


def named_features(name: str, f: Callable[[Any], Array]) -> Features:
    """Features of any function of one x, under a name of the user's: a layer of a classifier, say."""
    return Features(name, _alone(f))


@cache
def _alone(f: Callable[[Any], Array]) -> Callable[[Any, Any], Array]:
    return lambda params, x: f(x)


def _digest(arrays: Any) -> str:
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(arrays):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()[:8]


def _projected(params: tuple[Array, Array], x: Any) -> Array:
    mean, axes = params
    return axes @ (_flat(x) - mean)


def pca_features(xs: Any, d: int) -> Features:
    """A (x - mean) [d]: the first d principal axes of xs [n, *shape], not whitened; the name holds their hash.

    They need no download, and see what differs in large, smooth ways only. Raises Fault on d beyond min(n - 1, dims).
    """
    from sklearn.decomposition import PCA

    flat = matrix(np.asarray(xs).reshape(len(xs), -1), 'examples', 2)
    if not 1 <= d <= min(len(flat) - 1, flat.shape[1]):
        found = f'{d} principal axes of {len(flat)} examples of {flat.shape[1]} numbers'
        raise Fault(found, f'give d between 1 and {min(len(flat) - 1, flat.shape[1])}')
    fitted = PCA(d, svd_solver='covariance_eigh').fit(flat)
    params = np.asarray(fitted.mean_, np.float32), np.asarray(fitted.components_, np.float32)
    return Features(f'pca-{d} ({_digest(params)})', _projected, params)


@cache
def _encoded(model: Model) -> Callable[[Any, Any], Array]:
    return lambda params, x: _flat(model.encode(params, x).mean)


def encoder_features(model: Model, params: Any) -> Features:
    """E[z|x] [d] of a trained model's q(z|x); the name holds the hash of its params.

    A judge for other models: a model's samples agree with what its own encoder can see. Raises Fault on a Conditional.
    """
    if not isinstance(model, Model):
        raise Fault('the encoder of a conditional model sees more than x', 'give named_features a function of x alone')
    return Features(f'encoder ({_digest(params)})', _encoded(model), params)


@partial(jax.jit, static_argnames='of')
def _block(of: Callable[[Any, Any], Array], params: Any, xs: Any) -> Array:
    return vmap(lambda x: _flat(of(params, x)))(xs)


def featured(features: Features, xs: Any) -> Featured:
    """Features [n, d] of xs [n, *shape], any pytree of these, a block at a time.

    Raises Fault on what is no Features, where there are no examples, and where a feature is not finite.
    """
    if not isinstance(features, Features):
        found = f'the features are {shown(features)}, expected Features'
        raise Fault(found, 'pass evaluation.pca_features(train_x, 50), or named_features of a function')
    n = len(jax.tree.leaves(xs)[0])
    if n == 0:
        raise Fault('no examples to take features of', 'give one or more')
    size, values = min(n, ROWS), []
    for start in range(0, n, size):
        rows = np.minimum(np.arange(start, start + size), n - 1)  # the last block is filled up: one program for all
        block = jax.tree.map(lambda x, rows=rows: x[rows], xs)
        values.append(np.asarray(_block(features.of, features.params, block)))
    return Featured(features.name, matrix(np.concatenate(values)[:n], f'features {features.name!r}'))

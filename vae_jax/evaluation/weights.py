"""Weights of samples of z summed as they come, the precision of it, and the densities that it needs."""

import contextlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax, random, vmap

from vae_jax.distributions import Delta
from vae_jax.errors import Fault
from vae_jax.evaluation.checks import applied, float_type, split_and_key
from vae_jax.evaluation.streaming import example
from vae_jax.models import Conditional, Model


class Weights(NamedTuple):
    """Of k log w: log_mean = log 1/k sum w, effective = (sum w)^2 / sum w^2, and mean, the plain one of log w."""

    log_mean: Array
    effective: Array
    mean: Array


def weights_streamed(log_w_of: Callable[[Array], Array], key: Array, k: int, rows: int) -> Weights:
    """log_w_of(key) -> log w, k times and `rows` of them at a time: memory does not grow with k.

    Sums are of w / max w so far, and of log w less its mean over the first rows: a running log of the sum, or a running
    mean, would round at every block to the digits that log p(x) leaves, which at k = 1e6 adds up.
    """

    def block(carry: Any, i: Array) -> tuple[Any, None]:
        top, first, second, near, total = carry
        log_w = vmap(log_w_of)(random.split(random.fold_in(key, i), rows))
        real = i * rows + jnp.arange(rows) < k
        log_w = jnp.where(real, log_w, -jnp.inf)
        higher = jnp.maximum(top, jnp.max(log_w))
        shift = jnp.where(jnp.isneginf(higher), 0.0, higher)  # weights that are all zero so far
        w, fall = jnp.exp(log_w - shift), jnp.exp(top - shift)
        near = jnp.where(i == 0, jnp.sum(jnp.where(real, log_w, 0.0)) / min(rows, k), near)
        total = total + jnp.sum(jnp.where(real, log_w - near, 0.0))
        return (higher, first * fall + jnp.sum(w), second * fall**2 + jnp.sum(w**2), near, total), None

    zero = jnp.zeros((), jax.eval_shape(log_w_of, key).dtype)
    start = (zero - jnp.inf, zero, zero, zero, zero)
    (top, first, second, near, total), _ = lax.scan(block, start, jnp.arange(-(-k // rows)))
    return Weights(top + jnp.log(first) - math.log(k), first**2 / second, near + total / k)


def as_type(tree: Any, dtype: Any) -> Any:
    """The tree with its real numbers as dtype, or as they are where that is None; all else stays what it is."""
    if dtype is None:
        return tree
    real = lambda a: hasattr(a, 'dtype') and jnp.issubdtype(a.dtype, jnp.floating)
    return jax.tree.map(lambda a: a.astype(dtype) if real(a) else a, tree)


def precision(dtype: Any) -> contextlib.AbstractContextManager:
    """Where arrays of dtype can be made: jax.enable_x64 for float64, whatever the host has set; else nothing."""
    double = dtype is not None and float_type(dtype) == jnp.dtype('float64')  # None is equal to float64 to numpy
    return jax.enable_x64(True) if double else contextlib.nullcontext()


def shapes_of(model: Model | Conditional, params: Any, split: Any, key: Array) -> tuple[Any, Any, Any]:
    """(p(z), q(z|x), p(x|z)) of the first row, of the first member of a population: shapes for leaves.

    Raises Fault on what is no split or no key, and on x that the model cannot take.
    """
    split_and_key(split, key)
    if key.ndim:
        params = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), params)

    def first(params: Any, split: Any, key: Array) -> tuple[Any, Any, Any]:
        of_row, x, key = example(model, split, key, 0)
        p = of_row.prior(params)
        return p, of_row.encode(params, x), of_row.decode(params, p.sample(key))

    with applied(split):
        return jax.eval_shape(first, params, split, random.key(0))


def check_densities(model: Model | Conditional, params: Any, split: Any, key: Array) -> tuple[Any, Any, Any]:
    """`shapes_of`. Raises Fault where one is a point, which has no density: that of an autoencoder, of a generator."""
    found = shapes_of(model, params, split, key)
    for distribution, what in zip(found, ('p(z)', 'q(z|x)', 'p(x|z)')):
        if isinstance(distribution, Delta):
            raise Fault(f'{what} is a point and has no density, so this model has no log p(x)', 'evaluate its codes')
    return found

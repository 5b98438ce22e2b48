"""What all distributions share: the shape of a family, the static rank, and the refusal of batches."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from vae_jax.errors import Fault


class Family(NamedTuple):
    """How features become a distribution: `from_features(features [..., arity])`, and what it can give mass to."""

    arity: int
    from_features: Callable[[Array], Any]
    supports: Callable[[Any], Array]
    support: str
    normalized: bool = True
    name: str = 'a family'
    dims: int | None = None  # of the only features [dims, arity] that it takes; None: any


def static(default: Any = None) -> Any:
    """A field that is not a leaf."""
    return dataclasses.field(default=default, metadata={'static': True})


def set_rank(distribution: Any, leaf: Any, parameter_axes: int = 0) -> None:
    """Remembers the rank of one example's leaf when a distribution is made, less its last axes of parameters."""
    if distribution.rank is None:
        object.__setattr__(distribution, 'rank', jnp.ndim(leaf) - parameter_axes)


def check_one_example(distribution: Any, leaf: Array, x: Array) -> None:
    """Raises Fault where leaves are a batch, or where x has another shape (it would broadcast, or be summed over)."""
    name = type(distribution).__name__
    if leaf.ndim > distribution.rank:
        raise Fault(
            f'{name}.log_prob was given a batch: leaves {leaf.shape}, one example has rank {distribution.rank}',
            'vmap it: vmap(lambda q, x: q.log_prob(x))(qs, xs)',
        )
    if jnp.shape(x) != leaf.shape:
        raise Fault(
            f'{name}.log_prob got x of shape {jnp.shape(x)}, expected {leaf.shape}', 'pass one example of that shape'
        )


def check_vector(distribution: Any, leaf: Array, x: Array) -> None:
    """`check_one_example`, and Fault where the last axis is gone: dependent entries have no densities of their own."""
    if leaf.ndim == 0:
        raise Fault(
            f'the entries of {type(distribution).__name__} depend on each other: there is no density of one of them',
            'use a family that is independent over dimensions, such as Normal',
        )
    check_one_example(distribution, leaf, x)


def sample_and_log_prob(self: Any, key: Array) -> tuple[Any, Array]:
    """x ~ p and log p(x)."""
    x = self.sample(key)
    return x, self.log_prob(x)


def sum_of_each(self: Any, x: Array) -> Array:
    """sum_i log p(x_i), in nats: the sum of `each(x)`. Raises Fault on a batch."""
    return jnp.sum(self.each(x))


def no_kl(q: Any, p: Any) -> Fault:
    """The refusal of a closed-form KL between two families that have none."""
    return Fault(f'KL({type(q).__name__} || {type(p).__name__}) has no closed form here', 'pass kl=monte_carlo')


def made_by(family: Any) -> Any:
    """The distribution that a family makes, with shapes for leaves."""
    shape = (getattr(family, 'dims', None) or 2, family.arity)
    return jax.eval_shape(family.from_features, jax.ShapeDtypeStruct(shape, jnp.float32))


def family_name(family: Any) -> str:
    """The name people know a family by."""
    return getattr(family, 'name', None) or family.__name__


def check_support(family: Any, x: Any) -> None:
    """Raises Fault where x has a value that the family gives no mass to; x must be concrete."""
    bad = ~jnp.asarray(family.supports(x))
    if bool(jnp.any(bad)):
        # values come first in what is more than an array: an Observed
        value = float(jnp.asarray(jax.tree.leaves(x)[0])[bad][0])
        fix = (
            'binarize the data, choose discretized_logistic(levels), or ask for SoftBernoulli by name'
            if family_name(family) == 'Bernoulli'
            else 'choose a likelihood that fits the data'
        )
        raise Fault(f'{family_name(family)} expects {family.support}, found {value:g}', fix)

"""Distributions made of distributions: mixtures, straight-through samples, missing entries, the columns of a table."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax, random, vmap
from jax.scipy.special import logsumexp

from vae_jax.distributions.base import (
    Family,
    family_name,
    made_by,
    no_kl,
    sample_and_log_prob,
    set_rank,
    static,
    sum_of_each,
)
from vae_jax.errors import Fault


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mixture:
    """sum_k softmax(log_weights)_k p_k(x): log_weights [k], components of any family whose leaves lead with [k]."""

    log_weights: Array
    components: Any
    rank: int | None = static()

    reparameterized: ClassVar[bool] = False
    normalized: ClassVar[bool] = True

    sample_and_log_prob = sample_and_log_prob

    def __post_init__(self) -> None:
        set_rank(self, self.log_weights)

    @property
    def support(self) -> str:
        """That of its components."""
        return self.components.support

    def supports(self, x: Any) -> Array:
        return self.components.supports(x)

    @property
    def mean(self) -> Any:
        """sum_k w_k E_k[x]."""
        weights = jax.nn.softmax(self.log_weights)
        return jax.tree.map(lambda m: jnp.tensordot(weights, m, 1), vmap(lambda c: c.mean)(self.components))

    def sample(self, key: Array) -> Any:
        a, b = random.split(key)
        k = random.categorical(a, self.log_weights)
        return jax.tree.map(lambda leaf: leaf[k], self.components).sample(b)

    def log_prob(self, x: Any) -> Array:
        """logsumexp_k(log w_k + log p_k(x)), in nats. Raises Fault on a batch."""
        if self.log_weights.ndim > (self.rank or 0):
            raise Fault(
                f'Mixture.log_prob was given a batch: log_weights {self.log_weights.shape}, one example has rank 1',
                'vmap it: vmap(lambda q, x: q.log_prob(x))(qs, xs)',
            )
        each = vmap(lambda component: component.log_prob(x))(self.components)
        return logsumexp(jax.nn.log_softmax(self.log_weights) + each)

    def kl(self, p: Any) -> Array:
        """Raises Fault: mixtures have no closed form."""
        raise no_kl(self, p)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class StraightThrough:
    """`base`, but a sample's gradient is that of the mean: biased, of low variance (Bengio et al. 2013)."""

    base: Any

    reparameterized: ClassVar[bool] = True
    normalized: ClassVar[bool] = True

    sample_and_log_prob = sample_and_log_prob

    @property
    def support(self) -> str:
        """That of its base."""
        return self.base.support

    @property
    def mean(self) -> Array:
        return self.base.mean

    def supports(self, x: Array) -> Array:
        return self.base.supports(x)

    def sample(self, key: Array) -> Array:
        """x ~ base, with the gradient of E[x]."""
        mean = self.base.mean
        return lax.stop_gradient(self.base.sample(key)) + (mean - lax.stop_gradient(mean))

    def log_prob(self, x: Array) -> Array:
        """That of the base, in nats. Raises Fault on a batch."""
        return self.base.log_prob(x)

    def kl(self, p: Any) -> Array:
        """KL(base || p), in nats. Raises Fault where that has no closed form."""
        return self.base.kl(getattr(p, 'base', p))


def straight_through(family: Any) -> Family:
    """A discrete family whose samples carry the gradient of their mean. Raises Fault where they have one already."""
    if made_by(family).reparameterized:
        raise Fault(f'samples of {family_name(family)} have a gradient of their own', 'use the family itself')
    return Family(
        arity=family.arity,
        from_features=lambda f: StraightThrough(family.from_features(f)),
        supports=family.supports,
        support=family.support,
        normalized=family.normalized,
        name=f'straight_through({family_name(family)})',
    )


class Observed(NamedTuple):
    """Values beside their mask [same shape]: True (or 1) where a value was seen; what stands elsewhere is not read."""

    x: Array
    mask: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Masked:
    """`base` of the values that were seen; its x is an `Observed` (Nazabal et al. 2020, eq. 2)."""

    base: Any

    reparameterized: ClassVar[bool] = False
    normalized: ClassVar[bool] = True

    sample_and_log_prob = sample_and_log_prob

    @property
    def mean(self) -> Array:
        """E[x] of all values, seen or not: what to impute with."""
        return self.base.mean

    def sample(self, key: Array) -> Observed:
        """All values, each as if seen."""
        x = self.base.sample(key)
        return Observed(x, jnp.ones(jnp.shape(x), bool))

    def log_prob(self, x: Observed) -> Array:
        """sum over seen i of log p(x_i), in nats; of others not even a nan leaves a trace. Raises Fault on a batch."""
        seen = jnp.asarray(x.mask, bool)
        # 0 is in the support of every family here, so the branch not taken is finite too
        each = self.base.each(jnp.where(seen, x.x, jnp.zeros_like(x.x)))
        return jnp.sum(jnp.where(seen.reshape(-1), each, 0.0))


def masked(family: Any) -> Family:
    """A family of x as `Observed(x, mask)`. Raises Fault where its values have no densities of their own."""
    _check_each(family, 'masked')
    return Family(
        arity=family.arity,
        from_features=lambda f: Masked(family.from_features(f)),
        supports=lambda x: family.supports(x.x) | ~jnp.asarray(x.mask, bool),
        support=family.support,
        normalized=family.normalized,
        name=f'masked({family_name(family)})',
        dims=getattr(family, 'dims', None),
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Columns:
    """prod_j p_j(x_j) over the columns x [n] of one row: parts[i] has columns `where[i]` (Nazabal et al. 2020)."""

    parts: tuple[Any, ...]
    where: tuple[tuple[int, ...], ...] = static(())

    reparameterized: ClassVar[bool] = False
    normalized: ClassVar[bool] = True

    log_prob = sum_of_each
    sample_and_log_prob = sample_and_log_prob

    def _in_order(self, values: list[Array]) -> Array:
        return jnp.concatenate(values)[np.argsort(np.concatenate(self.where))]

    @property
    def mean(self) -> Array:
        return self._in_order([part.mean for part in self.parts])

    def sample(self, key: Array) -> Array:
        keys = random.split(key, len(self.parts))
        return self._in_order([part.sample(k) for part, k in zip(self.parts, keys)])

    def each(self, x: Array) -> Array:
        """log p_j(x_j) [n], in nats. Raises Fault on a batch, and where x is not one row."""
        count = sum(map(len, self.where))
        if jnp.shape(x) != (count,):
            raise Fault(f'Columns.log_prob got x of shape {jnp.shape(x)}, expected ({count},)', 'pass one row')
        return self._in_order([part.each(jnp.asarray(x)[np.array(at)]) for part, at in zip(self.parts, self.where)])


def columns(*families: Any) -> Family:
    """One family for each column of a table, x [n]: features [n, the largest arity]; each reads its first ones.

    Columns of one family (the same object) are computed together. Raises Fault where there are none, or where a family
    has no densities value by value.
    """
    if not families:
        raise Fault('a table without columns has no density', 'name one family for each column')
    kinds: list[Any] = []
    for family in families:
        _check_each(family, 'columns')
        kinds += [] if any(family is kind for kind in kinds) else [family]
    where = tuple(tuple(i for i, f in enumerate(families) if f is kind) for kind in kinds)

    def from_features(features: Array) -> Columns:
        if features.shape[0] != len(families):
            raise Fault(f'{len(families)} columns got features {features.shape}', 'give one family for each column')
        parts = [kind.from_features(features[np.array(at), : kind.arity]) for kind, at in zip(kinds, where)]
        return Columns(tuple(parts), where)

    def supports(x: Array) -> Array:
        return jnp.stack([family.supports(x[..., i]) for i, family in enumerate(families)], -1)

    return Family(
        arity=max(family.arity for family in families),
        from_features=from_features,
        supports=supports,
        support=', '.join(family.support for family in families),
        normalized=all(family.normalized for family in families),
        name=f'columns({", ".join(map(family_name, families))})',
        dims=len(families),
    )


def _check_each(family: Any, wrapper: str) -> None:
    if not hasattr(made_by(family), 'each'):
        raise Fault(
            f'{wrapper}({family_name(family)}): its entries have no densities of their own',
            'use a family that is independent over dimensions',
        )

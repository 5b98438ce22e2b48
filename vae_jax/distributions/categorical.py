"""One of n: as a one-hot vector, relaxed to the simplex, and as the level of a value."""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array, random
from jax.scipy.special import logsumexp

from vae_jax.distributions.base import (
    Family,
    check_one_example,
    check_vector,
    no_kl,
    sample_and_log_prob,
    set_rank,
    static,
    sum_of_each,
)
from vae_jax.distributions.logistic import on_grid
from vae_jax.errors import Fault


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Categorical:
    """One-hot vectors x [..., n] with P(x_k = 1) = softmax(logits)_k, independent over the axes before the last.

    Samples carry no gradient (`reparameterized` is False); `straight_through(categorical(n))` is the family whose do.
    """

    logits: Array
    rank: int | None = static()

    reparameterized: ClassVar[bool] = False
    normalized: ClassVar[bool] = True
    support: ClassVar[str] = 'one-hot vectors'

    sample_and_log_prob = sample_and_log_prob

    def __post_init__(self) -> None:
        set_rank(self, self.logits)

    @staticmethod
    def supports(x: Array) -> Array:
        return ((x == 0) | (x == 1)) & (jnp.sum(x, -1, keepdims=True) == 1)

    @property
    def mean(self) -> Array:
        return jax.nn.softmax(self.logits)

    def sample(self, key: Array) -> Array:
        k = random.categorical(key, self.logits)
        return jax.nn.one_hot(k, self.logits.shape[-1], dtype=self.logits.dtype)

    def log_prob(self, x: Array) -> Array:
        """sum x log_softmax(logits), in nats. Raises Fault on a batch."""
        check_vector(self, self.logits, x)
        return jnp.sum(x * jax.nn.log_softmax(self.logits))

    def kl(self, p: Any) -> Array:
        """KL(self || p) = sum softmax(l) (log_softmax(l) - log_softmax(l_p)), nats.

        Raises Fault where p is of another family.
        """
        if not isinstance(p, Categorical):
            raise no_kl(self, p)
        check_vector(self, self.logits, p.logits)
        return jnp.sum(self.mean * (jax.nn.log_softmax(self.logits) - jax.nn.log_softmax(p.logits)))


def _at_least_two(categories: int) -> None:
    if categories < 2:
        raise Fault(f'a choice among {categories} categories is none', 'ask for 2 or more')


def categorical(categories: int) -> Family:
    """The family of Categorical: features [..., n] -> logits. Raises Fault for n < 2."""
    _at_least_two(categories)
    return Family(categories, Categorical, Categorical.supports, Categorical.support, name=f'categorical({categories})')


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GumbelSoftmax:
    """z = (logits + Gumbel noise) / temperature, less its mean: softmax(z), for the decoder to take, is nearly one-hot.

    The Concrete distribution in logs (Maddison et al. 2017, app. C; Jang et al. 2017): digits survive where softmax(z)
    underflows. The density is by z_1 - z_n, ..., z_(n-1) - z_n. log_temperature [...], one for each vector.
    """

    logits: Array
    log_temperature: Array
    rank: int | None = static()

    reparameterized: ClassVar[bool] = True
    normalized: ClassVar[bool] = True
    support: ClassVar[str] = 'real vectors of mean zero'

    sample_and_log_prob = sample_and_log_prob

    def __post_init__(self) -> None:
        set_rank(self, self.logits)

    @staticmethod
    def supports(x: Array) -> Array:
        return jnp.isfinite(x) & (jnp.abs(jnp.mean(x, -1, keepdims=True)) <= 1e-4 * (1 + jnp.max(jnp.abs(x))))

    @property
    def mean(self) -> Array:
        return self._relaxed(self.logits)

    @property
    def discrete(self) -> Categorical:
        """The Categorical that it relaxes: its limit at temperature 0, and the law of the largest entry at any."""
        return Categorical(self.logits, self.rank)

    def _relaxed(self, logits: Array) -> Array:
        z = logits * jnp.exp(-self.log_temperature)[..., None]
        return z - jnp.mean(z, -1, keepdims=True)

    def sample(self, key: Array) -> Array:
        return self._relaxed(self.logits + random.gumbel(key, self.logits.shape, self.logits.dtype))

    def log_prob(self, x: Array) -> Array:
        """sum log (n-1)! + (n-1) log t + sum_k y_k - n logsumexp(y), y = logits - t x. Raises Fault on a batch."""
        check_vector(self, self.logits, x)
        n, y = self.logits.shape[-1], self.logits - jnp.exp(self.log_temperature)[..., None] * x
        each = math.lgamma(n) + (n - 1) * self.log_temperature + jnp.sum(y, -1) - n * logsumexp(y, -1)
        return jnp.sum(each)


def gumbel_softmax(categories: int, temperature: Any) -> Family:
    """The family of GumbelSoftmax: features [..., n] -> logits; the temperature may be traced. Fault for n < 2."""
    _at_least_two(categories)
    return Family(
        arity=categories,
        from_features=lambda f: GumbelSoftmax(f, jnp.full_like(f[..., 0], jnp.log(temperature))),
        supports=GumbelSoftmax.supports,
        support=GumbelSoftmax.support,
        name=f'gumbel_softmax({categories}, {temperature})',
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CategoricalLevels:
    """P(x = k spacing) = softmax(logits)_k for each value x, logits [..., levels] (van den Oord et al. 2016)."""

    logits: Array
    spacing: float = static(1.0)
    rank: int | None = static()

    reparameterized: ClassVar[bool] = False
    normalized: ClassVar[bool] = True

    log_prob = sum_of_each
    sample_and_log_prob = sample_and_log_prob

    def __post_init__(self) -> None:
        set_rank(self, self.logits, 1)

    @property
    def mean(self) -> Array:
        k = jnp.arange(self.logits.shape[-1], dtype=self.logits.dtype)
        return jax.nn.softmax(self.logits) @ k * self.spacing

    def sample(self, key: Array) -> Array:
        return random.categorical(key, self.logits).astype(self.logits.dtype) * self.spacing

    def each(self, x: Array) -> Array:
        """logit of x_i's level - logsumexp(logits) [n], in nats. Raises Fault on a batch."""
        check_one_example(self, self.logits[..., 0], x)
        logits = self.logits.reshape(-1, self.logits.shape[-1])
        k = jnp.round(jnp.reshape(x, (-1, 1)) / self.spacing).astype(int)
        return jnp.take_along_axis(logits, k, -1)[:, 0] - logsumexp(logits, -1)


def categorical_levels(levels: int) -> Family:
    """CategoricalLevels of data on `levels` steps from 0 to 1: features [..., levels]. Raises Fault for levels < 2."""
    return Family(
        arity=levels,
        from_features=lambda f: CategoricalLevels(f, 1 / (levels - 1)),
        name=f'categorical_levels({levels})',
        **on_grid(levels),
    )


def category_codes(categories: int) -> Family:
    """CategoricalLevels of data that are codes 0, 1, ..., n - 1: features [..., n]. Raises Fault for n < 2."""
    _at_least_two(categories)
    return Family(
        arity=categories,
        from_features=CategoricalLevels,
        supports=lambda x: (x >= 0) & (x < categories) & (x == jnp.round(x)),
        support=f'a code 0, 1, ..., {categories - 1}',
        name=f'category_codes({categories})',
    )

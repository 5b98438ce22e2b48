"""Counts: Poisson, negative binomial, beta-binomial on levels, and any of them with more zeros."""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array, random

from vae_jax import kernels
from vae_jax.distributions.base import (
    Family,
    check_one_example,
    family_name,
    made_by,
    sample_and_log_prob,
    set_rank,
    static,
    sum_of_each,
)
from vae_jax.distributions.logistic import on_grid
from vae_jax.distributions.special import log_rising
from vae_jax.errors import Fault

_SUPPORT = 'a count 0, 1, 2, ...'


def _counts(x: Array) -> Array:
    return (x >= 0) & jnp.isfinite(x) & (x == jnp.round(x))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Poisson:
    """Poisson(x; exp(log_rate)), independent over dimensions."""

    log_rate: Array
    rank: int | None = static()

    arity: ClassVar[int] = 1
    reparameterized: ClassVar[bool] = False
    normalized: ClassVar[bool] = True
    support: ClassVar[str] = _SUPPORT
    supports = staticmethod(_counts)

    log_prob = sum_of_each
    sample_and_log_prob = sample_and_log_prob

    def __post_init__(self) -> None:
        set_rank(self, self.log_rate)

    @staticmethod
    def from_features(features: Array) -> 'Poisson':
        """features [..., 1] -> log_rate."""
        return Poisson(features[..., 0])

    @property
    def mean(self) -> Array:
        return jnp.exp(self.log_rate)

    def sample(self, key: Array) -> Array:
        return random.poisson(key, self.mean).astype(self.log_rate.dtype)

    def each(self, x: Array) -> Array:
        """x_i log r_i - r_i - log x_i! [n], in nats. Raises Fault on a batch."""
        check_one_example(self, self.log_rate, x)
        x, log_rate = kernels.flat(jnp.asarray(x, self.log_rate.dtype), self.log_rate)
        return -log_rising(jnp.zeros_like(x), x, log_rate) - jnp.exp(log_rate)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NegativeBinomial:
    """Poisson whose rate is a gamma of mean m = exp(log_mean) and shape s = exp(log_shape): variance m + m^2 / s.

    (Lopez et al. 2018, methods.)
    """

    log_mean: Array
    log_shape: Array
    rank: int | None = static()

    arity: ClassVar[int] = 2
    reparameterized: ClassVar[bool] = False
    normalized: ClassVar[bool] = True
    support: ClassVar[str] = _SUPPORT
    supports = staticmethod(_counts)

    log_prob = sum_of_each
    sample_and_log_prob = sample_and_log_prob

    def __post_init__(self) -> None:
        set_rank(self, self.log_mean)

    @staticmethod
    def from_features(features: Array) -> 'NegativeBinomial':
        """features [..., 2] -> log_mean, log_shape."""
        return NegativeBinomial(features[..., 0], features[..., 1])

    @property
    def mean(self) -> Array:
        return jnp.exp(self.log_mean)

    def sample(self, key: Array) -> Array:
        a, b = random.split(key)
        gamma = random.gamma(a, jnp.exp(self.log_shape))
        return random.poisson(b, gamma * jnp.exp(self.log_mean - self.log_shape)).astype(self.log_mean.dtype)

    def each(self, x: Array) -> Array:
        """log Gamma(x_i + s) / Gamma(s) x_i! + s log s / (s + m) + x_i log m / (s + m) [n]. Raises Fault on a batch."""
        check_one_example(self, self.log_mean, x)
        x, mean, shape = kernels.flat(jnp.asarray(x, self.log_mean.dtype), self.log_mean, self.log_shape)
        ways = log_rising(shape, x, jnp.logaddexp(shape, mean)) - log_rising(jnp.zeros_like(x), x, mean)
        return ways - jnp.exp(shape) * jax.nn.softplus(mean - shape)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BetaBinomial:
    """n x ~ Binomial(n, p), p ~ Beta(exp(log_alpha), exp(log_beta)), n = levels - 1, for x on `levels` steps in [0, 1].

    Leaves of one shape, independent over dimensions; the mean and the spread of a pixel are free of each other.
    """

    log_alpha: Array
    log_beta: Array
    levels: int = static(256)
    rank: int | None = static()

    reparameterized: ClassVar[bool] = False
    normalized: ClassVar[bool] = True

    log_prob = sum_of_each
    sample_and_log_prob = sample_and_log_prob

    def __post_init__(self) -> None:
        set_rank(self, self.log_alpha)

    @property
    def mean(self) -> Array:
        return jax.nn.sigmoid(self.log_alpha - self.log_beta)

    def sample(self, key: Array) -> Array:
        a, b = random.split(key)
        p = random.beta(a, jnp.exp(self.log_alpha), jnp.exp(self.log_beta))
        tries = random.uniform(b, (self.levels - 1, *p.shape), p.dtype)
        return jnp.sum(tries < p[None], 0).astype(p.dtype) / (self.levels - 1)

    def each(self, x: Array) -> Array:
        """log (n over k) + log B(k + a, n - k + b) / B(a, b) for each k = n x_i, in nats. Raises Fault on a batch."""
        check_one_example(self, self.log_alpha, x)
        x, alpha, beta = kernels.flat(jnp.asarray(x, self.log_alpha.dtype), self.log_alpha, self.log_beta)
        n = self.levels - 1
        k = jnp.round(x * n)
        ways = jnp.asarray([math.log(math.comb(n, i)) for i in range(n + 1)], x.dtype)[k.astype(int)]
        both = jnp.logaddexp(alpha, beta)
        scale = jnp.logaddexp(both, math.log(n))
        of_all = log_rising(both, jnp.full_like(k, n), scale)
        return ways + log_rising(alpha, k, scale) + log_rising(beta, n - k, scale) - of_all


def beta_binomial(levels: int) -> Family:
    """The family of BetaBinomial on `levels` values: features [..., 2] -> log_alpha, log_beta; zeros are uniform.

    Raises Fault for levels < 2.
    """
    return Family(
        arity=2,
        from_features=lambda f: BetaBinomial(f[..., 0], f[..., 1], levels),
        name=f'beta_binomial({levels})',
        **on_grid(levels),
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ZeroInflated:
    """0 with probability sigmoid(logits), else a draw of `base`, for each value (Lambert 1992)."""

    base: Any
    logits: Array
    rank: int | None = static()

    reparameterized: ClassVar[bool] = False
    normalized: ClassVar[bool] = True

    log_prob = sum_of_each
    sample_and_log_prob = sample_and_log_prob

    def __post_init__(self) -> None:
        set_rank(self, self.logits)

    @property
    def mean(self) -> Array:
        return jax.nn.sigmoid(-self.logits) * self.base.mean

    def sample(self, key: Array) -> Array:
        a, b = random.split(key)
        return jnp.where(random.bernoulli(a, jax.nn.sigmoid(self.logits)), 0.0, self.base.sample(b))

    def each(self, x: Array) -> Array:
        """log(sigmoid(l_i) [x_i = 0] + sigmoid(-l_i) p(x_i)) [n], in nats. Raises Fault on a batch."""
        check_one_example(self, self.logits, x)
        logits, flat = kernels.flat(self.logits, jnp.asarray(x))
        drawn = jax.nn.log_sigmoid(-logits) + self.base.each(x)
        return jnp.where(flat == 0, jnp.logaddexp(jax.nn.log_sigmoid(logits), drawn), drawn)


def zero_inflated(family: Any) -> Family:
    """A family of counts with more zeros: its features, and then the logits of a zero that is not its own.

    Raises Fault where the family is not one of counts.
    """
    if family.support != _SUPPORT or not hasattr(made_by(family), 'each'):
        raise Fault(f'zero_inflated({family_name(family)}) is not of counts', 'use Poisson or NegativeBinomial')
    return Family(
        arity=family.arity + 1,
        from_features=lambda f: ZeroInflated(family.from_features(f[..., :-1]), f[..., -1]),
        supports=family.supports,
        support=family.support,
        name=f'zero_inflated({family_name(family)})',
    )

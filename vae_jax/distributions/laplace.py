"""Laplace, and Delta: a point where the others have a spread."""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array, random

from vae_jax import kernels
from vae_jax.distributions.base import (
    check_one_example,
    no_kl,
    sample_and_log_prob,
    set_rank,
    static,
    sum_of_each,
)

_HALF_LOG_2 = 0.5 * math.log(2)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Laplace:
    """exp(-|x - mean| / b) / 2 b with b = exp(log_std) / sqrt 2, independent over dimensions."""

    mean: Array
    log_std: Array
    rank: int | None = static()

    arity: ClassVar[int] = 2
    reparameterized: ClassVar[bool] = True
    normalized: ClassVar[bool] = True
    support: ClassVar[str] = 'any real number'

    log_prob = sum_of_each
    sample_and_log_prob = sample_and_log_prob

    def __post_init__(self) -> None:
        set_rank(self, self.mean)

    @staticmethod
    def from_features(features: Array) -> 'Laplace':
        """features [..., 2] -> mean, log_std."""
        return Laplace(features[..., 0], features[..., 1])

    @staticmethod
    def supports(x: Array) -> Array:
        return jnp.isfinite(x)

    def sample(self, key: Array) -> Array:
        """x = mean + b eps, eps of the Laplace with scale one."""
        noise = random.laplace(key, self.mean.shape, self.mean.dtype)
        return self.mean + jnp.exp(self.log_std - _HALF_LOG_2) * noise

    def each(self, x: Array) -> Array:
        """-|x_i - mean_i| / b_i - log 2 b_i [n], in nats. Raises Fault on a batch."""
        check_one_example(self, self.mean, x)
        x, mean, log_std = kernels.flat(jnp.asarray(x), self.mean, self.log_std)
        return -jnp.abs(x - mean) * jnp.exp(_HALF_LOG_2 - log_std) - log_std - _HALF_LOG_2

    def kl(self, p: Any) -> Array:
        """KL(self || p) = sum log(b_p / b) - 1 + (b exp(-|m - m_p| / b) + |m - m_p|) / b_p, nats (Meyer 2021, eq. 2).

        Raises Fault where p is of another family.
        """
        if not isinstance(p, Laplace):
            raise no_kl(self, p)
        check_one_example(self, self.mean, p.mean)
        log_ratio = self.log_std - p.log_std
        apart = jnp.abs(self.mean - p.mean) * jnp.exp(_HALF_LOG_2 - self.log_std)
        return jnp.sum(jnp.expm1(log_ratio) - log_ratio + jnp.exp(log_ratio) * (jnp.expm1(-apart) + apart))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Delta:
    """All mass on `mean`: the posterior of a deterministic autoencoder. Its KL to any density is infinite."""

    mean: Array
    rank: int | None = static()

    arity: ClassVar[int] = 1
    reparameterized: ClassVar[bool] = True
    normalized: ClassVar[bool] = True
    support: ClassVar[str] = 'any real number'

    log_prob = sum_of_each
    sample_and_log_prob = sample_and_log_prob

    def __post_init__(self) -> None:
        set_rank(self, self.mean)

    @staticmethod
    def from_features(features: Array) -> 'Delta':
        """features [..., 1] -> mean."""
        return Delta(features[..., 0])

    @staticmethod
    def supports(x: Array) -> Array:
        return jnp.isfinite(x)

    def sample(self, key: Array) -> Array:
        """x = mean."""
        return self.mean

    def each(self, x: Array) -> Array:
        """log of the mass at x_i [n]: 0 where x_i = mean_i, else -inf. Raises Fault on a batch."""
        check_one_example(self, self.mean, x)
        x, mean = kernels.flat(jnp.asarray(x), self.mean)
        return jnp.where(x == mean, jnp.zeros_like(mean), -jnp.inf)

    def kl(self, p: Any) -> Array:
        """0 to a Delta at the same place, infinite to another. Raises Fault where p is no Delta."""
        if not isinstance(p, Delta):
            raise no_kl(self, p)
        return -p.log_prob(self.mean)

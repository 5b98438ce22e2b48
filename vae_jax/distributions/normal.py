"""Gaussians: diagonal, with their choices of scale, and of full covariance."""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array, random
from jax.scipy.linalg import solve_triangular

from vae_jax import kernels
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
from vae_jax.errors import Fault

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Normal:
    """N(x; mean, exp(log_std)^2), independent over dimensions: mean and log_std of one shape."""

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
    def from_features(features: Array) -> 'Normal':
        """features [..., 2] -> mean, log_std."""
        return Normal(features[..., 0], features[..., 1])

    @staticmethod
    def supports(x: Array) -> Array:
        return jnp.isfinite(x)

    def sample(self, key: Array) -> Array:
        """x = mean + exp(log_std) eps, eps ~ N(0, I)."""
        return self.mean + jnp.exp(self.log_std) * random.normal(key, self.mean.shape, self.mean.dtype)

    def each(self, x: Array) -> Array:
        """-1/2 ((x_i - mean_i) / std_i)^2 - log std_i - 1/2 log 2 pi [n], in nats. Raises Fault on a batch."""
        check_one_example(self, self.mean, x)
        x, mean, log_std = kernels.flat(jnp.asarray(x), self.mean, self.log_std)
        scaled = (x - mean) * jnp.exp(-log_std)
        return -0.5 * scaled**2 - log_std - _HALF_LOG_2PI

    def kl(self, p: Any) -> Array:
        """KL(self || p) = sum log(s_p / s) - 1/2 + (s^2 + (m - m_p)^2) / (2 s_p^2), nats (Kingma & Welling, app. B).

        Raises Fault where p is of another family: there is no closed form to use.
        """
        if not isinstance(p, Normal):
            raise no_kl(self, p)
        check_one_example(self, self.mean, p.mean)
        log_ratio = self.log_std - p.log_std
        distance = (self.mean - p.mean) * jnp.exp(-p.log_std)
        return jnp.sum(-log_ratio + 0.5 * (jnp.expm1(2 * log_ratio) + distance**2))


def fixed_normal(log_std: Any) -> Family:
    """Normal with a given log_std: features [..., 1] -> mean. Its distortion is squared error / (2 std^2) + const.

    log_std may be a parameter: one that learns, shared by all values and examples (Rybkin et al. 2021, section 4).
    """
    return Family(
        arity=1,
        from_features=lambda f: Normal(f[..., 0], jnp.full_like(f[..., 0], log_std)),
        supports=Normal.supports,
        support=Normal.support,
        name=f'fixed_normal({log_std})',
    )


def bounded_normal(low: float, high: float) -> Family:
    """Normal whose log_std lies in (low, high): low + (high - low) sigmoid(feature), so no step can make it explode."""
    return Family(
        arity=2,
        from_features=lambda f: Normal(f[..., 0], low + (high - low) * jax.nn.sigmoid(f[..., 1])),
        supports=Normal.supports,
        support=Normal.support,
        name=f'bounded_normal({low}, {high})',
    )


SharedNormal = Family(
    arity=2,
    from_features=lambda f: Normal(f[..., 0], jnp.full_like(f[..., 1], jnp.mean(f[..., 1]))),
    supports=Normal.supports,
    support=Normal.support,
    name='SharedNormal',
)
"""Normal with one log_std for all values of an example, the mean of theirs: between `fixed_normal` and `Normal`."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FullNormal:
    """N(x; mean, L L^T) over x [d]: L [d, d] is `lower` below its diagonal, and exp(log_diagonal) on it."""

    mean: Array
    log_diagonal: Array
    lower: Array
    rank: int | None = static()

    reparameterized: ClassVar[bool] = True
    normalized: ClassVar[bool] = True
    support: ClassVar[str] = Normal.support

    sample_and_log_prob = sample_and_log_prob

    def __post_init__(self) -> None:
        set_rank(self, self.mean)

    @property
    def factor(self) -> Array:
        """L [d, d], so that the covariance is L L^T; entries of `lower` above the diagonal are not read."""
        return jnp.tril(self.lower, -1) + jnp.diag(jnp.exp(self.log_diagonal))

    @property
    def log_std(self) -> Array:
        """log of the marginals' standard deviations [d]."""
        return 0.5 * jnp.log(jnp.sum(self.factor**2, -1))

    def sample(self, key: Array) -> Array:
        """x = mean + L eps, eps ~ N(0, I)."""
        return self.mean + self.factor @ random.normal(key, self.mean.shape, self.mean.dtype)

    def log_prob(self, x: Array) -> Array:
        """-1/2 |L^-1 (x - mean)|^2 - sum log_diagonal - d/2 log 2 pi, in nats. Raises Fault on a batch."""
        check_vector(self, self.mean, x)
        scaled = solve_triangular(self.factor, x - self.mean, lower=True)
        return jnp.sum(-0.5 * scaled**2 - self.log_diagonal - _HALF_LOG_2PI)

    def kl(self, p: Any) -> Array:
        """KL(self || p) = 1/2 (|M|^2 + |L_p^-1 (m - m_p)|^2 - d) - sum log M_ii, M = L_p^-1 L, nats.

        p is a FullNormal or a Normal. Raises Fault where it is of another family.
        """
        check_vector(self, self.mean, self.mean)
        if isinstance(p, FullNormal):
            solve, log_diagonal = lambda a: solve_triangular(p.factor, a, lower=True), p.log_diagonal
        elif isinstance(p, Normal):
            solve, log_diagonal = lambda a: a * jnp.exp(-p.log_std).reshape(-1, *[1] * (a.ndim - 1)), p.log_std
        else:
            raise no_kl(self, p)
        check_one_example(p, p.mean, self.mean)
        log_ratio = self.log_diagonal - log_diagonal
        below = jnp.tril(solve(self.factor), -1)
        squares = jnp.sum(below**2) + jnp.sum(jnp.expm1(2 * log_ratio) + solve(self.mean - p.mean) ** 2)
        return 0.5 * squares - jnp.sum(log_ratio)


def full_normal(dims: int) -> Family:
    """The family of FullNormal over [dims]: features [dims, 1 + dims] -> mean, L with the log of its diagonal.

    Raises Fault where features are of another size.
    """

    def from_features(features: Array) -> FullNormal:
        if features.shape != (dims, 1 + dims):
            raise Fault(f'full_normal({dims}) got features {features.shape}', f'expected ({dims}, {1 + dims})')
        return FullNormal(features[:, 0], jnp.diagonal(features[:, 1:]), features[:, 1:])

    name = f'full_normal({dims})'
    return Family(1 + dims, from_features, Normal.supports, Normal.support, name=name, dims=dims)

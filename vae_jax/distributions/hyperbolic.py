"""The density whose cost is log cosh of the error: quadratic near the mean, linear far from it."""

import dataclasses
import functools
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array, random

from vae_jax import kernels
from vae_jax.distributions.base import (
    Family,
    check_one_example,
    sample_and_log_prob,
    set_rank,
    static,
    sum_of_each,
)
from vae_jax.distributions.normal import Normal
from vae_jax.errors import Fault

_LOG_2 = math.log(2)


def log_cosh_of(v: Array) -> Array:
    """log cosh v: v^2 / 2 near 0 with all its digits, |v| - log 2 far from it, where cosh has overflowed."""
    size = jnp.abs(v)
    near = jnp.log1p(2 * jnp.sinh(jnp.minimum(size, 1.0) / 2) ** 2)
    return jnp.where(size < 1, near, size + jnp.log1p(jnp.exp(-2 * size)) - _LOG_2)


@functools.cache
def _constants(sharpness: float) -> tuple[float, float]:
    """(standard deviation of v, log of the integral of sech(v)^nu), nu = 1 / sharpness."""
    nu = 1 / sharpness
    # the trigamma function at nu / 2: up by its recurrence, then its asymptotic series
    x, total = nu / 2, 0.0
    while x < 12:
        total, x = total + x**-2, x + 1
    total += 1 / x + x**-2 / 2 + x**-3 * (1 / 6 - x**-2 * (1 / 30 - x**-2 * (1 / 42 - x**-2 / 30)))
    log_z = 0.5 * math.log(math.pi) + math.lgamma(nu / 2) - math.lgamma((nu + 1) / 2)
    return math.sqrt(total / 2), log_z


def unit_log_std(sharpness: float) -> float:
    """log of the standard deviation of exp(-log cosh(a x) / a), a = sharpness: where the cost is not scaled."""
    return math.log(_constants(sharpness)[0] / sharpness)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LogCosh:
    """p(x) = exp(-log cosh(a u) / a) / Z, u = (x - mean) / s, independent over dimensions; a = sharpness.

    s is such that exp(log_std) is the standard deviation. Z = s sqrt(pi) Gamma(nu / 2) / (a Gamma((nu + 1) / 2)) with
    nu = 1 / a. Small a is nearly a Normal, large a nearly a Laplace. (The cost is that of Chen et al. 2018,
    "Log hyperbolic cosine loss improves variational auto-encoder", which leaves out the normalizer.)
    """

    mean: Array
    log_std: Array
    sharpness: float = static(1.0)
    rank: int | None = static()

    reparameterized: ClassVar[bool] = True
    normalized: ClassVar[bool] = True
    support: ClassVar[str] = Normal.support

    log_prob = sum_of_each
    sample_and_log_prob = sample_and_log_prob

    def __post_init__(self) -> None:
        set_rank(self, self.mean)

    def sample(self, key: Array) -> Array:
        """x = mean + std v / std(v), v = 1/2 logit Beta(nu / 2, nu / 2), the law of density sech(v)^nu."""
        shape = jnp.full(self.mean.shape, 0.5 / self.sharpness, self.mean.dtype)
        a, b = (random.loggamma(k, shape) for k in random.split(key))
        return self.mean + jnp.exp(self.log_std - math.log(_constants(self.sharpness)[0])) * (a - b) / 2

    def each(self, x: Array) -> Array:
        """-nu log cosh(v_i) + log std(v) - log_std_i - log of the integral of sech^nu [n], nats. Fault on a batch."""
        check_one_example(self, self.mean, x)
        x, mean, log_std = kernels.flat(jnp.asarray(x), self.mean, self.log_std)
        std_of_v, log_z = _constants(self.sharpness)
        v = std_of_v * (x - mean) * jnp.exp(-log_std)
        return -log_cosh_of(v) / self.sharpness + math.log(std_of_v) - log_z - log_std


def _family(arity: int, sharpness: float, from_features: Any, name: str) -> Family:
    if not sharpness > 0:
        raise Fault(f'log cosh of sharpness {sharpness} is no cost', 'give a number above 0')
    return Family(arity, from_features, Normal.supports, Normal.support, name=name)


def log_cosh(sharpness: float = 10.0) -> Family:
    """The family of LogCosh: features [..., 2] -> mean, log_std. Raises Fault for sharpness <= 0."""
    make = lambda f: LogCosh(f[..., 0], f[..., 1], float(sharpness))
    return _family(2, sharpness, make, f'log_cosh({sharpness})')


def fixed_log_cosh(sharpness: float, log_std: Any) -> Family:
    """LogCosh with a given log_std: features [..., 1] -> mean. Raises Fault for sharpness <= 0.

    With log_std = unit_log_std(a) its distortion is log cosh(a (x - mean)) / a + const, summed (Chen et al. 2018).
    """
    make = lambda f: LogCosh(f[..., 0], jnp.full_like(f[..., 0], log_std), float(sharpness))
    return _family(1, sharpness, make, f'fixed_log_cosh({sharpness}, {log_std})')

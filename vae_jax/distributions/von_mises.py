"""von Mises-Fisher: the normalizer without cancellation, rejection sampling, and its exact implicit gradient."""

import dataclasses
import math
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax, random

from vae_jax.distributions.base import check_vector, sample_and_log_prob, set_rank, static
from vae_jax.distributions.special import log_sphere_mean
from vae_jax.distributions.sphere import SUPPORT, about, check_uniform, direction_and_concentration, log_area, on_sphere

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class VonMisesFisher:
    """exp(kappa direction.x) / C(kappa) of unit vectors x [d]: a unit direction [d], kappa = exp(log_concentration).

    (Davidson et al. 2018, eq. 1.) Samples are Wood's (1994), their gradient implicit and exact (Figurnov et al. 2018).
    """

    direction: Array
    log_concentration: Array
    rank: int | None = static()

    arity: ClassVar[int] = 2
    reparameterized: ClassVar[bool] = True
    normalized: ClassVar[bool] = True
    support: ClassVar[str] = SUPPORT
    supports = staticmethod(on_sphere)

    sample_and_log_prob = sample_and_log_prob

    def __post_init__(self) -> None:
        set_rank(self, self.direction)

    @staticmethod
    def from_features(features: Array) -> 'VonMisesFisher':
        """features [d, 2] -> direction, and log d + the sum of the others / sqrt d for the log concentration."""
        return VonMisesFisher(*direction_and_concentration(features))

    @property
    def mean(self) -> Array:
        """I_(d/2) / I_(d/2-1)(kappa) direction."""
        slope = _slopes(self.log_concentration, self.direction.shape[-1])[1][0]
        return slope * jnp.exp(-self.log_concentration) * self.direction

    def sample(self, key: Array) -> Array:
        """x = cos(angle) direction + sin(angle) v, v a uniform unit vector across the direction."""
        a, b = random.split(key)
        dims = self.direction.shape[0]
        log_kappa = self.log_concentration
        angle = _implicit(_wood(a, lax.stop_gradient(log_kappa), dims), log_kappa, dims)
        return about(self.direction, jnp.cos(angle), jnp.sin(angle), b)

    def log_prob(self, x: Array) -> Array:
        """kappa direction.x - log E_uniform[exp(kappa x_1)] - log area, in nats. Raises Fault on a batch.

        kappa (direction.x - 1) is taken as -kappa |x - direction|^2 / 2, and the rest scaled by exp(-kappa).
        """
        check_vector(self, self.direction, x)
        kappa, dims = jnp.exp(self.log_concentration), self.direction.shape[0]
        _, less = log_sphere_mean(kappa, dims)
        return less - 0.5 * kappa * jnp.sum((x - self.direction) ** 2) - log_area(dims)

    def kl(self, p: Any) -> Array:
        """KL(self || uniform) = kappa I_(d/2) / I_(d/2-1) - log E_uniform[exp(kappa x_1)] (Davidson et al., eq. 4).

        Raises Fault where p is not a HypersphericalUniform of these dimensions.
        """
        check_vector(self, self.direction, self.direction)
        check_uniform(self, p, self.direction.shape[0])
        (log_mean, less), (slope, less_slope) = _slopes(self.log_concentration, self.direction.shape[0])
        # kappa itself would drown what is left of it when it is large, and what is far below it when it is small
        return jnp.where(self.log_concentration < 0, slope - log_mean, less - less_slope)


def _slopes(log_kappa: Array, dims: int) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """`log_sphere_mean` (F, kappa - F) and its derivatives by log kappa."""
    return jax.jvp(lambda lk: log_sphere_mean(jnp.exp(lk), dims), (log_kappa,), (jnp.ones_like(log_kappa),))


def _wood(key: Array, log_kappa: Array, dims: int) -> Array:
    """The angle to the direction by rejection (Wood 1994), from the projection of a uniform unit vector on an axis."""
    n, kappa = dims - 1, jnp.exp(log_kappa)
    b = n / (2 * kappa + jnp.sqrt(4 * kappa**2 + n * n))

    def propose(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        key, _, _ = carry
        key, a, c = random.split(key, 3)
        eps = random.normal(a, (dims,), log_kappa.dtype)
        across = jnp.sum(eps[1:] ** 2)
        short = across / (across + eps[0] ** 2)
        short = short / (1 + jnp.sqrt(1 - short)) / 2  # (1 - |t|) / 2, t the projection
        low, high = jnp.where(eps[0] < 0, short, 1 - short), jnp.where(eps[0] < 0, 1 - short, short)
        q = low / (high + b * low)  # of 1 - cos(angle) = 2 b q
        log_ratio = 2 * b * kappa * (1 / (1 + b) - q) + n * jnp.log((1 + b) / 2 * (1 + (1 - b) * q))
        return key, b * q, jnp.log1p(-random.uniform(c, (), log_kappa.dtype)) <= log_ratio

    start = (key, jnp.zeros_like(kappa), jnp.zeros(jnp.shape(kappa), bool))
    _, half, _ = lax.while_loop(lambda carry: ~carry[2], propose, start)
    return 2 * jnp.arcsin(jnp.sqrt(half))


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _implicit(angle: Array, log_kappa: Array, dims: int) -> Array:
    """The angle; it follows kappa so that its quantile stays what it is (Figurnov et al. 2018, eq. 5)."""
    return angle


@_implicit.defjvp
def _implicit_jvp(dims: int, primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """d angle / d kappa = -integral_0^angle (cos u - A) p(u) du / p(angle), p(u) = exp(kappa cos u) sin(u)^(d-2).

    The integral over [0, pi] is 0, so the tail that has one sign is taken, over at most twelve widths of p.
    """
    angle, log_kappa = primals
    kappa = jnp.exp(log_kappa)
    short = _slopes(log_kappa, dims)[1][1] / kappa  # 1 - A
    curvature = (dims - 2 + jnp.sqrt((dims - 2) ** 2 + 4 * kappa**2)) / 2
    reach = 12 / jnp.sqrt(curvature + kappa**2 / curvature)
    below = 2 * jnp.sin(angle / 2) ** 2 < short
    low = jnp.where(below, jnp.maximum(angle - reach, 0.0), angle)
    high = jnp.where(below, angle, jnp.minimum(angle + reach, math.pi))
    u = low + (high - low) * jnp.asarray((1 + _NODES) / 2, angle.dtype)
    log_ratio = -2 * kappa * jnp.sin((u + angle) / 2) * jnp.sin((u - angle) / 2)
    if dims > 2:
        log_ratio = log_ratio + (dims - 2) * (jnp.log(jnp.sin(u)) - jnp.log(jnp.sin(angle)))
    integrand = (short - 2 * jnp.sin(u / 2) ** 2) * jnp.exp(log_ratio)
    integral = (high - low) / 2 * (integrand @ jnp.asarray(_WEIGHTS, angle.dtype))
    return angle, tangents[0] + jnp.where(below, -kappa, kappa) * integral * tangents[1]

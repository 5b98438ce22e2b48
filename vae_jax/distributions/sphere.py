"""Distributions of unit vectors: uniform and power spherical. Densities are by area on the sphere of R^d."""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array, random

from vae_jax.distributions.base import check_vector, no_kl, sample_and_log_prob, set_rank, static
from vae_jax.distributions.special import log_beta_mean
from vae_jax.errors import Fault

SUPPORT = 'a unit vector'


def on_sphere(x: Array) -> Array:
    return jnp.broadcast_to(jnp.abs(jnp.sum(x**2, -1, keepdims=True) - 1) < 1e-3, x.shape)


def log_area(dims: int) -> float:
    """log(2 pi^(d/2) / Gamma(d/2))."""
    return math.log(2) + 0.5 * dims * math.log(math.pi) - math.lgamma(dims / 2)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class HypersphericalUniform:
    """Equal density on all unit vectors of R^dims (Davidson et al. 2018, section 3.3). Raises Fault for dims < 2."""

    dims: int = static(2)

    reparameterized: ClassVar[bool] = True
    normalized: ClassVar[bool] = True
    support: ClassVar[str] = SUPPORT
    supports = staticmethod(on_sphere)

    sample_and_log_prob = sample_and_log_prob

    def __post_init__(self) -> None:
        if self.dims < 2:
            raise Fault(
                f'a sphere of unit vectors needs 2 or more dimensions, found {self.dims}', 'use a larger latent'
            )

    @property
    def mean(self) -> Array:
        return jnp.zeros(self.dims)

    def sample(self, key: Array) -> Array:
        """eps / |eps|, eps ~ N(0, I)."""
        eps = random.normal(key, (self.dims,))
        return eps / jnp.sqrt(jnp.sum(eps**2))

    def log_prob(self, x: Array) -> Array:
        """log Gamma(d/2) - log 2 - d/2 log pi, in nats. Raises Fault where x is not one vector [dims]."""
        if jnp.shape(x) != (self.dims,):
            raise Fault(
                f'HypersphericalUniform.log_prob got x of shape {jnp.shape(x)}, expected ({self.dims},)',
                'pass one example of that shape',
            )
        return jnp.full((), -log_area(self.dims), jnp.result_type(x))

    def kl(self, p: Any) -> Array:
        """0 to itself. Raises Fault where p is of another family."""
        check_uniform(self, p, self.dims)
        return jnp.zeros(())


def check_uniform(q: Any, p: Any, dims: int) -> None:
    if not isinstance(p, HypersphericalUniform):
        raise no_kl(q, p)
    if p.dims != dims:
        raise Fault(f'a posterior over {dims} dimensions met a prior over {p.dims}', 'give both the same latent')


def direction_and_concentration(features: Array) -> tuple[Array, Array]:
    """features [d, 2] -> unit vector [d], log concentration: log d and the sum of the second features over sqrt d."""
    v, dims = features[..., 0], features.shape[-2]
    square = jnp.sum(v**2, -1, keepdims=True)
    first = jnp.zeros_like(v).at[..., 0].set(1)
    some = square > 1e-30  # no direction is that of the first axis
    unit = jnp.where(some, v / jnp.sqrt(jnp.where(some, square, 1.0)), first)
    return unit, math.log(dims) + jnp.sum(features[..., 1], -1) / math.sqrt(dims)


def about(direction: Array, along: Array, across: Array, key: Array) -> Array:
    """The vector `along` the direction and `across` it to a random side: a reflection of the first axis to it.

    The axis goes to the opposite of the direction where that is farther away, so that nothing is divided by 0.
    """
    eps = random.normal(key, (direction.shape[0] - 1,), direction.dtype)
    y = jnp.concatenate([along[None], across * eps / jnp.sqrt(jnp.sum(eps**2))])
    sign = jnp.where(direction[0] < 0, -1, 1)
    u = direction.at[0].add(sign)
    return -sign * (y - u * (u @ y) / (1 + sign * direction[0]))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PowerSpherical:
    """((1 + direction.x) / 2)^kappa / C(kappa) of unit vectors x [d], kappa = exp(log_concentration).

    (De Cao & Aziz 2020, eq. 3): like VonMisesFisher, with samples that need no rejection.
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
    def from_features(features: Array) -> 'PowerSpherical':
        """features [d, 2] -> direction, and log d + the sum of the others / sqrt d for the log concentration."""
        return PowerSpherical(*direction_and_concentration(features))

    @property
    def mean(self) -> Array:
        """kappa / (kappa + d - 1) direction."""
        return jax.nn.sigmoid(self.log_concentration - math.log(self.direction.shape[-1] - 1)) * self.direction

    def sample(self, key: Array) -> Array:
        """(1 - direction.x) / 2 ~ Beta((d-1)/2, (d-1)/2 + kappa), from two gammas in logs."""
        a, b, c = random.split(key, 3)
        half = jnp.full((), (self.direction.shape[0] - 1) / 2, self.direction.dtype)
        low, high = random.loggamma(a, half), random.loggamma(b, half + jnp.exp(self.log_concentration))
        low, high = jax.nn.log_sigmoid(low - high), jax.nn.log_sigmoid(high - low)
        return about(self.direction, 1 - 2 * jnp.exp(low), 2 * jnp.exp(0.5 * (low + high)), c)

    def log_prob(self, x: Array) -> Array:
        """kappa log((1 + direction.x) / 2) - log E_uniform[that power] - log area, in nats. Raises Fault on a batch."""
        check_vector(self, self.direction, x)
        kappa, dims = jnp.exp(self.log_concentration), self.direction.shape[0]
        apart, opposite = jnp.sum((x - self.direction) ** 2) / 4, jnp.sum((x + self.direction) ** 2) / 4
        near = apart < 0.5
        power = jnp.where(near, jnp.log1p(-jnp.where(near, apart, 0.0)), jnp.log(jnp.where(near, 1.0, opposite)))
        return kappa * power - log_beta_mean(kappa, dims) - log_area(dims)

    def kl(self, p: Any) -> Array:
        """KL(self || uniform) = kappa B'(kappa) - B(kappa), B = log E_uniform[((1 + x_1) / 2)^kappa], in nats.

        Raises Fault where p is not a HypersphericalUniform of these dimensions.
        """
        check_vector(self, self.direction, self.direction)
        dims, kappa = self.direction.shape[0], jnp.exp(self.log_concentration)
        check_uniform(self, p, dims)
        log_mean, slope = jax.jvp(lambda k: log_beta_mean(k, dims), (kappa,), (jnp.ones_like(kappa),))
        return kappa * slope - log_mean

"""Values in {0, 1} and between: Bernoulli, its soft score, the continuous one, and its relaxation."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array, lax, random

from vae_jax import kernels
from vae_jax.distributions.base import (
    Family,
    check_one_example,
    no_kl,
    sample_and_log_prob,
    set_rank,
    static,
    sum_of_each,
)
from vae_jax.distributions.special import log_sinhc


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Bernoulli:
    """Bernoulli(x; sigmoid(logits)) for x in {0, 1}, independent over dimensions."""

    logits: Array
    rank: int | None = static()

    arity: ClassVar[int] = 1
    reparameterized: ClassVar[bool] = False
    normalized: ClassVar[bool] = True
    support: ClassVar[str] = '0 or 1'

    sample_and_log_prob = sample_and_log_prob

    def __post_init__(self) -> None:
        set_rank(self, self.logits)

    @staticmethod
    def from_features(features: Array) -> 'Bernoulli':
        """features [..., 1] -> logits."""
        return Bernoulli(features[..., 0])

    @staticmethod
    def supports(x: Array) -> Array:
        return (x == 0) | (x == 1)

    @property
    def mean(self) -> Array:
        return jax.nn.sigmoid(self.logits)

    def sample(self, key: Array) -> Array:
        return random.bernoulli(key, self.mean).astype(self.logits.dtype)

    def log_prob(self, x: Array) -> Array:
        """sum_i x_i l_i - softplus(l_i), in nats. Raises Fault on a batch."""
        check_one_example(self, self.logits, x)
        return kernels.bernoulli_log_prob(self.logits, jnp.asarray(x, self.logits.dtype))

    def each(self, x: Array) -> Array:
        """x_i l_i - softplus(l_i) [n], in nats. Raises Fault on a batch."""
        check_one_example(self, self.logits, x)
        x, logits = kernels.flat(jnp.asarray(x, self.logits.dtype), self.logits)
        return x * logits - jax.nn.softplus(logits)

    def kl(self, p: Any) -> Array:
        """KL(self || p) = sum sigmoid(l) (l - l_p) - softplus(l) + softplus(l_p), nats.

        Raises Fault where p is of another family.
        """
        if not isinstance(p, Bernoulli):
            raise no_kl(self, p)
        check_one_example(self, self.logits, p.logits)
        apart = jax.nn.softplus(p.logits) - jax.nn.softplus(self.logits)
        return jnp.sum(self.mean * (self.logits - p.logits) + apart)


SoftBernoulli = Family(
    arity=1,
    from_features=Bernoulli.from_features,
    supports=lambda x: (x >= 0) & (x <= 1),
    support='between 0 and 1',
    normalized=False,
    name='SoftBernoulli',
)
"""Cross-entropy of grey pixels under a Bernoulli: a popular score and NOT a likelihood (it does not sum to one)."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ContinuousBernoulli:
    """p(x) = exp(x l) l / (exp(l) - 1) on [0, 1]: the soft score made a density (Loaiza-Ganem & Cunningham 2019)."""

    logits: Array
    rank: int | None = static()

    arity: ClassVar[int] = 1
    reparameterized: ClassVar[bool] = False
    normalized: ClassVar[bool] = True
    support: ClassVar[str] = 'between 0 and 1'

    log_prob = sum_of_each
    sample_and_log_prob = sample_and_log_prob

    def __post_init__(self) -> None:
        set_rank(self, self.logits)

    @staticmethod
    def from_features(features: Array) -> 'ContinuousBernoulli':
        """features [..., 1] -> logits."""
        return ContinuousBernoulli(features[..., 0])

    @staticmethod
    def supports(x: Array) -> Array:
        return (x >= 0) & (x <= 1)

    @property
    def mean(self) -> Array:
        """1/2 + (coth(l/2) - 2/l) / 2, the derivative of the log normalizer."""
        half, ones = self.logits / 2, jnp.ones_like(self.logits)
        return 0.5 + 0.5 * jax.jvp(log_sinhc, (half,), (ones,))[1]

    def sample(self, key: Array) -> Array:
        """The inverse of the distribution function, log1p(u expm1(l)) / l, from the side where exp cannot overflow."""
        u = random.uniform(key, self.logits.shape, self.logits.dtype)
        low = -jnp.abs(self.logits)
        safe = jnp.where(low < -1e-30, low, -1.0)
        x = jnp.where(low < -1e-30, jnp.log1p(u * jnp.expm1(safe)) / safe, u)
        return lax.stop_gradient(jnp.where(self.logits > 0, 1 - x, x))

    def each(self, x: Array) -> Array:
        """(x_i - 1/2) l_i - log(sinh(l_i / 2) / (l_i / 2)) [n], in nats. Raises Fault on a batch."""
        check_one_example(self, self.logits, x)
        x, logits = kernels.flat(jnp.asarray(x, self.logits.dtype), self.logits)
        return (x - 0.5) * logits - log_sinhc(logits / 2)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RelaxedBernoulli:
    """z = (logits + logistic noise) / temperature, a logit: sigmoid(z) is the relaxed bit, for the decoder to take.

    The density is that of the logit, which keeps its digits where sigmoid(z) is 0 or 1 (Maddison et al. 2017, app. B).
    """

    logits: Array
    log_temperature: Array
    rank: int | None = static()

    reparameterized: ClassVar[bool] = True
    normalized: ClassVar[bool] = True
    support: ClassVar[str] = 'any real number, a logit'

    log_prob = sum_of_each
    sample_and_log_prob = sample_and_log_prob

    def __post_init__(self) -> None:
        set_rank(self, self.logits)

    @property
    def mean(self) -> Array:
        return self.logits * jnp.exp(-self.log_temperature)

    @property
    def discrete(self) -> Bernoulli:
        """The Bernoulli that it relaxes: its limit at temperature 0, and the bit z > 0 at any."""
        return Bernoulli(self.logits, self.rank)

    def sample(self, key: Array) -> Array:
        noise = random.logistic(key, self.logits.shape, self.logits.dtype)
        return (self.logits + noise) * jnp.exp(-self.log_temperature)

    def each(self, x: Array) -> Array:
        """log t + log_sigmoid(y_i) + log_sigmoid(-y_i), y = t x - l [n], in nats. Raises Fault on a batch."""
        check_one_example(self, self.logits, x)
        x, logits, log_t = kernels.flat(jnp.asarray(x), self.logits, self.log_temperature)
        y = x * jnp.exp(log_t) - logits
        return log_t + jax.nn.log_sigmoid(y) + jax.nn.log_sigmoid(-y)


def relaxed_bernoulli(temperature: Any) -> Family:
    """The family of RelaxedBernoulli: features [..., 1] -> logits. The temperature may be traced."""
    return Family(
        arity=1,
        from_features=lambda f: RelaxedBernoulli(f[..., 0], jnp.full_like(f[..., 0], jnp.log(temperature))),
        supports=jnp.isfinite,
        support=RelaxedBernoulli.support,
        name=f'relaxed_bernoulli({temperature})',
    )

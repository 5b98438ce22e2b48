"""Distributions as frozen pytrees of arrays over ONE example: sample(key), log_prob(x) -> nats, mean.

A batch is `vmap` of whatever made one; a per-dimension density is `vmap` over the leaves; `stop_gradient(q)` is a
distribution too. `rank` is the rank of one example's leaves: it is static, so a batch made by `vmap` remembers it and
refuses to sum over the batch.

A *family* is anything with `arity` (unconstrained numbers per dimension), `from_features` (features [..., arity] ->
distribution), `supports` (x -> which entries are possible) and `support` (the same in words): `Normal`, `Bernoulli`,
`discretized_logistic(256)`, or a `Family` of your own.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, random

from vae_jax import kernels
from vae_jax.errors import Fault

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
_LOG_LOGISTIC_STD = math.log(math.pi / math.sqrt(3.0))  # of the logistic with scale one


class Family(NamedTuple):
    """How features become a distribution: `from_features(features [..., arity])`, and what it can give mass to."""

    arity: int
    from_features: Callable[[Array], Any]
    supports: Callable[[Array], Array]
    support: str
    normalized: bool = True
    name: str = 'a family'


def _static(default: Any = None) -> Any:
    return dataclasses.field(default=default, metadata={'static': True})


def _set_rank(distribution: Any, leaf: Any) -> None:
    if distribution.rank is None:
        object.__setattr__(distribution, 'rank', jnp.ndim(leaf))


def _check_one_example(distribution: Any, leaf: Array, x: Array) -> None:
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


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Normal:
    """N(x; mean, exp(log_std)^2), independent over dimensions: mean and log_std of one shape."""

    mean: Array
    log_std: Array
    rank: int | None = _static()

    arity: ClassVar[int] = 2
    reparameterized: ClassVar[bool] = True
    normalized: ClassVar[bool] = True
    support: ClassVar[str] = 'any real number'

    def __post_init__(self) -> None:
        _set_rank(self, self.mean)

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

    def log_prob(self, x: Array) -> Array:
        """sum_i -1/2 ((x_i - mean_i) / std_i)^2 - log std_i - 1/2 log 2 pi, in nats. Raises Fault on a batch."""
        _check_one_example(self, self.mean, x)
        x, mean, log_std = kernels.flat(jnp.asarray(x), self.mean, self.log_std)
        scaled = (x - mean) * jnp.exp(-log_std)
        return jnp.sum(-0.5 * scaled**2 - log_std - _HALF_LOG_2PI)

    def sample_and_log_prob(self, key: Array) -> tuple[Array, Array]:
        x = self.sample(key)
        return x, self.log_prob(x)

    def kl(self, p: Any) -> Array:
        """KL(self || p) = sum log(s_p / s) - 1/2 + (s^2 + (m - m_p)^2) / (2 s_p^2), nats (Kingma & Welling, app. B).

        Raises Fault where p is of another family: there is no closed form to use.
        """
        if not isinstance(p, Normal):
            raise Fault(f'KL(Normal || {type(p).__name__}) has no closed form here', 'pass kl=monte_carlo')
        _check_one_example(self, self.mean, p.mean)
        log_ratio = self.log_std - p.log_std
        distance = (self.mean - p.mean) * jnp.exp(-p.log_std)
        return jnp.sum(-log_ratio + 0.5 * (jnp.expm1(2 * log_ratio) + distance**2))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Bernoulli:
    """Bernoulli(x; sigmoid(logits)) for x in {0, 1}, independent over dimensions."""

    logits: Array
    rank: int | None = _static()

    arity: ClassVar[int] = 1
    reparameterized: ClassVar[bool] = False
    normalized: ClassVar[bool] = True
    support: ClassVar[str] = '0 or 1'

    def __post_init__(self) -> None:
        _set_rank(self, self.logits)

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
        _check_one_example(self, self.logits, x)
        return kernels.bernoulli_log_prob(self.logits, jnp.asarray(x, self.logits.dtype))

    def sample_and_log_prob(self, key: Array) -> tuple[Array, Array]:
        x = self.sample(key)
        return x, self.log_prob(x)


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
class DiscretizedLogistic:
    """Mass of a logistic over the cells of `levels` equal steps on [0, 1], edge cells open (Salimans 2017, eq. 2).

    mean and log_std are those of the logistic before it is cut into cells, in units of x.
    """

    mean_before: Array
    log_std: Array
    levels: int = _static(256)
    rank: int | None = _static()

    reparameterized: ClassVar[bool] = False
    normalized: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _set_rank(self, self.mean_before)

    @property
    def _scale(self) -> Array:
        return jnp.exp(self.log_std - _LOG_LOGISTIC_STD)

    @property
    def mean(self) -> Array:
        """E[x] = sum_{k >= 1} P(x >= k / (levels - 1)) / (levels - 1): exact, edges included."""
        edges = (jnp.arange(1, self.levels, dtype=self.log_std.dtype) - 0.5) / (self.levels - 1)
        above = jax.vmap(lambda edge: jax.nn.sigmoid((self.mean_before - edge) / self._scale))(edges)
        return jnp.sum(above, 0) / (self.levels - 1)

    def sample(self, key: Array) -> Array:
        x = self.mean_before + self._scale * random.logistic(key, self.log_std.shape, self.log_std.dtype)
        return jnp.clip(jnp.round(x * (self.levels - 1)), 0, self.levels - 1) / (self.levels - 1)

    def log_prob(self, x: Array) -> Array:
        """sum_i log(sigmoid(b_i) - sigmoid(a_i)), a and b the edges of x_i's cell, nats. Raises Fault on a batch.

        sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)) keeps its digits at any scale.
        """
        _check_one_example(self, self.log_std, x)
        half, scale = 0.5 / (self.levels - 1), self._scale
        x, mean, scale = kernels.flat(jnp.asarray(x), self.mean_before, scale)
        below_top = jax.nn.log_sigmoid((x - mean + half) / scale)
        above_bottom = jax.nn.log_sigmoid((mean - x + half) / scale)
        width = jnp.log(-jnp.expm1(-2 * half / scale))
        inner = below_top + above_bottom + width
        return jnp.sum(jnp.where(x < half, below_top, jnp.where(x > 1 - half, above_bottom, inner)))

    def sample_and_log_prob(self, key: Array) -> tuple[Array, Array]:
        x = self.sample(key)
        return x, self.log_prob(x)


def discretized_logistic(levels: int) -> Family:
    """The family of DiscretizedLogistic on `levels` values: features [..., 2] -> mean (offset to mid-grey), log_std.

    Raises Fault for levels < 2.
    """
    if levels is None or levels < 2:
        raise Fault(f'a discretized likelihood needs data of 2 or more levels, found {levels}', 'use Normal')
    grid = levels - 1
    return Family(
        arity=2,
        # zero features start at mid-grey with the spread of a uniform, where gradients are alive
        from_features=lambda f: DiscretizedLogistic(f[..., 0] + 0.5, f[..., 1] - 1.0, levels),
        supports=lambda x: (x >= 0) & (x <= 1) & (jnp.abs(x * grid - jnp.round(x * grid)) < 1e-3),
        support=f'a multiple of 1/{grid} between 0 and 1',
        name=f'discretized_logistic({levels})',
    )


def fixed_normal(log_std: float) -> Family:
    """Normal with a fixed log_std: features [..., 1] -> mean. Its distortion is squared error / (2 std^2) + const."""
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


def family_name(family: Any) -> str:
    """The name people know a family by."""
    return getattr(family, 'name', None) or family.__name__


def check_support(family: Any, x: Array) -> None:
    """Raises Fault where x has a value that the family gives no mass to; x must be concrete."""
    bad = ~jnp.asarray(family.supports(x))
    if bool(jnp.any(bad)):
        value = float(jnp.asarray(x)[bad][0])
        fix = (
            'binarize the data, choose discretized_logistic(levels), or ask for SoftBernoulli by name'
            if family is Bernoulli
            else 'choose a likelihood that fits the data'
        )
        raise Fault(f'{family_name(family)} expects {family.support}, found {value:g}', fix)

"""Logistics cut into the cells of integer data: one, and mixtures of several for each value."""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array, random
from jax.scipy.special import logsumexp

from vae_jax import kernels
from vae_jax.distributions.base import (
    Family,
    check_one_example,
    sample_and_log_prob,
    set_rank,
    static,
    sum_of_each,
)
from vae_jax.errors import Fault

_LOG_LOGISTIC_STD = math.log(math.pi / math.sqrt(3.0))  # of the logistic with scale one


def on_grid(levels: int) -> dict[str, Any]:
    """`supports` and `support` of data on `levels` equal steps from 0 to 1. Raises Fault for levels < 2."""
    if levels is None or levels < 2:
        raise Fault(f'a discretized likelihood needs data of 2 or more levels, found {levels}', 'use Normal')
    grid = levels - 1
    return {
        'supports': lambda x: (x >= 0) & (x <= 1) & (jnp.abs(x * grid - jnp.round(x * grid)) < 1e-3),
        'support': f'a multiple of 1/{grid} between 0 and 1',
    }


def _cells(x: Array, mean: Array, scale: Array, half: float) -> Array:
    """log(sigmoid(b) - sigmoid(a)), a and b the edges of x's cell, those at 0 and 1 open.

    sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)) keeps its digits at any scale.
    """
    below_top = jax.nn.log_sigmoid((x - mean + half) / scale)
    above_bottom = jax.nn.log_sigmoid((mean - x + half) / scale)
    width = jnp.log(-jnp.expm1(-2 * half / scale))
    inner = below_top + above_bottom + width
    return jnp.where(x < half, below_top, jnp.where(x > 1 - half, above_bottom, inner))


def _scale(log_std: Array) -> Array:
    return jnp.exp(log_std - _LOG_LOGISTIC_STD)


def _mean(mean: Array, log_std: Array, levels: int) -> Array:
    """E[x] = sum_{k >= 1} P(x >= k / (levels - 1)) / (levels - 1): exact, edges included."""
    edges = (jnp.arange(1, levels, dtype=log_std.dtype) - 0.5) / (levels - 1)
    above = jax.vmap(lambda edge: jax.nn.sigmoid((mean - edge) / _scale(log_std)))(edges)
    return jnp.sum(above, 0) / (levels - 1)


def _draw(key: Array, mean: Array, scale: Array, levels: int) -> Array:
    x = mean + scale * random.logistic(key, scale.shape, scale.dtype)
    return jnp.clip(jnp.round(x * (levels - 1)), 0, levels - 1) / (levels - 1)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DiscretizedLogistic:
    """Mass of a logistic over the cells of `levels` equal steps on [0, 1], edge cells open (Salimans 2017, eq. 2).

    mean and log_std are those of the logistic before it is cut into cells, in units of x.
    """

    mean_before: Array
    log_std: Array
    levels: int = static(256)
    rank: int | None = static()

    reparameterized: ClassVar[bool] = False
    normalized: ClassVar[bool] = True

    log_prob = sum_of_each
    sample_and_log_prob = sample_and_log_prob

    def __post_init__(self) -> None:
        set_rank(self, self.mean_before)

    @property
    def mean(self) -> Array:
        """E[x] = sum_{k >= 1} P(x >= k / (levels - 1)) / (levels - 1): exact, edges included."""
        return _mean(self.mean_before, self.log_std, self.levels)

    def sample(self, key: Array) -> Array:
        return _draw(key, self.mean_before, _scale(self.log_std), self.levels)

    def each(self, x: Array) -> Array:
        """log(sigmoid(b_i) - sigmoid(a_i)) [n], a and b the edges of x_i's cell, nats. Raises Fault on a batch."""
        check_one_example(self, self.log_std, x)
        half, scale = 0.5 / (self.levels - 1), _scale(self.log_std)
        x, mean, scale = kernels.flat(jnp.asarray(x), self.mean_before, scale)
        return _cells(x, mean, scale, half)


def discretized_logistic(levels: int) -> Family:
    """The family of DiscretizedLogistic on `levels` values: features [..., 2] -> mean (offset to mid-grey), log_std.

    Raises Fault for levels < 2.
    """
    return Family(
        arity=2,
        # zero features start at mid-grey with the spread of a uniform, where gradients are alive
        from_features=lambda f: DiscretizedLogistic(f[..., 0] + 0.5, f[..., 1] - 1.0, levels),
        name=f'discretized_logistic({levels})',
        **on_grid(levels),
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LogisticMixture:
    """sum_k w_k DiscretizedLogistic_k for each value, independent over values (Salimans et al. 2017, eq. 1 and 2).

    Leaves [..., k]; w = softmax(log_weights). Channels are independent: without that paper's autoregression over them.
    """

    log_weights: Array
    mean_before: Array
    log_std: Array
    levels: int = static(256)
    rank: int | None = static()

    reparameterized: ClassVar[bool] = False
    normalized: ClassVar[bool] = True

    log_prob = sum_of_each
    sample_and_log_prob = sample_and_log_prob

    def __post_init__(self) -> None:
        set_rank(self, self.mean_before, 1)

    @property
    def mean(self) -> Array:
        """sum_k w_k E_k[x]."""
        weights = jax.nn.softmax(self.log_weights)
        return jnp.sum(weights * _mean(self.mean_before, self.log_std, self.levels), -1)

    def sample(self, key: Array) -> Array:
        a, b = random.split(key)
        k = random.categorical(a, self.log_weights)[..., None]
        mean, scale = (jnp.take_along_axis(leaf, k, -1)[..., 0] for leaf in (self.mean_before, _scale(self.log_std)))
        return _draw(b, mean, scale, self.levels)

    def each(self, x: Array) -> Array:
        """log sum_k w_ik (sigmoid(b_ik) - sigmoid(a_ik)) [n], in nats. Raises Fault on a batch."""
        check_one_example(self, self.mean_before[..., 0], x)
        count = self.mean_before.shape[-1]
        mean, scale = kernels.flat(self.mean_before, _scale(self.log_std))
        cells = _cells(jnp.repeat(jnp.reshape(x, -1), count), mean, scale, 0.5 / (self.levels - 1))
        return logsumexp(cells.reshape(-1, count) + jax.nn.log_softmax(self.log_weights.reshape(-1, count)), -1)


def logistic_mixture(levels: int, components: int = 5) -> Family:
    """The family of LogisticMixture: features [..., 3 k] -> means, log_stds, log_weights for each value.

    Raises Fault for levels < 2 or components < 1.
    """
    if components < 1:
        raise Fault(f'a mixture of {components} components has no density', 'ask for 1 or more')
    # equal components would get equal gradients for ever: they start side by side over [0, 1]
    starts = (jnp.arange(components) + 0.5) / components

    def from_features(features: Array) -> LogisticMixture:
        mean, log_std, log_weights = jnp.split(features, 3, -1)
        start = jnp.broadcast_to(starts.astype(mean.dtype), mean.shape)
        return LogisticMixture(log_weights, mean + start, log_std - 1.0 - math.log(components), levels)

    return Family(3 * components, from_features, name=f'logistic_mixture({levels}, {components})', **on_grid(levels))

"""The rate-distortion curve of one trained model, by annealed importance sampling (Huang et al. 2020)."""

import math
from collections.abc import Callable
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, random, vmap
from jax.scipy.special import logsumexp

from vae_jax.errors import Fault
from vae_jax.evaluation.annealing import Settings, check
from vae_jax.evaluation.chains import Bridge, Schedule, Seen, bridge_of, from_prior, run, sigmoid, step_sizes
from vae_jax.evaluation.checks import called
from vae_jax.evaluation.streaming import Rows, chained_at_a_time, example, finite, over
from vae_jax.models import Conditional, Model

Distortion = Callable[[Any, Any], Array]  # p(x|z), x -> d(x, z) >= 0 or a -log-density


def nats(p: Any, x: Any) -> Array:
    """-log p(x|z)."""
    return -p.log_prob(x)


def squared_error(p: Any, x: Any) -> Array:
    """|x - E[x|z]|^2."""
    return sum(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), x, p.mean)), jnp.zeros(()))


class Curve(NamedTuple):
    """Rates and distortions [n, T + 1] of each example at betas [T + 1], the first of them 0.

    Each pair is an upper bound: some q(z|x) has this distortion and at most this rate, in expectation. At beta = 1, in
    nats, rate + distortion is AIS's -log p(x).
    """

    betas: np.ndarray
    rates: np.ndarray
    distortions: np.ndarray

    @property
    def rate(self) -> np.ndarray:
        """Means over examples [T + 1]."""
        return self.rates.mean(0)

    @property
    def distortion(self) -> np.ndarray:
        """Means over examples [T + 1]."""
        return self.distortions.mean(0)

    @property
    def se(self) -> np.ndarray:
        """Standard errors over examples [2, T + 1], of the rate and of the distortion; nan for one example."""
        n = len(self.rates)
        many = np.stack([self.rates, self.distortions])
        return np.std(many, 1, ddof=1) / math.sqrt(n) if n > 1 else np.full((2, many.shape[2]), np.nan)

    def __str__(self) -> str:
        ends = ', '.join(f'({self.rate[i]:.2f}, {self.distortion[i]:.2f})' for i in (0, -1))
        return f'rate and distortion at {len(self.betas)} betas to {self.betas[-1]:g}, from and to {ends}'


@cache
def _rows(model: Model | Conditional, how: Settings, highest: float, distortion: Distortion) -> Rows:
    betas = highest * how.betas

    def rows_of(member: tuple[Any, Array], shared: tuple[Any, Array]) -> tuple[Array, Array]:
        (params, key), (split, rows) = member, shared

        def one(row: Array) -> tuple[Array, Array]:
            of_row, x, model_key = example(model, split, key, row)
            by_distortion = of_row._replace(decode=lambda params, z: _Distorted(of_row.decode(params, z), distortion))
            bridge: Bridge = bridge_of(by_distortion, params, x, how.start)
            a, b, c = random.split(model_key, 3)
            sizes = step_sizes(bridge, a, betas, how.leapfrog, how.pilot)
            zs = vmap(bridge.draw)(random.split(b, how.chains))

            def keep(log_w: Array, seen: Seen) -> tuple[Array, Array]:
                return logsumexp(log_w) - math.log(how.chains), -jnp.sum(jax.nn.softmax(log_w) * seen.tilt)

            _, _, (log_z, distances) = run(bridge, c, zs, betas, sizes, how.leapfrog, keep)
            first = -jnp.mean(vmap(bridge.tilt)(zs))
            distances = jnp.concatenate([first[None], distances])
            log_z = jnp.concatenate([jnp.zeros(1, log_z.dtype), log_z])
            return -log_z - jnp.asarray(betas, log_z.dtype) * distances, distances

        return vmap(one)(rows)

    return rows_of


class _Distorted(NamedTuple):
    """exp(-d(x, z)) in the place of p(x|z)."""

    p: Any
    distortion: Distortion

    def log_prob(self, x: Any) -> Array:
        return -self.distortion(self.p, x)


def rate_distortion_curve(
    model: Model | Conditional,
    params: Any,
    split: Any,
    key: Array,
    *,
    highest: float = 1.0,
    distortion: Distortion = nats,
    chains: int = 16,
    steps: int = 1000,
    schedule: Schedule = sigmoid,
    leapfrog: int = 10,
    pilot: int = 2,
    quiet: bool = True,
    kept: str | Path | None = None,
) -> Any:
    """D_t = sum_m w~_m d(x, z_m), R_t = -log 1/M sum_m w_m - beta_t D_t, at every temperature of one AIS run; nats.

    The chains go from the prior to p_t(z|x) = p(z) exp(-beta_t d(x, z)) / Z_t, betas = highest schedule(steps), and
    w~ are the normalised weights. As E log 1/M sum w <= log Z_t, R_t is an upper bound on KL(q || p(z)) of the q that
    draws one of the chains by its weight, and D_t its distortion: the least rate of this prior at D_t is not above R_t.
    (Huang et al. 2020, section 4.) A Curve; of the members of a population, a list of them. Raises Fault as `anneal`
    does, and where highest is not above 0.
    """
    if not isinstance(highest, Real) or not highest > 0:
        raise Fault(f'highest is {highest}, expected a beta above 0', 'pass highest=1.0, or more for a finer fit')
    called('distortion', distortion, 'evaluation.nats')
    how = Settings(chains, steps, schedule, leapfrog, from_prior, pilot)
    check(how, model, params, split, key)
    size = chained_at_a_time(split, chains)
    what = f'rate and distortion ({getattr(distortion, "__name__", distortion)}, to {highest:g}) by {how.what(kept)}'
    found = over(_rows(model, how, highest, distortion), params, key, split, size, quiet, what, kept)

    def told(one: tuple[np.ndarray, np.ndarray]) -> Curve:
        rates, distortions = (values.astype(np.float64) for values in one)
        finite(rates.sum(1) + distortions.sum(1), 'the rate')
        return Curve(highest * how.betas, rates, distortions)

    return [told(one) for one in found] if key.ndim else told(found)

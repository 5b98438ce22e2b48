"""Chains of Hamiltonian transitions between a start p_0(z) and the posterior, and the temperatures on the way.

p_t(z) is proportional to p_0(z)^(1 - beta_t) p(x, z)^beta_t; from the prior that is p(z) p(x|z)^beta_t.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax, random, vmap
from jax.flatten_util import ravel_pytree

from vae_jax.models import Model

TARGET = 0.65  # acceptance (Wu et al. 2016)
GAIN, FIRST = 0.2, 0.5  # of the pilot: what log step size moves by for each missing acceptance, and where it begins

Schedule = Callable[[int], np.ndarray]  # steps -> betas [steps + 1] that rise from 0 to 1
Start = Callable[[Model, Any, Any, Any], Any]  # model, params, x, p(z) -> p_0


def linear(steps: int) -> np.ndarray:
    """beta_t = t / T, [T + 1]."""
    return np.linspace(0.0, 1.0, steps + 1)


def geometric(steps: int, first: float = 1e-3) -> np.ndarray:
    """0, then beta_t = first^((T - t) / (T - 1)), equal ratios from `first` to 1: [T + 1]."""
    return np.concatenate([[0.0], np.geomspace(first, 1.0, steps)]) if steps > 1 else linear(steps)


def sigmoid(steps: int, sharpness: float = 4.0) -> np.ndarray:
    """s(sharpness (2t / T - 1)), s the logistic function, moved and scaled to begin at 0 and end at 1: [T + 1].

    It goes slowly at both ends (Wu et al. 2016).
    """
    s = 1 / (1 + np.exp(-sharpness * np.linspace(-1.0, 1.0, steps + 1)))
    return (s - s[0]) / (s[-1] - s[0])


def from_prior(model: Model, params: Any, x: Any, p: Any) -> Any:
    """p_0 = p(z)."""
    return p


def from_posterior(model: Model, params: Any, x: Any, p: Any) -> Any:
    """p_0 = q(z|x): log w of no transition is that of importance sampling under q, and there is less to anneal."""
    return model.encode(params, x)


class Bridge(NamedTuple):
    """From p_0 to p(x, z) over flat z [d]: log p_t = log_start(z) + beta_t tilt(z) + const."""

    draw: Callable[[Array], Array]  # key -> z ~ p_0
    log_start: Callable[[Array], Array]
    tilt: Callable[[Array], Array]  # log p(x, z) - log p_0(z): the log-weight at beta = 1
    variance: Array  # [d] of p_0: the inverse mass of the transitions


class Seen(NamedTuple):
    """A point z with the two log-densities there and their slopes, so that no temperature computes them again."""

    z: Array
    start: Array
    tilt: Array
    start_slope: Array
    tilt_slope: Array


def bridge_of(model: Model, params: Any, x: Any, start: Start) -> Bridge:
    """The bridge of one example."""
    p = model.prior(params)
    p_0 = start(model, params, x, p)
    like = jax.eval_shape(p_0.sample, random.key(0))
    _, unravel = ravel_pytree(jax.tree.map(lambda z: jnp.zeros(z.shape, z.dtype), like))
    draw = lambda key: ravel_pytree(p_0.sample(key))[0]

    def tilt(z: Array) -> Array:
        z = unravel(z)
        log_p = model.decode(params, z).log_prob(x)
        return log_p if p_0 is p else log_p + (p.log_prob(z) - p_0.log_prob(z))

    if hasattr(p_0, 'log_std'):
        variance = jnp.exp(2 * ravel_pytree(p_0.log_std)[0])
    else:  # a fixed key, so that draws of a prior are the same for every example, and made once
        variance = jnp.var(vmap(draw)(random.split(random.key(0), 64)), 0)
    return Bridge(draw, lambda z: p_0.log_prob(unravel(z)), tilt, variance)


def look(bridge: Bridge, z: Array) -> Seen:
    """What is known of z."""
    (start, start_slope), (tilt, tilt_slope) = (jax.value_and_grad(f)(z) for f in (bridge.log_start, bridge.tilt))
    return Seen(z, start, tilt, start_slope, tilt_slope)


def move(bridge: Bridge, leapfrog: int, key: Array, seen: Seen, beta: Array, size: Array) -> tuple[Seen, Array]:
    """One transition that leaves p_t invariant, in detailed balance: (where it ends, its probability of acceptance)."""
    from blackjax.mcmc import hmc  # half a second to import

    log_density = lambda z: bridge.log_start(z) + beta * bridge.tilt(z)
    state = hmc.HMCState(seen.z, seen.start + beta * seen.tilt, seen.start_slope + beta * seen.tilt_slope)
    state, info = hmc.build_kernel()(key, state, log_density, size, bridge.variance, leapfrog)
    return look(bridge, state.position), info.acceptance_rate


def step_sizes(bridge: Bridge, key: Array, betas: np.ndarray, leapfrog: int, chains: int) -> Array:
    """A step size for each transition [T - 1], from a pilot: chains of their own that adapt them as they go.

    log size += GAIN (acceptance - TARGET), the mean over the pilot's chains. (Wu et al. 2016 adapt within the chains
    themselves, for which the weights are not exactly unbiased.)
    """

    def one(carry: tuple[Seen, Array], inputs: tuple[Array, Array]) -> tuple[tuple[Seen, Array], Array]:
        (seen, size), (beta, key) = carry, inputs
        keys = random.split(key, chains)
        seen, accepted = vmap(lambda key, seen: move(bridge, leapfrog, key, seen, beta, size))(keys, seen)
        size = size * jnp.exp(GAIN * (jnp.mean(accepted) - TARGET)).astype(size.dtype)
        return (seen, size), size

    a, b = random.split(key)
    seen = vmap(lambda key: look(bridge, bridge.draw(key)))(random.split(a, chains))
    inner = jnp.asarray(betas[1:-1], seen.z.dtype)
    _, sizes = lax.scan(one, (seen, jnp.full((), FIRST, seen.z.dtype)), (inner, random.split(b, len(inner))))
    return sizes


def nothing(log_w: Array, seen: Seen) -> tuple[()]:
    """Keeps nothing of a temperature."""
    return ()


def run(
    bridge: Bridge, key: Array, zs: Array, betas: np.ndarray, sizes: Array, leapfrog: int, keep: Any = nothing
) -> tuple[Array, Array, Any]:
    """(log w [chains], mean acceptance, what `keep(log_w, seen)` keeps of each beta behind the first, [T, ...]).

    Chains begin at zs [chains, d], exact draws at betas[0]; transition t leaves p_t invariant; log w = sum_t (beta_t -
    beta_(t-1)) tilt(z_(t-1)). Betas that fall, with their sizes the other way round, run the same chains backwards.
    """
    seen = vmap(lambda z: look(bridge, z))(zs)
    rises = jnp.asarray(np.diff(betas), zs.dtype)
    inner = jnp.asarray(betas[1:-1], zs.dtype)

    def one(carry: tuple[Seen, Array, Array], inputs: Any) -> tuple[tuple[Seen, Array, Array], Any]:
        (seen, log_w, accepted), (rise, beta, size, key) = carry, inputs
        log_w = log_w + rise * seen.tilt
        kept = keep(log_w, seen)
        keys = random.split(key, len(zs))
        seen, each = vmap(lambda key, seen: move(bridge, leapfrog, key, seen, beta, size))(keys, seen)
        return (seen, log_w, accepted + jnp.mean(each).astype(zs.dtype)), kept

    start = (seen, jnp.zeros(len(zs), zs.dtype), jnp.zeros((), zs.dtype))
    (seen, log_w, accepted), kept = lax.scan(one, start, (rises[:-1], inner, sizes, random.split(key, len(inner))))
    log_w = log_w + rises[-1] * seen.tilt
    kept = jax.tree.map(lambda many, last: jnp.concatenate([many, last[None]]), kept, keep(log_w, seen))
    return log_w, accepted / (len(inner) or jnp.nan), kept

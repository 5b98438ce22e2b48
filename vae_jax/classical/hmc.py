"""Hamiltonian Monte Carlo of any log-density, by blackjax: chains that forget where they began."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax, random, vmap

from vae_jax.errors import NUMBERS, Fault


class Draws(NamedTuple):
    """Points of the chains [chains, steps, d], and the share of their proposals that was accepted [chains]."""

    zs: Array
    acceptance: Array


def hmc_draws(
    log_density: Callable[[Array], Array],
    starts: Array,
    key: Array,
    *,
    steps: int,
    size: float,
    leapfrog: int,
    variance: Array,
) -> Draws:
    """`steps` transitions of each chain from starts [chains, d]; each leaves the density of z [d] invariant.

    variance: the covariance [d, d] or its diagonal [d] as it is guessed (Laplace's, say), which is the inverse mass, so
    that `size` is in standard deviations, near 0.5 to 1 (Neal 2011). Nothing is adapted, nothing is thrown away. Raises
    Fault on other shapes, counts < 1, and (code 4) where a chain starts at no density.
    """
    from blackjax.mcmc import hmc  # half a second to import

    starts, variance = jnp.asarray(starts), jnp.asarray(variance)
    if starts.ndim != 2 or variance.shape not in ((d := starts.shape[-1:]), (*d, *d)):
        raise Fault(
            f'starts have shape {starts.shape}, the variance {variance.shape}',
            'give starts [chains, d], and a variance [d] or [d, d]',
        )
    if steps < 1 or leapfrog < 1:
        raise Fault(f'steps is {steps}, leapfrog {leapfrog}, both are 1 or more', 'pass counts of 1 or more')
    kernel = hmc.build_kernel()

    def chain(start: Array, key: Array) -> tuple[Draws, Array]:
        def one(state: hmc.HMCState, key: Array) -> tuple[hmc.HMCState, tuple[Array, Array]]:
            state, info = kernel(key, state, log_density, size, variance, leapfrog)
            return state, (state.position, info.acceptance_rate)

        first = hmc.init(start, log_density)
        zs, accepted = lax.scan(one, first, random.split(key, steps))[1]
        return Draws(zs, jnp.mean(accepted)), first.logdensity

    found, log_ps = jax.jit(vmap(chain))(starts, random.split(key, len(starts)))
    if not bool(jnp.all(jnp.isfinite(log_ps))):
        raise Fault('a chain starts where log p is not finite', 'start where the density is positive', NUMBERS)
    return found


def mean_of_chains(values: Array) -> tuple[np.ndarray, np.ndarray]:
    """(mean [...], its standard error) of values [chains, steps, ...], from the spread between independent chains.

    Raises Fault on one chain, whose error is not known.
    """
    found = np.asarray(values, np.float64)
    if found.ndim < 2 or len(found) < 2:
        raise Fault(f'values of shape {found.shape}: one chain has no spread', 'give [chains, steps, ...], 2 or more')
    each = found.mean(1)
    return each.mean(0), each.std(0, ddof=1) / np.sqrt(len(each))

"""A distribution fitted to one density by stochastic gradients of the ELBO: what an encoder does for all x at once."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax, random, vmap

from vae_jax.bounds.elbo import check_pathwise
from vae_jax.errors import Fault


def reverse_kl_fit(
    log_density: Callable[[Any], Array],
    start: Any,
    key: Array,
    *,
    steps: int = 1000,
    samples: int = 64,
    lr: float = 0.05,
) -> tuple[Any, Array]:
    """(q, ELBO [steps]): max over q of E_q[log f(z) - log q(z)], from `start`, any distribution with real parameters.

    f need not be normalized; with f = p(x, z) this is least KL(q || p(z|x)). Each step of Adam, whose size falls from
    lr to 0 by a cosine, draws `samples` new z; gradients leave out the score of q (Roeder et al. 2017), so that they
    have no noise where q is exact. Raises Fault on counts < 1 and on a q whose samples carry no gradient.
    """
    if steps < 1 or samples < 1:
        raise Fault(f'steps is {steps}, samples {samples}, both are 1 or more', 'pass counts of 1 or more')
    check_pathwise(start)
    adam = optax.adam(optax.cosine_decay_schedule(lr, steps))

    def loss(q: Any, key: Array) -> Array:
        def one(key: Array) -> Array:
            z = q.sample(key)
            return lax.stop_gradient(q).log_prob(z) - log_density(z)

        return jnp.mean(vmap(one)(random.split(key, samples)))

    def step(carry: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], Array]:
        q, state = carry
        value, slope = jax.value_and_grad(loss)(q, key)
        updates, state = adam.update(slope, state)
        return (optax.apply_updates(q, updates), state), -value

    run = jax.jit(lambda q, keys: lax.scan(step, (q, adam.init(q)), keys))
    (q, _), elbos = run(start, random.split(key, steps))
    return q, elbos

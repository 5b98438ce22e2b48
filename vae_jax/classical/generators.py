"""What a generator without a likelihood is as a density: its pictures with Gaussian noise (Wu et al. 2017)."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from vae_jax.distributions import Normal
from vae_jax.models import Model, add_part


def noisy(generator: Model, log_std: float = 0.0) -> Model:
    """p(x|z) = N(E[x|z], exp(2 log_std) I), log_std in params['noise'], one for all values; q(z|x) is the prior.

    For annealing from the prior; `log_std` is what init gives, and is then to be chosen on held-out data. Raises Fault
    where params have a part 'noise' already.
    """

    def init(key: Array, x: Any) -> dict[str, Any]:
        return add_part(generator.init(key, x), 'noise', jnp.asarray(log_std, jnp.float32))

    def decode(params: Any, z: Any) -> Normal:
        mean = generator.decode(params, z).mean
        return Normal(mean, jnp.full_like(mean, params['noise']))

    return generator._replace(init=init, encode=lambda params, x: generator.prior(params), decode=decode)

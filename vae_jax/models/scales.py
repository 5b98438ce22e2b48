"""A sigma that learns: the Gaussian likelihood whose log_std is a part of params."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from vae_jax.distributions import Normal
from vae_jax.errors import Fault
from vae_jax.models.base import Model, add_part


def learned_scale(model: Model, shape: tuple[int, ...] = (), start: float = 0.0, name: str = 'scale') -> Model:
    """p(x|z) = N(x; mean of model.decode(z), exp(log_std)^2), log_std [*shape] learns from `start`.

    shape () is one sigma shared by all values (Rybkin et al. 2021, section 4); that of x, one a value, the same for all
    z. Raises Fault where the part's name is taken, and on a model whose fused terms know its own likelihood.
    """
    if model.terms is not None:
        raise Fault('a model with fused terms has a likelihood of its own', 'wrap a model without terms')

    def init(key: Array, x: Any) -> dict[str, Any]:
        return add_part(model.init(key, x), name, {'log_std': jnp.full(shape, start, jnp.float32)})

    def decode(params: Any, z: Any) -> Normal:
        mean = model.decode(params, z).mean
        return Normal(mean, jnp.broadcast_to(params[name]['log_std'], mean.shape))

    return model._replace(init=init, decode=decode)

"""Autoencoders without a prior's rate, and noise at the input: objectives of one example, for `per_example`.

`encode` stays deterministic: noise is a function (key, x) -> x that `denoising` applies where the objective is made.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, random

from vae_jax.bounds.elbo import check_pathwise
from vae_jax.errors import Fault
from vae_jax.models import Model

Objective = Callable[..., tuple[Array, Any]]
Regularizer = Callable[[Model, Any, Any, Any], Array]  # model, params, z, x -> a number
Corruption = Callable[[Array, Any], Any]


def unregularized(model: Model, params: Any, z: Any, x: Any) -> Array:
    """0."""
    return jnp.zeros(())


def autoencoder(model: Model) -> Objective:
    """-log p(x|z) at z ~ q(z|x): with a Delta posterior the deterministic autoencoder.

    Raises Fault on a q without a pathwise gradient.
    """

    def objective(params: Any, key: Array, x: Any, hyper: Any) -> tuple[Array, dict[str, Array]]:
        q = model.encode(params, x)
        check_pathwise(q)
        distortion = -model.decode(params, q.sample(key)).log_prob(x)
        return distortion, {'distortion': distortion}

    return objective


def rae(model: Model, regularizer: Regularizer = unregularized) -> Objective:
    """-log p(x|z) + hyper.beta |z|^2 / 2 + hyper.regular regularizer, at the mean z of q(z|x) (Ghosh et al. 2020).

    `decoder_l2()` makes it RAE-L2, `decoder_gradient` RAE-GP; `contraction` the contractive autoencoder.
    """

    def objective(params: Any, key: Array, x: Any, hyper: Any) -> tuple[Array, dict[str, Array]]:
        z = model.encode(params, x).mean
        distortion = -model.decode(params, z).log_prob(x)
        norm, extra = 0.5 * jnp.sum(z**2), regularizer(model, params, z, x)
        metrics = {'distortion': distortion, 'code_norm': norm, 'regularizer': extra}
        return distortion + hyper.beta * norm + hyper.regular * extra, metrics

    return objective


def decoder_l2(*parts: str) -> Regularizer:
    """The sum of squares of the named parts of params, `decode` where none is named (Ghosh et al. 2020, 3.1)."""
    names = parts or ('decode',)

    def regularizer(model: Model, params: Any, z: Any, x: Any) -> Array:
        return sum((jnp.sum(leaf**2) for name in names for leaf in jax.tree.leaves(params[name])), jnp.zeros(()))

    return regularizer


def _jacobian_norm(jacobian: Any) -> Array:
    return sum((jnp.sum(leaf**2) for leaf in jax.tree.leaves(jacobian)), jnp.zeros(()))


def decoder_gradient(model: Model, params: Any, z: Any, x: Any) -> Array:
    """|d E[x|z] / dz|^2, the sum over all entries: one forward pass a dimension of z (Ghosh et al. 2020, 3.1)."""
    return _jacobian_norm(jax.jacfwd(lambda z: model.decode(params, z).mean)(z))


def contraction(model: Model, params: Any, z: Any, x: Any) -> Array:
    """|d E[z|x] / dx|^2: one backward pass a dimension of z (Rifai et al. 2011, eq. 1)."""
    return _jacobian_norm(jax.jacrev(lambda x: model.encode(params, x).mean)(x))


def denoising(make: Callable[[Model], Objective], model: Model, corrupt: Corruption) -> Objective:
    """The objective make(model) of clean x, with q(z|corrupt(x)): new noise at each step.

    Of `autoencoder` it is the denoising autoencoder (Vincent et al. 2008), of `beta_elbo` the denoising VAE (Im et al.
    2017, section 3). Raises Fault where the model has fused terms, which see x themselves.
    """
    if model.terms is not None:
        raise Fault('a model with fused terms sees the clean x', 'corrupt the data of a model without terms')

    def objective(params: Any, key: Array, x: Any, hyper: Any) -> Any:
        noise_key, key = random.split(key)
        seen = corrupt(noise_key, x)
        return make(model._replace(encode=lambda params, _: model.encode(params, seen)))(params, key, x, hyper)

    return objective


def gaussian_noise(log_std: float) -> Corruption:
    """x + exp(log_std) eps, eps ~ N(0, I)."""
    return lambda key, x: x + jnp.exp(log_std) * random.normal(key, x.shape)


def erased(share: float) -> Corruption:
    """x with each value set to zero with probability `share` (Vincent et al. 2008, section 2.3)."""
    return lambda key, x: jnp.where(random.bernoulli(key, share, x.shape), 0.0, x)

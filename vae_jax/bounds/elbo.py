"""One sample of z: the ELBO and its halves; and the weights of several, with the plain bound that they give."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax, random, vmap
from jax.scipy.special import logsumexp

from vae_jax.errors import Fault
from vae_jax.models import Model


class Terms(NamedTuple):
    """The two halves of -ELBO: distortion -log p(x|z), rate KL(q(z|x) || p(z)); nats."""

    distortion: Array
    rate: Array


def closed_form(q: Any, p: Any, z: Any, log_q: Array) -> Array:
    """KL(q || p) by formula. Raises Fault where the pair of families has none."""
    if not hasattr(q, 'kl'):
        raise Fault(f'KL({type(q).__name__} || {type(p).__name__}) has no closed form here', 'pass kl=monte_carlo')
    return q.kl(p)


def monte_carlo(q: Any, p: Any, z: Any, log_q: Array) -> Array:
    """log q(z|x) - log p(z) at the sample: an unbiased estimate of KL(q || p) for any pair of families."""
    return log_q - p.log_prob(z)


def check_pathwise(q: Any) -> None:
    """Raises Fault where samples of q carry no gradient to its parameters."""
    if not getattr(q, 'reparameterized', True):
        raise Fault(
            f'{type(q).__name__} samples carry no gradient to its parameters, so this bound would learn nothing',
            'use a reparameterized posterior (Normal), or a bound of bounds.score: score_elbo, vimco',
        )


def sampled_terms(model: Model, params: Any, key: Array, x: Any, kl: Callable[..., Array] = closed_form) -> Terms:
    """The values of `elbo_terms` for any q, discrete ones too: to evaluate, not to learn."""
    if model.terms is not None:
        return Terms(*model.terms(params, key, x))
    q, p = model.encode(params, x), model.prior(params)
    z, log_q = q.sample_and_log_prob(key)
    return Terms(-model.decode(params, z).log_prob(x), kl(q, p, z, log_q))


def elbo_terms(model: Model, params: Any, key: Array, x: Any, kl: Callable[..., Array] = closed_form) -> Terms:
    """-log p(x|z) at z ~ q(z|x), and KL(q(z|x) || p(z)) (Kingma & Welling 2013, eq. 3).

    A model with `terms` of its own gives these instead. Raises Fault on a discrete q, and where `kl` has no formula.
    """
    if model.terms is None:
        check_pathwise(jax.eval_shape(model.encode, params, x))
    return sampled_terms(model, params, key, x, kl)


def elbo(model: Model, params: Any, key: Array, x: Any, kl: Callable[..., Array] = closed_form) -> Array:
    """E_q[log p(x|z)] - KL(q(z|x) || p(z)) <= log p(x), one sample, nats."""
    terms = elbo_terms(model, params, key, x, kl)
    return -(terms.distortion + terms.rate)


def sticking_the_landing(model: Model, params: Any, key: Array, x: Any) -> Array:
    """The one-sample ELBO whose gradient leaves out the score of q: no variance where q is exact (Roeder et al. 2017).

    Raises Fault on a q whose samples carry no gradient.
    """
    q = model.encode(params, x)
    check_pathwise(q)
    return log_weight(model, params, q, q.sample(key), x, lax.stop_gradient(q))


def log_weight(model: Model, params: Any, q: Any, z: Any, x: Any, density: Any = None) -> Array:
    """log w = log p(x|z) + log p(z) - log q(z|x): its mean of exponentials estimates p(x).

    `density` is q in another guise, such as stop_gradient(q).
    """
    log_q = (q if density is None else density).log_prob(z)
    return model.decode(params, z).log_prob(x) + model.prior(params).log_prob(z) - log_q


def sampled_weight(model: Model, params: Any, q: Any, p: Any, key: Array, x: Any) -> Array:
    """log w at one z ~ q, p the prior: the density of q comes with the sample, so that a flow need not be inverted."""
    z, log_q = q.sample_and_log_prob(key)
    return model.decode(params, z).log_prob(x) + p.log_prob(z) - log_q


def check_samples(k: int) -> None:
    """Raises Fault on k < 1."""
    if k < 1:
        raise Fault(f'k is {k}, expected 1 or more samples', 'set --k to a positive number')


def log_weights(model: Model, params: Any, key: Array, x: Any, k: int) -> Array:
    """log w [k] at k samples of q(z|x). Raises Fault on k < 1."""
    check_samples(k)
    q, p = model.encode(params, x), model.prior(params)
    return vmap(lambda key: sampled_weight(model, params, q, p, key, x))(random.split(key, k))


def iwae(model: Model, params: Any, key: Array, x: Any, k: int) -> Array:
    """log 1/k sum_i w_i <= log p(x), nats; k = 1 is the ELBO (Burda et al. 2015, eq. 8).

    Raises Fault on k < 1 and on a discrete q.
    """
    check_pathwise(jax.eval_shape(model.encode, params, x))
    return logsumexp(log_weights(model, params, key, x, k)) - math.log(k)


def effective_samples(log_w: Array) -> Array:
    """(sum w)^2 / sum w^2 over log w [k]: how many samples of the exact posterior the weights are worth, 1 to k."""
    return jnp.exp(2 * logsumexp(log_w) - logsumexp(2 * log_w))

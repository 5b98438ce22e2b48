"""Gradients through densities alone: for any q that has a log-density, discrete ones above all."""

import math
from typing import Any

import jax.numpy as jnp
from jax import Array, lax, random, vmap
from jax.scipy.special import logsumexp

from vae_jax.bounds.elbo import check_samples, log_weight
from vae_jax.errors import Fault
from vae_jax.models import Model

_stop = lax.stop_gradient


def _sampled(model: Model, params: Any, key: Array, x: Any, k: int) -> tuple[Array, Array]:
    """(log w [k], log q(z|x) [k]) at k samples that carry no gradient."""
    q = model.encode(params, x)
    zs = _stop(vmap(q.sample)(random.split(key, k)))
    return vmap(lambda z: log_weight(model, params, q, z, x))(zs), vmap(q.log_prob)(zs)


def score_elbo(model: Model, params: Any, key: Array, x: Any, k: int = 2) -> Array:
    """Mean of k one-sample ELBOs; the gradient of q is that of log q(z|x) times (log w - baseline) (Williams 1992).

    The baseline of a sample is the mean log w of the others, which leaves the gradient unbiased (Mnih & Rezende 2016,
    section 2.2). Raises Fault on k < 2: a sample alone has no others.
    """
    if k < 2:
        raise Fault(f'k is {k}, and a baseline of the other samples needs 2 or more', 'set --k to 2 or more')
    log_w, log_q = _sampled(model, params, key, x, k)
    held = _stop(log_w)
    advantage = (held - held.mean()) * k / (k - 1)  # log w_i less the mean of the others
    surrogate = (log_w + advantage * log_q).mean()
    return _stop(log_w.mean()) + surrogate - _stop(surrogate)


def vimco(model: Model, params: Any, key: Array, x: Any, k: int) -> Array:
    """IWAE's value; log q(z_i|x) learns from log 1/k sum w less the same with w_i the others' geometric mean.

    Unbiased for the gradient of IWAE, without a gradient through z (Mnih & Rezende 2016, eq. 8-10). Raises Fault on
    k < 2.
    """
    check_samples(k)
    if k < 2:
        raise Fault(f'k is {k}, and VIMCO compares samples with each other', 'set --k to 2 or more')
    log_w, log_q = _sampled(model, params, key, x, k)
    held = _stop(log_w)
    others = (jnp.sum(held) - held) / (k - 1)
    without = logsumexp(jnp.where(jnp.eye(k, dtype=bool), others[:, None], held[None]), 1)
    bound = logsumexp(log_w) - math.log(k)
    surrogate = bound + (logsumexp(held) - without) @ log_q
    return _stop(bound) + surrogate - _stop(surrogate)

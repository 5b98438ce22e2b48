"""Wake and sleep: log-densities at draws that carry no gradient, so q may be discrete, and p(x|z) may be anything.

    wake     p learns at z ~ q(z|x), and q from the same z, by their weights
    sleep    q learns at dreams z ~ p(z), x ~ p(x|z)

Params that p and q share learn in each term as part of the density that it names, and of no other.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax import Array, lax, random, vmap
from jax.scipy.special import logsumexp

from vae_jax.bounds.elbo import check_samples
from vae_jax.errors import Fault
from vae_jax.models import Model

_stop = lax.stop_gradient


def log_joint(model: Model, params: Any, z: Any, x: Any) -> Array:
    """log p(x|z) + log p(z), in nats."""
    return model.decode(params, z).log_prob(x) + model.prior(params).log_prob(z)


def sleep(model: Model, params: Any, key: Array) -> Array:
    """-log q(z|x) of one dream z, x ~ p(x, z), nats: its mean gradient is that of E_p(x) KL(p(z|x) || q(z|x)).

    (Hinton et al. 1995.)
    """
    a, b = random.split(key)
    z = _stop(model.prior(params).sample(a))
    x = _stop(model.decode(params, z).sample(b))
    return -model.encode(params, x).log_prob(z)


def wake_sleep(model: Model) -> Callable[..., tuple[Array, Any]]:
    """-log p(x, z) at z ~ q(z|x), which p learns from, and `sleep`, which q learns from (Hinton et al. 1995)."""
    return reweighted_wake_sleep(model, k=1, dreams=1.0)


def _check(k: int, dreams: float) -> None:
    check_samples(k)
    if not 0 <= dreams <= 1:
        raise Fault(f'dreams is {dreams}', 'give a share of 0 to 1')
    if k == 1 and dreams < 1:
        raise Fault('one sample cannot be reweighted, so q would learn nothing of x', 'give k=2 or more, or dreams=1')


def reweighted_wake_sleep(model: Model, k: int, dreams: float = 0.5) -> Callable[..., tuple[Array, Any]]:
    """-sum_i v_i log p(x, z_i) - (1 - dreams) sum_i v_i log q(z_i|x) + dreams sleep, v = softmax(log w), z_i ~ q.

    dreams = 0 is the wake-phase update of q, 1 the sleep-phase update, 1/2 both (Bornschein & Bengio 2015, section 2).
    The metric `bound` is IWAE's. Raises Fault on k < 1, on dreams outside [0, 1], and on k = 1 with dreams < 1: the
    weight of a lone sample is one, and q would learn to repeat itself.
    """
    _check(k, dreams)

    def objective(params: Any, key: Array, x: Any, hyper: Any) -> tuple[Array, dict[str, Array]]:
        sample_key, dream_key = random.split(key)
        q = model.encode(params, x)
        zs = _stop(vmap(q.sample)(random.split(sample_key, k)))
        log_p, log_q = vmap(lambda z: (log_joint(model, params, z, x), q.log_prob(z)))(zs)
        log_w = _stop(log_p - log_q)
        share = jax.nn.softmax(log_w)
        metrics = {'bound': logsumexp(log_w) - math.log(k), 'wake': -share @ log_p}
        loss = metrics['wake']
        if dreams < 1:
            metrics['wake_q'] = -share @ log_q
            loss += (1 - dreams) * metrics['wake_q']
        if dreams > 0:
            metrics['sleep'] = sleep(model, params, dream_key)
            loss += dreams * metrics['sleep']
        return loss, metrics

    return objective

"""Several samples of z, weighed by w = p(x, z) / q(z|x): bounds that differ in value, or only in their gradient.

`stop_gradient` of a whole q, of params or of a weight says who learns; no bound here knows the names of parameters.
"""

import math
from typing import Any

import jax
from jax import Array, lax, random, vmap
from jax.scipy.special import logsumexp

from vae_jax.bounds.elbo import check_pathwise, check_samples, iwae, log_weight, log_weights
from vae_jax.errors import Fault
from vae_jax.models import Model

_stop = lax.stop_gradient


@jax.custom_jvp
def _slowed(z: Any, factor: Array) -> Any:
    """z, whose tangents are multiplied by `factor`."""
    return z


@_slowed.defjvp
def _slowed_jvp(primals: tuple[Any, Array], tangents: tuple[Any, Array]) -> tuple[Any, Any]:
    (z, factor), (dz, _) = primals, tangents
    return z, jax.tree.map(lambda d: factor * d, dz)


def _worth(value: Array, surrogate: Array) -> Array:
    """A number equal to `value` with the gradient of `surrogate`."""
    return _stop(value) + surrogate - _stop(surrogate)


def dreg(model: Model, params: Any, key: Array, x: Any, k: int) -> Array:
    """IWAE's value log 1/k sum w; through z the gradient is sum_i v_i^2 dlog w_i/dz dz, v = softmax(log w), q held.

    The signal-to-noise ratio of the encoder's gradient then grows with k instead of falling (Tucker et al. 2019, eq.
    8); decoder and prior learn as with IWAE. Raises Fault on k < 1 and on a q whose samples carry no gradient.
    """
    check_samples(k)
    q = model.encode(params, x)
    check_pathwise(q)
    zs = vmap(q.sample)(random.split(key, k))
    weigh = lambda z: log_weight(model, params, q, z, x, _stop(q))
    log_w = _stop(vmap(weigh)(zs))
    share = jax.nn.softmax(log_w)
    slowed = vmap(weigh)(vmap(_slowed)(zs, share))  # one v through z, the other one below
    return _worth(logsumexp(log_w) - math.log(k), share @ slowed)


def miwae(model: Model, params: Any, key: Array, x: Any, k: int, m: int) -> Array:
    """The mean of m IWAE bounds of k samples each (Rainforth et al. 2018, eq. 8). Raises Fault on k, m < 1."""
    check_samples(m)
    return vmap(lambda key: iwae(model, params, key, x, k))(random.split(key, m)).mean()


def piwae(model: Model, params: Any, key: Array, x: Any, k: int, m: int) -> Array:
    """IWAE of k m samples for prior and decoder, MIWAE(m, k) for the encoder (Rainforth et al. 2018, section 4).

    Its value is that of IWAE. The prior learns as part of p even where it uses the encoder's parameters.
    """
    check_samples(m)
    check_samples(k)
    q = model.encode(params, x)
    check_pathwise(q)
    zs = vmap(q.sample)(random.split(key, k * m))
    for_p = vmap(lambda z: log_weight(model, params, _stop(q), _stop(z), x))(zs)
    for_q = vmap(lambda z: log_weight(model, _stop(params), q, z, x))(zs)
    value = logsumexp(for_p) - math.log(k * m)
    return _worth(value, value + logsumexp(for_q.reshape(m, k), 1).mean())


def ciwae(model: Model, params: Any, key: Array, x: Any, k: int, beta: float) -> Array:
    """beta times the mean of k one-sample ELBOs, and 1 - beta times IWAE of the same samples (Rainforth et al. 2018).

    Raises Fault on k < 1, and on beta outside [0, 1].
    """
    if not 0 <= beta <= 1:
        raise Fault(f'beta is {beta}', 'give a share of 0 to 1')
    check_pathwise(jax.eval_shape(model.encode, params, x))
    log_w = log_weights(model, params, key, x, k)
    return beta * log_w.mean() + (1 - beta) * (logsumexp(log_w) - math.log(k))


def renyi(model: Model, params: Any, key: Array, x: Any, k: int, alpha: float) -> Array:
    """1/(1 - alpha) log 1/k sum w^(1 - alpha): alpha = 0 is IWAE, 1 the ELBO (Li & Turner 2016, eq. 9).

    It falls as alpha grows, and is a bound for alpha >= 0. Raises Fault on k < 1.
    """
    check_pathwise(jax.eval_shape(model.encode, params, x))
    log_w = log_weights(model, params, key, x, k)
    if alpha == 1:
        return log_w.mean()
    return (logsumexp((1 - alpha) * log_w) - math.log(k)) / (1 - alpha)

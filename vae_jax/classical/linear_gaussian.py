"""Factor analysis and probabilistic PCA as models, x = W z + b + noise with z ~ N(0, I): all of it in closed form.

params['decode'] is {'loadings': W [dims, latent], 'mean': b [dims], 'log_std': of the noise}, which is [] for all
(probabilistic PCA) or [dims] (factor analysis): `factors.ppca(...)._asdict()` is such a dict. x of any shape is read
as one vector [dims]. Functions are of one example.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, random
from jax.scipy.linalg import solve_triangular

from vae_jax.distributions import Normal
from vae_jax.errors import Fault
from vae_jax.models import Model, standard_normal

_LOG_2PI = math.log(2 * math.pi)


class Posterior(NamedTuple):
    """p(z|x) or an approximation of it, N(mean, covariance)."""

    mean: Array  # [latent]
    covariance: Array  # [latent, latent]


class Moments(NamedTuple):
    """What the M-step needs of examples: means of these over them, with z~ = (z, 1) and z under q(z|x)."""

    zz: Array  # E z~ z~^T [latent + 1, latent + 1]
    xz: Array  # x E z~^T [dims, latent + 1]
    xx: Array  # x^2 [dims]


def probabilistic_pca(latent: int, like: Array) -> Model:
    """p(x|z) = N(W z + b, s^2 I), q(z|x) = N(V x + c, diag exp(2 log_std)) (Tipping & Bishop 1999, section 3).

    `like` is one example [*shape] of real numbers. Where the columns of W are orthogonal, as at the maximum of the
    likelihood they can be, q can be the exact posterior. Raises Fault unless 1 <= latent < dims.
    """
    return _linear(latent, like, ())


def factor_analysis(latent: int, like: Array) -> Model:
    """p(x|z) = N(W z + b, diag s^2), one s for each x_i; q as in `probabilistic_pca` (Rubin & Thayer 1982)."""
    return _linear(latent, like, np.shape(like))


def _linear(latent: int, like: Array, noise: tuple[int, ...]) -> Model:
    shape = tuple(np.shape(like))
    dims = math.prod(shape)
    if not 1 <= latent < dims:
        raise Fault(f'latent is {latent} of x with {dims} numbers', 'give 1 or more, and fewer than x has')

    def init(key: Array, x: Array) -> dict[str, Any]:
        dtype = jnp.result_type(x, jnp.float32)
        start = {
            'loadings': 0.1 * random.normal(key, (dims, latent), dtype),
            'mean': jnp.zeros(dims, dtype),
            'log_std': jnp.full((dims,) if noise else (), -1.0, dtype),
        }
        return with_posterior(start)

    def encode(params: Any, x: Array) -> Normal:
        q = params['encode']
        return Normal(q['V'] @ x.reshape(-1) + q['c'], q['log_std'])

    def decode(params: Any, z: Array) -> Normal:
        p = params['decode']
        mean = (p['loadings'] @ z + p['mean']).reshape(shape)
        return Normal(mean, jnp.broadcast_to(p['log_std'].reshape(noise), shape))

    return Model(init, standard_normal(latent), encode, decode)


def precision(decode: Any) -> Array:
    """Lambda = I + W^T diag(s^-2) W [latent, latent], the precision of p(z|x), which is that of every x."""
    W, weight = decode['loadings'], _weight(decode)
    return jnp.eye(W.shape[1], dtype=W.dtype) + (W.T * weight[None]) @ W


def _weight(decode: Any) -> Array:
    return jnp.broadcast_to(jnp.exp(-2 * decode['log_std']), decode['mean'].shape)


def _seen(decode: Any, x: Array) -> tuple[Array, Array]:
    """x - b [dims], and W^T diag(s^-2) (x - b) [latent]."""
    off = x.reshape(-1) - decode['mean']
    return off, decode['loadings'].T @ (_weight(decode) * off)


def posterior(decode: Any, x: Array) -> Posterior:
    """p(z|x) = N(Lambda^-1 W^T diag(s^-2) (x - b), Lambda^-1) (Tipping & Bishop 1999, eq. 6; Rubin & Thayer 1982)."""
    covariance = jnp.linalg.inv(precision(decode))
    return Posterior(covariance @ _seen(decode, x)[1], covariance)


def log_marginal(decode: Any, x: Array) -> Array:
    """log p(x) = log N(x; b, W W^T + diag s^2), nats; of one x, through a matrix of [latent, latent]."""
    factor = jnp.linalg.cholesky(precision(decode))
    off, h = _seen(decode, x)
    weight, inner = _weight(decode), solve_triangular(factor, h, lower=True)
    log_det = 2 * jnp.sum(jnp.log(jnp.diag(factor))) - jnp.sum(jnp.log(weight))
    return -0.5 * (weight @ off**2 - inner @ inner + log_det + off.size * _LOG_2PI)


def elbo(decode: Any, q: Posterior, x: Array) -> Array:
    """log p(x) - KL(q || p(z|x)) of one example under a Gaussian q, nats."""
    exact, Lambda = posterior(decode, x), precision(decode)
    off, product = q.mean - exact.mean, Lambda @ q.covariance
    kl = 0.5 * (jnp.trace(product) - off.size + off @ Lambda @ off - jnp.linalg.slogdet(product)[1])
    return log_marginal(decode, x) - kl


def with_posterior(decode: Any) -> dict[str, Any]:
    """{'decode', 'encode'}: with the best diagonal q(z|x), the posterior's mean and variances 1 / diag Lambda.

    (Bishop 2006, eq. 10.12; it is exact where W^T diag(s^-2) W is diagonal.)
    """
    Lambda = precision(decode)
    V = jnp.linalg.solve(Lambda, decode['loadings'].T * _weight(decode)[None])
    encode = {'V': V, 'c': -V @ decode['mean'], 'log_std': -0.5 * jnp.log(jnp.diag(Lambda))}
    return {'decode': decode, 'encode': encode}


def moments(q: Posterior, x: Array) -> Moments:
    """The moments of one example under q."""
    x, z = x.reshape(-1), jnp.concatenate([q.mean, jnp.ones(1, q.mean.dtype)])
    zz = jnp.outer(z, z).at[:-1, :-1].add(q.covariance)
    return Moments(zz, jnp.outer(x, z), x**2)


def maximize(mean: Moments, old: Any, least: float = 1e-6) -> dict[str, Array]:
    """argmax over W, b, s of the mean of E_q log p(x, z): (W, b) = xz zz^-1, s^2 = xx - diag((W, b) xz^T).

    The noise is one number where that of `old` is, the mean over x then; its variances are kept at `least` or more, as
    the likelihood of factor analysis has no bound where one may be 0. (Rubin & Thayer 1982; Tipping & Bishop 1999,
    appendix B.)
    """
    A = jnp.linalg.solve(mean.zz, mean.xz.T).T
    variance = mean.xx - jnp.sum(A * mean.xz, 1)
    variance = variance if old['log_std'].ndim else jnp.mean(variance)
    return {'loadings': A[:, :-1], 'mean': A[:, -1], 'log_std': 0.5 * jnp.log(jnp.maximum(variance, least))}


def averaged(each: Moments) -> Moments:
    """The mean of moments [n, ...] of examples."""
    return jax.tree.map(lambda leaf: jnp.mean(leaf, 0), each)

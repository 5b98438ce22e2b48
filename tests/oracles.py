"""Models whose answers are known: a linear-Gaussian one in closed form, and any with a scalar z by quadrature."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import logsumexp
from jax.scipy.stats import multivariate_normal

from vae_jax.distributions import Normal
from vae_jax.models import Model


class Posterior(NamedTuple):
    mean: Array  # [latent]
    covariance: Array  # [latent, latent]


def linear_gaussian(latent: int, dims: int) -> Model:
    """p(z) = N(0, I), p(x|z) = N(W z + b, s^2 I), q(z|x) = N(V (x - b), diag exp(2 log_std)): probabilistic PCA."""

    def init(key: Array, x: Array) -> dict[str, Array]:
        a, b, c = jax.random.split(key, 3)
        return {
            'W': jax.random.normal(a, (dims, latent)),
            'b': jax.random.normal(b, (dims,)),
            'log_s': jnp.array(-0.5),
            'V': 0.3 * jax.random.normal(c, (latent, dims)),
            'log_std': jnp.full(latent, -0.3),
        }

    def encode(params: Any, x: Array) -> Normal:
        return Normal(params['V'] @ (x - params['b']), params['log_std'])

    def decode(params: Any, z: Array) -> Normal:
        return Normal(params['W'] @ z + params['b'], jnp.broadcast_to(params['log_s'], (dims,)))

    def prior(params: Any) -> Normal:
        return Normal(jnp.zeros_like(params['log_std']), jnp.zeros_like(params['log_std']))

    return Model(init, prior, encode, decode)


def log_p(params: Any, x: Array) -> Array:
    """log N(x; b, W W^T + s^2 I)."""
    W = params['W']
    covariance = W @ W.T + jnp.exp(2 * params['log_s']) * jnp.eye(W.shape[0])
    return multivariate_normal.logpdf(x, params['b'], covariance)


def posterior(params: Any, x: Array) -> Posterior:
    """N(M^-1 W^T (x - b), s^2 M^-1), M = W^T W + s^2 I (Tipping & Bishop 1999, eq. 7)."""
    W, s2 = params['W'], jnp.exp(2 * params['log_s'])
    inverse = jnp.linalg.inv(W.T @ W + s2 * jnp.eye(W.shape[1]))
    return Posterior(inverse @ W.T @ (x - params['b']), s2 * inverse)


def elbo(params: Any, q: Normal, x: Array) -> Array:
    """E_q[log p(x, z)] + H(q) in closed form, for a diagonal q."""
    W, s2 = params['W'], jnp.exp(2 * params['log_s'])
    variance = jnp.exp(2 * q.log_std)
    residual = jnp.sum((x - params['b'] - W @ q.mean) ** 2) + jnp.sum(W**2 @ variance)
    distortion = 0.5 * residual / s2 + 0.5 * x.size * jnp.log(2 * jnp.pi * s2)
    rate = jnp.sum(0.5 * (variance + q.mean**2 - 1) - q.log_std)
    return -distortion - rate


def optimal_diagonal(params: Any, x: Array) -> Normal:
    """The best diagonal q for x: the posterior's mean, and 1 / diag of its precision (Bishop 2006, eq. 10.12)."""
    exact = posterior(params, x)
    return Normal(exact.mean, -0.5 * jnp.log(jnp.diag(jnp.linalg.inv(exact.covariance))))


def with_exact_encoder(params: Any) -> Any:
    """params whose q(z|x) is the exact posterior, given that W has orthogonal columns."""
    W, s2 = params['W'], jnp.exp(2 * params['log_s'])
    M = W.T @ W + s2 * jnp.eye(W.shape[1])
    V = jnp.linalg.inv(M) @ W.T
    return {**params, 'V': V, 'log_std': 0.5 * jnp.log(jnp.diag(s2 * jnp.linalg.inv(M)))}


def rotated(params: Any) -> Any:
    """params with the columns of W made orthogonal: the same p(x), a diagonal posterior."""
    u, s, _ = jnp.linalg.svd(params['W'], full_matrices=False)
    return {**params, 'W': u * s[None]}


def log_p_by_quadrature(model: Model, params: Any, x: Any, points: int = 4001, width: float = 12.0) -> Array:
    """log of the integral of p(x|z) p(z) over a scalar z [1], by the trapezoidal rule on [-width, width]."""
    grid = jnp.linspace(-width, width, points)
    prior = model.prior(params)
    log_joint = jax.vmap(lambda z: model.decode(params, z).log_prob(x) + prior.log_prob(z))(grid[:, None])
    return logsumexp(log_joint) + jnp.log(grid[1] - grid[0])

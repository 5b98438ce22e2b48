"""A normal of unknown mean and precision: the exact posterior, and its mean field (Bishop 2006, section 10.1.3).

tau ~ Gamma(shape, rate),  mu | tau ~ N(mean, 1 / (worth tau)),  x_i ~ N(mu, 1 / tau)
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.special import digamma, gammaln

from vae_jax.distributions import Normal
from vae_jax.errors import Fault

LOG_2PI = math.log(2 * math.pi)


class NormalGamma(NamedTuple):
    """p(mu, tau): `worth` is how many observations the mean counts for; tau has shape / rate for its mean."""

    mean: Array | float
    worth: Array | float
    shape: Array | float
    rate: Array | float

    def log_prob(self, mu: Array, tau: Array) -> Array:
        """log N(mu; mean, 1 / (worth tau)) + log Gamma(tau; shape, rate), nats; its measure is dmu dtau."""
        log_normal = 0.5 * (jnp.log(self.worth * tau) - LOG_2PI - self.worth * tau * (mu - self.mean) ** 2)
        return log_normal + log_gamma(tau, self.shape, self.rate)


def log_gamma(tau: Array, shape: Array | float, rate: Array | float) -> Array:
    """log Gamma(tau; shape, rate) = shape log rate - log Gamma(shape) + (shape - 1) log tau - rate tau, nats."""
    return shape * jnp.log(rate) - gammaln(shape) + (shape - 1) * jnp.log(tau) - rate * tau


class Factors(NamedTuple):
    """q(mu) q(tau): a Normal, and a Gamma of this shape and rate; ELBO [sweeps], nats."""

    mu: Normal
    shape: Array
    rate: Array
    elbos: Array


def checked(prior: NormalGamma, x: Array) -> tuple[NormalGamma, Array]:
    """Both as arrays. Raises Fault where x is no vector, or worth, shape or rate are not positive."""
    x = jnp.asarray(x)
    if x.ndim != 1 or not x.size:
        raise Fault(f'observations have shape {x.shape}', 'give a vector x [n] of at least one')
    for name, value in zip(prior._fields[1:], prior[1:]):
        if not float(value) > 0:
            raise Fault(f'the prior has {name} {float(value):g}', f'give a positive {name}')
    return NormalGamma(*(jnp.asarray(value, x.dtype) for value in prior)), x


def exact_posterior(prior: NormalGamma, x: Array) -> NormalGamma:
    """p(mu, tau | x), of the same family (Bishop 2006, section 2.3.6). Raises Fault as `checked`."""
    prior, x = checked(prior, x)
    mean, squares, n = jnp.mean(x), jnp.sum((x - jnp.mean(x)) ** 2), x.size
    count = prior.worth + n
    between = prior.worth * n / count * (mean - prior.mean) ** 2
    # added to the prior's mean, not averaged with it: no digits are lost where both are large
    moved = prior.mean + n / count * (mean - prior.mean)
    return NormalGamma(moved, count, prior.shape + n / 2, prior.rate + 0.5 * (squares + between))


def log_evidence(prior: NormalGamma, x: Array) -> Array:
    """log p(x), mu and tau integrated out, nats. Raises Fault as `checked`."""
    q = exact_posterior(prior, x)
    prior, x = checked(prior, x)
    of_shape = gammaln(q.shape) - gammaln(prior.shape) + prior.shape * jnp.log(prior.rate) - q.shape * jnp.log(q.rate)
    return of_shape + 0.5 * (jnp.log(prior.worth) - jnp.log(q.worth) - x.size * LOG_2PI)


def factored_posterior(prior: NormalGamma, x: Array, sweeps: int = 30) -> Factors:
    """q(mu) = N(m, 1 / (worth' E tau)), q(tau) = Gamma(shape + (n + 1) / 2, rate'), each updated in turn.

    Bishop 2006, eq. 10.26 to 10.30. At the fixed point, with the exact posterior's shape a: Var_q mu = (a - 1) / a and
    Var_q tau = a / (a + 1/2) of the exact variances, and both means are exact. Begins at E tau = shape / rate of the
    prior. Raises Fault on sweeps < 1 and as `checked`.
    """
    if sweeps < 1:
        raise Fault(f'sweeps is {sweeps}, expected 1 or more', 'pass sweeps=1 or more')
    prior, x = checked(prior, x)
    exact = exact_posterior(prior, x)
    m, count, shape = jnp.asarray(exact.mean), exact.worth, jnp.asarray(prior.shape + (x.size + 1) / 2)
    apart, far = jnp.sum((x - m) ** 2), (m - prior.mean) ** 2

    def elbo(variance: Array, rate: Array) -> Array:
        tau, log_tau = shape / rate, digamma(shape) - jnp.log(rate)
        data = 0.5 * x.size * (log_tau - LOG_2PI) - 0.5 * tau * (apart + x.size * variance)
        of_mu = 0.5 * (jnp.log(prior.worth) + log_tau - LOG_2PI) - 0.5 * prior.worth * tau * (far + variance)
        of_tau = prior.shape * jnp.log(prior.rate) - gammaln(prior.shape) + (prior.shape - 1) * log_tau
        entropy = 0.5 * (1 + LOG_2PI + jnp.log(variance))
        entropy += shape - jnp.log(rate) + gammaln(shape) + (1 - shape) * digamma(shape)
        return data + of_mu + of_tau - prior.rate * tau + entropy

    def sweep(tau: Array, _: None) -> tuple[Array, tuple[Array, Array, Array]]:
        variance = 1 / (count * tau)
        rate = prior.rate + 0.5 * (apart + x.size * variance + prior.worth * (far + variance))
        return shape / rate, (variance, rate, elbo(variance, rate))

    run = jax.jit(lambda tau: lax.scan(sweep, tau, length=sweeps)[1])
    variance, rate, elbos = run(prior.shape / prior.rate)
    return Factors(Normal(m, 0.5 * jnp.log(variance[-1])), shape, rate[-1], elbos)

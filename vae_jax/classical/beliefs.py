"""Variational Bayes of a Gaussian mixture: beliefs about weights, means and precisions, by coordinate ascent.

    prior = weak_prior(xs);   trainer = coordinate_ascent(prior, 20);   loss = -ELBO, which never rises

q(pi) prod_k q(mu_k, Lambda_k) = Dir(pi) prod_k N(mu_k; m_k, (beta_k Lambda_k)^-1) W(Lambda_k; W_k, nu_k), all conjugate
(Attias 1999; Bishop 2006, section 10.2). Groups that no row needs keep the prior: their number is found on the way.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, random, vmap
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import digamma, gammaln, logsumexp

from vae_jax.classical.mixtures import begin, check_rows, passes
from vae_jax.distributions import FullNormal, Mixture
from vae_jax.errors import Fault
from vae_jax.training.trainer import State, Trainer


class Belief(NamedTuple):
    """Of one group; of k groups every leaf leads with [k]. A prior is one, for each of them."""

    concentration: Array  # alpha, of the Dirichlet
    strength: Array  # beta: how many rows the mean is worth
    mean: Array  # m [d]
    freedom: Array  # nu > d - 1, of the Wishart
    scatter: Array  # W^-1 [d, d]: E[Lambda] = nu W


def weak_prior(xs: Array, concentration: float = 1.0, width: float = 1.0) -> Belief:
    """Worth one row: the mean of all rows, and E[Lambda]^-1 = width^2 / d their covariance, of d degrees of freedom.

    A concentration well below 1 leaves groups empty that are not needed (Bishop 2006, figure 10.6); how narrow groups
    are is for `width` to say, and the ELBO compares several. Raises Fault on either <= 0, and on fewer than two rows.
    """
    check_rows(xs, 2)
    if concentration <= 0 or width <= 0:
        raise Fault(f'a prior of concentration {concentration:g} and width {width:g}', 'give numbers above 0')
    (n, d), mean, dtype = xs.shape, jnp.mean(xs, 0), xs.dtype
    off = xs - mean[None]
    scatter = width**2 / (n - 1) * off.T @ off
    return Belief(jnp.asarray(concentration, dtype), jnp.ones((), dtype), mean, jnp.asarray(d, dtype), scatter)


def _log_det(matrix: Array) -> Array:
    return 2 * jnp.sum(jnp.log(jnp.diagonal(jnp.linalg.cholesky(matrix))))


def _halves(freedom: Array, d: int) -> Array:
    """(nu + 1 - i) / 2, i = 1 ... d."""
    return (freedom - jnp.arange(d, dtype=freedom.dtype)) / 2


def _log_precision(q: Belief) -> Array:
    """E log|Lambda| (eq. 10.65)."""
    d = q.mean.shape[0]
    return jnp.sum(digamma(_halves(q.freedom, d))) + d * math.log(2) - _log_det(q.scatter)


def _log_likelihood(q: Belief, xs: Array) -> Array:
    """E log N(x; mu, Lambda^-1) [n] (eq. 10.64, 10.65)."""
    d = q.mean.shape[0]
    scaled = solve_triangular(jnp.linalg.cholesky(q.scatter), (xs - q.mean[None]).T, lower=True)
    squares = d / q.strength + q.freedom * jnp.sum(scaled**2, 0)
    return 0.5 * (_log_precision(q) - d * math.log(2 * math.pi) - squares)


def _dirichlet_kl(q: Array, p: Array) -> Array:
    normalizer = lambda a: gammaln(jnp.sum(a)) - jnp.sum(gammaln(a))
    log_pi = digamma(q) - digamma(jnp.sum(q))
    return normalizer(q) - normalizer(p) + jnp.sum((q - p) * log_pi)


def _group_kl(q: Belief, p: Belief) -> Array:
    """KL of q(mu, Lambda) from its prior: of the mean given the precision, and of the precision."""
    d = q.mean.shape[0]
    factor = jnp.linalg.cholesky(q.scatter)
    shift = solve_triangular(factor, q.mean - p.mean, lower=True)
    ratio = p.strength / q.strength
    mean = 0.5 * (d * (ratio - 1 - jnp.log(ratio)) + p.strength * q.freedom * jnp.sum(shift**2))
    turned = solve_triangular(factor, solve_triangular(factor, p.scatter, lower=True).T, lower=True)
    partition = lambda a: (
        0.5 * a.freedom * (_log_det(a.scatter) - d * math.log(2)) - jnp.sum(gammaln(_halves(a.freedom, d)))
    )
    precision = partition(q) - partition(p) + 0.5 * (q.freedom - p.freedom) * _log_precision(q)
    return mean + precision + 0.5 * q.freedom * (jnp.trace(turned) - d)


def expected(q: Belief, xs: Array) -> tuple[Array, Array]:
    """log of the best q(group) of each row [n, k]; logsumexp_k E log(pi_k p_k(x)) [n], nats (eq. 10.46 to 10.49)."""
    log_pi = digamma(q.concentration) - digamma(jnp.sum(q.concentration))
    each = vmap(_log_likelihood, (0, None), 1)(q, xs) + log_pi[None]
    total = logsumexp(each, 1)
    return each - total[:, None], total


def elbo(q: Belief, prior: Belief, totals: Array) -> Array:
    """log p(xs) >= sum of the totals of `expected` - KL(q || prior), of q(group) at its best; nats (eq. 10.70)."""
    k = q.concentration.shape[0]
    groups = jnp.sum(vmap(_group_kl, (0, None))(q, prior))
    return jnp.sum(totals) - _dirichlet_kl(q.concentration, jnp.broadcast_to(prior.concentration, (k,))) - groups


def updated(prior: Belief, xs: Array, resp: Array) -> Belief:
    """The best belief of k groups, of responsibilities resp [n, k] (eq. 10.51 to 10.53, 10.58, 10.60 to 10.63)."""

    def one(w: Array) -> Belief:
        n = jnp.sum(w) + 10 * jnp.finfo(w.dtype).eps
        mean = w @ xs / n
        off, apart = xs - mean[None], mean - prior.mean
        strength = prior.strength + n
        between = prior.strength * n / strength * jnp.outer(apart, apart)
        return Belief(
            prior.concentration + n,
            strength,
            (prior.strength * prior.mean + n * mean) / strength,
            prior.freedom + n,
            prior.scatter + (w[:, None] * off).T @ off + between,
        )

    return vmap(one, 1)(resp)


def coordinate_ascent(prior: Belief, k: int) -> Trainer:
    """One step: q(group) at its best, then the belief of k groups; loss = -ELBO before it, nats a row.

    The batch must be all rows, then the loss never rises. Begins as `em`; params are {'belief': Belief}. Raises Fault
    on rows that are no table, and on fewer of them than k.
    """

    def init(key: Array, batch: Any, hyper: Any) -> State:
        check_rows(batch['x'], k)
        key, start_key = random.split(key)
        belief = updated(prior, batch['x'], begin(start_key, batch['x'], k))
        return State(jnp.zeros((), jnp.int32), key, {'belief': belief}, (), hyper)

    def step(state: State, batch: Any) -> tuple[State, dict[str, Array]]:
        belief, xs = state.params['belief'], batch['x']
        log_resp, totals = expected(belief, xs)
        new = updated(prior, xs, jnp.exp(log_resp))
        return state._replace(step=state.step + 1, params={'belief': new}), {
            'loss': -elbo(belief, prior, totals) / xs.shape[0]
        }

    return Trainer(init, step)


@functools.partial(jax.jit, static_argnames=('k', 'steps'))
def believed(prior: Belief, k: int, key: Array, xs: Array, steps: int) -> tuple[Belief, Array]:
    """Coordinate ascent of k groups on all rows: (belief, losses [steps]). The lowest loss says which prior is best."""
    params, losses = passes(coordinate_ascent(prior, k), key, xs, (), steps)
    return params['belief'], losses


def used(q: Belief, prior: Belief) -> Array:
    """How many groups have more than one row."""
    return jnp.sum(q.concentration > prior.concentration + 1)


def plugged_in(q: Belief) -> Mixture:
    """The mixture of E[pi], E[mu] and E[Lambda]^-1: to look at and to sample."""

    def one(group: Belief) -> FullNormal:
        factor = jnp.linalg.cholesky(group.scatter / group.freedom)
        return FullNormal(group.mean, jnp.log(jnp.diagonal(factor)), factor)

    return Mixture(jnp.log(q.concentration) - jnp.log(jnp.sum(q.concentration)), vmap(one)(q))


def log_predictive(q: Belief, x: Array) -> Array:
    """log p(x | rows) of one new x [d], nats: a mixture of Student's t with nu + 1 - d degrees (eq. 10.81, 10.82)."""
    d = x.shape[0]

    def one(group: Belief) -> Array:
        freedom = group.freedom + 1 - d
        spread = group.scatter * (1 + group.strength) / (group.strength * freedom)
        scaled = solve_triangular(jnp.linalg.cholesky(spread), x - group.mean, lower=True)
        front = gammaln((freedom + d) / 2) - gammaln(freedom / 2) - d / 2 * jnp.log(freedom * math.pi)
        return front - 0.5 * _log_det(spread) - (freedom + d) / 2 * jnp.log1p(jnp.sum(scaled**2) / freedom)

    log_weights = jnp.log(q.concentration) - jnp.log(jnp.sum(q.concentration))
    return logsumexp(log_weights + vmap(one)(q))

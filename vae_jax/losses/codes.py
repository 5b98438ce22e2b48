"""Losses of a whole batch of codes: distortion + weigh(rates, hyper) + penalty(codes, key, hyper).

    weigh      rates [b, d] -> nats: what a nat of each dimension of each example costs
    penalty    codes, key -> (nats, metrics): what the aggregate posterior of the batch should be like

Each is a function of `hyper`'s fields that it names, so that any of their products is a population's axis.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, random, vmap
from jax.scipy.special import logsumexp

from vae_jax.bounds import Terms, closed_form
from vae_jax.bounds.elbo import check_pathwise
from vae_jax.errors import Fault
from vae_jax.losses.objectives import Loss, x_of
from vae_jax.models import Model

Weigh = Callable[[Array, Any], Array]
Penalty = Callable[['Codes', Array, Any], tuple[Array, dict[str, Array]]]


class Codes(NamedTuple):
    """A batch as codes: q(z|x) [b], z [b, d] ~ q, the prior, rates [b, d] in nats ([b, 1] of dependent dimensions)."""

    q: Any
    z: Array
    p: Any
    rates: Array


def beta(rates: Array, hyper: Any) -> Array:
    """hyper.beta times the mean rate (Higgins et al. 2017, eq. 4)."""
    return hyper.beta * jnp.mean(jnp.sum(rates, 1))


def capacity(rates: Array, hyper: Any) -> Array:
    """hyper.gamma |rate - hyper.capacity|: schedule the capacity upwards (Burgess et al. 2018, eq. 8)."""
    return hyper.gamma * jnp.abs(jnp.mean(jnp.sum(rates, 1)) - hyper.capacity)


def free_bits(rates: Array, hyper: Any) -> Array:
    """max(hyper.free, rate of an example): the first hyper.free nats of each example cost nothing more."""
    return jnp.mean(jnp.maximum(hyper.free, jnp.sum(rates, 1)))


def free_bits_each(rates: Array, hyper: Any) -> Array:
    """sum over dimensions of max(hyper.free, rate of a dimension of an example)."""
    return jnp.mean(jnp.sum(jnp.maximum(hyper.free, rates), 1))


def free_bits_mean(rates: Array, hyper: Any) -> Array:
    """sum over dimensions of max(hyper.free, mean rate of a dimension over the batch) (Kingma et al. 2016, eq. 15)."""
    return jnp.sum(jnp.maximum(hyper.free, jnp.mean(rates, 0)))


def no_penalty(codes: Codes, key: Array, hyper: Any) -> tuple[Array, dict[str, Array]]:
    """0."""
    return jnp.zeros(()), {}


def coded(model: Model, weigh: Weigh = beta, penalty: Penalty = no_penalty, of: Callable[[Any], Any] = x_of) -> Loss:
    """mean distortion + weigh(rates) + penalty(codes): one z an example; metrics are those of Terms and the penalty's.

    Raises Fault where KL(q || p) has no closed form, and on a q without a pathwise gradient.
    """

    def loss(params: Any, key: Array, batch: Mapping[str, Any], hyper: Any) -> tuple[Array, dict[str, Array]]:
        xs = of(batch)
        n = xs.shape[0]
        sample_key, penalty_key = random.split(key)
        p = model.prior(params)
        check_pathwise(jax.eval_shape(model.encode, params, xs[0]))
        jax.eval_shape(lambda x: closed_form(model.encode(params, x), p, None, jnp.zeros(())), xs[0])
        q = vmap(lambda x: model.encode(params, x))(xs)
        z = vmap(lambda q, key: q.sample(key))(q, random.split(sample_key, n))
        distortion = -vmap(lambda z, x: model.decode(params, z).log_prob(x))(z, xs)
        rates = vmap(lambda q: _rates(q, p))(q)
        value, metrics = penalty(Codes(q, z, p, rates), penalty_key, hyper)
        terms = Terms(jnp.mean(distortion), jnp.mean(jnp.sum(rates, 1)))
        return terms.distortion + weigh(rates, hyper) + value, {**terms._asdict(), **metrics}

    return loss


def _rates(q: Any, p: Any) -> Array:
    """KL(q || p) of each dimension [d]; in one piece [1] where they depend on each other, as on a sphere."""
    return vmap(lambda q, p: q.kl(p))(q, p) if hasattr(q, 'each') else q.kl(p)[None]


def _log_densities(codes: Codes) -> Array:
    """log q(z_i[d] | x_j) [b, b, d]: every code's dimensions under every example's posterior."""
    dims = lambda z, q: vmap(lambda q, z: q.log_prob(z))(q, z)
    return vmap(lambda z: vmap(lambda q: dims(z, q))(codes.q))(codes.z)


def weighted(b: int, n: int) -> Array:
    """log weights [b, b] of example j in q(z_i), 1 / (b n) each: minibatch-weighted (Chen et al. 2018, eq. 5)."""
    return jnp.full((b, b), -math.log(b * n))


def stratified(b: int, n: int) -> Array:
    """log weights [b, b] of example j in q(z_i), unbiased for q(z_i) over batches (Chen et al. 2018, appendix C.1).

    1/n of example i itself; 1/(b - 1) of the others, but for one that stands for all examples outside the batch.
    """
    rest = (n - b + 1) / (n * (b - 1))
    weights = jnp.where(jnp.eye(b, dtype=bool), 1 / n, 1 / (b - 1))
    return jnp.log(jnp.where(jnp.roll(jnp.eye(b, dtype=bool), 1, axis=1), rest, weights))


def total_correlation(n: int, log_weights: Callable[[int, int], Array] = weighted) -> Penalty:
    """(hyper.tc - 1) KL(q(z) || prod_d q(z_d)): with weigh = beta, hyper.beta = 1 it is beta-TCVAE (Chen et al. 2018).

    n is the size of the training split; `log_weights` is `weighted` (the paper's) or `stratified`. The metrics are the
    parts of the rate (eq. 2): mutual_information + total_correlation + dimension_kl = log q(z|x) - log p(z) at the
    codes. Raises Fault on a batch of one.
    """

    def penalty(codes: Codes, key: Array, hyper: Any) -> tuple[Array, dict[str, Array]]:
        b = codes.z.shape[0]
        if b < 2:
            raise Fault(f'the batch has {b} example, and the total correlation needs several', 'use a larger batch')
        if not hasattr(codes.q, 'each'):
            found = f'the dimensions of {type(codes.q).__name__} have no densities of their own to correlate'
            raise Fault(found, 'use a posterior that is independent over dimensions, such as Normal')
        log_q, weights = _log_densities(codes), log_weights(b, n)
        log_qz = logsumexp(jnp.sum(log_q, 2) + weights, 1)
        log_product = jnp.sum(logsumexp(log_q + weights[:, :, None], 1), 1)
        own = vmap(lambda q, z: q.log_prob(z))(codes.q, codes.z)
        parts = {
            'mutual_information': jnp.mean(own - log_qz),
            'total_correlation': jnp.mean(log_qz - log_product),
            'dimension_kl': jnp.mean(log_product - vmap(codes.p.log_prob)(codes.z)),
        }
        return (hyper.tc - 1) * parts['total_correlation'], parts

    return penalty


def dip(of_samples: float = 0.0) -> Penalty:
    """hyper.off sum_{i != j} C_ij^2 + hyper.on sum_i (C_ii - 1)^2 of C = Cov(mean of q) + of_samples E[Var of q].

    DIP-VAE I with of_samples = 0, II with 1 (Kumar et al. 2018, eq. 6 and 7).
    """

    def penalty(codes: Codes, key: Array, hyper: Any) -> tuple[Array, dict[str, Array]]:
        means = codes.q.mean
        centred = means - jnp.mean(means, 0, keepdims=True)
        cov = centred.T @ centred / means.shape[0]
        cov = cov + of_samples * jnp.diag(jnp.mean(jnp.exp(2 * codes.q.log_std), 0))
        diagonal = jnp.diag(cov)
        off = jnp.sum(cov**2) - jnp.sum(diagonal**2)
        on = jnp.sum((diagonal - 1) ** 2)
        return hyper.off * off + hyper.on * on, {'dip_off': off, 'dip_on': on}

    return penalty


def inverse_multiquadratics(a: Array, b: Array) -> Array:
    """sum over scales s of s C / (s C + |a - b|^2), C = 2 d: a kernel of heavy tails (Tolstikhin et al. 2018)."""
    square, base = jnp.sum((a - b) ** 2), 2.0 * a.shape[0]
    return sum(scale * base / (scale * base + square) for scale in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0))  # type: ignore[return-value]


def mmd(kernel: Callable[[Array, Array], Array] = inverse_multiquadratics) -> Penalty:
    """hyper.mmd MMD^2(q(z), p(z)), unbiased, from as many draws of the prior as there are codes.

    With weigh = beta, hyper.beta = 0 is WAE-MMD (Tolstikhin et al. 2018, alg. 2), else InfoVAE (Zhao et al. 2019).
    Raises Fault on a batch of one.
    """

    def penalty(codes: Codes, key: Array, hyper: Any) -> tuple[Array, dict[str, Array]]:
        b = codes.z.shape[0]
        if b < 2:
            raise Fault(f'the batch has {b} example, and MMD needs several', 'use a larger batch')
        draws = vmap(codes.p.sample)(random.split(key, b))
        every = lambda xs, ys: vmap(lambda x: vmap(lambda y: kernel(x, y))(ys))(xs)
        others = lambda k: (jnp.sum(k) - jnp.sum(jnp.diag(k))) / (b * (b - 1))
        value = others(every(codes.z, codes.z)) + others(every(draws, draws)) - 2 * jnp.mean(every(codes.z, draws))
        return hyper.mmd * value, {'mmd': value}

    return penalty

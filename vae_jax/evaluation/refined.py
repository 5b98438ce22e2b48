"""A variational posterior of each example alone, refined from q(z|x): what the encoder lost, and a better proposal."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax, random, vmap
from jax.flatten_util import ravel_pytree

from vae_jax import bounds
from vae_jax.distributions import FullNormal, Normal
from vae_jax.evaluation.annealing import check_real
from vae_jax.evaluation.checks import counted
from vae_jax.evaluation.likelihood import NLL, Estimate
from vae_jax.evaluation.streaming import Rows, at_a_time, dims_of, example, finite, log_cell, over
from vae_jax.evaluation.weights import Weights, weights_streamed
from vae_jax.flows import Flow, Flowed
from vae_jax.models import Conditional, Model


class Variational(NamedTuple):
    """A family of q over flat z [d]: where its free parameters begin, and the distribution that they make."""

    init: Callable[[Array, Any, int], Any]  # key, q(z|x), d -> free
    made: Callable[[Any], Any]  # free -> q over z [d], with sample_and_log_prob


class Refined(NamedTuple):
    """ELBO of the refined q and of q(z|x) at the `start`, k samples each, and -log p(x) under the refined q; nats.

    elbo - start is what amortization costs of the family, -nll - elbo what the family itself costs.
    """

    elbo: Estimate
    start: Estimate
    nll: NLL

    def __str__(self) -> str:
        return f'ELBO {self.elbo} refined from {self.start.mean:.3f}; -log p(x) {self.nll}'


def moments(key: Array, q: Any) -> tuple[Array, Array]:
    """mean and log_std [d] of flat z ~ q: its own where it has a log_std, else those of 256 draws."""
    if hasattr(q, 'log_std'):
        return ravel_pytree(q.mean)[0], ravel_pytree(q.log_std)[0]
    zs = vmap(lambda key: ravel_pytree(q.sample(key))[0])(random.split(key, 256))
    return jnp.mean(zs, 0), jnp.log(jnp.std(zs, 0))


@cache
def diagonal() -> Variational:
    """N(mean, diag exp(2 log_std)), from the moments of q(z|x)."""
    return Variational(lambda key, q, d: moments(key, q), lambda free: Normal(*free))


@cache
def full() -> Variational:
    """N(mean, L L^T), from the moments of q(z|x) with no covariances."""

    def init(key: Array, q: Any, d: int) -> tuple[Array, Array, Array]:
        mean, log_std = moments(key, q)
        return mean, log_std, jnp.zeros((d, d), mean.dtype)

    return Variational(init, lambda free: FullNormal(*free))


@cache
def flowed(flow: Flow) -> Variational:
    """The diagonal Gaussian pushed through a flow of its own, which needs no inverse."""

    def init(key: Array, q: Any, d: int) -> tuple[Any, Any]:
        a, b = random.split(key)
        mean, log_std = moments(a, q)
        return (mean, log_std), flow.init(b, mean)

    return Variational(init, lambda free: Flowed(Normal(*free[0]), free[1], flow))


class Work(NamedTuple):
    """Of the refinement: its family, steps of Adam and their size, and samples of each."""

    family: Variational
    steps: int
    lr: float
    samples: int
    k: int


def _refined(model: Model, params: Any, x: Any, key: Array, work: Work) -> tuple[Weights, Array]:
    """(weights under the refined q, ELBO of q(z|x)) of one example."""
    q, p = model.encode(params, x), model.prior(params)
    like = jax.eval_shape(q.sample, random.key(0))
    flat, unravel = ravel_pytree(jax.tree.map(lambda z: jnp.zeros(z.shape, z.dtype), like))

    def log_w(free: Any, key: Array) -> Array:
        z, log_q = work.family.made(free).sample_and_log_prob(key)
        z = unravel(z)
        return model.decode(params, z).log_prob(x) + p.log_prob(z) - log_q

    def loss(free: Any, key: Array) -> Array:
        return -jnp.mean(vmap(lambda key: log_w(free, key))(random.split(key, work.samples)))

    a, b, c, d = random.split(key, 4)
    free = work.family.init(a, q, flat.size)
    adam = optax.adam(optax.cosine_decay_schedule(work.lr, max(work.steps, 1)))

    def step(carry: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], None]:
        free, state = carry
        updates, state = adam.update(jax.grad(loss)(free, key), state)
        return (optax.apply_updates(free, updates), state), None

    (free, _), _ = lax.scan(step, (free, adam.init(free)), random.split(b, work.steps))
    rows = min(work.k, 200)
    before = weights_streamed(lambda key: bounds.sampled_weight(model, params, q, p, key, x), c, work.k, rows)
    return weights_streamed(lambda key: log_w(free, key), d, work.k, rows), before.mean


@cache
def _rows(model: Model | Conditional, work: Work) -> Rows:
    def rows_of(member: tuple[Any, Array], shared: tuple[Any, Array]) -> tuple[Weights, Array]:
        (params, key), (split, rows) = member, shared

        def one(row: Array) -> tuple[Weights, Array]:
            of_row, x, model_key = example(model, split, key, row)
            return _refined(of_row, params, x, model_key, work)

        return vmap(one)(rows)

    return rows_of


def refine(
    model: Model | Conditional,
    params: Any,
    split: Any,
    key: Array,
    *,
    family: Variational = diagonal(),  # noqa: B008 - it is cached and equal to itself
    steps: int = 300,
    lr: float = 0.05,
    samples: int = 8,
    k: int = 1000,
    quiet: bool = True,
    kept: str | Path | None = None,
) -> Any:
    """max over q in the family of E_q[log p(x, z) - log q(z)], of each example by itself, begun at q(z|x); nats.

    `steps` of Adam whose size falls from lr to 0 by a cosine, each with `samples` new z; then k other z for the ELBO
    and for -log p(x) by importance sampling, of the refined q, and k for the ELBO of q(z|x). (Cremer et al. 2018,
    section 3: "optimizing local variational parameters".) Layers of a hierarchy are one vector z. A Refined; of the
    members of a population, a list of them. Raises Fault on steps < 0, samples or k < 1, z without a density on R^d, an
    empty split, and (code 4) where a value is not finite.
    """
    for name, value, least in (('steps', steps, 0), ('samples', samples, 1), ('k', k, 1)):
        counted(name, value, least)
    check_real(model, params, split, key)
    work = Work(family, steps, lr, samples, k)
    size = at_a_time(split, max(samples, min(k, 200)))
    of = getattr(family.init, '__qualname__', family)
    what = f'refining q, {steps} steps' if kept is None else f'refining q, {steps} x {samples}, {lr:g}, k={k}, {of}'
    found = over(_rows(model, work), params, key, split, size, quiet, what, kept)
    dims, cell = dims_of(split, model), log_cell(split)

    def told(one: tuple[Any, np.ndarray]) -> Refined:
        weights, before = one
        elbo, start = (finite(values, 'the ELBO').astype(np.float64) for values in (weights.mean, before))
        values = -finite(weights.log_mean, 'log p(x)').astype(np.float64)
        nll = NLL(Estimate(values, dims, cell), weights.effective, k)
        return Refined(Estimate(elbo, dims, -cell), Estimate(start, dims, -cell), nll)

    return [told(one) for one in found] if key.ndim else told(found)

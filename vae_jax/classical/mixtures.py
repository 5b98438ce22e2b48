"""Mixtures sum_k w_k p_k(x): a hidden group for each row, found by expectation-maximization (Dempster et al. 1977).

    trainer = em(shapes.full, 10);   state = trainer.init(key, {'x': xs}, Hyper())       a k-means++ start
    state, metrics = trainer.step(state, {'x': xs})                                       the loss never rises

A mixture is `distributions.Mixture`, so it samples and has densities; what its components may be is a shape. By
gradient it learns as any density does. Where the groups are known, `likeliest` with one-hot responsibilities is the
generative classifier p(x, y), and `responsibilities` are its p(y|x).
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax, random, vmap
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import logsumexp

from vae_jax.classical.shapes import Shape
from vae_jax.distributions import FullNormal, Mixture
from vae_jax.errors import Fault
from vae_jax.training.trainer import State, Trainer

SHARED = 0.1  # of each row, among all groups at the start: a group of one row would have no width


class Hyper(NamedTuple):
    """Of EM."""

    ridge: float = 1e-6


def check_rows(xs: Any, k: int) -> None:
    """Raises Fault where xs are no table, or no k groups can be made of its rows."""
    if jnp.ndim(xs) != 2:
        raise Fault(f'rows have shape {jnp.shape(xs)}, expected [n, d]', 'flatten each example to one vector')
    if not 1 <= k <= jnp.shape(xs)[0]:
        raise Fault(f'{k} groups of {jnp.shape(xs)[0]} rows', 'ask for 1 group or more, and more rows than that')


def k_means_plus_plus(key: Array, xs: Array, k: int) -> Array:
    """k rows [k, d], each with probability of its squared distance to the nearest before (Arthur & Vassilvitskii 2007).

    Raises Fault on fewer rows than k.
    """
    check_rows(xs, k)
    a, b = random.split(key)
    apart = lambda middle: jnp.sum((xs - middle[None]) ** 2, 1)
    first = xs[random.randint(a, (), 0, xs.shape[0])]

    def pick(nearest: Array, key: Array) -> tuple[Array, Array]:
        chosen = xs[random.categorical(key, jnp.log(nearest))]
        return jnp.minimum(nearest, apart(chosen)), chosen

    _, others = lax.scan(pick, apart(first), random.split(b, k - 1))
    return jnp.concatenate([first[None], others])


def begin(key: Array, xs: Array, k: int) -> Array:
    """Responsibilities [n, k] to start with: a row is its nearest k-means++ centre's, but for a tenth for all."""
    middles = k_means_plus_plus(key, xs, k)
    distances = vmap(lambda middle: jnp.sum((xs - middle[None]) ** 2, 1), out_axes=1)(middles)
    return (1 - SHARED) * jax.nn.one_hot(jnp.argmin(distances, 1), k, dtype=xs.dtype) + SHARED / k


def likeliest(shape: Shape, xs: Array, resp: Array, ridge: Any = 1e-6) -> Mixture:
    """The M step: the mixture with the highest sum_nk resp_nk log(w_k p_k(x_n)), of responsibilities resp [n, k]."""
    components = shape.likeliest(xs, resp, ridge)
    counts = jnp.sum(resp, 0) + 10 * jnp.finfo(resp.dtype).eps
    return Mixture(jnp.log(counts / jnp.sum(counts)), components)


def responsibilities(mixture: Mixture, xs: Array) -> tuple[Array, Array]:
    """The E step: log p(k|x) [n, k] and log p(x) [n] of xs [n, d], nats."""
    log_prior = jax.nn.log_softmax(mixture.log_weights)
    # component by component, so that a triangular solve is of all rows at once
    each = vmap(lambda part: vmap(part.log_prob)(xs), out_axes=1)(mixture.components) + log_prior[None]
    log_p = logsumexp(each, 1)
    return each - log_p[:, None], log_p


def em(shape: Shape, k: int) -> Trainer:
    """One step: log p(k|x) of the batch, then the likeliest mixture; loss = -mean log p(x) before it, nats a row.

    The batch must be all rows, then the loss never rises (but for the ridge). hyper.ridge as the shape says; params are
    {'mixture': Mixture}. Raises Fault on rows that are no table, and on fewer of them than k.
    """

    def init(key: Array, batch: Any, hyper: Any) -> State:
        check_rows(batch['x'], k)
        hyper = jax.tree.map(lambda h: jnp.asarray(h, jnp.result_type(float)), hyper)
        key, start_key = random.split(key)
        mixture = likeliest(shape, batch['x'], begin(start_key, batch['x'], k), hyper.ridge)
        return State(jnp.zeros((), jnp.int32), key, {'mixture': mixture}, (), hyper)

    def step(state: State, batch: Any) -> tuple[State, dict[str, Array]]:
        log_resp, log_p = responsibilities(state.params['mixture'], batch['x'])
        mixture = likeliest(shape, batch['x'], jnp.exp(log_resp), state.hyper.ridge)
        return state._replace(step=state.step + 1, params={'mixture': mixture}), {'loss': -jnp.mean(log_p)}

    return Trainer(init, step)


def passes(trainer: Trainer, key: Array, xs: Array, hyper: Any, steps: int) -> tuple[Any, Array]:
    """`steps` steps of any Trainer, each on all rows: (params, losses [steps])."""

    def one(state: State, _: None) -> tuple[State, Array]:
        state, metrics = trainer.step(state, {'x': xs})
        return state, metrics['loss']

    state, losses = lax.scan(one, trainer.init(key, {'x': xs}, hyper), length=steps)
    return state.params, losses


def negative_log_p(params: Any, key: Array, batch: Any, hyper: Any) -> tuple[Array, dict[str, Array]]:
    """-mean log p(x) of {'mixture': Mixture}, nats a row: the loss of an ordinary trainer, by gradient."""
    return -jnp.mean(responsibilities(params['mixture'], batch['x'])[1]), {}


def bic(shape: Shape, mixture: Mixture, xs: Array) -> Array:
    """free log n - 2 sum log p(x), lower is better: free numbers are k - 1 weights and the shape's (Schwarz 1978)."""
    n, d = xs.shape
    k = mixture.log_weights.shape[0]
    return (k - 1 + shape.free(k, d)) * math.log(n) - 2 * jnp.sum(responsibilities(mixture, xs)[1])


class Fit(NamedTuple):
    """A mixture that EM found, the losses [steps] on the way, the key of its start, and its BIC."""

    mixture: Mixture
    losses: Array
    key: Array
    bic: Array


@functools.partial(jax.jit, static_argnames=('shape', 'k', 'steps'))
def fitted(shape: Shape, k: int, keys: Array, xs: Array, hyper: Any, steps: int) -> Fit:
    """EM of k groups from a start by each key of keys [m], on all rows: the one that ends likeliest.

    For the number of groups, `min(fits, key=lambda fit: fit.bic)` of several k.
    """
    params, losses = vmap(lambda key: passes(em(shape, k), key, xs, hyper, steps))(keys)
    i = jnp.argmin(losses[:, -1])
    mixture = jax.tree.map(lambda leaf: leaf[i], params['mixture'])
    return Fit(mixture, losses[i], keys[i], bic(shape, mixture, xs))


def component(mixture: Mixture, k: Any) -> Any:
    """p_k, one of the mixture's components."""
    return jax.tree.map(lambda leaf: leaf[k], mixture.components)


def _check_entries(entries: tuple[int, ...], d: int, most: int) -> None:
    if not 0 < len(entries) <= most or len(set(entries)) < len(entries) or not all(0 <= i < d for i in entries):
        raise Fault(f'entries {entries} of {d}', f'name 1 to {most} of 0 to {d - 1}, each once')


def _ordered(normal: Any, order: Array) -> FullNormal:
    factor = normal.factor if hasattr(normal, 'factor') else jnp.diag(jnp.exp(normal.log_std))
    factor = jnp.linalg.cholesky((factor @ factor.T)[order][:, order])
    return FullNormal(normal.mean[order], jnp.log(jnp.diagonal(factor)), factor)


def marginal(mixture: Mixture, entries: tuple[int, ...]) -> Mixture:
    """p(x_entries) of a mixture of Gaussians over x [d]: again one, in the order named.

    Raises Fault where an entry is not there or named twice.
    """
    _check_entries(entries, d := mixture.components.mean.shape[1], d)
    return Mixture(mixture.log_weights, vmap(lambda part: _ordered(part, jnp.array(entries)))(mixture.components))


def given(mixture: Mixture, known: tuple[int, ...], values: Array) -> Mixture:
    """p(x_other | x_known = values) of a mixture of Gaussians over x [d]: again one, over the other entries in order.

    w_k p_k(values) are its weights. Raises Fault where no entry is left, or one is named twice or is not there.
    """
    _check_entries(known, d := mixture.components.mean.shape[1], d - 1)
    order, m = jnp.array([*known, *(i for i in range(d) if i not in known)]), len(known)

    def one(part: Any) -> tuple[Array, FullNormal]:
        # the factor of known and other entries has those of p(known) and p(other | known) as its blocks
        whole = _ordered(part, order)
        seen = FullNormal(whole.mean[:m], whole.log_diagonal[:m], whole.lower[:m, :m])
        mean = whole.mean[m:] + whole.lower[m:, :m] @ solve_triangular(seen.factor, values - seen.mean, lower=True)
        return seen.log_prob(values), FullNormal(mean, whole.log_diagonal[m:], whole.lower[m:, m:])

    log_p, components = vmap(one)(mixture.components)
    return Mixture(jax.nn.log_softmax(mixture.log_weights + log_p), components)

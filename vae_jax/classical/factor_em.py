"""EM of linear-Gaussian models as trainers: their E-step exact, or by a q of independent parts for each row.

Each step is one E-step and one M-step over a batch; with the whole of the data as the batch the bound never falls.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, random, vmap

from vae_jax.classical import linear_gaussian as lg
from vae_jax.errors import Fault
from vae_jax.models import Model
from vae_jax.training.trainer import State, Trainer, first_example


def exact_em(model: Model) -> Trainer:
    """E: q(z|x) = p(z|x); M: `linear_gaussian.maximize`. The metric loss is -log p(x), a mean over the batch, nats.

    For a model of `probabilistic_pca` or `factor_analysis`; needs no optimizer and no learning rate, hyper is not read
    (Dempster, Laird & Rubin 1977; Rubin & Thayer 1982).
    """

    def init(key: Array, batch: Mapping[str, Any], hyper: Any) -> State:
        return _begun(model, key, batch, hyper, ())

    def step(state: State, batch: Mapping[str, Any]) -> tuple[State, dict[str, Array]]:
        old, xs = state.params['decode'], batch['x']
        each = vmap(lambda x: lg.moments(lg.posterior(old, x), x))(xs)
        loss = -jnp.mean(vmap(lambda x: lg.log_marginal(old, x))(xs))
        return _after(state, each), {'loss': loss}

    return Trainer(init, step)


def variational_em(model: Model, rows: int, sweeps: int = 1) -> Trainer:
    """E: a q of independent parts for each row, by coordinate ascent; M: as `exact_em`. loss is -ELBO, nats.

    q_j(z_j) = N(m_j, 1 / Lambda_jj), m_j <- (h_j - sum_(k != j) Lambda_jk m_k) / Lambda_jj for j = 1, ..., latent,
    `sweeps` times from where the row's q was left (Neal & Hinton 1998; Bishop 2006, section 10.1.2). The q of all
    `rows` lie in opt_state [rows, latent]; batch['row'] i32[b] says whose they are. Raises Fault without that column,
    and on sweeps < 1.
    """
    if sweeps < 1:
        raise Fault(f'sweeps is {sweeps}, expected 1 or more', 'pass sweeps=1')

    def init(key: Array, batch: Mapping[str, Any], hyper: Any) -> State:
        row_of(batch)
        state = _begun(model, key, batch, hyper, ())
        W = state.params['decode']['loadings']
        return state._replace(opt_state=jnp.zeros((rows, W.shape[1]), W.dtype))

    def step(state: State, batch: Mapping[str, Any]) -> tuple[State, dict[str, Array]]:
        old, xs, row = state.params['decode'], batch['x'], row_of(batch)
        means = vmap(lambda x, m: coordinate_ascent(old, x, m, sweeps))(xs, state.opt_state[row])
        covariance = jnp.diag(1 / jnp.diag(lg.precision(old)))
        q = vmap(lambda m: lg.Posterior(m, covariance))(means)
        loss = -jnp.mean(vmap(lambda q, x: lg.elbo(old, q, x))(q, xs))
        state = state._replace(opt_state=state.opt_state.at[row].set(means))
        return _after(state, vmap(lg.moments)(q, xs)), {'loss': loss}

    return Trainer(init, step)


def coordinate_ascent(decode: Any, x: Array, mean: Array, sweeps: int) -> Array:
    """The mean [latent] of a q of independent parts after `sweeps` updates of each of its parts, from `mean` on."""
    Lambda = lg.precision(decode)
    h = Lambda @ lg.posterior(decode, x).mean

    def one(i: int, m: Array) -> Array:
        j = i % len(m)
        return m.at[j].add((h[j] - Lambda[j] @ m) / Lambda[j, j])

    return jax.lax.fori_loop(0, sweeps * len(mean), one, mean)


def row_of(batch: Mapping[str, Any]) -> Array:
    """batch['row'] i32[b]: which row of the data each is. Raises Fault where there is no such column."""
    if 'row' not in batch:
        raise Fault("batch has no column 'row'", "give the split one: numbers 0, 1, ... of its rows, beside 'x'")
    return batch['row']


def _begun(model: Model, key: Array, batch: Mapping[str, Any], hyper: Any, opt_state: Any) -> State:
    key, init_key = random.split(key)
    hyper = jax.tree.map(lambda h: jnp.asarray(h, jnp.float32), hyper)
    return State(jnp.zeros((), jnp.int32), key, model.init(init_key, first_example(batch)), opt_state, hyper)


def _after(state: State, each: lg.Moments) -> State:
    params = lg.with_posterior(lg.maximize(lg.averaged(each), state.params['decode']))
    return state._replace(step=state.step + 1, params=params)

"""Monte Carlo EM: z of each row is drawn from p(z|x) by Hamiltonian Monte Carlo, and p learns from what was drawn."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax, random, vmap
from jax.flatten_util import ravel_pytree

from vae_jax.classical import linear_gaussian as lg
from vae_jax.classical.factor_em import row_of
from vae_jax.errors import Fault
from vae_jax.losses.dreams import log_joint
from vae_jax.models import Model
from vae_jax.training.trainer import State, Trainer, first_example

GAIN, FIRST = 0.5, 0.1  # what log step size moves by for each missing acceptance, and the step size at the start


class Maximization(NamedTuple):
    """An M-step. init(params, hyper) -> inner; step(params, inner, hyper, zs [b, ...], xs) -> (params, inner)."""

    init: Callable[[Any, Any], Any]
    step: Callable[[Any, Any, Any, Any, Any], tuple[Any, Any]]


class Chains(NamedTuple):
    """opt_state of Monte Carlo EM: a chain for each row, its z as one vector, and the step size of all."""

    zs: Array  # [rows, latent]
    log_size: Array  # []
    inner: Any  # what the M-step keeps


def by_gradient(model: Model, optimizer: Callable[[Any], optax.GradientTransformation], updates: int = 5) -> Any:
    """`updates` steps of the optimizer on -log p(x, z), a mean over the batch, at one draw of z (a generalized M-step).

    Five, as Kingma & Welling 2013, appendix E. `optimizer` is a function of hyper. A Maximization.
    """
    if updates < 1:
        raise Fault(f'updates is {updates}, expected 1 or more', 'pass updates=5')

    def step(params: Any, inner: Any, hyper: Any, zs: Any, xs: Any) -> tuple[Any, Any]:
        def loss(params: Any) -> Array:
            return -jnp.mean(vmap(lambda z, x: log_joint(model, params, z, x))(zs, xs))

        def one(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
            params, inner = carry
            changes, inner = optimizer(hyper).update(jax.grad(loss)(params), inner, params)
            return (optax.apply_updates(params, changes), inner), None

        return lax.scan(one, (params, inner), length=updates)[0]

    return Maximization(lambda params, hyper: optimizer(hyper).init(params), step)


def in_closed_form() -> Maximization:
    """The M-step of `probabilistic_pca` and `factor_analysis`: `linear_gaussian.maximize`, at one draw of z a row."""

    def step(params: Any, inner: Any, hyper: Any, zs: Array, xs: Array) -> tuple[Any, Any]:
        certain = jnp.zeros((zs.shape[1], zs.shape[1]), zs.dtype)
        each = vmap(lambda z, x: lg.moments(lg.Posterior(z, certain), x))(zs, xs)
        return lg.with_posterior(lg.maximize(lg.averaged(each), params['decode'])), inner

    return Maximization(lambda params, hyper: (), step)


def monte_carlo_em(
    model: Model,
    maximization: Maximization,
    rows: int,
    *,
    transitions: int = 1,
    leapfrog: int = 10,
    target: float = 0.9,
) -> Trainer:
    """E: `transitions` of HMC under p(z|x) from where each row's chain was left; M: `maximization` at where they end.

    HMC is blackjax's, `leapfrog` steps of a size that follows `target`, the share of proposals to be accepted: ten and
    0.9 are those of Kingma & Welling 2013, appendix E (Wei & Tanner 1990). Chains begin at the prior. batch['row']
    i32[b] says which of the `rows` each x is. Metrics: loss, -log p(x, z) at the draws; acceptance; step_size. q(z|x)
    does not learn. z is any tree of real numbers. Raises Fault without the column, and on counts < 1 or target outside
    (0, 1).
    """
    _check(target, rows=rows, transitions=transitions, leapfrog=leapfrog)

    def like(params: Any) -> tuple[Array, Callable[[Array], Any]]:
        shapes = jax.eval_shape(lambda: model.prior(params).sample(random.key(0)))
        return ravel_pytree(jax.tree.map(lambda z: jnp.zeros(z.shape, z.dtype), shapes))

    def init(key: Array, batch: Mapping[str, Any], hyper: Any) -> State:
        row_of(batch)
        key, init_key, draw_key = random.split(key, 3)
        hyper = jax.tree.map(lambda h: jnp.asarray(h, jnp.float32), hyper)
        params = model.init(init_key, first_example(batch))
        p = model.prior(params)
        zs = vmap(lambda k: ravel_pytree(p.sample(k))[0])(random.split(draw_key, rows))
        chains = Chains(zs, jnp.log(jnp.asarray(FIRST, zs.dtype)), maximization.init(params, hyper))
        return State(jnp.zeros((), jnp.int32), key, params, chains, hyper)

    def step(state: State, batch: Mapping[str, Any]) -> tuple[State, dict[str, Array]]:
        chains, xs, row = state.opt_state, batch['x'], row_of(batch)
        _, unravel = like(state.params)
        keys = random.split(random.fold_in(state.key, state.step), transitions)

        def move(carry: tuple[Array, Array], key: Array) -> tuple[tuple[Array, Array], Array]:
            zs, log_size = carry
            one = lambda key, z, x: transition(
                lambda z: log_joint(model, state.params, unravel(z), x), key, z, jnp.exp(log_size), leapfrog
            )
            zs, accepted = vmap(one)(random.split(key, len(zs)), zs, xs)
            accepted = jnp.mean(accepted).astype(zs.dtype)
            return (zs, log_size + GAIN * (accepted - target)), accepted

        (zs, log_size), accepted = lax.scan(move, (chains.zs[row], chains.log_size), keys)
        draws = vmap(unravel)(zs)
        loss = -jnp.mean(vmap(lambda z, x: log_joint(model, state.params, z, x))(draws, xs))
        params, inner = maximization.step(state.params, chains.inner, state.hyper, draws, xs)
        chains = Chains(chains.zs.at[row].set(zs), log_size, inner)
        metrics = {'loss': loss, 'acceptance': jnp.mean(accepted), 'step_size': jnp.exp(log_size)}
        return state._replace(step=state.step + 1, params=params, opt_state=chains), metrics

    return Trainer(init, step)


def transition(
    log_density: Callable[[Array], Array], key: Array, z: Array, size: Array, leapfrog: int
) -> tuple[Array, Array]:
    """One transition of HMC from z [d], unit mass: (where it ends, its probability of acceptance)."""
    from blackjax.mcmc import hmc  # half a second to import

    state = hmc.init(z, log_density)
    state, info = hmc.build_kernel()(key, state, log_density, size, jnp.ones_like(z), leapfrog)
    return state.position, info.acceptance_rate


def _check(target: float, **counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise Fault(f'{name} is {count}, expected 1 or more', f'pass {name}=1 or more')
    if not 0 < target < 1:
        raise Fault(f'target is {target}', 'give a share of accepted proposals between 0 and 1, such as 0.9')

"""State, Trainer and the functions that make and wrap them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, random

from vae_jax.errors import Fault, nearest


class State(NamedTuple):
    """Everything a trainer is, and all that its checkpoint holds of it."""

    step: Array  # i32[], steps taken
    key: Array  # typed PRNG key; step t uses fold_in(key, t)
    params: Any
    opt_state: Any
    hyper: Any  # the experiment's NamedTuple of floats, traced


class Trainer(NamedTuple):
    """init(key, batch, hyper) -> State; step(state, batch) -> (State, metrics with 'loss')."""

    init: Callable[[Array, Any, Any], State]
    step: Callable[[State, Any], tuple[State, dict[str, Array]]]


class Averaged(NamedTuple):
    """opt_state where State.params are an average (`options.averaged`)."""

    params: Any  # those that learn
    opt_state: Any


Loss = Callable[[Any, Array, Any, Any], tuple[Array, dict[str, Array]]]
Gradient = Callable[[Loss], Callable[..., tuple[tuple[Array, dict[str, Array]], Any]]]


def whole(loss: Loss) -> Callable[..., tuple[tuple[Array, dict[str, Array]], Any]]:
    """((loss, metrics), gradient in params) of a batch at once."""
    return jax.value_and_grad(loss, has_aux=True)


def unchanged(hyper: Any, step: Array) -> Any:
    """The schedule that changes nothing."""
    return hyper


def nothing(grads: Any) -> dict[str, Array]:
    """The observer that sees nothing, and costs nothing."""
    return {}


def gradient_norms(grads: Any) -> dict[str, Array]:
    """Euclidean norm of the gradient of each top-level part of params, and of all: {'grad_norm/encode': ...}."""
    parts = {f'grad_norm/{name}': optax.tree.norm(part) for name, part in grads.items()}
    return {**parts, 'grad_norm': optax.tree.norm(grads)}


def first_example(batch: Mapping[str, Any]) -> Any:
    """The first x of a batch, which a model's init is handed."""
    return jax.tree.map(lambda leaf: leaf[0], batch['x'])


def trainer(
    init_params: Callable[[Array, Any], Any],
    loss: Loss,
    optimizer: Callable[[Any], optax.GradientTransformation],
    schedule: Callable[[Any, Array], Any] = unchanged,
    observe: Callable[[Any], dict[str, Array]] = nothing,
    example: Callable[[Any], Any] = first_example,
    gradient: Gradient = whole,
) -> Trainer:
    """params <- params + optimizer(schedule(hyper, step))(grad loss(params, fold_in(key, step), batch, hyper)).

    `init_params(key, example)` makes params; `optimizer` is a function of hyper; `observe(grads)` adds metrics;
    `gradient` is how that of the loss is computed: `whole`, or `accumulate(n)`.
    """

    def init(key: Array, batch: Any, hyper: Any) -> State:
        # strong float32: a Python float and an array of it must not be two traces
        hyper = jax.tree.map(lambda h: jnp.asarray(h, jnp.float32), hyper)
        key, init_key = random.split(key)
        params = init_params(init_key, example(batch))
        return State(jnp.zeros((), jnp.int32), key, params, optimizer(hyper).init(params), hyper)

    def step(state: State, batch: Any) -> tuple[State, dict[str, Array]]:
        now = schedule(state.hyper, state.step)
        key = random.fold_in(state.key, state.step)
        (value, metrics), grads = gradient(loss)(state.params, key, batch, now)
        updates, opt_state = optimizer(now).update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return state._replace(step=state.step + 1, params=params, opt_state=opt_state), {
            'loss': value,
            **metrics,
            **observe(grads),
        }

    return Trainer(init, step)


def _check_parts(names: Iterable[str], params: Mapping[str, Any], what: str) -> None:
    for name in names:
        if name not in params:
            raise Fault(f'cannot {what} {name!r}: params have no such part', nearest(name, params))


def warm_start(trainer: Trainer, params: Mapping[str, Any], parts: Iterable[str] | None = None) -> Trainer:
    """A trainer whose init takes `parts` (default: all it has) from `params` of an earlier run.

    Raises Fault where a part is unknown, or has another structure or shape than this model's.
    """
    chosen = tuple(params if parts is None else parts)
    _check_parts(chosen, params, 'start from')

    def init(key: Array, batch: Any, hyper: Any) -> State:
        state = trainer.init(key, batch, hyper)
        _check_parts(chosen, state.params, 'start')
        for name in chosen:
            old = jax.tree.map(jnp.shape, params[name])
            new = jax.tree.map(jnp.shape, state.params[name])
            if old != new:
                raise Fault(
                    f'params[{name!r}] of the earlier run have shapes {old}, this model expects {new}',
                    'build the same network and latent size, or start from fewer parts',
                )
        started = {**state.params, **{name: params[name] for name in chosen}}
        if isinstance(state.opt_state, Averaged):
            state = state._replace(opt_state=state.opt_state._replace(params=started))
        return state._replace(params=started)

    return Trainer(init, trainer.step)


def freeze(
    optimizer: Callable[[Any], optax.GradientTransformation], *names: str
) -> Callable[[Any], optax.GradientTransformation]:
    """The optimizer with zero updates for the named parts of params. Raises Fault on an unknown part."""

    def labels(params: Mapping[str, Any]) -> dict[str, Any]:
        _check_parts(names, params, 'freeze')
        return {part: jax.tree.map(lambda _, frozen=part in names: frozen, tree) for part, tree in params.items()}

    return lambda hyper: optax.partition({True: optax.set_to_zero(), False: optimizer(hyper)}, labels)

"""Two players on one State: their own optimizers in one trainer, or trainers that take turns.

trainer(init, loss, divided(adam, critic=fast))                                     both learn at every step
alternating(trainer(init, loss, only(adam, 'critic')), trainer(init, loss, freeze(adam, 'critic')), 5)
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from vae_jax.errors import Fault, nearest
from vae_jax.training.trainer import State, Trainer

Optimizer = Callable[[Any], optax.GradientTransformation]
_OTHERS = ''  # the label of parts that are not named; no part of params has it


class Turns(NamedTuple):
    """opt_state of trainers that take turns: each has its own."""

    first: Any
    second: Any


def divided(optimizer: Optimizer, **parts: Optimizer) -> Optimizer:
    """The optimizer, but those named for the parts of params of these names. Raises Fault on an unknown part."""

    def labels(params: Mapping[str, Any]) -> dict[str, Any]:
        for name in parts:
            if name not in params:
                raise Fault(f'no part {name!r} of params to optimize', nearest(name, params))
        return {
            part: jax.tree.map(lambda _, label=part if part in parts else _OTHERS: label, tree)
            for part, tree in params.items()
        }

    def of(hyper: Any) -> optax.GradientTransformation:
        return optax.partition({_OTHERS: optimizer(hyper), **{name: o(hyper) for name, o in parts.items()}}, labels)

    return of


def only(optimizer: Optimizer, *names: str) -> Optimizer:
    """The optimizer with zero updates for all parts of params but those named: what `freeze` leaves out."""
    return divided(lambda hyper: optax.set_to_zero(), **dict.fromkeys(names, optimizer))


def alternating(first: Trainer, second: Trainer, n: int) -> Trainer:
    """n steps of `first`, then one of `second`, on one State: step t is the second's where t mod (n + 1) = n.

    Each step has a batch of its own, and the two share params, hyper and the count of steps. Params are those of the
    first's init. Raises Fault on n < 1, and where the two do not name the same metrics: one table holds both.
    """
    if n < 1:
        raise Fault(f"{n} steps before the other trainer's", 'give 1 step or more')

    def init(key: Array, batch: Any, hyper: Any) -> State:
        one, other = first.init(key, batch, hyper), second.init(key, batch, hyper)
        if jax.tree.map(jnp.shape, one.params) != jax.tree.map(jnp.shape, other.params):
            raise Fault('the two trainers have other params', 'build both from one model')
        return one._replace(opt_state=Turns(one.opt_state, other.opt_state))

    def turn(trainer: Trainer, which: str) -> Callable[[State, Any], tuple[State, dict[str, Array]]]:
        def step(state: State, batch: Any) -> tuple[State, dict[str, Array]]:
            held = state.opt_state
            new, metrics = trainer.step(state._replace(opt_state=getattr(held, which)), batch)
            return new._replace(opt_state=held._replace(**{which: new.opt_state})), metrics

        return step

    turns = [turn(first, 'first'), turn(second, 'second')]

    def step(state: State, batch: Any) -> tuple[State, dict[str, Array]]:
        names = [set(jax.eval_shape(one, state, batch)[1]) for one in turns]
        if names[0] != names[1]:
            raise Fault(f'only one of the two trainers gives {sorted(names[0] ^ names[1])}', 'give both the same loss')
        return lax.cond(state.step % (n + 1) == n, turns[1], turns[0], state, batch)

    return Trainer(init, step)

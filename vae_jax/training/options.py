"""Options of a trainer. Each is a wrapper: where it is left out, nothing of it is in the program.

    averaged(vj.trainer(init, loss, clipped(optimizer, 1.0), gradient=accumulate(4)), 0.999)

Recomputed activations are `jax.checkpoint(objective)`, and bfloat16 products a network's `dtype`: they need no more.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax, random

from vae_jax.errors import Fault
from vae_jax.training.trainer import Averaged, Gradient, Loss, State, Trainer, whole


def accumulate(microbatches: int) -> Gradient:
    """The gradient of the mean over a batch as the mean of those of its equal parts, one after the other.

    Each part is given the keys [b / microbatches] that its examples have in the whole batch, so the loss must be one of
    `losses.per_example`. 1 is `whole`. Raises Fault where the parts would not be equal.
    """
    if microbatches < 1:
        raise Fault(f'a batch in {microbatches} parts', 'give --accumulate 1 or more')
    return whole if microbatches == 1 else partial(_in_parts, microbatches)


def _in_parts(n: int, loss: Loss) -> Callable[..., tuple[tuple[Array, dict[str, Array]], Any]]:
    def gradient(params: Any, key: Array, batch: Any, hyper: Any) -> tuple[tuple[Array, dict[str, Array]], Any]:
        b = jax.tree.leaves(batch)[0].shape[0]
        if b % n:
            raise Fault(f'a batch of {b} is not {n} equal parts', 'give an --accumulate that divides --batch-size')
        parts = jax.tree.map(lambda a: a.reshape(n, b // n, *a.shape[1:]), (random.split(key, b), batch))
        one = lambda part: whole(loss)(params, *part, hyper)
        shapes = jax.eval_shape(one, jax.tree.map(lambda a: a[0], parts))
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        sums, _ = lax.scan(lambda sums, part: (jax.tree.map(jnp.add, sums, one(part)), None), zeros, parts)
        return jax.tree.map(lambda s: s / n, sums)

    return gradient


def clipped(
    optimizer: Callable[[Any], optax.GradientTransformation], norm: float
) -> Callable[[Any], optax.GradientTransformation]:
    """The optimizer behind grads * min(1, norm / |grads|), over all that it is given; 0 is the optimizer itself.

    Within `freeze`, the frozen parts are not in the norm. Raises Fault for a negative norm.
    """
    if not norm >= 0:
        raise Fault(f'gradients cannot be clipped to a norm of {norm}', 'give --clip a norm above 0, or 0 for none')
    return optimizer if norm == 0 else lambda hyper: optax.chain(optax.clip_by_global_norm(norm), optimizer(hyper))


def averaged(trainer: Trainer, decay: float) -> Trainer:
    """State.params become the mean of the trainer's own over its steps, step s of t weighing decay^(t - s); 0 is off.

    So whatever reads State.params (validation, the best checkpoint, evaluation, `load`) has the average, and nothing
    needs to know of it; those that learn are in opt_state (`learning`). Raises Fault for a decay outside [0, 1).
    """
    if not 0 <= decay < 1:
        raise Fault(f'parameters cannot be averaged with a decay of {decay}', 'give --ema a number from 0 to below 1')
    return trainer if decay == 0 else _averaged(trainer, decay)


def _averaged(trainer: Trainer, decay: float) -> Trainer:
    def init(key: Array, batch: Any, hyper: Any) -> State:
        state = trainer.init(key, batch, hyper)
        return state._replace(opt_state=Averaged(state.params, state.opt_state))

    def step(state: State, batch: Any) -> tuple[State, dict[str, Array]]:
        held = state.opt_state
        new, metrics = trainer.step(state._replace(params=held.params, opt_state=held.opt_state), batch)
        # (1 - d) / (1 - d^t): the first step weighs 1, and the mean is not drawn to the initial parameters
        weight = (1 - decay) / -jnp.expm1(new.step * math.log(decay))
        # this way round, parameters that do not move stay what they are to the last bit
        mean = jax.tree.map(lambda old, now: old + weight * (now - old), state.params, new.params)
        return new._replace(params=mean, opt_state=Averaged(new.params, new.opt_state)), metrics

    return Trainer(init, step)


def learning(state: State) -> Any:
    """The parameters that the optimizer moves: `state.params`, except of an averaged trainer."""
    return state.opt_state.params if isinstance(state.opt_state, Averaged) else state.params

"""Many steps as one XLA program, with minibatches made on the device from the stored rows.

Nothing random depends on where a chunk begins or ends: the order of an epoch comes from fold_in(key, epoch), the noise
of a view from fold_in(key, step). So chunks of any size give the same run.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax, random, vmap

from vae_jax.data.splits import Split
from vae_jax.training.trainer import State, Trainer

_ORDER, _VIEW = 0x0DE2, 0x71E3  # streams of the data's key, apart from the trainer's


@partial(jax.jit, static_argnames='n')
def epoch_order(key: Array, epoch: int | Array, n: int) -> Array:
    """A permutation i32[n] of the rows: each is seen once in the epoch."""
    return random.permutation(random.fold_in(random.fold_in(key, _ORDER), epoch), n)


def minibatch(split: Split, rows: Array, key: Array) -> dict[str, Array]:
    """The rows i32[b] of a split as the model sees them: x viewed under a key of its own, labels as they are."""
    batch = {name: jnp.take(column, rows, axis=0, mode='clip') for name, column in split.rows.items()}
    keys = random.split(key, rows.shape[0])
    return {**batch, 'x': vmap(split.view)(keys, batch['x'])}


def view_key(key: Array, step: int | Array) -> Array:
    """The key of the view's noise at a step."""
    return random.fold_in(random.fold_in(key, _VIEW), step)


class Place(NamedTuple):
    """Where a chunk stands: it takes `steps` steps from `start`; orders [e, n] are those of first_epoch onwards."""

    start: Array
    steps: Array
    first_epoch: Array
    orders: Array


@partial(jax.jit, static_argnames=('trainer', 'batch', 'size'))
def run_chunk(
    trainer: Trainer, batch: int, size: int, state: State, split: Split, key: Array, place: Place
) -> tuple[State, dict[str, Array], Array]:
    """Up to `size` steps; stops behind the first whose loss is not finite. (State, metrics [size, ...], steps taken).

    `place.steps` is traced, so the last, shorter chunk is the same program as the others and no loop is unrolled.
    """
    per_epoch = place.orders.shape[1] // batch

    def load(i: Array) -> dict[str, Array]:
        step = place.start + i
        epoch = step // per_epoch
        first = (step - epoch * per_epoch) * batch
        rows = lax.dynamic_slice(place.orders, (epoch - place.first_epoch, first), (1, batch))[0]
        return minibatch(split, rows, view_key(key, step))

    shapes = jax.eval_shape(lambda s: trainer.step(s, load(jnp.zeros((), jnp.int32)))[1], state)
    metrics = jax.tree.map(lambda m: jnp.zeros((size, *m.shape), m.dtype), shapes)

    def going(carry: tuple) -> Array:
        i, _, _, finite = carry
        return (i < place.steps) & finite

    def body(carry: tuple) -> tuple:
        i, state, metrics, _ = carry
        state, now = trainer.step(state, load(i))
        metrics = jax.tree.map(lambda all, one: all.at[i].set(one), metrics, now)
        return i + 1, state, metrics, jnp.any(jnp.isfinite(now['loss']))

    taken, state, metrics, _ = lax.while_loop(going, body, (jnp.zeros((), jnp.int32), state, metrics, jnp.array(True)))
    return state, metrics, taken

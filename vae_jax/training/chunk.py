"""Many steps as one XLA program, with minibatches made on the device from the stored rows.

Nothing random depends on where a chunk begins or ends: the order of an epoch comes from fold_in(key, epoch), the noise
of a view from fold_in(key, step). So chunks of any size give the same run.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax, random, vmap

from vae_jax.data.splits import Split
from vae_jax.placement import Way
from vae_jax.training.trainer import State, Trainer

_ORDER, _VIEW = 0x0DE2, 0x71E3  # streams of the data's key, apart from the trainer's


@partial(jax.jit, static_argnames='n')
def epoch_order(key: Array, epoch: int | Array, n: int) -> Array:
    """A permutation i32[n] of the rows: each is seen once in the epoch."""
    return random.permutation(random.fold_in(random.fold_in(key, _ORDER), epoch), n)


@partial(jax.jit, static_argnames=('way', 'n'))
def epoch_orders(way: Way, keys: Array, epoch: Array, n: int) -> Array:
    """`epoch_order` of every member."""
    return way.over(lambda key, epoch: epoch_order(key, epoch, n))(keys, epoch)


def minibatch(split: Split, rows: Array, key: Array) -> dict[str, Array]:
    """The rows i32[b] of a split as the model sees them: x viewed under a key of its own, labels as they are."""
    batch = {name: jnp.take(column, rows, axis=0, mode='clip') for name, column in split.rows.items()}
    keys = random.split(key, rows.shape[0])
    return {**batch, 'x': vmap(split.view)(keys, batch['x'])}


def view_key(key: Array, step: int | Array) -> Array:
    """The key of the view's noise at a step."""
    return random.fold_in(random.fold_in(key, _VIEW), step)


def first_batch(split: Split, order: Array, key: Array, batch: int) -> dict[str, Array]:
    """What step 0 sees, and what a trainer's init is handed; `order` [n] is that of epoch 0."""
    return minibatch(split, order[:batch], view_key(key, 0))


class Member(NamedTuple):
    """One run: it takes `steps` steps, whose rows follow each other in `orders` [epochs, rows]."""

    state: State
    key: Array
    orders: Array
    steps: Array


class Shared(NamedTuple):
    """What all runs of a chunk share: it begins at step `start`, `offset` steps into the first of its orders."""

    split: Split
    start: Array
    offset: Array


@partial(jax.jit, static_argnames=('trainer', 'way', 'batch', 'size'))
def run_chunk(
    trainer: Trainer, way: Way, batch: int, size: int, members: Member, shared: Shared
) -> tuple[State, dict[str, Array], Array]:
    """Up to `size` steps of every member; each stops behind its first step whose loss is not finite.

    (State, metrics [size, ...], steps taken). `steps` is traced, so the last, shorter chunk is the same program as the
    others; a member of 0 steps is left as it is.
    """
    return way.over(partial(_chunk, trainer, batch, size))(members, shared)


def _chunk(trainer: Trainer, batch: int, size: int, member: Member, shared: Shared) -> tuple[Any, Any, Array]:
    epochs, n = member.orders.shape
    rows = member.orders[:, : n // batch * batch].reshape(epochs * (n // batch), batch)

    def load(i: Array) -> dict[str, Array]:
        return minibatch(shared.split, rows[shared.offset + i], view_key(member.key, shared.start + i))

    shapes = jax.eval_shape(lambda s: trainer.step(s, load(jnp.zeros((), jnp.int32)))[1], member.state)
    metrics = jax.tree.map(lambda m: jnp.zeros((size, *m.shape), m.dtype), shapes)

    def going(carry: tuple) -> Array:
        i, _, _, finite = carry
        return (i < member.steps) & finite

    def body(carry: tuple) -> tuple:
        i, state, metrics, _ = carry
        state, now = trainer.step(state, load(i))
        metrics = jax.tree.map(lambda all, one: all.at[i].set(one), metrics, now)
        return i + 1, state, metrics, jnp.isfinite(now['loss'])

    start = (jnp.zeros((), jnp.int32), member.state, metrics, jnp.array(True))
    taken, state, metrics, _ = lax.while_loop(going, body, start)
    return state, metrics, taken

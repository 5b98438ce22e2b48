"""Steps from a State, of one run or of every member of a population."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax, random

from vae_jax import placement
from vae_jax.data.splits import Split
from vae_jax.training import population
from vae_jax.training.chunk import Member, epoch_order, first_batch, minibatch, run_chunk, view_key
from vae_jax.training.feeding import Feed, feeding
from vae_jax.training.plan import Plan, checked_batch
from vae_jax.training.population import Population
from vae_jax.training.trainer import State, Trainer


def shapes(trainer: Trainer, split: Split, hyper: Any, batch: int) -> tuple[State, dict[str, Any]]:
    """The shapes of one run's State and metrics. Traces init and step, computes nothing."""
    rows = {name: jax.ShapeDtypeStruct(column.shape, column.dtype) for name, column in split.rows.items()}
    make = lambda split, key: first_batch(split, epoch_order(key, 0, len(split)), key, batch)
    first = jax.eval_shape(make, dataclasses.replace(split, rows=rows), random.key(0))
    one = jax.tree.map(lambda value: jnp.zeros(()), hyper)
    state = jax.eval_shape(trainer.init, random.key(0), first, one)
    return state, jax.eval_shape(trainer.step, state, first)[1]


def advance(
    trainer: Trainer | Population, state: State, split: Split, key: Array, *, steps: int, batch: int = 128
) -> tuple[State, dict[str, np.ndarray]]:
    """`steps` steps from a State, as `fit` would take them: (State, metrics [steps, ...]; of a population [steps, n]).

    For loops of one's own: `state = trainer.init(key, batch, hyper)`, or `start`, then steps, then whatever is to be
    done with the State between them. Members that are not finite stay as they are.
    """
    crew, at = population.crew(trainer, key), int(jnp.max(state.step))
    per_epoch = len(split) // checked_batch(len(split), batch)
    plan, keys = Plan(at + steps, per_epoch, steps, steps, steps), placement.padded(key, crew.way)
    going, state = np.ones(key.shape, bool), placement.padded(state, crew.way)
    with feeding(crew.way, plan, batch, split, keys) as feed:
        state, seen, _ = take_steps(crew, plan, batch, feed, state, keys, at, going, steps)
    return placement.cut(state, crew.way, key.size), seen


def start(trainer: Trainer | Population, split: Split, hyper: Any, key: Array, *, batch: int = 128) -> State:
    """The State that `fit` begins with: of one run, or of each member of a population."""
    crew, plan = population.crew(trainer, key), Plan(1, len(split) // checked_batch(len(split), batch), 1, 1, 1)
    hyper, keys = placement.padded(population.each(hyper, key), crew.way), placement.padded(key, crew.way)
    with feeding(crew.way, plan, batch, split, keys) as feed:
        state = population.begin(crew, *feed(0, 1), hyper, keys, batch)
    return placement.cut(state, crew.way, key.size)


def overfit(
    trainer: Trainer, split: Split, hyper: Any, key: Array, *, steps: int = 500, batch: int = 64
) -> tuple[State, dict[str, Array]]:
    """`steps` steps on the first batch alone: (State, metrics [steps]). A loss that does not fall here never will."""
    rows = epoch_order(key, 0, len(split))[: checked_batch(len(split), batch)]
    table = split.at(np.asarray(rows)) if split.streamed else split.at(rows)
    seen = minibatch(table, jnp.arange(batch), view_key(key, 0))
    state = trainer.init(key, seen, hyper)
    return jax.jit(lambda state: lax.scan(lambda s, _: trainer.step(s, seen), state, length=steps))(state)


def take_steps(
    crew: Population,
    plan: Plan,
    batch: int,
    feed: Feed,
    state: State,
    keys: Array,
    at: int,
    going: np.ndarray,
    count: int,
) -> tuple[State, dict[str, np.ndarray], np.ndarray]:
    """`count` steps of the members that are going: (State, metrics [count, ...], steps taken)."""
    steps = placement.padded(jnp.asarray(np.where(going, count, 0), jnp.int32), crew.way, fill=0)
    shared, orders = feed(at, count)
    members = Member(state, keys, orders, steps)
    new, metrics, taken = run_chunk(crew.member, crew.way, batch, plan.chunk, members, shared)
    return new, *_seen(metrics, taken, going, count)


def _seen(
    metrics: Mapping[str, Array], taken: Array, going: np.ndarray, count: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Metrics as float64 [count, *shape, ...], and the steps taken [*shape]; the fill of devices left out."""
    plain = {name: np.asarray(values, np.float64) for name, values in metrics.items()}
    if not going.ndim:
        return {name: values[:count] for name, values in plain.items()}, np.asarray(taken)
    n = going.size
    return {name: np.moveaxis(values[:n], 0, 1)[:count] for name, values in plain.items()}, np.asarray(taken)[:n]


def last(losses: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """The loss [*shape] of the last step that each member took, of losses [size, *shape]."""
    return losses[taken - 1] if not taken.ndim else losses[taken - 1, np.arange(len(taken))]

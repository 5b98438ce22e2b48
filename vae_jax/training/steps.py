"""Steps from a State: the arithmetic of epochs, and one chunk of them for a run or for every member of a population."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, random

from vae_jax import placement
from vae_jax.data.splits import Split
from vae_jax.errors import Fault
from vae_jax.placement import Way
from vae_jax.training import population
from vae_jax.training.chunk import Member, Shared, epoch_orders, first_batch, run_chunk
from vae_jax.training.population import Population
from vae_jax.training.trainer import State, Trainer


class Plan(NamedTuple):
    """The arithmetic of steps: `total` of them, `per_epoch` an epoch, at most `chunk` in one program."""

    total: int
    per_epoch: int
    chunk: int
    log_every: int
    validate_every: int

    def logs(self, step: int) -> bool:
        return step % self.log_every == 0 or step == self.total

    def validates(self, step: int) -> bool:
        return step % self.validate_every == 0 or step == self.total

    @property
    def span(self) -> int:
        """The most epochs that a chunk can touch."""
        return (self.chunk + self.per_epoch - 2) // self.per_epoch + 1


def checked_batch(n: int, batch: int) -> int:
    if batch < 1 or batch > n:
        raise Fault(f'batch is {batch}, the training split has {n} examples', f'choose a batch of 1 to {n}')
    return batch


def total_steps(n: int, batch: int, epochs: int | None, steps: int | None) -> int:
    checked_batch(n, batch)
    if (epochs is None) == (steps is None):
        raise Fault('fit needs epochs or steps, and not both', 'pass one of them')
    total = steps if steps is not None else epochs * (n // batch)  # type: ignore[operator]
    if total < 0:
        raise Fault(f'the number of steps is {total}', 'pass epochs or steps of 0 or more')
    return total


def shapes(trainer: Trainer, split: Split, hyper: Any, batch: int) -> tuple[State, dict[str, Any]]:
    """The shapes of one run's State and metrics. Traces init and step, computes nothing."""
    first = jax.eval_shape(lambda key: first_batch(split, key, batch), random.key(0))
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
    plan = Plan(at + steps, per_epoch, steps, steps, steps)
    on_devices, keys = placement.shared(split, crew.way), placement.padded(key, crew.way)
    going = np.ones(key.shape, bool)
    state = placement.padded(state, crew.way)
    _, state, seen, _ = take_steps(crew, plan, batch, {}, state, keys, on_devices, at, steps, going)
    return placement.cut(state, crew.way, key.size), seen


def start(trainer: Trainer | Population, split: Split, hyper: Any, key: Array, *, batch: int = 128) -> State:
    """The State that `fit` begins with: of one run, or of each member of a population."""
    crew = population.crew(trainer, key)
    checked_batch(len(split), batch)
    hyper, keys = placement.padded(population.each(hyper, key), crew.way), placement.padded(key, crew.way)
    state = population.begin(crew, placement.shared(split, crew.way), hyper, keys, batch)
    return placement.cut(state, crew.way, key.size)


def take_steps(
    crew: Population,
    plan: Plan,
    batch: int,
    orders: dict[int, Array],
    state: State,
    keys: Array,
    split: Split,
    at: int,
    count: int,
    going: np.ndarray,
) -> tuple[dict[int, Array], State, dict[str, np.ndarray], np.ndarray]:
    """`count` steps of the members that are going: (orders of these epochs, State, metrics [count, ...], taken)."""
    steps = placement.padded(jnp.asarray(np.where(going, count, 0), jnp.int32), crew.way, fill=0)
    orders, held = _orders(orders, plan, crew.way, keys, len(split), at, count)
    places = jnp.int32(at), jnp.int32(at - min(orders) * plan.per_epoch)
    shared = Shared(split, *placement.shared(places, crew.way))
    new, metrics, taken = run_chunk(crew.member, crew.way, batch, plan.chunk, Member(state, keys, held, steps), shared)
    return orders, new, *_seen(metrics, taken, going, count)


def _orders(
    held: dict[int, Array], plan: Plan, way: Way, keys: Array, n: int, at: int, count: int
) -> tuple[dict[int, Array], Array]:
    """({epoch: its order}, the same as [..., span, n]) of the epochs that `count` steps behind `at` touch."""
    needed = range(at // plan.per_epoch, (at + count - 1) // plan.per_epoch + 1)
    make = lambda epoch: epoch_orders(way, keys, placement.shared(jnp.int32(epoch), way), n)
    found = {epoch: held[epoch] if epoch in held else make(epoch) for epoch in needed}
    return found, jnp.stack([found[min(needed[0] + i, needed[-1])] for i in range(plan.span)], axis=-2)


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

"""A population: many runs of one trainer as one program, the same State with a longer leading axis."""

import sys
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from vae_jax import placement
from vae_jax.data.splits import Split
from vae_jax.errors import Fault
from vae_jax.placement import Way
from vae_jax.training.chunk import Shared, first_batch
from vae_jax.training.trainer import State, Trainer


class Population(NamedTuple):
    """Runs of `member`, in the given way on the devices; of no axis at all where the way is `placement.alone`."""

    member: Trainer
    way: Way


def population(trainer: Trainer, way: Way | None = None) -> Population:
    """n runs of a trainer, one for each key of keys [n]; every leaf of hyper is a number for all or an array [n].

    Member i is the run that `fit(trainer, data, hyper[i], keys[i])` gives. `way` (default: `placement.default()`) says
    where members run; on a CPU call `vae_jax.use_host_devices()` first, so that they run on all cores.
    """
    return Population(trainer, placement.default() if way is None else way)


def crew(trainer: Trainer | Population, key: Array) -> Population:
    """The population that a trainer and its key, or keys, make. Raises Fault where the two do not fit."""
    several = isinstance(trainer, Population)
    if key.ndim != int(several):
        found = f'key has shape {key.shape}, and the trainer is {"a population" if several else "of one run"}'
        fix = 'give it keys [n]: jax.random.split(key, n)' if several else 'wrap it: vae_jax.population(trainer)'
        raise Fault(found, fix)
    return trainer if isinstance(trainer, Population) else Population(trainer, placement.alone)


def each(hyper: Any, key: Array) -> Any:
    """hyper with leaves of the shape of key: numbers are given to every member. Raises Fault on another length."""

    def leaf(name: str, value: Any) -> Array:
        value = jnp.asarray(value, jnp.float32)
        if value.ndim and value.shape != key.shape:
            raise Fault(f'hyper.{name} has shape {value.shape}, keys {key.shape}', 'give one value for each key')
        return jnp.broadcast_to(value, key.shape)

    return type(hyper)(**{name: leaf(name, value) for name, value in hyper._asdict().items()})


@partial(jax.jit, static_argnames=('crew', 'batch'))
def begin(crew: Population, shared: Shared, orders: Array, hyper: Any, key: Array, batch: int) -> State:
    """State of every member before its first step, which sees the first of these orders [..., epochs, rows]."""

    def start(member: tuple[Array, Any, Array], split: Split) -> State:
        key, hyper, orders = member
        return crew.member.init(key, first_batch(split, orders[0], key, batch), hyper)

    return crew.way.over(start)((key, hyper, orders), shared.split)


def better(mask: np.ndarray, new: Any, old: Any) -> Any:
    """new where mask, else old: of a whole run, or of each member [n] (of members that fill devices, old)."""
    if not mask.ndim or not np.any(mask):
        return new if np.any(mask) else old
    return _select(jnp.asarray(np.pad(mask, (0, len(jax.tree.leaves(old)[0]) - len(mask)))), new, old)


@jax.jit
def _select(mask: Array, new: Any, old: Any) -> Any:
    def leaf(a: Array, b: Array) -> Array:
        return jnp.where(mask.reshape(mask.shape + (1,) * (a.ndim - mask.ndim)), a, b)

    return jax.tree.map(leaf, new, old)


def note_diverged(progress_diverged: np.ndarray, members: np.ndarray, hyper: Any) -> None:
    """Says on stderr which members were frozen, at which step, and with what hyperparameters."""
    for i in np.flatnonzero(members):
        told = ', '.join(f'{name} {float(value[i]):g}' for name, value in hyper._asdict().items())
        print(f'note: run {i} is not finite at step {progress_diverged[i]} ({told}); it is frozen', file=sys.stderr)

"""Where the members of a population run: a way makes of a function of one member a function of all of them.

    way.over(f)(members, shared) -> results     every array of members and results has a leading axis [n], shared none

On a CPU members are run one after the other on each of several host devices (`spread(in_turn, devices)`), which keeps
one member's arrays in the caches; on accelerators all at once (`together`), which fills the matrix units.
"""

import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vae_jax.errors import ENVIRONMENT, Fault

AXIS, PART = 'run', 'example'
Over = Callable[[Callable[[Any, Any], Any]], Callable[[Any, Any], Any]]


class Way(NamedTuple):
    """over(f)(members [n, ...], shared) -> results [n, ...], on the devices of the mesh (None: where the arrays are).

    n must be a multiple of `lanes`, the number of members that run at once on devices of their own.
    """

    over: Over
    mesh: Mesh | None = None

    @property
    def devices(self) -> int:
        return 1 if self.mesh is None else self.mesh.size

    @property
    def lanes(self) -> int:
        return 1 if self.mesh is None else self.mesh.shape[AXIS]


def _alone(f: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return f


def _in_turn(f: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda members, shared: lax.map(lambda member: f(member, shared), members)


def _together(f: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return jax.vmap(f, (0, None))


alone = Way(_alone)
"""No axis at all: a lone run is the population of this way."""

in_turn = Way(_in_turn)
"""One member after the other, in one program."""

together = Way(_together)
"""All members at once, by vmap."""


def spread(inner: Way, devices: Sequence[Any], per_run: int = 1) -> Way:
    """Each device runs its share of the members in its own way; devices never wait for each other.

    Of every `per_run` devices that run a share together, each has a part of each batch, where the trainer is
    `data_parallel`. shard_map, as a loop's condition would otherwise be an exchange between devices at every step;
    unchecked, as its checks would sum the gradients of members that have nothing to do with each other.
    """
    return _spread(inner.over, tuple(devices), per_run)


@functools.cache
def _spread(inner: Over, devices: tuple[Any, ...], per_run: int) -> Way:
    # an axis of one device would still be left to XLA to divide over, which cost a small network 6 % on two CPU devices
    grid = np.array(devices).reshape(-1, per_run) if per_run > 1 else np.array(devices)
    mesh = Mesh(grid, (AXIS, PART)[: grid.ndim])
    options: Any = {'in_specs': (P(AXIS), P()), 'out_specs': P(AXIS), 'axis_names': {AXIS}, 'check_vma': False}

    def over(f: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        return jax.shard_map(inner(f), mesh=mesh, **options)

    return Way(over, mesh)


def chosen(devices: int | None = None) -> list[Any]:
    """The first `devices` devices (default: all). Raises Fault where there are fewer."""
    there = jax.devices()
    if devices is not None and not 1 <= devices <= len(there):
        said = f'{devices} devices were asked for, and there are {len(there)} ({there[0].platform})'
        more = f', or call vae_jax.use_host_devices({devices}) first' if there[0].platform == 'cpu' else ''
        raise Fault(said, f'ask for 1 to {len(there)}{more}', ENVIRONMENT)
    return there[:devices]


def default(devices: int | None = None, per_run: int = 1) -> Way:
    """The way of this machine: in turn on CPU devices, together on others, spread where there are several of them.

    `devices` (default: all) is how many to use, `per_run` how many share each batch of a run (see `spread`). Raises
    Fault where there are fewer, or where one does not divide the other.
    """
    found = chosen(devices)
    if per_run < 1 or len(found) % per_run:
        raise Fault(f'{len(found)} devices cannot be had {per_run} a run', 'use a divisor of the number of devices')
    inner = in_turn if found[0].platform == 'cpu' else together
    return inner if len(found) == 1 else spread(inner, found, per_run)


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def use_host_devices(n: int | None = None) -> int:
    """Makes n CPU devices (default: one a core), for the members of populations to run on; n.

    It must come before anything that starts jax's backend. Raises Fault where it comes too late.
    """
    n = cores() if n is None else n
    if n < 1:
        raise Fault(f'{n} host devices were asked for', 'ask for 1 or more')
    try:
        jax.config.update('jax_num_cpu_devices', n)
    except RuntimeError as error:
        there = len(jax.devices('cpu'))
        if there != n:
            fix = 'call vae_jax.use_host_devices() right after the imports, before any array is made'
            raise Fault(f'jax has started with {there} CPU devices already', fix) from error
    return n


def note_one_device(way: Way, n: int) -> None:
    """Says on stderr what a population on one CPU device leaves unused."""
    if way.mesh is None and n > 1 and jax.default_backend() == 'cpu' and len(jax.devices()) == 1 < cores():
        told = (
            f'note: {n} runs on one CPU device, {cores()} cores are there: vae_jax.use_host_devices() before any array'
        )
        print(told, file=sys.stderr)


def padded(tree: Any, way: Way, fill: Any = None) -> Any:
    """The members [n, ...] with others behind them (the first again, or `fill`) until all devices have as many."""
    if way.mesh is None:
        return tree
    missing = -len(jax.tree.leaves(tree)[0]) % way.lanes
    more = lambda a: [a[:1] if fill is None else jnp.full_like(a[:1], fill)] * missing
    full = jax.tree.map(lambda a: jnp.concatenate([a, *more(a)]) if missing else a, tree)
    return jax.device_put(full, NamedSharding(way.mesh, P(AXIS)))


def cut(tree: Any, way: Way, n: int) -> Any:
    """The members [n, ...] without those that `padded` added, on the first device."""
    if way.mesh is None:
        return tree
    return jax.device_put(jax.tree.map(lambda a: a[:n], tree), way.mesh.devices.flat[0])


def shared(tree: Any, way: Way) -> Any:
    """The same arrays on every device."""
    return tree if way.mesh is None else jax.device_put(tree, NamedSharding(way.mesh, P()))


def take(tree: Any, members: Any) -> Any:
    """One member (an index), or several (indices or a mask), of a tree of arrays [n, ...], on the first device."""
    members = members if isinstance(members, int | np.integer) else np.asarray(members)
    return jax.device_put(jax.tree.map(lambda a: a[members], tree), jax.local_devices()[0])

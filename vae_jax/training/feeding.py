"""What a chunk reads: rows that are on the device, or rows brought there from memory or a disk, a chunk ahead."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from vae_jax import placement
from vae_jax.data.splits import Split
from vae_jax.placement import Way
from vae_jax.training.chunk import Shared, epoch_orders
from vae_jax.training.plan import Plan

AHEAD = 256 * 2**20  # bytes of rows that one chunk brings to the device; the next chunk's are there as well

Feed = Callable[[int, int], tuple[Shared, Array]]


def largest_chunk(split: Split, batch: int, members: int) -> int | None:
    """Steps whose rows fit `AHEAD`, where rows are brought; None where they are on the device."""
    if not split.streamed:
        return None
    row = sum(int(np.prod(column.shape[1:])) * column.dtype.itemsize for column in split.rows.values())
    return max(1, AHEAD // (row * batch * members))


@contextlib.contextmanager
def feeding(way: Way, plan: Plan, batch: int, split: Split, keys: Array) -> Iterator[Feed]:
    """feed(at, count) -> what the chunk of `count` steps from step `at` shares, and the members' orders."""
    if not split.streamed:
        yield _held(way, plan, placement.shared(split, way), keys)
        return
    with ThreadPoolExecutor(1, 'rows') as pool:
        yield _brought(way, plan, batch, split, keys, pool)


def _held(way: Way, plan: Plan, split: Split, keys: Array) -> Feed:
    orders = _orders(way, plan, keys, len(split))

    def feed(at: int, count: int) -> tuple[Shared, Array]:
        first, held = orders(at, count)
        return Shared(split, *placement.shared((jnp.int32(at), jnp.int32(at - first * plan.per_epoch)), way)), held

    return feed


def _brought(way: Way, plan: Plan, batch: int, split: Split, keys: Array, pool: ThreadPoolExecutor) -> Feed:
    orders, size = _orders(way, plan, keys, len(split)), plan.chunk * batch
    ahead: dict[int, tuple[int, Future]] = {}

    def bring(at: int, rows: np.ndarray) -> tuple[Shared, Array]:
        """A table of these rows i32[..., size], and where each member's are in it."""
        table = jax.tree.map(jnp.asarray, split.at(rows.reshape(-1)))
        places = jnp.arange(rows.size, dtype=jnp.int32).reshape(*rows.shape[:-1], 1, size)
        if way.mesh is not None:
            places = placement.padded(places, way)
        return Shared(*placement.shared((table, jnp.int32(at), jnp.int32(0)), way)), places

    def rows_of(at: int, count: int) -> np.ndarray:
        # On the caller's thread: what a thread dispatches to several devices would overtake what the caller does.
        first, held = orders(at, count)
        whole = np.asarray(held)[..., : plan.per_epoch * batch]
        flat = whole.reshape(*whole.shape[:-2], -1)
        begin = (at - first * plan.per_epoch) * batch
        rows = flat[..., begin : begin + count * batch]
        return np.pad(rows, [*[(0, 0)] * (rows.ndim - 1), (0, size - rows.shape[-1])], 'edge')

    def feed(at: int, count: int) -> tuple[Shared, Array]:
        known, future = ahead.pop(at, (0, None))
        ahead.clear()
        here = future.result() if future is not None and known >= count else bring(at, rows_of(at, count))
        after = min(count, plan.total - at - count)
        if after > 0:
            ahead[at + count] = after, pool.submit(bring, at + count, rows_of(at + count, after))
        return here

    return feed


def _orders(way: Way, plan: Plan, keys: Array, n: int) -> Callable[[int, int], tuple[int, Array]]:
    """orders(at, count) -> the first epoch that these steps touch, and the orders [..., span, n] from it onwards."""
    held: dict[int, Array] = {}

    def orders(at: int, count: int) -> tuple[int, Array]:
        needed = range(at // plan.per_epoch, (at + count - 1) // plan.per_epoch + 1)
        for epoch in needed:
            if epoch not in held:
                held[epoch] = epoch_orders(way, keys, placement.shared(jnp.int32(epoch), way), n)
        for epoch in held.keys() - set(needed):
            del held[epoch]
        return needed[0], jnp.stack([held[min(needed[0] + i, needed[-1])] for i in range(plan.span)], axis=-2)

    return orders

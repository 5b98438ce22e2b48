"""One run on several devices, of one process or of several: each has a part of every minibatch."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vae_jax import placement
from vae_jax.errors import Fault
from vae_jax.training.trainer import State, Trainer


def data_parallel(trainer: Trainer, devices: int | None = None) -> Trainer:
    """The same trainer, the examples of each batch divided among devices (default: all), its state on every one.

    XLA sums the gradients: the run is that of one device but for the order of sums. On a CPU call
    `vae_jax.use_host_devices(n)` first; for several processes `vae_jax.hosts.join` in each. In a population the devices
    are those of its way: population(data_parallel(trainer, 2), placement.default(4, per_run=2)) runs two members at a
    time. Raises Fault where there are fewer devices, and, when traced, where they do not divide the batch.
    """
    chosen = placement.chosen(devices)
    alone = Mesh(np.array(chosen), (placement.PART,))

    def part(leaf: Any) -> Any:
        if leaf.shape[0] % len(chosen):
            found = f'a batch of {leaf.shape[0]} cannot be divided among {len(chosen)} devices'
            raise Fault(found, f'use a multiple of {len(chosen)}')
        around = jax.sharding.get_abstract_mesh()  # that of the population's way, inside of one
        mesh = around if placement.PART in around.axis_names else alone
        return jax.lax.with_sharding_constraint(leaf, NamedSharding(mesh, P(placement.PART)))

    def step(state: State, batch: Any) -> Any:
        return trainer.step(state, jax.tree.map(part, batch))

    return Trainer(trainer.init, step)

"""The devices that the members of a sweep's populations run on."""

import contextlib
import os
from typing import Any

from vae_jax import process
from vae_jax.errors import ENVIRONMENT, Fault


def prepare(asked: int | None, runs: int, per_run: int = 1) -> None:
    """Before jax's backend starts: the host devices asked for, else those of the runs, and no more than cores."""
    process.start_jax()
    from vae_jax import placement

    if 'xla_force_host_platform_device_count' in os.environ.get('XLA_FLAGS', ''):
        return
    with contextlib.suppress(Fault):  # the backend has started: there are the devices that there are
        placement.use_host_devices(max(1, min(asked or runs * per_run, placement.cores())))


def way(asked: int | None, runs: int, per_run: int = 1) -> Any:
    """Where `runs` members run, `per_run` devices each. Raises Fault (code 3) where there are fewer devices."""
    import jax

    from vae_jax import placement

    there = len(jax.devices())
    if asked is not None and asked > there:
        what = f'--devices is {asked}, and there are {there} ({jax.devices()[0].platform})'
        raise Fault(what, f'give 1 to {there}, or leave it out' if there > 1 else 'leave it out', ENVIRONMENT)
    usable = min(asked or there, runs * per_run) // per_run * per_run
    if not usable:
        what = f'--devices-per-run is {per_run}, and a task has {min(asked or there, there)} devices'
        raise Fault(what, 'give fewer, or more --devices', ENVIRONMENT)
    return placement.default(usable, per_run)


def together(asked: int | None, runs: int, per_run: int = 1) -> int:
    """How many members are evaluated at once: one on each device, and eight on each accelerator."""
    found = way(asked, runs, per_run)
    import jax

    return found.lanes * (1 if jax.default_backend() == 'cpu' else 8)


def leave() -> None:
    """For a process that only launches: accelerators are for its tasks."""
    process.start_jax()
    import jax

    jax.config.update('jax_platforms', 'cpu')

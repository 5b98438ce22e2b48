"""What the flags --launcher and --tracker name: strings become functions here, as in the tables of an experiment."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vae_jax import trackers
from vae_jax.errors import Fault
from vae_jax.sweeps import points as sweep_points
from vae_jax.sweeps import running


def launcher(config: Any, path: Path, stop: Callable[[], int | None]) -> running.Launch | None:
    """Who runs the tasks of a sweep; None: this process. Raises Fault."""
    asked = config.run
    for its, flag, given in (('ray', '--ray-address', asked.ray_address), ('slurm', '--slurm', asked.slurm)):
        if given and asked.launcher != its:
            raise Fault(f'{flag} goes with --launcher {its}', 'give both, or neither')
    if asked.launcher == 'local':
        return None
    from vae_jax.launchers import ray, required, slurm, watching

    executor = None
    if asked.launcher == 'slurm':
        executor = slurm.executor(path.with_name(f'{path.name}.slurm'), slurm.read_options(asked.slurm))

    def launch(tasks: Sequence[sweep_points.Task]) -> None:
        with watching.bar(tasks, asked.quiet) as ended:
            how: Any = {'stop': stop, 'ended': ended}
            if executor is not None:
                outcomes = slurm.launch(tasks, executor, **how)
            else:
                outcomes = ray.launch(tasks, address=asked.ray_address, devices=asked.devices, **how)
        required(outcomes)

    return launch


def tracker(
    path: Path, config: Any, points: Sequence[Mapping[str, Any]] = ()
) -> contextlib.AbstractContextManager[trackers.Tracker]:
    """The tracker that --tracker names, of one run or of the points of a population. Raises Fault."""
    tools: dict[str, trackers.Tool] = {
        'none': trackers.nowhere,
        'tensorboard': trackers.tensorboard,
        'wandb': trackers.wandb,
        'trackio': trackers.trackio,
        'mlflow': trackers.mlflow,
    }
    shown = trackers.shown(path, config, points)
    return trackers.following(tools[config.run.tracker], path, shown, config.run.quiet)

"""What a command would do, and its size: shapes are worked out, nothing is compiled or trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vae_jax import config as configs
from vae_jax import runs
from vae_jax.errors import Fault
from vae_jax.experiment import Experiment
from vae_jax.sweeps import devices, task
from vae_jax.sweeps.points import Group, flags


def sizes(experiment: Experiment, state: Any, n: int = 1, devices: int = 1) -> dict[str, Any]:
    """Steps, examples, parameters of one run, and the memory of n of them at the least, on all devices together."""
    import jax

    data = experiment.data.train
    size = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
    held = lambda tree: sum(leaf.size * getattr(leaf.dtype, 'itemsize', 8) for leaf in jax.tree.leaves(tree))
    return {
        'steps': experiment.steps,
        'batch': experiment.batch,
        'examples': len(data),
        'parameters': size(state.params),
        # data, states, gradients; the activations of a batch come on top
        'memory_bytes_at_least': devices * held(data.rows) + n * (held(state) + held(state.params)),
    }


def there(path: Path) -> str:
    """What is in a run directory."""
    return 'a finished run' if runs.finished(path) else 'an unfinished run' if path.exists() else 'nothing yet'


def refuse_another(path: Path, config: Any) -> None:
    """Names the flags in which the run at a path differs. `runs.opened` compares again, without knowing any default."""
    if config.run.fresh or not (path / 'config.json').is_file():
        return
    try:
        there = configs.from_json(type(config), runs.read_json(path / 'config.json')['config'])
    except (Fault, LookupError, TypeError):  # not of this class of configuration, which opened says better
        return
    if other := configs.differences(there, config):
        fix = 'give another --out, or set that run aside with --fresh'
        raise Fault(f'{path} is a run of another configuration: {"; ".join(other)}', fix)


def planned(path: Path, made: Sequence[Group], how: task.How) -> dict[str, Any]:
    """The tasks of a sweep, each with its own sizes: one compilation each, one after the other on the same devices."""
    asked, per_run = made[0].config.run.devices, made[0].config.run.devices_per_run
    devices.prepare(asked, max(len(group.points) for group in made), per_run)
    tasks = []
    for group in made:
        experiment, n = how.built(group.config), len(group.points)
        on = devices.way(asked, n, per_run).devices
        sized = sizes(experiment, task.check(group, experiment), n, on)
        shared = {flag: group.points[0][flag] for flag in flags(group.points) if len(_values(group, flag)) == 1}
        tasks.append({'flags': shared, 'runs': n, 'devices': on, 'finished': _is_finished(path, group), **sized})
    return {
        'path': str(path),
        'there': there(path),
        'runs': sum(one['runs'] for one in tasks),
        'compilations': len(tasks),
        'memory_bytes_at_least': max(one['memory_bytes_at_least'] for one in tasks),
        'tasks': tasks,
    }


def _values(group: Group, flag: str) -> set[str]:
    return {repr(point[flag]) for point in group.points}


def _is_finished(path: Path, group: Group) -> bool:
    return runs.finished(path / 'tasks' / group.name) is not None

"""A whole sweep in one directory: its tasks are launched, and gathered when all have ended.

config.json      the configuration, and the points        tasks/<hash>/        the run directory of a population
tasks/<hash>.jsonl   the points of one task               metrics.jsonl, sweep.csv, report.html, result.json: gathered
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vae_jax import config as configs
from vae_jax import files, process, runs
from vae_jax.errors import Stopped
from vae_jax.experiment import Experiment
from vae_jax.sweeps import devices, task
from vae_jax.sweeps.points import Group, Point, Task
from vae_jax.sweeps.task import How
from vae_jax.sweeps.watching import nobody, watched

# flags that change no result, and yet a task
_PASSED = ('data_dir', 'max_time', 'devices', 'devices_per_run', 'tracker')
Launch = Callable[[Sequence[Task]], None]
"""launch(tasks) returns when all have ended with a result or a stop, and raises Fault where one has neither."""


def run(
    path: Path, config: Any, made: Sequence[Group], how: How, launch: Launch | None = None, command: str = ''
) -> dict[str, Any]:
    """The result of a sweep: what is finished is returned, what is not is done, task by task.

    `launch(tasks)` returns when all have ended, one way or another, and by default runs them one after the other in
    this process. Raises Fault where a task did not end with its result, and Stopped.
    """
    points = _points(made)
    quiet, is_new = config.run.quiet, config.run.fresh or not (path / 'config.json').exists()
    built = None
    if not runs.finished(path):
        _say(
            quiet, f'sweep: {path}: {len(points)} runs, {len(made)} {"populations" if len(made) > 1 else "population"}'
        )
        if launch is None:
            built = _prepared(made, how, is_new)
        else:
            devices.leave()
    extra = {'config': configs.to_json(config), 'points': points, 'command': command} | task.told(how)
    identity = {'version': how.version, **configs.changed(config), 'sweep': _values(points)}
    with runs.opened(path, config=identity, fresh=config.run.fresh, extra=extra) as directory:
        if directory.result is not None:
            return directory.result
        if launch is None:
            _local(path, made, how, quiet, built)
        elif missing := [group for group in made if runs.finished(path / 'tasks' / group.name) is None]:
            launch([_task(path, config, group, how) for group in missing])
            if (code := how.stop()) is not None:
                raise Stopped(code, 0)
        from vae_jax.sweeps import gathering  # it draws, which is a second of imports

        result, words = gathering.gather(directory)
    _say(quiet, f'{words}\nreport: {path / "report.html"}')
    return result


def population(path: Path, group: Group, how: How) -> dict[str, Any]:
    """The result of one task by itself, in its run directory."""
    asked, built = group.config.run, None
    if not runs.finished(path):
        _say(asked.quiet, f'population: {path}: {len(group.points)} runs')
        built = _prepared([group], how, asked.fresh or not (path / 'config.json').exists())
    result = task.run(path, group, how, nobody(asked.quiet), asked.fresh, built)
    _say(asked.quiet or built is None, task.summary(result, how.metric[0]))
    return result


def _prepared(made: Sequence[Group], how: How, is_new: bool) -> Experiment | None:
    """Sets the devices up, and builds what is new: all of it is refused before the first task is trained.

    The experiment, where there is but one.
    """
    built = None
    asked = made[0].config.run
    devices.prepare(asked.devices, max(len(group.points) for group in made), asked.devices_per_run)
    for group in made if is_new else made[:1]:
        devices.way(asked.devices, len(group.points), asked.devices_per_run)
        if is_new or len(made) == 1:
            built = how.built(group.config)
            task.check(group, built)
    return built if len(made) == 1 else None


def _local(path: Path, made: Sequence[Group], how: How, quiet: bool, built: Experiment | None) -> None:
    """Runs the tasks of a sweep in this process, one after the other, under one progress bar."""
    with watched(made, how.metric, quiet) as watch:
        for group in made:
            task.run(path / 'tasks' / group.name, group, how, watch, experiment=built)


def _task(path: Path, config: Any, group: Group, how: How) -> Task:
    """The command of a group, its points in a file beside its directory."""
    out = (path / 'tasks' / group.name).absolute()
    out.parent.mkdir(exist_ok=True)
    file = out.with_suffix('.jsonl')
    with files.replacing(file) as temporary:
        temporary.write_text(''.join(files.dumps(point) + '\n' for point in group.points))
    given = {name: getattr(config.run, name, None) for name in _PASSED}
    words = [f'--{name.replace("_", "-")}={value}' for name, value in given.items() if value is not None]
    argv = (*configs.tokens(config), f'--points={file}', f'--out={out}', '--quiet', *words)
    return Task(argv, out, how.build.partition(':')[0])


def _values(points: Sequence[Point]) -> dict[str, list[Any]]:
    """{flag: its values, in the order in which they come}."""
    told: dict[str, list[Any]] = {flag: [] for flag in points[0]}
    for point in points:
        for flag, value in point.items():
            if value not in told[flag]:
                told[flag].append(value)
    return told


def _points(made: Sequence[Group]) -> list[Point]:
    """All points of a sweep in their order."""
    numbered = [pair for group in made for pair in zip(group.runs, group.points)]
    return [point for _, point in sorted(numbered, key=lambda pair: pair[0])]


def _say(quiet: bool, text: str) -> None:
    if not quiet:
        process.say(text)

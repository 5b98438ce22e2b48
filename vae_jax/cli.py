"""The command line of every experiment: one call at the end of its file gives it all the flags of the run contract.

    if __name__ == '__main__':
        cli.main(Config, build, version=1, metric=('test_nll', 'min'))

`build(config) -> Experiment` imports jax inside itself, so that `--help`, `--describe` and a wrong flag need not wait.
From Python, `run(config, build)` and `sweep(config, build, {'beta': [0.5, 1]}, seeds=5)` do the same and return the
result.
"""

import contextlib
import functools
import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from vae_jax import chosen, flags, process, runs
from vae_jax import config as configs
from vae_jax.errors import NUMBERS, TIME_IS_UP, Fault, Stopped
from vae_jax.experiment import Experiment, keys
from vae_jax.fields import leaves
from vae_jax.sweeps import devices, planning, points, running, task

Build = Callable[[Any], Experiment]


def main(
    kind: type,
    build: Build,
    *,
    name: str | None = None,
    version: int = 1,
    metric: tuple[str, str] = ('test_nll', 'min'),
    argv: Sequence[str] | None = None,
) -> NoReturn:
    """Runs an experiment as its command line asks and exits: code 0 with one JSON object as the last line of stdout.

    `name` (default: the module's) begins the run directory's; raise `version` when a change of code changes results.
    """
    started = time.monotonic()
    argv = sys.argv[1:] if argv is None else argv
    debug = any(token.startswith('--debug') and not token.lower().endswith('false') for token in argv)
    command = functools.partial(_command, kind, build, name, version, metric, argv, started)
    sys.exit(process.guarded(command, debug))


def run(
    config: Any,
    build: Build,
    *,
    name: str | None = None,
    version: int = 1,
    stop: Callable[[], int | None] = lambda: None,
    patient: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
) -> dict[str, Any]:
    """Trains, evaluates and reports one configuration in its run directory: the result as stored, with `path`.

    What is finished is returned, what is unfinished resumed. `stop()` is asked between chunks and before evaluation: an
    exit code saves and raises Stopped. `patient` surrounds training. Raises Fault.
    """
    configs.check(config)
    if config.run.launcher != 'local':
        raise Fault('--launcher is for the runs of a sweep, and this is one run', 'leave it out, or give --seeds')
    path = run_path(config, build, name, version)
    identity = {'version': version, 'seed': config.run.seed, **configs.changed(config)}
    told = configs.to_json(config)
    extra = {'config': told, 'build': f'{_module(build)}:{build.__name__}', 'version': version}
    planning.refuse_another(path, config)
    # What is refused makes no directory; but a run that is there refuses or answers before jax is imported.
    experiment = None
    if config.run.fresh or not (path / 'config.json').exists():
        experiment = _divided(config, build)
        _check(experiment)
    with runs.opened(path, config=identity, fresh=config.run.fresh, extra=extra) as directory:
        if directory.result is not None:
            return {**directory.result, 'path': str(path)}
        return _train(config, experiment or _divided(config, build), directory, told, stop, patient)


def run_path(config: Any, build: Build, name: str | None = None, version: int = 1) -> Path:
    """The run directory of a configuration: its `run.out`, else runs/<name>-<hash>-s<seed>. Raises Fault if empty."""
    if config.run.out is not None and not config.run.out.strip():
        raise Fault(f'--out is {config.run.out!r}', 'give a directory, or leave --out away for one under runs/')
    name = name or _module(build).rpartition('.')[2]
    return Path(config.run.out or Path('runs') / configs.run_name(name, config, version))


def sweep(
    config: Any,
    build: Build,
    swept: Mapping[str, Sequence[Any]] | None = None,
    seeds: int | None = None,
    *,
    name: str | None = None,
    version: int = 1,
    metric: tuple[str, str] = ('test_nll', 'min'),
    stop: Callable[[], int | None] = lambda: None,
    patient: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    command: str = '',
) -> dict[str, Any]:
    """Every combination of {flag: values} with `seeds` seeds from the configuration's own: the result as stored.

    What differs in traced fields alone is one population, one program; what is static is one of these each. `metric`
    is a name in the results and 'min' or 'max'. Where the configuration names a file of points, those are its one
    population. Raises Fault, of code 4 where all runs diverged.
    """
    configs.check(config)
    how = _how(build, version, metric, stop, patient)
    made, path = _plan(config, build, swept or {}, seeds, name, version)
    if config.run.points is None:
        planning.refuse_another(path, config)
        launch = None if runs.finished(path) else chosen.launcher(config, path, stop)
        result = running.run(path, config, made, how, launch, command)
    else:
        result = running.population(path, made[0], how)
    if result['diverged'] == result['runs']:
        raise Fault(f'all {result["runs"]} runs of {path} diverged', 'lower --lr', NUMBERS)
    return {**result, 'path': str(path)}


def _command(
    kind: type,
    build: Build,
    name: str | None,
    version: int,
    metric: tuple[str, str],
    argv: Sequence[str],
    started: float,
    signals: process.Signals,
) -> int:
    description = sys.modules[build.__module__].__doc__ or ''
    others, swept = flags.swept(argv, leaves(kind))
    config: Any = flags.parse(kind, others, f'python -m {_module(build)}', description)
    several = swept or config.run.seeds is not None or config.run.points is not None
    if config.run.describe:
        process.say(json.dumps(configs.describe(kind, metric) | {'version': version}, indent=2))
        return 0
    if config.run.dry_run:
        if several:
            made, path = _plan(config, build, swept, config.run.seeds, name, version)
            told = planning.planned(path, made, _how(build, version, metric))
        else:
            told = _dry_run(config, build, name, version)
        process.say(runs.dumps(told))
        return 0
    limit = configs.parse_duration(config.run.max_time) if config.run.max_time else float('inf')

    def stop() -> int | None:
        return signals.asked() or (TIME_IS_UP if time.monotonic() - started > limit else None)

    how: Any = {'name': name, 'version': version, 'stop': stop, 'patient': signals.patient}
    try:
        if several:
            said = shlex.join(['python', '-m', _module(build), *argv])
            result = sweep(config, build, swept, config.run.seeds, metric=metric, command=said, **how)
        else:
            result = run(config, build, **how)
    except Stopped as error:
        process.tell(str(error))
        return error.code
    process.finish()
    process.say(runs.dumps(result))
    return 0


def _built(config: Any, build: Build) -> Experiment:
    process.start_jax()
    return build(config)


def _divided(config: Any, build: Build) -> Experiment:
    """The experiment of a lone run; where devices are asked for, each has a part of every minibatch."""
    n = config.run.devices
    if config.run.devices_per_run > 1:
        raise Fault('--devices-per-run goes with a sweep', 'for one run use --devices: they share its batches')
    if n is None or n == 1:
        return _built(config, build)
    devices.prepare(n, n)
    from vae_jax import training

    experiment = _built(config, build)
    return experiment._replace(trainer=training.data_parallel(experiment.trainer, n))


def _check(experiment: Experiment) -> Any:
    """The shapes of State that training would begin with. Raises Fault as it would, but before anything is written."""
    from vae_jax import training

    return training.check(experiment.trainer, experiment.data, experiment.hyper, batch=experiment.batch)


def _train(
    config: Any,
    experiment: Experiment,
    directory: runs.Directory,
    told: dict[str, Any],
    stop: Callable[[], int | None],
    patient: Callable[[], contextlib.AbstractContextManager[None]],
) -> dict[str, Any]:
    from vae_jax import training

    path, quiet, key = directory.path, config.run.quiet, keys(config.run.seed)
    if not quiet:
        process.say(f'run: {path}')
    with chosen.tracker(path, config) as tracker:
        with patient():
            trained = training.fit(
                experiment.trainer,
                experiment.data,
                experiment.hyper,
                key.training,
                steps=experiment.steps,
                batch=experiment.batch,
                out=directory,
                stop=stop,
                quiet=quiet,
                track=tracker.track,
                profile=path / 'profile' if config.run.profile else None,
                **experiment.fit,
            )
        if (code := stop()) is not None:
            raise Stopped(code, experiment.steps)
        result, examples = experiment.evaluate(trained.params, key.evaluation, quiet)
        units = runs.units(name for name, held in result.items() if isinstance(held, float))
        result = {
            **result,
            'units': {name: unit for name, unit in units.items() if unit != '1'} | result.get('units', {}),
        }
        directory.save_examples(examples)
        report = experiment.figures(path, trained.params, key.figures, trained.metrics, result, told)
        tracker.end([result])
        directory.record(result, experiment.data.fingerprint)
    if not quiet:
        process.say(experiment.summary(result))
        process.say(f'report: {report}')
    return {**result, 'path': str(path)}


def _dry_run(config: Any, build: Build, name: str | None, version: int) -> dict[str, Any]:
    path, experiment = run_path(config, build, name, version), _divided(config, build)
    head = {'path': str(path), 'there': planning.there(path), 'runs': 1, 'compilations': 1}
    return head | planning.sizes(experiment, _check(experiment))


def _plan(
    config: Any, build: Build, swept: Mapping[str, Sequence[Any]], seeds: int | None, name: str | None, version: int
) -> tuple[list[points.Group], Path]:
    """The populations of a sweep, or the one of a file of points, and their directory. Raises Fault."""
    found = points.asked(config, swept, seeds)
    if config.run.out is None:
        kind = 'sweep' if config.run.points is None else 'points'
        named = points.digest(version, configs.changed(config), found)[:8]
        default = Path('runs') / f'{name or _module(build).rpartition(".")[2]}-{kind}-{named}'
        config = configs.replaced(config, {('run', 'out'): str(default)})
    return points.groups(config, found, version), run_path(config, build, name, version)


def _how(
    build: Build,
    version: int,
    metric: tuple[str, str],
    stop: Callable[[], int | None] = lambda: None,
    patient: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
) -> task.How:
    named = f'{_module(build)}:{build.__name__}'
    return task.How(functools.partial(_built, build=build), named, version, metric, stop, patient, chosen.tracker)


def _module(build: Build) -> str:
    """The module of an experiment as `python -m` knows it, also while it is __main__."""
    if build.__module__ != '__main__':
        return build.__module__
    spec = getattr(sys.modules['__main__'], '__spec__', None)
    return spec.name if spec else Path(sys.argv[0]).stem

"""The command line of every experiment: one call at the end of its file gives it all the flags of the run contract.

    if __name__ == '__main__':
        cli.main(Config, build, version=1, metric=('test_nll', 'min'))

`build(config) -> Experiment` imports jax inside itself, so that `--help`, `--describe` and a wrong flag need not wait.
From Python, `run(config, build)` does the same and returns the result.
"""

import contextlib
import functools
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from vae_jax import config as configs
from vae_jax import flags, process, runs
from vae_jax.errors import TIME_IS_UP, Fault, Stopped
from vae_jax.experiment import Experiment

Build = Callable[[Any], Experiment]
_AFTER, _VERBS = 2**32 - 1, 2**32 - 2  # streams of a run's key that no epoch or step of its training reaches


class Keys(NamedTuple):
    """The keys of one run, all from its seed."""

    training: Any
    evaluation: Any
    figures: Any
    verbs: Any  # what is done to a finished run


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
    path = run_path(config, build, name, version)
    identity = {'version': version, 'seed': config.run.seed, **configs.changed(config)}
    told = configs.to_json(config)
    extra = {'config': told, 'build': f'{_module(build)}:{build.__name__}', 'version': version}
    _refuse_another(path, config)
    # What is refused makes no directory; but a run that is there refuses or answers before jax is imported.
    experiment = None
    if config.run.fresh or not (path / 'config.json').exists():
        experiment = _built(config, build)
        _check(experiment)
    with runs.opened(path, config=identity, fresh=config.run.fresh, extra=extra) as directory:
        if directory.result is not None:
            return {**directory.result, 'path': str(path)}
        return _train(config, experiment or _built(config, build), directory, told, stop, patient)


def run_path(config: Any, build: Build, name: str | None = None, version: int = 1) -> Path:
    """The run directory of a configuration: its `run.out`, else runs/<name>-<hash>-s<seed>. Raises Fault if empty."""
    if config.run.out is not None and not config.run.out.strip():
        raise Fault(f'--out is {config.run.out!r}', 'give a directory, or leave --out away for one under runs/')
    name = name or _module(build).rpartition('.')[2]
    return Path(config.run.out or Path('runs') / configs.run_name(name, config, version))


def keys(seed: int) -> Keys:
    """The keys of a run; that of its training is key(seed) itself, as a script of a few lines would have it."""
    import jax

    key = jax.random.key(seed)
    after, verbs = (jax.random.fold_in(key, stream) for stream in (_AFTER, _VERBS))
    evaluation, figures = jax.random.split(after)
    return Keys(key, evaluation, figures, verbs)


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
    config: Any = flags.parse(kind, argv, f'python -m {_module(build)}', description)
    if config.run.describe:
        process.say(json.dumps(configs.describe(kind, metric) | {'version': version}, indent=2))
        return 0
    if config.run.dry_run:
        process.say(json.dumps(_dry_run(config, build, name, version)))
        return 0
    limit = configs.parse_duration(config.run.max_time) if config.run.max_time else float('inf')

    def stop() -> int | None:
        return signals.asked() or (TIME_IS_UP if time.monotonic() - started > limit else None)

    try:
        result = run(config, build, name=name, version=version, stop=stop, patient=signals.patient)
    except Stopped as error:
        process.tell(str(error))
        return error.code
    process.finish()
    process.say(runs.dumps(result))
    return 0


def _built(config: Any, build: Build) -> Experiment:
    process.start_jax()
    return build(config)


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
            profile=path / 'profile' if config.run.profile else None,
            **experiment.fit,
        )
    if (code := stop()) is not None:
        raise Stopped(code, experiment.steps)
    result, examples = experiment.evaluate(trained.params, key.evaluation, quiet)
    units = runs.units(name for name, held in result.items() if isinstance(held, float))
    result = {**result, 'units': {name: unit for name, unit in units.items() if unit != '1'} | result.get('units', {})}
    directory.save_examples(examples)
    report = experiment.figures(path, trained.params, key.figures, trained.metrics, result, told)
    directory.record(result, experiment.data.fingerprint)
    if not quiet:
        process.say(experiment.summary(result))
        process.say(f'report: {report}')
    return {**result, 'path': str(path)}


def _dry_run(config: Any, build: Build, name: str | None, version: int) -> dict[str, Any]:
    """What would run, and its size: shapes are worked out, nothing is compiled or trained."""
    process.start_jax()
    import jax

    path, experiment = run_path(config, build, name, version), build(config)
    data, state = experiment.data.train, _check(experiment)
    size = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
    held = lambda tree: sum(leaf.size * getattr(leaf.dtype, 'itemsize', 8) for leaf in jax.tree.leaves(tree))
    return {
        'path': str(path),
        'there': 'a finished run' if runs.finished(path) else 'an unfinished run' if path.exists() else 'nothing yet',
        'runs': 1,
        'compilations': 1,
        'steps': experiment.steps,
        'batch': experiment.batch,
        'examples': len(data),
        'parameters': size(state.params),
        # data, state, gradients; the activations of a batch come on top
        'memory_bytes_at_least': held(data.rows) + held(state) + held(state.params),
    }


def _refuse_another(path: Path, config: Any) -> None:
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


def _module(build: Build) -> str:
    """The module of an experiment as `python -m` knows it, also while it is __main__."""
    if build.__module__ != '__main__':
        return build.__module__
    spec = getattr(sys.modules['__main__'], '__spec__', None)
    return spec.name if spec else Path(sys.argv[0]).stem

"""One task: the points of one static configuration, trained as one population and evaluated one by one.

config.json      with the points              points/<i>.json     a member's result, as soon as there is one
metrics.jsonl    rows have `run`, the member  evaluation.npz      arrays [examples, n], nan where diverged
checkpoints/     States with an axis [n]      result.json         all of these results, last
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vae_jax import config as configs
from vae_jax import files, runs
from vae_jax.errors import NUMBERS, Fault, Stopped
from vae_jax.experiment import Experiment, keys
from vae_jax.fields import in_words
from vae_jax.sweeps import devices
from vae_jax.sweeps.points import Group, Point, configured
from vae_jax.sweeps.watching import Watch


class How(NamedTuple):
    """What an experiment's command gives to each task."""

    built: Callable[[Any], Experiment]
    build: str  # 'module:function'
    version: int
    metric: tuple[str, str]  # its name, and 'min' or 'max'
    stop: Callable[[], int | None]  # asked between chunks and between evaluations: an exit code, or None
    patient: Callable[[], contextlib.AbstractContextManager[None]]  # around training
    follow: Callable[..., contextlib.AbstractContextManager[Any]]  # (path, config, points) -> a Tracker


def run(
    path: Path, group: Group, how: How, watch: Watch, fresh: bool = False, experiment: Experiment | None = None
) -> dict[str, Any]:
    """The result of a task, stored in its directory: of what is finished at once, else trained and evaluated first.

    Raises Stopped where `how.stop` says so: between chunks, and between the evaluations of two members.
    """
    config, points = group.config, list(group.points)
    unswept = {flag: value for flag, value in configs.changed(config).items() if flag not in points[0]}
    extra = {'config': configs.to_json(config), 'points': points} | told(how)
    identity = {'version': how.version, **unswept, 'points': points}
    with runs.opened(path, config=identity, fresh=fresh, extra=extra) as directory:
        if directory.result is not None:
            return directory.result
        experiment = experiment or how.built(config)
        watch.begins(group, experiment.steps)
        with how.follow(path, config, points) as tracker:
            params, lost = _trained(group, experiment, directory, how, watch, tracker.track)
            entries = _entries(group, experiment, path, how, watch, params, lost)
            tracker.end(entries)
        units = {name: unit for entry in entries for name, unit in entry.pop('units', {}).items()}
        if arrays := _together(path, entries):
            directory.save_examples(arrays)
        lost = sum(entry['status'] != 'done' for entry in entries)
        result = {'runs': len(entries), 'diverged': lost, 'steps': experiment.steps, 'points': entries, 'units': units}
        directory.record(result, experiment.data.fingerprint)
        for file in (path / 'points').glob('*.npz'):  # they are in evaluation.npz now
            file.unlink()
        return result


def told(how: How) -> dict[str, Any]:
    """What config.json says of the experiment."""
    name, direction = how.metric
    return {'build': how.build, 'version': how.version, 'metric': {'name': name, 'direction': direction}}


def check(group: Group, experiment: Experiment) -> Any:
    """The shapes of one member's State. Raises Fault for what training would refuse, before anything is written."""
    from vae_jax import training

    if experiment.hyper != group.config.hyper:
        what = f'build makes hyper {experiment.hyper} of {group.config.hyper}: its runs cannot be one population'
        raise Fault(what, 'give Experiment(hyper=config.hyper), and do that arithmetic in the optimizer or loss')
    return training.check(experiment.trainer, experiment.data, experiment.hyper, batch=experiment.batch)


def hyper(group: Group) -> Any:
    """The experiment's NamedTuple with arrays [n]: one value a point."""
    import numpy as np

    each = [configured(group.config, point).hyper for point in group.points]
    return type(each[0])(*(np.asarray(values, np.float32) for values in zip(*each)))


def training_keys(points: Sequence[Point]) -> Any:
    """The keys [n] of the training of the lone runs that the points are."""
    import jax
    import jax.numpy as jnp

    return jnp.stack([jax.random.key(point['seed']) for point in points])


def _entries(
    group: Group, experiment: Experiment, path: Path, how: How, watch: Watch, params: Any, lost: Sequence[int | None]
) -> list[dict[str, Any]]:
    """The result of each member, from its file where there is one; `lost` is the step at which each diverged, or -1.

    A stop loses the evaluation of the members that are evaluated together: as many as there are devices.
    """
    (path / 'points').mkdir(exist_ok=True)
    file_of = lambda i: path / 'points' / f'{i}.json'
    missing = [i for i in range(len(group.points)) if not file_of(i).exists()]
    for i in (i for i in missing if lost[i] != -1):
        told = {'status': 'diverged', 'diverged_step': lost[i]}
        files.write_json(file_of(i), {'run': i, **group.points[i], **told})
    left = [i for i in missing if lost[i] == -1]
    asked, size = group.config.run, 1
    if experiment.evaluate_some is not None:
        size = devices.together(asked.devices, len(group.points), asked.devices_per_run)
    for some in (left[at : at + size] for at in range(0, len(left), size)):
        if (code := how.stop()) is not None:
            raise Stopped(code, experiment.steps)
        for i, told in zip(some, _evaluated(experiment, params, group.points, some, watch.quiet, path / 'points')):
            files.write_json(file_of(i), {'run': i, **group.points[i], **told})
            watch.member(files.read_json(file_of(i)))
    entries = [files.read_json(file_of(i)) for i in range(len(group.points))]
    for entry in (entry for entry in entries if entry['run'] not in left):
        watch.member(entry)
    return entries


def _trained(
    group: Group,
    experiment: Experiment,
    directory: runs.Directory,
    how: How,
    watch: Watch,
    track: Callable[[list[dict[str, Any]]], None],
) -> tuple[Any, Sequence[int | None]]:
    """(params of all members, the step at which each diverged, -1 where it did not)."""
    from vae_jax import training

    check(group, experiment)
    asked, n = group.config.run, len(group.points)
    way = devices.way(asked.devices, n, asked.devices_per_run)
    trainer = experiment.trainer
    if asked.devices_per_run > 1:
        trainer = training.data_parallel(trainer, asked.devices_per_run)
    population = training.population(trainer, way)

    def both(rows: list[dict[str, Any]]) -> None:
        watch.rows(rows)
        track(rows)

    try:
        with how.patient():
            trained = training.fit(
                population,
                experiment.data,
                hyper(group),
                training_keys(group.points),
                steps=experiment.steps,
                batch=experiment.batch,
                out=directory,
                stop=how.stop,
                track=both,
                quiet=watch.quiet,
                profile=directory.path / 'profile' if asked.profile else None,
                **experiment.fit,
            )
    except Fault as fault:  # a task that lost all of its runs is done, and stops no other
        if fault.code != NUMBERS or not fault.what.startswith('no run is finite'):
            raise
        return None, _all_lost(directory, n)
    return trained.params, [int(step) for step in trained.diverged]


def _all_lost(directory: runs.Directory, n: int) -> Sequence[int | None]:
    """The step at which each member of a population diverged, of which none is left; None where nothing says so."""
    from vae_jax import checkpoints

    if checkpoints.latest(directory.last) is None:
        return [None] * n
    lost = checkpoints.restore_params(directory.last, under='progress/diverged').tolist()
    return [step if step >= 0 else None for step in lost]


def _evaluated(
    experiment: Experiment, params: Any, points: Sequence[Point], some: Sequence[int], quiet: bool, folder: Path
) -> list[dict[str, Any]]:
    """What the lone runs of these points would find, with units; arrays, one row an example, go to <folder>/<i>.npz."""
    import jax.numpy as jnp
    import numpy as np

    from vae_jax import placement

    each = [keys(points[i]['seed']).evaluation for i in some]
    try:
        if experiment.evaluate_some is not None and len(some) > 1:
            found = experiment.evaluate_some(placement.take(params, np.asarray(some)), jnp.stack(each), quiet)
        else:
            found = [experiment.evaluate(placement.take(params, i), key, quiet) for i, key in zip(some, each)]
    except Fault as fault:
        if fault.code != NUMBERS:
            raise
        if len(some) > 1:  # one of them: which, they tell one by one
            apart = ([i] for i in some)
            return [told for i in apart for told in _evaluated(experiment, params, points, i, quiet, folder)]
        return [{'status': 'diverged', 'diverged_step': experiment.steps, 'problem': fault.what}]
    return [_stored(folder / f'{i}.npz', points[i], *one) for i, one in zip(some, found)]


def _stored(file: Path, point: Point, found: dict[str, Any], examples: Mapping[str, Any]) -> dict[str, Any]:
    import numpy as np

    with files.replacing(file) as temporary, open(temporary, 'wb') as stream:
        np.savez(stream, allow_pickle=False, **{name: np.asarray(values) for name, values in examples.items()})
    units = runs.units(name for name, held in found.items() if isinstance(held, float))
    units = {name: unit for name, unit in units.items() if unit != '1'} | found.pop('units', {})
    return {'status': 'done', **{f'result.{k}' if k in point else k: v for k, v in found.items()}, 'units': units}


def _together(path: Path, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The arrays of all members, [examples, n, ...]; nan for those that diverged; `index` once."""
    import numpy as np

    held: dict[int, dict[str, Any]] = {}
    for entry in entries:
        if entry['status'] == 'done':
            with np.load(path / 'points' / f'{entry["run"]}.npz', allow_pickle=False) as file:
                held[entry['run']] = dict(file)
    if not held:
        return {}
    first = next(iter(held.values()))

    def column(name: str, run: int) -> Any:
        return held[run][name] if run in held else np.full(first[name].shape, np.nan)

    stacked = {
        name: np.stack([column(name, entry['run']) for entry in entries], 1) for name in first if name != 'index'
    }
    return {'index': first['index'], **stacked} if 'index' in first else stacked


def summary(result: Mapping[str, Any], metric: str) -> str:
    """The result of a task as lines for a person, one a run."""
    lines = []
    for entry in result['points']:
        flags = {name: value for name, value in entry.items() if name in _head(entry)}
        if entry['status'] == 'done':
            value, se = entry.get(metric), entry.get(f'{metric}_se')
            told = f'{metric} {value:.3f}' if isinstance(value, float) else 'done'
            told += f' +- {se:.3f}' if isinstance(se, float) else ''
        else:
            told = f'diverged at step {entry["diverged_step"]}'
        lines.append(f'run {entry["run"]} ({in_words(flags)}): {told}')
    return '\n'.join(lines)


def _head(entry: Mapping[str, Any]) -> list[str]:
    names = list(entry)
    return names[1 : names.index('status')]

"""Reading runs: as a table, in a notebook, and to see whether their files are whole."""

import dataclasses
import functools
import glob
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from vae_jax.config import NO_EFFECT, RunFlags, from_json
from vae_jax.errors import ENVIRONMENT, Fault
from vae_jax.fields import leaves
from vae_jax.files import dumps, first_line, read_json, read_metrics
from vae_jax.runs import manifest, several
from vae_jax.runs.directory import finished
from vae_jax.runs.environment import flat, say_differences, software

__all__ = ['Loaded', 'load', 'table', 'units', 'verify']
_PATHS = (('data',), ('warm_start',), ('run', 'data_dir'))  # fields of a configuration that may be relative paths
_ASIDE = re.compile(r'path$|units(\.|$)')  # fields of a result that are no result
_UNITS = [  # of the words of a name, between '_' and '/', the first that fits; a learning rate is no rate in nats
    (re.compile(f'(^|[/_])({words})($|[/_])'), unit)
    for words, unit in [
        ('bits_per_dim', 'bits/dim'),
        ('examples_per_s', 'examples/s'),
        ('steps_per_s', 'steps/s'),
        ('wall_s|seconds', 's'),
        ('learning_rate|lr|norm|norms|fraction|ratio', '1'),
        ('step|steps', 'steps'),
        ('epoch|epochs', 'epochs'),
        ('elbo|iwae|bound|rate|distortion|loss|nll|kl|log_px?|log_prob|log_weight|log_w', 'nats'),
    ]
]


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A run in a notebook. `experiment` and `model` call `build(config)` once asked for: that loads data."""

    path: Path
    config: Any  # a Config where there is a build, else the dict of config.json
    params: Any
    result: dict[str, Any] | None
    build: Callable[[Any], Any] | None = dataclasses.field(default=None, repr=False)
    checkpoint: str = 'last'  # that the params are of: best, last, or last where best is damaged

    @functools.cached_property
    def experiment(self) -> Any:
        return None if self.build is None else self.build(self.config)

    @property
    def model(self) -> Any:
        return getattr(self.experiment, 'model', None)


def load(path: str | os.PathLike[str], build: Callable[[Any], Any] | None = None, run: int | None = None) -> Loaded:
    """A run with the params of its best checkpoint, else of its last, every array hashed again; their tree is of dicts.

    `run` is the number of one run of a population's or a sweep's directory, which must then be given.

    Where the best is damaged and the last is not, stderr says so. Relative paths in the configuration (data,
    warm_start, run.data_dir) that are not here are taken from the folder that the run was started in.

    `build` is by default the one that config.json names, if it is of the installed experiments or imported already;
    otherwise `model` is None, and stderr says why. Where versions or commits are not those of the run, stderr says so.
    Raises Fault where there is no run or no intact checkpoint.
    """
    folder = Path(path).expanduser()
    stored, result = _stored(folder), None
    if 'points' in stored:
        member = several.number(several.members(folder, stored), run, folder)
        stored, result = {**stored, 'config': member.config}, member.result
        folder = member.folder
        params, kept = _member_params(folder / 'checkpoints', member.place)
    elif run is not None:
        raise Fault(f'{folder} is one run, and run={run} was asked for', 'leave run, or --member, out')
    else:
        (params, kept), result = _params(folder / 'checkpoints'), finished(folder)
    say_differences(folder, stored, software(stored.get('build')))
    config = _found_from_here(stored['config'], stored.get('cwd'))
    if build is not None:
        config = _as_config(build, config)
    elif 'build' in stored:
        build, why = _installed(stored['build'], stored.get('version'))
        try:
            config = _as_config(build, config) if build else config
        except Fault as fault:
            build, why = None, fault.what
        if why:
            print(f'note: {folder} was built by {stored["build"]!r}: {why}', file=sys.stderr)
    return Loaded(folder, config, params, result, build, kept)


def table(pattern: str = 'runs/**') -> list[dict[str, Any]]:
    """One row a run: path, state, the fields of its configuration that differ between these runs, its result's fields.

    The runs of a population or a sweep have a row each, with their number `run`.
    Flags that change no result (`--out`) do not count. Nested names are joined by dots; 'result.' goes before a name
    that is one of the configuration too. Runs set aside stay out, unless the pattern says '.old-'; one that cannot be
    read has its row, with a 'problem'.
    """
    found = {Path(name) for name in glob.glob(pattern, recursive=True)}
    folders = sorted(folder for folder in found if (folder / 'config.json').is_file())
    shown = [f for f in folders if '.old-' in pattern or not re.search(r'\.old-\d+(/|$)', f.as_posix())]
    # the populations of a sweep have their rows as its runs
    shown = [f for f in shown if not (f.parent.name == 'tasks' and f.parent.parent in shown)]
    records = [record for folder in shown for record in _records(folder)]
    idle = {'.'.join(('run', *leaf.path)) for leaf in leaves(RunFlags) if NO_EFFECT in leaf.marks}
    names = dict.fromkeys(name for _, config, _ in records for name in config if name not in idle)
    readable = [config for _, config, _ in records if config]
    varied = [name for name in names if len({dumps(c[name]) if name in c else None for c in readable}) > 1]
    return [
        head
        | {name: config.get(name) for name in varied}
        | {f'result.{name}' if name in varied else name: value for name, value in result.items()}
        for head, config, result in records
    ]


def _records(folder: Path) -> list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """(path and run, configuration, state and result) of each run of a directory."""

    def told(result: dict[str, Any] | None, state: str = 'done') -> dict[str, Any]:
        held = {name: value for name, value in flat(result or {}).items() if not _ASIDE.match(name)}
        return {'state': 'unfinished' if result is None else held.pop('status', state), **held}

    head = {'path': str(folder)}
    try:
        stored = _stored(folder)
        if 'points' not in stored:
            return [(head, flat(stored['config']), told(finished(folder)))]
        found = several.members(folder, stored)
        return [({**head, 'run': one.run}, flat(one.config), told(one.result)) for one in found]
    except Fault as fault:
        return [(head, {}, {'state': 'damaged', 'problem': fault.what})]


def verify(path: str | os.PathLike[str]) -> list[str]:
    """Reads the files of a run, and hashes every array of its checkpoints again: the problems, one line each."""
    from vae_jax import checkpoints

    folder = Path(path)
    problems: dict[str, str] = {}  # by file, one each
    reads: dict[str, Callable[[Path], Any]] = {
        'config.json': lambda file: _stored(file.parent),
        'metrics.jsonl': read_metrics,
        'result.json': lambda file: finished(file.parent),
        'evaluation.npz': _check_examples,
    }
    for name, read in reads.items():
        try:
            read(folder / name)
        except Fault as fault:
            problems[name] = fault.what
    if (folder / 'result.json').exists():
        problems = manifest.changed(folder) | problems
        if not (folder / 'checkpoints').exists() and not (folder / 'tasks').exists():
            problems['checkpoints'] = f'{folder} is finished, and has no checkpoints'
    places = [place for name in ('last', 'best') if (place := folder / 'checkpoints' / name).exists()]
    within = [problem for task in several.tasks(folder) for problem in verify(task)]
    return [*problems.values(), *within, *(problem for place in places for problem in checkpoints.verify(place))]


def units(names: Iterable[str]) -> dict[str, str]:
    """The unit of each metric by the words of its name: 'nats', 'bits/dim', 's', 'steps', 'epochs', else '1'."""
    return {name: next((unit for pattern, unit in _UNITS if pattern.search(name)), '1') for name in names}


def _stored(folder: Path) -> dict[str, Any]:
    if not (folder / 'config.json').is_file():
        raise Fault(f'{folder} is no run: it has no config.json', 'give the directory of a run')
    stored = read_json(folder / 'config.json')
    if not isinstance(stored, dict) or not isinstance(stored.get('config'), dict):
        raise Fault(f'{folder / "config.json"} holds no configuration', 'restore a copy of the file')
    return stored


INSTEAD = 'last, as best is damaged'


def _params(folder: Path) -> tuple[Any, str]:
    """The params of the best checkpoint, else of the last, and which of them."""
    from vae_jax import checkpoints

    best, last = folder / 'best', folder / 'last'
    if checkpoints.latest(best) is None:
        return checkpoints.restore_params(last), 'last'
    try:
        return checkpoints.restore_params(best), 'best'
    except Fault as fault:
        if checkpoints.latest(last) is None:
            raise
        params = checkpoints.restore_params(last)
        print(f'warning: {fault.what}; the last parameters are loaded instead of the best', file=sys.stderr)
        return params, INSTEAD


def _member_params(folder: Path, i: int) -> tuple[Any, str]:
    """Of one member of a population: it may have a best where another has none."""
    import jax

    from vae_jax import checkpoints

    best_step = checkpoints.restore_params(folder / 'last', under='progress/best_step')
    last = lambda: checkpoints.restore_params(folder / 'last')
    try:
        best = max(best_step.tolist())
        has_best = best_step[i] >= 0
        found, kept = (checkpoints.restore_params(folder / 'best', step=best), 'best') if has_best else (last(), 'last')
    except Fault as fault:
        if fault.code != ENVIRONMENT:
            raise
        found, kept = last(), INSTEAD
        print(f'warning: {fault.what}; the last parameters are loaded instead of the best', file=sys.stderr)
    return jax.tree.map(lambda a: a[i], found), kept


def _found_from_here(config: dict[str, Any], cwd: Any) -> dict[str, Any]:
    """The configuration of a run that was started in `cwd`, its relative paths made absolute where they must be."""
    for *groups, name in _PATHS:
        group = config.get(groups[0]) if groups else config
        held = group.get(name) if isinstance(group, dict) else None
        if isinstance(held, str) and held and not Path(held).expanduser().exists():
            there = Path(cwd, held) if isinstance(cwd, str) else Path(held)
            if there.exists():
                found = {name: str(there)}
                config = {**config, **({groups[0]: {**config[groups[0]], **found}} if groups else found)}
    return config


def _check_examples(path: Path) -> None:
    import numpy as np

    if not path.exists():
        return
    try:
        with np.load(path, allow_pickle=False) as file:
            rows = {name: len(file[name]) for name in file.files}
    except Exception as error:  # zipfile, zlib and numpy raise whatever befell them
        what = f'{path} cannot be read: {first_line(error)}'
        raise Fault(what, 'restore a copy of the file', ENVIRONMENT) from error
    if len(set(rows.values())) != 1:
        raise Fault(f'{path} has arrays of different lengths: {rows}', 'restore a copy of the file', ENVIRONMENT)


def _installed(name: Any, version: Any) -> tuple[Callable[[Any], Any] | None, str]:
    """(build, '') or (build, a warning) or (None, why not). A file cannot make us import or call whatever it names."""
    module, _, function = str(name).partition(':')
    words = [*module.split('.'), function]
    if not all(word.isidentifier() for word in words):
        return None, "that is no 'module:function'; pass build="
    if words[0] != 'experiments' and module not in sys.modules:
        return None, 'that is not one of the installed experiments; pass build='
    try:
        home = importlib.import_module(module)
    except Exception as error:
        return None, f'its import failed ({first_line(error)}); pass build='
    build = getattr(home, function, None)
    if not inspect.isfunction(build) or build.__module__ != module or _config_class(build) is None:
        return None, 'there is no such function beside a dataclass Config; pass build='
    here = getattr(home, 'VERSION', version)
    return build, f'that was version {version}, here it is {here}' if here != version else ''


def _config_class(build: Callable[[Any], Any]) -> Any:
    build = inspect.unwrap(build)
    home = sys.modules.get(getattr(build, '__module__', ''))
    found = getattr(build, '__globals__', {}).get('Config') or getattr(home, 'Config', None)
    return found if isinstance(found, type) and dataclasses.is_dataclass(found) else None


def _as_config(build: Callable[[Any], Any], config: dict[str, Any]) -> Any:
    kind = _config_class(build)
    return config if kind is None else from_json(kind, config)

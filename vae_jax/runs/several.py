"""Directories of several runs: a population's, and a sweep's, whose tasks/* are populations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vae_jax.errors import ENVIRONMENT, Fault
from vae_jax.files import dumps, read_json, read_metrics
from vae_jax.runs.directory import finished

__all__ = ['Member', 'is_sweep', 'members', 'metrics', 'number', 'tasks', 'units']


class Member(NamedTuple):
    """One run: its number, its point {flag: value}, where it is, and its result."""

    run: int
    point: dict[str, Any]
    folder: Path  # of its population
    place: int  # in that; -1 while it has not begun
    config: dict[str, Any]  # of the lone run that it is
    result: dict[str, Any] | None  # None while it is not evaluated


def is_sweep(stored: Mapping[str, Any]) -> bool:
    """Whether a config.json is a sweep's."""
    return 'sweep' in (stored.get('identity') or {})


def tasks(folder: Path) -> list[Path]:
    """The populations of a sweep that have begun."""
    return sorted(file.parent for file in (folder / 'tasks').glob('*/config.json'))


def members(folder: Path, stored: Mapping[str, Any]) -> list[Member]:
    """The runs of a population's or a sweep's directory, whose config.json is given, in order.

    Those of tasks that have not begun have no result. Raises Fault (code 3) where a file is damaged.
    """
    if not is_sweep(stored):
        return _members(folder, stored)
    held = {dumps(one.point): one for task in tasks(folder) for one in _members(task, read_json(task / 'config.json'))}
    found = []
    for run, point in enumerate(map(_tupled, stored['points'])):
        one = held.get(dumps(point))
        if one is None:
            found.append(Member(run, point, folder / 'tasks', -1, _placed(stored['config'], point), None))
        else:
            found.append(one._replace(run=run))
    return found


def number(found: Sequence[Member], run: int | None, folder: Path) -> Member:
    """The member of a number. Raises Fault where there is none, or none was given."""
    several = f'{folder} holds {len(found)} runs'
    if run is None or not 0 <= run < len(found):
        said = several if run is None else f'{several}, and run is {run}'
        raise Fault(said, f'say which: run=0 to run={len(found) - 1}, or --member of a command')
    if found[run].place < 0:
        raise Fault(f'run {run} of {folder} has not begun', 'start the command of the sweep again', ENVIRONMENT)
    return found[run]


def metrics(found: Sequence[Member]) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl of all their populations, `run` being the number of the member."""
    numbers = {(one.folder, one.place): one.run for one in found}
    folders = dict.fromkeys(one.folder for one in found if one.place >= 0)
    return [
        {**row, 'run': numbers[folder, row['run']]}
        for folder in folders
        for row in read_metrics(folder / 'metrics.jsonl')
    ]


def units(found: Sequence[Member]) -> dict[str, str]:
    """{metric: unit} of all their populations."""
    folders = dict.fromkeys(one.folder for one in found if one.result is not None)
    return {name: unit for folder in folders for name, unit in (finished(folder) or {}).get('units', {}).items()}


def _members(folder: Path, stored: Mapping[str, Any]) -> list[Member]:
    result = finished(folder)
    found = []
    for i, point in enumerate(map(_tupled, stored['points'])):
        file = folder / 'points' / f'{i}.json'
        told = result['points'][i] if result else read_json(file) if file.exists() else None
        rest = None if told is None else {k: v for k, v in told.items() if k not in point and k not in ('run', 'units')}
        found.append(Member(i, point, folder, i, _placed(stored['config'], point), rest))
    return found


def _tupled(point: Mapping[str, Any]) -> dict[str, Any]:
    return {flag: tuple(value) if isinstance(value, list) else value for flag, value in point.items()}


def _placed(config: Mapping[str, Any], point: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as JSON with the values of a point: a flag is its field's path, without 'hyper.' or 'run.'."""
    placed = {name: dict(held) if isinstance(held, Mapping) else held for name, held in config.items()}
    for flag, value in point.items():
        *groups, name = flag.replace('-', '_').split('.')
        for above in ([], ['hyper'], ['run']):
            place: Any = placed
            for group in (*above, *groups):
                place = place.get(group) if isinstance(place, dict) else None
            if isinstance(place, dict) and name in place:
                place[name] = list(value) if isinstance(value, tuple) else value
                break
    return placed

"""The results of all tasks of a sweep as one table, one file of metrics, one report and one result."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vae_jax import files, report, runs, statistics
from vae_jax.errors import ENVIRONMENT, Fault
from vae_jax.runs import several
from vae_jax.sweeps.points import SEED, flags


def gather(directory: runs.Directory) -> tuple[dict[str, Any], str]:
    """Writes metrics.jsonl, sweep.csv, report.html and, last, result.json of a sweep whose tasks have all ended.

    (the result, the winner in words). Raises Fault (code 3) where a run has no result.
    """
    stored = runs.read_json(directory.path / 'config.json')
    found = runs.members(directory.path, stored)
    if lacking := [one for one in found if one.result is None]:
        what = f'{len(lacking)} of {len(found)} runs of {directory.path} have no result'
        raise Fault(what, 'start the same command again: it does what is missing', ENVIRONMENT)
    rows, (metric, direction) = table(found), stored['metric'].values()
    with files.replacing(directory.metrics) as temporary:
        temporary.write_text(''.join(files.dumps(row) + '\n' for row in several.metrics(found)))
    write_csv(directory.path / 'sweep.csv', rows)
    unit = several.units(found).get(metric, '')
    compared = statistics.compared(rows, _swept(found), metric, direction)
    result = summarized(compared, rows, metric, direction, unit)
    draw(directory.path)
    directory.record(result)
    return result, report.winner(compared, metric, direction, unit)


def table(found: Sequence[runs.Member]) -> list[dict[str, Any]]:
    """One row a run: run, task, swept flags, seed, status, diverged_step, metrics."""
    return [
        {
            'run': one.run,
            'task': one.folder.name,
            **one.point,
            'status': None,
            'diverged_step': None,
            **(one.result or {}),
        }
        for one in found
    ]


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """One row a run under a header, numbers as they read back; lists joined by commas."""
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in ('units', 'notes')]
    with files.replacing(path) as temporary, open(temporary, 'w', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(names)
        for row in rows:
            held = [row.get(name) for name in names]
            writer.writerow([','.join(map(str, v)) if isinstance(v, list | tuple) else v for v in held])


def summarized(
    found: Sequence[statistics.Summary], rows: Sequence[Mapping[str, Any]], metric: str, direction: str, unit: str
) -> dict[str, Any]:
    """result.json of a sweep: how many runs there were, and the configuration of the best mean metric over seeds."""
    lost, first = sum(row['status'] != 'done' for row in rows), found[0]
    told = {'runs': len(rows), 'diverged': lost, 'configurations': len(found), 'best': None}
    if first.value.n:
        best = {**first.flags, 'runs': [row['run'] for row in first.rows], 'seeds': [row[SEED] for row in first.rows]}
        if first.value.n > 1:
            best['t_interval_95'] = [first.value.low, first.value.high]
        told |= {metric: first.value.mean, 'best': best}
    return told | {'metric': {'name': metric, 'direction': direction}, 'units': {metric: unit} if unit else {}}


def draw(path: Path) -> Path:
    """report.html and figures/*.png of a sweep, or of a population, as far as its runs have results."""
    stored = runs.read_json(path / 'config.json')
    found = runs.members(path, stored)
    swept, (metric, direction) = _swept(found), stored['metric'].values()
    rows = [row for row in table(found) if row['status'] is not None]
    if not rows:
        raise Fault(f'no run of {path} is finished, so it has nothing to report', 'start its command again')
    return report.sweep_report(
        path,
        title=f'Sweep over {", ".join(swept) or "seeds"}',
        rows=rows,
        flags=swept,
        metric=metric,
        direction=direction,
        units=several.units(found),
        metrics=several.metrics(found),
        config=stored['config'],
        command=stored.get('command', ''),
    )


def _swept(found: Sequence[runs.Member]) -> list[str]:
    return flags([one.point for one in found])

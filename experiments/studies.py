"""Studies: finished sweeps whose results are committed, and shown in experiments/README.md.

Claim     A study's table is computed from its run directories: means over seeds, 95 % t intervals, paired differences,
          and which of them are differences when all pairs of rows were compared.
Command   python -m experiments.studies vampprior RUN [RUN ...] --metrics test_nll test_elbo active_units
          python -m experiments.protocols                         (writes experiments/README.md)
Expected  experiments/results/studies/vampprior.json
"""

import argparse
import ast
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from experiments import documents
from vae_jax import runs, statistics
from vae_jax.errors import Fault, nearest
from vae_jax.runs import several

HERE = Path(__file__).parent
SHORT = ('version', 'sweep')


def flags_of(stored: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    """What distinguishes a run: the flags of its command that differ from their defaults, and its point."""
    return {name: value for name, value in stored['identity'].items() if name not in SHORT} | point


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """{flags, config, seed, result} of each run of a sweep, or of the only run. Raises Fault where it is unfinished."""
    if runs.finished(folder) is None:
        raise Fault(f'{folder} is not finished', 'start its command again')
    stored = runs.read_json(folder / 'config.json')
    config = stored['config']
    values = {name.replace('_', '-'): value for name, value in {**config, **config['hyper']}.items()}
    if 'points' not in stored:
        result = runs.read_json(folder / 'result.json')
        return [{'flags': flags_of(stored, {}), 'config': values, 'seed': config['run']['seed'], 'result': result}]
    found = []
    for member in runs.members(folder, stored):
        point = {name: value for name, value in member.point.items() if name != 'seed'}
        told = {'flags': flags_of(stored, point), 'config': values}
        found.append({**told, 'seed': member.point['seed'], 'result': member.result or {}})
    return found


def with_active_units(folder: Path, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, with the active units of the test split where a result was stored without them."""
    import vae_jax as vj

    found: list[dict[str, Any]] = []
    for i, row in enumerate(rows):
        if 'active_units' not in row['result'] and row['result']:
            run = vj.load(folder, run=i if 'points' in runs.read_json(folder / 'config.json') else None)
            codes = vj.encode(run.model, run.params, run.experiment.data.test)
            row = {**row, 'result': {**row['result'], 'active_units': vj.evaluation.active_units(codes)}}
        found.append(row)
    return found


def training_seconds(folder: Path) -> float:
    """Wall time of training of all runs of a directory."""
    parts = several.tasks(folder) or [folder]
    walls = [[row['wall_s'] for row in runs.read_metrics(part / 'metrics.jsonl') if 'wall_s' in row] for part in parts]
    return math.fsum(wall[-1] for wall in walls if wall)


def summarize(rows: Sequence[dict[str, Any]], metrics: Sequence[str], direction: str) -> list[dict[str, Any]]:
    """A row a configuration, the best by the first metric first: {flags, seeds, lost, metrics: {mean, low, high}}.

    Raises Fault where no run has a metric.
    """
    for metric in metrics:
        known = dict.fromkeys(name for row in rows for name in row['result'])
        if metric not in known:
            raise Fault(f'no run has the metric {metric!r}', nearest(metric, known))
    names = sorted({name for row in rows for name in row['flags']})
    value = lambda row, name: _plain(row['flags'].get(name, row['config'].get(name)))
    differing = [name for name in names if len({repr(value(row, name)) for row in rows}) > 1]
    flat = [{name: value(row, name) for name in differing} | {'seed': row['seed']} | row['result'] for row in rows]
    summary = []
    for one in statistics.compared(flat, differing, metrics[0], direction):
        values = {}
        for metric in metrics:
            found = statistics.interval(row[metric] for row in one.rows if isinstance(row.get(metric), int | float))
            values[metric] = {**_plainly(found), 'n': found.n}
        gap = one.difference and {**_plainly(one.difference), 'p': one.p}
        summary.append({'flags': one.flags, 'seeds': one.value.n, 'lost': one.lost, 'values': values, 'to_best': gap})
    return summary


def _plainly(found: statistics.Interval) -> dict[str, float | None]:
    """As JSON has it, which knows no nan."""
    finite = lambda x: x if math.isfinite(x) else None
    return {'mean': finite(found.mean), 'low': finite(found.low), 'high': finite(found.high)}


def _plain(value: Any) -> Any:
    return ' '.join(map(str, value)) if isinstance(value, list | tuple) else value


def store(name: str, folders: Sequence[Path], metrics: Sequence[str], note: str = '') -> Path:
    """Writes experiments/results/studies/<name>.json of finished run directories."""
    stored = [runs.read_json(folder / 'config.json') for folder in folders]
    more = with_active_units if 'active_units' in metrics else lambda folder, rows: rows
    rows = [row for folder in folders for row in more(folder, rows_of(folder))]
    direction = stored[0]['metric']['direction'] if stored[0]['metric']['name'] == metrics[0] else 'min'
    document = {
        'commands': [_shown(one['command']) for one in stored],
        'date': documents.today(),
        'machine': documents.processor(),
        'versions': documents.versions(),
        'training_s': round(math.fsum(training_seconds(folder) for folder in folders)),
        'runs': len(rows),
        'note': note,
        'metrics': list(metrics),
        'rows': summarize(rows, metrics, direction),
    }
    path = HERE / 'results' / 'studies' / f'{name}.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    runs.write_json(path, document)
    return path


def _shown(command: str) -> str:
    """A command without what is of one machine alone: where data and results lie."""
    words, kept, skip = command.split(), [], False
    for word in words:
        if skip:
            skip = False
        elif word in ('--out', '--data-dir'):
            skip = True
        elif word != '--quiet':
            kept.append(word)
    return ' '.join(kept)


def _claim(name: str) -> str:
    """The claim of experiments/<name>.py, from its docstring; nothing where there is no such file."""
    path = HERE / f'{name}.py'
    if not path.exists():
        return ''
    told = (ast.get_docstring(ast.parse(path.read_text())) or '').partition('\nClaim ')[2].splitlines()
    end = next((i for i, line in enumerate(told) if i and not line.startswith(' ')), len(told))
    return ' '.join(' '.join(told[:end]).split())


def _number(value: dict[str, Any]) -> str:
    if not value['n']:
        return '-'
    half = (value['high'] - value['low']) / 2 if value['n'] > 1 else 0.0
    digits = 3 if abs(value['mean']) < 1 else 2
    return f'{value["mean"]:.{digits}f}' + (f' +- {half:.{digits}f}' if value['n'] > 1 else '')


def _gap(row: dict[str, Any]) -> str:
    found = row['to_best']
    if found is None or found['low'] is None:
        return ''
    told = f'{found["mean"]:.2f} [{found["low"]:.2f}, {found["high"]:.2f}]'
    p = found.get('p')  # studies that were stored before there was one have none
    return told + (f', p {p:.2g}' if p is not None else '')


def section(name: str, document: dict[str, Any]) -> str:
    """One study as Markdown: claim, commands, table."""
    metrics, rows = document['metrics'], document['rows']
    flags = list(dict.fromkeys(flag for row in rows for flag in row['flags']))
    columns = [*flags, *(metric.removeprefix('test_') for metric in metrics), 'seeds', f'{metrics[0]}, to the best']
    lines = []
    for row in rows:
        cells = [str(row['flags'].get(flag, '')) for flag in flags]
        cells += [_number(row['values'][metric]) for metric in metrics]
        lost = f' ({row["lost"]} diverged)' if row['lost'] else ''
        lines.append([*cells, str(row['seeds']) + lost, _gap(row)])
    told = [f'### {name}', _claim(name), '\n'.join(f'`{command}`' for command in document['commands'])]
    told += [documents.markdown(columns, lines), document['note']]
    versions = ', '.join(f'{package} {version}' for package, version in document['versions'].items())
    told.append(
        f'{document["runs"]} runs, {document["training_s"]:,} s of training; {document["machine"]}, '
        f'{document["date"]}; {versions}.'
    )
    return '\n\n'.join(part for part in told if part)


def sections(folder: Path = HERE / 'results' / 'studies') -> Iterable[str]:
    """All stored studies, by name."""
    for path in sorted(folder.glob('*.json')):
        yield section(path.stem, json.loads(path.read_text()))


def main() -> int:
    from vae_jax import process

    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('name', help='of the study: that of its file in experiments/')
    parser.add_argument('folders', nargs='+', type=Path, help='finished run directories')
    parser.add_argument('--metrics', nargs='+', default=['test_nll', 'test_elbo'], help='the first one orders the rows')
    parser.add_argument('--note', default='', help='a sentence below the table')
    given = parser.parse_args()
    try:
        print(store(given.name, given.folders, given.metrics, given.note))
    except Fault as fault:
        process.tell(f'error: {fault}')
        return fault.code
    return 0


if __name__ == '__main__':
    raise SystemExit(main())

"""`python -m benchmarks.run`: all contestants on the same two cores, an epoch each in turn; a table and its figures."""

import argparse
import json
import os
import shlex
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import driver, machine, plan, table

HERE = Path(__file__).parent
SETTLE = 0.3  # seconds in which the threads of the one before stop spinning and fall asleep
OURS = ('/ours', '/population', '/sequential')
QUIET = 0.1  # the share of the cores in use at which a lap may start


def calm(cores: list[int], patience: float) -> float:
    """Waits until others leave the cores, or for `patience` seconds; the patience that is left."""
    while True:
        before = machine.busy(cores)
        time.sleep(SETTLE)
        if patience <= 0 or machine.busy(cores) - before < QUIET * SETTLE * len(cores):
            return patience
        patience -= SETTLE


def measured(contestants, task: dict, laps: int, cores: list[int], limit: float, patience: float, say) -> dict:
    """{contestant: its laps and facts, or why it failed}, after one warm-up lap each and `laps` interleaved ones."""
    workers = {c.name: driver.start(c, task) for c in contestants}
    found = {c.name: {'label': c.label, 'seconds': [], 'cpu': [], 'others': []} for c in contestants}
    try:
        for name, worker in workers.items():
            found[name].update(driver.answer(worker, limit))
        for round_ in range(laps + 1):
            for name, worker in workers.items():
                if 'failed' in found[name]:
                    continue
                patience = calm(cores, patience)
                before = machine.busy(cores)
                reply = driver.lap(worker, limit)
                took = machine.busy(cores) - before
                if 'failed' in reply:
                    found[name]['failed'] = reply['failed']
                    say(f'  {name}: failed: {reply["failed"]}')
                    continue
                seconds, cpu = reply.pop('seconds'), reply.pop('cpu')
                found[name].update(reply)
                if round_ == 0:
                    found[name]['warm_up'] = seconds
                    continue
                found[name]['seconds'].append(seconds)
                found[name]['cpu'].append(cpu / seconds)
                found[name]['others'].append(max(0.0, took - cpu) / seconds / len(cores))
            done = [f'{name} {row["seconds"][-1]:.2f}' for name, row in found.items() if row['seconds']]
            say(f'  {"warm-up" if round_ == 0 else f"lap {round_} of {laps}"}  {"  ".join(done)}')
    finally:
        for worker in workers.values():
            driver.end(worker)
    for row in found.values():
        if row['seconds']:
            row |= {'median': statistics.median(row['seconds']), 'min': min(row['seconds']), 'max': max(row['seconds'])}
    return found


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='python -m benchmarks.run', description=__doc__)
    parser.add_argument('--laps', type=int, help='interleaved epochs of each contestant (default 5; quick: 2)')
    parser.add_argument(
        '--cores', type=lambda s: [int(c) for c in s.split(',')], help='e.g. 2,3 (default: the first two)'
    )
    parser.add_argument(
        '--only',
        action='append',
        choices=plan.NAMES,
        help='this section; its figures replace its own of earlier results, the others stay (may be repeated)',
    )
    parser.add_argument('--data-dir', help='prepared MNIST, for the quality of bfloat16 (default: the bundled digits)')
    parser.add_argument('--out', type=Path, help='folder for README.md and results/ (default: benchmarks/)')
    parser.add_argument(
        '--patience', type=float, default=20.0, help='seconds a section may wait for quiet cores (default 20)'
    )
    parser.add_argument(
        '--quick', action='store_true', help='small data, two laps; nothing is written unless --out is given'
    )
    return parser.parse_args(argv)


def _told(argv: list[str]) -> str:
    """The command as results may tell it: folders of this machine are nobody else's."""
    folders = {argv[i + 1] for i, word in enumerate(argv[:-1]) if word in ('--data-dir', '--out')}
    return shlex.join(['python', '-m', 'benchmarks.run', *('DIR' if word in folders else word for word in argv)])


def earlier(out: Path, results: dict) -> dict | None:
    """What `out` holds of an earlier benchmark, to be merged with; it must be of this processor."""
    path = out / 'results' / 'cpu.json'
    if not path.exists():
        return None
    old = json.loads(path.read_text())
    for what, found, here in (
        ('processor', old['machine']['cpu'], results['machine']['cpu']),
        ('size (--quick)', old['quick'], results['quick']),
    ):
        if found != here:
            raise SystemExit(f'{path} is of another {what} ({found}, here {here}): give another --out')
    return old


def merged(old: dict, new: dict) -> dict:
    """The old results with the new sections in place of theirs; these say that they were measured apart."""
    apart = {'apart': {name: value for name, value in new.items() if name != 'sections'}}
    sections = {**old['sections'], **{name: section | apart for name, section in new['sections'].items()}}
    return {**old, 'sections': {name: sections[name] for name in plan.NAMES if name in sections}}


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    cores = machine.pin(2, args.cores)
    say = lambda line: print(line, file=sys.stderr, flush=True)
    began, load = time.monotonic(), os.getloadavg()
    results = {
        'command': _told(sys.argv[1:] if argv is None else argv),
        'date': datetime.now(UTC).isoformat(timespec='seconds'),
        'quick': args.quick,
        'machine': machine.describe(cores),
        'load_before': load,
        'sections': {},
    }
    out = args.out or (None if args.quick else HERE)
    old = earlier(out, results) if args.only and out is not None else None
    for section in plan.sections(args.quick, args.data_dir):
        if args.only and not {section.name, section.group} & set(args.only):
            continue
        say(f'{section.title}')
        laps = section.laps if section.laps is not None else args.laps or (2 if args.quick else 5)
        found = measured(section.contestants, section.task, laps, cores, section.limit, args.patience, say)
        results['sections'][section.name] = {'title': section.title, 'task': section.task, 'contestants': found}
    results |= {'load_after': os.getloadavg(), 'minutes': (time.monotonic() - began) / 60}
    failed = [f'{s}/{c}' for s, d in results['sections'].items() for c, r in d['contestants'].items() if 'failed' in r]
    results = merged(old, results) if old is not None else results
    text = table.markdown(results)
    print(text)
    if out is not None:
        (out / 'results').mkdir(parents=True, exist_ok=True)
        (out / 'results' / 'cpu.json').write_text(json.dumps(results, indent=1) + '\n')
        (out / 'README.md').write_text(text)
        say(f'written: {out / "README.md"} and {out / "results" / "cpu.json"}')
    return 1 if any(name.endswith(OURS) for name in failed) else 0


if __name__ == '__main__':
    sys.exit(main())

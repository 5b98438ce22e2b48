"""Runs the items that have not been run, two at a time, and writes the page."""

import argparse
import concurrent.futures
import os
import subprocess
import sys
from pathlib import Path

from experiments.tour import ITEMS, page, telling
from vae_jax import process
from vae_jax.errors import USAGE, Fault


def run(item: str, asked: telling.Asked, folder: Path) -> str:
    """Runs one item in a process of its own; what went wrong in a line, or ''."""
    place = folder / item
    place.mkdir(parents=True, exist_ok=True)
    flags = ['--seed', str(asked.seed), '--out', str(place), *(['--smoke'] if asked.smoke else [])]
    flags += ['--data-dir', asked.data_dir] if asked.data_dir else []
    with (place / 'log').open('w') as log:
        code = subprocess.run(
            [sys.executable, '-m', f'experiments.tour.{item}', *flags], stdout=log, stderr=subprocess.STDOUT
        ).returncode
    if code in (0, 1) and telling.kept(item, asked, place):
        return '' if code == 0 else f'{item}: a claim did not hold; see {place / "log"}'
    last = (place / 'log').read_text().strip().splitlines()[-1:]
    return f'{item}: exit code {code}, {"".join(last) or "no output"}; see {place / "log"}'


def pinned(cores: list[int]) -> None:
    """A thread on a core of its own, which the processes that it starts inherit: two on two do not get in each other's
    way."""
    if cores and hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, {cores.pop()})


def tour(items: list[str], asked: telling.Asked, folder: Path, jobs: int) -> list[str]:
    """Runs what is not there yet, the longest first, and writes the page: what went wrong."""
    for item in items:
        telling.module_of(item)  # a misspelt name is refused before anything runs
    before = page.stored()
    waiting = [item for item in items if not telling.kept(item, asked, folder / item)]
    waiting.sort(key=lambda item: -before.get(item, {}).get('seconds', 60))
    cores = sorted(os.sched_getaffinity(0))[-jobs:] if hasattr(os, 'sched_getaffinity') else []
    wrong = []
    with concurrent.futures.ThreadPoolExecutor(jobs, initializer=pinned, initargs=(cores,)) as pool:
        at = {pool.submit(run, item, asked, folder): item for item in waiting}
        for done, future in enumerate(concurrent.futures.as_completed(at), 1):
            process.tell(f'{done}/{len(at)} {at[future]}: {future.result() or "done"}')
            wrong += [future.result()] if future.result() else []
    found = {item: told for item in ITEMS if (told := telling.kept(item, asked, folder / item))}
    print(page.write(found, folder))
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog='python -m experiments.tour', description=(__doc__ or '').splitlines()[0])
    parser.add_argument('items', nargs='*', metavar='ITEM', help=f'{", ".join(ITEMS)} (default: all)')
    parser.add_argument('--data-dir', help='prepared datasets and tables; what is not there has a stand-in')
    parser.add_argument('--out', type=Path, default=Path('runs') / 'tour', help='an item that has run is kept here')
    parser.add_argument('--jobs', type=int, default=2, help='items at once, one core each')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--smoke', action='store_true', help='each in seconds')
    parser.add_argument(
        '--store', action='store_true', help='then write docs/tour.md and experiments/results/tour.json'
    )
    given = parser.parse_args()
    try:
        if given.jobs < 1:
            raise Fault(f'--jobs is {given.jobs}', 'give 1 or more')
        asked = telling.Asked(given.data_dir, given.smoke, given.seed)
        wrong = tour(given.items or list(ITEMS), asked, given.out, given.jobs)
        if given.store:
            found = {item: told for item in ITEMS if (told := telling.kept(item, asked, given.out / item))}
            if given.smoke or page.lost(found) or any(told['notes'] for told in found.values()):
                raise Fault('only a whole tour on real data is stored', 'prepare the data that notes name', USAGE)
            page.store(found, given.out)
    except Fault as fault:
        process.tell(f'error: {fault}')
        return fault.code
    return 1 if wrong else 0


if __name__ == '__main__':
    raise SystemExit(main())

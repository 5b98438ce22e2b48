"""Seeded mistakes: each is one replacement in one file, and the test that must fail of it.

    python -m tests.mutations [--only TEXT] [--jobs 2]

copies the project, sees that the tests pass, then makes one mistake after the other, and prints each with what its test
said and, last, the score. Code 1 where a mistake went unseen. About eight seconds a mistake.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
COPIED = ('vae_jax', 'experiments', 'tests', 'docs', 'benchmarks', 'pyproject.toml', 'README.md', 'CHANGELOG.md')
LIMIT_S = 600  # a mistake that makes a test run on for ever is one that it sees
FAILED = 1  # pytest's code where tests ran and one of them failed; collecting none or a crash is another


class Mutation(NamedTuple):
    """`old`, which is once in `file`, becomes `new`; the pytest node `test` must then fail."""

    file: str
    old: str
    new: str
    test: str


def rows() -> list[Mutation]:
    """All mistakes, those of the core first."""
    from tests.seeded import (
        classical_em,
        classical_mixtures,
        classical_posteriors,
        core,
        disentanglement,
        inference,
        likelihood,
        samples,
    )

    parts = (core, likelihood, inference, samples, disentanglement)
    parts += (classical_mixtures, classical_em, classical_posteriors)
    return [row for part in parts for row in part.MUTATIONS]


def copied(folder: Path) -> Path:
    """A copy of the project, without what git would ignore."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns('__pycache__', '*.tmp*'))
        elif source.exists():
            shutil.copy(source, folder / name)
    return folder


def code_of(folder: Path, *tests: str) -> int:
    """pytest's exit code for these nodes in a copy of the project."""
    env = {**os.environ, 'PYTHONPATH': str(folder), 'PYTHONDONTWRITEBYTECODE': '1'}
    options = ['-x', '-q', '-p', 'no:cacheprovider', '-p', 'no:xdist', *tests]
    try:
        return subprocess.run(
            [sys.executable, '-m', 'pytest', *options], cwd=folder, env=env, capture_output=True, timeout=LIMIT_S
        ).returncode
    except subprocess.TimeoutExpired:
        return FAILED


def is_seen(folder: Path, row: Mutation) -> bool:
    """Whether the test fails of the mistake, which is then undone."""
    path = folder / row.file
    text = path.read_text()
    if text.count(row.old) != 1:
        raise ValueError(f'{row.old!r} is {text.count(row.old)} times in {row.file}, expected once')
    path.write_text(text.replace(row.old, row.new))
    try:
        return code_of(folder, row.test) == FAILED
    finally:
        path.write_text(text)


def main() -> int:
    """The score, as a line; code 1 where one was unseen, 2 where the tests fail of themselves."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--only', default='', help='mistakes whose file or test has this text')
    parser.add_argument('--jobs', type=int, default=2, help='mistakes at a time')
    args = parser.parse_args()
    chosen = [row for row in rows() if args.only in row.file or args.only in row.test]
    if not chosen:
        print(f'no mistake has {args.only!r} in its file or test', file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as place:
        folders: SimpleQueue[Path] = SimpleQueue()
        for i in range(max(1, args.jobs)):
            folders.put(copied(Path(place) / str(i)))
        first = folders.get()
        if code_of(first, *dict.fromkeys(row.test for row in chosen)) != 0:
            print('the tests fail without any mistake: run them', file=sys.stderr)
            return 2
        folders.put(first)

        def judged(row: Mutation) -> bool:
            folder = folders.get()
            try:
                seen = is_seen(folder, row)
            finally:
                folders.put(folder)
            said = 'seen  ' if seen else 'UNSEEN'
            print(f'{said} {row.file}: {row.old.strip()!r} -> {row.new.strip()!r}', flush=True)
            return seen

        with ThreadPoolExecutor(max(1, args.jobs)) as pool:
            found = list(pool.map(judged, chosen))
    print(f'{sum(found)} of {len(found)} seeded mistakes are seen')
    return 0 if all(found) else 1


if __name__ == '__main__':
    sys.exit(main())

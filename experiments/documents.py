"""How results are kept and shown: what made them, where and when, beside the values; as JSON, and as Markdown."""

import argparse
import datetime
import os
import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / 'results'


def processor() -> str:
    """The name of this machine's processor."""
    lines = Path('/proc/cpuinfo').read_text().splitlines() if Path('/proc/cpuinfo').exists() else []
    names = {line.partition(':')[2].strip() for line in lines if line.startswith('model name')}
    return ', '.join(sorted(names)) or platform.processor()


def machine() -> str:
    """This machine's processor, and how many of its cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    return f'{cores} core{"s" if cores != 1 else ""} of {processor()}'


def today() -> str:
    """The date, as 2026-01-31."""
    return datetime.date.today().isoformat()


def versions() -> dict[str, str]:
    """Of Python and of the packages that numbers depend on."""
    from vae_jax import runs

    found = runs.environment()['versions']
    return {name: found[name] for name in ('python', 'jax', 'flax', 'optax') if name in found}


def made_by(command: str, **values: Any) -> dict[str, Any]:
    """Values, behind the command, date, machine and versions that they are of."""
    return {'command': command, 'date': today(), 'machine': machine(), 'versions': versions(), **values}


def store(path: Path, document: dict[str, Any]) -> Path:
    """Writes a document whole or not at all, in a folder made for it."""
    from vae_jax import runs

    path.parent.mkdir(parents=True, exist_ok=True)
    runs.write_json(path, document)
    return path


def markdown(header: Iterable[Any], rows: Iterable[Iterable[Any]]) -> str:
    """A Markdown table of cells that are text already; in them | is no border."""
    names = list(header)
    told = [[str(cell).replace('|', '\\|') for cell in row] for row in [names, ['---'] * len(names), *rows]]
    return '\n'.join(f'| {" | ".join(row)} |' for row in told)


def measure(
    name: str, doc: str | None, measured: Callable[[bool], dict[str, Any]], table: Callable[[dict[str, Any]], str]
) -> None:
    """The command line of an experiment without data to load: measures, stores results/<name>.json, prints the table.

    `measured(smoke)` gives the values; under --smoke they go to runs/<name>.json.
    """
    from vae_jax import process, runs

    parser = argparse.ArgumentParser(description=(doc or '').splitlines()[0])
    parser.add_argument('--smoke', action='store_true', help='in seconds')
    parser.add_argument('--out', type=Path, help='where the numbers go')
    given = parser.parse_args()
    process.start_jax()
    started, command = time.monotonic(), f'python -m experiments.{name}'
    values = measured(given.smoke)
    document = made_by(command, time_s=round(time.monotonic() - started), **values)
    out = given.out or (Path('runs') if given.smoke else RESULTS) / f'{name}.json'
    print(table(runs.read_json(store(out, document))))

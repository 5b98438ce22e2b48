"""What an item of the tour is asked, what it tells, and how both lie in a folder.

tell(asked) -> Told;   CLAIMS: {sentence: holds(numbers)};   the text: experiments/tour/text/<item>.md
"""

import argparse
import hashlib
import importlib
import json
import math
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
VERSION = 1


class Asked(NamedTuple):
    """Where prepared data lie (None: $TFDS_DATA_DIR), whether to run in seconds, and the first seed."""

    data_dir: str | None = None
    smoke: bool = False
    seed: int = 0
    quiet: bool = True


class Told(NamedTuple):
    """What was measured: numbers, `name_se` the standard error of `name`; figures, the first the one to look at."""

    numbers: dict[str, float | int]
    figures: list[Any]  # report.Figure
    tables: list[Any] = []  # report.Table
    notes: list[str] = []  # of data that are a stand-in
    seeds: int = 1


def themed(heading: str, caption: str, alt: str, draw: Callable[[Any], bytes]) -> Any:
    """A figure with axes: `draw(theme)` in the colours of light and of dark pages."""
    from vae_jax import plot
    from vae_jax.report import Figure

    return Figure(heading, caption, alt, draw(plot.LIGHT), draw(plot.DARK))


def picture(heading: str, caption: str, alt: str, png: bytes) -> Any:
    """A figure of pixels alone, the same on light and on dark pages."""
    from vae_jax.report import Figure

    return Figure(heading, caption, alt, png)


def table(asked: Asked, name: str) -> tuple[dict[str, Any], list[str]]:
    """(columns, notes) of a prepared table; of its stand-in, and a note that says so, where it is not prepared."""
    from vae_jax.data import tables
    from vae_jax.errors import ENVIRONMENT, Fault

    try:
        return tables.table(name, asked.data_dir).columns, []
    except Fault as fault:
        if fault.code != ENVIRONMENT or 'SHA-256' in fault.what:
            raise
        return tables.table_stand_in(name).columns, [f'data: stand-in for {name}']


def prepared(asked: Asked, *names: str) -> str:
    """The first of some datasets that is at hand, else the last; under smoke the last, which is small."""
    from vae_jax.data import CATALOGUE, cache

    place = cache.root(asked.data_dir)
    there = [name for name in names if CATALOGUE[name].ready or cache.find(place, name)]
    return names[-1] if asked.smoke or not there else there[0]


def module_of(item: str) -> Any:
    """The module of an item. Raises Fault for one that there is not."""
    from experiments.tour import ITEMS
    from vae_jax.errors import Fault, nearest

    if item not in ITEMS:
        raise Fault(f'the tour has no item {item!r}', nearest(item, ITEMS))
    return importlib.import_module(f'experiments.tour.{item}')


def header(module: Any) -> dict[str, str]:
    """The first lines of an item: its title, and what it says behind Claim, Equation, Command, Expected and Time."""
    lines = (module.__doc__ or '').strip().splitlines()
    found, name = {'title': lines[0].rstrip('.')}, ''
    for line in lines[1:]:
        if line[:10].strip() and not line.startswith(' '):
            name, line = line[:10].strip().lower(), line[10:]
        if name and line.strip():
            found[name] = f'{found.get(name, "")} {line.strip()}'.strip()
    return found


def told_as(item: str, told: Told, seconds: float) -> dict[str, Any]:
    """What an item told, as JSON: all but the pictures' bytes, with its claims and what became of them."""
    from experiments import documents

    module = module_of(item)
    for name, value in told.numbers.items():
        if not math.isfinite(value):
            raise ValueError(f'{item}: {name} is {value}')
    return {
        'item': item,
        'version': VERSION,
        'numbers': {name: value.item() if hasattr(value, 'item') else value for name, value in told.numbers.items()},
        'claims': {sentence: bool(holds(told.numbers)) for sentence, holds in module.CLAIMS.items()},
        'figures': [{'heading': f.heading, 'caption': f.caption, 'alt': f.alt} for f in told.figures],
        'tables': [
            {'heading': t.heading, 'header': list(t.header), 'rows': [list(r) for r in t.rows]} for t in told.tables
        ],
        'notes': list(told.notes),
        'seeds': told.seeds,
        'seconds': round(seconds, 1),
        'date': documents.today(),
        'machine': documents.machine(),
        'versions': documents.versions(),
    }


def keep(item: str, asked: Asked, folder: Path) -> dict[str, Any]:
    """Runs an item and writes its figures, then told.json last: where that is, the item is finished."""
    from vae_jax import plot, runs

    started = time.monotonic()
    told = module_of(item).tell(asked)
    found = told_as(item, told, time.monotonic() - started)
    found['asked'] = question(item, asked)
    for i, figure in enumerate(told.figures):
        plot.put(folder / f'{item}-{i}.png', figure.light)
        if figure.dark is not None:
            plot.put(folder / f'{item}-{i}-dark.png', figure.dark)
    runs.write_json(folder / 'told.json', found)
    return found


def question(item: str, asked: Asked) -> dict[str, Any]:
    """What tells one run of an item from another: how it was asked, its code, and that of its parts."""
    code = (HERE / f'{item}.py').read_bytes()
    named = re.findall(r'^ *from experiments(?:\.tour\.parts)?(?:\.\w+)? import .+$', code.decode(), re.MULTILINE)
    others = sorted({word for line in named for word in re.findall(r'\w+', line)})
    files = [place / f'{name}.py' for name in others for place in (HERE.parent, HERE / 'parts')]
    digest = hashlib.sha256(b''.join([code, *(path.read_bytes() for path in files if path.exists())])).hexdigest()
    return {'smoke': asked.smoke, 'seed': asked.seed, 'code': digest}


def kept(item: str, asked: Asked, folder: Path) -> dict[str, Any] | None:
    """What an item told under the same question, or None where it has not been run."""
    path = folder / 'told.json'
    found = json.loads(path.read_text()) if path.exists() else None
    same = found and found['version'] == VERSION and found['asked'] == question(item, asked)
    return found if same else None


def number(value: float, se: float | None) -> str:
    """A number for people, with its standard error where there is one."""
    from vae_jax.report.page import with_error

    value = int(value) if se is None and float(value).is_integer() else value
    return ' '.join(filter(None, with_error(value, se)))


def lines(found: Mapping[str, Any]) -> str:
    """What an item told, for a terminal."""
    numbers = found['numbers']
    told = [f'{n:36} {number(v, numbers.get(f"{n}_se"))}' for n, v in numbers.items() if not n.endswith('_se')]
    told += [f'{"holds" if holds else "DOES NOT HOLD"}: {sentence}' for sentence, holds in found['claims'].items()]
    return '\n'.join([*told, *found['notes'], f'{found["seconds"]} s'])


def main(tell: Callable[[Asked], Told]) -> None:
    """The command line of one item: python -m experiments.tour.ITEM [--smoke] [--data-dir DIR] [--out DIR]."""
    import sys

    from vae_jax import process
    from vae_jax.errors import Fault

    item = Path(sys.modules['__main__'].__file__ or '').stem
    parser = argparse.ArgumentParser(description=header(sys.modules['__main__'])['title'])
    parser.add_argument('--data-dir', help='prepared datasets and tables')
    parser.add_argument('--smoke', action='store_true', help='in seconds')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, help='where figures and told.json go (default: runs/tour/ITEM)')
    given = parser.parse_args()
    try:
        process.start_jax()
        asked = Asked(given.data_dir, given.smoke, given.seed, quiet=False)
        found = keep(item, asked, given.out or Path('runs') / 'tour' / item)
    except Fault as fault:
        process.tell(f'error: {fault}')
        raise SystemExit(fault.code) from None
    print(lines(found))
    raise SystemExit(0 if all(found['claims'].values()) else 1)

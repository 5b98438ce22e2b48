"""Small tables by name: heights, eruptions, house prices. Real where prepared, else drawn from a bundled generator.

`prepare howell1 --from DIR` copies the file, held to its SHA-256, to <data_dir>/tables/; every reading checks it again.
"""

import csv
import dataclasses
import hashlib
import io
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vae_jax.data.cache import root, writable
from vae_jax.errors import ENVIRONMENT, Fault, nearest
from vae_jax.files import replacing

Columns = dict[str, np.ndarray]


class Table(NamedTuple):
    """Columns [n] by name: float64 where every cell is a number or missing (nan), else text; and whether generated."""

    name: str
    columns: Columns
    stand_in: bool = False


@dataclasses.dataclass(frozen=True)
class Sheet:
    """One table: its file, the SHA-256 of it, what it is, how cells are divided, and the generator of its stand-in."""

    name: str
    file: str
    sha256: str
    about: str
    drawn: Callable[[np.random.RandomState], Mapping[str, np.ndarray]]
    divided: str = ','


def _howell(draw: np.random.RandomState) -> Columns:
    n = 544
    age, male = np.where(draw.rand(n) < 0.65, draw.uniform(18, 80, n), draw.uniform(0, 18, n)), draw.randint(0, 2, n)
    grown = 150.0 + 10.5 * male
    height = np.where(age < 18, 60 + (grown - 60) * np.sqrt(age / 18), grown) + 5.5 * draw.randn(n)
    weight = 45.0 * (height / 155) ** 2.3 * np.exp(0.1 * draw.randn(n))
    return {'height': height, 'weight': weight, 'age': np.floor(age), 'male': male.astype(float)}


def _galton(draw: np.random.RandomState) -> Columns:
    families, n = 200, 900
    fathers, mothers = 69.2 + 2.6 * draw.randn(families), 64.1 + 2.3 * draw.randn(families)
    family, male = np.sort(draw.randint(0, families, n)), draw.rand(n) < 0.51
    father, mother = fathers[family], mothers[family]
    middle = (father + 1.08 * mother) / 2
    child = 69.2 + 0.65 * (middle - 69.2) + 2.2 * draw.randn(n)
    columns = {
        'family': np.char.zfill(family.astype(str), 3),
        'father': father,
        'mother': mother,
        'midparentHeight': middle,
    }
    return columns | {'gender': np.where(male, 'male', 'female'), 'childHeight': np.where(male, child, child / 1.08)}


def _students(draw: np.random.RandomState) -> Columns:
    male = draw.rand(1050) < 0.77
    height = np.where(male, 69.3 + 3.6 * draw.randn(1050), 64.9 + 3.8 * draw.randn(1050))
    return {'sex': np.where(male, 'Male', 'Female'), 'height': height}


def _places(draw: np.random.RandomState, n: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(which of `count` places [n], their coordinates and log-price [count, 3]): what houses share with neighbours."""
    middles = np.column_stack([draw.uniform(-1, 1, (count, 2)), 0.5 * draw.randn(count)])
    return draw.choice(count, n, p=draw.dirichlet(np.full(count, 3.0))), middles


def _california(draw: np.random.RandomState) -> Columns:
    n = 20_640  # as many as there are
    place, middles = _places(draw, n, 6)
    at = middles[place] + 0.12 * draw.randn(n, 3)
    rooms, people = np.exp(7.6 + 0.6 * draw.randn(n)), np.exp(7.1 + 0.6 * draw.randn(n))
    income = np.exp(1.25 + 0.6 * middles[place, 2] + 0.35 * draw.randn(n))
    value = np.minimum(np.exp(12.0 + at[:, 2] + 0.25 * draw.randn(n)), 500_001.0)
    columns = {'longitude': -119.5 + 4 * at[:, 0], 'latitude': 36.0 + 3 * at[:, 1]}
    columns |= {'housing_median_age': draw.uniform(1, 52, n).round(), 'total_rooms': rooms.round()}
    columns |= {'total_bedrooms': (rooms / 5).round(), 'population': people.round(), 'households': (people / 3).round()}
    near = np.where(at[:, 0] < 0, 'NEAR OCEAN', 'INLAND')
    return columns | {'median_income': income, 'median_house_value': value, 'ocean_proximity': near}


def _ames(draw: np.random.RandomState) -> Columns:
    n = 2930
    place, middles = _places(draw, n, 20)
    at = middles[place] + 0.06 * draw.randn(n, 3)
    area = np.exp(7.27 + 0.3 * draw.randn(n))
    price = np.exp(12.0 + 0.5 * at[:, 2] + 0.6 * (np.log(area) - 7.27) + 0.15 * draw.randn(n))
    columns = {'Neighborhood': np.char.add('Place_', place.astype(str)), 'Gr_Liv_Area': area.round()}
    columns |= {'Year_Built': (1971 + 30 * middles[place, 0] + 5 * draw.randn(n)).round()}
    columns |= {'Lot_Area': np.exp(9.1 + 0.5 * draw.randn(n)).round(), 'Sale_Price': price.round()}
    return columns | {'Longitude': -93.64 + 0.03 * at[:, 0], 'Latitude': 42.03 + 0.02 * at[:, 1]}


def _geyser(draw: np.random.RandomState) -> Columns:
    long = draw.rand(272) < 0.64
    eruptions = np.where(long, 4.29, 2.04) + np.where(long, 0.41, 0.26) * draw.randn(272)
    waiting = np.where(long, 80.0, 54.5) + 6.0 * draw.randn(272)
    return {'eruptions': eruptions, 'waiting': waiting.round()}


_SHEETS = (
    Sheet(
        'howell1',
        'howell1.csv',
        '768d2fb53d44490b35260903f58955548b26f587e7afaf4e00b2603715279bbd',
        'height (cm), weight (kg), age and sex of 544 !Kung people (N. Howell)',
        _howell,
        ';',
    ),
    Sheet(
        'galton_families',
        'galton_families.csv',
        'b1fc91e4d4b9604661967dcc62ff1055eaa3020c4d5c42d1f9d588f74b9b3317',
        'heights (inches) of 934 grown children and of their parents (F. Galton)',
        _galton,
    ),
    Sheet(
        'dslabs_heights',
        'dslabs_heights.csv',
        '81d5f7b26bedde5f47a05c3e2161ccc956fb6ac56935c1e8168fe83523f2e5fc',
        'heights (inches) that 1,050 students reported of themselves',
        _students,
    ),
    Sheet(
        'california_housing',
        'california_housing.csv',
        '8a3727f4cf54ac1a327f69b1d5b4db54c5834ea81c6e4efc0d163300022a685e',
        'median house prices of 20,640 districts, 1990 census; capped at 500,001',
        _california,
    ),
    Sheet(
        'ames_housing',
        'ames_housing.csv',
        '500eea48e9175223a10ac7ccbc4d57b79693d4a1132628b6269c7c781e974141',
        'prices of 2,930 houses sold in Ames, Iowa, with their neighbourhoods (D. De Cock)',
        _ames,
    ),
    Sheet(
        'old_faithful',
        'old_faithful.csv',
        '5043db1e2c51c8e8fd67e0868c768ae589770cc76ad0ac0c5b7afd1fca31fc57',
        'minutes of 272 eruptions of a geyser, and of waiting before them',
        _geyser,
    ),
)
TABLES: dict[str, Sheet] = {sheet.name: sheet for sheet in _SHEETS}
_MISSING = {'', 'NA', 'nan', 'NaN'}


def _sheet(name: str) -> Sheet:
    if name not in TABLES:
        raise Fault(f'unknown table {name!r}', nearest(name, TABLES))
    return TABLES[name]


def table(name: str, data_dir: str | os.PathLike | None = None) -> Table:
    """A prepared table. Raises Fault for unknown names, a table that is not there, and one with another SHA-256."""
    sheet, place = _sheet(name), root(data_dir)
    path = place / 'tables' / sheet.file
    if not path.is_file():
        fix = f'python -m vae_jax prepare {name} --from DIR --data-dir {place}, where DIR holds {sheet.file}'
        raise Fault(f'{name} is not in {place / "tables"}', fix, ENVIRONMENT)
    return Table(name, parsed(_held(sheet, path).decode(), sheet.divided))


def table_stand_in(name: str) -> Table:
    """Drawn columns like the real table's, always the same: something to run on, no result of anything."""
    return Table(name, dict(_sheet(name).drawn(np.random.RandomState(0))), stand_in=True)


def prepare_table(name: str, source: str | os.PathLike | None, data_dir: str | os.PathLike | None) -> tuple[Path, int]:
    """(its folder, its rows): copies the file of a table from `source`, or `source`/tabular, held to its SHA-256.

    What is there already is kept. Raises Fault without a source (nobody is known to offer these files for good), where
    it lacks the file, and on another file.
    """
    sheet, place = _sheet(name), root(data_dir)
    target = place / 'tables' / sheet.file
    if not target.is_file():
        folder = Path(source).expanduser() if source is not None else None
        found = (
            [path for path in (folder / sheet.file, folder / 'tabular' / sheet.file) if path.is_file()]
            if folder
            else []
        )
        if not found:
            said = f'{name} is not in {place / "tables"}' if folder is None else f'{folder} does not hold {sheet.file}'
            raise Fault(said, f'--from DIR, where DIR holds {sheet.file}', ENVIRONMENT)
        _held(sheet, found[0])
        writable(place)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            shutil.copyfile(found[0], temporary)
    columns = table(name, data_dir).columns
    return target.parent, len(next(iter(columns.values())))


def _held(sheet: Sheet, path: Path) -> bytes:
    content = path.read_bytes()
    if (got := hashlib.sha256(content).hexdigest()) != sheet.sha256:
        found = f'{path} has SHA-256 {got}, {sheet.name} needs {sheet.sha256}'
        raise Fault(found, 'get the original file, and remove this one', ENVIRONMENT)
    return content


def parsed(text: str, divided: str = ',') -> Columns:
    """Columns of a CSV text with a header: float64 where all cells are numbers or missing, else text."""
    rows = list(csv.reader(io.StringIO(text), delimiter=divided))
    return {name: _column([row[i] for row in rows[1:]]) for i, name in enumerate(rows[0])}


def _column(cells: list[str]) -> np.ndarray:
    try:
        return np.array([float('nan') if cell in _MISSING else float(cell) for cell in cells])
    except ValueError:
        return np.array(cells)

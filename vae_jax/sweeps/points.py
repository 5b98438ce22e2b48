"""What a sweep is made of: points {flag: value}, of which those of one static configuration are one task.

Nothing here imports jax: what cannot be run is refused before.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vae_jax import config as configs
from vae_jax.errors import Fault, nearest
from vae_jax.fields import NO_EFFECT, Leaf, in_words, leaves, written
from vae_jax.files import dumps, read_metrics

Point = dict[str, Any]
SEED = 'seed'


class Task(NamedTuple):
    """`python -m <module> <argv>` makes one population in the directory `out`; there, result.json says it is done."""

    argv: tuple[str, ...]
    out: Path
    module: str


class Group(NamedTuple):
    """Points of one static configuration, by their numbers in the sweep; `config` is that of the first of them."""

    name: str
    config: Any
    points: tuple[Point, ...]
    runs: tuple[int, ...]


def asked(config: Any, swept: Mapping[str, Sequence[Any]], seeds: int | None) -> list[Point]:
    """The points of a sweep, or those of the file that the configuration names. Raises Fault."""
    if config.run.points is None:
        return product(config, swept, seeds)
    if swept or seeds is not None:
        raise Fault('--points and --sweep or --seeds are both given', 'give one of them')
    return read(config.run.points, config)


def product(config: Any, swept: Mapping[str, Sequence[Any]], seeds: int | None = None) -> list[Point]:
    """Every combination of the values, the last flag fastest and seeds within: a point each. Raises Fault.

    Without `seeds` it is the configuration's own. Values are of their field's type and range, and no two are equal.
    """
    if seeds is not None and SEED in swept:
        raise Fault('--seeds and --sweep.seed are both given', 'give one of them')
    if seeds is not None and seeds < 1:
        raise Fault(f'--seeds is {seeds}', 'give a value >= 1')
    first = config.run.seed
    lists = {SEED: range(first, first + (seeds or 1)), **swept}
    for flag, values in lists.items():
        if not len(values):
            raise Fault(f'--sweep.{flag} has no value', f'give some: --sweep.{flag} a b c')
        if twice := [value for i, value in enumerate(values) if value in values[:i]]:
            raise Fault(f'--sweep.{flag} has {written(twice[0])} twice', 'give each value once')
    names = [flag for flag in lists if flag != SEED] + [SEED]
    return checked(config, [dict(zip(names, values)) for values in itertools.product(*(lists[n] for n in names))])


def read(path: str | Path, config: Any) -> list[Point]:
    """The points of a file of one {flag: value} a line. Raises Fault where it is none, or they are not of one task."""
    if not Path(path).is_file():
        raise Fault(f'--points is {str(path)!r}, and there is no such file', 'give a file of one {flag: value} a line')
    rows = read_metrics(path)
    if not rows:
        raise Fault(f'{path} has no points', 'give one {"flag": value} a line')
    names = {name.replace('_', '-') for name in rows[0]}
    found = checked(config, [{name.replace('_', '-'): held for name, held in row.items()} for row in rows])
    if odd := [i for i, row in enumerate(rows) if {name.replace('_', '-') for name in row} != names]:
        raise Fault(f'line {odd[0] + 1} of {path} has other flags than line 1', 'give every point the same flags')
    if len(made := groups(config, found)) > 1:
        told = [flag for flag in found[0] if made[0].points[0][flag] != made[1].points[0][flag] and flag != SEED]
        static = [flag for flag in told if not is_traced(_known(config)[flag])]
        what = f'{path} has points of {len(made)} static configurations: --{static[0]} is not the same in all'
        raise Fault(what, 'give a file to each, or use --sweep, which does that')
    return found


def checked(config: Any, points: Iterable[Mapping[str, Any]]) -> list[Point]:
    """The points with their seed and values of their field's type. Raises Fault: unknown, out of range, equal ones."""
    known, found = _known(config), []
    seen: dict[str, int] = {}
    for i, point in enumerate(points):
        whole = {SEED: config.run.seed, **point}
        for flag in whole:
            if flag not in known:
                raise Fault(f'there is no flag --{flag} to sweep', nearest(flag, known))
        held = {flag: tuple(value) if isinstance(value, list) else value for flag, value in whole.items()}
        made = configs.check(_at(known, config, held))
        told = {flag: configs.value(made, known[flag]) for flag in held if flag != SEED} | {SEED: made.run.seed}
        if (other := seen.setdefault(dumps(told), i)) != i:
            raise Fault(f'two runs would be the same: {in_words(told)}', f'leave out one of the points {other} and {i}')
        found.append(told)
    return found


def configured(config: Any, point: Mapping[str, Any]) -> Any:
    """The configuration of the lone run that a point is."""
    return _at(_known(config), config, point)


def groups(config: Any, points: Sequence[Point], version: int = 1) -> list[Group]:
    """The points by their static configuration, in the order of their first ones."""
    static = [flag for flag, leaf in _known(config).items() if not is_traced(leaf) and flag != SEED]
    found: dict[str, list[int]] = {}
    for i, point in enumerate(points):
        found.setdefault(dumps({flag: point[flag] for flag in static if flag in point}), []).append(i)
    made = []
    for runs in found.values():
        first, mine = configured(config, points[runs[0]]), tuple(points[i] for i in runs)
        made.append(Group(digest(version, configs.changed(first), mine), first, mine, tuple(runs)))
    return made


def is_traced(leaf: Leaf) -> bool:
    """Whether the members of one population may differ in it."""
    return leaf.traced and leaf.path[:-1] == ('hyper',)


def flags(points: Sequence[Point]) -> list[str]:
    """The flags of the points, all but the seed."""
    return [flag for flag in points[0] if flag != SEED]


def digest(*parts: Any) -> str:
    """A name for what a run or a sweep is."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, allow_nan=False).encode()).hexdigest()[:12]


def _at(known: Mapping[str, Leaf], config: Any, point: Mapping[str, Any]) -> Any:
    return configs.replaced(config, {known[flag].path: value for flag, value in point.items()})


def _known(config: Any) -> dict[str, Leaf]:
    return {leaf.flag: leaf for leaf in leaves(type(config)) if NO_EFFECT not in leaf.marks}

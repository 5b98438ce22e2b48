"""A table of methods over seeds, which has a bold number only where there is a difference."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from vae_jax.errors import Fault
from vae_jax.statistics.intervals import LEVEL, Interval, interval, places
from vae_jax.statistics.pairs import Difference, Test, Values, all_pairs, t_test


class Row(NamedTuple):
    """A method: its mean and interval over seeds, and its test against the best with the p corrected by Holm's method.

    `difference` and `p` are None of the best itself.
    """

    name: str
    value: Interval
    difference: Difference | None = None
    p: float | None = None


class Table(NamedTuple):
    """Rows, the best first; `bold` is the best one's name if it differs from each other one, and `note` says which."""

    rows: list[Row]
    bold: str | None
    note: str
    title: str
    level: float

    def __str__(self) -> str:
        """Markdown, with the note below."""
        share = f'{100 * self.level:g} %'
        kind = self.rows[0].value.kind
        header = ['method', f'{self.title} [{share} {kind} interval]', 'n']
        header += [f'to the best [{100 * LEVEL:g} % t interval]', 'p'] if len(self.rows) > 1 else []
        lines = [f'| {" | ".join(header)} |', '|' + ' --- |' * len(header)]
        for row in self.rows:
            cells = [row.name, _told(row.value), str(row.value.n)]
            if row.name == self.bold:
                cells[:2] = [f'**{cell}**' for cell in cells[:2]]
            if len(self.rows) > 1:
                known = row.difference is not None and row.difference.interval.n
                p = '' if row.p is None or math.isnan(row.p) else f'{row.p:.2g}'
                cells += [_told(row.difference.interval) if known and row.difference else '', p]
            lines.append(f'| {" | ".join(cells)} |')
        return '\n'.join(lines) + (f'\n\n{self.note}' if self.note else '')


def table(
    values: Mapping[str, Values],
    direction: str = 'min',
    *,
    title: str = 'mean',
    test: Test = t_test,
    within: Callable[[Iterable[float], float], Interval] = interval,
    level: float = LEVEL,
) -> Table:
    """Methods over seeds: {method: values}, each {seed: value} or a sequence in the order of seeds.

    The best is bold only where the paired `test` tells it from every other method, its p-values corrected by Holm's
    method for all pairs of methods and at most 1 - level. Else nothing is, and the note names those that cannot be
    told from it. `within` gives the intervals of the means. Raises Fault on no methods, on a method without values and
    on values that are not finite.
    """
    if not values:
        raise Fault('a table of no methods', 'give {method: values}')
    found = []
    for name, held in values.items():
        numbers = [float(v) for v in (held.values() if isinstance(held, Mapping) else held)]
        if not numbers or not all(map(math.isfinite, numbers)):
            what = f'{name} has {len(numbers)} values, {sum(map(math.isfinite, numbers))} of them finite'
            raise Fault(what, 'leave out the runs that diverged, and say how many there were')
        found.append((Row(name, within(numbers, level)), held))
    found.sort(key=lambda one: -one[0].value.mean if direction == 'max' else one[0].value.mean)
    tested = all_pairs([held for _, held in found], test)
    first = [row for row, _ in found[:1]]
    rows = first + [
        row._replace(difference=tested[i, 0][0], p=tested[i, 0][1]) for i, (row, _) in enumerate(found[1:], 1)
    ]
    alike = [row for row in rows[1:] if row.p is None or not row.p <= 1 - level]  # a nan is not below anything
    bold = rows[0].name if len(rows) > 1 and not alike else None
    return Table(rows, bold, _note(rows, alike, len(tested), level), title, level)


def _note(rows: list[Row], alike: list[Row], pairs: int, level: float) -> str:
    if len(rows) < 2:
        return ''
    first, tests = rows[0].name, [row.difference for row in rows[1:] if row.difference is not None]
    if any(test.interval.n < 2 for test in tests):
        return 'Nothing is bold: fewer than two seeds in common give no test, and a difference may be chance.'
    how = f'{tests[0].kind} tests over seeds' + (f", corrected by Holm's method for all {pairs} pairs" * (pairs > 1))
    if not alike:
        highest = max(row.p or 0.0 for row in rows[1:])
        return f'{first} differs from {"each other one" if pairs > 1 else "the other"}: {how}, p at most {highest:.2g}.'
    names = ', '.join(row.name for row in alike)
    note = f'Nothing is bold: {names} cannot be told from {first} ({how}, p above {1 - level:.2g}).'
    if (least := max(test.least for test in tests)) > 1 - level:
        note += f' So few pairs give this test no p below {least:.2g}.'
    return note


def _told(value: Interval) -> str:
    digits = places((value.high - value.low) / 2)
    told = f'{value.mean:.{digits}f}'
    return told + (f' [{value.low:.{digits}f}, {value.high:.{digits}f}]' if value.n > 1 else '')

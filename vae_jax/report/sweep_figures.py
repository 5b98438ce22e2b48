"""The pictures of a sweep: curves with their intervals over seeds, one flag as a line, two as a heat map."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vae_jax.fields import written
from vae_jax.plot import Theme, canvas, focus
from vae_jax.statistics import Interval, Summary, interval


class Band(NamedTuple):
    """A curve: steps [m], the mean over seeds at each, and its interval; nan where there is but one seed."""

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def band(metrics: Sequence[Mapping[str, Any]], runs: Sequence[int], name: str) -> Band | None:
    """Of one metric of some runs over steps; None where they have none. A run counts as long as it goes on."""
    mine = set(runs)
    at: dict[float, list[float]] = {}
    for row in metrics:
        value = row.get(name)
        if row.get('run') in mine and isinstance(value, int | float) and math.isfinite(value):
            at.setdefault(row['step'], []).append(value)
    if not at:
        return None
    steps = sorted(at)
    found = [interval(at[step]) for step in steps]
    return Band(np.array(steps, float), *(np.array([getattr(one, side) for one in found]) for side in _SIDES))


_SIDES = ('mean', 'low', 'high')


def curves(bands: Mapping[str, Band], others: Sequence[Band], name: str, theme: Theme) -> bytes:
    """Each band in a colour with its interval shaded; `others` as thin lines without one."""
    figure, (axes,) = canvas.figure(theme, 5.8, 3.4)
    for one in others:
        axes.plot(one.x, one.mean, color=theme.faint, linewidth=0.8)
    for one, colour in zip(bands.values(), canvas.PALETTE):
        axes.plot(one.x, one.mean, color=colour, linewidth=1.4, marker='o' if len(one.x) == 1 else None)
        axes.fill_between(one.x, one.low, one.high, color=colour, alpha=0.18, linewidth=0)
    drawn = [*bands.values(), *others]
    every_x, every_y = (np.concatenate([getattr(one, side) for one in drawn]) for side in ('x', 'mean'))
    axes.set_ylim(*focus(every_x, every_y))
    axes.set_xlabel('step')
    axes.set_ylabel(canvas.named(name))
    axes.grid(axis='y', color=theme.faint, linewidth=0.6)
    lines = axes.lines[len(others) :]
    canvas.legend(figure, lines, bands, theme)
    return canvas.deliver(figure, None)


def line(summaries: Sequence[Summary], flag: str, metric: str, label: str, theme: Theme) -> bytes:
    """The mean metric at each value of one flag with its interval, and a dot for each run."""
    found = sorted(summaries, key=lambda one: _place(one.flags[flag]))
    values = [one.flags[flag] for one in found]
    numeric = all(_is_number(value) for value in values)
    x = np.array(values, float) if numeric else np.arange(len(values), dtype=float)
    figure, (axes,) = canvas.figure(theme, 4.8, 3.4)
    for place, one in zip(x, found):
        dots = [row[metric] for row in one.rows if _is_number(row.get(metric))]
        axes.scatter([place] * len(dots), dots, s=12, color=theme.bar, alpha=0.5, linewidths=0)
    mean = np.array([one.value.mean for one in found])
    half = np.nan_to_num(np.array([one.value.high - one.value.mean for one in found]))
    # words have no order that a line could follow
    how = {'linewidth': 1.4} if numeric else {'linestyle': 'none', 'elinewidth': 1.4, 'marker': 'o', 'markersize': 5}
    axes.errorbar(x, mean, yerr=half, color=theme.bar, capsize=3, **how)
    if numeric and x.min() > 0 and x.max() / x.min() >= 20:
        axes.set_xscale('log')
    axes.set_xticks(x if len(x) <= 12 else x[:: -(-len(x) // 12)])
    axes.set_xticks([], minor=True)
    axes.set_xticklabels([canvas.named(written(v)) for v in (values if len(x) <= 12 else values[:: -(-len(x) // 12)])])
    axes.set_xlabel(canvas.named(flag))
    axes.set_ylabel(canvas.named(label))
    axes.grid(axis='y', color=theme.faint, linewidth=0.6)
    return canvas.deliver(figure, None)


def plane(summaries: Sequence[Summary], x: str, y: str, names: Sequence[str], theme: Theme) -> bytes:
    """Two metrics of each run, and the mean of each configuration, joined where one number sets them apart.

    Lines of equal x + y lie behind.
    """
    figure, (axes,) = canvas.figure(theme, 4.8, 3.8)
    runs = [
        (row[x], row[y]) for one in summaries for row in one.rows if _is_number(row.get(x)) and _is_number(row.get(y))
    ]
    dots = np.array(runs, float)
    axes.scatter(*dots.T, s=12, color=theme.bar, alpha=0.5, linewidths=0)
    held = zip(names, summaries)
    means = [(float(np.mean([r[x] for r in o.rows if _is_number(r.get(x))])), name, o) for name, o in held if o.value.n]
    means.sort(key=lambda mean: mean[0])
    at = np.array([(a, float(np.mean([r[y] for r in o.rows if _is_number(r.get(y))]))) for a, _, o in means])
    varied = [flag for flag in summaries[0].flags if len({str(one.flags[flag]) for one in summaries}) > 1]
    one_dial = len(varied) == 1 and all(_is_number(one.flags[varied[0]]) for one in summaries)
    axes.plot(*at.T, color=theme.bar, linewidth=1.4 if one_dial else 0, marker='o', markersize=5)
    low, high = axes.get_xlim(), axes.get_ylim()
    across = np.array(low)
    for total in np.linspace(low[0] + high[0], low[1] + high[1], 7)[1:-1]:
        axes.plot(across, total - across, color=theme.faint, linewidth=0.6, zorder=0)
    for (a, b), (_, name, _) in zip(at, means) if len(means) <= 8 else ():
        axes.annotate(
            canvas.named(name), (a, b), textcoords='offset points', xytext=(5, 4), fontsize=7, color=theme.ink
        )
    axes.set_xlim(low)
    axes.set_ylim(high)
    axes.set_xlabel('rate, nats')
    axes.set_ylabel('distortion, nats')
    return canvas.deliver(figure, None)


def heat(
    cells: Mapping[tuple[Any, Any], Interval | None],
    flags: tuple[str, str],
    best: tuple[Any, Any],
    label: str,
    theme: Theme,
) -> bytes:
    """The mean metric at each pair of values, rows the first flag; the best is framed, a lost cell has a cross."""
    rows, columns = (sorted({pair[axis] for pair in cells}, key=_place) for axis in (0, 1))
    means = np.full((len(rows), len(columns)), np.nan)
    for (row, column), held in cells.items():
        if held is not None and held.n:
            means[rows.index(row), columns.index(column)] = held.mean
    wide, high = 1.6 + 0.7 * max(3, len(columns)), 1.2 + 0.45 * max(3, len(rows))
    figure, (axes,) = canvas.figure(theme, wide, high)
    drawn = axes.imshow(means, aspect='auto', cmap='cividis', interpolation='nearest')
    few = means.size <= 150
    seen = means[np.isfinite(means)]
    middle = (seen.min() + seen.max()) / 2 if len(seen) else 0.0
    digits = _decimals(float(np.ptp(seen))) if len(seen) else 0
    for i in range(len(rows)):
        for j in range(len(columns)):
            lost = not np.isfinite(means[i, j])
            if few or lost:
                colour = theme.ink if lost else 'white' if means[i, j] < middle else 'black'
                text = '\u00d7' if lost else f'{means[i, j]:.{digits}f}'
                axes.text(j, i, text, ha='center', va='center', color=colour, fontsize=8)
    i, j = rows.index(best[0]), columns.index(best[1])
    axes.plot(
        [j - 0.5, j + 0.5, j + 0.5, j - 0.5, j - 0.5], [i - 0.5, i - 0.5, i + 0.5, i + 0.5, i - 0.5], color='#e8590c'
    )
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    for axis, values in (('y', rows), ('x', columns)):
        getattr(axes, f'set_{axis}ticks')(range(len(values)))
        getattr(axes, f'set_{axis}ticklabels')([canvas.named(written(value)) for value in values])
    axes.set_ylabel(canvas.named(flags[0]))
    axes.set_xlabel(canvas.named(flags[1]))
    canvas.scale(figure, drawn, axes, theme, canvas.named(label))
    return canvas.deliver(figure, None)


def _decimals(spread: float) -> int:
    """Places behind the point that tell a hundredth of a spread."""
    return min(max(2 - math.floor(math.log10(spread)), 0), 6) if spread > 0 else 2


def _place(value: Any) -> tuple:
    """Numbers by size, then everything else by how it is written."""
    return (0, value, '') if _is_number(value) else (1, 0, written(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

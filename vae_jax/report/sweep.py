"""The report of a sweep: which configuration is best, by how much, and whether seeds could have made the difference."""

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vae_jax import plot
from vae_jax.fields import in_words, written
from vae_jax.files import read_json
from vae_jax.report import sweep_figures as drawing
from vae_jax.report.page import document, esc, labelled, listed, measured, pictured, section, shown, tabulated
from vae_jax.statistics import Interval, Summary, compared, interval, places

_COLOURED, _PAIRS, _CURVES = 8, 6, 4  # as many as one can look at
_FIRST = ('validation/loss', 'train/loss', 'validation/rate', 'validation/distortion')


def sweep_report(
    directory: str | os.PathLike,
    *,
    title: str,
    rows: Sequence[Mapping[str, Any]],
    flags: Sequence[str],
    metric: str,
    direction: str,
    units: Mapping[str, str],
    metrics: Sequence[Mapping[str, Any]],
    config: Mapping[str, Any],
    command: str = '',
) -> Path:
    """report.html and figures/*.png of a sweep: `rows` one a run, with run, the swept `flags`, seed, status, metrics.

    `metrics` are rows of metrics.jsonl that name their `run`. Intervals are t intervals of 95 % over seeds.
    """
    found = compared(rows, flags, metric, direction)
    unit, label = units.get(metric, ''), labelled(metric)[0]
    folder = Path(directory) / 'figures'
    notes = [*winner(found, metric, direction, unit).split('\n'), *_cautions(found)]
    words = ''.join(f'<p>{esc(note)}</p>' for note in notes)
    parts = [f'<header><h1>{esc(title)}</h1></header>', measured(_headline(found, label, unit, rows))]
    parts.append(f'<div class="notes">{words}</div>')
    plans = [*_values(found, flags, metric, label, unit), *_trade(found), *_curves(found, metrics)]
    parts.append(_figures('What the values do', folder, plans))
    parts.append(section('Configurations', tabulated(*_configurations(found, flags, label, unit))))
    parts.append(section('Other metrics', tabulated(*_others(found, flags, metric, units))))
    lost = [row for row in rows if row['status'] != 'done']
    parts.append(section('Runs that diverged', tabulated(*_lost(lost, flags))))
    best = [f'the best, seed {row["seed"]}: {in_words({f: row[f] for f in flags})}' for row in found[0].rows[:1]]
    parts.append(
        section('How to reproduce', command and f'<pre>{esc(command)}</pre><p class="soft">{esc(best[0])}</p>')
    )
    parts.append(section('Configuration', listed(_flat(config))))
    stored = Path(directory) / 'config.json'
    told = read_json(stored).get('environment', {}) if stored.exists() else {}
    parts.append(section('Environment', listed(_flat(told))))
    return plot.put(Path(directory) / 'report.html', document(title, '\n'.join(filter(None, parts))).encode())


def winner(found: Sequence[Summary], metric: str, direction: str, unit: str) -> str:
    """The best configuration in words, and which of the others cannot be told from it; two lines."""
    first, label = found[0], labelled(metric)[0]
    if not first.value.n:
        return f'No run has a {label}: all of them diverged, or it is not in their results.'
    word = 'Highest' if direction == 'max' else 'Lowest'
    over = f'mean over {first.value.n} seeds' if first.value.n > 1 else 'one seed'
    said = f'{word} {label}: {in_words(first.flags) or "the only configuration"}, {_mean(first.value)} {unit}'.rstrip()
    said += f' ({over}{_interval_words(first.value)}).'
    others = [one for one in found[1:] if one.value.n]
    if not others:
        return said
    if all(one.p is None for one in others):
        return f'{said}\nThere is one seed, so no interval: any of these differences may be chance. Give --seeds 5.'
    alike, how = [one for one in others if not one.differs], _corrected(found)
    if not alike:
        count = 'the other' if len(others) == 1 else f'each of the {len(others)} others'
        highest = max(one.p or 0.0 for one in others)
        return f'{said}\nIt differs from {count}: {how} give p at most {highest:.2g}.'
    names = '; '.join(in_words(one.flags) for one in alike[:4]) + (
        f'; and {len(alike) - 4} more' if len(alike) > 4 else ''
    )
    return (
        f'{said}\n{len(alike)} of the {len(others)} others cannot be told from it, as {how} give p above 0.05: {names}.'
    )


def _corrected(found: Sequence[Summary]) -> str:
    several = sum(one.value.n > 0 for one in found) > 2
    return 't tests paired by seed' + (
        ", corrected by Holm's method for all pairs of configurations," if several else ''
    )


def _cautions(found: Sequence[Summary]) -> Iterator[str]:
    pairs = sum(one.p is not None for one in found)
    if pairs > 1:
        yield (
            f'Each interval is for one comparison. Of {pairs} that are truly alike about {pairs / 20:.1f} would '
            "exclude zero by chance, so the p-values, corrected by Holm's method for all pairs, decide what is called "
            'a difference. The mean of the best of many is flattered by being chosen.'
        )
    if lost := sum(one.lost for one in found):
        yield f'{lost} {"runs" if lost > 1 else "run"} diverged: no configuration that lost one is called the best.'


def _headline(found: Sequence[Summary], label: str, unit: str, rows: Sequence[Mapping[str, Any]]) -> list[tuple]:
    first = found[0]
    count = ('Runs', len(rows), None, '', None, None, f'{len(found)} configurations')
    if not first.value.n:
        return [count]
    words = in_words(first.flags) + _interval_words(first.value)
    best = f'Best {label}'
    return [
        (best, float(_mean(first.value).replace(',', '').replace('\u2212', '-')), None, unit, None, None, words),
        count,
    ]


def _figures(heading: str, folder: Path, plans: Sequence[tuple[str, str, str, Callable[[plot.Theme], bytes]]]) -> str:
    drawn = []
    for name, title, caption, draw in plans:
        light = draw(plot.LIGHT)
        plot.put(folder / f'{name}.png', light)
        drawn.append(pictured(title, caption, f'{title}: {caption}', light, draw(plot.DARK)))
    return section(heading, drawn and f'<div class="figures">{"".join(drawn)}</div>' or '')


def _values(found: Sequence[Summary], flags: Sequence[str], metric: str, label: str, unit: str) -> Iterator[tuple]:
    varied = [flag for flag in flags if len({written(one.flags[flag]) for one in found}) > 1]
    best, axis = found[0].flags, f'{label}{f", {unit}" if unit else ""}'
    if not any(one.value.n for one in found):
        return
    if len(varied) == 1:
        kept = [one for one in found if one.value.n]
        caption = 'Mean over seeds with its 95 % t interval; a dot is a run.'
        yield (
            'values',
            f'{label} by {varied[0]}',
            caption,
            lambda theme: drawing.line(kept, varied[0], metric, axis, theme),
        )
    for first, second in list(itertools.combinations(varied, 2))[:_PAIRS]:
        rest = {flag: best[flag] for flag in varied if flag not in (first, second)}
        slab = [one for one in found if all(one.flags[flag] == value for flag, value in rest.items())]
        cells = {(one.flags[first], one.flags[second]): one.value for one in slab}
        caption = 'Mean over seeds; the best is framed, \u00d7: all of its runs diverged.'
        caption += f' At {in_words(rest)}.' if rest else ''
        pair, at = (first, second), (best[first], best[second])
        draw = lambda theme, c=cells, p=pair, a=at: drawing.heat(c, p, a, axis, theme)
        yield f'{first}-{second}', f'{label} by {first} and {second}', caption, draw


def _trade(found: Sequence[Summary]) -> Iterator[tuple]:
    """The rate-distortion plane of the test split, where configurations differ and have both."""
    halves = ('test_rate', 'test_distortion')
    kept = [one for one in found if one.value.n and all(row.get(half) for row in one.rows[:1] for half in halves)]
    if len(kept) < 2:
        return
    names = [in_words(one.flags) for one in kept]
    caption = 'Test split: a small dot is a run, a large one the mean over seeds; on a thin line the ELBO is the same.'
    yield 'rate-distortion', 'Rate and distortion', caption, lambda theme: drawing.plane(kept, *halves, names, theme)


def _curves(found: Sequence[Summary], metrics: Sequence[Mapping[str, Any]]) -> Iterator[tuple]:
    there = dict.fromkeys(name for row in metrics for name in row)
    for name in [name for name in _FIRST if name in there][:_CURVES]:
        bands = [drawing.band(metrics, [row['run'] for row in one.rows], name) for one in found]
        held = [(in_words(one.flags) or 'all seeds', band) for one, band in zip(found, bands) if band is not None]
        if not held:
            continue
        coloured, others = dict(held[:_COLOURED]), [band for _, band in held[_COLOURED:]]
        caption = 'Mean over seeds, its 95 % t interval shaded; the legend begins with the best.'
        caption += f' Grey: the {len(others)} others.' if others else ''
        title = name.replace('/', ' ') + (', nats' if name.endswith(('loss', 'rate', 'distortion')) else '')
        draw = lambda theme, c=coloured, o=others, t=title: drawing.curves(c, o, t, theme)
        yield name.replace('/', '-'), title, caption, draw


def _configurations(found: Sequence[Summary], flags: Sequence[str], label: str, unit: str) -> tuple[list, list]:
    header = [*flags, 'seeds', f'{label}{f", {unit}" if unit else ""}', '95 % t interval']
    header += ['less the best', '95 % t interval of it, paired by seed', 'p, corrected', '']
    rows = []
    for i, one in enumerate(found):
        difference = one.difference
        verdict = 'the best' if i == 0 and one.value.n else _verdict(one)
        verdict = f'{one.lost} of {len(one.rows)} diverged' if one.lost else verdict
        cells = [_mean(one.value), _ends(one.value)] if one.value.n else ['', '']
        cells += [_mean(difference), _ends(difference)] if difference is not None and i else ['', '']
        cells.append('' if one.p is None else f'{one.p:.2g}')
        rows.append([*map(written, one.flags.values()), one.value.n, *cells, verdict])
    return header, rows


def _verdict(one: Summary) -> str:
    if one.p is None:
        return 'one seed: no interval'
    return 'differs from the best' if one.differs else 'cannot be told from the best'


def _others(found: Sequence[Summary], flags: Sequence[str], metric: str, units: Mapping[str, str]) -> tuple[list, list]:
    """Means of the other metrics that have a standard error of their own, with their intervals."""
    names = [name.removesuffix('_se') for one in found for row in one.rows for name in row if name.endswith('_se')]
    names = [n for n in dict.fromkeys(names) if n != metric and not n.endswith('bits_per_dim')]
    header = [*flags, *(f'{labelled(n)[0]}{f", {units[n]}" if n in units else ""}' for n in names)]
    rows = []
    for one in found if names else ():
        if not one.value.n:
            continue
        held = [interval(row[n] for row in one.rows if isinstance(row.get(n), float)) for n in names]
        told = [f'{_mean(v)}{f" [{_ends(v)}]" if v.n > 1 else ""}' if v.n else '' for v in held]
        rows.append([*map(written, one.flags.values()), *told])
    return header, rows


def _lost(rows: Sequence[Mapping[str, Any]], flags: Sequence[str]) -> tuple[list, list]:
    told = [
        [row['run'], *(written(row[f]) for f in flags), row['seed'], row.get('diverged_step') or ''] for row in rows
    ]
    return ['run', *flags, 'seed', 'at step'], told


def _mean(value: Interval) -> str:
    return shown(value.mean, _decimals(value)) if value.n > 1 else shown(value.mean)


def _ends(value: Interval) -> str:
    return f'{shown(value.low, _decimals(value))} to {shown(value.high, _decimals(value))}' if value.n > 1 else ''


def _interval_words(value: Interval) -> str:
    return f', 95 % t interval {_ends(value)}' if value.n > 1 else ''


def _decimals(value: Interval) -> int | None:
    half = value.high - value.mean
    return places(half) if half > 0 else None


def _flat(nested: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        flat |= _flat(value, f'{prefix}{name}.') if isinstance(value, Mapping) else {f'{prefix}{name}': value}
    return flat

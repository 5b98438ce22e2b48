"""The report of a run: its numbers, curves and pictures in one HTML file, with the pictures as PNG beside it.

    results, metrics, arrays -> run_report -> Number, Figure, Table -> write -> report.html

Nothing here knows a model: whoever trained it brings arrays.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_jax import plot
from vae_jax.errors import Fault, nearest
from vae_jax.files import read_json
from vae_jax.report.curves import charts, quantities
from vae_jax.report.figures import EXAMPLES, OTHERS, Figure, figures_of
from vae_jax.report.page import document, esc, labelled, listed, measured, pictured, section, shown, tabulated
from vae_jax.report.sweep import sweep_report, winner

__all__ = ['Figure', 'Number', 'Table', 'headlines', 'run_report', 'sweep_report', 'winner', 'write']

_MEANING = {
    'elbo': 'A lower bound on log p(x). Higher is better.',
    'rate': 'KL from the prior to the posterior: what the code costs.',
    'distortion': '\u2212log p(x | z): what the code does not tell.',
    'log p': 'Importance-sampling estimate{k}. Higher is better.',
    'nll': 'Importance-sampling estimate{k}. Lower is better.',
}
_SUFFIXES = ('_se', '_bits_per_dim', '_bits_per_dim_se')
_NOT_A_LIKELIHOOD = 'not a likelihood'
_FLAGS = ('data: stand-in', _NOT_A_LIKELIHOOD)


class Number(NamedTuple):
    """A measured value with its standard error, the same in bits/dim where that has a meaning, and a line of words."""

    label: str
    value: Any
    se: Any = None
    unit: str = 'nats'
    bits: Any = None
    bits_se: Any = None
    meaning: str = ''


class Table(NamedTuple):
    """Rows of cells under a header."""

    heading: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]


def headlines(result: Mapping[str, Any]) -> tuple[list[Number], dict[str, Any]]:
    """The results that come with a standard error or in bits/dim, as Numbers, and all the others.

    `name`, `name_se`, `name_bits_per_dim` and `name_bits_per_dim_se` are one Number; `units[name]` is its unit (nats).
    """
    units, flat = result.get('units') or {}, _flat({k: v for k, v in result.items() if k != 'units'})
    k = f' with k = {shown(flat["k"])}' if flat.get('k') else ''
    numbers, taken = [], set()
    for name, value in flat.items():
        se, bits, bits_se = (flat.get(name + suffix) for suffix in _SUFFIXES)
        if name.endswith(_SUFFIXES) or (se is None and bits is None):
            continue
        label, stem = labelled(name)
        meaning = _MEANING.get(stem, '').format(k=k)
        numbers.append(Number(label[0].upper() + label[1:], value, se, units.get(name, 'nats'), bits, bits_se, meaning))
        taken |= {name, *(name + suffix for suffix in _SUFFIXES)}
    return numbers, {name: value for name, value in flat.items() if name not in taken}


def write(
    path: str | os.PathLike,
    *,
    title: str,
    summary: Sequence[Number] = (),
    figures: Sequence[Figure] = (),
    tables: Sequence[Table] = (),
    config: Mapping[str, Any] | None = None,
    metrics: Sequence[Mapping[str, Any]] = (),
    details: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
    command: str = '',
    flags: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Path:
    """One HTML file with everything inside, written by rename; every text is escaped, absent parts leave no heading."""
    marks = f'<p class="flags">{esc("; ".join(flags))}</p>' if flags else ''
    parts = [f'<header><h1>{esc(title)}</h1>{marks}</header>', measured(summary)]
    words = ''.join(f'<p>{esc(note)}</p>' for note in notes)
    parts.append(words and f'<div class="notes">{words}</div>')
    parts.append(section('Training', charts(metrics)))
    drawn = ''.join(pictured(*figure) for figure in figures)
    parts.append(section('What it learned', drawn and f'<div class="figures">{drawn}</div>'))
    parts += [section(table.heading, tabulated(table.header, table.rows)) for table in tables]
    parts.append(section('Further results', listed(details, shown)))
    parts.append(section('How to reproduce', command and f'<pre>{esc(command)}</pre>'))
    parts.append(section('Configuration', listed(config)))
    parts.append(section('Environment', listed(environment)))
    return plot.put(path, document(title, '\n'.join(filter(None, parts))).encode())


def run_report(
    directory: str | os.PathLike,
    *,
    title: str,
    result: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    arrays: Mapping[str, Any],
    config: Mapping[str, Any],
    command: str,
    notes: Sequence[str] = (),
    environment: Mapping[str, Any] | None = None,
    split: str = 'test',
) -> Path:
    """report.html and figures/*.png in a run's directory, a section for each array there is.

    x, reconstructions, samples [n, *shape]; interpolations [rows, steps, *shape]; manifold [rows, columns, *shape];
    codes [n, d] with labels [n]; rate_per_dim [d] in nats. A shape is [h, w], [h, w, 1] or [h, w, 3] in [0, 1];
    anything else is drawn as a vector. Notes that begin with 'data: stand-in' or 'not a likelihood' stand under the
    title and in every caption. The environment is the one in the directory's config.json unless it is given.
    Raises Fault: arrays of other shapes or names, values that are not finite, a directory that cannot be written.
    """
    if unknown := sorted(set(arrays) - {*EXAMPLES, *OTHERS}):
        raise Fault(f'unknown array {unknown[0]!r} for a report', nearest(unknown[0], [*EXAMPLES, *OTHERS]))
    held = {name: np.asarray(values) for name, values in arrays.items() if values is not None}
    said = dict.fromkeys([*notes, *result.get('notes', ()), *(_FLAGS[:1] if result.get('data') == 'stand-in' else ())])
    marks = [flag for flag in _FLAGS if any(note.startswith(flag) for note in said)]
    figures, remarks = figures_of(held, Path(directory) / 'figures', split, marks)
    names = [name for members in list(quantities(metrics).values())[:4] for name in members]
    if names:
        plot.curves(metrics, names, Path(directory) / 'figures' / 'curves.png')
    numbers, details = headlines({name: value for name, value in result.items() if name != 'notes'})
    if _NOT_A_LIKELIHOOD in marks:
        numbers = [number._replace(meaning='') for number in numbers]
    if environment is None and (stored := Path(directory) / 'config.json').exists():
        told = read_json(stored)
        environment = {name: told[name] for name in ('build', 'started') if name in told} | told.get('environment', {})
    return write(
        Path(directory) / 'report.html',
        title=title,
        summary=numbers,
        figures=figures,
        metrics=metrics,
        details=details,
        config=_flat(config),
        environment=_flat(environment or {}),
        command=command,
        flags=[note for note in said if note.startswith(_FLAGS)],
        notes=[*(note for note in said if not note.startswith(_FLAGS)), *remarks],
    )


def _flat(nested: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """Nested mappings as one, dots between the names."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f'{prefix}{name}.')
        else:
            flat[f'{prefix}{name}'] = value.item() if getattr(value, 'ndim', None) == 0 else value
    return flat

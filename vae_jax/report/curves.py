"""Training curves as inline SVG: they follow the colours of the page, and a script adds values under the pointer."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vae_jax.plot import focus, panels, series
from vae_jax.report.page import esc, shown

_NATS = ('loss', 'rate', 'distortion')


def chart(metrics: Sequence[Mapping[str, Any]], quantity: str, names: Sequence[str]) -> str:
    """One quantity over steps as SVG, a line for each metric of `names`; without script it shows the last values."""
    found = {name: _thinned(*series(metrics, name)) for name in names}
    lines = [(name, x, y) for name, (x, y) in found.items() if len(x)]
    if not lines:
        return ''
    wide, tall, left, top = 288, 160, 46, 8
    every_x, every_y = np.concatenate([x for _, x, _ in lines]), np.concatenate([y for _, _, y in lines])
    x_low, x_high, last = every_x.min(), every_x.max(), shown(int(every_x.max()))
    y_low, y_high = focus(every_x, every_y)
    marks = [f'<text x="{left + wide}" y="{top + tall + 18}" text-anchor="end">step {last}</text>']
    if x_low < x_high:
        marks.append(f'<text x="{left}" y="{top + tall + 18}">{shown(int(x_low))}</text>')
    else:
        x_low, x_high = x_low - 1, x_high + 1
    across = lambda x: (x - x_low) / (x_high - x_low) * wide
    down = lambda y: (y_high - y) / (y_high - y_low) * tall
    for tick, text in _ticks(y_low, y_high):
        place = f'{top + down(tick):.1f}'
        marks.append(f'<line x1="{left}" x2="{left + wide}" y1="{place}" y2="{place}"/>')
        marks.append(f'<text x="{left - 8}" y="{place}" dy="4" text-anchor="end">{text}</text>')
    drawn, keys, edge = [], [], left + wide + 6
    for i, (name, x, y) in enumerate(lines):
        points = ' '.join(f'{a:.1f},{b:.1f}' for a, b in zip(across(x), down(y)))
        dot = f'<circle class="s{i % 4}" r="3" cx="{across(x[0]):.1f}" cy="{down(y[0]):.1f}"/>' if len(x) == 1 else ''
        drawn.append(f'<path class="s{i % 4}" d="M{points}"/>{dot}')
        label = esc(name.rpartition('/')[0] or name)
        keys.append(f'<span><span class="s{i % 4}">\u25cf</span> {label} <b>{shown(_short(y[-1]))}</b></span>')
    box = {'left': left, 'top': top, 'wide': wide, 'tall': tall, 'width': edge}
    scale = {'low': x_low, 'high': x_high, 'min': y_low, 'max': y_high}
    values = {'x': [x.tolist() for _, x, _ in lines], 'y': [[_short(v) for v in y] for _, _, y in lines]}
    data = json.dumps(box | scale | values, separators=(',', ':'))
    spoken = '; '.join(f'{n} from {shown(_short(y[0]))} to {shown(_short(y[-1]))}' for n, _, y in lines)
    outside = every_y.max() > y_high or every_y.min() < y_low
    note = '<figcaption>The start of training lies outside the axis.</figcaption>' if outside else ''
    dots = ''.join(f'<circle class="s{i % 4}" r="3.5"/>' for i in range(len(lines)))
    return (
        f'<figure><div class="head"><h3>{esc(quantity)}{" <small>nats</small>" if quantity in _NATS else ""}</h3>'
        f'<span class="place">at step {last}</span></div>'
        f'<p class="key" aria-live="polite">{"".join(keys)}</p>'
        f'<svg class="chart" viewBox="0 0 {edge} {top + tall + 26}" role="img" tabindex="0" '
        f'aria-label="{esc(f"{quantity} over steps: {spoken}")}" data-chart="{esc(data)}">{"".join(marks)}'
        f'<svg x="{left}" y="{top}" width="{wide}" height="{tall}">{"".join(drawn)}</svg>'
        f'<g class="cursor" display="none"><line y1="{top}" y2="{top + tall}"/>{dots}</g></svg>{note}</figure>'
    )


def quantities(metrics: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What the rows of metrics.jsonl hold, each quantity with its metrics: loss, rate and distortion first."""
    first = {name: i for i, name in enumerate(_NATS)}
    names = dict.fromkeys(name for row in metrics for name in row)
    drawable = [n for n in names if n not in ('step', 'epoch', 'wall_s') and len(series(metrics, n)[0])]
    return dict(sorted(panels(drawable).items(), key=lambda item: first.get(item[0], len(first))))


def charts(metrics: Sequence[Mapping[str, Any]]) -> str:
    """A chart for each quantity of metrics.jsonl; the seventh and later are folded away."""
    made = [chart(metrics, quantity, members) for quantity, members in quantities(metrics).items()]
    more = f'<details><summary>{len(made) - 6} more</summary><div class="curves">{"".join(made[6:])}</div></details>'
    return f'<div class="curves">{"".join(made[:6])}</div>{more if len(made) > 6 else ""}' if made else ''


def _thinned(x: np.ndarray, y: np.ndarray, buckets: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """At most two points a bucket, its lowest and its highest, so that no spike is lost; first and last stay."""
    if len(x) <= 2 * buckets:
        return x, y
    parts = np.array_split(np.arange(len(x)), buckets)
    kept = np.unique([0, len(x) - 1, *(i[f(y[i])] for i in parts for f in (np.argmin, np.argmax))])
    return x[kept], y[kept]


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round numbers in [low, high], about four, with the decimals that tell them apart."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    decimals = max(-math.floor(math.log10(step) + 1e-9), 0)
    return [(k * step, shown(k * step, decimals)) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _short(value: float) -> float:
    return float(f'{value:.5g}')

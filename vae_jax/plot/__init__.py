"""Pictures of what a VAE learned, as PNG bytes: equal arrays give equal bytes, with no date and no version inside.

Every function takes numpy or jax arrays, returns the PNG and, given a `path`, also writes it there by rename. Wrong
shapes and values raise Fault. Mosaics enlarge pixels by a whole number and leave the gaps transparent.
"""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from vae_jax.errors import Fault
from vae_jax.plot import canvas
from vae_jax.plot.canvas import DARK, LIGHT, PALETTE, Theme, put

__all__ = [
    'DARK',
    'LIGHT',
    'Theme',
    'board',
    'curves',
    'focus',
    'grid',
    'interpolations',
    'latent',
    'manifold',
    'panels',
    'put',
    'rates',
    'reconstructions',
    'series',
    'vectors',
]


def grid(images: Any, path: str | os.PathLike | None = None, columns: int | None = None) -> bytes:
    """Images [n, h, w], [n, h, w, 1] or [n, h, w, 3] in [0, 1], row by row; as square as it gets unless `columns`."""
    tiles = canvas.pixels('images', images, 1)
    columns = math.ceil(math.sqrt(len(tiles))) if columns is None else columns
    if columns < 1:
        raise Fault(f'a grid of {columns} columns', 'give columns of at least 1')
    return canvas.deliver(canvas.mosaic([tiles[i : i + columns] for i in range(0, len(tiles), columns)]), path)


def reconstructions(x: Any, x_hat: Any, path: str | os.PathLike | None = None) -> bytes:
    """Rows in pairs: x [n, h, w(, c)] above, x_hat of the same shape below, in [0, 1]."""
    above, below = canvas.pixels('x', x, 1), canvas.pixels('x_hat', x_hat, 1)
    if above.shape != below.shape:
        raise Fault(f'x is {above.shape} and x_hat {below.shape}', 'give one reconstruction for each example')
    columns = len(above) if len(above) <= 10 else 8
    rows = [side[i : i + columns] for i in range(0, len(above), columns) for side in (above, below)]
    return canvas.deliver(canvas.mosaic(rows, gaps=(4, 20)), path)


def interpolations(images: Any, path: str | os.PathLike | None = None) -> bytes:
    """Paths between codes, decoded: [rows, steps, h, w(, c)] in [0, 1], one path a row."""
    return canvas.deliver(canvas.mosaic(list(canvas.pixels('interpolations', images, 2))), path)


def manifold(images: Any, path: str | os.PathLike | None = None) -> bytes:
    """A lattice of a 2-D latent, decoded: [rows, columns, h, w(, c)] in [0, 1], seamless."""
    return canvas.deliver(canvas.mosaic(list(canvas.pixels('manifold', images, 2)), gaps=(0,)), path)


def board(
    images: Any,
    beside: Sequence[str] = (),
    above: Sequence[str] = (),
    path: str | os.PathLike | None = None,
    theme: Theme = LIGHT,
) -> bytes:
    """Images [rows, columns, h, w(, c)] in [0, 1] with a name beside each row and above each column, or none."""
    tiles = canvas.pixels('board', images, 2)
    n, m, h, w, c = tiles.shape
    for what, names, count in (('beside', beside, n), ('above', above, m)):
        if names and len(names) != count:
            raise Fault(f'{len(names)} names {what} a board of {n} rows and {m} columns', f"give {count}, '' for none")
    ground = np.broadcast_to(canvas.rgb(theme.faint), (n, m, h + 1, w + 1, 3)).copy()
    ground[:, :, 1:, 1:] = tiles
    figure, (axes,) = canvas.figure(theme, 4.8, 0.3 + (4.0 if any(beside) else 4.6) * n * (h + 1) / (m * (w + 1)))
    axes.imshow(ground.swapaxes(1, 2).reshape(n * (h + 1), m * (w + 1), 3), interpolation='nearest')
    axes.set_xticks(np.arange(m) * (w + 1) + w / 2 if above else [], above, parse_math=False)
    axes.set_yticks(np.arange(n) * (h + 1) + h / 2 if beside else [], beside, parse_math=False)
    axes.xaxis.tick_top()
    axes.spines['bottom'].set_visible(False)
    return canvas.deliver(figure, path)


def latent(codes: Any, labels: Any = None, path: str | os.PathLike | None = None, theme: Theme = LIGHT) -> bytes:
    """Codes [n, d] as densities when d = 1, else points, by PCA when d > 2; labels [n] give colours, or none."""
    points = canvas.numbers('codes', codes, 2)
    named = np.zeros(len(points)) if labels is None else np.asarray(labels)
    if named.shape != points.shape[:1]:
        raise Fault(f'labels {named.shape} for codes {points.shape}', f'give labels of shape ({len(points)},) or none')
    groups = np.unique(named)
    few, wide = len(groups) <= len(PALETTE), points.shape[1]
    if wide == 1:
        groups = groups if labels is not None and few else groups[:0]
        return vectors({str(g): points[named == g] for g in groups} or {'codes': points}, path, theme)
    figure, (axes,) = canvas.figure(theme, 4.8, 4.4)
    axes.set(xlabel='first latent dimension', ylabel='second')
    if wide > 2:
        centred = points - points.mean(0)
        spread, directions = np.linalg.eigh(centred.T @ centred)
        directions = directions[:, [-1, -2]]
        signs = np.sign(directions[np.abs(directions).argmax(0), [0, 1]])  # the decomposition leaves them free
        points = centred @ (directions * signs)
        first, second = spread[[-1, -2]].clip(0) / max(spread.sum(), 1e-30)
        axes.set(xlabel=f'first principal component, {first:.0%}', ylabel=f'second, {second:.0%}')
        axes.set_title(f'{wide} dimensions on two axes: {first + second:.0%} of the variance', fontsize=9)
    places = np.searchsorted(groups, named)
    colours = [PALETTE[i] for i in places] if few else named if named.dtype.kind in 'iuf' else places
    size = float(np.clip(16000 / len(points), 3, 20))
    dots = axes.scatter(*points.T, s=size, c=colours, cmap=None if few else 'cividis', linewidths=0, alpha=0.75)
    axes.set_aspect('equal', adjustable='datalim')
    if not few:
        canvas.scale(figure, dots, axes, theme, 'label')
    elif labels is not None:
        marks = [axes.scatter([], [], s=28, color=colour, linewidths=0) for colour in PALETTE[: len(groups)]]
        canvas.legend(figure, marks, groups, theme, 'label')
    return canvas.deliver(figure, path)


def rates(rate_per_dim: Any, path: str | os.PathLike | None = None, theme: Theme = LIGHT) -> bytes:
    """KL(q(z|x) || p(z)) of each latent dimension [d], mean over examples, nats; largest first."""
    rate = canvas.numbers('rate_per_dim', rate_per_dim, 1)
    order = np.argsort(-rate, kind='stable')
    figure, (axes,) = canvas.figure(theme, 4.8, 3.2)
    axes.bar(np.arange(len(rate)), rate[order], color=theme.bar, width=0.8)
    axes.grid(axis='y', color=theme.faint, linewidth=0.6)
    axes.set_xticks(np.arange(len(rate)) if len(rate) <= 32 else [])
    if len(rate) <= 32:
        axes.set_xticklabels([str(i) for i in order])
    axes.set_xlabel('latent dimension, largest rate first')
    axes.set_ylabel('rate, nats')
    axes.set_title(
        f'{rate.sum():.2f} nats in all; {(rate > 0.01).sum()} of {len(rate)} dimensions above 0.01', fontsize=9
    )
    return canvas.deliver(figure, path)


def vectors(named: Mapping[str, Any], path: str | os.PathLike | None = None, theme: Theme = LIGHT) -> bytes:
    """Sets of flat examples {name: [n, d]}: densities if d = 1, points if d = 2, else strips, one row an example."""
    sets = {name: canvas.numbers(name, rows, 2) for name, rows in named.items()}
    widths = {rows.shape[1] for rows in sets.values()}
    if len(widths) != 1:
        raise Fault(f'sets of examples with {sorted(widths)} dimensions', 'give sets of one dimension')
    wide = widths.pop()
    figure, axes_ = canvas.figure(theme, 4.8, 4.0, len(sets) if wide > 2 else 1)
    if wide > 2:
        low, high = min(a.min() for a in sets.values()), max(a.max() for a in sets.values())
        for axes, (name, rows) in zip(axes_, sets.items()):
            strip = axes.imshow(rows, aspect='auto', vmin=low, vmax=high, cmap='cividis', interpolation='nearest')
            axes.set_title(canvas.named(name), parse_math=False, fontsize=9)
            axes.set_xlabel('dimension')
            axes.set_yticks([])
        canvas.scale(figure, strip, list(axes_), theme)
        return canvas.deliver(figure, path)
    axes, marks = axes_[0], []
    together = np.concatenate(list(sets.values()))
    edges = np.histogram_bin_edges(together, int(np.clip(np.sqrt(len(together)), 8, 40)))
    for rows, colour in zip(sets.values(), PALETTE):
        if wide == 1:
            marks.append(axes.hist(rows[:, 0], edges, density=True, histtype='step', color=colour)[2][0])
        else:
            axes.scatter(rows[:, 0], rows[:, 1], s=8, color=colour, linewidths=0, alpha=0.7)
            marks.append(axes.scatter([], [], s=28, color=colour, linewidths=0))
    canvas.legend(figure, marks, sets, theme)
    return canvas.deliver(figure, path)


def series(metrics: Iterable[Mapping[str, Any]], name: str, against: str = 'step') -> tuple[np.ndarray, np.ndarray]:
    """The finite values of one metric over the rows of metrics.jsonl that have it: (x [m], y [m])."""
    pairs = [(row[against], row[name]) for row in metrics if against in row and name in row]
    finite = [pair for pair in pairs if all(isinstance(v, Real) and math.isfinite(v) for v in pair)]
    return np.array([x for x, _ in finite], float), np.array([y for _, y in finite], float)


def focus(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Limits of y: all of it, unless the first tenth of the way would take more than half of the axis."""
    late = y[x >= x.min() + 0.1 * (x.max() - x.min())]
    low, high = (late.min(), late.max()) if np.ptp(y) > 2 * np.ptp(late) > 0 else (y.min(), y.max())
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return float(low - margin), float(high + margin)


def panels(names: Iterable[str]) -> dict[str, list[str]]:
    """Metric names by what they measure: train/loss and validation/loss share the panel loss."""
    grouped: dict[str, list[str]] = {}
    for name in names:
        grouped.setdefault(name.split('/', 1)[-1], []).append(name)
    return grouped


def curves(
    metrics: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    path: str | os.PathLike | None = None,
    theme: Theme = LIGHT,
) -> bytes:
    """Metrics over steps, from rows of metrics.jsonl: a panel for each quantity, a line for each split."""
    known = {name for row in metrics for name in row}
    if not names or (unknown := [name for name in names if name not in known]):
        raise Fault(f'no metric {unknown[0] if names else ""!r}', f'choose from {", ".join(sorted(known)) or "none"}')
    grouped = panels(names)
    figure, axes_ = canvas.figure(theme, 3.4 * len(grouped), 2.6, len(grouped))
    for axes, (quantity, members) in zip(axes_, grouped.items()):
        lines = [series(metrics, name) for name in members]
        for (x, y), colour in zip(lines, PALETTE * len(lines)):
            axes.plot(x, y, color=colour, linewidth=1.4)
        x, y = (np.concatenate(side) for side in zip(*lines))
        if len(y):
            axes.set_ylim(*focus(x, y))
        axes.set_title(canvas.named(quantity), parse_math=False, fontsize=9)
        axes.set_xlabel('step')
        axes.grid(axis='y', color=theme.faint, linewidth=0.6)
        canvas.legend(axes, axes.lines, [name.rpartition('/')[0] or name for name in members], theme)
    return canvas.deliver(figure, path)

"""How a picture is made: the checks, the mosaic of pixels, the figure with axes, and its bytes on disk."""

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_jax.errors import ENVIRONMENT, NUMBERS, Fault
from vae_jax.files import first_line, replacing

# M. Petroff, Accessible color sequences for data visualization, 2021: ten hues kept apart for colour-blind readers too
PALETTE = ('#3f90da', '#ffa90e', '#bd1f01', '#94a4a2', '#832db6', '#a96b59', '#e76300', '#b9ac70', '#717581', '#92dadd')
TILE, WIDEST = 112, 2048  # pixels: what a small image is enlarged to, and where a mosaic stops growing


class Theme(NamedTuple):
    """Colours of a figure with axes: the ground, text, lines that should not be noticed, and bars."""

    paper: str
    ink: str
    faint: str
    bar: str


LIGHT = Theme('#ffffff', '#3d444d', '#d5d9de', '#3577b5')
DARK = Theme('#15171a', '#b9bfc8', '#3a3f47', '#6aa9de')


def put(path: str | os.PathLike[str], content: bytes) -> Path:
    """Writes a file whole or not at all, in a folder made for it. Raises Fault (code 3) where it cannot be written."""
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f'cannot make the folder {target.parent}: {first_line(error)}'
        raise Fault(what, 'give another path', ENVIRONMENT) from error
    with replacing(target) as temporary:
        temporary.write_bytes(content)
    return target


def numbers(name: str, values: Any, rank: int) -> np.ndarray:
    """A finite, non-empty array of `rank` axes as float64; Fault otherwise."""
    found = np.asarray(values)
    if found.ndim != rank or not found.size:
        raise Fault(f'{name} has shape {found.shape}', f'give a non-empty array of {rank} axes')
    found = found.astype(np.float64)
    if not np.isfinite(found).all():
        raise Fault(
            f'{name} has values that are not finite ({(~np.isfinite(found)).sum()} of {found.size})',
            'stop the run where they first appear',
            NUMBERS,
        )
    return found


def pixels(name: str, images: Any, lead: int) -> np.ndarray:
    """Images in [0, 1] after `lead` axes as uint8 [..., h, w, c], c = 1 or 3; Fault otherwise."""
    found = np.asarray(images)
    if found.ndim == lead + 2:
        found = found[..., None]
    axes = 'n, ' if lead == 1 else 'rows, columns, '
    if found.ndim != lead + 3 or found.shape[-1] not in (1, 3) or not found.size:
        raise Fault(
            f'{name} has shape {np.asarray(images).shape}',
            f'give [{axes}h, w], [{axes}h, w, 1] or [{axes}h, w, 3], not empty',
        )
    found = numbers(name, found, lead + 3)
    if found.min() < -1e-6 or found.max() > 1 + 1e-6:
        raise Fault(
            f'{name} runs from {found.min():.4g} to {found.max():.4g}, not within [0, 1]',
            'divide stored pixels by (levels - 1), or clip means',
        )
    return np.rint(found.clip(0, 1) * 255).astype(np.uint8)


def rgb(colour: str) -> np.ndarray:
    """A colour as three bytes."""
    from matplotlib.colors import to_rgb

    return np.rint(255 * np.array(to_rgb(colour))).astype(np.uint8)


def mosaic(rows: Sequence[np.ndarray], gaps: tuple[int, ...] = (4,)) -> bytes:
    """Rows of tiles [m, h, w, c] as one PNG; the vertical gaps take turns."""
    from PIL import Image

    high, wide, depth = rows[0].shape[1:]
    most = max(len(row) for row in rows)
    scale = max(1, min(TILE // max(high, wide), WIDEST // (most * wide), WIDEST // (len(rows) * high)))
    high, wide, beside = high * scale, wide * scale, min(gaps)
    tops = [i * high + sum(gaps[j % len(gaps)] for j in range(i)) for i in range(len(rows))]
    canvas = np.zeros((tops[-1] + high, most * (wide + beside) - beside, depth + 1), np.uint8)
    for top, row in zip(tops, rows):
        for i, tile in enumerate(row):
            left = i * (wide + beside)
            canvas[top : top + high, left : left + wide, :depth] = tile.repeat(scale, 0).repeat(scale, 1)
            canvas[top : top + high, left : left + wide, depth] = 255
    if canvas[..., depth].all():
        canvas = canvas[..., :depth]
    out = io.BytesIO()
    Image.fromarray(canvas.squeeze(-1) if canvas.shape[-1] == 1 else canvas).save(out, 'png')
    return out.getvalue()


def figure(theme: Theme, wide: float, high: float, panels: int = 1) -> tuple[Any, Any]:
    """A matplotlib figure of `wide` x `high` hundreds of CSS pixels, and its row of quiet axes; no pyplot, no state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure((wide, high), dpi=200, facecolor=theme.paper, layout='constrained')
    FigureCanvasAgg(made)
    axes_ = made.subplots(1, panels, squeeze=False)[0]
    for axes in axes_:
        axes.set(facecolor=theme.paper, axisbelow=True)
        axes.spines[['top', 'right', 'left']].set_visible(False)
        axes.spines['bottom'].set_color(theme.faint)
        axes.tick_params(colors=theme.ink, length=0, labelsize=8)
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
            text.set(color=theme.ink, fontsize=9)
    return made, axes_


def named(text: Any) -> str:
    """A name as it fits into a figure: at most 32 characters, none of them hidden."""
    text = ''.join(c if c.isprintable() else '\ufffd' for c in str(text))
    return text if len(text) <= 32 else text[:31] + '\u2026'


def legend(where: Any, marks: Iterable[Any], names: Iterable[Any], theme: Theme, title: str | None = None) -> None:
    """A key without a frame: inside an axes, or to the right of a figure. Names are text, never mathematics."""
    place = {'loc': 'outside right center'} if hasattr(where, 'savefig') else {'loc': 'best'}
    key = where.legend(list(marks), [named(name) for name in names], frameon=False, title=title, fontsize=8, **place)
    for text in (*key.get_texts(), key.get_title()):
        text.set(color=theme.ink, parse_math=False, fontsize=8)


def scale(figure: Any, drawn: Any, axes: Any, theme: Theme, name: str = '') -> None:
    """A colour bar for what was drawn."""
    bar = figure.colorbar(drawn, ax=axes, fraction=0.04)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=theme.ink, length=0, labelsize=8)
    bar.set_label(name, color=theme.ink, fontsize=9)


def deliver(picture: Any, path: str | os.PathLike | None) -> bytes:
    """The PNG of a figure (or a PNG as it is), written to `path` where one is given."""
    if not isinstance(picture, bytes):
        out = io.BytesIO()
        picture.savefig(out, format='png', metadata={'Software': None})
        picture = out.getvalue()
    if path is not None:
        put(path, picture)
    return picture

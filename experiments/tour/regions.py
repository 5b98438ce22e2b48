"""How densities of two parameters are drawn: the regions that hold 90 % of their mass. No item, a part of two."""

from typing import Any


def regions(theme: Any, panels: list[tuple[str, Any, dict[str, Any], Any, tuple[str, str]]]) -> bytes:
    """A panel for each (title, exact, {name: density on the same grid}, draws [n, 2], names of the axes); PNG.

    The exact region is an area, the others are edges, draws of HMC are points.
    """
    from vae_jax.plot import canvas

    figure, drawn = canvas.figure(theme, max(4.8, 3.3 * len(panels)), 3.9, len(panels))
    for axes, (title, exact, found, draws, (x, y)) in zip(drawn, panels):
        _panel(axes, theme, exact, found, draws)
        axes.set(xlabel=x, ylabel=y)
        axes.set_title(title, fontsize=9)
        _within(axes, [each for _, p, found, *_ in panels if p is exact for each in (exact, *found.values())])
        place = {'loc': 'upper center', 'bbox_to_anchor': (0.5, -0.18), 'ncols': 2}
        key = axes.legend(frameon=False, fontsize=8, handlelength=1.2, **place)
        for text in key.get_texts():
            text.set_color(theme.ink)
    return canvas.deliver(figure, None)


def falling(theme: Any, lines: dict[str, Any]) -> bytes:
    """What is left after each sweep, nats: a curve for each {name: values [sweeps]}, both axes logarithmic; PNG."""
    import numpy as np

    from vae_jax.plot import canvas

    figure, (axes,) = canvas.figure(theme, 4.8, 3.4)
    for (name, left), colour in zip(lines.items(), canvas.PALETTE):
        axes.plot(np.arange(len(left)) + 1, np.asarray(left), color=colour, label=name)
    axes.set(xscale='log', yscale='log', ylim=(1e-3, None), xlabel='sweeps + 1', ylabel='log p(x) - ELBO, nats')
    axes.grid(axis='y', color=theme.faint, linewidth=0.6)
    axes.minorticks_off()
    marks, names = axes.get_legend_handles_labels()
    canvas.legend(axes, marks, names, theme)
    return canvas.deliver(figure, None)


def _panel(axes: Any, theme: Any, exact: Any, found: dict[str, Any], draws: Any) -> None:
    import numpy as np

    from vae_jax.classical import grids
    from vae_jax.plot import canvas

    x, y = (np.asarray(axis) for axis in exact.axes)
    axes.contourf(x, y, np.asarray(exact.log_prob).T, [grids.level(exact), 1e9], colors=[theme.faint])
    axes.fill([], [], color=theme.faint, label='exact')
    for (name, density), colour in zip(found.items(), canvas.PALETTE):
        edge = {'levels': [grids.level(density)], 'colors': [colour], 'linewidths': 1.6, 'linestyles': 'solid'}
        axes.contour(x, y, np.asarray(density.log_prob).T, **edge)
        axes.plot([], [], color=colour, label=name)
    if len(draws):
        axes.plot(*np.asarray(draws).T, '.', color=theme.ink, markersize=2, label='HMC')


def _within(axes: Any, densities: list[Any]) -> None:
    """Limits that show 97 % of every density."""
    import numpy as np

    from vae_jax.classical import grids

    inside = np.any([np.asarray(density.log_prob) > grids.level(density, 0.97) for density in densities], 0)
    for axis, side, limits in zip(densities[0].axes, np.argwhere(inside).T, (axes.set_xlim, axes.set_ylim)):
        limits(float(axis[side.min()]), float(axis[side.max()]))

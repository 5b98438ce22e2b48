"""Pictures of a mixture of houses: the town with its groups, and how the groups were found."""

from typing import Any


def town(theme: Any, rows: Any, groups: Any, drawn: Any) -> bytes:
    """Houses [n, 3] (longitude, latitude, log price), the groups' ellipses, new houses, and the average one; PNG."""
    import numpy as np

    from vae_jax.plot import canvas

    figure, (ax,) = canvas.figure(theme, 4.8, 3.9)
    (x, y), angle = rows[:, :2].T, np.linspace(0, 2 * np.pi, 60)
    dots = ax.scatter(x, y, c=np.exp(rows[:, 2]) / 1000, s=2, cmap='viridis', vmin=80, vmax=350)
    for mean, factor in zip(groups.mean, groups.lower):
        edge = mean[:2, None] + factor[:2, :2] @ np.stack([np.cos(angle), np.sin(angle)])
        ax.plot(*(edge * rows.std(0)[:2, None] + rows.mean(0)[:2, None]), color=theme.ink, linewidth=0.8)
    ax.scatter(*drawn[:, :2].T, s=4, color=canvas.PALETTE[2])
    ax.plot(x.mean(), y.mean(), 'x', color=canvas.PALETTE[2], markersize=9, markeredgewidth=2.5)
    ax.set(xlabel='longitude', ylabel='latitude', aspect=1 / np.cos(np.radians(y.mean())))
    ax.set(xlim=np.quantile(x, [0, 0.999]), xticks=np.quantile(x, [0.01, 0.99]).round(2))
    canvas.scale(figure, dots, ax, theme, 'price, thousand dollars')
    return canvas.deliver(figure, None)


def search(theme: Any, bics: dict[str, dict[int, float]], climbs: dict[str, Any]) -> bytes:
    """Left {shape: {groups: BIC}}, thousands above the lowest; right {method: log p(x) [passes], nats a house}; PNG."""
    import numpy as np

    from vae_jax.plot import canvas

    figure, (left, right) = canvas.figure(theme, 4.8, 2.9, 2)
    least = min(min(of.values()) for of in bics.values())
    for of, colour in zip(bics.values(), canvas.PALETTE):
        shown = {k: bic for k, bic in of.items() if k > 1}  # one normal is far above all
        left.plot(list(shown), (np.array(list(shown.values())) - least) / 1000, 'o-', color=colour, markersize=3)
    for climb, colour in zip(climbs.values(), (theme.bar, canvas.PALETTE[2])):
        right.plot(np.arange(len(climb)) + 1, climb, color=colour, linewidth=1.6)
    left.set(xlabel='groups', ylabel='BIC above the lowest, thousands')
    right.set(xlabel='passes over the houses', ylabel='log p(x), nats a house', xscale='log')
    right.set_ylim(bottom=np.quantile(np.concatenate(list(climbs.values())), 0.002))
    right.minorticks_off()
    right.set_xticks(
        ticks := [10**i for i in range(4) if 10**i <= max(map(len, climbs.values()))], [f'{n:,}' for n in ticks]
    )
    canvas.legend(left, left.lines, bics, theme)
    canvas.legend(right, right.lines, climbs, theme)
    return canvas.deliver(figure, None)

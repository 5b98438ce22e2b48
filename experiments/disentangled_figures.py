"""Figures of experiments.disentangled: scores with every seed a dot, rank correlations, shares of variance."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from experiments import disentangled as told
from vae_jax import statistics
from vae_jax.plot import PALETTE, Theme, canvas

Plan = tuple[str, str, Callable[[Theme], bytes]]
GROUPS = {
    'held': ('A factor held', ('beta_vae', 'factor_vae')),
    'gaps': ('Gaps between the first two dimensions', ('mig', 'sap')),
    'shared': ('Importances shared out', ('dci_disentanglement', 'dci_completeness')),
    'nats': ('Information shared out', ('infom', 'infoc')),
    'modular': ('Dimensions of one factor', ('modularity', 'irs')),
    'told': ('How well factors are told', ('dci_informativeness', 'infoe')),
    'lines': ('How well values are told by a line', ('explicitness', 'active_units')),
    'fit': ('What it costs', ('test_nll', 'test_rate')),
}


def plans(stored: Mapping[str, Any]) -> dict[str, Plan]:
    """{name: (heading, caption, draw(theme))} of all figures."""
    caption = 'A dot is a run, a bar the mean over five seeds with its 95 % t interval; weak, medium, strong.'
    found: dict[str, Plan] = {
        name: (heading, caption, partial(scores, stored, names)) for name, (heading, names) in GROUPS.items()
    }
    runs = np.size(stored['values']['mig'])
    found['ranks'] = (
        'Rank correlations',
        f'Spearman, between the scores of {runs} runs, in hundredths.',
        partial(ranks, stored),
    )
    found['shares'] = (
        'Shares of variance',
        'Between methods, between the strengths of a method, between seeds; the last bar is what noise alone would be.',
        partial(variance, stored),
    )
    return found


def scores(stored: Mapping[str, Any], names: tuple[str, ...], theme: Theme) -> bytes:
    """A panel a metric: methods side by side, their strengths from left to right."""
    figure, panels = canvas.figure(theme, 3.0 * len(names), 2.9, len(names))
    methods, count = stored['methods'], len(stored['strengths'])
    for axes, name in zip(panels, names):
        for i, colour in zip(range(len(methods)), PALETTE):
            for j, values in enumerate(stored['values'][name][i]):
                place, found = i * (count + 1) + j, statistics.interval(values)
                axes.scatter([place] * len(values), values, s=9, color=colour, alpha=0.55, linewidths=0)
                half = [[found.mean - found.low], [found.high - found.mean]]
                axes.errorbar([place], [found.mean], yerr=half, color=colour, capsize=2, marker='_', elinewidth=1)
        axes.set_xticks([i * (count + 1) + (count - 1) / 2 for i in range(len(methods))])
        axes.set_xticklabels([canvas.named(method) for method in methods])
        axes.tick_params(axis='x', labelsize=7)
        axes.set_title(told.NAMES[name], fontsize=9)
        axes.grid(axis='y', color=theme.faint, linewidth=0.6)
    return canvas.deliver(figure, None)


def ranks(stored: Mapping[str, Any], theme: Theme) -> bytes:
    """The matrix of rank correlations, -log p(x) and the rate beside the scores."""
    names = {**told.SCORES, 'test_nll': told.NAMES['test_nll'], 'test_rate': told.NAMES['test_rate']}
    matrix = told.ranks(stored, names)
    figure, (axes,) = canvas.figure(theme, 7.2, 6.0)
    drawn = axes.imshow(matrix, cmap='RdBu', vmin=-1, vmax=1)
    for i, j in np.ndindex(matrix.shape):
        colour = 'white' if abs(matrix[i, j]) > 0.6 else 'black'
        axes.text(j, i, f'{100 * matrix[i, j]:.0f}', ha='center', va='center', color=colour, fontsize=7)
    axes.set_xticks(range(len(names)))
    axes.set_yticks(range(len(names)))
    axes.set_xticklabels(names.values(), rotation=45, ha='right')
    axes.set_yticklabels(names.values())
    canvas.scale(figure, drawn, axes, theme)
    return canvas.deliver(figure, None)


def variance(stored: Mapping[str, Any], theme: Theme) -> bytes:
    """A bar a metric, in parts of method, strength and seed."""
    names = [*told.SCORES, 'test_nll', 'test_rate']
    found = [told.shares(stored['values'][name]) for name in names] + [told.expected(stored['values']['mig'])]
    labels = [*(told.NAMES[name] for name in names), 'noise alone']
    figure, (axes,) = canvas.figure(theme, 6.4, 4.4)
    left, bars = np.zeros(len(found)), []
    for part, colour in zip(told.Shares._fields, (PALETTE[0], PALETTE[1], PALETTE[3])):
        width = np.array([getattr(one, part) for one in found])
        bars.append(axes.barh(range(len(found)), width, left=left, color=colour, height=0.75))
        for i in np.flatnonzero(width > 0.06):
            text = f'{100 * width[i]:.0f}'
            axes.text(left[i] + width[i] / 2, i, text, ha='center', va='center', color='black', fontsize=7)
        left += width
    axes.set_yticks(range(len(found)))
    axes.set_yticklabels(labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel('share of variance over all runs, per cent inside')
    canvas.legend(figure, bars, told.Shares._fields, theme)
    return canvas.deliver(figure, None)

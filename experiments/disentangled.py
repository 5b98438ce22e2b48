"""What the sweep of experiments.disentanglement says: its table, its figures, and where the variance lies.

Claim     The numbers in experiments/results/disentanglement.json are those of one finished sweep, and all that is told
          of them, figures too, is computed from that file.
Command   python -m experiments.disentangled RUN           (stores them)
          python -m experiments.disentangled               (writes figures and a page from what is stored)
Expected  see experiments/README.md
Time      2 s
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments import documents, studies
from experiments.disentanglement import STRENGTHS
from vae_jax import runs, statistics
from vae_jax.errors import Fault

STORED = Path(__file__).parent / 'results' / 'disentanglement.json'
SCORES = {
    'beta_vae': 'beta-VAE score',
    'factor_vae': 'FactorVAE score',
    'mig': 'MIG',
    'sap': 'SAP',
    'dci_disentanglement': 'DCI D',
    'dci_completeness': 'DCI C',
    'dci_informativeness': 'DCI I',
    'modularity': 'modularity',
    'explicitness': 'explicitness',
    'irs': 'IRS',
    'infom': 'InfoM',
    'infoe': 'InfoE',
    'infoc': 'InfoC',
}
BESIDE = {
    'test_nll': '-log p(x)',
    'test_rate': 'rate',
    'test_distortion': 'distortion',
    'active_units': 'active units',
    'total_correlation': 'TC',
    'tc_of_means': 'Gaussian TC of means',
    'tc_of_samples': 'of samples',
    'mig_of_samples': 'MIG of samples',
    'sap_of_samples': 'SAP of samples',
}
NAMES = {**SCORES, **BESIDE}


class Shares(NamedTuple):
    """Parts of a metric's variance over all runs, of sum 1: between methods, strengths of a method, and seeds."""

    method: float
    strength: float
    seed: float


def shares(values: Any) -> Shares:
    """Sums of squares of values [methods, strengths, seeds], strengths within methods, over their total.

    Of noise alone they would be as the degrees of freedom: m - 1, m (s - 1) and m s (n - 1) of m s n - 1.
    """
    values = np.asarray(values, float)
    cells = values.mean(2)
    methods = cells.mean(1)
    total = np.sum((values - values.mean()) ** 2)
    between = [
        values[0].size * np.sum((methods - methods.mean()) ** 2),
        values.shape[2] * np.sum((cells - methods[:, None]) ** 2),
        np.sum((values - cells[..., None]) ** 2),
    ]
    return Shares(*(float(part / total) for part in between)) if total > 0 else Shares(0.0, 0.0, 0.0)


def expected(values: Any) -> Shares:
    """The shares of noise alone."""
    m, s, n = np.shape(values)
    return Shares(*(part / (m * s * n - 1) for part in (m - 1, m * (s - 1), m * s * (n - 1))))


def ranks(stored: Mapping[str, Any], names: Mapping[str, str] = SCORES) -> np.ndarray:
    """Spearman's rank correlations [metrics, metrics] over all runs."""
    from scipy.stats import spearmanr

    return np.asarray(spearmanr(np.stack([np.ravel(stored['values'][name]) for name in names], 1)).statistic)


def store(folder: Path) -> Path:
    """experiments/results/disentanglement.json of a finished sweep. Raises Fault where a run of it has no result."""

    told, rows = runs.read_json(folder / 'config.json'), studies.rows_of(folder)
    found = {(row['flags']['method'], row['flags']['strength'], row['seed']): row['result'] for row in rows}
    methods, strengths, seeds = (list(dict.fromkeys(key[i] for key in found)) for i in range(3))
    if len(found) != len(methods) * len(strengths) * len(seeds) or not all(found.values()):
        raise Fault(f'{folder} lacks runs of a method, a strength or a seed', 'sweep all of them, and none diverged')
    of = lambda name: [[[found[m, s, seed][name] for seed in seeds] for s in strengths] for m in methods]
    document = documents.made_by(
        studies._shown(told['command']),
        training_s=round(studies.training_seconds(folder)),
        methods=methods,
        strengths=strengths,
        seeds=seeds,
        values={name: np.round(of(name), 5).tolist() for name in NAMES},
    )
    return documents.store(STORED, document)


def verdict(stored: Mapping[str, Any]) -> str:
    """Whether seed and strength matter more than the method (Locatello et al. 2019), in numbers."""
    found = [shares(stored['values'][name]) for name in SCORES]
    both = sum(one.strength + one.seed > one.method for one in found)
    seed = sum(one.seed > one.method for one in found)
    likelihood = shares(stored['values']['test_nll'])
    return (
        f'Strength and seed together have more of the variance over runs than the method in {both} of {len(found)} '
        f'scores, the seed alone in {seed}; of -log p(x) the seed has {100 * likelihood.seed:.0f} %.'
    )


def _cell(values: list[float]) -> str:
    found = statistics.interval(values)
    digits = 3 if abs(found.mean) < 2 else 1
    return f'{found.mean:.{digits}f} +- {found.high - found.mean:.{digits}f}'


def table(stored: Mapping[str, Any]) -> str:
    """Markdown: every metric's mean over seeds with its 95 % t interval, and the shares of its variance."""
    cells = [
        (f'{m} {STRENGTHS[m][round(s) - 1]:g}', i, j)
        for i, m in enumerate(stored['methods'])
        for j, s in enumerate(stored['strengths'])
    ]
    parts = [
        'Five seeds, +- half of the 95 % t interval; mean codes of 5,000 training sprites, all ten dimensions (in most '
        'runs 3 to 6 of them are active, so modularity is in part that of unused ones); -log p(x) by 32 samples, which '
        'is 0.3 to 0.8 nats too high. Shares are of sums of squares: method has 4 degrees of freedom, strength 10, '
        'seed 60, and the last row is what noise alone would give.'
    ]
    for names in ([*list(BESIDE)[:5], *list(SCORES)[:4]], list(SCORES)[4:]):
        rows = [[cell, *(_cell(stored['values'][name][i][j]) for name in names)] for cell, i, j in cells]
        parts.append(documents.markdown(['method, weight', *(NAMES[name] for name in names)], rows))
    chance = expected(stored['values']['mig'])
    rows = [[label, *(f'{share:.2f}' for share in shares(stored['values'][name]))] for name, label in SCORES.items()]
    rows.append(['noise alone', *(f'{share:.2f}' for share in chance)])
    parts.append(documents.markdown(['share of variance', *Shares._fields], rows))
    matrix = ranks(stored, {**SCORES, **BESIDE})
    place = {name: i for i, name in enumerate(NAMES)}
    pairs = [(name, f'{name}_of_samples') for name in ('mig', 'sap')]
    alike = ', '.join(f'{NAMES[a]} {matrix[place[a], place[b]]:.2f}' for a, b in pairs)
    parts.append(f'{verdict(stored)} Rank correlation over runs of scores of means and of samples: {alike}.')
    return '\n\n'.join(parts)


def page(stored: Mapping[str, Any], folder: Path) -> Path:
    """Figures as PNG and in one page that needs no network: every score, rank correlations, shares of variance."""
    from experiments import disentangled_figures as drawing
    from vae_jax import plot, report

    figures = []
    for name, (heading, caption, draw) in drawing.plans(stored).items():
        light, dark = draw(plot.LIGHT), draw(plot.DARK)
        plot.put(folder / f'{name}.png', light)
        figures.append(report.Figure(heading, caption, f'{heading}: {caption}', light, dark))
    rows = [[label, *shares(stored['values'][name])] for name, label in SCORES.items()]
    told = report.Table('Shares of variance', ['score', *Shares._fields], rows)
    title = 'Disentanglement on sprites: five methods, three strengths, five seeds'
    how = {'command': stored['command'], 'notes': [verdict(stored)]}
    return report.write(folder / 'disentanglement.html', title=title, figures=figures, tables=[told], **how)


def main() -> int:
    from vae_jax import process

    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('folder', nargs='?', type=Path, help='a finished sweep to store; none: draw what is stored')
    parser.add_argument('--out', type=Path, default=Path('runs') / 'disentangled', help='where figures and page go')
    given = parser.parse_args()
    try:
        print(store(given.folder) if given.folder else page(json.loads(STORED.read_text()), given.out))
    except Fault as fault:
        process.tell(f'error: {fault}')
        return fault.code
    return 0


if __name__ == '__main__':
    raise SystemExit(main())

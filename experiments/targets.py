"""What papers report beside what is stored here, and how the protocols differ: a table of experiments/README.md.

Published values marked * are quoted from memory of the paper. Nothing here is typed but those: the rest is read from
experiments/results/.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments import documents
from vae_jax import statistics


class Target(NamedTuple):
    """A result of a paper: what it is, the published value, what was found here, and what was done otherwise."""

    what: str
    published: str
    here: Callable[[], str]
    differs: str


def stored(name: str) -> dict[str, Any]:
    """What lies in experiments/results/<name>.json. Raises FileNotFoundError where there is none."""
    return json.loads((documents.RESULTS / f'{name}.json').read_text())


def of_study(name: str, metric: str, **flags: Any) -> dict[str, float]:
    """Mean of a metric and half of its interval, in the first row of a study that has those of the flags it names."""
    rows = stored(f'studies/{name}')['rows']
    found = next(row for row in rows if all(str(row['flags'].get(k, v)) == str(v) for k, v in flags.items()))
    value = found['values'][metric]
    return {'mean': value['mean'], 'half': (value['high'] - value['low']) / 2}


def shown(found: dict[str, float]) -> str:
    """mean +- half of its interval."""
    return f'{found["mean"]:.2f} +- {found["half"]:.2f}'


def in_turn(name: str, metric: str, flag: str, values: Sequence[Any], **flags: Any) -> str:
    """A metric of several rows of a study, one after the other."""
    return ' / '.join(shown(of_study(name, metric, **{flag: value}, **flags)) for value in values)


def over_seeds(name: str, metric: str, sign: int = 1) -> str:
    """A metric over the seeds of a protocol; of one seed its value alone."""
    rows = stored(name)['results']
    found = statistics.interval([sign * row[metric] for row in rows])
    return shown({'mean': found.mean, 'half': found.high - found.mean}) if found.n > 1 else f'{found.mean:.2f}'


def slopes(*parts: tuple[str, str]) -> str:
    """Mean slopes of the signal-to-noise ratio on K."""
    rows = stored('snr')['rows']
    by_part = {(row['estimator'], row['part']): sum(row['slopes']) / len(row['slopes']) for row in rows}
    return ' / '.join(f'{by_part[part]:.2f}' for part in parts)


def quadrants(method: str) -> str:
    """-ELBO on grey pixels with one, two and three quadrants seen, mean over seeds."""
    rows = stored('quadrants')['rows']
    seen = {row['seen']: row['minus_elbo'] for row in rows if (row['pixels'], row['method']) == ('grey', method)}
    return ' / '.join(f'{sum(seen[count]) / len(seen[count]):.1f}' for count in ('one', 'two', 'three'))


def larger_gap() -> str:
    """In how many rows of the gaps the amortization gap is the larger one."""
    rows = stored('gaps')['rows']
    return f'the larger one in {sum(row["amortization"] > row["approximation"] for row in rows)} of {len(rows)}'


def active_latents() -> str:
    """Of the linear VAE: predicted and found numbers of active latents."""
    rows = stored('linear_vae')['rows']
    same = sum(count == row['predicted'] for row in rows for count in row['active'])
    return f'as predicted in {same} of {sum(len(row["active"]) for row in rows)} runs'


def above() -> str:
    """At how many points of figure 2 AEVB is above wake-sleep."""
    rows = stored('aevb_figure2')['rows']
    value = {tuple(row[k] for k in ('dataset', 'latent', 'seed', 'samples', 'method')): row['test'] for row in rows}
    pairs = [(a, value[*key, 'wake_sleep']) for (*key, method), a in value.items() if method == 'aevb']
    return f'{sum(a > b for a, b in pairs)} of {len(pairs)} points'


TARGETS = (
    Target(
        'VAE example of flax, static MNIST, -ELBO', '103.3', lambda: over_seeds('static_mnist', 'test_elbo', -1), '-'
    ),
    Target(
        'IWAE, one layer, static, k = 1 / 5 / 50',
        '88.71 / 87.63 / 87.10',
        lambda: in_turn('iwae', 'test_nll', 'k', (1, 5, 50), objective='iwae'),
        '50 epochs for 3,280, batch 100 for 20',
    ),
    Target(
        'IWAE, one layer, dynamic, k = 1',
        '86.76',
        lambda: over_seeds('iwae_network_k1', 'test_nll'),
        '100 epochs for 3,280; one seed',
    ),
    Target(
        'N(0, I) / VampPrior, static',
        '88.56 * / 85.57',
        lambda: in_turn('vampprior', 'test_nll', 'prior', ('natural', 'vampprior'), posterior='normal'),
        '50 epochs with a warm-up of 10 for early stopping with one of 100; 200 pseudo-inputs for 500; 1,000 samples',
    ),
    Target(
        'the lowest static MNIST',
        '79.24 (convolutional ladder, 3 layers)',
        lambda: shown(of_study('headline', 'test_nll')),
        'VampPrior x IAF on dense networks; 1,000 samples; its sandwich: experiments/headline.py; needs a GPU',
    ),
    Target(
        'slopes of the signal on K: encoder by IWAE, by DReG, decoder',
        '-0.5 / 0.5 / 0.5',
        lambda: slopes(('IWAE', 'encoder'), ('DReG', 'encoder'), ('IWAE', 'decoder')),
        '4 dimensions for 20',
    ),
    Target(
        'quadrants, regressor, 1 / 2 / 3 seen',
        '100.4 / 61.9 / 25.4',
        lambda: quadrants('regressor'),
        'two hidden layers of 200 for 500; a soft score on grey pixels',
    ),
    Target('quadrants, CVAE, 1 / 2 / 3 seen', '71.8 / 51.0 / 24.2', lambda: quadrants('cvae'), 'the same'),
    Target('amortization gap beside approximation gap', 'usually the larger one', larger_gap, '100 images; one seed'),
    Target('latents of the linear VAE that collapse', 'those below sigma^2', active_latents, '-'),
    Target(
        'AEVB above wake-sleep',
        'everywhere',
        above,
        'a million samples for 100 million; weights begin at a variance of 0.01, which throws wake-sleep off on MNIST',
    ),
)


def table() -> str:
    """The targets as Markdown; of what is not stored, that."""
    lines = []
    for target in TARGETS:
        try:
            here = target.here()
        except FileNotFoundError as error:
            here = f'not run: {Path(error.filename).stem}'
        lines.append([target.what, target.published, here, target.differs])
    columns = ['result', 'published', 'here', 'what was done otherwise']
    return documents.markdown(columns, lines) + (
        '\n\n-log p(x) in nats unless said, mean over seeds +- half of its 95 % t interval. * from memory of the '
        'paper. Where there are fewer steps, what can be compared is the order and the gaps between methods.'
    )

"""Figure 3 of Kingma & Welling (2013): log p(x) of AEVB, wake-sleep and Monte Carlo EM, exact by quadrature.

Claim     From 1,000 rows of MNIST AEVB is above wake-sleep, and Monte Carlo EM, with five updates a batch and eight
          times the time, above both; from 50,000 AEVB is 11 nats above in the mean, which three seeds do not settle.
          On digits all three end within half a nat of each other.
Command   python -m experiments.aevb_figure3 --data-dir DIR [--full]      (stores experiments/results/aevb_figure3.json)
Expected  exact log p(x) of 20 test images, three seeds, nats +- half of the 95 % t interval; MNIST, 300,000 samples,
          1,000 rows: AEVB -155.9 +- 2.1, wake-sleep -169.2 +- 6.0, Monte Carlo EM -148.9 +- 4.2; 50,000 rows: AEVB
          -157.1 +- 9.8, wake-sleep -167.9 +- 3.6; digits: -24.0 to -24.5
Time      about 25 minutes of processor, most of it quadrature; --full was not run

Protocol (section 5 and appendix E of the paper): 100 tanh units, 3 latents, few and many training rows; Monte Carlo EM
has 10 leapfrog steps at 90 % acceptance and then 5 updates of the weights, without an encoder; all else as in
aevb_figure2. The paper estimates log p(x) by samples (appendix D); three latents admit quadrature, which tells its
error. Monte Carlo EM keeps a chain for every row: it is run where they are at most 2,000.
"""

import dataclasses
from typing import Any, NamedTuple

from experiments import aevb, documents

METHODS = {**aevb.METHODS, 'mcem': 'Monte Carlo EM'}
MOST_CHAINS = 2000  # rows that Monte Carlo EM is run on


class Setting(NamedTuple):
    """A dataset, its networks, numbers of training rows (0: all), samples that are seen, images that are measured."""

    dataset: str
    hidden: int
    rows: tuple[int, ...]
    samples: int
    images: int
    points: int  # of each axis of the quadrature


REDUCED = (
    Setting('digits', 100, (200, 0), 200_000, 20, 17),
    Setting('mnist', 100, (1000, 50_000), 300_000, 20, 11),
)
FULL = (Setting('mnist', 100, (1000, 50_000), 20_000_000, 100, 17),)
SMOKE = (Setting('digits', 8, (100,), 3_200, 3, 7),)


def trainer_of(method: str, model: Any, rows: int) -> Any:
    """The trainer of a method; of Monte Carlo EM with a chain for each of the rows."""
    import optax

    import vae_jax as vj
    from vae_jax.classical import mcem

    if method == 'mcem':  # its loss is log p(x, z) alone: the prior of the weights is in the optimizer
        adagrad = lambda hyper: optax.chain(optax.add_decayed_weights(1 / rows), aevb.adagrad(hyper))
        return mcem.monte_carlo_em(model, mcem.by_gradient(model, adagrad, 5), rows)
    return vj.trainer(model.init, vj.per_example(aevb.objective_of(method, model, rows)), aevb.adagrad)


def curves_of(setting: Setting, run: Any, seed: int) -> list[dict[str, Any]]:
    """Each method on each number of training rows: exact log p(x) of some training and test images.

    Monte Carlo EM keeps a chain for every row: where there are many it is left out, as in the paper.
    """
    import jax
    import jax.numpy as jnp

    import vae_jax as vj
    from experiments import common
    from vae_jax import evaluation
    from vae_jax.evaluation.streaming import some

    data, found, key = common.data_of(setting.dataset, run, binarization='dynamic'), [], jax.random.key(seed)
    model = aevb.model_of(setting.hidden, 3, data.example, vj.Bernoulli)
    for count in setting.rows:
        train = some(data.train, min(count or len(data.train), len(data.train)))
        train = dataclasses.replace(train, rows={**train.rows, 'row': jnp.arange(len(train))})
        splits = {
            name: some(split, min(setting.images, len(split))) for name, split in zip(aevb.WHERE, (train, data.test))
        }

        def look(params: Any, splits: Any = splits) -> dict[str, Any]:
            told: dict[str, Any] = {}
            for name, few in splits.items():
                one = evaluation.quadrature(model, params, few, key, points=setting.points, dtype='float32')
                told |= {name: -one.estimate.mean, f'{name}_se': one.estimate.se, f'{name}_error': one.error.max()}
            return {name: float(value) for name, value in told.items()}

        for method in METHODS if len(train) <= MOST_CHAINS else aevb.METHODS:
            told = {'dataset': setting.dataset, 'rows': len(train), 'method': method, 'seed': seed}
            trainer = trainer_of(method, model, len(train))
            rows = aevb.curve(trainer, look, train, key, run.lr, setting.samples, 5)
            found += [told | row for row in rows]
    return found


def table(stored: dict[str, Any]) -> str:
    """The stored curves as Markdown: a row a method and number of training rows, log p(x) as it rises."""
    from vae_jax import statistics

    columns = ['data', 'rows', 'method', *(f'test, {part} of the samples' for part in ('1/16', '1/4', 'all'))]
    columns += ['less AEVB', 'train', 's']
    lines, curves = [], aevb.by_method(stored['rows'], 'dataset', 'rows')
    for (dataset, rows), found in curves.items():
        for method, seeds in found.items():
            cells = [dataset, f'{rows:,}', METHODS[method]]
            for at in (0, 2, -1):
                cells.append(aevb.told(statistics.interval([curve[at]['test'] for curve in seeds.values()])))
            ends = {name: {seed: curve[-1]['test'] for seed, curve in found[name].items()} for name in (method, 'aevb')}
            cells.append('' if method == 'aevb' else aevb.told(statistics.paired(ends[method], ends['aevb'])))
            cells.append(aevb.told(statistics.interval([curve[-1]['train'] for curve in seeds.values()])))
            cells.append(f'{sum(curve[-1]["seconds"] for curve in seeds.values()) / len(seeds):.0f}')
            lines.append(cells)
    errors = sorted(row[f'{name}_error'] for row in stored['rows'] for name in aevb.WHERE)
    return documents.markdown(columns, lines) + (
        f'\n\nlog p(x) in nats by quadrature over three latents; of the worst image of a point of a curve its grids '
        f'differ by {errors[len(errors) // 2]:.2g} in the median, by {errors[-1]:.2g} at most. Mean over seeds '
        '+- half of its 95 % t interval, on the same images for all; "less AEVB" is paired by seed; s: training from '
        f'the first look to the last. {stored["protocol"]}'
    )


def picture(stored: dict[str, Any], theme: Any) -> bytes:
    """The figure: a panel for each dataset and number of training rows, test log p(x) of each method."""
    from vae_jax.plot import canvas

    curves = aevb.by_method(stored['rows'], 'dataset', 'rows')
    made, axes = canvas.figure(theme, 2.7 * len(curves), 2.8, len(curves))
    for ax, ((dataset, rows), found) in zip(axes, curves.items()):
        for colour, seeds in zip(canvas.PALETTE, found.values()):
            ax.plot(*aevb.mean_curve(seeds), color=colour, linewidth=1.4)
        canvas.legend(ax, ax.lines, [METHODS[method] for method in found], theme)
        ax.set(title=f'{dataset}, {rows:,} rows', xlabel='log10 of the samples seen')
    axes[0].set(ylabel='log p(x) of test images, nats')
    return canvas.deliver(made, None)


def main(argv: list[str] | None = None) -> int:
    return aevb.command('aevb_figure3', __doc__, argv, (SMOKE, REDUCED, FULL), curves_of, table)


if __name__ == '__main__':
    raise SystemExit(main())

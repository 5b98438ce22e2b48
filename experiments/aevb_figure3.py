"""Figure 3 of Kingma & Welling (2013): log p(x) of AEVB, wake-sleep and Monte Carlo EM, exact by quadrature.

Claim     While few samples have been seen Monte Carlo EM is ahead, with its five updates a batch; at the end all three
          are within 0.3 nats of each other. That wake-sleep stays behind AEVB, as in the paper, is not seen here: the
          difference is 0.2 nats at first and nothing at the end. One seed and 20 images rank nothing finer.
Command   python -m experiments.aevb_figure3 [--full --data-dir DIR]      (stores experiments/results/aevb_figure3.json)
Expected  digits, one seed, exact log p(x) of 20 test images, AEVB / wake-sleep / Monte Carlo EM, nats: 200 rows, 12,500
          samples -26.58 / -26.78 / -25.17, 200,000 samples -24.30 / -24.37 / -24.42; 1,297 rows -26.39 / -26.57 /
          -25.01 and -24.37 / -24.33 / -24.60; standard error over images 0.8 to 0.9, error of the quadrature 0.03
Time      52 s of processor, 146 s by the clock of a core that others were using too; --full was not run

Protocol (section 5 and appendix E of the paper): 100 tanh units, 3 latents, few and many training rows; Monte Carlo EM
has 10 leapfrog steps at 90 % acceptance and then 5 updates of the weights, without an encoder; all else as in
aevb_figure2. The paper estimates log p(x) by samples (appendix D); three latents admit quadrature, which tells its
error. Like there, Monte Carlo EM is run on few rows alone with --full: it keeps a chain for every row.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

from experiments import aevb_figure2 as figure2
from experiments import documents

METHODS = {**figure2.METHODS, 'mcem': 'Monte Carlo EM'}


class Setting(NamedTuple):
    """A dataset, its networks, numbers of training rows (0: all), samples that are seen, images that are measured."""

    dataset: str
    hidden: int
    rows: tuple[int, ...]
    samples: int
    images: int
    points: int  # of each axis of the quadrature


REDUCED = Setting('digits', 100, (200, 0), 200_000, 20, 17)
FULL = Setting('mnist', 100, (1000, 50_000), 20_000_000, 100, 17)
SMOKE = Setting('digits', 8, (100,), 3_200, 3, 7)


def trainer_of(method: str, model: Any, rows: int) -> Any:
    """The trainer of a method; of Monte Carlo EM with a chain for each of the rows."""
    import optax

    import vae_jax as vj
    from vae_jax.classical import mcem

    if method == 'mcem':  # its loss is log p(x, z) alone: the prior of the weights is in the optimizer
        adagrad = lambda hyper: optax.chain(optax.add_decayed_weights(1 / rows), figure2.adagrad(hyper))
        return mcem.monte_carlo_em(model, mcem.by_gradient(model, adagrad, 5), rows)
    return vj.trainer(model.init, vj.per_example(figure2.objective_of(method, model, rows)), figure2.adagrad)


def curve(method: str, train: Any, data: Any, setting: Setting, lr: float) -> list[dict[str, Any]]:
    """A row each time the samples seen have doubled: exact log p(x) of some training and test images."""
    import time

    import jax

    import vae_jax as vj
    from vae_jax import evaluation
    from vae_jax.evaluation.streaming import some

    model, key = figure2.model_of(setting.hidden, 3, data.example, vj.Bernoulli), jax.random.key(0)
    trainer = trainer_of(method, model, len(train))
    state, rows, at, spent = vj.start(trainer, train, figure2.Hyper(lr), key, batch=figure2.BATCH), [], 0, 0.0
    steps = setting.samples // figure2.BATCH
    chunk = max(1, steps // 2**4)
    vj.advance(trainer, state, train, key, steps=chunk, batch=figure2.BATCH)  # compiled before the clock starts
    for look in figure2.doubling(steps // chunk, 5):
        started = time.perf_counter()
        for _ in range(look - at):
            state, _ = vj.advance(trainer, state, train, key, steps=chunk, batch=figure2.BATCH)
        at, spent = look, spent + time.perf_counter() - started
        row: dict[str, Any] = {'rows': len(train), 'method': method, 'samples': at * chunk * figure2.BATCH}
        row |= {'dataset': setting.dataset, 'seconds': round(spent, 2)}
        for name, split in (('train', train), ('test', data.test)):
            few = some(split, min(setting.images, len(split)))
            found = evaluation.quadrature(model, state.params, few, key, points=setting.points, dtype='float32')
            row |= {
                name: -found.estimate.mean,
                f'{name}_se': found.estimate.se,
                f'{name}_error': float(found.error.max()),
            }
        rows.append(row)
    return rows


def measured(setting: Setting, run: Any, methods: tuple[str, ...] = tuple(METHODS)) -> list[dict[str, Any]]:
    """All curves; of `setting.rows` training rows each, every row with its number for the chains."""
    import jax.numpy as jnp

    from experiments import common
    from vae_jax.evaluation.streaming import some

    data, found = common.data_of(setting.dataset, run, binarization='dynamic'), []
    for count in setting.rows:
        train = some(data.train, min(count or len(data.train), len(data.train)))
        train = dataclasses.replace(train, rows={**train.rows, 'row': jnp.arange(len(train))})
        for method in methods:
            if not (run.full and method == 'mcem' and len(train) > 1000):
                found += curve(method, train, data, setting, run.lr)
    return found


def table(stored: dict[str, Any]) -> str:
    """The stored curves as Markdown: a row a method and number of training rows, log p(x) as it rises."""
    curves: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for row in stored['rows']:
        curves.setdefault((row['rows'], row['method']), []).append(row)
    seen = [row['samples'] for row in next(iter(curves.values()))]
    columns = ['training rows', 'method', *(f'test, {count:,} samples seen' for count in seen), 'train at the end', 's']
    lines = []
    for (rows, method), points in curves.items():
        cells = [f'{rows:,}', METHODS[method], *(f'{p["test"]:.2f} +- {p["test_se"]:.2f}' for p in points)]
        cells += [f'{points[-1]["train"]:.2f} +- {points[-1]["train_se"]:.2f}', f'{points[-1]["seconds"]:.0f}']
        lines.append(cells)
    error = max(row[f'{name}_error'] for row in stored['rows'] for name in figure2.WHERE)
    return documents.markdown(columns, lines) + (
        f'\n\nlog p(x) in nats by quadrature over three latents, with an error of {error:.1e} at most; +- is the '
        f'standard error over images, the same for all methods. One seed. {stored["protocol"]}'
    )


def main(argv: list[str] | None = None) -> int:
    from vae_jax import process
    from vae_jax.errors import Fault

    given = figure2.flags(__doc__, argv)
    try:
        process.start_jax()
        setting = SMOKE if given.smoke else FULL if given.full else REDUCED
        protocol = f'{setting.dataset}, {setting.hidden} units, {setting.images} images, step size {given.lr:g}.'
        protocol += ' Smoke.' if given.smoke else ''
        command = 'python -m experiments.aevb_figure3' + (' --full' if given.full else '')
        out = given.out or Path(__file__).parent / 'results'
        document = documents.made_by(command, protocol=protocol, rows=measured(setting, given))
        path = documents.store(out / 'aevb_figure3.json', document)
        print(table(json.loads(path.read_text())))
    except Fault as fault:
        process.tell(f'error: {fault}')
        return fault.code
    return 0


if __name__ == '__main__':
    raise SystemExit(main())

"""The rest of an image from one, two or three of its quadrants: one answer, or a distribution over answers.

Claim     A conditional VAE beats the network that gives one answer, by the less the more is seen (Sohn, Lee & Yan 2015,
          table 1). Published values, as Pyro's example reproduces them, are of grey pixels under cross-entropy: a soft
          score and not a likelihood, and for the CVAE a bound (-ELBO); early stopping there looks at the test images.
          Beside them stands what is a likelihood: pixels binarized by chance, -log p(x|c) by importance sampling.
Command   python -m experiments.quadrants --data-dir DIR [--full]
          (stores experiments/results/quadrants.json; a second call goes on behind the cells that are done)
Expected  one / two / three quadrants seen, three seeds, 95 % t intervals +- 0.1 to 0.4; soft score of the regressor
          102.1 / 63.8 / 26.4 (published 100.4 / 61.9 / 25.4), of the CVAE 73.6 / 50.2 / 22.0 (71.8 / 51.0 / 24.2);
          binarized, -log p(x|c) 108.1 / 67.9 / 28.9 and 69.6 / 47.5 / 21.6
Time      21 minutes of training on one core that others were using, at reduced size; device: CPU
"""

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from experiments import documents

HERE = Path(__file__).parent
STORED = HERE / 'results' / 'quadrants.json'
SEEN, METHODS, PIXELS = ('one', 'two', 'three'), ('regressor', 'cvae'), ('grey', 'binarized')
PUBLISHED = {'regressor': (100.4, 61.9, 25.4), 'cvae': (71.8, 51.0, 24.2)}


class Sizes(NamedTuple):
    """Of the networks, the training and the estimate."""

    hidden: tuple[int, ...] = (200, 200)
    latent: int = 50
    epochs: int = 8
    patience: int = 3
    batch: int = 128
    k: int = 100
    seeds: int = 3


FULL, SMOKE = Sizes((500, 500), 200, 100), Sizes((16,), 4, 2, k=5, seeds=2)


def measure(pixels: str, see: str, method: str, sizes: Sizes, given: Any) -> dict[str, Any]:
    """One cell of the table: the means over test images of each seed, nats of the pixels that are not seen."""
    import jax

    import vae_jax as vj
    from experiments import answers, common, cvae
    from vae_jax.models import conditional

    data = common.data_of('mnist', given, binarization={'grey': 'none', 'binarized': 'dynamic'}[pixels])
    likelihood = {'grey': vj.distributions.SoftBernoulli, 'binarized': vj.Bernoulli}[pixels]
    of = conditional.on_entries(cvae.quadrants(see, data.example.shape))
    model = answers.pair(of, {'x': data.example}, sizes.hidden, sizes.latent, likelihood)[method]
    keys, started = jax.random.split(jax.random.key(0), sizes.seeds), time.monotonic()
    asked: dict[str, Any] = {'epochs': sizes.epochs, 'batch': sizes.batch, 'patience': sizes.patience}
    check = common.validator(model, data)
    trained = vj.fit(
        vj.population(answers.learner(model)),
        data,
        answers.Hyper(),
        keys,
        validate=check,
        validate_some=check,
        quiet=True,
        **asked,
    )
    seconds = time.monotonic() - started
    bounds = vj.elbo_estimate(model, trained.params, data.test, keys)
    row = {'pixels': pixels, 'seen': see, 'method': method, 'minus_elbo': [-one.elbo.mean for one in bounds]}
    if pixels == 'binarized':
        k = 1 if method == 'regressor' else sizes.k  # every weight of a regressor is the same
        row['nll'] = [one.estimate.mean for one in vj.nll(model, trained.params, data.test, keys, k=k)]
    steps = [int(best) for best in trained.best_step]
    return row | {'best_step': steps, 'training_s': round(seconds, 1), 'test_examples': len(data.test)}


def table(stored: dict[str, Any]) -> str:
    """The stored values as Markdown: a line a score, a column a quadrant more, means over seeds +- 95 % t intervals."""
    from vae_jax import statistics

    found = {(row['pixels'], row['method'], row['seen']): row for row in stored['rows']}
    lines = ['| | one seen | two | three |', '| --- | --- | --- | --- |']

    def cell(values: list[float]) -> str:
        interval = statistics.interval(values)
        return f'{interval.mean:.2f} +- {interval.mean - interval.low:.2f}'

    def add(name: str, each: Any) -> None:
        lines.append(f'| {name} | {" | ".join(each)} |')

    for pixels, method, score, name in (
        ('grey', 'regressor', 'minus_elbo', 'soft score, regressor'),
        ('grey', 'cvae', 'minus_elbo', 'soft score, CVAE, -ELBO'),
        ('binarized', 'regressor', 'nll', '-log p(x\\|c), regressor'),
        ('binarized', 'cvae', 'minus_elbo', '-ELBO, CVAE'),
        ('binarized', 'cvae', 'nll', '-log p(x\\|c), CVAE'),
    ):
        if pixels == 'grey':
            add(f'{name}, Pyro', [f'{value:.1f}' for value in PUBLISHED[method]])
        rows = [found[pixels, method, see] for see in SEEN]
        add(name, [cell(row[score]) for row in rows])
        if method == 'cvae':
            alone = [found[pixels, 'regressor', see]['minus_elbo'] for see in SEEN]
            less = [[a - b for a, b in zip(one, row[score])] for one, row in zip(alone, rows)]
            add(f'{name}: less than the regressor by', map(cell, less))
    sizes, n = Sizes(**stored['sizes']), stored['rows'][0]['test_examples']
    return '\n'.join(lines) + (
        f'\n\nNats of the pixels that are not seen, means over {sizes.seeds} seeds +- half of the 95 % t interval, '
        f'{n:,} test images. The soft score is the cross-entropy of grey pixels and not a likelihood. Pyro: the '
        "numbers of Pyro's example after Sohn et al. 2015, hidden layers 500-500, 200 latents, early stopping on the "
        'test images, a decoder that sees z alone; what it calls Monte Carlo of the CVAE is -ELBO. Here: hidden layers '
        f'{"-".join(map(str, sizes.hidden))}, {sizes.latent} latents, at most {sizes.epochs} epochs, the best by '
        '10,000 validation images, a decoder that sees z and what is given. Binarized pixels are drawn anew for each '
        f'batch and once for the test; -log p(x\\|c) by {sizes.k} importance samples.'
    )


def main() -> int:
    from vae_jax import process
    from vae_jax.errors import Fault

    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--data-dir', help='prepared datasets')
    parser.add_argument('--out', type=Path, default=Path('runs') / 'quadrants', help='where finished cells wait')
    parser.add_argument('--full', action='store_true', help='the published sizes; for a GPU')
    parser.add_argument('--smoke', action='store_true', help='in seconds, and nothing is stored')
    given = parser.parse_args()
    sizes = SMOKE if given.smoke else FULL if given.full else Sizes()
    try:
        process.start_jax()
        rows = []
        for cell in itertools.product(PIXELS, SEEN, METHODS):
            kept = given.out / f'{"-".join(cell)}.json'
            found = json.loads(kept.read_text()) if kept.exists() else None
            if found is None or found['sizes'] != json.loads(json.dumps(sizes._asdict())):
                found = {'sizes': sizes._asdict(), **measure(*cell, sizes, given)}
                documents.store(kept, found)
            rows.append({name: value for name, value in found.items() if name != 'sizes'})
        document = documents.made_by(
            f'python -m experiments.quadrants{" --full" if given.full else ""}',
            training_s=round(sum(row['training_s'] for row in rows)),
            sizes=sizes._asdict(),
            rows=rows,
        )
        out = given.out / 'quadrants.json' if given.smoke else STORED
        documents.store(out, document)
        print(table(json.loads(out.read_text())))
    except Fault as fault:
        process.tell(f'error: {fault}')
        return fault.code
    return 0


if __name__ == '__main__':
    raise SystemExit(main())

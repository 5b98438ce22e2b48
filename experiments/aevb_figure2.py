"""Figure 2 of Kingma & Welling (2013): the bound against training samples seen, AEVB beside wake-sleep.

Claim     AEVB is above wake-sleep at every number of latents and every point of the curves, and more latents than are
          needed do not overfit, as in the paper; on these small images by 0.1 to 0.3 nats at the end.
Command   python -m experiments.aevb_figure2 [--full --data-dir DIR]      (stores experiments/results/aevb_figure2.json)
Expected  digits, a million samples seen, one seed, the bound on test images of AEVB / wake-sleep, nats (standard error
          over images 0.2): 2 latents -24.86 / -25.19, 5 -23.49 / -23.59, 10 -23.38 / -23.47, 20 -23.42 / -23.53;
          AEVB above at 7 of 7 points of each curve
Time      77 s of processor, 4 minutes by the clock of a core that others were using too; --full was not run

Protocol (section 5 of the paper): one hidden layer of tanh units in encoder and decoder, as many in both; Bernoulli
p(x|z), or a Gaussian whose mean is a sigmoid; one sample of z and batches of 100; Adagrad; parameters begin at N(0,
0.01), read as a variance, and those of p have the prior N(0, I). The paper chooses the step size among 0.01, 0.02 and
0.1 by the first iterations: here it is 0.02 unless it is given. Digits are binarized by chance, anew for each batch.
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

from experiments import documents

BATCH = 100
METHODS, WHERE = {'aevb': 'AEVB', 'wake_sleep': 'wake-sleep'}, ('train', 'test')


class Hyper(NamedTuple):
    lr: float = 0.02


class Panel(NamedTuple):
    """A dataset of the figure: its networks, numbers of latents, and samples that are seen."""

    dataset: str
    hidden: int
    latents: tuple[int, ...]
    samples: int


REDUCED = (Panel('digits', 100, (2, 5, 10, 20), 1_000_000),)
FULL = (
    Panel('mnist', 500, (3, 5, 10, 20, 200), 100_000_000),
    Panel('frey_faces', 200, (2, 5, 10, 20), 10_000_000),
)
SMOKE = (Panel('digits', 20, (2,), 24_000), Panel('frey_faces', 10, (2,), 3_200))


def gaussian_of_pixels() -> Any:
    """N(x; sigmoid(a), exp(b)^2) of features a, b: means that are within the range of the data."""
    import jax

    from vae_jax.distributions import Normal
    from vae_jax.distributions.base import Family

    def from_features(f: Any) -> Any:
        return Normal(jax.nn.sigmoid(f[..., 0]), f[..., 1])

    return Family(2, from_features, Normal.supports, Normal.support, name='a Gaussian of pixels')


def model_of(hidden: int, latent: int, like: Any, likelihood: Any) -> Any:
    """The paper's VAE, whose parameters begin at N(0, 0.01)."""
    import jax

    import vae_jax as vj

    nets = vj.mlp_encoder((hidden,), jax.nn.tanh), vj.mlp_decoder((hidden,), jax.nn.tanh)
    model = vj.vae(*nets, latent=latent, like=like, likelihood=likelihood)

    def init(key: Any, x: Any) -> Any:
        leaves, structure = jax.tree.flatten(model.init(key, x))
        keys = jax.random.split(key, len(leaves))
        return jax.tree.unflatten(structure, [0.1 * jax.random.normal(k, a.shape) for k, a in zip(keys, leaves)])

    return model._replace(init=init)


def objective_of(method: str, model: Any, rows: int) -> Any:
    """-bound or the loss of wake-sleep of one example, and its share of -log N(theta; 0, I) of the decoder."""
    import optax

    import vae_jax as vj
    from vae_jax import bounds, losses

    told = {'aevb': lambda: vj.negative(bounds.elbo, model), 'wake_sleep': lambda: losses.wake_sleep(model)}[method]()

    def objective(params: Any, key: Any, x: Any, hyper: Any) -> Any:
        loss, metrics = told(params, key, x, hyper)
        return loss + 0.5 * optax.tree.norm(params['decode'], squared=True) / rows, metrics

    return objective


def adagrad(hyper: Any) -> Any:
    """Adagrad that begins at no squared gradients (Duchi et al. 2011)."""
    import optax

    return optax.adagrad(hyper.lr, initial_accumulator_value=0.0, eps=1e-6)


def data_of(panel: Panel, run: Any) -> tuple[Any, Any]:
    """(data, likelihood): faces in grey under a Gaussian, digits binarized by chance."""
    import vae_jax as vj
    from experiments import common

    if panel.dataset == 'frey_faces':
        return common.data_of(panel.dataset, run, binarization='none'), gaussian_of_pixels()
    return common.data_of(panel.dataset, run, binarization='dynamic'), vj.Bernoulli


def doubling(steps: int, points: int) -> list[int]:
    """Steps at which one looks: a half, a quarter and so on of `steps`, the last itself."""
    return sorted({max(1, round(steps / 2**i)) for i in range(points)})


def curve(method: str, latent: int, panel: Panel, data: Any, likelihood: Any, lr: float) -> list[dict[str, Any]]:
    """A row each time the samples seen have doubled: the bound on training (1,000 rows) and on test images."""
    import jax

    import vae_jax as vj
    from vae_jax.evaluation.streaming import some

    model, key = model_of(panel.hidden, latent, data.example, likelihood), jax.random.key(0)
    trainer = vj.trainer(model.init, vj.per_example(objective_of(method, model, len(data.train))), adagrad)
    state, rows, at = vj.start(trainer, data.train, Hyper(lr), key, batch=BATCH), [], 0
    steps = panel.samples // BATCH
    chunk = max(1, steps // 2**6)
    for look in doubling(steps // chunk, 7):
        for _ in range(look - at):
            state, _ = vj.advance(trainer, state, data.train, key, steps=chunk, batch=BATCH)
        at = look
        row: dict[str, Any] = {'dataset': panel.dataset, 'latent': latent, 'method': method}
        row['samples'] = at * chunk * BATCH
        for name, split in (('train', some(data.train, min(1000, len(data.train)))), ('test', data.test)):
            found = vj.elbo_estimate(model, state.params, split, key, samples=4).elbo
            row |= {name: found.mean, f'{name}_se': found.se}
        rows.append(row)
    return rows


def measured(panels: tuple[Panel, ...], run: Any, lr: float = 0.02) -> list[dict[str, Any]]:
    """All curves, AEVB and wake-sleep of each dataset and number of latents."""
    rows = []
    for panel in panels:
        data, likelihood = data_of(panel, run)
        for latent in panel.latents:
            for method in METHODS:
                rows += curve(method, latent, panel, data, likelihood, lr)
    return rows


def table(stored: dict[str, Any]) -> str:
    """The stored curves as Markdown: a row for each number of latents, the test bound of both methods."""
    rows = stored['rows']
    ends: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        ends.setdefault((row['dataset'], row['latent']), {}).setdefault(row['method'], []).append(row)
    columns = ['data', 'latents', 'samples', *(f'{name}, {where}' for name in METHODS.values() for where in WHERE)]
    lines = []
    for (dataset, latent), found in ends.items():
        cells = [dataset, str(latent), f'{found["aevb"][-1]["samples"]:,}']
        cells += [f'{found[m][-1][w]:.2f} +- {found[m][-1][f"{w}_se"]:.2f}' for m in METHODS for w in WHERE]
        pairs = list(zip(found['aevb'], found['wake_sleep']))
        above = sum(a['test'] > b['test'] for a, b in pairs)
        lines.append([*cells, f'{above} of {len(pairs)} points'])
    return documents.markdown([*columns, 'AEVB above at'], lines) + (
        '\n\nThe bound, nats, at the end of the curves; +- is the standard error over images. "AEVB above at": of the '
        f'points at which the samples seen have doubled, on test images. One seed. {stored["protocol"]}'
    )


def main(argv: list[str] | None = None) -> int:
    from vae_jax import process
    from vae_jax.errors import Fault

    given = flags(__doc__, argv)
    try:
        process.start_jax()
        panels = SMOKE if given.smoke else FULL if given.full else REDUCED
        told = ', '.join(f'{p.dataset} {p.hidden} units' for p in panels)
        protocol = f'Networks: {told}; step size {given.lr:g}.' + (' Smoke.' if given.smoke else '')
        command = 'python -m experiments.aevb_figure2' + (' --full' if given.full else '')
        out = given.out or Path(__file__).parent / 'results'
        rows = measured(panels, given, given.lr)
        document = documents.made_by(command, protocol=protocol, rows=rows)
        path = documents.store(out / 'aevb_figure2.json', document)
        print(table(json.loads(path.read_text())))
    except Fault as fault:
        process.tell(f'error: {fault}')
        return fault.code
    return 0


def flags(doc: str | None, argv: list[str] | None) -> argparse.Namespace:
    """Those of both figures. Under --smoke nothing is stored among the results."""
    parser = argparse.ArgumentParser(description=(doc or '').splitlines()[0])
    parser.add_argument('--data-dir', help='prepared datasets')
    parser.add_argument('--full', action='store_true', help="the paper's datasets and sizes: hours")
    parser.add_argument('--smoke', action='store_true', help='in seconds, and nothing is stored')
    parser.add_argument('--lr', type=float, default=0.02, help='step size of Adagrad')
    parser.add_argument('--out', type=Path, help='folder of the stored results (default: experiments/results)')
    given = parser.parse_args(argv)
    if given.smoke and given.out is None:
        given.out = Path('runs') / 'aevb'
    return given


if __name__ == '__main__':
    raise SystemExit(main())

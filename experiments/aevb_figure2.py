"""Figure 2 of Kingma & Welling (2013): the bound against training samples seen, AEVB beside wake-sleep.

Claim     In the mean of seeds AEVB ends above wake-sleep with every number of latents, and it is above at nearly every
          point. More latents than are needed do not overfit, but for 200 on MNIST a million samples are too few. On
          MNIST this is no fair race: wake-sleep's bound begins at -1e13 to -1e23 from weights this large, rises from
          there with 3 to 20 latents, and falls with 200.
Command   python -m experiments.aevb_figure2 --data-dir DIR [--full]      (stores experiments/results/aevb_figure2.json)
Expected  a million samples seen, three seeds, AEVB less wake-sleep, test bound, nats +- half of a 95 %
          t interval: digits 0.10 +- 0.03 (5 latents) to 0.5 +- 0.4 (2); Frey faces 37 +- 7 (2) to 430 +- 210 (20); on
          MNIST wake-sleep is far below, see the table. AEVB on MNIST, 3, 5, 10, 20, 200 latents: -153.7, -134.9,
          -124.3, -116.8, -132.9; above at 270 of 273 points
Time      about 50 minutes of processor: digits 4, Frey faces 15, MNIST 35 (shared cores); --full was not run

Protocol (section 5 of the paper): one hidden layer of tanh units in encoder and decoder, as many in both; Bernoulli
p(x|z), or a Gaussian whose mean is a sigmoid; one sample of z and batches of 100; Adagrad; parameters begin at N(0,
0.01), read as a variance (read as a standard deviation wake-sleep may fare better: not run), and those of p have the
prior N(0, I). The step size is the best of 0.01, 0.02 and 0.1 at the first look, by the bound on training images.
Digits are binarized by chance, anew for each batch. A panel and seed is kept in runs/aevb_figure2 once it is measured.
"""

from typing import Any, NamedTuple

from experiments import aevb, documents


class Panel(NamedTuple):
    """A dataset of the figure: its networks, numbers of latents, and samples that are seen."""

    dataset: str
    hidden: int
    latents: tuple[int, ...]
    samples: int


REDUCED = (
    Panel('digits', 100, (2, 5, 10, 20), 1_000_000),
    Panel('frey_faces', 200, (2, 5, 10, 20), 1_000_000),
    Panel('mnist', 500, (3, 5, 10, 20, 200), 1_000_000),
)
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


def data_of(panel: Panel, run: Any) -> tuple[Any, Any]:
    """(data, likelihood): faces in grey under a Gaussian, digits binarized by chance."""
    import vae_jax as vj
    from experiments import common

    if panel.dataset == 'frey_faces':
        return common.data_of(panel.dataset, run, binarization='none'), gaussian_of_pixels()
    return common.data_of(panel.dataset, run, binarization='dynamic'), vj.Bernoulli


def curves_of(panel: Panel, run: Any, seed: int) -> list[dict[str, Any]]:
    """AEVB and wake-sleep with each number of latents: the bound on training (1,000 rows) and on test images."""
    import jax

    import vae_jax as vj
    from vae_jax.evaluation.streaming import some

    rows, key = [], jax.random.key(seed)
    data, likelihood = data_of(panel, run)
    splits = {'train': some(data.train, min(1000, len(data.train))), 'test': data.test}
    for latent in panel.latents:
        model = aevb.model_of(panel.hidden, latent, data.example, likelihood)
        for method in aevb.METHODS:

            def look(params: Any, model: Any = model) -> dict[str, Any]:
                found = {n: vj.elbo_estimate(model, params, split, key, samples=4).elbo for n, split in splits.items()}
                return {n: one.mean for n, one in found.items()} | {f'{n}_se': one.se for n, one in found.items()}

            objective = aevb.objective_of(method, model, len(data.train))
            trainer = vj.trainer(model.init, vj.per_example(objective), aevb.adagrad)
            told = {'dataset': panel.dataset, 'latent': latent, 'method': method, 'seed': seed}
            rows += [told | row for row in aevb.curve(trainer, look, data.train, key, run.lr, panel.samples, 7)]
    return rows


def table(stored: dict[str, Any]) -> str:
    """The stored curves as Markdown: a row for each number of latents, the bound of both methods at their end."""
    from vae_jax import statistics

    ends_of = [(method, where) for method in aevb.METHODS for where in aevb.WHERE]
    columns = ['data', 'latents', 'samples', *(f'{aevb.METHODS[method]}, {where}' for method, where in ends_of)]
    lines = []
    for (dataset, latent), found in aevb.by_method(stored['rows'], 'dataset', 'latent').items():
        ends = {m: {seed: curve[-1] for seed, curve in found[m].items()} for m in aevb.METHODS}
        cells = [dataset, str(latent), f'{next(iter(ends["aevb"].values()))["samples"]:,}']
        cells += [aevb.told(statistics.interval([row[where] for row in ends[m].values()])) for m, where in ends_of]
        apart = {m: {seed: row['test'] for seed, row in ends[m].items()} for m in aevb.METHODS}
        cells.append(aevb.told(statistics.paired(apart['aevb'], apart['wake_sleep'])))
        pairs = [(a, b) for s in found['aevb'] for a, b in zip(found['aevb'][s], found['wake_sleep'][s])]
        cells.append(f'{sum(a["test"] > b["test"] for a, b in pairs)} of {len(pairs)} points')
        lines.append(cells)
    return documents.markdown([*columns, 'difference, test', 'AEVB above at'], lines) + (
        '\n\nThe bound, nats, at the end of the curves: mean over seeds +- half of its 95 % t interval; the difference '
        'is paired by seed. "AEVB above at": of the points of all seeds at which the samples seen have doubled, on '
        'test images. In the picture, which has the range of AEVB, wake-sleep is dashed. '
        f'{stored["protocol"]}'
    )


def picture(stored: dict[str, Any], theme: Any) -> bytes:
    """The figure: a panel for each dataset, a colour for each number of latents, wake-sleep dashed."""
    from vae_jax.plot import canvas

    curves = aevb.by_method(stored['rows'], 'dataset', 'latent')
    datasets = list(dict.fromkeys(dataset for dataset, _ in curves))
    made, axes = canvas.figure(theme, 3.6 * len(datasets), 3.0, len(datasets))
    for ax, dataset in zip(axes, datasets):
        mine = {latent: found for (name, latent), found in curves.items() if name == dataset}
        for colour, found in zip(canvas.PALETTE, mine.values()):
            for method, line in (('aevb', '-'), ('wake_sleep', '--')):
                at, values = aevb.mean_curve(found[method])
                ax.plot(at, values, line, color=colour, linewidth=1.2)
        solid = [line for line in ax.lines if line.get_linestyle() == '-']
        canvas.legend(ax, solid, [f'{latent} latents' for latent in mine], theme)
        low, high = (
            f(value for found in mine.values() for value in aevb.mean_curve(found['aevb'])[1]) for f in (min, max)
        )
        ax.set_ylim(low - 0.3 * (high - low), high + 0.1 * (high - low))
        ax.set(title=dataset, xlabel='log10 of the samples seen', ylabel='bound on test images, nats')
    return canvas.deliver(made, None)


def main(argv: list[str] | None = None) -> int:
    return aevb.command('aevb_figure2', __doc__, argv, (SMOKE, REDUCED, FULL), curves_of, table)


if __name__ == '__main__':
    raise SystemExit(main())

"""Whose prior for samples: the VAE's own, a second VAE on its codes, or a mixture fitted to them.

Claim     A mixture fitted to the codes afterwards gives better samples of digits than the VAE's own N(0, I), by C2ST
          and MMD, and 2.5 nats of log p(x) (Ghosh et al. 2020, section 4). A second VAE on the codes, which is to
          correct the same mismatch (Dai & Wipf 2019, section 4), gains 1.2 nats, and in samples nothing that three
          seeds show; a single Gaussian gains 0.06. Of FID no difference is certain.
Command   python -m experiments.two_stage        (digits; stores experiments/results/two_stage.json)
Expected  digits, E[x|z] under 20 principal axes, 3 seeds, 95 % t intervals; prior / second stage / mixture of 10 /
          Gaussian: FID 0.21 +- 0.10 / 0.19 +- 0.05 / 0.12 +- 0.02 / 0.19 +- 0.08, C2ST 0.61 / 0.56 / 0.47 / 0.61 (0.5
          is chance), -log p(x) -43.4 / -44.6 / -45.9 / -43.5 nats, +- 1.2 to 1.4
Time      80 s on one core that others were using too
"""

from typing import Any, NamedTuple

from experiments import documents

WAYS = ('prior N(0, I)', 'second stage', 'mixture of 10', 'Gaussian')
SHOWN = {'fid': 'FID', 'c2st': 'C2ST', 'mmd': '1000 MMD^2', 'nll': '-log p(x), nats'}


class Hyper(NamedTuple):
    lr: float = 1e-3


class Sizes(NamedTuple):
    """Seeds, steps of each stage, units of a layer, dimensions of z, draws of codes an image, samples of log p(x)."""

    seeds: int = 3
    steps: int = 4000
    second_steps: int = 12000
    hidden: int = 256
    latent: int = 16
    draws: int = 4
    k: int = 200
    axes: int = 20


SMOKE = Sizes(2, 20, 20, 8, 3, 1, 4, 4)


def stage(sizes: Sizes, like: Any) -> Any:
    """A Gaussian VAE of `like` with one sigma that it learns (Dai & Wipf 2019, section 3)."""
    import vae_jax as vj
    from vae_jax.distributions import fixed_normal
    from vae_jax.models.scales import learned_scale

    networks = vj.mlp_encoder((sizes.hidden,)), vj.mlp_decoder((sizes.hidden,))
    return learned_scale(vj.vae(*networks, latent=sizes.latent, like=like, likelihood=fixed_normal(0.0)))


def trained(model: Any, split: Any, keys: Any, steps: int) -> Any:
    """params [m, ...] of as many seeds as there are keys [m], after `steps` of Adam."""
    import optax

    import vae_jax as vj

    loss = vj.per_example(vj.negative(vj.bounds.elbo, model))
    crew = vj.population(vj.trainer(model.init, loss, lambda hyper: optax.adam(hyper.lr)))
    batch = min(128, len(split))
    state = vj.start(crew, split, Hyper(), keys, batch=batch)
    return vj.advance(crew, state, split, keys, steps=steps, batch=batch)[0].params


def models_of(model: Any, second: Any) -> dict[str, Any]:
    """The first stage with each prior; made once, so that every seed runs the same programs."""
    from vae_jax import samplers

    fitted = samplers.with_prior(model, samplers.fixed(None))  # the density itself comes with the params of a seed
    return dict(zip(WAYS, (model, samplers.two_stage(model, second), fitted, fitted)))


def parts_of(model: Any, second: Any, params: Any, sizes: Sizes, split: Any, key: Any) -> dict[str, Any]:
    """What each prior adds to the params of a first stage, learned from codes of the training images."""
    import jax
    import jax.numpy as jnp

    from vae_jax import samplers
    from vae_jax.data.splits import Split, identity

    keys = jax.random.split(key, sizes.draws + 2)
    zs = jnp.concatenate([samplers.codes(model, params, split, key) for key in keys[2:]])
    upper = trained(second, Split({'x': zs}, None, identity()), keys[:1], sizes.second_steps)
    mixture, gaussian = samplers.gaussian_mixture(zs, 10, keys[1]), samplers.gaussian(zs)
    above = {'second': jax.tree.map(lambda leaf: leaf[0], upper)}
    return dict(zip(WAYS, ({}, above, {'sampler': mixture}, {'sampler': gaussian})))


def judged(model: Any, params: Any, data: Any, features: Any, sizes: Sizes, key: Any) -> dict[str, float]:
    """FID, MMD^2 and C2ST of means E[x|z] beside as many test images, and -log p(x) of the test split."""
    import jax

    import vae_jax as vj
    from vae_jax.evaluation import samples

    a, b, c = jax.random.split(key, 3)
    how: dict[str, Any] = {'features': features, 'draw': samples.mean_of}
    quality = samples.sample_quality(model, params, data.test, a, **how)
    tests = samples.sample_tests(model, params, data.test, b, permutations=1, **how)
    told = {'fid': quality.fid.value, 'c2st': tests.c2st.accuracy, 'mmd': 1000 * tests.mmd.value}
    return told | {'nll': vj.nll(model, params, data.test, c, k=sizes.k).estimate.mean}


def measured(sizes: Sizes, smoke: bool = False) -> tuple[dict[str, list[dict[str, float]]], str]:
    """({way: a row a seed}, name of the features)."""
    import jax
    import numpy as np

    from vae_jax import data as data_module
    from vae_jax import evaluation

    data = data_module.load('digits', binarization='none')
    data = data_module.dequantized(data_module.first(data, 64) if smoke else data)
    keys = jax.random.split(jax.random.key(0), sizes.seeds)
    seen = evaluation.view_rows(data.train, jax.random.key(0), np.arange(len(data.train)))
    features = evaluation.pca_features(seen, sizes.axes)
    model, second = stage(sizes, data.example), stage(sizes, np.zeros(sizes.latent, np.float32))
    params, models = trained(model, data.train, keys, sizes.steps), models_of(model, second)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    for i, key in enumerate(keys):
        a, b = jax.random.split(jax.random.fold_in(key, 1))
        own = jax.tree.map(lambda leaf, i=i: leaf[i], params)
        for name, part in parts_of(model, second, own, sizes, data.train, a).items():
            rows[name].append(judged(models[name], {**own, **part}, data, features, sizes, b))
    return rows, features.name


def table(stored: dict[str, Any]) -> str:
    """The stored values as Markdown: a row a prior, means over seeds and half of their 95 % t interval."""
    from vae_jax import statistics

    lines, less = [], []
    for name, rows in stored['rows'].items():
        found = [statistics.interval([row[shown] for row in rows]) for shown in SHOWN]
        lines.append([name, *(f'{i.mean:.4g} +- {i.mean - i.low:.2g}' for i in found)])
    first = stored['rows'][WAYS[0]]
    for name in WAYS[1:]:
        pairs = list(zip(stored['rows'][name], first))
        found = [statistics.interval([a[shown] - b[shown] for a, b in pairs]) for shown in SHOWN]
        less.append([name, *(f'{i.mean:.3g} [{i.low:.3g}, {i.high:.3g}]' for i in found)])
    sizes = stored['sizes']
    tables = [documents.markdown(['prior', *SHOWN.values()], lines)]
    tables.append(documents.markdown([f'less that of the {WAYS[0]}', *SHOWN.values()], less))
    return '\n\n'.join(tables) + (
        f'\n\nMeans E[x|z] of 300 z beside the 300 test digits, under {stored["features"]}; these FIDs are comparable '
        f'with no others. C2ST 0.5 is chance. -log p(x) of dequantized pixels by {sizes["k"]} importance samples. '
        f'{sizes["seeds"]} seeds, mean +- half of the 95 % t interval; differences seed by seed, with 95 % intervals, '
        'each of which is for one comparison.'
    )


def main() -> None:
    """Trains, measures, stores and prints."""

    def values(smoke: bool) -> dict[str, Any]:
        sizes = SMOKE if smoke else Sizes()
        rows, features = measured(sizes, smoke)
        return {'sizes': sizes._asdict(), 'features': features, 'rows': rows}

    documents.measure('two_stage', __doc__, values, table)


if __name__ == '__main__':
    main()

"""The bench that experiments/usefulness.py measures models on, and the numbers of one model."""

from collections.abc import Mapping
from typing import Any, NamedTuple

OUTLIERS = ('fashion_mnist', 'omniglot_28')


class Sizes(NamedTuple):
    """Rows that each part takes, importance samples of log p(x), principal axes of the features."""

    train: int = 10_000
    test: int = 5000
    judged: int = 1000
    k: int = 300
    axes: int = 50


class Bench(NamedTuple):
    """The splits that models are measured on, what was measured on their pictures, and the features of samples."""

    train: Any
    test: Any
    part: Any  # of test, where more costs too much
    scored: dict[str, Any]
    strokes: dict[str, Any]
    features: Any
    sizes: Sizes


def bench(data_dir: str | None, smoke: bool) -> Bench:
    """MNIST as the models see it, its grey pictures for the strokes, and two datasets of outliers."""
    import jax
    import numpy as np

    from vae_jax import data, evaluation
    from vae_jax.evaluation import features, usefulness

    def load(name: str, **options: Any) -> Any:
        return data.stand_in(name, **options) if smoke else data.load(name, data_dir=data_dir, **options)

    sizes = Sizes(300, 100, 60, 4, 5) if smoke else Sizes()
    mnist, grey, part = load('mnist'), load('mnist', binarization='none'), np.arange(sizes.judged)
    splits = {'train': mnist.train, 'test': mnist.test, **{name: load(name).test for name in OUTLIERS}}
    train, test = (mnist.splits[name].at(np.arange(getattr(sizes, name))) for name in ('train', 'test'))
    pictures = [np.asarray(grey.splits[name].rows['x'][: getattr(sizes, name)]) for name in ('train', 'test')]
    seen = evaluation.view_rows(train, jax.random.key(0), np.arange(sizes.train))
    scored = {name: split.at(part) for name, split in splits.items()}
    axes = features.pca_features(seen, sizes.axes)
    return Bench(train, test, test.at(part), scored, usefulness.styles(*pictures), axes, sizes)


def of_member(model: Any, params: Any, b: Bench, key: Any) -> tuple[dict[str, float], Any]:
    """The numbers of one trained model, and its linear probe."""
    import jax

    from vae_jax.evaluation import pictures, samples, usefulness

    keys = jax.random.split(key, 6)
    read = usefulness.read_codes(model, params, b.train, b.test, keys[0])
    strokes = usefulness.read_values(model, params, b.train, b.test, keys[1], b.strokes)
    judged = samples.sample_quality(model, params, b.test, keys[2], features=b.features)
    told = samples.sample_tests(model, params, b.part, keys[3], features=b.features)
    copied = samples.sample_copies(model, params, b.train, b.part, keys[4], features=b.features)
    made = pictures.fidelity(model, params, b.part, keys[5])
    found = {'linear probe': read.linear.accuracy, '5-nn': read.neighbours.accuracy, '10 a class': read.few.mean}
    found |= {'ARI': read.clusters.ari, 'NMI': read.clusters.nmi, 'purity': read.purity.mean}
    found |= {f'R^2 of {name}': fit.r2 for name, fit in strokes.items()}
    found |= {'FID': judged.fid.value, 'KID': judged.kid.value}
    for of in (judged.precision_recall, judged.density_coverage):
        found |= {name: score.mean for name, score in zip(of.names, (of.samples, of.examples))}
    found |= {'C2ST': told.c2st.accuracy, 'MMD p': told.mmd.p_value, 'nearer than test': copied.closer.value}
    return found | {'PSNR': made.psnr.mean, 'SSIM': made.ssim.mean}, read.linear


def of_scores(nlls: Mapping[str, Any], b: Bench, key: Any) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """AUROCs of each member from -log p(x) [members, n] of each dataset; those of the ensemble with standard errors."""
    import numpy as np

    from vae_jax.evaluation import ensembles, outliers, view_rows

    whole = {name: ensembles.ensemble(-np.asarray(values)) for name, values in nlls.items()}
    nats = {
        name: outliers.compressed(np.asarray(view_rows(split, key, np.arange(len(split)))), 2)
        for name, split in b.scored.items()
    }
    test = whole['test']
    each: list[dict[str, float]] = [{'-log p': float(values.mean())} for values in nlls['test']]
    together = {'-log p': (test.nll.mean, test.nll.se), 'gain': (test.gain.mean, test.gain.se)}
    for name in OUTLIERS:
        for row, inside, outside, train in zip(each, nlls['test'], nlls[name], nlls['train']):
            found = outliers.detected(inside, outside, train, (nats['test'], nats[name]))
            row |= {f'AUROC {name}, {score}': one.value for score, one in found._asdict().items()}
        for score in ('disagreement', 'waic'):
            auroc = outliers.auroc(getattr(test, score), getattr(whole[name], score))
            together[f'AUROC {name}, {score}'] = (auroc.value, auroc.se)
    return each, together

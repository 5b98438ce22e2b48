"""What `python -m vae_jax evaluate RUN --metrics NAME ...` can measure: a name, what it tells, and the function."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jax import Array, random

from vae_jax import bounds, disentanglement, evaluation
from vae_jax.data.catalogue import CATALOGUE
from vae_jax.data.splits import Data
from vae_jax.errors import USAGE, Fault
from vae_jax.evaluation.likelihood import Estimate
from vae_jax.evaluation.scores import Score
from vae_jax.models import Model

LISTED = 1000  # numbers of an array that a JSON file may hold; larger ones go to the npz beside it


class Subject(NamedTuple):
    """A trained model with its data; `split` is what is measured, the first `images` of one.

    `against` loads other data; `kept` as in `over`.
    """

    model: Any
    params: Any
    data: Data
    split: Any
    is_train: bool
    against: Callable[[], Data]
    key: Array
    k: int
    chains: int
    temperatures: int
    start: Any
    quiet: bool
    kept: Any

    @property
    def parts(self) -> tuple[Any, Any, Any, Array]:
        return self.model, self.params, self.split, self.key

    @property
    def how(self) -> dict[str, Any]:
        return {'quiet': self.quiet, 'kept': self.kept}


class Measure(NamedTuple):
    """What a name tells, the flags that it reads beside --images and --seed, and the function of a Subject."""

    about: str
    flags: tuple[str, ...]
    of: Callable[[Subject], Any]


def _ais(a: Subject) -> Any:
    return evaluation.bracketed(*a.parts, chains=a.chains, steps=a.temperatures, start=a.start, **a.how)


def _gaps(a: Subject) -> Any:
    return evaluation.inference_gaps(*a.parts, k=a.k, **a.how)


def _curve(a: Subject) -> Any:
    return evaluation.rate_distortion_curve(*a.parts, chains=a.chains, steps=a.temperatures, **a.how)


def _features(a: Subject) -> Any:
    """Principal axes of training examples: they need no download, and are the same for every model of these data."""
    xs = evaluation.seen(a.model, evaluation.some(a.data.train, min(len(a.data.train), 5000)), random.key(0))
    if not isinstance(xs, np.ndarray):
        raise Fault('x is several arrays, and principal axes are of one', 'take features of your own in a script')
    return evaluation.pca_features(xs, min(50, len(xs) - 1, xs[0].size))


def _copies(a: Subject) -> Any:
    asked = a.model, a.params, _fresh(a), a.split, a.key
    return evaluation.sample_copies(*asked, features=_features(a), **a.how)


def _labels(a: Subject) -> Any:
    return evaluation.read_codes(a.model, a.params, _known(a), a.split, a.key, quiet=a.quiet)


def _fresh(a: Subject) -> Any:
    """The training split, where what is measured is none of it."""
    if a.is_train:
        raise Fault('this holds examples against the training split, and they are of it', 'use --split test', USAGE)
    return a.data.train


def _known(a: Subject) -> Any:
    train = _fresh(a)
    return evaluation.some(train, min(len(train), 10_000))


def _style(a: Subject) -> Any:
    train = a.data.train
    pictures = np.asarray(train.rows['x']).squeeze()
    if pictures.ndim != 3 or train.levels in (None, 2):
        found = f'slant and thickness are of grey pictures, and those of {a.data.name} are not'
        raise Fault(found, 'evaluate a run of data such as mnist', USAGE)
    # the test split of data that are binarized as they are seen is stored in black and white
    asked = min(len(a.split), len(train) // 4)
    known = min(10_000, len(train) - asked)
    parts = train.at(np.arange(known)), train.at(np.arange(len(train) - asked, len(train)))
    values = evaluation.styles(pictures[:known], pictures[-asked:])
    each = evaluation.read_values(a.model, a.params, *parts, a.key, values, quiet=a.quiet)
    about: dict[str, Any] = {'pictures': f'the last {asked} of the training split, whatever --split says'}
    return {**about, **each}


def _pictures(a: Subject) -> Any:
    side = min(a.split.shape[:2]) if len(a.split.shape) > 1 else 0
    return evaluation.fidelity(*a.parts, window=min(11, side - 1 + side % 2) if side else 11, **a.how)


def _factors(a: Subject) -> Any:
    known = CATALOGUE[a.data.name].factors if a.data.name in CATALOGUE else ()
    names = known or [name for name, column in a.split.rows.items() if name not in ('x', 'label') and column.ndim == 1]
    columns = {name: np.asarray(a.split.rows[name]) for name in names if name in a.split.rows}
    if len(columns) < 2:
        found = f'the data {a.data.name} have {len(columns)} columns of factors'
        raise Fault(found, 'give data with two or more, such as --dataset sprites', USAGE)
    codes = evaluation.encode(a.model, a.params, a.split, a.key, quiet=a.quiet)
    return disentanglement.all_scores(codes['mean'], columns, a.key)


def _outliers(a: Subject) -> Any:
    outside = a.against().test
    outside = evaluation.some(outside, min(len(a.split), len(outside)))
    known = evaluation.some(a.data.train, min(len(a.data.train), len(a.split)))
    train = evaluation.nll(a.model, a.params, known, random.fold_in(a.key, 1), k=a.k, **a.how)
    asked = a.model, a.params, a.split, outside, a.key
    return evaluation.detection(*asked, train_nll=train.estimate.values, k=a.k, **a.how)


def _ranks(a: Subject) -> Any:
    # an unconditional model reads no image, so that few of them are no limit
    n = 1000 if isinstance(a.model, Model) else min(len(a.split), 1000)
    return evaluation.simulated_ranks(*a.parts, n=n, **a.how)


MEASURES: dict[str, Measure] = {
    'nll': Measure('-log p(x) by importance sampling', ('k',), lambda a: evaluation.nll(*a.parts, k=a.k, **a.how)),
    'elbo': Measure(
        'the ELBO with its halves, 10 samples an image',
        (),
        lambda a: evaluation.elbo_estimate(*a.parts, samples=10, kl=bounds.monte_carlo, **a.how),
    ),
    'ais': Measure(
        '-log p(x) by annealing, and its sandwich on simulated data', ('chains', 'temperatures', 'start'), _ais
    ),
    'exact': Measure(
        '-log p(x) by quadrature, latents of 1 to 3', (), lambda a: evaluation.quadrature(*a.parts, **a.how)
    ),
    'gaps': Measure('approximation and amortization gap, by a q refined for each image', ('k',), _gaps),
    'rate_distortion': Measure('the rate-distortion curve of annealing', ('chains', 'temperatures'), _curve),
    'aggregate': Measure(
        'mutual information and KL(q(z) || p(z))', (), lambda a: evaluation.aggregate_posterior(*a.parts, **a.how)
    ),
    'collapse': Measure(
        'rates, active units, and in words what is unused', (), lambda a: evaluation.collapse_report(*a.parts, **a.how)
    ),
    'calibration': Measure('whether q(z|x) is the posterior: ranks of z in simulated data', (), _ranks),
    'pictures': Measure('MSE, PSNR and SSIM of reconstructions', (), _pictures),
    'samples': Measure(
        'FID, KID, precision and recall, density and coverage, under principal axes',
        (),
        lambda a: evaluation.sample_quality(*a.parts, features=_features(a), **a.how),
    ),
    'two_samples': Measure(
        'whether samples are told from examples: MMD and C2ST',
        (),
        lambda a: evaluation.sample_tests(*a.parts, features=_features(a), **a.how),
    ),
    'copies': Measure('whether samples are copies of training examples', (), _copies),
    'labels': Measure('what codes tell of labels: probes, neighbours, few labels, clusters, purity', (), _labels),
    'style': Measure('what codes of training pictures tell of slant and thickness', (), _style),
    'disentanglement': Measure('thirteen scores of codes beside factors', (), _factors),
    'outliers': Measure('whether -log p(x) tells other data apart', ('k', 'against'), _outliers),
}


def _told_of(value: Any) -> list[tuple[str, Any]]:
    """The fields of a result and what it computes of them, by name."""
    computed = [
        name for name, held in vars(type(value)).items() if isinstance(held, property) and name not in value._fields
    ]
    return [*zip(value._fields, value), *((name, getattr(value, name)) for name in computed)]


def told(name: str, found: Any, n: int) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, str]]:
    """What a measure found: (values for JSON, arrays, units), n examples; an Estimate is its mean, its se, and [n].

    Fields are named by their path; `estimate` is the measure itself.
    """
    units: dict[str, str] = {}
    values: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}

    def put(path: str, value: Any) -> None:
        if isinstance(value, Estimate | Score):
            arrays[path] = np.asarray(value.values)
            bits = ['bits_per_dim', 'bits_per_dim_se'] if isinstance(value, Estimate) and value.dims > 1 else []
            parts = ['mean', 'se', *bits]
            named = {part: path if part == 'mean' else f'{path}_{part}' for part in parts}
            values.update({full: getattr(value, part) for part, full in named.items()})
            if isinstance(value, Estimate):
                units.update({full: 'bits/dim' if 'bits' in part else 'nats' for part, full in named.items()})
        elif isinstance(value, Mapping) or hasattr(value, '_fields'):
            for key, child in value.items() if isinstance(value, Mapping) else _told_of(value):
                put((path or name) if key == 'estimate' else f'{path}_{key}'.lstrip('_'), child)
        elif isinstance(value, list | tuple) and any(hasattr(child, '_fields') for child in value):
            for i, child in enumerate(value):
                put(f'{path}_{i + 1}', child)
        elif isinstance(value, np.ndarray | Array) and (np.size(value) > LISTED or np.shape(value)[:1] == (n,)):
            arrays[path] = np.asarray(value)
        else:
            values[path] = np.asarray(value).tolist() if isinstance(value, np.ndarray | Array) else value

    put('', found)
    return values, arrays, units

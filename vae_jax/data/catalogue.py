"""What each dataset is: shape, levels, default binarization, splits, raw files. No jax here."""

import dataclasses
import re
from collections.abc import Mapping

from vae_jax.data import raw, sources
from vae_jax.data.sources import Source
from vae_jax.errors import Fault, nearest


@dataclasses.dataclass(frozen=True)
class Spec:
    """One dataset.

    levels: values of a stored pixel are 0 .. levels - 1.
    sizes: rows of each split that it comes with.
    validation: rows taken from the end of train, where it comes without such a split.
    classes: number of labels, 0 where there are none; factors: further integer columns.
    folder: of its raw files; version: of its tfds dataset, '' where that is tfds's own.
    pixels: SHA-256 of the decoded columns (`raw.digest`); '' where tfds checks the raw files itself.
    ready: how it comes, where there is nothing to prepare.
    """

    name: str
    about: str
    shape: tuple[int, int, int]
    levels: int
    binarization: str
    sizes: Mapping[str, int]
    validation: int = 0
    classes: int = 0
    factors: tuple[str, ...] = ()
    folder: str = ''
    version: str = ''
    pixels: str = ''
    sources: tuple[Source, ...] = ()
    ready: str = ''


_SPECS = (
    Spec(
        name='digits',
        about="scikit-learn's bundled handwritten digits (UCI), 1,797 rows, divided by a fixed permutation",
        shape=(8, 8, 1),
        levels=17,
        binarization='dynamic',
        sizes={'train': 1297, 'validation': 200, 'test': 300},
        classes=10,
        ready='comes with scikit-learn',
    ),
    Spec(
        name='sprites',
        about='4 shapes of 6 scales, 8 rotations and 16 x 16 places, drawn when loaded, divided by a fixed permutation',
        shape=(32, 32, 1),
        levels=256,
        binarization='threshold',
        sizes={'train': 45_056, 'validation': 2048, 'test': 2048},
        classes=4,
        factors=('shape', 'scale', 'rotation', 'x_position', 'y_position'),
        ready='is drawn when loaded',
    ),
    Spec(
        name='mnist',
        about='MNIST: the official tfds dataset, in its order',
        shape=(28, 28, 1),
        levels=256,
        binarization='dynamic',
        sizes={'train': 60_000, 'test': 10_000},
        validation=10_000,
        classes=10,
        folder='mnist',
        sources=sources.MNIST,
    ),
    Spec(
        name='fashion_mnist',
        about='Fashion-MNIST: the official tfds dataset, in its order',
        shape=(28, 28, 1),
        levels=256,
        binarization='dynamic',
        sizes={'train': 60_000, 'test': 10_000},
        validation=10_000,
        classes=10,
        folder='fashion_mnist',
        sources=sources.FASHION_MNIST,
    ),
    Spec(
        name='binarized_mnist',
        about="MNIST in Larochelle's fixed binarization: the official tfds dataset",
        shape=(28, 28, 1),
        levels=2,
        binarization='none',
        sizes={'train': 50_000, 'validation': 10_000, 'test': 10_000},
        folder='binarized_mnist',
        sources=sources.BINARIZED_MNIST,
    ),
    Spec(
        name='omniglot_28',
        about='Omniglot averaged over exact areas to 28x28, ink bright; train = background, test = evaluation',
        shape=(28, 28, 1),
        levels=256,
        binarization='dynamic',
        sizes={'train': 19_280, 'test': 13_180},
        validation=1928,
        classes=1623,
        factors=('alphabet', 'drawer'),
        folder='omniglot',
        version='1.0.0',
        pixels='6603aef6146986c204932e44fd43a78fa2eca5a3ea73927453d6966a789098fe',
        sources=sources.OMNIGLOT,
    ),
    Spec(
        name='caltech101_silhouettes',
        about="Marlin's Caltech-101 Silhouettes, split 1; 0 is the object and 1 the background",
        shape=(28, 28, 1),
        levels=2,
        binarization='none',
        sizes={'train': 4100, 'validation': 2264, 'test': 2307},
        classes=101,
        folder='caltech101_silhouettes',
        version='1.0.0',
        pixels='f3c308031c27381bdf06868e23b143929e56540b2f2a68083723ed80169a0d7f',
        sources=sources.CALTECH101_SILHOUETTES,
    ),
    Spec(
        name='frey_faces',
        about='Frey Face video frames, divided by a fixed permutation: neighbouring frames are near copies',
        shape=(28, 20, 1),
        levels=256,
        binarization='none',
        sizes=raw.FREY,
        folder='frey_faces',
        version='1.0.0',
        pixels='30f27cee655693dc25835a4322afd15ef0fbb85beec8e8c4f6f504bad76266bf',
        sources=sources.FREY_FACES,
    ),
    Spec(
        name='olivetti_faces',
        about="AT&T faces in Roweis' 64x64 crop, divided by a fixed permutation of the images, not of the people",
        shape=(64, 64, 1),
        levels=256,
        binarization='none',
        sizes=raw.OLIVETTI,
        classes=40,
        folder='olivetti_faces',
        version='1.0.0',
        pixels='ca26ac6da10eb1ae34b7547c33b3d37ac59b705d491d8ae728f6a2a556da3e2f',
        sources=sources.OLIVETTI_FACES,
    ),
)

CATALOGUE: dict[str, Spec] = {spec.name: spec for spec in _SPECS}
_ALIASES = {'omniglot': 'omniglot_28'}
_NAME = re.compile(r'\w+(/[\w.-]+)?(:\d+\.\d+\.\d+)?', re.ASCII)


def canonical(name: str) -> str:
    """The name under which a dataset is stored. Raises Fault for what can be no dataset's name."""
    if not _NAME.fullmatch(name) or '..' in name:
        raise Fault(f'{name!r} is no dataset name', f'{nearest(name, CATALOGUE)}; for files of your own: --data PATH')
    return _ALIASES.get(name, name)


def default_binarization(name: str) -> str:
    """How `load` binarizes unless told: the catalogue's choice, 'none' for any other tfds dataset."""
    spec = CATALOGUE.get(canonical(name))
    return spec.binarization if spec else 'none'

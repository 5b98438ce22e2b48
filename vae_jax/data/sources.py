"""Where each dataset's raw files come from: names, SHA-256, addresses, and the function that decodes them."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from vae_jax.data import raw


@dataclasses.dataclass(frozen=True)
class Source:
    """One set of raw files that a dataset can be made of.

    files: {name: SHA-256}, None where no checksum is known and that of the decoded pixels decides alone.
    decode: {name: path} -> {split: {column: array}}.
    urls: {name: address}, empty where nobody offers the files.
    unpack: writes the files that `decode` wants into a folder, where `files` only stand for them.
    """

    files: Mapping[str, str | None]
    decode: Callable[[raw.Paths], raw.Splits]
    urls: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unpack: Callable[[raw.Paths, Path], dict[str, Path]] | None = None


def _offered(base: str, decode: Callable[[raw.Paths], raw.Splits], files: Mapping[str, str | None]) -> Source:
    return Source(files, decode, {name: base + name for name in files})


# For what tfds has, these are the checksums and addresses that it registers itself (a test compares them).
MNIST = (
    _offered(
        'https://storage.googleapis.com/cvdf-datasets/mnist/',
        raw.mnist,
        {
            'train-images-idx3-ubyte.gz': '440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609',
            'train-labels-idx1-ubyte.gz': '3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c',
            't10k-images-idx3-ubyte.gz': '8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6',
            't10k-labels-idx1-ubyte.gz': 'f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6',
        },
    ),
)

FASHION_MNIST = (
    _offered(
        'http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/',
        raw.mnist,
        {
            'train-images-idx3-ubyte.gz': '3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84',
            'train-labels-idx1-ubyte.gz': 'a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845',
            't10k-images-idx3-ubyte.gz': '346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073',
            't10k-labels-idx1-ubyte.gz': '67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5',
        },
    ),
)

BINARIZED_MNIST = (
    _offered(
        'http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/',
        raw.binarized_mnist,
        {
            'binarized_mnist_train.amat': 'ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d',
            'binarized_mnist_valid.amat': '1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2',
            'binarized_mnist_test.amat': 'e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c',
        },
    ),
    Source(
        {'binarized_mnist.npz': '50de2c8299a5a297789293ab2c30f6fc3cb8c359a15e5e88d5501aa18ebb8fa5'},
        raw.binarized_mnist,
        unpack=raw.unpack_binarized_mnist,
    ),
)

OMNIGLOT = (
    Source({'omniglot_105x105.npz': '5dc3b3dbd55d7e9315b7512ab6b055c3938eeb3994c2188b0c8297c6d4fce6ed'}, raw.omniglot),
    _offered(
        'https://github.com/brendenlake/omniglot/raw/master/python/',
        raw.omniglot_zips,
        {
            'images_background.zip': 'ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640',
            'images_evaluation.zip': '1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee',
        },
    ),
)

_CALTECH_PACKED = '6e2a8dbd229aebe04b1f586c1c91556db1ee08ada4238f2ffb415a6adec8a19d'
CALTECH101_SILHOUETTES = (
    Source({'caltech101_silhouettes_28_split1.npz': _CALTECH_PACKED}, raw.caltech101_silhouettes),
    _offered(
        'https://people.cs.umass.edu/~marlin/data/',
        raw.caltech101_silhouettes_mat,
        {'caltech101_silhouettes_28_split1.mat': None},
    ),
)

FREY_FACES = (
    Source({'frey_faces.npz': '3c70375e0a9c4751ad49ad5f1f692bd094c46f133cf4aa8ea77d1cb14e1efcd1'}, raw.frey_faces),
    _offered('https://cs.nyu.edu/~roweis/data/', raw.frey_faces_mat, {'frey_rawface.mat': None}),
)

OLIVETTI_FACES = (
    Source(
        {'olivetti_faces.npz': '964b39d21eee062619f7af4882e424cb9d5fd261cae8b9965aa8e71280fc46fb'}, raw.olivetti_faces
    ),
    Source(
        {'olivettifaces.mat': 'b612fb967f2dc77c9c62d3e1266e0c73d5fca46a4b8906c18e454d41af987794'},
        raw.olivetti_faces_mat,
        {'olivettifaces.mat': 'https://ndownloader.figshare.com/files/5976027'},
    ),
)

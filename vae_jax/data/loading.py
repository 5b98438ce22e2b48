"""Datasets by name: the real ones, and generated stand-ins of their shape."""

import os
import zlib

import numpy as np

from vae_jax.data import raw
from vae_jax.data.arrays import Rows, assembled, completed, stored
from vae_jax.data.catalogue import CATALOGUE, Spec, canonical
from vae_jax.data.splits import Data
from vae_jax.errors import Fault, nearest


def load(
    name: str,
    *,
    binarization: str | None = None,
    validation: int | None = None,
    data_dir: str | os.PathLike | None = None,
) -> Data:
    """A dataset of the catalogue, or any tfds image dataset by its tfds name, on the device; prepared first if need be.

    binarization: None is the catalogue's choice ('none' for other tfds datasets); where it is random, the evaluation
    splits are sampled once, under a fixed seed. validation: how many rows it takes from the end of train, where the
    dataset has no such split: None is the catalogue's choice (mnist: the last 10,000 in tfds's order), 0 none. Datasets
    outside the catalogue give the end of a fixed permutation.
    Raises Fault: unknown names, what `prepare` and `from_arrays` refuse.
    """
    name = canonical(name)
    spec = CATALOGUE.get(name)
    if spec is None:
        return _other(name, binarization or 'none', validation, data_dir)
    parts = _GENERATED[name](spec) if spec.ready else _prepared(name, data_dir)
    # tfds wrote the rows in the order of a hash, so that their tail is as good as a random part.
    count = spec.validation if validation is None and 'validation' not in parts else validation
    return assembled(name, completed(name, parts, count, np.arange), spec.levels, binarization or spec.binarization)


def _other(name: str, binarization: str, validation: int | None, data_dir: str | os.PathLike | None) -> Data:
    parts = _prepared(name, data_dir)
    levels = max(stored(f'{name} ({split})', columns['x'])[1] or 2 for split, columns in parts.items())
    return assembled(name, completed(name, parts, validation), levels, binarization)


def _prepared(name: str, data_dir: str | os.PathLike | None) -> raw.Splits:
    from vae_jax.data.preparing import arrays

    return arrays(name, data_dir)[1]


def _digits(spec: Spec) -> dict[str, Rows]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    columns = {'x': bunch.images.astype(np.uint8)[..., None], 'label': bunch.target.astype(np.int32)}
    parts = np.split(raw.permutation(len(columns['x'])), np.cumsum(list(spec.sizes.values()))[:-1])
    return {split: {key: column[at] for key, column in columns.items()} for split, at in zip(spec.sizes, parts)}


def _sprites(spec: Spec) -> dict[str, Rows]:
    from vae_jax.data import sprites

    return sprites.divided(sprites.rows(side=spec.shape[0]), spec.sizes)


_GENERATED = {'digits': _digits, 'sprites': _sprites}


def stand_in(name: str, *, binarization: str | None = None) -> Data:
    """Generated data of the catalogued dataset's shape, levels, labels and binarization: 512 / 128 / 128 rows.

    An image is a sum of three smooth blobs whose places belong to its class, shifted a little: enough to learn from, no
    result of anything. `Data.stand_in` is True. Raises Fault for a name outside the catalogue.
    """
    name = canonical(name)
    if name not in CATALOGUE:
        raise Fault(f'no stand-in for {name!r}', nearest(name, CATALOGUE))
    spec = CATALOGUE[name]
    parts = {split: _blobs(spec, split, n) for split, n in {'train': 512, 'validation': 128, 'test': 128}.items()}
    return assembled(name, parts, spec.levels, binarization or spec.binarization, stand_in=True)


def _blobs(spec: Spec, split: str, n: int) -> Rows:
    (h, w, _), classes = spec.shape, min(spec.classes, 10) or 10
    places = np.random.RandomState(zlib.crc32(spec.name.encode())).uniform(0.2, 0.8, (classes, 3, 2))
    draw = np.random.RandomState(zlib.crc32(f'{spec.name} {split}'.encode()))
    kind = draw.randint(0, classes, n)
    centre = places[kind] + draw.normal(0, 0.04, (n, 3, 2))
    width = draw.uniform(0.08, 0.16, (n, 3, 1, 1))
    down = ((np.arange(h) + 0.5) / h - centre[..., :1])[..., :, None]
    across = ((np.arange(w) + 0.5) / w - centre[..., 1:])[..., None, :]
    light = np.exp(-(down**2 + across**2) / (2 * width**2)).max(1)
    rows = {'x': np.rint(light * (spec.levels - 1)).astype(np.uint8)[..., None]}
    if spec.classes:
        rows['label'] = kind.astype(np.int32)
    return {**rows, **{factor: draw.randint(0, 10, n).astype(np.int32) for factor in spec.factors}}

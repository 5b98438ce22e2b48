"""tfds builders that need no TensorFlow: they parse raw files with numpy and hand tfds encoded PNG bytes.

tfds takes builders as subclasses only; this is the one place where the library inherits.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import resource

from vae_jax.data import raw
from vae_jax.data.catalogue import Spec
from vae_jax.data.checksums import hold
from vae_jax.data.sources import Source
from vae_jax.errors import ENVIRONMENT, Fault


def png(image: np.ndarray) -> bytes:
    """The PNG file of one image, uint8 [h, w, 1]."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image[..., 0]).save(out, 'png')
    return out.getvalue()


def builder(spec: Spec, source: Source, data_dir: Path, files: raw.Paths | None = None) -> Any:
    """The tfds builder of a catalogued dataset, from raw files at hand or, without them, from what tfds downloads.

    A dataset that tfds has keeps its official name, version, features and registered checksums (its files must lie in
    the `manual_dir` of the download, where tfds checks them once more); any other is held to `spec.pixels`.
    """
    # tfds's own class where it has one (spec.version is empty); the generic one otherwise.
    base: Any = tfds.core.GeneratorBasedBuilder if spec.version else tfds.builder_cls(spec.name)

    class Ours(base, skip_registration=True):  # type: ignore[call-arg]
        name = spec.name
        pkg_dir_path = Path(__file__).parent if spec.version else base._get_pkg_dir_path()
        VERSION = tfds.core.Version(spec.version) if spec.version else base.VERSION
        RELEASE_NOTES = {spec.version: 'First release.'} if spec.version else base.RELEASE_NOTES
        url_infos = _url_infos(source) if spec.version else base.url_infos

        def _info(self) -> Any:
            if not spec.version:
                return super()._info()
            features: dict[str, Any] = {'image': tfds.features.Image(shape=spec.shape, encoding_format='png')}
            if spec.classes:
                features['label'] = tfds.features.ClassLabel(num_classes=spec.classes)
            features.update({name: tfds.features.Scalar(np.int64) for name in spec.factors})
            return tfds.core.DatasetInfo(
                builder=self, description=spec.about, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            at_hand = files if files is not None and spec.version else None
            paths = at_hand or dl_manager.download(dict(source.urls))
            hold(spec, source, paths)
            splits = checked(spec, source.decode(paths))
            return {split: self._generate_examples(split, columns) for split, columns in splits.items()}

        def _generate_examples(self, split: str, columns: raw.Columns) -> Iterator[tuple[int, dict[str, Any]]]:
            # The row's number is the key: tfds orders rows by a hash of it, as for the official builders.
            for i in progress(len(columns['image']), f'{spec.name} {split}: writing'):
                others = {name: int(column[i]) for name, column in columns.items() if name != 'image'}
                yield i, {'image': png(columns['image'][i]), **others}

    return Ours(data_dir=str(data_dir))


def progress(total: int, what: str) -> Any:
    """range(total) with a progress bar on stderr."""
    from tqdm import tqdm

    return tqdm(range(total), desc=what, unit=' rows', mininterval=0.5, dynamic_ncols=True)


def checked(spec: Spec, splits: raw.Splits) -> raw.Splits:
    """The splits, if they have the sizes, shape and pixels of the catalogue; else raises Fault."""
    found = {split: columns['image'].shape for split, columns in splits.items()}
    wanted = {split: (n, *spec.shape) for split, n in spec.sizes.items()}
    if found != wanted:
        raise Fault(f'the files of {spec.name} hold {found}, not {wanted}', 'get the original files', ENVIRONMENT)
    if spec.pixels and (got := raw.digest(splits)) != spec.pixels:
        told = f'the decoded pixels of {spec.name} have SHA-256 {got}, not {spec.pixels}'
        raise Fault(told, 'get the original files', ENVIRONMENT)
    return splits


def _url_infos(source: Source) -> dict[str, Any]:
    # tfds compares sizes as well as checksums, so only what it registers itself can be stated here.
    registered = tfds.core.download.checksums.get_all_url_infos()
    return {url: registered[url] for url in source.urls.values() if url in registered}


def missing_downloads(made: Any, data_dir: Path, urls: Any) -> list[str]:
    """The addresses that tfds would have to fetch: those not in its download cache."""
    infos = made.url_infos or {}

    def cached(url: str) -> bool:
        name = resource.get_dl_fname(url, infos[url].checksum if url in infos else None)
        folders = (data_dir / 'downloads' / made.name, data_dir / 'downloads')
        return any(resource.is_locally_cached(tfds.core.Path(folder / name)) for folder in folders)

    return [url for url in urls if not cached(url)]


def arrays(made: Any) -> raw.Splits:
    """The rows of a prepared dataset, split by split: x [n, h, w, c] uint8, and its integer scalars, int32 [n].

    Raises Fault where it has no single 8-bit image feature, or images of different sizes.
    """
    features = dict(made.info.features.items())
    images = [name for name, feature in features.items() if isinstance(feature, tfds.features.Image)]
    image = 'image' if 'image' in images else images[0] if len(images) == 1 else None
    if image is None or features[image].np_dtype != np.uint8:
        kinds = ', '.join(f'{name}: {type(feature).__name__}' for name, feature in features.items())
        raise Fault(f'{made.name} has no single 8-bit image feature ({kinds})', 'choose an image dataset')
    scalars = [
        name
        for name, feature in features.items()
        if feature.shape == () and np.issubdtype(feature.np_dtype, np.integer)
    ]
    wanted = [split for split in ('train', 'validation', 'test') if split in made.info.splits]
    if 'train' not in wanted:
        raise Fault(f'{made.name} has the splits {", ".join(made.info.splits)}, no train', 'choose another dataset')
    return {split: _columns(made, split, image, scalars) for split in wanted}


def _columns(made: Any, split: str, image: str, scalars: list[str]) -> raw.Columns:
    source = made.as_data_source(split=split)
    n = len(source)
    if not n:
        raise Fault(f'the {split} split of {made.name} is empty', 'choose another dataset', ENVIRONMENT)
    first = source[0]
    x = np.empty((n, *first[image].shape), np.uint8)
    factors = {name: np.empty(n, np.int64) for name in scalars}
    for i in progress(n, f'{made.name} {split}: reading'):
        row = source[i]
        if row[image].shape != x.shape[1:]:
            found = f'{made.name} has images of different sizes: {x.shape[1:]} and, at {split} {i}, {row[image].shape}'
            raise Fault(found, 'resize them to one size and give them as an .npz', ENVIRONMENT)
        x[i] = row[image]
        for name, column in factors.items():
            column[i] = row[name]
    # Identifiers above 32 bits are no factor of anything.
    small = {name: column for name, column in factors.items() if column.min() >= -(2**31) and column.max() < 2**31}
    return {'x': x, **{name: column.astype(np.int32) for name, column in small.items()}}

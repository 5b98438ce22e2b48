"""Data: raw files to tfds to cache to device, views and their probabilities, and every refusal."""

import concurrent.futures
import contextlib
import dataclasses
import fractions
import gzip
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import vae_jax.data as vd
from tests.statistics import assert_mean
from vae_jax.data import cache, checksums, network, preparing, raw
from vae_jax.data.sources import Source
from vae_jax.errors import ENVIRONMENT, USAGE, Fault

REPOSITORY = Path(__file__).parent.parent
draws = np.random.RandomState(7)


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def idx(array):
    return b'\0\0\x08' + bytes([array.ndim]) + np.array(array.shape, '>u4').tobytes() + array.tobytes()


# Raw files


def test_idx_files_are_read_and_anything_else_refused():
    array = draws.randint(0, 256, (5, 3, 4), np.uint8)
    np.testing.assert_array_equal(raw.parse_idx(idx(array)), array)
    for wrong in (b'', b'PK\x03\x04', idx(array)[:-1], idx(array) + b'\0', b'\0\0\x0d' + idx(array)[3:]):
        with pytest.raises(ValueError, match='idx'):
            raw.parse_idx(wrong)


def test_amat_text_is_read_and_anything_else_refused():
    pixels = draws.randint(0, 2, (6, 784), np.uint8)
    text = raw.amat_text(pixels)
    assert text.splitlines()[2].decode().split(' ') == [str(p) for p in pixels[2]]
    np.testing.assert_array_equal(raw.parse_amat(text), pixels)
    for wrong in (text[:-1], text.replace(b'1', b'2'), text.replace(b' ', b',')):
        with pytest.raises(ValueError):
            raw.parse_amat(wrong)


@pytest.mark.parametrize(('side', 'size'), [(7, 3), (105, 28), (4, 2), (5, 5)])
def test_area_averages_are_exact(side, size):
    ink = draws.randint(0, 2, (2, side, side), np.uint8)
    step = fractions.Fraction(side, size)

    def overlap(i, j):
        return max(fractions.Fraction(0), min((i + 1) * step, j + 1) - max(i * step, j))

    got = raw.area_average(ink, size)
    for i, k in draws.randint(0, size, (12, 2)).tolist():
        rows, columns = [j for j in range(side) if overlap(i, j)], [j for j in range(side) if overlap(k, j)]
        total = sum(overlap(i, r) * overlap(k, c) * int(ink[1, r, c]) for r in rows for c in columns)
        assert got[1, i, k] == int(255 * total / step**2 + fractions.Fraction(1, 2))
    assert (raw.area_average(np.ones((1, side, side), np.uint8), size) == 255).all()


def test_both_kinds_of_omniglot_files_decode_alike(tmp_path):
    ink = draws.randint(0, 2, (6, 105, 105), np.uint8)
    alphabets = ['Greek', 'Greek', 'Arcadian', 'Arcadian', 'Angelic', 'Angelic']
    drawers = [0, 1, 0, 1, 0, 1]
    np.savez(
        tmp_path / 'omniglot_105x105.npz',
        images=np.packbits(ink.reshape(6, -1), axis=1),
        character=np.repeat([0, 1, 2], 2),
        drawer=drawers,
        alphabet=np.repeat([2, 1, 0], 2),
        is_evaluation=[False] * 4 + [True] * 2,
    )
    for name, rows in (('images_background', range(4)), ('images_evaluation', range(4, 6))):
        with zipfile.ZipFile(tmp_path / f'{name}.zip', 'w') as archive:
            for i in reversed(rows):
                out = io.BytesIO()
                Image.fromarray(ink[i] == 0).save(out, 'png')
                archive.writestr(
                    f'{name}/{alphabets[i]}/character01/{i // 2 + 1:04}_{i % 2 + 1:02}.png', out.getvalue()
                )
    packed = raw.omniglot({'omniglot_105x105.npz': tmp_path / 'omniglot_105x105.npz'})
    zipped = raw.omniglot_zips({f'{n}.zip': tmp_path / f'{n}.zip' for n in ('images_background', 'images_evaluation')})
    assert raw.digest(packed) == raw.digest(zipped)
    assert {split: len(columns['image']) for split, columns in packed.items()} == {'train': 4, 'test': 2}
    np.testing.assert_array_equal(packed['train']['image'][..., 0], raw.area_average(ink[:4], 28))


def test_the_original_mat_files_decode_as_the_packed_ones(tmp_path):
    from scipy.io import savemat

    frames = draws.randint(0, 256, (1965, 28, 20), np.uint8)
    np.savez(tmp_path / 'frey_faces.npz', images=frames)
    savemat(tmp_path / 'frey_rawface.mat', {'ff': frames.reshape(1965, -1).T})
    faces = draws.randint(0, 256, (400, 64, 64), np.uint8)
    np.savez(tmp_path / 'olivetti_faces.npz', images=faces, person=np.arange(400) // 10)
    savemat(tmp_path / 'olivettifaces.mat', {'faces': faces.swapaxes(1, 2).reshape(400, -1).T})
    arrays, mat, name = {}, {}, 'caltech101_silhouettes_28_split1'
    for split in ('train', 'val', 'test'):
        bits, labels = draws.randint(0, 2, (9, 28, 28), np.uint8), draws.randint(0, 101, 9)
        arrays |= {split: np.packbits(bits.reshape(9, -1), axis=1), f'{split}_labels': labels}
        mat |= {f'{split}_data': bits.swapaxes(1, 2).reshape(9, -1), f'{split}_labels': labels[:, None] + 1}
    np.savez(tmp_path / f'{name}.npz', **arrays)
    savemat(tmp_path / f'{name}.mat', mat)
    for packed, original, files in (
        (raw.frey_faces, raw.frey_faces_mat, ('frey_faces.npz', 'frey_rawface.mat')),
        (raw.olivetti_faces, raw.olivetti_faces_mat, ('olivetti_faces.npz', 'olivettifaces.mat')),
        (raw.caltech101_silhouettes, raw.caltech101_silhouettes_mat, (f'{name}.npz', f'{name}.mat')),
    ):
        one, other = ({file: tmp_path / file} for file in files)
        assert raw.digest(packed(one)) == raw.digest(original(other))


# Through tfds


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A dataset of ours, of 40 / 8 / 8 rows: its Spec in the catalogue, its raw file under tmp_path/raw."""
    rows = draws.randint(0, 5, (56, 6, 5, 1), np.uint8)
    labels, thirds = np.arange(56) % 4, np.arange(56) % 3
    (tmp_path / 'raw' / 'tiny').mkdir(parents=True)
    np.savez(tmp_path / 'raw' / 'tiny' / 'tiny.npz', x=rows, label=labels, third=thirds)

    def decode(paths):
        with np.load(paths['tiny.npz']) as file:
            columns = {'image': file['x'], 'label': file['label'], 'third': file['third']}
        ends = {'train': slice(40), 'validation': slice(40, 48), 'test': slice(48, 56)}
        return {split: {key: column[at] for key, column in columns.items()} for split, at in ends.items()}

    file = tmp_path / 'raw' / 'tiny' / 'tiny.npz'
    spec = dataclasses.replace(
        vd.CATALOGUE['omniglot_28'],
        name='tiny',
        shape=(6, 5, 1),
        levels=5,
        sizes={'train': 40, 'validation': 8, 'test': 8},
        classes=4,
        factors=('third',),
        folder='tiny',
        pixels=raw.digest(decode({'tiny.npz': file})),
        sources=(Source({'tiny.npz': sha(file)}, decode),),
    )
    monkeypatch.setitem(vd.CATALOGUE, 'tiny', spec)
    return spec


@pytest.fixture
def tiny_mnist(tmp_path, monkeypatch):
    """The official mnist builder, over files of 12 and 4 rows whose checksums take the place of the registered ones."""
    import tensorflow_datasets as tfds

    folder = tmp_path / 'raw' / 'mnist'
    folder.mkdir(parents=True)
    for prefix, n in (('train', 12), ('t10k', 4)):
        images = gzip.compress(idx(draws.randint(0, 256, (n, 28, 28), np.uint8)), mtime=0)
        (folder / f'{prefix}-images-idx3-ubyte.gz').write_bytes(images)
        (folder / f'{prefix}-labels-idx1-ubyte.gz').write_bytes(
            gzip.compress(idx(np.arange(n, dtype=np.uint8) % 10), mtime=0)
        )
    official = vd.CATALOGUE['mnist']
    sums = {path.name: sha(path) for path in folder.iterdir()}
    source = dataclasses.replace(official.sources[0], files=sums)
    spec = dataclasses.replace(official, sizes={'train': 12, 'test': 4}, validation=3, sources=(source,))
    infos = {
        url: tfds.core.download.checksums.UrlInfo(
            tfds.core.utils.Size((folder / name).stat().st_size), sums[name], name
        )
        for name, url in source.urls.items()
    }
    monkeypatch.setattr(tfds.builder_cls('mnist'), 'url_infos', infos)
    monkeypatch.setitem(vd.CATALOGUE, 'mnist', spec)
    return spec


def same_rows(columns, x, label):
    def rows(a, b):
        return sorted(image.tobytes() + bytes([int(y)]) for image, y in zip(a, b, strict=True))

    return rows(columns['x'], columns['label']) == rows(x, label)


def plainly_read(name, data_dir):
    """What plain tfds makes of a prepared dataset, in a process that never imports vae_jax or tensorflow."""
    code = f"""
import json, sys, tensorflow_datasets as tfds
made = tfds.data_source({name!r}, data_dir={str(data_dir)!r})
assert not [m for m in sys.modules if m.partition('.')[0] in ('vae_jax', 'tensorflow')]
info, row = tfds.builder({name!r}, data_dir={str(data_dir)!r}).info, made['train'][0]
sums = sorted(int(r['image'].sum()) for r in made['test'])
print(json.dumps([info.full_name, len(made['train']), len(made['test']), row['image'].shape, sorted(row), sums]))
"""
    run = subprocess.run([sys.executable, '-I', '-c', code], cwd='/', capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def test_a_dataset_of_ours_goes_through_tfds_and_the_cache(tiny, tmp_path):
    made = vd.prepare('tiny', tmp_path / 'raw', tmp_path / 'data')
    assert made == ('tiny', tmp_path / 'data' / 'tiny' / '1.0.0', {'train': 40, 'validation': 8, 'test': 8})
    assert list(made.folder.glob('tiny-train.array_record-*'))
    splits = cache.read(made.folder)
    with np.load(tmp_path / 'raw' / 'tiny' / 'tiny.npz') as file:
        assert same_rows(splits['train'], file['x'][:40], file['label'][:40])
        assert same_rows(splits['test'], file['x'][48:], file['label'][48:])
    data = vd.load('tiny', binarization='none', data_dir=tmp_path / 'data')
    assert sorted(data.train.rows) == ['label', 'third', 'x'] and data.train.levels == 5
    assert (len(data.train), len(data.validation), len(data.test)) == (40, 8, 8)
    assert vd.load('tiny', binarization='none', data_dir=tmp_path / 'data').fingerprint == data.fingerprint
    assert vd.load('tiny', data_dir=tmp_path / 'data').binarization == 'dynamic'
    full, train, test, shape, columns, sums = plainly_read('tiny', tmp_path / 'data')
    assert (full, train, test, shape, columns) == ('tiny/1.0.0', 40, 8, [6, 5, 1], ['image', 'label', 'third'])
    assert sums == sorted(int(image.sum()) for image in splits['test']['x'])


def test_mnist_keeps_its_official_name_version_and_reader(tiny_mnist, tmp_path):
    made = vd.prepare('mnist', tmp_path / 'raw' / 'mnist', tmp_path / 'data')
    info = json.loads((made.folder / 'dataset_info.json').read_text())
    assert (info['name'], info['version'], info['fileFormat']) == ('mnist', '3.0.1', 'array_record')
    assert int(info['downloadSize']) == sum(path.stat().st_size for path in (tmp_path / 'raw' / 'mnist').iterdir())
    data = vd.load('mnist', binarization='none', data_dir=tmp_path / 'data')
    assert (len(data.train), len(data.validation), len(data.test)) == (9, 3, 4)
    # The validation split is the tail of tfds's own order.
    stored = cache.read(made.folder)['train']
    np.testing.assert_array_equal(data.validation.rows['x'], stored['x'][-3:])
    assert sorted(stored['label']) == [0, 0, 1, 1, *range(2, 10)]
    full, train, test, *_, sums = plainly_read('mnist', tmp_path / 'data')
    assert (full, train, test) == ('mnist/3.0.1', 12, 4)
    assert sums == sorted(int(image.sum()) for image in np.asarray(data.test.rows['x']))


def test_the_catalogue_holds_what_tfds_registers():
    import tensorflow_datasets as tfds

    for name in ('mnist', 'fashion_mnist', 'binarized_mnist'):
        source = vd.CATALOGUE[name].sources[0]
        infos = tfds.builder_cls(name).url_infos
        assert {url: source.files[file] for file, url in source.urls.items()} == {
            url: info.checksum for url, info in infos.items()
        }
    known = tfds.core.download.checksums.get_all_url_infos()
    zips = vd.CATALOGUE['omniglot_28'].sources[1]
    assert all(known[url].checksum == zips.files[file] for file, url in zips.urls.items())
    assert all(spec.pixels and spec.version for spec in vd.CATALOGUE.values() if spec.sources and spec.version)


def test_one_dataset_never_becomes_another(tiny_mnist, tmp_path):
    fashion = vd.CATALOGUE['fashion_mnist']
    with pytest.raises(Fault, match=r"\(it is mnist's\), fashion_mnist needs") as caught:
        checksums.raw_files(fashion, tmp_path / 'raw' / 'mnist')
    assert caught.value.code == ENVIRONMENT
    # A mixed-up folder name does not help either.
    (tmp_path / 'raw' / 'mnist').rename(tmp_path / 'raw' / 'fashion_mnist')
    with pytest.raises(Fault, match='fashion_mnist needs'):
        vd.prepare('fashion_mnist', tmp_path / 'raw', tmp_path / 'data')
    assert not (tmp_path / 'data' / 'fashion_mnist').exists()


def test_wrong_files_are_refused_and_leave_nothing(tiny, tmp_path, monkeypatch):
    with pytest.raises(Fault, match='does not hold the raw files of tiny'):
        vd.prepare('tiny', tmp_path, tmp_path / 'data')
    with pytest.raises(Fault, match='is not a folder'):
        vd.prepare('tiny', tmp_path / 'nowhere', tmp_path / 'data')
    with pytest.raises(Fault, match='nobody offers its files; fix: python -m vae_jax prepare tiny --from DIR'):
        vd.prepare('tiny', None, tmp_path / 'data')
    monkeypatch.setitem(vd.CATALOGUE, 'tiny', dataclasses.replace(tiny, pixels='0' * 64))
    with pytest.raises(Fault, match='decoded pixels of tiny have SHA-256'):
        vd.prepare('tiny', tmp_path / 'raw', tmp_path / 'data')
    file = tmp_path / 'raw' / 'tiny' / 'tiny.npz'
    file.write_bytes(file.read_bytes() + b'\0')
    with pytest.raises(Fault, match='tiny.npz has SHA-256'):
        vd.prepare('tiny', tmp_path / 'raw', tmp_path / 'data')
    assert not list((tmp_path / 'data').glob('tiny/*'))


def test_an_interrupted_preparation_is_not_believed(tiny, tmp_path, monkeypatch):
    from vae_jax.data import builders

    encode, count = builders.png, iter(range(100))

    def interrupted(image):
        if next(count) == 20:
            raise KeyboardInterrupt
        return encode(image)

    monkeypatch.setattr(builders, 'png', interrupted)
    with pytest.raises(KeyboardInterrupt):
        vd.prepare('tiny', tmp_path / 'raw', tmp_path / 'data')
    assert cache.find(tmp_path / 'data', 'tiny') is None and not (tmp_path / 'data' / 'tiny' / '1.0.0').exists()
    # What a killed process leaves: a dataset's folder half written, and a cache without its index.
    (tmp_path / 'data' / 'tiny' / '1.0.0.incomplete' / 'arrays').mkdir(parents=True)
    assert vd.prepare('tiny', tmp_path / 'raw', tmp_path / 'data').sizes['train'] == 40


def test_a_damaged_cache_is_noticed_and_made_again(tiny, tmp_path, capsys):
    folder = vd.prepare('tiny', tmp_path / 'raw', tmp_path / 'data').folder
    whole = vd.load('tiny', data_dir=tmp_path / 'data').fingerprint
    file = folder / 'arrays' / 'train.x.npy'
    for damage in (lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b[: len(b) // 2], lambda b: b''):
        file.write_bytes(damage(file.read_bytes()))
        with pytest.raises(cache.Damaged):
            cache.read(folder)
        assert vd.load('tiny', data_dir=tmp_path / 'data').fingerprint == whole
        assert 'cache is damaged' in capsys.readouterr().err
        cache.read(folder)
    # Records that cannot be read either are a fault that names the folder.
    (folder / 'arrays' / 'arrays.json').write_text('{')
    record = next(folder.glob('tiny-train*'))
    record.write_bytes(record.read_bytes()[:100])
    with pytest.raises(Fault, match=r'tiny/1.0.0 cannot be read .*; fix: remove that folder'):
        vd.load('tiny', data_dir=tmp_path / 'data')


def test_two_at_once_make_one_dataset(tiny, tmp_path, monkeypatch):
    runs, build = [], preparing._run

    def counted(made, *rest, **more):
        runs.append(made)
        time.sleep(0.3)
        return build(made, *rest, **more)

    monkeypatch.setattr(preparing, '_run', counted)
    monkeypatch.setattr(preparing, '_quiet', contextlib.nullcontext)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: vd.prepare('tiny', tmp_path / 'raw', tmp_path / 'data'), range(2)))
    assert both[0] == both[1] and len(runs) == 1


def test_warm_loading_imports_no_tfds(tiny_mnist, tmp_path):
    vd.prepare('mnist', tmp_path / 'raw', tmp_path / 'data')
    code = f"""
import sys
from vae_jax.data.preparing import arrays as load
arrays = load('mnist', {str(tmp_path / 'data')!r})[1]
assert arrays['train']['x'].shape == (12, 28, 28, 1)
assert not {{'tensorflow_datasets', 'tensorflow', 'sklearn', 'jax'}} & set(sys.modules)
"""
    subprocess.run([sys.executable, '-c', code], cwd=REPOSITORY, check=True)


def test_without_files_or_network_the_error_is_quick_and_says_what_to_do(tmp_path, monkeypatch):
    with socket.create_server(('127.0.0.1', 0)) as silent:
        # A proxy that accepts and never answers: the slowest way of having no network.
        for scheme in ('http', 'https'):
            monkeypatch.setenv(f'{scheme}_proxy', f'http://127.0.0.1:{silent.getsockname()[1]}')
        monkeypatch.setattr(network.unreachable, '__defaults__', (0.5,))
        start = time.monotonic()
        with pytest.raises(Fault) as caught:
            vd.load('mnist', data_dir=tmp_path / 'data')
    assert time.monotonic() - start < 5
    assert caught.value.code == ENVIRONMENT
    command = f'python -m vae_jax prepare mnist --from DIR --data-dir {tmp_path / "data"}'
    assert f'mnist is not in {tmp_path / "data"}' in str(caught.value) and command in str(caught.value)


def test_any_prepared_tfds_dataset_loads_by_name(tmp_path):
    import tensorflow_datasets as tfds

    from vae_jax.data.builders import png

    rows = draws.randint(0, 256, (30, 4, 3, 1), np.uint8)

    class Stamps(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = 'stamps'
        pkg_dir_path = tmp_path
        VERSION = tfds.core.Version('2.0.0')

        def _info(self):
            features = {
                'picture': tfds.features.Image(shape=(None, None, 1)),
                'label': tfds.features.ClassLabel(num_classes=3),
                'serial': np.int64,
            }
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {'train': self._generate_examples()}

        def _generate_examples(self):
            for i in range(30):
                yield i, {'picture': png(rows[i]), 'label': i % 3, 'serial': 2**40 + i}

    with preparing._quiet():
        Stamps(data_dir=str(tmp_path)).download_and_prepare(file_format='array_record')
    data = vd.load('stamps', data_dir=tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (25, 2, 3)
    assert data.train.levels == 256 and data.binarization == 'none' and sorted(data.train.rows) == ['label', 'x']
    everything = {k: np.concatenate([s.rows[k] for s in data.splits.values()]) for k in ('x', 'label')}
    assert same_rows(everything, rows, np.arange(30) % 3)
    assert vd.load('stamps', data_dir=tmp_path).fingerprint == data.fingerprint


def test_a_builder_that_needs_tensorflow_says_so(tmp_path):
    class Needy:
        data_dir = tmp_path / 'needy'

        def download_and_prepare(self, **arguments):
            try:
                raise ImportError("No module named 'tensorflow'", name='tensorflow')
            except ImportError as error:
                raise RuntimeError('Error while extracting') from error

    with pytest.raises(Fault, match='own builder of needy needs tensorflow .* pip install tensorflow') as caught:
        preparing._run(Needy(), 'needy', 'never mind')
    assert caught.value.code == ENVIRONMENT


# Views


@pytest.mark.parametrize('levels', [17, 256])
def test_dynamic_binarization_has_the_right_probabilities(levels):
    x = jnp.arange(levels, dtype=jnp.uint8)
    sample = jax.vmap(vd.dynamic(levels), (0, None))(jax.random.split(jax.random.key(3), 4000), x)
    assert sample.dtype == jnp.float32 and set(np.unique(sample)) == {0.0, 1.0}
    assert not sample[:, 0].any() and sample[:, -1].all()
    # The exact standard error: that of a pixel at 1/255 which was never drawn would be none.
    p = np.arange(1, levels - 1) / (levels - 1)
    assert (np.abs(np.mean(sample, 0)[1:-1] - p) < 5 * np.sqrt(p * (1 - p) / 4000)).all()


def test_dequantization_is_uniform_within_a_level_and_stays_below_one(monkeypatch):
    x = np.array([0, 7, 255], np.uint8)
    keys = jax.random.split(jax.random.key(4), 20_000)
    sample = np.asarray(jax.vmap(vd.dequantize(256), (0, None))(keys, x))
    assert (np.floor(sample * 256) == x).all() and (sample < 1).all()
    assert_mean(sample, (np.array([0, 7, 255]) + 0.5 - 2**-17) / 256)
    assert_mean((sample * 256 - x - 0.5) ** 2, np.full(3, 1 / 12))
    # The largest draw of all, too rare to wait for.
    monkeypatch.setattr(jax.random, 'bits', lambda key, shape, dtype: jnp.full(shape, jnp.iinfo(dtype).max, dtype))
    top = np.asarray(vd.dequantize(256)(keys[0], x))
    assert (np.floor(top * 256) == x).all() and (top < 1).all() and (top * 256 > x + 0.9999).all()


def test_scale_and_identity():
    key = jax.random.key(0)
    np.testing.assert_array_equal(vd.scale(17)(key, jnp.array([0, 8, 16], jnp.uint8)), [0, 0.5, 1])
    np.testing.assert_array_equal(vd.identity()(key, jnp.array([-1.5, 3])), [-1.5, 3])


def test_views_keep_their_identity_so_that_programs_are_reused():
    traces = []

    @jax.jit
    def mean(split):
        traces.append(1)
        return split.view(jax.random.key(0), split.rows['x']).mean()

    data = vd.load('digits')
    assert data.train.view is vd.dynamic(17) and data.test.view is vd.scale(2)
    mean(data.train), mean(vd.load('digits').train)
    assert len(traces) == 1


# Data


def test_digits_are_the_same_for_every_version():
    data = vd.load('digits')
    assert {name: len(split) for name, split in data.splits.items()} == {'train': 1297, 'validation': 200, 'test': 300}
    assert data.train.shape == (8, 8, 1) and data.train.levels == 17 and data.binarization == 'dynamic'
    assert data.example.shape == (8, 8, 1) and data.example.dtype == jnp.float32
    assert data.fingerprint.startswith('fe7a81962ee7')


def test_dynamic_data_are_grey_in_training_and_sampled_once_for_evaluation():
    grey, dynamic = vd.load('digits', binarization='none'), vd.load('digits')
    static = vd.load('digits', binarization='static')
    np.testing.assert_array_equal(dynamic.train.rows['x'], grey.train.rows['x'])
    assert (dynamic.train.levels, dynamic.validation.levels, dynamic.test.levels) == (17, 2, 2)
    assert {split.levels for split in static.splits.values()} == {2}
    np.testing.assert_array_equal(dynamic.test.rows['x'], static.test.rows['x'])
    for name, split in static.splits.items():
        x, p = np.asarray(split.rows['x']).ravel(), np.asarray(grey.splits[name].rows['x']).ravel() / 16
        assert not x[p == 0].any() and x[p == 1].all()
        distance = (x - p).sum() / np.sqrt((p * (1 - p)).sum())
        assert abs(distance) < 5
    assert not np.array_equal(static.validation.rows['x'][:200], static.test.rows['x'][:200])


def test_threshold_is_above_the_middle():
    data = vd.from_arrays(
        't', np.arange(17, dtype=np.uint8)[:, None].repeat(2, 1), levels=17, binarization='threshold', validation=0
    )
    seen = {int(x): int(label) for s in data.splits.values() for x, label in s.rows['x'][:, :2]}
    both = np.concatenate([split.rows['x'] for split in data.splits.values()])
    assert both.sum() == 2 * 8 and set(seen.items()) <= {(0, 0), (1, 1)}
    even = vd.from_arrays('e', np.array([[1, 2]] * 4, np.uint8), levels=4, binarization='threshold', validation=0)
    np.testing.assert_array_equal(even.train.rows['x'][0], [0, 1])


def test_splits_are_disjoint_complete_and_deterministic():
    x = np.arange(200, dtype=np.float32)[:, None]
    label = np.arange(200)
    for arguments in ({}, {'test_x': x[:7] - 100}, {'validation': 50}, {'validation': 0}):
        data = vd.from_arrays('a', x, label, **arguments)
        rows = [np.asarray(s.rows['x']) for s in data.splits.values()]
        want = np.concatenate([x, arguments['test_x']]) if 'test_x' in arguments else x
        np.testing.assert_array_equal(np.sort(np.concatenate(rows), 0), np.sort(want, 0))
        np.testing.assert_array_equal(data.train.rows['x'][:, 0], data.train.rows['label'])
        assert data.fingerprint == vd.from_arrays('a', x, label, **arguments).fingerprint
    data = vd.from_arrays('a', x, label)
    assert (len(data.train), len(data.validation), len(data.test)) == (162, 18, 20)
    assert vd.from_arrays('a', x, validation=0).validation is None
    # Labels are sorted here; a tail would hold only the last of them.
    assert data.test.rows['label'].min() < 100 < data.test.rows['label'].max()


def test_levels_follow_the_dtype():
    def levels(x, **more):
        split = vd.from_arrays('a', x, validation=0, **more).train
        return split.levels, str(split.rows['x'].dtype)

    grey = np.array([[0, 200], [3, 1], [1, 1]])
    assert levels(grey.astype(np.uint8)) == (256, 'uint8') and levels(grey) == (256, 'uint8')
    assert levels(grey > 1) == (2, 'uint8') and levels(np.minimum(grey, 1)) == (2, 'uint8')
    assert levels(grey / 7) == (None, 'float32') and levels(grey, levels=None) == (None, 'float32')
    assert levels(grey % 16, levels=16) == (16, 'uint8')
    assert vd.from_arrays('a', np.minimum(grey, 1), test_x=grey, validation=0).train.levels == 256


def test_the_fingerprint_sees_every_change():
    x = draws.randint(0, 256, (40, 3, 3), np.uint8)
    base = vd.from_arrays('a', x, np.arange(40))
    other = x.copy()
    other[-1, 2, 2] ^= 1
    label = np.arange(40)
    label[3] = 0
    changed = [
        vd.from_arrays('a', other, np.arange(40)),
        vd.from_arrays('a', x, label),
        vd.from_arrays('a', x),
        vd.from_arrays('a', x, np.arange(40), validation=0),
        vd.from_arrays('a', x, np.arange(40), binarization='static'),
        vd.from_arrays('a', x.reshape(40, 9), np.arange(40)),
        vd.dequantized(base),
    ]
    assert len({base.fingerprint, *(data.fingerprint for data in changed)}) == 8
    assert vd.from_arrays('b', x.copy(), np.arange(40)).fingerprint == base.fingerprint


def test_dequantized_data_change_only_their_view():
    data = vd.from_arrays('a', draws.randint(0, 256, (40, 3, 3), np.uint8))
    seen = vd.dequantized(data)
    assert {split.view for split in seen.splits.values()} == {vd.dequantize(256)}
    assert seen.train.rows is data.train.rows
    with pytest.raises(Fault, match='binarized'):
        vd.dequantized(vd.load('digits'))
    with pytest.raises(Fault, match='real numbers'):
        vd.dequantized(vd.from_arrays('a', np.ones((4, 2))))


@pytest.mark.parametrize('name', sorted(vd.CATALOGUE))
def test_stand_ins_have_the_shape_of_the_real_thing(name):
    spec, data = vd.CATALOGUE[name], vd.stand_in(name)
    assert data.stand_in and data.name == name and data.binarization == spec.binarization
    assert {split: len(s) for split, s in data.splits.items()} == {'train': 512, 'validation': 128, 'test': 128}
    assert data.train.shape == spec.shape and data.train.levels == (
        2 if spec.binarization == 'threshold' else spec.levels
    )
    assert sorted(data.train.rows) == sorted(['x', *['label'][: bool(spec.classes)], *spec.factors])
    grey = np.asarray(vd.stand_in(name, binarization='none').train.rows['x'])
    assert grey.max() == spec.levels - 1 and 0.02 < (grey > 0).mean() < 0.999
    assert vd.stand_in(name).fingerprint == data.fingerprint
    if spec.classes:
        # A nearest class mean tells the labels: there is structure to learn.
        flat, label = grey.reshape(512, -1).astype(float), np.asarray(data.train.rows['label'])
        means = np.stack([flat[label == c].mean(0) for c in np.unique(label)])
        guess = np.unique(label)[((flat[:, None] - means) ** 2).sum(-1).argmin(1)]
        assert (guess == label).mean() > 0.7


# The user's own files


def test_npz_files_become_data(tmp_path):
    x, test = draws.randint(0, 256, (30, 4, 4), np.uint8), draws.randint(0, 256, (6, 4, 4), np.uint8)
    np.savez(
        tmp_path / 'mine.npz', image=x, label=np.arange(30), test_x=test, test_label=np.arange(6), notes=np.zeros(3)
    )
    data = vd.from_path(tmp_path / 'mine.npz', validation=5, binarization='dynamic')
    assert (data.name, len(data.train), len(data.validation), len(data.test)) == ('mine', 25, 5, 6)
    assert data.train.levels == 256 and data.test.rows['label'].tolist() == list(range(6))


def test_a_folder_of_images_becomes_data(tmp_path):
    for label, name in enumerate(('cats', 'dogs')):
        (tmp_path / 'pets' / name).mkdir(parents=True)
        for i in range(10):
            Image.fromarray(np.full((5, 4), 100 * label + i, np.uint8)).save(tmp_path / 'pets' / name / f'{i}.png')
    (tmp_path / 'pets' / 'cats' / 'notes.txt').write_text('not an image')
    data = vd.from_path(tmp_path / 'pets', validation=0)
    assert data.train.shape == (5, 4, 1) and data.train.levels == 256 and len(data.train) == 18
    np.testing.assert_array_equal(data.train.rows['x'][:, 0, 0, 0] // 100, data.train.rows['label'])
    flat = vd.from_path(tmp_path / 'pets' / 'dogs')
    assert 'label' not in flat.train.rows and (len(flat.train), flat.validation, len(flat.test)) == (9, None, 1)
    colour = np.zeros((5, 4, 3), np.uint8)
    Image.fromarray(colour).save(tmp_path / 'pets' / 'cats' / 'z.png')
    assert vd.from_path(tmp_path / 'pets').train.shape == (5, 4, 3)


X = np.zeros((10, 2, 2), np.uint8)
HOLED = np.ones((10, 2, 2))
HOLED[4, 0, 1], HOLED[6, 1, 1] = np.nan, np.inf


@pytest.mark.parametrize(
    ('arguments', 'told', 'code'),
    [
        ({'x': HOLED}, r'2 values that are not finite, the first \(NaN\) at \[4, 0, 1\]', ENVIRONMENT),
        ({'x': HOLED[5:]}, r'1 values that are not finite, the first \(inf\) at \[1, 1, 1\]', ENVIRONMENT),
        ({'x': X, 'test_x': HOLED}, r'a \(test_x\) has 2 values', ENVIRONMENT),
        ({'x': X[:0]}, 'train split of a is empty', ENVIRONMENT),
        ({'x': X, 'test_x': X[:0]}, 'test split of a is empty', ENVIRONMENT),
        ({'x': X[:1]}, 'none is left for a test split', ENVIRONMENT),
        ({'x': X[:, 0, 0]}, r'has shape \(10,\)', ENVIRONMENT),
        ({'x': X[:, :0]}, r'has shape \(10, 0, 2\)', ENVIRONMENT),
        ({'x': X.astype(str)}, 'not numbers', ENVIRONMENT),
        ({'x': X.astype(complex)}, 'not numbers', ENVIRONMENT),
        ({'x': X, 'levels': 1}, 'levels = 1 is impossible', USAGE),
        ({'x': X, 'levels': 257}, 'levels = 257 is impossible', USAGE),
        ({'x': HOLED[:2], 'levels': 2}, 'real-valued and has no levels', USAGE),
        (
            {'x': X + np.uint8(17), 'levels': 17},
            r'40 values outside 0..16, the first \(17\) at \[0, 0, 0\]',
            ENVIRONMENT,
        ),
        ({'x': X.astype(int) + 256}, 'values outside 0..255', ENVIRONMENT),
        ({'x': X.astype(int) - 1}, 'values outside', ENVIRONMENT),
        ({'x': X, 'label': np.zeros(9, int)}, r'10 rows but labels of shape \(9,\)', ENVIRONMENT),
        ({'x': X, 'label': np.zeros(10)}, 'labels of .* are float64', ENVIRONMENT),
        ({'x': X, 'test_label': np.zeros(10, int)}, 'test labels but no test rows', ENVIRONMENT),
        ({'x': X, 'test_x': X[:, :1]}, r'test rows have shape \(1, 2\), train rows \(2, 2\)', ENVIRONMENT),
        ({'x': X, 'test_x': HOLED[:3]}, 'differ in kind', ENVIRONMENT),
        ({'x': X, 'binarization': 'dinamic'}, "unknown binarization 'dinamic'; fix: did you mean 'dynamic'", USAGE),
        ({'x': X, 'binarization': 'dynamic'}, 'binary already: dynamic', USAGE),
        ({'x': X, 'binarization': 'static'}, 'binary already: static', USAGE),
        ({'x': HOLED[:4], 'binarization': 'threshold'}, 'real-valued: threshold', USAGE),
        ({'x': X, 'validation': 9}, 'leaves nothing of the 9 training rows', USAGE),
        ({'x': X, 'validation': -1}, 'negative', USAGE),
    ],
)
def test_bad_arrays_are_refused_in_one_line(arguments, told, code):
    with pytest.raises(Fault, match=told) as caught:
        vd.from_arrays('a', **arguments)
    assert caught.value.code == code and '\n' not in str(caught.value) and '; fix: ' in str(caught.value)


def save_images(folder, **images):
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        image.save(folder / f'{name}.png')
    return folder


def bad_paths(tmp_path):
    small, large = Image.new('L', (3, 3)), Image.new('L', (4, 3))
    np.savez(tmp_path / 'keys.npz', pixels=X)
    np.savez(tmp_path / 'objects.npz', x=np.array([{}, {}], dtype=object))
    (tmp_path / 'text.npz').write_text('not an archive')
    (tmp_path / 'data.csv').write_text('1,2')
    both = save_images(tmp_path / 'both', a=small)
    save_images(both / 'cats', a=small)
    broken = save_images(tmp_path / 'broken', a=small)
    (broken / 'b.png').write_bytes((broken / 'a.png').read_bytes()[:20])
    return {
        tmp_path / 'missing.npz': 'missing.npz does not exist',
        tmp_path / 'keys.npz': 'has the keys pixels',
        tmp_path / 'objects.npz': 'objects.npz cannot be read .*allow_pickle',
        tmp_path / 'text.npz': 'text.npz cannot be read',
        tmp_path / 'data.csv': 'neither an .npz file nor a folder',
        save_images(tmp_path / 'sizes', a=small, b=large): r'b.png is 4x3 \(width x height\), a.png 3x3',
        save_images(tmp_path / 'deep', a=Image.new('I;16', (3, 3))): 'a.png has the pixel format I;16',
        save_images(tmp_path / 'nothing'): 'holds no png or jpg images',
        save_images(tmp_path / 'splits' / 'train', a=small).parent: 'are splits, not labels',
        both: 'both loose and in subfolders',
        broken: 'b.png is no readable image',
    }


def test_bad_files_are_refused_by_name(tmp_path):
    for path, told in bad_paths(tmp_path).items():
        with pytest.raises(Fault, match=told) as caught:
            vd.from_path(path)
        assert caught.value.code == ENVIRONMENT and '\n' not in str(caught.value)


def test_a_file_larger_than_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / 'big.npz', x=np.zeros((1000, 64, 64), np.uint8))
    monkeypatch.setattr(os, 'sysconf', lambda name: 1000)
    with pytest.raises(Fault, match='unpacks to'):
        vd.from_path(tmp_path / 'big.npz')


def test_unknown_names_are_answered_with_the_nearest(tmp_path):
    for name in ('mnits', 'fashion-mnist', '../mnist', ''):
        with pytest.raises(Fault, match=r"'mnist'|'fashion_mnist'|known: ") as caught:
            vd.load(name, data_dir=tmp_path)
        assert caught.value.code == USAGE
    with pytest.raises(Fault, match="did you mean 'frey_faces'"):
        vd.stand_in('frey_face')
    with pytest.raises(Fault, match='its own validation split of 200'):
        vd.load('digits', validation=100)
    assert vd.load('digits', validation=0).validation is None
    assert not list(tmp_path.iterdir())
    assert vd.canonical('omniglot') == 'omniglot_28' and vd.default_binarization('omniglot') == 'dynamic'


# The command line


def test_the_command_prints_what_it_made_and_returns_exit_codes(tiny, tmp_path, capsys):
    place = ['--data-dir', str(tmp_path / 'data')]
    assert vd.command(['prepare', 'digits', 'tiny', '--from', str(tmp_path / 'raw'), *place]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        'digits: train 1,297, validation 200, test 300; comes with scikit-learn, nothing to prepare',
        f'tiny: train 40, validation 8, test 8; {tmp_path / "data" / "tiny" / "1.0.0"}',
    ]
    assert 'tiny: preparing' in err
    for argv, code, told in (
        (['prepare', 'mnits', *place], USAGE, "unknown dataset 'mnits'; fix: did you mean 'mnist'?"),
        (['prepare', 'mnist', '--from', str(tmp_path), *place], ENVIRONMENT, 'does not hold the raw files of mnist'),
        (['prepare', 'mnist', '--frm', 'x'], USAGE, 'unrecognized arguments: --frm'),
        (['prepare'], USAGE, 'required: NAME'),
        ([], USAGE, 'required'),
        (
            ['prepare', 'mnist', '--from', '.', '--data-dir', '/dev/null/x'],
            ENVIRONMENT,
            '/dev/null/x cannot be written',
        ),
    ):
        assert vd.command(argv) == code
        out, err = capsys.readouterr()
        last = err.strip().splitlines()[-1]
        assert not out and last.startswith('error: ') and '; fix: ' in last and told in last

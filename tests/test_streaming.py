"""Rows that stay on a disk give the run that rows on the device give, bit for bit."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from PIL import Image

import vae_jax as vj
from tests import small
from tests.test_populations import KEYS, LRS
from tests.test_training import assert_same, plain, stop_at
from vae_jax import placement, training
from vae_jax.data import from_disk, streamed
from vae_jax.errors import Fault
from vae_jax.training import feeding

PIXELS = np.random.default_rng(0).integers(0, 256, (90, 4, 3, 1), np.uint8)


@pytest.fixture
def mapped(tmp_path):
    """The data of `small` with its training rows in files."""

    def on_disk(name, column):
        np.save(tmp_path / f'{name}.npy', np.asarray(column))
        return np.load(tmp_path / f'{name}.npy', mmap_mode='r')

    train = small.DATA.train
    rows = {name: on_disk(name, column) for name, column in train.rows.items()}
    return dataclasses.replace(small.DATA, train=dataclasses.replace(train, rows=rows))


def fit(data, trainer=small.TRAINER, key=KEYS[0], hyper=None, out=None, **options):
    hyper = small.Hyper() if hyper is None else hyper
    options = {'steps': 23, 'batch': 16, 'validate': small.validate, 'quiet': True, **options}
    return vj.fit(trainer, data, hyper, key, out=out, **options)


@pytest.mark.parametrize('chunk', [None, 1, 5])
def test_rows_from_disk_are_rows_on_the_device(mapped, chunk):
    assert mapped.train.streamed and not small.DATA.train.streamed
    assert_same(fit(mapped, chunk=chunk), fit(small.DATA))


def test_a_population_reads_each_members_own_rows(mapped):
    crew = vj.population(small.TRAINER, placement.in_turn), KEYS, small.Hyper(lr=LRS)
    ours, theirs = fit(mapped, *crew), fit(small.DATA, *crew)
    for a, b in zip(plain(ours.state), plain(theirs.state), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_position_is_in_the_checkpoint_and_the_data_are_the_same(mapped, tmp_path):
    with pytest.raises(training.Stopped):
        fit(mapped, out=tmp_path / 'run', chunk=1, stop=stop_at(10))
    assert mapped.fingerprint == small.DATA.fingerprint
    assert_same(fit(small.DATA, out=tmp_path / 'run'), fit(small.DATA))  # begun from disk, ended on the device


def test_only_a_chunk_of_rows_is_brought(mapped, monkeypatch):
    monkeypatch.setattr(feeding, 'AHEAD', 3 * 16 * (30 + 4))  # three steps of 16 rows of 30 pixels and a label
    seen = []
    at = type(mapped.train).at

    def spy(split, rows):
        seen.append(len(rows))
        return at(split, rows)

    monkeypatch.setattr(type(mapped.train), 'at', spy)
    run = fit(mapped)
    assert max(seen) == 3 * 16 and len(seen) >= 8
    monkeypatch.undo()
    assert_same(run, fit(small.DATA))


def test_splits_are_disjoint_and_complete():
    numbered = np.arange(90, dtype=np.uint8).reshape(90, 1, 1, 1) * np.ones((1, 4, 3, 1), np.uint8)
    data = streamed('numbers', numbered, np.arange(90), validation=20, test=7)
    assert [len(split) for split in data.splits.values()] == [63, 20, 7]
    every = [data.train.at(np.arange(63)), data.validation, data.test]
    assert sorted(np.concatenate([np.asarray(split.rows['x'])[:, 0, 0, 0] for split in every])) == list(range(90))
    for split in every:
        np.testing.assert_array_equal(split.rows['x'][:, 0, 0, 0], split.rows['label'])
    backwards = data.train.at(np.arange(63)[::-1])
    np.testing.assert_array_equal(backwards.rows['label'], np.asarray(every[0].rows['label'])[::-1])


def test_a_file_trains_and_evaluates(tmp_path):
    np.save(tmp_path / 'rows.npy', PIXELS)
    np.save(tmp_path / 'rows.label.npy', np.arange(90) % 3)
    data = from_disk(tmp_path / 'rows.npy', binarization='dynamic', validation=10)
    model = small.model(data.example)
    trainer = vj.trainer(model.init, vj.per_example(vj.beta_elbo(model)), lambda h: optax.adam(h.lr))
    run = fit(data, trainer, validate=None, steps=12)
    assert np.isfinite(run.metrics[-1]['train/loss'])
    assert np.isfinite(vj.elbo_estimate(model, run.params, data.test, jax.random.key(0)).elbo.mean)
    with pytest.raises(Fault, match='streamed split'):
        vj.elbo_estimate(model, run.params, data.train, jax.random.key(0))


def test_images_are_decoded_when_they_are_needed(tmp_path):
    pytest.importorskip('grain')
    for i, pixels in enumerate(PIXELS[:40]):
        folder = tmp_path / 'images' / 'ab'[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[..., 0]).save(folder / f'{i:02}.png')
    data = from_disk(tmp_path / 'images', validation=4)
    whole = vj.data.from_path(tmp_path / 'images', validation=0)
    assert data.train.streamed and data.train.shape == (4, 3, 1)
    found = np.concatenate([np.asarray(split.at(np.arange(len(split))).rows['x']) for split in data.splits.values()])
    there = np.concatenate([np.asarray(split.rows['x']) for split in whole.splits.values()])
    as_rows = lambda a: sorted(a.reshape(len(a), -1).tolist())
    assert as_rows(found) == as_rows(there)
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(tmp_path / 'images/a/00.png')
    with pytest.raises(Exception, match='resize all images'):
        data = from_disk(tmp_path / 'images', validation=4)
        data.train.at(np.arange(len(data.train)))
        data.test.at(np.arange(len(data.test)))


@pytest.mark.parametrize(
    'x, options, said',
    [
        (PIXELS, {'binarization': 'static'}, 'stay on disk'),
        (PIXELS, {'levels': 17}, r'row \d+ of rows has other than values of 0 to 16'),
        (PIXELS.astype(np.float64), {}, 'stream u8 rows'),
        (np.full((20, 3), np.nan, np.float32), {'levels': None}, 'row 0 of rows has other than finite'),
        (PIXELS, {'validation': 90}, 'hold out fewer'),
        (PIXELS, {'label': np.zeros(3, int)}, 'labels of shape'),
    ],
)
def test_rows_that_cannot_be_streamed_are_refused(x, options, said):
    with pytest.raises(Fault, match=said):
        streamed('rows', x, **options)


def test_files_that_are_no_arrays_are_refused(tmp_path):
    (tmp_path / 'rows.npy').write_text('nothing')
    for name in ('rows.npy', 'absent.npy'):
        with pytest.raises(Fault, match='cannot be read|no .npy file'):
            from_disk(tmp_path / name)

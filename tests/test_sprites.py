"""Sprites: drawn as geometry says, symmetric, complete, divided without overlap, and the same bits everywhere."""

import math
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax import data as vd
from vae_jax.data import sprites
from vae_jax.data.sprites import Factors, Grid, render
from vae_jax.errors import Fault

SQUARE, CAPSULE, TRIANGLE, HEART = range(4)
DRAW = jax.jit(render, static_argnames='side')


def draw(shape, scale=0.2, rotation=0.0, x=0.5, y=0.5, side=32):
    return np.asarray(DRAW(Factors(shape, scale, rotation, x, y), side=side), np.int64)


def covered(shape, scale, rotation, x, y, side, fine=16):
    """The share of each pixel that the shape covers, from fine x fine points, by corners and centres of its outline."""
    at = (np.arange(side * fine) + 0.5) / fine
    p, q = (at - x * side)[None, :], (y * side - at)[:, None]
    u = p * math.cos(rotation) + q * math.sin(rotation)
    v = q * math.cos(rotation) - p * math.sin(rotation)
    r = scale * side

    def polygon(corners):
        ends = [*corners[1:], corners[0]]
        return np.all([(b[0] - a[0]) * (v - a[1]) - (b[1] - a[1]) * (u - a[0]) >= 0 for a, b in zip(corners, ends)], 0)

    def around(angles):
        return polygon([(r * math.cos(math.radians(a)), r * math.sin(math.radians(a))) for a in angles])

    if shape == SQUARE:
        inside = around((45, 135, 225, 315))
    elif shape == TRIANGLE:
        inside = around((90, 210, 330))
    elif shape == CAPSULE:
        beyond = np.maximum(np.abs(u) - r / 2, 0)
        inside = np.hypot(beyond, v) <= r / 2
    else:
        # Lower corner at distance r; the upper edges' middles carry discs. Sizes from the area's own first moment.
        moment = (math.pi / 2) * (1 + 4 / (3 * math.pi)) / (4 + math.pi)
        s = r / math.sqrt(2) / (1 + moment)
        up = (moment * math.sqrt(2)) * s
        tip, side_, top = -math.sqrt(2) * s - up, math.sqrt(2) * s, math.sqrt(2) * s - up
        inside = polygon([(0, tip), (side_, -up), (0, top), (-side_, -up)])
        for sign in (-1, 1):
            inside = inside | (np.hypot(u - sign * s / math.sqrt(2), v - (s / math.sqrt(2) - up)) <= s)
    return inside.reshape(side, fine, side, fine).mean((1, 3))


CASES = [
    (0.25, 0.0, 0.5, 0.5, 32),
    (0.125, 0.3, 0.31, 0.62, 32),
    (0.2, 1.1, 0.71, 0.27, 32),
    (0.25, 2.2, 0.4, 0.55, 64),
    (0.15, 4.0, 0.5, 0.5, 256),
]


@pytest.mark.parametrize('case', CASES, ids=str)
@pytest.mark.parametrize('shape', range(4), ids=sprites.NAMES)
def test_an_image_is_the_share_of_each_pixel_that_the_shape_covers(shape, case):
    *factors, side = case
    exact, ours = covered(shape, *factors, side), draw(shape, *factors, side=side) / 255
    difference = ours - exact
    # An edge is told from its distance to the pixel's centre alone, and sharp corners are mitred: 0.22 of a pixel.
    assert np.abs(difference).max() < 0.3 and np.quantile(np.abs(difference)[(exact > 0) & (exact < 1)], 0.9) < 0.15
    assert ours.sum() == pytest.approx(exact.sum(), rel=0.04)
    assert np.all(ours[exact == 1] > 0.8) and np.all(ours[exact == 0] < 0.25)
    certain = np.abs(exact - 0.5) > 0.25
    np.testing.assert_array_equal((ours > 0.5)[certain], (exact > 0.5)[certain])


def test_the_rotations_of_each_shape_have_its_symmetry():
    turns = {SQUARE: 4, CAPSULE: 2, TRIANGLE: 3, HEART: 1}
    for shape, n in turns.items():
        images = [draw(shape, 0.25, 2 * math.pi * i / n + 0.2) for i in range(n)]
        for image in images[1:]:
            assert np.abs(image - images[0]).max() <= 8  # directions are rounded to 1/4096
        other = draw(shape, 0.25, 0.2 + math.pi / (n if n > 1 else 2))
        assert np.abs(other - images[0]).max() > 100
    square = draw(SQUARE, 0.25, 0.3)
    np.testing.assert_array_equal(np.rot90(square), draw(SQUARE, 0.25, 0.3 + math.pi / 2))
    for shape in (SQUARE, CAPSULE, TRIANGLE, HEART):
        upright = draw(shape, 0.25)
        assert np.abs(upright - upright[:, ::-1]).max() <= 4, 'upright, each is its own mirror image'
    quarter = draw(HEART, 0.25, math.pi / 2)
    assert np.abs(np.rot90(draw(HEART, 0.25)) - quarter).max() <= 8, 'a quarter turn is anticlockwise'


def test_area_grows_with_the_square_of_the_scale():
    scales = np.linspace(1 / 8, 1 / 4, 6)
    by_radius = {SQUARE: 2.0, CAPSULE: 1 + math.pi / 4, TRIANGLE: 3 * math.sqrt(3) / 4}
    for shape in range(4):
        areas = np.array([draw(shape, scale, 0.4).sum() / 255 for scale in scales])
        assert np.all(np.diff(areas) > 0)
        found = areas / (scales * 32) ** 2
        np.testing.assert_allclose(found, by_radius.get(shape, found.mean()), rtol=0.04)


def test_the_centroid_is_where_the_positions_say():
    for shape in range(4):
        for x, y in ((0.25, 0.75), (0.5, 0.5), (0.618, 0.3)):
            image = draw(shape, 0.2, 0.7, x, y)
            rows, columns = (np.arange(32) + 0.5) @ image.sum(1), (np.arange(32) + 0.5) @ image.sum(0)
            np.testing.assert_allclose(np.array([columns, rows]) / image.sum(), [32 * x, 32 * y], rtol=0, atol=0.1)
    one, moved = draw(HEART, 0.2, 0.7, 0.25, 0.25), draw(HEART, 0.2, 0.7, 0.25 + 5 / 32, 0.25 + 3 / 32)
    np.testing.assert_array_equal(np.roll(one, (3, 5), (0, 1)), moved)


def test_no_sprite_leaves_its_image_and_rendering_is_a_function_of_one_example():
    grid = Grid(4, 2, 4, 2, 2)
    columns = sprites.rows(grid, 32)
    x = columns['x'][..., 0]
    for shape in range(4):
        for scale in range(2):
            mass = x[(columns['shape'] == shape) & (columns['scale'] == scale)].sum((1, 2)) / 255.0
            np.testing.assert_allclose(mass, mass.mean(), rtol=0.06)
    factors = Factors(
        columns['shape'],
        columns['scale_value'],
        columns['rotation_value'],
        columns['x_value'],
        columns['y_value'],
    )
    together = jax.jit(jax.vmap(render))(jax.tree.map(jnp.asarray, factors))
    np.testing.assert_array_equal(together, x)
    alone = jax.jit(render)
    for i in range(0, len(x), 9):
        np.testing.assert_array_equal(alone(Factors(*(column[i] for column in factors))), x[i])


def test_rows_are_all_combinations_and_their_values():
    grid = Grid(3, 2, 2, 3, 4)
    columns = sprites.rows(grid, 16)
    index = np.stack([columns[name] for name in sprites.FACTORS], 1)
    assert len(np.unique(index, axis=0)) == len(index) == math.prod(grid)
    assert index.min(0).tolist() == [0] * 5 and index.max(0).tolist() == [n - 1 for n in grid]
    assert not np.array_equal(index, np.sort(index, 0)) and columns['x'].shape == (144, 16, 16, 1)
    np.testing.assert_array_equal(columns['label'], columns['shape'])
    np.testing.assert_allclose(columns['y_value'], 0.25 + columns['y_position'] / 6, rtol=1e-6)
    np.testing.assert_allclose(columns['rotation_value'], columns['rotation'] * math.pi / 4, rtol=1e-6)
    np.testing.assert_allclose(columns['scale_value'], (1 + columns['scale']) / 8, rtol=1e-6)
    alone = sprites.rows(Grid(1, 1, 1, 1, 1), 16)
    assert alone['x'].shape == (1, 16, 16, 1) and alone['x_value'] == 0.25


@pytest.fixture(scope='module')
def data():
    return vd.load('sprites')


def test_sprites_load_as_any_dataset(data):
    assert {name: len(split) for name, split in data.splits.items()} == dict(vd.CATALOGUE['sprites'].sizes)
    assert data.train.shape == (32, 32, 1) and data.binarization == 'threshold' and not data.stand_in
    assert {split.levels for split in data.splits.values()} == {2} and data.train.view is vd.scale(2)
    assert data.example.shape == (32, 32, 1) and set(np.unique(data.example)) == {0, 1}
    assert all(isinstance(column, jax.Array) for column in data.train.rows.values())
    for name in vd.CATALOGUE['sprites'].factors:
        assert data.train.rows[name].dtype == jnp.int32
        assert len(np.unique(data.train.rows[name])) == getattr(Grid(), name)


def test_splits_share_no_combination(data):
    keys = {}
    for name, split in data.splits.items():
        index = [np.asarray(split.rows[factor]) for factor in sprites.FACTORS]
        keys[name] = set(np.ravel_multi_index(index, tuple(Grid())).tolist())
        assert len(keys[name]) == len(split)
    assert sum(map(len, keys.values())) == len(set().union(*keys.values())) == math.prod(Grid())


def test_the_data_are_the_same_bits_for_every_device_and_version(data):
    assert data.fingerprint.startswith('92ccb24c0e72')
    assert vd.load('sprites').fingerprint == data.fingerprint
    grey = vd.load('sprites', binarization='none')
    assert grey.train.levels == 256 and grey.fingerprint.startswith('44c87cb7543d')
    np.testing.assert_array_equal(np.asarray(grey.test.rows['x']) > 127, np.asarray(data.test.rows['x']) == 1)
    images = np.concatenate([np.asarray(split.rows['x']) for split in grey.splits.values()]).reshape(-1, 1024)
    assert len(np.unique(images, axis=0)) == len(images), 'no two combinations are one image'
    # Direction cosines are rounded: none is so near a tie that a device's cosine could fall to its other side.
    cosines = 4096 * np.cos(np.pi / 2 * np.arange(8) / 8)
    assert np.abs(cosines - np.floor(cosines) - 0.5).min() > 0.01


def test_a_grid_of_ones_own():
    data = sprites.sprites(Grid(2, 2, 2, 4, 4), side=16, held=20, binarization='none')
    assert {name: len(split) for name, split in data.splits.items()} == {'train': 88, 'validation': 20, 'test': 20}
    assert data.train.levels == 256 and data.train.shape == (16, 16, 1)


@pytest.mark.parametrize(
    ('make', 'said'),
    [
        (lambda: sprites.rows(Grid(5)), '1 to 4 shapes'),
        (lambda: sprites.rows(Grid(scale=0)), '1 value or more'),
        (lambda: sprites.rows(Grid(1, 1, 1, 1, 1), 4), 'a side of 8 to 256'),
        (lambda: sprites.sprites(Grid(1, 2, 2, 2, 2), held=8), 'use a larger grid'),
        (lambda: vd.load('sprites', binarization='sttic'), "did you mean 'static'"),
        (lambda: vd.load('sprite'), "did you mean 'sprites'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, said):
    with pytest.raises(Fault, match=said):
        make()


def test_there_is_nothing_to_prepare(capsys):
    assert vd.command(['prepare', 'sprites']) == 0
    told = 'sprites: train 45,056, validation 2,048, test 2,048; is drawn when loaded, nothing to prepare'
    assert capsys.readouterr().out.strip() == told


def test_the_catalogue_tells_of_sprites_without_jax():
    code = 'import sys; from vae_jax.data import CATALOGUE; CATALOGUE["sprites"]; sys.exit("jax" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0

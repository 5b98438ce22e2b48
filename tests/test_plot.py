"""A picture is the array: pixels exact, places kept, bytes equal; what cannot be drawn is refused with its shape."""

import io

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from vae_jax import plot
from vae_jax.errors import NUMBERS, Fault


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def test_a_mosaic_is_the_pixels_themselves(tmp_path):
    images = np.random.default_rng(0).uniform(size=(5, 7, 6)).astype(np.float32)
    found = pixels(plot.grid(images, tmp_path / 'deep/er/grid.png', columns=3))
    assert (tmp_path / 'deep/er/grid.png').read_bytes() == plot.grid(jnp.asarray(images), columns=3)
    scale = 112 // 7
    for i, image in enumerate(images):
        top, left = (i // 3) * (7 * scale + 4), (i % 3) * (6 * scale + 4)
        tile = found[top : top + 7 * scale, left : left + 6 * scale]
        assert (tile[..., 0] == np.rint(image * 255).repeat(scale, 0).repeat(scale, 1)).all()
        assert (tile[..., 1] == 255).all()
    assert found.shape == (2 * 7 * scale + 4, 3 * 6 * scale + 8, 2)
    assert (found[:, 6 * scale : 6 * scale + 4, 1] == 0).all()


def test_colour_pairs_and_lattices_keep_their_places():
    x = np.zeros((3, 4, 4, 3))
    x[1, ..., 0] = 1
    found = pixels(plot.reconstructions(x, 1 - x))
    assert found.shape == (2 * 112 + 4, 3 * 112 + 8, 4)
    assert found[0, 116].tolist() == [255, 0, 0, 255]
    assert found[116, 116].tolist() == [0, 255, 255, 255]
    blocks = pixels(plot.reconstructions(np.zeros((12, 4, 4)), np.ones((12, 4, 4))))
    assert blocks.shape == (4 * 112 + 4 + 20 + 4, 8 * 112 + 7 * 4, 2)
    assert blocks[[0, 116, 248, 364], 0].tolist() == [[0, 255], [255, 255]] * 2
    assert blocks[-1, -1].tolist() == [0, 0]
    lattice = np.arange(6).reshape(2, 3, 1, 1) * np.ones((2, 3, 4, 4)) / 5
    found = pixels(plot.manifold(lattice))
    assert found.shape == (224, 336)
    assert found[::112, ::112].tolist() == [[0, 51, 102], [153, 204, 255]]
    assert pixels(plot.interpolations(lattice)).shape == (228, 344, 2)


def test_a_board_has_each_image_in_its_place_and_the_names_beside_and_above():
    images = np.zeros((2, 3, 4, 5))
    images[1, 2] = 1
    found = pixels(plot.board(images, ['x', 'x_hat$'], ['a', 'b', 'c'], theme=plot.DARK))[..., :3]
    white, black = (found == 255).all(-1), (found == 0).all(-1)
    assert black.sum() == pytest.approx(5 * white.sum(), rel=0.05)  # edges are smoothed
    (rows, columns), (others, before) = np.nonzero(white), np.nonzero(black)
    assert rows.min() > 0.5 * others.max() and columns.min() > before[others > rows.min()].max()
    assert columns.min() > 0.1 * found.shape[1] and rows.min() > 0.1 * found.shape[0]  # names have their place
    assert not np.array_equal(found, pixels(plot.board(images, ['x', 'y'], ['a', 'b', 'c'], theme=plot.DARK))[..., :3])


def test_large_images_are_not_enlarged_and_many_fit():
    assert pixels(plot.grid(np.zeros((1, 200, 150)))).shape == (200, 150)
    assert max(pixels(plot.grid(np.zeros((900, 28, 28)))).shape) < 2300


FEW, MANY, WORDS = np.arange(40) % 3, np.arange(40), np.array(['a', 'b$'] * 20)


@pytest.mark.parametrize(
    ('latent', 'labels'), [(1, None), (1, FEW), (1, MANY), (2, None), (2, WORDS), (2, MANY), (5, FEW), (5, None)]
)
def test_codes_of_any_width_with_any_labels(latent, labels):
    found = pixels(plot.latent(np.random.default_rng(0).normal(size=(40, latent)), labels))
    assert len(np.unique(found.reshape(-1, 4), axis=0)) > 20


def test_a_single_code_and_codes_all_alike_have_a_picture():
    assert plot.latent(np.ones((1, 5)))
    assert plot.latent(np.zeros((9, 4)), np.zeros(9))
    assert plot.rates(np.zeros(40))


def test_the_axis_leaves_a_steep_start_out_and_nothing_else():
    x = np.arange(100.0)
    low, high = plot.focus(x, np.where(x < 3, 1000.0, 20 + x / 100))
    assert 19 < low < 20.1
    assert 20.9 < high < 22
    low, high = plot.focus(x, x)
    assert low < 0
    assert high > 99
    assert plot.focus(x[:1], np.ones(1)) == (0.9, 1.1)


IMAGES = np.zeros((4, 3, 3))
REFUSED = [
    (lambda: plot.grid(np.zeros((4, 4))), r'shape \(4, 4\); fix: give \[n, h, w\]'),
    (lambda: plot.grid(np.zeros((2, 4, 4, 2))), r'or \[n, h, w, 3\]'),
    (lambda: plot.grid(np.zeros((0, 4, 4))), 'not empty'),
    (lambda: plot.grid(IMAGES + 255), r'from 255 to 255, not within \[0, 1\]; fix: divide'),
    (lambda: plot.grid(IMAGES, columns=0), 'grid of 0 columns'),
    (lambda: plot.reconstructions(IMAGES, IMAGES[:2]), 'one reconstruction for each'),
    (lambda: plot.interpolations(IMAGES), r'give \[rows, columns, h, w\]'),
    (lambda: plot.board(IMAGES), r'give \[rows, columns, h, w\]'),
    (lambda: plot.board(IMAGES[None], ['a', 'b']), "2 names beside a board of 1 rows and 4 columns; fix: give 1, ''"),
    (lambda: plot.board(IMAGES[None], (), ['a', 'b']), '2 names above a board'),
    (lambda: plot.manifold(IMAGES), r'give \[rows, columns, h, w\]'),
    (lambda: plot.latent(np.zeros((4, 2)), np.zeros(3)), r'labels of shape \(4,\)'),
    (lambda: plot.rates(np.zeros((2, 2))), '1 axes'),
    (lambda: plot.vectors({'a': np.zeros((2, 3)), 'b': np.zeros((2, 4))}), r'\[3, 4\] dimensions'),
    (
        lambda: plot.curves([{'step': 1, 'train/loss': 2.0}], ['loss']),
        "no metric 'loss'; fix: choose from .*train/loss",
    ),
    (lambda: plot.curves([], []), 'no metric'),
]


@pytest.mark.parametrize(('call', 'message'), REFUSED)
def test_a_wrong_shape_is_refused_with_what_was_found_and_what_to_do(call, message):
    with pytest.raises(Fault, match=message):
        call()


def test_values_that_are_not_finite_end_with_the_code_for_numbers(tmp_path):
    with pytest.raises(Fault, match=r'not finite \(1 of 36\)') as caught:
        plot.grid(np.where(np.arange(36).reshape(4, 3, 3) == 5, np.nan, 0))
    assert caught.value.code == NUMBERS


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(Fault, match='cannot make the folder'):
        plot.grid(IMAGES, tmp_path / 'file' / 'grid.png')

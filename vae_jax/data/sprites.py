"""Sprites: a procedural dataset of filled shapes whose factors (shape, scale, rotation, x, y) are known exactly.

An image is drawn by signed distance functions in 32-bit integers, so that every device draws the same bits and the
data have one fingerprint. Lengths are in units of 1/64 pixel, directions of 1/4096. No sprite leaves its image.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from vae_jax.data.arrays import Rows, assembled
from vae_jax.data.raw import permutation
from vae_jax.data.splits import Data
from vae_jax.errors import Fault

_UNIT, _ONE = 64, 4096  # of a pixel, of a direction cosine
NAMES = ('square', 'capsule', 'triangle', 'heart')
FACTORS = ('shape', 'scale', 'rotation', 'x_position', 'y_position')


class Grid(NamedTuple):
    """How many values each factor has; the dataset is all of their combinations.

    scale: the sprite's circumradius, 1/8 to 1/4 of the side; rotation: parts of a quarter turn, anticlockwise, so that
    no two combinations are the same image; positions of the centroid: 1/4 to 3/4 of the side, x to the right,
    y downwards.
    """

    shape: int = 4
    scale: int = 6
    rotation: int = 8
    x_position: int = 16
    y_position: int = 16


_WHOLE = Grid()


class Factors(NamedTuple):
    """One sprite: its shape's number, circumradius in sides, angle in radians, centroid in sides from the top left."""

    shape: Any
    scale: Any
    rotation: Any
    x_position: Any
    y_position: Any


def values(grid: Grid, index: Factors) -> Factors:
    """Real factors, float32, of the numbers of a combination: index 0 .. grid - 1 of each factor."""
    across = lambda low, high, i, n: np.float32(low) + np.float32(high - low) * np.float32(i) / max(n - 1, 1)
    return Factors(
        index.shape,
        across(1 / 8, 1 / 4, index.scale, grid.scale),
        np.float32(math.pi / 2) * np.float32(index.rotation) / grid.rotation,
        across(1 / 4, 3 / 4, index.x_position, grid.x_position),
        across(1 / 4, 3 / 4, index.y_position, grid.y_position),
    )


def render(factors: Factors, side: int = 32) -> Array:
    """u8 [side, side]: 255 clip(1/2 - d, 0, 1) at a pixel's centre d pixels outside the edge's line."""
    pixel = lambda length: jnp.rint(jnp.float32(length) * (side * _UNIT)).astype(jnp.int32)
    part = lambda cosine: jnp.rint(cosine * _ONE).astype(jnp.int32)
    centres = lax.iota(jnp.int32, side) * _UNIT + _UNIT // 2
    x = (centres - pixel(factors.x_position))[None, :]
    y = (pixel(factors.y_position) - centres)[:, None]
    cos, sin = part(jnp.cos(jnp.float32(factors.rotation))), part(jnp.sin(jnp.float32(factors.rotation)))
    u, v = _along(x, y, cos, sin), _along(x, y, -sin, cos)
    distance = lax.switch(factors.shape, _SHAPES, u, v, pixel(factors.scale))
    inside = jnp.clip(_UNIT // 2 - distance, 0, _UNIT)
    return ((inside * 255 + _UNIT // 2) // _UNIT).astype(jnp.uint8)


def _along(x: Array, y: Array, a: Any, b: Any) -> Array:
    """x a + y b of a direction (a, b), rounded."""
    return (x * a + y * b + _ONE // 2) // _ONE


def _times(length: Array, factor: float) -> Array:
    return (length * round(factor * _ONE) + _ONE // 2) // _ONE


def _disc(u: Array, v: Array, r: Array) -> Array:
    """(u^2 + v^2 - r^2) / 2 r: the distance from the edge to first order, and needing no square root."""
    return (u * u + v * v - r * r) // (2 * r)


def _square(u: Array, v: Array, r: Array) -> Array:
    return jnp.maximum(jnp.abs(u), jnp.abs(v)) - _times(r, math.sqrt(0.5))


def _capsule(u: Array, v: Array, r: Array) -> Array:
    half = r // 2
    return _disc(jnp.maximum(jnp.abs(u) - half, 0), v, r - half)


def _triangle(u: Array, v: Array, r: Array) -> Array:
    side = _along(jnp.abs(u), v, round(math.sqrt(0.75) * _ONE), _ONE // 2)
    return jnp.maximum(side, -v) - r // 2


def _heart(u: Array, v: Array, r: Array) -> Array:
    """A square of half side s, standing on a corner, and a disc of radius s about the middle of each upper edge."""
    s, eighth = _times(r, _HEART), round(math.sqrt(0.5) * _ONE)
    up = _times(s, _CENTROID)
    a, b = _along(u, v, eighth, eighth) + up, _along(-u, v, eighth, eighth) + up
    body = jnp.maximum(jnp.abs(a), jnp.abs(b)) - s
    return jnp.minimum(body, jnp.minimum(_disc(a - s, b, s), _disc(a, b - s, s)))


# The centroid of the heart lies so many half sides from its square's centre, along both upper edges: half discs of area
# pi s^2 / 2, whose own centroids lie 4 s / 3 pi beyond their edges. Its farthest point is then the lower corner.
_CENTROID = math.pi / 2 * (1 + 4 / (3 * math.pi)) / (4 + math.pi)
_HEART = 1 / (math.sqrt(2) * (1 + _CENTROID))
_SHAPES = (_square, _capsule, _triangle, _heart)


@partial(jax.jit, static_argnames='side')
def _images(factors: Factors, side: int) -> Array:
    return lax.map(lambda one: render(one, side), factors, batch_size=512)


def rows(grid: Grid = _WHOLE, side: int = 32) -> Rows:
    """All combinations in a fixed random order: x u8 [n, side, side, 1], the number of each factor's value, int32 [n],
    `label` (the shape's again), and the values, float32 [n]: scale_value, rotation_value, x_value, y_value.

    Raises Fault on a grid with a factor of no value or unknown shapes, and on a side that cannot hold a sprite.
    """
    if min(grid) < 1 or grid.shape > len(_SHAPES):
        what = f'a grid of {"x".join(map(str, grid))} sprites is none'
        raise Fault(what, f'give every factor 1 value or more, and 1 to {len(_SHAPES)} shapes')
    if not 8 <= side <= 256:
        raise Fault(f'sprites of {side} x {side} pixels cannot be drawn', 'choose a side of 8 to 256')
    order = permutation(math.prod(grid))
    index = Factors(*(column.astype(np.int32) for column in np.unravel_index(order, tuple(grid))))
    real = values(grid, index)
    names = {'scale_value': real.scale, 'rotation_value': real.rotation}
    names |= {'x_value': real.x_position, 'y_value': real.y_position}
    x = np.asarray(_images(jax.tree.map(jnp.asarray, real), side))[..., None]
    return {'x': x, 'label': index.shape, **index._asdict(), **names}


def divided(columns: Rows, sizes: Mapping[str, int]) -> dict[str, Rows]:
    """The first of these rows for each split, in the order given."""
    ends = np.cumsum([0, *sizes.values()])
    return {
        split: {name: column[start:end] for name, column in columns.items()}
        for split, start, end in zip(sizes, ends, ends[1:])
    }


def sprites(grid: Grid = _WHOLE, side: int = 32, held: int = 2048, binarization: str = 'threshold') -> Data:
    """A dataset of sprites: `held` combinations for validation, `held` for test, all others for training.

    'threshold' gives two levels, a pixel being on where more than half of it is covered; 'none' 256.
    Raises Fault as `rows` does, and where nothing is left for training.
    """
    n = math.prod(grid)
    if not 0 < 2 * held < n:
        raise Fault(f'{n} sprites cannot give two splits of {held}', 'use a larger grid, or hold less of it')
    parts = divided(rows(grid, side), {'train': n - 2 * held, 'validation': held, 'test': held})
    return assembled('sprites', parts, 256, binarization)

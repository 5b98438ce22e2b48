"""How a stroke is written: slant and thickness, measured on pictures with dark ground and bright ink."""

from typing import Any

import numpy as np

from vae_jax.errors import Fault

FINER = 4  # times that a picture is enlarged before its strokes are measured


def _inked(xs: Any) -> np.ndarray:
    """Pictures as float64 [n, h, w]. Raises Fault where they are none, below zero, or without ink."""
    xs = np.asarray(xs, np.float64)
    if xs.ndim == 4 and xs.shape[-1] == 1:
        xs = xs[..., 0]
    if xs.ndim != 3:
        raise Fault(f'pictures of shape {list(xs.shape)}, expected [n, h, w] or [n, h, w, 1]', 'give one channel')
    if not (xs >= 0).all():
        raise Fault('ink below zero', 'give pictures whose ground is 0 and whose ink is positive')
    if empty := int(np.sum(xs.sum((1, 2)) == 0)):
        raise Fault(f'{empty} of {len(xs)} pictures have no ink', 'leave them out')
    return xs


def slant(xs: Any) -> np.ndarray:
    """-mu_11 / mu_02 [n] of pictures [n, h, w], their ink the mass: pixels to the right for each pixel up, 0 upright.

    The shear that makes ink uncorrelated in the two directions, as where digits are deslanted. Rows count downwards,
    hence the sign. Raises Fault on what is no picture, on pictures without ink, and on ink in one row.
    """
    xs = _inked(xs)
    mass = xs.sum((1, 2), keepdims=True)
    down, across = np.arange(xs.shape[1])[None, :, None], np.arange(xs.shape[2])[None, None]
    down = down - (xs * down).sum((1, 2), keepdims=True) / mass
    across = across - (xs * across).sum((1, 2), keepdims=True) / mass
    spread = (xs * down**2).sum((1, 2))
    if flat := int(np.sum(spread == 0)):
        raise Fault(f'{flat} of {len(xs)} pictures have all ink in one row', 'leave them out')
    return -(xs * down * across).sum((1, 2)) / spread


def thickness(xs: Any) -> np.ndarray:
    """Mean width of the strokes [n] in pixels: twice the mean distance to the ground along their middle.

    As Castro et al. (2019, Morpho-MNIST) measure it: the picture four times as large, ink where it is above half of
    its largest value, Euclidean distances. The middle is where no neighbour is further from the ground, in place of
    their skeleton. Raises Fault on what is no picture and on pictures without ink.
    """
    from scipy import ndimage

    def one(x: np.ndarray) -> float:
        padded = np.pad(x, 1)
        finer = ndimage.zoom(padded, FINER, order=1, mode='nearest', grid_mode=True)
        # to the centre of the nearest ground pixel, so that a stroke of an even width w has w / 2 in its middle
        distance = ndimage.distance_transform_edt(finer > 0.5 * x.max())
        middle = (distance > 0) & (distance >= ndimage.maximum_filter(distance, 3))
        return 2 * float(distance[middle].mean()) / FINER

    return np.array([one(x) for x in _inked(xs)])

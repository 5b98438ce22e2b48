"""How far reconstructions are from their pictures: MSE, PSNR and SSIM, an example at a time."""

from functools import cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, vmap

from vae_jax.errors import Fault
from vae_jax.evaluation.checks import split_and_key
from vae_jax.evaluation.scores import Score
from vae_jax.evaluation.streaming import Rows, at_a_time, example, finite, over
from vae_jax.models import Conditional, Model

WINDOW, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03  # of Wang et al. 2004


class Fidelity(NamedTuple):
    """Reconstructions of n examples beside them; PSNR in decibels; `window` pixels wide for SSIM."""

    mse: Score
    psnr: Score
    ssim: Score
    window: int
    data_range: float

    def __str__(self) -> str:
        told = f'MSE {self.mse}, PSNR {self.psnr} dB, SSIM {self.ssim}'
        return f'{told} (window {self.window}, data range {self.data_range:g}, {len(self.mse.values)} examples)'


def mse(x: Array, y: Array) -> Array:
    """mean (x - y)^2 over all values of one picture. Raises Fault where the two have not as many."""
    if jnp.size(x) != jnp.size(y):
        found = f'pictures of shapes {list(jnp.shape(x))} and {list(jnp.shape(y))}'
        raise Fault(found, 'give two with as many values')
    return jnp.mean((jnp.ravel(x) - jnp.ravel(y)) ** 2)


def psnr(x: Array, y: Array, data_range: float) -> Array:
    """10 log10(data_range^2 / mse(x, y)) of one picture, decibels; infinite where they are equal."""
    return 20 * jnp.log10(data_range) - 10 * jnp.log10(mse(x, y))


def _blur(size: int, window: int) -> np.ndarray:
    """[size - window + 1, size]: a Gaussian of sigma 1.5 and sum 1 at every place where it lies inside."""
    weights = np.exp(-0.5 * ((np.arange(window) - (window - 1) / 2) / SIGMA) ** 2)
    places = np.arange(size - window + 1)[:, None] + np.arange(window)[None]
    matrix = np.zeros((size - window + 1, size), np.float32)
    np.put_along_axis(matrix, places, np.broadcast_to(weights / weights.sum(), places.shape), 1)
    return matrix


def ssim(x: Array, y: Array, data_range: float, window: int = WINDOW) -> Array:
    """mean of (2 m_x m_y + c1)(2 s_xy + c2) / ((m_x^2 + m_y^2 + c1)(s_x^2 + s_y^2 + c2)) of one picture; 1 is equality.

    (Wang et al. 2004, eq. 13.) x, y [h, w] or [h, w, channels]; moments under a Gaussian window of sigma 1.5 that lies
    inside, c1 = (0.01 data_range)^2, c2 = (0.03 data_range)^2; channels are averaged. Raises Fault on other ranks, on
    two shapes, on an even window and on pictures smaller than it.
    """
    if x.shape != y.shape or x.ndim not in (2, 3):
        raise Fault(f'pictures of shapes {x.shape} and {y.shape}', 'give two of one shape [h, w] or [h, w, channels]')
    h, w = x.shape[:2]
    if window % 2 == 0 or not 1 <= window <= min(h, w):
        odd = min(h, w) - 1 + min(h, w) % 2
        raise Fault(f'a window of {window} in a picture of {h} x {w}', f'pass an odd window of at most {odd}')
    down, across = _blur(h, window), _blur(w, window)
    blurred = lambda a: jnp.einsum('ih,hwc,jw->ijc', down, a.reshape(h, w, -1), across)
    mean_x, mean_y = blurred(x), blurred(y)
    variance_x, variance_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    covariance = blurred(x * y) - mean_x * mean_y
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    light = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return jnp.mean(light * (2 * covariance + c2) / (variance_x + variance_y + c2))


@cache
def _fidelity_rows(model: Model | Conditional, data_range: float, window: int) -> Rows:
    def rows_of(member: tuple[Any, Array], shared: tuple[Any, Array]) -> tuple[Array, Array, Array]:
        (params, key), (split, rows) = member, shared

        def one(row: Array) -> tuple[Array, Array, Array]:
            of_row, x, _ = example(model, split, key, row)
            made = of_row.decode(params, of_row.encode(params, x).mean).mean
            if not hasattr(x, 'shape') or not hasattr(made, 'shape'):
                raise Fault('x is several arrays, and a picture is one', 'compare the pictures among them by mse, ssim')
            return mse(x, made), psnr(x, made, data_range), ssim(x, made, data_range, window)

        return vmap(one)(rows)

    return rows_of


def fidelity(
    model: Model | Conditional,
    params: Any,
    split: Any,
    key: Array,
    *,
    data_range: float = 1.0,
    window: int = WINDOW,
    quiet: bool = True,
    kept: Any = None,
) -> Any:
    """MSE, PSNR and SSIM of E[x|z] at the mean z of q(z|x) beside x as the model sees it, of a whole split.

    A Fidelity; of the members of a population, params [m, ...] and keys [m], a list of m. Raises Fault where x is no
    picture or smaller than the window, on data_range <= 0, and (code 4) where a value is not finite.
    """
    if not data_range > 0:
        raise Fault(f'data_range is {data_range}, expected the largest value less the least', 'pass data_range=1.0')
    split_and_key(split, key)
    size, what = at_a_time(split), f'reconstructions, window {window}, data range {data_range}'
    found = over(_fidelity_rows(model, data_range, window), params, key, split, size, quiet, what, kept)

    def told(values: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Fidelity:
        finite(values[0], 'the error of a reconstruction')
        error, decibels, likeness = map(Score, values)
        return Fidelity(error, decibels, likeness, window, data_range)

    return [told(one) for one in found] if key.ndim else told(found)

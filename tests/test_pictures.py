"""MSE, PSNR and SSIM against their formulas and a direct sum over windows, and reconstructions of a whole split."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

import vae_jax as vj
from tests import small
from vae_jax.data.splits import Split, identity
from vae_jax.errors import Fault
from vae_jax.evaluation import pictures

pytestmark = pytest.mark.usefixtures('quickly_compiled')
KEY = random.key(1)


def direct_ssim(x, y, data_range, window):
    """Window by window, moments as weighted sums of squares about the weighted mean."""
    at = np.arange(window) - window // 2
    weights = np.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    found = []
    for i in range(x.shape[0] - window + 1):
        for j in range(x.shape[1] - window + 1):
            a, b = x[i : i + window, j : j + window], y[i : i + window, j : j + window]
            mean_a, mean_b = np.sum(weights * a), np.sum(weights * b)
            var_a, var_b = np.sum(weights * (a - mean_a) ** 2), np.sum(weights * (b - mean_b) ** 2)
            both = np.sum(weights * (a - mean_a) * (b - mean_b))
            light = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
            found.append(light * (2 * both + c2) / (var_a + var_b + c2))
    return np.mean(found)


@pytest.mark.parametrize('shape, window, data_range', [((16, 14), 11, 1.0), ((15, 20), 7, 255.0), ((11, 11), 11, 2.0)])
def test_ssim_is_the_direct_sum_over_windows(shape, window, data_range):
    rng = np.random.default_rng(0)
    x = data_range * rng.uniform(size=shape)
    y = np.clip(x + 0.2 * data_range * rng.normal(size=shape), 0, data_range)
    found = pictures.ssim(jnp.float32(x), jnp.float32(y), data_range, window)
    assert found == pytest.approx(direct_ssim(x, y, data_range, window), abs=2e-5)
    assert pictures.ssim(jnp.float32(y), jnp.float32(x), data_range, window) == pytest.approx(float(found), abs=1e-6)


def test_ssim_has_its_known_values():
    rng = np.random.default_rng(1)
    x = jnp.float32(rng.uniform(size=(20, 18, 3)))
    assert pictures.ssim(x, x, 1.0) == pytest.approx(1, abs=1e-6)
    a, b, c1 = 0.2, 0.7, 1e-4  # two even pictures differ in light alone
    even = lambda value: jnp.full((12, 12), value)
    assert pictures.ssim(even(a), even(b), 1.0) == pytest.approx((2 * a * b + c1) / (a**2 + b**2 + c1), rel=1e-4)
    assert pictures.ssim(x, 1 - x, 1.0) < 0 < pictures.ssim(x, 0.25 + x / 2, 1.0) < 1
    channels = [pictures.ssim(x[..., i], x[::-1, :, i], 1.0) for i in range(3)]
    assert pictures.ssim(x, x[::-1], 1.0) == pytest.approx(np.mean(channels), abs=1e-5)


def test_psnr_and_mse_are_their_formulas():
    x, y = jnp.zeros((4, 4, 1)), jnp.full((4, 4, 1), 0.1)
    assert pictures.mse(x, y) == pytest.approx(0.01)
    assert pictures.psnr(x, y, 1.0) == pytest.approx(20, abs=1e-4)
    assert pictures.psnr(255 * x, 255 * y, 255.0) == pytest.approx(20, abs=1e-4)
    assert np.isinf(pictures.psnr(x, x, 1.0))


def test_fidelity_is_that_of_reconstructions_with_errors_over_examples():
    params = small.MODEL.init(KEY, small.DATA.example)
    split = small.DATA.test
    found = pictures.fidelity(small.MODEL, params, split, KEY, window=5)
    xs = np.asarray(split.rows['x'], np.float32)
    made = np.asarray(vj.reconstruct(small.MODEL, params, jnp.asarray(xs)))
    errors = np.mean((xs - made) ** 2, (1, 2, 3))
    np.testing.assert_allclose(found.mse.values, errors, rtol=1e-4)
    np.testing.assert_allclose(found.psnr.values, -10 * np.log10(errors), rtol=1e-4)
    expected = [direct_ssim(a[..., 0], b[..., 0], 1.0, 5) for a, b in zip(xs, made)]
    np.testing.assert_allclose(found.ssim.values, expected, atol=2e-4)
    assert found.mse.se == pytest.approx(np.std(errors, ddof=1) / 5, rel=1e-4)
    assert 'SSIM' in str(found) and '25 examples' in str(found)
    keys = random.split(KEY, 2)
    members = [params, jax.tree.map(lambda p: 2 * p, params)]
    both = pictures.fidelity(small.MODEL, jax.tree.map(lambda *p: jnp.stack(p), *members), split, keys, window=5)
    np.testing.assert_allclose(both[0].ssim.values, found.ssim.values, atol=1e-5)
    assert len(both) == 2 and not np.allclose(both[1].mse.values, errors)


def test_bad_calls_are_one_line():
    x = jnp.zeros((12, 12))
    params = small.MODEL.init(KEY, small.DATA.example)
    vectors = Split({'x': jnp.zeros((5, 4))}, None, identity())
    flat = vj.vae(vj.mlp_encoder((4,)), vj.mlp_decoder((4,)), latent=2, like=jnp.zeros(4))
    broken = jax.tree.map(lambda p: p * jnp.nan, params)
    calls = [
        (lambda: pictures.ssim(x, x, 1.0, 10), 'window of 10 .* at most 11'),
        (lambda: pictures.ssim(x, x, 1.0, 13), 'window of 13 in a picture of 12 x 12'),
        (lambda: pictures.ssim(x, x[:11], 1.0), 'shapes'),
        (lambda: pictures.fidelity(small.MODEL, params, small.DATA.test, KEY), 'window of 11 in a picture of 6 x 5'),
        (lambda: pictures.fidelity(small.MODEL, params, small.DATA.test, KEY, data_range=0.0), 'data_range is 0.0'),
        (lambda: pictures.fidelity(flat, flat.init(KEY, jnp.zeros(4)), vectors, KEY), r'shapes \(4,\)'),
        (lambda: pictures.fidelity(small.MODEL, broken, small.DATA.test, KEY, window=5), 'not finite for 25'),
    ]
    for call, told in calls:
        with pytest.raises(Fault, match=told) as fault:
            call()
        assert '\n' not in str(fault.value)

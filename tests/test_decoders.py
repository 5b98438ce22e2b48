"""What decoders of grey levels reach, and what answers leave open, where both are known exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vae_jax as vj
from experiments import answers, common
from experiments.tour import telling
from experiments.tour.parts import decoders
from vae_jax import losses

pytestmark = pytest.mark.usefixtures('quickly_compiled')
KEY = jax.random.key(0)


def test_what_a_linear_decoder_misses_is_what_least_squares_leave():
    a, b, x = (np.asarray(jax.random.normal(k, shape)) for k, shape in zip(jax.random.split(KEY, 3), ((12, 3), 12, 12)))
    seen = (np.arange(12) < 7).astype(np.float32)
    starts = jax.random.normal(KEY, (2, 3))
    found = decoders.missed(lambda z: a @ z + b, x, seen, starts)
    z = np.linalg.lstsq(a[:7], (x - b)[:7], rcond=None)[0]
    np.testing.assert_allclose(found, a @ z + b - x, atol=1e-3)


def test_of_several_starts_the_best_end_is_taken():
    x = jnp.array([1.0])
    mean = lambda z: jnp.sin(z) + 0.1 * z  # sin z + z/10 = 1 has roots; from z = -4 the search ends in a dip
    one, two = (jnp.abs(decoders.missed(mean, x, 1.0, jnp.array(s))) for s in ([[-4.0]], [[-4.0], [1.0]]))
    assert two[0] < 0.01 < one[0]


def test_noise_has_the_variance_of_what_is_missed_and_of_the_level():
    assert decoders.sigma_of(0.0, 64, 10, 17) == pytest.approx(
        np.std((np.arange(10_000) + 0.5) / 10_000 / 17), rel=1e-4
    )
    assert decoders.sigma_of(0.09, 64, 0, 10**6) == pytest.approx(0.3, rel=1e-5)
    assert decoders.sigma_of(0.09, 64, 32, 10**6) == pytest.approx(0.3 * 2**0.5, rel=1e-5)


def test_nll_of_a_decoder_that_does_not_read_z_is_that_of_a_normal():
    data = common.data_of('digits', telling.Asked(smoke=True), binarization='none')
    flat = vj.Family(1, lambda f: vj.Delta(0.0 * f[..., 0] + 0.25), lambda x: x >= 0, 'any')
    model = losses.generator(vj.mlp_decoder((4,)), latent=2, like=data.example, likelihood=flat)
    keys = jax.random.split(KEY, 1)
    params = jax.tree.map(lambda leaf: leaf[None], model.init(KEY, data.example))
    (found,) = decoders.nll(model, params, jnp.array([0.3]), data, keys, 20, chains=2, steps=1)
    x = np.asarray(data.test.rows['x'][:20], float).reshape(20, 64)  # u is integrated over: x + u, of 17 levels
    u = (np.arange(100) + 0.5) / 100
    squares = (((x[..., None] + u - (16 * 0.25 + 0.5)) / 17) ** 2).mean(-1)
    exact = (squares / 0.18 + np.log(0.3) + 0.5 * np.log(2 * np.pi) + np.log(17)).sum(-1).mean()
    assert found == pytest.approx(exact, abs=1.0)


def test_bits_that_a_mixture_leaves_open_lie_between_the_bounds():
    rng = np.random.default_rng(0)
    n, m, codes = 400, 60, np.array([[0.02] * 5, [0.98] * 5])
    means = codes[rng.integers(0, 2, (n, m))]
    drawn = (rng.random(means.shape) < means).astype(float)
    x = np.array(list(np.ndindex(*(2,) * 5)))
    p = np.prod(np.where(x[:, None] == 1, codes, 1 - codes), -1).mean(1)
    below, above = answers.open_bits(means, drawn)
    exact = -(p * np.log2(p)).sum()
    assert below < exact + 0.1 and above > exact - 0.1 and above - below < 0.2
    assert answers.bits(means[:, 0]).sum(-1).mean() < exact - 0.9  # one code leaves less open than both do
    alone = answers.open_bits(means[:, :1].repeat(3, 1), drawn[:, :3])
    assert alone[0] == pytest.approx(alone[1])

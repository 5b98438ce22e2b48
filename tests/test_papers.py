"""Experiments after papers: what they take for exact is, and at smoke size they run and say what they found."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from experiments import continuous_bernoulli, linear_vae, snr, two_stage
from vae_jax import distributions
from vae_jax.plot import canvas

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(5)


def test_the_limit_of_the_encoders_gradient_is_that_of_quadrature():
    model = snr.model_of(1)
    params, x = {'mu': jnp.array([0.3]), 'b': jnp.array([0.7])}, jnp.array([1.4])
    with jax.enable_x64(True):
        params, x = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), jnp.float64), (params, x))
        zs = jnp.linspace(-12.0, 12.0, 4001)[:, None]
        step = zs[1, 0] - zs[0, 0]
        joint = jax.vmap(lambda z: model.decode(params, z).log_prob(x) + model.prior(params).log_prob(z))(zs)
        log_p = jax.scipy.special.logsumexp(joint) + jnp.log(step)
        log_q = jax.vmap(model.encode(params, x).log_prob)(zs)
        by_sum = jnp.exp(jax.scipy.special.logsumexp(2 * (joint - log_p) - log_q) + jnp.log(step))
        # 2 / 3 is a float32 in the scale of q
        np.testing.assert_allclose(snr.second_moment(params, x), by_sum, rtol=1e-6)


@pytest.mark.slow
def test_the_ratio_falls_for_iwae_and_rises_for_dreg(tmp_path, monkeypatch, capsys):
    out = tmp_path / 'snr.json'
    monkeypatch.setattr('sys.argv', ['snr', '--smoke', '--out', str(out)])
    snr.main()
    stored = json.loads(out.read_text())
    slopes = {(row['estimator'], row['part']): np.mean(row['slopes']) for row in stored['rows']}
    assert slopes.pop(('IWAE', 'encoder')) == pytest.approx(-0.5, abs=0.1)
    assert len(slopes) == 5 and all(slope == pytest.approx(0.5, abs=0.15) for slope in slopes.values())
    limits = next(row['of_limit'] for row in stored['rows'] if 'of_limit' in row)
    assert limits[-1] == pytest.approx(1, abs=0.05)
    assert '| IWAE | encoder | -0.' in capsys.readouterr().out
    assert snr.picture(stored, canvas.DARK).startswith(b'\x89PNG')


def test_logits_of_a_mean_have_that_mean():
    means = jnp.array([1e-4, 0.02, 0.3, 0.5, 0.6, 0.999])
    logits = continuous_bernoulli.of_mean(means)
    np.testing.assert_allclose(distributions.ContinuousBernoulli(logits).mean, means, rtol=1e-3)
    assert abs(float(logits[3])) < 1e-2 and np.all(np.diff(logits) > 0)


def test_sharpness_of_a_chessboard_and_of_grey():
    board = np.indices((4, 4)).sum(0)[None, :, :, None] % 2
    assert continuous_bernoulli.sharpness(board) == (1, 0)
    assert continuous_bernoulli.sharpness(np.full((2, 3, 3, 1), 0.5)) == (0, 1)


@pytest.mark.slow
def test_grey_digits_are_measured_in_three_ways(tmp_path, monkeypatch, capsys):
    out = tmp_path / 'found.json'
    monkeypatch.setattr('sys.argv', ['continuous_bernoulli', '--smoke', '--out', str(out)])
    continuous_bernoulli.main()
    rows = json.loads(out.read_text())['rows']
    assert list(rows) == list(continuous_bernoulli.WAYS) and all(len(row) == 2 for row in rows.values())
    density, logits, means = (np.array([row['score'] for row in rows[name]]) for name in rows)
    assert np.all(logits == means) and not np.any(logits == density)  # one model, read in two ways
    said = capsys.readouterr().out
    assert all(name in said for name in rows) and 'not a likelihood' in said


@pytest.mark.slow
def test_every_prior_of_two_stages_is_judged(tmp_path, monkeypatch, capsys):
    out = tmp_path / 'found.json'
    monkeypatch.setattr('sys.argv', ['two_stage', '--smoke', '--out', str(out)])
    two_stage.main()
    stored = json.loads(out.read_text())
    assert list(stored['rows']) == list(two_stage.WAYS) and stored['features'].startswith('pca-4')
    values = np.array([[row[name] for name in two_stage.SHOWN] for rows in stored['rows'].values() for row in rows])
    assert values.shape == (8, 4) and np.isfinite(values).all() and len(np.unique(values[:, 0])) == 8
    assert '| second stage | ' in capsys.readouterr().out


@pytest.mark.slow
def test_a_linear_vae_collapses_where_probabilistic_pca_does(tmp_path, monkeypatch, capsys):
    out = tmp_path / 'linear_vae.json'
    monkeypatch.setattr('sys.argv', ['linear_vae', '--smoke', '--out', str(out)])
    linear_vae.main()
    rows = json.loads(out.read_text())['rows']
    assert [row['predicted'] for row in rows] == list(linear_vae.SMOKE.kept)
    for row in rows:
        assert row['active'] == [row['predicted']] * linear_vae.SMOKE.seeds
        assert all(-1e-3 < below < 0.01 for below in row['below'])
        assert all(abs(width - 1) < 0.01 for width in row['collapsed_width'])
    assert '| 4 | 4, 4 |' in capsys.readouterr().out

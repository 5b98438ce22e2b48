"""The figures of Kingma & Welling (2013): both run in seconds, and their tables say what was stored."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import aevb_figure2, aevb_figure3
from experiments.tour.telling import Asked
from vae_jax.distributions import check_support

pytestmark = pytest.mark.usefixtures('quickly_compiled')


def test_parameters_begin_as_the_paper_says_and_the_means_of_pixels_are_within_their_range():
    family = aevb_figure2.gaussian_of_pixels()
    model = aevb_figure2.model_of(100, 3, jnp.zeros((8, 8, 1)), family)
    params = model.init(jax.random.key(0), jnp.zeros((8, 8, 1)))
    every = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])
    assert abs(np.std(every) - 0.1) < 0.002 and abs(np.mean(every)) < 0.002
    p = model.decode(params, jnp.full(3, 50.0))
    assert np.all((p.mean > 0) & (p.mean < 1)) and p.mean.shape == (8, 8, 1)
    check_support(family, jnp.zeros((2, 2)))


def test_one_looks_when_the_samples_have_doubled():
    assert aevb_figure2.doubling(64, 7) == [1, 2, 4, 8, 16, 32, 64] and aevb_figure2.doubling(2, 5) == [1, 2]


def row(**values):
    made = {'dataset': 'digits', 'latent': 2, 'rows': 100, 'seconds': 1.0, 'samples': 200}
    ends = {'train': -20.0, 'test': -21.0}
    return made | ends | {f'{n}_{e}': 0.5 for n in ends for e in ('se', 'error')} | values


def test_tables_hold_what_was_stored():
    rows = [row(method='aevb', test=-20.5), row(method='wake_sleep', test=-21.5, samples=200)]
    told = aevb_figure2.table({'rows': rows, 'protocol': 'P.'})
    assert '1 of 1 points' in told and '-20.50 +- 0.50' in told and told.endswith('P.')
    told = aevb_figure3.table({'rows': [*rows, row(method='mcem', test=-19.25, train_error=0.25)], 'protocol': 'P.'})
    assert 'Monte Carlo EM | -19.25 +- 0.50' in told and 'error of 5.0e-01' in told


@pytest.mark.slow
def test_figure_2_in_seconds(tmp_path):
    rows = aevb_figure2.measured(aevb_figure2.SMOKE[:1], Asked(smoke=True))
    assert {r['method'] for r in rows} == set(aevb_figure2.METHODS) and all(np.isfinite(r['test']) for r in rows)
    path = aevb_figure2.store(rows, tmp_path / 'aevb_figure2.json', 'a command', 'a protocol')
    assert aevb_figure2.table(json.loads(path.read_text())).count('\n') == 4
    for method in aevb_figure2.METHODS:
        values = [r['test'] for r in rows if r['method'] == method]
        assert values[-1] > values[0] + 5  # it learns


@pytest.mark.slow
def test_figure_3_in_seconds(tmp_path, capsys):
    assert aevb_figure3.main(['--smoke', '--out', str(tmp_path), '--data-dir', str(tmp_path)]) == 0
    stored = json.loads((tmp_path / 'aevb_figure3.json').read_text())
    assert capsys.readouterr().out.strip() == aevb_figure3.table(stored).strip()
    for method in aevb_figure3.METHODS:
        values = [r['test'] for r in stored['rows'] if r['method'] == method]
        assert values[-1] > values[0] + 5

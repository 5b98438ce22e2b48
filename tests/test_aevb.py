"""The figures of Kingma & Welling (2013): both run in seconds, and their tables say what was stored."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vae_jax as vj
from experiments import aevb, aevb_figure2, aevb_figure3
from vae_jax import data
from vae_jax.distributions import check_support
from vae_jax.plot import canvas

pytestmark = pytest.mark.usefixtures('quickly_compiled')


def test_parameters_begin_as_the_paper_says_and_the_means_of_pixels_are_within_their_range():
    family = aevb_figure2.gaussian_of_pixels()
    model = aevb.model_of(100, 3, jnp.zeros((8, 8, 1)), family)
    params = model.init(jax.random.key(0), jnp.zeros((8, 8, 1)))
    every = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])
    assert abs(np.std(every) - 0.1) < 0.002 and abs(np.mean(every)) < 0.002
    p = model.decode(params, jnp.full(3, 50.0))
    assert np.all((p.mean > 0) & (p.mean < 1)) and p.mean.shape == (8, 8, 1)
    check_support(family, jnp.zeros((2, 2)))


def test_one_looks_when_the_samples_have_doubled():
    assert aevb.doubling(64, 7) == [1, 2, 4, 8, 16, 32, 64] and aevb.doubling(2, 5) == [1, 2]


def test_the_step_size_that_is_best_at_the_first_look_goes_on():
    rows, key = data.stand_in('digits').train, jax.random.key(0)
    distance = lambda params, key, x, hyper: ((params - 3.0) ** 2, {})
    trainer = vj.trainer(lambda key, x: jnp.zeros(()), vj.per_example(distance), aevb.adagrad)
    look = lambda params: {'train': float(-abs(params - 3.0)), 'at': float(params)}
    found = aevb.curve(trainer, look, rows, key, (0.01, 0.5, float('nan')), 1600, 3)
    assert [row['samples'] for row in found] == [400, 800, 1600] and {row['lr'] for row in found} == {0.5}
    lone = aevb.curve(trainer, look, rows, key, (0.01,), 1600, 3)
    assert all(a['train'] > b['train'] for a, b in zip(found, lone))
    steps = [0.01 * sum(1 / i**0.5 for i in range(1, n + 1)) for n in (4, 8, 16)]  # of a gradient that hardly changes
    np.testing.assert_allclose([row['at'] for row in lone], steps, rtol=0.02)


def row(**values):
    made = {'dataset': 'digits', 'latent': 2, 'rows': 100, 'seconds': 1.0, 'samples': 200, 'seed': 0, 'lr': 0.1}
    ends = {'train': -20.0, 'test': -21.0}
    return made | ends | {f'{n}_{e}': 0.5 for n in ends for e in ('se', 'error')} | values


def test_tables_and_pictures_hold_what_was_stored():
    curve = lambda method, test, seed: [
        row(method=method, seed=seed, samples=10**i, test=test - 5 + i) for i in range(6)
    ]
    rows = [*curve('aevb', -20.5, 0), *curve('aevb', -20.0, 1), *curve('wake_sleep', -21.0, 0)]
    rows += [*curve('wake_sleep', -20.9, 1)]
    told = aevb_figure2.table({'rows': rows, 'protocol': 'P.'})
    assert '| -20.2 +- 3.2 |' in told and '| 0.7 +- 2.5 |' in told  # t of one degree of freedom: 12.706
    assert '12 of 12 points' in told and told.endswith('P.')
    rows += curve('mcem', -19.25, 0)
    rows[-1]['train_error'] = 0.25
    told3 = aevb_figure3.table({'rows': rows, 'protocol': 'P.'})
    assert 'Monte Carlo EM | -24.25 | -22.25 | -19.25 | 1.25 |' in told3 and 'by 0.5 at most' in told3
    for module in (aevb_figure2, aevb_figure3):
        assert module.picture({'rows': rows}, canvas.LIGHT).startswith(b'\x89PNG')


@pytest.mark.slow
@pytest.mark.parametrize('module', [aevb_figure2, aevb_figure3], ids=['figure 2', 'figure 3'])
def test_a_figure_in_seconds(module, tmp_path, capsys):
    assert module.main(['--smoke', '--out', str(tmp_path), '--data-dir', str(tmp_path)]) == 0
    stored = json.loads(next(tmp_path.glob('*.json')).read_text())
    assert capsys.readouterr().out.strip() == module.table(stored).strip()
    for found in aevb.by_method(stored['rows'], 'dataset').values():
        for seeds in found.values():
            values = [row['test'] for row in seeds[0]]
            assert all(np.isfinite(values)) and values[-1] > values[0] + 5  # it learns


def test_a_number_of_seeds_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit):
        aevb_figure2.main(['--seeds', '0'])
    assert '--seeds is 0; expected 1 or more' in capsys.readouterr().err

"""One answer or a distribution over answers: the two methods, how their answers are counted, and the stored table."""

import json
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

import vae_jax as vj
from experiments import answers, quadrants
from vae_jax.data.splits import Split, identity
from vae_jax.models import conditional

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(4)
SEEN = np.zeros((4, 4, 1), bool)
SEEN[:, 1] = True
XS = (random.uniform(KEY, (5, 4, 4, 1)) < 0.5).astype(jnp.float32)
PAIR = answers.pair(conditional.on_entries(SEEN), {'x': XS[0]}, (8,), 3, vj.Bernoulli)
SPLIT = Split({'x': XS}, None, identity())


def params_of(model):
    return model.init(random.key(1), model.of({'x': XS[0]}))


def test_a_regressor_is_a_conditional_whose_code_is_never_read():
    model = PAIR['regressor']
    params = params_of(model)
    x, c = model.of({'x': XS[2]})
    logits = model.given(c).decode(params, jnp.zeros(1)).logits
    by_hand = jnp.sum(x * logits - jnp.logaddexp(0, logits))
    bound = vj.elbo_estimate(model, params, SPLIT, KEY)
    weighed = vj.nll(model, params, SPLIT, KEY, k=7).estimate
    assert bound.elbo.values[2] == pytest.approx(float(by_hand), rel=1e-5)
    np.testing.assert_allclose(bound.rate.values, 0, atol=1e-7)
    np.testing.assert_allclose(weighed.values, -bound.elbo.values, rtol=1e-5)


def test_both_methods_learn_the_rest_of_an_image_from_what_is_seen():
    for model in PAIR.values():
        trainer = answers.learner(model)
        _, metrics = vj.overfit(trainer, SPLIT, answers.Hyper(1e-2), KEY, steps=150, batch=5)
        assert np.mean(metrics['loss'][-10:]) < 0.6 * metrics['loss'][0]


def test_answers_are_those_of_the_prior_given_c():
    model = PAIR['cvae']
    params = params_of(model)
    found = answers.answers_of(model, params, {'x': XS}, KEY, 300)
    np.testing.assert_array_equal(found.truth, np.asarray(XS)[:, ~SEEN])
    assert found.means.shape == found.drawn.shape == (5, 300, 12) and set(np.unique(found.drawn)) == {0, 1}
    apart = found.drawn.mean(1) - found.means.mean(1)
    assert np.abs(apart).max() < 5 * 0.5 / np.sqrt(300)
    alone = answers.answers_of(PAIR['regressor'], params_of(PAIR['regressor']), {'x': XS}, KEY, 4)
    np.testing.assert_array_equal(alone.means, alone.means[:, :1].repeat(4, 1))
    assert np.ptp(found.means, 1).max() > 0


def test_wrong_pixels_and_bits_are_counted():
    truth = np.array([[0, 1, 1], [1, 1, 0]])
    pictures = np.array([[[0.2, 0.9, 0.4], [0.9, 0.1, 0.1]], [[1, 1, 0], [0, 0, 1]]])
    np.testing.assert_array_equal(answers.wrong(truth, pictures), [[1, 3], [0, 3]])
    np.testing.assert_allclose(answers.bits([0, 0.5, 1, 0.25]), [0, 1, 0, 2 - 0.75 * np.log2(3)])


def test_the_table_sets_the_values_of_pyro_beside_means_and_gaps():
    scores = {'regressor': [90.0, 91.0, 92.0], 'cvae': [80.0, 82.0, 81.0]}
    rows = [
        {'pixels': pixels, 'seen': see, 'method': method, 'minus_elbo': scores[method], 'nll': scores[method]}
        | {'test_examples': 10000}
        for pixels in quadrants.PIXELS
        for see in quadrants.SEEN
        for method in quadrants.METHODS
    ]
    stored = json.loads(json.dumps({'rows': rows, 'sizes': quadrants.Sizes()._asdict()}))
    lines = quadrants.table(stored).splitlines()
    assert '| soft score, CVAE, -ELBO, Pyro | 71.8 | 51.0 | 24.2 |' in lines
    assert any(line.startswith('| soft score, regressor | 91.00 +- 2.48 |') for line in lines)
    assert sum('less than the regressor by | 10.00 +- 2.48 |' in line for line in lines) == 3
    assert all(line.count('|') - line.count('\\|') == 5 for line in lines if line.startswith('|'))
    assert 'not a likelihood' in lines[-1]


@pytest.mark.slow
@pytest.mark.parametrize('pixels', quadrants.PIXELS)
def test_a_cell_is_measured(pixels, tmp_path):
    given = SimpleNamespace(data_dir=str(tmp_path), smoke=True)
    row = quadrants.measure(pixels, 'three', 'cvae', quadrants.SMOKE, given)
    assert len(row['minus_elbo']) == 2 and np.isfinite(row['minus_elbo']).all()
    assert ('nll' in row) == (pixels == 'binarized')
    if pixels == 'binarized':
        assert np.mean(row['nll']) < np.mean(row['minus_elbo'])
    assert re.fullmatch(r'\{.*\}', json.dumps(row)) and jax.tree.leaves(row)

"""The report of collapse on models made to collapse in each way, and on one that does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

import vae_jax as vj
from tests import oracles
from tests.layered import two_layers
from vae_jax import flows, models
from vae_jax.data.splits import Split, identity
from vae_jax.errors import Fault
from vae_jax.evaluation.collapse import collapse_report

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(3)
MODEL = oracles.linear_gaussian(latent=3, dims=4)
X = random.normal(random.key(6), (300, 4))
SPLIT = Split({'x': X}, None, identity())


GAUSSIAN = MODEL._replace(encode=lambda params, x: vj.Normal(params['V'] @ x + params['mean'], params['log_std']))


def report_of(V, log_std, mean=0.0, split=SPLIT):
    """Of q(z|x) = N(V x + mean, exp(2 log_std)) under the prior N(0, I)."""
    params = MODEL.init(random.key(2), jnp.zeros(4))
    params |= {'V': jnp.float32(V), 'log_std': jnp.float32(log_std), 'mean': jnp.float32(mean)}
    return collapse_report(GAUSSIAN, params, split, KEY, draws=256)


EYE = np.eye(3, 4)


def test_a_model_that_uses_all_of_z_is_told_so():
    found = report_of(0.7 * EYE, np.full(3, -0.4))
    assert not found.collapsed and found.active == found.dims == 3 and len(found.layers) == 1
    said = str(found)
    assert said.startswith('3 of 3 dimensions are active. z tells ') and said.endswith('No sign of collapse.')
    assert found.by_dimension.mean.sum() == pytest.approx(found.rate.mean, rel=1e-4)
    exact = 0.5 * (0.49 * np.asarray(X[:, :3]) ** 2 + np.exp(-0.8) - 1 + 0.8).sum(1)
    np.testing.assert_allclose(found.rate.values, exact, rtol=1e-4)


@pytest.mark.parametrize('rate', [0.09, 0.11])
def test_a_small_rate_says_that_the_decoder_ignores_z(rate):
    scale = float(np.sqrt(2 * rate / np.mean(np.sum(np.asarray(X[:, :3]) ** 2, 1))))  # rate = |V x|^2 / 2
    found = report_of(scale * EYE, np.zeros(3))
    assert found.rate.mean == pytest.approx(rate, rel=1e-3)
    assert ('decoder ignores z; fix: let beta rise' in str(found)) == (rate < 0.1)
    assert ('No sign of collapse' in str(found)) == (rate > 0.1)


def test_a_rate_without_information_is_a_collapse_too():
    found = report_of(0 * EYE, np.full(3, -1.0), mean=1.0)
    assert found.rate.mean > 3 and found.collapsed and found.active == 0
    assert 'but z tells' in str(found) and 'away from the prior' in str(found)
    assert '0 of 3 dimensions are active.' in str(found)


def test_idle_dimensions_are_counted_and_what_they_cost():
    found = report_of(np.diag([1.0, 1.0, 0.0]) @ EYE, np.array([-0.5, -0.5, -1.0]))
    assert found.active == 2 and '2 of 3 dimensions are active: the others could be left out.' in str(found)
    cost = 0.5 * (np.exp(-2.0) - 1) + 1.0
    assert f'1 that are not active cost {cost:.2f} nats' in str(found) and 'No sign' not in str(found)
    cheap = report_of(np.diag([1.0, 1.0, 0.0]) @ EYE, np.array([-0.5, -0.5, 0.0]))
    assert 'not active cost' not in str(cheap)


def test_too_few_examples_for_the_information_are_told():
    few = Split({'x': X[:20]}, None, identity())
    found = report_of(30 * EYE, np.full(3, -2.0), split=few)
    assert 'z tells 3.00 nats or more of x: 20 examples cannot show more than 3.00, log n.' in str(found)
    far = report_of(0.5 * EYE, np.full(3, -0.1), mean=4.0)
    assert 'fix: a learned prior' in str(far)


@pytest.mark.parametrize(('layer', 'other'), [('top', 'low'), ('low', 'top')])
def test_layers_that_are_not_used_are_named(layer, other):
    model = two_layers()
    params = model.init(KEY, X[0, :2])
    zeros = jnp.zeros(2)
    params |= {layer: zeros, f'{layer}_std': zeros, 'prior': zeros, other: jnp.ones(2)}
    found = collapse_report(model, params, Split({'x': X[:, :2]}, None, identity()), KEY, draws=16)
    place = {'top': 'Layer 1 of 2', 'low': 'Layer 2 of 2'}[layer]
    assert f'{place}, counted from the top, has a rate of 0 nats: it is not used' in str(found)
    assert str(found).count('Layer') == 1 and found.dims == 4 and len(found.layers) == 2
    assert found.rate.mean == pytest.approx(sum(one.mean for one in found.layers))


def test_any_model_has_a_report_of_what_it_has():
    bits = MODEL._replace(prior=lambda p: vj.Bernoulli(jnp.zeros(3)), encode=lambda p, x: vj.Bernoulli(p['V'] @ x))
    found = collapse_report(bits, bits.init(KEY, X[0]), SPLIT, KEY, draws=32)
    assert found.active is None and found.by_dimension is None and found.spent is not None and str(found)
    planar = models.flow_posterior(MODEL, flows.planar)
    params = planar.init(KEY, X[0])
    found = collapse_report(planar, params, SPLIT, KEY)
    assert found.spent is None and 'Information was not estimated: q(z) needs densities' in str(found)
    members = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), params)
    assert len(collapse_report(planar, members, SPLIT, random.split(KEY, 2))) == 2


def test_what_has_no_report_is_refused():
    params = MODEL.init(KEY, X[0])
    with pytest.raises(Fault, match='takes two'):
        collapse_report(MODEL, params, Split({'x': X[:1]}, None, identity()), KEY)
    with pytest.raises(Fault, match='not finite') as fault:
        collapse_report(MODEL, {**params, 'V': params['V'] * jnp.nan}, SPLIT, KEY)
    assert fault.value.code == 4
    point = MODEL._replace(encode=lambda params, x: vj.distributions.Delta(params['V'] @ x))
    with pytest.raises(Fault, match='point'):
        collapse_report(point, params, SPLIT, KEY)

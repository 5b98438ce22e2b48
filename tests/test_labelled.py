"""Partly labelled models against sums over all labels by hand, and the data with few labels."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import random, vmap
from jax.scipy.special import logsumexp

import vae_jax as vj
from tests import oracles, small
from tests.families import quick_jit
from tests.statistics import assert_mean
from vae_jax import bounds, losses
from vae_jax.data import hiding
from vae_jax.data.splits import Data, Split, identity
from vae_jax.distributions import Normal
from vae_jax.errors import Fault
from vae_jax.losses import labelled as objectives
from vae_jax.models import conditional as conditioning
from vae_jax.models import labelled
from vae_jax.models.rungs import stacked

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(4)
DIMS, CLASSES = 5, 3
LINEAR = vj.mlp_encoder(())


class Hyper(NamedTuple):
    lr: float = 1e-2
    beta: float = 1.0
    alpha: float = 0.7


def m2(prior_network=None, latent=1):
    like = (jnp.zeros(DIMS), jnp.eye(CLASSES)[0])
    of = conditioning.on_label(CLASSES)
    made = conditioning.cvae(LINEAR, vj.mlp_decoder((7,)), prior_network, of=of, like=like, latent=latent)
    return labelled.over_labels(made, LINEAR, CLASSES), made


MODEL, GIVEN = m2(LINEAR)
XS = random.bernoulli(KEY, 0.5, (6, DIMS)).astype(jnp.float32)
X = XS[0]
PARAMS = MODEL.init(KEY, X)
ROWS = {'x': XS, 'label': jnp.array([0, 2, -1, -1, 1, -1])}
OBJECTIVE = objectives.partly_labelled(MODEL, 0.5)


def by_hand(params, key, x):
    """log q(y|x) [n] and L(x, y) [n], one class after the other."""
    log_q = jax.nn.log_softmax(MODEL.encode(params, x).label.logits)
    costs = []
    for y in jnp.eye(CLASSES):
        model = GIVEN.given(y)
        q = model.encode(params, x)
        z = q.sample(key)
        log_joint = model.decode(params, z).log_prob(x) - np.log(CLASSES)
        costs.append(-log_joint + q.kl(model.prior(params)))
    return log_q, jnp.stack(costs)


def test_unlabelled_bound_is_the_sum_over_labels_and_their_entropy():
    log_q, costs = quick_jit(by_hand)(PARAMS, KEY, X)
    expected = jnp.exp(log_q) @ costs + jnp.exp(log_q) @ log_q  # sum_y q (L) - H(q)
    row = {'x': X, 'label': jnp.array(-1)}
    value, metrics = quick_jit(OBJECTIVE)(PARAMS, KEY, row, Hyper())
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(metrics['bound'], -expected, rtol=1e-5)
    elbo = quick_jit(lambda p: bounds.elbo(MODEL, p, KEY, X))
    np.testing.assert_allclose(-elbo(PARAMS), expected, rtol=1e-5)
    # the best q(y|x) would reach -logsumexp(-L), and no q goes below it
    assert float(expected) >= float(-logsumexp(-costs)) - 1e-5
    best = {
        **PARAMS,
        'label': {**PARAMS['label'], 'head': {'params': {'kernel': jnp.zeros((DIMS, CLASSES)), 'bias': -costs}}},
    }
    np.testing.assert_allclose(-elbo(best), -logsumexp(-costs), rtol=1e-5)


def test_a_labelled_row_costs_its_own_bound_and_its_cross_entropy():
    log_q, costs = quick_jit(by_hand)(PARAMS, KEY, X)
    objective = quick_jit(OBJECTIVE)
    for y in range(CLASSES):
        value, _ = objective(PARAMS, KEY, {'x': X, 'label': jnp.array(y), 'weight': 3.0}, Hyper())
        np.testing.assert_allclose(value, 3 * (costs[y] - 0.7 / 0.5 * log_q[y]), rtol=1e-5)


def test_the_terms_are_those_of_the_closed_form_and_of_samples():
    terms = bounds.elbo_terms(MODEL, PARAMS, KEY, X)
    q, p = MODEL.encode(PARAMS, X), MODEL.prior(PARAMS)
    np.testing.assert_allclose(terms.rate, q.kl(p), rtol=1e-5)

    def one(key):
        z, log_q = q.sample_and_log_prob(key)
        return log_q - p.log_prob(z), log_q - q.log_prob(z)

    rates, gaps = vmap(one)(random.split(KEY, 20_000))
    assert_mean(rates, q.kl(p))
    np.testing.assert_allclose(gaps, 0, atol=1e-5)
    draws = vmap(q.sample)(random.split(KEY, 20_000))
    for drawn, mean in zip(draws, q.mean, strict=True):
        assert_mean(drawn, mean)


def test_nll_sums_over_the_labels():
    truth = [
        float(logsumexp(jnp.stack([oracles.log_p_by_quadrature(GIVEN.given(y), PARAMS, x) for y in jnp.eye(CLASSES)])))
        - np.log(CLASSES)
        for x in XS
    ]
    found = vj.nll(MODEL, PARAMS, Split({'x': XS}, None, identity()), KEY, k=4000)
    assert np.all(np.abs(found.estimate.values + truth) < 5 / np.sqrt(found.effective))
    assert found.effective.min() > 200


def test_gradients_reach_all_parts_and_only_labels_teach_the_classifier_its_labels():
    loss = losses.per_example(OBJECTIVE, of=losses.row_of)
    (value, metrics), grads = quick_jit(jax.value_and_grad(loss, has_aux=True))(PARAMS, KEY, ROWS, Hyper())
    assert np.isfinite(value) and set(grads) == {'encode', 'decode', 'prior', 'label'}
    for part in grads:
        assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(grads[part]))
    known = [
        -float(jax.nn.log_softmax(MODEL.encode(PARAMS, XS[i]).label.logits)[y]) for i, y in ((0, 0), (1, 2), (4, 1))
    ]
    np.testing.assert_allclose(metrics['cross_entropy'], np.mean(known), rtol=1e-5)
    without = quick_jit(loss)(PARAMS, KEY, ROWS, Hyper(alpha=0.0))[0]
    np.testing.assert_allclose(value - without, 0.7 * np.mean(known), rtol=1e-4)


def test_repeated_rows_with_weights_have_the_mean_of_all_rows_once():
    rng = np.random.default_rng(0)
    rows = {'x': jnp.asarray(rng.integers(0, 2, (40, DIMS)), jnp.float32), 'label': jnp.arange(40) % 4}
    data = Data('bits', Split(rows, None, identity()), None, Split(rows, None, identity()), 'none')
    plain, often = hiding.few_labels(data, 2, seed=3), hiding.few_labels(data, 2, seed=3, share=0.5)
    assert len(plain.train) == 40 and len(often.train) == 40 + 3 * 8
    for made in (plain, often):
        label, weight = (np.asarray(made.train.rows[name]) for name in ('label', 'weight'))
        assert np.mean(weight) == pytest.approx(1) or made is often
        share = weight * (label >= 0)
        assert share.sum() / len(label) == pytest.approx(8 / 40) and weight.sum() == pytest.approx(len(label))
        for c in range(4):
            kept = np.unique(np.asarray(made.train.rows['x'])[label == c], axis=0)
            assert 1 <= len(kept) <= 2
    once = vmap(lambda x: jnp.sum(x * jnp.arange(DIMS)))(plain.train.rows['x'])
    again = vmap(lambda x: jnp.sum(x * jnp.arange(DIMS)))(often.train.rows['x']) * often.train.rows['weight']
    np.testing.assert_allclose(jnp.mean(once), jnp.mean(again), rtol=1e-6)
    np.testing.assert_array_equal(hiding.few_labels(data, 2, seed=3).train.rows['label'], plain.train.rows['label'])
    assert np.any(hiding.few_labels(data, 2, seed=4).train.rows['label'] != plain.train.rows['label'])
    assert data.test is often.test and np.all(np.asarray(data.train.rows['label']) >= 0)


def test_few_labels_keep_exactly_as_many_of_each_class():
    kept = np.asarray(hiding.few_labels(small.DATA, 5).train.rows['label'])
    assert np.bincount(kept[kept >= 0]).tolist() == [5, 5] and np.sum(kept == -1) == len(kept) - 10
    same = np.asarray(small.DATA.train.rows['label'])
    np.testing.assert_array_equal(kept[kept >= 0], same[kept >= 0])


@pytest.mark.slow
def test_it_learns_to_tell_stripes_apart_from_few_labels_and_a_member_is_a_lone_run():
    data = hiding.few_labels(small.DATA, 4, share=0.3)
    like = (small.DATA.example, jnp.eye(2)[0])
    net, up = vj.mlp_encoder((16,)), vj.mlp_decoder((16,))
    model = labelled.over_labels(
        conditioning.cvae(net, up, of=conditioning.on_label(2), like=like, latent=2), vj.mlp_encoder((16,)), 2
    )
    loss = losses.per_example(objectives.partly_labelled(model, 8 / 70), of=losses.row_of)
    made = vj.trainer(model.init, loss, lambda h: optax.adam(h.lr))
    keys = random.split(KEY, 2)
    run = lambda what, key: vj.fit(what, data, Hyper(), key, steps=100, batch=24, quiet=True)
    together, alone = run(vj.population(made), keys), run(made, keys[0])
    for a, b in zip(jax.tree.leaves(alone.params), jax.tree.leaves(together.params), strict=True):
        np.testing.assert_allclose(a, b[0], rtol=2e-2, atol=2e-3)
    xs = vj.evaluation.view_rows(data.test, KEY, np.arange(len(data.test)))
    found = labelled.classify(model, alone.params, xs)
    assert found.shape == (25,) and np.mean(found == data.test.rows['label']) > 0.8


@pytest.mark.slow
def test_stacked_models_learn_apart_and_are_one_model():
    lower = small.model(small.DATA.example, latent=DIMS)
    made = conditioning.cvae(
        LINEAR,
        vj.mlp_decoder((7,)),
        of=conditioning.on_label(CLASSES),
        like=(jnp.zeros(DIMS), jnp.eye(CLASSES)[0]),
        latent=2,
        likelihood=Normal,
    )
    upper = labelled.over_labels(made, LINEAR, CLASSES)
    model = stacked(lower, upper)
    batch = {'x': vmap(small.DATA.train.view, (None, 0))(KEY, small.DATA.train.rows['x'][:6]), 'label': ROWS['label']}
    params = model.init(KEY, batch['x'][0])
    assert set(params) == {'encode', 'decode', 'upper'}
    teach = objectives.partly_labelled(upper, 0.5)
    loss = losses.per_example(objectives.stacked_labelled(lower, teach), of=losses.row_of)
    grads = quick_jit(jax.grad(lambda p: loss(p, KEY, batch, Hyper())[0]))(params)
    for part in ('encode', 'decode', 'label'):
        assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(grads['upper'][part]))

    def alone(p):
        one = lambda key, x: sum(bounds.elbo_terms(lower, p, random.split(key, 3)[0], x))
        return jnp.mean(vmap(one)(random.split(KEY, 6), batch['x']))

    expected = quick_jit(jax.grad(alone))(params)
    for part in ('encode', 'decode'):
        for a, b in zip(jax.tree.leaves(grads[part]), jax.tree.leaves(expected[part]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    q, p = model.encode(params, batch['x'][0]), model.prior(params)
    z, log_q = q.sample_and_log_prob(KEY)
    np.testing.assert_allclose(log_q, q.log_prob(z), rtol=1e-5)
    upper_z, code = z  # drawn in the other order by q
    expected = upper.prior(params['upper']).log_prob(upper_z) + upper.decode(params['upper'], upper_z).log_prob(code)
    np.testing.assert_allclose(p.log_prob(z), expected, rtol=1e-5)
    found = vj.nll(model, params, small.DATA.test, KEY, k=10)
    assert np.all(np.isfinite(found.estimate.values))


def test_what_cannot_work_is_refused():
    with pytest.raises(Fault, match='2 or more'):
        labelled.over_labels(GIVEN, LINEAR, 1)
    with pytest.raises(Fault, match='already'):
        labelled.over_labels(GIVEN, LINEAR, CLASSES, name='decode').init(KEY, X)
    fused = GIVEN._replace(given=lambda c: GIVEN.given(c)._replace(terms=lambda params, key, x: (0.0, 0.0)))
    with pytest.raises(Fault, match='terms of its own'):
        labelled.over_labels(fused, LINEAR, CLASSES)
    with pytest.raises(Fault, match='condition has shapes'):
        labelled.over_labels(GIVEN, LINEAR, CLASSES + 1).encode(PARAMS, X)
    with pytest.raises(Fault, match='no label to read'):
        labelled.classify(small.MODEL, small.MODEL.init(KEY, small.DATA.example), small.DATA.example[None])
    with pytest.raises(Fault, match='no closed form'):
        MODEL.encode(PARAMS, X).kl(Normal(jnp.zeros(1), jnp.zeros(1)))
    with pytest.raises(Fault, match='reparameterized'):
        bounds.iwae(MODEL, PARAMS, KEY, X, 3)
    for share in (0.0, 1.5):
        with pytest.raises(Fault, match='share'):
            objectives.partly_labelled(MODEL, share)
    for count in (0, 1000):
        with pytest.raises(Fault, match=f'{count} labels of class'):
            hiding.few_labels(small.DATA, count)
    with pytest.raises(Fault, match='no labels'):
        split = Split({'x': XS}, None, identity())
        hiding.few_labels(Data('bits', split, None, split, 'none'), 1)

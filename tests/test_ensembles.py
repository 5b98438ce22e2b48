"""Ensembles over the members of a population, and the calibration of class probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

import vae_jax as vj
from tests import oracles
from vae_jax.data.splits import Split, dequantize, identity
from vae_jax.errors import Fault
from vae_jax.evaluation import ensembles, reliability

pytestmark = pytest.mark.usefixtures('quickly_compiled')
KEY = random.key(8)
MODEL = oracles.linear_gaussian(latent=2, dims=4)
MEMBERS = [
    oracles.with_exact_encoder(oracles.rotated(MODEL.init(key, jnp.zeros(4)))) for key in random.split(random.key(2), 3)
]
PARAMS = jax.tree.map(lambda *leaves: jnp.stack(leaves), *MEMBERS)
X = random.normal(KEY, (50, 4))
SPLIT = Split({'x': X}, None, identity())


def test_the_ensemble_of_a_population_is_the_mixture_of_its_exact_densities():
    found = ensembles.ensembled(MODEL, PARAMS, SPLIT, random.split(KEY, 3), k=4)
    exact = np.stack([jax.vmap(lambda x, p=p: oracles.log_p(p, x))(X) for p in MEMBERS]).astype(np.float64)
    np.testing.assert_allclose(found.log_p, exact, rtol=2e-4)
    np.testing.assert_allclose(found.nll.values, -np.log(np.mean(np.exp(exact), 0)), rtol=2e-4)
    np.testing.assert_allclose(found.disagreement, np.var(exact, 0, ddof=1), rtol=5e-3)
    np.testing.assert_allclose(found.waic, np.var(exact, 0, ddof=1) - exact.mean(0), rtol=5e-3)
    assert [one.mean for one in found.members] == pytest.approx(list(-exact.mean(1)), rel=1e-4)
    alone = vj.nll(MODEL, MEMBERS[1], SPLIT, random.split(KEY, 3)[1], k=4).estimate.values
    np.testing.assert_allclose(found.members[1].values, alone, rtol=1e-5)


def test_the_gain_is_never_negative_and_is_zero_for_equal_members():
    rng = np.random.default_rng(0)
    for spread in (1e-3, 1.0, 100.0):
        found = ensembles.ensemble(-80 + spread * rng.normal(size=(5, 200)))
        assert np.all(found.gain.values >= 0)
        assert np.all(found.nll.values <= found.members[0].values + np.log(5) + 1e-9)
    same = ensembles.ensemble(np.tile(rng.normal(size=20), (4, 1)))
    np.testing.assert_allclose(same.gain.values, 0, atol=1e-12)
    np.testing.assert_allclose(same.disagreement, 0, atol=1e-12)
    two = ensembles.ensemble([[0.0], [2 * 0.3]])
    assert two.gain.mean == pytest.approx(np.log(np.cosh(0.3)))  # log mean exp less mean of 0, 2a
    assert two.disagreement[0] == pytest.approx(2 * 0.3**2) and two.nll.mean == pytest.approx(
        -0.3 - np.log(np.cosh(0.3))
    )
    assert '2 members' in str(two) and '\n' not in str(two)


def test_a_far_example_is_one_that_members_disagree_about():
    far = Split({'x': 6 * X}, None, identity())
    keys = random.split(KEY, 3)
    scores = [ensembles.ensembled(MODEL, PARAMS, split, keys, k=4).disagreement for split in (SPLIT, far)]
    assert np.median(scores[1]) > 100 * np.median(scores[0])


def test_ece_and_brier_of_constructed_probabilities():
    p = np.array([[0.9, 0.1]] * 10 + [[0.3, 0.7]] * 10)
    truth = np.array([0] * 6 + [1] * 4 + [1] * 10)  # 0.9 sure and right in 0.6; 0.7 sure and right in all
    found = reliability.class_calibration(p, truth, KEY, bins=10)
    assert found.ece == pytest.approx(0.5 * 0.3 + 0.5 * 0.3)
    assert found.brier.mean == pytest.approx((6 * 2 * 0.1**2 + 4 * 2 * 0.9**2 + 10 * 2 * 0.3**2) / 20)
    assert found.log_loss.mean == pytest.approx(-(6 * np.log(0.9) + 4 * np.log(0.1) + 10 * np.log(0.7)) / 20)
    np.testing.assert_array_equal(found.counts, [0, 0, 0, 0, 0, 0, 10, 0, 10, 0])  # (0.6, 0.7] and (0.8, 0.9]
    assert found.accuracy[6] == 1 and found.confidence[8] == pytest.approx(0.9) and np.isnan(found.accuracy[0])
    certain = reliability.class_calibration(np.eye(3)[[0, 1, 2]], np.array([0, 1, 2]), KEY)
    assert (certain.ece, certain.brier.mean, certain.log_loss.mean) == (0, 0, 0) and certain.counts[-1] == 3


def test_true_probabilities_are_calibrated_within_the_error():
    rng = np.random.default_rng(3)
    p = rng.dirichlet([1.0, 1, 1], 20_000)
    truth = (rng.uniform(size=20_000)[:, None] > np.cumsum(p, 1)).sum(1)
    found = reliability.class_calibration(p, truth, KEY)
    assert found.ece < 0.02 and found.ece_se < 0.005
    assert abs(found.brier.mean - np.mean(1 - np.sum(p**2, 1))) < 5 * found.brier.se
    sharp = p**3 / (p**3).sum(1, keepdims=True)
    assert reliability.class_calibration(sharp, truth, KEY).ece > 0.1
    members = np.stack([p, sharp])
    np.testing.assert_allclose(reliability.averaged(members), (p + sharp) / 2)
    mixed = reliability.class_calibration(reliability.averaged(members), truth, KEY)
    assert (
        mixed.log_loss.mean
        <= (found.log_loss.mean + reliability.class_calibration(sharp, truth, KEY).log_loss.mean) / 2
    )


def test_bad_calls_are_one_line():
    log_p = np.zeros((3, 5))
    p, truth = np.full((4, 2), 0.5), np.array([0, 1, 0, 1])
    calls = [
        (lambda: ensembles.ensemble(log_p[:1]), '2 members or more'),
        (lambda: ensembles.ensemble(np.where(np.arange(5) == 2, np.nan, log_p)), '3 of 3 members'),
        (lambda: ensembles.ensembled(MODEL, MEMBERS[0], SPLIT, KEY), 'two members or more'),
        (lambda: ensembles.ensembled(MODEL, PARAMS, SPLIT, random.split(KEY, 2)), r'2 keys beside params of \[3\]'),
        (lambda: ensembles.ensembled(MODEL, PARAMS, SPLIT, random.split(KEY, 3), k=0), 'k is 0'),
        (lambda: reliability.class_calibration(p, truth, KEY, bins=0), '0 bins'),
        (lambda: reliability.class_calibration(p, truth + 1, KEY), 'index of the true class'),
        (lambda: reliability.class_calibration(2 * p, truth, KEY), 'do not sum to 1'),
        (lambda: reliability.averaged(p), r'shape \[4, 2\]'),
    ]
    for call, told in calls:
        with pytest.raises(Fault, match=told) as fault:
            call()
        assert '\n' not in str(fault.value)


def test_members_that_would_see_different_x_are_refused():
    levels = jnp.asarray(np.random.default_rng(0).integers(0, 4, (6, 4)), jnp.uint8)
    with pytest.raises(Fault, match='drawn anew for each member'):
        ensembles.ensembled(MODEL, PARAMS, Split({'x': levels}, 4, dequantize(4)), random.split(KEY, 3), k=4)

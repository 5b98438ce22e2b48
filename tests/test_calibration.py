"""Simulation-based calibration: uniform ranks of the exact posterior, and what is said of wrong ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax import random

import vae_jax as vj
from tests import oracles
from vae_jax import models
from vae_jax.data.splits import Split, identity
from vae_jax.errors import Fault
from vae_jax.evaluation.calibration import Ranks, _ranks, simulated_ranks

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(11)
MODEL = oracles.linear_gaussian(latent=3, dims=4)
EXACT = oracles.with_exact_encoder(oracles.rotated(MODEL.init(random.key(2), jnp.zeros(4))))
SPLIT = Split({'x': jnp.zeros((7, 4))}, None, identity())


def moved(params, x):
    q = MODEL.encode(params, x)
    return vj.Normal(q.mean + params['shift'] * jnp.exp(q.log_std), q.log_std + params['wider'])


MOVED = MODEL._replace(encode=moved)


def found_of(shift=0.0, log_std=0.0):
    """Ranks of a posterior whose mean is moved by `shift` of its standard deviations and its scale by exp(log_std)."""
    params = {**EXACT, 'shift': jnp.float32(shift), 'wider': jnp.zeros(3) + jnp.float32(log_std)}
    return simulated_ranks(MOVED, params, SPLIT, KEY, n=1000)


def test_ranks_of_the_exact_posterior_are_uniform():
    found = simulated_ranks(MODEL, EXACT, SPLIT, KEY, n=2000)
    assert found.ranks.shape == (2000, 3) and found.counts.shape == (3, 20)
    assert found.ranks.min() == 0 and found.ranks.max() == 99 and np.all(found.counts.sum(1) == 2000)
    assert not found.rejected.any() and found.verdicts == ['exact'] * 3 and 'no dimension of 3' in str(found)
    # every rank has its share, the first and the last too
    share = np.bincount(found.ranks.ravel(), minlength=100) / found.ranks.size
    assert np.all(np.abs(share - 0.01) < 5 * np.sqrt(0.01 * 0.99 / found.ranks.size))
    for level, expected in ((0.5, 0.5), (0.8, 0.8), (0.9, 0.9), (0.95, 0.96)):
        covered = found.coverage(level)
        assert covered.expected == pytest.approx(expected)
        assert np.all(np.abs(covered.found - covered.expected) < 5 * np.sqrt(expected * (1 - expected) / 2000))


@pytest.mark.parametrize(
    ('how', 'word'),
    [
        ({'log_std': -np.log(2)}, 'too narrow'),
        ({'log_std': np.log(2)}, 'too wide'),
        ({'shift': 0.5}, 'too high'),
        ({'shift': -0.5}, 'too low'),
        ({'shift': 3.0}, 'too high'),
        ({'shift': 0.5, 'log_std': -np.log(2)}, 'too high and too narrow'),
    ],
)
def test_wrong_posteriors_are_rejected_and_named(how, word):
    found = found_of(**how)
    assert found.rejected.all() and found.verdicts == [word] * 3
    assert f'q is wrong in 3 of 3 dimensions: z0 {word}' in str(found)
    covered = found.coverage(0.9)
    if word == 'too narrow':  # P(|N(0, 2)| < 1.645) of the exact scale
        assert np.all(np.abs(covered.found - 0.589) < 5 * np.sqrt(0.589 * 0.411 / 1000) + 0.02)
    if word == 'too wide':
        assert np.all(covered.found > 0.97)


def test_one_wrong_dimension_is_found_and_the_others_are_let_be():
    found = found_of(log_std=jnp.array([0.0, -0.7, 0.0]))
    assert found.rejected.tolist() == [False, True, False] and 'z1 too narrow' in str(found)
    assert np.all(found.corrected >= found.p)


def test_the_test_is_that_of_scipy_under_holm():
    ranks = np.random.default_rng(0).integers(0, 100, (600, 2))
    ranks[:, 1] = np.minimum(ranks[:, 1], 94)
    found = _ranks(ranks, np.ones(600, bool), 99, 10)
    counts = np.histogram(ranks[:, 0], np.arange(0, 101, 10))[0]
    statistic = np.sum((counts - 60) ** 2 / 60)
    assert found.p[0] == pytest.approx(scipy.stats.chi2(9).sf(statistic))
    assert sorted(found.corrected)[0] == pytest.approx(min(1, 2 * found.p.min()))


def test_coverage_of_ranks_that_are_all_there_is_what_it_should_be():
    even = _ranks(np.repeat(np.arange(100), 2)[:, None], np.ones(200, bool), 99, 20)
    for level in (0.5, 0.75, 0.9, 0.95, 0.99):
        covered = even.coverage(level)
        assert covered.found[0] == pytest.approx(covered.expected) and covered.expected >= level - 1e-9
    assert even.coverage(0.9).se[0] == pytest.approx(np.sqrt(0.09 / 200))
    middle = _ranks(np.full((200, 1), 50), np.ones(200, bool), 99, 20).coverage(0.9)
    assert middle.found[0] == 1 and middle.se[0] == pytest.approx(np.sqrt(202 / 204 * 2 / 204 / 204))


def test_equal_values_are_ordered_at_random():
    """Bits: q is the exact posterior where x tells nothing of z, and all ranks are equally likely."""
    bits = MODEL._replace(
        prior=lambda params: vj.Bernoulli(jnp.array([0.4, 0.0])),
        encode=lambda params, x: vj.Bernoulli(jnp.array([0.4, 0.0])),
        decode=lambda params, z: vj.Normal(jnp.zeros(4), jnp.zeros(4)),
    )
    found = simulated_ranks(bits, {}, SPLIT, KEY, n=2000, draws=19)
    assert not found.rejected.any() and len(np.unique(found.ranks)) == 20


def test_conditions_are_those_of_the_split_and_members_are_their_own():
    def given(c):  # the prior's mean is c, and q knows of it for c = 0 alone
        return MODEL._replace(prior=lambda params: vj.Normal(jnp.full(3, c * 1.0), jnp.zeros(3)))

    model = models.Conditional(None, given, lambda row: (row['x'], row['label']))
    split = Split({'x': jnp.zeros((4, 4)), 'label': jnp.array([0, 1, 0, 0])}, None, identity())
    found = simulated_ranks(model, EXACT, split, KEY, n=2000)
    places = np.arange(2000) % 4
    assert isinstance(found, Ranks) and found.ranks[places == 1].mean() > 60  # z* lies above where q looks
    assert abs(found.ranks[places == 2].mean() - 49.5) < 5 * np.sqrt((100**2 - 1) / 12 / 1500)
    keys = random.split(KEY, 2)
    members = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), EXACT)
    each = simulated_ranks(MODEL, members, SPLIT, keys, n=100)
    alone = simulated_ranks(MODEL, EXACT, SPLIT, keys[1], n=100)
    np.testing.assert_array_equal(each[1].ranks, alone.ranks)


def test_bad_calls_are_refused():
    for options, said in (
        ({'draws': 100}, '101 ranks do not fill 20 bins'),
        ({'n': 99}, '99 simulations in 20 bins'),
        ({'draws': 0, 'bins': 1}, 'do not fill'),
    ):
        with pytest.raises(Fault, match=said):
            simulated_ranks(MODEL, EXACT, SPLIT, KEY, **options)
    with pytest.raises(Fault, match='empty'):
        simulated_ranks(MODEL, EXACT, Split({'x': jnp.zeros((0, 4))}, None, identity()), KEY)
    with pytest.raises(Fault, match='not finite') as fault:
        simulated_ranks(MODEL, {**EXACT, 'V': EXACT['V'] * jnp.nan}, SPLIT, KEY, n=100)
    assert fault.value.code == 4
    point = MODEL._replace(encode=lambda params, x: vj.distributions.Delta(params['V'] @ x))
    with pytest.raises(Fault, match='point'):
        simulated_ranks(point, EXACT, SPLIT, KEY, n=100)
    wider = MODEL._replace(encode=lambda params, x: vj.Normal(jnp.zeros(5), jnp.zeros(5)))  # as quantized codes are
    with pytest.raises(Fault, match='over 5 numbers and p.* over 3'):
        simulated_ranks(wider, EXACT, SPLIT, KEY, n=100)
    with pytest.raises(Fault, match="n is '100'"):
        simulated_ranks(MODEL, EXACT, SPLIT, KEY, n='100')
    with pytest.raises(Fault, match='level'):
        simulated_ranks(MODEL, EXACT, SPLIT, KEY, n=100).coverage(1.0)

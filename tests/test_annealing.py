"""Chains of temperatures against exact values: AIS, its sandwich, and the rate-distortion curve that it gives."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random, vmap
from jax.scipy.special import logsumexp
from jax.scipy.stats import multivariate_normal

import vae_jax as vj
from tests import oracles, small
from vae_jax import bounds, models
from vae_jax.data.splits import Split, identity
from vae_jax.distributions import Categorical
from vae_jax.errors import Fault
from vae_jax.evaluation import annealing, bidirectional, chains, rate_distortion, streaming

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(8)
MODEL = oracles.linear_gaussian(latent=2, dims=4)
PARAMS = MODEL.init(random.key(2), jnp.zeros(4))
DRAW = jax.jit(vmap(lambda key: MODEL.decode(PARAMS, MODEL.prior(PARAMS).sample(key)).sample(key)))
X = DRAW(random.split(random.key(3), 120))
SPLIT = Split({'x': X}, None, identity())
LOG_P = np.asarray(vmap(lambda x: oracles.log_p(PARAMS, x))(X))
BLUNT = {**PARAMS, 'log_s': jnp.array(1.0)}  # so little is seen of z that weights and their inverses have variances


@pytest.mark.parametrize('start', [chains.from_prior, chains.from_posterior])
def test_one_step_is_importance_sampling_from_the_start(start):
    found = annealing.anneal(MODEL, PARAMS, SPLIT, KEY, chains=7, steps=1, start=start)

    @jax.jit
    def by_hand(row):
        x, key = streaming.viewed(SPLIT, KEY, row)
        p = MODEL.prior(PARAMS)
        q = start(MODEL, PARAMS, x, p)
        zs = vmap(q.sample)(random.split(random.split(key, 3)[1], 7))
        log_w = vmap(lambda z: bounds.log_weight(MODEL, PARAMS, q, z, x))(zs)
        return logsumexp(log_w) - np.log(7), bounds.effective_samples(log_w)

    log_p, effective = vmap(by_hand)(jnp.arange(120))
    np.testing.assert_allclose(-found.estimate.values, log_p, rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(found.effective, effective, rtol=1e-3)
    assert np.isnan(found.acceptance).all()


def test_more_temperatures_come_closer_to_the_exact_value():
    gaps = {}
    for steps in (4, 64):
        found = annealing.anneal(MODEL, PARAMS, SPLIT, KEY, chains=8, steps=steps)
        gaps[steps] = found.estimate.values + LOG_P
    means, se = {t: gap.mean() for t, gap in gaps.items()}, gaps[64].std() / np.sqrt(len(X))
    assert means[4] > 4 * abs(means[64]) and means[4] > 0.1
    assert abs(means[64]) < 5 * se < 0.15
    assert 0.55 < np.mean(found.acceptance) < 0.9 and np.median(found.effective) > 5
    assert '8 chains' in str(found) and found.estimate.bits_per_dim == pytest.approx(
        found.estimate.mean / 4 / np.log(2)
    )


@pytest.mark.parametrize('backwards', [False, True])
def test_weights_are_unbiased_whatever_the_temperatures(backwards):
    """E w = p(x), and from exact draws of the posterior E 1/w = 1/p(x): means, which a bound would not show."""
    x, betas = X[1], np.array([0.0, 0.2, 0.5, 1.0])
    exact = oracles.posterior(BLUNT, x)

    @jax.jit
    def weights(key):
        bridge = chains.bridge_of(MODEL, BLUNT, x, chains.from_prior)
        a, b, c = random.split(key, 3)
        sizes = chains.step_sizes(bridge, a, betas, 2, 2)
        if not backwards:
            zs = vmap(bridge.draw)(random.split(b, 20_000))
            return chains.run(bridge, c, zs, betas, sizes, 2)[0]
        zs = random.multivariate_normal(b, exact.mean, exact.covariance, (20_000,))
        return chains.run(bridge, c, zs, betas[::-1], sizes[::-1], 2)[0]

    log_p = float(oracles.log_p(BLUNT, x)) * (-1 if backwards else 1)
    ratio = np.exp(np.asarray(weights(KEY), np.float64) - log_p)
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / np.sqrt(len(ratio)) < 0.1


def test_the_sandwich_holds_the_exact_value():
    """forward <= exact <= reverse, on x that the test draws again under the same keys."""
    found = bidirectional.sandwich(MODEL, PARAMS, SPLIT, KEY, chains=4, steps=32)

    @jax.jit
    def simulated(row):
        keys = random.split(streaming.viewed(SPLIT, KEY, row)[1], 6)
        return MODEL.decode(PARAMS, MODEL.prior(PARAMS).sample(keys[0])).sample(keys[1])

    exact = np.asarray(vmap(lambda x: oracles.log_p(PARAMS, x))(vmap(simulated)(jnp.arange(120))))
    below, above = exact - found.forward.values, found.reverse.values - exact
    for gap in (below, above):
        assert gap.mean() > -3 * gap.std() / np.sqrt(120) and gap.mean() < 0.3
    assert found.gap.mean == pytest.approx(below.mean() + above.mean(), abs=1e-4)
    assert found.gap.mean > 2 * found.gap.se > 0  # neither bound is the other
    assert found.acceptance.shape == (120, 2) and 0.4 < found.acceptance.mean() < 0.95


def test_schedules_rise_from_0_to_1():
    for schedule in (chains.linear, chains.geometric, chains.sigmoid, partial(chains.sigmoid, sharpness=2.0)):
        for steps in (1, 2, 10):
            betas = schedule(steps)
            assert betas.shape == (steps + 1,) and betas[0] == 0 and betas[-1] == 1 and np.all(np.diff(betas) > 0)
    np.testing.assert_allclose(chains.linear(4), [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(chains.geometric(4), [0, 1e-3, 1e-2, 1e-1, 1])
    s = 1 / (1 + np.exp(4))
    np.testing.assert_allclose(chains.sigmoid(4)[1], (1 / (1 + np.exp(2)) - s) / (1 - 2 * s))


def test_a_hierarchy_is_annealed_and_given_its_own_scales():
    """z = (z_1, z_2), z_2 = A z_1 + noise: log p(x) is Gaussian, and its start has no log_std of its own."""
    model = models.stacked(oracles.linear_gaussian(3, 5), oracles.linear_gaussian(2, 3))
    params = model.init(KEY, jnp.zeros(5))
    above, (A, C) = params['upper'], (params['upper']['W'], params['W'])
    covariance = C @ (A @ A.T + jnp.exp(2 * above['log_s']) * jnp.eye(3)) @ C.T
    covariance = covariance + jnp.exp(2 * params['log_s']) * jnp.eye(5)
    b = C @ above['b'] + params['b']
    draws = jax.jit(vmap(lambda key: model.decode(params, model.prior(params).sample(key)).sample(key)))
    xs = draws(random.split(random.key(4), 60))
    exact = vmap(lambda x: multivariate_normal.logpdf(x, b, covariance))(xs)
    found = annealing.anneal(model, params, Split({'x': xs}, None, identity()), KEY, chains=8, steps=64)
    gap = found.estimate.values + exact
    assert -5 * gap.std() / np.sqrt(60) < gap.mean() < 0.3
    variance = chains.bridge_of(model, params, xs[0], chains.from_prior).variance
    assert variance.shape == (5,) and np.ptp(variance) > 0.5


def test_the_rate_distortion_curve_is_that_of_a_linear_gaussian_model():
    found = rate_distortion.rate_distortion_curve(MODEL, PARAMS, SPLIT, KEY, highest=2.0, chains=8, steps=64)
    assert found.rates.shape == found.distortions.shape == (120, 65) and found.betas[-1] == 2
    W, b, s2 = PARAMS['W'], PARAMS['b'], jnp.exp(2 * PARAMS['log_s'])

    def exact(x, beta):  # of N(m, C), proportional to N(z; 0, I) N(x; W z + b, s^2 I)^beta
        C = jnp.linalg.inv(jnp.eye(2) + beta * W.T @ W / s2)
        m = beta * C @ W.T @ (x - b) / s2
        square = jnp.sum((x - b - W @ m) ** 2) + jnp.trace(W @ C @ W.T)
        rate = 0.5 * (jnp.trace(C) + m @ m - 2 - jnp.linalg.slogdet(C)[1])
        return jnp.stack([rate, 0.5 * square / s2 + 2 * jnp.log(2 * jnp.pi * s2)])

    for i in (0, 20, 40, 64):
        values = np.asarray(vmap(partial(exact, beta=found.betas[i]))(X))
        gap = np.stack([found.rates[:, i], found.distortions[:, i]], 1) - values
        assert np.all(np.abs(gap.mean(0)) < 5 * gap.std(0) / np.sqrt(120) + 1e-6)
        assert np.all(gap.std(0) / np.sqrt(120) < 0.06 * np.abs(values).mean(0) + 1e-6)
    np.testing.assert_allclose(found.rates[:, 0], 0, atol=1e-6)
    assert np.all(np.diff(found.rate) > -0.15) and found.se.shape == (2, 65) and '65 betas' in str(found)


@pytest.mark.slow
def test_at_beta_one_rate_and_distortion_are_the_annealed_log_p():
    options = {'chains': 3, 'steps': 5}
    curve = rate_distortion.rate_distortion_curve(MODEL, PARAMS, SPLIT, KEY, **options)
    found = annealing.anneal(MODEL, PARAMS, SPLIT, KEY, **options)
    np.testing.assert_allclose(curve.rates[:, -1] + curve.distortions[:, -1], found.estimate.values, rtol=1e-4)
    squares = rate_distortion.rate_distortion_curve(
        MODEL, PARAMS, SPLIT, KEY, distortion=rate_distortion.squared_error, **options
    )
    nats = curve.distortions - squares.distortions * 0.5 * np.exp(-2 * float(PARAMS['log_s']))
    np.testing.assert_allclose(nats[:, 0], 2 * np.log(2 * np.pi) + 4 * float(PARAMS['log_s']), atol=1e-3)


@pytest.mark.slow
def test_images_of_a_network_and_members_of_a_population():
    keys = random.split(KEY, 2)
    each = [small.MODEL.init(key, small.DATA.example) for key in keys]
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    options = {'chains': 3, 'steps': 4, 'leapfrog': 2}
    together = bidirectional.sandwich(small.MODEL, params, small.DATA.test, keys, **options)
    alone = bidirectional.sandwich(small.MODEL, each[1], small.DATA.test, keys[1], **options)
    np.testing.assert_allclose(together[1].gap.values, alone.gap.values, atol=1e-3)
    np.testing.assert_allclose(together[1].forward.values, alone.forward.values, rtol=1e-4)
    assert alone.acceptance.shape == (25, 2) and alone.forward.mean < -10


def test_blocks_of_chains_are_short_on_a_cpu(monkeypatch):
    assert streaming.chained_at_a_time(SPLIT, 16) == 8 and streaming.chained_at_a_time(SPLIT, 500) == 1
    assert streaming.chained_at_a_time(SPLIT, 1) == 120
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    assert streaming.chained_at_a_time(SPLIT, 16) == 100


def test_bad_calls_are_refused():
    bad = [
        ({'steps': 0}, 'steps is 0'),
        ({'chains': 0}, 'chains is 0'),
        ({'leapfrog': 0}, 'leapfrog is 0'),
        ({'pilot': 0}, 'pilot is 0'),
        ({'steps': 3, 'schedule': lambda steps: np.linspace(0, 0.9, steps + 1)}, 'from 0 to 0.9'),
        ({'steps': 3, 'schedule': lambda steps: np.linspace(0, 1, steps)}, '3 betas'),
        ({'steps': 3.5}, 'steps is 3.5, expected 1 or more, a whole number'),
        ({'schedule': 'sigmoid'}, "schedule is 'sigmoid', expected a function"),
        ({'start': 'prior'}, "start is 'prior'"),
    ]
    for f in (annealing.anneal, bidirectional.sandwich):
        for options, said in bad:
            with pytest.raises(Fault, match=said):
                f(MODEL, PARAMS, SPLIT, KEY, **options)
        with pytest.raises(Fault, match='empty'):
            f(MODEL, PARAMS, Split({'x': X[:0]}, None, identity()), KEY)
        codes = MODEL._replace(prior=lambda p: Categorical(jnp.zeros((2, 3))))
        with pytest.raises(Fault, match='one-hot'):
            f(codes._replace(decode=lambda p, z: MODEL.decode(p, z.sum(1))), PARAMS, SPLIT, KEY)
        point = MODEL._replace(encode=lambda p, x: vj.distributions.Delta(MODEL.encode(p, x).mean))
        with pytest.raises(Fault, match='a point'):
            f(point, PARAMS, SPLIT, KEY)
    with pytest.raises(Fault, match='not finite') as fault:  # in a program that another test has compiled
        annealing.anneal(MODEL, {**PARAMS, 'b': PARAMS['b'] * jnp.nan}, SPLIT, KEY, chains=7, steps=1)
    assert fault.value.code == 4
    with pytest.raises(Fault, match='highest is 0'):
        rate_distortion.rate_distortion_curve(MODEL, PARAMS, SPLIT, KEY, highest=0.0)


def test_the_transitions_leave_a_temperature_as_it_is():
    """Exact draws of p_t, moved, still have its mean and covariance."""
    x, beta = X[2], 0.4
    bridge = chains.bridge_of(MODEL, PARAMS, x, chains.from_prior)
    W, s2 = PARAMS['W'], jnp.exp(2 * PARAMS['log_s'])
    C = jnp.linalg.inv(jnp.eye(2) + beta * W.T @ W / s2)
    m = beta * C @ W.T @ (x - PARAMS['b']) / s2
    zs = random.multivariate_normal(KEY, m, C, (4000,))

    @jax.jit
    def moved(zs):
        one = lambda key, z: chains.move(bridge, 3, key, chains.look(bridge, z), jnp.float32(beta), jnp.float32(0.6))
        seen, accepted = vmap(one)(random.split(random.key(9), 4000), zs)
        return seen.z, accepted

    z, accepted = moved(zs)
    assert 0.3 < accepted.mean() < 0.99 and float(jnp.mean(jnp.abs(z - zs))) > 0.1
    off = np.asarray(z) - np.asarray(m)
    assert np.all(np.abs(off.mean(0)) < 5 * off.std(0) / np.sqrt(4000))
    np.testing.assert_allclose(np.cov(off.T), C, atol=5 * float(C.max()) * np.sqrt(2 / 4000))

"""Ex-post priors: each a density that is right, better than the prior where it should be, and one that evaluates."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import random, vmap
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

import vae_jax as vj
from tests import oracles, small
from vae_jax import data, distributions, flows, losses, models, samplers
from vae_jax.distributions import Categorical, FullNormal, Laplace, Mixture, Normal
from vae_jax.errors import Fault
from vae_jax.models import quantized

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(11)
NORMAL = Normal(jnp.zeros(2), jnp.zeros(2))


class Hyper(NamedTuple):
    lr: float = 1e-2


def two_moons(key, n):
    """Codes far from N(0, I): two narrow clusters, one of them bent."""
    a, b, c = random.split(key, 3)
    side = random.bernoulli(a, 0.4, (n, 1))
    e = random.normal(b, (n, 2))
    bent = jnp.stack([e[:, 0], 0.5 * e[:, 0] ** 2 + 0.2 * e[:, 1]], 1) * 0.5 + jnp.array([[2.0, 0.0]])
    return jnp.where(side, bent, 0.3 * random.normal(c, (n, 2)) - 1.5)


CODES, HELD = two_moons(random.key(1), 1500), two_moons(random.key(2), 400)


def mean_log_prob(p, zs):
    return float(jnp.mean(vmap(p.log_prob)(zs)))


def learned(density, zs, steps=400, lr=1e-2):
    """The part of params of a density after maximum likelihood on codes, trained as anything is."""
    loss = losses.per_example(samplers.negative_log_prob(density))
    trainer = vj.trainer(density.init, loss, lambda hyper: optax.adam(hyper.lr))
    split = data.from_arrays('codes', np.asarray(zs)).train
    state = vj.start(trainer, split, Hyper(lr), KEY)
    return vj.advance(trainer, state, split, KEY, steps=steps)[0].params


@pytest.mark.slow
def test_each_density_is_better_than_the_prior_on_codes_it_has_not_seen():
    found = {
        'prior': NORMAL,
        'gaussian': samplers.gaussian(CODES),
        'mixture': samplers.gaussian_mixture(CODES, 5, KEY),
    }
    density = samplers.flow(flows.stacked(flows.affine_coupling(vj.mlp_encoder((16,))), 4), samplers.gaussian(CODES))
    found['flow'] = density.given(learned(density, CODES))
    value = {name: mean_log_prob(p, HELD) for name, p in found.items()}
    assert value['prior'] + 0.1 < value['gaussian'] < value['mixture'] - 0.3
    assert value['gaussian'] + 0.2 < value['flow']
    for name, p in found.items():
        if name != 'flow':  # a flow's mass is tested where flows are
            grid = jnp.linspace(-9, 9, 451)
            points = jnp.stack(jnp.meshgrid(grid, grid), -1).reshape(-1, 2)
            mass = jnp.sum(jnp.exp(vmap(p.log_prob)(points))) * (grid[1] - grid[0]) ** 2
            assert float(mass) == pytest.approx(1, abs=2e-3)
        draws = vmap(p.sample)(random.split(KEY, 2000))
        if name != 'prior':
            assert mean_log_prob(found['mixture'], draws) > mean_log_prob(
                found['mixture'], vmap(NORMAL.sample)(random.split(KEY, 2000))
            )


def test_the_mixture_is_scikit_learns():
    p = samplers.gaussian_mixture(CODES, 3, KEY)
    seed = int(random.randint(KEY, (), 0, np.iinfo(np.int32).max))
    other = GaussianMixture(3, random_state=seed).fit(np.asarray(CODES, np.float64))
    np.testing.assert_allclose(vmap(p.log_prob)(HELD), other.score_samples(np.asarray(HELD, np.float64)), atol=2e-4)
    one, plain = samplers.gaussian_mixture(CODES, 1, KEY), samplers.gaussian(CODES)
    np.testing.assert_allclose(vmap(one.log_prob)(HELD), vmap(plain.log_prob)(HELD), atol=1e-3)
    np.testing.assert_allclose(plain.mean, CODES.mean(0), atol=1e-5)
    np.testing.assert_allclose(plain.factor @ plain.factor.T, np.cov(np.asarray(CODES).T, bias=True), atol=1e-4)


def trained_linear():
    """A linear-Gaussian model whose data are not from its prior: z of the data is N(3, 0.25)."""
    model = oracles.linear_gaussian(latent=2, dims=6)
    params = oracles.with_exact_encoder(oracles.rotated(model.init(KEY, jnp.zeros(6))))
    keys = random.split(random.key(3), 400)
    zs = 3 + 0.5 * random.normal(random.key(4), (400, 2))
    xs = vmap(lambda z, key: model.decode(params, z).sample(key))(zs, keys)
    return model, params, data.from_arrays('codes', np.asarray(xs), validation=0)


def test_a_model_with_another_prior_evaluates_as_any_other():
    model, params, split = trained_linear()
    zs = samplers.codes(model, params, split.train, KEY)
    assert zs.shape == (len(split.train), 2) and zs.mean() == pytest.approx(3, abs=0.5)
    better = samplers.with_prior(model, samplers.fixed(samplers.gaussian(zs)))
    own = better.init(KEY, split.example)
    filled = {**own, **params}
    assert set(filled) == {*params, 'sampler'}
    before, after = vj.nll(model, params, split.test, KEY, k=500), vj.nll(better, filled, split.test, KEY, k=500)
    assert after.estimate.mean < before.estimate.mean - 1
    # linear and Gaussian: x ~ N(W m + b, W S W^T + s^2 I), exactly
    p, W = samplers.gaussian(zs), np.asarray(params['W'])
    covariance = W @ np.asarray(p.factor @ p.factor.T) @ W.T + np.exp(2 * float(params['log_s'])) * np.eye(6)
    centre = W @ np.asarray(p.mean) + np.asarray(params['b'])
    x = np.asarray(split.test.rows['x'], np.float64)
    exact = -multivariate_normal.logpdf(x, centre, covariance)
    assert after.estimate.mean == pytest.approx(float(exact.mean()), abs=0.05)
    draws = vj.sample_means(better, filled, KEY, 300)
    off = lambda xs: np.abs(xs.mean(0) - x.mean(0)).max()
    assert off(draws) < 0.5 * off(vj.sample_means(model, params, KEY, 300))
    assert np.isfinite(vj.elbo_estimate(better, filled, split.test, KEY, kl=vj.monte_carlo).elbo.mean)
    with pytest.raises(Fault, match='already'):
        samplers.with_prior(better, samplers.fixed(NORMAL)).init(KEY, split.example)
    with pytest.raises(Fault, match='terms'):
        samplers.with_prior(model._replace(terms=lambda *a: a), samplers.fixed(NORMAL))


@pytest.mark.slow
def test_two_stages_are_one_model_whose_bound_is_better():
    model, params, split = trained_linear()
    zs = samplers.codes(model, params, split.train, KEY)
    second = models.vae(vj.mlp_encoder((16,)), vj.mlp_decoder((16,)), latent=2, like=zs[0], likelihood=Normal)
    loss = losses.per_example(losses.negative(vj.elbo, second))
    trainer = vj.trainer(second.init, loss, lambda hyper: optax.adam(hyper.lr))
    codes = data.from_arrays('codes', np.asarray(zs)).train
    state, _ = vj.advance(trainer, vj.start(trainer, codes, Hyper(), KEY), codes, KEY, steps=400)
    both = samplers.two_stage(model, second)
    filled = {**both.init(KEY, split.example), **params, 'second': state.params}
    before = vj.elbo_estimate(model, params, split.test, KEY)
    after = vj.elbo_estimate(both, filled, split.test, KEY, kl=vj.monte_carlo)
    assert after.elbo.mean > before.elbo.mean + 1
    assert -vj.nll(both, filled, split.test, KEY, k=300).estimate.mean > after.elbo.mean
    assert np.isfinite(vj.reconstruct(both, filled, jnp.asarray(split.test.rows['x'][:2]))).all()
    # its log-densities are sums of those of its stages
    q = both.encode(filled, split.example)
    z, u = q.sample(KEY)
    expected = model.encode(params, split.example).log_prob(z) + second.encode(state.params, z).log_prob(u)
    np.testing.assert_allclose(q.log_prob((z, u)), expected, rtol=1e-5)
    expected = second.prior(state.params).log_prob(u) + second.decode(state.params, u).log_prob(z)
    np.testing.assert_allclose(both.prior(filled).log_prob((z, u)), expected, rtol=1e-5)


N, K = 3, 4
EVERY = jnp.eye(K)[jnp.array(list(itertools.product(range(K), repeat=N)))]
AUTO = samplers.autoregressive(samplers.causal_transformer(8, 2, 2), N, K)


def noisy(part, scale=0.7):
    leaves, tree = jax.tree.flatten(part)
    return jax.tree.unflatten(
        tree, [x + scale * random.normal(k, x.shape) for x, k in zip(leaves, random.split(KEY, len(leaves)))]
    )


def test_an_autoregressive_density_sums_to_one_and_draws_what_it_says():
    start = AUTO.given(AUTO.init(KEY, EVERY[0]))
    np.testing.assert_allclose(vmap(start.log_prob)(EVERY), -N * np.log(K), rtol=1e-5)  # even at first
    p = AUTO.given(noisy(AUTO.init(KEY, EVERY[0])))
    log_p = vmap(p.log_prob)(EVERY)
    assert float(jnp.sum(jnp.exp(log_p))) == pytest.approx(1, abs=1e-5) and float(jnp.std(log_p)) > 0.3
    draws = jax.jit(vmap(p.sample))(random.split(KEY, 20_000))
    which = jnp.argmax(draws, -1) @ jnp.array([K * K, K, 1])
    share, mass = np.bincount(which, minlength=K**N) / 20_000, np.exp(log_p)
    assert np.all(np.abs(share - mass) <= 5 * np.sqrt(mass / 20_000) + 5 / 20_000)
    for i in range(N):  # logits at i do not see x_i or what comes after
        other = EVERY[-1].at[i:].set(EVERY[7][i:])
        np.testing.assert_array_equal(p.network(EVERY[-1])[: i + 1], p.network(other)[: i + 1])
    for wrong in (EVERY[:2], EVERY[0][:2]):
        with pytest.raises(Fault, match='vmap'):
            p.log_prob(wrong)
    with pytest.raises(Fault, match='divide'):
        samplers.causal_transformer(10, 1, 4)


@pytest.mark.slow
def test_a_prior_over_codes_learns_their_order():
    """Codes whose positions repeat each other: independent ones cannot know, one after the other can."""

    def draw(key, n):
        first = random.randint(key, (n, 1), 0, K)
        return jnp.eye(K)[(first + jnp.arange(N)[None]) % K]

    train, held = draw(random.key(1), 600), draw(random.key(2), 200)
    value = {}
    for name, density in (('auto', AUTO), ('independent', samplers.independent(N, K))):
        value[name] = mean_log_prob(density.given(learned(density, train, 300)), held)
    assert value['independent'] == pytest.approx(-N * np.log(K), abs=0.1)
    assert value['auto'] == pytest.approx(-np.log(K), abs=0.1)


def test_a_quantized_model_with_an_autoregressive_prior():
    x = small.DATA.example
    model = quantized.vq(vj.mlp_encoder((8,)), vj.mlp_decoder((8,)), codes=K, dims=2, positions=N, like=x)
    better = samplers.with_prior(model, samplers.over_codes(AUTO))
    params = better.init(KEY, x)
    params = {**params, 'sampler': noisy(params['sampler'])}
    code = quantized.Code(EVERY)
    log_p = vmap(better.prior(params).log_prob)(code)
    assert float(jnp.sum(jnp.exp(log_p))) == pytest.approx(1, abs=1e-5)
    found = vj.elbo_estimate(better, params, small.DATA.test, KEY)
    own = samplers.codes(better, params, small.DATA.test, KEY)
    rates = [float(-better.prior(params).log_prob(quantized.Code(hot))) for hot in own.hot]
    np.testing.assert_allclose(found.rate.values, rates, rtol=1e-4)
    assert vj.sample_means(better, params, KEY, 3).shape == (3, *x.shape)
    assert vj.sample(samplers.with_temperature(better, 0.5), params, KEY, 3).shape == (3, *x.shape)


def test_temperature_scales_gaussians_and_tempers_logits():
    full = samplers.gaussian(CODES)
    for p in (NORMAL, full, Laplace(jnp.zeros(2), jnp.ones(2))):
        t = samplers.tempered(p, 0.5)
        np.testing.assert_allclose(t.log_std, p.log_std - np.log(2), rtol=1e-5)
        np.testing.assert_allclose(t.mean, p.mean)
    np.testing.assert_allclose(samplers.tempered(full, 3.0).factor, 3 * full.factor, rtol=1e-5)
    logits = jnp.array([[1.0, 2.0, -1.0]])
    np.testing.assert_allclose(samplers.tempered(Categorical(logits), 0.5).logits, 2 * logits)
    mixture = samplers.gaussian_mixture(CODES, 3, KEY)
    cool = samplers.tempered(mixture, 0.1)
    np.testing.assert_array_equal(cool.log_weights, mixture.log_weights)
    np.testing.assert_allclose(
        vmap(lambda c: c.factor)(cool.components), 0.1 * vmap(lambda c: c.factor)(mixture.components), rtol=1e-5
    )
    warm = samplers.tempered(AUTO.given(noisy(AUTO.init(KEY, EVERY[0]))), 1e3)
    np.testing.assert_allclose(vmap(warm.log_prob)(EVERY), -N * np.log(K), atol=0.1)
    flow = flows.affine_coupling(vj.mlp_encoder((4,)))
    pushed = flows.Flowed(NORMAL, flow.init(KEY, jnp.zeros(2)), flow)
    assert np.all(samplers.tempered(pushed, 2.0).base.log_std > 0.6)
    with pytest.raises(Fault, match='no temperature'):
        samplers.tempered(distributions.Poisson(jnp.zeros(2)), 2.0)


def test_temperature_is_a_prior_like_any_other_and_may_be_traced():
    at = lambda t: jnp.std(vj.sample_means(samplers.with_temperature(small.MODEL, t), PARAMS, KEY, 64))
    PARAMS = small.MODEL.init(KEY, small.DATA.example)
    assert at(0.1) < at(1.0) < at(3.0)
    p = vmap(lambda t: samplers.tempered(NORMAL, t).log_prob(jnp.ones(2)))(jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(p[0], NORMAL.log_prob(jnp.ones(2)))
    model, params, split = trained_linear()
    second = models.vae(vj.mlp_encoder((4,)), vj.mlp_decoder((4,)), latent=2, like=jnp.zeros(2), likelihood=Normal)
    both = samplers.two_stage(model, second)
    cool = samplers.with_temperature(both, 0.01)
    filled = both.init(KEY, split.example)
    z = vmap(cool.prior(filled).sample)(random.split(KEY, 50))[0]
    assert np.std(z, 0).max() < 0.1 < np.std(vmap(both.prior(filled).sample)(random.split(KEY, 50))[0], 0).min()


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(Fault, match='components'):
        samplers.gaussian_mixture(CODES[:3], 4, KEY)
    with pytest.raises(Fault, match='singular'):
        samplers.gaussian(jnp.zeros((5, 2)))
    with pytest.raises(Fault, match='one vector'):
        samplers.gaussian(jnp.zeros((5, 2, 2)))
    with pytest.raises(Fault, match='inverse'):
        samplers.flow(flows.planar, NORMAL)
    assert isinstance(samplers.gaussian(CODES), FullNormal) and isinstance(
        samplers.gaussian_mixture(CODES, 2, KEY), Mixture
    )

"""Losses of a batch of codes against identities and sums by hand."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random, vmap

from tests import small
from tests.statistics import assert_mean
from vae_jax import losses
from vae_jax.distributions import Bernoulli, Normal
from vae_jax.errors import Fault
from vae_jax.losses import codes as coding

KEY = random.key(2)
B, N, D = 8, 70, 3


class Hyper(NamedTuple):
    beta: float = 1.0
    gamma: float = 2.0
    capacity: float = 1.5
    free: float = 0.25
    tc: float = 6.0
    off: float = 3.0
    on: float = 5.0
    mmd: float = 10.0


def some_codes(key=KEY, b=B, shift=0.0, std=0.6):
    a, c = random.split(key)
    means = shift + jnp.sqrt(1 - std**2) * random.normal(a, (b, D))
    q = vmap(lambda m: Normal(m, jnp.full(D, jnp.log(std))))(means)
    z = vmap(lambda q, key: q.sample(key))(q, random.split(c, b))
    p = Normal(jnp.zeros(D), jnp.zeros(D))
    rates = vmap(lambda q: vmap(lambda q, p: q.kl(p))(q, p))(q)
    return losses.Codes(q, z, p, rates)


XS = {'x': vmap(small.DATA.train.view, (None, 0))(KEY, small.DATA.train.rows['x'][:B])}
PARAMS = small.MODEL.init(KEY, XS['x'][0])
PENALTIES = {
    'none': losses.no_penalty,
    'tc': losses.total_correlation(N),
    'tc, stratified': losses.total_correlation(N, losses.stratified),
    'dip i': losses.dip(),
    'dip ii': losses.dip(1.0),
    'mmd': losses.mmd(),
}
WEIGHS = {f.__name__: f for f in (losses.beta, losses.capacity, losses.free_bits, losses.free_bits_each)} | {
    'free_bits_mean': losses.free_bits_mean
}


@pytest.mark.parametrize('weigh', WEIGHS)
@pytest.mark.parametrize('name', PENALTIES)
def test_any_product_learns_in_all_of_its_parts(name, weigh):
    loss = losses.coded(small.MODEL, WEIGHS[weigh], PENALTIES[name])
    (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(PARAMS, KEY, XS, Hyper())
    assert np.isfinite(value) and all(np.isfinite(v) for v in metrics.values())
    for part in ('encode', 'decode'):
        assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(grads[part]))
    tripled = jax.vmap(lambda gamma: loss(PARAMS, KEY, XS, Hyper(gamma=gamma))[0])(jnp.arange(3.0))
    assert tripled.shape == (3,)  # hyper is traced: a population's axis


def test_rate_is_that_of_the_objective_of_one_example():
    loss = losses.coded(small.MODEL)
    _, metrics = loss(PARAMS, KEY, XS, Hyper())
    _, one = losses.per_example(losses.beta_elbo(small.MODEL))(PARAMS, KEY, XS, Hyper())
    np.testing.assert_allclose(metrics['rate'], one['rate'], rtol=1e-5)
    assert float(metrics['distortion']) == pytest.approx(float(one['distortion']), rel=0.2)


def test_free_bits_keep_their_conventions():
    rates = jnp.array([[0.1, 0.5], [0.3, 0.9]])
    value = lambda f, free: float(f(rates, Hyper(free=free)))
    assert value(losses.free_bits, 0.7) == pytest.approx((0.7 + 1.2) / 2)
    assert value(losses.free_bits_each, 0.4) == pytest.approx((0.4 + 0.5 + 0.4 + 0.9) / 2)
    assert value(losses.free_bits_mean, 0.4) == pytest.approx(0.4 + 0.7)
    assert value(losses.free_bits_mean, 0.25) == pytest.approx(0.25 + 0.7)  # of each example it would be 0.975
    for f in (losses.free_bits, losses.free_bits_each, losses.free_bits_mean):
        assert value(f, 0.0) == pytest.approx(float(losses.beta(rates, Hyper())))
        assert not np.any(jax.grad(lambda r, f=f: f(r, Hyper(free=9.0)))(rates))


def test_capacity_pulls_the_rate_to_it_from_both_sides():
    rates = jnp.full((4, 2), 0.5)
    assert float(losses.capacity(rates, Hyper(capacity=1.5))) == pytest.approx(2 * 0.5)
    slope = lambda c: float(jnp.sum(jax.grad(lambda r: losses.capacity(r, Hyper(capacity=c)))(rates)))
    assert slope(1.5) < 0 < slope(0.5)


@pytest.mark.parametrize('weights', [losses.weighted, losses.stratified])
def test_the_parts_of_the_rate_add_up(weights):
    codes = some_codes()
    value, parts = losses.total_correlation(N, weights)(codes, KEY, Hyper())
    own = vmap(lambda q, z: q.log_prob(z) - codes.p.log_prob(z))(codes.q, codes.z)
    np.testing.assert_allclose(sum(parts.values()), jnp.mean(own), rtol=1e-4)
    np.testing.assert_allclose(value, 5 * parts['total_correlation'], rtol=1e-6)


def test_there_is_no_total_correlation_where_all_posteriors_are_one():
    codes = some_codes()
    same = codes._replace(q=vmap(lambda _: Normal(jnp.zeros(D), jnp.zeros(D)))(jnp.arange(B)))
    _, parts = losses.total_correlation(N, losses.stratified)(same, KEY, Hyper())
    for part in ('mutual_information', 'total_correlation', 'dimension_kl'):
        np.testing.assert_allclose(parts[part], 0, atol=1e-5)
    # weights of 1 / (b N) say that each example is one of N: log N of the mixture, D log N of the product
    _, parts = losses.total_correlation(N, losses.weighted)(same, KEY, Hyper())
    np.testing.assert_allclose(parts['mutual_information'], np.log(N), rtol=1e-5)
    np.testing.assert_allclose(parts['total_correlation'], (D - 1) * np.log(N), rtol=1e-5)


def test_stratified_weights_are_unbiased_over_batches():
    """Every ordered batch of 3 of 5 examples that begins with example i: the mean is 1/5 of each density."""
    density = np.array([0.3, 1.1, 0.2, 2.0, 0.7])
    weights = np.exp(np.asarray(losses.stratified(3, 5), np.float64))
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.diag(weights), 1 / 5, rtol=1e-6)
    for i in range(5):
        others = itertools.permutations([j for j in range(5) if j != i], 2)
        sums = [weights[0] @ density[[i, *rest]] for rest in others]
        np.testing.assert_allclose(np.mean(sums), density.mean(), rtol=1e-6)


def test_dip_is_its_formula():
    codes = some_codes()
    means, var = np.asarray(codes.q.mean, np.float64), np.exp(2 * np.asarray(codes.q.log_std, np.float64))
    for share, penalty in ((0.0, losses.dip()), (1.0, losses.dip(1.0))):
        cov = np.cov(means.T, bias=True) + share * np.diag(var.mean(0))
        off = (cov**2).sum() - (np.diag(cov) ** 2).sum()
        on = ((np.diag(cov) - 1) ** 2).sum()
        np.testing.assert_allclose(penalty(codes, KEY, Hyper())[0], 3 * off + 5 * on, rtol=1e-4)


def test_mmd_is_zero_in_the_mean_where_codes_are_draws_of_the_prior_and_positive_elsewhere():
    def value(shift):
        one = lambda key: losses.mmd()(some_codes(key, 32, shift), random.fold_in(key, 77), Hyper())[1]['mmd']
        return np.asarray(jax.jit(vmap(one))(random.split(KEY, 2000)))

    assert_mean(value(0.0), 0.0)
    assert np.mean(value(1.0)) > 50 * np.std(value(0.0)) / np.sqrt(2000)


def test_mmd_of_few_points_is_the_sum_by_hand(monkeypatch):
    a, b = jnp.array([[0.0], [1.0]]), jnp.array([[2.0], [4.0]])
    k = lambda x, y: float(np.exp(-((x - y) ** 2)))
    expected = k(0, 1) + k(2, 4) - 2 * (k(0, 2) + k(0, 4) + k(1, 2) + k(1, 4)) / 4
    monkeypatch.setattr(random, 'split', lambda key, n: jnp.arange(n))
    draws = type('Draws', (), {'sample': staticmethod(lambda i: b[i])})
    kernel = lambda x, y: jnp.exp(-jnp.sum((x - y) ** 2))
    _, found = losses.mmd(kernel)(losses.Codes(None, a, draws, None), KEY, Hyper())
    assert float(found['mmd']) == pytest.approx(expected, rel=1e-6)


def test_what_cannot_work_is_refused():
    one = {'x': XS['x'][:1]}
    for penalty in (losses.mmd(), losses.total_correlation(N)):
        with pytest.raises(Fault, match='larger batch'):
            losses.coded(small.MODEL, penalty=penalty)(PARAMS, KEY, one, Hyper())
    discrete = small.MODEL._replace(encode=lambda params, x: Bernoulli(jnp.zeros(2)))
    with pytest.raises(Fault, match='reparameterized'):
        losses.coded(discrete)(PARAMS, KEY, XS, Hyper())
    assert coding.inverse_multiquadratics(jnp.zeros(2), jnp.zeros(2)) == pytest.approx(7.0)

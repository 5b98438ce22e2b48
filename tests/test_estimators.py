"""Every estimator's mean gradient against the exact one, by quadrature over the noise of its samples."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random, vmap
from jax.flatten_util import ravel_pytree
from jax.scipy.special import logsumexp

from tests import oracles
from tests.statistics import assert_mean
from vae_jax import bounds
from vae_jax.distributions import Bernoulli
from vae_jax.errors import Fault
from vae_jax.models import Model

N = 20_000
MODEL = oracles.linear_gaussian(latent=1, dims=3)
X = jnp.array([0.5, -1.0, 0.7])
START = MODEL.init(random.key(2), X)
PARAMS = {**START, 'V': START['V'] + 0.4, 'log_std': jnp.array([-0.1])}
ENCODER = ('V', 'log_std')


def exact(value_of):
    """E[value_of(log w [2])] over two samples of q, and its gradient, by Gauss-Hermite quadrature in float64."""
    with jax.enable_x64(True):
        points, weights = np.polynomial.hermite_e.hermegauss(80)
        eps, mass = jnp.asarray(points), jnp.asarray(weights / weights.sum())
        params, x = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), jnp.float64), (PARAMS, X))

        def mean(params):
            q = MODEL.encode(params, x)
            zs = vmap(lambda e: q.mean + jnp.exp(q.log_std) * e)(eps)
            log_w = vmap(lambda z: bounds.log_weight(MODEL, params, q, z, x))(zs)
            pairs = vmap(lambda a: vmap(lambda b: value_of(jnp.stack([a, b])))(log_w))(log_w)
            return mass @ pairs @ mass

        value, grad = jax.value_and_grad(mean)(params)
        return jax.tree.map(lambda a: np.asarray(a, np.float32), (value, grad))


def iwae_of(log_w):
    return logsumexp(log_w) - jnp.log(2.0)


def renyi_of(alpha):
    return lambda log_w: (logsumexp((1 - alpha) * log_w) - jnp.log(2.0)) / (1 - alpha)


def blend(log_w):
    return 0.3 * log_w.mean() + 0.7 * iwae_of(log_w)


CASES = {  # estimator, whose expectation and gradient these are
    'elbo': (lambda *a: bounds.elbo(*a, kl=bounds.monte_carlo), jnp.mean),
    'sticking the landing': (bounds.sticking_the_landing, jnp.mean),
    'score function': (lambda *a: bounds.score_elbo(*a, k=2), jnp.mean),
    'iwae': (lambda *a: bounds.iwae(*a, k=2), iwae_of),
    'dreg': (lambda *a: bounds.dreg(*a, k=2), iwae_of),
    'vimco': (lambda *a: bounds.vimco(*a, k=2), iwae_of),
    'miwae': (lambda *a: bounds.miwae(*a, k=2, m=3), iwae_of),
    'ciwae': (lambda *a: bounds.ciwae(*a, k=2, beta=0.3), blend),
    'renyi 0.5': (lambda *a: bounds.renyi(*a, k=2, alpha=0.5), renyi_of(0.5)),
    'renyi 2': (lambda *a: bounds.renyi(*a, k=2, alpha=2.0), renyi_of(2.0)),
    'renyi 1': (lambda *a: bounds.renyi(*a, k=2, alpha=1.0), jnp.mean),
}


def draws(bound, n=N, params=PARAMS):
    """(values [n], gradients {name: [n, ...]}) under n keys."""
    one = lambda key: jax.value_and_grad(lambda p: bound(MODEL, p, key, X))(params)
    return jax.jit(vmap(one))(random.split(random.key(1), n))


@pytest.mark.parametrize('name', CASES)
def test_value_and_gradient_average_to_the_exact_ones(name):
    bound, value_of = CASES[name]
    (value, grad), (values, grads) = exact(value_of), draws(bound)
    assert_mean(values, value)
    for part in PARAMS:
        assert_mean(grads[part], grad[part])


def test_piwae_gives_each_its_own_bound():
    """Of one sample in each of two groups: IWAE of two for prior and decoder, the ELBO for the encoder."""
    _, grads = draws(lambda *a: bounds.piwae(*a, k=1, m=2))
    (_, two), (_, one) = exact(iwae_of), exact(jnp.mean)
    for part in ('W', 'log_s', *ENCODER):  # b belongs to both: the encoder centres x with it
        assert_mean(grads[part], (one if part in ENCODER else two)[part])


def test_identities_between_the_bounds():
    key = random.key(7)
    value = lambda f: jax.value_and_grad(lambda p: f(MODEL, p, key, X))(PARAMS)
    pairs = [
        (lambda *a: bounds.renyi(*a, k=5, alpha=0.0), lambda *a: bounds.iwae(*a, k=5)),
        (lambda *a: bounds.ciwae(*a, k=5, beta=0.0), lambda *a: bounds.iwae(*a, k=5)),
        (lambda *a: bounds.ciwae(*a, k=5, beta=1.0), lambda *a: bounds.renyi(*a, k=5, alpha=1.0)),
    ]
    for f, g in pairs:
        for a, b in zip(jax.tree.leaves(value(f)), jax.tree.leaves(value(g)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    for f in (bounds.dreg, bounds.vimco, lambda *a, k: bounds.piwae(*a, k=k, m=1)):
        np.testing.assert_allclose(f(MODEL, PARAMS, key, X, k=5), bounds.iwae(MODEL, PARAMS, key, X, 5), rtol=1e-6)


def test_renyi_falls_as_alpha_grows_and_more_samples_raise_it():
    mean = lambda f: float(np.mean(draws(f, 4000)[0]))
    by_alpha = [mean(lambda *a, alpha=alpha: bounds.renyi(*a, k=8, alpha=alpha)) for alpha in (0.0, 0.5, 1.0, 3.0)]
    assert all(a > b for a, b in itertools.pairwise(by_alpha))
    assert mean(lambda *a: bounds.miwae(*a, k=8, m=4)) > mean(lambda *a: bounds.miwae(*a, k=2, m=16))


def test_the_landing_sticks_and_the_plain_gradient_does_not():
    params = oracles.with_exact_encoder(oracles.rotated(START))
    for bound, still in ((bounds.sticking_the_landing, True), (CASES['elbo'][0], False)):
        _, grads = draws(bound, 200, params)
        spread = max(float(np.max(np.abs(grads[part]))) for part in ENCODER)
        assert (spread < 1e-4) == still


def test_signal_to_noise_falls_with_samples_for_iwae_and_rises_for_dreg():
    exact_one = oracles.with_exact_encoder(oracles.rotated(START))
    near = {**exact_one, 'V': 0.9 * exact_one['V'], 'log_std': exact_one['log_std'] + 0.1}

    def ratio(bound, k):
        _, grads = draws(lambda *a: bound(*a, k=k), 4000, near)
        flat = np.concatenate([np.reshape(grads[part], (4000, -1)) for part in ENCODER], 1)
        return np.linalg.norm(flat.mean(0)) / np.sqrt(flat.var(0).sum())

    # as k^-1/2 and k^1/2 (Rainforth et al. 2018, Tucker et al. 2019), once k is more than a few
    assert ratio(bounds.iwae, 128) < 0.5 * ratio(bounds.iwae, 8)
    assert ratio(bounds.dreg, 128) > 2 * ratio(bounds.dreg, 8)


def test_the_baseline_of_the_others_lowers_the_variance():
    def plain(model, params, key, x):
        q = model.encode(params, x)
        z = jax.lax.stop_gradient(q.sample(key))
        log_w = bounds.log_weight(model, params, q, z, x)
        surrogate = log_w + jax.lax.stop_gradient(log_w) * q.log_prob(z)
        return surrogate

    variance = lambda f: sum(float(np.var(draws(f, 4000)[1][part], 0).sum()) for part in ENCODER)
    assert variance(lambda *a: bounds.score_elbo(*a, k=2)) < 0.5 * variance(plain)


def discrete():
    """z in {0, 1}^2 with logits V x: sums over four values are exact."""

    def encode(params, x):
        return Bernoulli(params['V'] @ x)

    def decode(params, z):
        return Bernoulli(params['W'] @ (2 * z - 1) + params['b'])

    return Model(MODEL.init, lambda params: Bernoulli(jnp.array([0.3, -0.2])), encode, decode)


def test_scores_learn_a_discrete_posterior_and_pathwise_bounds_refuse_it():
    model, x = discrete(), jnp.array([1.0, 0.0, 1.0])
    shapes = {'V': (2, 3), 'W': (3, 2), 'b': (3,)}
    params = {name: random.normal(random.key(i), shape) for i, (name, shape) in enumerate(shapes.items())}
    every = jnp.array(list(itertools.product([0.0, 1.0], repeat=2)))

    def exact_elbo(params):
        q = model.encode(params, x)
        log_q = vmap(q.log_prob)(every)
        log_w = vmap(lambda z: bounds.log_weight(model, params, q, z, x))(every)
        return jnp.exp(log_q) @ log_w

    def exact_iwae(params):
        q = model.encode(params, x)
        mass = jnp.exp(vmap(q.log_prob)(every))
        log_w = vmap(lambda z: bounds.log_weight(model, params, q, z, x))(every)
        return mass @ vmap(lambda a: vmap(lambda b: iwae_of(jnp.stack([a, b])))(log_w))(log_w) @ mass

    for bound, truth in ((bounds.score_elbo, exact_elbo), (bounds.vimco, exact_iwae)):
        one = lambda key, bound=bound: ravel_pytree(jax.grad(lambda p: bound(model, p, key, x, k=2))(params))[0]
        found = jax.jit(vmap(one))(random.split(random.key(3), N))
        assert_mean(found, ravel_pytree(jax.grad(truth)(params))[0])
    naive = lambda p: bounds.log_weights(model, p, random.key(0), x, 2).mean()
    assert float(jnp.abs(jax.grad(exact_elbo)(params)['V']).max()) > 0.05  # a pathwise gradient would miss all of it
    assert np.isfinite(naive(params))
    k = random.key(0)
    for bound in (
        lambda p: bounds.dreg(model, p, k, x, 2),
        lambda p: bounds.sticking_the_landing(model, p, k, x),
        lambda p: bounds.renyi(model, p, k, x, 2, 0.5),
        lambda p: bounds.piwae(model, p, k, x, 2, 2),
        lambda p: bounds.ciwae(model, p, k, x, 2, 0.5),
        lambda p: bounds.miwae(model, p, k, x, 2, 2),
    ):
        with pytest.raises(Fault, match='reparameterized.*score_elbo'):
            bound(params)


def test_bad_numbers_are_refused():
    key = random.key(0)
    for bound in (bounds.score_elbo, bounds.vimco):
        with pytest.raises(Fault, match='2 or more'):
            bound(MODEL, PARAMS, key, X, k=1)
    with pytest.raises(Fault, match='share'):
        bounds.ciwae(MODEL, PARAMS, key, X, 2, 1.5)
    with pytest.raises(Fault, match='1 or more'):
        bounds.miwae(MODEL, PARAMS, key, X, 2, 0)

"""EM and its relatives on models whose log p(x), posterior and best parameters are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import random, vmap
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA, FactorAnalysis

import vae_jax as vj
from tests import short
from tests.statistics import assert_mean
from vae_jax import data, evaluation
from vae_jax.classical import factor_em, factors, mcem
from vae_jax.classical import linear_gaussian as lg
from vae_jax.errors import Fault
from vae_jax.training.trainer import State

pytestmark = pytest.mark.usefixtures('quickly_compiled')
N, DIMS, LATENT = 200, 5, 2


def rows(noise=(0.5, 0.5, 0.5, 0.5, 0.5)):
    draw = np.random.RandomState(0)
    loadings = draw.randn(LATENT, DIMS) * np.array([[1.5], [0.8]])
    return draw.randn(N, LATENT) @ loadings + draw.randn(N, DIMS) * np.array(noise) + np.arange(DIMS)


def start(model, key=0):
    return model.init(random.key(key), jnp.zeros(DIMS))['decode']


def taken(trainer, xs, steps):
    """(State, losses [steps]) on all rows at once, in float64."""
    batch = {'x': xs, 'row': jnp.arange(len(xs))}
    run = lambda key: jax.lax.scan(lambda s, _: trainer.step(s, batch), trainer.init(key, batch, ()), length=steps)
    return jax.jit(run)(random.key(1))


PPCA, FA = lg.probabilistic_pca(LATENT, jnp.zeros(DIMS)), lg.factor_analysis(LATENT, jnp.zeros(DIMS))


@pytest.mark.parametrize('model', [PPCA, FA], ids=['ppca', 'factors'])
def test_the_marginal_and_the_posterior_are_those_of_the_joint_normal(model):
    with jax.enable_x64(True):
        decode = jax.tree.map(lambda a: a + 0.3 * random.normal(random.key(3), a.shape, jnp.float64), start(model))
        W, b, x = np.asarray(decode['loadings']), np.asarray(decode['mean']), np.arange(DIMS) / 3
        noise = np.diag(np.broadcast_to(np.exp(2 * np.asarray(decode['log_std'])), DIMS))
        covariance = W @ W.T + noise
        np.testing.assert_allclose(
            lg.log_marginal(decode, jnp.asarray(x)), multivariate_normal.logpdf(x, b, covariance), atol=1e-10
        )
        found, gain = lg.posterior(decode, jnp.asarray(x)), W.T @ np.linalg.inv(covariance)
        np.testing.assert_allclose(found.mean, gain @ (x - b), atol=1e-10)
        np.testing.assert_allclose(found.covariance, np.eye(LATENT) - gain @ W, atol=1e-10)
        np.testing.assert_allclose(lg.elbo(decode, found, jnp.asarray(x)), lg.log_marginal(decode, x), atol=1e-10)


@pytest.mark.slow
def test_the_model_is_the_one_that_evaluation_knows():
    params = lg.with_posterior(start(FA))
    split = data.Split({'x': jnp.asarray(rows()[:8], jnp.float32)}, None, data.identity())
    found = evaluation.linear_gaussian(FA, params, split, random.key(0))
    mine = -vmap(lambda x: lg.log_marginal(params['decode'], x))(split.rows['x'])
    np.testing.assert_allclose(found.estimate.values, mine, rtol=1e-5)
    assert abs(found.amortization.mean) < 1e-4  # the encoder is the best diagonal one
    images = lg.factor_analysis(2, jnp.zeros((2, 3, 1)))
    params = images.init(random.key(0), jnp.zeros((2, 3, 1)))
    assert images.decode(params, jnp.zeros(2)).mean.shape == (2, 3, 1)
    assert images.encode(params, jnp.zeros((2, 3, 1))).mean.shape == (2,)


def test_em_rises_to_the_closed_form_of_probabilistic_pca():
    with jax.enable_x64(True):
        xs = jnp.asarray(rows())
        state, losses = taken(factor_em.exact_em(PPCA), xs, 2000)
        assert np.all(np.diff(losses['loss']) < 1e-12)
        best = factors.ppca(xs, LATENT)._asdict()
        mine = np.mean(vmap(lambda x: lg.log_marginal(best, x))(xs))
        np.testing.assert_allclose(-losses['loss'][-1], mine, atol=1e-8)
        np.testing.assert_allclose(mine, PCA(LATENT).fit(rows()).score(rows()), rtol=2e-3)  # its n - 1 for our n
        W, other = state.params['decode']['loadings'], best['loadings']
        np.testing.assert_allclose(W @ W.T, other @ other.T, atol=1e-6)
        np.testing.assert_allclose(state.params['decode']['log_std'], best['log_std'], atol=1e-7)


def test_em_of_factor_analysis_is_that_of_scikit_learn():
    with jax.enable_x64(True):
        xs = rows((0.5, 0.6, 0.7, 0.8, 0.9))
        oracle = FactorAnalysis(1, tol=1e-8, max_iter=20000, svd_method='lapack').fit(xs)
        model = lg.factor_analysis(1, jnp.zeros(DIMS))
        state, losses = taken(factor_em.exact_em(model), jnp.asarray(xs), 2000)
        assert np.all(np.diff(losses['loss']) < 1e-12)
        np.testing.assert_allclose(-losses['loss'][-1], oracle.score(xs), atol=1e-7)
        np.testing.assert_allclose(np.exp(2 * state.params['decode']['log_std']), oracle.noise_variance_, rtol=1e-3)


@pytest.mark.slow
def test_the_m_step_keeps_a_variance_that_would_be_nothing():
    xs = np.concatenate([rows(), np.ones((N, 1))], 1).astype(np.float32)
    state, losses = taken(factor_em.exact_em(lg.factor_analysis(LATENT, jnp.zeros(DIMS + 1))), jnp.asarray(xs), 50)
    assert np.all(np.isfinite(losses['loss'])) and np.exp(2 * state.params['decode']['log_std'][-1]) < 1e-4


@pytest.mark.slow
def test_variational_em_never_falls_and_ends_where_em_does():
    with jax.enable_x64(True):
        xs = jnp.asarray(rows())
        state, losses = taken(factor_em.variational_em(PPCA, N), xs, 3000)
        assert np.all(np.diff(losses['loss']) < 1e-10)
        exact = taken(factor_em.exact_em(PPCA), xs, 2000)[1]['loss'][-1]
        assert losses['loss'][-1] > exact - 1e-9  # a bound
        np.testing.assert_allclose(losses['loss'][-1], exact, atol=1e-4)
        W = np.asarray(state.params['decode']['loadings'])
        assert abs((W.T @ W)[0, 1]) < 0.02 * (W.T @ W)[0, 0]  # its parts can be independent only if W's columns are


def test_coordinate_ascent_finds_the_mean_of_the_posterior():
    with jax.enable_x64(True):
        decode = jax.tree.map(lambda a: 3 * a.astype(jnp.float64), start(PPCA))
        x = jnp.asarray(rows()[0])
        exact = lg.posterior(decode, x).mean
        assert np.max(np.abs(factor_em.coordinate_ascent(decode, x, jnp.zeros(LATENT), 1) - exact)) > 1e-3
        np.testing.assert_allclose(factor_em.coordinate_ascent(decode, x, jnp.zeros(LATENT), 100), exact, atol=1e-9)


def test_rows_of_a_batch_are_their_own():
    trainer = factor_em.variational_em(PPCA, N)
    batch = {'x': jnp.asarray(rows()[:4], jnp.float32), 'row': jnp.array([7, 3, 100, 11])}
    state = trainer.step(trainer.init(random.key(0), batch, ()), batch)[0]
    assert set(np.nonzero(np.any(np.asarray(state.opt_state) != 0, 1))[0]) == {3, 7, 11, 100}


def test_transitions_leave_the_posterior_as_it_is():
    loadings = jnp.array([[0.9, 0.1], [-0.4, 0.7], [0.2, 0.6], [0.5, -0.3], [0.1, 0.2]])
    decode = {**start(PPCA), 'loadings': loadings}
    params, x = lg.with_posterior(decode), jnp.asarray(rows()[0], jnp.float32)
    exact = lg.posterior(decode, x)
    log_density = lambda z: PPCA.decode(params, z).log_prob(x) + PPCA.prior(params).log_prob(z)

    def chain(key):
        a, b = random.split(key)
        z = exact.mean + jnp.linalg.cholesky(exact.covariance) @ random.normal(a, (LATENT,))
        return mcem.transition(log_density, b, z, jnp.float32(0.5), 10)

    zs, accepted = jax.jit(vmap(chain))(random.split(random.key(0), 4000))
    assert_mean(zs, exact.mean)
    off = zs - exact.mean[None]
    assert_mean(jnp.einsum('ni,nj->nij', off, off), exact.covariance)
    assert 0.6 < np.mean(accepted) < 0.75  # a third of the proposals is turned down


@pytest.mark.slow
def test_monte_carlo_em_comes_near_the_closed_form_at_the_acceptance_that_was_asked():
    xs = jnp.asarray(rows(), jnp.float32)
    trainer = mcem.monte_carlo_em(PPCA, mcem.in_closed_form(), N)
    state, seen = taken(trainer, xs, 200)
    best = factors.ppca(xs, LATENT)._asdict()
    mean = lambda p: np.mean(vmap(lambda x: lg.log_marginal(p, x))(xs))
    assert mean(state.params['decode']) > mean(best) - 0.05
    assert abs(np.mean(seen['acceptance'][-100:]) - 0.9) < 0.02


@pytest.mark.slow
def test_monte_carlo_em_by_gradient_learns_any_model():
    xs = jnp.asarray(rows() - rows().mean(0)[None], jnp.float32)
    nets = vj.mlp_encoder((4,)), vj.mlp_decoder((4,))
    model = vj.vae(*nets, latent=LATENT, like=xs[0], likelihood=vj.distributions.fixed_normal(0.0))
    adam = lambda hyper: optax.adam(0.01)
    trainer = mcem.monte_carlo_em(model, mcem.by_gradient(model, adam, 5), N)
    state, seen = taken(trainer, xs, 60)
    assert isinstance(state, State) and seen['loss'][-1] < seen['loss'][0] - 0.5
    first = trainer.init(random.key(1), {'x': xs, 'row': jnp.arange(N)}, ())
    moved = short.moved(jax.tree.map(lambda a, b: a - b, state.params, first.params))
    assert moved == {'decode'}  # there is no encoder that learns
    assert state.opt_state.inner[0].count == 300  # five updates for each draw


def test_what_cannot_be():
    batch = {'x': jnp.zeros((3, DIMS))}
    for trainer in (factor_em.variational_em(PPCA, 3), mcem.monte_carlo_em(PPCA, mcem.in_closed_form(), 3)):
        with pytest.raises(Fault, match="no column 'row'"):
            trainer.init(random.key(0), batch, ())
    with pytest.raises(Fault, match='sweeps is 0'):
        factor_em.variational_em(PPCA, 3, sweeps=0)
    with pytest.raises(Fault, match='leapfrog is 0'):
        mcem.monte_carlo_em(PPCA, mcem.in_closed_form(), 3, leapfrog=0)
    with pytest.raises(Fault, match=r'target is 1\.0'):
        mcem.monte_carlo_em(PPCA, mcem.in_closed_form(), 3, target=1.0)
    with pytest.raises(Fault, match='updates is 0'):
        mcem.by_gradient(PPCA, lambda hyper: optax.sgd(0.1), 0)
    for latent in (0, DIMS):
        with pytest.raises(Fault, match=f'latent is {latent} of x with 5 numbers'):
            lg.probabilistic_pca(latent, jnp.zeros(DIMS))

"""Learned priors: what they are by hand, what they refuse, that a batch computes them once, that they train."""

from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax, random, vmap
from jax.scipy.special import logsumexp

import vae_jax as vj
from tests import small
from tests.statistics import assert_mean
from vae_jax import bounds, losses
from vae_jax.distributions import Laplace, Normal, PowerSpherical, VonMisesFisher
from vae_jax.errors import Fault
from vae_jax.models import priors

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(4)
X = vmap(small.DATA.train.view, (None, 0))(KEY, small.DATA.train.rows['x'][:9]).astype(jnp.float32)


class Hyper(NamedTuple):
    lr: float = 3e-3
    beta: float = 1.0


def trainer_of(model, kl=bounds.monte_carlo):
    objective = vj.per_example(vj.beta_elbo(model, kl))
    return vj.trainer(model.init, objective, lambda hyper: optax.adam(hyper.lr))


@cache
def digits(n=64):
    train = vj.data.load('digits').train
    return {'x': vmap(train.view, (None, 0))(KEY, train.rows['x'][:n]).astype(jnp.float32)}


def trained(trainer, batch, key=KEY, hyper=None, steps=50):
    """(state, losses [steps]) on one batch."""
    state = trainer.init(key, batch, Hyper() if hyper is None else hyper)

    def step(state, _):
        state, metrics = trainer.step(state, batch)
        return state, metrics['loss']

    return lax.scan(step, state, length=steps)


def falls(model, kl=bounds.monte_carlo):
    """Training on digits lowers the loss by 5 of its own deviations from step to step."""
    _, values = jax.jit(partial(trained, trainer_of(model, kl)))(digits())
    values = np.asarray(values)
    assert np.all(np.isfinite(values))
    return values[:5].mean() - values[-15:].mean() > 5 * values[-15:].std()


def of_digits(**options):
    options = {'latent': 3, 'like': digits()['x'][0], **options}
    return vj.vae(vj.mlp_encoder((24,)), vj.mlp_decoder((24,)), **options)


def test_a_mixture_of_one_is_its_component():
    model = priors.mixture_prior(small.MODEL, 1)
    params = model.init(KEY, X[0])
    params['mixture'] = jax.tree.map(jnp.zeros_like, params['mixture'])
    z = jnp.array([0.3, -1.2])
    np.testing.assert_allclose(model.prior(params).log_prob(z), small.MODEL.prior(params).log_prob(z), rtol=1e-6)
    value = lambda m: vj.elbo(m, params, KEY, X[0], bounds.monte_carlo)
    np.testing.assert_allclose(value(model), value(small.MODEL), rtol=1e-6)


def test_a_mixture_starts_at_draws_of_the_prior_and_samples_its_mean():
    model = priors.mixture_prior(small.MODEL, 400)
    part = model.init(KEY, X[0])['mixture']
    assert_mean(part['mean'], 0.0)
    assert_mean(part['mean'] ** 2, 1.0)
    p = model.prior({'mixture': {**part, 'log_weights': 2 * random.normal(KEY, (400,))}})
    assert_mean(vmap(p.sample)(random.split(KEY, 20_000)), p.mean)


@pytest.mark.parametrize('shape', [(3,), (2, 4), (2, 3, 2)])
def test_a_mixture_takes_the_shape_of_the_latent(shape):
    normal = lambda *a: Normal(jnp.zeros(shape), jnp.zeros(shape))
    model = priors.mixture_prior(vj.Model(lambda key, x: {}, normal, normal, normal), 5)
    params = model.init(KEY, jnp.zeros(2))
    assert params['mixture']['mean'].shape == (5, *shape)
    z = model.prior(params).sample(KEY)
    each = [Normal(m, jnp.zeros(shape)).log_prob(z) for m in params['mixture']['mean']]
    np.testing.assert_allclose(model.prior(params).log_prob(z), logsumexp(jnp.stack(each)) - np.log(5), rtol=1e-5)


@pytest.mark.parametrize('squash', [priors.hard_tanh, jax.nn.sigmoid])
def test_the_vampprior_is_the_mixture_of_posteriors_by_brute_force(squash):
    weights = jnp.array([0.1, -2.0, 0.7, 0.0])
    model = priors.vampprior(small.MODEL, 4, squash=squash, log_weights=weights)
    params = model.init(KEY, X[0])
    z = jnp.array([0.5, 1.5])
    share = np.exp(weights) / np.exp(weights).sum()
    density = 0.0
    for w, u in zip(share, params['pseudo_inputs']['u'], strict=True):
        q = small.MODEL.encode(params, squash(u))
        mean, std = np.asarray(q.mean, np.float64), np.exp(np.asarray(q.log_std, np.float64))
        density += w * np.prod(np.exp(-0.5 * ((z - mean) / std) ** 2) / std / np.sqrt(2 * np.pi))
    np.testing.assert_allclose(model.prior(params).log_prob(z), np.log(density), rtol=1e-5)


def test_the_vampprior_started_at_examples_is_their_aggregate_posterior():
    model = priors.vampprior(small.MODEL, 9, start=priors.examples(X))
    params = model.init(KEY, X[0])
    z = jnp.array([0.2, -0.4])
    each = vmap(lambda x: small.MODEL.encode(params, x).log_prob(z))(X)
    np.testing.assert_allclose(model.prior(params).log_prob(z), logsumexp(each) - np.log(9), rtol=1e-5)


@pytest.mark.parametrize('learned', [False, True])
def test_gradients_of_the_prior_reach_pseudo_inputs_encoder_and_weights_that_learn(learned):
    model = priors.vampprior(small.MODEL, 4, log_weights=jnp.zeros(4) if learned else None)
    params = model.init(KEY, X[0])
    assert ('log_weights' in params['pseudo_inputs']) == learned
    grads = jax.grad(lambda p: model.prior(p).log_prob(jnp.array([0.5, 1.5])))(params)
    for part, moved in (('encode', True), ('pseudo_inputs', True), ('decode', False)):
        assert all(np.any(leaf != 0) == moved for leaf in jax.tree.leaves(grads[part]))


def test_binary_pseudo_inputs_at_the_edge_of_hard_tanh_still_learn():
    grads = jax.grad(lambda u: priors.hard_tanh(u).sum())(jnp.array([0.0, 1.0, 0.4, -0.1, 1.1]))
    assert np.all(grads[:3] > 0) and not np.any(grads[3:])


def shapes(jaxpr):
    """The shapes of all values that a jaxpr makes, at any depth."""
    for eqn in jaxpr.eqns:
        yield from (var.aval.shape for var in eqn.outvars)
        for sub in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda v: hasattr(v, 'eqns')):
            inner = getattr(sub, 'jaxpr', sub)
            if hasattr(inner, 'eqns'):
                yield from shapes(inner)


@pytest.mark.parametrize('bound', [partial(vj.elbo, kl=bounds.monte_carlo), partial(vj.iwae, k=3)])
def test_a_batch_encodes_the_pseudo_inputs_once(bound):
    """13 hidden units: of 11 pseudo-inputs as [11, 13], and nowhere with the batch of 7 beside them."""
    net = vj.vae(vj.mlp_encoder((13,)), vj.mlp_decoder((17,)), latent=2, like=X[0])
    model = priors.vampprior(net, 11)
    params = model.init(KEY, X[0])
    batch = lambda p: vmap(lambda k, x: bound(model, p, k, x))(random.split(KEY, 7), X[:7]).mean()
    copied = lambda p: batch_of_params(jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (7, *leaf.shape)), p))
    batch_of_params = lambda ps: vmap(lambda p, k, x: bound(model, p, k, x))(ps, random.split(KEY, 7), X[:7]).mean()

    def found(f):
        seen = list(shapes(jax.make_jaxpr(jax.value_and_grad(f))(params).jaxpr))
        return (11, 13) in seen, any(13 in s and np.prod(s) % (7 * 11) == 0 for s in seen)

    assert found(batch) == (True, False)
    assert found(copied)[1]  # what it would look like otherwise


def test_wrappers_refuse():
    twice = priors.mixture_prior(priors.mixture_prior(small.MODEL, 2), 2)
    with pytest.raises(Fault, match="'mixture' already"):
        twice.init(KEY, X[0])
    priors.mixture_prior(priors.mixture_prior(small.MODEL, 2), 2, name='another').init(KEY, X[0])
    with pytest.raises(Fault, match="'decode' already"):
        priors.vampprior(small.MODEL, 2, name='decode').init(KEY, X[0])
    for wrapper in (priors.mixture_prior, priors.vampprior):
        with pytest.raises(Fault, match='mixture of 0'):
            wrapper(small.MODEL, 0)
    with pytest.raises(Fault, match='log_weights has shape'):
        priors.vampprior(small.MODEL, 2, log_weights=jnp.zeros(3))
    with pytest.raises(Fault, match='give 3 examples'):
        priors.vampprior(small.MODEL, 3, start=priors.examples(X)).init(KEY, X[0])
    sphere = vj.vae(vj.mlp_encoder((4,)), vj.mlp_decoder((4,)), latent=3, like=X[0], posterior=VonMisesFisher)
    with pytest.raises(Fault, match='gives a unit vector'):
        priors.mixture_prior(sphere, 2).init(KEY, X[0])
    priors.vampprior(sphere, 2).init(KEY, X[0])
    with pytest.raises(Fault, match='no closed form'):
        model = priors.vampprior(small.MODEL, 2)
        vj.elbo(model, model.init(KEY, X[0]), KEY, X[0])


def test_a_model_with_fused_terms_loses_them_with_its_prior():
    model = small.MODEL._replace(terms=lambda params, key, x: (jnp.zeros(()), jnp.zeros(())))
    assert priors.mixture_prior(model, 2).terms is None and priors.vampprior(model, 2).terms is None


WRAPPED = {
    'mixture': lambda m: priors.mixture_prior(m, 8),
    'vampprior': lambda m: priors.vampprior(m, 8, log_weights=jnp.zeros(8)),
    'sigmoid': lambda m: priors.vampprior(
        m, 8, start=priors.examples(losses.logit(digits()['x'][:8])), squash=jax.nn.sigmoid
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize('name', ['mixture', 'vampprior', pytest.param('sigmoid', marks=pytest.mark.slow)])
def test_training_on_digits_lowers_the_loss(name):
    assert falls(WRAPPED[name](of_digits()))


@pytest.mark.parametrize('family', [pytest.param(VonMisesFisher, marks=pytest.mark.slow), PowerSpherical])
def test_a_spherical_model_is_one_line_and_trains_in_closed_form(family):
    assert falls(of_digits(posterior=family, latent=4), bounds.closed_form)


def test_posteriors_of_any_family_make_a_vampprior():
    for family in (Laplace, PowerSpherical, vj.full_normal(3)):
        net = vj.vae(vj.mlp_encoder((4,)), vj.mlp_decoder((4,)), latent=3, like=X[0], posterior=family)
        model = priors.vampprior(net, 5)
        params = jax.jit(model.init)(KEY, X[0])
        assert np.isfinite(jax.jit(partial(vj.elbo, model, kl=bounds.monte_carlo))(params, KEY, X[0]))


@pytest.mark.slow
def test_a_member_of_a_population_is_its_lone_run():
    trainer, batch, keys = trainer_of(WRAPPED['vampprior'](small.MODEL)), {'x': X}, random.split(KEY, 3)
    run = lambda key, lr: trained(trainer, batch, key, Hyper(lr=lr), steps=5)
    lrs = jnp.array([1e-2, 3e-3, 1e-3])
    together = jax.jit(vmap(run))(keys, lrs)
    lone = jax.jit(run)(keys[1], lrs[1])
    member = jax.tree.map(lambda leaf: leaf[1], (together[0].params, together[1]))
    for a, b in zip(jax.tree.leaves(member), jax.tree.leaves((lone[0].params, lone[1])), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)

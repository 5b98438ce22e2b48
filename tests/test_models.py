"""The conformance list of models: networks x likelihoods x posteriors x objectives; each new member joins."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import random, vmap

import vae_jax as vj
from tests import small
from vae_jax import distributions as d
from vae_jax.errors import Fault

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(7)
IMAGE, FLAT = (6, 5, 1), (7,)
NETWORKS = {
    'mlp': (lambda: vj.mlp_encoder((8,)), lambda: vj.mlp_decoder((8,))),
    'conv': (lambda: vj.conv_encoder((4,), 8), lambda: vj.conv_decoder((4,), 8)),
    'resnet': (lambda: vj.resnet_encoder((4,), 8), lambda: vj.resnet_decoder((4,), 8)),
}
LIKELIHOODS = {
    'bernoulli': (d.Bernoulli, lambda u: (u > 0.5) * 1.0),
    'soft_bernoulli': (d.SoftBernoulli, lambda u: u),
    'normal': (d.Normal, lambda u: 4 * u - 2),
    'fixed_normal': (d.fixed_normal(-1.0), lambda u: 4 * u - 2),
    'logistic': (d.discretized_logistic(17), lambda u: jnp.round(16 * u) / 16),
}
POSTERIORS = {'normal': d.Normal, 'bounded': d.bounded_normal(-4.0, 1.0)}
OBJECTIVES = {
    'elbo': lambda m: vj.beta_elbo(m),
    'elbo, monte carlo': lambda m: vj.beta_elbo(m, vj.monte_carlo),
    'iwae': lambda m: vj.negative(vj.iwae, m, k=3),
}
# pairs that could disagree, and not the whole product
MEMBERS = sorted(
    {('mlp', l, 'normal', 'elbo') for l in LIKELIHOODS}
    | {(n, l, 'normal', 'elbo') for n, l in itertools.product(('conv', 'resnet'), ('bernoulli', 'logistic'))}
    | {('mlp', 'bernoulli', p, o) for p, o in itertools.product(POSTERIORS, OBJECTIVES)}
)


def build(network, likelihood, posterior, objective, shape=IMAGE):
    family, make = LIKELIHOODS[likelihood]
    encoder, decoder = NETWORKS[network]
    xs = make(random.uniform(KEY, (4, *shape)))
    m = vj.vae(encoder(), decoder(), latent=3, like=xs[0], likelihood=family, posterior=POSTERIORS[posterior])
    return m, vj.per_example(OBJECTIVES[objective](m)), xs


SLOW = {
    ('resnet', 'logistic', 'normal', 'elbo'),
    ('conv', 'bernoulli', 'normal', 'elbo'),
    ('conv', 'logistic', 'normal', 'elbo'),
}  # its parts are in the others


@pytest.mark.parametrize(
    'member', [pytest.param(m, marks=[pytest.mark.slow] * (m in SLOW), id=' '.join(m)) for m in MEMBERS]
)
def test_a_product_trains(member):
    """Finite, one trace, a gradient to every parameter, the loss falls on one batch, a population is its lone runs."""
    model, loss, xs = build(*member)
    traces = []

    def counted(*args):
        traces.append(1)
        return loss(*args)

    trainer = vj.trainer(model.init, counted, lambda hyper: optax.adam(hyper.lr))
    batch, hyper = {'x': xs}, small.Hyper(lr=3e-3)
    state = trainer.init(KEY, batch, hyper)
    grads = jax.grad(lambda p: loss(p, KEY, batch, hyper)[0])(jax.tree.map(lambda p: p + 0.01, state.params))
    for path, leaf in jax.tree_util.tree_flatten_with_path(grads)[0]:
        assert np.all(np.isfinite(leaf)) and np.any(leaf != 0), jax.tree_util.keystr(path)
    step = jax.jit(trainer.step)
    losses = []
    for _ in range(60):
        state, metrics = step(state, batch)
        losses.append(float(metrics['loss']))
    assert len(traces) == 1 and np.median(losses[-20:]) < np.median(losses[:5])

    keys, hypers = random.split(KEY, 2), small.Hyper(lr=jnp.array([1e-3, 1e-2]), beta=jnp.array([1.0, 0.5]))
    states = vmap(trainer.init, (0, None, 0))(keys, batch, hypers)
    states, _ = jax.jit(vmap(trainer.step, (0, None)))(states, batch)
    lone, _ = step(trainer.init(keys[1], batch, jax.tree.map(lambda h: h[1], hypers)), batch)
    for a, b in zip(jax.tree.leaves(states.params), jax.tree.leaves(lone.params)):
        np.testing.assert_allclose(a[1], b, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize('shape', [FLAT, (5, 4), (6, 5, 3), (2, 3, 4)], ids=str)
@pytest.mark.parametrize('likelihood', ['bernoulli', 'logistic'])
def test_sizes_follow_the_data(shape, likelihood):
    model, loss, xs = build('mlp', likelihood, 'normal', 'elbo', shape)
    params = model.init(KEY, xs[0])
    p = model.decode(params, jnp.zeros(3))
    assert p.mean.shape == shape and jnp.isfinite(loss(params, KEY, {'x': xs}, small.Hyper())[0])


def test_any_init_apply_pair_is_a_network():
    class Linear:
        def init(self, key, x):
            return {'w': 0.1 * random.normal(key, (5, x.size))}

        def apply(self, params, x):
            return params['w'] @ x.reshape(-1)

    model = vj.vae(Linear(), vj.mlp_decoder((8,)), latent=2, like=jnp.zeros(IMAGE))
    params = model.init(KEY, jnp.zeros(IMAGE))
    assert model.encode(params, jnp.ones(IMAGE)).mean.shape == (2,)


def test_output_bias_starts_the_logits_at_the_data():
    mean = jnp.linspace(0.0, 1.0, 30).reshape(IMAGE)
    bias = vj.losses.logit(mean)
    model = vj.vae(vj.mlp_encoder((8,)), vj.mlp_decoder((8,)), latent=2, like=jnp.zeros(IMAGE), output_bias=bias)
    params = model.init(KEY, jnp.zeros(IMAGE))
    silent = {**params, 'decode': jax.tree.map(jnp.zeros_like, params['decode'])}
    np.testing.assert_allclose(model.decode(silent, jnp.ones(2)).mean, np.clip(mean, 0.001, 0.999), rtol=1e-4)


def test_bad_models_are_refused():
    net = lambda: (vj.mlp_encoder((8,)), vj.mlp_decoder((8,)))
    with pytest.raises(Fault, match='Bernoulli expects 0 or 1, found 0.25.*SoftBernoulli'):
        vj.vae(*net(), latent=2, like=jnp.full(IMAGE, 0.25))
    with pytest.raises(Fault, match='latent is 0'):
        vj.vae(*net(), latent=0, like=jnp.zeros(IMAGE))
    model = vj.vae(*net(), latent=2, like=jnp.zeros(IMAGE))
    params = model.init(KEY, jnp.zeros(IMAGE))
    with pytest.raises(Fault, match='vmap'):
        model.encode(params, jnp.zeros((4, *IMAGE)))
    with pytest.raises(Fault, match='output_bias'):
        vj.vae(*net(), latent=2, like=jnp.zeros(IMAGE), output_bias=jnp.zeros(3))


def test_wrong_products_are_refused_when_built_in_a_sentence():
    build = lambda **options: vj.vae(
        vj.mlp_encoder((8,)), vj.mlp_decoder((8,)), latent=2, like=jnp.zeros(IMAGE), **options
    )
    with pytest.raises(
        Fault, match='the posterior Normal gives any real number, the prior HypersphericalUniform a unit'
    ):
        build(prior=lambda params: vj.HypersphericalUniform(2))
    with pytest.raises(Fault, match='the posterior PowerSpherical gives a unit vector, the prior Normal any real'):
        build(posterior=vj.PowerSpherical, prior=vj.models.standard_normal(2))
    with pytest.raises(Fault, match='a multiple of 1/16 between 0 and 1, found 0.3'):
        vj.vae(vj.mlp_encoder(()), vj.mlp_decoder(()), latent=2, like=jnp.full(4, 0.3), likelihood=vj.beta_binomial(17))
    with pytest.raises(Fault, match='full_normal.* is over 3 dimensions, latent is 2'):
        build(posterior=vj.full_normal(3))
    model, x = build(posterior=vj.Bernoulli), jnp.zeros(IMAGE)
    params = model.init(KEY, x)
    with pytest.raises(Fault, match='Bernoulli samples carry no gradient.*score_elbo, vimco'):
        vj.elbo(model, params, KEY, x)
    model = vj.models.vampprior(build(), 3)
    with pytest.raises(Fault, match='no closed form here; fix: pass kl=monte_carlo'):
        vj.elbo(model, model.init(KEY, x), KEY, x)

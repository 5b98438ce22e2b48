"""Models with flows: their bounds where log p(x) is known, their training on digits, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import random, vmap

import vae_jax as vj
from tests import oracles, small
from tests.families import quick_jit
from tests.statistics import assert_mean
from vae_jax import bounds, evaluation, flows, losses, networks, placement
from vae_jax.distributions import Bernoulli, FullNormal, Normal, PowerSpherical, full_normal
from vae_jax.errors import Fault
from vae_jax.models import Model, standard_normal, vampprior
from vae_jax.models.flows import contextual, flow_posterior, flow_prior

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(4)
DIGITS = vj.data.load('digits')
SMALL = networks.mlp_encoder((16,))
LATENT = 4


def digits(posterior=Normal, data=DIGITS):
    return vj.vae(vj.mlp_encoder((32,)), vj.mlp_decoder((32,)), latent=LATENT, like=data.example, posterior=posterior)


WITH_CONTEXT = contextual(Normal, 2)
CASES = {
    'iaf': lambda **to: flow_posterior(digits(WITH_CONTEXT, **to), flows.stacked(flows.iaf((16,)), 2)),
    'planar': lambda **to: flow_posterior(digits(**to), flows.chain(*[flows.planar] * 4)),
    'amortized planar': lambda **to: flow_posterior(digits(WITH_CONTEXT, **to), flows.amortized_planar),
    'coupling': lambda **to: flow_posterior(digits(WITH_CONTEXT, **to), flows.stacked(flows.affine_coupling(SMALL), 2)),
    'spline of a full covariance': lambda **to: flow_posterior(
        digits(full_normal(LATENT), **to), flows.stacked(flows.spline_coupling(SMALL, bins=4), 2)
    ),
    'iaf of a vampprior': lambda **to: flow_posterior(vampprior(digits(WITH_CONTEXT, **to), 5), flows.iaf((16,))),
    'maf prior': lambda **to: flow_prior(digits(**to), flows.stacked(flows.maf((16,)), 2)),
    'iaf, coupling prior': lambda **to: flow_posterior(
        flow_prior(digits(WITH_CONTEXT, **to), flows.stacked(flows.affine_coupling(SMALL), 2)), flows.iaf((16,))
    ),
}


def trainer(model):
    loss = losses.per_example(losses.beta_elbo(model, bounds.monte_carlo))
    return vj.trainer(model.init, loss, lambda hyper: optax.adam(hyper.lr))


def batches(data, steps, size):
    rows = data.train.rows['x'][: steps * size]
    xs = vmap(data.train.view)(random.split(KEY, len(rows)), rows)
    return {'x': xs.reshape(steps, size, *xs.shape[1:])}


def trained(model, key, hyper, seen):
    """(params, losses) after a step for each of the batches."""
    one = trainer(model)
    state = one.init(key, jax.tree.map(lambda a: a[0], seen), hyper)
    state, metrics = jax.lax.scan(one.step, state, seen)
    return state.params, metrics['loss']


@pytest.mark.slow
@pytest.mark.parametrize('name', CASES)
def test_a_model_with_flows_trains_on_digits_and_all_of_it_learns(name):
    model, seen = CASES[name](), batches(DIGITS, 20, 50)

    @quick_jit
    def run(key, seen):
        params, found = trained(model, key, small.Hyper(lr=5e-3), seen)
        loss = losses.per_example(losses.beta_elbo(model, bounds.monte_carlo))
        last = jax.tree.map(lambda a: a[0], seen)
        return found, jax.grad(lambda p: loss(p, key, last, small.Hyper())[0])(params)

    found, slopes = run(KEY, seen)
    assert np.all(np.isfinite(found)) and np.mean(found[-3:]) < found[0] - 5
    for path, leaf in jax.tree_util.tree_leaves_with_path(slopes):
        assert np.all(np.isfinite(leaf)) and np.any(leaf != 0), jax.tree_util.keystr(path)


def curved() -> Model:
    """x = exp(z) + noise over a scalar z: its posterior at a small x has one steep and one long side."""

    def init(key, x):
        return {'mean': jnp.zeros(1), 'log_std': jnp.zeros(1)}

    decode = lambda params, z: Normal(jnp.exp(z), jnp.full(1, -0.5))
    return Model(init, standard_normal(1), lambda params, x: Normal(params['mean'], params['log_std']), decode)


def optimum(model, params, x, fixed=(), steps=1200, samples=64):
    """params at the largest ELBO of one x, but for the parts that stay."""
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-2, steps))

    def loss(learned, key):
        values = vmap(lambda k: bounds.elbo(model, {**params, **learned}, k, x, bounds.monte_carlo))
        return -jnp.mean(values(random.split(key, samples)))

    @jax.jit
    def run(learned):
        def step(carry, key):
            learned, state = carry
            updates, state = optimizer.update(jax.grad(loss)(learned, key), state)
            return (optax.apply_updates(learned, updates), state), None

        return jax.lax.scan(step, (learned, optimizer.init(learned)), random.split(KEY, steps))[0][0]

    return {**params, **run({k: v for k, v in params.items() if k not in fixed})}


def elbos(model, params, x, n=20_000):
    value = lambda key: bounds.elbo(model, params, key, x, bounds.monte_carlo)
    return np.asarray(quick_jit(vmap(value))(random.split(random.key(9), n)), np.float64)


def test_a_planar_posterior_closes_half_of_the_gap_that_a_gaussian_leaves():
    x = jnp.array([0.1])
    plain = curved()
    bent = flow_posterior(plain, flows.chain(*[flows.planar] * 4))
    log_p = float(oracles.log_p_by_quadrature(plain, {}, x))
    gaussian = elbos(plain, optimum(plain, plain.init(KEY, x), x), x)
    flowed = elbos(bent, optimum(bent, bent.init(KEY, x), x), x)
    error = lambda values: np.std(values) / np.sqrt(len(values))
    gap, less = log_p - gaussian.mean(), log_p - flowed.mean()
    assert gap > 0.005 + 5 * error(gaussian)
    assert -5 * error(flowed) < less < 0.5 * gap - 5 * error(flowed)


@pytest.mark.parametrize('name', ['iaf', 'coupling'])
def test_an_autoregressive_posterior_finds_the_covariance_that_a_diagonal_one_cannot(name):
    x = jnp.array([0.5, -1.0, 0.7])
    plain = oracles.linear_gaussian(latent=2, dims=3)
    params = plain.init(random.key(2), x)
    fixed = ('W', 'b', 'log_s')
    best = oracles.optimal_diagonal(params, x)
    gap = float(oracles.log_p(params, x) - oracles.elbo(params, best, x))
    model = flow_posterior(plain, {'iaf': flows.iaf((16,)), 'coupling': flows.affine_coupling(SMALL)}[name])
    start = {**params, **{k: v for k, v in model.init(KEY, x).items() if k == 'flow_posterior'}}
    values = elbos(model, optimum(model, start, x, fixed), x)
    assert gap > 0.1
    assert float(oracles.log_p(params, x)) - values.mean() < 0.2 * gap


@pytest.mark.parametrize('name', ['planar', 'iaf', 'maf prior'])
def test_importance_weights_average_to_the_likelihood(name):
    """E[w] = p(x) whatever the flow: with and without an inverse, of prior or posterior."""
    x = jnp.array([0.5, -1.0, 0.7])
    plain = oracles.linear_gaussian(latent=2, dims=3)
    if name == 'maf prior':  # N(0, I) there and back again
        flow = flows.chain(flows.maf((8,)), flows.inverse(flows.maf((8,))))
        model = flow_prior(plain, flow)
    else:
        model = flow_posterior(plain, {'planar': flows.planar, 'iaf': flows.iaf((8,))}[name])
    params = model.init(random.key(2), x)
    exact = oracles.posterior(params, x)
    params['log_std'] = jnp.log(1.3 * jnp.sqrt(jnp.diag(exact.covariance)))
    params['V'] = params['V'] + jnp.outer(exact.mean - params['V'] @ (x - params['b']), x) / (x @ x)
    if name == 'maf prior':
        one = params['flow_prior'][0]
        params['flow_prior'] = (jax.tree.map(lambda a: 3 * a, one),) * 2
    log_w = quick_jit(lambda key: bounds.log_weights(model, params, key, x, 20_000))(KEY)
    assert_mean(jnp.exp(log_w - oracles.log_p(params, x)), 1.0)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['iaf', 'planar', 'maf prior'])
def test_evaluation_needs_no_inverse_where_there_is_none(name):
    model = CASES[name](data=small.DATA)
    params = quick_jit(model.init)(KEY, small.DATA.example)
    found = vj.nll(model, params, small.DATA.test, KEY, k=20)
    terms = vj.elbo_estimate(model, params, small.DATA.test, KEY, kl=bounds.monte_carlo)
    assert np.isfinite(found.estimate.mean) and found.estimate.mean < -terms.elbo.mean + 1
    codes = evaluation.encode(model, params, small.DATA.test)
    assert codes['mean'].shape == (25, LATENT) and np.all(np.isfinite(codes['mean']))
    assert ('log_std' in codes) == (name == 'maf prior')
    assert evaluation.sample(model, params, KEY, 3).shape == (3, *small.DATA.example.shape)


@pytest.mark.slow
def test_a_member_of_a_population_is_its_lone_run():
    model, seen = CASES['iaf, coupling prior'](data=small.DATA), batches(small.DATA, 4, 16)
    keys, lrs = random.split(KEY, 2), jnp.array([1e-2, 3e-3])
    run = lambda member, seen: trained(model, member[0], small.Hyper(lr=member[1]), seen)
    lone = quick_jit(run)((keys[1], lrs[1]), seen)
    members = quick_jit(placement.together.over(run))((keys, lrs), seen)
    for a, b in zip(*map(jax.tree.leaves, (placement.take(members, 1), lone)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_a_run_of_a_population_is_to_the_last_bit_that_of_the_member_alone():
    one = trainer(CASES['iaf, coupling prior'](data=small.DATA))
    options = {'batch': 16, 'steps': 9, 'quiet': True}
    keys, lrs = random.split(KEY, 2), np.array([1e-2, 3e-3], np.float32)
    run = vj.fit(vj.population(one, placement.in_turn), small.DATA, small.Hyper(lr=lrs), keys, **options)
    lone = vj.fit(one, small.DATA, small.Hyper(lr=float(lrs[1])), keys[1], **options)
    for a, b in zip(*map(jax.tree.leaves, (placement.take(run.params, 1), lone.params)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_bounds_of_several_samples_take_flows():
    model = CASES['iaf, coupling prior'](data=small.DATA)
    x = small.DATA.example.astype(jnp.float32)
    params = quick_jit(model.init)(KEY, x)

    @quick_jit
    def slopes(params):
        each = (bounds.iwae, bounds.dreg, bounds.vimco)
        return [jax.value_and_grad(lambda p, f=f: f(model, p, KEY, x, k=3))(params) for f in each]

    (iwae, _), *others = slopes(params)
    for value, slope in others:
        np.testing.assert_allclose(value, iwae, rtol=1e-5)
        for part in ('encode', 'decode', 'flow_posterior', 'flow_prior'):
            assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(slope[part]))


def test_contextual_is_its_base_but_for_a_context():
    family = contextual(Normal, 3)
    assert family.arity == 5 and family.support == Normal.support
    features = 0.3 * random.normal(KEY, (LATENT, 5))
    q, base = family.from_features(features), Normal.from_features(features[:, :2])
    p = Normal(jnp.zeros(LATENT), jnp.zeros(LATENT))
    z = q.sample(KEY)
    for a, b in zip(
        (z, q.log_prob(z), q.kl(p), q.mean, q.log_std, *q.sample_and_log_prob(KEY)),
        (base.sample(KEY), base.log_prob(z), base.kl(p), base.mean, base.log_std, *base.sample_and_log_prob(KEY)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(q.context, features[:, 2:].ravel())
    assert q.reparameterized and q.normalized and np.all(q.supports(z))
    full = contextual(full_normal(LATENT), 1)
    assert isinstance(full.from_features(jnp.zeros((LATENT, full.arity))).base, FullNormal)

    # without a flow it trains as its base: closed-form KL, per-dimension rates
    model = digits(family, small.DATA)
    xs = {'x': vmap(small.DATA.train.view, (None, 0))(KEY, small.DATA.train.rows['x'][:4])}
    params = quick_jit(model.init)(KEY, xs['x'][0])
    value, metrics = quick_jit(lambda p: losses.coded(model)(p, KEY, xs, small.Hyper()))(params)
    assert np.isfinite(value) and metrics['rate'] > 0


@pytest.mark.slow
def test_flows_may_be_wrapped_twice_by_another_name_and_start_as_the_bare_model():
    model = digits(WITH_CONTEXT, small.DATA)
    x = small.DATA.example.astype(jnp.float32)
    once = flow_posterior(model, flows.iaf((8,)))
    twice = flow_posterior(once, flows.iaf((8,)), name='second')
    params = quick_jit(twice.init)(KEY, x)
    assert params['second'].keys() == {'layers', 'context'} == params['flow_posterior'].keys()
    with pytest.raises(Fault, match='name='):
        flow_posterior(once, flows.iaf((8,))).init(KEY, x)
    z, log_q = twice.encode(params, x).sample_and_log_prob(KEY)
    base, log_base = model.encode(params, x).sample_and_log_prob(KEY)
    np.testing.assert_allclose(z, base, atol=0.2)
    np.testing.assert_allclose(log_q, log_base, atol=0.2)
    prior = flow_prior(once, flows.maf((8,)), base=lambda params: Normal(jnp.ones(LATENT), jnp.zeros(LATENT)))
    params = quick_jit(prior.init)(KEY, x)
    np.testing.assert_allclose(prior.prior(params).mean, 1, atol=0.2)
    assert prior.terms is None


def test_what_flows_cannot_move_is_refused_in_a_sentence():
    x = small.DATA.example.astype(jnp.float32)
    for posterior, words in (
        (Bernoulli, 'a flow moves any real number, and the posterior is over 0 or 1'),
        (PowerSpherical, 'over a unit vector'),
    ):
        with pytest.raises(Fault, match=words):
            flow_posterior(digits(posterior, small.DATA), flows.iaf()).init(KEY, x)
        with pytest.raises(Fault, match='the prior is over'):
            flow_prior(digits(posterior, small.DATA), flows.maf()).init(KEY, x)
    with pytest.raises(Fault, match='no inverse'):
        flow_prior(small.MODEL, flows.planar)
    with pytest.raises(Fault, match='1 or more'):
        contextual(Normal, 0)
    layers = small.MODEL._replace(encode=lambda params, x: Normal(jnp.zeros((2, 3)), jnp.zeros((2, 3))))
    with pytest.raises(Fault, match='one vector'):
        flow_posterior(layers, flows.iaf()).init(KEY, x)
    model = flow_posterior(small.MODEL, flows.planar)
    params = model.init(KEY, x)
    with pytest.raises(Fault, match='kl=monte_carlo'):
        bounds.elbo(model, params, KEY, x)
    with pytest.raises(Fault, match='use sample_and_log_prob'):
        bounds.sticking_the_landing(model, params, KEY, x)
    with pytest.raises(Fault, match='kl=monte_carlo'):
        prior = flow_prior(small.MODEL, flows.maf())
        bounds.elbo(prior, prior.init(KEY, x), KEY, x)

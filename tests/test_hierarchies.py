"""Latents in layers: chains by hand, hierarchies against an exact log p(x), fused terms, rates of layers."""

from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import random, vmap
from jax.scipy.stats import multivariate_normal
from jax.tree_util import Partial

import vae_jax as vj
from tests import small
from tests.statistics import assert_mean
from tests.test_priors import Hyper, digits, falls, trainer_of
from vae_jax import bounds, kernels
from vae_jax.distributions import Bernoulli, Laplace, Normal
from vae_jax.distributions.chain import Chain, as_chain, layered_kl
from vae_jax.errors import Fault
from vae_jax.models import priors
from vae_jax.models.layers import layer_rates, layer_terms
from vae_jax.models.paths import top_down
from vae_jax.models.rungs import Network, ladder, precision_weighted, relative, stacked, unmerged

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(6)
BOUNDED = vj.bounded_normal(-2.0, 1.0)  # of a layer given the next: narrow nets begin with wild scales
X = digits()['x'][0]


# ---------------------------------------------------------------- chains


def top_link(mean, before):
    return Normal(mean, jnp.zeros_like(mean))


def linked(w, before):
    return Normal(w @ before[-1], jnp.full(w.shape[0], -0.5))


def summed(w, before):
    return Normal(before[0][:1] + w @ before[1], jnp.full(1, 0.2))


W, V = jnp.array([[0.5, -1.0], [0.3, 0.2], [1.0, 0.0]]), jnp.array([[0.4, -0.2, 1.0]])
CHAIN = Chain((Partial(top_link, jnp.array([1.0, -2.0])), Partial(linked, W), Partial(summed, V)))


def test_log_prob_is_the_sum_of_conditionals_by_hand():
    z = (jnp.array([0.3, -1.0]), jnp.array([0.1, 0.2, -0.4]), jnp.array([2.0]))
    by_hand = [
        Normal(jnp.array([1.0, -2.0]), jnp.zeros(2)).log_prob(z[0]),
        Normal(W @ z[0], jnp.full(3, -0.5)).log_prob(z[1]),
        Normal(z[0][:1] + V @ z[1], jnp.full(1, 0.2)).log_prob(z[2]),
    ]
    np.testing.assert_allclose(CHAIN.log_probs(z), jnp.stack(by_hand), rtol=1e-6)
    np.testing.assert_allclose(CHAIN.log_prob(z), sum(by_hand), rtol=1e-6)


def test_samples_have_their_density_and_moments():
    z, log_p = CHAIN.sample_and_log_prob(KEY)
    np.testing.assert_allclose(CHAIN.log_prob(z), log_p, rtol=1e-6)
    for a, b in zip(z, CHAIN.sample(KEY), strict=True):
        np.testing.assert_array_equal(a, b)
    zs = jax.jit(vmap(CHAIN.sample))(random.split(KEY, 20_000))
    zs, mean = jax.tree.map(np.asarray, (zs, CHAIN.mean))
    for draws, expected in zip(zs, mean, strict=True):
        assert_mean(draws, expected)
    cov = W @ W.T + np.exp(-1.0) * np.eye(3)
    centred = zs[1] - mean[1]
    assert_mean(centred[:, :, None] * centred[:, None, :], cov)
    last = jnp.concatenate([jnp.eye(2)[:1] + V @ W], 1)
    assert_mean((zs[2] - mean[2]) ** 2, (last @ last.T + np.exp(-1.0) * V @ V.T + np.exp(0.4))[0])


def test_order_says_what_is_drawn_first():
    """p(z_2) p(z_1 | z_2): the same density as the chain of the two swapped."""
    links = (Partial(top_link, jnp.array([1.0, -2.0])), Partial(linked, W))
    forward, backward = Chain(links), Chain(links, (1, 0))
    a, b = forward.sample(KEY)
    np.testing.assert_array_equal(backward.sample(KEY)[1], a)
    np.testing.assert_allclose(backward.log_prob((b, a)), forward.log_prob((a, b)), rtol=1e-6)
    np.testing.assert_allclose(backward.log_probs((b, a)), forward.log_probs((a, b))[::-1], rtol=1e-6)
    assert backward.before(0) == {1} and backward.before(1) == set()


def test_a_chain_of_one_is_its_base():
    base = Laplace(jnp.array([0.5, 1.0]), jnp.array([-0.3, 0.4]))
    chain, (key,) = as_chain(base), random.split(KEY, 1)
    (z,), log_p = chain.sample_and_log_prob(KEY)
    np.testing.assert_array_equal(z, base.sample(key))
    np.testing.assert_allclose([chain.log_prob((z,)), log_p], base.log_prob(z), rtol=1e-6)
    np.testing.assert_array_equal(chain.mean[0], base.mean)
    assert chain.support == base.support and chain.reparameterized


def test_a_chain_is_a_pytree_and_refuses_a_batch():
    z = CHAIN.sample(KEY)
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), CHAIN)
    values = jax.jit(vmap(lambda p: p.log_prob(z)))(batch)
    np.testing.assert_allclose(values, CHAIN.log_prob(z), rtol=1e-6)
    with pytest.raises(Fault, match='vmap'):
        batch.log_prob(z)
    with pytest.raises(Fault, match='z of 2 layers'):
        CHAIN.log_prob(z[:2])
    with pytest.raises(Fault, match='name each entry'):
        Chain(CHAIN.links, (0, 1, 1))
    with pytest.raises(Fault, match='layered_kl'):
        CHAIN.kl(CHAIN)
    with pytest.raises(Fault, match='as many layers'):
        layered_kl(CHAIN, as_chain(Normal(jnp.zeros(2), jnp.zeros(2))), z, jnp.zeros(()))


def test_a_chain_is_as_pathwise_as_its_layers():
    discrete = Chain((Partial(top_link, jnp.zeros(2)), Partial(lambda w, z: Bernoulli(w @ z[0]), W)))
    assert CHAIN.reparameterized and not discrete.reparameterized
    assert discrete.support == 'any real number, then 0 or 1'
    model = vj.Model(lambda key, x: {}, lambda params: CHAIN, lambda params, x: discrete, lambda params, z: None)
    with pytest.raises(Fault, match='no gradient'):
        vj.elbo(model, {}, KEY, X)


def test_layered_kl_averages_to_the_kl_and_has_less_noise_than_the_ratio():
    other = Chain((Partial(top_link, jnp.zeros(2)), Partial(linked, W + 0.4), Partial(summed, V - 0.3)))

    def both(key):
        z, log_q = CHAIN.sample_and_log_prob(key)
        return layered_kl(CHAIN, other, z, log_q), bounds.monte_carlo(CHAIN, other, z, log_q)

    layered, ratio = jax.jit(vmap(both))(random.split(KEY, 20_000))
    assert_mean(layered - ratio, 0.0)
    assert np.std(layered) < 0.8 * np.std(ratio)
    q, p = Normal(jnp.ones(2), -jnp.ones(2)), Normal(jnp.zeros(2), jnp.zeros(2))
    z, log_q = as_chain(q).sample_and_log_prob(KEY)
    np.testing.assert_allclose(layered_kl(as_chain(q), as_chain(p), z, log_q), q.kl(p), rtol=1e-6)


# ---------------------------------------------------------------- models


def two(like=X, latents=(3, 5), width=12, **options):
    lower = vj.vae(vj.mlp_encoder((width,)), vj.mlp_decoder((width,)), latent=latents[1], like=like)
    options = {'like': jnp.zeros(latents[1]), 'likelihood': BOUNDED, **options}
    upper = vj.vae(vj.mlp_encoder((width,)), vj.mlp_decoder((width,)), latent=latents[0], **options)
    return stacked(lower, upper)


def rungs(like=X, latents=(3, 5), width=12, **options):
    nets = len(latents)
    encoders, decoders = [vj.mlp_encoder((width,))] * nets, [vj.mlp_decoder((width,))] * nets
    return ladder(encoders, decoders, latents=latents, like=like, **options)


def path(like=X, latents=(3, 5), width=12, **options):
    nets = [vj.mlp_encoder((width,))] * len(latents)
    return top_down(nets, nets, vj.mlp_decoder((width,)), latents=latents, state=(16,), like=like, **options)


def conv(features, stride=1):
    """3x3 convolutions and tanh of [h, w, c], as the (init, apply) pair that anyone may bring."""

    def init(key, x):
        return 0.2 * random.normal(key, (3, 3, x.shape[-1], features))

    return Network(init, lambda w, x: jnp.tanh(kernels.conv(x, w, stride)))


def doubling(features):
    return Network(
        lambda key, x: 0.2 * random.normal(key, (2, 2, x.shape[-1], 4 * features)),
        lambda w, x: jnp.tanh(kernels.upsample(x, w)),
    )


def image_path(like=X, **options):
    """Latents [4, 4, 2] and [8, 8, 1] of images of 8 x 8."""
    output = lambda shape: Network(conv(shape[-1]).init, lambda w, x: kernels.conv(x, w, 1))
    blocks, encoders = [doubling(6), conv(6)], [conv(6), conv(6, 2)]
    return top_down(encoders, blocks, output, latents=(2, 1), state=(4, 4, 5), like=like, **options)


def shaken(params, key=KEY, size=0.03):
    leaves, tree = jax.tree.flatten(params)
    keys = random.split(key, len(leaves))
    return tree.unflatten([leaf + size * random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)])


MODELS = {'two layers': two, 'ladder': rungs, 'top down': path, 'top down of images': image_path}
IMAGES = pytest.param('top down of images', marks=pytest.mark.slow)
FUSED = ['ladder', 'top down', IMAGES]
SOME = ['two layers', *FUSED]


class Free(NamedTuple):
    free: float


@cache
def made(name):
    """A model of these and its first params."""
    model = MODELS[name]()
    return model, jax.jit(model.init)(KEY, X)


def unfused(model):
    return model._replace(terms=None)


@pytest.mark.slow
@pytest.mark.parametrize('name', SOME)
def test_training_on_digits_lowers_the_loss(name):
    assert falls(MODELS[name](), layered_kl)


@pytest.mark.slow
@pytest.mark.parametrize('kl', [None, pytest.param(bounds.monte_carlo, marks=pytest.mark.slow)])
@pytest.mark.parametrize('name', FUSED)
def test_fused_terms_are_the_unfused_ones(name, kl):
    model = MODELS[name](**({} if kl is None else {'kl': kl}))
    params = shaken(made(name)[1])
    of = lambda m, kl: jax.jit(jax.value_and_grad(lambda p: vj.elbo(m, p, KEY, X, kl)))(params)
    fused, plain = of(model, bounds.closed_form), of(unfused(model), kl or layered_kl)
    for a, b in zip(jax.tree.leaves(fused), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(fused[1]))  # every parameter learns


LINEAR = Network(lambda key, x: {}, lambda params, x: x)


def dense(shape):
    """z -> W z + b, features [n, 2]: a linear decoder."""
    size = int(np.prod(shape))
    net = vj.Head(LINEAR, size)
    return Network(net.init, lambda params, z: net.apply(params, z).reshape(shape))


def constant_scale(head, log_std):
    """The linear layer of features [n, 2], flattened, whose log_std do not depend on the input."""
    even = jnp.arange(head['bias'].shape[0]) % 2 == 0
    kernel = jnp.where(even[None], head['kernel'], 0.0)
    return {'kernel': kernel, 'bias': jnp.where(even, 0.3, log_std)}


D, TOP, MIDDLE = 4, 2, 3


def exact_model(name):
    """A hierarchy of linear maps, its params, and its exact log p(x)."""
    like = jnp.array([0.4, -0.3, 1.0, 0.2])
    if name == 'ladder':
        model = ladder([LINEAR] * 2, [dense] * 2, latents=(TOP, MIDDLE), like=like, likelihood=Normal)
    else:
        upper = vj.vae(LINEAR, dense, latent=TOP, like=jnp.zeros(MIDDLE), likelihood=Normal)
        model = stacked(vj.vae(LINEAR, dense, latent=MIDDLE, like=like, likelihood=Normal), upper)
    params = model.init(random.key(3), like)
    fixed = lambda head, log_std: {'params': constant_scale(head['params'], log_std)}
    if name == 'ladder':
        middle, bottom = params['prior']['z2'], params['decode']
        heads = params['encode']['heads']
        heads['z1']['head'], heads['z2']['head'] = fixed(heads['z1']['head'], -0.1), fixed(heads['z2']['head'], -0.1)
    else:
        middle, bottom = params['upper']['decode'], params['decode']
        for encoder in (params['encode'], params['upper']['encode']):
            encoder['head'] = fixed(encoder['head'], -0.1)
    middle['head'], bottom['head'] = fixed(middle['head'], -0.2), fixed(bottom['head'], 0.3)
    A, a = middle['head']['params']['kernel'][:, ::2].T, middle['head']['params']['bias'][::2]
    B, b = bottom['head']['params']['kernel'][:, ::2].T, bottom['head']['params']['bias'][::2]
    between = A @ A.T + np.exp(-0.4) * np.eye(MIDDLE)
    log_p = multivariate_normal.logpdf(like, B @ a + b, B @ between @ B.T + np.exp(0.6) * np.eye(D))
    return model, params, like, float(log_p)


@pytest.mark.parametrize('name', ['ladder', 'stacked'])
def test_bounds_of_a_linear_hierarchy_approach_its_exact_log_p(name):
    model, params, x, log_p = exact_model(name)
    draws = lambda bound, n: np.asarray(jax.jit(vmap(lambda k: bound(model, params, k, x)))(random.split(KEY, n)))
    weights = np.exp(draws(partial(vj.iwae, k=1), 20_000) - log_p)
    assert_mean(weights, 1.0)
    elbos = draws(partial(vj.elbo, kl=layered_kl), 20_000)
    assert_mean(elbos - np.log(weights), log_p)  # the two ELBOs have one mean
    error = np.std(elbos) / np.sqrt(20_000)
    assert elbos.mean() < log_p - 5 * error
    gaps = [log_p - draws(partial(vj.iwae, k=k), 2000).mean() for k in (1, 8, 64)]
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] > 0


def test_models_stack_to_any_height():
    """Three stochastic layers: the prior draws the top first, the posterior the bottom."""
    lowest = vj.vae(vj.mlp_encoder((6,)), vj.mlp_decoder((6,)), latent=4, like=X)
    middle = vj.vae(vj.mlp_encoder((6,)), vj.mlp_decoder((6,)), latent=3, like=jnp.zeros(4), likelihood=Normal)
    highest = vj.vae(vj.mlp_encoder((6,)), vj.mlp_decoder((6,)), latent=2, like=jnp.zeros(3), likelihood=Normal)
    model = stacked(lowest, stacked(middle, highest))
    params = model.init(KEY, X)
    q, p = model.encode(params, X), model.prior(params)
    z, log_q = q.sample_and_log_prob(KEY)
    assert [len(z_i) for z_i in z] == [2, 3, 4] and q.order == (2, 1, 0)
    up = params['upper']['upper']
    by_hand = highest.prior(up).log_prob(z[0]) + highest.decode(up, z[0]).log_prob(z[1])
    by_hand += middle.decode(params['upper'], z[1]).log_prob(z[2])
    np.testing.assert_allclose(p.log_prob(z), by_hand, rtol=1e-5)
    by_hand = lowest.encode(params, X).log_prob(z[2]) + middle.encode(params['upper'], z[2]).log_prob(z[1])
    by_hand += highest.encode(up, z[1]).log_prob(z[0])
    np.testing.assert_allclose([log_q, q.log_prob(z)], by_hand, rtol=1e-5)
    assert np.isfinite(vj.elbo(model, params, KEY, X, layered_kl))


def test_precision_weighted_is_the_normalized_product():
    p, own = (
        Normal(jnp.array([0.5, -1.0]), jnp.array([0.2, -0.7])),
        Normal(jnp.array([2.0, 1.0]), jnp.array([-0.5, 0.9])),
    )
    q = precision_weighted(p, own)
    ratio = [q.log_prob(z) - p.log_prob(z) - own.log_prob(z) for z in jnp.array([[0.0, 0.0], [1.0, -2.0], [3.0, 0.5]])]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    sure = precision_weighted(p, Normal(own.mean, jnp.full(2, -60.0)))
    np.testing.assert_allclose(sure.mean, own.mean)
    np.testing.assert_allclose(sure.log_std, -60.0)
    vague = precision_weighted(p, Normal(own.mean, jnp.full(2, 60.0)))
    np.testing.assert_allclose([vague.mean, vague.log_std], [p.mean, p.log_std], rtol=1e-6)
    same = relative(p, Normal(jnp.zeros(2), jnp.zeros(2)))
    np.testing.assert_allclose([same.mean, same.log_std], [p.mean, p.log_std])
    assert unmerged(p, own) is own


@pytest.mark.parametrize('name', SOME)
def test_rates_of_layers_add_up_to_the_rate(name):
    model, params = made(name)

    @jax.jit
    def both(params):
        z = model.encode(params, X).sample(KEY)
        return {
            'terms': jnp.stack(vj.elbo_terms(model, params, KEY, X, layered_kl)),
            'layers': layer_terms(model, params, KEY, X),
            'by chains': layer_terms(unfused(model), params, KEY, X),
            'sampled': layer_rates(model, params, KEY, X, bounds.monte_carlo),
            'by hand': model.encode(params, X).log_probs(z) - model.prior(params).log_probs(z),
        }

    found = both(params)
    distortion, rates = found['layers']
    assert rates.shape == (2,)
    np.testing.assert_allclose(jnp.stack([distortion, rates.sum()]), found['terms'], rtol=1e-5)
    np.testing.assert_allclose(rates, found['by chains'][1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found['sampled'], found['by hand'], rtol=1e-4, atol=1e-4)


def test_a_flat_model_has_one_layer():
    params = small.MODEL.init(KEY, small.DATA.example)
    terms = vj.elbo_terms(small.MODEL, params, KEY, jnp.ones(small.DATA.example.shape))
    distortion, rates = layer_terms(small.MODEL, params, KEY, jnp.ones(small.DATA.example.shape))
    np.testing.assert_allclose([distortion, *rates], terms, rtol=1e-6)


def test_a_dead_top_layer_is_seen_in_the_rates():
    model, params = made('ladder')
    rates = jax.jit(vmap(partial(layer_rates, model), (None, 0, 0)))
    keys, xs = random.split(KEY, 16), digits()['x'][:16]
    alive = rates(params, keys, xs).mean(0)
    heads = params['encode']['heads']
    heads = {**heads, 'z1': jax.tree.map(jnp.zeros_like, heads['z1'])}
    dead = rates({**params, 'encode': {**params['encode'], 'heads': heads}}, keys, xs).mean(0)
    assert np.all(alive > 1e-3)
    assert dead[0] == 0 and dead[1] > 1e-3


@pytest.mark.parametrize('name', ['two layers', pytest.param('top down', marks=pytest.mark.slow)])
def test_free_bits_of_layers_keep_a_layer_from_paying(name):
    """sum_l max(free, mean rate of layer l) over a batch (Kingma et al. 2016, eq. 15), by the weights of losses."""
    (model, params), xs = made(name), digits()['x'][:8]

    def rate(params, free):
        _, rates = vmap(partial(layer_terms, model), (None, 0, 0))(params, random.split(KEY, 8), xs)
        return vj.losses.free_bits_mean(rates, Free(free))

    values, grads = jax.jit(vmap(jax.value_and_grad(rate), (None, 0)))(params, jnp.array([0.0, 1e4]))
    assert float(values[1]) == 2e4 and 0 < float(values[0]) < 1e4, values
    assert not any(np.any(leaf[1]) for leaf in jax.tree.leaves(grads))
    assert all(np.any(leaf[0]) for leaf in jax.tree.leaves(grads['encode']))


@pytest.mark.slow
@pytest.mark.parametrize(('model', 'name'), [('ladder', 'vampprior'), ('top down', 'mixture')])
def test_a_learned_prior_of_a_hierarchy_is_that_of_its_top(model, name):
    inner = MODELS[model]()
    wrapped = {'mixture': priors.mixture_prior, 'vampprior': priors.vampprior}[name](inner, 4)
    params = jax.jit(wrapped.init)(KEY, X)
    p, was = wrapped.prior(params), inner.prior(params)
    z = p.sample(KEY)
    top = p.layers(z)[0]
    assert isinstance(top, vj.Mixture) and wrapped.terms is None
    rest = was.log_probs(z)[1:]
    np.testing.assert_allclose(p.log_prob(z), top.log_prob(z[0]) + rest.sum(), rtol=1e-5)
    value, grads = jax.jit(jax.value_and_grad(lambda p: vj.elbo(wrapped, p, KEY, X, bounds.monte_carlo)))(params)
    assert np.isfinite(value)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(grads[{'vampprior': 'pseudo_inputs'}.get(name, name)]))


def test_the_top_of_a_stack_is_wrapped_before_it_is_stacked():
    model = two()
    with pytest.raises(Fault, match='before it is stacked'):
        jax.eval_shape(priors.vampprior(model, 3).init, KEY, X)
    lower = vj.vae(vj.mlp_encoder((6,)), vj.mlp_decoder((6,)), latent=3, like=X)
    upper = vj.vae(vj.mlp_encoder((6,)), vj.mlp_decoder((6,)), latent=2, like=jnp.zeros(3), likelihood=Normal)
    wrapped = stacked(lower, priors.vampprior(upper, 3, squash=lambda u: u))
    assert np.isfinite(jax.jit(lambda key: vj.iwae(wrapped, wrapped.init(key, X), key, X, 3))(KEY))


def test_what_does_not_fit_is_refused():
    lower = vj.vae(vj.mlp_encoder((6,)), vj.mlp_decoder((6,)), latent=3, like=X)
    with pytest.raises(Fault, match='gives any real number'):
        upper = vj.vae(vj.mlp_encoder((6,)), vj.mlp_decoder((6,)), latent=2, like=jnp.zeros(3))
        stacked(lower, upper).init(KEY, X)
    upper = vj.vae(vj.mlp_encoder((6,)), vj.mlp_decoder((6,)), latent=2, like=jnp.zeros(3), likelihood=Normal)
    with pytest.raises(Fault, match="'decode' already"):
        stacked(lower, upper, name='decode').init(KEY, X)
    with pytest.raises(Fault, match='3 latents met 2 encoders'):
        ladder([LINEAR] * 2, [dense] * 3, latents=(2, 2, 2), like=X)
    with pytest.raises(Fault, match='1 or more'):
        rungs(latents=(0, 3))
    with pytest.raises(Fault, match='no diagonal Gaussian'):
        rungs(prior=vj.VonMisesFisher)
    with pytest.raises(Fault, match='expects 0 or 1'):
        path(like=X * 7)
    with pytest.raises(Fault, match='output_bias'):
        path(output_bias=jnp.zeros(3))
    with pytest.raises(Fault, match='layer 1 has the state'):
        top_down([conv(6)] * 2, [conv(6)] * 2, dense, latents=(2, 1), state=(4, 4, 5), like=X).init(KEY, X)


@pytest.mark.slow
def test_a_member_of_a_population_is_its_lone_run():
    trainer, batch = trainer_of(path(width=6)), {'x': digits()['x'][:16]}
    begin = lambda key, lr: trainer.init(key, batch, Hyper(lr=lr))
    states = jax.jit(vmap(begin))(random.split(KEY, 3), jnp.array([1e-2, 3e-3, 1e-3]))
    together, lone = jax.jit(vmap(trainer.step, (0, None))), jax.jit(trainer.step)
    state = jax.tree.map(lambda leaf: leaf[1], states)
    for _ in range(4):
        (states, _), (state, _) = together(states, batch), lone(state, batch)
    for a, b in zip(jax.tree.leaves(states.params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_allclose(a[1], b, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['top down', pytest.param('two layers', marks=pytest.mark.slow)])
def test_a_hierarchy_is_trained_evaluated_and_sampled_like_any_model(name, tmp_path):
    model = MODELS[name](like=small.DATA.example)
    objective = vj.per_example(vj.beta_elbo(model, layered_kl))
    trainer = vj.trainer(model.init, objective, lambda hyper: optax.adam(hyper.lr))
    options = {'batch': 16, 'quiet': True, 'out': tmp_path / 'run'}
    run = vj.fit(trainer, small.DATA, small.Hyper(), KEY, steps=8, **options)
    found = vj.nll(model, run.params, small.DATA.test, KEY, k=50)
    elbo = vj.elbo_estimate(model, run.params, small.DATA.test, KEY, samples=4, kl=layered_kl)
    assert found.estimate.mean < -elbo.elbo.mean
    xs = vj.sample(model, run.params, KEY, 3)
    assert xs.shape == vj.reconstruct(model, run.params, xs.astype(jnp.float32)).shape

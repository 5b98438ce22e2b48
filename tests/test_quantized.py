"""Vector quantization: nearest codes, what learns from what, codebooks as running means, restarts, and training."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import random, vmap

import vae_jax as vj
from tests import small
from vae_jax import placement, samplers
from vae_jax.errors import Fault
from vae_jax.losses import codebooks as losing
from vae_jax.models import quantized as quantizing

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(5)
K, D, P = 6, 3, 4
X = small.DATA.example
XS = {'x': vmap(small.DATA.train.view, (None, 0))(KEY, small.DATA.train.rows['x'][:16])}
BOOKS = {'learned': quantizing.learned_codebook, 'averaged': quantizing.averaged_codebook}


class Hyper(NamedTuple):
    lr: float = 1e-2
    commitment: float = 0.25
    decay: float = 0.9


def build(**options):
    options = {'codes': K, 'dims': D, 'positions': P, 'like': X, **options}
    return quantizing.vq(vj.mlp_encoder((16,)), vj.mlp_decoder((16,)), **options)


def trainer_of(model, **options):
    optimizer = losing.following(lambda hyper: optax.adam(hyper.lr))
    return losing.restarting(vj.trainer(model.init, losing.quantized(model), optimizer), model, **options)


MODELS = {
    'learned': build(),
    'averaged': build(codebook=quantizing.averaged_codebook),
    'residual': build(levels=3, codebook=quantizing.averaged_codebook),
    'residual, learned': build(levels=2),
}
TWO = ('learned', 'residual')  # of each kind one


def nearest_by_hand(vectors, features):
    rest, hots = np.asarray(features, np.float64), []
    for book in np.asarray(vectors, np.float64):
        distances = ((rest[:, None] - book[None]) ** 2).sum(-1)
        chosen = distances.argmin(-1)
        hots.append(np.eye(len(book))[chosen])
        rest = rest - book[chosen]
    return np.stack(hots), rest


@pytest.mark.parametrize('levels', [1, 3])
def test_the_nearest_code_is_that_of_a_search_through_all(levels):
    vectors = random.normal(KEY, (levels, 11, 5))
    features = 2 * random.normal(random.key(1), (200, 5))
    hots, rest = nearest_by_hand(vectors, features)
    hot = quantizing.nearest(vectors, features)
    np.testing.assert_array_equal(hot, hots)
    codes = quantizing.look_up(vectors, hot)
    np.testing.assert_allclose(features - codes.sum(0), rest, atol=1e-5)
    np.testing.assert_allclose(quantizing.left(features, codes)[-1] - codes[-1], rest, atol=1e-5)
    if levels > 1:  # each level takes something off
        norms = np.linalg.norm(quantizing.left(features, codes), axis=-1).mean(-1)
        assert np.all(np.diff(norms) < 0)


@pytest.mark.parametrize('name', TWO)
def test_the_gradient_of_the_features_is_the_decoders_at_the_code(name):
    model = MODELS[name]
    params = model.init(KEY, X)
    q = model.encode(params, X)
    vectors = quantizing.code_vectors(params['codebook'])
    levels = vectors.shape[0]
    at = jnp.sum(quantizing.look_up(vectors, q.hot.reshape(levels, P, K)), 0)

    def distortion(features):
        moved = quantizing.Nearest(q.hot, features)
        return -model.decode(params, moved.sample(KEY)).log_prob(X)

    def decoded(code):
        logits = vj.mlp_decoder((16,))(X.shape).apply(params['decode'], code.reshape(-1))
        return -vj.Bernoulli(logits).log_prob(X)

    np.testing.assert_allclose(distortion(q.features), decoded(at), rtol=1e-5)
    np.testing.assert_allclose(jax.grad(distortion)(q.features), jax.grad(decoded)(at), rtol=1e-4, atol=1e-5)
    assert np.any(jax.grad(decoded)(at) != 0)


@pytest.mark.parametrize('name', TWO)
def test_the_bound_is_exact_and_evaluation_knows_no_difference(name):
    model = MODELS[name]
    params = model.init(KEY, X)
    n = P * quantizing.code_vectors(params['codebook']).shape[0]
    bound, nll = (
        vj.elbo_estimate(model, params, small.DATA.test, KEY),
        vj.nll(model, params, small.DATA.test, KEY, k=1),
    )
    np.testing.assert_allclose(-bound.elbo.values, nll.estimate.values, rtol=1e-5)
    np.testing.assert_allclose(bound.rate.values, n * math.log(K), rtol=1e-5)
    assert vj.sample_means(model, params, KEY, 5).shape == (5, *X.shape)
    xs = XS['x'][:3]
    means = vj.reconstruct(model, params, xs)
    np.testing.assert_allclose(means[1], model.decode(params, model.encode(params, xs[1]).mean).mean, rtol=1e-5)
    terms = vj.elbo_terms(model, params, KEY, X)
    other = vj.elbo_terms(model, params, KEY, X, vj.monte_carlo)
    np.testing.assert_allclose(terms.rate, other.rate, rtol=1e-6)


def test_a_code_elsewhere_has_no_mass_and_a_batch_is_refused():
    q = MODELS['learned'].encode(MODELS['learned'].init(KEY, X), X)
    assert q.log_prob(q.sample(KEY)) == 0
    assert q.log_prob(quantizing.Code(jnp.roll(q.hot, 1, -1))) == -jnp.inf
    batch = vmap(lambda x: MODELS['learned'].encode(MODELS['learned'].init(KEY, X), x))(XS['x'])
    with pytest.raises(Fault, match='vmap'):
        batch.log_prob(batch.mean)


def parts_moved(grads):
    return {name for name, part in grads.items() if any(np.any(leaf != 0) for leaf in jax.tree.leaves(part))}


def test_each_term_reaches_only_what_it_should():
    model = samplers.with_prior(build(), samplers.over_codes(samplers.independent(P, K)), name='prior')
    params = model.init(KEY, X)
    loss = losing.quantized(model)
    value = lambda weight: jax.grad(lambda p: loss(p, KEY, XS, Hyper(commitment=weight))[0])(params)
    metric = lambda name: jax.grad(lambda p: loss(p, KEY, XS, Hyper())[1][name])(params)
    assert parts_moved(metric('distortion')) == {'encode', 'decode'}
    assert parts_moved(metric('rate')) == {'prior'}
    assert parts_moved(metric('commitment')) == {'encode'}
    # the vectors learn from the features alone: neither the weight of commitment nor the decoder moves them
    np.testing.assert_array_equal(value(0.0)['codebook']['vectors'], value(9.0)['codebook']['vectors'])
    q = vmap(lambda x: model.encode(params, x))(XS['x'])
    hot, features = losing.by_level(q, 1)
    codes = quantizing.look_up(params['codebook']['vectors'], hot)
    pull = 2 * jnp.einsum('nk,nd->kd', hot[0], codes[0] - features) / len(XS['x'])
    np.testing.assert_allclose(value(0.0)['codebook']['vectors'][0], pull, rtol=1e-4, atol=1e-5)


def test_residual_levels_are_pulled_to_what_was_left():
    model = MODELS['residual, learned']
    params = model.init(KEY, X)
    grads = jax.grad(lambda p: losing.quantized(model)(p, KEY, XS, Hyper())[0])(params)['codebook']['vectors']
    features = vmap(lambda x: model.encode(params, x))(XS['x']).features.reshape(-1, D)
    books = np.asarray(params['codebook']['vectors'])
    hots, _ = nearest_by_hand(books, features)
    first = hots[0] @ books[0]
    pull = 2 * hots[1].T @ (hots[1] @ books[1] - (features - first)) / len(XS['x'])
    np.testing.assert_allclose(grads[1], pull, rtol=1e-3, atol=1e-4)


def test_averages_are_sgd_on_half_a_squared_distance():
    model = MODELS['averaged']
    trainer = vj.trainer(model.init, losing.quantized(model), losing.following(lambda hyper: optax.adam(hyper.lr)))
    state = trainer.init(KEY, XS, Hyper(lr=0.0))
    book = jax.tree.map(np.asarray, state.params['codebook'])
    for _ in range(3):
        q = vmap(lambda x, params=state.params: model.encode(params, x))(XS['x'])
        hot, features = (np.asarray(a, np.float64) for a in losing.by_level(q, 1))
        share, total = hot.mean(1), np.einsum('lnk,nd->lkd', hot, features) / hot.shape[1]
        book = {'usage': 0.9 * book['usage'] + 0.1 * share, 'total': 0.9 * book['total'] + 0.1 * total}
        state, metrics = trainer.step(state, XS)
        for name, expected in book.items():
            np.testing.assert_allclose(state.params['codebook'][name], expected, rtol=1e-4, atol=1e-6)
    # statistics follow at no cost: the loss is what the data cost
    told = metrics['distortion'] + metrics['rate'] + 0.25 * metrics['commitment']
    np.testing.assert_allclose(metrics['loss'], told, rtol=1e-5)


def test_running_means_settle_at_the_means_of_what_chose_them():
    model = MODELS['averaged']
    trainer = vj.trainer(model.init, losing.quantized(model), losing.following(lambda hyper: optax.sgd(0.0)))
    state = trainer.init(KEY, XS, Hyper(decay=0.5))
    book = state.params['codebook']
    far = {**book, 'total': book['total'].at[:, 2].add(100.0)}
    state = state._replace(params={**state.params, 'codebook': far})
    run = lambda state, n: jax.jit(lambda s: jax.lax.scan(lambda s, _: trainer.step(s, XS), s, length=n)[0])(state)
    soon, state = run(state, 8), run(state, 300)
    assert np.all(quantizing.code_vectors(soon.params['codebook'])[0, 2] > 50)  # what nothing uses stays where it is
    q = vmap(lambda x: model.encode(state.params, x))(XS['x'])
    hot, features = losing.by_level(q, 1)
    used = np.asarray(hot[0].sum(0)) > 0
    means = (hot[0].T @ features)[used] / hot[0].sum(0)[used, None]
    vectors = quantizing.code_vectors(state.params['codebook'])[0]
    np.testing.assert_allclose(vectors[used], means, rtol=1e-3, atol=1e-4)
    assert np.all(np.isfinite(vectors))


@pytest.mark.parametrize('name', BOOKS)
def test_dead_codes_start_anew_at_features_of_the_batch(name):
    book = BOOKS[name](KEY, 2, K, D)
    book = {**book, 'usage': book['usage'].at[0, 1].set(0.0).at[1, 4].set(0.09 / K)}
    inputs = random.normal(random.key(8), (2, 30, D))
    new, count = losing.restarted(book, KEY, inputs, 0.1)
    assert count == 2
    old, vectors = quantizing.code_vectors(book), quantizing.code_vectors(new)
    dead = np.zeros((2, K), bool)
    dead[0, 1] = dead[1, 4] = True
    np.testing.assert_array_equal(old[~dead], vectors[~dead])
    for level, code in ((0, 1), (1, 4)):
        distance = np.abs(np.asarray(inputs[level] - vectors[level, code][None])).max(-1)
        assert distance.min() < 1e-6
        assert new['usage'][level, code] == pytest.approx(1 / K)
    again, _ = losing.restarted(book, KEY, inputs, 0.1)
    for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    same, none = losing.restarted(book, KEY, inputs, 0.0)
    assert none == 0 and all(np.array_equal(same[leaf], book[leaf]) for leaf in book)


def test_restarts_bring_far_vectors_back_into_use():
    """All vectors but one start far away: without restarts the others are never found."""

    def far(key, levels, codes, dims):
        book = quantizing.averaged_codebook(key, levels, codes, dims)
        return {**book, 'total': book['total'].at[:, 1:].add(100.0)}

    model = build(codebook=far)
    used = {}
    for share in (0.0, 0.3):
        trainer = trainer_of(model, share=share)
        state, seen = vj.overfit(trainer, small.DATA.train, Hyper(), KEY, steps=150)
        used[share] = float(seen['used'][-1])
        assert np.any(np.asarray(seen['restarted'])) == (share > 0)
    assert used[0.0] == 1 and used[0.3] >= 4


@pytest.mark.parametrize('name', TWO)
def test_the_loss_falls_and_codes_are_used(name):
    model = MODELS[name]
    state, seen = vj.overfit(trainer_of(model), small.DATA.train, Hyper(), KEY, steps=200)
    assert np.all(np.isfinite(seen['loss']))
    assert np.mean(seen['distortion'][-20:]) < 0.8 * seen['distortion'][0]
    assert seen['used'][-1] >= 3 and 1 < seen['perplexity'][-1] <= K
    assert set(seen) == {'loss', 'distortion', 'rate', 'commitment', 'perplexity', 'used', 'restarted'}


def test_perplexity_counts_codes():
    even, one = jnp.eye(4)[jnp.arange(8) % 4], jnp.eye(4)[jnp.zeros(8, int)]
    for hot, expected in ((even, 4.0), (one, 1.0), (jnp.stack([even, one]), 2.5)):
        told = losing.code_usage(hot)
        assert float(told['perplexity']) == pytest.approx(expected, rel=1e-5) and float(told['used']) == expected


@pytest.mark.slow
def test_a_member_is_its_lone_run_and_a_run_goes_on_as_if_never_stopped():
    trainer = trainer_of(MODELS['averaged'], share=0.5)
    keys = random.split(KEY, 3)
    hyper = Hyper(lr=np.array([1e-2, 3e-3, 1e-2], np.float32), decay=np.array([0.9, 0.5, 0.99], np.float32))
    lone = Hyper(lr=3e-3, decay=0.5)
    crew = vj.population(trainer, placement.in_turn)
    states = vj.start(crew, small.DATA.train, hyper, keys, batch=16)
    states, _ = vj.advance(crew, states, small.DATA.train, keys, steps=14, batch=16)
    state = vj.start(trainer, small.DATA.train, lone, keys[1], batch=16)
    restarted = 0.0
    for steps in (5, 9):
        state, seen = vj.advance(trainer, state, small.DATA.train, keys[1], steps=steps, batch=16)
        restarted += seen['restarted'].sum()
    assert restarted > 0
    for a, b in zip(jax.tree.leaves(placement.take(states.params, 1)), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


class Grid(NamedTuple):
    """Means of 2 x 1 pixels as features [3, 5, 1], and back."""

    def init(self, key, x):
        return {}

    def apply(self, params, x):
        return x.reshape(3, 2, 5, -1).mean(1) if x.shape[0] == 6 else jnp.repeat(x.sum(-1, keepdims=True), 2, 0)


def test_a_grid_of_features_is_a_grid_of_positions():
    model = quantizing.vq(Grid(), lambda shape: Grid(), codes=K, dims=2, like=X)
    params = model.init(KEY, X)
    assert model.encode(params, X).features.shape == (15, 2) and model.encode(params, X).hot.shape == (15, K)
    assert model.decode(params, model.prior(params).sample(KEY)).mean.shape == X.shape
    other = X.at[0, 0].set(1 - X[0, 0])
    same = model.encode(params, X).features == model.encode(params, other).features
    assert np.all(same[1:]) and not np.any(same[0])  # a position looks at its own place


def test_what_cannot_work_is_refused():
    for options in ({'codes': 1}, {'dims': 0}, {'positions': 0}, {'levels': 0}):
        with pytest.raises(Fault, match=next(iter(options))):
            build(**options)
    with pytest.raises(Fault, match='places'):
        quantizing.vq(Grid(), lambda shape: Grid(), codes=K, dims=2, positions=3, like=X)
    with pytest.raises(Fault, match='0 or 1'):
        build(like=X + 0.5)
    with pytest.raises(Fault, match='vmap'):
        MODELS['learned'].encode(MODELS['learned'].init(KEY, X), XS['x'])

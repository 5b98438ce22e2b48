"""Wake and sleep: fixed points, exact gradients by quadrature, and who learns from which term."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import random, vmap
from jax.scipy.special import logsumexp

import vae_jax as vj
from tests import oracles, short
from tests.short import moved
from tests.statistics import assert_mean
from vae_jax import bounds, losses
from vae_jax.distributions import Bernoulli
from vae_jax.errors import Fault
from vae_jax.losses import dreams as ws
from vae_jax.models import Model

N = 20_000
MODEL = oracles.linear_gaussian(latent=1, dims=3)
X = jnp.array([0.5, -1.0, 0.7])
START = MODEL.init(random.key(2), X)
PARAMS = {**START, 'V': START['V'] + 0.4, 'log_std': jnp.array([-0.1])}
PAIR = oracles.linear_gaussian(latent=2, dims=4)
EXACT = oracles.with_exact_encoder(oracles.rotated(PAIR.init(random.key(2), jnp.zeros(4))))


class Hyper(NamedTuple):
    lr: float = 1e-3


def mean_of(f, params, n=N):
    """Gradients [n, ...] of f(params, key), by name."""
    return jax.jit(vmap(lambda key: jax.grad(lambda p: f(p, key))(params)))(random.split(random.key(1), n))


def test_the_sleep_phase_rests_at_the_exact_posterior_and_not_beside_it():
    grads = mean_of(lambda p, key: ws.sleep(PAIR, p, key), EXACT)
    for part in ('V', 'log_std', 'b'):
        assert np.std(grads[part]) > 0.1
        assert_mean(grads[part], jnp.zeros_like(EXACT[part]))
    for part in ('W', 'log_s'):  # a dream teaches q alone
        assert not np.any(grads[part])
    near = {**EXACT, 'V': 0.8 * EXACT['V']}
    with pytest.raises(AssertionError):
        assert_mean(mean_of(lambda p, key: ws.sleep(PAIR, p, key), near)['V'], jnp.zeros_like(EXACT['V']))


def test_the_wake_phase_at_the_exact_posterior_follows_log_p():
    x = jnp.array([0.5, -1.0, 2.0, 0.3])
    objective = ws.wake_sleep(PAIR)
    grads = mean_of(lambda p, key: objective(p, key, x, None)[1]['wake'], EXACT)
    exact = jax.grad(lambda p: -oracles.log_p(p, x))(EXACT)
    for part in ('W', 'log_s', 'b'):
        assert_mean(grads[part], exact[part])
    assert not np.any(grads['V']) and not np.any(grads['log_std'])


def exact_gradients():
    """Of two samples: E sum v_i dlog p(x, z_i) and E sum v_i dlog q(z_i|x), by Gauss-Hermite quadrature in float64."""
    with jax.enable_x64(True):
        points, weights = np.polynomial.hermite_e.hermegauss(80)
        mass = jnp.asarray(weights / weights.sum())
        params, x = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), jnp.float64), (PARAMS, X))
        held = MODEL.encode(params, x)
        zs = vmap(lambda e: held.mean + jnp.exp(held.log_std) * e)(jnp.asarray(points))
        log_w = vmap(lambda z: bounds.log_weight(MODEL, params, held, z, x))(zs)
        share = jnp.exp(log_w[:, None] - jnp.logaddexp(log_w[:, None], log_w[None]))  # of the first of the two
        each = 2 * mass * (share @ mass)  # both samples are alike

        p = lambda params: -each @ vmap(lambda z: ws.log_joint(MODEL, params, z, x))(zs)
        q = lambda params: -each @ vmap(MODEL.encode(params, x).log_prob)(zs)
        return jax.tree.map(lambda a: np.asarray(a, np.float32), (jax.grad(p)(params), jax.grad(q)(params)))


def test_reweighted_gradients_average_to_the_exact_ones():
    for_p, for_q = exact_gradients()
    objective = ws.reweighted_wake_sleep(MODEL, k=2, dreams=0.0)
    grads = mean_of(lambda p, key: objective(p, key, X, None)[0], PARAMS)
    for part in PARAMS:
        assert_mean(grads[part], for_p[part] + for_q[part])
    assert max(np.abs(for_q[part]).max() for part in ('V', 'log_std')) > 0.05
    # p learns as it does under IWAE of as many samples
    iwae = mean_of(lambda p, key: -bounds.iwae(MODEL, p, key, X, 2), PARAMS)
    for part in ('W', 'log_s'):
        assert_mean(iwae[part], for_p[part])


def test_the_phases_of_q_add_up_by_their_shares():
    key = random.key(4)
    loss = lambda p, dreams: ws.reweighted_wake_sleep(MODEL, 4, dreams)(p, key, X, None)[0]
    value = lambda dreams: jax.jit(jax.grad(loss), static_argnums=1)(PARAMS, dreams)
    wake, both, dream = value(0.0), value(0.5), value(1.0)
    for part in PARAMS:
        np.testing.assert_allclose(both[part], 0.5 * (wake[part] + dream[part]), rtol=1e-5, atol=1e-6)
    _, metrics = ws.reweighted_wake_sleep(MODEL, 4)(PARAMS, key, X, None)
    log_w = bounds.log_weights(MODEL, PARAMS, random.split(key)[0], X, 4)
    np.testing.assert_allclose(metrics['bound'], logsumexp(log_w) - np.log(4.0), rtol=1e-6)


def discrete():
    """z in {0, 1}^2 with logits V x, x in {0, 1}^3."""
    return Model(
        MODEL.init,
        prior=lambda params: Bernoulli(params['c']),
        encode=lambda params, x: Bernoulli(params['V'] @ (2 * x - 1)),
        decode=lambda params, z: Bernoulli(params['W'] @ (2 * z - 1) + params['b']),
    )


SHAPES = {'V': (2, 3), 'W': (3, 2), 'b': (3,), 'c': (2,)}
BITS = {name: random.normal(random.key(i), shape) for i, (name, shape) in enumerate(SHAPES.items())}


def test_a_discrete_posterior_dreams_by_sums_over_all_values():
    model = discrete()
    zs, xs = (jnp.array(list(itertools.product([0.0, 1.0], repeat=n))) for n in (2, 3))
    joint = lambda params: vmap(lambda z: vmap(lambda x: ws.log_joint(model, params, z, x))(xs))(zs)
    mass = jnp.exp(joint(BITS))
    log_q = lambda params: vmap(lambda z: vmap(lambda x: model.encode(params, x).log_prob(z))(xs))(zs)
    exact = jax.jit(jax.grad(lambda p: -jnp.sum(mass * log_q(p))))(BITS)
    grads = mean_of(lambda p, key: ws.sleep(model, p, key), BITS)
    for part in BITS:
        assert_mean(grads[part], exact[part])


def test_a_discrete_model_learns_by_wake_and_sleep():
    """Exact log p over the data's eight patterns rises, and q comes nearer to the posterior than it was."""
    model, zs = discrete(), jnp.array(list(itertools.product([0.0, 1.0], repeat=2)))
    data = {'x': jnp.tile(jnp.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]), (16, 1))}
    objective = ws.reweighted_wake_sleep(model, k=8)
    optimizer = lambda hyper: optax.adam(hyper.lr)
    trainer = vj.trainer(lambda key, x: BITS, losses.per_example(objective), optimizer)
    run = jax.jit(lambda s: jax.lax.scan(lambda s, _: trainer.step(s, data), s, length=400))
    state, metrics = run(trainer.init(random.key(0), data, Hyper(lr=3e-2)))

    def log_p_and_gap(params, x):
        log_joint = vmap(lambda z: ws.log_joint(model, params, z, x))(zs)
        log_q = vmap(model.encode(params, x).log_prob)(zs)
        log_p = logsumexp(log_joint)
        return log_p, jnp.exp(log_joint - log_p) @ (log_joint - log_p - log_q)

    told = lambda params: [float(jnp.mean(v)) for v in vmap(lambda x: log_p_and_gap(params, x))(data['x'])]
    (before, far), (after, near) = told(BITS), told(state.params)
    assert after > before + 0.5 and near < 0.5 * far
    assert np.all(np.isfinite(metrics['loss']))


def test_shared_params_learn_in_each_term_as_the_density_it_names():
    """A prior at the encoder's own mean of an input: it learns from p in the wake term, and not from the weights."""
    base = discrete()
    shared = base._replace(prior=lambda params: base.encode(params, jnp.ones(3)))
    x, key = jnp.array([1.0, 0.0, 1.0]), random.key(5)
    objective = ws.reweighted_wake_sleep(shared, k=3)
    terms = jax.jit(jax.jacrev(lambda p: objective(p, key, x, None)[1]))(BITS)
    learns = {name: moved(terms[name]) for name in ('wake', 'wake_q', 'sleep')}
    assert learns == {'wake': {'V', 'W', 'b'}, 'wake_q': {'V'}, 'sleep': {'V'}}
    alone = ws.reweighted_wake_sleep(base, k=3)
    assert moved(jax.jit(jax.grad(lambda p: alone(p, key, x, None)[1]['wake']))(BITS)) == {'W', 'b', 'c'}


@pytest.mark.slow
def test_a_few_steps_on_digits_and_a_member_is_its_lone_run():
    data = vj.data.load('digits')
    xs = {'x': vmap(data.train.view, (None, 0))(random.key(0), data.train.rows['x'][:12])}
    model = vj.vae(vj.mlp_encoder((16,)), vj.mlp_decoder((16,)), latent=4, like=data.example, posterior=Bernoulli)
    model = model._replace(prior=lambda params: Bernoulli(jnp.zeros(4)))
    adam = lambda hyper: optax.adam(hyper.lr)
    made = lambda objective: vj.trainer(model.init, losses.per_example(objective), adam)
    short.steps(made(ws.wake_sleep(model)), xs, random.key(3), Hyper())
    short.assert_a_member_is_its_lone_run(made(ws.reweighted_wake_sleep(model, 4)), xs, random.key(3), Hyper())


def test_bad_numbers_are_refused():
    for k, dreams, said in ((0, 1.0, '1 or more'), (2, 1.5, 'share'), (1, 0.5, 'reweighted')):
        with pytest.raises(Fault, match=said):
            ws.reweighted_wake_sleep(MODEL, k, dreams)

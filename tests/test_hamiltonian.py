"""Leapfrog posteriors: volumes, the way back, densities of samples, and bounds that are tighter for the dynamics."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import random, vmap
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

import vae_jax as vj
from tests import oracles, small
from tests.families import quick_jit
from tests.statistics import assert_mean
from vae_jax import bounds
from vae_jax.distributions import Normal
from vae_jax.errors import Fault
from vae_jax.models import mixture_prior
from vae_jax.models.base import check_fit
from vae_jax.models.leapfrog import Leapfrogged, hamiltonian, heats, leapfrog, leapfrog_back

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(7)
N = 20_000
PLAIN = oracles.linear_gaussian(2, 3)
X = jnp.array([0.5, -1.0, 0.7])
START = PLAIN.init(random.key(2), X)
POOR = {**START, 'V': START['V'] + 0.4}  # an encoder that is off
STEP, HEAT = jnp.array([0.2, 0.05]), heats(jnp.array(0.6), 4)


def bent(w, z):
    """A potential that is not quadratic."""
    return jnp.sum(0.5 * z**2 + w * jnp.sin(2 * z)) + 0.3 * jnp.prod(z)


ENERGY = Partial(bent, jnp.array([0.7, -0.5]))


def values(model, params, x=X, n=N):
    """n one-sample bounds."""
    draw = lambda key: bounds.elbo(model, params, key, x, bounds.monte_carlo)
    return np.asarray(quick_jit(vmap(draw))(random.split(KEY, n)), np.float64)


def test_heats_fall_from_the_first_to_one():
    found = heats(jnp.array(0.6), 4)
    k = np.arange(5) / 4
    first = np.exp(0.6)
    # 1 / sqrt(beta_k) = (1 - 1 / sqrt(beta_0)) k^2 / K^2 + 1 / sqrt(beta_0)
    np.testing.assert_allclose(found, (1 - first) * k**2 + first, rtol=1e-6)
    np.testing.assert_array_equal(heats(jnp.zeros(()), 0), [1.0])


def test_the_volume_changes_by_the_tempering_alone_and_leapfrog_goes_back():
    with jax.enable_x64(True):
        wide = lambda a: jnp.asarray(np.asarray(a), jnp.float64)
        energy, step, heat = jax.tree.map(wide, (ENERGY, STEP, HEAT))
        start = wide([0.4, -1.1, 0.3, 2.0])
        flat = lambda f: lambda s: jnp.concatenate(f(energy, step, heat, s[:2], s[2:]))
        end = flat(leapfrog)(start)
        log_det = np.linalg.slogdet(np.asarray(jax.jacfwd(flat(leapfrog))(start)))[1]
        np.testing.assert_allclose(log_det, 2 * np.log(heat[-1] / heat[0]), atol=1e-12)
        np.testing.assert_allclose(flat(leapfrog_back)(end), start, atol=1e-12)
        assert np.min(np.abs(end - start)) > 0.01


def test_untempered_dynamics_keep_energy_to_the_second_order_of_the_step():
    def drift(shrink):
        steps = 8 * shrink
        z, momentum = jnp.array([0.4, -1.1]), jnp.array([0.3, 1.0])
        total = lambda z, momentum: ENERGY(z) + 0.5 * jnp.sum(momentum**2)
        end = leapfrog(ENERGY, jnp.full(2, 0.2 / shrink), jnp.ones(steps + 1), z, momentum)
        return abs(float(total(*end) - total(z, momentum)))

    assert drift(4) < drift(1) / 8


def test_densities_are_those_of_the_samples_and_by_the_way_back_the_same():
    q = Leapfrogged(Normal(jnp.array([0.3, -0.2]), jnp.array([-0.5, 0.1])), ENERGY, STEP, HEAT)
    z, log_q = q.sample_and_log_prob(KEY)
    np.testing.assert_array_equal(q.sample(KEY)['momentum'], z['momentum'])
    zs, log_qs = quick_jit(vmap(q.sample_and_log_prob))(random.split(KEY, N))
    flat = vmap(lambda z: ravel_pytree(z)[0])(zs)
    narrow = Normal(jnp.mean(flat, 0), jnp.log(0.5 * jnp.std(flat, 0)))
    assert_mean(jnp.exp(vmap(narrow.log_prob)(flat) - log_qs), 1.0)
    np.testing.assert_allclose(vmap(q.log_prob)(zs), log_qs, atol=1e-3)
    assert q.reparameterized and np.all(q.supports(z)) and q.mean['position'].shape == (2,)


def test_zero_steps_leave_the_models_bound_as_it_is():
    model = hamiltonian(PLAIN, 0)
    params = {**POOR, 'hamiltonian': model.init(KEY, X)['hamiltonian']}
    found = bounds.elbo(model, params, KEY, X, bounds.monte_carlo)
    expected = bounds.elbo(PLAIN, POOR, random.split(KEY)[0], X, bounds.monte_carlo)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert_mean(values(model, params), oracles.elbo(POOR, PLAIN.encode(POOR, X), X))


def test_every_step_makes_the_bound_of_a_poor_encoder_tighter_and_none_passes_log_p():
    bound, error = [float(oracles.elbo(POOR, PLAIN.encode(POOR, X), X))], [0.0]
    for steps in (2, 6):
        model = hamiltonian(PLAIN, steps, step=0.25, beta=0.5)
        found = values(model, {**POOR, 'hamiltonian': model.init(KEY, X)['hamiltonian']})
        bound, error = [*bound, found.mean()], [*error, found.std() / np.sqrt(N)]
    gains = np.diff(bound)
    assert np.all(gains > 5 * np.hypot(error[:-1], error[1:])), (bound, error)
    assert bound[-1] < oracles.log_p(POOR, X)


def test_steps_and_temperature_start_where_asked_and_learn():
    model = hamiltonian(PLAIN, 3)
    params = {**POOR, 'hamiltonian': model.init(KEY, X)['hamiltonian']}
    np.testing.assert_allclose(0.5 * jax.nn.sigmoid(params['hamiltonian']['step']), 0.1, rtol=1e-5)
    np.testing.assert_allclose(jax.nn.sigmoid(params['hamiltonian']['beta']), 0.3, rtol=1e-5)
    optimizer = optax.adam(0.05)
    mean = lambda part, keys: (
        -jnp.mean(
            vmap(lambda key: bounds.elbo(model, {**params, 'hamiltonian': part}, key, X, bounds.monte_carlo))(keys)
        )
    )

    @jax.jit
    def learn(part):
        def step(carry, key):
            part, state = carry
            value, grads = jax.value_and_grad(mean)(part, random.split(key, 64))
            updates, state = optimizer.update(grads, state)
            return (optax.apply_updates(part, updates), state), value

        return jax.lax.scan(step, (part, optimizer.init(part)), random.split(KEY, 150))

    (part, _), _ = learn(params['hamiltonian'])
    learned, before = {**params, 'hamiltonian': part}, values(model, params)
    after = values(model, learned)
    assert after.mean() - before.mean() > 5 * np.hypot(after.std(), before.std()) / np.sqrt(N)


def test_importance_weights_average_to_p_of_x():
    good = oracles.with_exact_encoder(oracles.rotated(START))
    off = {**good, 'V': good['V'] + 0.05, 'log_std': good['log_std'] + 0.3}  # weights of a poor q have no mean to see
    model = hamiltonian(PLAIN, 3)
    params = {**off, 'hamiltonian': model.init(KEY, X)['hamiltonian']}
    weigh = lambda key: bounds.log_weights(model, params, key, X, 1)[0]
    w = jnp.exp(quick_jit(vmap(weigh))(random.split(KEY, N)) - oracles.log_p(START, X))
    assert_mean(w, 1.0)
    assert np.std(w) < 5


def test_the_landing_sticks_where_the_density_goes_the_way_back():
    model = hamiltonian(PLAIN, 3)
    params = {**POOR, 'hamiltonian': model.init(KEY, X)['hamiltonian']}
    both = quick_jit(
        lambda key: [
            jax.grad(f)(params)['V']
            for f in (
                lambda p: bounds.elbo(model, p, key, X, bounds.monte_carlo),
                lambda p: bounds.sticking_the_landing(model, p, key, X),
            )
        ]
    )
    plain, stuck = vmap(both)(random.split(KEY, 4000))
    error = np.hypot(np.std(plain, 0), np.std(stuck, 0)) / np.sqrt(4000)
    assert np.all(np.abs(np.mean(plain, 0) - np.mean(stuck, 0)) < 5 * error)


@pytest.mark.slow
def test_a_network_learns_as_one_and_all_of_its_parts_have_gradients():
    model = hamiltonian(small.MODEL, 2)
    xs = vmap(small.DATA.train.view, (None, 0))(KEY, small.DATA.train.rows['x'][:8])
    params = model.init(KEY, xs[0])
    check_fit(jax.eval_shape(model.encode, params, xs[0]), model.prior(params))
    loss = vj.per_example(vj.beta_elbo(model, bounds.monte_carlo))
    traces = []

    @quick_jit
    def found(params, key):
        traces.append(1)
        return jax.value_and_grad(loss, has_aux=True)(params, key, {'x': xs}, small.Hyper())

    (value, metrics), grads = found(params, KEY)
    assert np.isfinite(value) and np.isfinite(metrics['rate'])
    for leaf in jax.tree.leaves(grads):
        assert np.all(np.isfinite(leaf)) and np.any(leaf != 0)
    members = vmap(lambda key: model.init(key, xs[0]))(random.split(KEY, 2))
    lone, _ = found(jax.tree.map(lambda leaf: leaf[1], members), KEY)
    assert len(traces) == 1
    together = quick_jit(vmap(lambda p: loss(p, KEY, {'x': xs}, small.Hyper())[0]))(members)
    np.testing.assert_allclose(together[1], lone[0], rtol=1e-5)


@pytest.mark.slow
def test_it_trains_on_digits():
    data = vj.data.load('digits')
    encoder, decoder = vj.mlp_encoder((64,)), vj.mlp_decoder((64,))
    plain = vj.vae(encoder, decoder, latent=4, like=data.example)
    rows = data.train.rows['x'][:1024]
    batch = {'x': vmap(data.train.view)(random.split(KEY, 1024), rows)}

    def trained(model):
        loss = vj.per_example(vj.beta_elbo(model, bounds.monte_carlo))
        params, optimizer = model.init(KEY, data.example), optax.adam(3e-3)

        @jax.jit
        def step(carry, key):
            params, state = carry
            at = random.choice(key, 1024, (64,), replace=False)
            (value, _), grads = jax.value_and_grad(loss, has_aux=True)(
                params, key, {'x': batch['x'][at]}, small.Hyper()
            )
            updates, state = optimizer.update(grads, state)
            return (optax.apply_updates(params, updates), state), value

        _, losses = jax.lax.scan(step, (params, optimizer.init(params)), random.split(KEY, 400))
        return np.asarray(losses)

    losses = trained(hamiltonian(plain, 3))
    assert np.all(np.isfinite(losses)) and losses[-50:].mean() < 0.8 * losses[:10].mean()
    assert losses[-50:].mean() < trained(plain)[-50:].mean() + 1.0


def test_priors_that_learn_are_part_of_the_energy():
    model = hamiltonian(mixture_prior(PLAIN, 3), 2)
    params = model.init(KEY, X)
    grads = jax.grad(lambda p: bounds.elbo(model, p, KEY, X, bounds.monte_carlo))(params)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(grads['mixture']))


def test_what_cannot_work_is_refused():
    model = hamiltonian(PLAIN, 2)
    params = model.init(KEY, X)
    q = model.encode(params, X)
    qs = vmap(lambda x: model.encode(params, x))(jnp.stack([X, X]))
    sphere = vj.vae(
        vj.mlp_encoder((8,)), vj.mlp_decoder((8,)), latent=3, like=X > 0, posterior=vj.distributions.PowerSpherical
    )
    for f, words in (
        (lambda: hamiltonian(PLAIN, -1), '0 or more steps'),
        (lambda: hamiltonian(PLAIN, 1, step=0.6), 'step < longest'),
        (lambda: hamiltonian(PLAIN, 1, beta=1.0), 'beta < 1'),
        (lambda: hamiltonian(model, 1).init(KEY, X), 'real numbers'),
        (lambda: hamiltonian(sphere, 1).init(KEY, (X > 0).astype(jnp.float32)), 'real numbers'),
        (lambda: qs.log_prob(q.sample(KEY)), 'vmap'),
        (lambda: q.log_prob(jnp.zeros(2)), 'shape'),
        (lambda: q.log_prob({'position': jnp.zeros(3), 'momentum': jnp.zeros(3)}), 'shape'),
        (lambda: bounds.elbo(model, params, KEY, X), 'no closed form'),
    ):
        with pytest.raises(Fault, match=words):
            f()

"""Flows against their Jacobians, their inverses and their integrals; Flowed distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax, random, vmap

from tests.families import quick_jit
from tests.statistics import assert_mean
from vae_jax import flows, networks
from vae_jax.distributions import Bernoulli, Normal
from vae_jax.errors import Fault

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(3)
D, N = 4, 3
SMALL = networks.mlp_encoder((8,))
CASES = {  # flow, whether it has a context
    'identity': (flows.identity, False),
    'reverse': (flows.reverse, False),
    'planar': (flows.planar, False),
    'planar of 3': (flows.chain(*[flows.planar] * 3), False),
    'amortized planar': (flows.amortized_planar, True),
    'affine': (flows.affine_coupling(SMALL), False),
    'affine of 2, context': (flows.stacked(flows.affine_coupling(SMALL), 2), True),
    'spline': (flows.spline_coupling(SMALL, bins=5, bound=3.0), False),
    'spline of 2, context': (flows.stacked(flows.spline_coupling(SMALL, bins=4), 2), True),
    'iaf': (flows.iaf((16,)), False),
    'iaf of 3, context': (flows.stacked(flows.iaf((16, 16)), 3), True),
    'maf': (flows.maf((16,)), False),
    'maf of 2, context': (flows.stacked(flows.maf((16,)), 2), True),
    'inverse of iaf': (flows.inverse(flows.iaf((16,))), False),
}


def moved(params, size=0.3):
    """params away from where they start, which is the identity."""
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(7)
    return tree.unflatten([a + jnp.asarray(size * rng.normal(size=a.shape), a.dtype) for a in leaves])


def made(name, size=0.3, d=D, dtype=jnp.float32):
    """(flow, params, z, h) of a case."""
    flow, has_context = CASES[name]
    z = 0.9 * random.normal(random.key(5), (d,), dtype)
    h = random.normal(random.key(6), (N,), dtype) if has_context else None
    return flow, moved(quick_jit(flow.init)(KEY, z, h), size), z, h


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('dtype, atol', [(jnp.float32, 3e-5), (jnp.float64, 1e-10)])
def test_log_determinants_are_those_of_the_jacobian_and_inverses_go_back(name, dtype, atol):
    with jax.enable_x64(dtype == jnp.float64):
        flow, params, z, h = made(name, dtype=dtype)

        def all_of(params, z, h):
            y, log_det = flow.forward(params, z, h)
            jacobian = jax.jacfwd(lambda z: flow.forward(params, z, h)[0])(z)
            back = flow.inverse(params, y, h) if flow.inverse else None
            return y, log_det, jacobian, back

        y, log_det, jacobian, back = quick_jit(all_of)(params, z, h)
        assert y.dtype == dtype and np.shape(log_det) == ()
        np.testing.assert_allclose(log_det, np.linalg.slogdet(np.asarray(jacobian, np.float64))[1], atol=10 * atol)
        if name not in ('identity', 'reverse'):
            assert np.max(np.abs(y - z)) > 0.01  # so that there is something to go back from
        if back is not None:
            np.testing.assert_allclose(back[0], z, atol=100 * atol)
            np.testing.assert_allclose(back[1], -log_det, atol=100 * atol)


@pytest.mark.parametrize('name', [name for name in CASES if name != 'reverse' and ' of ' not in name])
def test_a_flow_starts_near_the_identity(name):
    flow, params, z, h = made(name, size=0.0)
    y, log_det = flow.forward(params, z, h)
    np.testing.assert_allclose(y, z, atol=0.1)
    np.testing.assert_allclose(log_det, 0, atol=0.1)


def test_autoregressive_jacobians_are_triangular_and_full():
    for name in ('iaf', 'maf'):
        flow, params, z, _ = made(name)
        for f in (flow.forward, flow.inverse):
            jacobian = np.asarray(quick_jit(jax.jacfwd(lambda z, p, f=f: f(p, z)[0]))(z, params))
            assert np.all(np.triu(jacobian, 1) == 0)
            assert np.all(jacobian[np.tril_indices(D)] != 0)
    assert all(np.all(np.diag(m[:, : m.shape[1] // 2]) == 0) for m in flows.made_masks(D, ()))


@pytest.mark.parametrize('d, hidden', [(1, (3,)), (4, (4,)), (5, (8, 6)), (7, (7, 14, 7))])
def test_made_connects_each_entry_to_all_before_it_and_to_no_other(d, hidden):
    masks = flows.made_masks(d, hidden, arity=3)
    paths = np.linalg.multi_dot([*masks, np.eye(3 * d)]) if len(masks) > 1 else masks[0]
    for features in np.split(paths, 3, axis=1):
        np.testing.assert_array_equal(features > 0, np.triu(np.ones((d, d)), 1) > 0)


def test_the_first_entry_learns_of_the_context():
    flow, params, z, h = made('iaf of 3, context')
    one = CASES['iaf'][0]
    params = moved(one.init(KEY, z, h))
    slope = jax.jacfwd(lambda h: one.forward(params, z, h)[0])(h)
    assert np.all(np.any(np.asarray(slope) != 0, 1))


def test_identities_of_chains():
    flow, params, z, h = made('affine')
    for other, other_params in (
        (flows.chain(flow), (params,)),
        (flows.chain(flows.identity, flow, flows.identity), ({}, params, {})),
        (flows.chain(flows.reverse, flows.reverse, flow), ({}, {}, params)),
        (flows.inverse(flows.inverse(flow)), params),
        (flows.stacked(flow, 1), (params,)),
    ):
        for a, b in zip(flow.forward(params, z), other.forward(other_params, z)):
            np.testing.assert_array_equal(a, b)
    there = flows.chain(flow, flows.inverse(flow))
    y, log_det = there.forward((params, params), z)
    np.testing.assert_allclose(y, z, atol=1e-5)
    np.testing.assert_allclose(log_det, 0, atol=1e-6)
    np.testing.assert_array_equal(flows.chain().forward((), z)[0], z)


def test_equal_arguments_make_equal_flows_and_no_new_trace():
    make = [
        flows.iaf,
        lambda: flows.maf([8, 8]),
        lambda: flows.affine_coupling(networks.mlp_encoder((8,))),
        lambda: flows.spline_coupling(bins=4, bound=2),
        lambda: flows.stacked(flows.chain(flows.iaf(), flows.planar), 2),
        lambda: flows.inverse(flows.iaf()),
    ]
    for f in make:
        assert f() == f() and hash(f()) == hash(f())
    assert flows.iaf() != flows.maf() and flows.spline_coupling(bins=4) != flows.spline_coupling(bins=5)

    traces = []
    z = jnp.ones(D)

    @jax.jit
    def f(q):
        traces.append(1)
        return q.sample(KEY)

    params = flows.iaf().init(KEY, z)
    for _ in range(2):
        f(flows.Flowed(Normal(z, z), params, flows.iaf()))
    assert len(traces) == 1
    start = flows.Flowed(Normal(z, z), params, flows.iaf())
    lax.scan(lambda q, _: (flows.Flowed(q.base, q.params, flows.iaf()), None), start, length=2)


def test_a_planar_flow_is_invertible_whatever_its_numbers_and_has_gradients_at_none():
    """Along w it is monotone: 1 + u.w > 0 for any u; and where w is nothing there is nothing to divide by."""
    steep = {'u': jnp.array([-30.0, 5.0]), 'w': jnp.array([2.0, 1.0]), 'b': jnp.array(0.1)}
    line = quick_jit(vmap(lambda t: flows.planar.forward(steep, t * steep['w'])))(jnp.linspace(-3, 3, 400))
    assert np.all(np.diff(line[0] @ steep['w']) > 0) and np.all(np.isfinite(line[1]))
    for size in (0.0, 1e-20, 1e-6):
        params = {**steep, 'w': size * steep['w']}
        slopes = jax.grad(lambda p: sum(jnp.sum(a) for a in flows.planar.forward(p, jnp.ones(2))))(params)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))


def test_splines_rise_are_the_identity_outside_and_have_gradients_at_every_knot():
    flow, params, z, _ = made('spline', size=0.5)
    at = lambda t, params=params: flow.forward(params, z.at[-1].set(t))
    slope = quick_jit(vmap(jax.grad(lambda t: at(t)[0][-1])))
    grid = jnp.linspace(-3.5, 3.5, 1001)  # 3 is the bound
    ys = np.asarray(quick_jit(vmap(lambda t: at(t)[0][-1]))(grid))
    assert np.all(np.diff(ys) > 0)
    outside = np.abs(np.asarray(grid)) >= 3
    np.testing.assert_array_equal(ys[outside], np.asarray(grid)[outside])
    ends = jnp.array([-3.0, 3.0, 1e9, -1e9, 0.0])
    assert np.all(np.isfinite(slope(ends))) and np.all(slope(ends) > 0)
    grads = quick_jit(jax.grad(lambda p: jnp.sum(vmap(lambda t: at(t, p)[1])(ends))))(params)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(grads))
    np.testing.assert_allclose(slope(jnp.array([-3.0, 3.0 - 1e-6])), 1, atol=1e-3)


@pytest.mark.parametrize('name', ['affine of 2, context', 'spline of 2, context', 'iaf', 'maf of 2, context'])
def test_densities_integrate_to_one(name):
    flow, params, _, h = made(name, size=0.15, d=2)
    base = Normal(jnp.array([0.2, -0.1]), jnp.array([-0.3, 0.1]))
    q = flows.Flowed(base, params, flow, h)
    ticks = jnp.linspace(-14, 14, 561)
    grid = jnp.stack(jnp.meshgrid(ticks, ticks), -1).reshape(-1, 2)
    log_p = np.asarray(quick_jit(lambda q, grid: vmap(q.log_prob)(grid))(q, grid), np.float64)
    assert np.exp(log_p).sum() * float(ticks[1] - ticks[0]) ** 2 == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize('name', ['planar of 3', 'amortized planar', 'iaf of 3, context'])
def test_densities_of_samples_are_those_of_the_samples(name):
    """E[N(y; m, s^2) / q(y)] over y ~ q is 1 for a narrow N: of flows without an inverse there is no other witness."""
    flow, params, _, h = made(name, d=2)
    q = flows.Flowed(Normal(jnp.zeros(2), jnp.zeros(2)), params, flow, h)
    ys, log_q = quick_jit(lambda q, keys: vmap(q.sample_and_log_prob)(keys))(q, random.split(KEY, 20_000))
    narrow = Normal(jnp.mean(ys, 0), jnp.log(0.4 * jnp.std(ys, 0)))
    assert_mean(jnp.exp(vmap(narrow.log_prob)(ys) - log_q), 1.0)


@pytest.mark.parametrize('name', ['iaf', 'maf', 'affine', 'spline of 2, context'])
def test_a_flowed_distribution_is_one_of_its_samples_densities_and_gradients(name):
    flow, params, z, h = made(name, size=0.2)
    q = flows.Flowed(Normal(z, -0.5 * jnp.ones(D)), params, flow, h)

    @quick_jit
    def both(q):
        y, log_q = q.sample_and_log_prob(KEY)
        return y, log_q, q.sample(KEY), q.log_prob(y)

    y, log_q, same, again = both(q)
    np.testing.assert_allclose(y, same, atol=1e-6)
    np.testing.assert_allclose(log_q, again, atol=2e-4)
    assert q.support == Normal.support and q.reparameterized and np.all(q.supports(y))
    np.testing.assert_array_equal(q.mean, flow.forward(params, z, h)[0])

    # there and back is nothing at all, to its gradient too, through the loop over entries
    def there_and_back(params):
        y, one = flow.forward(params, z, h)
        back, other = flow.inverse(params, y, h)
        return jnp.sum(back) + 3 * (one + other), y

    @quick_jit
    def slopes(params):
        return jax.grad(lambda p: there_and_back(p)[0])(params), jax.grad(lambda p: there_and_back(p)[1].sum())(params)

    nothing, something = (max(float(jnp.max(jnp.abs(a))) for a in jax.tree.leaves(g)) for g in slopes(params))
    assert nothing < 1e-3 * something


def test_params_of_a_flow_stay_one_when_a_batch_leaves_a_vmap_and_log_prob_refuses_the_batch():
    flow, params, z, h = made('iaf of 3, context')
    first = flows.identity
    encode = lambda x: flows.Flowed(flows.Flowed(Normal(x, x), {}, first, x), params, flow, x[:N])
    xs = 0.3 * random.normal(KEY, (6, D))
    axes = flows.batch_axes(jax.eval_shape(encode, xs[0]))
    copied = vmap(encode)(xs)
    shared = vmap(encode, out_axes=axes)(xs)
    for a, b, c in zip(*map(jax.tree.leaves, (params, shared.params, copied.params)), strict=True):
        assert b.shape == a.shape and c.shape == (6, *a.shape)
    density = lambda q, y: q.log_prob(y)
    one = jax.jit(vmap(density, (axes, 0)))(shared, xs)
    np.testing.assert_allclose(one, vmap(density)(copied, xs), atol=1e-4)
    assert flows.batch_axes(copied.base.base) == 0
    for q in (copied, shared):
        with pytest.raises(Fault, match='vmap it'):
            q.log_prob(xs[0])
    with pytest.raises(Fault, match='one example'):
        encode(xs[0]).log_prob(xs)


def test_a_population_of_flows_is_each_of_its_members():
    flow, _, z, h = made('maf of 2, context')
    keys = random.split(KEY, 3)
    params = vmap(lambda k: flow.init(k, z, h))(keys)
    together = jax.jit(vmap(lambda p: flow.forward(p, z, h)[0]))(params)
    for i, key in enumerate(keys):
        np.testing.assert_allclose(together[i], flow.forward(flow.init(key, z, h), z, h)[0], atol=1e-5)


def test_what_cannot_work_is_refused():
    z = jnp.ones(D)
    planar = flows.Flowed(Normal(z, z), flows.planar.init(KEY, z), flows.planar)
    assert np.isfinite(planar.sample_and_log_prob(KEY)[1])
    for f, words in (
        (lambda: planar.log_prob(z), 'use sample_and_log_prob'),
        (lambda: flows.inverse(flows.chain(flows.iaf(), flows.planar)), 'no inverse'),
        (lambda: flows.amortized_planar.init(KEY, z), 'contextual'),
        (lambda: flows.affine_coupling().init(KEY, z[:1]), 'no half'),
        (lambda: flows.iaf(()), 'hidden layers'),
        (lambda: flows.spline_coupling(bins=1), '2 to 999 bins'),
        (lambda: flows.spline_coupling(bound=0), 'bound above 0'),
        (lambda: flows.stacked(flows.iaf(), 0), '1 or more'),
    ):
        with pytest.raises(Fault, match=words):
            f()
    for flow in (flows.planar, flows.iaf(), flows.maf(), flows.affine_coupling(), flows.spline_coupling()):
        for bad in (jnp.ones((2, 3)), (z, z)):
            with pytest.raises(Fault, match='one vector'):
                flow.init(KEY, bad)
    assert not flows.Flowed(Bernoulli(z), {}, flows.identity).reparameterized
    assert not hasattr(planar, 'kl')

"""What every family promises: a density that its samples follow, gradients, refusals, one program for all batches."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random, vmap
from jax.flatten_util import ravel_pytree

from tests.families import CASES, names, quick_jit
from tests.statistics import assert_mean
from vae_jax import distributions as d
from vae_jax.errors import Fault

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(0)
DRAWS = 8_000
NO_DENSITY = ('Delta',)
DEPENDENT = ('VonMisesFisher', 'PowerSpherical', 'full_normal')
PARTLY = ('Mixture', 'masked(Normal)', 'columns')  # samples with some gradient, and not all of it


def features_of(case, seed=1):
    noise = np.random.default_rng(seed).normal(size=(case.dims, case.family.arity))
    return (case.scale * noise).astype(np.float32)


def values(x):
    return x.x if isinstance(x, d.Observed) else x


def along(x):
    """A fixed linear function of x, whose expectation is that of the mean."""
    return jnp.vdot(jnp.asarray(np.random.default_rng(7).normal(size=x.shape), x.dtype), x)


@cache
def observed(name):
    """Draws of a family with their densities and gradients, and the densities of one draw under rows of features."""
    case = CASES[name]
    made = case.family.from_features
    features = features_of(case)
    other = features + 0.2 * features_of(case, 2)
    ends = 8 * np.sign(features_of(case, 3))
    rows = np.stack([features, other, 0 * other, 0 * other + 8, 0 * other - 8, ends])

    def draw(rows):
        p, q = made(rows[0]), made(rows[1])

        def one(key):
            x, log_p = p.sample_and_log_prob(key)
            slope = jax.grad(lambda features: along(values(made(features).sample(key))))(rows[0])
            return values(x), log_p, p.log_prob(x), q.log_prob(x), slope

        mean_slope = jax.grad(lambda features: along(made(features).mean))(rows[0])
        x = p.sample(KEY)
        under = vmap(jax.value_and_grad(lambda features: made(features).log_prob(x)))(rows)
        return vmap(one)(random.split(KEY, DRAWS)), p.mean, mean_slope, x, under, vmap(made)(rows)

    return quick_jit(draw)(rows)


@pytest.mark.parametrize('name', names())
def test_samples_follow_the_density_and_their_mean_is_the_mean(name):
    (x, log_p, again, log_q, _), mean, _, one, _, _ = observed(name)
    assert log_p.shape == (DRAWS,) and bool(jnp.all(jnp.isfinite(log_p)))
    np.testing.assert_allclose(log_p, again, rtol=1e-6)
    assert_mean(x, mean)
    if name not in NO_DENSITY:
        # E_p[q / p] = 1: of the samples, both densities and their normalizers, none can be wrong alone
        assert_mean(jnp.exp(log_q - log_p), 1.0)
    d.check_support(CASES[name].family, one)


@pytest.mark.parametrize('name', names())
def test_the_gradient_of_samples_is_that_of_expectations_or_none(name):
    case = CASES[name]
    (_, _, _, _, slopes), _, mean_slope, _, _, made = observed(name)
    if made.reparameterized:
        assert_mean(slopes, mean_slope)
        assert name == 'full_normal' or bool(jnp.any(mean_slope != 0))
    elif name not in PARTLY:
        assert case.family.arity and bool(jnp.all(slopes == 0))


@pytest.mark.parametrize('name', names(lambda name: name not in NO_DENSITY))
def test_zero_features_start_sanely_and_extreme_ones_stay_finite(name):
    value, grad = observed(name)[4]
    assert bool(jnp.all(jnp.isfinite(value))) and bool(jnp.all(jnp.isfinite(grad)))
    assert abs(value[2]) < 30
    assert bool(jnp.any(grad[2] != 0))


@pytest.mark.parametrize('name', names(lambda name: name not in NO_DENSITY))
def test_forward_mode_is_reverse_mode_is_the_difference_quotient(name):
    case, x = CASES[name], observed(name)[3]
    with jax.enable_x64(True):
        wide = lambda a: np.asarray(a, np.float64) if np.asarray(a).dtype == np.float32 else np.asarray(a)
        leaves, restore = ravel_pytree(jax.tree.map(wide, jax.tree.map(lambda leaf: leaf[0], observed(name)[5])))
        x = jax.tree.map(wide, x)
        direction = np.random.default_rng(3).normal(size=leaves.shape)

        def derivatives(leaves):
            value = lambda leaves: restore(leaves).log_prob(x)
            forward = jax.jvp(value, (leaves,), (direction,))[1]
            low, high = vmap(value)(jnp.stack([leaves - 1e-6 * direction, leaves + 1e-6 * direction]))
            return jax.grad(value)(leaves) @ direction, forward, (high - low) / 2e-6

        reverse, forward, central = quick_jit(derivatives)(leaves)
    np.testing.assert_allclose(reverse, forward, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(reverse, central, rtol=1e-6, atol=1e-7)
    assert case.family.arity


@pytest.mark.parametrize('name', names())
def test_a_batch_is_refused_and_another_shape_too(name):
    _, _, _, x, under, batch = observed(name)
    with pytest.raises(Fault, match='vmap|shape'):
        batch.log_prob(jax.tree.map(lambda leaf: np.stack([leaf] * 6), x))
    one = jax.tree.map(lambda leaf: leaf[0], batch)
    with pytest.raises(Fault, match='shape'):
        one.log_prob(jax.tree.map(lambda leaf: np.zeros((7, *leaf.shape), leaf.dtype), x))
    # what vmap gives inside a compiled program is what one example gives outside of it
    np.testing.assert_allclose(under[0][0], one.log_prob(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', names(lambda name: CASES[name].dims == 3))
def test_values_have_their_own_densities_or_are_refused_one(name):
    _, _, _, x, under, batch = observed(name)
    p = jax.tree.map(lambda leaf: leaf[0], batch)
    if name in DEPENDENT:
        with pytest.raises(Fault, match='depend on each other'):
            vmap(lambda mean, x: jax.tree.map(lambda _: mean, p).log_prob(x))(x, x)
    elif hasattr(p, 'each'):
        each = p.each(x)
        np.testing.assert_allclose(jnp.sum(each), p.log_prob(x), rtol=3e-6)
        if name != 'columns':
            np.testing.assert_allclose(vmap(lambda p, x: p.log_prob(x))(p, x), each, rtol=3e-6, atol=1e-6)


@pytest.mark.parametrize('name', names())
def test_bad_data_is_refused_with_the_value(name):
    with pytest.raises(Fault, match='expects .*found'):
        d.check_support(CASES[name].family, CASES[name].bad)

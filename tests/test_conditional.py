"""Conditional autoencoders against a linear-Gaussian one whose log p(x|c) is known, and their products."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import random, vmap
from jax.flatten_util import ravel_pytree
from jax.scipy.stats import multivariate_normal

import vae_jax as vj
from tests import small
from tests.families import quick_jit
from tests.statistics import assert_mean
from vae_jax import bounds, losses, models
from vae_jax.data.splits import Data, Split, identity
from vae_jax.distributions import Bernoulli, Normal, fixed_normal
from vae_jax.errors import Fault
from vae_jax.models import conditional as conditioning

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(3)
DIMS, LATENT, N = 4, 2, 60
LINEAR = vj.mlp_encoder(())


class Hyper(NamedTuple):
    lr: float = 1e-2
    beta: float = 1.0


def of(row):
    return row['x'], {'where': row['where'], 'how': row['how']}


def linear(prior_network=LINEAR):
    """z ~ N(m(c), diag s(c)^2), x ~ N(D (z, c) + d, 0.6^2 I): every map is one dense layer."""
    like = (jnp.zeros(DIMS), {'where': jnp.zeros(2), 'how': jnp.zeros(())})
    family = fixed_normal(float(np.log(0.6)))
    return conditioning.cvae(
        LINEAR, vj.mlp_decoder(()), prior_network, of=of, like=like, latent=LATENT, likelihood=family
    )


MODEL = linear()
ROWS = {
    'x': random.normal(KEY, (N, DIMS)),
    'where': random.normal(random.fold_in(KEY, 1), (N, 2)),
    'how': random.normal(random.fold_in(KEY, 2), (N,)),
}
ROW = jax.tree.map(lambda leaf: leaf[0], ROWS)
SPLIT = Split(ROWS, None, identity())


def nearly_exact(params):
    """params whose q(z|x, c) has the mean of the exact posterior, a variance that does not know of c, a little wide."""
    flat, back = ravel_pytree(of(ROW))
    params['prior']['head']['params']['kernel'] = params['prior']['head']['params']['kernel'].at[:, 1::2].set(0.0)

    def posterior(flat):
        x, c = back(flat)
        model = MODEL.given(c)
        p, mean = model.prior(params), lambda z: model.decode(params, z).mean
        D = jax.jacfwd(mean)(jnp.zeros(LATENT))
        precision = jnp.diag(jnp.exp(-2 * p.log_std)) + D.T @ D / 0.36
        pull = jnp.exp(-2 * p.log_std) * p.mean + D.T @ (x - mean(jnp.zeros(LATENT))) / 0.36
        return jnp.linalg.solve(precision, pull), 0.1 - 0.5 * jnp.log(jnp.diag(precision))

    zero = jnp.zeros_like(flat)
    bias, kernel = jnp.stack(posterior(zero), 1).ravel(), jnp.zeros((flat.size, 2 * LATENT))
    kernel = kernel.at[:, 0::2].set(jax.jacfwd(posterior)(zero)[0].T)
    return {**params, 'encode': {**params['encode'], 'head': {'params': {'kernel': kernel, 'bias': bias}}}}


PARAMS = nearly_exact(MODEL.init(KEY, MODEL.of(ROW)))


def exact(params, row):
    """log N(x; D (m, c) + d, D_z diag s^2 D_z^T + 0.6^2 I)."""
    x, c = of(row)
    model = MODEL.given(c)
    p, mean = model.prior(params), lambda z: model.decode(params, z).mean
    D = jax.jacfwd(mean)(jnp.zeros(LATENT))
    covariance = D @ jnp.diag(jnp.exp(2 * p.log_std)) @ D.T + 0.36 * jnp.eye(DIMS)
    return multivariate_normal.logpdf(x, mean(p.mean), covariance)


def test_importance_sampling_reaches_the_exact_conditional_likelihood():
    found = vj.nll(MODEL, PARAMS, SPLIT, KEY, k=3000)
    gap = found.estimate.values + np.asarray(vmap(lambda row: exact(PARAMS, row))(ROWS))
    assert abs(gap.mean()) < 5 * gap.std() / np.sqrt(N) + np.mean(1 / found.effective)
    assert found.effective.min() > 100
    assert found.estimate.dims == DIMS and found.estimate.bits_per_dim == pytest.approx(
        found.estimate.mean / DIMS / np.log(2)
    )


def test_the_bound_lies_below_and_rises_with_samples():
    x, c = of(ROW)
    model, truth = MODEL.given(c), float(exact(PARAMS, ROW))
    value = lambda k: jax.jit(vmap(lambda key: bounds.iwae(model, PARAMS, key, x, k)))(random.split(KEY, 4000))
    one, fifty = (np.asarray(value(k), np.float64) for k in (1, 50))
    assert one.mean() < fifty.mean() < truth + 5 * fifty.std() / np.sqrt(4000)
    assert_mean(np.exp(fifty - truth), 1.0)  # the average weight is unbiased for p(x|c)
    elbo = vj.elbo_estimate(MODEL, PARAMS, SPLIT, KEY, samples=8)
    assert elbo.elbo.mean < float(np.mean(vmap(lambda row: exact(PARAMS, row))(ROWS)))
    assert elbo.elbo.dims == elbo.rate.dims == DIMS


@pytest.mark.parametrize('lift', [losses.beta_elbo, partial(losses.negative, bounds.iwae, k=5)])
def test_gradients_reach_every_network(lift):
    loss = losses.per_example(conditioning.given(MODEL, lift), of=losses.row_of)
    (value, metrics), grads = quick_jit(jax.value_and_grad(loss, has_aux=True))(PARAMS, KEY, ROWS, Hyper())
    assert np.isfinite(value) and set(grads) == {'encode', 'decode', 'prior'}
    for part in grads:
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(grads[part]))
        assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(grads[part]))


def test_the_objective_of_a_row_is_that_of_its_model():
    (x, c), hyper = of(ROW), Hyper(beta=2.0)
    there = losses.beta_elbo(MODEL.given(c))(PARAMS, KEY, x, hyper)
    here = conditioning.given(MODEL, losses.beta_elbo)(PARAMS, KEY, ROW, hyper)
    np.testing.assert_array_equal(here[0], there[0])


def test_without_a_prior_network_the_prior_knows_of_no_condition():
    model = linear(None)
    params = model.init(KEY, of(ROW))
    assert set(params) == {'encode', 'decode'}
    p = model.given(of(ROW)[1]).prior(params)
    assert isinstance(p, Normal) and not np.any(p.mean) and not np.any(p.log_std)


def shifted(model):
    """A wrapper with a part of its own: the prior's mean moved."""
    init = lambda key, x: models.add_part(model.init(key, x), 'shift', jnp.full(LATENT, 0.5))

    def prior(params):
        p = model.prior(params)
        return Normal(p.mean + params['shift'], p.log_std)

    return model._replace(init=init, prior=prior)


def test_a_wrapper_of_models_wraps_a_conditional():
    model = conditioning.conditional_map(MODEL, shifted)
    params = model.init(KEY, of(ROW))
    assert set(params) == {'encode', 'decode', 'prior', 'shift'}
    c = of(ROW)[1]
    moved = model.given(c).prior(params).mean - MODEL.given(c).prior(params).mean
    np.testing.assert_allclose(moved, 0.5, rtol=1e-5)
    loss = losses.per_example(conditioning.given(model, losses.beta_elbo), of=losses.row_of)
    grads = quick_jit(jax.grad(lambda p: loss(p, KEY, ROWS, Hyper())[0]))(params)
    assert np.all(grads['shift'] != 0)
    with pytest.raises(Fault, match='already'):
        conditioning.conditional_map(model, shifted).init(KEY, of(ROW))


def trainer(model):
    loss = losses.per_example(conditioning.given(model, losses.beta_elbo), of=losses.row_of)
    return vj.trainer(model.init, loss, lambda h: optax.adam(h.lr), example=conditioning.example_of(model))


def test_a_member_of_a_population_is_a_lone_run():
    data = Data('rows', SPLIT, None, SPLIT, 'none')
    keys = random.split(KEY, 2)
    run = lambda what, key: vj.fit(what, data, Hyper(), key, steps=12, batch=20, quiet=True)
    together = run(vj.population(trainer(MODEL)), keys)
    alone = run(trainer(MODEL), keys[1])
    for a, b in zip(jax.tree.leaves(alone.params), jax.tree.leaves(together.params), strict=True):
        np.testing.assert_allclose(a, b[1], rtol=2e-4, atol=1e-5)
    several = vj.nll(MODEL, together.params, SPLIT, keys, k=20)
    lone = vj.nll(MODEL, alone.params, SPLIT, keys[1], k=20)
    np.testing.assert_allclose(several[1].estimate.values, lone.estimate.values, rtol=1e-3)


def test_labels_and_seen_pixels_are_conditions():
    example = {name: column[0] for name, column in small.DATA.test.rows.items()}
    row = {**example, 'x': small.DATA.test.view(KEY, example['x'])}
    x, c = conditioning.on_label(2)(row)
    assert x.shape == (6, 5, 1) and c.shape == (2,) and int(jnp.argmax(c)) == int(row['label'])
    seen = np.zeros((6, 5, 1), bool)
    seen[:3] = True
    rest, half = conditioning.on_entries(seen)(row)
    np.testing.assert_array_equal(jnp.concatenate([half, rest]), row['x'].ravel())
    model = conditioning.cvae(
        vj.mlp_encoder((8,)),
        vj.mlp_decoder((8,)),
        vj.mlp_encoder((8,)),
        of=conditioning.on_entries(seen),
        like=(rest, half),
        latent=2,
    )
    params = model.init(KEY, (rest, half))
    found = vj.elbo_estimate(model, params, small.DATA.test, KEY).distortion
    assert found.dims == 15 and 0 < found.mean / 15 < 3


@pytest.mark.parametrize('c', [jnp.ones((6, 5, 2)), {'label': jnp.ones(2), 'half': jnp.zeros((6, 5))}])
def test_images_take_any_condition_as_channels(c):
    x = jnp.ones((6, 5, 1))
    net = conditioning.AsChannels(vj.conv_encoder((4,), 8))
    model = conditioning.cvae(
        net, vj.conv_decoder((4,), 8), None, of=lambda row: (x, c), like=(x, c), latent=2, likelihood=Bernoulli
    )
    params = model.init(KEY, (x, c))
    assert model.given(c).encode(params, x).mean.shape == (2,)
    assert model.given(c).decode(params, jnp.zeros(2)).logits.shape == (6, 5, 1)
    kernel = params['encode']['network']['params']['_Conv_0']['kernel']
    count = sum(leaf.size // 30 if leaf.ndim > 1 else leaf.size for leaf in jax.tree.leaves(c))
    assert kernel.shape[2] == 1 + count


def test_a_late_condition_leaves_the_body_to_x():
    net = conditioning.AtFeatures(vj.mlp_encoder((6,)), vj.mlp_encoder((5,)))
    x, c = jnp.ones(4), jnp.eye(3)
    params = net.init(KEY, (x, c[0]))
    found = vmap(lambda c: net.apply(params, (x, c)))(c)
    body = vj.mlp_encoder((6,)).apply(params['body'], x)
    np.testing.assert_allclose(found[1], vj.mlp_encoder((5,)).apply(params['head'], (body, c[1])), rtol=1e-6)
    assert not np.allclose(found[0], found[1])


def test_what_cannot_work_is_refused():
    x, c = of(ROW)
    with pytest.raises(Fault, match='condition has shapes'):
        MODEL.given({**c, 'where': jnp.zeros(3)})
    with pytest.raises(Fault, match='condition has shapes'):
        MODEL.given(jnp.zeros(2))
    with pytest.raises(Fault, match='one example'):
        MODEL.given(c).encode(PARAMS, jnp.zeros(DIMS + 1))
    with pytest.raises(Fault, match='0 or 1'):
        conditioning.cvae(LINEAR, vj.mlp_decoder(()), of=of, like=(jnp.full(3, 0.5), c), latent=1)
    with pytest.raises(Fault, match='different|over'):
        conditioning.cvae(
            LINEAR, vj.mlp_decoder(()), LINEAR, of=of, like=(jnp.zeros(3), c), latent=1, prior_family=Bernoulli
        )
    with pytest.raises(Fault, match="no 'label'"):
        conditioning.on_label(3)({'x': x})
    with pytest.raises(Fault, match='2 or more'):
        conditioning.on_label(1)
    for share in (np.zeros(DIMS), np.ones(DIMS)):
        with pytest.raises(Fault, match='are seen'):
            conditioning.on_entries(share)
    with pytest.raises(Fault, match='mask of what is seen'):
        conditioning.on_entries(np.array([True, False]))({'x': x})

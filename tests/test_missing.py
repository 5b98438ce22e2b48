"""Missing entries: what is hidden changes nothing, and imputation against the linear-Gaussian conditional mean."""

import dataclasses
from typing import NamedTuple

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
from vae_jax import bounds, losses
from vae_jax.data import hiding
from vae_jax.data.splits import Data, Split, identity
from vae_jax.distributions import Masked, Normal, Observed
from vae_jax.errors import Fault
from vae_jax.evaluation import imputation
from vae_jax.models import missing

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(8)
DIMS = 5
ORACLE = oracles.linear_gaussian(latent=2, dims=DIMS)
PARAMS = ORACLE.init(random.key(3), jnp.zeros(DIMS))


class Hyper(NamedTuple):
    lr: float = 1e-2


def exact_encode(params, x):
    """The posterior of what was seen, a little too wide: rows of W that were hidden say nothing."""
    seen = jnp.asarray(x.mask, bool)
    s2, W = jnp.exp(2 * params['log_s']), params['W'] * seen[:, None]
    precision = W.T @ W / s2 + jnp.eye(2)
    mean = jnp.linalg.solve(precision, W.T @ jnp.where(seen, x.x - params['b'], 0.0) / s2)
    return Normal(mean, 0.2 - 0.5 * jnp.log(jnp.diag(precision)))


MODEL = ORACLE._replace(encode=exact_encode, decode=lambda params, z: Masked(ORACLE.decode(params, z)))


def conditional(params, x, mask):
    """Mean and covariance of what is missing given what was seen, of N(b, W W^T + s^2 I)."""
    x, seen, b = np.asarray(x), np.asarray(mask), np.asarray(params['b'], np.float64)
    W = np.asarray(params['W'], np.float64)
    S = W @ W.T + np.exp(2 * float(params['log_s'])) * np.eye(DIMS)
    gain = S[np.ix_(~seen, seen)] @ np.linalg.inv(S[np.ix_(seen, seen)])
    return b[~seen] + gain @ (x - b)[seen], S[np.ix_(~seen, ~seen)] - gain @ S[np.ix_(seen, ~seen)]


MASK = jnp.array([True, False, True, True, False])
X = ORACLE.decode(PARAMS, jnp.array([0.8, -0.5])).sample(KEY)
SEEN = Observed(X, MASK)


def test_imputation_is_the_conditional_mean():
    fill = jax.jit(vmap(lambda key: imputation.imputed(MODEL, PARAMS, key, SEEN, 400)))
    found = np.asarray(fill(random.split(KEY, 500)))
    mean, _ = conditional(PARAMS, X, MASK)
    # the ratio of sums is biased by 1 / k: within the error of one estimate of 400 samples by far
    error = found[:, ~np.asarray(MASK)].std(0)
    assert np.all(np.abs(found.mean(0)[~np.asarray(MASK)] - mean) < 5 * error / np.sqrt(500) + error / 20)
    np.testing.assert_array_equal(found[:, np.asarray(MASK)], np.broadcast_to(X[MASK], (500, 3)))


def test_multiple_imputations_have_the_conditional_mean_and_covariance():
    fill = lambda key: imputation.imputations(MODEL, PARAMS, key, SEEN, 1, 500)[0]
    found = np.asarray(jax.jit(vmap(fill))(random.split(KEY, 4000)))
    hidden = ~np.asarray(MASK)
    mean, covariance = conditional(PARAMS, X, MASK)
    assert_mean(found[:, hidden], mean)
    centred = found[:, hidden] - mean
    assert_mean(centred[:, :, None] * centred[:, None], covariance)
    several = quick_jit(lambda key: imputation.imputations(MODEL, PARAMS, key, SEEN, 7, 50))(KEY)
    assert several.shape == (7, DIMS)
    np.testing.assert_array_equal(several[:, MASK], np.broadcast_to(X[MASK], (7, 3)))


def test_the_bound_reaches_the_likelihood_of_what_was_seen():
    seen = np.asarray(MASK)
    sub = {**PARAMS, 'W': PARAMS['W'][seen], 'b': PARAMS['b'][seen]}
    truth = float(oracles.log_p(sub, X[seen]))
    values = jax.jit(vmap(lambda key: bounds.iwae(MODEL, PARAMS, key, SEEN, 200)))(random.split(KEY, 1000))
    assert_mean(np.exp(np.asarray(values, np.float64) - truth), 1.0)
    assert np.mean(values) < truth + 1e-3


def vae_of(posterior=Normal):
    return missing.partly_observed(
        vj.mlp_encoder((8,)),
        vj.mlp_decoder((8,)),
        like=jnp.zeros(DIMS),
        latent=2,
        likelihood=Normal,
        posterior=posterior,
    )


def test_hidden_entries_change_neither_bound_nor_gradient_not_even_as_nan():
    model = vae_of()
    params = model.init(KEY, SEEN)
    value = quick_jit(jax.value_and_grad(lambda p, x: bounds.iwae(model, p, KEY, Observed(x, MASK), 5)))
    plain = value(params, X)
    for other in (jnp.where(MASK, X, 99.0), jnp.where(MASK, X, jnp.nan)):
        for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(value(params, other)), strict=True):
            np.testing.assert_array_equal(a, b)
    assert not np.allclose(plain[0], value(params, X.at[0].add(1.0))[0])


def test_the_encoder_sees_the_mask_and_all_parts_learn():
    model = vae_of()
    params = model.init(KEY, SEEN)
    zero = jnp.zeros(DIMS)
    a, b = (model.encode(params, Observed(zero, mask)).mean for mask in (MASK, ~MASK))
    assert not np.allclose(a, b)
    grads = quick_jit(jax.grad(lambda p: bounds.iwae(model, p, KEY, SEEN, 5)))(params)
    assert set(grads) == {'encode', 'decode'}
    for part in grads.values():
        assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(part))


def rows(n=80):
    z = random.normal(KEY, (n, 2))
    x = vmap(lambda z, key: ORACLE.decode(PARAMS, z).sample(key))(z, random.split(KEY, n))
    return Split({'x': x}, None, identity())


DATA = hiding.missing(Data('linear', rows(), None, rows(), 'none'), 0.4, missing.observed)


def test_gaps_are_as_many_as_asked_for_and_stay_where_they_are():
    for split in DATA.splits.values():
        gaps = np.isnan(np.asarray(split.rows['x']))
        assert abs(gaps.mean() - 0.4) < 5 * np.sqrt(0.24 / gaps.size)
        np.testing.assert_array_equal(np.asarray(split.rows['x'])[~gaps], np.asarray(split.rows['whole'])[~gaps])
    assert np.any(np.isnan(DATA.train.rows['x']) != np.isnan(DATA.test.rows['x']))
    seen = DATA.train.view(KEY, DATA.train.rows['x'][0])
    assert isinstance(seen, Observed) and np.all(np.isfinite(seen.x))
    np.testing.assert_array_equal(seen.mask, ~np.isnan(DATA.train.rows['x'][0]))
    assert DATA.fingerprint != hiding.missing(DATA_PLAIN, 0.4, missing.observed, seed=1).fingerprint
    grey = dataclasses.replace(small.DATA, train=small.DATA.validation, binarization='static')
    assert set(np.unique(hiding.missing(grey, 0.0, missing.observed).train.rows['x'])) == {0.0, 1.0}


DATA_PLAIN = Data('linear', rows(), None, rows(), 'none')


def test_it_trains_evaluates_and_imputes_and_a_member_is_a_lone_run():
    model = vae_of()
    loss = losses.per_example(losses.negative(bounds.iwae, model, k=5))
    made = vj.trainer(model.init, loss, lambda h: optax.adam(h.lr))
    keys = random.split(KEY, 2)
    run = lambda what, key: vj.fit(what, DATA, Hyper(), key, steps=20, batch=40, quiet=True)
    together, alone = run(vj.population(made), keys), run(made, keys[1])
    for a, b in zip(jax.tree.leaves(alone.params), jax.tree.leaves(together.params), strict=True):
        np.testing.assert_allclose(a, b[1], rtol=5e-4, atol=1e-5)
    assert np.isfinite(vj.nll(model, alone.params, DATA.test, KEY, k=20).estimate.mean)
    filled = imputation.impute(model, alone.params, DATA.test, KEY, k=30)
    several = imputation.impute(model, together.params, DATA.test, random.split(KEY, 2), k=30)
    whole, x = (np.asarray(DATA.test.rows[name]) for name in ('whole', 'x'))
    assert filled.shape == several[0].shape == whole.shape and len(several) == 2
    np.testing.assert_array_equal(filled[~np.isnan(x)], whole[~np.isnan(x)])
    assert 0 < imputation.missing_error(filled, whole, ~np.isnan(x)) < 5


def test_over_a_split_the_exact_model_imputes_better_than_the_mean_by_what_theory_says():
    filled = imputation.impute(MODEL, PARAMS, DATA.test, KEY, k=500)
    whole, x = (np.asarray(DATA.test.rows[name]) for name in ('whole', 'x'))
    mask = ~np.isnan(x)
    squares = [np.trace(conditional(PARAMS, w, m)[1]) for w, m in zip(whole, mask) if 0 < m.sum() < DIMS]
    some = np.array([0 < m.sum() < DIMS for m in mask])
    gap = ((filled - whole) ** 2).sum(1)[some] - np.array(squares)
    assert abs(gap.mean()) < 5 * gap.std() / np.sqrt(len(gap))
    by_mean = np.where(mask, whole, np.nanmean(x, 0)[None])
    assert imputation.missing_error(filled, whole, mask) < 0.8 * imputation.missing_error(by_mean, whole, mask)


def test_what_cannot_work_is_refused():
    for share in (-0.1, 1.0):
        with pytest.raises(Fault, match='missing entries'):
            hiding.missing(DATA_PLAIN, share, missing.observed)
    with pytest.raises(Fault, match='anew'):
        hiding.missing(small.DATA, 0.5, missing.observed)
    with pytest.raises(Fault, match='1 or more'):
        imputation.impute(MODEL, PARAMS, DATA.test, KEY, k=0)
    with pytest.raises(Fault, match='one example'):
        model = vae_of()
        model.encode(model.init(KEY, SEEN), Observed(jnp.zeros(3), jnp.ones(3, bool)))

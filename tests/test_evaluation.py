"""Estimates against exact values: the streamed NLL, the ELBO, bits/dim, and what evaluation must not depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax import random

import vae_jax as vj
from tests import oracles, small
from vae_jax import bounds, evaluation, placement
from vae_jax.data.splits import Split, dequantize, identity, scale
from vae_jax.errors import Fault
from vae_jax.evaluation import weights

KEY = random.key(5)
MODEL = oracles.linear_gaussian(latent=2, dims=4)
EXACT = oracles.with_exact_encoder(oracles.rotated(MODEL.init(random.key(2), jnp.zeros(4))))
PARAMS = {**EXACT, 'V': 0.8 * EXACT['V'], 'log_std': EXACT['log_std'] + 0.2}
X = random.normal(random.key(6), (203, 4)) @ jnp.diag(jnp.array([1.0, 2.0, 0.5, 1.0]))
SPLIT = Split({'x': X}, None, identity())
LOG_P = np.asarray(jax.vmap(lambda x: oracles.log_p(PARAMS, x))(X))


def test_nll_is_the_exact_one_within_its_error():
    found = vj.nll(MODEL, PARAMS, SPLIT, KEY, k=3000)
    gap = found.estimate.values + LOG_P  # of each example: positive in expectation, and near 1 / (2 effective samples)
    assert abs(np.mean(gap)) < 5 * np.std(gap) / np.sqrt(len(gap)) + np.mean(1 / found.effective)
    assert np.all(found.effective > 100) and np.all(found.effective <= 3000)
    assert found.estimate.se == pytest.approx(np.std(found.estimate.values, ddof=1) / np.sqrt(203))


def test_nll_is_exact_at_the_exact_posterior():
    found = vj.nll(MODEL, EXACT, SPLIT, KEY, k=7)
    np.testing.assert_allclose(found.estimate.values, -LOG_P, rtol=2e-5)
    np.testing.assert_allclose(found.effective, 7, rtol=1e-3)


@pytest.mark.parametrize('k', [1, 5, 200, 450])
def test_streaming_is_the_plain_sum(k):
    streamed, effective = evaluation.log_p_streamed(MODEL, PARAMS, KEY, X[0], k, rows=min(k, 200))
    q = MODEL.encode(PARAMS, X[0])
    keys = [random.split(random.fold_in(KEY, i), min(k, 200)) for i in range(-(-k // 200))]
    zs = jax.vmap(q.sample)(jnp.concatenate(keys)[:k])
    log_w = jax.vmap(lambda z: bounds.log_weight(MODEL, PARAMS, q, z, X[0]))(zs)
    np.testing.assert_allclose(streamed, jax.scipy.special.logsumexp(log_w) - np.log(k), rtol=1e-5)
    np.testing.assert_allclose(effective, bounds.effective_samples(log_w), rtol=1e-3)


def test_a_million_samples_are_summed_as_in_float64():
    """The same log w, summed in blocks as they come and at once in float64."""
    log_w_of = lambda key: 3.0 * random.normal(key) - 120.0
    found = jax.jit(lambda: weights.weights_streamed(log_w_of, KEY, 1_000_000, 200))()
    draws = jax.jit(lambda i: jax.vmap(log_w_of)(random.split(random.fold_in(KEY, i), 200)))
    log_w = np.asarray(jax.lax.map(draws, jnp.arange(5000)), np.float64).ravel()
    w = np.exp(log_w - log_w.max())
    assert abs(float(found.log_mean) - log_w.max() - np.log(w.mean())) < 1.6e-5  # two units in the last place
    assert abs(float(found.mean) - log_w.mean()) < 1.6e-5
    np.testing.assert_allclose(found.effective, w.sum() ** 2 / np.sum(w**2), rtol=1e-4)


def test_float64_is_had_on_request_and_only_there():
    found = vj.nll(MODEL, EXACT, SPLIT, KEY, k=7, dtype='float64')
    wide = jax.tree.map(lambda a: np.asarray(a, np.float64), EXACT)
    covariance = wide['W'] @ wide['W'].T + np.exp(2 * wide['log_s']) * np.eye(4)
    exact = scipy.stats.multivariate_normal.logpdf(np.asarray(X, np.float64), wide['b'], covariance)
    np.testing.assert_allclose(found.estimate.values, -exact, rtol=1e-5)  # the encoder is exact to float32
    assert found.effective.dtype == np.float64 and jnp.zeros(1).dtype == jnp.float32


def test_too_few_effective_samples_are_told(capsys):
    poor = {**PARAMS, 'V': 0.0 * PARAMS['V'], 'log_std': PARAMS['log_std'] - 2}
    found = vj.nll(MODEL, poor, SPLIT, KEY, k=20)
    assert 'fewer than 2 effective' in str(found) and not capsys.readouterr().err
    vj.nll(MODEL, poor, SPLIT, KEY, k=20, quiet=False)
    assert capsys.readouterr().err.count('note: ') == 1
    assert not vj.nll(MODEL, EXACT, SPLIT, KEY, k=20).note


def test_a_ragged_split_counts_every_example_once_whatever_its_order():
    whole = vj.nll(MODEL, PARAMS, SPLIT, KEY, k=50).estimate.values
    assert whole.shape == (203,) and len(np.unique(whole)) == 203
    part = vj.nll(MODEL, PARAMS, Split({'x': X[:101]}, None, identity()), KEY, k=50).estimate.values
    np.testing.assert_allclose(part, whole[:101], rtol=1e-6)


def test_elbo_has_halves_and_its_mean_is_the_closed_form():
    found = vj.elbo_estimate(MODEL, PARAMS, SPLIT, KEY, samples=64)
    exact = jax.vmap(lambda x: oracles.elbo(PARAMS, MODEL.encode(PARAMS, x), x))(X)
    gap = found.elbo.values - np.asarray(exact)
    assert abs(gap.mean()) < 5 * gap.std() / np.sqrt(len(gap))
    np.testing.assert_allclose(found.elbo.values, -(found.rate.values + found.distortion.values), rtol=1e-6)
    assert found.elbo.bits_per_dim == pytest.approx(found.elbo.mean / 4 / np.log(2))


def test_bits_per_dim_of_dequantized_pixels_are_those_of_the_pixels():
    """A normal density of (x + u) / 16 gives P(x) = its integral over a cell of 1/16: bits/dim must agree with that."""
    mean, std = 0.4, 0.3
    pixels = np.arange(16, dtype=np.uint8)[:, None]
    split = Split({'x': jnp.asarray(np.tile(pixels, (500, 1)))}, 16, dequantize(16))
    flat = MODEL._replace(
        prior=lambda p: vj.Normal(jnp.zeros(1), jnp.zeros(1)),
        encode=lambda p, x: vj.Normal(jnp.zeros(1), jnp.zeros(1)),
        decode=lambda p, z: vj.Normal(jnp.full(1, mean), jnp.full(1, np.log(std))),
    )
    found = vj.nll(flat, {}, split, KEY, k=1).estimate
    dense = np.linspace(0, 1, 16 * 1000 + 1)[:-1] + 0.5 / 16000  # u is uniform: average over the cell, not under p
    expected = -scipy.stats.norm.logpdf(dense, mean, std).reshape(16, 1000).mean(1)
    bits = (np.mean(expected) + np.log(16)) / np.log(2)
    within = np.sqrt(np.mean([v.var() for v in np.split(found.values.reshape(500, 16), 16, 1)]) / 8000) / np.log(2)
    assert abs(found.bits_per_dim - bits) < 5 * within
    assert found.log_cell == pytest.approx(-np.log(16))


def test_evaluation_is_repeatable_and_compiles_once():
    params = small.MODEL.init(KEY, small.DATA.example)
    first = vj.nll(small.MODEL, params, small.DATA.test, KEY, k=20)
    programs = evaluation.streaming.compiled_block('cpu')._cache_size()
    again = vj.nll(small.MODEL, jax.tree.map(lambda p: p * 1.0, params), small.DATA.test, KEY, k=20)
    np.testing.assert_array_equal(first.estimate.values, again.estimate.values)
    assert evaluation.streaming.compiled_block('cpu')._cache_size() == programs > 0


def test_a_population_is_evaluated_as_its_members_are():
    keys = random.split(KEY, 3)
    members = [small.MODEL.init(key, small.DATA.example) for key in keys]
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    together = vj.nll(small.MODEL, params, small.DATA.test, keys, k=20)
    bounds_of = vj.elbo_estimate(small.MODEL, params, small.DATA.test, keys)
    for i, key in enumerate(keys):
        alone = vj.nll(small.MODEL, members[i], small.DATA.test, key, k=20)
        np.testing.assert_allclose(together[i].estimate.values, alone.estimate.values, rtol=1e-5)
        one = vj.elbo_estimate(small.MODEL, members[i], small.DATA.test, key)
        np.testing.assert_allclose(bounds_of[i].elbo.values, one.elbo.values, rtol=1e-5)
        assert bounds_of[i].rate.mean == pytest.approx(one.rate.mean)
    assert str(together[1]) == str(vj.nll(small.MODEL, members[1], small.DATA.test, keys[1], k=20))


def test_encode_gives_codes_with_labels_and_pictures_have_their_shapes():
    params = small.MODEL.init(KEY, small.DATA.example)
    codes = vj.encode(small.MODEL, params, small.DATA.test)
    assert codes['mean'].shape == codes['log_std'].shape == (25, 2)
    np.testing.assert_array_equal(codes['label'], small.DATA.test.rows['label'])
    shape = small.DATA.example.shape
    xs = evaluation.view_rows(small.DATA.test, KEY, range(5))
    assert vj.reconstruct(small.MODEL, params, xs).shape == (5, *shape)
    assert vj.interpolate(small.MODEL, params, xs, xs[::-1], 7).shape == (5, 7, *shape)
    assert evaluation.manifold(small.MODEL, params, 3).shape == (3, 3, *shape)
    draws, means = vj.sample(small.MODEL, params, KEY, 6), vj.sample_means(small.MODEL, params, KEY, 6)
    assert draws.shape == means.shape == (6, *shape)
    assert set(np.unique(draws)) <= {0.0, 1.0} and np.all((means > 0) & (means < 1))


def test_rates_per_dimension_add_up_to_the_rate():
    params = small.MODEL.init(KEY, small.DATA.example)
    codes = vj.encode(small.MODEL, params, small.DATA.test)
    rate = vj.elbo_estimate(small.MODEL, params, small.DATA.test, KEY).rate
    np.testing.assert_allclose(evaluation.rate_per_dim(codes).sum(), rate.mean, rtol=1e-5)


def test_bad_calls_are_refused():
    empty = Split({'x': X[:0]}, None, identity())
    for f in (vj.nll, vj.elbo_estimate):
        with pytest.raises(Fault, match='empty'):
            f(MODEL, PARAMS, empty, KEY)
        with pytest.raises(Fault, match='not finite') as fault:
            f(MODEL, {**PARAMS, 'b': PARAMS['b'] * jnp.nan}, SPLIT, KEY)
        assert fault.value.code == 4
    with pytest.raises(Fault, match='k is 0'):
        vj.nll(MODEL, PARAMS, SPLIT, KEY, k=0)
    with pytest.raises(Fault, match='samples is 0'):
        vj.elbo_estimate(MODEL, PARAMS, SPLIT, KEY, samples=0)
    with pytest.raises(Fault, match='a point'):  # an autoencoder
        vj.nll(MODEL._replace(encode=lambda p, x: vj.distributions.Delta(p['V'] @ x)), PARAMS, SPLIT, KEY)
    wide = small.model(small.DATA.example, latent=3)
    with pytest.raises(Fault, match='latent of 2'):
        evaluation.manifold(wide, wide.init(KEY, small.DATA.example))


def test_what_is_no_split_key_or_number_is_told_at_the_door():
    functions = (vj.nll, vj.elbo_estimate, vj.encode, evaluation.bracketed, evaluation.fidelity, evaluation.impute)
    functions += (evaluation.collapse_report, evaluation.inference_gaps, evaluation.simulated_ranks, evaluation.refine)
    functions += (evaluation.aggregate_posterior, evaluation.rates_by_dimension, evaluation.samples_beside)
    for f in functions:
        for split in (X, None):
            with pytest.raises(Fault, match='expected a Split'):
                f(MODEL, PARAMS, split, KEY)
        for key in (5, random.PRNGKey(5)):
            with pytest.raises(Fault, match='expected a key of jax'):
                f(MODEL, PARAMS, SPLIT, key)
    bad = [
        ({'k': '5'}, "k is '5', expected 1 or more, a whole number"),
        ({'k': 5.0}, 'k is 5.0'),
        ({'dtype': 'float99'}, "dtype is 'float99', expected a type of real numbers"),
        ({'dtype': 'int32'}, 'int32'),
    ]
    for options, said in bad:
        with pytest.raises(Fault, match=said):
            vj.nll(MODEL, PARAMS, SPLIT, KEY, **options)
    with pytest.raises(Fault, match=r'shapes \[2\] and \[1\]'):
        evaluation.mse(jnp.ones(2), jnp.ones(1))


def test_x_that_the_model_cannot_take_is_told_with_its_shape_and_a_defect_stays_one():
    for shape in ((5,), (2, 2)):
        split = Split({'x': jnp.zeros((9, *shape))}, None, identity())
        for f in (vj.nll, vj.elbo_estimate, vj.encode):
            with pytest.raises(
                Fault, match=rf'the model cannot take x \[{str(list(shape))[1:-1]}\]: .*shapes'
            ) as fault:
                f(MODEL, PARAMS, split, KEY)
            assert '\n' not in str(fault.value)
    broken = MODEL._replace(encode=lambda params, x: params.nothing)
    with pytest.raises(AttributeError):
        vj.elbo_estimate(broken, PARAMS, SPLIT, KEY)


def test_a_row_that_is_not_finite_is_named():
    holed = Split({'x': X.at[7, 2].set(jnp.nan)}, None, identity())
    for f in (vj.nll, vj.elbo_estimate, vj.encode):
        options = {'k': 7} if f is vj.nll else {}
        with pytest.raises(
            Fault, match='is not finite for 1 of 203 examples, the first is row 7; .* if its x is not'
        ) as fault:
            f(MODEL, PARAMS, holed, KEY, **options)
        assert fault.value.code == 4
    codes = {'mean': [[np.nan, 1.0], [0, 2], [3, 4]], 'log_std': np.zeros((3, 2))}
    for f in (evaluation.active_units, evaluation.rate_per_dim):
        with pytest.raises(Fault, match='the mean of 1 codes is not finite') as fault:
            f(codes)
        assert fault.value.code == 4


def test_memory_does_not_grow_with_the_number_of_samples():
    """The program that 10,000 images x 5,000 samples run in, a block at a time: its temporaries, for MNIST's sizes."""
    model = vj.vae(vj.mlp_encoder((500,)), vj.mlp_decoder((500,)), latent=20, like=jnp.zeros((28, 28, 1)))
    params = model.init(KEY, jnp.zeros((28, 28, 1)))
    split = Split({'x': jnp.zeros((100, 28, 28, 1), jnp.uint8)}, 2, scale(2))

    def temporaries(k):
        rows = np.arange(8, dtype=np.int32)
        f = evaluation.likelihood._nll_rows(model, k, 200)
        compiled = (
            evaluation.streaming.compiled_block('cpu').lower(f, placement.alone, (params, KEY), (split, rows)).compile()
        )
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporaries(5000) < 1.01 * temporaries(1000) and temporaries(5000) < 100 * 2**20

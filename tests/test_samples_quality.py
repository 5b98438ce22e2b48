"""FID, KID, precision and recall, copies, and two-sample tests, against closed forms, scipy and chance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from jax import random
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from experiments.family import bench, members, products
from tests import oracles, small
from vae_jax import models
from vae_jax.data.splits import Split, identity
from vae_jax.errors import Fault
from vae_jax.evaluation import distances, features, manifolds, outliers, pictures, samples, two_samples, usefulness
from vae_jax.evaluation.features import Featured
from vae_jax.models import conditional

pytestmark = pytest.mark.usefixtures('quickly_compiled')
KEY = random.key(3)
RNG = np.random.default_rng(0)


def covariance(d, rng):
    a = rng.normal(size=(d, d))
    return a @ a.T / d + 0.1 * np.eye(d)


def test_frechet_is_the_closed_form_and_that_of_a_matrix_square_root():
    rng = np.random.default_rng(1)
    a, b, shift = covariance(6, rng), covariance(6, rng), rng.normal(size=6)
    by_scipy = shift @ shift + np.trace(a + b - 2 * np.real(scipy.linalg.sqrtm(a @ b)))
    assert distances.frechet(shift, a, np.zeros(6), b) == pytest.approx(by_scipy, rel=1e-10)
    assert distances.frechet(np.zeros(6), b, shift, a) == pytest.approx(by_scipy, rel=1e-10)  # it is symmetric
    axes = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    s, t = rng.uniform(0, 2, (2, 6))
    commuting = ((axes * s**2) @ axes.T, (axes * t**2) @ axes.T)
    assert distances.frechet(shift, commuting[0], shift, commuting[1]) == pytest.approx(np.sum((s - t) ** 2), rel=1e-9)
    flat = np.outer(shift, shift)  # of rank one, as where there are fewer rows than dimensions
    assert distances.frechet(shift, flat, shift, flat) == pytest.approx(0, abs=1e-12)
    assert distances.frechet(shift, flat, shift, 4 * flat) == pytest.approx(shift @ shift, rel=1e-9)


def gaussians(rng, n, d, scale=1.0, shift=0.0):
    return Featured('raw', shift + scale * rng.normal(size=(n, d)))


def test_fid_of_gaussians_has_its_error_and_its_bias_goes_with_the_extrapolation():
    """d (2 - 1)^2 + d 0.5^2 in d = 8; the bias is told by the mean over repetitions, the error by their spread."""
    exact, n = 8 * (1.0 + 0.25), 400
    runs = [
        (distances.fid(a, b), distances.fid_infinity(a, b, random.key(i), points=8))
        for i in range(40)
        for rng in [np.random.default_rng(i)]
        for a, b in [(gaussians(rng, n, 8, 2.0, 0.5), gaussians(rng, n, 8))]
    ]
    for kind, found in zip(('plain', 'extrapolated'), zip(*runs)):
        values = np.array([one.value for one in found])
        gap, error = values.mean() - exact, values.std(ddof=1) / np.sqrt(len(values))
        assert abs(gap) < 5 * error if kind == 'extrapolated' else gap > 0
        assert np.mean([one.se for one in found]) == pytest.approx(values.std(ddof=1), rel=0.35)
    assert found[0].measure == 'FID at infinite n' and found[0].n == n
    equal = [distances.fid(gaussians(rng, n, 8), gaussians(rng, n, 8)) for rng in [np.random.default_rng(50)]][0]
    again = distances.fid(gaussians(np.random.default_rng(51), 1600, 8), gaussians(np.random.default_rng(52), 1600, 8))
    assert 2 < equal.value / again.value < 8  # nothing but bias, which is c / n: four times as many rows, a quarter


def test_kid_is_the_plain_double_sum_and_zero_for_one_distribution():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(7, 3)), 1 + rng.normal(size=(9, 3))
    k = lambda x, y: (x @ y / 3 + 1) ** 3
    mean = lambda xs, ys: np.mean(
        [k(x, y) for i, x in enumerate(xs) for j, y in enumerate(ys) if xs is not ys or i != j]
    )
    found = distances.kid(Featured('raw', a), Featured('raw', b))
    assert found.value == pytest.approx(mean(a, a) + mean(b, b) - 2 * mean(a, b), rel=1e-12)
    assert (found.measure, found.n, found.n_reference, found.dims) == ('KID', 7, 9, 3)


@pytest.mark.parametrize('shift, n, m', [(0.0, 60, 90), (0.5, 60, 90), (2.0, 80, 40)])
def test_mmd_is_unbiased_and_its_standard_error_is_its_spread(shift, n, m):
    """Where the sets have one distribution (the first-order variance is then zero) and where they do not."""
    width, d, runs = 1.5, 3, 300
    kernel = two_samples.gaussian_kernel(width)
    rng = np.random.default_rng(4)
    found = [two_samples.mmd(rng.normal(size=(n, d)), shift + rng.normal(size=(m, d)), kernel) for _ in range(runs)]
    values, errors = (np.array(column) for column in zip(*found))
    factor = (width**2 / (width**2 + 2)) ** (d / 2)  # E exp(-|x - y|^2 / 2 w^2) of unit Gaussians
    exact = 2 * factor * (1 - np.exp(-d * shift**2 / (2 * (width**2 + 2))))
    assert abs(values.mean() - exact) < 5 * values.std() / np.sqrt(runs)
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(values.std(), rel=5 * 0.8 / np.sqrt(2 * runs))


def test_kernel_sums_do_not_depend_on_the_block(monkeypatch):
    rng = np.random.default_rng(5)
    a, b, kernel = rng.normal(size=(25, 2)), rng.normal(size=(18, 2)), two_samples.gaussian_kernel(1.0)
    whole, tested = two_samples.mmd(a, b, kernel), two_samples.mmd_test(a, b, KEY, 30)
    monkeypatch.setattr(two_samples, 'BLOCK', 7)
    assert two_samples.mmd(a, b, kernel) == pytest.approx(whole, rel=1e-10)
    assert two_samples.mmd_test(a, b, KEY, 30)[:2] == pytest.approx(tested[:2], rel=1e-10)
    named = two_samples.median_distance(a, b)
    assert tested.value == pytest.approx(two_samples.mmd(a, b, two_samples.gaussian_kernel(named)).value, rel=1e-9)
    distances = scipy.spatial.distance.pdist(np.concatenate([a, b]))
    assert named == pytest.approx(np.median(distances)) and f'{named:.4g}' in tested.kernel


def check_level(p_values, levels=(0.05, 0.2, 0.5)):
    """No level is exceeded, and the test is not asleep either."""
    n = len(p_values)
    for level in levels:
        share, error = np.mean(np.array(p_values) <= level), np.sqrt(level * (1 - level) / n)
        assert share < level + 5 * error, (level, share)
    assert np.mean(np.array(p_values) <= 0.5) > 0.25 and min(p_values) > 0


def test_two_sample_tests_keep_their_level_and_find_a_difference():
    rng, mmd_p, c2st_p = np.random.default_rng(6), [], []
    for i in range(120):
        a, b = rng.normal(size=(2, 40, 2))
        mmd_p.append(two_samples.mmd_test(a, b, random.key(i), 39).p_value)
        c2st_p.append(two_samples.c2st(a, b, random.key(i)).p_value)
    check_level(mmd_p)
    check_level(c2st_p)
    assert min(mmd_p) == 1 / 40
    a, b = rng.normal(size=(2, 200, 2)) + np.array([0.0, 1.0])[:, None, None]
    assert two_samples.mmd_test(a, b, KEY, 99).p_value == 0.01
    for classifier in (None, LogisticRegression()):
        told = two_samples.c2st(a, b, KEY, classifier, held_out=0.25)
        best = scipy.stats.norm.cdf(np.sqrt(2) / 2)  # accuracy of the exact classifier: cdf(|shift| / 2)
        assert told.n == 100 and told.p_value < 1e-4 and abs(told.accuracy - best) < 5 * told.se
        assert told.p_value == scipy.stats.binomtest(round(told.accuracy * 100), 100, 0.5, 'greater').pvalue


def test_c2st_learns_from_other_rows_than_it_is_tested_on():
    """One neighbour of itself would be right everywhere."""
    rng = np.random.default_rng(7)
    a, b = rng.normal(size=(2, 300, 2))
    assert two_samples.c2st(a, b, KEY, KNeighborsClassifier(1)).accuracy < 0.65


def test_precision_and_recall_of_equal_disjoint_and_half_covered_sets():
    rng = np.random.default_rng(8)
    modes = np.array([[0.0, 0.0], [20.0, 0.0]])
    of = lambda rows, n: Featured('raw', rows[np.arange(n) % len(rows)] + rng.normal(size=(n, 2)))
    both, one, far = of(modes, 300), of(modes[:1], 300), of(modes + 500, 300)
    scores = lambda found: (found.samples.mean, found.examples.mean)
    every = manifolds.precision_recall(both, both)
    assert scores(every) == (1, 1)
    p = 302 / 304  # no error was seen among 300, which is not to say that there is none
    assert every.samples.se == every.examples.se == pytest.approx(np.sqrt(p * (1 - p) / 304))
    assert scores(manifolds.density_coverage(both, both))[1] == 1
    assert scores(manifolds.precision_recall(far, both)) == scores(manifolds.density_coverage(far, both)) == (0, 0)
    half = manifolds.precision_recall(one, both)  # one mode of two: all samples are good, half of the examples missed
    assert half.samples.mean > 0.9 and abs(half.examples.mean - 0.5) < 0.1
    swapped = manifolds.precision_recall(both, one)
    assert scores(swapped) == scores(half)[::-1]
    naeem = manifolds.density_coverage(one, both)
    assert abs(naeem.examples.mean - 0.5) < 0.05 and abs(naeem.samples.mean - 1) < 0.1
    assert half.samples.se == pytest.approx(np.std(half.samples.values, ddof=1) / np.sqrt(300))


def test_balls_reach_to_the_kth_other_row():
    xs = np.array([[0.0], [1.0], [3.0], [7.0]])
    np.testing.assert_allclose(manifolds.radii(xs, 1), [1, 1, 2, 4])
    np.testing.assert_allclose(manifolds.radii(xs, 2), [3, 2, 3, 6])
    inside = manifolds.precision_recall(Featured('raw', np.array([[-0.9], [5.0], [12.0]])), Featured('raw', xs), 1)
    np.testing.assert_array_equal(inside.samples.values, [1, 1, 0])
    density = manifolds.density_coverage(Featured('raw', np.array([[0.5], [5.0], [14.0]])), Featured('raw', xs), 2)
    np.testing.assert_allclose(density.samples.values, [1.5, 1, 0])  # in balls 0, 1, 2; 2, 3; none
    np.testing.assert_array_equal(density.examples.values, [1, 1, 1, 1])


def test_copies_of_the_training_set_are_found_and_fresh_draws_are_none():
    rng = np.random.default_rng(9)
    train, test, fresh = rng.normal(size=(3, 200, 3))
    honest = manifolds.copies(fresh, train, test)
    assert abs(honest.closer.value - 0.5) < 5 * honest.closer.se and honest.p_value > 1e-3
    copied = manifolds.copies(train[:100] + 1e-3 * rng.normal(size=(100, 3)), train, test)
    assert copied.closer.value > 0.95 and copied.p_value < 1e-20
    distances, rows = manifolds.nearest(train[:5], train, 2)
    np.testing.assert_array_equal(rows[:, 0], range(5))
    np.testing.assert_allclose(distances[:, 1], manifolds.radii(train, 1)[:5])


def test_features_are_named_and_taken_in_blocks(monkeypatch):
    xs = RNG.normal(size=(37, 4, 3)).astype(np.float32) * np.arange(1, 4)
    pca = features.pca_features(xs, 2)
    found = features.featured(pca, xs)
    assert found.values.shape == (37, 2) and found.name == pca.name and pca.name.startswith('pca-2 (')
    singular = np.linalg.svd(xs.reshape(37, 12) - xs.reshape(37, 12).mean(0), compute_uv=False)
    np.testing.assert_allclose(np.sum(found.values**2, 0), singular[:2] ** 2, rtol=1e-4)
    monkeypatch.setattr(features, 'ROWS', 10)
    np.testing.assert_allclose(features.featured(pca, xs).values, found.values, atol=1e-5)
    assert features.pca_features(xs[::-1], 2).name != features.pca_features(xs[:20], 2).name
    total = features.named_features('ink', lambda x: jnp.sum(x))
    np.testing.assert_allclose(features.featured(total, xs).values[:, 0], xs.sum((1, 2)), rtol=1e-4)
    params = small.MODEL.init(KEY, small.DATA.example)
    encoder = features.encoder_features(small.MODEL, params)
    x = small.DATA.example
    np.testing.assert_allclose(
        features.featured(encoder, x[None]).values[0], small.MODEL.encode(params, x).mean, rtol=1e-5
    )
    assert encoder.name != features.encoder_features(small.MODEL, jax.tree.map(lambda p: p * 2, params)).name


def test_samples_of_the_true_model_pass_and_those_of_another_do_not():
    model = oracles.linear_gaussian(latent=2, dims=4)
    params = model.init(random.key(2), jnp.zeros(4))
    covariance = params['W'] @ params['W'].T + jnp.exp(2 * params['log_s']) * jnp.eye(4)
    x = random.multivariate_normal(KEY, params['b'], covariance, (600,))
    split = Split({'x': x}, None, identity())
    raw = features.named_features('x itself', lambda x: x)
    made, seen = samples.samples_beside(model, params, split, KEY, n=500)
    np.testing.assert_array_equal(seen, x[:500])
    assert made.shape == (500, 4) and two_samples.mmd_test(made, seen, KEY).p_value > 0.01
    good = samples.sample_quality(model, params, split, KEY, features=raw, n=500)
    assert abs(good.kid.value) < 5 * good.kid.se and good.kid.features == 'x itself'
    assert good.precision_recall.samples.mean > 0.8 and good.density_coverage.examples.mean > 0.8
    told = samples.sample_tests(model, params, split, KEY, features=raw, n=500)
    assert told.mmd.p_value > 0.01 and told.c2st.p_value > 0.01 and told.features == 'x itself'
    fresh = split.at(np.arange(300, 600))
    honest = samples.sample_copies(model, params, split.at(np.arange(300)), fresh, KEY, features=raw)
    assert abs(honest.closer.value - 0.5) < 5 * honest.closer.se
    known = samples.sample_copies(
        model, params, split, fresh, KEY, features=raw
    )  # test rows are among the training rows
    np.testing.assert_allclose(known.of_test, 0, atol=1e-5)
    assert known.closer.value == 0
    shifted = samples.sample_quality(model, {**params, 'b': params['b'] + 2}, split, KEY, features=raw, n=500)
    assert shifted.kid.value > 10 * shifted.kid.se and shifted.fid.value > good.fid.value + 10
    smooth, _ = samples.samples_beside(model, params, split, KEY, n=500, draw=samples.mean_of)
    gap = np.var(made, 0) - np.var(smooth, 0) - np.exp(2 * params['log_s'])
    assert np.all(np.abs(gap) < 5 * np.sqrt(2 / 500) * np.diag(covariance))


def test_a_conditional_is_sampled_under_the_conditions_of_the_data():
    of = lambda row: (row['x'], row['c'])
    inner = oracles.linear_gaussian(latent=2, dims=4)
    given = lambda c: inner._replace(decode=lambda params, z: models.base.Normal(jnp.full(4, c), jnp.full(4, -5.0)))
    model = conditional.Conditional(lambda key, xc: inner.init(key, xc[0]), given, of)
    split = Split({'x': jnp.zeros((20, 4)), 'c': jnp.arange(20.0)}, None, identity())
    made, _ = samples.samples_beside(model, inner.init(KEY, jnp.zeros(4)), split, KEY)
    np.testing.assert_allclose(made, np.repeat(np.arange(20.0)[:, None], 4, 1), atol=0.1)


def test_numbers_under_different_features_are_never_put_side_by_side():
    a, b = gaussians(RNG, 50, 2), Featured('other', RNG.normal(size=(50, 2)))
    never = 'never put side by side'
    for f in (distances.fid, distances.kid, manifolds.precision_recall, manifolds.density_coverage):
        with pytest.raises(Fault, match=never):
            f(a, b)
    one, two = distances.kid(a, a), distances.kid(b, b)
    with pytest.raises(Fault, match=never):
        distances.side_by_side({'one': one, 'two': two})
    table = distances.side_by_side({'one': one, 'two': one})
    assert table.splitlines()[0].startswith('| | KID under raw |') and len(table.splitlines()) == 4
    with pytest.raises(Fault, match='bias'):
        distances.side_by_side({'one': distances.fid(a, a), 'two': distances.fid(gaussians(RNG, 60, 2), a)})
    assert not distances.fid(a, a).note and not one.note
    wide = gaussians(RNG, 50, 26)
    assert '50 rows are few for 26 dims' in str(distances.fid(wide, wide))
    with pytest.raises(Fault, match='in one table'):
        distances.side_by_side({'one': one, 'two': distances.fid(a, a)})


def test_bad_calls_are_one_line():
    a, few = gaussians(RNG, 50, 2), gaussians(RNG, 3, 2)
    bad = Featured('raw', np.full((50, 2), np.nan))
    params = small.MODEL.init(KEY, small.DATA.example)
    calls = [
        (lambda: distances.fid(few, a), '3 samples, expected 40'),
        (lambda: distances.kid(a, few), '3 reference vectors, expected 4'),
        (lambda: distances.kid(a, gaussians(RNG, 50, 3)), '2 dimensions'),
        (lambda: distances.kid(a, bad), '50 of 50 .* not finite'),
        (lambda: distances.fid(a.values, a.values), r'an array float64\[50, 2\], expected a Featured'),
        (lambda: manifolds.precision_recall(a, a.values), 'expected a Featured'),
        (lambda: features.featured('pca', a.values), "the features are 'pca', expected Features"),
        (lambda: distances.fid_infinity(a, a, KEY, 1), 'line through 1'),
        (lambda: manifolds.precision_recall(few, a, 3), '3 neighbours among 3'),
        (lambda: manifolds.nearest(a.values, few.values, 4), '4 neighbours among 3'),
        (lambda: two_samples.c2st(a.values, few.values, KEY), '50 samples|3 reference'),
        (lambda: two_samples.c2st(a.values, a.values[:40], KEY), 'guessing is not 0.5'),
        (lambda: two_samples.c2st(a.values, a.values, KEY, held_out=1.0), 'held_out is 1.0'),
        (lambda: two_samples.mmd_test(a.values, a.values, KEY, 0), '0 permutations'),
        (lambda: two_samples.median_distance(np.zeros((5, 2)), np.zeros((5, 2))), 'median distance is zero'),
        (lambda: features.pca_features(a.values, 3), 'give d between 1 and 2'),
        (lambda: features.featured(features.pca_features(a.values, 1), a.values[:0]), 'no examples'),
        (lambda: features.encoder_features(conditional.Conditional(None, None, None), {}), 'sees more than x'),
        (lambda: samples.samples_beside(small.MODEL, params, small.DATA.test, KEY, n=26), 'the split has 25'),
        (lambda: samples.samples_beside(small.MODEL, params, small.DATA.test, KEY, n=0), 'between 1 and 25'),
    ]
    for call, told in calls:
        with pytest.raises(Fault, match=told) as fault:
            call()
        assert '\n' not in str(fault.value)


def test_what_was_kept_is_gone_on_with(tmp_path):
    params = small.MODEL.init(KEY, small.DATA.example)
    first = samples.samples_beside(small.MODEL, params, small.DATA.test, KEY, kept=tmp_path)
    stored = list(tmp_path.glob('*/*.npz'))
    again = samples.samples_beside(small.MODEL, params, small.DATA.test, KEY, kept=tmp_path)
    assert stored and list(tmp_path.glob('*/*.npz')) == stored
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a, b)


ROWS = {row.name: row for row in [*members.MEMBERS, *products.PRODUCTS]}
REFUSED = {  # what a kind of model has none of, by the words of its fault
    'autoencoder': {'detection': 'no log p'},
    'GAN': {'detection': 'no posterior', 'fidelity': 'no posterior', 'read_codes': 'no posterior'},
    'MIWAE, missing entries': {'fidelity': 'x is several arrays'},
    'columns of a table': {'fidelity': 'pictures of shapes'},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    'name', [*REFUSED, 'VAE', 'VQ-VAE', 'ladder VAE', 'CVAE', 'M2', 'JointVAE', 'IAF', 'VampPrior']
)
def test_every_kind_of_model_is_judged_or_refused_in_a_line(name):
    row = ROWS[name]
    built, data = row.build(bench.Bench(row.data)), bench.Bench(row.data).data
    columns = {**data.train.rows, 'x': jax.vmap(data.train.view)(random.split(KEY, 80), data.train.rows['x'])}
    params = built.model.init(KEY, built.example(columns))
    of = (built.model, params)
    calls = {
        'samples_beside': lambda: samples.samples_beside(*of, data.test, KEY),
        'fidelity': lambda: pictures.fidelity(*of, data.test, KEY, window=5),
        'read_codes': lambda: usefulness.read_codes(*of, data.train, data.test, KEY, per_class=3, draws=2, k=2),
        'detection': lambda: outliers.detection(*of, data.validation, data.test, KEY, train_nll=[1.0], k=2),
    }
    for what, call in calls.items():
        told = REFUSED.get(name, {}).get(what)
        if told is None:
            call()
            continue
        with pytest.raises(Fault, match=told):
            call()

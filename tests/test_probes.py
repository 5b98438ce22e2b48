"""What simple readers find in codes whose contents are known: probes, clusters, purity, measured strokes."""

import numpy as np
import pytest
from jax import random
from sklearn import metrics

from tests import small
from vae_jax.data.splits import Split
from vae_jax.errors import Fault
from vae_jax.evaluation import clusters, probes, style, usefulness
from vae_jax.evaluation.probes import Labelled

pytestmark = pytest.mark.usefixtures('quickly_compiled')
KEY = random.key(4)


def blobs(n, seed, apart=6.0, classes=3, noise=5):
    """Classes apart in two dimensions of codes, the others noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    angle = 2 * np.pi * labels / classes
    centres = apart / 2 * np.stack([np.cos(angle), np.sin(angle)], 1)
    codes = np.concatenate([centres + rng.normal(size=(n, 2)), rng.normal(size=(n, noise))], 1)
    return Labelled(codes, labels + 7)  # labels are names: they need not begin at zero


def test_probes_read_what_is_there_and_chance_where_nothing_is():
    train, test = blobs(600, 0), blobs(400, 1)
    shuffled = Labelled(train.codes, np.random.default_rng(2).permutation(train.labels))
    for probe in (probes.linear_probe, probes.neighbour_probe):
        found = probe(train, test)
        assert found.accuracy > 0.97 and found.probabilities.shape == (400, 3)
        np.testing.assert_allclose(found.probabilities.sum(1), 1, rtol=1e-6)
        np.testing.assert_array_equal(found.correct, found.probabilities.argmax(1) == found.truth)
        chance = probe(shuffled, test)
        assert abs(chance.accuracy - 1 / 3) < 0.12
        assert chance.se == pytest.approx(np.sqrt(chance.accuracy * (1 - chance.accuracy) / 400))


def test_the_linear_probe_is_standardised_by_the_training_codes_and_tested_on_others():
    train, test = blobs(300, 3, apart=2.0), blobs(200, 4, apart=2.0)
    scale, shift = 10.0 ** np.arange(-3, 4), np.arange(7.0)
    moved = [Labelled(part.codes * scale + shift, part.labels) for part in (train, test)]
    np.testing.assert_allclose(
        probes.linear_probe(*moved).probabilities, probes.linear_probe(train, test).probabilities, atol=1e-3
    )
    train, test = blobs(40, 5, apart=0.0, noise=60), blobs(400, 6, apart=0.0, noise=60)
    assert probes.linear_probe(train, test).accuracy < 0.5 < 0.9 < probes.linear_probe(train, train).accuracy


def test_few_labels_draws_as_many_of_each_class_and_averages(monkeypatch):
    train, test = blobs(600, 7, apart=3.0), blobs(400, 8, apart=3.0)
    seen, told = [], probes._told
    monkeypatch.setattr(probes, '_told', lambda c, some, test: seen.append(some) or told(c, some, test))
    found = probes.low_label(train, test, KEY, per_class=5, draws=6)
    assert [np.unique(some.labels, return_counts=True)[1].tolist() for some in seen] == [[5, 5, 5]] * 6
    assert len({some.codes.tobytes() for some in seen}) == 6
    assert all(len(np.unique(some.codes, axis=0)) == 15 for some in seen)  # without replacement
    assert found.values.shape == (6,) and found.se == pytest.approx(np.std(found.values, ddof=1) / np.sqrt(6))
    many = probes.low_label(train, test, KEY, per_class=100, draws=6)
    assert many.mean > found.mean + 2 * found.se and many.se < found.se


def test_regression_gives_the_share_that_is_explained_with_its_error():
    """y = code + noise of equal variance: R^2 = 1/2; over repetitions its error is the spread."""
    rng, found = np.random.default_rng(9), []
    for _ in range(60):
        codes, noise = rng.normal(size=(1300, 3)), rng.normal(size=1300)
        y = 3 + 2 * (codes[:, 0] + noise)
        found.append(probes.regression(codes[:1000], y[:1000], codes[1000:], y[1000:]))
    values = np.array([one.r2 for one in found])
    assert abs(values.mean() - 0.5) < 5 * values.std() / np.sqrt(60) + 0.005
    assert np.mean([one.se for one in found]) == pytest.approx(values.std(), rel=0.3)
    exact = probes.regression(codes, codes @ [1.0, 2, 3], codes, codes @ [1.0, 2, 3], strength=1e-9)
    assert exact.r2 == pytest.approx(1) and exact.se == pytest.approx(0, abs=1e-6)
    fitted = probes.regression(codes[:1000], y[:1000], codes[1000:], y[1000:])
    assert probes.regression(100 * codes[:1000], y[:1000], 100 * codes[1000:], y[1000:]).r2 == pytest.approx(fitted.r2)
    assert probes.regression(codes[:1000], rng.permutation(y[:1000]), codes[1000:], y[1000:]).r2 < 0.05


@pytest.mark.parametrize('assign', [clusters.k_means, clusters.gaussian_mixture])
def test_clusters_agree_with_labels_where_codes_do(assign):
    codes, labels = blobs(300, 10, apart=12.0)
    found = clusters.clustered(codes, labels, KEY, assign)
    assert found.ari > 0.98 and found.nmi > 0.95 and found.clusters == 3
    random_labels = np.random.default_rng(11).permutation(labels)
    chance = clusters.clustered(codes, random_labels, KEY, assign)
    assert abs(chance.ari) < 5 * chance.ari_se + 0.01 and chance.nmi < 0.05


def test_agreement_is_scikit_learns_and_knows_no_names():
    rng = np.random.default_rng(12)
    labels, noise = rng.integers(0, 4, 500), rng.integers(0, 4, 500)
    found = np.where(rng.uniform(size=500) < 0.7, (labels + 1) % 4, noise)
    told = clusters.agreement(found, labels, KEY)
    assert told.ari == metrics.adjusted_rand_score(labels, found)
    assert told.nmi == metrics.normalized_mutual_info_score(labels, found)
    assert 0.005 < told.ari_se < 0.06 and 0.005 < told.nmi_se < 0.06
    assert clusters.agreement((labels + 1) % 4, labels, KEY)[::2] == pytest.approx((1, 1, 4))


def test_purity_counts_other_codes():
    codes = np.array([[0.0], [0.1], [0.3], [5.0], [5.1], [5.3]])
    np.testing.assert_allclose(clusters.purity(codes, [0, 0, 1, 1, 1, 1], 2).values, [0.5, 0.5, 0, 1, 1, 1])
    assert clusters.purity(codes, np.arange(6), 1).mean == 0


def test_purity_asks_for_no_more_neighbours_than_the_smallest_class_has():
    train, test = blobs(90, 3, apart=60.0), blobs(40, 4, apart=60.0)
    few = Labelled(test.codes, test.labels)
    smallest = np.unique(few.labels, return_counts=True)[1].min()
    found = usefulness.read(train, few, KEY, per_class=3, draws=2, k=30)
    assert found.purity_k == smallest - 1 and found.purity.mean == 1 and f'(k = {smallest - 1})' in str(found)
    # all are right: two wrong ones of four more (Agresti & Coull)
    p = 42 / 44
    assert found.linear.accuracy == 1 and found.linear.se == pytest.approx(np.sqrt(p * (1 - p) / 44))
    assert found.purity.se == pytest.approx(found.linear.se)


def stroke(width, lean, length=16, side=28, finer=8):
    """An upright bar, sheared by `lean` to the right for each pixel up, drawn fine and averaged over pixels."""
    y, x = (np.mgrid[: side * finer, : side * finer] + 0.5) / finer - side / 2
    ink = (np.abs(x + lean * y) < width / 2) & (np.abs(y) < length / 2)
    return ink.reshape(side, finer, side, finer).mean((1, 3))


def test_slant_and_thickness_of_drawn_strokes():
    leans = np.array([-0.6, -0.2, 0.0, 0.3, 0.8])
    drawn = np.stack([stroke(3, lean) for lean in leans])
    np.testing.assert_allclose(style.slant(drawn), leans, atol=0.02)
    np.testing.assert_allclose(style.slant(255 * np.roll(drawn, (2, -3), (1, 2))), leans, atol=0.02)
    widths = np.array([2, 3, 4, 5, 6.5])
    upright = np.stack([stroke(width, 0.0) for width in widths])
    np.testing.assert_allclose(style.thickness(upright), widths, atol=0.3)
    np.testing.assert_allclose(style.thickness(upright.swapaxes(1, 2)[..., None]), style.thickness(upright), atol=1e-9)
    leaning = np.stack([stroke(width, 0.5) for width in widths])
    np.testing.assert_allclose(style.thickness(leaning), widths / np.sqrt(1.25), rtol=0.08)
    one_pixel = np.zeros((1, 9, 9))
    one_pixel[0, 2:7, 4] = 1
    assert style.thickness(one_pixel)[0] == pytest.approx(1) and style.slant(one_pixel)[0] == 0
    touching = np.ones((1, 9, 3))  # ink as far as the edge of the picture
    assert style.thickness(touching)[0] == pytest.approx(3)


def test_codes_of_a_model_are_read_with_labels_and_strokes():
    params = small.MODEL.init(KEY, small.DATA.example)
    found = usefulness.read_codes(
        small.MODEL, params, small.DATA.train, small.DATA.test, KEY, per_class=5, draws=3, k=3
    )
    assert 0.5 < found.linear.accuracy <= 1 and len(found.linear.correct) == 25
    assert found.few.values.shape == (3,) and found.purity.values.shape == (25,)
    pictures = [split.rows['x'] for split in (small.DATA.train, small.DATA.test)]
    values = usefulness.styles(*pictures)
    np.testing.assert_array_equal(values['slant'][0], style.slant(pictures[0]))
    np.testing.assert_array_equal(values['thickness'][1], style.thickness(pictures[1]))
    codes = [usefulness.encode(small.MODEL, params, s, KEY)['mean'] for s in (small.DATA.train, small.DATA.test)]
    values = {'first': (codes[0][:, 0], codes[1][:, 0]), **values}
    told = usefulness.read_values(small.MODEL, params, small.DATA.train, small.DATA.test, KEY, values)
    assert list(told) == ['first', 'slant', 'thickness'] and told['slant'].n == 25
    assert told['first'].r2 > 0.5 and told['thickness'].r2 <= 1  # the training split is binarized anew by each key
    assert '\n' not in str(found)


def test_bad_calls_are_one_line():
    train, test = blobs(60, 13), blobs(30, 14)
    params = small.MODEL.init(KEY, small.DATA.example)
    without = Split({'x': small.DATA.test.rows['x']}, 2, small.DATA.test.view)
    read = lambda **options: usefulness.read_codes(
        small.MODEL, params, small.DATA.train, small.DATA.test, KEY, **options
    )
    calls = [
        (
            lambda: usefulness.read_codes(small.MODEL, params, without, without, KEY),
            "no 'label', its columns are: none",
        ),
        (lambda: read(column='digit'), "no 'digit', its columns are: label"),
        (lambda: read(per_class=60), '60 labels a class'),
        (lambda: probes.neighbour_probe(train, test, 61), '61 neighbours among 60'),
        (lambda: probes.linear_probe(train._replace(labels=train.labels[:9]), test), 'give one label a code'),
        (lambda: probes.linear_probe(train._replace(labels=0 * train.labels), test), 'one class'),
        (lambda: probes.linear_probe(train, test._replace(labels=test.labels + 1)), r'test labels \[10\]'),
        (lambda: probes.linear_probe(train, test._replace(codes=test.codes[:, 1:])), 'differ in dimensions'),
        (
            lambda: probes.linear_probe(train._replace(labels=np.r_[np.nan, train.labels[1:]]), test),
            '1 of 60 training labels are no whole numbers',
        ),
        (lambda: clusters.purity(train.codes, 0.5 + train.labels), '60 of 60 labels are no whole numbers'),
        (lambda: probes.neighbour_probe(train, test, 2.5), 'k is 2.5'),
        (lambda: probes.low_label(train, test, KEY, draws=0), '0 draws'),
        (lambda: probes.regression(train.codes, train.labels, test.codes, test.labels[:3]), 'one finite value a code'),
        (lambda: probes.regression(train.codes, train.labels, test.codes, 0 * test.labels), 'all equal'),
        (lambda: clusters.clustered(train.codes, train.labels, KEY, clusters=61), '61 clusters of 60'),
        (lambda: clusters.purity(train.codes, train.labels, 60), '60 neighbours among 60'),
        (lambda: clusters.agreement([0], [0], KEY), 'two or more examples'),
        (lambda: style.slant(np.zeros((2, 5, 5))), '2 of 2 pictures have no ink'),
        (lambda: style.slant(np.eye(5)[None, :1]), 'all ink in one row'),
        (lambda: style.thickness(np.ones((2, 5))), r'shape \[2, 5\]'),
        (lambda: style.thickness(-np.ones((2, 5, 5))), 'below zero'),
    ]
    for call, told in calls:
        with pytest.raises(Fault, match=told) as fault:
            call()
        assert '\n' not in str(fault.value)

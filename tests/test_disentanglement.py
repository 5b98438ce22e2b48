"""Disentanglement metrics on codes whose scores are known on paper, and against their formulas written out."""

import itertools
import json
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random
from scipy import stats

from vae_jax import disentanglement as dis
from vae_jax.disentanglement import attributes, interventions, modular, tables, together
from vae_jax.errors import Fault

pytestmark = pytest.mark.usefixtures('quickly_compiled')
KEY = random.key(3)
draws = np.random.default_rng(8)
# All combinations of three factors of four values, thirty-six times each: every sum below is exact.
GRID = np.array(list(itertools.product(range(4), repeat=3)) * 36)
GRID = GRID[draws.permutation(len(GRID))]
A, B, C = (GRID - 1.5).T
N = len(GRID)
FACTORS = {name: GRID[:, i] for i, name in enumerate('abc')}
REAL = {name: values.astype(float) for name, values in FACTORS.items()}
LOG = np.log
HALF = np.sqrt(0.5)
CODES = {
    'perfect': np.stack([-2.0 * C, 0.5 * A, 3.0 + B], 1),
    'duplicated': np.stack([A, A, B, C], 1),
    'rotated': np.stack([HALF * (A + B), HALF * (A - B), C], 1),
    'dead': np.stack([A, np.full(N, 7.0), B, C], 1),
    'random': draws.uniform(-1, 1, (N, 4)),
    'all dead': np.ones((N, 3)),
}
FEW = {'fit': 3000, 'judge': 3000}


def correlations(codes, values, held, truth, seed):
    """Importances without a fit: squared correlations, to the next half as the rows to fit are a random part."""
    return np.round(2 * attributes._squared_correlation(codes, values)) / 2, 1.0


def within(score, expected, sigmas=5.0):
    """An accuracy of 3,000 draws is what was expected, within its standard error."""
    assert abs(score.value - expected) <= sigmas * np.sqrt(expected * (1 - expected) / FEW['judge']) + 1e-9


@pytest.mark.parametrize(
    ('codes', 'expected'),
    [('perfect', 1), ('duplicated', 1), ('rotated', 2 / 3), ('dead', 1), ('random', 1 / 3), ('all dead', 1 / 3)],
)
def test_the_beta_vae_score(codes, expected):
    """Of a rotated pair the differences are alike whichever of both is shared: half of two thirds are told."""
    score = dis.beta_vae_score(dis.of_table(CODES[codes], FACTORS), KEY, **FEW)
    within(score, expected)
    assert score.se == pytest.approx(np.sqrt(score.value * (1 - score.value) / 3000))
    assert list(score.each) == list('abc') and np.mean(list(score.each.values())) == pytest.approx(score.value)


@pytest.mark.parametrize(
    ('codes', 'expected'),
    [('perfect', 1), ('duplicated', 1), ('rotated', 2 / 3), ('dead', 1), ('random', 1 / 3), ('all dead', 0)],
)
def test_the_factor_vae_score(codes, expected):
    score = dis.factor_vae_score(dis.of_table(CODES[codes], FACTORS), KEY, **FEW)
    within(score, expected)


def test_the_factor_vae_score_weighs_variances_by_those_of_all_codes():
    """The narrow noise has the least variance always, and the least share of its own never."""
    codes = np.stack([C, A, B], 1) + draws.normal(0, 0.4, (N, 3))
    codes = np.concatenate([codes, draws.normal(0, 0.07, (N, 1))], 1)
    assert dis.factor_vae_score(dis.of_table(codes, FACTORS), KEY, **FEW).value == 1
    wider = codes * [1, 1, 0.04, 1]
    assert dis.factor_vae_score(dis.of_table(wider, FACTORS), KEY, **FEW).value < 0.9  # the third is dead to it
    assert dis.factor_vae_score(dis.of_table(wider, FACTORS), KEY, **FEW, dead=0).value == 1


def test_draws_of_a_table_agree_in_one_factor_and_every_value_is_as_likely():
    rare = np.concatenate([np.zeros(N - 40, int), np.repeat([1, 2], 20)])
    source = dis.of_table(np.stack([rare, GRID[:, 0]], 1), {'rare': rare, 'a': GRID[:, 0]})
    drawn = jax.vmap(lambda key: source.agreeing(source.data, key, jnp.array(0), 8))(random.split(KEY, 3000))
    held, other = np.moveaxis(np.asarray(drawn), 2, 0)
    assert np.all(held == held[:, :1]) and np.mean(np.ptp(other, axis=1) > 0) > 0.99
    counts = np.unique(held[:, 0], return_counts=True)[1]
    assert len(counts) == 3 and stats.chisquare(counts).pvalue > 1e-6
    anything = jax.vmap(lambda key: source.anything(source.data, key))(random.split(KEY, 3000))
    shares = np.mean(np.asarray(anything)[:, 0] == held.min())
    assert abs(shares - (N - 40) / N) < 5 * np.sqrt(40 / N / 3000)


def test_a_source_may_render_and_encode_what_it_draws():
    def anything(scale, key):
        return scale * random.randint(key, (2,), 0, 5)

    def agreeing(scale, key, factor, n):
        a, b = random.split(key)
        drawn = random.randint(a, (n, 2), 0, 5)
        return scale[None] * jnp.where(jnp.arange(2)[None] == factor, random.randint(b, (), 0, 5), drawn)

    source = dis.Source(agreeing, anything, jnp.array([1.0, -0.5]), ('p', 'q'))
    assert dis.beta_vae_score(source, KEY, **FEW).value == dis.factor_vae_score(source, KEY, **FEW).value == 1
    with pytest.raises(Fault, match='not finite') as fault:
        dis.beta_vae_score(source._replace(data=jnp.array([1.0, jnp.nan])), KEY, **FEW)
    assert fault.value.code == 4


GAPS = {'perfect': 1, 'duplicated': 2 / 3, 'rotated': 1 / 3, 'dead': 1, 'all dead': 0}


@pytest.mark.parametrize('codes', GAPS)
def test_the_gap_of_mutual_information_is_exact(codes):
    found = dis.mutual_information_gap(CODES[codes], FACTORS)
    assert found.mean == pytest.approx(GAPS[codes], abs=1e-12) and '20 equal bins' in str(found)


@pytest.mark.parametrize('codes', GAPS)
def test_sap_of_real_factors_is_that_of_squared_correlations(codes):
    assert dis.sap(CODES[codes], REAL, KEY).value == pytest.approx(GAPS[codes], abs=1e-12)
    noisy = CODES['duplicated'] + draws.normal(0, 1, (N, 4))
    by_hand = [np.sort(np.corrcoef(noisy.T, v)[-1, :-1] ** 2) for v in REAL.values()]
    expected = np.mean([one[-1] - one[-2] for one in by_hand])
    assert dis.sap(noisy, REAL, KEY).value == pytest.approx(expected)


@pytest.mark.parametrize('codes', [*GAPS, 'random'])
def test_sap_of_classes_has_what_is_above_chance(codes):
    """Thresholds tell four classes wholly or, from an independent dimension, a quarter of them."""
    expected = 0.75 * GAPS.get(codes, 0)
    within_ = 6 * np.sqrt(0.25 * 0.75 / (N / 3))  # the second largest of several, and fitted on two thirds
    assert dis.sap(CODES[codes], FACTORS, KEY).value == pytest.approx(expected, abs=within_)


def test_sap_balances_its_classes():
    """A dimension that tells nothing has 1/2 of two classes, however rare one of them is."""
    rare = (np.arange(N) % 20 == 0).astype(int)
    found = dis.sap(np.stack([rare, draws.normal(size=N)], 1), {'rare': rare}, KEY)
    assert found.value == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(N / 60))


def test_dci_of_importances_that_are_known():
    expected = {
        'perfect': (1, 1),
        'duplicated': (1, (0.5 + 1 + 1) / 3),
        'rotated': ((2 * (1 - LOG(2) / LOG(3)) + 1) / 3,) * 2,
        'dead': (1, 1),
        'all dead': (0, 0),
    }
    for codes, (disentanglement, completeness) in expected.items():
        found = dis.dci(CODES[codes], FACTORS, KEY, correlations)
        assert found.disentanglement == pytest.approx(disentanglement, abs=1e-9), codes
        assert found.completeness == pytest.approx(completeness, abs=1e-9), codes
    columns = iter([[3.0, 0.0, 1.0], [1.0, 2.0, 1.0], [0.0, 0.0, 0.0]])
    found = dis.dci(CODES['perfect'], FACTORS, KEY, lambda *_: (np.array(next(columns)), 0.25))
    entropy = lambda *p: stats.entropy(p) / LOG(3)
    by_hand = (4 * (1 - entropy(3, 1)) + 2 * 1 + 2 * (1 - entropy(1, 1))) / 8
    assert found.disentanglement == pytest.approx(by_hand) and found.informativeness == 0.25
    assert found.completeness == pytest.approx((1 - entropy(3, 1) + 1 - entropy(1, 2, 1) + 0) / 3)


def test_dci_of_predictors_that_are_fitted():
    """Trees and lasso of scikit-learn, whose importances any version may move by what is allowed here."""
    for fitted, tolerance in ((dis.forest, 1e-3), (dis.lasso, 0.02)):
        found = dis.dci(CODES['dead'], FACTORS, KEY, fitted)
        assert min(found[:3]) > 1 - tolerance and fitted.__name__ in str(found)
    few = {name: values[:600] for name, values in FACTORS.items()}
    boosted = dis.dci(CODES['dead'][:600], few, KEY, dis.boosted_trees)
    assert min(boosted[:3]) > 0.99
    rotated, alike = (dis.dci(CODES[codes], FACTORS, KEY) for codes in ('rotated', 'random'))
    assert rotated.disentanglement < 0.75 and alike.disentanglement < 0.05
    assert alike.informativeness == pytest.approx(0.25, abs=5 * np.sqrt(0.25 * 0.75 / N))
    assert dis.dci(CODES['random'], FACTORS, KEY, dis.lasso).informativeness < 0.02


@pytest.mark.parametrize(
    ('codes', 'expected'),
    [('perfect', 1), ('duplicated', 1), ('rotated', (0.5 + 0.5 + 1) / 3), ('dead', 3 / 4), ('all dead', 0)],
)
def test_modularity_is_exact(codes, expected):
    assert dis.modularity(CODES[codes], FACTORS).value == pytest.approx(expected, abs=1e-9)


def test_modularity_is_of_squares():
    codes = CODES['rotated'] + draws.normal(0, 0.5, (N, 3))
    m = dis.mutual_information_gap(codes, FACTORS).information.T ** 2
    by_hand = np.mean([1 - (np.sum(row) - np.max(row)) / (2 * np.max(row)) for row in m])
    assert dis.modularity(codes, FACTORS).value == pytest.approx(by_hand)


def test_explicitness_of_a_line_of_a_point_for_each_value_and_of_nothing():
    """From a line the values between two others are told by what is on their farther side: 2/3 of the rest."""
    for codes in ('perfect', 'duplicated', 'rotated', 'dead'):
        found = dis.explicitness(CODES[codes], FACTORS, KEY)
        assert found.value == pytest.approx((1 + 2 / 3 + 2 / 3 + 1) / 4, abs=0.01)
    points = np.concatenate([np.eye(4)[values] for values in FACTORS.values()], 1)
    assert dis.explicitness(points, FACTORS, KEY).value == pytest.approx(1)
    assert dis.explicitness(CODES['all dead'], FACTORS, KEY).value == 0.5
    assert abs(dis.explicitness(CODES['random'], FACTORS, KEY).value - 0.5) < 0.05


def test_interventional_robustness_is_exact():
    """Of a rotated pair half of the largest deviation stays, whichever is held; weights are these deviations."""
    rotated = (2 * 3 * HALF * 0.5 + 1.5) / (2 * 3 * HALF + 1.5)
    known = {'perfect': 1, 'duplicated': 1, 'rotated': rotated, 'dead': 1, 'all dead': 0}
    for codes, expected in known.items():
        for quantile in (0.99, 1.0):
            found = dis.interventional_robustness(CODES[codes], FACTORS, quantile)
            assert found.value == pytest.approx(expected, abs=1e-9), codes
    # Uniform codes of some hundred rows a value: the quantile of |z| is the share itself.
    assert dis.interventional_robustness(CODES['random'], FACTORS, 0.8).value == pytest.approx(0.2, abs=0.04)


@pytest.mark.parametrize(
    ('codes', 'modularity', 'completeness'),
    [
        ('perfect', 1, 1),
        ('duplicated', 1, ((0.5 + 1 + 1) / 3 - 1 / 4) / (3 / 4)),
        ('rotated', ((0.5 + 0.5 + 1) / 3 - 1 / 3) / (2 / 3), ((0.5 + 0.5 + 1) / 3 - 1 / 3) / (2 / 3)),
        ('dead', 1, 1),
    ],
)
def test_infomec_within_the_error_of_its_neighbours(codes, modularity, completeness):
    found = dis.infomec(CODES[codes], FACTORS, KEY)
    assert found.modularity == pytest.approx(modularity, abs=0.03)
    assert found.completeness == pytest.approx(completeness, abs=0.03)
    assert found.explicitness == pytest.approx(1, abs=0.01)


def test_infomec_leaves_out_what_hardly_varies_and_has_its_ends():
    narrow = CODES['perfect'] * [1, 1, 0] + 0.01 * CODES['random'][:, :3] * [0, 0, 1]
    found = dis.infomec(narrow, FACTORS, KEY)
    assert found.live.tolist() == [True, True, False] and found.information.shape == (3, 2)
    assert found.explicitness == pytest.approx(2 / 3, abs=0.01)
    assert dis.infomec(CODES['all dead'], FACTORS, KEY)[:3] == (0, 0, 0)
    assert dis.infomec(CODES['random'], FACTORS, KEY).explicitness < 0.01
    one = dis.infomec(np.stack([A, 0 * A], 1), FACTORS, KEY)
    assert one.completeness == 1 and one.modularity > 0.9
    by_hand = ((0.75 + 0.5 + 1 / 3) / 3 - 1 / 3) / (2 / 3)
    assert modular._one_sided(np.array([[3.0, 1, 0], [1, 2, 1], [0, 0, 0]])) == pytest.approx(by_hand)


def test_explicitness_in_nats_is_of_the_least_cross_entropy():
    """Of codes that tell in one of two rows: log-odds at the shares of the rows, their entropy by hand."""
    says = np.where(np.arange(N) % 2 == 0, GRID[:, 0], 4)
    found = dis.infomec(np.eye(5)[says], {'a': GRID[:, 0], 'b': GRID[:, 1]}, KEY)
    joint = np.histogram2d(GRID[:, 0], says, [np.arange(5), np.arange(6)])[0] / N
    conditional = stats.entropy(joint.ravel()) - stats.entropy(joint.sum(0))
    blurred = 1 - conditional / LOG(4)
    nothing = np.histogram2d(GRID[:, 1], says, [np.arange(5), np.arange(6)])[0] / N
    little = 1 - (stats.entropy(nothing.ravel()) - stats.entropy(nothing.sum(0))) / LOG(4)
    assert found.explicitness == pytest.approx((blurred + little) / 2, abs=1e-4)


def test_total_correlation_of_gaussian_codes():
    mixed = draws.normal(size=(500, 3)) @ np.array([[1.0, 0.8, 0], [0, 0.6, 0], [0, 0, 2]])
    c = np.cov(mixed, rowvar=False)
    expected = 0.5 * (np.log(np.diag(c)).sum() - np.linalg.slogdet(c)[1])
    assert dis.gaussian_total_correlation(mixed) == pytest.approx(expected)
    with_dead = np.concatenate([mixed, np.ones((500, 1))], 1)
    assert dis.gaussian_total_correlation(with_dead) == pytest.approx(expected)
    assert dis.gaussian_total_correlation(CODES['perfect']) == pytest.approx(0, abs=1e-9)
    assert dis.gaussian_total_correlation(CODES['all dead']) == 0
    with pytest.raises(Fault, match='more rows than dimensions'):
        dis.gaussian_total_correlation(np.ones((3, 3)))


def test_what_needs_no_predictor_needs_no_scikit_learn(monkeypatch):
    for name in [name for name in sys.modules if name.partition('.')[0] == 'sklearn'] + ['sklearn']:
        monkeypatch.setitem(sys.modules, name, None)
    codes = CODES['rotated']
    assert dis.mutual_information_gap(codes, FACTORS).mean == pytest.approx(1 / 3)
    assert dis.modularity(codes, FACTORS).value == pytest.approx(2 / 3)
    assert dis.sap(codes, REAL, KEY).value == pytest.approx(1 / 3)
    assert dis.interventional_robustness(codes, FACTORS).value < 0.7
    assert dis.dci(codes, FACTORS, KEY, correlations).disentanglement < 0.6
    within(dis.factor_vae_score(dis.of_table(codes, FACTORS), KEY, **FEW), 2 / 3)
    with pytest.raises(ImportError):
        dis.beta_vae_score(dis.of_table(codes, FACTORS), KEY, **FEW)


def test_all_scores_are_there_between_0_and_1_and_do_not_depend_on_the_order_or_the_sign_of_dimensions():
    rows = slice(600)
    factors = {name: values[rows] for name, values in FACTORS.items()}
    codes = (CODES['rotated'] + draws.normal(0, 0.3, (N, 3)))[rows]
    every, other = dis.all_scores(codes, factors, KEY), dis.scores(codes[:, ::-1] * [1, -1, 1], factors, KEY)
    one = {name: score.value for name, score in every.items()}
    assert all(score.how and score.how in str(score) for score in every.values())
    assert len(one) == 13 and all(0 <= value <= 1 for value in one.values())
    # a bin's edge is its own on one side, and trees break ties by place
    for name, value in one.items():
        assert other[name] == pytest.approx(value, abs=0.03), name


def test_a_rare_value_costs_only_the_scores_that_need_more_of_it(monkeypatch):
    for name in ('beta_vae_score', 'factor_vae_score'):  # they draw, for seconds, and ask for no more rows than MIG
        monkeypatch.setattr(together, name, lambda source, key: dis.Score(1.0, {}, 'drawn'))
    codes, factors = GOOD[0], {'a': GOOD[1]['a'], 'd': (np.arange(60) < 2).astype(int)}
    every = dis.all_scores(codes, factors, KEY)
    without = {name for name, score in every.items() if np.isnan(score.value)}
    parts = {f'dci_{part}' for part in ('disentanglement', 'completeness', 'informativeness')}
    assert without == parts | {'sap', 'explicitness', 'infom', 'infoe', 'infoc'}
    assert all('d has a value that is in 2 of 60 rows' in every[name].how for name in without)
    assert every['mig'].value == pytest.approx(dis.mutual_information_gap(codes, factors).mean)


@pytest.mark.slow
def test_all_scores_of_five_thousand_codes_take_less_than_thirty_seconds():
    factors = {name: draws.integers(0, size, 5000) for name, size in zip('abcde', (4, 6, 8, 16, 16))}
    codes = draws.normal(size=(5000, 10))
    started = time.process_time()
    dis.scores(codes, factors, KEY)
    assert time.process_time() - started < 30


METRICS = {
    'beta_vae': lambda codes, factors: dis.beta_vae_score(dis.of_table(codes, factors), KEY),
    'mig': dis.mutual_information_gap,
    'sap': lambda codes, factors: dis.sap(codes, factors, KEY),
    'dci': lambda codes, factors: dis.dci(codes, factors, KEY),
    'modularity': dis.modularity,
    'explicitness': lambda codes, factors: dis.explicitness(codes, factors, KEY),
    'irs': dis.interventional_robustness,
    'infomec': lambda codes, factors: dis.infomec(codes, factors, KEY),
    'scores': lambda codes, factors: dis.scores(codes, factors, KEY),
}
GOOD = CODES['perfect'][:60], {name: values[:60] for name, values in FACTORS.items()}
BAD = {
    'no factors': (GOOD[0], {}, '0 factors given'),
    'a constant factor': (GOOD[0], {**GOOD[1], 'd': np.ones(60, int)}, 'the factor d has 1 values'),
    'fewer rows': (GOOD[0], {**GOOD[1], 'd': np.arange(59) % 3}, 'one value for each of 60 codes'),
    'a value in one row': (GOOD[0], {**GOOD[1], 'd': np.arange(60) == 7}, 'd has a value that is in 1 of 60 rows'),
    'codes of nan': (np.where(np.arange(180).reshape(60, 3) == 5, np.nan, GOOD[0]), GOOD[1], '1 of 60 codes are not'),
    'words': (GOOD[0], {**GOOD[1], 'd': np.array(['p', 'q'] * 30)}, 'give numbers'),
    'a factor of nan': (GOOD[0], {**GOOD[1], 'd': np.where(np.arange(60) < 3, np.nan, 1.0)}, 'not finite in 3 rows'),
}


@pytest.mark.parametrize('metric', METRICS)
@pytest.mark.parametrize('case', BAD)
def test_bad_input_is_refused_in_one_line(case, metric):
    codes, factors, said = BAD[case]
    with pytest.raises(Fault) as fault:
        METRICS[metric](codes, factors)
    assert said in str(fault.value) and '\n' not in str(fault.value)
    assert fault.value.code == (4 if case == 'codes of nan' else 2)


def test_what_compares_several_is_refused_one():
    for name, metric in METRICS.items():
        if name not in ('mig', 'sap'):
            with pytest.raises(Fault, match='one factor, a given'):
                metric(GOOD[0], {'a': GOOD[1]['a']})
        if name in ('mig', 'sap', 'dci', 'infomec'):
            with pytest.raises(Fault, match='--latent 2'):
                metric(GOOD[0][:, :1], GOOD[1])
    source = dis.of_table(*GOOD)
    with pytest.raises(Fault, match='2 draws of 3 factors'):
        dis.factor_vae_score(source, KEY, fit=100, judge=2)
    with pytest.raises(Fault, match='quantile 0 '):
        dis.interventional_robustness(*GOOD, quantile=0)
    with pytest.raises(Fault, match='1 bins'):
        dis.mutual_information_gap(*GOOD, bins=1)
    with pytest.raises(Fault, match=r'shape \[60\]'):
        dis.modularity(GOOD[0][:, 0], GOOD[1])


def test_rows_to_judge_by_are_a_third_of_every_value():
    numbers = draws.integers(0, 5, 400)
    fit, judge = tables.parted(numbers, KEY)
    assert sorted([*fit, *judge]) == list(range(400))
    assert np.all(np.abs(np.bincount(numbers[judge]) - np.bincount(numbers) / 3) <= 1)
    assert not np.array_equal(judge, tables.parted(numbers, random.key(4))[1])
    assert interventions.DEAD == 0.05


def test_shares_of_variance_are_of_known_effects():
    from experiments import disentangled

    method, strength, seed = (draws.normal(size=shape) for shape in ((5, 1, 1), (5, 3, 1), (5, 3, 4)))
    strength -= strength.mean(1, keepdims=True)
    seed -= seed.mean(2, keepdims=True)
    parts = np.array([part.var() for part in np.broadcast_arrays(method, strength, seed)])
    found = disentangled.shares(7 + method + strength + seed)
    np.testing.assert_allclose(found, parts / parts.sum(), rtol=1e-9)
    noise = np.mean([disentangled.shares(draws.normal(size=(5, 3, 5))) for _ in range(400)], 0)
    np.testing.assert_allclose(noise, disentangled.expected(np.zeros((5, 3, 5))), atol=0.02)
    assert disentangled.shares(np.ones((2, 2, 2))) == (0, 0, 0)


@pytest.mark.slow
def test_the_stored_study_is_told_and_drawn(tmp_path):
    from experiments import disentangled

    stored = json.loads(disentangled.STORED.read_text())
    text = disentangled.table(stored)
    assert text.count('\n| beta ') == 6 and text.count('| noise alone |') == 1 and disentangled.verdict(stored) in text
    first = np.array(stored['values']['mig'])[0, 0]
    assert f'{first.mean():.3f} +- {stats.t(4).ppf(0.975) * first.std(ddof=1) / np.sqrt(5):.3f}' in text
    page = disentangled.page(stored, tmp_path).read_text()
    assert page.count('<figure>') == len(list(tmp_path.glob('*.png'))) == 10 and '://' not in page

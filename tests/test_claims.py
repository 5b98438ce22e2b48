"""What an experiment claims is so in the results that are stored for it; each stored result has its row here."""

from pathlib import Path

import numpy as np
import pytest

from experiments import documents, targets
from vae_jax import runs

RESULTS = documents.RESULTS
SPHERES = ('von_mises_fisher', 'power_spherical')


def of(study, metric='test_nll', **flags):
    return targets.of_study(study, metric, **flags)['mean']


def half(study, metric='test_nll', **flags):
    return targets.of_study(study, metric, **flags)['half']


def apart(study, metric, lower, higher):
    """Whether `lower` is below `higher` by more than both halves of their intervals."""
    (a, e), (b, f) = ((of(study, metric, **flags), half(study, metric, **flags)) for flags in (lower, higher))
    return a + e < b - f


def rows(name):
    return runs.read_json(RESULTS / f'{name}.json')['rows']


def mean(name, what, of_row):
    return np.mean([seed[what] for seed in rows(name)[of_row]])


def adversarial():
    yield apart('adversarial', 'test_nll', {'objective': 'vae'}, {'objective': 'factor'})
    yield of('adversarial', objective='factor') - of('adversarial', objective='vae') == pytest.approx(0.84, abs=0.3)
    yield of('adversarial', objective='aae') > 130
    for way in ('gan', 'vae_gan'):
        yield apart('adversarial', 'test_mmd', {'objective': 'aae'}, {'objective': way})


def beta():
    levels = [{'weigh': 'beta', 'beta': weight} for weight in (16.0, 4.0, 1.0)]
    for strong, weak in zip(levels, levels[1:]):
        yield apart('beta', 'test_rate', strong, weak) and apart('beta', 'test_distortion', weak, strong)
        yield of('beta', 'total_correlation', **strong) < of('beta', 'total_correlation', **weak)
    for target in (5.0, 10.0):
        yield of('beta', 'test_rate', weigh='capacity', capacity=target) == pytest.approx(target, abs=0.5)


def collapse():
    plain = {'decoder': 'autoregressive', 'remedy': 'plain'}
    for remedy in ('free_bits', 'free_bits_each', 'free_bits_mean', 'warmup'):
        yield of('collapse', 'active_units', remedy=remedy) == 16 > of('collapse', 'active_units', **plain)
        yield apart('collapse', 'test_rate', plain, {'remedy': remedy})


def cvae():
    yield apart('cvae', 'test_nll', {'see': 'one', 'prior': 'learned'}, {'see': 'one', 'prior': 'standard'})
    for more, less in (('three', 'two'), ('two', 'one')):
        yield apart('cvae', 'test_nll', {'see': more, 'prior': 'learned'}, {'see': less, 'prior': 'learned'})


def estimators():
    yield apart('estimators', 'test_nll', {'objective': 'dreg'}, {'objective': 'renyi'})
    for tight in ('iwae', 'dreg', 'vimco'):  # what is near to the ELBO has the q that is near to the posterior
        yield apart('estimators', 'test_elbo', {'objective': tight}, {'objective': 'renyi'})
    yield abs(of('estimators', objective='vimco') - of('estimators', objective='iwae')) < 0.06


def flows():
    normal = {'posterior': 'normal'}
    for flow in ('planar', 'coupling', 'iaf'):
        gained = [of('flows', m, posterior=flow) - of('flows', m, **normal) for m in ('test_elbo', 'test_nll')]
        yield gained[0] > 0 > gained[1] and gained[0] > -gained[1] - 0.01
    yield max(('planar', 'coupling', 'iaf'), key=lambda flow: of('flows', 'test_elbo', posterior=flow)) == 'iaf'


def headline():
    yield of('headline') + half('headline') < of('vampprior', prior='vampprior') - 2
    yield 79.24 < of('headline') < 85.57


def hyperspherical():
    for latent in (3, 6, 11, 21):
        for sphere in SPHERES:
            yield of('hyperspherical', latent=latent, posterior=sphere) > of(
                'hyperspherical', latent=latent, posterior='normal'
            )
    yield all(of('hyperspherical', 'test_rate', latent=21, posterior=s) < 0.5 for s in SPHERES)


def iwae():
    bound = {'objective': 'iwae'}
    for more, less in ((50, 5), (5, 1)):
        yield apart('iwae', 'test_nll', {'k': more, **bound}, {'k': less, **bound})
        yield apart('iwae', 'test_elbo', {'k': more, **bound}, {'k': less, **bound})
    units = [of('iwae', 'active_units', k=k, **bound) for k in (1, 5, 50)]
    yield units == sorted(units)


def ladder():
    for model in ('top_down', 'ladder', 'stacked'):
        yield apart('ladder', 'test_nll', {'model': model}, {'model': 'flat'})
    yield of('ladder', model='flat') - of('ladder', model='top_down') == pytest.approx(0.6, abs=0.05)
    yield of('ladder', 'rate_2', model='ladder') < 0.01 < 1 < of('ladder', 'rate_1', model='top_down')
    yield of('ladder', 'rate_2', model='stacked') > of('ladder', 'rate_1', model='stacked')


def missing():
    for dataset in ('breast_cancer', 'wine'):
        each = [of('missing', f'{way}_rmse', dataset=dataset) for way in ('miwae', 'iterative', 'mean')]
        yield each == sorted(each) and each[0] + half('missing', 'miwae_rmse', dataset=dataset) < each[1]


def semi_supervised():
    error = lambda method, alpha: of('semi_supervised', 'test_error', method=method, alpha=alpha)
    yield error('m2', 0.1) < error('m1', 0.1) < of('semi_supervised', 'pixels_error', method='m1')
    yield error('m1_m2', 0.1) > error('m2', 0.1)


def sigma():
    order = ('pixel', 'shared', 'optimal', 'one')
    for better, worse in zip(order, order[1:]):
        yield apart('sigma', 'test_nll', {'sigma': better}, {'sigma': worse})


def total_correlation():
    weak, strong = ({'penalty': 'weighted', 'tc': weight} for weight in (1.0, 6.0))
    yield apart('total_correlation', 'total_correlation', strong, weak)
    yield apart('total_correlation', 'test_nll', weak, strong)


def vampprior():
    gap = of('vampprior', prior='natural', posterior='normal') - of('vampprior', prior='vampprior')
    yield gap == pytest.approx(3, abs=0.2)
    yield 0 < of('vampprior', prior='natural', posterior='normal') - of('vampprior', posterior='iaf') < gap


def vq():
    yield of('vq') + half('vq') < of('vq', 'test_uniform_nll') - half('vq', 'test_uniform_nll')


def continuous_bernoulli():
    stored = rows('continuous_bernoulli')
    density = next(name for name in stored if 'as a density' in name)
    yield all(
        mean('continuous_bernoulli', 'nll', density) < mean('continuous_bernoulli', 'nll', n) - 3
        for n in stored
        if n != density
    )


def two_stage():
    own, mixture = (next(n for n in rows('two_stage') if word in n) for word in ('N(0, I)', 'mixture'))
    for what in ('c2st', 'mmd', 'nll'):
        yield mean('two_stage', what, mixture) < mean('two_stage', what, own)


def gaps():
    yield all(row['amortization'] > row['approximation'] for row in rows('gaps'))


def quadrants():
    value = {(r['pixels'], r['seen'], r['method']): np.mean(r['minus_elbo']) for r in rows('quadrants')}
    gained = [value['grey', seen, 'regressor'] - value['grey', seen, 'cvae'] for seen in ('one', 'two', 'three')]
    yield gained[0] > gained[1] > gained[2] > 0


def snr():
    slope = {(row['estimator'], row['part']): np.mean(row['slopes']) for row in rows('snr')}
    yield slope.pop(('IWAE', 'encoder')) == pytest.approx(-0.5, abs=0.02)
    yield all(each == pytest.approx(0.5, abs=0.08) for each in slope.values())


def linear_vae():
    yield all(count == row['predicted'] for row in rows('linear_vae') for count in row['active'])
    yield all(below < 1e-3 for row in rows('linear_vae') for below in row['below'])


CLAIMS = {
    claim.__name__: claim
    for claim in (
        adversarial, beta, collapse, cvae, estimators, flows, headline, hyperspherical, iwae, ladder, missing,
        semi_supervised, sigma, total_correlation, vampprior, vq, continuous_bernoulli, two_stage, gaps, quadrants, snr,
        linear_vae,
    )
}  # fmt: skip
ELSEWHERE = {'aevb_figure2', 'aevb_figure3', 'tour', 'estimates', 'usefulness', 'disentanglement'}


@pytest.mark.parametrize('name', CLAIMS)
def test_a_claim_holds_in_what_is_stored(name):
    held = list(CLAIMS[name]())
    assert held and all(held)


def test_every_stored_result_has_its_claim():
    from experiments.protocols import PROTOCOLS

    stored = {path.stem for path in (*RESULTS.glob('*.json'), *(RESULTS / 'studies').glob('*.json'))}
    assert stored - ELSEWHERE - set(PROTOCOLS) == set(CLAIMS)
    assert all((Path(targets.__file__).parent / f'{name}.py').exists() for name in CLAIMS)


def test_what_is_not_stored_is_said_to_be_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(documents, 'RESULTS', tmp_path)
    assert targets.table().count('not run: ') == len(targets.TARGETS)

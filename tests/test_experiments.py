"""Every experiment at smoke size, every switch of the general one, and the README's script, run as a user would."""

import importlib
import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import choices, vae
from vae_jax import cli, config, runs
from vae_jax import flags as flag_parsing
from vae_jax.errors import Fault

pytestmark = pytest.mark.usefixtures('quickly_compiled')

ROOT = Path(__file__).parent.parent
SWITCHES = {
    'default': {},
    'latent of two': {'latent': 2},
    'conv': {'network': 'conv', 'channels': (4, 8), 'hidden': (8,)},
    'resnet': {'network': 'resnet', 'channels': (4, 8), 'hidden': (8,), 'activation': 'silu'},
    'iwae': {'objective': 'iwae', 'k': 3, 'optimizer': 'adam_iwae', 'schedule': 'falling'},
    'elbo of several samples': {'k': 3, 'warmup': 1, 'schedule': 'cosine', 'observe': 'gradients'},
    'grey, discretized': {'binarization': 'none'},
    'grey, normal': {'binarization': 'none', 'likelihood': 'normal', 'optimizer': 'adagrad'},
    'grey, soft': {'binarization': 'none', 'likelihood': 'soft_bernoulli'},
    'static': {'binarization': 'static', 'output_bias': 'data', 'select': 'last', 'optimizer': 'rmsprop'},
    'threshold': {'binarization': 'threshold', 'activation': 'tanh', 'patience': 1, 'optimizer': 'adamw'},
    'no validation': {'validation': 0, 'select': 'last', 'optimizer': 'sgd'},
    'product': {'posterior': 'iaf', 'prior': 'vampprior', 'components': 4, 'objective': 'dreg', 'k': 3, 'latent': 4},
    'discrete': {'posterior': 'categorical', 'objective': 'vimco', 'k': 3, 'latent': 4},
    'sphere': {'posterior': 'power_spherical', 'latent': 4, 'binarization': 'none', 'likelihood': 'beta_binomial'},
    'penalty': {'objective': 'beta_tc', 'network': 'gated', 'posterior': 'normal'},
}
HEAVY = {
    **{f'posterior {name}': {'posterior': name, 'latent': 4} for name in choices.POSTERIORS if name != 'normal'},
    **{f'prior {name}': {'prior': name, 'components': 4} for name in choices.PRIORS},
    **{f'objective {name}': {'objective': name, 'k': 3} for name in choices.OBJECTIVES},
    **{f'likelihood {name}': {'binarization': 'none', 'likelihood': name} for name in choices.LIKELIHOODS},
    'transformer': {'network': 'transformer', 'hidden': (8,)},
}
for name in ('posterior categorical', 'posterior bernoulli'):
    HEAVY[name] = {**HEAVY[name], 'objective': 'vimco', 'k': 3}
for name in (
    'product',
    'discrete',
    'conv',
    'grey, discretized',
    'sphere',
    'penalty',
    'resnet',
    'grey, normal',
    'threshold',
    'static',
    'elbo of several samples',
    'no validation',
):
    HEAVY[name] = SWITCHES[name]
del HEAVY['likelihood soft_bernoulli']  # it is 'grey, soft'
HEAVY['likelihood bernoulli'] = {'likelihood': 'bernoulli'}
HEAVY['objective score'] = {**HEAVY['objective score'], 'posterior': 'bernoulli'}
SWITCHES |= HEAVY
EXPERIMENTS = [
    ('adversarial', {}),
    ('beta', {'hidden': 8}),
    ('collapse', {}),
    ('cvae', {}),
    ('deep_ladder', {'channels': 4, 'coarse': 1, 'blocks': 0}),
    ('disentanglement', {'hidden': 8}),
    ('gaps', {}),
    ('ladder', {}),
    ('missing', {}),
    ('semi_supervised', {}),
    ('sigma', {}),
    ('total_correlation', {'hidden': 8}),
    ('vq', {}),
]
STORIES = ('estimators', 'flows', 'headline', 'hyperspherical', 'iwae', 'vampprior')


def run(out, **fields):
    flags = config.RunFlags(smoke=True, quiet=True, out=str(out), data_dir=str(out.parent / 'no data here'))
    return cli.run(vae.Config(run=flags, **fields), vae.build, name='vae', version=vae.VERSION)


@pytest.mark.parametrize(
    'name', [pytest.param(name, marks=[pytest.mark.slow] if name in HEAVY else []) for name in SWITCHES]
)
def test_a_switch_trains_evaluates_and_reports(name, tmp_path):
    result = run(tmp_path / 'run', **SWITCHES[name])
    for metric in ('test_elbo', 'test_rate', 'test_distortion', 'test_nll'):
        assert (
            np.isfinite(result[metric]) and result[f'{metric}_se'] > 0 and np.isfinite(result[f'{metric}_bits_per_dim'])
        )
    if result['test_elbo'] < 0:  # no density, whose bounds have either sign
        assert result['test_nll'] <= -result['test_elbo'] + 5 * result['test_elbo_se']
    assert ('notes' in result and 'not a likelihood' in result['notes'][0]) == (name == 'grey, soft')
    page = (tmp_path / 'run/report.html').read_text()
    assert 'Reconstructions' in page and ('manifold' in page.lower()) == (name == 'latent of two')
    assert runs.verify(tmp_path / 'run') == []
    names = set().union(*runs.read_metrics(tmp_path / 'run/metrics.jsonl'))
    assert ('train/grad_norm/encode' in names) == (name == 'elbo of several samples')
    assert ('validation/loss' in names) == (SWITCHES[name].get('select') != 'last')


LONG = ('adversarial', 'beta', 'deep_ladder', 'disentanglement', 'gaps', 'ladder', 'semi_supervised', 'sigma')
LONG += ('total_correlation', 'vq')


@pytest.mark.parametrize(
    'name, fields',
    [pytest.param(*row, marks=[pytest.mark.slow] * (row[0] in LONG)) for row in EXPERIMENTS],
    ids=[name for name, _ in EXPERIMENTS],
)
def test_an_experiment_runs_at_smoke_size(name, fields, tmp_path):
    module = importlib.import_module(f'experiments.{name}')
    flags = config.RunFlags(smoke=True, quiet=True, out=str(tmp_path / 'run'), data_dir=str(tmp_path / 'no data here'))
    result = cli.run(module.Config(run=flags, **fields), module.build, name=name, version=module.VERSION)
    assert all(np.isfinite(value) for value in result.values() if isinstance(value, float))
    told = (module.__doc__ or '').splitlines()
    for line in ('Claim', 'Command', 'Expected', 'Time'):
        assert any(text.startswith(line) for text in told), f'{name} states no {line}'


@pytest.mark.slow
def test_what_measures_finished_runs_has_its_smoke_too(tmp_path, monkeypatch, capsys):
    from experiments import estimates, usefulness

    assert estimates.main(['--smoke', '--quiet', '--out', str(tmp_path / 'estimates.json')]) == 0
    monkeypatch.setattr('sys.argv', ['usefulness', '--smoke', '--out', str(tmp_path / 'usefulness.json')])
    usefulness.main()
    for module, name in ((estimates, 'estimates'), (usefulness, 'usefulness')):
        text = module.table(json.loads((tmp_path / f'{name}.json').read_text()))
        assert '| --- |' in text.replace('|---|', '| --- |') and 'nan' not in text


def test_the_page_of_results_is_that_of_what_is_stored():
    from experiments import protocols

    assert (ROOT / 'experiments/README.md').read_text() == protocols.table()


@pytest.mark.parametrize('name', STORIES)
def test_a_story_is_flags_of_the_general_experiment(name, tmp_path):
    module = importlib.import_module(f'experiments.{name}')
    leaves = config.leaves(vae.Config)
    others, swept = flag_parsing.swept([*module.FLAGS.split(), '--smoke'], leaves)
    first = vae.Config(**{field: values[0] for field, values in swept.items()})
    parsed = flag_parsing.parse(vae.Config, others, name)
    assert (swept or parsed.run.seeds > 1) and isinstance(parsed, vae.Config) and first


def test_a_study_is_computed_from_its_runs(tmp_path):
    from experiments import studies

    rows = [
        {'flags': {'k': k}, 'config': {}, 'seed': seed, 'result': {'test_nll': float(10 * k + seed)}}
        for k in (1, 2)
        for seed in range(3)
    ]
    first, second = studies.summarize(rows, ['test_nll'], 'min')
    assert first['flags'] == {'k': 1} and first['values']['test_nll']['mean'] == 11 and first['to_best'] is None
    assert second['to_best'] == {'mean': 10.0, 'low': 10.0, 'high': 10.0, 'p': 0.0} and second['seeds'] == 3
    document = {'rows': [first, second], 'metrics': ['test_nll'], 'commands': ['python -m it'], 'note': '', 'runs': 6}
    text = studies.section('it', {**document, 'training_s': 3, 'machine': 'one', 'date': 'today', 'versions': {}})
    assert '| 1 | 11.00 +- 2.48 | 3 |  |' in text and '| 2 | 21.00 +- 2.48 | 3 | 10.00 [10.00, 10.00], p 0 |' in text
    del second['to_best']['p']  # as studies were stored before
    assert 'p 0' not in studies.section('it', {**document, 'training_s': 3, 'machine': '', 'date': '', 'versions': {}})
    with pytest.raises(Fault, match='test_nll'):
        studies.summarize(rows, ['test_nl'], 'min')


def test_members_evaluated_together_tell_what_each_would_alone():
    flags = config.RunFlags(smoke=True, quiet=True)
    experiment = vae.build(vae.Config(dataset='digits', test_k=20, run=flags))
    keys = jax.random.split(jax.random.key(4), 3)
    members = jax.vmap(lambda key: experiment.model.init(key, experiment.data.example))(keys)
    together = experiment.evaluate_some(members, keys, True)
    for i, key in enumerate(keys):
        result, examples = experiment.evaluate(jax.tree.map(lambda leaf, i=i: leaf[i], members), key, True)
        assert together[i][0] == pytest.approx(result, rel=1e-5)
        for name, values in examples.items():
            np.testing.assert_allclose(together[i][1][name], values, rtol=1e-3)


def test_a_dataset_that_is_not_there_is_stood_in_for_and_said_so(tmp_path):
    result = run(tmp_path / 'run', dataset='mnist')
    assert result['notes'] == ['data: stand-in'] and 'data: stand-in' in (tmp_path / 'run/report.html').read_text()


def test_smoke_runs_whatever_the_real_run_would(tmp_path):
    assert np.isfinite(run(tmp_path / 'run', batch_size=1000)['test_nll'])


def test_own_arrays_and_flat_vectors(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / 'mine.npz', x=rng.normal(size=(90, 7)).astype(np.float32), label=np.arange(90) % 3)
    result = run(tmp_path / 'run', data=str(tmp_path / 'mine.npz'), batch_size=32)
    assert np.isfinite(result['test_nll']) and result['test_examples'] == 9


def test_a_run_starts_from_another_with_a_frozen_part(tmp_path):
    run(tmp_path / 'first')
    run(tmp_path / 'second', warm_start=str(tmp_path / 'first'), freeze=('decode',))
    first, second = (runs.load(tmp_path / name).params for name in ('first', 'second'))
    same = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), first, second)
    assert all(jax.tree.leaves(same['decode'])) and not all(jax.tree.leaves(same['encode']))


def test_a_notebook_gets_everything_back_and_runs_stand_in_one_table(tmp_path):
    run(tmp_path / 'a')
    run(tmp_path / 'b', latent=3)
    loaded = runs.load(tmp_path / 'b')
    assert loaded.config.latent == 3
    x = np.asarray(loaded.experiment.data.example)
    assert loaded.model.encode(loaded.params, x).mean.shape == (3,)
    rows = {Path(row['path']).name: row for row in runs.table(str(tmp_path / '**'))}
    assert {'a', 'b'} == set(rows) and {row['latent'] for row in rows.values()} == {3, 16}
    assert rows['a']['test_nll'] == json.loads((tmp_path / 'a/result.json').read_text())['test_nll']


REFUSED = [
    ({'binarization': 'none', 'likelihood': 'bernoulli'}, 'Bernoulli expects 0 or 1'),
    ({'dataset': 'mnits'}, 'mnist'),
    ({'epochs': 1, 'steps': 1}, 'both given'),
    ({'validation': 0}, '--select last'),
    ({'objective': 'iwae', 'hyper': vae.Hyper(beta=2.0)}, '--beta would change nothing under --objective iwae'),
    ({'posterior': 'categorical'}, '--objective elbo needs the gradient of samples, and --posterior categorical has'),
    ({'objective': 'vimco', 'posterior': 'bernoulli'}, '--k is 1'),
    ({'objective': 'beta_tc', 'accumulate': 2}, '--accumulate'),
    ({'objective': 'capacity', 'prior': 'vampprior'}, 'KL(Normal || Mixture) has no closed form'),
    ({'posterior': 'power_spherical', 'prior': 'maf', 'latent': 4}, 'a flow moves any real number'),
    ({'freeze': ('decoder',)}, 'decode'),
    ({'data': 'nowhere.npz'}, 'nowhere.npz'),
    ({'latent': 0}, 'latent'),
    ({'parts': ('encode',)}, '--parts'),
    ({'select': 'last', 'patience': 2}, '--patience'),
    ({'data': 'late.npz', 'likelihood': 'bernoulli', 'batch_size': 16}, 'Bernoulli expects 0 or 1, found 7'),
    ({'data': 'huge.npz'}, 'not finite'),
    ({'data': 'misspelt.npz'}, "did you mean 'label'?"),
]


@pytest.mark.parametrize('fields, said', REFUSED, ids=[said for _, said in REFUSED])
def test_bad_input_is_refused_in_one_line(fields, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bits = np.zeros((90, 5), np.float32)
    late, huge = bits.copy(), bits.astype(np.float64)
    late[80:], huge[89, 4] = 7.0, 1e300
    np.savez('late.npz', x=bits, test_x=late)
    np.savez('huge.npz', x=bits, test_x=huge)
    np.savez('misspelt.npz', x=bits, labels=np.arange(90))
    with pytest.raises(Fault) as fault:
        run(tmp_path / 'run', **fields)
    assert said in str(fault.value) and '\n' not in str(fault.value) and fault.value.code in (2, 3)
    assert not (tmp_path / 'run/result.json').exists()


def test_the_readmes_script_runs(tmp_path, monkeypatch, capsys):
    code = '\n'.join(re.findall(r'```python\n(.*?)```', (ROOT / 'README.md').read_text(), re.S))
    for old, new in {
        "'mnist'": "'digits'",
        'epochs=20': 'epochs=1',
        'k=5000': 'k=20',
        '256)': '8)',
        '(32, 64)': '(4, 8)',
    }.items():
        assert old in code
        code = code.replace(old, new)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TQDM_DISABLE', '1')
    names: dict = {}
    exec(compile(code, 'README.md', 'exec'), names)
    assert 'nats' in capsys.readouterr().out and (tmp_path / 'samples.png').stat().st_size > 0
    params = names['model'].init(jax.random.key(0), names['data'].example)
    batch = {'x': names['data'].example[None]}
    assert jax.eval_shape(names['loss'], params, jax.random.key(1), batch, names['Hyper']())[0].shape == ()

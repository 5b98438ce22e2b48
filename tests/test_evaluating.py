"""The verb `evaluate`: a file a metric, faults that stop no other, and nothing computed twice."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments import vae
from vae_jax import __main__ as verbs
from vae_jax import cli, config, evaluation, runs
from vae_jax.errors import Fault
from vae_jax.evaluation import keeping, streaming
from vae_jax.measures import MEASURES, told

pytestmark = pytest.mark.usefixtures('quickly_compiled')


@pytest.fixture(scope='module')
def done(tmp_path_factory):
    """A smoke run on digits, of two latents."""
    path = tmp_path_factory.mktemp('evaluating') / 'run'
    flags = config.RunFlags(smoke=True, quiet=True, out=str(path))
    cli.run(vae.Config(latent=2, hidden=(8,), run=flags), vae.build, name='vae', version=vae.VERSION)
    return path


def verb(*argv):
    return verbs.main(['evaluate', *map(str, argv), '--quiet'])


def last(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_each_metric_is_a_file_and_a_fault_stops_no_other(done, capsys):
    result = (done / 'result.json').read_bytes()
    code = verb(done, '--metrics', 'nll', 'outliers', 'exact', 'disentanglement', '--k', '200', '--images', '40')
    out = capsys.readouterr()
    assert code == 2 and list(json.loads(out.out.splitlines()[-1])) == ['nll', 'exact', 'path']
    assert out.err.count('\n') == 3 and 'outliers: ' in out.err and 'add --against DATASET' in out.err
    assert '2 of 4 metrics could not be had: outliers, disentanglement' in out.err
    stored = {name: runs.read_json(done / f'evaluation/{name}.json') for name in ('nll', 'exact')}
    assert stored['nll']['examples'] == 40 and stored['nll']['k'] == 200 and 'k' not in stored['exact']
    assert stored['nll']['units']['nll_bits_per_dim'] == 'bits/dim' and stored['nll']['peak_bytes'] > 1e7
    with np.load(done / 'evaluation/nll.npz') as nll, np.load(done / 'evaluation/exact.npz') as exact:
        assert nll['nll'].shape == exact['exact'].shape == (40,)
        assert stored['nll']['nll'] == np.mean(nll['nll'])
        # two latents on a grid: importance sampling agrees, image by image
        assert np.abs(nll['nll'] - exact['exact']).max() < 1
    assert abs(stored['nll']['nll'] - stored['exact']['exact']) < 0.1
    assert not list((done / 'evaluation').glob('.nll*')) and (done / 'result.json').read_bytes() == result
    assert runs.verify(done) == []


def test_what_is_there_is_not_computed_again_and_other_flags_are(done, capsys, monkeypatch):
    asked = [done, '--metrics', 'elbo', '--images', '30']
    assert verb(*asked) == 0
    first = last(capsys)
    monkeypatch.setattr(evaluation, 'elbo_estimate', lambda *args, **how: pytest.fail('computed again'))
    assert verb(*asked) == 0 and verb(*asked, '--k', '7') == 0  # the ELBO does not read k
    assert last(capsys) == first
    monkeypatch.undo()
    for more in (['--seed', '1'], ['--seed', '1', '--fresh']):
        assert verb(*asked, *more) == 0
        found = last(capsys)
        assert found['elbo'] != first['elbo'] and found['wall_s'] != first['wall_s']


def test_one_that_was_stopped_goes_on_where_it_was(done, capsys, monkeypatch):
    monkeypatch.setattr(keeping, 'EVERY', -1.0)
    monkeypatch.setattr(streaming, 'ROWS', 1600)
    asked = [done, '--metrics', 'nll', '--k', '2000']
    assert verb(*asked) == 0
    whole, path = last(capsys), done / 'evaluation'
    (path / 'nll.json').unlink()
    calls, true = [], streaming.block

    def stopped(*args):
        calls.append(0)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return true(*args)

    monkeypatch.setattr(streaming, 'block', stopped)
    assert verb(*asked) == 130 and not (path / 'nll.json').exists() and list(path.glob('.nll/*/*.npz'))
    calls[:] = [0] * 10
    monkeypatch.setattr(streaming, 'block', lambda *args: calls.append(0) or true(*args))
    capsys.readouterr()
    assert verb(*asked) == 0
    found = last(capsys)
    assert len(calls) - 10 < 256 // 8 and found['nll'] == whole['nll'] and not (path / '.nll').exists()


def test_what_was_asked_otherwise_is_set_aside_and_found_again(done, capsys):
    large, small = ([done, '--metrics', 'elbo', '--images', n, '--seed', '5'] for n in ('50', '10'))
    assert verb(*large) == 0
    first = last(capsys)
    assert verb(*small) == 0
    out = capsys.readouterr()
    assert json.loads(out.out.splitlines()[-1])['examples'] == 10 and 'note: elbo.json was of other flags' in out.err
    assert verb(*large) == 0
    out = capsys.readouterr()
    found = json.loads(out.out.splitlines()[-1])
    aside = Path(found.pop('path'))
    assert 'there already' in out.out and aside.name.startswith('elbo-') and first.pop('path') and found == first
    assert np.load(aside.with_suffix('.npz'))['elbo'].shape == (50,) and runs.read_json(aside)['made']['versions']
    (done / 'evaluation/elbo.json').write_text('[1]')
    assert verb(*small) == 0 and last(capsys)['examples'] == 10
    (done / 'evaluation/elbo.json').write_text('{"exam')
    assert verb(*small) == 0
    assert 'it is measured again' in capsys.readouterr().err


def test_a_defect_of_one_measure_and_other_data_that_are_not_there_stop_no_other(done, capsys, monkeypatch):
    def broken(*args, **how):
        raise TypeError('shapes')

    monkeypatch.setattr(evaluation, 'collapse_report', broken)
    asked = ['collapse', 'outliers', 'elbo', '--images', '20', '--against', 'no_such_data', '--seed', '6']
    assert verb(done, '--metrics', *asked) == 5
    out = capsys.readouterr()
    assert list(json.loads(out.out.splitlines()[-1])) == ['elbo', 'path']
    assert 'collapse: TypeError: shapes' in out.err and 'outliers: ' in out.err and 'no_such_data' in out.err
    assert verb(done, '--metrics', 'outliers', '--against', 'digits') == 2
    assert 'is what the run was trained on' in capsys.readouterr().err


def test_a_second_evaluation_at_once_is_told_who_is_there(done, capsys):
    with runs.held(done / 'evaluation'):
        assert verb(done, '--metrics', 'elbo', '--seed', '7') == 3
    assert 'is in use by process' in capsys.readouterr().err


def test_a_number_that_is_not_finite_is_strict_json_and_a_damaged_best_is_told(done, capsys, tmp_path):
    assert verb(done, '--metrics', 'elbo', '--images', '1') == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert json.loads(line, parse_constant=pytest.fail)['elbo_se'] == 'nan'
    copy = tmp_path / 'run'
    shutil.copytree(done, copy)
    assert verb(copy, '--metrics', 'elbo', '--images', '5') == 0 and last(capsys)['checkpoint'] == 'best'
    arrays = max(
        (path for path in (copy / 'checkpoints/best').rglob('*') if path.is_file()), key=lambda p: p.stat().st_size
    )
    held = bytearray(arrays.read_bytes())
    held[len(held) // 2] ^= 1
    arrays.write_bytes(held)
    assert verb(copy, '--metrics', 'elbo', '--images', '6') == 0
    assert last(capsys)['checkpoint'] == 'last, as best is damaged'


def test_other_parameters_and_fresh_are_computed_anew(done, capsys, monkeypatch):
    asked = [done, '--metrics', 'nll', '--k', '3', '--images', '20']
    assert verb(*asked) == 0
    first, path = last(capsys), done / 'evaluation'
    stored = runs.read_json(path / 'nll.json')
    runs.write_json(path / 'nll.json', stored | {'parameters': 'of another step', 'nll': 7.0})
    assert verb(*asked) == 0 and last(capsys)['nll'] == first['nll']
    monkeypatch.setattr(keeping, 'forget', lambda kept: None)
    assert verb(*asked, '--fresh') == 0
    kept = next(path.glob('.nll/*/0.npz'))
    np.savez(kept, rows=20, **{'0': np.full(20, 9.0, np.float32), '1': np.ones(20, np.float32)})
    monkeypatch.undo()
    capsys.readouterr()
    assert verb(*asked, '--fresh') == 0 and last(capsys)['nll'] == first['nll']


def test_gaps_and_probes_are_told_as_numbers_and_not_of_the_training_split(done, capsys):
    assert verb(done, '--metrics', 'labels', 'gaps', '--k', '20', '--images', '40') == 0
    found = last(capsys)
    for name in ('approximation', 'amortization', 'inference'):
        assert found['gaps']['units'][name] == 'nats' and found['gaps'][f'{name}_se'] > 0
    parts = found['gaps']['approximation'] + found['gaps']['amortization']
    assert parts == pytest.approx(found['gaps']['inference'], abs=1e-6)
    assert 0 <= found['labels']['linear_accuracy'] <= 1
    assert verb(done, '--metrics', 'labels', '--split', 'train') == 2
    assert 'use --split test' in capsys.readouterr().err


def test_what_cannot_be_asked_is_told_in_a_line(done, capsys):
    for argv, said in (
        ([done, '--metrics', 'nl'], "unknown metric 'nl'; fix: did you mean 'nll'?"),
        ([done, '--member', '0'], 'is one run'),
        ([done, '--metrics'], '--metrics names none'),
        ([done / 'nowhere'], 'is no run directory'),
    ):
        assert verb(*argv) == 2 and said in capsys.readouterr().err
    assert verb(done, '--metrics', 'elbo', '--images', '9999') == 0
    assert 'note: 9999 images were asked for, the split has 256' in capsys.readouterr().err
    assert verb(done, '--metrics', 'list') == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(MEASURES)


def test_what_is_told_of_a_result_are_its_fields_by_name():
    estimate = evaluation.Estimate(np.arange(3.0), 4)
    found = evaluation.NLL(estimate, np.ones(3), 5)
    values, arrays, units = told('nll', found, 3)
    assert units == {'nll': 'nats', 'nll_se': 'nats', 'nll_bits_per_dim': 'bits/dim', 'nll_bits_per_dim_se': 'bits/dim'}
    assert values['nll'] == 1 and values['nll_bits_per_dim'] == 0.25 / np.log(2) and values['k'] == 5
    assert set(arrays) == {'nll', 'effective'}
    values, arrays, _ = told('x', {'a': {'b': evaluation.Score(np.ones(3))}, 'c': np.arange(4), 'd': [estimate]}, 3)
    assert values == {'a_b': 1.0, 'a_b_se': 0.0, 'c': [0, 1, 2, 3], **{k: v for k, v in values.items() if k[0] == 'd'}}
    assert values['d_1'] == 1.0 and set(arrays) == {'a_b', 'd_1'}


@pytest.mark.slow
def test_a_run_of_a_sweep_is_evaluated_by_its_number(tmp_path, capsys):
    flags = config.RunFlags(smoke=True, quiet=True, out=str(tmp_path / 'sweep'))
    base = vae.Config(latent=2, hidden=(8,), run=flags)
    cli.sweep(base, vae.build, {'beta': [0.5, 2.0]}, name='vae', version=vae.VERSION)
    found = []
    for i in ('0', '1'):
        assert verb(tmp_path / 'sweep', '--member', i, '--metrics', 'collapse', '--images', '50') == 0
        found.append(last(capsys))
        assert found[-1]['path'].endswith(f'run-{i}/collapse.json')
    assert found[0]['rate'] > found[1]['rate']
    with pytest.raises(Fault, match='run'):
        runs.load(tmp_path / 'sweep')

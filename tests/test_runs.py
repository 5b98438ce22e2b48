"""A run directory has one writer, is never overwritten, and what was acknowledged in it survives a kill."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax import checkpoints, files, runs
from vae_jax.errors import ENVIRONMENT, USAGE, Fault

ROOT = Path(__file__).parent.parent


@dataclasses.dataclass(frozen=True)
class Config:
    latent: int = 2
    beta: float = 1.0


class Built(NamedTuple):
    model: str


_builds: list[Config] = []


def build(config: Config) -> Built:
    _builds.append(config)
    return Built(f'a model of {config.latent}')


def finish(path, config=None, result=None, extra=None, params=None):
    with runs.opened(path, config or {'latent': 2}, extra=extra) as directory:
        runs.append(directory.metrics, [{'step': 1, 'loss': 2.0}])
        params = {'w': jnp.ones(3), 'prior': {}} if params is None else params
        checkpoints.save(directory.last, 1, {'state': {'params': params}})
        runs.save_examples(directory.path, log_p=np.arange(3.0))
        runs.record(directory.path, result or {'elbo': -1.5})
    return path


def enter(path, config=None, fresh=False):
    with runs.opened(path, config or {}, fresh=fresh):
        pass


def contents(path):
    return {file: file.read_bytes() for file in sorted(Path(path).rglob('*')) if file.is_file()}


# Files.


class Point(NamedTuple):
    x: Any
    y: Any


def test_json_is_strict_and_every_number_comes_back_exactly():
    floats = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, 2.0**60]
    value = {
        'f': floats,
        'f32': np.float32(0.1),
        'jax': jnp.float32(0.1),
        'bf16': jnp.bfloat16(0.1),
        'i': np.int64(2**62),
    }
    more = {
        'array': np.arange(3),
        'point': Point(1, (2, None)),
        'config': Config(),
        'path': Path('a'),
        'flag': True,
        'ü': 'ü',
    }
    found = json.loads(runs.dumps(value | more), parse_constant=pytest.fail)
    assert [v.hex() for v in found['f']] == [v.hex() for v in floats]
    assert np.float32(found['f32']) == np.float32(0.1) == np.float32(found['jax'])
    assert jnp.bfloat16(found['bf16']) == jnp.bfloat16(0.1) and found['i'] == 2**62
    assert found['array'] == [0, 1, 2] and found['point'] == {'x': 1, 'y': [2, None]} and found['flag'] is True
    assert found['config'] == {'latent': 2, 'beta': 1.0}


def test_what_is_not_finite_is_a_string_in_the_file_and_a_float_again():
    text = runs.dumps([float('nan'), np.float32('inf'), -jnp.inf, {'a': float('-inf')}])
    assert json.loads(text, parse_constant=pytest.fail) == ['nan', 'inf', '-inf', {'a': '-inf'}]
    nan, *rest = files.loads(text)
    assert np.isnan(nan) and rest == [np.inf, -np.inf, {'a': -np.inf}]
    for wrong in ({1: 2}, {1, 2}, object()):
        with pytest.raises(TypeError):
            runs.dumps(wrong)
    with pytest.raises(ValueError):
        files.loads('[NaN]')


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    runs.write_json(tmp_path / 'a.json', {'n': 0})
    with open(tmp_path / 'a.json') as reader:
        runs.write_json(tmp_path / 'a.json', {'n': 1})
        assert json.load(reader) == {'n': 0}, 'a reader must never see a file change under it'

    def fail(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(Fault, match='No space left') as fault:
        runs.write_json(tmp_path / 'a.json', {'n': 2})
    assert fault.value.code == ENVIRONMENT
    assert runs.read_json(tmp_path / 'a.json') == {'n': 1} and os.listdir(tmp_path) == ['a.json']
    with pytest.raises(Fault, match='cannot read'):
        runs.read_json(tmp_path / 'b.json')


def test_metrics_end_where_the_checkpoint_says(tmp_path):
    path = tmp_path / 'metrics.jsonl'
    assert runs.read_metrics(path) == []
    runs.truncate(path, 0)
    first = runs.append(path, [{'step': 1, 'loss': float('nan')}])
    second = runs.append(path, ({'step': n} for n in (2, 3)))
    assert first < second == path.stat().st_size
    runs.truncate(path, first)
    assert path.stat().st_size == first and np.isnan(runs.read_metrics(path)[0]['loss'])
    with pytest.raises(Fault, match=f'has {first} bytes, the checkpoint was saved at {second}'):
        runs.truncate(path, second)


def test_a_torn_last_line_is_dropped_and_a_damaged_one_is_named(tmp_path):
    path = tmp_path / 'metrics.jsonl'
    runs.append(path, [{'step': 1, 'note': 'x' * 9000}])
    for torn in ('{"step": 2, "lo', 'y' * 9000):
        with open(path, 'a') as file:
            file.write(torn)
        assert [row['step'] for row in runs.read_metrics(path)] == [1]
    assert runs.append(path, [{'step': 2}]) == path.stat().st_size
    assert [row['step'] for row in runs.read_metrics(path)] == [1, 2]
    path.write_text('{"step": 1}\n[2]\n{"step": 3}\n')
    with pytest.raises(Fault, match='line 2 of'):
        runs.read_metrics(path)


# The directory.


def test_a_new_run_says_what_it_is_and_the_same_command_goes_on(tmp_path, capfd):
    extra = {'build': 'experiments.vae:build', 'version': 1, 'config': {'latent': 2, 'out': 'x'}}
    with runs.opened(tmp_path / 'a' / 'b', {'latent': 2, 'data': ('x', 1)}, extra=extra) as directory:
        assert directory.path == tmp_path / 'a' / 'b' and directory.result is None
        runs.append(directory.metrics, [{'step': 1}])
    stored = runs.read_json(tmp_path / 'a' / 'b' / 'config.json')
    assert stored['identity'] == {'latent': 2, 'data': ['x', 1]} and stored['config'] == extra['config']
    assert stored['build'] == extra['build'] and stored['format'] == runs.FORMAT
    made = stored['environment']
    assert made['versions']['jax'] == jax.__version__ and made['prng'] == 'threefry2x32'
    assert made['device']['platform'] == 'cpu' and made['threads'] >= 1 and 'commit' in made
    before = contents(tmp_path)
    with runs.opened(
        tmp_path / 'a' / 'b', {'data': ('x', 1), 'latent': 2}, extra={'config': {'out': 'y'}}
    ) as directory:
        assert runs.read_metrics(directory.metrics) == [{'step': 1}]
    assert contents(tmp_path) == before
    assert capfd.readouterr() == ('', '')


def test_another_configuration_is_refused_field_by_field_and_nothing_is_written(tmp_path):
    with runs.opened(tmp_path / 'run', {'hyper': {'lr': 0.1, 'beta': 1.0}, 'latent': 2}):
        pass
    before = contents(tmp_path)
    with pytest.raises(Fault) as fault:
        enter(tmp_path / 'run', {'hyper': {'lr': 0.2, 'beta': 1.0}, 'k': 5})
    assert fault.value.code == USAGE
    for told in (
        'hyper.lr is 0.1 there, expected 0.2',
        'latent is 2 there, expected absent',
        'k is absent there, expected 5',
    ):
        assert told in fault.value.what
    assert 'beta' not in fault.value.what and '--out' in fault.value.fix and '--fresh' in fault.value.fix
    assert contents(tmp_path) == before


def test_fresh_sets_the_old_run_aside(tmp_path, capfd):
    for n in range(3):
        with runs.opened(tmp_path / 'run', {'latent': n}, fresh=True) as directory:
            assert directory.result is None and os.listdir(directory.path)
            runs.append(directory.metrics, [{'step': n}])
    assert sorted(os.listdir(tmp_path)) == ['run', 'run.old-1', 'run.old-2']
    found = [runs.read_metrics(tmp_path / name / 'metrics.jsonl')[0]['step'] for name in sorted(os.listdir(tmp_path))]
    assert found == [2, 0, 1]
    assert capfd.readouterr().err.count('is set aside as') == 2


def test_a_finished_run_is_answered_and_never_rewritten(tmp_path):
    finish(tmp_path / 'run', {'latent': 2}, {'elbo': -1.5, 'bad': float('nan')})
    before = contents(tmp_path)
    with runs.opened(tmp_path / 'run', {'latent': 2}) as directory:
        assert directory.result['elbo'] == -1.5 and np.isnan(directory.result['bad'])
        with pytest.raises(Fault, match=r'result\.json is there already'):
            directory.record({'elbo': 0})
    with pytest.raises(Fault, match='another configuration'):
        enter(tmp_path / 'run', {'latent': 3})
    with pytest.raises(Fault, match='another configuration'):
        runs.finished(tmp_path / 'run', {'latent': 3})
    assert runs.finished(tmp_path / 'run', {'latent': 2})['elbo'] == -1.5
    assert runs.finished(tmp_path / 'nothing') is None
    assert contents(tmp_path) == before


@pytest.mark.parametrize('path', ['', ' ', 'a\0b', 'a\nb', 'a\x1b[2J'])
def test_a_name_that_is_no_path_is_refused(path):
    with pytest.raises(Fault, match='the run directory is') as fault:
        enter(path, {})
    assert '\n' not in str(fault.value)


def test_a_folder_that_is_no_run_is_refused_and_left_alone(tmp_path):
    (tmp_path / 'thesis').mkdir()
    (tmp_path / 'thesis' / 'chapter.tex').write_text('')
    (tmp_path / 'file').write_text('')
    before = contents(tmp_path)
    for fresh in (False, True):
        with pytest.raises(Fault, match=r"not empty and no run: it has 'chapter\.tex'") as fault:
            enter(tmp_path / 'thesis', fresh=fresh)
        assert fault.value.code == USAGE
    for path in (tmp_path / 'file', tmp_path / 'file' / 'run', tmp_path / ('n' * 300), Path('/proc/none/run')):
        with pytest.raises(Fault) as fault:
            enter(path, {})
        assert fault.value.code == ENVIRONMENT
    assert contents(tmp_path) == before and len(os.listdir(tmp_path)) == 2


_HOLDER = """
import sys, time
from vae_jax import runs
with runs.opened(sys.argv[1], {'latent': 2}) as directory:
    print('held', flush=True)
    time.sleep(60)
"""


def test_a_second_writer_is_refused_at_once_and_a_dead_one_is_not_in_the_way(tmp_path):
    env = os.environ | {'PYTHONPATH': str(ROOT)}
    holder = subprocess.Popen(
        [sys.executable, '-c', _HOLDER, tmp_path / 'run'], stdout=subprocess.PIPE, text=True, env=env
    )
    with holder:
        assert holder.stdout.readline() == 'held\n'
        before = contents(tmp_path)
        for fresh in (False, True):
            started = time.monotonic()
            with pytest.raises(Fault, match=f'in use by process {holder.pid} on ') as fault:
                enter(tmp_path / 'run', {'latent': 2}, fresh=fresh)
            assert time.monotonic() - started < 2 and fault.value.code == ENVIRONMENT
        assert contents(tmp_path) == before
        holder.send_signal(signal.SIGKILL)
    assert contents(tmp_path) == before  # its lock file is still there, with its process in it
    with runs.opened(tmp_path / 'run', {'latent': 2}) as directory:
        assert str(os.getpid()) in (directory.path / '.lock').read_text()
        with pytest.raises(Fault, match=f'process {os.getpid()} '):
            enter(tmp_path / 'run', {'latent': 2})
    assert (tmp_path / 'run' / '.lock').read_bytes() == b''


def test_a_start_that_was_killed_before_its_first_file_is_no_obstacle(tmp_path):
    (tmp_path / '.lock').write_text('{"pid"')
    (tmp_path / f'{files.TEMPORARY}12-config.json').write_text('{"identity": {')
    with runs.opened(tmp_path, {'latent': 2}):
        pass
    assert runs.read_json(tmp_path / 'config.json')['identity'] == {'latent': 2}


def test_examples_are_the_same_bytes_for_the_same_values(tmp_path):
    arrays = {'log_p': jnp.arange(4.0), 'rate': np.ones((4, 2)), 'half': jnp.ones(4, jnp.bfloat16)}
    first = runs.save_examples(tmp_path, **arrays).read_bytes()
    os.utime(tmp_path / 'evaluation.npz', (0, 0))
    time.sleep(0.01)
    assert runs.save_examples(tmp_path, **arrays).read_bytes() == first
    with np.load(tmp_path / 'evaluation.npz', allow_pickle=False) as found:
        assert sorted(found) == ['half', 'index', 'log_p', 'rate'] and found['half'].dtype == np.float32
        np.testing.assert_array_equal(found['index'], [0, 1, 2, 3])
    for wrong in ({'a': np.ones(3), 'b': np.ones(4)}, {'a': np.array(1.0)}, {'a': np.array([object()])}):
        with pytest.raises(ValueError, match='a row of numbers'):
            runs.save_examples(tmp_path, **wrong)
    assert (tmp_path / 'evaluation.npz').read_bytes() == first and os.listdir(tmp_path) == ['evaluation.npz']


# Reading.


def extra(name='tests.test_runs:build', **config):
    return {'build': name, 'version': 1, 'config': dataclasses.asdict(Config()) | config}


def test_a_run_is_loaded_with_the_build_it_names_or_the_callers_and_data_wait(tmp_path, capfd):
    here = f'{__name__}:build'
    finish(tmp_path / 'run', extra=extra(here, latent=7))
    for loaded in (runs.load(tmp_path / 'run'), runs.load(tmp_path / 'run', build=build)):
        _builds.clear()
        assert loaded.config == Config(latent=7) and loaded.result == {'elbo': -1.5}
        assert set(loaded.params) == {'w', 'prior'} and loaded.params['w'].tolist() == [1, 1, 1]
        assert not _builds, 'building loads the data: only when asked'
        assert loaded.model == 'a model of 7' == loaded.experiment.model and len(_builds) == 1
    assert capfd.readouterr().err == ''


@pytest.mark.parametrize(
    'name, why',
    [
        ('os:system', 'no such function'),
        ('shutil:rmtree', 'no such function'),
        ('antigravity:fly', 'not one of the installed experiments'),
        ('../evil:build', "no 'module:function'"),
        ('experiments.none_of_this_name:build', 'import failed'),
        (f'{__name__}:finish2', 'no such function'),
    ],
)
def test_a_file_cannot_make_us_import_or_call_what_it_names(tmp_path, capfd, name, why):
    finish(tmp_path / 'run', extra=extra(name))
    loaded = runs.load(tmp_path / 'run')
    assert loaded.model is None and loaded.experiment is None and loaded.config == {'latent': 2, 'beta': 1.0}
    assert loaded.params['w'].shape == (3,)
    assert why in capfd.readouterr().err and 'antigravity' not in sys.modules


def test_a_run_of_other_versions_is_loaded_with_a_word(tmp_path, capfd):
    finish(tmp_path / 'run', extra=extra(f'{__name__}:build'))
    stored = runs.read_json(tmp_path / 'run' / 'config.json')
    stored['environment'] |= {'commit': 'abc'}
    stored['environment']['versions']['jax'] = '0.0.1'
    runs.write_json(tmp_path / 'run' / 'config.json', stored)
    runs.load(tmp_path / 'run')
    with runs.opened(tmp_path / 'run', {'latent': 2}):
        pass
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 2 and all(f'versions.jax 0.0.1, now {jax.__version__}' in line for line in told)
    assert all(
        ('commit abc, now' in line) == (runs.environment()['commit'] is not None or 'None' in line) for line in told
    )


def test_the_best_checkpoint_is_preferred_and_no_run_is_a_fault(tmp_path):
    finish(tmp_path / 'run')
    checkpoints.save(tmp_path / 'run' / 'checkpoints' / 'best', 1, {'state': {'params': {'w': jnp.zeros(2)}}})
    assert runs.load(tmp_path / 'run').params['w'].tolist() == [0, 0]
    with pytest.raises(Fault, match='is no run'):
        runs.load(tmp_path)
    with runs.opened(tmp_path / 'new', {}), pytest.raises(Fault, match='no checkpoint in'):
        runs.load(tmp_path / 'new')


def test_a_damaged_best_checkpoint_is_replaced_by_the_last_with_a_word(tmp_path, capfd):
    finish(tmp_path / 'run')
    best = tmp_path / 'run' / 'checkpoints' / 'best'
    checkpoints.save(best, 1, {'state': {'params': {'w': jnp.zeros(2)}}})
    (best / '1' / 'manifest.json').write_text('{')
    assert runs.load(tmp_path / 'run').params['w'].tolist() == [1, 1, 1]
    told = capfd.readouterr().err
    assert 'damaged' in told and 'the last parameters are loaded' in told and told.count('\n') == 1
    (tmp_path / 'run' / 'checkpoints' / 'last' / '1' / 'manifest.json').write_text('{')
    with pytest.raises(Fault, match='damaged'):
        runs.load(tmp_path / 'run')


def test_relative_paths_of_a_run_are_found_from_another_folder(tmp_path, monkeypatch):
    home, away = tmp_path / 'home', tmp_path / 'away'
    away.mkdir()
    for name in ('mine.npz', 'sets'):
        (home / name).mkdir(parents=True)
    paths = {'data': 'mine.npz', 'warm_start': 'nowhere', 'run': {'seed': 0, 'data_dir': 'sets'}}
    monkeypatch.chdir(home)
    finish('run', {'data': 'mine.npz'}, extra={'config': paths})
    assert runs.load('run').config == paths
    monkeypatch.chdir(away)
    found = runs.load('../home/run').config
    assert found == paths | {'data': str(home / 'mine.npz'), 'run': {'seed': 0, 'data_dir': str(home / 'sets')}}
    (away / 'mine.npz').mkdir()
    assert runs.load('../home/run').config['data'] == 'mine.npz'
    stored = runs.read_json(home / 'run' / 'config.json')
    assert stored['config'] == paths and stored['identity'] == {'data': 'mine.npz'}
    with runs.opened('../home/run', {'data': 'mine.npz'}) as directory:
        assert directory.result == {'elbo': -1.5}


def test_the_table_has_a_row_a_run_with_the_fields_that_differ(tmp_path):
    config = lambda **fields: {'config': {'latent': 2, 'hyper': {'beta': 1.0}, 'run': {'seed': 0, 'out': 'x'}} | fields}
    finish(tmp_path / 'a', {'n': 1}, {'elbo': -1.0, 'latent': 9, 'units': {'elbo': 'nats'}}, config())
    finish(tmp_path / 'b', {'n': 2}, {'elbo': float('nan')}, config(hyper={'beta': 4.0}, run={'seed': 0, 'out': 'y'}))
    finish(tmp_path / 'deep' / 'c.old-1', {'n': 3})
    with runs.opened(tmp_path / 'deep' / 'd', {'n': 4}, extra=config(latent=3)):
        pass
    (tmp_path / 'deep' / 'e').mkdir()
    (tmp_path / 'deep' / 'e' / 'config.json').write_text('{')
    (tmp_path / 'no run').mkdir()
    a, b, d, e = runs.table(f'{tmp_path}/**')
    assert a == {
        'path': str(tmp_path / 'a'),
        'latent': 2,
        'hyper.beta': 1.0,
        'state': 'done',
        'elbo': -1.0,
        'result.latent': 9,
    }
    assert b['hyper.beta'] == 4.0 and np.isnan(b['elbo'])
    assert (d['state'], d['latent']) == ('unfinished', 3) and 'elbo' not in d
    assert e['state'] == 'damaged' and 'cannot read' in e['problem']
    assert runs.table(f'{tmp_path}/none/**') == []
    assert [row['path'] for row in runs.table(f'{tmp_path}/**/*.old-*')] == [str(tmp_path / 'deep' / 'c.old-1')]


def test_verify_names_each_damaged_file(tmp_path):
    finish(tmp_path / 'run')
    assert runs.verify(tmp_path / 'run') == []
    names = ['config.json', 'metrics.jsonl', 'result.json', 'evaluation.npz', 'checkpoints/last/1/manifest.json']
    for n, name in enumerate(names, 1):
        file = tmp_path / 'run' / name
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 0xFF
        file.write_bytes(data)
        problems = runs.verify(tmp_path / 'run')
        assert len(problems) == n and sum(Path(name).name in problem for problem in problems) == 1, problems
    assert runs.verify(tmp_path / 'none') == [f'{tmp_path / "none"} is no run: it has no config.json']


@pytest.mark.parametrize('name', ['config.json', 'metrics.jsonl', 'result.json', 'evaluation.npz', 'manifest.json'])
def test_verify_finds_a_file_that_reads_well_but_is_another_or_is_gone(tmp_path, name):
    finish(tmp_path / 'run')
    file = tmp_path / 'run' / name
    if name == 'evaluation.npz':
        runs.save_examples(file.parent, log_p=np.arange(3.0) + 1)
    else:
        written = file.read_text()
        digit = next(c for c in reversed(written) if c in '12345678')
        file.write_text(written[::-1].replace(digit, str(int(digit) + 1), 1)[::-1])
    (problem,) = runs.verify(tmp_path / 'run')
    assert str(file) in problem and 'SHA-256' in problem
    if name not in ('config.json', 'result.json'):
        file.unlink()
        (problem,) = runs.verify(tmp_path / 'run')
        assert str(file) in problem


def test_the_manifest_knows_the_data_and_the_result_is_only_a_result(tmp_path):
    with runs.opened(tmp_path / 'run', {}) as directory:
        assert runs.trained_on(directory.path) is None
        directory.record({'elbo': -1.5}, 'abc')
    assert runs.trained_on(tmp_path / 'run') == 'abc'
    assert runs.read_json(tmp_path / 'run' / 'result.json') == {'elbo': -1.5}


def test_units_follow_from_names():
    assert runs.units(['train/loss', 'elbo_se', 'validation/rate', 'nll_bits_per_dim', 'log_p', 'log_px']) == {
        'train/loss': 'nats',
        'elbo_se': 'nats',
        'validation/rate': 'nats',
        'nll_bits_per_dim': 'bits/dim',
        'log_p': 'nats',
        'log_px': 'nats',
    }
    assert runs.units(
        ['wall_s', 'step', 'best_step', 'epoch', 'grad_norm/loss', 'learning_rate', 'lr', 'generate']
    ) == {
        'wall_s': 's',
        'step': 'steps',
        'best_step': 'steps',
        'epoch': 'epochs',
        'grad_norm/loss': '1',
        'learning_rate': '1',
        'lr': '1',
        'generate': '1',
    }


def test_the_answer_of_a_finished_run_needs_no_jax(tmp_path):
    finish(tmp_path / 'run')
    code = (
        'import sys; from vae_jax import runs\n'
        "with runs.opened(sys.argv[1], {'latent': 2}) as directory: print(directory.result, runs.table(sys.argv[1]))\n"
        "assert not {'jax', 'numpy', 'orbax'} & set(sys.modules)"
    )
    env = os.environ | {'PYTHONPATH': str(ROOT)}
    said = subprocess.run([sys.executable, '-c', code, tmp_path / 'run'], capture_output=True, text=True, env=env)
    assert said.returncode == 0 and "'elbo': -1.5" in said.stdout and said.stderr == '', said

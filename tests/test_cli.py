"""The command line: exit codes, one-line errors, the stored result, stopping and going on, and starts without jax."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from tests import small, tiny
from vae_jax import cli, evaluation, process, runs
from vae_jax.__main__ import main as verb
from vae_jax.errors import ENVIRONMENT, NUMBERS, Fault

ROOT = Path(__file__).parent.parent
LISTED = """
import atexit, os, runpy, sys, time
atexit.register(lambda: time.sleep(float(os.environ.get('SLOW_EXIT', '0'))))
atexit.register(lambda: print(*sorted(name for name in sys.modules if '.' not in name), file=sys.stderr))
runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)
"""
VOLATILE = {'wall_s', 'started', 'finished', 'path', 'host', 'pid'}


def started(*argv, module='tests.tiny', **environment):
    """The module as a process of its own; its last line on stderr names the modules that it had imported."""
    return subprocess.Popen(
        [sys.executable, '-c', LISTED, module, *map(str, argv)],
        cwd=ROOT,
        env=os.environ | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finished(process):
    """(exit code, lines of stdout, lines of stderr, imported modules)."""
    out, err = process.communicate(timeout=120)
    *said, modules = err.splitlines()
    return process.returncode, out.splitlines(), said, set(modules.split())


def here(*argv, build=tiny.build):
    """The exit code of the experiment run in this process."""
    with pytest.raises(SystemExit) as leaving:
        cli.main(tiny.Config, build, name='tiny', argv=[*map(str, argv)])
    return leaving.value.code


def stable(value):
    return {k: stable(v) for k, v in value.items() if k not in VOLATILE} if isinstance(value, dict) else value


def rows(path):
    return [json.loads(line) for line in (path / 'metrics.jsonl').read_text().splitlines()]


def arrays(path):
    with np.load(path) as file:
        return dict(file)


@pytest.fixture(autouse=True)
def handlers():
    """A command that is done ignores SIGTERM; this process is not done."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope='module')
def done(tmp_path_factory):
    """A finished run of a process of its own: its directory and the last line of its stdout."""
    path = tmp_path_factory.mktemp('runs') / 'done'
    code, out, err, _ = finished(started('--out', path))
    assert code == 0, err
    return path, out


def test_a_run_ends_with_its_result_units_and_path_as_one_line_of_json(done):
    path, out = done
    result = json.loads(out[-1])
    assert result['path'] == str(path) and result['units'] == {'test_elbo': 'nats'}
    assert isinstance(result['test_elbo'], float) and any('test ELBO' in line for line in out[:-1])
    assert json.loads((path / 'result.json').read_text())['test_elbo'] == result['test_elbo']
    assert all((path / name).exists() for name in ('config.json', 'metrics.jsonl', 'evaluation.npz', 'report.html'))


def test_the_same_command_again_answers_from_the_stored_result_without_jax(done):
    path, out = done
    written = (path / 'result.json').stat().st_mtime_ns
    code, again, _, modules = finished(started('--out', path, '--quiet'))
    assert code == 0 and again == [out[-1]] and 'jax' not in modules
    assert (path / 'result.json').stat().st_mtime_ns == written


def test_a_sigterm_behind_the_result_does_not_make_a_finished_command_a_stopped_one(done):
    run = started('--out', done[0], '--quiet', SLOW_EXIT='1')
    assert run.stdout.readline().rstrip() == done[1][-1]
    run.send_signal(signal.SIGTERM)
    assert finished(run)[0] == 0


def test_what_training_would_refuse_leaves_no_directory_behind(tmp_path, capsys):
    wrong = ('--out', tmp_path / 'run', '--batch', '5000')
    for argv in (wrong, (*wrong, '--dry-run')):
        assert here(*argv) == 2
        assert 'batch is 5000' in capsys.readouterr().err and not (tmp_path / 'run').exists()


def test_a_directory_of_another_configuration_is_refused_by_the_field(done, capsys):
    path, _ = done
    before = {file: file.read_bytes() for file in path.rglob('*') if file.is_file()}
    assert here('--out', path, '--beta', '2') == 2
    said = capsys.readouterr().err
    assert said == (
        f'error: {path} is a run of another configuration: --beta is 1.0 there, expected 2.0; '
        'fix: give another --out, or set that run aside with --fresh\n'
    )
    assert here('--out', path, '--beta', '2', '--describe') == 0
    assert {file: file.read_bytes() for file in path.rglob('*') if file.is_file()} == before


def test_a_run_stopped_by_sigterm_goes_on_to_the_result_of_one_that_was_not(done, tmp_path):
    path = tmp_path / 'stopped'
    run = started('--out', path, SLOW_TRAINING='0.2')
    wait_for(lambda: (path / 'metrics.jsonl').exists() and (path / 'metrics.jsonl').read_text().count('\n') > 1, run)
    run.send_signal(signal.SIGTERM)
    code, _, said, _ = finished(run)
    assert code == 143 and said[-1].startswith('stopped after step') and not any('Traceback' in line for line in said)
    assert not (path / 'result.json').exists() and any((path / 'checkpoints' / 'last').iterdir())

    code, out, _, _ = finished(started('--out', path, '--quiet'))
    assert code == 0 and len(out) == 1
    whole, _ = done
    assert stable(json.loads(out[0])) == stable(json.loads((whole / 'result.json').read_text()))
    assert [stable(row) for row in rows(path)] == [stable(row) for row in rows(whole)]


def test_ctrl_c_in_the_evaluation_ends_with_130_and_nothing_half_done(done, tmp_path):
    path = tmp_path / 'interrupted'
    run = started('--out', path, '--steps', '4', SLOW_EVALUATION='1')
    while 'evaluating' not in run.stdout.readline():
        assert run.poll() is None
    run.send_signal(signal.SIGINT)
    code, _, said, _ = finished(run)
    assert code == 130 and said[-1] == 'stopped by SIGINT; the same command continues the run'
    assert not (path / 'result.json').exists()


def test_a_second_ctrl_c_does_not_wait_for_the_checkpoint(tmp_path):
    path = tmp_path / 'impatient'
    run = started('--out', path, '--steps', '8', SLOW_TRAINING='60')
    with run:
        wait_for(lambda: 'run: ' in run.stdout.readline(), run)
        time.sleep(1)
        run.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert run.poll() is None
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=10) == 130


def test_time_that_is_up_is_75_and_the_next_start_goes_on(tmp_path, capsys):
    path = tmp_path / 'run'
    assert here('--out', path, '--max-time', '0.001s') == 75
    assert 'continues' in capsys.readouterr().err and not (path / 'result.json').exists()
    assert here('--out', path, '--quiet', '--profile') == 0
    assert json.loads(capsys.readouterr().out)['path'] == str(path) and list((path / 'profile').rglob('*'))


def test_fresh_sets_the_old_run_aside(done, capsys):
    path = done[0].parent / 'again'
    assert here('--out', path, '--steps', '4') == 0
    assert here('--out', path, '--steps', '8', '--fresh', '--quiet') == 0
    old = path.with_name('again.old-1')
    assert [len(rows(folder)) for folder in (old, path)] == [2, 4] and (old / 'result.json').exists()
    assert 'is set aside' in capsys.readouterr().err


def test_the_verbs_read_a_run_and_change_nothing_in_it(done, tmp_path, capsys, monkeypatch):
    path = str(done[0])
    monkeypatch.chdir(tmp_path)
    result = (done[0] / 'result.json').read_bytes()

    def told(*argv):
        assert verb([*argv]) == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    assert told('sample', path, '--n', '9', '--out', 'a.png')['path'] == 'a.png'
    assert (tmp_path / 'a.png').read_bytes()[:4] == b'\x89PNG'
    drawn = arrays(told('sample', path, '--n', '9', '--out', 'a.npz')['path'])
    assert drawn['x'].shape == drawn['mean'].shape == (9, 6, 5, 1) and set(np.unique(drawn['x'])) == {0, 1}
    expected = evaluation.sample_means(small.MODEL, runs.load(path).params, cli.keys(0).verbs, 9)
    np.testing.assert_array_equal(drawn['mean'], expected)
    codes = arrays(told('encode', path, '--out', 'codes.npz', '--quiet')['path'])
    assert codes['mean'].shape == (25, 2) and len(codes['label']) == 25 and list(codes['index']) == list(range(25))
    found = told('evaluate', path, '--k', '20', '--quiet')
    assert json.loads(Path(found.pop('path')).read_text()) == found
    # importance sampling with 20 samples lies above the ELBO, by less than the rate
    assert json.loads(result)['test_elbo'] < -found['nll'] < 0
    (done[0] / 'report.html').unlink()
    assert Path(told('report', path)['path']).read_text() == '<p>report</p>'
    assert (done[0] / 'result.json').read_bytes() == result and verb(['verify', path]) == 0
    assert capsys.readouterr().out.endswith('every file is as it was written\n')


def test_verify_finds_a_flipped_bit(done, tmp_path, capsys):
    copy = Path(shutil.copytree(done[0], tmp_path / 'copy'))
    largest = max((copy / 'checkpoints' / 'best').rglob('*'), key=lambda file: file.is_file() and file.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    assert verb(['verify', str(copy)]) == 3
    assert 'damaged or missing' in capsys.readouterr().err


def test_the_verbs_refuse_data_that_have_changed(done, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(small, 'DATA', small.data(n=71))
    assert verb(['sample', str(done[0]), '--out', str(tmp_path / 'a.png')]) == 3
    assert 'the data stripes have changed' in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_no_two_keys_of_a_seed_are_the_same():
    keys = [tuple(jax.random.key_data(key).tolist()) for key in cli.keys(0)]
    assert len(set(keys)) == len(keys) == 4


def test_doctor_names_versions_folders_and_datasets(tmp_path, capsys):
    assert verb(['doctor', '--data-dir', str(tmp_path / 'data')]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ('python', 'jax', 'devices', 'cpu', str(tmp_path / 'data'), 'prepare mnist'))
    assert said.endswith('is right\n') and not list(tmp_path.iterdir())


def wait_for(condition, process):
    until = time.monotonic() + 60
    while not condition():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize(
    ('argv', 'code', 'said'),
    [
        (['--stesp', '3'], 2, "error: unknown flag --stesp; fix: did you mean '--steps'?"),
        (['--lr', '0'], 2, 'error: --lr is 0.0; fix: give a value > 0'),
        (['--fault', 'defect'], 5, 'error: ZeroDivisionError: two lines; fix: this is a defect of vae_jax'),
        (['--fault', 'memory'], 3, 'error: out of memory'),
        (['--fault', 'disk'], 3, 'No space left on device; fix: free some space'),
        (['--fault', 'package'], 3, "No module named 'absent'; fix: install"),
        (['--lr', '1e38'], 4, 'error: not finite at step'),
    ],
)
def test_every_failure_is_one_line_and_its_exit_code(argv, code, said, tmp_path, capsys):
    assert here('--out', tmp_path / 'run', '--quiet', *argv) == code
    told = capsys.readouterr()
    assert said in told.err and told.err.count('\n') == 1 and told.out == ''


def test_debug_adds_the_traceback(tmp_path, capsys):
    assert here('--out', tmp_path / 'run', '--fault', 'defect', '--debug') == 5
    said = capsys.readouterr().err
    assert 'Traceback' in said and said.splitlines()[-1].startswith('error: ZeroDivisionError: two lines; fix: ')


def test_a_place_where_nothing_can_be_written_is_the_environment(tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    assert here('--out', tmp_path / 'file' / 'run') == 3
    assert capsys.readouterr().err.startswith('error: ')


def test_help_and_the_schema_and_a_typo_need_no_jax(tmp_path):
    heavy = {'jax', 'numpy', 'flax', 'optax', 'matplotlib', 'orbax', 'tensorflow_datasets'}
    starts = [started('--help'), started('--describe'), started('--stesp', '3'), started('--help', module='vae_jax')]
    starts += [started('sample', '--help', module='vae_jax'), started('--help', module='experiments.vae')]
    ends = [finished(start) for start in starts]
    assert [code for code, *_ in ends] == [0, 0, 2, 0, 0, 0]
    assert not any(modules & heavy for *_, modules in ends)
    assert '--lr FLOAT' in '\n'.join(ends[0][1]) and 'Claim' in '\n'.join(ends[0][1])
    schema = json.loads('\n'.join(ends[1][1]))
    assert schema['properties']['lr']['traced'] and schema['metric'] == {'name': 'test_elbo', 'direction': 'max'}


def test_a_dry_run_counts_and_writes_nothing(tmp_path, capsys):
    assert here('--out', tmp_path / 'run', '--dry-run') == 0
    told = json.loads(capsys.readouterr().out)
    assert told['path'] == str(tmp_path / 'run') and told['steps'] == 60 and told['there'] == 'nothing yet'
    # 30-16-(2+2) and 2-16-30, with biases
    assert told['parameters'] == 30 * 16 + 16 + 16 * 4 + 4 + 2 * 16 + 16 + 16 * 30 + 30
    assert told['memory_bytes_at_least'] > 4 * 4 * told['parameters'] and not list(tmp_path.iterdir())


def test_the_default_directory_is_named_by_experiment_hash_and_seed():
    config = tiny.Config(run=tiny.RunFlags(seed=3))
    path = cli.run_path(config, tiny.build)
    assert path.parent == Path('runs') and path.name.startswith('tiny-') and path.name.endswith('-s3')
    assert cli.run_path(config, tiny.build, version=2) != path


def test_an_empty_out_is_not_the_default_directory(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for argv in (['--out='], ['--out=', '--dry-run']):
        assert here(*argv) == 2
        assert capsys.readouterr().err.startswith("error: --out is ''; fix: give a directory")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'gone',
    [
        pytest.param(['stderr'], id='stderr', marks=pytest.mark.slow),
        pytest.param(['stdout', 'stderr'], id='stdout stderr'),
    ],
)
def test_readers_that_have_gone_stop_no_run(gone, tmp_path):
    run = started('--out', tmp_path / 'run', '--steps', '4')
    for name in gone:
        getattr(run, name).close()
    assert run.wait(timeout=120) == 0 and (tmp_path / 'run' / 'result.json').exists()
    if 'stdout' not in gone:
        assert json.loads(run.stdout.read().splitlines()[-1])['path'] == str(tmp_path / 'run')
        run.stdout.close()


@pytest.mark.parametrize('closed', ['2>&-', '>&-', '<&- >&- 2>&-'])
def test_closed_streams_stop_no_command_and_no_file_takes_their_place(closed):
    code = (
        'import os, sys\n'
        'from vae_jax import process\n'
        'def command(signals):\n'
        "    process.say('said')\n"
        "    process.tell('told')\n"
        '    return 0 if os.open(os.devnull, os.O_RDONLY) > 2 else 9\n'
        'sys.exit(process.guarded(command))'
    )
    ended = subprocess.run(['sh', '-c', f'exec "$@" {closed}', 'sh', sys.executable, '-c', code], cwd=ROOT)
    assert ended.returncode == 0


def test_a_result_that_cannot_be_printed_is_told():
    code = "import sys; from vae_jax import process; sys.exit(process.guarded(lambda _: process.say('said') or 0))"
    command = ['sh', '-c', 'exec "$@" >/dev/full', 'sh', sys.executable, '-c', code]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 3 and 'No space left' in ended.stderr and ended.stderr.count('\n') == 1


@pytest.mark.parametrize(
    ('error', 'code'),
    [
        (Fault('a', 'b', NUMBERS), NUMBERS),
        (PermissionError(13, 'no'), ENVIRONMENT),
        (KeyError('k'), 5),
        (ValueError(), 5),
    ],
)
def test_any_exception_is_a_fault_with_a_remedy(error, code):
    fault = process.as_fault(error)
    assert fault.code == code and fault.fix


@pytest.mark.parametrize(
    ('argv', 'said'),
    [
        (['smple', 'runs/a'], "unknown verb 'smple'; fix: did you mean 'sample'?"),
        ([], 'no verb was given'),
        (['sample'], 'no run was given; fix: give the directory of a run'),
        (['sample', 'a', 'b'], "'b' belongs to no flag"),
        (['sample', 'a', '--count', '3'], 'unknown flag --count'),
        (['sample', 'a', '--out', 'x.gif'], "--out is 'x.gif'; fix: give a file that ends in .png or .npz"),
        (['encode', 'a', '--split', 'tset'], "--split is 'tset'; fix: did you mean 'test'?"),
        (['evaluate', 'no-such-run', '--k', '0'], '--k is 0; fix: give a value >= 1'),
        (['verify', 'no-such-run'], 'no-such-run is no run directory'),
        (['export', 'a'], 'export is not there yet'),
    ],
)
def test_a_wrong_verb_is_one_line_and_code_2(argv, said, capsys):
    assert verb(argv) == 2
    told = capsys.readouterr().err
    assert said in told and told.count('\n') == 1

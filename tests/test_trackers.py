"""Whatever a tracker shows is metrics.jsonl, each step once, of n runs; and it never stands in the way of training."""

import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from tests import tiny
from vae_jax import cli, config, runs, trackers
from vae_jax.errors import Fault, Stopped

os.environ.setdefault('TRACKIO_DIR', tempfile.mkdtemp())  # trackio reads it when it is imported
POINTS = [{'lr': 1e-3, 'seed': 0}, {'lr': 1e-2, 'seed': 1}]
CONFIG = {'latent': 2, 'hidden': (3, 4), 'data': None}
RESULTS = [
    {'run': 0, **POINTS[0], 'status': 'done', 'test_nll': 3.5, 'units': {}},
    {'run': 1, **POINTS[1], 'status': 'diverged'},
]
NAMES = ['tensorboard', 'wandb', 'trackio', 'mlflow']
MODULES = {'tensorboard': 'tensorboardX'}


def rows(step):
    """What training appends at a step: the lines of all runs for training, then those for validation."""
    head = [{'run': i, 'step': step, 'epoch': step / 4} for i in range(2)]
    train = [{**row, 'train/loss': 1 / step + row['run'], 'wall_s': time.monotonic()} for row in head]
    return train, [{**row, 'validation/loss': 2 / step + row['run']} for row in head]


def curve(name, i, steps):
    first = {'train/loss': 1, 'validation/loss': 2}[name]
    return [(step, pytest.approx(first / step + i, rel=1e-6)) for step in steps]


def train(tool, path, steps, results=None, points=POINTS):
    """Appends rows as the host's loop does, and lets a tool follow."""
    with trackers.following(tool, path, trackers.shown(path, CONFIG, points), quiet=True) as tracker:
        for step in steps:
            for some in rows(step):
                runs.append(path / 'metrics.jsonl', some)
                tracker.track(some)
        if results is not None:
            tracker.end(results)


def records(file):
    """The records of an event file: length u64, its checksum u32, the bytes, their checksum u32."""
    content, at = file.read_bytes(), 0
    while at < len(content):
        (size,) = struct.unpack_from('<Q', content, at)
        yield content[at + 12 : at + 12 + size]
        at += 16 + size


def read_tensorboard(path):
    from tensorboardX.proto.event_pb2 import Event

    found = []
    held = path / 'tensorboard'
    for folder in sorted(p for p in held.iterdir() if p.is_dir()) or [held]:
        curves, told = {}, None
        for file in folder.glob('events*'):
            for event in map(Event.FromString, records(file)):
                for v in event.summary.value:
                    if v.tag == 'config/text_summary':
                        told = json.loads(v.tensor.string_val[0].decode().strip('`\n'))
                    elif v.HasField('simple_value'):
                        curves.setdefault(v.tag, []).append((event.step, v.simple_value))
        found.append((folder.name, told, curves))
    return found


def wandb_records(file):
    """The records of a .wandb file: 32 KiB blocks of fragments, each behind a checksum, its length and its kind."""
    content, at, parts = file.read_bytes(), 7, b''
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, size, kind = struct.unpack_from('<IHB', content, at)
        parts += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or its last part
            yield parts
            parts = b''


def read_wandb(path):
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    wandb.teardown()  # its service writes the end of a file after `finish` has returned
    found = {}
    for folder in sorted((path / 'wandb').glob('offline-run-*')):  # of one id `wandb sync` keeps the last
        curves, summary, told, name = {}, {}, {}, None
        (file,) = folder.glob('*.wandb')
        for record in map(Record.FromString, wandb_records(file)):
            if record.HasField('run'):
                name = record.run.display_name
                told = {item.key: json.loads(item.value_json) for item in record.run.config.update}
            items = {'/'.join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
            for metric, number in items.items():
                curves.setdefault(metric, []).append((items['_step'], number))
            for item in record.summary.update if record.HasField('summary') else ():
                summary['/'.join(item.nested_key) or item.key] = [(0, json.loads(item.value_json))]
        found[file.name] = (name, told, summary | curves)
    return [found[name] for name in sorted(found)]


def identity(path):
    return json.loads((path / 'tracker.json').read_text())['id']


def read_trackio(path):
    from trackio.sqlite_storage import SQLiteStorage

    found = []
    for name in sorted(n for n in SQLiteStorage.get_runs('vae_jax') if n.endswith(identity(path))):
        curves = {}
        for row in SQLiteStorage.get_logs('vae_jax', name):
            for metric, number in row.items():
                curves.setdefault(metric, []).append((row['step'], number))
        found.append((name, SQLiteStorage.get_run_config('vae_jax', name), curves))
    return found


def read_mlflow(path):
    from mlflow import MlflowClient

    client = MlflowClient(path.parent.joinpath('mlruns').as_uri())
    experiment = client.get_experiment_by_name('vae_jax').experiment_id
    found = []
    for run in client.search_runs([experiment], f"tags.`vae_jax.id` = '{identity(path)}'"):
        history = {metric: client.get_metric_history(run.info.run_id, metric) for metric in run.data.metrics}
        curves = {metric: sorted((m.step, m.value) for m in found) for metric, found in history.items()}
        found.append((run.info.run_name, run.data.params, curves))
    return sorted(found, key=lambda run: run[0])


READ = {'tensorboard': read_tensorboard, 'wandb': read_wandb, 'trackio': read_trackio, 'mlflow': read_mlflow}


@pytest.fixture(params=NAMES)
def tool(request, monkeypatch):
    pytest.importorskip(MODULES.get(request.param, request.param))
    for name in ('MLFLOW_TRACKING_URI', 'MLFLOW_EXPERIMENT_NAME', 'WANDB_PROJECT', 'WANDB_DIR'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('WANDB_MODE', 'offline')
    return getattr(trackers, request.param)


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'vae-1'
    folder.mkdir()
    return folder


def test_n_runs_appear_as_n_runs_named_and_with_their_points(tool, path):
    train(tool, path, range(1, 4), RESULTS)
    found = READ[tool.__name__](path)
    assert len(found) == 2
    for i, (name, told, curves) in enumerate(found):
        assert str(i) in name and f'lr={POINTS[i]["lr"]}' in name and f'seed={i}' in name
        assert str(told['lr']) == str(POINTS[i]['lr']) and str(told['latent']) == '2'
        for metric in ('train/loss', 'validation/loss'):
            assert curves[metric] == curve(metric, i, [1, 2, 3])
        assert curves['epoch'] == [(1, 0.25), (2, 0.5), (3, 0.75)]
        assert ('test_nll' in curves) == (i == 0) and (i or curves['test_nll'][-1][1] == 3.5)
        assert 'lr' not in curves and 'run' not in curves


def test_after_a_resume_no_step_is_shown_twice_and_none_is_missing(tool, path):
    """Stopped behind step 6, resumed from a checkpoint of step 3: the host gives steps 4 to 6 again."""
    train(tool, path, range(1, 4))
    offset = (path / 'metrics.jsonl').stat().st_size
    train(tool, path, range(4, 7))
    with trackers.following(tool, path, trackers.shown(path, CONFIG, POINTS), quiet=True) as tracker:
        runs.truncate(path / 'metrics.jsonl', offset)
        for step in range(4, 9):
            for some in rows(step):
                runs.append(path / 'metrics.jsonl', some)
                tracker.track(some)
        tracker.end(RESULTS)
    found = READ[tool.__name__](path)
    assert len(found) == 2
    for i, (_, _, curves) in enumerate(found):
        for metric in ('train/loss', 'validation/loss'):
            assert curves[metric] == curve(metric, i, range(1, 9))


KILLED = """
import os, sys, time
from pathlib import Path
from tests import test_trackers as t
tool, path = getattr(t.trackers, sys.argv[1]), Path(sys.argv[2])
with t.trackers.following(tool, path, t.trackers.shown(path, t.CONFIG, t.POINTS), True) as tracker:
    for step in range(1, 5):
        for some in t.rows(step):
            t.runs.append(path / 'metrics.jsonl', some)
            tracker.track(some)
    time.sleep(float(sys.argv[3]))
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize('pause', ['0', '1.0'])
def test_kill_9_repeats_and_loses_nothing(tool, path, pause):
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}
    env.pop('WANDB_SERVICE', None)  # or it would share that of this process
    process = subprocess.run([sys.executable, '-c', KILLED, tool.__name__, str(path), pause], env=env, timeout=60)
    assert process.returncode == -9
    train(tool, path, range(5, 7), RESULTS)
    for i, (_, _, curves) in enumerate(READ[tool.__name__](path)):
        for metric in ('train/loss', 'validation/loss'):
            assert curves[metric] == curve(metric, i, range(1, 7))


def test_a_tracker_that_comes_late_shows_what_was_before_it(tool, path):
    train(trackers.nowhere, path, range(1, 4))
    train(tool, path, range(4, 6), RESULTS)
    for i, (_, _, curves) in enumerate(READ[tool.__name__](path)):
        assert curves['train/loss'] == curve('train/loss', i, range(1, 6))


def test_a_directory_made_afresh_is_another_run(tool, path):
    train(tool, path, range(1, 3), RESULTS)
    before = identity(path)
    path.rename(path.with_name('vae-1.old-1'))
    path.mkdir()
    train(tool, path, range(1, 2), RESULTS)
    assert identity(path) != before
    for i, (_, _, curves) in enumerate(READ[tool.__name__](path)):
        assert curves['train/loss'] == curve('train/loss', i, [1])


@pytest.mark.parametrize('name', NAMES)
def test_an_extra_that_is_not_installed_is_named(name, path, monkeypatch):
    monkeypatch.setitem(sys.modules, MODULES.get(name, name), None)
    with pytest.raises(Fault) as fault, trackers.following(getattr(trackers, name), path, trackers.shown(path, {})):
        pass
    assert fault.value.code == 3 and fault.value.fix == f"pip install 'vae_jax[{name}]'"


def test_a_tool_that_does_not_start_is_refused(path):
    def gone(place, runs):
        raise ConnectionError('no server\nat all')

    with pytest.raises(Fault, match='gone does not start: no server;') as fault, trackers.following(gone, path, []):
        pass
    assert fault.value.code == 3


@pytest.mark.parametrize('fails', ['log', 'end'])
def test_a_tool_that_fails_later_costs_one_note(fails, path, capsys):
    calls = []

    def flaky(place, runs):
        def act(*args):
            calls.append(args)
            raise ConnectionError('the server\nis gone')

        fine = lambda *args: None
        return [trackers.Curves(lambda m: -1, *((act, fine) if fails == 'log' else (fine, act))) for _ in runs]

    train(flaky, path, range(1, 50), RESULTS)
    said = capsys.readouterr().err.splitlines()
    assert said == ['note: the tracker flaky has stopped (the server); metrics.jsonl is complete'] and len(calls) == 1
    assert len(runs.read_metrics(path / 'metrics.jsonl')) == 4 * 49


def test_a_tool_that_hangs_does_not_hold_training_up(path, capsys, monkeypatch):
    never = threading.Event()
    hanging = lambda place, runs: [trackers.Curves(lambda m: -1, lambda *a: never.wait(), lambda r: None) for _ in runs]
    monkeypatch.setattr('vae_jax.trackers.protocol._WAIT_S', 0.1)
    monkeypatch.setattr('vae_jax.trackers.protocol._WAIT_EACH_S', 0.0)
    started = time.monotonic()
    train(hanging, path, range(1, 50), RESULTS)
    assert time.monotonic() - started < 5 and capsys.readouterr().err.count('note:') == 1
    never.set()


def test_a_command_that_is_stopped_and_started_again_shows_its_metrics(tool, path):
    flags = config.RunFlags(tracker=tool.__name__, out=str(path), quiet=True)
    asked = iter([None, None, None, 130])
    with pytest.raises(Stopped):
        cli.run(tiny.Config(run=flags), tiny.build, stop=lambda: next(asked))
    result = cli.run(tiny.Config(run=flags), tiny.build)
    ((name, told, curves),) = READ[tool.__name__](path)
    assert 'vae-1' in name or tool is trackers.tensorboard
    assert str(told['lr']) == '0.01' and curves['test_elbo'][-1][1] == pytest.approx(result['test_elbo'], rel=1e-6)
    stored = runs.read_metrics(path / 'metrics.jsonl')
    for metric in ('train/loss', 'validation/loss', 'epoch'):
        rows = {row['step']: row[metric] for row in stored if metric in row}
        assert curves[metric] == [(step, pytest.approx(number, rel=1e-6)) for step, number in rows.items()]


def test_nothing_is_written_where_nothing_is_shown(path):
    train(trackers.nowhere, path, range(1, 2), RESULTS)
    assert [p.name for p in path.iterdir()] == ['metrics.jsonl']


def test_a_lone_run_has_its_directorys_name_and_the_flags_that_count(path):
    (run,) = trackers.shown(path, tiny.Config(run=config.RunFlags(seed=4)))
    assert run.name == 'vae-1' and run.config['lr'] == 0.01 and run.config['seed'] == 4 and 'quiet' not in run.config

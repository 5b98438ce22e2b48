"""Sweeps: each point is its lone run, nothing is done twice, and what may be chance is not called a difference."""

import csv
import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.stats

import vae_jax as vj
from tests import tiny
from tests.pages import Reader
from tests.test_cli import ROOT, finished, started
from vae_jax import cli, flags, runs, statistics
from vae_jax.__main__ import main as verb
from vae_jax.errors import ENVIRONMENT, NUMBERS, TIME_IS_UP, Fault, Stopped
from vae_jax.fields import leaves
from vae_jax.sweeps import gathering, points, running

METRIC = ('test_elbo', 'max')
VOLATILE = {'wall_s', 'path'}


@pytest.fixture(autouse=True)
def handlers():
    """A command that is done ignores SIGTERM; this process is not done."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Only the sweep that all tests share draws its report: two themes of every figure are seconds."""
    monkeypatch.setattr(gathering, 'draw', lambda path: path)


def config(out, *argv):
    return flags.parse(tiny.Config, ['--out', str(out), '--quiet', '--steps', '24', *argv], 'tiny')


def sweep(out, swept, *argv, build=tiny.build, **options):
    return cli.sweep(config(out, *argv), build, swept, metric=METRIC, **options)


def here(*argv, build=tiny.build):
    """The exit code of the experiment's command run in this process."""
    with pytest.raises(SystemExit) as leaving:
        cli.main(tiny.Config, build, name='tiny', metric=METRIC, argv=[*map(str, argv)])
    return leaving.value.code


def table(path):
    with open(path / 'sweep.csv', newline='') as file:
        return list(csv.DictReader(file))


def stable(path):
    """All numbers of a sweep: its result, its table, its metrics, its arrays and its parameters."""
    rows = [{k: v for k, v in row.items() if k not in VOLATILE} for row in runs.read_metrics(path / 'metrics.jsonl')]
    params = [jax.tree.map(np.asarray, vj.load(path, tiny.build, run=i).params) for i in range(len(table(path)))]
    arrays = {file.parent.name: dict(np.load(file)) for file in sorted(path.glob('tasks/*/evaluation.npz'))}
    return json.loads((path / 'result.json').read_text()), table(path), rows, params, arrays


SWEPT = {'lr': (1e-2, 1e30), 'batch': (16, 20)}


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """Two populations of four: with two seeds each, learning rates of which one diverges."""
    path = tmp_path_factory.mktemp('sweeps') / 'whole'
    return path, sweep(path, SWEPT, seeds=2)


def test_a_point_is_its_lone_run(whole, tmp_path):
    path, _ = whole
    for run, argv in ((0, ['--batch', '16']), (3, ['--batch', '20', '--seed', '1'])):
        lone = config(tmp_path / str(run), '--lr', '0.01', *argv)
        alone = cli.run(lone, tiny.build)
        mine = vj.load(path, tiny.build, run=run)
        assert mine.result['test_elbo'] == pytest.approx(alone['test_elbo'], rel=1e-5)
        assert dataclasses.replace(mine.config, run=lone.run) == lone and mine.config.run.seed == lone.run.seed
        theirs = vj.load(tmp_path / str(run), tiny.build).params
        for a, b in zip(jax.tree.leaves(mine.params), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
        curves = [row['validation/loss'] for row in runs.read_metrics(path / 'metrics.jsonl') if row['run'] == run
                  and 'validation/loss' in row]  # fmt: skip
        there = [row for row in runs.read_metrics(tmp_path / str(run) / 'metrics.jsonl') if 'validation/loss' in row]
        np.testing.assert_allclose(curves, [row['validation/loss'] for row in there], rtol=1e-5)


def test_each_member_is_loaded_at_its_own_best(tmp_path):
    path = tmp_path / 'sweep'
    sweep(path, {'lr': (0.01, 10.0)})
    alone = cli.run(config(tmp_path / 'lone', '--lr', '10'), tiny.build)
    theirs = vj.load(alone['path'], tiny.build).params
    steps = [int(folder.name) for folder in (tmp_path / 'lone').glob('checkpoints/best/*')]
    assert max(steps) < 24 and vj.load(path, tiny.build, run=1).result['test_elbo'] == pytest.approx(alone['test_elbo'])
    for a, b in zip(jax.tree.leaves(vj.load(path, tiny.build, run=1).params), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_a_sweep_is_one_table_with_the_best_and_those_that_diverged(whole):
    path, result = whole
    rows = table(path)
    assert [row['run'] for row in rows] == [str(i) for i in range(8)] and len({row['task'] for row in rows}) == 2
    assert [(row['lr'], row['batch'], row['seed']) for row in rows[:4]] == [
        ('0.01', '16', '0'), ('0.01', '16', '1'), ('0.01', '20', '0'), ('0.01', '20', '1')
    ]  # fmt: skip
    assert [row['status'] for row in rows] == ['done'] * 4 + ['diverged'] * 4
    assert all(int(row['diverged_step']) >= 1 and row['test_elbo'] == '' for row in rows[4:])
    assert (result['runs'], result['diverged'], result['configurations']) == (8, 4, 4)
    means = {b: np.mean([float(r['test_elbo']) for r in rows[:4] if r['batch'] == b]) for b in ('16', '20')}
    best = max(means, key=means.get)
    assert result['best']['batch'] == int(best) and result['best']['lr'] == 0.01 and result['best']['seeds'] == [0, 1]
    assert result['test_elbo'] == pytest.approx(means[best]) and result['units'] == {'test_elbo': 'nats'}
    assert json.loads((path / 'result.json').read_text()) == {k: v for k, v in result.items() if k != 'path'}
    assert {row['run'] for row in runs.read_metrics(path / 'metrics.jsonl')} >= {0, 1, 2, 3}
    for task in runs.several.tasks(path):
        with np.load(task / 'evaluation.npz') as file:
            assert file['elbo'].shape == (25, 4) and list(np.isnan(file['elbo'][0])) == [False, False, True, True]


def test_the_same_command_again_answers_and_another_sweep_is_refused(whole, capsys):
    path, result = whole
    written = {file: file.stat().st_mtime_ns for file in path.rglob('*')}
    assert sweep(path, SWEPT, seeds=2) == result
    with pytest.raises(Fault, match=r'sweep.seed is \[0, 1\] there, expected \[0, 1, 2\]'):
        sweep(path, SWEPT, seeds=3)
    with pytest.raises(Fault, match=r'sweep.batch is \[16, 20\] there, expected absent'):
        sweep(path, {'lr': SWEPT['lr']}, seeds=2)
    with pytest.raises(Fault, match='--beta is 1.0 there, expected 2.0'):
        sweep(path, SWEPT, '--beta', '2', seeds=2)
    with pytest.raises(Fault, match='run of another configuration'):
        cli.run(config(path), tiny.build)
    assert {file: file.stat().st_mtime_ns for file in path.rglob('*')} == written


@pytest.mark.parametrize('times', [1, 8, 12])
def test_a_sweep_stopped_anywhere_goes_on_to_the_same_numbers(whole, tmp_path, times):
    """Asked to stop in the first population, in its evaluation, and in the second."""
    left = [times]

    def stop():
        left[0] -= 1
        return TIME_IS_UP if left[0] < 0 else None

    path = tmp_path / 'sweep'
    with pytest.raises(Stopped) as stopped:
        sweep(path, SWEPT, seeds=2, stop=stop)
    assert stopped.value.code == TIME_IS_UP and not (path / 'result.json').exists()
    sweep(path, SWEPT, seeds=2)
    for mine, theirs in zip(stable(path), stable(whole[0]), strict=True):
        np.testing.assert_equal(mine, theirs)


def test_no_member_is_evaluated_twice(tmp_path):
    seen = []

    def build(config):
        found = tiny.build(config)

        def evaluate(params, key, quiet):
            seen.append(1)
            if len(seen) == 3:
                raise SystemExit(143)  # a signal outside training
            return found.evaluate(params, key, quiet)

        return found._replace(evaluate=evaluate)

    with pytest.raises(SystemExit):
        sweep(tmp_path / 'sweep', {}, '--steps', '4', seeds=4, build=build)
    assert len(list(tmp_path.glob('sweep/tasks/*/points/*.json'))) == 2
    assert sweep(tmp_path / 'sweep', {}, '--steps', '4', seeds=4, build=build)['runs'] == 4
    assert len(seen) == 5


def test_where_all_diverge_the_code_is_4_and_one_lost_task_stops_no_other(tmp_path, capsys):
    argv = ('--quiet', '--steps', '4', '--sweep.lr', '1e30', '--out', tmp_path / 'lost')
    for _ in range(2):
        assert here(*argv) == NUMBERS
        said = capsys.readouterr()
        assert 'all 1 runs' in said.err.splitlines()[-1] and said.out == ''
    assert [row['status'] for row in table(tmp_path / 'lost')] == ['diverged']
    made, how = config(tmp_path / 'one', '--steps', '4'), cli._how(tiny.build, 1, METRIC)
    mixed = points.checked(made, [{'lr': 1e30, 'batch': 16}, {'lr': 0.01, 'batch': 20}])
    result = running.run(tmp_path / 'one', made, points.groups(made, mixed), how)
    assert result['diverged'] == 1 and result['best']['batch'] == 20


def test_a_numbers_fault_in_an_evaluation_loses_that_member_only(tmp_path):
    def build(config):
        found = tiny.build(config)
        calls = []

        def evaluate(params, key, quiet):
            calls.append(1)
            if len(calls) == 1:
                raise Fault('rate is not finite', 'the model has diverged', NUMBERS)
            return found.evaluate(params, key, quiet)

        return found._replace(evaluate=evaluate)

    result = sweep(tmp_path / 'sweep', {}, '--steps', '4', seeds=2, build=build)
    assert result['diverged'] == 1
    assert [row['status'] for row in table(tmp_path / 'sweep')] == ['diverged', 'done']


def test_points_of_a_file_are_one_population(tmp_path, capsys):
    file = tmp_path / 'points.jsonl'
    file.write_text('{"lr": 0.01, "seed": 1}\n{"lr": 0.001, "seed": 7}\n')
    assert here('--points', file, '--steps', '4', '--out', tmp_path / 'run') == 0
    said = capsys.readouterr().out.splitlines()
    told = json.loads(said[-1])
    assert [(one['run'], one['lr'], one['seed'], one['status']) for one in told['points']] == [
        (0, 0.01, 1, 'done'), (1, 0.001, 7, 'done')
    ]  # fmt: skip
    assert any('lr 0.001, seed 7' in line for line in said[:-1])
    stored = json.loads((tmp_path / 'run' / 'config.json').read_text())
    assert stored['points'][1] == {'lr': 0.001, 'seed': 7}
    assert sorted(file.name for file in (tmp_path / 'run' / 'points').iterdir()) == ['0.json', '1.json']
    assert verb(['verify', str(tmp_path / 'run')]) == 0


def as_processes(tasks):
    """A launcher of six lines: what Ray and Slurm do, here."""
    children = [
        subprocess.Popen([sys.executable, '-m', task.module, *task.argv], cwd=ROOT, stdout=subprocess.DEVNULL)
        for task in tasks
    ]
    assert [child.wait(timeout=120) for child in children] == [0] * len(tasks)


def test_tasks_that_others_run_give_the_same_sweep(whole, tmp_path):
    made = config(tmp_path / 'sweep', '--devices', '1')  # the programs of this process, which it has compiled
    groups = points.groups(made, points.product(made, SWEPT, 2))
    how = cli._how(tiny.build, 1, METRIC)
    result = running.run(tmp_path / 'sweep', made, groups, how, as_processes)
    assert result == {k: v for k, v in whole[1].items() if k != 'path'}
    with pytest.raises(Fault, match='4 of 4 runs of .* have no result; fix: start the same command') as fault:
        running.run(tmp_path / 'none', made, points.groups(made, points.product(made, {}, 4)), how, lambda tasks: None)
    assert fault.value.code == ENVIRONMENT


def test_the_runs_of_a_sweep_are_read_like_any_other(whole, capsys, tmp_path):
    path, _ = whole
    rows = runs.table(str(path.parent / '**'))
    assert [row['run'] for row in rows] == list(range(8)) and {row['path'] for row in rows} == {str(path)}
    assert [row['state'] for row in rows] == ['done'] * 4 + ['diverged'] * 4
    assert rows[3]['batch'] == 20 and rows[3]['hyper.lr'] == 0.01 and rows[3]['run.seed'] == 1
    assert vj.best(rows, *METRIC)['test_elbo'] == max(row['test_elbo'] for row in rows[:4])
    with pytest.raises(Fault, match='holds 8 runs; fix: say which'):
        vj.load(path, tiny.build)
    with pytest.raises(Fault, match='holds 8 runs, and run is 8'):
        vj.load(path, tiny.build, run=8)
    assert verb(['verify', str(path)]) == 0
    assert verb(['sample', str(path), '--out', str(tmp_path / 'a.png')]) == 2
    assert capsys.readouterr().err.startswith(f'error: {path} holds 8 runs; fix: say which')


def test_verify_finds_what_was_changed_in_a_task(whole, capsys):
    file = next(whole[0].glob('tasks/*/points')).parent / 'evaluation.npz'
    content = file.read_bytes()
    try:
        file.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
        assert verb(['verify', str(whole[0])]) == ENVIRONMENT
        assert 'evaluation.npz' in capsys.readouterr().out
    finally:
        file.write_bytes(content)


def test_the_report_of_a_sweep_says_who_won(whole, monkeypatch):
    page = Reader((whole[0] / 'report.html').read_text())
    assert page.headings[:1] == ['What the values do'] and 'Configurations' in page.headings
    assert 'Runs that diverged' in page.headings and 'test ELBO by lr and batch' in page.headings
    assert 'Highest test ELBO: lr 0.01, batch ' in page.text and '95 % t interval' in page.text
    assert '4 runs diverged' in page.text and 'paired by seed' in page.text
    assert all(image['src'].startswith('data:') for image in page.all('img')) and page.all('img')
    monkeypatch.undo()
    for folder in (whole[0], runs.several.tasks(whole[0])[0]):  # again, and of one population
        assert verb(['report', str(folder)]) == 0
        assert 'Configurations' in Reader((folder / 'report.html').read_text()).headings


def test_a_dry_run_counts_runs_and_compilations(tmp_path, capsys):
    assert (
        here('--dry-run', '--sweep.beta', '1', '2', '--sweep.batch=8,16', '--seeds', '3', '--out', tmp_path / 'x') == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert (told['runs'], told['compilations'], told['there']) == (12, 2, 'nothing yet')
    assert [(one['flags'], one['runs']) for one in told['tasks']] == [({'batch': 8}, 6), ({'batch': 16}, 6)]
    states = 6 * 4 * 4 * told['tasks'][0]['parameters']  # params, two moments and a gradient, of float32
    assert states < told['memory_bytes_at_least'] < 2 * states and not (tmp_path / 'x').exists()


@pytest.mark.parametrize(
    ('argv', 'said'),
    [
        (['--sweep.bta', '1'], "unknown flag --sweep.bta; fix: did you mean '--sweep.beta'?"),
        (['--sweep.steps', '0.5'], "--sweep.steps is '0.5'; fix: give an integer"),
        (['--sweep.batch', '0', '4'], '--batch is 0; fix: give a value >= 1'),
        (['--sweep.lr'], '--sweep.lr has no value'),
        (['--sweep.lr='], '--sweep.lr has no value'),
        (['--sweep.lr', '1', '1.0'], '--sweep.lr has 1 twice'),
        (['--sweep.lr', '1', '--sweep.lr', '2'], '--sweep.lr is given twice'),
        (['--sweep.beta', '1', '2', '--beta=3'], '--beta and --sweep.beta are both given'),
        (['--sweep.fault', 'none', 'disc'], "--sweep.fault is 'disc'; fix: did you mean 'disk'?"),
        (['--sweep.out', 'a', 'b'], '--sweep.out: that flag changes no result'),
        (['--sweep.lr', 'nan'], '--lr is nan; fix: give a finite number'),
        (['--seeds', '0'], '--seeds is 0; fix: give a value >= 1'),
        (['--seeds', '2', '--sweep.seed', '1'], '--seeds and --sweep.seed are both given'),
        (['--launcher', 'ray'], '--launcher is for the runs of a sweep'),
        (['--seeds', '2', '--ray-address', 'a:1'], '--ray-address goes with --launcher ray'),
        (['--points', 'POINTS', '--seeds', '2'], '--points and --sweep or --seeds are both given'),
        (['--points', 'nowhere.jsonl'], "--points is 'nowhere.jsonl', and there is no such file"),
        (['--points', 'STATIC'], 'points of 2 static configurations: --batch is not the same in all'),
        (['--points', 'ODD'], 'line 2 of'),
        (['--points', 'TWICE'], 'two runs would be the same: lr 1, seed 0'),
        (['--points', 'WRONG'], '--steps is 0.5; fix: give an integer'),
        (['--points', 'UNKNOWN'], "there is no flag --bta to sweep; fix: did you mean 'beta'?"),
        (['--points', 'EMPTY'], 'has no points'),
    ],
)
def test_bad_input_is_one_line_code_2_and_leaves_nothing(argv, said, tmp_path, capsys, monkeypatch):
    files = {
        'POINTS': '{"lr": 1}\n',
        'STATIC': '{"batch": 8}\n{"batch": 16}\n',
        'ODD': '{"lr": 1}\n{"beta": 1}\n',
        'TWICE': '{"lr": 1}\n{"lr": 1.0}\n',
        'WRONG': '{"steps": 0.5}\n',
        'UNKNOWN': '{"bta": 1}\n',
        'EMPTY': '',
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(cli, '_built', lambda *_: pytest.fail('it was built, with jax imported'))
    found = [str(tmp_path / word) if word in files else word for word in argv]
    assert here('--out', tmp_path / 'run', *found) == 2
    told = capsys.readouterr()
    assert said in told.err and told.err.count('\n') == 1 and told.out == '' and not (tmp_path / 'run').exists()


def test_more_devices_than_there_are(tmp_path, capsys):
    assert here('--seeds', '2', '--devices', '4096', '--out', tmp_path / 'run') == ENVIRONMENT
    assert '--devices is 4096, and there' in capsys.readouterr().err and not (tmp_path / 'run').exists()


def test_a_wrong_sweep_and_one_that_is_done_need_no_jax(whole):
    heavy = {'jax', 'numpy', 'scipy', 'matplotlib'}
    path, result = whole
    argv = ('--sweep.lr', '0.01', '1e30', '--sweep.batch', '16', '20', '--seeds', '2', '--steps', '24', '--quiet')
    ends = [finished(started('--sweep.bta', '1')), finished(started(*argv, '--out', path))]
    assert [code for code, *_ in ends] == [2, 0] and not any(modules & heavy for *_, modules in ends)
    assert json.loads(ends[1][1][-1]) == result


def test_a_sweep_by_command_on_two_devices_and_stopped_by_sigterm(tmp_path):
    path, argv = tmp_path / 'sweep', ('--sweep.lr', '0.01', '0.02', '--steps', '24')
    run = started(*argv, '--out', path, '--devices', '2', SLOW_TRAINING='0.2')
    assert run.stdout.readline() == f'sweep: {path}: 2 runs, 1 population\n'
    files = lambda: list(path.glob('tasks/*/metrics.jsonl'))
    while not (files() and files()[0].read_text().count('\n') > 1):
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(signal.SIGTERM)
    code, _, said, _ = finished(run)
    assert code == 143 and said[-1].startswith('stopped after step')
    code, out, *_ = finished(started(*argv, '--out', path, '--devices', '2'))
    assert code == 0 and any(line.startswith('Highest test ELBO: lr 0.0') for line in out)
    assert json.loads((path / 'config.json').read_text())['environment']['device']['count'] == 2
    alone = sweep(tmp_path / 'here', {'lr': (0.01, 0.02)})
    assert json.loads(out[-1])['test_elbo'] == pytest.approx(alone['test_elbo'], rel=1e-5)


def test_values_are_read_as_launchers_and_people_write_them():
    known = leaves(tiny.Config)
    same = [
        ['--sweep.beta', '0.5', '1', '2'],
        ['--sweep.beta=0.5,1,2'],
        ['--sweep.beta=[0.5, 1, 2]'],
        ['--sweep.beta', '0.5,1', '2'],
    ]
    assert [flags.swept(argv, known) for argv in same] == [([], {'beta': (0.5, 1.0, 2.0)})] * 4
    others, found = flags.swept(['--steps', '3', '--sweep.fault', 'none', 'disk', '--smoke'], known)
    assert others == ['--steps', '3', '--smoke'] and found == {'fault': ('none', 'disk')}

    @dataclasses.dataclass(frozen=True)
    class Wide:
        hidden: tuple[int, ...] = (500,)
        deep: bool = False
        label: str | None = None
        run: cli.configs.RunFlags = cli.configs.RunFlags()

    read = lambda *argv: flags.swept(argv, leaves(Wide))[1]
    assert read('--sweep.hidden', '256', '500,200', '[3, 4]') == {'hidden': ((256,), (500, 200), (3, 4))}
    assert read('--sweep.deep', 'true', '0') == {'deep': (True, False)}
    assert read('--sweep.label', 'None', 'a') == {'label': (None, 'a')}
    made = Wide(run=cli.configs.RunFlags(seed=3))
    found = points.product(made, {'hidden': ((3,), (4, 5))}, 2)
    assert [points.configured(made, point).run.seed for point in found] == [3, 4, 3, 4]
    assert flags.parse(Wide, cli.configs.tokens(points.configured(made, found[3])), 'wide').hidden == (4, 5)
    assert [len(group.points) for group in points.groups(made, found)] == [2, 2]


def test_intervals_are_those_of_students_t():
    rng = np.random.default_rng(0)
    for n in (2, 3, 10, 200):
        x, y = rng.normal(3, 2, n), rng.normal(3, 2, n)
        low, high = scipy.stats.t.interval(0.95, n - 1, x.mean(), scipy.stats.sem(x))
        found = statistics.interval(x)
        np.testing.assert_allclose(found[:4], (x.mean(), low, high, n), rtol=1e-12)
        assert found.kind == 't'
        test = scipy.stats.ttest_rel(x, y)
        paired = statistics.paired(dict(enumerate(x)), dict(enumerate(y)))
        np.testing.assert_allclose((paired.low, paired.high), test.confidence_interval(0.95), rtol=1e-10)
        assert paired.contains_zero == (test.pvalue > 0.05)
    assert np.isnan(statistics.interval([4.0]).low) and statistics.interval([4.0]).contains_zero
    assert statistics.interval([]).n == 0


def row(beta, seed, value, status='done'):
    return {'beta': beta, 'seed': seed, 'status': status, **({} if value is None else {'nll': value})}


def test_a_configuration_that_lost_a_run_is_not_the_best_and_seeds_pair_the_others():
    noise = np.random.default_rng(0).normal(0, 10, 5)
    rows = [row(1.0, s, 100 + noise[s]) for s in range(5)]
    rows += [row(2.0, s, 101 + noise[s] + 0.01 * s) for s in range(5)]  # apart by 1, under noise of 10
    rows += [row(4.0, s, 100 + noise[-s]) for s in range(5)]
    rows += [row(8.0, 0, 1.0), row(8.0, 1, None, 'diverged')]
    rows += [row(16.0, s, None, 'diverged') for s in range(2)]
    found = statistics.compared(rows, ['beta'], 'nll')
    assert [one.flags['beta'] for one in found][3:] == [8.0, 16.0] and found[3].lost == 1
    by = {one.flags['beta']: one for one in found}
    assert not by[2.0].difference.contains_zero and by[2.0].difference.mean == pytest.approx(1.02)
    assert by[4.0].difference.contains_zero or found[0].flags['beta'] == 4.0
    assert by[2.0].differs and by[2.0].p == pytest.approx(
        3 * scipy.stats.ttest_1samp(1 + 0.01 * np.arange(5), 0).pvalue
    )
    assert not found[0].differs and not any(one.differs for one in found if one.value.n < 2)
    assert statistics.compared(rows, ['beta'], 'nll', 'max')[0].flags['beta'] == 2.0


def said(values, seeds=5):
    rows = [row(beta, seed, value(seed)) for beta, value in values.items() for seed in range(seeds)]
    return vj.report.winner(statistics.compared(rows, ['beta'], 'nll'), 'nll', 'min', 'nats')


def test_a_difference_whose_interval_contains_zero_is_not_called_one():
    apart = said({1.0: lambda s: 90 + s % 2, 2.0: lambda s: 100 + s % 3})
    assert apart.startswith('Lowest \u2212log p(x): beta 1, 90.40 nats') and 'differs from the other' in apart
    alike = said({1.0: lambda s: 90 + s % 2, 2.0: lambda s: 90.1 + (s + 1) % 2})
    assert '1 of the 1 others cannot be told from it' in alike and 'differs' not in alike
    # an interval without zero is not enough where 15 pairs were looked at: six draws of one distribution
    draws = np.random.default_rng(6).normal(0, 1, (6, 5))
    rows = [row(float(i), seed, draws[i, seed]) for i in range(6) for seed in range(5)]
    found = statistics.compared(rows, ['beta'], 'nll')
    assert not all(one.difference.contains_zero for one in found[1:]) and not any(one.differs for one in found)
    several = vj.report.winner(found, 'nll', 'min', 'nats')
    assert '5 of the 5 others cannot be told from it' in several and "Holm's method for all pairs" in several
    single = said({1.0: lambda s: 90.0, 2.0: lambda s: 100.0}, seeds=1)
    assert 'no interval' in single and 'may be chance' in single and 'differs' not in single


def test_names_of_a_user_are_text_in_the_report(tmp_path):
    rows = [{'run': i, **row(name, 0, float(i))} for i, name in enumerate(['<b>x</b>', '$y$'])]
    page = vj.report.sweep_report(
        tmp_path,
        title='<script>',
        rows=rows,
        flags=['beta'],
        metric='nll',
        direction='min',
        units={},
        metrics=[{'run': i, 'step': s, 'train/loss': 1.0 * s} for i in range(2) for s in (1, 2)],
        config={},
    )
    read = Reader(Path(page).read_text())
    assert '<b>x</b>' in read.text and '<script>' in read.text and len(read.all('script')) == 1


def test_a_sweep_over_one_number_draws_the_rate_distortion_plane(tmp_path):
    rows = [
        {'run': i, 'seed': i % 2, 'beta': beta, 'status': 'done', 'nll': 3.0 + i, 'test_rate': 4 / beta, **more}
        for i, (beta, more) in enumerate((b, {'test_distortion': 9.0 + b + s}) for b in (1.0, 2.0) for s in (0.0, 0.5))
    ]
    asked = {'title': 't', 'flags': ['beta'], 'metric': 'nll', 'direction': 'min', 'units': {}, 'metrics': []}
    page = vj.report.sweep_report(tmp_path / 'both', rows=rows, config={}, command='', **asked)
    assert 'Rate and distortion' in Path(page).read_text()
    alone = [{name: value for name, value in row.items() if name != 'test_rate'} for row in rows]
    page = vj.report.sweep_report(tmp_path / 'half', rows=alone, config={}, command='', **asked)
    assert 'Rate and distortion' not in Path(page).read_text()

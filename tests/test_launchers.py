"""Tasks on other engines: a task that is cut off goes on from its checkpoint, and what it finds is what it would have.

The engines are real ones: Ray on this machine, submitit's local executor, bash.
"""

import _thread
import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vae_jax import launchers
from vae_jax.errors import Fault
from vae_jax.launchers import commands, driving, slurm
from vae_jax.launchers.driving import Engine, drive
from vae_jax.sweeps.points import Task

ROOT = Path(__file__).parent.parent
READY = ROOT / 'experiments' / 'launchers'
STEPS = '--steps=60'
linux = pytest.mark.skipif(sys.platform != 'linux', reason='looks at processes in /proc')


def write_points(file, *betas):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(''.join(json.dumps({'beta': beta, 'seed': seed}) + '\n' for beta in betas for seed in (0, 1)))
    return file


def small_tasks(place, n):
    """n populations of two runs of the smallest experiment."""
    files = [write_points(place / f'{i}.jsonl', 0.5 * (i + 1)) for i in range(n)]
    return [
        Task((STEPS, f'--points={f}', f'--out={f.with_suffix("")}', '--quiet'), f.with_suffix(''), 'tests.often')
        for f in files
    ]


def table(tasks):
    """Every number of every run: results, metrics but for the wall clock, examples."""
    rows = []
    for task in tasks:
        metrics = [json.loads(line) for line in (task.out / 'metrics.jsonl').read_text().splitlines()]
        told = [{name: value for name, value in row.items() if name != 'wall_s'} for row in metrics]
        rows.append((json.loads((task.out / 'result.json').read_text())['points'], told))
    return rows


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
    """The table of n tasks, each run by its own command."""
    tasks = small_tasks(tmp_path_factory.mktemp('undisturbed'), 4)
    for task in tasks:
        assert commands.run(commands.command(task)) == 0
    return table(tasks)


def when_it_trains(task, act):
    """A thread that calls act(the process that holds the task's run directory) once that has a checkpoint."""

    def watch():
        while not (saved := [int(held.name) for held in (task.out / 'checkpoints' / 'last').glob('[0-9]*')]):
            time.sleep(0.02)
        assert max(saved) < 60
        act(json.loads((task.out / '.lock').read_text())['pid'])

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def parent(pid):
    return int(Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[1])


def is_running(pid):
    with contextlib.suppress(OSError):
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    return False


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def python(code, tmp_path):
    return commands.Command(('-c', code), str(tmp_path), {}, str(tmp_path / 'log'))


# What is started again, and what is not


def scripted(codes):
    """An engine whose i-th task ends with codes[i], one start after the other; None: it runs until it is stopped."""
    left, stopped = {}, []

    def start(asked):
        for command in asked:
            left.setdefault(command.log, list(codes[int(Path(command.log).stem)]))
        return [[command.log, left[command.log].pop(0)] for command in asked]

    def stop(job):
        stopped.append(Path(job[0]).stem)
        job[1] = 143

    return Engine(start, lambda job: job[1], stop), stopped


def driven(tmp_path, codes, **how):
    engine, stopped = scripted(codes)
    tasks = [Task((), tmp_path / str(i), 'none') for i in range(len(codes))]
    return drive(engine, tasks, every=0, **how), stopped


@pytest.mark.parametrize(
    ('codes', 'code', 'starts'),
    [
        ([0], 0, 1),
        ([4], 4, 1),  # all diverged: a result
        ([2], 2, 1),
        ([3, 0], 3, 1),
        ([5, 0], 5, 1),
        ([-9, 0], 0, 2),
        ([143, -9, 0], 0, 3),
        ([-9, -9, -9, 0], -9, 3),  # retries are used up
        ([75, 75, 75, 75, 0], 0, 5),  # out of time is not a failure
    ],
)
def test_only_what_was_cut_off_is_started_again(tmp_path, capsys, codes, code, starts):
    ((outcome,), _) = driven(tmp_path, [codes], retries=2)
    assert (outcome.code, outcome.starts) == (code, starts)
    assert capsys.readouterr().err.count('note: ') == starts - 1


def test_when_asked_to_stop_every_task_saves_and_none_is_started_again(tmp_path):
    asks = iter([None, None, *[143] * 10])
    told = []
    outcomes, stopped = driven(
        tmp_path, [[0], [None], [None]], stop=lambda: next(asks), ended=lambda t, o: told.append(t)
    )
    assert [outcome.code for outcome in outcomes] == [0, 143, 143]
    assert stopped == ['1', '2'] and len(told) == 3


def test_an_interrupted_launcher_stops_its_tasks(tmp_path):
    engine, stopped = scripted([[None]])

    def interrupt():
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        drive(engine, [Task((), tmp_path / '0', 'none')], every=0, stop=interrupt)
    assert stopped == ['0']


def test_a_fault_of_a_task_is_told_in_its_own_words(tmp_path):
    say = lambda code, said: driving.Outcome(code, 1, said, 'task.log')
    launchers.required([say(0, '{}'), say(4, 'error: all diverged; fix: lower --lr'), say(143, ''), say(75, '')])
    with pytest.raises(Fault, match=r'^1 of 2 tasks failed, the first: no such file; fix: give another$') as found:
        launchers.required([say(0, '{}'), say(2, 'error: no such file; fix: give another')])
    assert found.value.code == 2
    with pytest.raises(Fault, match='it was ended by SIGKILL; fix: see task.log') as found:
        launchers.required([say(-9, '{"beta": 1}')])
    assert found.value.code == 3


# One start, where it runs


@linux
def test_a_command_ends_with_whoever_started_it(tmp_path):
    log = str(tmp_path / 'log')
    code = f"""
from vae_jax.launchers import commands
command = commands.Command(('-c', 'print(1, flush=True); import time; time.sleep(60)'), '.', {{}}, {log!r})
commands.run(command, lambda child: print(child.pid, flush=True))
"""
    worker = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    child = int(worker.stdout.readline())
    until(lambda: commands.last_line(log) == '1')
    assert is_running(child)
    worker.kill()
    worker.wait()
    worker.stdout.close()
    until(lambda: not is_running(child), 5)


def test_an_interrupted_command_saves_first(tmp_path):
    code = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print('saved', flush=True), sys.exit(143)))
print('ready', flush=True)
time.sleep(60)
"""
    command = python(code, tmp_path)

    def interrupt():
        until(lambda: commands.last_line(command.log) == 'ready')
        _thread.interrupt_main()

    held = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        assert commands.run(command) == 143
    finally:
        signal.signal(signal.SIGINT, held)
    assert commands.last_line(command.log) == 'saved'


def test_a_command_lets_pass_what_slurm_sends_to_all_of_a_job(tmp_path):
    code = 'import os, signal; [os.kill(os.getpid(), s) for s in (signal.SIGUSR1, signal.SIGUSR2)]; print("alive")'
    assert commands.run(python(code, tmp_path)) == 0
    assert commands.last_line(str(tmp_path / 'log')) == 'alive'


def test_tasks_share_the_settings_and_the_compiled_programs_of_who_launches_them(tmp_path, monkeypatch):
    monkeypatch.setenv('XLA_FLAGS', '--xla_dump_to=')
    monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', 'here')
    made = commands.command(Task(('--quiet',), Path('runs/a'), 'tests.tiny'))
    assert made.environment['JAX_COMPILATION_CACHE_DIR'] == str(Path('here').absolute())
    assert made.environment['XLA_FLAGS'] == '--xla_dump_to=' and 'HOME' not in made.environment
    assert made.log == str(Path('runs/a.log').absolute())  # beside it: in it, the directory would be no run


# Ray


def test_a_task_of_ray_is_given_a_gpu_where_there_is_one():
    ray = pytest.importorskip('vae_jax.launchers.ray')
    nodes = lambda *held: [{'Alive': True, 'Resources': one} for one in held]
    assert ray._resources(nodes({'CPU': 8.0}, {'CPU': 64.0, 'GPU': 4.0}), None) == {'num_gpus': 1}
    assert ray._resources(nodes({'CPU': 8.0}, {'CPU': 4.0}), None) == {'num_cpus': 4}
    assert ray._resources(nodes({'CPU': 8.0}), 2) == {'num_cpus': 2}
    assert ray._resources([{'Alive': False, 'Resources': {'GPU': 1.0}}, *nodes({'CPU': 2.0})], None) == {'num_cpus': 2}
    with pytest.raises(Fault, match='3 devices a task.*has 2 GPUs; fix: give --devices 1 to 2'):
        ray._resources(nodes({'CPU': 8.0, 'GPU': 2.0}), 3)


def test_an_address_that_does_not_answer_is_a_fault_within_ten_seconds(tmp_path):
    pytest.importorskip('ray')
    from vae_jax.launchers import ray

    started = time.monotonic()
    with pytest.raises(Fault, match=r'cannot reach a cluster of Ray at 127\.0\.0\.1:9.*--ray-address') as found:
        ray.launch(small_tasks(tmp_path, 1), address='127.0.0.1:9')
    assert found.value.code == 3 and time.monotonic() - started < 10


@linux
@pytest.mark.slow
def test_four_populations_on_ray_outlive_a_worker(tmp_path, monkeypatch, capsys, undisturbed):
    pytest.importorskip('ray')
    from vae_jax.launchers import ray

    monkeypatch.setenv('SLOW_TRAINING', '0.2')
    tasks, killed, written = small_tasks(tmp_path, 4), [], []
    rows = lambda: (tasks[1].out / 'metrics.jsonl').read_text()

    def kill(child):
        killed.append(parent(child))
        written.append(rows().splitlines()[0])
        assert b'ray::' in Path(f'/proc/{killed[0]}/cmdline').read_bytes()
        os.kill(killed[0], signal.SIGKILL)

    before = signal.getsignal(signal.SIGTERM)
    when_it_trains(tasks[1], kill)
    outcomes = ray.launch(tasks, devices=1)
    assert [(outcome.code, outcome.starts) for outcome in outcomes] == [(0, 1), (0, 2), (0, 1), (0, 1)]
    assert killed and table(tasks) == undisturbed
    assert rows().startswith(written[0])  # with its wall clock: it went on, and did not begin anew
    said = capsys.readouterr()
    assert said.out == ''
    assert [line for line in said.err.splitlines() if 'note: ' in line] == [
        f'note: {tasks[1].out} was ended by SIGKILL (start 1); it is started again'
    ]
    assert signal.getsignal(signal.SIGTERM) is before


@linux
@pytest.mark.slow
def test_a_launcher_on_ray_that_is_stopped_has_stopped_its_tasks(tmp_path, undisturbed):
    pytest.importorskip('ray')
    (task,) = small_tasks(tmp_path, 1)
    code = """
import sys
from pathlib import Path
from vae_jax import process
from vae_jax.launchers import ray
from vae_jax.sweeps.points import Task
task = Task(tuple(sys.argv[2:]), Path(sys.argv[1]), 'tests.often')
sys.exit(process.guarded(lambda signals: ray.launch([task], devices=1, stop=signals.asked)[0].code))
"""
    words = [sys.executable, '-c', code, str(task.out), *task.argv]
    launcher = subprocess.Popen(words, cwd=ROOT, env={**os.environ, 'SLOW_TRAINING': '0.2'})
    held = []
    when_it_trains(task, held.append).join(60)
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(60) == 143
    assert not is_running(held[0]) and not (task.out / 'result.json').exists()
    assert 'stopped after step' in commands.last_line(f'{task.out}.log')  # by its own signal, with a checkpoint
    assert (
        subprocess.run([sys.executable, '-m', 'tests.often', *task.argv], cwd=ROOT, capture_output=True).returncode == 0
    )
    assert table([task]) == undisturbed[:1]


# Slurm


def test_where_there_is_no_slurm_it_says_so(tmp_path, monkeypatch):
    pytest.importorskip('submitit')
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(Fault, match='no Slurm here') as found:
        slurm.executor(tmp_path, {})
    assert found.value.code == 3


def test_options_of_slurm_are_read_as_people_write_them(tmp_path):
    assert slurm.read_options(['partition=gpu', 'time=4h', 'gpus_per_node=2', 'mem=32GB']) == {
        'partition': 'gpu',
        'time': 240,
        'gpus_per_node': 2,
        'mem': '32GB',
    }
    for wrong in ('gpu', '--partition=gpu', 'time='):
        with pytest.raises(Fault, match='give name=value'):
            slurm.read_options([wrong])


def stand_in(folder, **scripts):
    """Commands of a folder that comes first on the PATH."""
    folder.mkdir(exist_ok=True)
    for name, text in scripts.items():
        file = folder / name
        file.write_text(f'#!/bin/bash\n{text}\n')
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return f'{folder}{os.pathsep}{os.environ["PATH"]}'


def test_a_job_of_slurm_is_given_a_gpu_where_the_partition_has_any(tmp_path, monkeypatch):
    pytest.importorskip('submitit')
    sinfo = 'case "$*" in *partition=cpu*) echo "(null)";; *) echo "gpu:h100:8(S:0-1)";; esac'
    monkeypatch.setenv('PATH', stand_in(tmp_path / 'bin', sbatch='', srun='', sinfo=sinfo))
    held = lambda options: slurm.executor(tmp_path, options).parameters
    assert held({'partition': 'gpu', 'time': 240}).items() >= {'time': 240, 'gpus_per_node': 1}.items()
    assert 'gpus_per_node' not in held({'partition': 'cpu'})
    assert held({'gpus_per_node': 0}).get('gpus_per_node') == 0
    with pytest.raises(Fault, match='--slurm is refused') as found:
        slurm.executor(tmp_path, {'partitoin': 'gpu'})
    assert found.value.code == 2


SBATCH = """
array=$(grep -o 'array=0-[0-9]*' "$1" | cut -d- -f2)
export SLURM_ARRAY_JOB_ID=7 SLURM_NTASKS=1 SLURM_PROCID=0
for i in $(seq 0 ${array:-0}); do
  SLURM_JOB_ID=$((7 + i)) SLURM_ARRAY_TASK_ID=$i bash "$1" >/dev/null 2>&1 &
done
echo Submitted batch job 7
"""


@pytest.mark.slow
def test_a_sweep_of_the_command_line_on_slurm(tmp_path):
    pytest.importorskip('submitit')
    srun = 'while [[ $1 != */python* ]]; do shift; done; exec "$@"'
    path = stand_in(tmp_path / 'bin', sbatch=SBATCH, srun=srun, sinfo='echo "(null)"', sacct='')
    sweep = ['-m', 'tests.tiny', '--steps=8', '--devices=1', '--sweep.beta=1,2', '--sweep.batch=8,16', '--out']
    around = {'cwd': ROOT, 'env': {**os.environ, 'PATH': path}, 'capture_output': True, 'text': True, 'timeout': 120}
    run = lambda *flags: subprocess.run([sys.executable, *sweep, *flags], **around)
    there = run(str(tmp_path / 'there'), '--launcher', 'slurm', '--slurm', 'time=10m', 'cpus_per_task=1')
    here = run(str(tmp_path / 'here'))
    assert (there.returncode, here.returncode) == (0, 0), there.stderr
    assert (tmp_path / 'there' / 'sweep.csv').read_text() == (tmp_path / 'here' / 'sweep.csv').read_text()
    assert 'array=0-1' in next((tmp_path / 'there.slurm').glob('*submission.sh')).read_text()


@linux
@pytest.mark.slow
def test_a_preempted_job_saves_and_goes_on_from_there(tmp_path, monkeypatch, undisturbed):
    submitit = pytest.importorskip('submitit')
    monkeypatch.setenv('SLOW_TRAINING', '0.2')
    tasks, jobs = small_tasks(tmp_path, 2), []

    class Executor(submitit.LocalExecutor):
        def submit_array(self, calls):
            jobs.extend(made := super().submit_array(calls))
            return made

    def preempt(child):
        for process in (parent(child), child):  # Slurm signals every process of a job
            os.kill(process, signal.SIGUSR2)

    when_it_trains(tasks[0], preempt)
    outcomes = slurm.launch(tasks, Executor(tmp_path / 'slurm'))
    assert [(outcome.code, outcome.starts) for outcome in outcomes] == [(0, 1), (0, 1)]  # the job itself went on
    assert 'stopped after step' in Path(outcomes[0].log).read_text()
    assert 'Requeued job' in jobs[0].stdout() and table(tasks) == undisturbed[:2]


# Ready files


def test_every_ready_file_is_run_here_or_says_that_it_is_not():
    names = {file.name: file.read_text() for file in sorted(READY.iterdir()) if file.is_file()}
    assert set(names) == {'optuna_study.py', 'shell_loop.sh', 'skypilot.yaml', 'slurm_array.sbatch', 'wandb_sweep.yaml'}
    not_run = {name for name, text in names.items() if text.startswith('# not run: ')}
    assert not_run == {'skypilot.yaml', 'wandb_sweep.yaml'}
    assert all('un in the tests' in text[:200] for name, text in names.items() if name not in not_run)


def ready(name, *words, **environment):
    """Runs a ready file in bash, with this Python for `python`."""
    path = os.pathsep.join([str(Path(sys.executable).parent), environment.pop('PATH', os.environ['PATH'])])
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'MODULE': 'tests.tiny', 'PATH': path, **environment}
    return subprocess.run(
        ['bash', str(READY / name), *map(str, words)], env=environment, capture_output=True, text=True
    )


@pytest.mark.slow
def test_the_shell_loop_runs_every_population_and_goes_on_past_a_fault(tmp_path):
    good, bad = write_points(tmp_path / 'a.jsonl', 1.0), write_points(tmp_path / 'b.jsonl', 'x')
    found = ready('shell_loop.sh', bad, good, '--', '--steps=8', RUNS=str(tmp_path / 'runs'))
    assert found.returncode == 2 and 'beta' in found.stderr
    assert (tmp_path / 'runs' / 'a' / 'result.json').exists()
    assert json.loads(found.stdout)['runs'] == 2


@pytest.mark.slow
def test_a_slurm_array_is_queued_again_when_its_time_is_over(tmp_path):
    write_points(tmp_path / 'points' / 'a.jsonl', 1.0)
    write_points(tmp_path / 'points' / 'b.jsonl', 2.0)
    count = tmp_path / 'requeued'
    path = stand_in(tmp_path / 'bin', srun='exec "$@"', scontrol=f'echo "$@" >> {count}')
    words = [tmp_path / 'points', '--', '--steps=60']
    slurm_sets = {'SLURM_ARRAY_TASK_ID': '1', 'SLURM_JOB_ID': '7', 'RUNS': str(tmp_path / 'runs')}
    first = ready('slurm_array.sbatch', *words, PATH=path, LIMIT='1s', SLOW_TRAINING='0.2', **slurm_sets)
    assert first.returncode == 0 and count.read_text() == 'requeue 7\n', first.stderr
    out = tmp_path / 'runs' / 'b'
    assert not (out / 'result.json').exists()
    again = ready('slurm_array.sbatch', *words, PATH=path, **slurm_sets)
    assert again.returncode == 0 and (out / 'result.json').exists() and not (tmp_path / 'runs' / 'a').exists()


@pytest.mark.slow
def test_a_batch_of_optuna_is_one_population_and_a_stopped_study_goes_on(tmp_path):
    pytest.importorskip('optuna')
    words = [sys.executable, str(READY / 'optuna_study.py'), 'tests.tiny', '2', '3']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    run = lambda *flags: subprocess.run([*words, *flags], cwd=tmp_path, env=environment, capture_output=True, text=True)
    stopped = run('--steps=60', '--max-time=0.001s')
    assert stopped.returncode == 75
    found = run('--steps=60')
    assert found.returncode == 0, found.stderr
    results = [json.loads(file.read_text()) for file in sorted(tmp_path.glob('runs/optuna-*/result.json'))]
    assert [result['runs'] for result in results] == [3, 3]  # six trials: those that were asked first were not lost
    best = max(entry['test_elbo'] for result in results for entry in result['points'])
    assert json.loads(found.stdout.splitlines()[-1])['value'] == best


def test_the_flags_of_the_wandb_sweep_are_the_experiments_own():
    yaml = pytest.importorskip('yaml')
    from experiments import vae
    from vae_jax import config, flags
    from vae_jax.fields import leaves

    sweep = yaml.safe_load((READY / 'wandb_sweep.yaml').read_text())
    sent = [word for word in sweep['command'] if word.startswith('--')]
    sent += [f'--{name}={held.get("min", held.get("values", [None])[0])}' for name, held in sweep['parameters'].items()]
    flags.parse(vae.Config, sent, 'vae')
    assert {'beta', 'lr', 'latent'} <= {leaf.flag for leaf in leaves(vae.Config)}
    assert sweep['metric']['name'] == config.describe(vae.Config)['metric']['name']

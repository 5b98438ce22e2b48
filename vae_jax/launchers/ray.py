"""Tasks on Ray Core: one task, one worker, one GPU where the cluster has any.

Workers see the same files as the process that launches (one machine, or a shared file system): a task's checkpoints and
result lie in its run directory, and nothing but its exit code travels back.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from vae_jax.errors import ENVIRONMENT, Fault
from vae_jax.files import first_line
from vae_jax.launchers.commands import run
from vae_jax.launchers.driving import LOST, Engine, Outcome, drive
from vae_jax.sweeps.points import Task

_SECONDS = 8.0  # for a cluster to answer in
# Read when ray is imported: no telemetry, no hiding of GPUs from tasks that ask for none.
_SETTINGS = {
    'RAY_USAGE_STATS_ENABLED': '0',
    'RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO': '0',
}
_QUIET = {'log_to_driver': False, 'logging_level': 'ERROR'}


def launch(
    tasks: Sequence[Task],
    *,
    address: str | None = None,
    devices: int | None = None,
    retries: int = 2,
    stop: Callable[[], int | None] = lambda: None,
    ended: Callable[[Task, Outcome], None] = lambda task, outcome: None,
) -> list[Outcome]:
    """An outcome for each task, when all have ended: see `driving.drive`.

    `address` (default: $RAY_ADDRESS) is a cluster's, 'host:port' or 'auto'; without any, one is started on this machine
    and ends with this call. `devices` are what one task is given: GPUs (default 1) where the cluster has any, else CPU
    cores (default: all of a machine). Raises Fault: no ray, no answer within 10 seconds, no machine with the devices.
    """
    with _cluster(address or os.environ.get('RAY_ADDRESS')) as ray:
        remote = ray.remote(run).options(max_retries=0, **_resources(ray.nodes(), devices))
        engine = Engine(
            start=lambda commands: [remote.remote(one) for one in commands],
            code=lambda job: _code(ray, job),
            stop=ray.cancel,
        )
        return drive(engine, tasks, retries=retries, stop=stop, ended=ended)


def _code(ray: Any, job: Any) -> int | None:
    ready, _ = ray.wait([job], timeout=0)
    if not ready:
        return None
    failed = ray.exceptions
    lost = failed.WorkerCrashedError, failed.NodeDiedError, failed.OutOfMemoryError, failed.ObjectLostError
    try:
        return ray.get(job)
    except failed.TaskCancelledError:
        return 128 + signal.SIGTERM
    except lost:
        return LOST
    except failed.RayError as error:
        fix = 'give every machine of the cluster this project, its packages and these files, at the same paths'
        raise Fault(f'a worker of Ray could not start a task ({first_line(error)})', fix, ENVIRONMENT) from error


def _resources(nodes: Sequence[Any], devices: int | None) -> dict[str, float]:
    """What to ask of Ray for each task. Raises Fault where no machine has it."""
    alive = [node['Resources'] for node in nodes if node['Alive']]
    kind = 'GPU' if any(node.get('GPU') for node in alive) else 'CPU'
    there = [int(node[kind]) for node in alive if node.get(kind)]
    if not there:
        raise Fault('the cluster of Ray has no CPU and no GPU', 'add a machine to it', ENVIRONMENT)
    n = devices or (1 if kind == 'GPU' else min(there))
    if n > max(there):
        said = f'{n} devices a task were asked for, and the largest machine has {max(there)} {kind}s'
        raise Fault(said, f'give --devices 1 to {max(there)}', ENVIRONMENT)
    return {'num_gpus': n} if kind == 'GPU' else {'num_cpus': n}


@contextlib.contextmanager
def _cluster(address: str | None) -> Iterator[Any]:
    """ray, connected, and disconnected after; or as the caller has connected it."""
    for name, held in _SETTINGS.items():
        os.environ.setdefault(name, held)
    try:
        import ray
    except ModuleNotFoundError as error:
        raise Fault('--launcher ray needs Ray', "pip install 'vae_jax[ray]'", ENVIRONMENT) from error
    if ray.is_initialized():
        yield ray
        return
    here: dict[str, Any] = {'address': 'local', 'num_cpus': _cores(), 'include_dashboard': False}
    if address and address != 'local':
        _reach(address)
        here = {'address': address}
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with _silent_threads():
        try:
            with warnings.catch_warnings():
                # Ray starts its processes by fork, and at once exec: nothing of jax's threads is touched between.
                warnings.filterwarnings('ignore', 'os.fork', RuntimeWarning)
                ray.init(**here, **_QUIET)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            where = f'at {address}' if address else 'on this machine'
            raise Fault(f'cannot start Ray {where} ({first_line(error)})', 'see its logs', ENVIRONMENT) from error
        try:
            if threading.current_thread() is threading.main_thread():
                for number, handler in before.items():  # Ray takes SIGTERM for itself; what it means is ours to say
                    signal.signal(number, handler)
            yield ray
        finally:
            ray.shutdown()


def _reach(address: str) -> None:
    """Connects once in another process: Ray waits for minutes for what does not answer, and cannot be interrupted."""
    code = f'import ray, sys; ray.init(address=sys.argv[1], **{_QUIET})'
    quiet: dict[str, Any] = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.PIPE, 'text': True}
    try:
        tried = subprocess.run([sys.executable, '-c', code, address], timeout=_SECONDS, **quiet)
    except subprocess.TimeoutExpired:
        said = f'no answer within {_SECONDS:g} seconds'
    else:
        if tried.returncode == 0:
            return
        said = (tried.stderr.strip().splitlines() or ['no reason given'])[-1][:300]
    fix = 'check --ray-address (host:port, as `ray start` prints it), or leave it out to start Ray on this machine'
    raise Fault(f'cannot reach a cluster of Ray at {address} ({said})', fix, ENVIRONMENT)


@contextlib.contextmanager
def _silent_threads() -> Iterator[None]:
    """Ray's threads print nothing on stdout, whose last line is a result; what befell a task is told by `drive`."""
    stream, write = sys.stdout, sys.stdout.write

    def written(text: str) -> int:
        return len(text) if threading.current_thread().name.startswith('ray_') else write(text)

    stream.write = written  # type: ignore[method-assign]
    try:
        yield
    finally:
        stream.write = write  # type: ignore[method-assign]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1

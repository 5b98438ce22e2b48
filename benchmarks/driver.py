"""The driver's end of a contestant's pipe."""

import json
import os
import selectors
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any, NamedTuple

ROOT = Path(__file__).parent.parent
# an unbound PyTorch may run on one core at a twentieth of its speed
ENVIRONMENT = {'OMP_NUM_THREADS': '2', 'OMP_PROC_BIND': 'true', 'MKL_NUM_THREADS': '2', 'JAX_PLATFORMS': 'cpu'}


class Contestant(NamedTuple):
    """A function of a module beside this one, and what the table calls it."""

    name: str
    label: str
    module: str
    function: str
    options: dict[str, Any] = {}


class Section(NamedTuple):
    """Contestants at one task. `laps` is the section's own number of laps, None for the command's; `limit` the seconds
    that one lap may take; `group` what `--only` may call it beside its name.
    """

    name: str
    title: str
    task: dict
    contestants: tuple[Contestant, ...]
    laps: int | None = None
    limit: float = 240.0
    group: str = ''


class Worker(NamedTuple):
    process: subprocess.Popen
    log: IO[bytes]


def start(contestant: Contestant, task: dict) -> Worker:
    """A process for it, on the cores of this one."""
    log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the worker
    command = [sys.executable, '-m', 'benchmarks.worker', contestant.module, contestant.function]
    process = subprocess.Popen(
        [*command, json.dumps({**task, 'options': {**task.get('options', {}), **contestant.options}})],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
    )
    return Worker(process, log)


def answer(worker: Worker, limit: float) -> dict:
    """What it says within `limit` seconds; {'failed': reason} where it says nothing."""
    assert worker.process.stdout is not None
    with selectors.DefaultSelector() as ready:
        ready.register(worker.process.stdout, selectors.EVENT_READ)
        if not ready.select(limit):
            worker.process.kill()
            return {'failed': f'no answer in {limit:.0f} s'}
    line = worker.process.stdout.readline()
    if line:
        return json.loads(line)
    return {'failed': f'exit code {worker.process.wait()}: {_last_line(worker.log)}'}


def lap(worker: Worker, limit: float) -> dict:
    """Lets it run one epoch."""
    assert worker.process.stdin is not None
    try:
        worker.process.stdin.write(b'go\n')
        worker.process.stdin.flush()
    except BrokenPipeError:
        pass
    return answer(worker, limit)


def end(worker: Worker) -> None:
    """Its input ends, and so does it."""
    assert worker.process.stdin is not None and worker.process.stdout is not None
    try:
        worker.process.stdin.close()
        worker.process.wait(10)
    except (BrokenPipeError, subprocess.TimeoutExpired):
        worker.process.kill()
        worker.process.wait()
    worker.process.stdout.close()
    worker.log.close()


def _last_line(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode(errors='replace').strip().splitlines()
    return lines[-1][:300] if lines else 'it said nothing'

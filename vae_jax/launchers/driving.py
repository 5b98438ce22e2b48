"""What all launchers share: every task is started, watched to its end, started again where that helps, and counted."""

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from vae_jax import process
from vae_jax.errors import DEFECT, ENVIRONMENT, NUMBERS, TIME_IS_UP, Fault
from vae_jax.launchers.commands import Command, command, last_line
from vae_jax.sweeps.points import Task

LOST = -signal.SIGKILL
"""The code of a job that ended without a word: its worker or its machine died."""

_RESULT = {0, NUMBERS}
_STOPPED = {128 + signal.SIGINT, 128 + signal.SIGTERM}


class Outcome(NamedTuple):
    """How a task ended: its exit code (0 done, 4 all its runs diverged, 2, 3 and 5 a fault; negative: by a signal)."""

    code: int
    starts: int
    said: str  # the last line of its log
    log: str


class Engine(NamedTuple):
    """Who runs commands. A job is what it calls one start of a command."""

    start: Callable[[Sequence[Command]], Sequence[Any]]  # a job for each
    code: Callable[[Any], int | None]  # of a job: None while it runs or waits, LOST where nobody knows
    stop: Callable[[Any], None]  # asks a job to save and end


def drive(
    engine: Engine,
    tasks: Sequence[Task],
    *,
    retries: int = 2,
    stop: Callable[[], int | None] = lambda: None,
    ended: Callable[[Task, Outcome], None] = lambda task, outcome: None,
    every: float = 0.2,
    patience: float = 60.0,
) -> list[Outcome]:
    """An outcome for each task, in their order, once all have ended; `ended` is told each at once.

    A task that was killed, or stopped by someone else, is started again up to `retries` times and goes on from its
    checkpoint; one that is out of its time (75) always; one that has a result or a fault never. When `stop()` gives an
    exit code, or this process is interrupted, all are asked to save, and waited for up to `patience` seconds; those
    without a result then have that code. `every` (seconds) is how often to look.
    """
    commands = [command(task) for task in tasks]
    starts = [1] * len(tasks)
    outcomes: dict[int, Outcome] = {}
    asked: int | None = None
    jobs = dict(enumerate(engine.start(commands))) if tasks else {}

    def end(i: int, code: int) -> None:
        outcomes[i] = Outcome(code, starts[i], last_line(commands[i].log), commands[i].log)
        ended(tasks[i], outcomes[i])

    try:
        while jobs and (asked := stop()) is None:
            for i, code in _over(engine, jobs).items():
                del jobs[i]
                if code == TIME_IS_UP or (_is_cut_off(code) and starts[i] <= retries):
                    how = 'is out of time' if code == TIME_IS_UP else _ending(code)
                    process.tell(f'note: {tasks[i].out} {how} (start {starts[i]}); it is started again')
                    (jobs[i],) = engine.start([commands[i]])
                    starts[i] += 1
                else:
                    end(i, code)
            time.sleep(every)
    finally:
        last = _stopped(engine, jobs, every, patience)
    for i, code in last.items():
        end(i, code if code in _RESULT else asked or LOST)
    return [outcomes[i] for i in range(len(tasks))]


def required(outcomes: Sequence[Outcome]) -> None:
    """Raises Fault where a task failed, with the words and the code of the first; not where tasks were stopped."""
    failed = [outcome for outcome in outcomes if is_failure(outcome.code)]
    if not failed:
        return
    first = failed[0]
    what, _, fix = first.said.removeprefix('error: ').partition('; fix: ')
    what = what if first.code > 0 and what else f'it {_ending(first.code)}'
    code = first.code if 0 < first.code < DEFECT else ENVIRONMENT
    raise Fault(f'{len(failed)} of {len(outcomes)} tasks failed, the first: {what}', fix or f'see {first.log}', code)


def is_failure(code: int) -> bool:
    """Whether an exit code is neither that of a result nor that of a stop, from which the same command goes on."""
    return code not in _RESULT and code not in _STOPPED and code != TIME_IS_UP


def _over(engine: Engine, jobs: Mapping[int, Any]) -> dict[int, int]:
    codes = {i: engine.code(job) for i, job in jobs.items()}
    return {i: code for i, code in codes.items() if code is not None}


def _stopped(engine: Engine, jobs: Mapping[int, Any], every: float, patience: float) -> dict[int, int]:
    """Asks all jobs to save and end, and waits for them: their codes."""
    for job in jobs.values():
        engine.stop(job)
    left, found, until = dict(jobs), {}, time.monotonic() + patience
    while left and time.monotonic() < until:
        for i, code in _over(engine, left).items():
            del left[i]
            found[i] = code
        time.sleep(every)
    return found | dict.fromkeys(left, LOST)


def _is_cut_off(code: int) -> bool:
    return code < 0 or code in _STOPPED


def _ending(code: int) -> str:
    if 0 <= code <= 128:
        return f'ended with code {code}'
    number = -code if code < 0 else code - 128
    names = {held.value: held.name for held in signal.Signals}
    return f'was ended by {names.get(number, f"signal {number}")}'

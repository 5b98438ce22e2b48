"""Tasks on Slurm, by submitit: one task, one job of an array, one GPU where the partition has any.

Before a job's time is over, and when it is preempted, Slurm signals it: its task saves, and the same job is queued anew
and goes on from there, however often. Jobs see the same files as the process that launches, which must live as long as
they do; when that is stopped, they are asked to save and end.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vae_jax.config import parse_duration
from vae_jax.errors import ENVIRONMENT, Fault
from vae_jax.files import first_line
from vae_jax.launchers.commands import Command, run, save_and_end
from vae_jax.launchers.driving import LOST, Engine, Outcome, drive
from vae_jax.sweeps.points import Task

_MANY = 10_000  # timeouts of one job: each has brought its task further
_HOUR = 60  # minutes, which is how submitit counts a job's time
_KILL_WAIT = 35.0  # seconds: Slurm kills what it has cancelled after 30, unless configured otherwise


class Job(NamedTuple):
    """What a job calls. submitit calls `checkpoint` when Slurm signals, and queues again what that returns."""

    command: Command
    running: list[subprocess.Popen]

    def __call__(self) -> int:
        """Runs the command: its exit code."""

        def end(*_: Any) -> None:
            for child in self.running:
                child.terminate()

        signal.signal(signal.SIGTERM, end)  # scancel sends it, and submitit would let it pass
        return run(self.command, self.running.append)

    def checkpoint(self) -> Any:
        """Makes the command save and end: the same job once more."""
        from submitit.helpers import DelayedSubmission

        for child in self.running:
            save_and_end(child)
        return DelayedSubmission(Job(self.command, []))


def launch(
    tasks: Sequence[Task],
    executor: Any,
    *,
    retries: int = 2,
    stop: Callable[[], int | None] = lambda: None,
    ended: Callable[[Task, Outcome], None] = lambda task, outcome: None,
) -> list[Outcome]:
    """An outcome for each task, when all have ended: see `driving.drive`.

    `executor` is one of submitit's: of this module, or a LocalExecutor, which runs jobs here, with the same signals.
    Raises Fault where the jobs are refused.
    """

    def start(commands: Sequence[Command]) -> Sequence[Any]:
        try:
            return executor.submit_array([Job(command, []) for command in commands])
        except (RuntimeError, OSError) as error:  # submitit's FailedJobError is a RuntimeError
            raise Fault(f'Slurm refuses the jobs ({first_line(error)})', 'check --slurm', ENVIRONMENT) from error

    engine = Engine(start, _code, lambda job: job.cancel(check=False))
    return drive(engine, tasks, retries=retries, stop=stop, ended=ended, every=0.5, patience=_KILL_WAIT)


def executor(folder: str | os.PathLike[str], options: Mapping[str, Any]) -> Any:
    """submitit's executor for this cluster; `folder`, which every machine must see, holds the logs of the jobs.

    `options` are sbatch's as submitit names them: {'partition': 'gpu', 'time': 240 minutes}. Raises Fault: no submitit,
    no Slurm, an unknown option.
    """
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise Fault('--launcher slurm needs submitit', "pip install 'vae_jax[slurm]'", ENVIRONMENT) from error
    if not (shutil.which('sbatch') and shutil.which('srun')):
        fix = 'start it on a login node of the cluster, or use --launcher local or ray'
        raise Fault('there is no Slurm here (no sbatch and srun)', fix, ENVIRONMENT)
    made = submitit.SlurmExecutor(Path(folder), max_num_timeout=_MANY)
    try:
        made.update_parameters(**{'job_name': 'vae_jax', 'time': _HOUR, **_gpus(options), **options})
    except (TypeError, ValueError) as error:
        fix = 'give options of sbatch as submitit names them: partition=gpu time=4h gpus_per_node=1 cpus_per_task=8'
        raise Fault(f'--slurm is refused ({first_line(error)})', fix) from error
    return made


def read_options(words: Sequence[str]) -> dict[str, Any]:
    """Options of `executor` from words of a command line: 'partition=gpu', 'time=4h'. Raises Fault."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition('=')
        if not (name.isidentifier() and equals and text):
            raise Fault(f'--slurm has {word!r}', 'give name=value, such as partition=gpu time=4h')
        minutes = name in ('time', 'timeout_min') and not text.isdigit()
        found[name] = round(parse_duration(text) / 60) or 1 if minutes else int(text) if text.isdigit() else text
    return found


def _code(job: Any) -> int | None:
    if not job.done():
        return None
    if not job.paths.result_pickle.exists():  # killed; or not seen yet, and then the next start finds the task done
        return LOST
    if error := job.exception():
        said = [line for line in str(error).splitlines() if line.strip('- ')][-2:-1] or [first_line(error)]
        fix = 'give every machine this project, its packages and these files, at the same paths'
        raise Fault(f'a job of Slurm could not start its task ({said[0].strip()})', fix, ENVIRONMENT)
    return job.result()


def _gpus(options: Mapping[str, Any]) -> dict[str, int]:
    """One GPU a job where the partition has any, and nothing else was asked for."""
    if any('gpu' in name or name == 'gres' for name in options) or not shutil.which('sinfo'):
        return {}
    partition = [f'--partition={options["partition"]}'] if 'partition' in options else []
    told = subprocess.run(['sinfo', '--noheader', '--format=%G', *partition], capture_output=True, text=True)
    return {'gpus_per_node': 1} if 'gpu' in told.stdout else {}

"""One start of a task, where it runs: a child process that ends with whoever started it, and saves when it is asked to.

A process of its own, so that host devices, compiled programs and memory of one task are never those of the next in the
same worker, and so that a task is the very command that a person would type.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from vae_jax import process
from vae_jax.sweeps.points import Task

_CARRIED = ('JAX_', 'XLA_', 'TFDS_', 'PYTHONPATH')
# Run by the child before its command. A parent that is killed with -9 says nothing more: the kernel ends the child with
# it, or the next start would find the run directory in use. Launchers block SIGINT and send SIGUSR2 to whole jobs.
_TIED = """
import ctypes, os, signal, sys
parent, *argv = sys.argv[1:]
if sys.platform == 'linux':
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(parent):
        os._exit(1)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
for number in (signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, *argv])
"""
_PAUSE = 0.1


class Command(NamedTuple):
    """`python <argv>` in a folder, with more environment; what it prints is added to the file `log`."""

    argv: tuple[str, ...]
    folder: str
    environment: dict[str, str]
    log: str


def command(task: Task) -> Command:
    """The command of a task, to be run with this process's folder, jax settings and compilation cache."""
    carried = {name: held for name, held in os.environ.items() if name.startswith(_CARRIED)}
    cache = str(process.cache_dir().absolute())
    # The log lies beside the run directory and not in it: a folder that holds anything else is refused as no run.
    log = str(Path(f'{task.out}.log').absolute())
    environment = {**carried, 'JAX_COMPILATION_CACHE_DIR': cache}
    return Command(('-m', task.module, *task.argv), os.getcwd(), environment, log)


def run(command: Command, started: Callable[[subprocess.Popen], None] = lambda child: None) -> int:
    """Starts the command and waits for its end: its exit code, negative where a signal ended it.

    KeyboardInterrupt and SystemExit (a cancelled task, a worker that is stopped) make it save first. `started` is given
    the process.
    """
    Path(command.log).parent.mkdir(parents=True, exist_ok=True)
    tied = [sys.executable, '-c', _TIED, str(os.getpid()), *command.argv]
    with open(command.log, 'ab') as log:
        child = subprocess.Popen(
            tied,
            cwd=command.folder,
            env={**os.environ, **command.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches whoever started it, and it hears of that once, from us
        )
    started(child)
    try:
        while (code := child.poll()) is None:  # not wait(): Ray interrupts the Python code and no system call
            time.sleep(_PAUSE)
        return code
    except KeyboardInterrupt:
        return _asked(child)
    except SystemExit:
        _asked(child)
        raise


def save_and_end(child: subprocess.Popen) -> None:
    """Asks a process for its checkpoint and waits until it has ended, in a signal handler as well: it takes no lock."""
    child.terminate()
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


def last_line(log: str) -> str:
    """What a task said last: of one that failed, `error: what; fix: how`."""
    with contextlib.suppress(OSError), open(log, 'rb') as file:
        file.seek(max(0, os.path.getsize(log) - 4096))
        said = [line for line in file.read().decode(errors='replace').splitlines() if line.strip()]
        return said[-1].strip() if said else ''
    return ''


def _asked(child: subprocess.Popen) -> int:
    child.send_signal(signal.SIGTERM)
    while (code := child.poll()) is None:
        time.sleep(_PAUSE)
    return code

"""What a command promises the shell or launcher that started it: exit codes, one-line errors, signals, quiet pipes.

0 done; 2 the command line; 3 data, files or environment; 4 the numbers; 5 a defect of ours; 75 out of the time given;
130 / 143 stopped by SIGINT / SIGTERM.
"""

import contextlib
import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vae_jax.errors import DEFECT, ENVIRONMENT, NUMBERS, USAGE, Fault

AGAIN = 'the same command continues the run'


class Signals(NamedTuple):
    """asked() -> 130 or 143 once SIGINT or SIGTERM came, else None; in `with patient():` a signal does only that."""

    asked: Callable[[], int | None]
    patient: Callable[[], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def listening() -> Iterator[Signals]:
    """Handles SIGINT and SIGTERM: outside `patient` they raise SystemExit; a second SIGINT ends the process at once."""
    came: list[int] = []
    waiting: list[bool] = []

    def handle(number: int, _: Any) -> None:
        if came and number == signal.SIGINT:
            os._exit(128 + number)
        came.append(128 + number)
        if not waiting:
            raise SystemExit(128 + number)

    @contextlib.contextmanager
    def patient() -> Iterator[None]:
        waiting.append(True)
        try:
            yield
        finally:
            waiting.pop()

    here = threading.current_thread() is threading.main_thread()  # Python allows handlers nowhere else
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM) if here}
    try:
        yield Signals(lambda: came[0] if came else None, patient)
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is handle:
                signal.signal(number, handler)


def finish() -> None:
    """From here SIGTERM changes nothing, to the end of the process: what is finished must not end as if stopped."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def guarded(command: Callable[[Signals], int], debug: bool = False) -> int:
    """The exit code of a command; what it raises becomes one line on stderr, after the traceback where `debug`."""
    with _streams():
        return _guarded(command, debug)


def _guarded(command: Callable[[Signals], int], debug: bool) -> int:
    asked: Callable[[], int | None] = lambda: None
    try:
        with listening() as signals:
            asked = signals.asked
            code = command(signals)
            if code == 0:
                finish()
            return code
    except SystemExit as leaving:
        if (stopped := asked()) is not None:
            tell(f'stopped by {signal.Signals(stopped - 128).name}; {AGAIN}')
        return leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else USAGE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as error:
        if debug:
            traceback.print_exc()
        fault = as_fault(error)
        tell(f'error: {fault}')
        return fault.code


def as_fault(error: BaseException) -> Fault:
    """Any exception as what, fix and exit code: a Fault as it is, the environment's failures 3, all else 5."""
    said = f'{type(error).__name__}: {error}' if str(error) else type(error).__name__
    if isinstance(error, Fault):
        return error
    if isinstance(error, MemoryError) or 'RESOURCE_EXHAUSTED' in said:
        return Fault(f'out of memory ({said})', 'use a smaller --batch-size or network', ENVIRONMENT)
    if isinstance(error, OSError):
        fixes = {
            errno.ENOSPC: 'free some space, then start again',
            errno.EDQUOT: 'free some of your quota, then start again',
            errno.EACCES: 'choose a place that you may write to, with --out or --data-dir',
            errno.EROFS: 'choose a place that can be written to, with --out or --data-dir',
        }
        return Fault(said, fixes.get(error.errno or 0, 'check that file and its folder'), ENVIRONMENT)
    if isinstance(error, ModuleNotFoundError) and not (error.name or '').startswith(('vae_jax', 'experiments')):
        return Fault(said, 'install the project and what it needs: pip install -e .', ENVIRONMENT)
    if isinstance(error, FloatingPointError):
        return Fault(said, 'lower --lr', NUMBERS)
    return Fault(said, 'this is a defect of vae_jax: rerun with --debug and report it', DEFECT)


def say(text: str) -> None:
    """Prints a line on stdout, at once."""
    print(text, flush=True)


def tell(text: str) -> None:
    """Prints one line on stderr."""
    print(' '.join(text.split()), file=sys.stderr, flush=True)


def start_jax() -> None:
    """Sets jax up before its first use: a compilation cache that keeps every program, and no noise."""
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # XLA's C++ log; what goes wrong there is raised as well
    import jax

    place = cache_dir()
    with contextlib.suppress(OSError):  # a home that cannot be written to costs the cache, not the run
        place.mkdir(parents=True, exist_ok=True)
        if not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
            jax.config.update('jax_compilation_cache_dir', str(place))
        jax.config.update('jax_persistent_cache_min_entry_size_bytes', 0)
        jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)


def cache_dir() -> Path:
    """Where compiled programs are kept: $JAX_COMPILATION_CACHE_DIR, else ~/.cache/vae_jax/xla."""
    return Path(os.environ.get('JAX_COMPILATION_CACHE_DIR') or Path.home() / '.cache' / 'vae_jax' / 'xla')


@contextlib.contextmanager
def _streams() -> Iterator[None]:
    """Standard streams that outlast their reader: those closed at the start, and those it leaves, lead nowhere."""
    for name in ('stdin', 'stdout', 'stderr'):  # in this order each takes its own number, and no file of a run does
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, 'r' if name == 'stdin' else 'w'))  # noqa: SIM115
    # A full disk under stdout loses the result's line, which must be told; under stderr it loses a progress bar.
    with _lasting(sys.stdout, BrokenPipeError), _lasting(sys.stderr, OSError):
        yield


@contextlib.contextmanager
def _lasting(stream: Any, gone: type[OSError]) -> Iterator[None]:
    """Whoever writes to the stream (tqdm, deep inside of training) never sees the errors `gone`."""

    def lasting(act: Callable[..., Any]) -> Callable[..., Any]:
        def acted(*args: Any) -> Any:
            try:
                return act(*args)
            except gone:
                return _mute(stream)

        return acted

    before = {name: getattr(stream, name) for name in ('write', 'flush')}
    for name, act in before.items():
        setattr(stream, name, lasting(act))
    try:
        yield
    finally:
        for name, act in before.items():
            setattr(stream, name, act)
        try:
            stream.flush()
        except OSError:  # the interpreter flushes again when it exits, and would fail
            _mute(stream)


def _mute(stream: Any) -> None:
    with contextlib.suppress(OSError):  # a stream that is no file
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)

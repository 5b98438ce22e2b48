"""What a tool is, and the thread that keeps it up to date with metrics.jsonl."""

import contextlib
import queue
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vae_jax.config import NO_EFFECT, value
from vae_jax.errors import ENVIRONMENT, Fault
from vae_jax.fields import leaves
from vae_jax.files import first_line, read_json, read_metrics, write_json

_WAIT_S, _WAIT_EACH_S = 30.0, 5.0  # for a tool to take what it was given, once training is done
_NO_METRIC = ('run', 'step')
Rows = list[dict[str, Any]]


class Shown(NamedTuple):
    """A run as it appears in a tool."""

    name: str
    config: Mapping[str, Any]  # {flag: value}


class Place(NamedTuple):
    """The run directory. Its id outlives restarts and moves; a directory made afresh has another."""

    path: Path
    id: str
    group: str  # the sweep's name, where it is a task of one; else that of the directory
    quiet: bool


class Curves(NamedTuple):
    """One run within a tool."""

    held: Callable[[str], int]  # the last step of a metric that the tool has; -1: none
    log: Callable[[int, dict[str, float]], None]
    end: Callable[[Mapping[str, Any] | None], None]  # of its result; None: it was stopped, and may go on later


class Tracker(NamedTuple):
    """track(rows) of metrics.jsonl, and end(results) with one result a run. Neither waits, nor ever fails."""

    track: Callable[[Rows], None]
    end: Callable[[Sequence[Mapping[str, Any]]], None]


Tool = Callable[[Place, Sequence[Shown]], list[Curves]]


def shown(path: Path, config: Any, points: Sequence[Mapping[str, Any]] = ()) -> list[Shown]:
    """The run of a configuration (a Config, or {flag: value}), or those of a population, one a point {flag: value}."""
    if not isinstance(config, Mapping):
        config = {f.flag: value(config, f) for f in leaves(type(config)) if NO_EFFECT not in f.marks}
    if not points:
        return [Shown(path.resolve().name, config)]
    told = [' '.join(f'{flag}={v}' for flag, v in point.items()) for point in points]
    return [Shown(f'{path.resolve().name} {i} {told[i]}', {**config, **point}) for i, point in enumerate(points)]


def nowhere(place: Place, runs: Sequence[Shown]) -> list[Curves]:
    """The tool that shows nothing."""
    return []


@contextlib.contextmanager
def following(tool: Tool, path: Path, runs: Sequence[Shown], quiet: bool = False) -> Iterator[Tracker]:
    """Shows the runs of a run directory while the block trains; a thread of its own waits for the tool.

    Raises Fault (code 3) where the tool is not installed or does not start; later failures are one note on stderr.
    """
    if tool is nowhere:
        yield Tracker(lambda rows: None, lambda results: None)
        return
    name = getattr(tool, '__name__', str(tool))
    try:
        curves = tool(Place(path, _identity(path), _group(path.resolve()), quiet), runs)
    except Fault:
        raise
    except ImportError as error:
        fix = f"pip install 'vae_jax[{name}]'"
        raise Fault(f'the tracker {name} is not installed ({first_line(error)})', fix, ENVIRONMENT) from error
    except Exception as error:
        fix = 'log in to its server (WANDB_MODE=offline needs none), or use another --tracker'
        raise Fault(f'the tracker {name} does not start: {first_line(error)}', fix, ENVIRONMENT) from error
    given: queue.SimpleQueue[Rows | None] = queue.SimpleQueue()
    given.put(read_metrics(path / 'metrics.jsonl'))
    results: list[Mapping[str, Any] | None] = [None] * len(curves)
    worker = threading.Thread(target=_work, args=(name, curves, given, results), daemon=True)
    worker.start()
    try:
        yield Tracker(given.put, lambda ended: results.__setitem__(slice(None), ended))
    finally:
        given.put(None)
        worker.join(_WAIT_S + _WAIT_EACH_S * len(curves))
        if worker.is_alive():
            _note(name, 'it did not take everything in time')


def _work(name: str, curves: list[Curves], given: Any, results: list[Any]) -> None:
    # What belongs to a step (its training, its validation) is one line of a tool: it has all of a step or nothing.
    lines: list[tuple[int, dict[str, float]]] = [(-1, {}) for _ in curves]
    last: list[dict[str, int]] = [{} for _ in curves]

    def log(i: int) -> None:
        step, metrics = lines[i]
        held = {metric: last[i][metric] if metric in last[i] else curves[i].held(metric) for metric in metrics}
        last[i].update({metric: max(step, at) for metric, at in held.items()})
        if new := {metric: number for metric, number in metrics.items() if step > held[metric]}:
            curves[i].log(step, new)

    rows: Rows | None = []
    try:
        while (rows := given.get()) is not None:
            for row in rows:
                i, step = row.get('run', 0), row['step']
                if step != lines[i][0]:
                    log(i)
                    lines[i] = step, {}
                lines[i][1].update({metric: float(row[metric]) for metric in row if metric not in _NO_METRIC})
        for i, one in enumerate(curves):
            log(i)
            one.end(results[i])
    except Exception as error:
        _note(name, first_line(error))
        while rows is not None:
            rows = given.get()


def _note(name: str, why: str) -> None:
    told = ' '.join(why.split())
    print(f'note: the tracker {name} has stopped ({told}); metrics.jsonl is complete', file=sys.stderr, flush=True)


def _group(path: Path) -> str:
    return path.parents[1].name if path.parent.name == 'tasks' else path.name


def _identity(path: Path) -> str:
    file = path / 'tracker.json'
    if not file.exists():
        write_json(file, {'id': uuid.uuid4().hex[:12]})
    return str(read_json(file)['id'])

"""One progress bar over tasks that run elsewhere, with the best run so far."""

import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from vae_jax import runs
from vae_jax.errors import Fault
from vae_jax.fields import in_words
from vae_jax.launchers.driving import Outcome, is_failure
from vae_jax.sweeps.points import Task


@contextlib.contextmanager
def bar(tasks: Sequence[Task], quiet: bool = False) -> Iterator[Callable[[Task, Outcome], None]]:
    """The `ended` of a launcher: draws how many tasks have ended, how many failed, and their best run so far."""
    from tqdm import tqdm

    found: list[tuple[float, str]] = []
    lost = {'runs diverged': 0, 'tasks failed': 0}

    with tqdm(total=len(tasks), disable=quiet, file=sys.stderr, unit='task') as drawn:

        def ended(task: Task, outcome: Outcome) -> None:
            entries, name, better = _read(task)
            lost['runs diverged'] += sum(entry['status'] != 'done' for entry in entries)
            lost['tasks failed'] += is_failure(outcome.code)
            for entry in entries:
                if isinstance(value := entry.get(name), float) and math.isfinite(value):
                    found.append((value, _said(entry)))
            words = [f'{count} {what}' for what, count in lost.items() if count]
            if found:
                value, point = better(found)
                words.append(f'best {name} {value:.4g} ({point})')
            drawn.set_postfix_str(', '.join(words), refresh=False)
            drawn.update(bool(entries))

        yield ended


def _read(task: Task) -> tuple[list[dict[str, Any]], str, Callable[..., Any]]:
    """(the results of a task's runs, the metric's name, min or max)."""
    with contextlib.suppress(Fault, LookupError, OSError, ValueError):
        stored, result = runs.read_json(task.out / 'config.json'), runs.finished(task.out)
        name, direction = stored['metric'].values()
        return (result or {'points': []})['points'], name, max if direction == 'max' else min
    return [], '', min


def _said(entry: dict[str, Any]) -> str:
    names = list(entry)
    return in_words({name: entry[name] for name in names[1 : names.index('status')]})

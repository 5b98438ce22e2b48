"""What the host's loop remembers beside State: the open window of metrics, the best so far, who has ended."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Progress(NamedTuple):
    """Saved with State. All but the first two and wall_s have an entry for each member; none, for a lone run."""

    offset: Any = 0  # bytes of metrics.jsonl written so far
    count: Any = 0  # steps in the window not logged yet
    window: Any = ()  # {metric: float64 sum over those steps}
    best: Any = np.inf  # lowest validation loss
    best_step: Any = -1
    waited: Any = 0  # validations since
    diverged: Any = -1  # the step whose loss was not finite
    wall_s: Any = 0.0


def begin(shape: tuple[int, ...], metrics: Mapping[str, Any]) -> Progress:
    """Of members [*shape], each with metrics of these shapes."""
    full = lambda value, dtype: np.full(shape, value, dtype)
    return Progress(
        window={name: np.zeros((*shape, *m.shape)) for name, m in metrics.items()},
        best=full(np.inf, np.float64),
        best_step=full(-1, np.int64),
        waited=full(0, np.int64),
        diverged=full(-1, np.int64),
    )


def going(progress: Progress, patience: int | None) -> np.ndarray:
    """Which members train on: neither diverged nor out of patience."""
    patient = progress.waited < patience if patience is not None else np.ones(np.shape(progress.waited), bool)
    return (progress.diverged < 0) & patient


def windows(
    progress: Progress, seen: Mapping[str, np.ndarray], at: int, ends: Callable[[int], bool]
) -> tuple[Progress, list[tuple[int, dict[str, np.ndarray]]]]:
    """Adds the metrics of each step behind `at` to the open window: (progress, the means of the windows that ended).

    Summed one step after the other, so that the sums do not depend on where chunks begin.
    """
    sums, count, lines = dict(progress.window), int(progress.count), []
    for i in range(len(next(iter(seen.values())))):
        sums, count = {name: sums[name] + seen[name][i] for name in sums}, count + 1
        if ends(at + i + 1):
            lines.append((at + i + 1, {name: total / count for name, total in sums.items()}))
            sums, count = {name: np.zeros_like(total) for name, total in sums.items()}, 0
    return progress._replace(window=sums, count=count), lines


def validated(progress: Progress, loss: np.ndarray, at: int) -> tuple[Progress, np.ndarray]:
    """(progress, which members were never better) after a validation; nan: this member was not validated."""
    better, seen = loss < progress.best, ~np.isnan(loss)
    return progress._replace(
        best=np.where(better, loss, progress.best),
        best_step=np.where(better, at, progress.best_step),
        waited=np.where(better, 0, progress.waited + seen),
    ), better


def rows(
    prefix: str, step: int, per_epoch: int, means: Mapping[str, np.ndarray], whose: np.ndarray, **more: Any
) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl at one step: one of a lone run, one for each member that is in `whose`, by its number."""
    head = {'step': step, 'epoch': step / per_epoch}
    plain = lambda value: np.asarray(value, np.float64).tolist()
    if whose.ndim == 0:
        return [{**head, **{f'{prefix}/{name}': plain(value) for name, value in means.items()}, **more}]
    return [
        {'run': int(i), **head, **{f'{prefix}/{name}': plain(value[i]) for name, value in means.items()}, **more}
        for i in np.flatnonzero(whose)
    ]

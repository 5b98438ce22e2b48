"""One progress bar over a whole sweep, with the best so far."""

import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from vae_jax.fields import in_words
from vae_jax.sweeps.points import Group


class Watch(NamedTuple):
    """begins(group, steps), rows(rows of metrics.jsonl), member(its entry in the result): what a task tells."""

    begins: Callable[[Group, int], None]
    rows: Callable[[list[dict[str, Any]]], None]
    member: Callable[[Mapping[str, Any]], None]
    quiet: bool = False  # whether the task may draw bars of its own


def nobody(quiet: bool) -> Watch:
    """No bar over several tasks: a task draws its own unless `quiet`."""
    ignore: Callable[..., None] = lambda *told: None
    return Watch(ignore, ignore, ignore, quiet)


@contextlib.contextmanager
def watched(groups: Sequence[Group], metric: tuple[str, str], quiet: bool) -> Iterator[Watch]:
    """A bar over the steps of all tasks: the best metric of the members evaluated, before that the lowest loss."""
    from tqdm import tqdm

    name, direction = metric
    better = max if direction == 'max' else min
    losses: list[float] = []
    found: list[tuple[float, str]] = []
    told = {'runs': 0, 'of': sum(len(group.points) for group in groups), 'diverged': 0}
    held = {'task': 0, 'from': 0, 'steps': 0}

    with tqdm(total=0, disable=quiet, file=sys.stderr, unit='step', mininterval=0.2) as bar:

        def show() -> None:
            best = ''
            if found:
                value, point = better(found)
                best = f'{name} {value:.4g} ({point})'
            elif losses:
                best = f'loss {min(losses):.4g}'
            lost = f', {told["diverged"]} diverged' if told['diverged'] else ''
            text = f'{told["runs"]}/{told["of"]} runs{lost}' + (f', best {best}' if best else '')
            bar.set_postfix_str(text, refresh=False)

        def reach(steps: int) -> None:
            bar.update(held['from'] + steps - bar.n)

        def begins(group: Group, steps: int) -> None:
            reach(held['steps'])
            held['task'] += 1
            held['from'], held['steps'] = bar.n, steps
            bar.total = bar.n + steps * (len(groups) - held['task'] + 1)  # the others are as long, as far as is known
            bar.set_description(f'task {held["task"]}/{len(groups)}')
            show()

        def rows(new: list[dict[str, Any]]) -> None:
            name = 'validation/loss' if any('validation/loss' in row for row in new) else 'train/loss'
            losses.extend(row[name] for row in new if math.isfinite(row.get(name, math.nan)))
            losses[:] = losses and [min(losses)]
            if new:
                reach(max(row['step'] for row in new))
            show()

        def member(entry: Mapping[str, Any]) -> None:
            told['runs'] += 1
            told['diverged'] += entry['status'] != 'done'
            value = entry.get(name)
            if entry['status'] == 'done' and isinstance(value, float) and math.isfinite(value):
                flags = groups[held['task'] - 1].points[entry['run']]
                found.append((value, in_words(flags)))
            show()
            bar.refresh()

        yield Watch(begins, rows, member, True)
        reach(held['steps'])

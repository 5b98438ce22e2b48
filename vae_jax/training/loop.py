"""fit: the host's loop over chunks. Logging, validation, saving and progress are plain lines in it, not hooks."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, random

from vae_jax import checkpoints, runs
from vae_jax.data.splits import Split
from vae_jax.errors import NUMBERS, Fault, Stopped
from vae_jax.training.chunk import Place, epoch_order, minibatch, run_chunk, view_key
from vae_jax.training.trainer import State, Trainer

_VALIDATE = 0x5A11D  # stream of the validation's key
_PATIENCE_S = 5.0  # a signal waits for the end of a chunk; so slow steps make shorter ones


class Progress(NamedTuple):
    """What the host's loop must remember beside State; saved with it."""

    offset: Any = 0  # bytes of metrics.jsonl written so far
    count: Any = 0  # steps in the window not logged yet
    window: Any = ()  # {metric: float64 sum over those steps}
    best: Any = np.inf  # lowest validation loss
    best_step: Any = -1
    waited: Any = 0  # validations since
    wall_s: Any = 0.0


class Run(NamedTuple):
    """What fit returns: params are those of the lowest validation loss where there is a validation, else the last."""

    state: State
    params: Any
    best_step: int
    metrics: list[dict[str, Any]]
    path: Path | None


def _names_not_finite(tree: Any) -> list[str]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [jax.tree_util.keystr(path) for path, leaf in leaves if not np.all(np.isfinite(np.asarray(leaf)))]


@jax.jit
def _all_finite(tree: Any) -> Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def _diverged(step: int, state: State, loss: Any) -> Fault:
    names = _names_not_finite(state.params)
    where = f'params {", ".join(names[:4])}{" and more" if len(names) > 4 else ""}' if names else f'loss {loss}'
    mend = 'lower --lr, or start again from the last checkpoint'
    if step == 1:  # nothing was learnt yet: the first loss itself overflowed
        mend = 'scale the data (subtract the mean, divide by the standard deviation), or lower --lr'
    return Fault(f'not finite at step {step}: {where}', mend, NUMBERS)


def _total_steps(n: int, batch: int, epochs: int | None, steps: int | None) -> int:
    if batch < 1 or batch > n:
        raise Fault(f'batch is {batch}, the training split has {n} examples', f'choose a batch of 1 to {n}')
    if (epochs is None) == (steps is None):
        raise Fault('fit needs epochs or steps, and not both', 'pass one of them')
    total = steps if steps is not None else epochs * (n // batch)  # type: ignore[operator]
    if total < 0:
        raise Fault(f'the number of steps is {total}', 'pass epochs or steps of 0 or more')
    return total


def _identity(state: State, key: Array, batch: int, data: Any) -> dict[str, Any]:
    """What must be equal for a directory to be continued; code is not in it, and cannot be."""
    return {
        'key': np.asarray(random.key_data(key)).tolist(),
        'hyper': {name: np.asarray(value).tolist() for name, value in state.hyper._asdict().items()},
        'batch': batch,
        'data': data.fingerprint,
    }


def _first_batch(split: Split, key: Array, batch: int) -> dict[str, Array]:
    return minibatch(split, epoch_order(key, 0, len(split))[:batch], view_key(key, 0))


def check(trainer: Trainer, data: Any, hyper: Any, *, batch: int) -> State:
    """The shapes of the State that fit would begin with. Traces init and step, computes nothing.

    Raises Fault for a batch that does not fit the data, and what the trainer's own parts refuse.
    """
    _total_steps(len(data.train), batch, None, 0)
    first = jax.eval_shape(lambda key: _first_batch(data.train, key, batch), random.key(0))
    state = jax.eval_shape(trainer.init, random.key(0), first, hyper)
    jax.eval_shape(trainer.step, state, first)
    return state


def fit(
    trainer: Trainer,
    data: Any,
    hyper: Any,
    key: Array,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    batch: int = 128,
    out: str | Path | runs.Directory | None = None,
    chunk: int | None = None,
    log_every: int | None = None,
    validate: Callable[[Any, Array], Mapping[str, float]] | None = None,
    validate_every: int | None = None,
    patience: int | None = None,
    save_seconds: float = 20.0,
    stop: Callable[[], int | None] = lambda: None,
    profile: str | Path | None = None,
    quiet: bool = False,
) -> Run:
    """Trains for `epochs` (or `steps`) on data.train and returns a Run; with `out`, the same line resumes.

    `validate(params, key)` -> metrics with 'loss': the lowest is kept as `best`, and `patience` validations without a
    lower one end the run. `chunk` steps are one program; neither it nor stopping changes any number. `stop()` is asked
    between chunks: an exit code makes fit save and raise Stopped. Raises Fault on a batch larger than the data, on a
    directory of another run, and (code 4) where loss or params are not finite, naming the tensors.
    """
    split: Split = data.train
    total = _total_steps(len(split), batch, epochs, steps)
    per_epoch = len(split) // batch
    chunk = chunk or max(per_epoch, 100)
    log_every = log_every or min(per_epoch, 100)
    validate_every = validate_every or per_epoch
    span = (chunk + per_epoch - 2) // per_epoch + 1  # the most epochs that a chunk can touch

    first = _first_batch(split, key, batch)
    state = jax.jit(trainer.init)(key, first, hyper)
    names = jax.eval_shape(trainer.step, state, first)[1]
    progress = Progress(window={name: np.zeros(m.shape) for name, m in names.items()})

    identity = _identity(state, key, batch, data)
    with ExitStack() as stack:
        directory = out
        if isinstance(out, str | Path):
            directory = stack.enter_context(runs.opened(out, config=identity))
        assert directory is None or isinstance(directory, runs.Directory)
        rows: list[dict[str, Any]] = []
        best_state = state
        if directory is not None:
            state, best_state, progress = _resume(directory, state, progress, identity)
            runs.truncate(directory.metrics, int(progress.offset))
            rows = runs.read_metrics(directory.metrics)
            if (found := int(jnp.max(state.step))) > total:
                raise Fault(
                    f'{directory.path} has {found} steps, more than {total}', 'ask for as many, or another --out'
                )

        def log(new_rows: list[dict[str, Any]]) -> None:
            nonlocal progress
            rows.extend(new_rows)
            if directory is not None and new_rows:
                progress = progress._replace(offset=runs.append(directory.metrics, new_rows))

        def save() -> None:
            if not bool(_all_finite(state.params)):
                raise _diverged(int(jnp.max(state.step)), state, None)
            if directory is None:
                return
            done = progress._replace(wall_s=progress.wall_s + time.monotonic() - started)
            # Older bests go only when no last checkpoint names them: a kill may fall between any two of these lines.
            best_step = int(progress.best_step)
            if best_step >= 0:
                checkpoints.save(directory.best, best_step, {'state': best_state}, keep=sys.maxsize)
            tree = {'progress': done._asdict(), 'identity': json.dumps(identity)}
            checkpoints.save(directory.last, at, {**tree, 'state': state}, keep=2)
            if best_step >= 0:
                checkpoints.prune(directory.best, best_step, keep=2)

        at, ran, step_s = int(jnp.max(state.step)), 0, 1e-9
        started = saved = time.monotonic()
        orders: dict[int, Array] = {}
        bar = stack.enter_context(_bar(total, at, quiet))
        while at < total and (patience is None or progress.waited < patience):
            count = min(chunk, total - at, max(1, int(_PATIENCE_S / step_s)))
            if validate is not None:
                count = min(count, validate_every - at % validate_every)
            needed = range(at // per_epoch, (at + count - 1) // per_epoch + 1)
            orders = {e: orders[e] if e in orders else epoch_order(key, e, len(split)) for e in needed}
            padded = [orders[min(needed[0] + i, needed[-1])] for i in range(span)]
            place = Place(jnp.int32(at), jnp.int32(count), jnp.int32(needed[0]), jnp.stack(padded))
            # the second chunk, which compiles nothing, unless there is but one
            traced = profile is not None and (ran == 1 or (ran == 0 and count == total - at))
            with jax.profiler.trace(str(profile)) if traced else nullcontext():
                before = time.monotonic()
                new, metrics, steps_taken = run_chunk(trainer, batch, chunk, state, split, key, place)
                taken = int(steps_taken)
            step_s = (time.monotonic() - before) / taken if ran else step_s  # the first one compiles
            seen = {name: np.asarray(values)[:taken].astype(np.float64) for name, values in metrics.items()}
            if not np.any(np.isfinite(seen['loss'][-1])):
                raise _diverged(at + taken, new, seen['loss'][-1])
            wall = round(float(progress.wall_s) + time.monotonic() - started, 3)
            progress, lines = _windows(progress, seen, at, lambda step: step % log_every == 0 or step == total)
            state, at, ran = new, at + taken, ran + 1
            log([{'step': step, 'epoch': step / per_epoch, **means, 'wall_s': wall} for step, means in lines])
            if validate is not None and (at % validate_every == 0 or at == total):
                values = validate(state.params, random.fold_in(key, _VALIDATE))
                named = {f'validation/{name}': _plain(value) for name, value in values.items()}
                log([{'step': at, 'epoch': at / per_epoch, **named}])
                if float(values['loss']) < progress.best:
                    best_state = state
                    progress = progress._replace(best=float(values['loss']), best_step=at, waited=0)
                else:
                    progress = progress._replace(waited=progress.waited + 1)
            bar.update(taken)
            bar.set_postfix(loss=f'{np.mean(seen["loss"][-1]):.4g}', refresh=False)
            if (code := stop()) is not None:
                save()
                raise Stopped(code, at)
            if time.monotonic() - saved > save_seconds:
                save()
                saved = time.monotonic()
        save()
        chosen = best_state.params if progress.best_step >= 0 else state.params
        return Run(state, chosen, int(progress.best_step), rows, directory.path if directory is not None else None)


def _windows(
    progress: Progress, seen: Mapping[str, np.ndarray], at: int, ends: Callable[[int], bool]
) -> tuple[Progress, list[tuple[int, dict[str, Any]]]]:
    """Adds the metrics of each step behind `at` to the open window: (progress, the means of the windows that ended).

    Summed one step after the other, so that the sums do not depend on where chunks begin.
    """
    sums, count, lines = dict(progress.window), int(progress.count), []
    for i in range(len(next(iter(seen.values())))):
        sums, count = {name: sums[name] + seen[name][i] for name in sums}, count + 1
        if ends(at + i + 1):
            lines.append((at + i + 1, {f'train/{name}': _plain(total / count) for name, total in sums.items()}))
            sums, count = {name: np.zeros_like(total) for name, total in sums.items()}, 0
    return progress._replace(window=sums, count=count), lines


def _plain(value: Any) -> Any:
    """A float, or a list of floats for a population."""
    return np.asarray(value, np.float64).tolist()


def _resume(
    directory: runs.Directory, state: State, progress: Progress, identity: dict[str, Any]
) -> tuple[State, State, Progress]:
    """The state, the best state and the progress of the last checkpoint; those given where there is none."""
    if checkpoints.latest(directory.last) is None:
        return state, state, progress
    template = jax.tree.map(np.asarray, progress._asdict())
    wanted = {'state': state, 'progress': template, 'identity': json.dumps(identity)}
    _, tree = checkpoints.restore(directory.last, wanted)
    stored = json.loads(tree['identity'])
    if changed := [name for name in identity if stored.get(name) != identity[name]]:
        found = f'{directory.path} was trained with another {" and ".join(changed)}'
        raise Fault(found, 'give another directory (--out), or put back what it was trained with')
    kept = dict(tree['progress'])
    window = {name: np.asarray(sums) for name, sums in kept.pop('window').items()}
    resumed = Progress(window=window, **{name: np.asarray(value).item() for name, value in kept.items()})
    best = tree['state']
    if resumed.best_step >= 0:
        _, found = checkpoints.restore(directory.best, {'state': state}, step=resumed.best_step)
        best = found['state']
    return tree['state'], best, resumed


def _bar(total: int, done: int, quiet: bool) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, initial=done, disable=quiet, file=sys.stderr, unit='step', desc='training')

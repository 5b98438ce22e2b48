"""fit: the host's loop over chunks. Logging, validation, saving and progress are plain lines in it, not hooks."""

import contextlib
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

from vae_jax import hosts, placement, runs
from vae_jax.errors import NUMBERS, Fault, Stopped
from vae_jax.training import keeping, population
from vae_jax.training import progress as progresses
from vae_jax.training.feeding import feeding, largest_chunk
from vae_jax.training.plan import Plan, total_steps
from vae_jax.training.population import Population
from vae_jax.training.progress import Progress
from vae_jax.training.steps import last, shapes, take_steps
from vae_jax.training.trainer import State, Trainer

_VALIDATE = 0x5A11D  # stream of the validation's key
_SAVING = 50  # a save that takes s seconds is followed by 50 s of training: large populations are slow to write
_PATIENCE_S = 5.0  # a signal waits for the end of a chunk; so slow steps make shorter ones


class Run(NamedTuple):
    """What fit returns: params are those of the lowest validation loss where there is a validation, else the last.

    Of a population every array has a leading axis [n], metrics name their `run`, and diverged [n] is the step at which
    a member was frozen, -1 where it was not.
    """

    state: State
    params: Any
    best_step: Any
    metrics: list[dict[str, Any]]
    path: Path | None
    diverged: Any = -1


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


def check(trainer: Trainer, data: Any, hyper: Any, *, batch: int) -> State:
    """The shapes of the State that fit would begin with. Traces init and step, computes nothing.

    Raises Fault for a batch that does not fit the data, and what the trainer's own parts refuse.
    """
    total_steps(len(data.train), batch, None, 0)
    return shapes(trainer, data.train, hyper, batch)[0]


def fit(
    trainer: Trainer | Population,
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
    validate_some: Callable[[Any, Array], Mapping[str, Any]] | None = None,
    validate_every: int | None = None,
    patience: int | None = None,
    save_seconds: float = 20.0,
    stop: Callable[[], int | None] = lambda: None,
    profile: str | Path | None = None,
    track: Callable[[list[dict[str, Any]]], None] = lambda rows: None,
    quiet: bool = False,
) -> Run:
    """Trains for `epochs` (or `steps`) on data.train and returns a Run; with `out`, the same line resumes.

    `validate(params, key)` -> metrics with 'loss': the lowest is kept as `best`, and `patience` validations without a
    lower one end the run. `chunk` steps are one program; neither it nor stopping changes any number. `stop()` is asked
    between chunks: an exit code makes fit save and raise Stopped. `track(rows)` is given what metrics.jsonl is.

    A `population(trainer)` takes keys [n] and a hyper of arrays [n]: each member is validated, selected and ended as if
    alone (by `validate_some`, which is given params [n, ...] and keys [n] and gives arrays [n], all of them at once),
    and one that diverges is frozen. Raises Fault on a batch larger than the data, on a directory of another run,
    and (code 4) where loss or params are not finite, naming the tensors; of a population, where that is so of all.
    """
    crew, split = population.crew(trainer, key), data.train
    total, per_epoch = total_steps(len(split), batch, epochs, steps), len(split) // batch
    fits = largest_chunk(split, batch, key.size)
    defaults = min(max(per_epoch, 100), fits or sys.maxsize), min(per_epoch, 100), per_epoch
    asked = chunk, log_every, validate_every
    plan = Plan(total, per_epoch, *(n or default for n, default in zip(asked, defaults)))
    if not quiet:
        placement.note_one_device(crew.way, key.size)
    hyper, keys = population.each(hyper, key), placement.padded(key, crew.way)
    progress = progresses.begin(key.shape, shapes(crew.member, split, hyper, batch)[1])

    with ExitStack() as stack:
        feed = stack.enter_context(feeding(crew.way, plan, batch, split, keys))
        state = population.begin(crew, *feed(0, 1), placement.padded(hyper, crew.way), keys, batch)
        identity = keeping.identity(placement.cut(state, crew.way, key.size), key, batch, data)
        out = out if hosts.is_first() else None  # one process writes; the others are told what it reads
        directory = stack.enter_context(runs.opened(out, config=identity)) if isinstance(out, str | Path) else out
        assert directory is None or isinstance(directory, runs.Directory)
        rows: list[dict[str, Any]] = []
        best = state
        if directory is not None:
            cut = placement.cut(state, crew.way, key.size)
            *states, progress = keeping.resume(directory, cut, progress, identity)
            state, best = (placement.padded(tree, crew.way) for tree in states)
            runs.truncate(directory.metrics, progress.offset)
            rows = runs.read_metrics(directory.metrics)
        state, best, progress = hosts.of_first((state, best, progress))
        if (at := int(jnp.max(state.step))) > total:
            raise Fault(f'{out} has {at} steps, more than {total}', 'ask for as many, or another --out')

        def log(new_rows: list[dict[str, Any]]) -> None:
            nonlocal progress
            rows.extend(new_rows)
            track(new_rows)
            if directory is not None and new_rows:
                progress = progress._replace(offset=runs.append(directory.metrics, new_rows))

        def save() -> None:
            if not key.ndim and not bool(_all_finite(state.params)):
                raise _diverged(at, state, None)
            if directory is not None:
                done = progress._replace(wall_s=progress.wall_s + time.monotonic() - started)
                last_state, best_state = (placement.cut(tree, crew.way, key.size) for tree in (state, best))
                keeping.save(directory, identity, at, last_state, best_state, done)

        ran, step_s = 0, 1e-9
        started = saved = time.monotonic()
        cost = 0.0
        bar = stack.enter_context(_bar(total, at, quiet or not hosts.is_first()))
        while at < total and np.any(going := progresses.going(progress, patience)):
            count = min(plan.chunk, total - at, max(1, int(_PATIENCE_S / step_s)))
            if validate is not None:
                count = min(count, plan.validate_every - at % plan.validate_every)
            count = int(hosts.of_first(count))  # it follows each process's own clock
            # the second chunk, which compiles nothing, unless there is but one
            traced = profile is not None and (ran == 1 or (ran == 0 and count == total - at))
            with jax.profiler.trace(str(profile)) if traced else nullcontext():
                before = time.monotonic()
                new, seen, taken = take_steps(crew, plan, batch, feed, state, keys, at, going, count)
            step_s = (time.monotonic() - before) / max(1, int(np.max(taken))) if ran else step_s  # the first compiles
            finite = ~going | np.isfinite(last(seen['loss'], taken))
            if not key.ndim and not finite:
                raise _diverged(at + int(taken), new, last(seen['loss'], taken))
            progress = progress._replace(diverged=np.where(finite, progress.diverged, at + taken))
            population.note_diverged(progress.diverged, ~finite, hyper)
            wall = round(float(progress.wall_s) + time.monotonic() - started, 3)
            progress, means = progresses.windows(progress, seen, at, plan.logs)
            for step, mean in means:
                log(progresses.rows('train', step, per_epoch, mean, going & (at + taken >= step), wall_s=wall))
            state, at, ran, going = new, at + count, ran + 1, going & finite
            if validate is not None and plan.validates(at) and np.any(going):
                values, lost = _validate_each(validate, validate_some, state.params, key, going)
                progress = progress._replace(diverged=np.where(lost, at, progress.diverged))
                population.note_diverged(progress.diverged, lost, hyper)
                going = going & ~lost
                log(progresses.rows('validation', at, per_epoch, values, going))
                progress, better = progresses.validated(progress, values['loss'], at)
                best = population.better(better, state, best)
            bar.update(count)
            bar.set_postfix(_shown(progress, seen['loss'], going), refresh=False)
            if code := hosts.largest(stop() or 0):
                save()
                raise Stopped(code, at)
            if (now := time.monotonic()) - saved > max(save_seconds, _SAVING * cost):
                save()
                saved = time.monotonic()
                cost = saved - now
        if key.ndim:
            broken = ~np.asarray(jax.vmap(_all_finite)(state.params))[: key.size] & (progress.diverged < 0)
            progress = progress._replace(diverged=np.where(broken, at, progress.diverged))
            population.note_diverged(progress.diverged, broken, hyper)
        save()
        if key.ndim and np.all(progress.diverged >= 0):
            told = f'the last of {key.size} ended at step {np.max(progress.diverged)}'
            raise Fault(f'no run is finite: {told}', 'lower --lr', NUMBERS)
        state, best = (placement.cut(tree, crew.way, key.size) for tree in (state, best))
        params = population.better(progress.best_step >= 0, best.params, state.params)
        path = directory.path if directory is not None else None
        return Run(state, params, _item(progress.best_step), rows, path, _item(progress.diverged))


def _validate_each(
    validate: Callable[[Any, Array], Mapping[str, float]],
    validate_some: Callable[[Any, Array], Mapping[str, Any]] | None,
    params: Any,
    key: Array,
    going: np.ndarray,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """({metric: values [*going.shape]} of the members that are going, nan for others; whose numbers are not finite)."""
    lost = np.zeros(going.shape, bool)
    if not key.ndim:
        found = validate(params, random.fold_in(key, _VALIDATE))
        return {name: np.asarray(value, np.float64) for name, value in found.items()}, lost
    keys = jax.vmap(lambda key: random.fold_in(key, _VALIDATE))(key)
    if validate_some is not None:
        with contextlib.suppress(_NotFinite):
            members = np.where(
                going, np.arange(going.size), np.flatnonzero(going)[0]
            )  # as many as ever: no new program
            found = _numbers(validate_some, placement.take(params, members), keys[members])
            return {name: np.where(going, np.asarray(value, np.float64), np.nan) for name, value in found.items()}, lost
    values: dict[str, np.ndarray] = {'loss': np.full(going.shape, np.nan)}
    for i in np.flatnonzero(going):
        try:
            found = _numbers(validate, placement.take(params, i), keys[i])
        except _NotFinite:  # of one member: it stops no other
            lost[i] = True
            continue
        for name, value in found.items():
            values.setdefault(name, np.full(going.shape, np.nan))[i] = value
    return values, lost


class _NotFinite(Exception):
    pass


def _numbers(f: Callable[[Any, Array], Any], params: Any, key: Array) -> Any:
    try:
        return f(params, key)
    except Fault as fault:
        if fault.code != NUMBERS:
            raise
        raise _NotFinite from fault


def _item(value: np.ndarray) -> Any:
    return value if value.ndim else value.item()


def _shown(progress: Progress, losses: np.ndarray, going: np.ndarray) -> dict[str, str]:
    if not going.ndim:
        return {'loss': f'{losses[-1]:.4g}'}
    best = np.min(np.where(going, losses[-1], np.inf)) if np.all(np.isinf(progress.best)) else np.min(progress.best)
    return {'best': f'{best:.4g}', 'runs': f'{np.sum(going)}/{going.size}'}


def _bar(total: int, done: int, quiet: bool) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, initial=done, disable=quiet, file=sys.stderr, unit='step', desc='training')

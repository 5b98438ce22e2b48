"""What `python -m vae_jax <verb>` does to a run directory: a verb is a dataclass of arguments and a function of it."""

import dataclasses
import os
import platform
from pathlib import Path
from typing import Annotated, Literal

from vae_jax import process
from vae_jax.config import POSITIONAL, Range
from vae_jax.errors import ENVIRONMENT, Fault
from vae_jax.opened import loaded_run, out_file, run_directory, say_done, write_npz
from vae_jax.process import say

_PACKAGES = ('vae_jax', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'tensorflow-datasets', 'array_record')
Run = Annotated[str, POSITIONAL]


@dataclasses.dataclass(frozen=True)
class Report:
    """Draws report.html and its figures again."""

    run: Run
    """the directory of a run"""


@dataclasses.dataclass(frozen=True)
class Sample:
    """Draws from the prior: a PNG of E[x|z], or an npz of x ~ p(x|z) and E[x|z]."""

    run: Run
    """the directory of a run"""
    n: Annotated[int, Range(1, 100_000)] = 64
    out: str = 'samples.png'
    """file.png or file.npz"""
    seed: Annotated[int, Range(0, 2**32 - 1)] = 0


@dataclasses.dataclass(frozen=True)
class Encode:
    """Codes of a split as npz: mean and log_std of q(z|x), labels, index."""

    run: Run
    """the directory of a run"""
    split: Literal['test', 'validation', 'train'] = 'test'
    out: str = 'codes.npz'
    quiet: bool = False


@dataclasses.dataclass(frozen=True)
class Verify:
    """Checks the files of a run directory against their checksums. Exit code 3 where something is damaged."""

    run: Run
    """the directory of a run"""


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Versions, devices, folders and prepared datasets of this machine, and whether it can compile."""

    data_dir: str | None = None
    """prepared datasets; None: $TFDS_DATA_DIR, else ~/tensorflow_datasets"""


def report(args: Report) -> None:
    path = run_directory(args.run)
    from vae_jax import cli, runs

    if 'points' in runs.read_json(path / 'config.json'):
        from vae_jax.sweeps import gathering

        say_done(gathering.draw(path))
        return
    loaded, _ = loaded_run(args.run, 'test')
    if loaded.result is None:
        raise Fault(f'{path} is not finished, so it has nothing to report', 'finish it: start its command again')
    stored = runs.read_json(path / 'config.json')
    key = cli.keys(stored['config']['run']['seed']).figures
    metrics = runs.read_metrics(path / 'metrics.jsonl')
    say_done(loaded.experiment.figures(path, loaded.params, key, metrics, loaded.result, stored['config']))


def sample(args: Sample) -> None:
    out = out_file(args.out, '.png', '.npz')
    loaded, _ = loaded_run(args.run, 'test')
    from vae_jax import cli, evaluation, plot

    key = cli.keys(args.seed).verbs
    means = evaluation.sample_means(loaded.model, loaded.params, key, args.n)
    if out.suffix == '.png':
        plot.grid(means, out)
    else:
        write_npz(out, {'x': evaluation.sample(loaded.model, loaded.params, key, args.n), 'mean': means})
    say_done(out)


def encode(args: Encode) -> None:
    out = out_file(args.out, '.npz')
    loaded, split = loaded_run(args.run, args.split)
    from vae_jax import evaluation

    write_npz(out, evaluation.encode(loaded.model, loaded.params, split, quiet=args.quiet))
    say_done(out)


def verify(args: Verify) -> None:
    path = run_directory(args.run)
    process.start_jax()
    from vae_jax import runs

    problems = runs.verify(path)
    for problem in problems:
        say(problem)
    if problems:
        fix = 'start its command again to train from the newest intact checkpoint, or restore the files from a copy'
        raise Fault(f'{args.run} has {len(problems)} damaged or missing parts', fix, ENVIRONMENT)
    say(f'{args.run}: every file is as it was written')


def doctor(args: Doctor) -> None:
    import importlib.metadata

    from vae_jax.data import cache
    from vae_jax.data.catalogue import CATALOGUE
    from vae_jax.data.tables import TABLES

    say(f'python     {platform.python_version()} on {platform.platform()}')
    for name in _PACKAGES:
        try:
            say(f'{name:20} {importlib.metadata.version(name)}')
        except importlib.metadata.PackageNotFoundError:
            say(f'{name:20} not installed')
    process.start_jax()
    import jax

    say(f'devices    {", ".join(f"{d.device_kind} ({d.platform})" for d in jax.devices())}; {_cores()} cores')
    say(f'compiled   {process.cache_dir()} ({_writable(process.cache_dir())})')
    root = cache.root(args.data_dir)
    say(f'datasets   {root} ({_writable(root)})')
    for name, spec in CATALOGUE.items():
        at_hand = spec.ready or ('prepared' if cache.find(root, name) else '')
        say(f'  {name:24} {at_hand or f"not prepared: python -m vae_jax prepare {name}"}')
    lacking = [name for name, sheet in TABLES.items() if not (root / 'tables' / sheet.file).is_file()]
    say(f'tables     {", ".join(name for name in TABLES if name not in lacking) or "none prepared"}')
    ones = jax.numpy.ones((64, 64))
    if float(jax.jit(lambda a: (a @ a).sum())(ones)) != 64.0**3:
        raise Fault('a compiled 64 x 64 product is wrong', 'reinstall jax and jaxlib for this machine', ENVIRONMENT)
    say('compiling  works: a 64 x 64 product is right')


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _writable(path: Path) -> str:
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    return ('there' if there == path else 'not there yet') + ('' if os.access(there, os.W_OK) else ', not writable')

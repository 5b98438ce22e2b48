"""What `python -m vae_jax <verb>` does to a run directory: a verb is a dataclass of arguments and a function of it."""

import dataclasses
import json
import os
import platform
from pathlib import Path
from typing import Annotated, Any, Literal

from vae_jax import process
from vae_jax.config import POSITIONAL, Range
from vae_jax.errors import ENVIRONMENT, USAGE, Fault
from vae_jax.process import say

_PACKAGES = ('vae_jax', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'tensorflow-datasets', 'array_record')
Run = Annotated[str, POSITIONAL]


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Importance-sampled -log p(x) of a finished run. Writes RUN/evaluation/nll.json; result.json never changes."""

    run: Run
    """the directory of a run"""
    k: Annotated[int, Range(1)] = 5000
    """importance samples an image"""
    split: Literal['test', 'validation', 'train'] = 'test'
    seed: Annotated[int, Range(0, 2**32 - 1)] = 0
    quiet: bool = False


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


def evaluate(args: Evaluate) -> None:
    loaded, split = _loaded(args.run, args.split)
    import numpy as np

    from vae_jax import cli, evaluation, runs

    key = cli.keys(args.seed).verbs
    found = evaluation.nll(loaded.model, loaded.params, split, key, k=args.k, quiet=args.quiet)
    estimate = found.estimate
    told = {
        'nll': estimate.mean,
        'nll_se': estimate.se,
        'nll_bits_per_dim': estimate.bits_per_dim,
        'nll_bits_per_dim_se': estimate.bits_per_dim_se,
        'effective_samples': float(np.median(found.effective)),
        'examples': len(split),
        'units': {'nll': 'nats', 'nll_se': 'nats', 'nll_bits_per_dim': 'bits/dim', 'nll_bits_per_dim_se': 'bits/dim'},
        **{name: value for name, value in dataclasses.asdict(args).items() if name in ('split', 'k', 'seed')},
    }
    path = Path(args.run) / 'evaluation' / ('nll.json' if args.split == 'test' else f'nll_{args.split}.json')
    path.parent.mkdir(exist_ok=True)
    runs.write_json(path, told)
    say(f'-log p(x), {args.split}: {found}')
    _done(path, json.loads(path.read_text()))


def report(args: Report) -> None:
    path = _directory(args.run)
    from vae_jax import cli, runs

    if 'points' in runs.read_json(path / 'config.json'):
        from vae_jax.sweeps import gathering

        _done(gathering.draw(path))
        return
    loaded, _ = _loaded(args.run, 'test')
    if loaded.result is None:
        raise Fault(f'{path} is not finished, so it has nothing to report', 'finish it: start its command again')
    stored = runs.read_json(path / 'config.json')
    key = cli.keys(stored['config']['run']['seed']).figures
    metrics = runs.read_metrics(path / 'metrics.jsonl')
    _done(loaded.experiment.figures(path, loaded.params, key, metrics, loaded.result, stored['config']))


def sample(args: Sample) -> None:
    out = _file(args.out, '.png', '.npz')
    loaded, _ = _loaded(args.run, 'test')
    from vae_jax import cli, evaluation, plot

    key = cli.keys(args.seed).verbs
    means = evaluation.sample_means(loaded.model, loaded.params, key, args.n)
    if out.suffix == '.png':
        plot.grid(means, out)
    else:
        _npz(out, {'x': evaluation.sample(loaded.model, loaded.params, key, args.n), 'mean': means})
    _done(out)


def encode(args: Encode) -> None:
    out = _file(args.out, '.npz')
    loaded, split = _loaded(args.run, args.split)
    from vae_jax import evaluation

    _npz(out, evaluation.encode(loaded.model, loaded.params, split, quiet=args.quiet))
    _done(out)


def verify(args: Verify) -> None:
    path = _directory(args.run)
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
    ones = jax.numpy.ones((64, 64))
    if float(jax.jit(lambda a: (a @ a).sum())(ones)) != 64.0**3:
        raise Fault('a compiled 64 x 64 product is wrong', 'reinstall jax and jaxlib for this machine', ENVIRONMENT)
    say('compiling  works: a 64 x 64 product is right')


def _loaded(directory: str, split: str) -> tuple[Any, Any]:
    _directory(directory)
    process.start_jax()
    from vae_jax import runs

    loaded = runs.load(directory)
    if loaded.experiment is None:
        fix = 'use vae_jax.load(run, build=your_build) from Python, in the folder of the experiment'
        raise Fault(f'the experiment of {directory} cannot be imported', fix, ENVIRONMENT)
    data = loaded.experiment.data
    if runs.trained_on(directory) not in (None, data.fingerprint):
        what = f'the data {data.name} have changed: they are not those that {directory} was trained on'
        raise Fault(what, 'put back the data as they were, or train again on these with another --out', ENVIRONMENT)
    rows = getattr(data, split)
    if rows is None:
        raise Fault(f'{data.name} has no {split} split', 'choose another --split', USAGE)
    return loaded, rows


def _directory(name: str) -> Path:
    path = Path(name)
    if not (path / 'config.json').is_file():
        raise Fault(f'{name} is no run directory: it has no config.json', 'give the path of a run, such as runs/...')
    return path


def _file(name: str, *suffixes: str) -> Path:
    path = Path(name)
    if path.suffix not in suffixes:
        raise Fault(f'--out is {name!r}', f'give a file that ends in {" or ".join(suffixes)}')
    if not path.parent.is_dir():
        raise Fault(f'--out is {name!r}, and {path.parent} is no folder', f'mkdir -p {path.parent}')
    return path


def _npz(path: Path, arrays: dict[str, Any]) -> None:
    import numpy as np

    draft = path.with_name(f'{path.name}.tmp-{os.getpid()}')
    with draft.open('wb') as file:
        np.savez(file, allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()})
    draft.replace(path)


def _done(path: Path, told: dict[str, Any] | None = None) -> None:
    say(json.dumps({**(told or {}), 'path': str(path)}))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _writable(path: Path) -> str:
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    return ('there' if there == path else 'not there yet') + ('' if os.access(there, os.W_OK) else ', not writable')

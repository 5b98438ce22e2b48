"""`python -m vae_jax evaluate RUN --metrics ...`: each metric is one file in the run, and goes on where it stopped."""

import dataclasses
import datetime
import functools
import resource
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from vae_jax import opened, process
from vae_jax.config import POSITIONAL, Range
from vae_jax.errors import ENVIRONMENT, USAGE, Fault, Stopped, nearest
from vae_jax.files import first_line


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Measures a trained run: RUN/evaluation/NAME.json, arrays beside it; result.json never changes.

    A metric that cannot be had is told in one line, and the rest are still written. One that was stopped goes on where
    it was, and one that is there under the same flags is not computed again; what is there under others is set aside as
    NAME-<hash>.json. `--metrics list` tells what there is.
    """

    run: Annotated[str, POSITIONAL]
    """the directory of a run"""
    metrics: tuple[str, ...] = ('nll',)
    """names of metrics, or: list"""
    member: Annotated[int | None, Range(0)] = None
    """the number of a run of a sweep"""
    images: Annotated[int | None, Range(1)] = None
    """the first so many examples of the split; None: all"""
    k: Annotated[int, Range(1)] = 5000
    """importance samples an image"""
    chains: Annotated[int, Range(1)] = 16
    """of annealing, an image"""
    temperatures: Annotated[int, Range(1)] = 1000
    """of annealing"""
    start: Literal['prior', 'posterior'] = 'prior'
    """what annealing begins at: the prior owes nothing to the encoder, q(z|x) needs fewer temperatures"""
    against: str | None = None
    """the dataset whose examples are outliers"""
    split: Literal['test', 'validation', 'train'] = 'test'
    seed: Annotated[int, Range(0, 2**32 - 1)] = 0
    fresh: bool = False
    """compute again what is there"""
    quiet: bool = False


def evaluate(args: Evaluate) -> None:
    """Measures, writes and tells; raises the first Fault once all other metrics are written."""
    if not args.metrics:
        raise Fault('--metrics names none', 'name some; --metrics list tells which there are', USAGE)
    if 'list' in args.metrics:
        process.start_jax()
        from vae_jax.measures import MEASURES

        width = max(map(len, MEASURES))
        process.say('\n'.join(f'{name:{width}}  {measure.about}' for name, measure in MEASURES.items()))
        return
    opened.run_directory(args.run)
    process.start_jax()
    from vae_jax.measures import MEASURES

    for name in args.metrics:
        if name not in MEASURES:
            raise Fault(f'unknown metric {name!r}', nearest(name, MEASURES), USAGE)
    from vae_jax import runs

    subject, made = _subject(args)
    folder = Path(args.run) / 'evaluation'
    folder = folder if args.member is None else folder / f'run-{args.member}'
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Fault(f'cannot make {folder}: {first_line(error)}', 'make room, or copy the run', ENVIRONMENT) from error
    with runs.held(folder, otherwise=''):
        found, faults = _all(args, subject, made, folder)
    if len(found) == 1 == len(args.metrics):
        ((name, told),) = found.items()
        opened.say_done(Path(told.pop('path')), told)
    else:
        opened.say_done(folder, found)
    if faults:
        names = ', '.join(name for name in args.metrics if name not in found)
        raise Fault(
            f'{len(faults)} of {len(args.metrics)} metrics could not be had: {names}', 'see above', faults[0].code
        )


def _all(args: Evaluate, subject: Any, made: dict[str, Any], folder: Path) -> tuple[dict[str, Any], list[Fault]]:
    """What each metric told, by name, and the faults of those that told nothing; of a lone metric it is raised."""
    found: dict[str, Any] = {}
    faults: list[Fault] = []
    for name in dict.fromkeys(args.metrics):
        suffix = '' if args.split == 'test' else f'_{args.split}'
        try:
            found[name] = _measured(args, name, subject, made, folder / f'{name}{suffix}.json')
        except Stopped:
            raise
        except Exception as error:  # a defect of one measure shall not cost the others
            if len(args.metrics) == 1:
                raise
            fault = process.as_fault(error)
            process.tell(f'{name}: {fault}')
            faults.append(fault)
    return found, faults


def _subject(args: Evaluate) -> tuple[Any, dict[str, Any]]:
    """What is measured, and which parameters, by what software."""
    from vae_jax import cli, evaluation, runs
    from vae_jax.measures import Subject

    loaded, split = opened.loaded_run(args.run, args.split, args.member)
    if args.images is not None and args.images > len(split):
        process.tell(f'note: {args.images} images were asked for, the split has {len(split)}: all of them are taken')
    split = split if args.images is None else evaluation.some(split, min(args.images, len(split)))
    made = {name: runs.environment()[name] for name in ('versions', 'commit', 'device')}
    subject = Subject(
        loaded.model,
        loaded.params,
        loaded.experiment.data,
        split,
        args.split == 'train',
        functools.cache(lambda: _against(args, loaded)),
        cli.keys(args.seed).verbs,
        args.k,
        args.chains,
        args.temperatures,
        {'prior': evaluation.from_prior, 'posterior': evaluation.from_posterior}[args.start],
        args.quiet,
        None,
    )
    return subject, {'checkpoint': loaded.checkpoint, 'made': made}


def _against(args: Evaluate, loaded: Any) -> Any:
    """The data whose examples are outliers, seen as the model sees its own. Raises Fault."""
    from vae_jax import data

    own = loaded.experiment.data
    if args.against is None:
        raise Fault('outliers are examples of other data, and none were named', 'add --against DATASET', USAGE)
    where = getattr(getattr(loaded.config, 'run', None), 'data_dir', None)
    found = data.load(args.against, data_dir=where, binarization=own.binarization)
    if found.name == own.name:
        raise Fault(f'--against {args.against} is what the run was trained on', 'name other data', USAGE)
    return found


def _measured(args: Evaluate, name: str, subject: Any, made: dict[str, Any], path: Path) -> dict[str, Any]:
    """What one metric tells, as written; or as it is there already. Raises Fault."""
    from vae_jax import measures, runs
    from vae_jax.evaluation import keeping

    measure = measures.MEASURES[name]
    asked = {flag: getattr(args, flag) for flag in ('split', 'images', 'seed', *measure.flags)}
    asked |= {'examples': len(subject.split), 'data': subject.data.fingerprint, 'parameters': _digest(subject.params)}
    if 'against' in measure.flags:
        asked['against_data'] = subject.against().fingerprint
    there, same = _there(path), lambda found: {key: found.get(key) for key in asked} == asked
    aside = path.with_name(f'{path.stem}-{_hash(asked)}.json')
    for place, found in ((path, there), (aside, _there(aside))):
        if same(found) and not args.fresh:
            process.say(f'{name}: there already, in {place}')
            if found.get('made') != made['made']:
                process.tell(f'note: {place} was made by other software or on another device; --fresh measures again')
            return {**found, 'path': str(place)}
    kept = path.with_name(f'.{path.stem}')
    if args.fresh:
        keeping.forget(kept)
    began = time.monotonic()
    result = measure.of(subject._replace(kept=kept))
    seconds = time.monotonic() - began
    values, arrays, units = measures.told(name, result, len(subject.split))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)
    said = str(result) if not isinstance(result, dict) else _numbers(values)
    told = {**values, 'said': said, 'units': units, **asked, 'wall_s': seconds, 'peak_bytes': peak}
    told |= {**made, 'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')}
    if there and not same(there):
        _set_aside(path, {key: there.get(key) for key in there.get('asked', asked)})
    told['asked'] = list(asked)
    if arrays:
        opened.write_npz(path.with_suffix('.npz'), arrays)
    runs.write_json(path, told)
    keeping.forget(kept)
    process.say(f'{measure.about}, {args.split}: {said}')
    return {**runs.read_json(path), 'path': str(path)}


def _there(path: Path) -> dict[str, Any]:
    """What was written of a metric; nothing where it cannot be read, which is told."""
    from vae_jax import runs

    try:
        found = runs.read_json(path) if path.exists() else {}
    except Fault as fault:
        process.tell(f'note: {fault.what}; it is measured again')
        return {}
    return found if isinstance(found, dict) else {}


def _hash(asked: dict[str, Any]) -> str:
    import hashlib

    from vae_jax.files import dumps

    return hashlib.sha256(dumps(dict(sorted(asked.items()))).encode()).hexdigest()[:8]


def _set_aside(path: Path, asked: dict[str, Any]) -> None:
    """What was asked otherwise keeps its numbers, under a name of its own."""
    place = path.with_name(f'{path.stem}-{_hash(asked)}.json')
    for suffix in ('.npz', '.json'):
        if path.with_suffix(suffix).exists():
            path.with_suffix(suffix).replace(place.with_suffix(suffix))
    process.tell(f'note: {path.name} was of other flags, data or parameters; it is {place.name} now')


def _digest(params: Any) -> str:
    """Of the parameters that are measured: a run that was trained on has others."""
    import hashlib

    import jax
    import numpy as np

    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def _numbers(values: dict[str, Any]) -> str:
    return ', '.join(f'{key} {value:.4g}' for key, value in values.items() if isinstance(value, float))

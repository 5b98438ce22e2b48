"""Steps of orbax under a SHA-256 of every array and every file, because orbax loads a flipped bit silently.

    <directory>/<step>/state            arrays under the path of their leaf ('state/params/encoder/kernel')
    <directory>/<step>/manifest.json    structure of the tree, a record of each leaf (vae_jax.trees), hash of each file

A step appears by rename, once all of it is on the disk, and older ones go only then. So a process killed at any moment
leaves the step before. Saving a step ends its history: later steps, of a future that was abandoned, go as well.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vae_jax import trees
from vae_jax.errors import ENVIRONMENT, Fault
from vae_jax.files import first_line, sync, sync_tree

__all__ = ['latest', 'prune', 'restore', 'restore_params', 'save', 'verify']
_FORMAT = 1
# '<step>.replaced' waits for a successor of the same step, and is a step like any other until that is whole.
_STEP = re.compile(r'(0|[1-9]\d*)(\.replaced)?')
_LEFTOVER = re.compile(r'(staging|trash)-[0-9a-f]{32}')


def save(directory: str | os.PathLike[str], step: int, tree: Any, keep: int = 1) -> None:
    """Writes the tree as `step` and returns once it is on the disk; the newest `keep` steps up to this one stay.

    Leaves are jax or numpy arrays of any numeric dtype and shape, typed PRNG keys, and Python bool, int, float or str.
    Saving the same again writes nothing. Raises Fault (code 3) where the disk does not take it.
    """
    if step < 0 or keep < 1:
        raise ValueError(f'step {step}, keep {keep}: a checkpoint needs step >= 0 and keep >= 1')
    structure, records, leaves = trees.described(tree)
    # The host's copies are both what is hashed and what is written.
    hosted = [trees.hosted(record, leaf) for record, leaf in zip(records, leaves)]
    manifest = {
        'format': _FORMAT,
        'step': int(step),
        'structure': structure,
        'leaves': [record for record, _ in hosted],
    }
    arrays = {record['path']: value for record, value in hosted if trees.is_stored(record)}
    root = Path(directory).absolute()
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove(root, [name for name in os.listdir(root) if _LEFTOVER.fullmatch(name)])
        if not _holds(root / str(step), manifest):
            with _staged(root, step, arrays, manifest) as whole:
                _set_aside(root, step)
                os.rename(whole, root / str(step))
            sync(root)
        _keep_only(root, step, keep)
    except (OSError, ValueError, RuntimeError) as error:
        what = f'cannot write checkpoint {step} in {directory}: {first_line(error)}'
        raise Fault(what, 'make room, or give a folder that can be written', ENVIRONMENT) from error


def prune(directory: str | os.PathLike[str], step: int, keep: int = 1) -> None:
    """Leaves the newest `keep` steps up to this one."""
    _keep_only(Path(directory).absolute(), step, keep)


def restore(directory: str | os.PathLike[str], template: Any, step: int | None = None) -> tuple[int, Any]:
    """(step, tree): the newest intact step, or the one asked for, in the template's structure, types and devices.

    Every array is hashed again. A damaged step is passed over for an older intact one, with a line on stderr. Raises
    Fault (code 3) where none is left, naming step and array, and (code 2) where structure, shape or dtype are not those
    of the template, naming the path, what was found and what was expected. Its leaves may be jax.ShapeDtypeStruct.
    """
    structure, records, wanted = trees.described(template)

    def choose(manifest: Any) -> Iterable[int]:
        trees.compare(manifest['structure'], manifest['leaves'], structure, records)
        return range(len(wanted))

    manifest, arrays = _newest(Path(directory), step, choose)
    leaves = [trees.as_template(manifest['leaves'][i], arrays.get(i), leaf) for i, leaf in enumerate(wanted)]
    return manifest['step'], jax.tree.unflatten(jax.tree.structure(template), leaves)


def restore_params(directory: str | os.PathLike[str], step: int | None = None, under: str = 'state/params') -> Any:
    """What is `under` a path of the newest intact step (or of `step`), without a template; '' for all of it.

    Dicts, lists and tuples come back as they were saved, a NamedTuple or another node as the dict of its fields. Hashes
    are checked and damage passed over as by `restore`. Raises Fault where there is no such path, naming what there is.
    """

    def choose(manifest: Any) -> Iterable[int]:
        return trees.indices(trees.part(manifest['structure'], under))

    manifest, arrays = _newest(Path(directory), step, choose)
    return trees.rebuilt(trees.part(manifest['structure'], under), manifest['leaves'], arrays)


def latest(directory: str | os.PathLike[str]) -> int | None:
    """The newest finished step, its contents not looked at; None where there is none."""
    return max((step for step, _ in _candidates(Path(directory))), default=None)


def verify(directory: str | os.PathLike[str]) -> list[str]:
    """Reads and hashes every array of every step: the problems, one line each; empty where all is well."""
    if not Path(directory).is_dir():
        return [f'{directory}: no such folder']
    return [problem for name in _chosen(Path(directory)).values() for problem in _problems(Path(directory) / name)]


def _candidates(root: Path) -> list[tuple[int, str]]:
    """(step, name) of what can be restored, best first."""
    names = [match for name in (os.listdir(root) if root.is_dir() else ()) if (match := _STEP.fullmatch(name))]
    return [(int(m[1]), m[0]) for m in sorted(names, key=lambda m: (-int(m[1]), m[2] is not None))]


def _chosen(root: Path) -> dict[int, str]:
    """{step: name}; a step that was set aside only where nothing has replaced it."""
    return dict(reversed(_candidates(root)))


def _newest(root: Path, step: int | None, choose: Callable[[Any], Iterable[int]]) -> tuple[Any, dict[int, np.ndarray]]:
    """(manifest, {index: array} of the leaves that are chosen) of the newest intact step."""
    faults: dict[str, Fault] = {}
    # Listed anew each time: a run that goes on may have saved another step, and removed the one that was tried.
    while names := [name for at, name in _candidates(root) if step in (None, at) and name not in faults]:
        try:
            manifest = _manifest(root / names[0])
            arrays = _arrays(root / names[0], manifest, choose(manifest))
        except Fault as fault:
            if fault.code != ENVIRONMENT:
                raise
            faults[names[0]] = fault
            continue
        for passed in faults.values():
            print(f'warning: {passed.what}; step {manifest["step"]} is restored instead', file=sys.stderr)
        return manifest, arrays
    if faults:
        raise next(iter(faults.values()))
    what = f'no checkpoint{"" if step is None else f" of step {step}"} in {root}'
    raise Fault(what, 'give the folder of a run that has saved one', ENVIRONMENT)


def _damaged(path: Path, why: str) -> Fault:
    what = f'checkpoint {path} is damaged: {why}'
    return Fault(what, 'put a copy of it in its place, or start the run again with --fresh', ENVIRONMENT)


def _problems(path: Path) -> list[str]:
    try:
        manifest = _manifest(path)
        _arrays(path, manifest, range(len(manifest['leaves'])))
    except Fault as fault:
        return [fault.what]
    return []


def _holds(path: Path, manifest: Any) -> bool:
    return path.exists() and not _problems(path) and _manifest(path) | {'files': None} == manifest | {'files': None}


def _manifest(path: Path) -> Any:
    """What is in a step, once every file of it has been hashed again."""
    try:
        written = json.loads((path / 'manifest.json').read_bytes())
        found = written['manifest']
        if written['sha256'] != _digest(found):
            raise ValueError('it has not the SHA-256 it was saved with')
        if (found['format'], str(found['step'])) != (_FORMAT, path.name.split('.')[0]):
            raise ValueError(f'it is of format {found["format"]}, step {found["step"]}')
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, f'manifest.json cannot be read: {first_line(error)}') from error
    for name, digest in found['files'].items():
        try:
            intact = _file_digest(path / name) == digest
        except OSError as error:
            raise _damaged(path, f'{name} cannot be read: {first_line(error)}') from error
        if not intact:
            raise _damaged(path, f'{name} has not the SHA-256 it was saved with')
    return found


def _arrays(path: Path, manifest: Any, chosen: Iterable[int]) -> dict[int, np.ndarray]:
    records = {i: manifest['leaves'][i] for i in chosen if 'shape' in manifest['leaves'][i]}
    arrays = {i: trees.empty(record) for i, record in records.items() if not trees.is_stored(record)}
    stored = {i: record['path'] for i, record in records.items() if i not in arrays}
    try:
        found = _read(path, list(stored.values()))
    except Exception as error:  # orbax and tensorstore raise whatever befell them
        raise _damaged(path, f'its arrays cannot be read: {first_line(error)}') from error
    arrays |= {i: found[name] for i, name in stored.items()}
    if wrong := [name for i, name in stored.items() if not trees.is_whole(records[i], arrays[i])]:
        more = f' and {len(wrong) - 4} more' if len(wrong) > 4 else ''
        raise _damaged(path, f'array {", ".join(wrong[:4])}{more} has not the SHA-256 it was saved with')
    return arrays


def _read(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    import orbax.checkpoint as ocp

    if not names:
        return {}
    how = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in names}
    item = ocp.args.PyTreeRestore(dict.fromkeys(names, 0), restore_args=how, partial_restore=True)
    alone = _by_itself()
    handler = ocp.CompositeCheckpointHandler(composite_options=ocp.CompositeOptions(multiprocessing_options=alone))
    with _quiet(), ocp.Checkpointer(handler, multiprocessing_options=alone) as checkpointer:
        return checkpointer.restore(path.absolute(), args=ocp.args.Composite(state=item))['state']


@contextlib.contextmanager
def _staged(root: Path, step: int, arrays: dict[str, np.ndarray], manifest: Any) -> Iterator[Path]:
    """A whole step on the disk, under a name that is not yet that of a step."""
    import orbax.checkpoint as ocp

    staging = root / f'staging-{uuid.uuid4().hex}'
    folder = staging / str(step)
    try:
        folder.parent.mkdir()
        if arrays:
            options = ocp.CheckpointManagerOptions(
                enable_async_checkpointing=False, multiprocessing_options=_by_itself(), create=jax.process_count() == 1
            )
            with _quiet(), ocp.CheckpointManager(staging, options=options) as manager:
                manager.save(step, args=ocp.args.Composite(state=ocp.args.PyTreeSave(arrays)))
        folder.mkdir(exist_ok=True)
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file())
        manifest = manifest | {'files': {name: _file_digest(folder / name) for name in names}}
        written = {'sha256': _digest(manifest), 'manifest': manifest}
        (folder / 'manifest.json').write_text(json.dumps(written, sort_keys=True), encoding='utf-8')
        sync_tree(folder)
        yield folder
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _by_itself() -> Any:
    """Of several processes one reads and writes, and waits for no other."""
    from orbax.checkpoint import options

    if jax.process_count() == 1:
        return options.MultiprocessingOptions()
    me = jax.process_index()
    return options.MultiprocessingOptions(me, active_processes={me}, barrier_sync_key_prefix='one_writer')


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what orbax tells of every save: our own lines must be those that a person sees."""
    from absl import logging as absl_logging

    logger = absl_logging.get_absl_logger()
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _digest(manifest: Any) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def _set_aside(root: Path, step: int) -> None:
    """Frees the name of a step; what it holds waits beside it, if it is whole."""
    if not (root / str(step)).exists():
        return
    if _problems(root / str(step)):
        return _remove(root, [str(step)])
    _remove(root, [f'{step}.replaced'])
    os.rename(root / str(step), root / f'{step}.replaced')


def _keep_only(root: Path, step: int, keep: int) -> None:
    stay = [name for at, name in sorted(_chosen(root).items(), reverse=True) if at <= step][:keep]
    _remove(root, [name for _, name in _candidates(root) if name not in stay])


def _remove(root: Path, names: list[str]) -> None:
    """By a rename first, so that no half-removed folder has the name of a step."""
    for name in names:
        if (root / name).exists():
            trash = root / f'trash-{uuid.uuid4().hex}'
            os.rename(root / name, trash)
            shutil.rmtree(trash, ignore_errors=True)

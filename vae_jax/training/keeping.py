"""What fit stores in its directory and how it comes back: State and Progress in one checkpoint, the best in another."""

import json
import sys
from typing import Any

import jax
import numpy as np
from jax import Array, random

from vae_jax import checkpoints, runs
from vae_jax.errors import Fault
from vae_jax.training.progress import Progress
from vae_jax.training.trainer import State


def identity(state: State, key: Array, batch: int, data: Any) -> dict[str, Any]:
    """What must be equal for a directory to be continued; code is not in it, and cannot be."""
    return {
        'key': np.asarray(random.key_data(key)).tolist(),
        'hyper': {name: np.asarray(value).tolist() for name, value in state.hyper._asdict().items()},
        'batch': batch,
        'data': data.fingerprint,
    }


def save(
    directory: runs.Directory, identity: dict[str, Any], at: int, state: State, best: State, progress: Progress
) -> None:
    """`last` at step `at`, and `best` at the last step that made one better."""
    # Older bests go only when no last checkpoint names them: a kill may fall between any two of these lines.
    best_step = int(np.max(progress.best_step))
    if best_step >= 0:
        checkpoints.save(directory.best, best_step, {'state': best}, keep=sys.maxsize)
    tree = {'progress': progress._asdict(), 'identity': json.dumps(identity), 'state': state}
    checkpoints.save(directory.last, at, tree, keep=2)
    if best_step >= 0:
        checkpoints.prune(directory.best, best_step, keep=2)


def resume(
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
    kept = jax.tree.map(np.asarray, dict(tree['progress']))
    resumed = Progress(**kept)._replace(
        offset=int(kept['offset']), count=int(kept['count']), wall_s=float(kept['wall_s'])
    )
    best = tree['state']
    if (best_step := int(np.max(resumed.best_step))) >= 0:
        _, found = checkpoints.restore(directory.best, {'state': state}, step=best_step)
        best = found['state']
    return tree['state'], best, resumed

"""Several processes that train one model together, through `jax.distributed`: who they are, and what they agree on.

Every process runs the same script; each sees all devices and computes on its own. With one process all of this is
nothing: no function here then calls jax's collectives.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.errors import ENVIRONMENT, Fault


def join(coordinator: str, processes: int, process: int, timeout_s: int = 60) -> None:
    """Makes this process number `process` of `processes`, before jax's backend starts.

    `coordinator` is host:port of process 0. Raises Fault (code 3) where they do not all come within the time, and on
    numbers that do not fit.
    """
    if not 0 <= process < processes:
        raise Fault(f'process is {process} of {processes}', f'number the processes 0 to {processes - 1}')
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    try:
        jax.distributed.initialize(coordinator, processes, process, initialization_timeout=timeout_s)
    except (RuntimeError, ValueError) as error:
        said = str(error).strip().splitlines()[-1][:200]
        fix = 'start all processes with the same address of process 0, which must be reachable and free'
        raise Fault(f'process {process} of {processes} did not join {coordinator}: {said}', fix, ENVIRONMENT) from error


def is_first() -> bool:
    """Whether this process writes directories and shows a bar: the only one, or number 0."""
    return jax.process_count() == 1 or jax.process_index() == 0


def of_first(tree: Any) -> Any:
    """The values that process 0 has, bit for bit, in every process; leaves of the same shapes and types in all."""
    if jax.process_count() == 1:
        return tree
    from jax.experimental import multihost_utils

    is_key = lambda leaf: isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    leaves, structure = jax.tree.flatten(tree)
    plain = [np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf) for leaf in leaves]
    # as bytes: jax would make float32 of a float64
    told = multihost_utils.broadcast_one_to_all([np.frombuffer(leaf.tobytes(), np.uint8) for leaf in plain])
    values = [np.frombuffer(np.asarray(b).tobytes(), p.dtype).reshape(p.shape) for b, p in zip(told, plain)]

    def given(leaf: Any, value: np.ndarray) -> Any:
        if is_key(leaf):
            return jax.random.wrap_key_data(jnp.asarray(value))
        return (
            jnp.asarray(value)
            if isinstance(leaf, jax.Array)
            else value
            if isinstance(leaf, np.ndarray)
            else value.item()
        )

    return jax.tree.unflatten(structure, [given(leaf, value) for leaf, value in zip(leaves, values)])


def largest(value: int) -> int:
    """The largest of the numbers that the processes have."""
    if jax.process_count() == 1:
        return value
    from jax.experimental import multihost_utils

    return int(np.max(multihost_utils.process_allgather(np.int32(value))))

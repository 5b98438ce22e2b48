"""Tasks of a sweep on other engines: each is one command, kept alive, started again from its checkpoint, and counted.

    ray.launch(tasks, ...), slurm.launch(tasks, executor, ...) -> [Outcome]     one for each task, when all have ended

`ray.launch` gives each task to a worker of Ray Core, `slurm.launch` each to a Slurm job by submitit; `driving.drive` is
what they share. Importing this imports neither of them, nor jax.
"""

from vae_jax.launchers.driving import Outcome, required
from vae_jax.launchers.watching import bar

__all__ = ['Outcome', 'bar', 'required']

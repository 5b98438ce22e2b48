"""Training: trainers are (init, step) pairs, chunks of steps are one XLA program, fit is the host's loop over chunks.

Nothing here knows what a VAE is.
"""

from vae_jax.errors import Stopped
from vae_jax.training.loop import Run, check, fit
from vae_jax.training.options import accumulate, averaged, clipped, learning
from vae_jax.training.parallel import data_parallel
from vae_jax.training.population import Population, population
from vae_jax.training.progress import Progress
from vae_jax.training.steps import advance, overfit, start
from vae_jax.training.trainer import (
    State,
    Trainer,
    freeze,
    gradient_norms,
    nothing,
    trainer,
    warm_start,
    whole,
)
from vae_jax.training.turns import Turns, alternating, divided, only

__all__ = [
    'Population',
    'Progress',
    'Run',
    'State',
    'Stopped',
    'Trainer',
    'Turns',
    'accumulate',
    'advance',
    'alternating',
    'averaged',
    'check',
    'clipped',
    'data_parallel',
    'divided',
    'fit',
    'freeze',
    'gradient_norms',
    'learning',
    'nothing',
    'only',
    'overfit',
    'population',
    'start',
    'trainer',
    'warm_start',
    'whole',
]

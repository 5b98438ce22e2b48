"""Training: trainers are (init, step) pairs, chunks of steps are one XLA program, fit is the host's loop over chunks.

Nothing here knows what a VAE is.
"""

from vae_jax.errors import Stopped
from vae_jax.training.loop import Progress, Run, check, fit
from vae_jax.training.trainer import (
    State,
    Trainer,
    freeze,
    gradient_norms,
    nothing,
    overfit,
    trainer,
    warm_start,
)

__all__ = [
    'Progress',
    'Run',
    'State',
    'Stopped',
    'Trainer',
    'check',
    'fit',
    'freeze',
    'gradient_norms',
    'nothing',
    'overfit',
    'trainer',
    'warm_start',
]

"""A loss is one scalar a batch: loss(params, key, batch, hyper) -> (scalar, metrics). Losses go down, in nats.

objectives    of one example, lifted to a batch by `per_example`: beta-ELBO, the negative of any bound
codes         of a whole batch of codes: distortion + weigh(rates) + penalty(codes); the three conventions of free bits,
              capacity, total correlation, DIP, MMD
"""

from vae_jax.losses.codes import (
    Codes,
    beta,
    capacity,
    coded,
    dip,
    free_bits,
    free_bits_each,
    free_bits_mean,
    mmd,
    no_penalty,
    stratified,
    total_correlation,
    weighted,
)
from vae_jax.losses.objectives import Loss, beta_elbo, logit, negative, per_example, row_of, x_of

__all__ = [
    'Codes',
    'Loss',
    'beta',
    'beta_elbo',
    'capacity',
    'coded',
    'dip',
    'free_bits',
    'free_bits_each',
    'free_bits_mean',
    'logit',
    'mmd',
    'negative',
    'no_penalty',
    'per_example',
    'row_of',
    'stratified',
    'total_correlation',
    'weighted',
    'x_of',
]

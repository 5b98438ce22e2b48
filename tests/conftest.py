"""Every test: warnings are errors, no silent rank promotion, a compilation cache shared by all."""

import os

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('TQDM_DISABLE', '1')

import jax

jax.config.update('jax_numpy_rank_promotion', 'raise')

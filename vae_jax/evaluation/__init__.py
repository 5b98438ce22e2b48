"""Functions of (model, params, split): estimates with standard errors, codes and pictures, streamed over examples.

Each is a function of one example, vmapped a few examples at a time; sums are made once, over the true number of
examples, so a ragged last block weighs what it should. Example i is always seen under fold_in(key, i).
"""

from vae_jax.evaluation.codes import (
    active_units,
    encode,
    has_manifold,
    interpolate,
    manifold,
    rate_per_dim,
    reconstruct,
    sample,
    sample_means,
)
from vae_jax.evaluation.factors import Gap, Spent, mutual_information, mutual_information_gap, spent
from vae_jax.evaluation.imputation import imputations, impute, imputed, missing_error
from vae_jax.evaluation.likelihood import ELBO, NLL, Estimate, elbo_estimate, log_p_streamed, nll
from vae_jax.evaluation.streaming import log_cell, some, view_rows

__all__ = [
    'ELBO',
    'Estimate',
    'Gap',
    'NLL',
    'Spent',
    'active_units',
    'elbo_estimate',
    'encode',
    'has_manifold',
    'imputations',
    'impute',
    'imputed',
    'interpolate',
    'log_cell',
    'log_p_streamed',
    'manifold',
    'missing_error',
    'mutual_information',
    'mutual_information_gap',
    'nll',
    'rate_per_dim',
    'reconstruct',
    'sample',
    'sample_means',
    'some',
    'spent',
    'view_rows',
]

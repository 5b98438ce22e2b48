"""Bounds on log p(x) for ONE example, in nats: arithmetic on log-densities. Bounds go up, rate and distortion down.

    bound(model, params, key, x, ...) -> scalar        its value is the bound, its gradient is what the estimator says

elbo          one sample: terms, closed-form or Monte Carlo KL, sticking the landing
importance    several samples: IWAE, DReG, MIWAE, PIWAE, CIWAE, Renyi
score         gradients through densities alone, for posteriors that have no pathwise gradient: score function, VIMCO
"""

from vae_jax.bounds.elbo import (
    Terms,
    closed_form,
    effective_samples,
    elbo,
    elbo_terms,
    iwae,
    log_weight,
    log_weights,
    monte_carlo,
    sampled_terms,
    sampled_weight,
    sticking_the_landing,
)
from vae_jax.bounds.importance import ciwae, dreg, miwae, piwae, renyi
from vae_jax.bounds.score import score_elbo, vimco

__all__ = [
    'Terms',
    'ciwae',
    'closed_form',
    'dreg',
    'effective_samples',
    'elbo',
    'elbo_terms',
    'iwae',
    'log_weight',
    'log_weights',
    'miwae',
    'monte_carlo',
    'piwae',
    'renyi',
    'sampled_terms',
    'sampled_weight',
    'score_elbo',
    'sticking_the_landing',
    'vimco',
]

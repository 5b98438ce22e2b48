"""What came before VAEs, on the same interfaces: algorithms are trainers, answers are distributions.

mixtures          mixtures by EM and by gradient; k-means++; BIC; shapes: full, tied, diagonal, spherical, bits
beliefs           the same with beliefs about weights, means and precisions, by coordinate ascent
factors           probabilistic PCA in closed form
linear_gaussian   probabilistic PCA and factor analysis as models: posterior, log p(x) and ELBO exact, the M-step
factor_em         EM of these, and with a q of independent parts; mcem: with z drawn by Hamiltonian Monte Carlo
made              every factor of an autoregressive p(x) by one masked network
generators        a generator and noise as a density
grids             densities of two or three numbers, exactly
laplace, mean_field, normal_gamma, variational, hmc   five ways to a posterior
variational_bayes    beliefs about the parameters of any loss
"""

from vae_jax.classical import (
    beliefs,
    factor_em,
    factors,
    generators,
    grids,
    hmc,
    laplace,
    linear_gaussian,
    made,
    mcem,
    mean_field,
    mixtures,
    normal_gamma,
    shapes,
    variational,
    variational_bayes,
)

__all__ = [
    'beliefs',
    'factor_em',
    'factors',
    'generators',
    'grids',
    'hmc',
    'laplace',
    'linear_gaussian',
    'made',
    'mcem',
    'mean_field',
    'mixtures',
    'normal_gamma',
    'shapes',
    'variational',
    'variational_bayes',
]

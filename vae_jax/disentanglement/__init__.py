"""Disentanglement: how the dimensions of codes go with the factors that the data were made from.

Functions of plain arrays, codes [n, d] and factors {name: [n]}, not of a model: give means of q(z|x), as the literature
mostly does, or samples of it. Higher is better in all of them; none is invariant to a rotation of the codes.
"""

from vae_jax.disentanglement.attributes import DCI, boosted_trees, dci, forest, lasso, sap
from vae_jax.disentanglement.information import (
    Gap,
    binned,
    gaussian_total_correlation,
    mutual_information,
    mutual_information_gap,
)
from vae_jax.disentanglement.interventions import (
    Source,
    beta_vae_score,
    factor_vae_score,
    interventional_robustness,
    of_table,
)
from vae_jax.disentanglement.modular import InfoMEC, explicitness, infomec, modularity
from vae_jax.disentanglement.tables import Score
from vae_jax.disentanglement.together import all_scores, scores

__all__ = [
    'DCI',
    'Gap',
    'InfoMEC',
    'Score',
    'Source',
    'all_scores',
    'beta_vae_score',
    'binned',
    'boosted_trees',
    'dci',
    'explicitness',
    'factor_vae_score',
    'forest',
    'gaussian_total_correlation',
    'infomec',
    'interventional_robustness',
    'lasso',
    'modularity',
    'mutual_information',
    'mutual_information_gap',
    'of_table',
    'sap',
    'scores',
]

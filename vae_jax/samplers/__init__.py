"""Ex-post priors: the density of a trained model's codes in the place of its prior (Ghosh et al. 2020, section 4).

    zs = samplers.codes(model, params, data.train, key)                        z ~ q(z|x), one an example
    better = samplers.with_prior(model, samplers.fixed(samplers.gaussian_mixture(zs, 10, key)))
    params = better.init(key, data.example) | params                           its own part is the mixture
    vj.nll(better, params, data.test, key)                                     and all else, as of any model

densities         Density: a density of codes that learns or is fitted; Gaussian, mixture, flow, categorical; with_prior
autoregressive    any distribution of one-hot vectors, factor by factor, and a causal transformer that gives the factors
stages            a second VAE whose x is z
temperature       any of these, flatter or sharper

What learns is trained as anything is: on codes, `per_example(negative_log_prob(density))` by a trainer; or with the
model, whose loss then has a rate that the density lowers.
"""

from vae_jax.samplers.autoregressive import Autoregressive, autoregressive, causal_transformer
from vae_jax.samplers.densities import (
    Density,
    codes,
    fixed,
    flow,
    gaussian,
    gaussian_mixture,
    independent,
    negative_log_prob,
    over_codes,
    with_prior,
)
from vae_jax.samplers.stages import two_stage
from vae_jax.samplers.temperature import tempered, with_temperature

__all__ = [
    'Autoregressive',
    'Density',
    'autoregressive',
    'causal_transformer',
    'codes',
    'fixed',
    'flow',
    'gaussian',
    'gaussian_mixture',
    'independent',
    'negative_log_prob',
    'over_codes',
    'tempered',
    'two_stage',
    'with_prior',
    'with_temperature',
]

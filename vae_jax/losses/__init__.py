"""A loss is one scalar a batch: loss(params, key, batch, hyper) -> (scalar, metrics). Losses go down, in nats.

objectives    of one example, lifted to a batch by `per_example`: beta-ELBO, the negative of any bound
codes         of a whole batch of codes: distortion + weigh(rates) + penalty(codes); the three conventions of free bits,
              capacity, total correlation, DIP, MMD
adversarial   critics: FactorVAE, adversarial autoencoder, VAE-GAN, GAN
dreams        wake-sleep, reweighted wake-sleep
autoencoders  without a rate: deterministic, RAE, contractive, denoising
sigma         the best sigma in closed form
transport     sliced Wasserstein, wae: a penalty without a rate; a capacity for each part of z
codebooks     what vector quantization learns from
labelled      bounds of rows with and without a label
"""

from vae_jax.losses.adversarial import (
    Critic,
    Game,
    a_code,
    adversarial_autoencoder,
    contest,
    critic,
    density_ratio,
    factor_vae,
    gan,
    generator,
    gradient_penalty,
    non_saturating,
    permuted,
    the_data,
    vae_gan,
    wasserstein,
    with_critic,
)
from vae_jax.losses.autoencoders import (
    autoencoder,
    contraction,
    decoder_gradient,
    decoder_l2,
    denoising,
    erased,
    gaussian_noise,
    rae,
    unregularized,
)
from vae_jax.losses.codebooks import code_usage, following, quantized, restarting
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
from vae_jax.losses.dreams import reweighted_wake_sleep, sleep, wake_sleep
from vae_jax.losses.labelled import partly_labelled, stacked_labelled
from vae_jax.losses.objectives import Loss, beta_elbo, free_bits_layers, logit, negative, per_example, row_of, x_of
from vae_jax.losses.sigma import optimal_sigma, optimal_sigma_each
from vae_jax.losses.transport import part_capacities, sliced_wasserstein, squared_exponential, wae

__all__ = [
    'Codes',
    'Critic',
    'Game',
    'Loss',
    'a_code',
    'adversarial_autoencoder',
    'autoencoder',
    'beta',
    'beta_elbo',
    'capacity',
    'code_usage',
    'coded',
    'contest',
    'contraction',
    'critic',
    'decoder_gradient',
    'decoder_l2',
    'denoising',
    'density_ratio',
    'dip',
    'erased',
    'factor_vae',
    'following',
    'free_bits',
    'free_bits_each',
    'free_bits_layers',
    'free_bits_mean',
    'gan',
    'gaussian_noise',
    'generator',
    'gradient_penalty',
    'logit',
    'mmd',
    'negative',
    'no_penalty',
    'non_saturating',
    'optimal_sigma',
    'optimal_sigma_each',
    'part_capacities',
    'partly_labelled',
    'per_example',
    'permuted',
    'quantized',
    'rae',
    'restarting',
    'reweighted_wake_sleep',
    'row_of',
    'sleep',
    'sliced_wasserstein',
    'squared_exponential',
    'stacked_labelled',
    'stratified',
    'the_data',
    'total_correlation',
    'unregularized',
    'vae_gan',
    'wae',
    'wake_sleep',
    'wasserstein',
    'weighted',
    'with_critic',
    'x_of',
]

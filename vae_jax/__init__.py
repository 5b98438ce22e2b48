"""Variational autoencoders as products of small pure functions of one example.

Names are imported when first used (PEP 562), so that `--help` need not wait for jax.
"""

import importlib
from typing import Any

_HOMES = {
    'distributions': (
        'Bernoulli',
        'BetaBinomial',
        'Categorical',
        'CategoricalLevels',
        'Chain',
        'Columns',
        'ContinuousBernoulli',
        'Delta',
        'DiscretizedLogistic',
        'Family',
        'FullNormal',
        'GumbelSoftmax',
        'HypersphericalUniform',
        'Joint',
        'Laplace',
        'LogCosh',
        'LogisticMixture',
        'Masked',
        'Mixture',
        'NegativeBinomial',
        'Normal',
        'Observed',
        'Poisson',
        'PowerSpherical',
        'RelaxedBernoulli',
        'SharedNormal',
        'SoftBernoulli',
        'StraightThrough',
        'VonMisesFisher',
        'ZeroInflated',
        'beta_binomial',
        'bounded_normal',
        'categorical',
        'categorical_levels',
        'category_codes',
        'columns',
        'discretized_logistic',
        'fixed_normal',
        'full_normal',
        'gumbel_softmax',
        'joint',
        'layered_kl',
        'log_cosh',
        'logistic_mixture',
        'masked',
        'relaxed_bernoulli',
        'straight_through',
        'zero_inflated',
    ),
    'networks': (
        'Head',
        'conv_decoder',
        'conv_encoder',
        'gated_mlp_decoder',
        'gated_mlp_encoder',
        'mlp_decoder',
        'mlp_encoder',
        'resnet_decoder',
        'resnet_encoder',
        'transformer_decoder',
        'transformer_encoder',
    ),
    'models': ('Conditional', 'Model', 'vae'),
    'bounds': ('Terms', 'closed_form', 'elbo', 'elbo_terms', 'iwae', 'log_weight', 'monte_carlo'),
    'losses': ('beta_elbo', 'per_example', 'negative'),
    'training': (
        'Run',
        'State',
        'Trainer',
        'accumulate',
        'advance',
        'averaged',
        'clipped',
        'data_parallel',
        'fit',
        'freeze',
        'gradient_norms',
        'learning',
        'overfit',
        'population',
        'start',
        'trainer',
        'warm_start',
    ),
    'placement': ('take', 'use_host_devices'),
    'statistics': ('best',),
    'sweeps.grids': ('Grid', 'grid'),
    'schedules': ('cosine', 'constant', 'linear_warmup'),
    'evaluation': (
        'elbo_estimate',
        'encode',
        'interpolate',
        'nll',
        'reconstruct',
        'sample',
        'sample_means',
    ),
    'runs': ('load',),
    'errors': ('Fault',),
}
_MODULES = (
    'bounds',
    'checkpoints',
    'classical',
    'cli',
    'config',
    'data',
    'distributions',
    'errors',
    'evaluation',
    'flows',
    'hosts',
    'kernels',
    'losses',
    'models',
    'networks',
    'placement',
    'plot',
    'report',
    'runs',
    'samplers',
    'schedules',
    'statistics',
    'sweeps',
    'trackers',
    'training',
)
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__version__ = '0.1.0'
__all__ = sorted([*_HOME, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f'vae_jax.{name}')
    if name in _HOME:
        return getattr(importlib.import_module(f'vae_jax.{_HOME[name]}'), name)
    raise AttributeError(f'vae_jax has no {name!r}; it has {", ".join(__all__)}')


def __dir__() -> list[str]:
    return list(__all__)

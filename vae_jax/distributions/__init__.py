"""Distributions as frozen pytrees of arrays over ONE example: sample(key), log_prob(x) -> nats, mean.

A batch is `vmap` of whatever made one; a per-dimension density is `vmap` over the leaves, or `each(x)` where values are
independent; `stop_gradient(q)` is a distribution too. `rank` is the rank of one example's leaves: it is static, so a
batch made by `vmap` remembers it and refuses to sum over the batch.

A *family* is anything with `arity` (unconstrained numbers per dimension), `from_features` (features [..., arity] ->
distribution), `supports` (x -> which entries are possible) and `support` (the same in words): `Normal`, `Bernoulli`,
`discretized_logistic(256)`, or a `Family` of your own. A posterior fits a prior whose `support` is in the same words.
"""

from vae_jax.distributions.base import Family, check_support, family_name
from vae_jax.distributions.binary import (
    Bernoulli,
    ContinuousBernoulli,
    RelaxedBernoulli,
    SoftBernoulli,
    relaxed_bernoulli,
)
from vae_jax.distributions.categorical import (
    Categorical,
    CategoricalLevels,
    GumbelSoftmax,
    categorical,
    categorical_levels,
    category_codes,
    gumbel_softmax,
)
from vae_jax.distributions.chain import Chain, layered_kl
from vae_jax.distributions.composite import (
    Columns,
    Masked,
    Mixture,
    Observed,
    StraightThrough,
    columns,
    masked,
    straight_through,
)
from vae_jax.distributions.counts import (
    BetaBinomial,
    NegativeBinomial,
    Poisson,
    ZeroInflated,
    beta_binomial,
    zero_inflated,
)
from vae_jax.distributions.hyperbolic import LogCosh, fixed_log_cosh, log_cosh, unit_log_std
from vae_jax.distributions.joined import Joint, discrete_kl, joint, part_kls, seen_parts
from vae_jax.distributions.laplace import Delta, Laplace
from vae_jax.distributions.logistic import DiscretizedLogistic, LogisticMixture, discretized_logistic, logistic_mixture
from vae_jax.distributions.normal import FullNormal, Normal, SharedNormal, bounded_normal, fixed_normal, full_normal
from vae_jax.distributions.sphere import HypersphericalUniform, PowerSpherical
from vae_jax.distributions.von_mises import VonMisesFisher

__all__ = [
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
    'check_support',
    'columns',
    'discrete_kl',
    'discretized_logistic',
    'family_name',
    'fixed_log_cosh',
    'fixed_normal',
    'full_normal',
    'gumbel_softmax',
    'joint',
    'layered_kl',
    'log_cosh',
    'logistic_mixture',
    'masked',
    'part_kls',
    'relaxed_bernoulli',
    'seen_parts',
    'straight_through',
    'unit_log_std',
    'zero_inflated',
]

"""A model is three pure functions of one params dict: prior p(z), encode q(z|x), decode p(x|z); and init.

base          Model, Conditional, vae: from networks and families
priors        wrappers: mixture_prior, vampprior
flows         wrappers: flow_prior, flow_posterior; contextual
layers        what hierarchies share: rates of layers, fused terms
leapfrog      wrapper: hamiltonian
quantized     vq: codes of the nearest vectors
conditional   cvae; what takes wrappers and objectives of a Model to models given c
labelled      over_labels: a label among the latents
missing       partly_observed: x with entries that are not there
scales        wrapper: learned_scale
rungs         stacked: a model of another's latent; ladder
paths         top_down: the residual path that prior and posterior share
"""

from vae_jax.models.base import (
    Conditional,
    Model,
    add_part,
    check_fit,
    natural_prior,
    parameter_count,
    standard_normal,
    vae,
)
from vae_jax.models.conditional import (
    AsChannels,
    AtFeatures,
    at_row,
    conditional_map,
    cvae,
    example_of,
    given,
    on_entries,
    on_label,
)
from vae_jax.models.flows import contextual, flow_posterior, flow_prior
from vae_jax.models.labelled import Labelled, classify, over_labels
from vae_jax.models.layers import Fused, Passes, hierarchy, layer_rates, layer_terms
from vae_jax.models.leapfrog import hamiltonian
from vae_jax.models.missing import observed, partly_observed
from vae_jax.models.paths import top_down
from vae_jax.models.priors import examples, hard_tanh, mixture_prior, scattered, vampprior
from vae_jax.models.quantized import Code, Nearest, OverCodes, averaged_codebook, code_vectors, learned_codebook, vq
from vae_jax.models.rungs import ladder, precision_weighted, relative, stacked, unmerged
from vae_jax.models.scales import learned_scale

__all__ = [
    'AsChannels',
    'AtFeatures',
    'Code',
    'Conditional',
    'Fused',
    'Labelled',
    'Model',
    'Nearest',
    'OverCodes',
    'Passes',
    'add_part',
    'at_row',
    'averaged_codebook',
    'check_fit',
    'classify',
    'code_vectors',
    'conditional_map',
    'contextual',
    'cvae',
    'example_of',
    'examples',
    'flow_posterior',
    'flow_prior',
    'given',
    'hamiltonian',
    'hard_tanh',
    'hierarchy',
    'ladder',
    'layer_rates',
    'layer_terms',
    'learned_codebook',
    'learned_scale',
    'mixture_prior',
    'natural_prior',
    'observed',
    'on_entries',
    'on_label',
    'over_labels',
    'parameter_count',
    'partly_observed',
    'precision_weighted',
    'relative',
    'scattered',
    'stacked',
    'standard_normal',
    'top_down',
    'unmerged',
    'vae',
    'vampprior',
    'vq',
]

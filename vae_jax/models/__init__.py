"""A model is three pure functions of one params dict: prior p(z), encode q(z|x), decode p(x|z); and init.

base          Model, Conditional, vae: from networks and families
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

__all__ = [
    'Conditional',
    'Model',
    'add_part',
    'check_fit',
    'natural_prior',
    'parameter_count',
    'standard_normal',
    'vae',
]

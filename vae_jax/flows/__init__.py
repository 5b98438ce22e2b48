"""Normalizing flows: invertible maps of z [d] with their log-determinants, over ONE example.

    init(key, z, h=None) -> params    forward(params, z, h=None) -> y, log|det dy/dz|    inverse: the way back, or None

base             Flow; identity, reverse, chain, stacked, inverse
planar           one bend; no inverse; with its numbers from a context
radial           towards a point or away from it
coupling         one half moves the other: affine; any curve
spline           couplings by rational-quadratic splines
autoregressive   MADE; iaf, maf
flowed           Flowed, a distribution pushed through a flow

All start near the identity, and equal arguments make equal flows.
"""

from vae_jax.flows.autoregressive import iaf, made_masks, maf
from vae_jax.flows.base import Flow, chain, identity, inverse, reverse, stacked
from vae_jax.flows.coupling import affine_coupling
from vae_jax.flows.flowed import Flowed, batch_axes
from vae_jax.flows.planar import amortized_planar, planar
from vae_jax.flows.radial import radial
from vae_jax.flows.spline import spline_coupling

__all__ = [
    'Flow',
    'Flowed',
    'affine_coupling',
    'amortized_planar',
    'batch_axes',
    'chain',
    'iaf',
    'identity',
    'inverse',
    'made_masks',
    'maf',
    'planar',
    'radial',
    'reverse',
    'spline_coupling',
    'stacked',
]

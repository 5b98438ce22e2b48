"""Two layers of latents whose rates are known, whatever is drawn."""

import jax.numpy as jnp
from jax.tree_util import Partial

import vae_jax as vj
from vae_jax.distributions.chain import Chain, given
from vae_jax.models import Model


def _under(z):
    return jnp.tanh(z[0])


def _prior_link(params, before):
    return vj.Normal(_under(before), params['prior'])


def _posterior_link(shift, log_std, before):
    return vj.Normal(_under(before) + shift, log_std)


def two_layers() -> Model:
    """z_1 ~ N(0, I), z_2 ~ N(tanh z_1, exp(2 prior)); q moves both means by a multiple of x and has their log_std.

    The rates of the layers are KL(N(top x, exp(2 top_std)) || N(0, I)) and KL(N(low x, exp(2 low_std)) || N(0, exp(2
    prior))), as what z_1 adds to the mean of z_2 is the same in q and p.
    """
    zeros = jnp.zeros(2)

    def prior(params):
        return Chain((Partial(given, vj.Normal(zeros, zeros)), Partial(_prior_link, params)))

    def encode(params, x):
        top = Partial(given, vj.Normal(params['top'] * x, params['top_std']))
        return Chain((top, Partial(_posterior_link, params['low'] * x, params['low_std'])))

    def init(key, x):
        names = ('top', 'low', 'top_std', 'low_std', 'prior')
        return {name: jnp.full(2, value) for name, value in zip(names, (1.0, 0.5, -0.3, 0.1, 0.2))}

    return Model(init, prior, encode, lambda params, z: vj.Normal(z[0] + z[1], zeros))

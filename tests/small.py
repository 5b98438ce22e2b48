"""A small dataset and a small VAE, for tests of everything that is not the model."""

from typing import NamedTuple

import jax
import numpy as np
import optax

import vae_jax as vj
from vae_jax import schedules
from vae_jax.data.splits import Data, Split, dynamic, scale


class Hyper(NamedTuple):
    lr: float = 1e-2
    beta: float = 1.0


def data(n: int = 70, levels: int = 17) -> Data:
    """Grey stripes of 6 x 5 pixels, seen through dynamic binarization; validation and test are fixed bits."""
    rng = np.random.default_rng(0)

    def rows(n, levels):
        phase = rng.uniform(0, 6, (n, 1, 1, 1))
        wave = 0.5 + 0.5 * np.sin(phase + np.arange(6)[:, None, None] + 0.3 * np.arange(5)[None, :, None])
        x = np.rint(wave * (levels - 1)).astype(np.uint8)
        return {'x': jax.numpy.asarray(x), 'label': jax.numpy.asarray((phase.ravel() > 3).astype(np.int32))}

    fixed = lambda n: Split(rows(n, 2), 2, scale(2))
    return Data('stripes', Split(rows(n, levels), levels, dynamic(levels)), fixed(20), fixed(25), 'dynamic')


def model(like, latent: int = 2) -> vj.Model:
    return vj.vae(vj.mlp_encoder((16,)), vj.mlp_decoder((16,)), latent=latent, like=like)


DATA = data()
MODEL = model(DATA.example)
TRAINER = vj.trainer(
    MODEL.init,
    vj.per_example(vj.beta_elbo(MODEL)),
    lambda hyper: optax.adam(hyper.lr),
    schedule=schedules.on(lr=schedules.cosine(100), beta=schedules.linear_warmup(10)),
)


def validate(params, key):
    found = vj.elbo_estimate(MODEL, params, DATA.validation, key)
    return {'loss': -found.elbo.mean, 'rate': found.rate.mean}

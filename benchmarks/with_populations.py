"""Populations of vae_jax through `vj.fit`, and lone runs of the same trainer."""

from typing import NamedTuple

import jax
import numpy as np
import optax
from jax import random

import vae_jax as vj
from benchmarks.task import Task, pixels
from vae_jax import placement


class Hyper(NamedTuple):
    lr: float
    beta: float = 1.0


NETWORKS = {
    'mlp': lambda hidden: (vj.mlp_encoder((hidden,)), vj.mlp_decoder((hidden,))),
    'conv': lambda channels, dense: (vj.conv_encoder(channels, dense), vj.conv_decoder(channels[::-1], dense)),
}
WAYS = {
    'default': lambda: None,  # which is what a user gets who names none
    'in turn': lambda: placement.in_turn,
    'together': lambda: placement.together,
    'spread together': lambda: placement.spread(placement.together, jax.devices()),
}


def fit(task: Task, lap) -> None:
    """A lap is `steps` steps of each of `runs` members; of a lone run as many as they take together."""
    options = task.options
    if options['devices'] > 1:
        vj.use_host_devices(options['devices'])
    x = pixels(task.rows)[..., None]
    data = vj.data.from_arrays('random', x, test_x=x[:100], levels=256, binarization='dynamic')
    encoder, decoder = NETWORKS[options['kind']](*options['sizes'])
    model = vj.vae(
        encoder, decoder, posterior=vj.Normal, likelihood=vj.Bernoulli, latent=task.latent, like=data.example
    )
    trainer = vj.trainer(model.init, vj.per_example(vj.beta_elbo(model)), lambda hyper: optax.adam(hyper.lr))
    n, steps, key = options['runs'], options['steps'], random.key(0)
    facts = {'parameters': vj.models.parameter_count(model.init(key, data.example))}
    if options['way'] == 'alone':
        steps, hyper = steps * n, Hyper(task.lr)
    else:
        trainer, key = vj.population(trainer, WAYS[options['way']]()), random.split(key, n)
        hyper = Hyper(np.full(n, task.lr, np.float32))

    def track(rows: list[dict]) -> None:
        if rows[0]['step'] % steps == 0:
            lap(loss=float(np.mean([row['train/loss'] for row in rows])))

    size = min(steps, task.rows // task.batch)
    lap(**facts)
    vj.fit(
        trainer, data, hyper, key, steps=2**40, batch=task.batch, chunk=size, log_every=size, track=track, quiet=True
    )

"""`vj.nll` at its defaults, as users call it."""

import jax.numpy as jnp
from jax import random

import vae_jax as vj
from benchmarks.task import Task, pixels
from vae_jax.data.splits import Split, scale


def nll(task: Task, lap) -> None:
    """`task.rows` binary images with `options['k']` samples of each."""
    x = jnp.asarray((pixels(task.rows) > 127)[..., None].astype('uint8'))
    split = Split({'x': x}, 2, scale(2))
    model = vj.vae(vj.mlp_encoder((500,)), vj.mlp_decoder((500,)), latent=task.latent, like=jnp.zeros((28, 28, 1)))
    params = model.init(random.key(0), jnp.zeros((28, 28, 1)))
    facts: dict = {'parameters': vj.models.parameter_count(params)}
    seed = 0
    while True:
        lap(**facts)
        seed += 1
        facts = {'loss': vj.nll(model, params, split, random.key(seed), k=task.options['k']).estimate.mean}

"""The protocol of flax's own VAE example: TrainState, optax.adam, one jitted step, batches of floats from numpy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training.train_state import TrainState
from jax import random

from benchmarks.task import Task, pixels


class Vae(nn.Module):
    latent: int

    def setup(self) -> None:
        self.fc1, self.fc_mean, self.fc_log_var = nn.Dense(500), nn.Dense(self.latent), nn.Dense(self.latent)
        self.fc3, self.fc4 = nn.Dense(500), nn.Dense(784)

    def __call__(self, x, key):
        h = nn.relu(self.fc1(x))
        mean, log_var = self.fc_mean(h), self.fc_log_var(h)
        z = mean + random.normal(key, log_var.shape) * jnp.exp(0.5 * log_var)
        return self.fc4(nn.relu(self.fc3(z))), mean, log_var


@jax.vmap
def cross_entropy(logits, labels):
    logits = nn.log_sigmoid(logits)
    return -jnp.sum(labels * logits + (1.0 - labels) * jnp.log(-jnp.expm1(logits)))


@jax.vmap
def divergence(mean, log_var):
    return -0.5 * jnp.sum(1 + log_var - jnp.square(mean) - jnp.exp(log_var))


@jax.jit
def train_step(state, batch, key):
    def loss(params):
        logits, mean, log_var = state.apply_fn({'params': params}, batch, key)
        return cross_entropy(logits, batch).mean() + divergence(mean, log_var).mean()

    value, grads = jax.value_and_grad(loss)(state.params)
    return state.apply_gradients(grads=grads), value


def vae(task: Task, lap) -> None:
    """784-500-latent-500-784, binarized once, as in its input pipeline."""
    numbers = np.random.default_rng(1)
    grey = pixels(task.rows).reshape(task.rows, -1)
    images = (numbers.random(grey.shape, np.float32) < grey / np.float32(255)).astype(np.float32)
    model, key = Vae(task.latent), random.key(0)
    params = model.init(key, jnp.ones((task.batch, 784)), key)['params']
    state = TrainState.create(apply_fn=model.apply, params=params, tx=optax.adam(task.lr))
    facts = {'parameters': sum(leaf.size for leaf in jax.tree.leaves(params))}
    steps = task.rows // task.batch
    while True:
        lap(**facts)
        order = numbers.permutation(task.rows)
        total = 0.0
        for i in range(steps):
            key, now = random.split(key)
            state, value = train_step(state, images[order[i * task.batch : (i + 1) * task.batch]], now)
            total = total + value
        jax.block_until_ready(state)
        facts = {'loss': float(total) / steps}

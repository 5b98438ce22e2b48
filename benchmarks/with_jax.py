"""The same model as a script: no vmap, no modules, no distributions. What the framework adds to it is its price."""

import jax
import jax.numpy as jnp
import optax
from jax import lax, random

from benchmarks.task import Task, pixels


def init(key, latent):
    sizes = (('a', 784, 500), ('b', 500, 2 * latent), ('c', latent, 500), ('d', 500, 784))
    kernel = jax.nn.initializers.lecun_normal()
    keys = random.split(key, len(sizes))
    return {name: (kernel(k, (n, m)), jnp.zeros(m)) for k, (name, n, m) in zip(keys, sizes)}


def plain_binarize(key, x):
    return random.bernoulli(key, x / 255.0).astype(jnp.float32)


def plain_log_prob(logits, x):
    return jnp.sum(x * logits - jnp.logaddexp(logits, 0.0))


def dense(layer, x):
    return x @ layer[0] + layer[1]


def loss(params, key, x, log_prob):
    mean, log_std = jnp.split(dense(params['b'], jax.nn.relu(dense(params['a'], x))), 2, -1)
    z = mean + jnp.exp(log_std) * random.normal(key, mean.shape)
    logits = dense(params['d'], jax.nn.relu(dense(params['c'], z)))
    distortion = -log_prob(logits, x) / len(x)
    rate = jnp.sum(0.5 * (mean**2 + jnp.exp(2 * log_std) - 1) - log_std) / len(x)
    return distortion + rate, (distortion, rate)


def step(params, opt_state, key, x, lr, log_prob=plain_log_prob):
    (value, terms), grads = jax.value_and_grad(loss, has_aux=True)(params, key, x, log_prob)
    updates, opt_state = optax.adam(lr).update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, (value, terms)


def epoch(params, opt_state, key, rows, lr, batch, binarize=plain_binarize, log_prob=plain_log_prob):
    order = random.permutation(key, len(rows))[: len(rows) // batch * batch].reshape(-1, batch)

    def body(carry, now):
        i, chosen = now
        a, b = random.split(random.fold_in(key, i))
        *carry, metrics = step(*carry, a, binarize(b, rows[chosen]), lr, log_prob)
        return tuple(carry), metrics

    (params, opt_state), (losses, _) = lax.scan(body, (params, opt_state), (jnp.arange(len(order)), order))
    return params, opt_state, losses.mean()


def vae(task: Task, lap, binarize=plain_binarize, log_prob=plain_log_prob) -> None:
    """784-500-latent-500-784, an epoch one program, uint8 on the device."""
    key, rows = random.key(0), jnp.asarray(pixels(task.rows).reshape(task.rows, -1))
    params = init(key, task.latent)
    opt_state = optax.adam(task.lr).init(params)
    run = jax.jit(epoch, static_argnames=('batch', 'binarize', 'log_prob'), donate_argnums=(0, 1))
    facts, done = {'parameters': sum(leaf.size for leaf in jax.tree.leaves(params))}, 0
    while True:
        lap(**facts)
        params, opt_state, value = run(
            params, opt_state, random.fold_in(key, done), rows, task.lr, task.batch, binarize, log_prob
        )
        facts, done = {'loss': float(jax.block_until_ready(value))}, done + 1


def gemm(task: Task, lap) -> None:
    """`options['count']` products of 1024^3 float32."""
    a, b = random.uniform(random.key(0), (2, 1024, 1024))
    product = jax.jit(jnp.matmul)
    while True:
        lap()
        for _ in range(task.options['count']):
            out = product(a, b)
        out.block_until_ready()

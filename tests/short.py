"""A few steps of a trainer on one batch, as one program; and which parts of params a number moves."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random, vmap


def steps(trainer, batch, key, hyper, n=4):
    """(State, metrics [n]) after n steps on the same batch; all metrics are finite."""
    found = jax.jit(lambda key, hyper: _run(trainer, batch, key, hyper, n))(key, hyper)
    assert all(np.all(np.isfinite(values)) for values in found[1].values())
    return found


def _run(trainer, batch, key, hyper, n):
    return lax.scan(lambda state, _: trainer.step(state, batch), trainer.init(key, batch, hyper), length=n)


def assert_a_member_is_its_lone_run(trainer, batch, key, hyper):
    """Of two under vmap, with learning rates lr and 3 lr, the second is what it is alone."""
    keys, pair = random.split(key), jax.tree.map(lambda h: jnp.full(2, h), hyper)
    pair = pair._replace(lr=pair.lr * jnp.array([1.0, 3.0]))
    many, _ = jax.jit(vmap(lambda key, hyper: _run(trainer, batch, key, hyper, 4)))(keys, pair)
    lone, _ = steps(trainer, batch, keys[1], jax.tree.map(lambda h: h[1], pair))
    for a, b in zip(jax.tree.leaves(many.params), jax.tree.leaves(lone.params), strict=True):
        np.testing.assert_allclose(a[1], b, rtol=1e-3, atol=1e-4)


def moved(grads):
    """The parts of params whose gradient is not exactly zero."""
    return {part for part in grads if any(np.any(leaf) for leaf in jax.tree.leaves(grads[part]))}

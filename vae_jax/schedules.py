"""Schedules: step -> a factor of peak one, so that `hyper.lr * shape(step)` stays traced. Step counts are static."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array

Shape = Callable[[Array], Array]


def constant(step: Array) -> Array:
    """1."""
    return jnp.ones(())


def linear_warmup(steps: int) -> Shape:
    """min(1, (step + 1) / steps): the first step is not lost, the `steps`-th is whole. steps = 0 is constant."""
    return (lambda step: jnp.minimum(1.0, (step + 1) / steps)) if steps > 0 else constant


def cosine(steps: int) -> Shape:
    """(1 + cos(pi step / steps)) / 2, then 0."""
    return lambda step: 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(step / steps, 1.0)))


def falling_steps(steps: int, stages: int = 8) -> Shape:
    """10^(-i / (stages - 1)) in stage i, each three times as long as the last (Burda et al. 2015, section 5)."""
    unit = steps / sum(3**i for i in range(stages))
    ends = [unit * sum(3**j for j in range(i + 1)) for i in range(stages - 1)]
    return lambda step: 10.0 ** (-jnp.sum(step >= jnp.asarray(ends)) / (stages - 1))


def on(**shapes: Shape) -> Callable[[Any, Array], Any]:
    """schedule(hyper, step) that multiplies the named fields of hyper by their shapes: on(lr=cosine(1000))."""

    def schedule(hyper: Any, step: Array) -> Any:
        return hyper._replace(**{name: getattr(hyper, name) * shape(step) for name, shape in shapes.items()})

    return schedule

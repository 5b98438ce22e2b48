"""Schedules: step -> a factor of peak one, so that `hyper.lr * shape(step)` stays traced. Step counts are static."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array

from vae_jax.errors import Fault

Shape = Callable[[Array], Array]


def constant(step: Array) -> Array:
    """1."""
    return jnp.ones(())


def linear_warmup(steps: int) -> Shape:
    """min(1, (step + 1) / steps): the first step is not lost, the `steps`-th is whole. steps = 0 is constant."""
    return (lambda step: _share(step, steps)) if steps > 0 else constant


def cosine(steps: int) -> Shape:
    """(1 + cos(pi step / steps)) / 2, then 0."""
    return lambda step: 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(step / steps, 1.0)))


def _share(step: Array, steps: int) -> Array:
    return jnp.minimum(1.0, (step + 1) / steps)


def cosine_warmup(steps: int) -> Shape:
    """(1 - cos(pi (step + 1) / steps)) / 2, then 1. steps = 0 is constant."""
    return (lambda step: 0.5 * (1 - jnp.cos(jnp.pi * _share(step, steps)))) if steps > 0 else constant


def sigmoid_warmup(steps: int, slope: float = 10.0) -> Shape:
    """sigmoid(slope (u - 1/2)), u = (step + 1) / steps, stretched to 0 at u = 0 and 1 at u = 1 (Bowman et al. 2016).

    Then 1. steps = 0 is constant. Raises Fault on a slope of 0 or less.
    """
    if slope <= 0:
        raise Fault(f'a sigmoid of slope {slope} does not rise', 'give a slope above 0')
    whole = math.tanh(slope / 4)
    rising = lambda step: 0.5 * (1 + jnp.tanh(slope / 2 * (_share(step, steps) - 0.5)) / whole)
    return rising if steps > 0 else constant


def cyclic(steps: int, cycles: int = 4, rise: float = 0.5, warmup: Callable[[int], Shape] = linear_warmup) -> Shape:
    """`cycles` times in `steps`: a warm-up over the first share `rise` of a cycle, then 1 (Fu et al. 2019, eq. 6).

    After `steps` it is 1. Raises Fault on less than a step a cycle, and on a rise outside [0, 1].
    """
    if not 0 <= rise <= 1:
        raise Fault(f'a cycle that rises for a share of {rise}', 'give a share of 0 to 1')
    if not 1 <= cycles <= steps:
        raise Fault(f'{cycles} cycles in {steps} steps', 'give 1 cycle or more, and no more than steps')
    period = -(-steps // cycles)
    shape = warmup(round(rise * period))
    return lambda step: jnp.where(step < steps, shape(step % period), 1.0)


def delayed(shape: Shape, steps: int) -> Shape:
    """0 for `steps` steps, then the shape from its beginning."""
    return lambda step: jnp.where(step < steps, 0.0, shape(jnp.maximum(step - steps, 0)))


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

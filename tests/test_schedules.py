"""Shapes of peak one: their values by hand, and hyperparameters that stay traced."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax import schedules
from vae_jax.errors import Fault

STEPS = 20
RISING = {
    'linear': schedules.linear_warmup,
    'cosine': schedules.cosine_warmup,
    'sigmoid': schedules.sigmoid_warmup,
    'steep sigmoid': lambda steps: schedules.sigmoid_warmup(steps, 30.0),
}


class Hyper(NamedTuple):
    lr: float = 1e-3
    beta: float = 2.0


def values(shape, n=2 * STEPS):
    return np.asarray(jax.vmap(shape)(jnp.arange(n)))


@pytest.mark.parametrize('name', RISING)
def test_a_warmup_rises_to_one_and_stays(name):
    found = values(RISING[name](STEPS))
    assert np.all(np.diff(found[:STEPS]) > 0) and 0 < found[0] < 0.2
    np.testing.assert_allclose(found[STEPS - 1 :], 1, rtol=1e-6)
    half = found[STEPS // 2 - 1]
    np.testing.assert_allclose(half, 0.5, atol=1e-6)  # of all of them
    np.testing.assert_allclose(values(RISING[name](0)), 1)


def test_the_formulas():
    u = (np.arange(STEPS) + 1) / STEPS
    np.testing.assert_allclose(values(schedules.cosine_warmup(STEPS), STEPS), (1 - np.cos(np.pi * u)) / 2, rtol=1e-5)
    logistic = lambda a: 1 / (1 + np.exp(-a))
    low, high = logistic(-5.0), logistic(5.0)
    stretched = (logistic(10 * (u - 0.5)) - low) / (high - low)
    np.testing.assert_allclose(values(schedules.sigmoid_warmup(STEPS), STEPS), stretched, rtol=1e-4)


def test_cycles_begin_anew_and_end_at_one():
    found = values(schedules.cyclic(STEPS, cycles=4, rise=0.6))
    np.testing.assert_allclose(found[:STEPS], np.tile([1 / 3, 2 / 3, 1, 1, 1], 4), rtol=1e-6)
    np.testing.assert_allclose(found[STEPS:], 1)
    np.testing.assert_allclose(values(schedules.cyclic(STEPS, 1, 1.0)), values(schedules.linear_warmup(STEPS)))
    np.testing.assert_allclose(values(schedules.cyclic(STEPS, 4, 0.0)), 1)
    cosine = values(schedules.cyclic(STEPS, 2, 1.0, schedules.cosine_warmup))
    np.testing.assert_allclose(cosine[:10], values(schedules.cosine_warmup(10), 10), rtol=1e-6)
    np.testing.assert_allclose(cosine[10:20], cosine[:10], rtol=1e-6)


def test_a_delay_comes_first():
    found = values(schedules.delayed(schedules.linear_warmup(10), 5))
    np.testing.assert_allclose(found[:5], 0)
    np.testing.assert_allclose(found[5:], values(schedules.linear_warmup(10), 35))


def test_hyperparameters_stay_traced():
    traces = []
    schedule = schedules.on(beta=schedules.cyclic(STEPS), lr=schedules.delayed(schedules.sigmoid_warmup(STEPS), 3))

    @jax.jit
    def now(hyper, step):
        traces.append(1)
        return schedule(hyper, step)

    for beta in (1.0, 3.0):
        for step in (0, 7):
            found = now(Hyper(beta=jnp.float32(beta), lr=jnp.float32(0.1)), jnp.int32(step))
            np.testing.assert_allclose(found.beta, beta * schedules.cyclic(STEPS)(step), rtol=1e-6)
    assert len(traces) == 1
    grad = jax.grad(lambda beta: schedule(Hyper(beta=beta), jnp.int32(0)).beta)(2.0)
    np.testing.assert_allclose(grad, schedules.cyclic(STEPS)(0), rtol=1e-6)


def test_bad_numbers_are_refused():
    for call, said in (
        (lambda: schedules.cyclic(3, 4), '4 cycles in 3 steps'),
        (lambda: schedules.cyclic(8, 0), '0 cycles'),
        (lambda: schedules.cyclic(8, 2, 1.5), 'share'),
        (lambda: schedules.sigmoid_warmup(8, 0.0), 'slope'),
    ):
        with pytest.raises(Fault, match=said):
            call()

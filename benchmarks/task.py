"""What every contestant is given: one description, one set of pixels."""

from typing import NamedTuple

import numpy as np


class Task(NamedTuple):
    """`rows` images of 28 x 28, batches of `batch`, Adam with `lr`; `options` are the contestant's own."""

    rows: int
    batch: int
    lr: float = 1e-3
    latent: int = 20
    options: dict = {}


def pixels(rows: int) -> np.ndarray:
    """u8[rows, 28, 28], uniform and independent: nothing can be learnt, and -ELBO settles at 784 ln 2 = 543.4 nats."""
    return np.random.default_rng(0).integers(0, 256, (rows, 28, 28), dtype=np.uint8)

"""The smallest experiment, with checkpoints as often as they cost little: for tests that kill it in the middle."""

from typing import Any

from tests import tiny
from vae_jax import cli
from vae_jax.experiment import Experiment


def build(config: Any) -> Experiment:
    made = tiny.build(config)
    return made._replace(fit={**made.fit, 'save_seconds': 0.0})


if __name__ == '__main__':
    cli.main(tiny.Config, build, metric=('test_elbo', 'max'))

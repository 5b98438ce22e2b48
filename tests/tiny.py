"""The smallest experiment.

Claim     Everything the command line promises holds for it.
"""

import os
import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

from vae_jax import cli
from vae_jax.config import Range, RunFlags
from vae_jax.experiment import Experiment


class Hyper(NamedTuple):
    lr: Annotated[float, Range(above=0)] = 1e-2
    """learning rate"""
    beta: float = 1.0


@dataclass(frozen=True)
class Config:
    """Trains the small model of the tests."""

    steps: Annotated[int, Range(0)] = 60
    """of training"""
    batch: Annotated[int, Range(1)] = 16
    fault: Literal['none', 'defect', 'memory', 'disk', 'package'] = 'none'
    """what goes wrong in build"""
    hyper: Hyper = Hyper()
    run: RunFlags = RunFlags()


FAULTS = {
    'defect': ZeroDivisionError('two\nlines'),
    'memory': MemoryError(),
    'disk': OSError(28, 'No space left on device'),
    'package': ModuleNotFoundError("No module named 'absent'", name='absent'),
}


def build(config: Config) -> Experiment:
    from tests import small

    if config.fault != 'none':
        raise FAULTS[config.fault]

    def validate(params: Any, key: Any) -> dict[str, float]:
        time.sleep(float(os.environ.get('SLOW_TRAINING', '0')))
        return small.validate(params, key)

    def evaluate(params: Any, key: Any, quiet: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        import numpy as np

        if 'SLOW_EVALUATION' in os.environ:
            print('evaluating', flush=True)
            time.sleep(60)
        found = small.vj.elbo_estimate(small.MODEL, params, small.DATA.test, key)
        values = found.elbo.values
        return {'test_elbo': found.elbo.mean, 'units': {'test_elbo': 'nats'}}, {
            'index': np.arange(len(values)),
            'elbo': values,
        }

    def figures(directory: Any, params: Any, key: Any, metrics: list, result: Any, config: Any) -> Any:
        (directory / 'report.html').write_text('<p>report</p>')
        return directory / 'report.html'

    return Experiment(
        trainer=small.TRAINER,
        data=small.DATA,
        hyper=config.hyper,
        model=small.MODEL,
        batch=config.batch,
        steps=config.steps,
        fit={'validate': validate, 'validate_every': 4, 'chunk': 4},
        evaluate=evaluate,
        figures=figures,
        summary=lambda result: f'test ELBO {result["test_elbo"]:.3f} nats',
    )


if __name__ == '__main__':
    cli.main(Config, build, metric=('test_elbo', 'max'))

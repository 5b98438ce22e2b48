"""Hierarchies of latents: two layers stacked, a ladder, a residual top-down path, against one flat layer.

Claim     On digits every hierarchy has a lower -log p(x) than one flat layer, a residual top-down path the lowest, by
          0.6 nats, and it uses both of its layers. Stacked layers put most of the rate into the lower one. A ladder,
          which Sonderby et al. (2016, figure 3) saw use its layers, here puts all of it into the top one.
Command   python -m experiments.ladder --sweep.model flat stacked ladder top_down --seeds 5
          python -m experiments.ladder --model ladder --free 0.5 --dataset binarized_mnist --data-dir DIR
Expected  -log p(x), five seeds, 95 % t intervals: top_down 21.91 +- 0.03, ladder 22.34 +- 0.12, stacked 22.40 +- 0.04,
          flat 22.51 +- 0.02; rates of the top and the lower layer 2.96, 2.11; 4.17, 0.00; 1.53, 4.77
Time      about 6 minutes on two CPU cores for the sweep on digits
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

from vae_jax.config import Range, RunFlags
from vae_jax.errors import Fault
from vae_jax.experiment import Experiment

VERSION = 1


class Hyper(NamedTuple):
    lr: Annotated[float, Range(above=0)] = 1e-3
    """learning rate"""
    beta: Annotated[float, Range(0)] = 1.0
    """weight of the rates"""
    free: Annotated[float, Range(0)] = 0.0
    """nats of each layer that cost nothing"""


@dataclass(frozen=True)
class Config:
    """Train a hierarchy of latents, and tell the rate of each layer."""

    dataset: str = 'digits'
    model: Literal['flat', 'stacked', 'ladder', 'top_down'] = 'ladder'
    latents: tuple[Annotated[int, Range(1)], ...] = (8, 16)
    """sizes of the layers, the top first; flat: the last alone"""
    hidden: Annotated[int, Range(1)] = 256
    warmup: Annotated[int, Range(0)] = 0
    """steps over which beta rises from 0"""
    batch_size: Annotated[int, Range(2)] = 128
    steps: Annotated[int, Range(0)] = 5000
    test_k: Annotated[int, Range(1)] = 1000
    """importance samples an image for the final -log p(x)"""
    hyper: Hyper = Hyper()
    run: RunFlags = RunFlags()

    def __post_init__(self) -> None:
        """Raises Fault where there is nothing to stack."""
        if self.model != 'flat' and len(self.latents) < 2:
            raise Fault(f'--model {self.model} has layers, and --latents is {self.latents}', 'give two sizes or more')


def model_of(config: Config, like: Any) -> Any:
    """The model: dense networks with one hidden layer between any two layers of latents."""
    import vae_jax as vj
    from vae_jax import models

    count = len(config.latents)
    encoder, decoder = vj.mlp_encoder((config.hidden,)), vj.mlp_decoder((config.hidden,))

    def stacked() -> Any:
        import jax.numpy as jnp

        *above, last = config.latents
        bounded = vj.bounded_normal(-2.0, 1.0)  # unbounded scales start with rates of millions of nats
        model: Any = None
        for size, below in zip(above, [*above[1:], last]):
            upper = vj.vae(encoder, decoder, latent=size, like=jnp.zeros(below), likelihood=bounded)
            model = upper if model is None else models.stacked(upper, model)
        return models.stacked(vj.vae(encoder, decoder, latent=last, like=like), model)

    options: dict[str, Any] = {'latents': config.latents, 'like': like}
    return {
        'flat': lambda: vj.vae(encoder, decoder, latent=config.latents[-1], like=like),
        'stacked': stacked,
        'ladder': lambda: models.ladder([encoder] * count, [decoder] * count, **options),
        'top_down': lambda: models.top_down(
            [encoder] * count, [encoder] * count, decoder, state=(config.hidden,), **options
        ),
    }[config.model]()


def build(config: Config) -> Experiment:
    """The experiment of a configuration."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    import vae_jax as vj
    from experiments import common
    from vae_jax import evaluation, losses, schedules
    from vae_jax.distributions.chain import layered_kl
    from vae_jax.models.layers import layer_rates

    data = common.data_of(config.dataset, config.run)
    model = model_of(config, data.example)
    steps, test_k = (20, 50) if config.run.smoke else (config.steps, config.test_k)
    kl = vj.closed_form if config.model == 'flat' else layered_kl
    told = common.evaluator(model, data, test_k, kl=kl)

    @jax.jit
    def rates(params: Any, xs: Any, keys: Any) -> Any:
        return jax.vmap(lambda x, key: layer_rates(model, params, key, x))(xs, keys).mean(0)

    def evaluate(params: Any, key: Any, quiet: bool) -> Any:
        result, arrays = told(params, key, quiet)
        xs = evaluation.view_rows(data.test, key, np.arange(min(len(data.test), 2000)))
        found = rates(params, xs, jax.random.split(key, len(xs)))
        return result | {f'rate_{i + 1}': float(jnp.asarray(rate)) for i, rate in enumerate(found)}, arrays

    return Experiment(
        trainer=vj.trainer(
            model.init,
            vj.per_example(losses.objectives.free_bits_layers(model)),
            lambda hyper: optax.adam(hyper.lr),
            schedule=schedules.on(beta=schedules.linear_warmup(config.warmup)),
        ),
        data=data,
        hyper=config.hyper,
        model=model,
        batch=min(config.batch_size, len(data.train)),
        steps=steps,
        fit={},
        evaluate=evaluate,
        figures=common.reporter(model, data, common.command('experiments.ladder', config)),
        summary=common.summary,
    )


if __name__ == '__main__':
    from vae_jax import cli

    cli.main(Config, build, name='ladder', version=VERSION, metric=('test_nll', 'min'))

"""A deep convolutional ladder on static MNIST: layers of latents, 7x7 and 14x14, on one residual top-down path.

Claim     At the size that two cores train in an hour, four layers of local latents stay behind dense networks with a
          VampPrior (experiments/vampprior.py: 86.8). What is missing is a latent for the whole image, depth, and
          steps: no GPU was at hand to look.
Command   python -m experiments.deep_ladder --data-dir DIR --seeds 3
          python -m vae_jax evaluate RUN --member 0 --metrics nll ais --start posterior --images 100
Expected  static MNIST, three seeds, 95 % t intervals: test -ELBO 95.5 +- 1.3, -log p(x) 91.7 +- 1.1 with 50 samples an
          image, of which 3.7 are effective: a loose bound
Time      64 minutes of training for three seeds of 15 epochs on two CPU cores that others were using
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from vae_jax.config import Range, RunFlags
from vae_jax.experiment import Experiment

VERSION = 1


class Hyper(NamedTuple):
    lr: Annotated[float, Range(above=0)] = 1.5e-3
    """learning rate, which falls to 0 by a cosine"""
    beta: Annotated[float, Range(0)] = 1.0
    """weight of the rates"""
    free: Annotated[float, Range(0)] = 0.0
    """nats of each layer that cost nothing"""


@dataclass(frozen=True)
class Config:
    """Train a deep convolutional ladder."""

    dataset: str = 'binarized_mnist'
    coarse: Annotated[int, Range(1)] = 3
    """layers of latents at a quarter of the image's side"""
    fine: Annotated[int, Range(1)] = 1
    """layers of latents at half of it"""
    latents: tuple[Annotated[int, Range(1)], Annotated[int, Range(1)]] = (4, 2)
    """channels of a latent: coarse, fine"""
    channels: Annotated[int, Range(2)] = 32
    blocks: Annotated[int, Range(0)] = 1
    """residual blocks a layer, on each of both paths"""
    warmup: Annotated[int, Range(0)] = 1500
    """steps over which beta rises from 0"""
    ema: Annotated[float, Range(0, below=1)] = 0.998
    """decay of the average of the parameters over steps, which is what is evaluated"""
    batch_size: Annotated[int, Range(1)] = 64
    steps: Annotated[int, Range(0)] = 12_000
    test_k: Annotated[int, Range(1)] = 50
    """importance samples an image for the final -log p(x)"""
    hyper: Hyper = Hyper()
    run: RunFlags = RunFlags()


def model_of(config: Config, data: Any) -> Any:
    """The model: `coarse` + `fine` layers, each with a stage of the path up and one of the path down."""
    import jax.numpy as jnp

    import vae_jax as vj
    from vae_jax import losses, models
    from vae_jax.data import mean
    from vae_jax.networks import conv_output, conv_stage

    c, blocks, coarse, fine = config.channels, config.blocks, config.coarse, config.fine
    stage, halve = conv_stage(c, blocks), conv_stage(c, blocks, halvings=1)
    double = conv_stage(c, blocks, doublings=1)
    prior, posterior = vj.bounded_normal(-2.0, 2.0), vj.bounded_normal(-3.0, 3.0)  # unbounded, the layers overflow
    side = data.example.shape[0]
    quarter = -(-side // 4)
    return models.top_down(
        [halve, *[stage] * (fine - 1), halve, *[stage] * (coarse - 1)],
        [*[stage] * (coarse - 1), double, *[stage] * fine],
        conv_output(c, blocks),
        latents=[config.latents[0]] * coarse + [config.latents[1]] * fine,
        state=(quarter, quarter, c),
        like=data.example,
        posterior=posterior,
        prior=prior,
        output_bias=losses.logit(jnp.clip(mean(data.train), 1e-3, 1 - 1e-3)).reshape(data.example.shape),
    )


def build(config: Config) -> Experiment:
    """The experiment of a configuration."""
    import optax

    import vae_jax as vj
    from experiments import common
    from vae_jax import losses, schedules, training
    from vae_jax.distributions.chain import layered_kl

    data = common.data_of(config.dataset, config.run)
    steps, test_k = (20, 20) if config.run.smoke else (config.steps, config.test_k)
    model = model_of(config, data)
    trainer = vj.trainer(
        model.init,
        vj.per_example(losses.objectives.free_bits_layers(model)),
        training.clipped(lambda hyper: optax.adam(hyper.lr), 200.0),  # early rates of thousands of nats
        schedule=schedules.on(lr=schedules.cosine(max(steps, 1)), beta=schedules.linear_warmup(config.warmup)),
    )
    validate = common.validator(model, data, layered_kl)
    evaluate = common.evaluator(model, data, test_k, kl=layered_kl)
    return Experiment(
        trainer=training.averaged(trainer, config.ema),
        data=data,
        hyper=config.hyper,
        model=model,
        batch=min(config.batch_size, len(data.train)),
        steps=steps,
        fit={'validate': validate, 'validate_some': validate},
        evaluate=evaluate,
        evaluate_some=evaluate,
        figures=common.reporter(model, data, common.command('experiments.deep_ladder', config)),
        summary=common.summary,
    )


if __name__ == '__main__':
    from vae_jax import cli

    cli.main(Config, build, name='deep_ladder', version=VERSION, metric=('test_nll', 'min'))

"""beta-VAE and capacity annealing on sprites: what a nat of rate buys.

Claim     A larger beta lowers the rate and the total correlation and raises the distortion (Higgins et al. 2017);
          capacity annealing leads the rate to its target (Burgess et al. 2018, eq. 8).
Command   python -m experiments.beta --sweep.beta 1 4 16 --seeds 3
          python -m experiments.beta --weigh capacity --sweep.capacity 5 10 --seeds 3
Expected  beta 1 / 4 / 16, means of three seeds and 95 % t intervals: rate 13.4 [11.3, 15.5] / 6.9 [6.2, 7.7] / 3.23
          [3.18, 3.29] nats, distortion 36.3 [31.1, 41.5] / 53.3 [49.9, 56.8] / 81.3 [79.4, 83.2], total correlation
          3.5 [2.2, 4.9] / 0.8 [0.5, 1.2] / 0.05 [-0.04, 0.14]. Capacity 5 / 10: rate 5.1 [4.7, 5.6] / 10.0 [9.2, 10.8].
          MIG 0.05 / 0.07 / 0.21: beta 16 less 1, seed by seed, is 0.16 [-0.07, 0.38], so three seeds do not settle it.
Time      nine runs: 4 to 5 minutes of training on one core that others were using, and evaluation; device: CPU
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

from vae_jax.config import Range, RunFlags
from vae_jax.experiment import Experiment

VERSION = 1


class Hyper(NamedTuple):
    lr: Annotated[float, Range(above=0)] = 1e-3
    """learning rate"""
    beta: Annotated[float, Range(0)] = 1.0
    """weight of the rate; --weigh beta"""
    capacity: Annotated[float, Range(0)] = 10.0
    """nats that the rate is led to; --weigh capacity"""
    gamma: Annotated[float, Range(0)] = 30.0
    """weight of the distance from the capacity; --weigh capacity"""


@dataclass(frozen=True)
class Config:
    """Train a VAE on data with known factors, and tell rate, distortion and the mutual information gap."""

    dataset: str = 'sprites'
    weigh: Literal['beta', 'capacity'] = 'beta'
    """what the rate costs: beta times itself, or gamma times its distance from a capacity that rises from 0"""
    rising: Annotated[float, Range(0, 1)] = 0.5
    """part of the steps in which the capacity rises"""
    network: Literal['mlp', 'gated', 'conv'] = 'mlp'
    latent: Annotated[int, Range(2)] = 10
    hidden: Annotated[int, Range(1)] = 256
    batch_size: Annotated[int, Range(2)] = 64
    steps: Annotated[int, Range(0)] = 2500
    test_k: Annotated[int, Range(1)] = 64
    """importance samples an image for the final -log p(x)"""
    hyper: Hyper = Hyper()
    run: RunFlags = RunFlags()


def model_of(config: Any, data: Any) -> Any:
    """p(z) p(x|z) and q(z|x) of binary images."""
    import vae_jax as vj

    h = config.hidden
    encoder, decoder = {
        'mlp': lambda: (vj.networks.mlp_encoder((h, h)), vj.networks.mlp_decoder((h, h))),
        'gated': lambda: (vj.networks.gated_mlp_encoder((h, h)), vj.networks.gated_mlp_decoder((h, h))),
        'conv': lambda: (vj.conv_encoder((32, 32, 64), h), vj.conv_decoder((64, 32, 32), h)),
    }[config.network]()
    return vj.vae(encoder, decoder, latent=config.latent, like=data.example, likelihood=vj.Bernoulli)


def by_factors(data: Any) -> Any:
    """told(codes, key): the gap of every factor, and what the rate is spent on."""
    from vae_jax.data import CATALOGUE
    from vae_jax.disentanglement import mutual_information_gap
    from vae_jax.evaluation import spent

    def told(codes: Any, key: Any) -> dict[str, float]:
        gap = mutual_information_gap(codes['mean'], {name: codes[name] for name in CATALOGUE[data.name].factors})
        each = {f'mig_{name}': value for name, value in gap.each.items()}
        parts = spent(codes['mean'], codes['log_std'], key)._asdict()
        return {'mig': gap.mean, **each, **parts}

    return told


def finished(config: Any, name: str, parts: tuple, steps: int, schedule: Any, of_codes: Any) -> Experiment:
    """The experiment of (model, data, loss): Adam, the last parameters; test ELBO and NLL, and what the codes tell."""
    import optax

    import vae_jax as vj
    from experiments import common

    model, data, loss = parts
    test = common.evaluator(model, data, min(config.test_k, 8) if config.run.smoke else config.test_k)

    def evaluate(params: Any, key: Any, quiet: bool) -> Any:
        result, examples = test(params, key, quiet)
        return result | of_codes(vj.encode(model, params, data.train, key, quiet), key), examples

    return Experiment(
        trainer=vj.trainer(model.init, loss, lambda hyper: optax.adam(hyper.lr), schedule=schedule),
        data=data,
        hyper=config.hyper,
        model=model,
        batch=min(config.batch_size, len(data.train)),
        steps=steps,
        fit={},
        evaluate=evaluate,
        figures=common.reporter(model, data, common.command(name, config)),
        summary=lambda result: (
            f'{common.summary(result)}\n{result["active_units"]:.0f} of {config.latent} units active'
        ),
    )


def build(config: Config) -> Experiment:
    """The experiment of a configuration."""
    from experiments import common
    from vae_jax import losses, schedules

    data = common.data_of(config.dataset, config.run)
    steps = min(config.steps, 20) if config.run.smoke else config.steps
    model = model_of(config, data)
    weigh = {'beta': losses.beta, 'capacity': losses.capacity}[config.weigh]
    schedule = schedules.on(capacity=schedules.linear_warmup(round(config.rising * steps)))
    parts = model, data, losses.coded(model, weigh)
    return finished(config, 'experiments.beta', parts, steps, schedule, by_factors(data))


if __name__ == '__main__':
    from vae_jax import cli

    cli.main(Config, build, name='beta', version=VERSION, metric=('mig', 'max'))

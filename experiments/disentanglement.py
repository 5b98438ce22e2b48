"""Five ways to disentangle, at three strengths, on sprites: does the method matter more than strength and seed?

Claim     Seed and strength matter more than the method (Locatello et al. 2019): seen in 11 of 13 scores, not in those
          of how well factors are told. Runs of a lower -log p(x) have the lower InfoE, IRS, InfoC, MIG and DCI C.
Command   python -m experiments.disentanglement --sweep.method beta tc factor dip capacity --sweep.strength 1 2 3 \\
              --seeds 5
          python -m experiments.disentangled RUN; python -m experiments.disentangled        (table, figures, page)
Expected  shares of the variance over 75 runs of method, strength, seed (of noise alone 0.05, 0.14, 0.81): MIG 0.27,
          0.22, 0.51; FactorVAE score 0.14, 0.20, 0.66; DCI D 0.32, 0.28, 0.40; InfoM 0.08, 0.32, 0.60; DCI I 0.58,
          0.12, 0.30; -log p(x) 0.54, 0.43, 0.04. The highest MIG, of beta 8, is 0.28 [0.13, 0.43], and 14 of 14 others
          cannot be told from it. Rank correlations: MIG with SAP 0.93, with -log p(x) 0.57; of means with samples 0.97.
          All in experiments/results/disentanglement.json and experiments/README.md.
Time      75 runs of 14,000 steps: 37 minutes of training and 8 of evaluation on one CPU core that others were using
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

from vae_jax.config import Range, RunFlags
from vae_jax.experiment import Experiment

VERSION = 1
STRENGTHS = {
    'beta': (2.0, 4.0, 8.0),  # weight of the rate (Higgins et al. 2017)
    'tc': (2.0, 4.0, 8.0),  # weight of the total correlation, minibatch-weighted (Chen et al. 2018)
    'factor': (2.0, 8.0, 32.0),  # weight of the total correlation beside the rate, by a critic (Kim & Mnih 2018)
    'dip': (2.0, 10.0, 50.0),  # both weights of DIP-VAE II (Kumar et al. 2018)
    'capacity': (12.0, 8.0, 4.0),  # nats that the rate is led to, from 0, at gamma = 100 (Burgess et al. 2018)
}
"""What strength 1, 2 and 3 mean for each method; in between, linearly in between."""


class Hyper(NamedTuple):
    lr: Annotated[float, Range(above=0)] = 1e-3
    """learning rate"""
    strength: Annotated[float, Range(1, 3)] = 2.0
    """1 weak, 2 medium, 3 strong"""


class Weights(NamedTuple):
    """Hyper as the losses read it, at one step."""

    lr: Any
    beta: Any = 1.0
    tc: Any = 1.0
    gamma: Any = 0.0
    off: Any = 0.0
    on: Any = 0.0
    capacity: Any = 0.0


@dataclass(frozen=True)
class Config:
    """Train a VAE on sprites by a method and its strength, and score its codes by every metric."""

    dataset: str = 'sprites'
    method: Literal['beta', 'tc', 'factor', 'dip', 'capacity'] = 'beta'
    """beta-VAE, beta-TCVAE, FactorVAE, DIP-VAE II, annealed capacity"""
    network: Literal['mlp', 'gated', 'conv'] = 'mlp'
    latent: Annotated[int, Range(2)] = 10
    hidden: Annotated[int, Range(1)] = 128
    batch_size: Annotated[int, Range(2)] = 64
    steps: Annotated[int, Range(0)] = 14_000
    rows: Annotated[int, Range(100)] = 5000
    """training rows that the metrics read"""
    test_k: Annotated[int, Range(1)] = 32
    """importance samples an image for the final -log p(x)"""
    hyper: Hyper = Hyper()
    run: RunFlags = RunFlags()


def weights_of(method: str, steps: int) -> Any:
    """schedule(hyper, step) -> Weights: the strength as the method's weight; a capacity rises in the first half."""
    import jax.numpy as jnp

    from vae_jax import schedules

    rise = schedules.linear_warmup(steps // 2)
    fields = {
        'beta': lambda w, step: {'beta': w},
        'tc': lambda w, step: {'tc': w},
        'factor': lambda w, step: {'gamma': w},
        'dip': lambda w, step: {'off': w, 'on': w},
        'capacity': lambda w, step: {'gamma': 100.0, 'capacity': w * rise(step)},
    }[method]

    def schedule(hyper: Hyper, step: Any) -> Weights:
        w = jnp.interp(hyper.strength, jnp.array([1.0, 2.0, 3.0]), jnp.array(STRENGTHS[method]))
        return Weights(hyper.lr, **fields(w, step))

    return schedule


def model_and_loss(config: Config, data: Any) -> tuple[Any, Any]:
    """The model, with a critic where the method has one, and what trains it."""
    import jax

    import vae_jax as vj
    from experiments import beta
    from vae_jax import losses
    from vae_jax.losses import adversarial as adv

    model = beta.model_of(config, data)
    judge = adv.critic(vj.mlp_encoder((config.hidden, config.hidden), lambda x: jax.nn.leaky_relu(x, 0.2)))
    n = len(data.train)
    return {
        'beta': lambda: (model, losses.coded(model)),
        'tc': lambda: (model, losses.coded(model, losses.beta, losses.total_correlation(n))),
        'factor': lambda: (adv.with_critic(model, judge), adv.factor_vae(model, judge)),
        'dip': lambda: (model, losses.coded(model, losses.beta, losses.dip(1.0))),
        'capacity': lambda: (model, losses.coded(model, losses.capacity)),
    }[config.method]()


def of_codes(data: Any, rows: int) -> Any:
    """told(codes, key): every metric of means; MIG of samples, and the total correlations of both."""
    from vae_jax.data import CATALOGUE

    names = CATALOGUE[data.name].factors

    def told(codes: Any, key: Any) -> dict[str, float]:
        import jax
        import numpy as np

        from vae_jax import disentanglement as dis
        from vae_jax.evaluation import spent

        codes = {name: np.asarray(column[:rows]) for name, column in codes.items()}
        factors = {name: codes[name] for name in names}
        a, b, c = jax.random.split(key, 3)
        noise = np.asarray(jax.random.normal(a, codes['mean'].shape))
        samples = codes['mean'] + np.exp(codes['log_std']) * noise
        found = dis.all_scores(codes['mean'], factors, b)
        each = {f'mig_{name}': value for name, value in found['mig'].each.items()}
        return {
            **{name: score.value for name, score in found.items()},
            **each,
            'mig_of_samples': dis.mutual_information_gap(samples, factors).mean,
            'sap_of_samples': dis.sap(samples, factors, b).value,
            'tc_of_means': dis.gaussian_total_correlation(codes['mean']),
            'tc_of_samples': dis.gaussian_total_correlation(samples),
            **spent(codes['mean'], codes['log_std'], c)._asdict(),
        }

    return told


def build(config: Config) -> Experiment:
    """The experiment of a configuration."""
    from experiments import beta, common

    data = common.data_of(config.dataset, config.run)
    steps = min(config.steps, 20) if config.run.smoke else config.steps
    model, loss = model_and_loss(config, data)
    told = of_codes(data, config.rows)
    name, schedule = 'experiments.disentanglement', weights_of(config.method, steps)
    return beta.finished(config, name, (model, data, loss), steps, schedule, told)


if __name__ == '__main__':
    from vae_jax import cli

    cli.main(Config, build, name='disentanglement', version=VERSION, metric=('mig', 'max'))

"""Critics beside a VAE: FactorVAE, the adversarial autoencoder, VAE-GAN, GAN and WGAN-GP on one trainer.

Claim     FactorVAE costs a nat of -log p(x) for a lower total correlation: as its critic has it, over the last 500
          steps, 0.29 +- 0.06 nats against 0.86 +- 0.09 with --gamma 0. A critic of codes instead of the rate (aae)
          draws samples at least as near to the data, with a posterior that is no use for -log p(x).
          Critics of pictures, this small and this short, draw worse samples than any of these.
Command   python -m experiments.adversarial --sweep.objective factor gan vae aae vae_gan --seeds 3
Expected  digits, 2,000 steps, 3 seeds, 95 % t intervals; -log p(x) in nats (100 samples), MMD of 1,000 samples to
          the test split, where 1,000 training rows have 0.092:
          vae 86.19 +- 0.29, 0.175 +- 0.044; factor 87.03 +- 0.42, 0.205 +- 0.055; aae 137.8 +- 1.8, 0.154 +- 0.008;
          vae_gan 0.49 +- 0.11; gan 0.38 +- 0.10
Time      75 s of processor for all fifteen runs; one core of a machine that others were using (5 minutes by the clock)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

from vae_jax.config import Range, RunFlags
from vae_jax.experiment import Experiment

VERSION = 1
OF_CODES = ('vae', 'factor', 'aae')


class Hyper(NamedTuple):
    lr: Annotated[float, Range(above=0)] = 1e-3
    """learning rate, of the critic too"""
    beta: Annotated[float, Range(0)] = 1.0
    """weight of the rate"""
    gamma: Annotated[float, Range(0)] = 5.0
    """factor: weight of the total correlation"""
    adversary: Annotated[float, Range(0)] = 5.0
    """aae and vae_gan: weight of the play against the critic"""
    smooth: Annotated[float, Range(0)] = 10.0
    """wgan: weight of the gradient penalty"""


@dataclass(frozen=True)
class Config:
    """Train a model with a critic on grey pixels."""

    dataset: str = 'digits'
    """digits, frey_faces, mnist, fashion_mnist: grey pixels"""
    objective: Literal['vae', 'factor', 'aae', 'vae_gan', 'gan', 'wgan'] = 'factor'
    turns: Annotated[int, Range(1)] = 1
    """steps of the critic before each of the generator, of gan and wgan"""
    latent: Annotated[int, Range(1)] = 10
    """dimensions of z"""
    hidden: tuple[Annotated[int, Range(1)], ...] = (128,)
    """hidden layers of encoder and critic, reversed in the decoder"""
    batch_size: Annotated[int, Range(1)] = 128
    steps: Annotated[int, Range(0)] = 2000
    test_k: Annotated[int, Range(1)] = 100
    """importance samples an image for -log p(x), where there are a likelihood and a posterior"""
    hyper: Hyper = Hyper()
    run: RunFlags = RunFlags()


def load_data(config: Config) -> Any:
    """Grey pixels in [0, 1]; a stand-in under --smoke where there are none."""
    from experiments import common

    return common.data_of(config.dataset, config.run, binarization='none')


def model_and_loss(config: Config, data: Any) -> tuple[Any, Any]:
    """The model with its critic, and what trains both."""
    import jax

    import vae_jax as vj
    from vae_jax import losses
    from vae_jax.distributions import Delta, Family, discretized_logistic
    from vae_jax.losses import adversarial as adv

    leaky = lambda x: jax.nn.leaky_relu(x, 0.2)
    encoder, decoder = vj.mlp_encoder(config.hidden), vj.mlp_decoder(config.hidden[::-1])
    pixels = Family(1, lambda f: Delta(jax.nn.sigmoid(f[..., 0])), lambda x: (x >= 0) & (x <= 1), '0 to 1')
    judge = adv.critic(vj.mlp_encoder(config.hidden, leaky))
    family = discretized_logistic(data.train.levels) if config.objective in OF_CODES else pixels
    if config.objective in ('gan', 'wgan'):
        base = adv.generator(decoder, latent=config.latent, like=data.example, likelihood=pixels)
    else:
        base = vj.vae(encoder, decoder, latent=config.latent, like=data.example, likelihood=family)
    model = adv.with_critic(base, judge, adv.a_code if config.objective in OF_CODES else adv.the_data)
    made = {
        'vae': lambda: (base, losses.per_example(losses.beta_elbo(base))),
        'factor': lambda: (model, adv.factor_vae(model, judge)),
        'aae': lambda: (model, adv.adversarial_autoencoder(model, judge)),
        'vae_gan': lambda: (model, adv.vae_gan(model, judge)),
        'gan': lambda: (model, adv.gan(model, judge)),
        'wgan': lambda: (model, adv.gan(model, judge, adv.wasserstein)),
    }
    return made[config.objective]()


def trainer_of(config: Config, model: Any, loss: Any) -> Any:
    """Adam; of gan and wgan one for each player, with less momentum, in turns."""
    from functools import partial

    import optax

    import vae_jax as vj
    from vae_jax.training.turns import alternating, only

    make = partial(vj.trainer, model.init, loss)
    if config.objective not in ('gan', 'wgan'):
        return make(lambda hyper: optax.adam(hyper.lr))
    calm = lambda hyper: optax.adam(hyper.lr, b1=0.5)
    return alternating(make(only(calm, 'critic')), make(vj.freeze(calm, 'critic')), config.turns)


def kernel_distance(a: Any, b: Any) -> float:
    """sqrt of the biased MMD^2 of a [n, d] and b [m, d]; Gaussian kernels of 1/4 to 4 times b's median distance."""
    import numpy as np
    from scipy.spatial.distance import cdist

    base = np.median(cdist(b, b)) ** 2
    kernel = lambda a, b: sum(np.exp(-cdist(a, b, 'sqeuclidean') / (2 * s * base)) for s in (1 / 16, 1 / 4, 1, 4, 16))
    square = kernel(a, a).mean() + kernel(b, b).mean() - 2 * kernel(a, b).mean()
    return float(np.sqrt(max(square, 0.0)))


def evaluator(config: Config, model: Any, data: Any, notes: list[str]) -> Callable[..., Any]:
    """evaluate: MMD of samples to the test split, and of as many training rows; ELBO and NLL where they exist."""
    from experiments import common

    likelihood = common.evaluator(model, data, 20 if config.run.smoke else config.test_k, notes)

    def evaluate(params: Any, key: Any, quiet: bool) -> Any:
        import jax
        import numpy as np

        import vae_jax as vj
        from vae_jax import evaluation

        a, b, c = jax.random.split(key, 3)
        flat = lambda xs: np.asarray(xs, np.float64).reshape(len(xs), -1)
        count = min(1000, len(data.train))
        test = flat(evaluation.view_rows(data.test, a, np.arange(len(data.test))))
        train = flat(evaluation.view_rows(data.train, b, np.arange(count)))
        found = {
            'test_mmd': kernel_distance(flat(vj.sample(model, params, c, count)), test),
            'train_mmd': kernel_distance(train, test),
        }
        found['mmd_ratio'] = found['test_mmd'] / found['train_mmd']
        if config.objective not in OF_CODES:
            return {**found, **({'notes': notes} if notes else {})}, {'index': np.arange(len(test))}
        result, examples = likelihood(params, key, quiet)
        return {**found, **result}, examples

    return evaluate


def pictures(config: Config, model: Any, data: Any) -> Callable[..., Any]:
    """figures: those of every VAE; of a generator, samples alone."""
    from experiments import common

    command = common.command('experiments.adversarial', config)

    def figures(directory: Any, params: Any, key: Any, metrics: list, result: Any, told: Any) -> Any:
        import numpy as np

        import vae_jax as vj
        from vae_jax import report

        arrays = {'samples': np.asarray(vj.sample_means(model, params, key, 64))}
        title = f'{config.objective} on {data.name}'
        return report.run_report(
            directory, title=title, result=result, metrics=metrics, arrays=arrays, config=told, command=command
        )

    return figures if config.objective in ('gan', 'wgan') else common.reporter(model, data, command)


def summary(result: Any) -> str:
    """The distances, and the likelihood where there is one."""
    from experiments import common

    line = f'MMD to the test split: samples {result["test_mmd"]:.4f}, training rows {result["train_mmd"]:.4f}'
    return f'{line}\n{common.summary(result)}' if 'test_nll' in result else line


def build(config: Config) -> Experiment:
    """The experiment of a configuration; a game has no loss to select by, so the last parameters are evaluated."""
    data = load_data(config)
    model, loss = model_and_loss(config, data)
    return Experiment(
        trainer=trainer_of(config, model, loss),
        data=data,
        hyper=config.hyper,
        model=model,
        batch=min(config.batch_size, len(data.train)) if config.run.smoke else config.batch_size,
        steps=min(config.steps, 20) if config.run.smoke else config.steps,
        fit={},
        evaluate=evaluator(config, model, data, ['data: stand-in'] if data.stand_in else []),
        figures=pictures(config, model, data),
        summary=summary,
    )


if __name__ == '__main__':
    from vae_jax import cli

    cli.main(Config, build, name='adversarial', version=VERSION, metric=('test_mmd', 'min'))

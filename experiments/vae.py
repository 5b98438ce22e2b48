"""The general VAE: likelihood x posterior x prior x networks x objective on any dataset, chosen by flags.

Claim     One command trains a VAE, keeps the parameters of the lowest validation -ELBO, and states its test ELBO, rate,
          distortion and 5,000-sample importance estimate of -log p(x), each with its standard error.
Command   python -m experiments.vae                                (digits: 1,797 real 8x8 images, no download)
          python -m experiments.vae --dataset mnist --network conv
          python -m experiments.vae --posterior iaf --prior vampprior --objective dreg --k 8 --likelihood logistic
Expected  see experiments/README.md for the digits default and for the MNIST protocols, with time and machine.
"""

import sys
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

from experiments import choices
from vae_jax.config import Range, RunFlags
from vae_jax.errors import Fault
from vae_jax.experiment import Experiment

VERSION = 1


class Hyper(NamedTuple):
    lr: Annotated[float, Range(above=0)] = 1e-3
    """learning rate"""
    beta: Annotated[float, Range(0)] = 1.0
    """weight of the rate; 1 is the ELBO"""
    tc: Annotated[float, Range(0)] = 6.0
    """beta_tc: weight of the total correlation; 1 is the ELBO"""
    free: Annotated[float, Range(0)] = 0.5
    """free_bits: nats that cost nothing, of an example, or of each dimension"""
    gamma: Annotated[float, Range(0)] = 100.0
    """capacity: weight of |rate - capacity|"""
    capacity: Annotated[float, Range(0)] = 25.0
    """capacity: the rate that is aimed at, nats"""
    off: Annotated[float, Range(0)] = 10.0
    """dip: weight of the covariances off the diagonal"""
    on: Annotated[float, Range(0)] = 100.0
    """dip: weight of the variances' distance from 1"""
    mmd: Annotated[float, Range(0)] = 100.0
    """mmd: weight of MMD^2 between the aggregate posterior and the prior; with --beta 0 it is a WAE"""


@dataclass(frozen=True)
class Config:
    """Train and evaluate a variational autoencoder."""

    dataset: str = 'digits'
    """digits, mnist, fashion_mnist, binarized_mnist, omniglot, caltech101_silhouettes, frey_faces, olivetti_faces, or a
    tfds image dataset by name"""
    data: str | None = None
    """your own arrays instead: file.npz (x or image, label, test_x, test_label) or a folder of images"""
    rows: Literal['device', 'disk'] = 'device'
    """of --data: disk leaves training rows there (file.npy, or a folder of images) and brings them a chunk ahead"""
    binarization: Literal['auto', 'static', 'dynamic', 'threshold', 'none'] = 'auto'
    """auto: what the dataset is usually given"""
    validation: Annotated[int | None, Range(0)] = None
    """examples taken from the training split where the dataset has no validation split; None: the catalogue's number"""
    network: Literal['mlp', 'gated', 'conv', 'resnet', 'transformer'] = 'mlp'
    latent: Annotated[int, Range(1)] = 16
    """dimensions of z"""
    hidden: tuple[Annotated[int, Range(1)], ...] = (256,)
    """mlp and gated: layers of the encoder, reversed in the decoder; conv and resnet: the last is their dense layer;
    transformer: the width of each block"""
    channels: tuple[Annotated[int, Range(1)], ...] = (32, 64)
    """conv and resnet: channels of the encoder's halvings, reversed in the decoder"""
    activation: Literal['relu', 'tanh', 'gelu', 'silu'] = 'relu'
    patch: Annotated[int, Range(1)] = 4
    """transformer: the side of a patch of pixels"""
    likelihood: Literal[
        'auto',
        'bernoulli',
        'continuous_bernoulli',
        'soft_bernoulli',
        'normal',
        'shared_normal',
        'laplace',
        'logistic',
        'logistic_mixture',
        'beta_binomial',
        'categorical',
    ] = 'auto'
    """auto: bernoulli for binary x, logistic (discretized) for grey pixels, normal for real numbers"""
    posterior: Literal[
        'normal',
        'full_normal',
        'laplace',
        'planar',
        'coupling',
        'iaf',
        'von_mises_fisher',
        'power_spherical',
        'gumbel_softmax',
        'relaxed_bernoulli',
        'straight_through',
        'categorical',
        'bernoulli',
    ] = 'normal'
    """q(z|x); the last two have no gradient through z: score, vimco, wake_sleep"""
    prior: Literal['natural', 'mixture', 'vampprior', 'maf', 'coupling'] = 'natural'
    """natural: N(0, I), or uniform on the sphere, bits or categories of the posterior"""
    components: Annotated[int, Range(1)] = 50
    """mixture, vampprior: how many"""
    flow_layers: Annotated[int, Range(1)] = 2
    """flows of a posterior or prior, one after the other"""
    flow_hidden: tuple[Annotated[int, Range(1)], ...] = (64,)
    """iaf, maf: hidden layers of each"""
    categories: Annotated[int, Range(2)] = 10
    """categorical posteriors: values of each of the --latent variables"""
    temperature: Annotated[float, Range(above=0)] = 0.5
    """gumbel_softmax, relaxed_bernoulli"""
    objective: Literal[
        'elbo',
        'sticking_the_landing',
        'iwae',
        'dreg',
        'miwae',
        'piwae',
        'ciwae',
        'renyi',
        'score',
        'vimco',
        'wake_sleep',
        'reweighted_wake_sleep',
        'capacity',
        'free_bits',
        'free_bits_each',
        'free_bits_mean',
        'beta_tc',
        'beta_tc_stratified',
        'dip',
        'dip_samples',
        'mmd',
    ] = 'elbo'
    k: Annotated[int, Range(1)] = 1
    """samples of z: averaged by elbo, weighted by iwae and its kin"""
    m: Annotated[int, Range(1)] = 8
    """miwae, piwae: groups of k samples"""
    share: Annotated[float, Range(0, 1)] = 0.05
    """ciwae: weight of the ELBO beside IWAE"""
    alpha: Annotated[float, Range(0)] = 0.5
    """renyi: 0 is iwae, 1 the ELBO"""
    warmup: Annotated[int, Range(0)] = 0
    """epochs over which beta rises from 0"""
    warmup_shape: Literal['linear', 'cosine', 'sigmoid', 'cyclic'] = 'linear'
    """cyclic: four times in the run, each with a linear warm-up over its first half; no --warmup needed"""
    optimizer: Literal['adam', 'adam_iwae', 'adamw', 'adagrad', 'rmsprop', 'sgd'] = 'adam'
    schedule: Literal['constant', 'cosine', 'falling'] = 'constant'
    """of lr, over the whole run; falling: the eight stages of the IWAE paper"""
    batch_size: Annotated[int, Range(1)] = 128
    epochs: Annotated[int | None, Range(0)] = None
    steps: Annotated[int | None, Range(0)] = None
    """instead of epochs; neither: 5,000 steps"""
    select: Literal['best', 'last'] = 'best'
    """parameters to evaluate: those of the lowest validation -ELBO, or the last (no validation is run)"""
    patience: Annotated[int | None, Range(1)] = None
    """stop after so many validations without a lower -ELBO"""
    output_bias: Literal['zero', 'data'] = 'zero'
    """data: start the logits at those of the mean image"""
    accumulate: Annotated[int, Range(1)] = 1
    """parts of a batch whose gradients are computed one after the other: the same gradient in less memory"""
    clip: Annotated[float, Range(0)] = 0.0
    """largest norm of the gradient; 0: any"""
    ema: Annotated[float, Range(0, below=1)] = 0.0
    """decay of an average of the parameters over steps, which is then what is validated and evaluated; 0: none"""
    remat: bool = False
    """compute activations again in the backward pass instead of keeping them"""
    dtype: Literal['float32', 'bfloat16'] = 'float32'
    """of the networks' products; parameters, sums and losses are float32"""
    observe: Literal['nothing', 'gradients'] = 'nothing'
    """gradients: log the norm of each part's gradient"""
    warm_start: str | None = None
    """run directory whose parameters to start from"""
    parts: tuple[str, ...] = ()
    """parts of them to take (encode, decode); none named: all"""
    freeze: tuple[str, ...] = ()
    """parts that do not learn"""
    test_k: Annotated[int, Range(1)] = 5000
    """importance samples an image for the final -log p(x)"""
    hyper: Hyper = Hyper()
    run: RunFlags = RunFlags()

    def __post_init__(self) -> None:
        """Raises Fault for flags that exclude each other, or would change nothing."""
        if self.epochs is not None and self.steps is not None:
            raise Fault('--epochs and --steps were both given', 'give one of them')
        choices.check_hyper(self)
        if self.objective in ('score', 'vimco') and self.k < 2:
            raise Fault(
                f'--objective {self.objective} compares samples with each other, and --k is {self.k}', 'use --k 8'
            )
        if choices.OBJECTIVES[self.objective].pathwise and self.posterior in ('categorical', 'bernoulli'):
            found = (
                f'--objective {self.objective} needs the gradient of samples, and --posterior {self.posterior} has none'
            )
            raise Fault(found, 'use --objective vimco --k 8, or --posterior gumbel_softmax or straight_through')
        if self.accumulate > 1 and not choices.OBJECTIVES[self.objective].splits:
            raise Fault(f'--accumulate splits a batch, which --objective {self.objective} needs whole', 'leave it out')
        idle = {
            '--parts': bool(self.parts) and self.warm_start is None,
            '--patience': self.patience is not None and self.select == 'last',
            '--rows disk': self.data is None and self.rows == 'disk',
            '--dataset': self.data is not None and self.dataset != 'digits',
        }
        for flag, ignored in idle.items():
            if ignored:
                raise Fault(
                    f'{flag} would change nothing here', f'leave it out, or see --help for what {flag} goes with'
                )


def trainer_of(config: Config, model: Any, kl: Any, steps: int, batch: int, n: int) -> Any:
    """Optimizer x schedule x objective, with the options that are on; n is the size of the training split."""
    import optax

    import vae_jax as vj
    from vae_jax import schedules, training

    shape = {
        'constant': lambda: schedules.constant,
        'cosine': lambda: schedules.cosine(steps),
        'falling': lambda: schedules.falling_steps(steps),
    }[config.schedule]()
    optimizer = {
        'adam': lambda hyper: optax.adam(hyper.lr),
        'adam_iwae': lambda hyper: optax.adam(hyper.lr, b1=0.99, b2=0.999, eps=1e-4),
        'adamw': lambda hyper: optax.adamw(hyper.lr),
        'adagrad': lambda hyper: optax.adagrad(hyper.lr),
        'rmsprop': lambda hyper: optax.rmsprop(hyper.lr),
        'sgd': lambda hyper: optax.sgd(hyper.lr),
    }[config.optimizer]
    optimizer = training.clipped(optimizer, config.clip)
    rising = config.warmup * max(1, n // batch)
    warmup = {
        'linear': lambda: schedules.linear_warmup(rising),
        'cosine': lambda: schedules.cosine_warmup(rising),
        'sigmoid': lambda: schedules.sigmoid_warmup(rising),
        'cyclic': lambda: schedules.cyclic(steps),
    }[config.warmup_shape]()
    trainer = vj.trainer(
        model.init,
        choices.OBJECTIVES[config.objective].make(model, config, kl, n),
        vj.freeze(optimizer, *config.freeze) if config.freeze else optimizer,
        schedule=schedules.on(lr=shape, beta=warmup),
        observe={'gradients': vj.gradient_norms, 'nothing': training.nothing}[config.observe],
        gradient=training.accumulate(config.accumulate),
    )
    if config.warm_start is not None:
        start = vj.runs.load(config.warm_start).params
        trainer = vj.warm_start(trainer, start, config.parts or None)
    return training.averaged(trainer, config.ema)


def build(config: Config) -> Experiment:
    """The experiment of a configuration: trainer, data, model, and what to do when training is done."""
    from experiments import common, parts

    for flag in [] if config.run.quiet else choices.unread(config):
        print(f'note: {flag} changes nothing here', file=sys.stderr)
    likelihood, data = parts.likelihood_of(config, parts.load_data(config))
    if config.select == 'best' and data.validation is None:
        raise Fault('--select best needs a validation split', 'use --select last, or --validation N')
    model = parts.model_of(config, data, likelihood)
    batch, steps = parts.length_of(config, len(data.train))

    kl = common.kl_of(model, data.example)
    validate = common.validator(model, data, kl) if config.select == 'best' else None
    test_k = min(config.test_k, 50) if config.run.smoke else config.test_k
    notes = ['not a likelihood: cross-entropy of grey pixels'] if not likelihood.normalized else []
    notes += ['data: stand-in'] if data.stand_in else []
    evaluate = common.evaluator(model, data, test_k, notes, kl)
    return Experiment(
        trainer=trainer_of(config, model, kl, steps, batch, len(data.train)),
        data=data,
        hyper=config.hyper,
        model=model,
        batch=batch,
        steps=steps,
        fit={'validate': validate, 'validate_some': validate, 'patience': config.patience},
        evaluate=evaluate,
        evaluate_some=evaluate,
        figures=common.reporter(model, data, common.command('experiments.vae', config), notes),
        summary=common.summary,
    )


if __name__ == '__main__':
    from vae_jax import cli

    cli.main(Config, build, name='vae', version=VERSION, metric=('test_nll', 'min'))

"""The general VAE: likelihood x posterior x networks x objective on any dataset, chosen by flags.

Claim     One command trains a VAE, keeps the parameters of the lowest validation -ELBO, and states its test ELBO, rate,
          distortion and 5,000-sample importance estimate of -log p(x), each with its standard error.
Command   python -m experiments.vae                                (digits: 1,797 real 8x8 images, no download)
          python -m experiments.vae --dataset mnist --network conv
Expected  see experiments/README.md for the digits default and for the MNIST protocols, with time and machine.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

from vae_jax.config import Range, RunFlags
from vae_jax.errors import ENVIRONMENT, Fault
from vae_jax.experiment import Experiment

VERSION = 1


class Hyper(NamedTuple):
    lr: Annotated[float, Range(above=0)] = 1e-3
    """learning rate"""
    beta: Annotated[float, Range(0)] = 1.0
    """weight of the rate; 1 is the ELBO"""


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
    network: Literal['mlp', 'conv', 'resnet'] = 'mlp'
    latent: Annotated[int, Range(1)] = 16
    """dimensions of z"""
    hidden: tuple[Annotated[int, Range(1)], ...] = (256,)
    """mlp: hidden layers of the encoder, reversed in the decoder; conv and resnet: the last is their dense layer"""
    channels: tuple[Annotated[int, Range(1)], ...] = (32, 64)
    """conv and resnet: channels of the encoder's halvings, reversed in the decoder"""
    activation: Literal['relu', 'tanh', 'gelu', 'silu'] = 'relu'
    likelihood: Literal['auto', 'bernoulli', 'soft_bernoulli', 'normal', 'logistic'] = 'auto'
    """auto: bernoulli for binary x, logistic (discretized) for grey pixels, normal for real numbers"""
    objective: Literal['elbo', 'iwae'] = 'elbo'
    k: Annotated[int, Range(1)] = 1
    """samples of z: averaged by elbo, importance weighted by iwae"""
    warmup: Annotated[int, Range(0)] = 0
    """epochs over which beta rises from 0"""
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
        if self.objective == 'iwae' and (self.hyper.beta != 1 or self.warmup):
            raise Fault('--beta and --warmup weigh the rate, and the IWAE bound has none', 'use --objective elbo')
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


def load_data(config: Config) -> Any:
    """The data of a configuration; under --smoke a few hundred examples, generated where the dataset is not there."""
    from vae_jax import data as data_module

    chosen = {'binarization': config.binarization, 'validation': config.validation}
    options: dict[str, Any] = {name: value for name, value in chosen.items() if value not in ('auto', None)}
    if config.data is not None:
        read = {'device': data_module.from_path, 'disk': data_module.from_disk}[config.rows]
        data = read(config.data, **options)
    else:
        try:
            data = data_module.load(config.dataset, data_dir=config.run.data_dir, **options)
        except Fault as fault:
            if not config.run.smoke or fault.code != ENVIRONMENT:
                raise
            data = data_module.stand_in(config.dataset, binarization=options.get('binarization'))
    return data_module.first(data, 256) if config.run.smoke else data


def likelihood_of(config: Config, data: Any) -> tuple[Any, Any]:
    """(family of p(x|z), the data as it wants them): dequantized where pixels are to be real numbers."""
    import vae_jax as vj
    from experiments import common
    from vae_jax.distributions import discretized_logistic

    binary = data.train.levels == 2 or data.binarization != 'none'
    by_data = 'bernoulli' if binary else 'normal' if data.train.levels is None else 'logistic'
    name = by_data if config.likelihood == 'auto' else config.likelihood
    if name == 'normal' and data.train.levels is not None:
        data = vj.data.dequantized(data)
    family = {
        'bernoulli': lambda: vj.Bernoulli,
        'soft_bernoulli': lambda: vj.SoftBernoulli,
        'normal': lambda: vj.Normal,
        'logistic': lambda: discretized_logistic(2 if binary else data.train.levels),
    }[name]()
    common.check_support(family, data)
    return family, data


def model_of(config: Config, data: Any, likelihood: Any) -> Any:
    """p(z) p(x|z) and q(z|x) of the networks that the configuration names."""
    import jax
    import jax.numpy as jnp

    import vae_jax as vj

    activation = {'relu': jax.nn.relu, 'tanh': jnp.tanh, 'gelu': jax.nn.gelu, 'silu': jax.nn.silu}[config.activation]
    down, up, dense = config.channels, config.channels[::-1], config.hidden[-1] if config.hidden else 256
    how = (activation, {'float32': None, 'bfloat16': jnp.bfloat16}[config.dtype])
    encoder, decoder = {
        'mlp': lambda: (vj.mlp_encoder(config.hidden, *how), vj.mlp_decoder(config.hidden[::-1], *how)),
        'conv': lambda: (vj.conv_encoder(down, dense, *how), vj.conv_decoder(up, dense, *how)),
        'resnet': lambda: (vj.resnet_encoder(down, dense, *how), vj.resnet_decoder(up, dense, *how)),
    }[config.network]()
    bias = {'zero': lambda: None, 'data': lambda: vj.losses.logit(vj.data.mean(data.train))}[config.output_bias]()
    if bias is not None and likelihood not in (vj.Bernoulli, vj.SoftBernoulli):
        raise Fault('--output-bias data sets logits, and this likelihood has none', 'use --output-bias zero')
    return vj.vae(encoder, decoder, latent=config.latent, like=data.example, likelihood=likelihood, output_bias=bias)


def objective_of(config: Config, model: Any) -> Any:
    """What is minimized for one example: objective(params, key, x, hyper) -> (nats, metrics)."""
    import jax

    import vae_jax as vj

    def averaged(params: Any, key: Any, x: Any, hyper: Any) -> Any:
        terms = [vj.elbo_terms(model, params, k, x) for k in jax.random.split(key, config.k)]
        mean = jax.tree.map(lambda *t: sum(t) / config.k, *terms)
        return mean.distortion + hyper.beta * mean.rate, mean

    objective = {
        'elbo': averaged if config.k > 1 else vj.beta_elbo(model),
        'iwae': vj.negative(vj.iwae, model, k=config.k),
    }[config.objective]
    return jax.checkpoint(objective) if config.remat else objective


def trainer_of(config: Config, model: Any, steps: int, per_epoch: int) -> Any:
    """Optimizer x schedule x objective, with the options that are on."""
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
    trainer = vj.trainer(
        model.init,
        vj.per_example(objective_of(config, model)),
        vj.freeze(optimizer, *config.freeze) if config.freeze else optimizer,
        schedule=schedules.on(lr=shape, beta=schedules.linear_warmup(config.warmup * per_epoch)),
        observe={'gradients': vj.gradient_norms, 'nothing': training.nothing}[config.observe],
        gradient=training.accumulate(config.accumulate),
    )
    if config.warm_start is not None:
        start = vj.runs.load(config.warm_start).params
        trainer = vj.warm_start(trainer, start, config.parts or None)
    return training.averaged(trainer, config.ema)


def length_of(config: Config, n: int) -> tuple[int, int]:
    """(batch size, number of steps) for n training examples."""
    batch, accumulate = config.batch_size, config.accumulate
    if config.run.smoke:
        batch = min(batch, n)
        batch -= batch % accumulate if batch > accumulate else 0
    steps = 5000 if config.steps is None else config.steps
    if config.epochs is not None:
        steps = config.epochs * max(1, n // batch)
    return batch, min(steps, 20) if config.run.smoke else steps


def build(config: Config) -> Experiment:
    """The experiment of a configuration: trainer, data, model, and what to do when training is done."""
    from experiments import common

    likelihood, data = likelihood_of(config, load_data(config))
    if config.select == 'best' and data.validation is None:
        raise Fault('--select best needs a validation split', 'use --select last, or --validation N')
    model = model_of(config, data, likelihood)
    batch, steps = length_of(config, len(data.train))

    validate = common.validator(model, data) if config.select == 'best' else None
    test_k = min(config.test_k, 50) if config.run.smoke else config.test_k
    notes = ['not a likelihood: cross-entropy of grey pixels'] if not likelihood.normalized else []
    notes += ['data: stand-in'] if data.stand_in else []
    evaluate = common.evaluator(model, data, test_k, notes)
    return Experiment(
        trainer=trainer_of(config, model, steps, max(1, len(data.train) // batch)),
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

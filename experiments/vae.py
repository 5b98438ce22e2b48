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


def load_data(config: Config) -> Any:
    """The data of a configuration; under --smoke a few hundred examples, generated where the dataset is not there."""
    from vae_jax import data as data_module
    from vae_jax.errors import ENVIRONMENT, Fault

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


def build(config: Config) -> Experiment:
    """The experiment of a configuration: trainer, data, model, and what to do when training is done."""
    import jax
    import jax.numpy as jnp
    import optax

    import vae_jax as vj
    from experiments import common
    from vae_jax import schedules, training
    from vae_jax.distributions import discretized_logistic
    from vae_jax.errors import Fault

    idle = {
        '--parts': bool(config.parts) and config.warm_start is None,
        '--patience': config.patience is not None and config.select == 'last',
        '--rows disk': config.data is None and config.rows == 'disk',
        '--dataset': config.data is not None and config.dataset != 'digits',
    }
    for flag, ignored in idle.items():
        if ignored:
            raise Fault(f'{flag} would change nothing here', f'leave it out, or see --help for what {flag} goes with')
    data = load_data(config)
    binary = data.train.levels == 2 or data.binarization != 'none'
    by_data = 'bernoulli' if binary else 'normal' if data.train.levels is None else 'logistic'
    likelihood_name = by_data if config.likelihood == 'auto' else config.likelihood
    if likelihood_name == 'normal' and data.train.levels is not None:
        data = vj.data.dequantized(data)
    likelihood = {
        'bernoulli': lambda: vj.Bernoulli,
        'soft_bernoulli': lambda: vj.SoftBernoulli,
        'normal': lambda: vj.Normal,
        'logistic': lambda: discretized_logistic(2 if binary else data.train.levels),
    }[likelihood_name]()
    common.check_support(likelihood, data)

    activation = {'relu': jax.nn.relu, 'tanh': jnp.tanh, 'gelu': jax.nn.gelu, 'silu': jax.nn.silu}[config.activation]
    down, up, dense = config.channels, config.channels[::-1], config.hidden[-1] if config.hidden else 256
    encoder, decoder = {
        'mlp': lambda: (vj.mlp_encoder(config.hidden, activation), vj.mlp_decoder(config.hidden[::-1], activation)),
        'conv': lambda: (vj.conv_encoder(down, dense, activation), vj.conv_decoder(up, dense, activation)),
        'resnet': lambda: (vj.resnet_encoder(down, dense, activation), vj.resnet_decoder(up, dense, activation)),
    }[config.network]()
    bias = vj.losses.logit(vj.data.mean(data.train)) if config.output_bias == 'data' else None
    if bias is not None and not likelihood_name.endswith('bernoulli'):
        raise Fault('--output-bias data sets logits, and this likelihood has none', 'use --output-bias zero')
    model = vj.vae(
        encoder, decoder, latent=config.latent, like=data.example, likelihood=likelihood, output_bias=bias
    )  # fmt: skip

    def averaged(params: Any, key: Any, x: Any, hyper: Any) -> Any:
        terms = [vj.elbo_terms(model, params, k, x) for k in jax.random.split(key, config.k)]
        mean = jax.tree.map(lambda *t: sum(t) / config.k, *terms)
        return mean.distortion + hyper.beta * mean.rate, mean

    if config.objective == 'iwae' and (config.hyper.beta != 1 or config.warmup):
        raise Fault('--beta and --warmup weigh the rate, and the IWAE bound has none', 'use --objective elbo')
    objective = {
        'elbo': averaged if config.k > 1 else vj.beta_elbo(model),
        'iwae': vj.negative(vj.iwae, model, k=config.k),
    }[config.objective]

    batch = min(config.batch_size, len(data.train)) if config.run.smoke else config.batch_size
    per_epoch = max(1, len(data.train) // batch)
    if config.epochs is not None and config.steps is not None:
        raise Fault('--epochs and --steps were both given', 'give one of them')
    steps = config.epochs * per_epoch if config.epochs is not None else 5000 if config.steps is None else config.steps
    steps = min(steps, 20) if config.run.smoke else steps
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
    trainer = vj.trainer(
        model.init,
        vj.per_example(objective),
        vj.freeze(optimizer, *config.freeze) if config.freeze else optimizer,
        schedule=schedules.on(lr=shape, beta=schedules.linear_warmup(config.warmup * per_epoch)),
        observe={'gradients': vj.gradient_norms, 'nothing': training.nothing}[config.observe],
    )
    if config.warm_start is not None:
        start = vj.runs.load(config.warm_start).params
        trainer = vj.warm_start(trainer, start, config.parts or None)

    def validate(params: Any, key: Any) -> dict[str, float]:
        found = vj.elbo_estimate(model, params, data.validation, key)
        return {'loss': -found.elbo.mean, 'rate': found.rate.mean, 'distortion': found.distortion.mean}

    if config.select == 'best' and data.validation is None:
        raise Fault('--select best needs a validation split', 'use --select last, or --validation N')
    test_k = min(config.test_k, 50) if config.run.smoke else config.test_k
    notes = ['not a likelihood: cross-entropy of grey pixels'] if not likelihood.normalized else []
    notes += ['data: stand-in'] if data.stand_in else []
    return Experiment(
        trainer=trainer,
        data=data,
        hyper=config.hyper,
        model=model,
        batch=batch,
        steps=steps,
        fit={'validate': validate if config.select == 'best' else None, 'patience': config.patience},
        evaluate=common.evaluator(model, data, test_k, notes),
        figures=common.reporter(model, data, common.command('experiments.vae', config), notes),
        summary=common.summary,
    )


if __name__ == '__main__':
    from vae_jax import cli

    cli.main(Config, build, name='vae', version=VERSION, metric=('test_nll', 'min'))

"""vae_jax through its public API at its defaults, the price of that API, and what bfloat16 costs in quality."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import random

import vae_jax as vj
from benchmarks import with_jax
from benchmarks.task import Task, pixels


class Hyper(NamedTuple):
    lr: float = 1e-3
    beta: float = 1.0


def _model(network: str, latent: int, example, dtype: str | None):
    kind = {} if dtype is None else {'dtype': jnp.dtype(dtype)}
    if network == 'mlp':
        encoder, decoder = vj.mlp_encoder((500,), **kind), vj.mlp_decoder((500,), **kind)
    else:
        encoder, decoder = vj.conv_encoder((32, 64), 256, **kind), vj.conv_decoder((64, 32), 256, **kind)
    return vj.vae(encoder, decoder, posterior=vj.Normal, likelihood=vj.Bernoulli, latent=latent, like=example)


def _trainer(model):
    def objective(params, key, x, hyper):
        terms = vj.elbo_terms(model, params, key, x)
        return terms.distortion + hyper.beta * terms.rate, terms

    return vj.trainer(model.init, vj.per_example(objective), lambda hyper: optax.adam(hyper.lr))


def _random_data(rows: int):
    x = pixels(rows)
    return vj.data.from_arrays('random', x, test_x=x[:100], levels=256, binarization='dynamic')


def fit(task: Task, lap) -> None:
    """`vj.fit` at its defaults; laps are counted where it would validate, which is once an epoch."""

    def validate(params, key):
        lap()
        return {'loss': 0.0}

    data, hyper, key = _random_data(task.rows), Hyper(task.lr), random.key(0)
    model = _model(task.options['network'], task.latent, data.example, task.options.get('dtype'))
    trainer = _trainer(model)
    lap(parameters=vj.models.parameter_count(model.init(key, data.example)))
    run = vj.fit(trainer, data, hyper, key, epochs=1, batch=task.batch)
    lap(loss=run.metrics[-1]['train/loss'])
    vj.fit(trainer, data, hyper, key, epochs=1_000_000, batch=task.batch, validate=validate)


def _cost(function, *args) -> dict:
    found = jax.jit(function).lower(*args).compile().cost_analysis()
    return {'flops': found['flops'], 'bytes': found['bytes accessed']}


def price(task: Task, lap) -> None:
    """What XLA says that one training step costs: ours, and the script's with the plain and with our likelihood."""
    data, key = _random_data(10 * task.batch), random.key(0)
    trainer = _trainer(_model('mlp', task.latent, data.example, None))
    xs = jnp.round(random.uniform(key, (task.batch, 28, 28)))
    state = trainer.init(key, {'x': xs}, Hyper(task.lr))
    params = with_jax.init(key, task.latent)
    script = params, optax.adam(task.lr).init(params), key, xs.reshape(len(xs), -1), jnp.float32(task.lr)
    ours = partial(with_jax.step, log_prob=vj.kernels.bernoulli_log_prob)
    lap(
        ours=_cost(trainer.step, state, {'x': xs}),
        script=_cost(with_jax.step, *script),
        script_fast=_cost(ours, *script),
    )


def script(task: Task, lap) -> None:
    """The script with the library's two fast kernels: the difference to `fit` is the framework alone."""
    with_jax.vae(task, lap, _binarize, vj.kernels.bernoulli_log_prob)


def _binarize(key, x):
    return jax.vmap(lambda key, x: vj.kernels.binarize(key, x, 256))(random.split(key, len(x)), x)


def quality(task: Task, lap) -> None:
    """The test ELBO after training on real digits, one figure a seed."""
    options = task.options
    where = {'data_dir': options['data_dir']} if options['data_dir'] else {}
    data = vj.data.load(options['dataset'], binarization='dynamic', **where)
    model = _model('mlp', task.latent, data.example, options['dtype'])
    trainer, found = _trainer(model), []
    lap()
    for seed in range(options['seeds']):
        key = random.key(seed)
        run = vj.fit(trainer, data, Hyper(task.lr), key, epochs=options['epochs'], batch=task.batch)
        found.append(float(vj.elbo_estimate(model, run.params, data.test, random.key(1)).elbo.mean))
    lap(elbo=found, dataset=data.name, epochs=options['epochs'])

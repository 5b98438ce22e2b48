"""From the configuration of experiments.vae to its data, networks, model and number of steps."""

from typing import Any

from experiments import choices, common
from vae_jax.errors import Fault


def load_data(config: Any) -> Any:
    """The data of a configuration; under --smoke a few hundred examples, generated where the dataset is not there."""
    from vae_jax import data as data_module

    chosen = {'binarization': config.binarization, 'validation': config.validation}
    options: dict[str, Any] = {name: value for name, value in chosen.items() if value not in ('auto', None)}
    if config.data is None:
        return common.data_of(config.dataset, config.run, **options)
    read = {'device': data_module.from_path, 'disk': data_module.from_disk}[config.rows]
    data = read(config.data, **options)
    return data_module.first(data, 256) if config.run.smoke else data


def likelihood_of(config: Any, data: Any) -> tuple[Any, Any]:
    """(family of p(x|z), the data as it wants them): dequantized where pixels are to be real numbers."""
    import vae_jax as vj

    binary = data.train.levels == 2 or data.binarization != 'none'
    by_data = 'bernoulli' if binary else 'normal' if data.train.levels is None else 'logistic'
    name = by_data if config.likelihood == 'auto' else config.likelihood
    if name in choices.REAL and data.train.levels is not None:
        data = vj.data.dequantized(data)
    family = choices.LIKELIHOODS[name](2 if binary else data.train.levels)
    common.check_support(family, data)
    return family, data


def networks_of(config: Any) -> tuple[Any, Any]:
    """(encoder, decoder) that the configuration names."""
    import jax
    import jax.numpy as jnp

    import vae_jax as vj
    from vae_jax import networks as nets

    activation = {'relu': jax.nn.relu, 'tanh': jnp.tanh, 'gelu': jax.nn.gelu, 'silu': jax.nn.silu}[config.activation]
    hidden, down, up = config.hidden, config.channels, config.channels[::-1]
    dense, back = hidden[-1] if hidden else 256, hidden[::-1]
    dtype = {'float32': None, 'bfloat16': jnp.bfloat16}[config.dtype]
    how = (activation, dtype)
    return {
        'mlp': lambda: (vj.mlp_encoder(hidden, *how), vj.mlp_decoder(back, *how)),
        'gated': lambda: (nets.gated_mlp_encoder(hidden, dtype=dtype), nets.gated_mlp_decoder(back, dtype=dtype)),
        'conv': lambda: (vj.conv_encoder(down, dense, *how), vj.conv_decoder(up, dense, *how)),
        'resnet': lambda: (vj.resnet_encoder(down, dense, *how), vj.resnet_decoder(up, dense, *how)),
        'transformer': lambda: (
            nets.transformer_encoder(config.patch, dense, dtype=dtype),
            nets.transformer_decoder(config.patch, dense, dtype=dtype),
        ),
    }[config.network]()


def model_of(config: Any, data: Any, likelihood: Any) -> Any:
    """p(z) p(x|z) and q(z|x): networks and families, the prior's wrapper, and the posterior's around it."""
    import vae_jax as vj

    encoder, decoder = networks_of(config)
    bias = {'zero': lambda: None, 'data': lambda: vj.losses.logit(vj.data.mean(data.train))}[config.output_bias]()
    if bias is not None and likelihood not in (vj.Bernoulli, vj.SoftBernoulli):
        raise Fault('--output-bias data sets logits, and this likelihood has none', 'use --output-bias zero')
    posterior = choices.POSTERIORS[config.posterior]
    options = {} if posterior.seen_as is None else {'seen_as': posterior.seen_as()}
    model = vj.vae(
        encoder,
        decoder,
        latent=config.latent,
        like=data.example,
        posterior=posterior.family(config),
        likelihood=likelihood,
        output_bias=bias,
        **options,
    )
    return posterior.around(choices.PRIORS[config.prior].around(model, config, data), config)


def length_of(config: Any, n: int) -> tuple[int, int]:
    """(batch size, number of steps) for n training examples."""
    batch, accumulate = config.batch_size, config.accumulate
    if config.run.smoke:
        batch = min(batch, n)
        batch -= batch % accumulate if batch > accumulate else 0
    steps = 5000 if config.steps is None else config.steps
    if config.epochs is not None:
        steps = config.epochs * max(1, n // batch)
    return batch, min(steps, 20) if config.run.smoke else steps

"""A loss is one scalar a batch: loss(params, key, batch, hyper) -> (scalar, metrics). Losses go down."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, random, vmap

from vae_jax import bounds
from vae_jax.distributions.chain import exact_kl
from vae_jax.models import Model
from vae_jax.models.layers import layer_terms

Loss = Callable[[Any, Array, Any, Any], tuple[Array, dict[str, Array]]]


def x_of(row: Mapping[str, Any]) -> Any:
    """The observation of a row."""
    return row['x']


def row_of(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The whole row: for objectives that look at labels or other conditions."""
    return row


def per_example(objective: Callable[..., tuple[Array, Any]], of: Callable[[Any], Any] = x_of) -> Loss:
    """Lifts objective(params, key, x, hyper) -> (nats, metrics) over one example to the mean over a batch.

    The loss takes one key, or keys [b]: then a part of a batch can have those that it has in the whole.
    """

    def loss(params: Any, key: Array, batch: Any, hyper: Any) -> tuple[Array, dict[str, Array]]:
        xs = of(batch)
        several = jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim
        keys = key if several else random.split(key, jax.tree.leaves(xs)[0].shape[0])
        losses, metrics = vmap(objective, (None, 0, 0, None))(params, keys, xs, hyper)
        metrics = metrics._asdict() if hasattr(metrics, '_asdict') else metrics
        return jnp.mean(losses), jax.tree.map(jnp.mean, dict(metrics))

    return loss


def beta_elbo(model: Model, kl: Callable[..., Array] = bounds.closed_form) -> Callable[..., tuple[Array, bounds.Terms]]:
    """distortion + hyper.beta * rate of one example; beta = 1 is -ELBO (Higgins et al. 2017, eq. 4)."""

    def objective(params: Any, key: Array, x: Any, hyper: Any) -> tuple[Array, bounds.Terms]:
        terms = bounds.elbo_terms(model, params, key, x, kl)
        return terms.distortion + hyper.beta * terms.rate, terms

    return objective


def free_bits_layers(
    model: Model, kl: Callable[..., Array] = exact_kl
) -> Callable[..., tuple[Array, dict[str, Array]]]:
    """distortion + hyper.beta sum_i max(hyper.free, rate of layer i) of one example, with the rate of each layer.

    Of a hierarchy; any other model has one layer (Kingma et al. 2016, eq. 15, a layer a group). `kl` is of one layer.
    """

    def objective(params: Any, key: Array, x: Any, hyper: Any) -> tuple[Array, dict[str, Array]]:
        distortion, rates = layer_terms(model, params, key, x, kl)
        each = {f'rate_{i + 1}': rate for i, rate in enumerate(rates)}
        value = distortion + hyper.beta * jnp.sum(jnp.maximum(hyper.free, rates))
        return value, {'distortion': distortion, 'rate': jnp.sum(rates), **each}

    return objective


def negative(bound: Callable[..., Array], model: Model, **static: Any) -> Callable[..., tuple[Array, dict[str, Array]]]:
    """-bound(model, params, key, x, **static) of one example as an objective."""

    def objective(params: Any, key: Array, x: Any, hyper: Any) -> tuple[Array, dict[str, Array]]:
        value = bound(model, params, key, x, **static)
        return -value, {'bound': value}

    return objective


def logit(mean: Array, low: float = 0.001, high: float = 0.999) -> Array:
    """log(m / (1 - m)) of pixel means kept off 0 and 1: the output bias of the IWAE code, a start and not a density."""
    mean = jnp.clip(jnp.asarray(mean, jnp.float32), low, high)
    return jnp.log(mean) - jnp.log1p(-mean)

"""Temperature: T < 1 draws from where a density is high, T > 1 from farther out."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from vae_jax.distributions import Bernoulli, Categorical, FullNormal, Laplace, Mixture, Normal
from vae_jax.distributions.chain import Chain
from vae_jax.errors import Fault
from vae_jax.flows import Flowed
from vae_jax.models import Model
from vae_jax.models.quantized import OverCodes
from vae_jax.samplers.autoregressive import Autoregressive


def tempered(p: Any, temperature: Any) -> Any:
    """p at a temperature T, which may be traced: standard deviations times T, logits over T.

    A mixture's components are tempered and its weights stay; of a flow it is the base (Kingma & Dhariwal 2018, section
    6), of autoregressive factors and of the layers of a chain each. Raises Fault on other families.
    """
    log_t = jnp.log(temperature)
    match p:
        case Normal() | Laplace():
            return dataclasses.replace(p, log_std=p.log_std + log_t)
        case FullNormal():
            return dataclasses.replace(p, log_diagonal=p.log_diagonal + log_t, lower=p.lower * temperature)
        case Categorical() | Bernoulli():
            return dataclasses.replace(p, logits=p.logits / temperature)
        case Mixture():
            # leaves that lead with the component axis are scaled as those of one component are
            return dataclasses.replace(p, components=jax.vmap(lambda c: tempered(c, temperature))(p.components))
        case Autoregressive():
            return dataclasses.replace(p, log_temperature=p.log_temperature + log_t)
        case Flowed() | OverCodes():
            return dataclasses.replace(p, base=tempered(p.base, temperature))
        case Chain():
            return dataclasses.replace(p, links=tuple(Partial(_tempered_link, link, temperature) for link in p.links))
    raise Fault(f'{type(p).__name__} has no temperature here', 'use a Gaussian, categorical or composed prior')


def _tempered_link(link: Any, temperature: Any, before: Any) -> Any:
    return tempered(link(before), temperature)


def with_temperature(model: Model, temperature: Any) -> Model:
    """The model with its prior at a temperature; 1 is the model itself."""
    return model._replace(prior=lambda params: tempered(model.prior(params), temperature))

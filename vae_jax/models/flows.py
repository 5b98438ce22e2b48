"""Flows around a model: of its prior, of its posterior, and the family whose features hold a context for the latter."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from jax import Array, random

from vae_jax.distributions import Family, Normal, family_name
from vae_jax.errors import Fault
from vae_jax.flows import Flow, Flowed
from vae_jax.models.base import Model, add_part


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Contextual:
    """`base` beside features [d, n] that only `flow_posterior` reads: in all else it is its base."""

    base: Any
    features: Array

    @property
    def context(self) -> Array:
        """h [d n]."""
        return self.features.reshape(-1)

    @property
    def support(self) -> str:
        return self.base.support

    @property
    def reparameterized(self) -> bool:
        return self.base.reparameterized

    @property
    def normalized(self) -> bool:
        return self.base.normalized

    @property
    def mean(self) -> Array:
        return self.base.mean

    @property
    def log_std(self) -> Array:
        return self.base.log_std

    def supports(self, x: Array) -> Array:
        return self.base.supports(x)

    def sample(self, key: Array) -> Array:
        return self.base.sample(key)

    def sample_and_log_prob(self, key: Array) -> tuple[Array, Array]:
        return self.base.sample_and_log_prob(key)

    def log_prob(self, x: Array) -> Array:
        """That of the base, in nats. Raises Fault on a batch."""
        return self.base.log_prob(x)

    def kl(self, p: Any) -> Array:
        """KL(base || p), in nats. Raises Fault where that has no closed form."""
        return self.base.kl(p)


def contextual(family: Any = Normal, n: int = 1) -> Family:
    """`family` with n more features a dimension, the context h [d n] of a flow (Kingma et al. 2016, algorithm 1).

    Raises Fault on n < 1.
    """
    if n < 1:
        raise Fault(f'a context of {n} features a dimension', 'ask for 1 or more, or use the family itself')
    return Family(
        arity=family.arity + n,
        from_features=lambda f: Contextual(family.from_features(f[..., : family.arity]), f[..., family.arity :]),
        supports=family.supports,
        support=family.support,
        normalized=family.normalized,
        name=f'contextual({family_name(family)}, {n})',
        dims=getattr(family, 'dims', None),
    )


def flow_posterior(model: Model, flow: Flow, name: str = 'flow_posterior') -> Model:
    """q(z|x) = the model's q pushed through the flow, which gets the context of a `contextual` family.

    Its rate needs kl=monte_carlo. Wrap it around the prior's wrapper, iaf(vampprior(m)): the other way round each
    component of the prior is a flow. Raises Fault at init where q is not over vectors of any real numbers, or where the
    name is taken.
    """

    def parts(params: Any, x: Any) -> tuple[Any, Array | None]:
        q = model.encode(params, x)
        return _real(q.base if isinstance(q, Contextual) else q, 'posterior'), getattr(q, 'context', None)

    def init(key: Array, x: Any) -> dict[str, Any]:
        a, b, c = random.split(key, 3)
        params = model.init(a, x)
        base, context = parts(params, x)
        return add_part(params, name, flow.init(b, base.sample(c), context))

    def encode(params: Any, x: Any) -> Flowed:
        base, context = parts(params, x)
        return Flowed(base, params[name], flow, context)

    return model._replace(init=init, encode=encode, terms=None)  # fused terms know of no flow


def flow_prior(model: Model, flow: Flow, base: Callable[[Any], Any] | None = None, name: str = 'flow_prior') -> Model:
    """p(z) = base(params), by default the model's own prior, pushed through the flow; it needs kl=monte_carlo.

    Raises Fault on a flow without inverse, as log p(z) is needed at the posterior's samples; and at init where the
    base is not over vectors of any real numbers, or the name is taken. (Chen et al. 2017, section 3.2.)
    """
    if flow.inverse is None:
        raise Fault('flow_prior needs log p(z), and this flow has no inverse', 'use a coupling or maf')
    before = base or model.prior

    def init(key: Array, x: Any) -> dict[str, Any]:
        a, b, c = random.split(key, 3)
        params = model.init(a, x)
        return add_part(params, name, flow.init(b, _real(before(params), 'prior').sample(c)))

    def prior(params: Any) -> Flowed:
        return Flowed(_real(before(params), 'prior'), params[name], flow)

    return model._replace(init=init, prior=prior, terms=None)


def _real(distribution: Any, what: str) -> Any:
    """The distribution. Raises Fault where it is not over all real vectors, which is what flows map."""
    support = getattr(distribution, 'support', 'a product of several supports')
    if support != Normal.support:
        raise Fault(f'a flow moves any real number, and the {what} is over {support}', f'use a Gaussian {what}')
    return distribution

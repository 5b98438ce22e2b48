"""Flowed: a distribution pushed through a flow."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array, random

from vae_jax.distributions.base import static
from vae_jax.errors import Fault


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Flowed:
    """y = f(z; params, context), z ~ base: log p(y) = log base(z) - log|det dy/dz| (Rezende & Mohamed 2015, eq. 5).

    `params` belong to the model and not to the example: see `batch_axes` before one leaves a vmap. There is no `kl`.
    """

    base: Any
    params: Any
    flow: Any = static()  # a Flow
    context: Any = None  # h [n], or nothing
    rank: int | None = static()

    normalized: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.rank is None:
            object.__setattr__(self, 'rank', self._axes())

    def _axes(self) -> int:
        return sum(jnp.ndim(leaf) for leaf in jax.tree.leaves((self.base, self.context)))

    @property
    def support(self) -> str:
        """That of its base: flows are maps of real vectors onto real vectors."""
        return self.base.support

    @property
    def reparameterized(self) -> bool:
        """As its base."""
        return self.base.reparameterized

    @property
    def mean(self) -> Array:
        """The image of the base's mean: a point in the middle, not E[y], which has no closed form."""
        return self.flow.forward(self.params, self.base.mean, self.context)[0]

    def supports(self, y: Array) -> Array:
        return self.base.supports(y)

    def sample(self, key: Array) -> Array:
        """y = f(z), z ~ base."""
        return self.flow.forward(self.params, self.base.sample(key), self.context)[0]

    def sample_and_log_prob(self, key: Array) -> tuple[Array, Array]:
        """y ~ p and log p(y), nats, by one pass forward: no inverse is needed."""
        z, log_p = self.base.sample_and_log_prob(key)
        y, log_det = self.flow.forward(self.params, z, self.context)
        return y, log_p - log_det

    def log_prob(self, y: Array) -> Array:
        """log base(f^-1(y)) + log|det df^-1/dy|, in nats. Raises Fault on a batch, and where f has no inverse."""
        if self.flow.inverse is None:
            raise Fault(
                'log_prob of any y needs the inverse of the flow, and this one has none',
                'use sample_and_log_prob and kl=monte_carlo, or another flow: a coupling, iaf, maf',
            )
        if self._axes() > (self.rank or 0):
            raise Fault('Flowed.log_prob was given a batch', 'vmap it: vmap(lambda q, x: q.log_prob(x))(qs, xs)')
        expected = jax.eval_shape(lambda: self.base.sample(random.key(0))).shape
        if jnp.shape(y) != expected:
            raise Fault(f'Flowed.log_prob got x of shape {jnp.shape(y)}, expected {expected}', 'pass one example')
        z, log_det = self.flow.inverse(self.params, y, self.context)
        return self.base.log_prob(z) + log_det


def batch_axes(q: Any) -> Any:
    """What to give vmap as out_axes and in_axes for a batch of q: 0, but None for the params of flows.

    Without it each example of vmap(encode)(xs) has a copy of the params, and products with them are batched ones.
    """
    if not isinstance(q, Flowed):
        return 0
    context = None if q.context is None else 0
    return Flowed(batch_axes(q.base), None, q.flow, context, rank=q.rank)

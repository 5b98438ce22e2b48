"""Latents in layers: z = (z_1, ..., z_L), each drawn from a distribution that is a function of those drawn before."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array, random
from jax.tree_util import Partial

from vae_jax.distributions.base import no_kl, static
from vae_jax.errors import Fault


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Chain:
    """p(z_1) p(z_2 | z_1) ... p(z_L | z_1, ..., z_(L-1)) over tuples z; links[i](those drawn before) -> distribution.

    `order` says which entry of z each link draws: (1, 0) is p(z_2) p(z_1 | z_2), whose links see what was drawn before
    them in that order. Links are pytrees: `jax.tree_util.Partial` of functions that are made once a model.
    """

    links: tuple[Any, ...]
    order: tuple[int, ...] = static(())
    rank: int | None = static()

    normalized: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.order:
            object.__setattr__(self, 'order', tuple(range(len(self.links))))
        if not self.links or sorted(self.order) != list(range(len(self.links))):
            raise Fault(f'a chain of {len(self.links)} links has the order {self.order}', 'name each entry of z once')
        if self.rank is None:
            object.__setattr__(self, 'rank', self._rank())

    def _rank(self) -> int:
        return sum(jnp.ndim(leaf) for leaf in jax.tree.leaves(self.links))

    def _draw(self, draw: Callable[[int, Any], Any]) -> tuple[Any, ...]:
        """`draw(i, distribution of z[i])` -> z[i] for each entry in the order of the links; z in the order of entries.

        Raises Fault on a batch.
        """
        if self._rank() > (self.rank or 0):
            raise Fault('Chain was given a batch: its links have more axes than those of one example', 'vmap over it')
        before: tuple[Any, ...] = ()
        for link, i in zip(self.links, self.order):
            before = (*before, draw(i, link(before)))
        return tuple(before[self.order.index(i)] for i in range(len(self.links)))

    def layers(self, z: Any) -> tuple[Any, ...]:
        """The distribution of each entry of z, given those of z that it follows. Raises Fault on a batch."""
        if len(z) != len(self.links):
            raise Fault(f'a chain of {len(self.links)} got z of {len(z)} layers', 'pass one for each')
        found: dict[int, Any] = {}

        def draw(i: int, p: Any) -> Any:
            found[i] = p
            return z[i]

        self._draw(draw)
        return tuple(found[i] for i in range(len(z)))

    def before(self, i: int) -> set[int]:
        """The entries of z that z[i] may follow."""
        return set(self.order[: self.order.index(i)])

    @property
    def reparameterized(self) -> bool:
        """That all its layers are."""
        return all(getattr(p, 'reparameterized', True) for p in self._shapes())

    @property
    def support(self) -> str:
        """That of its layers; one after the other where they differ."""
        return ', then '.join(dict.fromkeys(p.support for p in self._shapes()))

    def _shapes(self) -> tuple[Any, ...]:
        return jax.eval_shape(lambda chain, key: chain.draws(key)[1], self, random.key(0))

    @property
    def mean(self) -> tuple[Any, ...]:
        """The mean of each layer given the means of those before: E[z] where every mean is linear in them."""
        return self._draw(lambda i, p: p.mean)

    def draws(self, key: Array) -> tuple[tuple[Any, ...], tuple[Any, ...], Array]:
        """z, the distribution of each of its entries given those before, and their log-densities [L]; in one pass."""
        keys = random.split(key, len(self.links))
        found: dict[int, Any] = {}

        def draw(i: int, p: Any) -> Any:
            z, log_p = p.sample_and_log_prob(keys[len(found)])
            found[i] = (p, log_p)
            return z

        z = self._draw(draw)
        layers, log_ps = zip(*(found[i] for i in range(len(z))))
        return z, layers, jnp.stack(log_ps)

    def sample(self, key: Array) -> tuple[Any, ...]:
        """z, each entry given those before it; the i-th that is drawn is so from split(key, L)[i]."""
        keys, drawn = list(random.split(key, len(self.links))), iter(range(len(self.links)))
        return self._draw(lambda i, p: p.sample(keys[next(drawn)]))

    def sample_and_log_prob(self, key: Array) -> tuple[tuple[Any, ...], Array]:
        """z and log p(z), in one pass."""
        z, _, log_ps = self.draws(key)
        return z, jnp.sum(log_ps)

    def log_probs(self, z: Any) -> Array:
        """log p(z_i | those before it) [L], in nats. Raises Fault on a batch."""
        return jnp.stack([p.log_prob(z_i) for p, z_i in zip(self.layers(z), z)])

    def log_prob(self, z: Any) -> Array:
        """sum_i log p(z_i | those before it), in nats. Raises Fault on a batch."""
        return jnp.sum(self.log_probs(z))

    def kl(self, p: Any) -> Array:
        """Raises Fault: the mean over the upper layers has no closed form."""
        raise Fault(no_kl(self, p).what, 'pass kl=layered_kl, or kl=monte_carlo')


def given(p: Any, before: tuple[Any, ...]) -> Any:
    """The link of a layer that follows no other."""
    return p


def as_chain(p: Any) -> Chain:
    """A chain as it is; another distribution as the chain of it alone."""
    return p if isinstance(p, Chain) else Chain((Partial(given, p),))


def exact_kl(q: Any, p: Any, z: Any, log_q: Array) -> Array:
    """KL(q || p) of one layer by formula. Raises Fault where the pair of families has none."""
    if not hasattr(q, 'kl'):
        raise no_kl(q, p)
    return q.kl(p)


def layer_kls(q: Chain, p: Chain, z: Any, layers: Any, log_qs: Array, kl: Callable[..., Array] = exact_kl) -> Array:
    """Rates [L] of z ~ q, whose sum has the mean KL(q || p): layers and log_qs are those of `q.draws`; nats.

    A layer's is kl(q_i, p_i, z_i, log q_i) where p_i follows only what q drew before z_i, so that this mean over z_i is
    the right one; else log q_i - log p_i.
    """
    check_layers(q, p)
    rates = [
        kl(layer, under, z[i], log_qs[i]) if p.before(i) <= q.before(i) else log_qs[i] - under.log_prob(z[i])
        for i, (layer, under) in enumerate(zip(layers, p.layers(z)))
    ]
    return jnp.stack(rates)


def check_layers(q: Any, p: Any) -> None:
    """Raises Fault where q and p are not chains of as many layers."""
    if not (isinstance(q, Chain) and isinstance(p, Chain) and len(q.links) == len(p.links)):
        raise Fault(
            f'{type(q).__name__} and {type(p).__name__} are not two chains of as many layers', 'pass kl=monte_carlo'
        )


def layered_kl(q: Any, p: Any, z: Any, log_q: Array) -> Array:
    """sum_i KL(q_i || p_i) given the upper layers of z ~ q: partly Monte Carlo, exact for one layer; nats.

    For `elbo_terms(..., kl=layered_kl)` of hierarchies; see `layer_kls`. Raises Fault where q and p are not chains of
    as many layers, or where a layer has no closed form.
    """
    check_layers(q, p)
    layers = q.layers(z)
    log_qs = [jnp.zeros(()) if p.before(i) <= q.before(i) else layers[i].log_prob(z_i) for i, z_i in enumerate(z)]
    return jnp.sum(layer_kls(q, p, z, layers, jnp.stack(log_qs)))

"""One-hot vectors one after the other: p(x) = prod_i p(x_i | x_1 ... x_{i-1}), by any network that looks back only."""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array, lax, random
from jax.tree_util import Partial

from vae_jax.distributions import Categorical
from vae_jax.distributions.base import sample_and_log_prob, static
from vae_jax.errors import Fault
from vae_jax.kernels import product
from vae_jax.samplers.densities import Density


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Autoregressive:
    """One-hot x [n, K], x_i ~ softmax(network(x)_i / temperature); network(x)_i looks at x_1 ... x_{i-1} alone."""

    network: Partial  # x [n, K] -> logits [n, K]
    log_temperature: Array
    shape: tuple[int, int] = static((0, 0))

    reparameterized: ClassVar[bool] = False
    normalized: ClassVar[bool] = True
    support: ClassVar[str] = Categorical.support

    sample_and_log_prob = sample_and_log_prob

    def _logits(self, x: Array) -> Array:
        return self.network(x) * jnp.exp(-self.log_temperature)

    def sample(self, key: Array) -> Array:
        """n passes of the network, one for each position."""

        def position(x: Array, i: Array) -> tuple[Array, None]:
            chosen = random.categorical(random.fold_in(key, i), self._logits(x)[i])
            return x.at[i].set(jax.nn.one_hot(chosen, self.shape[1], dtype=x.dtype)), None

        return lax.scan(position, jnp.zeros(self.shape, jnp.float32), jnp.arange(self.shape[0]))[0]

    def log_prob(self, x: Array) -> Array:
        """sum_i log softmax(network(x) / temperature)_i at x_i, nats, in one pass. Raises Fault on another shape."""
        if jnp.shape(x) != self.shape or self.log_temperature.ndim:
            raise Fault(
                f'Autoregressive.log_prob got x of shape {jnp.shape(x)}, expected one example {self.shape}', 'vmap it'
            )
        return jnp.sum(x * jax.nn.log_softmax(self._logits(x)))


def autoregressive(network: Any, positions: int, categories: int) -> Density:
    """The density of one-hot vectors [positions, categories] whose factors a causal (init, apply) network gives."""
    apply = network.apply  # taken once: a Partial is equal to another if its function is

    def given(part: Any) -> Autoregressive:
        return Autoregressive(Partial(apply, part), jnp.zeros(()), (positions, categories))

    return Density(network.init, given)


@dataclasses.dataclass(frozen=True)
class Causal:
    """x [n, K] -> logits [n, K]; those at i are functions of x_1 ... x_{i-1} (Vaswani et al. 2017, norms first)."""

    width: int
    layers: int
    heads: int

    def init(self, key: Array, x: Array) -> dict[str, Any]:
        """Even logits to start with."""
        (n, k), w = x.shape, self.width
        a, b, *keys = random.split(key, 2 + self.layers)
        dense = lambda key, m, n: random.normal(key, (m, n)) / math.sqrt(m)

        def layer(key: Array) -> dict[str, Array]:
            ways = {'look': (w, 3 * w), 'gather': (w, w), 'up': (w, 4 * w), 'down': (4 * w, w)}
            return {name: dense(k, *size) for k, (name, size) in zip(random.split(key, 4), ways.items())}

        return {
            'codes': random.normal(a, (k + 1, w)),  # the last stands before the first
            'places': 0.1 * random.normal(b, (n, w)),
            'layers': {str(i): layer(key) for i, key in enumerate(keys)},
            'logits': jnp.zeros((w, k)),
            'bias': jnp.zeros((k,)),
        }

    def apply(self, params: Any, x: Array) -> Array:
        """logits [n, K]."""
        codes = params['codes']
        y = jnp.concatenate([codes[-1:], product(x[:-1], codes[:-1])]) + params['places']
        for layer in params['layers'].values():
            y = y + self._look_back(layer, _normalized(y))
            y = y + product(jax.nn.gelu(product(_normalized(y), layer['up'])), layer['down'])
        return product(_normalized(y), params['logits']) + params['bias'][None]

    def _look_back(self, layer: Any, y: Array) -> Array:
        n = y.shape[0]
        q, k, v = product(y, layer['look']).reshape(n, 3, self.heads, -1).transpose(1, 2, 0, 3)
        scores = jnp.einsum('hid,hjd->hij', q, k) / math.sqrt(q.shape[-1])
        seen = jnp.where(jnp.tril(jnp.ones((n, n), bool))[None], scores, -jnp.inf)
        found = jnp.einsum('hij,hjd->ihd', jax.nn.softmax(seen), v)
        return product(found.reshape(n, -1), layer['gather'])


def _normalized(y: Array) -> Array:
    """Rows of mean 0 and variance 1 (Ba et al. 2016)."""
    y = y - jnp.mean(y, -1, keepdims=True)
    return y * lax.rsqrt(jnp.mean(y**2, -1, keepdims=True) + 1e-6)


def causal_transformer(width: int = 64, layers: int = 2, heads: int = 4) -> Causal:
    """The network of `autoregressive` for positions with an order. Raises Fault where heads do not divide the width."""
    if layers < 1 or heads < 1 or width % heads:
        raise Fault(f'a transformer of width {width}, {layers} layers, {heads} heads', 'let heads divide the width')
    return Causal(width, layers, heads)

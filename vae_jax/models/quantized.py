"""Vector quantization: z says which vector of a codebook each position has, and q(z|x) is certain of the nearest ones.

A codebook is a part of params over levels of K vectors each; a level codes what those before it leave (one level: plain
vector quantization; several: residual). `losses.codebooks` says what it learns from.

    {'usage': [levels, K], 'vectors': [levels, K, d]}    vectors that learn by gradient
    {'usage': [levels, K], 'total': [levels, K, d]}      running means: vectors = total / usage
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax, random

from vae_jax import networks
from vae_jax.distributions import Bernoulli, Categorical, check_support
from vae_jax.distributions.base import sample_and_log_prob, set_rank, static
from vae_jax.errors import Fault
from vae_jax.models.base import Model


class Code(NamedTuple):
    """One-hot vectors [levels * positions, K], level after level; `through` [positions, d] is 0, and has a gradient.

    It is that of the features, so that a decoder's gradient reaches the encoder. Codes of a prior have none.
    """

    hot: Array
    through: Array | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Nearest:
    """All mass on one code: hot [n, K], nearest to features [positions, d]. Its samples pass gradients straight on."""

    hot: Array
    features: Array
    rank: int | None = static()

    reparameterized: ClassVar[bool] = True
    normalized: ClassVar[bool] = True
    support: ClassVar[str] = Categorical.support

    sample_and_log_prob = sample_and_log_prob

    def __post_init__(self) -> None:
        set_rank(self, self.hot)

    @property
    def mean(self) -> Code:
        """The code itself, with features - stop(features): zeros whose gradient is the features'."""
        return Code(self.hot, self.features - lax.stop_gradient(self.features))

    def sample(self, key: Array) -> Code:
        return self.mean

    def log_prob(self, z: Code) -> Array:
        """0 at the code and -inf elsewhere. Raises Fault on a batch."""
        if self.hot.ndim > (self.rank or 0):
            raise Fault('Nearest.log_prob was given a batch', 'vmap it: vmap(lambda q, z: q.log_prob(z))(qs, zs)')
        return jnp.where(jnp.all(z.hot == self.hot), 0.0, -jnp.inf)

    def kl(self, p: Any) -> Array:
        """KL(self || p) = -log p(code), nats."""
        return -p.log_prob(self.mean)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class OverCodes:
    """`base`, a distribution of one-hot vectors [n, K], as one of codes: what a prior of quantized codes is."""

    base: Any

    reparameterized: ClassVar[bool] = False
    normalized: ClassVar[bool] = True

    sample_and_log_prob = sample_and_log_prob

    @property
    def support(self) -> str:
        """That of its base."""
        return self.base.support

    def sample(self, key: Array) -> Code:
        return Code(self.base.sample(key))

    def log_prob(self, z: Code) -> Array:
        """That of the base at the one-hot vectors, nats. Raises Fault on a batch."""
        return self.base.log_prob(z.hot)


def learned_codebook(key: Array, levels: int, codes: int, dims: int) -> dict[str, Array]:
    """Vectors ~ N(0, I) that learn by gradient (van den Oord et al. 2017, eq. 3), and how often each was used."""
    return {'usage': _evenly(levels, codes), 'vectors': random.normal(key, (levels, codes, dims))}


def averaged_codebook(key: Array, levels: int, codes: int, dims: int) -> dict[str, Array]:
    """Vectors ~ N(0, I) as running means of the features that chose them (van den Oord et al. 2017, app. A.1)."""
    return {'usage': _evenly(levels, codes), 'total': random.normal(key, (levels, codes, dims)) / codes}


def _evenly(levels: int, codes: int) -> Array:
    return jnp.full((levels, codes), 1 / codes)


def code_vectors(book: dict[str, Array]) -> Array:
    """[levels, K, d] of a codebook of either kind. A mean that is not used for long (usage < 1e-5 / K) goes to 0."""
    if 'vectors' in book:
        return book['vectors']
    usage = book['usage']
    return book['total'] / jnp.maximum(usage, 1e-5 / usage.shape[-1])[..., None]


def look_up(vectors: Array, hot: Array) -> Array:
    """vectors [levels, K, d] at hot [levels, n, K] -> [levels, n, d]."""
    return jnp.einsum('lnk,lkd->lnd', hot, vectors)


def left(features: Array, codes: Array) -> Array:
    """features [n, d] less the codes [levels, n, d] of the levels before each: what a level has to code."""
    before = jnp.cumsum(codes, 0) - codes
    return features[None] - lax.stop_gradient(before)


def nearest(vectors: Array, features: Array) -> Array:
    """hot [levels, n, K]: at each level the vector nearest to what the levels before it left of features [n, d]."""
    features, vectors, hots = lax.stop_gradient(features), lax.stop_gradient(vectors), []
    for book in vectors:
        # |f - v|^2 less |f|^2, which all vectors share
        distance = jnp.sum(book**2, -1)[None] - 2 * features @ book.T
        hots.append(jax.nn.one_hot(jnp.argmin(distance, -1), book.shape[0], dtype=features.dtype))
        features = features - hots[-1] @ book
    return jnp.stack(hots)


def vq(
    encoder: Any,
    decoder: Callable[[tuple[int, ...]], Any],
    *,
    codes: int,
    dims: int,
    like: Array,
    positions: int = 1,
    levels: int = 1,
    likelihood: Any = Bernoulli,
    codebook: Callable[..., dict[str, Array]] = learned_codebook,
) -> Model:
    """VQ-VAE: z = the nearest of `codes` vectors [dims] at each position, p(z) uniform (van den Oord et al. 2017).

    An encoder of features [f] is given `positions` of them, and the decoder the vector [positions * dims]; one of
    features [h, w, c] has h w positions, each with the features of its place, and the decoder is given [h, w, dims].
    z is a `Code`. Raises Fault on sizes below 1, codes < 2 and values outside the likelihood's support.
    """
    for name, size, least in (
        ('codes', codes, 2),
        ('dims', dims, 1),
        ('positions', positions, 1),
        ('levels', levels, 1),
    ):
        if size < least:
            raise Fault(f'{name} is {size}, expected {least} or more', f'set {name} to {least} or more')
    if not isinstance(like, jax.ShapeDtypeStruct):
        check_support(likelihood, like)
    shape = tuple(jnp.shape(like))
    grid = jax.eval_shape(lambda x: encoder.apply(encoder.init(random.key(0), x), x), like).shape[:-1]
    if grid and positions not in (1, math.prod(grid)):
        raise Fault(f'positions is {positions}, the encoder gives {grid}', 'leave positions out: they are the places')
    n, inputs = (math.prod(grid), (*grid, dims)) if grid else (positions, (positions * dims,))
    encode_net = networks.Head(encoder, dims if grid else n * dims)
    features_shape = shape if likelihood.arity == 1 else (*shape[:-1], shape[-1] * likelihood.arity)
    decode_net: Any = decoder(features_shape)

    def init(key: Array, x: Array) -> dict[str, Any]:
        a, b, c = random.split(key, 3)
        return {
            'encode': encode_net.init(a, x),
            'decode': decode_net.init(b, jnp.zeros(inputs)),
            'codebook': codebook(c, levels, codes, dims),
        }

    def prior(params: Any) -> OverCodes:
        return OverCodes(Categorical(jnp.zeros((levels * n, codes), jnp.float32)))

    def encode(params: Any, x: Array) -> Nearest:
        if tuple(jnp.shape(x)) != shape:
            raise Fault(f'encode got x of shape {tuple(jnp.shape(x))}, expected one example {shape}', 'vmap it')
        features = encode_net.apply(params['encode'], x).reshape(n, dims)
        hot = nearest(code_vectors(params['codebook']), features)
        return Nearest(hot.reshape(levels * n, codes), features)

    def decode(params: Any, z: Code) -> Any:
        vectors = jnp.sum(look_up(code_vectors(params['codebook']), z.hot.reshape(levels, n, codes)), 0)
        # books learn from the features alone, so that nearest vectors stay near
        vectors = lax.stop_gradient(vectors) + (0.0 if z.through is None else z.through)
        features = decode_net.apply(params['decode'], vectors.reshape(inputs))
        return likelihood.from_features(features.reshape(*shape, likelihood.arity))

    return Model(init, prior, encode, decode)

"""The loss of a vector-quantized model, whose codebook follows the features; restarts of vectors that none uses."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax, random, vmap
from jax.scipy.special import entr

from vae_jax.losses.objectives import Loss, x_of
from vae_jax.models import Model
from vae_jax.models.quantized import Nearest, code_vectors, left, look_up

_stop = lax.stop_gradient
_STATISTICS = ('usage', 'total')
_RESTARTS = 0x5EED  # a stream of the trainer's key


def code_usage(hot: Array) -> dict[str, Array]:
    """Of one-hot vectors [..., n, K]: `perplexity` exp(entropy of their shares), and how many codes are `used`.

    Each is a mean over the axes before n.
    """
    share = jnp.mean(hot, -2)
    perplexity = jnp.exp(jnp.sum(entr(share), -1))
    return {'perplexity': jnp.mean(perplexity), 'used': jnp.mean(jnp.sum(share > 0, -1).astype(jnp.float32))}


def by_level(q: Nearest, levels: int) -> tuple[Array, Array]:
    """hot [levels, b p, K] and features [b p, d] of a batch of codes of p positions each."""
    b, p, d = q.features.shape
    hot = q.hot.reshape(b, levels, p, -1)
    return jnp.moveaxis(hot, 1, 0).reshape(levels, b * p, -1), q.features.reshape(b * p, d)


def quantized(model: Model, name: str = 'codebook', of: Callable[[Any], Any] = x_of) -> Loss:
    """distortion + rate + hyper.commitment |f - stop(v)|^2 + codebook's (van den Oord et al. 2017, eq. 3), f features.

    Squared distances are summed over positions and levels. Vectors that learn have |stop(f) - v|^2; `usage` and `total`
    follow what the batch gives by 1/2 |. - stop(batch's)|^2 at value 0, for `following` to make averages of. The rate
    is -log p(z), from which the prior learns, and nothing else does.
    """

    def loss(params: Any, key: Array, batch: Mapping[str, Any], hyper: Any) -> tuple[Array, dict[str, Array]]:
        xs, p, book = of(batch), model.prior(params), params[name]
        q = vmap(lambda x: model.encode(params, x))(xs)
        distortion = jnp.mean(vmap(lambda q, x: -model.decode(params, q.mean).log_prob(x))(q, xs))
        rate = jnp.mean(vmap(lambda q: -p.log_prob(_stop(q.mean)))(q))
        vectors = code_vectors(book)
        hot, features = by_level(q, vectors.shape[0])
        codes = look_up(vectors, hot)
        inputs, b = left(features, codes), q.hot.shape[0]
        commitment = jnp.sum((inputs - _stop(codes)) ** 2) / b
        value = distortion + rate + hyper.commitment * commitment + _follow(book, hot, _stop(inputs))
        if 'vectors' in book:
            value = value + jnp.sum((_stop(inputs) - codes) ** 2) / b
        terms = {'distortion': distortion, 'rate': rate, 'commitment': commitment}
        return value, {**terms, **code_usage(hot)}

    return loss


def _follow(book: Mapping[str, Array], hot: Array, inputs: Array) -> Array:
    """0, whose gradient is that of half the squared distance of the statistics to those of the batch."""
    n = hot.shape[1]
    batch = {'usage': jnp.mean(hot, 1), 'total': jnp.einsum('lnk,lnd->lkd', hot, inputs) / n}
    half = jnp.zeros(())
    for name in sorted(batch.keys() & book.keys()):
        half = half + 0.5 * jnp.sum((book[name] - batch[name]) ** 2)
    return half - _stop(half)


def following(
    optimizer: Callable[[Any], optax.GradientTransformation], name: str = 'codebook'
) -> Callable[[Any], optax.GradientTransformation]:
    """The optimizer, and sgd(1 - hyper.decay) for a codebook's statistics: s <- decay s + (1 - decay) batch's."""

    def labels(params: Any) -> Any:
        follows = lambda path: path[0].key == name and path[1].key in _STATISTICS
        return jax.tree_util.tree_map_with_path(lambda path, _: follows(path), params)

    return lambda hyper: optax.partition({True: optax.sgd(1 - hyper.decay), False: optimizer(hyper)}, labels)


def restarted(book: Mapping[str, Array], key: Array, inputs: Array, share: float) -> tuple[dict[str, Array], Array]:
    """(the codebook, with each vector of usage below share / K at one of inputs [levels, n, d]; how many these are)."""
    usage = book['usage']
    levels, k = usage.shape
    dead = usage < share / k
    at = random.randint(key, (levels, k), 0, inputs.shape[1])
    found = jnp.take_along_axis(inputs, at[..., None], 1)
    new = {'usage': jnp.full_like(usage, 1 / k), 'vectors': found, 'total': found / k}
    choose = lambda old, new: jnp.where(dead.reshape(*dead.shape, *[1] * (old.ndim - 2)), new, old)
    return {leaf: choose(book[leaf], new[leaf]) for leaf in book}, jnp.sum(dead)


def restarting(
    trainer: Any, model: Model, share: float = 0.1, name: str = 'codebook', of: Callable[[Any], Any] = x_of
) -> Any:
    """A trainer after whose steps vectors of running usage below share / K start anew, at features of the batch.

    At which ones is said by fold_in(key, step), so a run that goes on is the run that was never stopped. (Dhariwal et
    al. 2020, section 3.1.) The metric `restarted` counts them.
    """

    def step(state: Any, batch: Any) -> tuple[Any, dict[str, Array]]:
        new, metrics = trainer.step(state, batch)
        book, xs = new.params[name], of(batch)
        vectors = code_vectors(book)
        hot, features = by_level(vmap(lambda x: model.encode(new.params, x))(xs), vectors.shape[0])
        key = random.fold_in(random.fold_in(state.key, _RESTARTS), state.step)
        book, count = restarted(book, key, left(features, look_up(vectors, hot)), share)
        return new._replace(params={**new.params, name: book}), {**metrics, 'restarted': count.astype(jnp.float32)}

    return trainer._replace(step=step)

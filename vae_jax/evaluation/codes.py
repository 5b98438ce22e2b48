"""Codes of a split, and what a trained model draws: samples, reconstructions, interpolations, the manifold."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, random, vmap

from vae_jax.distributions import Normal
from vae_jax.errors import NUMBERS, Fault
from vae_jax.evaluation.checks import split_and_key
from vae_jax.evaluation.streaming import Rows, at_a_time, example, finite, over
from vae_jax.models import Conditional, Model


def _flat(z: Any) -> Array:
    """The numbers of z, any pytree, as one vector [d]."""
    return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(z)])


@cache
def _code_rows(model: Model | Conditional) -> Rows:
    def rows_of(member: tuple[Any, Array], shared: tuple[Any, Array]) -> dict[str, Array]:
        (params, key), (split, rows) = member, shared

        def one(row: Array) -> dict[str, Array]:
            of_row, x, _ = example(model, split, key, row)
            q = of_row.encode(params, x)
            scales = {'log_std': _flat(q.log_std)} if hasattr(q, 'log_std') else {}
            return {'mean': _flat(q.mean), **scales}

        return vmap(one)(rows)

    return rows_of


def encode(
    model: Model | Conditional, params: Any, split: Any, key: Array | None = None, quiet: bool = True
) -> dict[str, np.ndarray]:
    """Codes of a split: mean [n, d] of q(z|x), `index` [n], and the rows' other columns (labels).

    Where q has one (Gaussians, Laplace), its log_std [n, d] too. z of more than one axis or array is raveled to [d].
    Raises Fault on an empty split, x that the model cannot take, and (code 4) where a code is not finite.
    """
    key = random.key(0) if key is None else key
    split_and_key(split, key)
    codes = over(_code_rows(model), params, key, split, at_a_time(split), quiet, 'encoding')
    for name, values in codes.items():
        finite(values.sum(1), f'the {name} of q(z|x)')
    columns = {name: np.asarray(column) for name, column in split.rows.items() if name != 'x'}
    return {**codes, 'index': np.arange(len(split)), **columns}


def rate_per_dim(codes: dict[str, np.ndarray]) -> np.ndarray:
    """KL(q(z_i|x) || N(0, 1)) [latent] of Gaussian codes, mean over examples; nats. Near 0 the dimension is unused.

    Raises Fault (code 4) where a code is not finite.
    """
    _check_finite(codes)
    mean, log_std = (np.asarray(codes[name], np.float64) for name in ('mean', 'log_std'))
    return np.mean(0.5 * (np.expm1(2 * log_std) + mean**2) - log_std, 0)


def active_units(codes: dict[str, np.ndarray], threshold: float = 0.01) -> int:
    """How many dimensions have a variance of E[z|x] over examples above `threshold` (Burda et al. 2015, section 5.1).

    Raises Fault on fewer than two examples, and (code 4) where a code is not finite.
    """
    _check_finite(codes)
    if len(codes['mean']) < 2:
        raise Fault('a variance over examples needs two of them', 'encode a larger split')
    return int(np.sum(np.var(np.asarray(codes['mean'], np.float64), axis=0, ddof=1) > threshold))


def _check_finite(codes: dict[str, np.ndarray]) -> None:
    for name in ('mean', 'log_std'):
        if name in codes and not np.isfinite(codes[name]).all():
            found = f'the {name} of {np.sum(~np.isfinite(codes[name]).all(1))} codes is not finite'
            raise Fault(found, 'leave these examples out, or look for what diverged', NUMBERS)


def has_manifold(model: Model, params: Any) -> bool:
    """Whether z is two Gaussian numbers, so that `manifold` can draw it."""
    p = jax.eval_shape(model.prior, params)
    return isinstance(p, Normal) and p.mean.shape == (2,)


@partial(jax.jit, static_argnames=('model', 'n'))
def sample(model: Model, params: Any, key: Array, n: int) -> Array:
    """n draws x ~ p(x|z), z ~ p(z): [n, *shape]."""

    def one(key: Array) -> Array:
        a, b = random.split(key)
        return model.decode(params, model.prior(params).sample(a)).sample(b)

    return vmap(one)(random.split(key, n))


@partial(jax.jit, static_argnames=('model', 'n'))
def sample_means(model: Model, params: Any, key: Array, n: int) -> Array:
    """n means E[x|z], z ~ p(z): [n, *shape]. The usual picture; it has less noise than a sample of x has."""
    one = lambda key: model.decode(params, model.prior(params).sample(key)).mean
    return vmap(one)(random.split(key, n))


@partial(jax.jit, static_argnames='model')
def reconstruct(model: Model, params: Any, xs: Array) -> Array:
    """E[x'|z] at the mean z of q(z|x), for xs [n, *shape]."""
    return vmap(lambda x: model.decode(params, model.encode(params, x).mean).mean)(xs)


@partial(jax.jit, static_argnames=('model', 'steps'))
def interpolate(model: Model, params: Any, starts: Array, ends: Array, steps: int = 9) -> Array:
    """E[x|z] on straight lines between the mean codes of starts and ends [n, *shape]: [n, steps, *shape]."""

    def one(a: Array, b: Array) -> Array:
        za, zb = model.encode(params, a).mean, model.encode(params, b).mean
        between = lambda t: jax.tree.map(lambda a, b: (1 - t) * a + t * b, za, zb)
        return vmap(lambda t: model.decode(params, between(t)).mean)(jnp.linspace(0, 1, steps))

    return vmap(one)(starts, ends)


@partial(jax.jit, static_argnames=('model', 'side'))
def manifold(model: Model, params: Any, side: int = 15) -> Array:
    """E[x|z] on the [side, side] grid of standard normal quantiles of a two-dimensional latent: [side, side, *shape].

    (Kingma & Welling 2013, figure 4.) Raises Fault where z is something else.
    """
    if not has_manifold(model, params):
        z = jax.tree.map(jnp.shape, jax.eval_shape(lambda: model.prior(params).sample(random.key(0))))
        raise Fault(f'the manifold needs a Gaussian latent of 2, found {z}', 'train with --latent 2')
    ticks = jax.scipy.stats.norm.ppf((jnp.arange(side) + 0.5) / side)
    return vmap(lambda y: vmap(lambda x: model.decode(params, jnp.stack([x, -y])).mean)(ticks))(ticks)

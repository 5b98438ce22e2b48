"""Missing entries of x by self-normalised importance sampling, from a model of `Observed` x."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, random, vmap

from vae_jax.bounds.elbo import check_samples
from vae_jax.distributions import Observed
from vae_jax.evaluation.checks import counted, split_and_key
from vae_jax.evaluation.streaming import Rows, at_a_time, finite, over, viewed
from vae_jax.models import Model


def _weighed(model: Model, params: Any, key: Array, x: Observed, k: int) -> tuple[Array, Any]:
    """(log w [k], z [k]) of k samples of q(z | what was seen of x)."""
    q = model.encode(params, x)

    def one(key: Array) -> tuple[Array, Any]:
        z, log_q = q.sample_and_log_prob(key)
        return model.decode(params, z).log_prob(x) + model.prior(params).log_prob(z) - log_q, z

    return vmap(one)(random.split(key, k))


def imputed(model: Model, params: Any, key: Array, x: Observed, k: int = 1000) -> Array:
    """x with E[x_missing | x_seen] where it is missing: sum_i softmax(log w)_i E[x|z_i], z_i ~ q(z|x_seen), k of them.

    (Mattei & Frellsen 2019, eq. 8 and 12.) Of one example, [*shape]. Raises Fault on k < 1.
    """
    check_samples(k)
    log_w, zs = _weighed(model, params, key, x, k)
    means = vmap(lambda z: model.decode(params, z).mean)(zs)
    return jnp.where(jnp.asarray(x.mask, bool), x.x, jnp.tensordot(jax.nn.softmax(log_w), means, 1))


def imputations(model: Model, params: Any, key: Array, x: Observed, m: int, k: int = 1000) -> Array:
    """m draws of x_missing | x_seen beside x_seen, [m, *shape]: z resampled by its weight among k, then x ~ p(x|z).

    (Mattei & Frellsen 2019, section 3.2: multiple imputation by sampling importance resampling.) Raises Fault on k < 1.
    """
    check_samples(k)
    weigh_key, choose_key, draw_key = random.split(key, 3)
    log_w, zs = _weighed(model, params, weigh_key, x, k)
    chosen = random.categorical(choose_key, log_w, shape=(m,))
    draw = lambda key, i: model.decode(params, jax.tree.map(lambda z: z[i], zs)).sample(key).x
    drawn = vmap(draw)(random.split(draw_key, m), chosen)
    return jnp.where(jnp.asarray(x.mask, bool)[None], x.x[None], drawn)


@cache
def _imputed_rows(model: Model, k: int) -> Rows:
    def rows_of(member: tuple[Any, Array], shared: tuple[Any, Array]) -> Array:
        (params, key), (split, rows) = member, shared

        def one(row: Array) -> Array:
            x: Any
            x, model_key = viewed(split, key, row)
            return imputed(model, params, model_key, x, k)

        return vmap(one)(rows)

    return rows_of


def impute(model: Model, params: Any, split: Any, key: Array, k: int = 1000, quiet: bool = True) -> Any:
    """`imputed` of every row of a split, [n, *shape]; of the members of a population, params [m, ...] and keys [m], a
    list of m.

    Raises Fault on k < 1, an empty split, and (code 4) where a value is not finite.
    """
    split_and_key(split, key)
    size = at_a_time(split, k := counted('k', k))
    found = over(_imputed_rows(model, k), params, key, split, size, quiet, 'imputing')
    for values in found if key.ndim else [found]:
        finite(values.reshape(len(values), -1).sum(1), 'an imputed value')
    return found


def missing_error(filled: np.ndarray, whole: np.ndarray, mask: np.ndarray) -> float:
    """Root mean squared error of the entries [n, *shape] that were missing (mask False)."""
    gap = (np.asarray(filled, np.float64) - whole)[~np.asarray(mask, bool)]
    return float(np.sqrt(np.mean(gap**2)))

"""Densities of codes, and the model that has one for its prior."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, random, vmap

from vae_jax import flows
from vae_jax.distributions import Categorical, FullNormal, Mixture
from vae_jax.errors import Fault
from vae_jax.evaluation.streaming import ROWS, Rows, over, viewed
from vae_jax.models import Model, add_part
from vae_jax.models.quantized import OverCodes


class Density(NamedTuple):
    """p(z) with parameters of its own: given(init(key, z)) is a distribution of one z."""

    init: Callable[[Array, Any], Any]  # key, z -> part of params
    given: Callable[[Any], Any]  # part -> p(z)


@cache
def _code_rows(model: Model) -> Rows:
    def rows_of(member: tuple[Any, Array], shared: tuple[Any, Array]) -> Any:
        (params, key), (split, rows) = member, shared

        def one(row: Array) -> Any:
            x, model_key = viewed(split, key, row)
            return model.encode(params, x).sample(model_key)

        return vmap(one)(rows)

    return rows_of


def codes(model: Model, params: Any, split: Any, key: Array, quiet: bool = True) -> Any:
    """z ~ q(z|x) of each x of a split: arrays [n, ...], draws of the aggregate posterior 1/n sum_i q(z|x_i).

    Of the members of a population, params [m, ...] and keys [m], a list of m. Raises Fault on an empty split.
    """
    return over(_code_rows(model), params, key, split, min(len(split), ROWS) or 1, quiet, 'codes')


def with_prior(model: Model, density: Density, name: str = 'sampler') -> Model:
    """The model with p(z) = density.given(params[name]); `init` adds that part. All else evaluates as before.

    Raises Fault where the name is taken, and where the model has terms, which know of its own prior only.
    """
    if model.terms is not None:
        raise Fault('with_prior: the model computes its terms in one go', 'use a model without terms')

    def init(key: Array, x: Any) -> dict[str, Any]:
        a, b, c = random.split(key, 3)
        params = model.init(a, x)
        return add_part(params, name, density.init(b, model.encode(params, x).sample(c)))

    return model._replace(init=init, prior=lambda params: density.given(params[name]))


def negative_log_prob(density: Density) -> Callable[..., tuple[Array, dict[str, Array]]]:
    """-log p(z) of one code z as an objective, for `per_example`: maximum likelihood, of params the density's."""

    def objective(params: Any, key: Array, z: Any, hyper: Any) -> tuple[Array, dict[str, Array]]:
        return -density.given(params).log_prob(z), {}

    return objective


def fixed(distribution: Any) -> Density:
    """A distribution as it is, the part of params being itself: one that was fitted, or a guess to improve."""
    return Density(lambda key, z: distribution, lambda part: part)


def gaussian(zs: Array) -> FullNormal:
    """N(mean, covariance) of codes zs [n, d]. Raises Fault where the covariance is singular: too few codes, say."""
    rows = _vectors(zs)
    d = rows.shape[1]
    return _full_normal(rows.mean(0), np.cov(rows.T, bias=True).reshape(d, d))


def gaussian_mixture(zs: Array, components: int, key: Array) -> Mixture:
    """Mixture of FullNormals by scikit-learn's EM on codes zs [n, d], started by k-means from the key.

    Raises Fault on fewer codes than components (Ghosh et al. 2020 use 10).
    """
    from sklearn.mixture import GaussianMixture

    rows = _vectors(zs)
    if not 1 <= components <= len(rows):
        raise Fault(
            f'{components} components for {len(rows)} codes', 'use 1 component or more, and more codes than that'
        )
    seed = int(random.randint(key, (), 0, np.iinfo(np.int32).max))
    found = GaussianMixture(components, random_state=seed).fit(rows)
    each = [_full_normal(mean, cov) for mean, cov in zip(found.means_, found.covariances_)]
    return Mixture(jnp.log(jnp.asarray(found.weights_, jnp.float32)), jax.tree.map(lambda *a: jnp.stack(a), *each))


def _vectors(zs: Any) -> np.ndarray:
    rows = np.asarray(zs, np.float64)
    if rows.ndim != 2:
        raise Fault(f'codes have shape {rows.shape}', 'give one vector a code: [n, d]')
    return rows


def _full_normal(mean: np.ndarray, covariance: np.ndarray) -> FullNormal:
    try:
        factor = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        raise Fault('the covariance of the codes is singular', 'give more codes, or fewer components') from None
    lower = jnp.asarray(factor, jnp.float32)
    return FullNormal(jnp.asarray(mean, jnp.float32), jnp.log(jnp.diag(lower)), lower)


def flow(flow: Any, base: Any) -> Density:
    """`base`, a distribution of z [d] such as `gaussian(zs)`, pushed through a flow; both learn.

    Raises Fault on a flow without inverse.
    """
    if flow.inverse is None:
        raise Fault('log p(z) of codes needs the inverse of the flow, and this one has none', 'use a coupling or maf')
    init = lambda key, z: {'base': base, 'flow': flow.init(key, z)}
    return Density(init, lambda part: flows.Flowed(part['base'], part['flow'], flow))


def independent(positions: int, categories: int) -> Density:
    """One Categorical a position, logits [positions, categories] that start even; over one-hot vectors."""
    return Density(lambda key, z: jnp.zeros((positions, categories), jnp.float32), Categorical)


def over_codes(density: Density) -> Density:
    """A density of one-hot vectors [n, K] as one of the `Code`s of a quantized model."""
    return Density(lambda key, z: density.init(key, z.hot), lambda part: OverCodes(density.given(part)))

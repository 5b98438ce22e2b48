"""Full variational Bayes: beliefs about parameters as well as about latents (Kingma & Welling 2013, appendix F)."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, random

from vae_jax.distributions import Normal
from vae_jax.errors import Fault, nearest

Loss = Callable[[Any, Array, Any, Any], tuple[Array, dict[str, Array]]]
Init = Callable[[Array, Any], dict[str, Any]]


def believed(init: Init, parts: tuple[str, ...], log_std: float = -3.0) -> Init:
    """init(key, x) -> params in which each of `parts` is {'mean': as it was made, 'log_std': all at `log_std`}.

    Raises Fault where a part is unknown.
    """

    def began(key: Array, x: Any) -> dict[str, Any]:
        params = init(key, x)
        check(parts, params)
        made = {name: {'mean': params[name], 'log_std': _filled(params[name], log_std)} for name in parts}
        return {**params, **made}

    return began


def beliefs(params: Mapping[str, Any], parts: tuple[str, ...]) -> dict[str, Any]:
    """q(theta) of each part: a Normal for each of its arrays."""
    return {name: jax.tree.map(Normal, params[name]['mean'], params[name]['log_std']) for name in parts}


def drawn(params: Mapping[str, Any], key: Array, parts: tuple[str, ...]) -> dict[str, Any]:
    """params with theta ~ q(theta) in place of each of `parts`, the others as they are."""
    check(parts, params)
    found = beliefs(params, parts)
    leaves, structure = jax.tree.flatten(found, is_leaf=_is_belief)
    thetas = [q.sample(k) for q, k in zip(leaves, random.split(key, len(leaves)))]
    return {**params, **jax.tree.unflatten(structure, thetas)}


def parameter_kl(params: Mapping[str, Any], parts: tuple[str, ...], log_std: float = 0.0) -> Array:
    """KL(q(theta) || N(0, exp(2 log_std) I)) of all `parts`, nats."""
    leaves = jax.tree.leaves(beliefs(params, parts), is_leaf=_is_belief)
    kls = [q.kl(Normal(jnp.zeros_like(q.mean), jnp.full_like(q.mean, log_std))) for q in leaves]
    return jnp.sum(jnp.stack(kls))


def bayesian(loss: Loss, parts: tuple[str, ...], rows: int, log_std: float = 0.0) -> Loss:
    """loss at theta ~ q(theta), and KL(q(theta) || N(0, exp(2 log_std) I)) / rows: -(bound on log p(data)) / rows.

    `loss` is a mean over the batch of -log p(x | theta), or of a bound on it, as those of `per_example`: the estimator
    is doubly stochastic, in the batch and in theta (Kingma & Welling 2013, eq. 24 and algorithm 2). `params` are those
    of `believed`; `rows` are those of the training data. Metrics: those of the loss; parameter_kl, of all rows, nats.
    Raises Fault on rows < 1 and on an unknown part.
    """
    if rows < 1:
        raise Fault(f'rows is {rows}, expected the number of training rows', 'pass rows=len(data.train)')

    def objective(params: Any, key: Array, batch: Any, hyper: Any) -> tuple[Array, dict[str, Array]]:
        draw_key, loss_key = random.split(key)
        value, metrics = loss(drawn(params, draw_key, parts), loss_key, batch, hyper)
        kl = parameter_kl(params, parts, log_std)
        return value + kl / rows, {**metrics, 'parameter_kl': kl}

    return objective


def check(parts: tuple[str, ...], params: Mapping[str, Any]) -> None:
    """Raises Fault where params have no such part, or none is named."""
    if not parts:
        raise Fault('no part of params is named', "name those to hold beliefs about, such as ('decode',)")
    for name in parts:
        if name not in params:
            raise Fault(f'params have no part {name!r}', nearest(name, params))


def _is_belief(leaf: Any) -> bool:
    return isinstance(leaf, Normal)


def _filled(tree: Any, value: float) -> Any:
    return jax.tree.map(lambda leaf: jnp.full_like(leaf, value), tree)

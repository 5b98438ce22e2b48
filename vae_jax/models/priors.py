"""Priors that learn: a mixture of Gaussians, and one of the posteriors of pseudo-inputs.

Of a hierarchy they are the priors of its top layer. Neither sees x, so a batch under `vmap` computes them once.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, random, vmap
from jax.tree_util import Partial

from vae_jax.distributions import Mixture, Normal
from vae_jax.distributions.chain import Chain, given
from vae_jax.errors import Fault
from vae_jax.models.base import Model, add_part, check_fit


def mixture_prior(model: Model, components: int, *, name: str = 'mixture') -> Model:
    """p(z) = sum_k softmax(w)_k N(z; m_k, exp(2 s_k)), w [k], m and s [k, *z.shape] learned.

    Means start at draws of the prior it replaces, w and s at 0. (Tomczak & Welling 2018, section 4.) There is no
    closed-form KL: pass kl=monte_carlo. Raises Fault on components < 1 and, at init, where the name is taken, or where
    z is no array of real numbers.
    """
    _check_count(components, 'component')

    def init(key: Array, x: Any) -> dict[str, Any]:
        a, b = random.split(key)
        params = model.init(a, x)
        means = vmap(_top(model.prior(params), 'prior').sample)(random.split(b, components))
        if not isinstance(means, Array) or not jnp.issubdtype(means.dtype, jnp.floating):
            raise Fault('a mixture of Gaussians needs z to be one array of real numbers', 'give z another prior')
        part = {'log_weights': jnp.zeros(components), 'mean': means, 'log_std': jnp.zeros_like(means)}
        return _fitting(model, mixture(part), add_part(params, name, part), x)

    def mixture(part: Any) -> Mixture:
        return Mixture(part['log_weights'], vmap(Normal)(part['mean'], part['log_std']))

    return _with_prior(model, init, lambda params: mixture(params[name]))


def hard_tanh(u: Array) -> Array:
    """min(max(u, 0), 1): for pseudo-inputs of intensities (Tomczak & Welling 2018)."""
    return jnp.clip(u, 0, 1)


def scattered(key: Array, x: Any, count: int) -> Any:
    """count pseudo-inputs of the shape of x, uniform in (0, 1)."""
    leaves = jax.tree.leaves(x)
    drawn = [random.uniform(k, (count, *jnp.shape(leaf))) for k, leaf in zip(random.split(key, len(leaves)), leaves)]
    return jax.tree.unflatten(jax.tree.structure(x), drawn)


def examples(xs: Any) -> Callable[[Array, Any, int], Any]:
    """Pseudo-inputs that start at xs [count, *x.shape], given as before the squashing: logits where that is sigmoid."""
    return lambda key, x, count: jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), xs)


def vampprior(
    model: Model,
    count: int,
    *,
    start: Callable[[Array, Any, int], Any] = scattered,
    squash: Callable[[Array], Array] = hard_tanh,
    log_weights: Any = None,
    name: str = 'pseudo_inputs',
) -> Model:
    """p(z) = sum_k softmax(w)_k q(z | squash(u_k)), u [k, *x.shape] learned (Tomczak & Welling 2018, section 2).

    `start(key, x, count)` gives u: `scattered`, or `examples(xs)`. `squash` keeps them where x can be: `hard_tanh`,
    `jax.nn.sigmoid`, or a function that returns real values as they are. `log_weights` [k] is where w starts to learn;
    without it w is uniform for ever. No closed-form KL: pass kl=monte_carlo. The encoder learns as part of the prior
    too. Raises Fault on count < 1 and, at init, where the name is taken, u has another shape, or x is not of floats.
    """
    _check_count(count, 'pseudo-input')
    if log_weights is not None and jnp.shape(log_weights) != (count,):
        raise Fault(f'log_weights has shape {jnp.shape(log_weights)}, expected ({count},)', 'give one a pseudo-input')

    def init(key: Array, x: Any) -> dict[str, Any]:
        a, b = random.split(key)
        us = start(b, x, count)
        for u, like in zip(jax.tree.leaves(us), jax.tree.leaves(x), strict=True):
            if u.shape != (count, *jnp.shape(like)) or not jnp.issubdtype(jnp.asarray(like).dtype, jnp.floating):
                found = f'pseudo-inputs {u.shape} of {u.dtype}, one example {jnp.shape(like)} of {like.dtype}'
                raise Fault(found, f'give {count} examples, of floats')
        part = {'u': us} if log_weights is None else {'u': us, 'log_weights': jnp.asarray(log_weights, jnp.float32)}
        params = add_part(model.init(a, x), name, part)
        return _fitting(model, mixture(params), params, x)

    def mixture(params: Any) -> Mixture:
        part = params[name]
        us = jax.tree.map(squash, part['u'])
        components = vmap(lambda u: _top(model.encode(params, u), 'posterior'))(us)
        return Mixture(part.get('log_weights', jnp.zeros(count)), components)

    return _with_prior(model, init, mixture)


def _check_count(count: int, what: str) -> None:
    if count < 1:
        raise Fault(f'a mixture of {count} {what}s', f'give 1 {what} or more')


def _top(p: Any, what: str) -> Any:
    """The distribution of the whole of z, or of its top layer. Raises Fault where that follows the others."""
    if not isinstance(p, Chain):
        return p
    if p.order[0] != 0:
        raise Fault(
            f'the {what} of the top layer follows the lower layers', 'wrap the upper model, before it is stacked'
        )
    return p.links[0](())


def _fitting(model: Model, top: Any, params: dict[str, Any], x: Any) -> dict[str, Any]:
    """params. Raises Fault where the posterior's samples lie where the new prior has no mass."""
    p = _above(model.prior(params), top)
    check_fit(jax.eval_shape(model.encode, params, x), jax.eval_shape(lambda: p))
    return params


def _above(p: Any, top: Any) -> Any:
    """The prior `top`, or the chain p below it."""
    return dataclasses.replace(p, links=(Partial(given, top), *p.links[1:]), rank=None) if isinstance(p, Chain) else top


def _with_prior(model: Model, init: Callable[..., Any], top: Callable[[Any], Any]) -> Model:
    # fused terms count the rate to the prior that was
    return model._replace(init=init, prior=lambda params: _above(model.prior(params), top(params)), terms=None)

"""Models given a condition: conditional autoencoders, what takes wrappers and objectives of a Model to them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, random

from vae_jax import networks
from vae_jax.distributions import Bernoulli, Normal, check_support
from vae_jax.errors import Fault
from vae_jax.models.base import Conditional, Model, add_part, check_fit, vae

Of = Callable[[Any], tuple[Any, Any]]


@dataclass(frozen=True)
class Holding:
    """A network of (x, c) as one of x, with c held."""

    network: Any
    c: Any

    def init(self, key: Array, x: Any) -> Any:
        return self.network.init(key, (x, self.c))

    def apply(self, params: Any, x: Any) -> Array:
        return self.network.apply(params, (x, self.c))


@dataclass(frozen=True)
class AsChannels:
    """A network of images on any tree whose first leaf is one, x [h, w] or [h, w, c]; the others become its channels.

    Images of that size are channels as they are, each number of anything else is a constant one.
    """

    network: Any

    def _image(self, tree: Any) -> Array:
        first, *rest = jax.tree.leaves(tree)
        size = jnp.shape(first)[:2]
        alike = lambda leaf: jnp.ndim(leaf) >= 2 and jnp.shape(leaf)[:2] == size
        flat = lambda leaf: leaf if alike(leaf) else jnp.broadcast_to(jnp.reshape(leaf, (1, 1, -1)), (*size, leaf.size))
        return jnp.concatenate([flat(leaf).reshape(*size, -1) for leaf in (first, *rest)], -1)

    def init(self, key: Array, tree: Any) -> Any:
        """That of the network."""
        return self.network.init(key, self._image(tree))

    def apply(self, params: Any, tree: Any) -> Array:
        """That of the network."""
        return self.network.apply(params, self._image(tree))


@dataclass(frozen=True)
class AtFeatures:
    """(x, c) -> head((body(x), c)): c joins late, so that x passes the body once for however many conditions."""

    body: Any
    head: Any

    def init(self, key: Array, xc: tuple[Any, Any]) -> dict[str, Any]:
        """{'body': of the one, 'head': of the other}."""
        a, b = random.split(key)
        x, c = xc
        params = self.body.init(a, x)
        return {'body': params, 'head': self.head.init(b, (self.body.apply(params, x), c))}

    def apply(self, params: Any, xc: tuple[Any, Any]) -> Array:
        """The features of the head."""
        x, c = xc
        return self.head.apply(params['head'], (self.body.apply(params['body'], x), c))


def cvae(
    encoder: Any,
    decoder: Callable[[tuple[int, ...]], Any],
    prior_network: Any | None = None,
    *,
    of: Of,
    like: tuple[Any, Any],
    latent: int,
    prior_family: Any = Normal,
    likelihood: Any = Bernoulli,
    **options: Any,
) -> Conditional:
    """p(x|c) = E p(x|z, c) over z ~ p(z|c) = prior_family(head(prior_network(c))), with q(z|x, c) (Sohn et al. 2015).

    The networks see trees: the encoder (x, c), the decoder's (z, c), the prior's c; dense ones take them as they are,
    those of images in `AsChannels`. Without a prior_network p(z|c) is the natural prior. `like` is one (x, c),
    `of` finds it in a row, and `options` are those of `vae`. Raises Fault as `vae` does, and on another c than like's.
    """
    x_like: Any
    x_like, c_like = like
    if not isinstance(x_like, jax.ShapeDtypeStruct):
        check_support(likelihood, x_like)
    x_like = jax.ShapeDtypeStruct(jnp.shape(x_like), jnp.float32)
    prior_net = None if prior_network is None else networks.Head(prior_network, latent * prior_family.arity)

    def prior_of(c: Any, params: Any) -> Any:
        assert prior_net is not None
        features = prior_net.apply(params['prior'], c)
        return prior_family.from_features(features.reshape(latent, prior_family.arity))

    def given(c: Any) -> Model:
        _check_condition(c, c_like)
        seeing = lambda shape: Holding(decoder(shape), c)
        model = vae(Holding(encoder, c), seeing, latent=latent, like=x_like, likelihood=likelihood, **options)
        if prior_net is None:
            return model

        def init(key: Array, x: Any) -> dict[str, Any]:
            a, b = random.split(key)
            return add_part(model.init(a, x), 'prior', prior_net.init(b, c))

        return model._replace(init=init, prior=partial(prior_of, c))

    def fit(key: Array, c: Any) -> tuple[Any, Any]:
        x = jnp.zeros(x_like.shape)
        params = given(c).init(key, x)
        return given(c).encode(params, x), given(c).prior(params)

    check_fit(*jax.eval_shape(fit, random.key(0), c_like))
    return _of_given(given, of)


def _of_given(given: Callable[[Any], Model], of: Of) -> Conditional:
    return Conditional(lambda key, xc: given(xc[1]).init(key, xc[0]), given, of)


def _check_condition(c: Any, like: Any) -> None:
    found, expected = (jax.tree.map(lambda leaf: tuple(jnp.shape(leaf)), tree) for tree in (c, like))
    if found != expected:
        raise Fault(
            f'the condition has shapes {found}, expected {expected}',
            'pass one condition like that of like=, and vmap over several',
        )


def conditional_map(conditional: Conditional, wrapper: Callable[[Model], Model]) -> Conditional:
    """The conditional of wrapper(given(c)): a flow prior, pseudo-inputs, a flow posterior, all of them given c."""
    return _of_given(lambda c: wrapper(conditional.given(c)), conditional.of)


def given(conditional: Conditional, lift: Callable[[Model], Callable[..., Any]]) -> Callable[..., Any]:
    """objective(params, key, row, hyper) = lift(given(c))(params, key, x, hyper) with x, c = of(row).

    A loss is `per_example(given(conditional, beta_elbo), of=row_of)`; `lift` is any function of a Model alone.
    """

    def objective(params: Any, key: Array, row: Any, hyper: Any) -> Any:
        model, x = at_row(conditional, row)
        return lift(model)(params, key, x, hyper)

    return objective


def at_row(model: Model | Conditional, row: Any) -> tuple[Model, Any]:
    """The model that a row is an example of, and its x: a Model is that of every row."""
    if not isinstance(model, Conditional):
        return model, row['x']
    x, c = model.of(row)
    return model.given(c), x


def example_of(conditional: Conditional) -> Callable[[Any], tuple[Any, Any]]:
    """batch -> (x, c) of its first row: the `example=` of a trainer."""
    return lambda batch: conditional.of(jax.tree.map(lambda leaf: leaf[0], batch))


def on_label(classes: int, name: str = 'label') -> Of:
    """row -> x, its label as one-hot vector [classes]. Raises Fault on fewer than two, and on rows without label."""
    if classes < 2:
        raise Fault(f'a label of {classes} classes tells nothing', 'give 2 or more')

    def of(row: Any) -> tuple[Any, Array]:
        if name not in row:
            raise Fault(f'the rows have no {name!r}, they have {", ".join(row)}', 'use data with labels')
        return row['x'], jax.nn.one_hot(row[name], classes)

    return of


def on_entries(seen: Any) -> Of:
    """row -> the entries of x that are not in `seen` (bool, the shape of x) as vector, and those that are: c.

    Raises Fault where all of x or nothing is seen, and on x of another shape.
    """
    seen = np.asarray(seen, bool)
    count = int(seen.sum())
    if count in (0, seen.size):
        raise Fault(f'{count} of {seen.size} entries are seen', 'leave some to see and some to predict')
    here, there = (np.flatnonzero(mask.ravel()) for mask in (seen, ~seen))

    def of(row: Any) -> tuple[Array, Array]:
        if jnp.shape(row['x']) != seen.shape:
            found = f'x has shape {jnp.shape(row["x"])}, the mask of what is seen {seen.shape}'
            raise Fault(found, 'make the mask for one example of this data')
        flat = row['x'].reshape(math.prod(seen.shape))
        return flat[there], flat[here]

    return of

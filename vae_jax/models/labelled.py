"""Labels as latent variables: z = (y, code), exact over y, and classes read off q(y|x)."""

import dataclasses
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array, random, vmap

from vae_jax import networks
from vae_jax.distributions import Categorical
from vae_jax.distributions.base import no_kl
from vae_jax.errors import Fault
from vae_jax.models.base import Conditional, Model, add_part


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Labelled:
    """p(y) p(code|y) over pairs (one-hot y [n], code): `label` a Categorical, leaves of `codes` lead with [n]."""

    label: Categorical
    codes: Any

    reparameterized: ClassVar[bool] = False
    normalized: ClassVar[bool] = True

    @property
    def support(self) -> str:
        """That of both."""
        return f'{self.label.support}, then {self.codes.support}'

    def given(self, y: Array) -> Any:
        """p(code|y)."""
        return jax.tree.map(lambda leaf: leaf[jnp.argmax(y)], self.codes)

    @property
    def mean(self) -> tuple[Array, Any]:
        """(p(y), E[code])."""
        weights = self.label.mean
        return weights, jax.tree.map(lambda m: jnp.tensordot(weights, m, 1), vmap(lambda p: p.mean)(self.codes))

    def sample(self, key: Array) -> tuple[Array, Any]:
        """y, then the code."""
        a, b = random.split(key)
        y = self.label.sample(a)
        return y, self.given(y).sample(b)

    def sample_and_log_prob(self, key: Array) -> tuple[tuple[Array, Any], Array]:
        """(y, code) and log p(y, code)."""
        a, b = random.split(key)
        y = self.label.sample(a)
        code, log_p = self.given(y).sample_and_log_prob(b)
        return (y, code), self.label.log_prob(y) + log_p

    def log_prob(self, z: tuple[Array, Any]) -> Array:
        """log p(y) + log p(code|y), in nats. Raises Fault on a batch."""
        y, code = z
        log_p_y = self.label.log_prob(y)
        return log_p_y + self.given(y).log_prob(code)

    def kl(self, p: Any) -> Array:
        """KL(q(y) || p(y)) + sum_y q(y) KL(q(code|y) || p(code|y)), nats. Raises Fault on another family."""
        if not isinstance(p, Labelled):
            raise no_kl(self, p)
        return self.label.kl(p.label) + self.label.mean @ vmap(lambda q, p: q.kl(p))(self.codes, p.codes)


def over_labels(conditional: Conditional, classifier: Any, classes: int, name: str = 'label') -> Model:
    """p(x) = sum_y p(y) p(x|y), y uniform over one-hot vectors [classes], p(x|y) the conditional's; q(y|x) q(z|x, y).

    q(y|x) is softmax(head(classifier(x))). Its `terms` sum over all y, so that a loss of the ELBO is that of unlabelled
    data, U(x) (Kingma et al. 2014, eq. 7: M2, of a `cvae` with the standard prior). One with a learned p(z|y) is a
    mixture autoencoder. Raises Fault on fewer than two classes, and on a conditional whose models have terms.
    """
    if classes < 2:
        raise Fault(f'{classes} classes leave nothing to tell apart', 'give 2 or more')
    net = networks.Head(classifier, classes)
    one_hot = lambda: jnp.eye(classes, dtype=jnp.float32)
    each = lambda f: vmap(lambda y: f(conditional.given(y)))(one_hot())

    def init(key: Array, x: Any) -> dict[str, Any]:
        a, b = random.split(key)
        return add_part(conditional.init(a, (x, one_hot()[0])), name, net.init(b, x))

    def prior(params: Any) -> Labelled:
        return Labelled(Categorical(jnp.zeros(classes)), each(lambda model: model.prior(params)))

    def encode(params: Any, x: Any) -> Labelled:
        return Labelled(Categorical(net.apply(params[name], x)), each(lambda model: model.encode(params, x)))

    def decode(params: Any, z: tuple[Array, Any]) -> Any:
        y, code = z
        return conditional.given(y).decode(params, code)

    if conditional.given(one_hot()[0]).terms is not None:
        raise Fault('the conditional computes terms of its own, which know of no label', 'use one without terms')
    model = Model(init, prior, encode, decode)
    return model._replace(terms=partial(_marginal, model))


def by_label(model: Model, params: Any, key: Array, x: Any) -> tuple[Labelled, Array, Array]:
    """q, and of each y: -log p(x|y, z) at z ~ q(z|x, y) [n], and KL(q(z|x, y) || p(z|y)) - log p(y) [n]; nats.

    Their sum is L(x, y), the bound on -log p(x, y) (Kingma et al. 2014, eq. 6). All y share their noise.
    """
    q, p = model.encode(params, x), model.prior(params)
    ys = jnp.eye(q.label.logits.shape[0])
    zs = vmap(lambda q: q.sample(key))(q.codes)
    distortions = -vmap(lambda y, z: model.decode(params, (y, z)).log_prob(x))(ys, zs)
    rates = vmap(lambda q, p: q.kl(p))(q.codes, p.codes) - vmap(p.label.log_prob)(ys)
    return q, distortions, rates


def _marginal(model: Model, params: Any, key: Array, x: Any) -> tuple[Array, Array]:
    q, distortions, rates = by_label(model, params, key, x)
    log_q = jax.nn.log_softmax(q.label.logits)
    return jnp.exp(log_q) @ distortions, jnp.exp(log_q) @ (rates + log_q)


@partial(jax.jit, static_argnames='model')
def classify(model: Model, params: Any, xs: Array) -> Array:
    """argmax_y q(y|x) i32[n] of xs [n, *shape]. Raises Fault where q has no label."""

    def one(x: Any) -> Array:
        q = model.encode(params, x)
        if not isinstance(q, Labelled):
            raise Fault(f'{type(q).__name__} has no label to read', 'use a model of over_labels')
        return jnp.argmax(q.label.logits)

    return vmap(one)(xs)

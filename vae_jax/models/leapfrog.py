"""Posteriors that follow the model's own gradient: leapfrog steps of tempered Hamiltonian dynamics, which learn."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array, lax, random
from jax.tree_util import Partial

from vae_jax.distributions import Normal
from vae_jax.distributions.base import static
from vae_jax.distributions.joined import Joint
from vae_jax.errors import Fault
from vae_jax.models.base import Model, add_part

Energy = Callable[[Array], Array]


def heats(log_heat: Array, steps: int) -> Array:
    """1 / sqrt(beta_k) [steps + 1]: exp(log_heat) at first, 1 at last, quadratic in k (Caterini et al. 2018)."""
    left = 1 - (jnp.arange(steps + 1) / max(steps, 1)) ** 2
    return 1 + jnp.expm1(log_heat) * left.astype(log_heat.dtype)


def leapfrog(energy: Energy, step: Array, heat: Array, z: Array, momentum: Array) -> tuple[Array, Array]:
    """len(heat) - 1 leapfrog steps of sizes step [d], the momentum cooled by heat[k] / heat[k - 1] behind each.

    log|det| is d log(heat[-1] / heat[0]): a step changes no volume. (Caterini et al. 2018, algorithm 1.)
    """
    slope = jax.grad(energy)

    def one(carry: tuple[Array, Array, Array], cooling: Array) -> tuple[tuple[Array, Array, Array], None]:
        z, momentum, g = carry
        half = momentum - step / 2 * g
        z = z + step * half
        g = slope(z)
        return (z, cooling * (half - step / 2 * g), g), None

    (z, momentum, _), _ = lax.scan(one, (z, momentum, slope(z)), heat[1:] / heat[:-1])
    return z, momentum


def leapfrog_back(energy: Energy, step: Array, heat: Array, z: Array, momentum: Array) -> tuple[Array, Array]:
    """The inverse of `leapfrog`: where (z, momentum) came from."""
    slope = jax.grad(energy)

    def one(carry: tuple[Array, Array, Array], warming: Array) -> tuple[tuple[Array, Array, Array], None]:
        z, momentum, g = carry
        half = warming * momentum + step / 2 * g
        z = z - step * half
        g = slope(z)
        return (z, half + step / 2 * g, g), None

    (z, momentum, _), _ = lax.scan(one, (z, momentum, slope(z)), (heat[:-1] / heat[1:])[::-1])
    return z, momentum


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Leapfrogged:
    """{'position', 'momentum'} where leapfrog ends from a position z ~ base and a momentum heat[0] N(0, I).

    As the last heat is 1 the volume changes by the first heat and back: log q = log base(z) + log N(momentum / heat[0];
    0, I), at where it came from. `energy` is a pytree and holds what it needs of the model and of x. There is no `kl`.
    """

    base: Any
    energy: Any  # z -> -log p(x, z)
    step: Array  # [d]
    heat: Array  # [steps + 1]
    rank: int | None = static()

    normalized: ClassVar[bool] = True
    reparameterized: ClassVar[bool] = True
    support: ClassVar[str] = Joint({'position': Normal, 'momentum': Normal}).support

    def __post_init__(self) -> None:
        if self.rank is None:
            object.__setattr__(self, 'rank', jnp.ndim(self.heat))

    @staticmethod
    def supports(z: Any) -> Array:
        return jnp.concatenate([jnp.ravel(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(z)])

    def _end(self, z: Array, momentum: Array) -> dict[str, Array]:
        z, momentum = leapfrog(self.energy, self.step, self.heat, z, self.heat[0] * momentum)
        return {'position': z, 'momentum': momentum}

    @property
    def mean(self) -> dict[str, Array]:
        """Where the base's mean ends from rest: a point in the middle, not the expectation, which has no formula."""
        return self._end(self.base.mean, jnp.zeros_like(self.base.mean))

    def sample(self, key: Array) -> dict[str, Array]:
        """z, momentum."""
        return self.sample_and_log_prob(key)[0]

    def sample_and_log_prob(self, key: Array) -> tuple[dict[str, Array], Array]:
        """z and log q(z), nats, by one pass forward."""
        a, b = random.split(key)
        z, log_q = self.base.sample_and_log_prob(a)
        momentum, log_momentum = _rest(z).sample_and_log_prob(b)
        return self._end(z, momentum), log_q + log_momentum

    def log_prob(self, z: Any) -> Array:
        """log q(z) by the leapfrog back to where z came from, in nats. Raises Fault on a batch."""
        shapes = {name: jnp.shape(leaf) for name, leaf in z.items()} if isinstance(z, dict) else jnp.shape(z)
        expected = dict.fromkeys(('position', 'momentum'), jnp.shape(self.step))
        if jnp.ndim(self.heat) > (self.rank or 0) or shapes != expected:
            found = f'Leapfrogged.log_prob was given a batch or z of another shape: {shapes}, steps {self.step.shape}'
            raise Fault(found, 'vmap it: vmap(lambda q, x: q.log_prob(x))(qs, xs)')
        position, momentum = leapfrog_back(self.energy, self.step, self.heat, z['position'], z['momentum'])
        return self.base.log_prob(position) + _rest(position).log_prob(momentum / self.heat[0])


def _rest(like: Array) -> Normal:
    return Normal(jnp.zeros_like(like), jnp.zeros_like(like))


def hamiltonian(
    model: Model,
    steps: int,
    *,
    step: float = 0.1,
    longest: float = 0.5,
    beta: float = 0.3,
    name: str = 'hamiltonian',
) -> Model:
    """q(z|x) moved by tempered leapfrog steps down -log p(x, z): the Hamiltonian autoencoder (Caterini et al. 2018).

    z becomes {'position': z, 'momentum'}, and p of the momentum is N(0, I); the decoder sees the position. `step` in
    (0, longest) [d] and the first temperature's beta in (0, 1) are where they start, and they learn. Zero steps leave
    the model's bound as it is. Needs kl=monte_carlo. Raises Fault on steps < 0 and on starts outside their range; at
    init where z is not one array of real numbers, or where the name is taken.
    """
    if steps < 0 or not 0 < step < longest or not 0 < beta < 1:
        said = f'{steps} steps of {step}, the longest {longest}, from beta {beta}'
        raise Fault(said, 'ask for 0 or more steps, 0 < step < longest and 0 < beta < 1')

    def energy(params: Any, x: Any, z: Array) -> Array:
        return -model.decode(params, z).log_prob(x) - model.prior(params).log_prob(z)

    def init(key: Array, x: Any) -> dict[str, Any]:
        params = model.init(key, x)
        q, p = model.encode(params, x), model.prior(params)
        for found in (q, p):
            if found.support != Normal.support:
                raise Fault(f'leapfrog moves real numbers, z is {found.support}', 'use a Gaussian posterior and prior')
        z = q.sample(key)
        if not isinstance(z, Array):
            raise Fault(f'leapfrog moves one array, z is a {type(z).__name__}', 'use a model of one layer of latents')
        part = {'step': jnp.full(z.shape, _logit(step / longest), z.dtype), 'beta': jnp.asarray(_logit(beta), z.dtype)}
        return add_part(params, name, part)

    def encode(params: Any, x: Any) -> Leapfrogged:
        part = params[name]
        # zero steps cool nothing, so they must start cool
        log_heat = -0.5 * jax.nn.log_sigmoid(part['beta']) if steps else jnp.zeros_like(part['beta'])
        sizes = longest * jax.nn.sigmoid(part['step'])
        return Leapfrogged(model.encode(params, x), Partial(energy, params, x), sizes, heats(log_heat, steps))

    def prior(params: Any) -> Joint:
        return Joint({'position': model.prior(params), 'momentum': _rest(params[name]['step'])})

    return Model(init, prior, encode, lambda params, z: model.decode(params, z['position']))


def _logit(share: float) -> Array:
    return jnp.log(share) - jnp.log1p(-share)

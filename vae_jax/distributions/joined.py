"""Latents in parts: z = {name: part}, independent of each other, each of a family and a size of its own."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array, random

from vae_jax.distributions.base import Family, family_name, made_by, no_kl
from vae_jax.distributions.chain import exact_kl
from vae_jax.errors import Fault

Kl = Callable[[Any, Any, Any, Array], Array]  # q, p, z, log q(z) -> nats


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Joint:
    """prod_i p_i(z_i) over z = {name: z_i}: parts[name] is p_i (Dupont 2018, section 3)."""

    parts: dict[str, Any]

    normalized: ClassVar[bool] = True

    def __post_init__(self) -> None:
        # jax rebuilds dicts in the order of their keys: so must they be at the start, or keys of draws would change
        if isinstance(self.parts, dict) and list(self.parts) != sorted(self.parts):
            object.__setattr__(self, 'parts', dict(sorted(self.parts.items())))

    @property
    def support(self) -> str:
        """Those of its parts, by name."""
        return ', '.join(f'{name}: {part.support}' for name, part in self.parts.items())

    @property
    def reparameterized(self) -> bool:
        """That all its parts are."""
        return all(getattr(part, 'reparameterized', True) for part in self.parts.values())

    @property
    def mean(self) -> dict[str, Any]:
        """Those of its parts."""
        return {name: part.mean for name, part in self.parts.items()}

    def sample(self, key: Array) -> dict[str, Any]:
        """z, each part from a key of its own."""
        return {name: part.sample(k) for k, (name, part) in self._keyed(key)}

    def sample_and_log_prob(self, key: Array) -> tuple[dict[str, Any], Array]:
        """z and log p(z), in one pass."""
        drawn = {name: part.sample_and_log_prob(k) for k, (name, part) in self._keyed(key)}
        return {name: z for name, (z, _) in drawn.items()}, _sum(log_p for _, log_p in drawn.values())

    def log_prob(self, z: Any) -> Array:
        """sum_i log p_i(z_i), in nats. Raises Fault on a batch, and on z of other parts."""
        return _sum(part.log_prob(z[name]) for name, part in self._beside(z))

    def kl(self, p: Any) -> Array:
        """KL(self || p) = sum_i KL(q_i || p_i), nats. Raises Fault where a pair of parts has no closed form."""
        return _sum(part_kls(self, p, None, exact_kl).values())

    def _keyed(self, key: Array) -> Any:
        return zip(random.split(key, len(self.parts)), self.parts.items())

    def _beside(self, z: Any) -> Any:
        if not isinstance(z, dict) or set(z) != set(self.parts):
            raise Fault(
                f'Joint got {sorted(z) if isinstance(z, dict) else type(z).__name__}, expected {list(self.parts)}',
                'pass one value for each part',
            )
        return self.parts.items()


def _sum(values: Any) -> Array:
    return jnp.sum(jnp.stack(list(values)))


def part_kls(q: Joint, p: Any, z: Any, kl: Kl) -> dict[str, Array]:
    """kl(q_i, p_i, z_i, log q_i(z_i)) of each part, by name, in nats; z may be None where `kl` looks at no sample.

    Raises Fault where p has other parts.
    """
    if not isinstance(p, Joint) or set(p.parts) != set(q.parts):
        raise no_kl(q, p)
    if z is None:
        return {name: kl(part, p.parts[name], None, jnp.zeros(())) for name, part in q.parts.items()}
    return {name: kl(part, p.parts[name], z[name], part.log_prob(z[name])) for name, part in q._beside(z)}


def discrete_kl(q: Any, p: Any, z: Any, log_q: Array) -> Array:
    """KL between the discrete laws that q and p relax; where they relax none, KL(q || p); of a Joint the sum of these.

    JointVAE's (Dupont 2018, section 3). It is at most the KL of the relaxed densities, which is the same at every
    temperature that q and p share, so distortion + this rate is no bound on -log p(x): monte_carlo gives one.
    Raises Fault where there is no closed form.
    """
    if isinstance(q, Joint):
        return _sum(part_kls(q, p, None, discrete_kl).values())
    return exact_kl(getattr(q, 'discrete', q), getattr(p, 'discrete', p), z, log_q)


def seen_parts(**how: Callable[[Any], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What `vae(seen_as=)` takes for a Joint: each named part through its function, the others as they are.

    `seen_parts(categories=jax.nn.softmax)`, of the logits of `gumbel_softmax`. Raises Fault on a part that z lacks.
    """

    def seen(z: dict[str, Any]) -> dict[str, Any]:
        if not set(how) <= set(z):
            raise Fault(f'seen_parts names {sorted(how)}, z has {sorted(z)}', 'name parts of the posterior')
        return {name: how.get(name, lambda part: part)(part) for name, part in z.items()}

    return seen


def joint(**parts: tuple[Any, int]) -> Family:
    """The family of Joint: joint(continuous=(Normal, 10), categories=(gumbel_softmax(10, 0.67), 1)).

    Each part is a family and its latent size n; features [sum_i n_i arity_i, 1] hold the parts one after the other,
    none wasted: give vae() `latent=family.dims`. Its natural prior is each part's of zero features, so a part on a
    sphere needs prior=. Raises Fault without parts, on a size < 1 or another than its family's, and on other features.
    """
    if not parts:
        raise Fault('a joint of no parts has no density', 'name a family and a size for each part of z')
    for name, (family, size) in parts.items():
        if size < 1 or getattr(family, 'dims', None) not in (None, size):
            found = f'{name} is {family_name(family)} over {size} dimensions'
            raise Fault(found, f'ask for {getattr(family, "dims", None) or "1 or more"}')
    total = sum(size * family.arity for family, size in parts.values())

    def from_features(features: Array) -> Joint:
        if features.shape != (total, 1):
            raise Fault(f'a joint got features {features.shape}, expected ({total}, 1)', f'use latent={total}')
        made, at = {}, 0
        for name, (family, size) in parts.items():
            made[name] = family.from_features(features[at : at + size * family.arity].reshape(size, family.arity))
            at += size * family.arity
        return Joint(made)

    def supports(z: Any) -> Array:
        return jnp.concatenate([jnp.ravel(family.supports(z[name])) for name, (family, _) in sorted(parts.items())])

    words = {name: made_by(family).support for name, (family, _) in sorted(parts.items())}
    return Family(
        arity=1,
        from_features=from_features,
        supports=supports,
        support=', '.join(f'{name}: {said}' for name, said in words.items()),
        normalized=all(family.normalized for family, _ in parts.values()),
        name=f'joint({", ".join(f"{name}=({family_name(f)}, {size})" for name, (f, size) in parts.items())})',
        dims=total,
    )

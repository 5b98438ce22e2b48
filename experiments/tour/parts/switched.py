"""From an autoencoder to a VAE by two switches, noise and KL, and what its ways, codes and draws are like after that.

-log p(x | mu + noise sigma eps) + kl KL(N(mu, sigma^2) || N(0, I)): 0, 0 an autoencoder, 1, 1 a VAE
"""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Hyper(NamedTuple):
    noise: float
    """of the code, in standard deviations of q"""
    kl: float
    """weight of the rate"""


class Networks(NamedTuple):
    """Hidden layers of both networks, latent units, and the standard deviation of a pixel."""

    hidden: tuple[int, ...]
    latent: int
    std: float


def model_of(data: Any, nets: Networks) -> Any:
    """A VAE, to be trained as one or not."""
    import numpy as np

    import vae_jax as vj

    networks = vj.mlp_encoder(nets.hidden), vj.mlp_decoder(nets.hidden)
    family = vj.distributions.fixed_normal(np.log(nets.std))
    return vj.vae(*networks, latent=nets.latent, like=data.example, likelihood=family)


def trained(data: Any, nets: Networks, cases: Sequence[Hyper], keys: Any, steps: int) -> list[dict[str, Any]]:
    """Params and what is measured of each case: a dict of arrays [seeds, ...], a seed for each of the keys."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    import vae_jax as vj
    from vae_jax import evaluation

    model, m = model_of(data, nets), len(keys)
    test, train = (evaluation.view_rows(s, keys[0], range(len(s))) for s in (data.test, data.train))

    def code(params: Any, x: Any, key: Any, hyper: Hyper) -> tuple[Any, Any]:
        q = model.encode(params, x)
        return q, q.mean + hyper.noise * (q.sample(key) - q.mean)

    def objective(params: Any, key: Any, x: Any, hyper: Hyper) -> tuple[Any, dict[str, Any]]:
        q, z = code(params, x, key, hyper)
        return hyper.kl * q.kl(model.prior(params)) - model.decode(params, z).log_prob(x), {}

    def measured(params: Any, key: Any, hyper: Hyper) -> dict[str, Any]:
        coded = lambda xs: jax.vmap(lambda x, key: code(params, x, key, hyper))(xs, jax.random.split(key, len(xs)))
        draw = jax.vmap(lambda z: model.decode(params, z).mean)
        (q, held), half = coded(test), len(test) // 2
        eps, spread = jax.random.normal(key, q.mean.shape), jnp.cov(q.mean.T)
        flat = vj.interpolate(model, params, test[:half], test[half : 2 * half], 41).reshape(half, 41, -1)
        moved, apart = (jnp.linalg.norm(d, axis=-1) for d in (jnp.diff(flat, axis=1), flat[:, :1] - flat[:, -1:]))
        speed = jnp.median(40 * moved / apart, 0)
        told = {'speed': speed, 'way': speed.mean(), 'ends': speed[0], 'middle': speed[20], 'between': flat[:2, ::5]}
        told |= {'noise': jnp.mean(jnp.exp(q.log_std) / jnp.sqrt(jnp.diag(spread))[None]), 'drawn_x': draw(eps)}
        told |= {'fitted_x': draw(q.mean.mean(0, keepdims=True) + eps @ jnp.linalg.cholesky(spread).T)}
        density = jnp.mean(jax.vmap(model.prior(params).log_prob)(held))
        return told | {'codes': coded(train)[1], 'held': held, 'prior_z': eps, 'density': density}

    trainer = vj.population(vj.trainer(model.init, vj.per_example(objective), lambda hyper: optax.adam(2e-3)))
    hyper = Hyper._make(jnp.repeat(jnp.array(values, float), m) for values in zip(*cases))
    every = jnp.tile(keys, len(cases))
    state = vj.start(trainer, data.train, hyper, every, batch=64)
    state, _ = vj.advance(trainer, state, data.train, every, steps=steps, batch=64)
    run = jax.jit(lambda members: jax.lax.map(lambda member: measured(*member), members))
    found = {'params': state.params, **run((state.params, every, hyper))}
    return [jax.tree.map(lambda a, i=i: np.asarray(a[i : i + m]), found) for i in range(0, len(every), m)]


def holes(draws: Any, codes: Any, held: Any) -> float:
    """Share of draws [n, d] that lie farther from the nearest code [m, d] than 95 % of held-out codes [k, d] do.

    0.05 where draws are distributed as codes are.
    """
    import numpy as np

    from vae_jax import evaluation

    near = lambda zs: evaluation.nearest(zs, codes)[0][:, 0]
    return float(np.mean(near(draws) > np.quantile(near(held), 0.95)))


def at_least(codes: Any, held: Any, density: float) -> float:
    """A lower bound on KL(q(z) || p(z)), nats, whose mean log p(z) at held-out codes [k, d] is `density`.

    E_q log r(z) - log p(z) = KL(q || p) - KL(q || r), r a kernel density of other codes [m, d], the better of two.
    """
    from sklearn.neighbors import KernelDensity

    return max(KernelDensity(bandwidth=wide).fit(codes).score(held) / len(held) for wide in (0.1, 0.2)) - density


def beside_them(found: dict[str, Any], by: Any, x: Any) -> dict[str, Any]:
    """Of each seed of a case: the share of x that draws cover, seen by these features, and what codes leave empty."""
    from vae_jax import evaluation

    seen = lambda xs: evaluation.featured(by, xs)
    covered = lambda xs: evaluation.density_coverage(seen(xs), seen(x)).examples.mean
    told: dict[str, Any] = {of: [covered(xs) for xs in found[f'{of}_x']] for of in ('drawn', 'fitted')}
    told['holes'] = [holes(*one) for one in zip(found['prior_z'], found['codes'], found['held'])]
    return told | {'apart': [at_least(*one) for one in zip(found['codes'], found['held'], found['density'])]}

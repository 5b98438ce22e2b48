"""What a decoder of grey levels can reach, whatever trained it: the code nearest to an image, and -log P with noise.

missed    E[x|z] - x at the best z: what stands in for an encoder, and for a condition, where a model has none
nll       -log P(x) <= -E log p(x + u), u uniform in a level (Theis et al. 2016, 3.1), p(x) = E_z N(x; E[x|z], s^2) by
          annealed importance sampling (Wu et al. 2017)
"""

import math
from typing import Any


def missed(mean: Any, x: Any, seen: Any, starts: Any) -> Any:
    """mean(z) - x at the z [d] of the least squares where `seen` is 1: Gauss-Newton, damped, from starts [m, d]."""
    import jax
    import jax.numpy as jnp

    off = lambda z: (seen * (mean(z) - x)).ravel()

    def step(_: Any, z: Any) -> Any:
        slopes = jax.jacfwd(off)(z).T
        return z - jnp.linalg.solve(slopes @ slopes.T + jnp.eye(len(z)) / 10, slopes @ off(z))

    ends = jax.vmap(lambda z: jax.lax.fori_loop(0, 20, step, z))(starts)
    return mean(ends[jnp.argmin(jnp.mean(jax.vmap(off)(ends) ** 2, 1))]) - x


def sigma_of(squares: Any, values: int, latent: int, levels: int) -> Any:
    """Noise s around a decoder, in units of the range of x + u, of mean squares of `missed` on held-out images.

    As in a regression, for z is fitted to each image; and u has a variance of 1/12 of a level.
    """
    return ((squares * values / (values - latent) * (levels - 1) ** 2 + 1 / 12) / levels**2) ** 0.5


def nll(model: Any, params: Any, sigmas: Any, data: Any, keys: Any, n: int, **how: Any) -> list[float]:
    """-log P in nats of the first n test images, for members params [m, ...] of a model, each with its sigma [m]."""
    import jax.numpy as jnp

    import vae_jax as vj
    from vae_jax import evaluation

    soft, levels = vj.data.dequantized(data), data.train.levels

    def near(params: Any, z: Any) -> Any:
        grey = ((levels - 1) * model.decode(params, z).mean + 0.5) / levels  # to the middle of a level
        return vj.Normal(grey, jnp.full_like(grey, params['log_std']))

    noisy = model._replace(encode=lambda params, x: model.prior(params), decode=near)  # no chain begins at q
    part = evaluation.some(soft.test, n)
    found = evaluation.anneal(noisy, {**params, 'log_std': jnp.log(sigmas)}, part, keys, **how)
    return [one.estimate.mean + one.estimate.dims * math.log(levels) for one in found]

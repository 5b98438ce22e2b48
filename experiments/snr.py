"""Tighter bounds are not necessarily better: the signal-to-noise ratio of gradients against the number of samples.

Claim     Of K samples in one IWAE bound the ratio of the encoder's gradient falls as K^-1/2, by DReG it rises as K^1/2,
          as that of K one-sample ELBOs does; the decoder's gradient rises as K^1/2 by all three. (Rainforth et al.
          2018, theorem 1; Tucker et al. 2019.) K times the mean of IWAE's encoder gradient goes to
          -1/2 grad E_q[w^2] / p(x)^2, which is known exactly here. DReG's ratio does not rise from 1 sample to 4.
Command   python -m experiments.snr        (stores experiments/results/snr.json)
Expected  4 dimensions, 10 draws, slopes from K = 64 to 1,024 +- standard error; encoder: ELBO 0.500 +- 0.001, IWAE
          -0.498 +- 0.002, DReG 0.44 +- 0.03; decoder 0.500, 0.483 +- 0.008, 0.483 +- 0.008; 1.00 of the limit
Time      100 s of processor, on one core that others were using too
"""

import math
from typing import Any, NamedTuple

from experiments import documents

VARIANCE = 2 / 3  # of q, where the posterior's is 1/2: those of the paper


class Sizes(NamedTuple):
    """Dimensions of x and z, draws of parameters and x, gradients of each, and the Ks; slopes are from `above` on."""

    dims: int = 4
    draws: int = 10
    gradients: int = 8192
    ks: tuple[int, ...] = (1, 4, 16, 64, 256, 1024)
    above: int = 64


SMOKE = Sizes(2, 4, 2048, (1, 8, 64), 8)


def model_of(dims: int) -> Any:
    """z ~ N(mu, I), x|z ~ N(z, I), q(z|x) = N(x/2 + b, 2/3 I); p(z|x) = N((x + mu)/2, I/2) (their section 4)."""
    import jax.numpy as jnp

    import vae_jax as vj

    zeros, log_std = jnp.zeros(dims), jnp.full(dims, 0.5 * math.log(VARIANCE))
    return vj.models.Model(
        lambda key, x: {'mu': zeros, 'b': zeros},
        lambda params: vj.Normal(params['mu'], zeros),
        lambda params, x: vj.Normal(x / 2 + params['b'], log_std),
        lambda params, z: vj.Normal(z, zeros),
    )


def second_moment(params: Any, x: Any) -> Any:
    """E_q[w^2] / p(x)^2 = integral of p(z|x)^2 / q(z|x), a product over dimensions of Gaussian integrals."""
    import jax.numpy as jnp

    spread = 2 * VARIANCE - 0.5
    away = (params['mu'] / 2 - params['b']) ** 2 / spread
    return jnp.exp(jnp.sum(away)) * (VARIANCE / math.sqrt(0.5 * spread)) ** x.size


def bounds_of(k: int) -> dict[str, Any]:
    """The three estimators of a bound with k samples, by name."""
    import jax

    from vae_jax import bounds

    def elbos(model: Any, params: Any, key: Any, x: Any) -> Any:
        return bounds.log_weights(model, params, key, x, k).mean()

    of_k = lambda bound: lambda model, params, key, x: bound(model, params, key, x, k)
    return {'ELBO, K samples': jax.tree_util.Partial(elbos), 'IWAE': of_k(bounds.iwae), 'DReG': of_k(bounds.dreg)}


def moments_of(bound: Any, model: Any, sizes: Sizes, k: int) -> Any:
    """A jitted function (params, x, key) -> of each part of params, mean [d] of its gradients, and their variance."""
    import jax
    import jax.numpy as jnp

    together = max(1, min(sizes.gradients, 2**16 // k))
    blocks = sizes.gradients // together

    def moments(params: Any, x: Any, key: Any) -> Any:
        def block(key: Any) -> Any:
            one = lambda key: jax.grad(lambda params: bound(model, params, key, x))(params)
            grads = jax.vmap(one)(jax.random.split(key, together))
            return jax.tree.map(lambda g: (jnp.mean(g, 0), jnp.mean(g**2, 0)), grads)

        found = jax.tree.map(lambda a: jnp.mean(a, 0), jax.lax.map(block, jax.random.split(key, blocks)))
        return {name: (mean, jnp.sum(square - mean**2)) for name, (mean, square) in found.items()}

    return jax.jit(jax.vmap(moments))


def measured(sizes: Sizes, seed: int = 0) -> list[dict[str, Any]]:
    """A row for each estimator and part: its ratios [ks][draws], slopes of log ratio on log K [draws], and K |mean|."""
    import jax
    import numpy as np

    model, keys = model_of(sizes.dims), jax.random.split(jax.random.key(seed), 4)
    shape = (sizes.draws, sizes.dims)
    params = {'mu': jax.random.normal(keys[0], shape)}
    xs = params['mu'] + math.sqrt(2) * jax.random.normal(keys[1], shape)
    params['b'] = params['mu'] / 2 + 0.5 * jax.random.normal(keys[2], shape)
    limit = jax.vmap(jax.grad(second_moment))(params, xs)['b'] / 2
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for k in sizes.ks:
        told = {}
        for i, (name, bound) in enumerate(bounds_of(k).items()):
            each = jax.random.split(jax.random.fold_in(keys[3], 10 * k + i), sizes.draws)
            told[name] = moments_of(bound, model, sizes, k)(params, xs, each)
        for name, parts in told.items():
            for part, (mean, variance) in parts.items():
                # IWAE and DReG have one expectation, and the latter knows it better
                of, spread = (told['DReG'][part] if name == 'IWAE' else (mean, variance)), np.asarray(variance)
                mean = np.asarray(of[0], np.float64)
                # |mean|^2 of a finite number of gradients is too large by their variance over that number
                signal = np.sum(mean**2, 1) - np.asarray(of[1]) / sizes.gradients
                row = rows.setdefault((name, part), {'estimator': name, 'part': PARTS[part], 'ratios': []})
                row['ratios'].append(np.sqrt(signal / spread).tolist())
                if (name, part) == ('DReG', 'b'):
                    of_limit = -k * np.sum(mean * limit, 1) / np.sum(limit**2, 1)
                    row.setdefault('of_limit', []).append(float(of_limit.mean()))
    used = [i for i, k in enumerate(sizes.ks) if k >= sizes.above]
    for row in rows.values():
        ratios = np.log(np.asarray(row['ratios'])[used])
        row['slopes'] = np.polyfit(np.log(np.asarray(sizes.ks)[used]), ratios, 1)[0].tolist()
    return list(rows.values())


PARTS = {'b': 'encoder', 'mu': 'decoder'}
LAW = {('IWAE', 'encoder'): -0.5}  # all others 1/2


def table(stored: dict[str, Any]) -> str:
    """The stored values as Markdown: a row an estimator and part, slopes with their standard error over draws."""
    ks, rows = stored['sizes']['ks'], stored['rows']
    columns = ['gradient', 'of', 'slope', 'law', *(f'ratio, K = {k}' for k in ks)]
    lines = []
    for row in rows:
        n, mean = len(row['slopes']), sum(row['slopes']) / len(row['slopes'])
        error = (sum((s - mean) ** 2 for s in row['slopes']) / (n - 1) / n) ** 0.5
        law = LAW.get((row['estimator'], row['part']), 0.5)
        cells = [row['estimator'], row['part'], f'{mean:.3f} +- {error:.3f}', f'{law:g}']
        cells += [f'{sum(each) / n:.3g}' for each in row['ratios']]
        lines.append(cells)
    limits = ', '.join(f'{value:.2f}' for row in rows for value in row.get('of_limit', []))
    sizes = stored['sizes']
    return documents.markdown(columns, lines) + (
        f'\n\nRatio |E g| / sqrt(tr Cov g) of {sizes["gradients"]:,} gradients each, means over {sizes["draws"]} draws '
        f'of parameters and x; slope of log ratio on log K from K = {sizes["above"]} on, mean +- standard error over '
        f"draws. z and x have {sizes['dims']} dimensions. The mean of the encoder's gradient by IWAE is taken from "
        f'DReG, which has the same; times K it is, as a part of its exact limit, for these K: {limits}.'
    )


def picture(stored: dict[str, Any], theme: Any) -> bytes:
    """Figure 1 of the paper as laws: the ratio against K, each of both logarithms, a panel for each part."""
    import numpy as np

    from vae_jax.plot import canvas

    made, axes = canvas.figure(theme, 6.4, 2.8, len(PARTS))
    at = np.log10(stored['sizes']['ks'])
    for ax, part in zip(axes, PARTS.values()):
        mine = [row for row in stored['rows'] if row['part'] == part]
        for colour, row in zip(canvas.PALETTE, mine):
            ax.plot(at, np.mean(np.log10(row['ratios']), 1), 'o-', color=colour, linewidth=1.2, markersize=3)
        canvas.legend(ax, ax.lines, [row['estimator'] for row in mine], theme)
        ax.set(title=f'gradient of the {part}', xlabel='log10 K')
    axes[0].set(ylabel='log10 of the signal-to-noise ratio')
    return canvas.deliver(made, None)


def main() -> None:
    """Measures, stores and prints."""

    def values(smoke: bool) -> dict[str, Any]:
        sizes = SMOKE if smoke else Sizes()
        return {'sizes': sizes._asdict(), 'rows': measured(sizes)}

    documents.measure('snr', __doc__, values, table)


if __name__ == '__main__':
    main()

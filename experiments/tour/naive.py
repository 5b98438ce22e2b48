"""Why p(x) cannot be had by sampling the prior

Claim     The samples of z that an estimate of p(x) needs grow exponentially with the dimension of z if drawn from the
          prior, slowly if near the posterior. Squared distance prefers a wrong digit to the right one moved a little.
Equation  p(x) = E_p(z)[p(x|z)] = E_q[p(x|z) p(z) / q(z)] (Doersch 2016, sections 2 and 2.1). The relative error of n
          samples is sqrt((R - 1) / n), R = int p(z|x)^2 / q(z) dz: prod_i exp(m_i^2 / (2 - v_i)) / sqrt(v_i (2 - v_i))
          for q = p(z) and p(z|x) = prod_i N(m_i, v_i), and (c^2 / sqrt(2 c^2 - 1))^d for a q that is c times as wide
Command   python -m experiments.tour.naive [--data-dir DIR]
Expected  digits (log p) and mnist (distances), seed 0: with 10,000 samples and 50 latents the prior misses log p(x) by
          2,446 +- 99 nats and q by 0.018 +- 0.004; an error of 10 % needs 10^51.4 samples of the prior, 1,060 of q
Time      22 s on one CPU core that others were using too
"""

import time
from typing import Any

from experiments.tour import telling

CLAIMS = {
    'At 50 latent dimensions samples of the prior miss by many nats': lambda n: n['prior_error_50'] > 10,
    'As many samples of a q that is 20 % too wide miss by less than 0.25': lambda n: n['q_error_50'] < 0.25,
    'The prior needs more samples with every dimension that is added': lambda n: n['grows'] == 1,
    'A cut, and another class, are nearer than the digit itself moved': lambda n: n['nearer'] > 0.9,
}
LATENTS, C, K = (1, 2, 5, 10, 20, 30, 50), 1.2, 10_000


def fitted(xs: Any, d: int) -> dict[str, Any]:
    """Probabilistic PCA of xs [n, 64] (Tipping & Bishop 1999), d of 50 latents in use, with a q that is too wide."""
    import numpy as np

    values, vectors = (a[..., ::-1] for a in np.linalg.eigh(np.cov(xs.T)))
    s2, used, top = values[d:].mean(), np.arange(50) < d, values[:50]
    W = vectors[:, :50] * np.sqrt(np.where(used, top - s2, 0))
    found = {'W': W.T, 'V': (W / top).T, 'log_std': np.where(used, np.log(C * np.sqrt(s2 / top)), 0)}
    return {name: np.float32(a) for name, a in (found | {'b': xs.mean(0), 's': np.log(s2) / 2}).items()}


def moved(asked: telling.Asked) -> tuple[dict[str, float], Any]:
    """How far from a digit are itself with a cut, the nearest of another class, and itself moved; four pictures."""
    import numpy as np

    from experiments import common

    move = {'mnist': 2, 'digits': 1}[name := telling.prepared(asked, 'mnist', 'digits')]
    found = common.data_of(name, asked, binarization='none')
    rows = [{name: np.asarray(a[:K]) for name, a in split.rows.items()} for split in (found.train, found.test)]
    train, x = (np.float32(row['x'][..., 0]) / (found.train.levels - 1) for row in rows)
    x, other = x[:100], rows[0]['label'][None] != rows[1]['label'][:100, None]
    shifted, cut = np.pad(x, ((0, 0), (move, 0), (move, 0)))[:, :-move, :-move], x.copy()
    cut[:, x.shape[1] // 2 :][:, :move] = 0
    to_cut, to_moved = (np.sum((x - y) ** 2, (1, 2)) for y in (cut, shifted))
    to_other = np.where(other, apart := np.stack([np.sum((train - one) ** 2, (1, 2)) for one in x]), np.inf)
    sigma, a = np.sqrt(np.median(to_cut) / (2 * np.log(100))), int(np.argmax(rows[1]['label'] == 2))
    numbers = {'to_cut': np.median(to_cut), 'to_other': np.median(to_other.min(1)), 'to_moved': np.median(to_moved)}
    numbers |= {'nearer': np.mean(np.maximum(to_cut, to_other.min(1)) < to_moved), 'pixels': move, 'side': len(x[0])}
    numbers |= {'sigma': sigma, 'moved_nats': np.median(to_moved) / (2 * sigma**2)}
    numbers |= {'generated': len(train), 'none_near': np.mean(apart.min(1) > to_cut)}
    return numbers, np.stack([x[a], cut[a], train[to_other[a].argmin()], shifted[a]])


def tell(asked: telling.Asked) -> telling.Told:
    import jax
    import jax.numpy as jnp
    import numpy as np

    import vae_jax as vj
    from experiments import common
    from vae_jax import data, evaluation, models, plot

    digits, key = data.dequantized(common.data_of('digits', asked, binarization='none')), jax.random.key(asked.seed)
    few, k = evaluation.some(digits.test, 5 if asked.smoke else 20), 1000 if asked.smoke else K
    xs = np.float64(evaluation.view_rows(digits.train, key, np.arange(len(digits.train)))).reshape(-1, 64)
    encode = lambda p, x: vj.Normal(p['V'] @ (x.reshape(64) - p['b']), p['log_std'])
    decode = lambda p, z: vj.Normal((z @ p['W'] + p['b']).reshape(8, 8, 1), jnp.full((8, 8, 1), p['s']))
    near = vj.Model(lambda key, x: fitted(xs, 50), models.standard_normal(50), encode, decode)
    blind = near._replace(encode=lambda p, x: near.prior(p))  # naive: the same z, whatever x is
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(fitted(xs, d) for d in LATENTS))
    exact = evaluation.linear_gaussian(near, params, few, keys := jnp.stack([key] * len(LATENTS)))
    found = {name: vj.nll(model, params, few, keys, k=k) for name, model in (('prior', blind), ('q', near))}
    numbers, images = moved(asked)
    needed: dict[str, list[float]] = {'prior': [], 'q': []}
    for i, (d, one) in enumerate(zip(LATENTS, exact)):
        m, v = one.mean, np.diagonal(one.covariance, axis1=1, axis2=2)
        from_prior = np.sum(m**2 / (2 - v) - np.log(v * (2 - v)) / 2, 1)
        for name, log_r in (('prior', from_prior), ('q', d * np.log(C**2 / np.sqrt(2 * C**2 - 1)))):
            needed[name].append(np.mean(log_r + np.log(-100 * np.expm1(-log_r))) / np.log(10))  # (R - 1) / 0.1^2
            off = np.abs(found[name][i].estimate.values - one.estimate.values)
            numbers |= {f'{name}_error_{d}': off.mean(), f'{name}_error_{d}_se': off.std(ddof=1) / len(off) ** 0.5}
            numbers |= {f'{name}_ess_{d}': np.median(found[name][i].effective), f'log10_{name}_{d}': needed[name][i]}
    x, p, n = evaluation.view_rows(few, key, [0])[0], fitted(xs, 20), np.arange(1, K + 1)
    draw = [jax.jit(lambda key, model=model: vj.bounds.log_weights(model, p, key, x, K)) for model in (blind, near)]
    walks = [[np.logaddexp.accumulate(f(key)) - np.log(n) for key in jax.random.split(key, 3)] for f in draw]
    started, _ = time.monotonic(), jax.block_until_ready(draw[0](key))
    years = needed['prior'][-1] + np.log10((time.monotonic() - started) / K / 3.156e7)
    numbers |= {'k': k, 'images': len(few), 'log10_years': years, 'grows': int(np.all(np.diff(needed['prior']) > 0))}

    def curves(theme: Any) -> bytes:
        figure, (left, right) = plot.canvas.figure(theme, 4.8, 2.7, 2)
        for name, many, colour in zip(needed, walks, plot.PALETTE[2::-2]):
            left.plot(np.log10(n), np.transpose(many), color=colour, linewidth=1)
            right.plot(LATENTS, needed[name], 'o-', color=colour, markersize=3, linewidth=1.4)
        left.axhline(-exact[LATENTS.index(20)].estimate.values[0], color=theme.ink, linewidth=1, linestyle=':')
        left.set(xlabel='samples of z, powers of ten', ylabel='estimate of log p(x), nats')
        right.set(xlabel='dimensions of z', ylabel='samples needed, powers of ten')
        plot.canvas.legend(right, right.lines, ['z from the prior', 'z from q'], theme)
        return plot.canvas.deliver(figure, None)

    caption = 'Left: log p(x) of one digit, 20 latents, three runs each; dotted: exact. Right: samples for 10 % error.'
    alt = 'Red staircases far below a dotted line, blue lines on it; red needs up to 10^51 samples, blue a thousand'
    one = telling.themed('Sampling the prior, and sampling near the posterior', caption, alt, curves)
    caption = 'A digit; with a cut; the nearest of another class; moved. Each is farther from the first than the last.'
    alt = 'Four digits: a two, the two with a line missing, one of another class, and the two moved down to the right'
    two = telling.picture('What squared distance prefers', caption, alt, plot.grid(images, columns=4))
    return telling.Told({name: float(value) for name, value in numbers.items()}, [one, two])


if __name__ == '__main__':
    telling.main(tell)

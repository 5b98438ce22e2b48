"""Why p(x) cannot be had by sampling the prior

Claim     The samples of z that an estimate of p(x) needs grow exponentially with the dimension of z if drawn from the
          prior, slowly if near the posterior. Squared distance prefers a wrong digit to the right one moved a little.
Equation  p(x) = E_p(z)[p(x|z)] = E_q[p(x|z) p(z) / q(z)] (Doersch 2016, sections 2 and 2.1). The relative error of n
          samples is sqrt((R - 1) / n), R = int p(z|x)^2 / q(z) dz: prod_i exp(m_i^2 / (2 - v_i)) / sqrt(v_i (2 - v_i))
          for q = p(z) and p(z|x) = prod_i N(m_i, v_i), and (c^2 / sqrt(2 c^2 - 1))^d for a q that is c times as wide
Command   python -m experiments.tour.naive [--data-dir DIR]
Expected  digits (log p) and mnist (distances), seed 0: with 10,000 samples and 50 latents the prior misses log p(x) by
          2,513 +- 140 nats and q by 0.028 +- 0.004; an error of 10 % needs 10^52.1 samples of the prior, 1,060 of q
Time      12 to 23 s of processor (15 to 29 s by the clock) on one CPU core that others were using too
"""

import time
from functools import partial
from itertools import product
from typing import Any

from experiments.tour import telling

CLAIMS = {
    'At 50 latent dimensions samples of the prior miss by many nats': lambda n: n['prior_error_50'] > 10,
    'As many samples of a q that is 20 % too wide miss by less than 0.25': lambda n: n['q_error_50'] < 0.25,
    'The prior needs more samples with every dimension that is added': lambda n: n['grows'] == 1,
    'That runs agree does not say that they are right': lambda n: 3 * n['prior_spread_50'] < n['prior_error_50'],
    'A cut, and another class, are nearer than the digit itself moved': lambda n: n['nearer'] > 0.9,
}
LATENTS, C = (1, 2, 5, 10, 20, 30, 50), 1.2


def tell(asked: telling.Asked) -> telling.Told:
    import jax
    import jax.numpy as jnp
    import numpy as np

    import vae_jax as vj
    from experiments import common
    from experiments.tour.parts import doersch
    from vae_jax import data, evaluation, plot, report
    from vae_jax.classical import linear_gaussian

    digits, key = data.dequantized(common.data_of('digits', asked, binarization='none')), jax.random.key(asked.seed)
    n, k = (5, 1000) if asked.smoke else (10, 10_000)
    view = lambda split, n: evaluation.view_rows(split, key, range(n))
    xs, few = view(digits.train, len(digits.train)).reshape(-1, 64), view(digits.test, n)
    found = common.data_of(telling.prepared(asked, 'mnist', 'digits'), asked, binarization='none')
    (numbers, images), walks, tiles, names, rows = doersch.moved(found), {}, [], ['x'], []

    near = linear_gaussian.probabilistic_pca(50, few[0])
    ways = {'prior': near._replace(encode=lambda p, x: near.prior(p)), 'q': near}  # the prior, whatever x is: naive
    exactly = jax.jit(
        lambda p: jax.vmap(lambda x: (linear_gaussian.log_marginal(p['decode'], x), near.encode(p, x)))(few)
    )
    pairs, weights = (jax.random.split(key, 3 * n), jnp.repeat(few, 3, 0)), {}  # three runs for each digit
    for name, model in ways.items():
        of = lambda p, model=model: jax.lax.map(
            lambda pair: vj.bounds.log_weights(model, p, pair[0], pair[1], k), pairs
        )
        weights[name] = jax.jit(of).lower(near.init(key, few[0])).compile()
    for d, name in product(LATENTS, ways):
        params = linear_gaussian.with_posterior(doersch.fitted(xs, d))
        (log_p, q), log_r = exactly(params), d * np.log(C**2 / np.sqrt(2 * C**2 - 1))
        if name == 'prior':
            log_r = np.sum(q.mean**2 / (2 - (v := np.exp(2 * q.log_std))) - np.log(v * (2 - v)) / 2, 1)
        params['encode']['log_std'] += np.where(np.arange(50) < d, np.float32(np.log(C)), 0)
        started, log_w = time.monotonic(), np.asarray(weights[name](params)).reshape(n, 3, k)
        seconds = np.log10((time.monotonic() - started) / log_w.size)
        e = np.mean(log_r + np.log(-100 * np.expm1(-log_r))) / np.log(10)  # of (R - 1) / 0.1^2 samples
        total = np.logaddexp.reduce(log_w, 2)
        off, ess = total - np.log(k) - log_p[:, None], np.exp(2 * total - np.logaddexp.reduce(2 * log_w, 2))
        error, spread = np.abs(off).mean(1), off.std(1, ddof=1).mean()
        numbers |= {f'{name}_error_{d}': error.mean(), f'{name}_error_{d}_se': error.std(ddof=1) / n**0.5}
        numbers |= {f'log10_{name}_{d}': e, f'log10_seconds_{name}_{d}': e + seconds}
        numbers |= {f'{name}_ess_{d}': np.median(ess), f'{name}_spread_{d}': spread}
        cells = doersch.many(e), f'{np.median(ess):,.0f}', f'{error.mean():,.3f}', f'{spread:,.3f}'
        rows.append([d, name, *cells, doersch.lasting(e + seconds)])
        if d == 20:
            walks[name] = np.logaddexp.accumulate(log_w[0], 1) - np.log(np.arange(1, k + 1))
            zs = jax.vmap(ways[name].encode(params, few[0]).sample)(jax.random.split(pairs[0][0], k))
            share, walks['exact'] = (log_w[0, 0] - total[0, 0]) / np.log(10), log_p[0]
            some = np.array([*np.argsort(-share)[:3], 0, 1, 2])
            tiles.append(np.clip([few[0], *jax.vmap(partial(near.decode, params))(zs[some]).mean], 0, 1))
            names += [f'{10**e:.0%}' if e > -2 else f'10^{e:.0f}' for e in share[some]]
    needed = {name: [numbers[f'log10_{name}_{d}'] for d in LATENTS] for name in ways}
    numbers |= {'k': k, 'images': n, 'grows': int(np.all(np.diff(needed['prior']) > 0)), 'q_top': 10 ** share.max()}
    numbers['log10_years'] = numbers['log10_seconds_prior_50'] - 7.5

    def curves(theme: Any) -> bytes:
        figure, (left, right) = plot.canvas.figure(theme, 4.8, 2.7, 2)
        for name, colour in zip(ways, plot.PALETTE[2::-2]):
            left.plot(np.log10(np.arange(1, k + 1)), walks[name].T, color=colour, linewidth=1)
            right.plot(LATENTS, needed[name], 'o-', color=colour, markersize=3, linewidth=1.4)
        left.axhline(walks['exact'], color=theme.ink, linewidth=1, linestyle=':')
        left.set(xlabel='samples of z, powers of ten', ylabel='estimate of log p(x), nats')
        right.set(xlabel='dimensions of z', ylabel='samples needed, powers of ten')
        plot.canvas.legend(right, right.lines, ['z from the prior', 'z from q'], theme)
        return plot.canvas.deliver(figure, None)

    caption = 'Left: log p(x) of one digit, 20 latents, three runs each; dotted: exact. Right: samples for 10 % error.'
    alt = 'Red staircases far below a dotted line, blue lines on it; the red line of samples needed climbs without end'
    one = telling.themed('Sampling the prior, and sampling near the posterior', caption, alt, curves)
    caption = (
        'Samples of 20 latents, decoded: the three of most weight, the first three; above, weights of the first row.'
    )
    alt = 'A digit beside six pictures from the prior, none quite like it, and six from q, all like it'
    wasted = partial(plot.board, tiles, [*ways], names[:7], None)
    two = telling.themed('Wasted samples', caption, alt, wasted)
    caption = 'A digit; with a cut; the nearest of another class; moved. Each is farther from the first than the last.'
    alt = 'Four digits: a two, the two with a line missing, one of another class, and the two moved down to the right'
    pictures = partial(plot.board, images, (), ['a digit', 'cut', 'another class', 'moved'], None)
    three = telling.themed('What squared distance prefers', caption, alt, pictures)
    header = ['dimensions of z', 'z from', 'samples for 10 % error', f'effective samples of {k:,}', 'error, nats']
    costs = report.Table('What an estimate costs', [*header, 'spread of runs, nats', 'time for 10 % error'], rows)
    return telling.Told({name: float(value) for name, value in numbers.items()}, [one, two, three], [costs])


if __name__ == '__main__':
    telling.main(tell)

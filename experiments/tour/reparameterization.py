"""Reparameterization: how noisy is a gradient, and what sigma does to the information

Claim     A gradient through z has a far lower variance than one through log q, which baselines make up for in part. In
          equal time more images are better than more samples of each. The larger the sigma of q, the less z tells.
Equation  grad E_q[f] = E[(f(z) - b) grad log q(z)] = E[grad f(mean + std e)] (Kingma & Welling 2013, sections 2.2 to
          2.4); variance (V_x + V_z / L) / M of L samples of M images; I(x; z) = -log sigma of a Gaussian x if var z = 1
Command   python -m experiments.tour.reparameterization
Expected  digits; variance of 8 samples: score function 2,273, less a constant 51, less the others 13, pathwise 5.7; 64
          samples of 64 images 22, of 8 images 61, and 2.2 times as much in equal time; 3 seeds: 6.15 +- 0.03 nats at
          sigma 0.39, 0.004 +- 0.004 at 0.998
Time      24 s of processor (38 s by the clock) on one CPU core that others were using too
"""

from collections import namedtuple
from functools import partial
from typing import Any

from experiments.tour import telling

CLAIMS = {
    'Plain score functions have 100 times the variance': lambda n: n['score_8'] > 100 * n['pathwise_8'],
    'A constant helps, the other samples more': lambda n: n['score_8'] / 4 > n['constant_8'] > 2 * n['others_8'],
    'For the ELBO the pathwise gradient is the best of these': lambda n: n['others_8'] > 1.3 * n['pathwise_8'],
    'For the bound of 8 samples it is not: VIMCO is better': lambda n: n['iwae_8'] > 1.3 * n['vimco_8'],
    'At equal cost 8 samples an image are worse than 1': lambda n: n['cost_8'] > 1.5 * n['cost_1'],
    'And in equal time': lambda n: n['worth_8'] > 1.2,
    'The nearer sigma is to 1, the less z tells': lambda n: n['falls'] == 1 and n['information_3'] < 0.1,
}
Hyper = namedtuple('Hyper', 'beta')
BETAS, SAMPLES = (0.5, 1.0, 2.0, 4.0), (1, 2, 4, 8, 16)


def tell(asked: telling.Asked) -> telling.Told:
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from jax import random, vmap

    import vae_jax as vj
    from experiments import common
    from experiments.tour.parts import gradients
    from vae_jax import bounds, evaluation, report
    from vae_jax.plot import canvas

    steps, ks, draws = (150, (8,), 64) if asked.smoke else (800, (2, 8, 32), 200)
    key, bits = random.key(asked.seed), common.data_of('digits', asked, binarization='dynamic')
    model = vj.vae(vj.mlp_encoder((64,)), vj.mlp_decoder((64,)), latent=8, like=bits.example)
    trainer = vj.population(vj.trainer(model.init, vj.per_example(vj.beta_elbo(model)), lambda hyper: optax.adam(3e-3)))
    hyper, keys = Hyper(np.repeat(BETAS, 3)), random.split(key, 12)
    state = vj.advance(trainer, vj.training.start(trainer, bits.train, hyper, keys), bits.train, keys, steps=steps)[0]
    told = evaluation.aggregate_posterior(model, state.params, bits.train, keys, draws=256)
    rows = evaluation.view_rows(bits.train, key, np.arange(len(bits.train)))
    log_std = vmap(lambda params: vmap(lambda x: model.encode(params, x).log_std)(rows))(state.params).mean((1, 2))
    information, sigma = np.reshape([one.information.mean for one in told], (4, 3)), np.exp(log_std).reshape(4, 3)
    numbers: dict[str, Any] = {'falls': int(np.all(np.diff(information.mean(1)) < 0)), 'ceiling': np.log(len(rows))}
    for i, three in enumerate(information):
        numbers |= {f'information_{i}': three.mean(), f'information_{i}_se': three.std(ddof=1) / np.sqrt(3)}
    numbers |= {f'sigma_{i}': three.mean() for i, three in enumerate(sigma)}
    params, xs = jax.tree.map(lambda leaf: leaf[3], state.params), rows[:8]  # beta = 1
    free = vj.Model(model.init, model.prior, lambda q, x: q, lambda q, z: model.decode(params, z))  # q itself learns
    typical = float(evaluation.elbo_estimate(model, params, bits.train, key).elbo.mean)

    def drawn_of(bound: Any, n: int) -> np.ndarray:
        of = lambda x, keys: vmap(lambda key: jax.grad(partial(bound, free))(model.encode(params, x), key, x))(keys)
        found = jax.jit(vmap(of))(xs, random.split(key, (8, n)))
        return np.concatenate([found.mean, found.log_std], -1)  # [8, n, 16]

    pathwise = partial(bounds.elbo, kl=bounds.monte_carlo)
    one = {'pathwise': pathwise, 'score': partial(gradients.score, 0.0), 'constant': partial(gradients.score, typical)}
    several = {'others': bounds.score_elbo, 'iwae': bounds.iwae, 'vimco': bounds.vimco}
    drawn = {name: drawn_of(bound, draws * ks[-1]) for name, bound in one.items()}
    for k in ks:
        found = {name: a[:, : draws * k].reshape(8, draws, k, 16).mean(2) for name, a in drawn.items()}
        found |= {name: drawn_of(partial(bound, k=k), draws) for name, bound in several.items()}
        numbers |= {f'{name}_{k}': a.var(1, ddof=1).sum(-1).mean() for name, a in found.items()}
    each = lambda params, i, keys: jnp.mean(vmap(lambda key: vj.elbo(model, params, key, rows[i]))(keys))  # one encode
    elbo = lambda params, at, keys: jnp.mean(vmap(each, (None, 0, 0))(params, at, keys))
    flat = lambda one: jax.flatten_util.ravel_pytree(jax.grad(elbo)(params, *one))[0]
    for L in SAMPLES:
        at = random.randint(random.fold_in(key, L), (draws, 64 // L), 0, len(rows))
        batches = at, random.split(random.key(L), (draws, 64 // L, L))
        found, seconds = gradients.timed(lambda *both: jax.lax.map(flat, both), *batches)
        numbers |= {f'cost_{L}': np.var(found, 0, ddof=1).sum(), f'microseconds_{L}': 1e6 * seconds / draws}
    worth = [numbers[f'cost_{L}'] * numbers[f'microseconds_{L}'] for L in SAMPLES]
    numbers |= {f'worth_{L}': one / worth[0] for L, one in zip(SAMPLES, worth)}
    numbers['share_of_z'] = 1 / (1 + np.divide(*np.polyfit(SAMPLES, [numbers[f'cost_{L}'] for L in SAMPLES], 1)))

    def noise(theme: Any) -> bytes:
        figure, (left, right) = canvas.figure(theme, 4.8, 3.0, 2)
        for name, colour in zip(('score', 'constant', 'others', 'pathwise'), canvas.PALETTE):
            left.plot(np.log2(ks), np.log10([numbers[f'{name}_{k}'] for k in ks]), 'o-', color=colour, markersize=3)
        right.plot(SAMPLES, [numbers[f'cost_{L}'] for L in SAMPLES], 'o-', color=theme.bar, markersize=3)
        left.set(xlabel='samples, powers of two', ylabel='variance, powers of ten', ylim=(-0.2, 6.2))
        right.set(xlabel='samples an image, 64 in all', ylabel='variance', ylim=(0, None))
        canvas.legend(left, left.lines, ['score function', 'less a constant', 'less the others', 'pathwise'], theme)
        return canvas.deliver(figure, None)

    def told_by_z(theme: Any) -> bytes:
        figure, (axes,) = canvas.figure(theme, 4.8, 2.4)
        axes.plot(at := np.linspace(0.3, 1, 100), -8 * np.log(at), color=theme.ink)
        axes.plot(sigma.ravel(), information.ravel(), 'o', color=canvas.PALETTE[1])
        axes.set(xlabel='sigma of q, geometric mean', ylabel='I(x; z), nats')
        canvas.legend(axes, axes.lines, ['linear and Gaussian, exact', 'VAEs of four betas'], theme)
        return canvas.deliver(figure, None)

    caption = 'Left: variance of four gradients of one ELBO. Right: 64 samples shared among fewer and fewer images.'
    alt = 'Four falling lines, the score function far above the pathwise one; on the right a line that rises'
    first = telling.themed('The variance of a gradient', caption, alt, noise)
    caption = 'Information in eight latents: exactly for a linear encoder of Gaussian data, and of twelve trained VAEs.'
    second = telling.themed('Sigma and information', caption, 'A curve falls to zero at 1, dots along it', told_by_z)
    header = ['samples an image', 'images', 'variance', 'time of a gradient, µs', 'variance × time, from one sample']
    form = {'cost': '.1f', 'microseconds': '.0f', 'worth': '.2f'}.items()
    cells = [[L, 64 // L, *(format(numbers[f'{name}_{L}'], digits) for name, digits in form)] for L in SAMPLES]
    return telling.Told(numbers, [first, second], [report.Table('64 samples, five ways', header, cells)], seeds=3)


if __name__ == '__main__':
    telling.main(tell)

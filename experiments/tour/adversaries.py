"""GAN against VAE, at equal networks, steps and time

Claim     The VAE has the better likelihood and comes closer to unseen digits, the GAN's draws have sharper edges, after
          as many steps and after as much time. That the GAN covers less is not seen. A VAE-GAN is sharp as well.
Equation  min_G max_D E log D(x) + E log(1 - D(G(z))) (Goodfellow et al. 2014, eq. 1; here G lowers -log D); Larsen et
          al. 2016, algorithm 1; -log P(x) <= -E log p(x + u), p(x) = E_z N(G(z), s^2) by annealing (Wu et al. 2017)
Command   python -m experiments.tour.adversaries
Expected  digits, 3 seeds, VAE, VAE-GAN, GAN: -log P(x) 136.7 +- 0.3, 148.1 +- 0.2, 155 +- 2 nats; edges 0.73, 1.02,
          1.03 of real ones, +- 0.006 at most; VAE and GAN at equal time 133.5 +- 0.2 and 146.5 +- 1.1 nats
Time      67 s of one CPU core, shared (88 s by the clock)
"""

import time
from collections import namedtuple
from typing import Any

from experiments.tour import telling

CLAIMS = {
    'Under one observation model the VAE has the better likelihood.': lambda n: n['nll_vae'] < n['nll_gan'] - 5,
    'The GAN draws sharper edges.': lambda n: n['edges_gan'] > 1.1 * n['edges_vae'],
    'With a critic an encoder draws sharper ones.': lambda n: n['edges_vae_gan'] > 1.1 * n['edges_vae'],
    'The decoder of the VAE comes closer to unseen digits.': lambda n: n['search_vae'] < 0.93 * n['search_gan'],
    'At equal time too the VAE has the better likelihood.': lambda n: n['nll_vae_long'] < n['nll_gan_long'] - 5,
    'At equal time too the GAN draws sharper edges.': lambda n: n['edges_gan_long'] > 1.1 * n['edges_vae_long'],
}
KINDS, FIFTHS, LATENT = ('vae', 'vae_gan', 'gan'), (13, 5, 13), 10  # fifths of the steps, in about the same time
ENDS = {kind: (kind, 4) for kind in KINDS} | {'vae_long': ('vae', 12), 'gan_long': ('gan', 12)}
ENDS |= {'gan_wide': ('gan', 4), 'gan_early': ('gan', 2)}  # under the noise of `techniques`
TOLD = ('nll', 'sigma', 'search', 'half', 'edges', 'precision', 'recall', 'coverage')
MEANS = '-log P(x), nats; noise, white is 1; a pixel is missed by; in a hidden lower half by; edges, real ones are 1; '
MEANS += 'draws near a test digit; test digits near a draw; test digits covered'
Hyper = namedtuple('Hyper', 'beta adversary')


def tell(asked: telling.Asked) -> telling.Told:
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    import vae_jax as vj
    from experiments import common
    from experiments.tour.parts import decoders
    from vae_jax import evaluation, losses, plot, report

    data, keys = common.data_of('digits', asked, binarization='none'), jax.random.split(jax.random.key(asked.seed), 3)
    fifth, few, temperatures = (60, 24, 40) if asked.smoke else (800, 100, 200)
    unit = lambda of: vj.Family(1, lambda f: of(jax.nn.sigmoid(f[..., 0])), lambda x: (x >= 0) & (x <= 1), '0 to 1')
    noisy, net = unit(lambda mean: vj.Normal(mean, jnp.full_like(mean, jnp.log(0.12)))), vj.mlp_decoder((128,))
    judge = losses.critic(vj.mlp_encoder((128,)))
    vae = vj.vae(vj.mlp_encoder((128,)), net, likelihood=noisy, latent=LATENT, like=data.example)
    gan = losses.generator(net, likelihood=unit(vj.Delta), latent=LATENT, like=data.example)
    models = vae, *(losses.with_critic(model, judge, losses.the_data) for model in (vae, gan))
    games = vj.per_example(losses.beta_elbo(vae)), losses.vae_gan(vae, judge), losses.gan(gan, judge)
    nets: dict[str, Any] = {kind: [] for kind in KINDS}
    numbers: dict[str, float] = {'steps': 5 * fifth, 'steps_long': 13 * fifth, 'steps_early': 3 * fifth}
    for kind, model, game, fifths in zip(KINDS, models, games, FIFTHS):
        trainer = vj.population(vj.trainer(model.init, game, lambda hyper: optax.adam(1e-3, b1=0.5)))
        state, clock = vj.start(trainer, data.train, Hyper(1.0, 1.0), keys), []
        for _ in range(fifths):
            state = jax.block_until_ready(vj.advance(trainer, state, data.train, keys, steps=fifth)[0])
            nets[kind].append(state.params['decode'])
            clock.append(time.process_time())
        took = (clock[-1] - clock[0]) / (fifths - 1)  # the first compiles
        numbers |= {f'seconds_{kind}': 5 * took, f'took_{kind}': fifths * took}

    x, train = (np.asarray(evaluation.view_rows(s, keys[0], range(len(s)))) for s in (data.test, data.train))
    features, edges = evaluation.pca_features(train, 20), lambda xs: sum(np.var(np.diff(xs, axis=i)) for i in (1, 2))

    def judged(xs: Any) -> Any:
        made, real = (evaluation.featured(features, a) for a in (xs, x))
        near, covered = evaluation.precision_recall(made, real), evaluation.density_coverage(made, real).examples
        return edges(xs) / edges(x), near.samples.mean, near.examples.mean, covered.mean

    mean, zs = lambda net, z: gan.decode({'decode': net}, z).mean, jax.random.normal(keys[1], (len(x), LATENT))
    draw = jax.jit(jax.vmap(lambda net: jax.vmap(lambda z: mean(net, z))(zs)))
    draws = {kind: [np.asarray(draw(net)) for net in each] for kind, each in nets.items()}
    scores = {kind: np.array([[judged(xs) for xs in seeds] for seeds in each]) for kind, each in draws.items()}
    ended = jax.tree.map(lambda *a: jnp.concatenate(a), *(nets[kind][at] for kind, at in ENDS.values()))
    held, upper = evaluation.view_rows(data.validation, keys[0], range(few)), jnp.arange(8)[:, None, None] < 4
    miss = lambda net, x, seen: decoders.missed(lambda z: mean(net, z), x, seen, zs[:4]) ** 2
    find = jax.jit(jax.vmap(jax.vmap(miss, (None, 0, None)), (0, None, None)))  # [members, images, 8, 8, 1]
    error, half = find(ended, held, 1.0).mean((1, 2, 3, 4)), find(ended, held, upper)[:, :, 4:].mean((1, 2, 3, 4))
    sigma = decoders.sigma_of(error, 64, LATENT, 17).at[-6:].set(0.2)
    how = {'chains': 8, 'steps': temperatures, 'leapfrog': 5}
    nll = decoders.nll(gan, {'decode': ended}, sigma, data, jnp.tile(keys, len(ENDS)), few, **how)
    own = np.reshape([nll, sigma, jnp.sqrt(error), jnp.sqrt(half)], (4, -1, 3))
    for i, (name, (kind, at)) in enumerate(ENDS.items()):
        for what, a in zip(TOLD if i < 5 else ['nll'], [*own[:, i], *scores[kind][at].T]):
            numbers |= {f'{what}_{name}': float(np.mean(a)), f'{what}_{name}_se': float(np.std(a, ddof=1) / np.sqrt(3))}

    def table(heading: str, names: Any) -> report.Table:
        cell = lambda name: telling.number(numbers[name], numbers[f'{name}_se'])
        rows = [[mean, *(cell(f'{what}_{name}') for name in names)] for what, mean in zip(TOLD, MEANS.split('; '))]
        return report.Table(heading, ['', 'VAE', 'VAE-GAN', 'GAN'], rows)

    tables = [table('After as many steps', KINDS), table('After as much time', ['vae_long', 'vae_gan', 'gan_long'])]
    tiles = np.concatenate([x[:20], *(each[-1][0][:20] for each in draws.values())]).reshape(8, 10, 8, 8)
    drawn = telling.themed(
        'Test digits, and draws of a VAE, a VAE-GAN and a GAN',
        'Test digits, then means at z ~ N(0, I) of the three decoders, all trained for about the same time.',
        'Eight rows of small digits: the two of the VAE are greyer, those of the GAN as black and white as real ones.',
        lambda theme: plot.board(tiles, ['test', '', 'VAE', '', 'VAE-GAN', '', 'GAN', ''], theme=theme),
    )
    names = {kind: f'{kind.upper().replace("_", "-")}/test digits covered' for kind in KINDS}
    pairs = [(kind, i) for kind, fifths in zip(KINDS, FIFTHS) for i in range(fifths)]
    metrics = [{'step': (i + 1) * fifth, names[kind]: float(scores[kind][i, :, -1].mean())} for kind, i in pairs]
    curves = telling.themed(
        'While they train',
        'Share of test digits with one of as many draws near them, means of seeds. Lines end after the same time.',
        'Three lines: that of the VAE-GAN is highest and ends early, the GAN begins far below and ends above the VAE.',
        lambda theme: plot.curves(metrics, list(names.values()), theme=theme),
    )
    return telling.Told(numbers, [drawn, curves], tables, seeds=3)


if __name__ == '__main__':
    telling.main(tell)

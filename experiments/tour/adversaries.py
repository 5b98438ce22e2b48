"""GAN against VAE, at equal networks and steps

Claim     The VAE has the better likelihood and comes closer to unseen digits; edges of the GAN's draws are as sharp as
          real ones, those of the VAE are not. That the GAN covers less is not seen. A VAE-GAN is sharp as well.
Equation  min_G max_D E log D(x) + E log(1 - D(G(z))) (Goodfellow et al. 2014, eq. 1; here G lowers -log D); Larsen et
          al. 2016, algorithm 1; p(x) = E_z N(x; G(z), s^2 I) by annealing (Wu et al. 2017)
Command   python -m experiments.tour.adversaries
Expected  digits, 3 seeds, VAE, VAE-GAN, GAN: -log p(x) -43.0 +- 0.1, -31.4 +- 0.5, -25 +- 2 nats; coverage 0.707 +-
          0.013, 0.816 +- 0.022, 0.772 +- 0.014; edges 0.742 +- 0.003, 1.03 +- 0.01, 1.05 +- 0.02 of real ones
Time      46 s of one CPU core, shared (60 s by the clock)
"""

import itertools
from collections import namedtuple

from experiments.tour import telling

CLAIMS = {
    'Under one observation model the VAE has the better likelihood.': lambda n: n['nll_vae'] < n['nll_gan'] - 5,
    'The GAN draws sharper edges.': lambda n: n['edges_gan'] > 1.1 * n['edges_vae'],
    'With a critic an encoder draws sharper ones.': lambda n: n['edges_vae_gan'] > 1.1 * n['edges_vae'],
    'The decoder of the VAE comes closer to unseen digits.': lambda n: n['search_vae'] < 0.93 * n['search_gan'],
}
KINDS, LATENT = ('vae', 'vae_gan', 'gan'), 10
TOLD = ('nll', 'sigma', 'search', 'half', 'edges', 'precision', 'recall', 'coverage')
Hyper = namedtuple('Hyper', 'beta adversary')


def tell(asked: telling.Asked) -> telling.Told:
    """Three trainings that share no params, one decoder, grey 8x8 digits, three seeds each, judged alike."""
    import jax
    import numpy as np

    from experiments import common
    from vae_jax import evaluation, plot, report

    data, keys = common.data_of('digits', asked, binarization='none'), jax.random.split(jax.random.key(asked.seed), 3)
    steps, few, temperatures = (300, 24, 40) if asked.smoke else (5000, 100, 400)
    x, train = (np.asarray(evaluation.view_rows(s, keys[0], range(len(s)))) for s in (data.test, data.train))
    features, edges = evaluation.pca_features(train, 20), lambda xs: sum(np.var(np.diff(xs, axis=i)) for i in (1, 2))

    def judged(xs):
        made, real = (evaluation.featured(features, a) for a in (xs, x))
        near, covered = evaluation.precision_recall(made, real), evaluation.density_coverage(made, real).examples
        return edges(xs) / edges(x), near.samples.mean, near.examples.mean, covered.mean

    draws, own = trained(data, keys, steps, few, temperatures)  # [fifths of the steps, 3 kinds of 3 seeds, ...], [9]
    scores = np.array([[judged(np.asarray(xs)) for xs in members] for members in draws])
    found = dict(zip(TOLD, np.reshape([*own, *scores[-1].T], (-1, 3, 3))))
    numbers: dict[str, float] = {}
    for (i, kind), (what, a) in itertools.product(enumerate(KINDS), found.items()):
        numbers |= {f'{what}_{kind}': float(a[i].mean()), f'{what}_{kind}_se': float(a[i].std(ddof=1) / np.sqrt(3))}
    rows = [[what, *(f'{numbers[f"{what}_{kind}"]:.3f}' for kind in KINDS)] for what in TOLD]
    drawn = telling.picture(
        'Test digits, and draws of a VAE, a VAE-GAN and a GAN',
        'Two rows each: test digits, then means drawn from N(0, I) by a VAE, a VAE-GAN and a GAN.',
        'Eight rows of small digits: the two of the VAE are greyer, those of the GAN as black and white as real ones.',
        plot.grid(np.concatenate([x[:20], *(draws[-1][i][:20] for i in (0, 3, 6))]), columns=10),
    )
    names = [f'{kind}/coverage' for kind in KINDS]
    covered = scores[..., -1].reshape(5, 3, 3).mean(2).tolist()
    metrics = [{'step': steps // 5 * (i + 1), **dict(zip(names, c))} for i, c in enumerate(covered)]
    curves = telling.themed(
        'While they train',
        'Share of test digits that have one of as many draws near them, over the steps of training; means of seeds.',
        'Three rising lines: the VAE-GAN highest, the GAN far below at first and above the VAE at the end.',
        lambda theme: plot.curves(metrics, names, theme=theme),
    )
    return telling.Told(numbers, [drawn, curves], [report.Table('Equal measures', ('', *KINDS), rows)], seeds=3)


def trained(data, keys, steps, few, temperatures):
    """Draws while training; then of each member -log p(x) by AIS, its sigma, and the error at the best z found."""
    import jax
    import jax.numpy as jnp
    import optax

    import vae_jax as vj
    from vae_jax import evaluation, losses

    unit = lambda of: vj.Family(1, lambda f: of(jax.nn.sigmoid(f[..., 0])), lambda x: (x >= 0) & (x <= 1), '0 to 1')
    noisy, net = unit(lambda mean: vj.Normal(mean, jnp.full_like(mean, jnp.log(0.12)))), vj.mlp_decoder((128,))
    judge, like = losses.critic(vj.mlp_encoder((128,))), {'latent': LATENT, 'like': data.example}
    vae = vj.vae(vj.mlp_encoder((128,)), net, likelihood=noisy, **like)
    gan = losses.generator(net, likelihood=unit(vj.Delta), **like)
    models = vae, *(losses.with_critic(model, judge, losses.the_data) for model in (vae, gan))
    games = vj.per_example(losses.beta_elbo(vae)), losses.vae_gan(vae, judge), losses.gan(gan, judge)
    init = lambda key, x: [model.init(key, x) for model in models]
    loss = lambda params, *a: (sum(game(own, *a)[0] for own, game in zip(params, games)), dict[str, float]())
    trainer = vj.population(vj.trainer(init, loss, lambda hyper: optax.adam(1e-3, b1=0.5)))
    mean, zs = lambda params, z: gan.decode(params, z).mean, jax.random.normal(keys[1], (len(data.test), LATENT))
    draw = jax.jit(jax.vmap(lambda params: jax.vmap(lambda z: mean(params, z))(zs)))
    state, draws = vj.start(trainer, data.train, Hyper(1.0, 1.0), keys), []
    for _ in range(5):
        state, _ = vj.advance(trainer, state, data.train, keys, steps=steps // 5)
        params = {'decode': jax.tree.map(lambda *a: jnp.concatenate(a), *(own['decode'] for own in state.params))}
        draws.append(draw(params))

    def searched(params, x, seen):  # Gauss-Newton, damped, from four starts; errors of all, and of the lower half
        off = lambda z: (seen * (mean(params, z) - x)).ravel()
        slopes = lambda z: jax.jacfwd(off)(z).T
        step = lambda _, z: z - jnp.linalg.solve(slopes(z) @ slopes(z).T + jnp.eye(LATENT) / 10, slopes(z) @ off(z))
        ends = jax.vmap(lambda z: jax.lax.fori_loop(0, 20, step, z))(zs[:4])
        missed = mean(params, ends[jnp.argmin(jnp.mean(jax.vmap(off)(ends) ** 2, 1))]) - x
        return jnp.array([jnp.mean(missed**2), jnp.mean(missed[4:] ** 2)])

    held = evaluation.view_rows(data.validation, keys[0], range(few))
    find = jax.jit(jax.vmap(jax.vmap(searched, (None, 0, None)), (0, None, None)))
    (error, _), (_, half) = (find(params, held, seen).mean(1).T for seen in (1.0, jnp.arange(8)[:, None, None] < 4))
    params['log_std'] = 0.5 * jnp.log(error * 64 / (64 - LATENT))  # as in a regression: z is fitted to each x
    near = lambda params, z: vj.Normal(mean(params, z), jnp.full(data.example.shape, params['log_std']))
    noised = gan._replace(encode=lambda params, x: gan.prior(params), decode=near)  # no chain begins at q
    how, part = {'chains': 8, 'steps': temperatures, 'leapfrog': 5}, evaluation.some(data.test, few)
    nll = [found.estimate.mean for found in evaluation.anneal(noised, params, part, jnp.tile(keys, 3), **how)]
    return draws, (nll, jnp.exp(params['log_std']), jnp.sqrt(error), jnp.sqrt(half))


if __name__ == '__main__':
    telling.main(tell)

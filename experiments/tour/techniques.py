"""Which techniques do you know? Eight generative models of the same digits, and one number

Claim     What a technique does with one pixel counts as much as what it knows of others: independent histograms beat a
          normal with all covariances. The VAE is best, then MADE and the flow; a GAN with noise around it is last.
Equation  -log P(x), x of 17 levels, is at most -log p(x + u) of a density of x + u, u uniform (Theis et al. 2016, 3.1).
          MADE: Germain et al. 2015; flow: Durkan et al. 2019; p(x|z) = N(G(z), s^2) of a GAN: Wu et al. 2017
Command   python -m experiments.tour.techniques [--data-dir DIR]
Expected  nats: VAE 86.5 +- 0.7, MADE 91.9 +- 0.6, flow 97.3 +- 0.7, histograms 107.8 +- 0.6, mixture 125.1 +- 1.0,
          normal 131.1 +- 0.9, pPCA 131.8 +- 1.1, GAN 176.3 +- 0.9; standard errors of 300 images and three seeds
Time      95 s of processor, nothing compiled before; one CPU core of a machine that others were using
"""

from experiments.tour import telling

NAMES = ('independent', 'normal', 'ppca', 'mixture', 'made', 'flow', 'vae', 'gan')
LABELS = ('independent pixels', 'normal', 'probabilistic PCA', 'normal mixture', 'MADE', 'spline flow', 'VAE', 'GAN')
BOUNDS = ['at most: density of x + u'] * 3
HOW = ('exact', *BOUNDS, 'exact', BOUNDS[0], 'at most: importance samples', 'at most: annealing, of x + u')
CLAIMS = {
    'Independent histograms beat a normal with all covariances.': lambda n: n['independent'] < n['normal'] - 5,
    'MADE beats them.': lambda n: n['made'] < n['independent'],
    'The VAE beats both.': lambda n: n['vae'] < min(n['made'], n['independent']) - 2,
    'The flow beats the other densities.': lambda n: n['flow'] < min(n['normal'], n['ppca'], n['mixture']) - 3,
    'The GAN is the last.': lambda n: n['gan'] > 5 + max(n[name] for name in NAMES[:-1]),
}


def tell(asked: telling.Asked) -> telling.Told:
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    import vae_jax as vj
    from experiments import common
    from experiments.sigma import Hyper
    from vae_jax import evaluation, flows, losses, plot, report, samplers, training
    from vae_jax.classical import factors, generators, made, mixtures, shapes

    grey, key, quick = common.data_of('digits', asked, binarization='none'), jax.random.key(asked.seed), asked.smoke
    soft, seeds = vj.data.dequantized(grey), range(1 if quick else 3)
    seen = lambda split: jnp.reshape(evaluation.view_rows(split, key, np.arange(len(split))), (-1, 64))
    x, new, new_grey = map(seen, (soft.train, soft.test, grey.test))
    cell, sixfold = 64 * np.log(17), 64 * np.log(6.0)  # the first turns a density into the mass of a level
    score = lambda p, xs, see=jnp.ravel: -np.asarray(jax.jit(jax.vmap(lambda x: p.log_prob(see(x))))(xs), float)
    draw = lambda sample: np.asarray(jax.jit(jax.vmap(sample))(jax.random.split(key, 10))).reshape(-1, 8, 8)
    counts = jnp.sum(jax.nn.one_hot(grey.train.rows['x'].reshape(-1, 64), 17), 0)
    levels = vj.CategoricalLevels(jnp.log(counts + 0.3), 1 / 16)
    fit = lambda shape: mixtures.component(mixtures.likeliest(shape, x, jnp.ones((len(x), 1))), 0)
    mixture = mixtures.fitted(shapes.full, 3 if quick else 10, key[None], x, mixtures.Hyper(1e-3), 40).mixture
    ppca = factors.density(factors.ppca(x, 50))  # 10, 20 and 40 are worse on the validation images
    densities = dict(zip(NAMES, (levels, fit(shapes.full), ppca, mixture)))
    values = {n: [score(p, new_grey) if p is levels else cell + score(p, new)] for n, p in densities.items()}
    drawn = [draw(p.sample) for p in densities.values()]
    adam = lambda hyper: optax.adamw(hyper.lr, weight_decay=1.0)
    one = lambda trainer, data, steps, s: vj.fit(trainer, data, Hyper(2e-3), jax.random.key(s), steps=steps, quiet=True)
    train = lambda trainer, data, steps: [one(trainer, data, 300 if quick else steps, s).params for s in seeds]

    def learnt(density, see, data, steps):
        loss = vj.per_example(samplers.negative_log_prob(density), of=lambda batch: jax.vmap(see)(batch['x']))
        trainer = vj.trainer(lambda key, x: density.init(key, see(x)), loss, adam)
        return [density.given(params) for params in train(trainer, data, steps)]

    hot = lambda x: jax.nn.one_hot(jnp.round(16 * x).astype(int).reshape(-1), 17)
    found = learnt(samplers.autoregressive(made.made((128,)), 64, 17), hot, grey, 2500)
    values['made'] = [score(p, new_grey, hot) for p in found]
    drawn.append(draw(lambda key: jnp.argmax(found[0].sample(key), -1) / 16))
    to_pixels = flows.Flow(lambda *_: (), lambda p, z, h: ((z + 3) / 6, -sixfold), lambda p, y, h: (6 * y - 3, sixfold))
    spline = flows.stacked(flows.spline_coupling(vj.mlp_encoder((64,)), 6, 3.0), 2 if quick else 4)
    found = learnt(samplers.flow(flows.chain(spline, to_pixels), vj.Normal(*jnp.zeros((2, 64)))), jnp.ravel, soft, 1500)
    values['flow'] = [cell + score(p, new) for p in found]
    drawn.append(draw(found[0].sample))
    nets = vj.mlp_encoder((128,)), vj.mlp_decoder((128,))
    vae = vj.vae(*nets, latent=10, like=grey.example, likelihood=vj.discretized_logistic(17))
    found = train(vj.trainer(vae.init, vj.per_example(losses.beta_elbo(vae)), adam), grey, 2500)
    values['vae'] = [vj.nll(vae, p, grey.test, key, k=20 if quick else 500).estimate.values for p in found]
    drawn.append(vj.sample(vae, found[0], key, 10)[..., 0])
    judge, maker = losses.critic(nets[0]), losses.generator(nets[1], latent=10, like=grey.example)
    gan = losses.with_critic(maker, judge, losses.the_data)
    calm = lambda hyper: optax.adam(hyper.lr / 2, b1=0.5)
    player = lambda moves: vj.trainer(gan.init, losses.gan(gan, judge), moves(calm, 'critic'))
    found = train(training.alternating(player(training.only), player(vj.freeze), 1), grey, 2500)
    noisy, loud, steps = generators.noisy(gan), {'noise': jnp.log(0.2)}, 5 if quick else 100  # best of 0.15, 0.2, 0.27
    ais = lambda p: evaluation.anneal(noisy, p | loud, soft.test, key, chains=16, steps=steps, leapfrog=5).estimate
    values['gan'] = [cell + ais(params).values for params in found]
    drawn.append(vj.sample(gan, found[0], key, 10)[..., 0])
    numbers = {name: float(np.mean(v)) for name, v in values.items()}
    over = lambda means: np.var(means, ddof=1) / len(means) if len(means) > 1 else 0.0
    numbers |= {f'{n}_se': float(np.sqrt(over(np.mean(v, 0)) + over(np.mean(v, 1)))) for n, v in values.items()}
    numbers['independent_normals'] = cell + float(score(fit(shapes.diagonal), new).mean())
    numbers['gan_noise'] = cell + 64 * (0.5 * np.log(2 * np.pi) + np.log(0.2))  # of a perfect hit
    numbers |= {'images': len(x), 'black': float(jnp.sum(counts[:, 0]) / jnp.sum(counts)), 'gan_std': 0.2}
    rows = [[label, telling.number(numbers[n], numbers[f'{n}_se']), how] for n, label, how in zip(NAMES, LABELS, HOW)]
    table = report.Table('-log P(x) of the test images', ['', 'nats', 'what it is'], rows)
    dots = telling.themed(
        'One number for eight techniques',
        '-log P(x) of the test images with two standard errors, lower is better. Blue: exact; orange: bounds.',
        'Eight dots: the VAE is lowest, then MADE, the flow, independent pixels, the normals and, far off, the GAN.',
        lambda theme: drawing(theme, numbers),
    )
    alt = 'Eight rows of ten small pictures, of noise, smears and digits.'
    board = lambda theme: plot.board(np.clip(np.stack(drawn), 0, 1), LABELS, theme=theme)
    draws = telling.themed('Ten draws of each', 'None was chosen.', alt, board)
    return telling.Told(numbers, [dots, draws], [table], seeds=len(seeds))


def drawing(theme, numbers):
    """A dot a technique."""
    from vae_jax.plot import canvas

    figure, (ax,) = canvas.figure(theme, 4.8, 2.8)
    for i, (n, how) in enumerate(zip(NAMES, HOW)):
        ax.errorbar(numbers[n], -i, None, 2 * numbers[f'{n}_se'], 'o', ms=4, color=canvas.PALETTE[how != 'exact'])
    ax.set(yticks=range(0, -len(NAMES), -1), yticklabels=LABELS, xlabel='-log P(x), nats an image')
    return canvas.deliver(figure, None)


if __name__ == '__main__':
    telling.main(tell)

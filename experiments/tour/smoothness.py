"""Why what a VAE draws is smooth: noise, KL and capacity switched off one at a time

Claim     Noise without the KL is trained away; with it the way between codes is straighter, and N(0, I) can be drawn
          from. Capacity undoes it: a large VAE is flat at its codes, and steep between them.
Equation  -log p(x | mu + n sigma eps) + b KL(N(mu, sigma^2) || N(0, I)): n = b = 0 autoencoder, n = b = 1 VAE
          (Kingma & Welling 2013, eq. 10). Way: integral of |d E[x|z(t)] / dt| dt / |x(1) - x(0)|, 1 where straight
Command   python -m experiments.tour.smoothness
Expected  digits, 3 seeds: way 1.68 +- 0.03 autoencoder, 1.516 +- 0.002 VAE, 1.77 +- 0.02 large VAE
Time      23 s of one CPU core, shared (32 s by the clock)
"""

from typing import NamedTuple

from experiments.tour import telling

CLAIMS = {
    'Noise without the KL is trained away.': lambda n: n['noise_without_kl'] < 0.3 * n['noise_vae'],
    'The way from code to code is straighter in a VAE.': lambda n: n['way_vae'] < 0.97 * n['way_autoencoder'],
    'A large VAE goes a longer way.': lambda n: n['way_large_vae'] > 1.08 * n['way_vae'],
    'Between its codes it is steeper than at them.': lambda n: n['middle_large_vae'] > 1.03 * n['ends_large_vae'],
    'N(0, I) covers more of the data with a VAE.': lambda n: n['drawn_vae'] > n['drawn_autoencoder'] + 0.03,
    'So does a normal fitted to the codes of an autoencoder.': lambda n: n['fitted_autoencoder'] > n['drawn_vae'] - 0.1,
}
CASES = {'autoencoder': (0, 0), 'without_kl': (1, 0), 'without_noise': (0, 1), 'vae': (1, 1)}
DRAWS = (('autoencoder', 'drawn_x'), ('autoencoder', 'fitted_x'), ('vae', 'drawn_x'))
TOLD = ('noise', 'way', 'ends', 'middle', 'drawn', 'fitted')


class Hyper(NamedTuple):
    noise: float
    kl: float


def tell(asked: telling.Asked) -> telling.Told:
    """Five trainings of four latent units on 8x8 digits: ways and draws."""
    import jax
    import numpy as np

    from experiments import common
    from vae_jax import evaluation, plot, report

    data = common.data_of('digits', asked, binarization='none')
    keys, steps = jax.random.split(jax.random.key(asked.seed), 3), 800 if asked.smoke else 4000
    x, train = (np.asarray(evaluation.view_rows(s, keys[0], range(len(s)))) for s in (data.test, data.train))
    found = dict(zip(CASES, trained(data, (128,), list(CASES.values()), keys, steps, x)))
    found['large_vae'] = trained(data, (256, 256), [(1, 1)], keys, steps, x)[0]
    numbers, rows, by = dict[str, float](), [], evaluation.pca_features(train, 20)
    seen = lambda xs: evaluation.featured(by, xs)
    covered = lambda xs, x: evaluation.density_coverage(seen(xs), seen(x)).examples.mean
    for name, m in found.items():
        m |= {what: np.array([covered(xs, x) for xs in m[f'{what}_x']]) for what in ('drawn', 'fitted')}
        numbers |= {f'{what}_{name}': float(np.mean(m[what])) for what in TOLD}
        numbers |= {f'{what}_{name}_se': float(np.std(m[what], ddof=1) / np.sqrt(3)) for what in TOLD}
        rows.append([name.replace('_', ' '), *(f'{numbers[f"{what}_{name}"]:.3f}' for what in TOLD)])
    ways = [found[name]['between'][0, i] for i in (0, 1) for name in ('autoencoder', 'vae', 'large_vae')]
    ways += [found[name][what][0, :9].reshape(9, 64) for name, what in DRAWS]
    profile = telling.themed(
        'Speed on the way from one code to another',
        'Pixels moved on a straight line in z between test digits, over the distance of its ends: 1 is a mere fade.',
        'Curves over the share of the way: flat for the autoencoder, lower for the VAE, a hill for the large VAE.',
        lambda theme: drawing(theme, found),
    )
    pictures = telling.picture(
        'On the way, and drawn',
        'Twice: autoencoder, VAE, large VAE. Then draws: autoencoder, its codes as a fitted normal, VAE.',
        'Nine rows of digits, the worst those of the autoencoder from N(0, I).',
        plot.interpolations(np.stack(ways).reshape(9, 9, 8, 8).clip(0, 1)),
    )
    return telling.Told(numbers, [profile, pictures], [report.Table('One at a time', ['', *TOLD], rows)], seeds=3)


def trained(data, hidden, cases, keys, steps, x):
    """What is measured of each case (noise, kl) of one size of network: a dict of arrays [seeds, ...]."""
    import jax
    import jax.numpy as jnp
    import optax

    import vae_jax as vj

    family = vj.distributions.fixed_normal(jnp.log(0.15))  # about the error that four numbers leave
    model = vj.vae(vj.mlp_encoder(hidden), vj.mlp_decoder(hidden), latent=4, like=data.example, likelihood=family)

    def objective(params, key, x, hyper):
        q = model.encode(params, x)
        z = q.mean + hyper.noise * (q.sample(key) - q.mean)
        return hyper.kl * q.kl(model.prior(params)) - model.decode(params, z).log_prob(x), {}

    def measured(params, key):
        q, draw = jax.vmap(lambda x: model.encode(params, x))(x), jax.vmap(lambda z: model.decode(params, z).mean)
        eps, half, spread = jax.random.normal(key, q.mean.shape), len(x) // 2, jnp.cov(q.mean.T)
        flat = vj.interpolate(model, params, x[:half], x[half : 2 * half], 41).reshape(half, 41, -1)
        moved, apart = (jnp.linalg.norm(d, axis=-1) for d in (jnp.diff(flat, axis=1), flat[:, :1] - flat[:, -1:]))
        speed = jnp.median(40 * moved / apart, 0)
        told = {'speed': speed, 'way': speed.mean(), 'ends': speed[0], 'middle': speed[20], 'between': flat[:2, ::5]}
        told |= {'noise': jnp.mean(jnp.exp(q.log_std) / jnp.sqrt(jnp.diag(spread))[None]), 'drawn_x': draw(eps)}
        return told | {'fitted_x': draw(q.mean.mean(0, keepdims=True) + eps @ jnp.linalg.cholesky(spread).T)}

    trainer = vj.population(vj.trainer(model.init, vj.per_example(objective), lambda hyper: optax.adam(2e-3)))
    hyper, every = Hyper._make(jnp.repeat(jnp.array(c, float), 3) for c in zip(*cases)), jnp.tile(keys, len(cases))
    state = vj.start(trainer, data.train, hyper, every, batch=64)
    state, _ = vj.advance(trainer, state, data.train, every, steps=steps, batch=64)
    found = jax.jit(lambda members: jax.lax.map(lambda member: measured(*member), members))((state.params, every))
    return [{name: a[i : i + 3] for name, a in found.items()} for i in range(0, len(every), 3)]


def drawing(theme, found):
    """The profile of speeds: medians of pairs, means of seeds."""
    from vae_jax.plot import canvas

    figure, (ax,) = canvas.figure(theme, 4.8, 3)
    for (name, m), colour in zip(found.items(), canvas.PALETTE):
        ax.plot([(i + 0.5) / 40 for i in range(40)], m['speed'].mean(0), color=colour, label=name.replace('_', ' '))
    figure.legend(loc='outside upper center', ncols=3, fontsize=8, frameon=False, labelcolor=theme.ink)
    ax.set(xlabel='share of the way', ylabel='speed / distance of the ends', ylim=(1, None))
    return canvas.deliver(figure, None)


if __name__ == '__main__':
    telling.main(tell)

"""Why what a VAE draws is smooth: noise, KL and capacity switched off one at a time

Claim     Noise without the KL is trained away; with it the way between codes is straighter, codes are closer to N(0, I)
          and its draws fall into fewer holes. Capacity undoes the first: a large VAE is steep between its codes.
Equation  -log p(x | mu + n sigma eps) + b KL(N(mu, sigma^2) || N(0, I)): n = b = 0 autoencoder, n = b = 1 VAE
          (Kingma & Welling 2013, eq. 10). Way: integral of |d E[x|z(t)] / dt| dt / |x(1) - x(0)|, 1 where straight
Command   python -m experiments.tour.smoothness
Expected  digits, 3 seeds: way 1.68 +- 0.03 autoencoder, 1.516 +- 0.002 VAE, 1.77 +- 0.02 large VAE; with two units
          58 +- 2 % of the draws of N(0, I) fall into holes of the autoencoder, 31.7 +- 0.5 % into those of the VAE
Time      70 s of processor, 31 s if compiled before; one CPU core of a machine that others were using
"""

from experiments.tour import telling

CLAIMS = {
    'Noise without the KL is trained away.': lambda n: n['noise_without_kl'] < 0.3 * n['noise_vae'],
    'The way from code to code is straighter in a VAE.': lambda n: n['way_vae'] < 0.97 * n['way_autoencoder'],
    'A large VAE goes a longer way.': lambda n: n['way_large_vae'] > 1.08 * n['way_vae'],
    'Between its codes it is steeper than at them.': lambda n: n['middle_large_vae'] > 1.03 * n['ends_large_vae'],
    'N(0, I) covers more of the data with a VAE.': lambda n: n['drawn_vae'] > n['drawn_autoencoder'] + 0.03,
    'So does a normal fitted to the codes of an autoencoder.': lambda n: n['fitted_autoencoder'] > n['drawn_vae'] - 0.1,
    'The codes of a VAE are closer to N(0, I).': lambda n: n['apart_vae_2'] < n['apart_autoencoder_2'] - 0.2,
    'Fewer draws of N(0, I) fall into holes of a VAE.': lambda n: n['holes_vae_2'] < n['holes_autoencoder_2'] - 0.1,
}
LABELS = {'autoencoder': 'autoencoder', 'without_kl': 'noise, no KL', 'without_noise': 'KL, no noise', 'vae': 'VAE'}
LABELS |= {'large_vae': 'large VAE', 'autoencoder_2': 'autoencoder, 2 units', 'vae_2': 'VAE, 2 units'}
WAY = {'noise': 'noise over spread of codes', 'way': 'length of the way'}
WAY |= {'ends': 'speed at the codes', 'middle': 'speed half way'}
LIE = {'density': 'log density under N(0, I)', 'apart': 'nats from N(0, I), at least', 'holes': 'draws in holes'}
LIE |= {'drawn': 'digits covered by N(0, I)', 'fitted': 'by a fitted normal'}


def tell(asked: telling.Asked) -> telling.Told:
    """Seven trainings on 8x8 digits, of four latent units and, to be looked at, of two: ways, codes and draws."""
    import jax
    import numpy as np

    from experiments import common
    from experiments.tour.parts.switched import Hyper, Networks, beside_them, model_of, trained
    from vae_jax import evaluation, plot, report

    data = common.data_of('digits', asked, binarization='none')
    keys, steps = jax.random.split(jax.random.key(asked.seed), 3), 800 if asked.smoke else 4000
    x, train = (np.asarray(evaluation.view_rows(s, keys[0], range(len(s)))) for s in (data.test, data.train))
    cases, pair = [Hyper(noise, kl) for kl in (0, 1) for noise in (0, 1)], Networks((128,), 2, 0.2)
    each = trained(data, Networks((128,), 4, 0.15), cases, keys, steps)  # the stds are about the errors that are left
    each += trained(data, Networks((256, 256), 4, 0.15), cases[3:], keys, steps)
    found = dict(zip(LABELS, each + trained(data, pair, cases[::3], keys, steps)))
    exact = evaluation.aggregate_posterior(model_of(data, pair), found['vae_2']['params'], data.train, keys, draws=512)
    found['vae_2']['exact'] = [q.marginal_kl.mean for q in exact]  # of the codes of training digits
    numbers, by = {'density_drawn_2': -np.log(2 * np.pi) - 1}, evaluation.pca_features(train, 20)
    silent = {f'noise_{n}' for n in ('autoencoder', 'without_noise', 'autoencoder_2')}  # widths that were never used
    for name, m in found.items():
        m |= beside_them(m, by, x)
        names = [what for what in (*WAY, *LIE, 'exact') if what in m and f'{what}_{name}' not in silent]
        numbers |= {f'{what}_{name}': float(np.mean(m[what])) for what in names}
        numbers |= {f'{what}_{name}_se': float(np.std(m[what], ddof=1) / np.sqrt(3)) for what in names}
    told = lambda which: f'{numbers[which]:.3f}' if which in numbers else '-'
    rows = lambda columns, names: [[LABELS[n], *(told(f'{what}_{n}') for what in columns)] for n in names]
    of_ways = report.Table('On the way', ('', *WAY.values()), rows(WAY, list(found)[:5]))
    of_codes = report.Table('Codes and draws', ('', *LIE.values()), rows(LIE, found))
    ways = [found[name]['between'][0, i] for i in (0, 1) for name in ('autoencoder', 'vae', 'large_vae')]
    ways += [found[n][of][0, :9].reshape(9, 64) for n in ('autoencoder', 'vae') for of in ('drawn_x', 'fitted_x')][:3]
    tiles = np.stack(ways).reshape(9, 9, 8, 8).clip(0, 1)
    beside = ['autoencoder', 'VAE', 'large VAE'] * 2 + [f'drawn, {of}' for of in ('autoencoder', 'its normal', 'VAE')]
    profile = telling.themed(
        'Speed on the way from one code to another',
        'Pixels moved on a straight line in z between test digits, over the distance of its ends: 1 is a mere fade.',
        'Curves over the share of the way: flat for the autoencoder, lower for the VAE, a hill for the large VAE.',
        lambda theme: drawing(theme, found),
    )
    places = telling.themed(
        'Where the codes lie',
        'Codes of training digits, two latent units, a colour a digit. 95 % of the draws of N(0, I) are in the ring.',
        "Dots in two rings: the autoencoder's crowd to one side of theirs, the VAE's lie all over it, with small gaps.",
        lambda theme: lying(theme, found, np.asarray(data.train.rows['label'])),
    )
    pictures = telling.themed(
        'On the way, and drawn',
        'Two ways between test digits in three models. Draws of N(0, I), in between of a normal fitted to the codes.',
        'Nine rows of digits, the worst those of the autoencoder from N(0, I).',
        lambda theme: plot.board(tiles, beside, theme=theme),
    )
    return telling.Told(numbers, [profile, places, pictures], [of_ways, of_codes], seeds=3)


def lying(theme, found, labels):
    """Codes of the first seed as the decoder is given them in training, and the ring that holds 95 % of N(0, I)."""
    from matplotlib.patches import Circle

    from vae_jax.plot import canvas

    figure, axes = canvas.figure(theme, 4.8, 2.9, 2)
    for ax, name in zip(axes, ('autoencoder_2', 'vae_2')):
        for i, colour in enumerate(canvas.PALETTE):
            ax.scatter(*found[name]['codes'][0, labels == i].T, s=3, color=colour, linewidths=0, label=i)
        ax.add_patch(Circle((0, 0), 5.991**0.5, fill=False, color=theme.ink, linewidth=0.8))
        ax.set(aspect='equal', xlim=(-3, 3), ylim=(-3, 3), xticks=(-2, 0, 2), yticks=(-2, 0, 2), xlabel='first unit')
        ax.set_title(LABELS[name], fontsize=9)
    axes[0].set_ylabel('second unit')
    looks = {'labelcolor': theme.ink, 'handletextpad': 0, 'columnspacing': 1, 'markerscale': 3, 'fontsize': 8}
    figure.legend(*axes[0].get_legend_handles_labels(), loc='outside lower center', ncols=10, frameon=False, **looks)
    return canvas.deliver(figure, None)


def drawing(theme, found):
    """The profile of speeds: medians of pairs, means of seeds."""
    from vae_jax.plot import canvas

    figure, (ax,) = canvas.figure(theme, 4.8, 3)
    for (name, m), colour in zip(list(found.items())[:5], canvas.PALETTE):
        ax.plot([(i + 0.5) / 40 for i in range(40)], m['speed'].mean(0), color=colour, label=LABELS[name])
    figure.legend(loc='outside upper center', ncols=3, fontsize=8, frameon=False, labelcolor=theme.ink)
    ax.set(xlabel='share of the way', ylabel='speed / distance of the ends', ylim=(1, None))
    return canvas.deliver(figure, None)


if __name__ == '__main__':
    telling.main(tell)

"""Latent variables: the neighbourhoods of a town, from house prices and places alone

Claim     A hidden group for each house explains where it stands and what it costs. EM never lowers the likelihood and
          gets further than gradient descent in as many passes; BIC says how many groups, and variational Bayes empties
          some of too many. The average house of the town is one that nobody lives in.
Equation  p(x) = sum_k w_k N(x; m_k, S_k). EM: r_nk = p(k|x_n), then the likeliest w, m and S given r (Dempster, Laird &
          Rubin 1977). Variational: Dirichlet and normal-Wishart beliefs (Bishop 2006, section 10.2). BIC (Schwarz 1978)
Command   python -m experiments.tour.prices [--data-dir DIR]
Expected  Ames: 28 groups by BIC; held-out log p(x) in nats a house, columns of variance 1: EM -2.64 +- 0.08, gradient
          -2.66 +- 0.06, variational -2.78 +- 0.06 (26 groups of 40); average house less likely than 99.9 % of houses
Time      50 s of processor, nothing compiled before; one CPU core of a machine that others were using
"""

from experiments.tour import telling

CLAIMS = {
    'EM never lowers the likelihood, but for the ridge.': lambda n: n['em_largest_fall'] < 1e-6,
    'From one start, in as many passes, EM gets further than gradient descent.': lambda n: n['em'] > n['gradient'],
    'BIC is lowest inside of the range that was tried.': lambda n: 1 < n['k'] < n['k_most'],
    'The variational bound never falls.': lambda n: n['bound_largest_fall'] < 1e-9,
    'Variational Bayes leaves groups empty.': lambda n: 1 < n['variational_k'] < n['k_most'],
    'Who knows the place knows more of the price.': lambda n: n['price_error_at_place'] < 0.9 * n['price_error'],
}


def tell(asked: telling.Asked) -> telling.Told:
    """Mixtures of longitude, latitude and log price of the houses sold in Ames, Iowa; a fifth of them is held out."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    import vae_jax as vj
    from vae_jax import evaluation
    from vae_jax.classical import beliefs, mixtures, shapes

    columns, notes = telling.table(asked, 'ames_housing')
    rows = np.stack([columns['Longitude'], columns['Latitude'], np.log(columns['Sale_Price'])], 1)
    order = np.random.default_rng(asked.seed).permutation(len(rows))[: 600 if asked.smoke else None]
    rows, names = rows[order], np.unique(columns['Neighborhood'][order], return_inverse=True)[1]
    steps, ks = (30, (1, 10, 30)) if asked.smoke else (100, (1, 8, 16, 20, 24, 28, 32, 40))
    with jax.enable_x64(True):  # what the likelihood rises by in the end is lost in float32
        xs, hyper = jnp.asarray((rows - rows.mean(0)) / rows.std(0)), mixtures.Hyper(ridge=1e-4)
        old, new = xs[: len(xs) * 4 // 5], xs[len(xs) * 4 // 5 :]
        keys = jax.random.split(jax.random.key(asked.seed), 1 if asked.smoke else 3)
        fit = lambda shape, k: mixtures.fitted(shape, k, keys, old, hyper, steps)
        fits = {k: fit(shapes.full, k) for k in ks}
        k = min(ks, key=lambda k: fits[k].bic)
        simpler = {name: fit(getattr(shapes, name), k) for name in ('tied', 'diagonal', 'spherical')}
        em = fits[k]
        start = lambda key, x: mixtures.em(shapes.full, k).init(em.key, {'x': old}, hyper).params
        descent = vj.trainer(start, mixtures.negative_log_p, lambda hyper: optax.adam(0.1))
        descended, gradient = jax.jit(lambda key: mixtures.passes(descent, key, old, hyper, steps))(em.key)
        prior = beliefs.weak_prior(old, 0.01)
        priors = [prior._replace(scatter=width**2 * prior.scatter) for width in (1.0, 0.3, 0.1)]
        found = [beliefs.believed(prior, ks[-1], em.key, old, steps) for prior in priors]
        belief, bound = min(found, key=lambda run: run[1][-1])  # the ELBO compares priors too
        log_p = jax.jit(lambda mixture, xs: mixtures.responsibilities(mixture, xs)[1])
        tested = {'em': log_p(em.mixture, new), 'gradient': log_p(descended['mixture'], new)}
        tested['variational'] = jax.jit(jax.vmap(lambda x: beliefs.log_predictive(belief, x)))(new)
        groups = jnp.argmax(jax.jit(mixtures.responsibilities)(em.mixture, xs)[0], 1)
        average, every = log_p(em.mixture, em.mixture.mean[None]), log_p(em.mixture, xs)
        guesses = jax.jit(jax.vmap(lambda x: mixtures.given(em.mixture, (0, 1), x[:2]).mean[0]))(new)
        largest = mixtures.component(em.mixture, jnp.argmax(em.mixture.log_weights))
        drawn = jax.vmap(largest.sample)(jax.random.split(em.key, 60))
        numbers = {
            'houses': len(rows),
            'neighbourhoods': len(np.unique(names)),
            'k': k,
            'k_most': ks[-1],
            'bic_gain': fits[1].bic - em.bic,
            'em': -em.losses[-1],
            'gradient': -gradient[-1],
            'em_largest_fall': max(jnp.diff(fit.losses).max() for fit in fits.values()),
            'bound_largest_fall': jnp.diff(bound).max(),
            'variational_k': beliefs.used(belief, prior),
            'agreement': evaluation.agreement(groups, names, em.key).ari,
            'less_likely_than_average': jnp.mean(every < average),
            'median_price': np.exp(np.median(rows[:, 2])),
            'largest_price': jnp.exp(jnp.median(drawn[:, 2]) * rows[:, 2].std() + rows[:, 2].mean()),
            'price_error': rows[:, 2].std() * jnp.sqrt(jnp.mean((jnp.mean(old[:, 2]) - new[:, 2]) ** 2)),
            'price_error_at_place': rows[:, 2].std() * jnp.sqrt(jnp.mean((guesses - new[:, 2]) ** 2)),
        }
        numbers |= {f'bic_{name}': found.bic - em.bic for name, found in simpler.items()}
        numbers |= {f'{name}_test': jnp.mean(values) for name, values in tested.items()}
        numbers |= {f'{name}_test_se': jnp.std(values) / len(values) ** 0.5 for name, values in tested.items()}
        numbers, groups, drawn = jax.device_get((numbers, em.mixture.components, drawn))
    town = telling.themed(
        'A town as a mixture, drawn on its map',
        f'{len(rows):,} houses of Ames, the dear ones lighter; ellipses of one standard deviation are the groups. '
        'Red: new houses of the largest group, and as a cross the average of all houses.',
        'A map of houses as dots under ellipses of many sizes; a cross lies in an empty place in the middle.',
        lambda theme: drawing(theme, rows, groups, drawn * rows.std(0) + rows.mean(0)),
    )
    return telling.Told({name: float(n) for name, n in numbers.items()}, [town], notes=notes)


def drawing(theme, rows, groups, drawn):
    """Houses on the map, the groups' ellipses, new houses, and the average one."""
    import numpy as np

    from vae_jax.plot import canvas

    figure, (ax,) = canvas.figure(theme, 4.8, 3.9)
    (x, y), angle = rows[:, :2].T, np.linspace(0, 2 * np.pi, 60)
    dots = ax.scatter(x, y, c=np.exp(rows[:, 2]) / 1000, s=2, cmap='viridis', vmin=80, vmax=350)
    for mean, factor in zip(groups.mean, groups.lower):
        edge = mean[:2, None] + factor[:2, :2] @ np.stack([np.cos(angle), np.sin(angle)])
        ax.plot(*(edge * rows.std(0)[:2, None] + rows.mean(0)[:2, None]), color=theme.ink, linewidth=0.8)
    ax.scatter(*drawn[:, :2].T, s=4, color=canvas.PALETTE[2])
    ax.plot(x.mean(), y.mean(), 'x', color=canvas.PALETTE[2], markersize=9, markeredgewidth=2.5)
    ax.set(xlabel='longitude', ylabel='latitude', aspect=1 / np.cos(np.radians(y.mean())))
    ax.set(xlim=np.quantile(x, [0, 0.999]), xticks=np.quantile(x, [0.01, 0.99]).round(2))
    canvas.scale(figure, dots, ax, theme, 'price, thousand dollars')
    return canvas.deliver(figure, None)


if __name__ == '__main__':
    telling.main(tell)

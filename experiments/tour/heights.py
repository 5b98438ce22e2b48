"""A generative model is a distribution to sample from: human heights

Claim     Maximum likelihood in closed form and by gradient descent is the same normal. It is not rejected for grown
          women; it is for a village of all ages, for the men alone and for Galton's sons and daughters.
Equation  log p(x) = -(x - m)^2 / 2 s^2 - log s - log(2 pi) / 2, so m = mean of x, s^2 = mean of (x - m)^2.
          BIC = k log n - 2 log p (Schwarz 1978). p: A^2 of Anderson and Darling, by parametric bootstrap
Command   python -m experiments.tour.heights [--data-dir DIR]
Expected  Howell: mean 154.6 cm, std 7.73; BIC of two sexes less that of one -230; p-values: village 0.0005, women 0.61,
          men 0.008; Galton's sons 0.002, daughters 0.006
Time      5 to 14 s of processor, nothing compiled before; one CPU core of a machine that others were using
"""

from experiments.tour import telling

CLAIMS = {
    'Gradient descent ends at the closed form, to 0.01 cm.': lambda n: n['gradient_apart_cm'] < 0.01,
    'One normal for a village of all ages is rejected.': lambda n: n['village_p'] < 0.005,
    'One normal for grown women is not.': lambda n: n['women_p'] > 0.05,
    'Told who is who, grown people are two normals: BIC falls by more than 10.': lambda n: n['bic_sexes'] < -10,
    'Children need one of their own even more.': lambda n: n['bic_ages'] < n['bic_sexes'],
}


def tell(asked: telling.Asked) -> telling.Told:
    """Normals of the heights of Dobe !Kung (Howell) and of Galton's grown children: fitted, drawn, judged."""
    import numpy as np
    from scipy import stats

    (howell, notes), (galton, others) = (telling.table(asked, name) for name in ('howell1', 'galton_families'))
    x, grown, male = howell['height'], howell['age'] >= 18, howell['male'] == 1
    women, men = x[grown & ~male], x[grown & male]
    sons, galton_cm = galton['gender'] == 'male', 2.54 * galton['childHeight']
    mean, std = descended(x[grown], 400 if asked.smoke else 2000)
    drawn = np.random.default_rng(asked.seed).normal(x[grown].mean(), x[grown].std(), 10)  # ten people nobody met
    numbers = {
        'adults': len(x[grown]),
        'mean_cm': x[grown].mean(),
        'std_cm': x[grown].std(),
        'gradient_apart_cm': max(abs(mean - x[grown].mean()), abs(std - x[grown].std())),
        'drawn_low_cm': min(drawn),
        'drawn_high_cm': max(drawn),
        'bic_sexes': bic(women, men) - bic(x[grown]),
        'bic_ages': bic(x[grown], x[~grown]) - bic(x),
        'galton_bic_sexes': bic(galton_cm[sons], galton_cm[~sons]) - bic(galton_cm),
        'sexes_apart_stds': (men.mean() - women.mean()) / np.sqrt((men.var() + women.var()) / 2),
        'above_180_cm': float(np.mean(x > 180)),
        'believed_above_180_cm': float(stats.norm(x.mean(), x.std()).sf(180)),
    }
    groups = {'village': x, 'adults': x[grown], 'women': women, 'men': men}
    groups |= {'galton_sons': galton_cm[sons], 'galton_daughters': galton_cm[~sons]}
    numbers |= {f'{name}_p': p_value(group, 299 if asked.smoke else 1999, asked.seed) for name, group in groups.items()}
    figure = telling.themed(
        'Where one normal is enough, and where it is not',
        'Heights of Dobe !Kung, and as many new ones: all ages; above 18, where two normals add up to one top; women.',
        'Three histograms, measured and drawn: one bell misses the children, two fit together, one fits the women.',
        lambda theme: drawing(theme, x, women, men),
    )
    return telling.Told(numbers, [figure], notes=notes + others)


def descended(x, steps):
    """(mean, std) by Adam on -log p(x), begun far away; all rows in each step."""
    import jax
    import jax.numpy as jnp
    import optax

    import vae_jax as vj
    from vae_jax import samplers

    start = vj.Normal(jnp.array([100.0]), jnp.log(jnp.array([50.0])))
    loss = vj.per_example(samplers.negative_log_prob(samplers.fixed(start)))
    adam = optax.adam(optax.cosine_decay_schedule(2.0, steps))
    trainer = vj.trainer(lambda key, x: start, loss, lambda hyper: adam)
    data = vj.data.from_arrays('heights', x[:, None], test_x=x[:1, None], validation=0)
    found = vj.overfit(trainer, data.train, (), jax.random.key(0), steps=steps, batch=len(x))[0].params
    return float(found.mean[0]), float(jnp.exp(found.log_std[0]))


def bic(*groups):
    """Of one normal for each group."""
    import numpy as np

    twice_log_p = sum(-len(g) * (np.log(2 * np.pi * g.var()) + 1) for g in groups)
    return 2 * len(groups) * np.log(sum(map(len, groups))) - twice_log_p


def p_value(x, trials, seed):
    """The share of samples of the fitted normal, each with a normal fitted to it, that look less normal than x."""
    from scipy import stats

    return float(stats.goodness_of_fit(stats.norm, x, statistic='ad', n_mc_samples=trials, rng=seed).pvalue)


def drawing(theme, x, women, men):
    """Three panels: all ages, grown people, women."""
    import numpy as np
    from scipy import stats

    from vae_jax.plot import canvas

    figure, axes = canvas.figure(theme, 7.2, 2.7, 3)
    rng, two = np.random.default_rng(0), ['both', 'women', 'men']
    panels = {'all ages': ([x], ['normal']), 'above 18': ([women, men], two), 'women': ([women], ['normal'])}
    for ax, (title, (groups, names)) in zip(axes, panels.items()):
        group, new = (np.concatenate(a) for a in (groups, [rng.normal(g.mean(), g.std(), len(g)) for g in groups]))
        at = np.linspace(group.min() - group.std(), group.max() + group.std(), 300)
        parts = [len(g) / len(group) * stats.norm(g.mean(), g.std()).pdf(at) for g in groups]
        marks = [ax.hist(group, at[::12], density=True, color=theme.faint)[2]]
        marks += ax.hist(new, at[::12], density=True, histtype='step', color=theme.ink)[2]
        for part, _, colour in zip([sum(parts), *parts], names, canvas.PALETTE):
            marks += ax.plot(at, part, color=colour, linewidth=2)
        canvas.legend(ax, marks, ['measured', 'drawn', *names], theme)
        ax.set_title(title, fontsize=9)
        ax.set(xlabel='height, cm', yticks=[], ylim=(0, 1.5 * ax.get_ylim()[1]))
    return canvas.deliver(figure, None)


if __name__ == '__main__':
    telling.main(tell)

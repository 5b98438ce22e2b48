"""The intractable posterior, exact on a grid and approximated in five ways

Claim     Of two parameters a grid knows everything. HMC agrees with it; Laplace misses the skew; the reverse KL makes
          independent factors too narrow, the forward KL does not. Of two modes only the forward KL sees both, badly.
Equation  p(z|x) = p(x|z) p(z) / p(x); reverse: KL(q || p) = log p(x) - ELBO(q); forward: KL(p || q), least over
          Gaussians for the moments of p (Bishop 2006, sections 4.4 and 10.1.2; HMC: Neal 2011)
Command   python -m experiments.tour.posterior [--data-dir DIR]
Expected  real tables, seed 0: log p(x) -7.042; means off by 0.002 (HMC) and 0.54 (Laplace) standard deviations; least
          variance of reverse independent factors 0.18 of the exact; reverse KL 0.071, of two modes 0.694 nats
Time      16 s on one CPU core that others were using too
"""

from experiments.tour import telling

CLAIMS = {
    'HMC has the means of the grid, within five standard errors': lambda n: n['hmc_errors'] < 5,
    'Laplace misses the means by more than ten times as much': lambda n: n['laplace_off'] > 10 * n['hmc_off'],
    'The reverse KL makes independent factors too narrow': lambda n: n['narrow'] < 0.7,
    'Of two Gaussians the reverse KL prefers its own': lambda n: n['reverse_reverse'] < n['forward_reverse'],
    'Of the two the forward KL prefers its own': lambda n: n['forward_forward'] < n['reverse_forward'],
    'ELBO + KL(q || p) is log p(x) of the grid': lambda n: abs(n['sum'] - n['log_p']) < 5 * n['sum_se'] + 1e-3,
    'Of two modes the reverse KL keeps one, for about log 2 nats': lambda n: 0.6 < n['two_reverse'] < 0.8,
    'The forward KL has its mean where there is next to nothing': lambda n: n['two_between'] > 5,
    'No chain of HMC finds the other mode': lambda n: n['two_crossed'] == 0,
}


def of_men(heights, men):
    """log p(men, z): logistic regression on decimetres above 140 cm, z = (intercept, slope) ~ N(0, 5^2)."""
    import jax.numpy as jnp

    from vae_jax.distributions import Bernoulli, Normal

    prior, x = Normal(jnp.zeros(2), jnp.full(2, jnp.log(5.0))), jnp.asarray((heights - 140) / 10, jnp.float32)
    return lambda z: prior.log_prob(z) + Bernoulli(z[0] + z[1] * x).log_prob(jnp.asarray(men, jnp.float32))


def of_kinds(waits):
    """log p(waits, z): a wait is of either of two kinds, whose means z ~ N(70, 15^2), with 6 minutes of spread."""
    import jax
    import jax.numpy as jnp

    from vae_jax.distributions import Mixture, Normal

    prior, six = Normal(jnp.full(2, 70.0), jnp.full(2, jnp.log(15.0))), jnp.full(2, jnp.log(6.0))
    log_p = lambda z, wait: Mixture(jnp.zeros(2), Normal(z, six, 0)).log_prob(wait)
    return lambda z: prior.log_prob(z) + jnp.sum(jax.vmap(log_p, (None, 0))(z, jnp.asarray(waits, jnp.float32)))


def every_way(log_joint, bounds, start, key, smoke):
    """(posterior on a grid, {name: q on that grid}, draws of HMC, log p(x) by Laplace, ELBOs of the last steps)."""
    import jax.numpy as jnp

    from vae_jax.classical import grids, hmc, laplace, mean_field, variational

    axes = tuple(grids.steps_of(low, high, 121 if smoke else 241) for low, high in bounds)
    exact, mode = grids.gridded(log_joint, axes), laplace.laplace_approximation(log_joint, start)
    chains, steps = (16, 400) if smoke else (64, 2000)
    starts, spread = jnp.tile(mode.q.mean[None], (chains, 1)), mode.q.factor @ mode.q.factor.T
    zs = hmc.hmc_draws(log_joint, starts, key, steps=steps, size=0.7, leapfrog=4, variance=spread).zs
    reverse, elbos = variational.reverse_kl_fit(log_joint, mode.q, key, steps=500 if smoke else 2000)
    qs = {'reverse KL': reverse, 'forward KL': grids.gaussian(exact), 'Laplace': mode.q}
    found = {name: grids.gridded(q.log_prob, axes) for name, q in qs.items()}
    found['reverse, independent'] = mean_field.free_form(exact, 60).q
    found['forward, independent'] = grids.product(grids.marginal(exact, 0), grids.marginal(exact, 1))
    return exact, found, zs[:, steps // 10 :], float(mode.log_total), elbos[-100:]


def tell(asked: telling.Asked) -> telling.Told:
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments.tour.regions import regions
    from vae_jax import report
    from vae_jax.classical import grids, hmc

    (people, notes), (geyser, more) = telling.table(asked, 'howell1'), telling.table(asked, 'old_faithful')
    adults, keys = np.flatnonzero(people['age'] >= 18)[:12], jax.random.split(jax.random.key(asked.seed))
    of_one, of_two = of_men(people['height'][adults], people['male'][adults]), of_kinds(geyser['waiting'][:10])
    exact, found, zs, log_p, elbos = every_way(of_one, ((-20, 8), (-5, 20)), jnp.zeros(2), keys[0], asked.smoke)
    two, each, stuck, *_ = every_way(of_two, ((25, 115),) * 2, jnp.array([60.0, 80.0]), keys[1], asked.smoke)

    told = lambda q: [np.asarray(a) for a in (grids.moments(q)[0], jnp.sqrt(jnp.diag(grids.moments(q)[1])))]
    kls = lambda q: [float(grids.divergence(q, exact)), float(grids.divergence(exact, q))]
    cells = {'exact, on a grid': told(exact), 'HMC': [hmc.mean_of_chains(zs)[0], zs.std((0, 1))]}
    cells |= {name: told(q) + kls(q) for name, q in found.items()}
    mean, std = cells['exact, on a grid']
    off = lambda name: float(np.max(np.abs(cells[name][0] - mean) / std))
    numbers = {'log_p': float(exact.log_total), 'log_p_laplace': log_p, 'draws': zs.size // 2}
    numbers |= {'hmc_off': off('HMC'), 'laplace_off': off('Laplace')}
    numbers['hmc_errors'] = float(np.max(np.abs(cells['HMC'][0] - mean) / hmc.mean_of_chains(zs)[1]))
    for way, name in (('reverse', 'narrow'), ('forward', 'wide')):
        numbers[name] = float(np.max((cells[f'{way}, independent'][1] / std) ** 2))
        numbers |= dict(zip((f'{way}_reverse', f'{way}_forward'), cells[f'{way} KL'][2:]))
    numbers |= {'sum': float(elbos.mean()) + numbers['reverse_reverse'], 'sum_se': float(elbos.std()) / 10}
    between = two.log_prob.max() + two.log_total - of_two(grids.moments(two)[0])
    numbers |= {'two_between': float(between), 'two_reverse': float(grids.divergence(each['reverse KL'], two))}
    numbers['two_crossed'] = float((stuck[..., 0] > stuck[..., 1]).mean())
    some = lambda zs: zs.reshape(-1, 2)[:: zs.size // 600]
    gaussians, factors = ({name: q for name, q in found.items() if (', ' in name) is split} for split in (False, True))
    labels, means = ('intercept', 'slope, per dm'), ('mean of one kind, minutes', 'of the other, minutes')
    panels = [('Gaussians with a covariance', exact, gaussians, some(zs), labels)]
    panels += [('independent factors', exact, factors, (), labels)]
    pair = [('two modes', two, {name: each[name] for name in ('reverse KL', 'forward KL')}, some(stuck), means)]
    caption = 'Regions that hold 90 % of the mass: is it a man, told by height? Two parameters, twelve people.'
    alt = 'A slanted grey spot. Left, three ellipses and dots that cover it; right, an oval too small, one too large.'
    which = 'Regions that hold 90 % of the mass: mean waits before two kinds of eruptions; nothing says which is which.'
    spots = 'Two grey spots. A ring and all dots lie on one of them; a long ellipse covers both and the gap.'
    figures = [telling.themed('One posterior', caption, alt, lambda theme: regions(theme, panels))]
    figures += [telling.themed('Two modes', which, spots, lambda theme: regions(theme, pair))]
    rows = [[name, *(f'{v:.2f}' for v in (*m, *s)), *(f'{v:.3f}' for v in kl)] for name, (m, s, *kl) in cells.items()]
    header = ['q', 'intercept', 'slope', 'std of intercept', 'of slope', 'KL(q || p), nats', 'KL(p || q)']
    return telling.Told(numbers, figures, [report.Table('The same posterior, by numbers', header, rows)], notes + more)


if __name__ == '__main__':
    telling.main(tell)

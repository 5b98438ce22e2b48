"""Mean field: the best independent factors, with no family assumed

Claim     Coordinate ascent over factors of any shape, on a grid, ends at the normal and the gamma that the calculus of
          variations gives; the ELBO rises in each sweep; means are exact, and variances too small by known factors.
Equation  log q_i(z_i) = E[log p(x, z)] over the other factors + const (Bishop 2006, eq. 10.9); a normal with unknown
          mean and precision: section 10.1.3; Gaussian: variances 1 / diag of the precision, eq. 10.12 to 10.15
Command   python -m experiments.tour.mean_field [--data-dir DIR]
Expected  real tables, exact: KL between grid and formula below 1e-6 nats; variance of the mean 0.75 of the exact, of
          the precision 0.889, of a slope 0.0185, and 1 once centred; 256 sweeps against 1
Time      12 s on one CPU core that others were using too
"""

from experiments.tour import telling

CLAIMS = {
    'The free factors are the normal and the gamma of the formula': lambda n: n['free_apart'] < 1e-3,
    'The ELBO never falls': lambda n: n['least_rise'] > -1e-4,
    'It ends below log p(x), by the KL to the exact posterior': lambda n: (
        abs(n['gap'] - n['gap_grid']) < 1e-3 < n['gap']
    ),
    'The mean has (a - 1) / a of its variance': lambda n: abs(n['narrow_mean'] / n['factor_mean'] - 1) < 0.01,
    'and the precision a / (a + 1/2)': lambda n: abs(n['narrow_precision'] / n['factor_precision'] - 1) < 1e-3,
    'Both means are exact': lambda n: n['means_off'] < 1e-3,
    'Two correlated unknowns keep 1 - r^2 of their variances': lambda n: (
        abs(n['narrow_slope'] / n['factor_slope'] - 1) < 0.02 and n['factor_slope'] < 0.5
    ),
    'Measured from the mean nothing is lost': lambda n: abs(n['narrow_slope_centred'] - 1) < 0.02,
    'Correlation also costs sweeps': lambda n: n['sweeps'] > 5 * n['sweeps_centred'],
}


def of_heights(heights, smoke):
    """(posterior of the mean and log std of heights on a grid, free factors there, KL that is left, numbers)."""
    import jax.numpy as jnp
    import numpy as np

    from vae_jax.classical import grids, mean_field, normal_gamma

    x, n = jnp.asarray(heights, jnp.float32), 121 if smoke else 321
    prior = normal_gamma.NormalGamma(160.0, 1.0, 1.0, 50.0)  # cm; worth one person, a std of about 7 cm
    exact, q = normal_gamma.exact_posterior(prior, x), normal_gamma.factored_posterior(prior, x)
    axes = grids.steps_of(110, 210, n), grids.steps_of(0, 4.5, n)
    tau = lambda z: jnp.exp(-2 * z[1])  # the precision; d tau = 2 tau d log std
    factors = lambda z: q.mu.log_prob(z[0]) + normal_gamma.log_gamma(tau(z), q.shape, q.rate) + jnp.log(2 * tau(z))
    p = grids.gridded(lambda z: exact.log_prob(z[0], tau(z)) + jnp.log(2 * tau(z)), axes)
    free, log_p = mean_field.free_form(p, 20), normal_gamma.log_evidence(prior, x)
    found = {'a': exact.shape, 'gap': log_p - q.elbos[-1], 'gap_grid': grids.divergence(free.q, p)}
    found['free_apart'] = abs(grids.divergence(free.q, grids.gridded(factors, axes)))
    found['least_rise'] = min(np.diff(q.elbos).min(), -np.diff(free.kls).max())
    found['narrow_mean'] = grids.moments(free.q)[1][0, 0] / grids.moments(p)[1][0, 0]
    found['narrow_precision'] = (q.shape / q.rate**2) / (exact.shape / exact.rate**2)
    found |= {'factor_mean': (exact.shape - 1) / exact.shape, 'factor_precision': exact.shape / (exact.shape + 0.5)}
    found['means_off'] = abs(q.mu.mean - exact.mean) + abs(q.shape / q.rate * exact.rate / exact.shape - 1)
    return p, free.q, free.kls, {name: float(value) for name, value in found.items()}


def of_sons(parents, sons, smoke):
    """(posterior of a line's height at 0 and slope on a grid, free factors, KL that is left, (narrow, 1 - r^2))."""
    import jax.numpy as jnp

    from vae_jax.classical import grids, laplace, mean_field
    from vae_jax.distributions import Normal

    x, y = jnp.asarray(parents, jnp.float32), jnp.asarray(sons, jnp.float32)
    prior, noise = Normal(jnp.array([65.0, 0.0]), jnp.log(jnp.array([20.0, 5.0]))), jnp.full_like(y, jnp.log(2.2))
    log_joint = lambda z: prior.log_prob(z) + Normal(z[0] + z[1] * x, noise).log_prob(y)
    q = laplace.laplace_approximation(log_joint, jnp.array([65.0, 0.0])).q  # exact: the posterior is a Gaussian
    std = jnp.exp(q.log_std)
    axes = tuple(grids.steps_of(float(m - 6 * s), float(m + 6 * s), 121 if smoke else 321) for m, s in zip(q.mean, std))
    p = grids.gridded(log_joint, axes)
    high = -0.5 * ((axes[1] - axes[1][-1]) / std[1]) ** 2  # the ascent begins where it is wrong by six deviations
    free = mean_field.free_form(p, 1000, (jnp.zeros_like(high), high))
    shrunk = grids.moments(free.q)[1][1, 1] / grids.moments(p)[1][1, 1]
    best = jnp.exp(2 * (mean_field.best_diagonal(q).log_std - q.log_std))[1]
    return p, free.q, free.kls, (float(shrunk), float(best))


def tell(asked: telling.Asked) -> telling.Told:
    import numpy as np

    from experiments.tour.regions import falling, regions

    (people, notes), (families, more) = telling.table(asked, 'howell1'), telling.table(asked, 'galton_families')
    men = people['height'][(people['age'] >= 18) & (people['male'] == 1)][:6]
    p, q, left, numbers = of_heights(men, asked.smoke)
    sons = np.flatnonzero(families['gender'] == 'male')[:60]
    parents, grown = families['midparentHeight'][sons], families['childHeight'][sons]
    far, near = (of_sons(parents - zero, grown, asked.smoke) for zero in (60.0, parents.mean()))
    for name, line in (('', far), ('_centred', near)):
        numbers[f'narrow_slope{name}'], numbers[f'factor_slope{name}'] = line[3]
        numbers[f'sweeps{name}'] = int(np.argmax(line[2] < line[2][-1] + 1e-3))
        numbers['least_rise'] = min(numbers['least_rise'], float(-np.diff(line[2]).max()))
    numbers |= {'gap_slope': float(far[2][-1]), 'men': len(men), 'sons': len(sons)}

    mean_field = 'mean field, by sweeps'
    panels = [('six heights', p, {mean_field: q}, (), ('mean, cm', 'log of the std, cm'))]
    panels += [('a line through 60 sons', *far[:1], {mean_field: far[1]}, (), ('height at 60 in, in', 'slope'))]
    lines = {'six heights': left, 'line, from 60 in': far[2], 'line, from the mean': near[2]}
    alt = (
        'Left a broad grey spot and a slightly smaller ring; right a long slanted spot, and a tiny ring at its middle.'
    )
    curves = 'Three falling curves: one to zero at once, one level at 0.06 nats after two sweeps, one takes hundreds.'
    what = 'What is left between the ELBO and log p(x), after each sweep.'
    mass = 'Regions that hold 90 % of the mass.'
    figures = [telling.themed('Exact posteriors and mean fields', mass, alt, lambda theme: regions(theme, panels))]
    figures += [telling.themed('How the ELBO rises', what, curves, lambda theme: falling(theme, lines))]
    return telling.Told(numbers, figures, [], notes + more)


if __name__ == '__main__':
    telling.main(tell)

"""Seeded mistakes in posteriors by grids, Laplace, mean field, gradients and HMC."""

from tests.mutations import Mutation

C = 'vae_jax/classical/'
T = 'tests/test_classical_posteriors.py::'

MUTATIONS = [
    # a grid whose cells have no volume
    Mutation(
        C + 'grids.py',
        'log_total = logsumexp(log_density) + log_cell(axes)',
        'log_total = logsumexp(log_density)',
        T + 'test_a_grid_has_the_integral_the_moments_and_the_marginals_of_a_gaussian',
    ),
    # the divergence the other way round
    Mutation(
        C + 'grids.py',
        'jnp.sum(jax.nn.softmax(q.log_prob.reshape(-1))',
        'jnp.sum(jax.nn.softmax(p.log_prob.reshape(-1))',
        T + 'test_divergences_of_grids_are_those_of_formulas',
    ),
    # second moments about zero
    Mutation(
        C + 'grids.py',
        'off = points - mean[None]',
        'off = points',
        T + 'test_a_grid_has_the_integral_the_moments_and_the_marginals_of_a_gaussian',
    ),
    # the region of a tenth of the mass
    Mutation(
        C + 'grids.py',
        'np.searchsorted(shares, mass)',
        'np.searchsorted(shares, 1 - mass)',
        T + 'test_a_level_bounds_the_mass_of_a_gaussian',
    ),
    # Laplace without the volume of its Gaussian
    Mutation(
        C + 'laplace.py',
        'jnp.log(2 * jnp.pi) - jnp.sum(jnp.log(found.along))',
        'jnp.log(2 * jnp.pi) + jnp.sum(jnp.log(found.along))',
        T + 'test_laplace_has_the_mode_and_curvature_of_a_gamma_to_float64',
    ),
    # the precision in place of the covariance
    Mutation(
        C + 'laplace.py',
        'found.axes * found.along[None] ** -0.5',
        'found.axes * found.along[None] ** 0.5',
        T + 'test_laplace_is_exact_of_a_gaussian_from_far_away',
    ),
    # one dimension, whatever z is
    Mutation(
        C + 'laplace.py',
        '0.5 * (start.size * jnp.log',
        '0.5 * (jnp.log',
        T + 'test_laplace_is_exact_of_a_gaussian_from_far_away',
    ),
    # a factor that counts what it was before
    Mutation(
        C + 'mean_field.py',
        'log_qs = (*log_qs[:i], jax.nn.log_softmax(best), *log_qs[i + 1 :])',
        'log_qs = (*log_qs[:i], jax.nn.log_softmax(best + log_qs[i]), *log_qs[i + 1 :])',
        T + 'test_free_factors_of_a_gaussian_are_the_best_diagonal',
    ),
    # the variances of the marginals for those of the best factors
    Mutation(
        C + 'mean_field.py',
        'Normal(p.mean, -0.5 * jnp.log(jnp.sum(inverse**2, 0)))',
        'Normal(p.mean, p.log_std)',
        T + 'test_free_factors_of_a_gaussian_are_the_best_diagonal',
    ),
    # entropies without the width of a cell
    Mutation(
        C + 'mean_field.py',
        'sum(q @ log_q - cell for',
        'sum(q @ log_q for',
        T + 'test_three_axes_find_three_factors',
    ),
    # half an observation too few
    Mutation(
        C + 'normal_gamma.py',
        'jnp.asarray(prior.shape + (x.size + 1) / 2)',
        'jnp.asarray(prior.shape + x.size / 2)',
        T + 'test_the_mean_field_of_a_normal_gamma_has_its_fixed_point_and_its_elbo',
    ),
    # the rate without the spread of the mean
    Mutation(
        C + 'normal_gamma.py',
        'apart + x.size * variance + prior.worth * (far + variance))',
        'apart + prior.worth * far)',
        T + 'test_the_mean_field_of_a_normal_gamma_has_its_fixed_point_and_its_elbo',
    ),
    # the prior's mean counted fully
    Mutation(
        C + 'normal_gamma.py',
        'between = prior.worth * n / count *',
        'between = prior.worth *',
        T + 'test_the_posterior_of_a_normal_gamma_is_that_of_quadrature',
    ),
    # the ELBO's sign
    Mutation(
        C + 'variational.py',
        'return (optax.apply_updates(q, updates), state), -value',
        'return (optax.apply_updates(q, updates), state), value',
        T + 'test_gradients_find_the_gaussian_and_the_best_diagonal',
    ),
    # no density of q
    Mutation(
        C + 'variational.py',
        'lax.stop_gradient(q).log_prob(z) - log_density(z)',
        '-log_density(z)',
        T + 'test_gradients_find_the_gaussian_and_the_best_diagonal',
    ),
    # one draw for all of a step
    Mutation(
        C + 'variational.py',
        'vmap(one)(random.split(key, samples))',
        'vmap(one)(jnp.stack([random.key(0)] * samples))',
        T + 'test_gradients_find_the_gaussian_and_the_best_diagonal',
    ),
    # proposals that are taken in any case
    Mutation(
        C + 'hmc.py',
        'return state, (state.position, info.acceptance_rate)',
        'return info.proposal, (info.proposal.position, info.acceptance_rate)',
        T + 'test_hmc_has_the_means_and_the_covariance_of_the_grid',
    ),
    # the spread of draws for the error of a mean
    Mutation(
        C + 'hmc.py',
        'each.std(0, ddof=1) / np.sqrt(len(each))',
        'each.std(0, ddof=1)',
        T + 'test_hmc_has_the_means_and_the_covariance_of_the_grid',
    ),
    # every chain with the same noise
    Mutation(
        C + 'hmc.py',
        'jax.jit(vmap(chain))(starts, random.split(key, len(starts)))',
        'jax.jit(vmap(chain))(starts, jnp.stack([key] * len(starts)))',
        T + 'test_hmc_has_the_means_and_the_covariance_of_the_grid',
    ),
]

"""Seeded mistakes in importance sampling, annealing, exact values, refined posteriors and rate-distortion."""

from tests.mutations import Mutation

E = 'vae_jax/evaluation/'
MUTATIONS = (
    Mutation(
        E + 'weights.py',
        'jnp.log(first) - math.log(k), first**2',
        'jnp.log(first), first**2',
        'tests/test_evaluation.py::test_a_million_samples_are_summed_as_in_float64',
    ),
    Mutation(
        E + 'weights.py',
        'second * fall**2 +',
        'second * fall +',
        'tests/test_evaluation.py::test_streaming_is_the_plain_sum',
    ),
    Mutation(
        E + 'weights.py',
        'log_w - near, 0.0))',
        'log_w, 0.0))',
        'tests/test_evaluation.py::test_a_million_samples_are_summed_as_in_float64',
    ),
    Mutation(
        E + 'weights.py',
        'arange(rows) < k',
        'arange(rows) <= k',
        'tests/test_evaluation.py::test_streaming_is_the_plain_sum',
    ),
    Mutation(
        E + 'chains.py',
        'np.diff(betas), zs.dtype',
        'betas[1:], zs.dtype',
        'tests/test_annealing.py::test_more_temperatures_come_closer_to_the_exact_value',
    ),
    Mutation(
        E + 'chains.py',
        '    inner = jnp.asarray(betas[1:-1], zs.dtype)',
        '    inner = jnp.asarray(betas[:-2], zs.dtype)',
        'tests/test_annealing.py::test_weights_are_unbiased_whatever_the_temperatures',
    ),
    Mutation(
        E + 'chains.py',
        'seen.start_slope + beta * seen.tilt_slope',
        'seen.start_slope + seen.tilt_slope',
        'tests/test_annealing.py::test_the_transitions_leave_a_temperature_as_it_is',
    ),
    Mutation(
        E + 'chains.py',
        'log_p + (p.log_prob(z) - p_0.log_prob(z))',
        'log_p + p.log_prob(z)',
        'tests/test_annealing.py::test_one_step_is_importance_sampling_from_the_start',
    ),
    Mutation(
        E + 'chains.py',
        'sharpness * np.linspace(-1.0, 1.0',
        'sharpness * np.linspace(0.0, 1.0',
        'tests/test_annealing.py::test_schedules_rise_from_0_to_1',
    ),
    Mutation(
        E + 'bidirectional.py',
        'log_m - logsumexp(down)',
        'logsumexp(down) - log_m',
        'tests/test_annealing.py::test_the_sandwich_holds_the_exact_value',
    ),
    Mutation(
        E + 'bidirectional.py',
        'ravel_pytree(z)[0])(zs)',
        'bridge.draw(keys[3]))(zs)',
        'tests/test_annealing.py::test_the_sandwich_holds_the_exact_value',
    ),
    Mutation(
        E + 'annealing.py',
        'logsumexp(log_w) - math.log(how.chains)',
        'logsumexp(log_w)',
        'tests/test_annealing.py::test_one_step_is_importance_sampling_from_the_start',
    ),
    Mutation(
        E + 'exact.py',
        'axis=0) * 2 / (points - 1)',
        'axis=0) * 2 / points',
        'tests/test_exact.py::test_quadrature_is_the_closed_form',
    ),
    Mutation(
        E + 'exact.py',
        "found['log_std'] = -0.5 * jnp.log(jnp.diag(lam))",
        "found['log_std'] = 0.5 * jnp.log(jnp.diag(covariance))",
        'tests/test_exact.py::test_exact_answers_are_those_of_the_oracle',
    ),
    Mutation(
        E + 'exact.py',
        'best = 0.5 * (jnp.sum',
        'best = 1.0 * (jnp.sum',
        'tests/test_exact.py::test_exact_answers_are_those_of_the_oracle',
    ),
    Mutation(
        E + 'refined.py',
        'p.log_prob(z) - log_q',
        'p.log_prob(z)',
        'tests/test_refined.py::test_a_refined_diagonal_is_the_optimal_one',
    ),
    Mutation(
        E + 'refined.py',
        'jnp.log(jnp.std(zs, 0))',
        'jnp.log(jnp.var(zs, 0))',
        'tests/test_refined.py::test_moments_of_a_posterior_without_its_own_are_those_of_its_draws',
    ),
    Mutation(
        E + 'rate_distortion.py',
        '-log_z - jnp.asarray(betas, log_z.dtype) * distances',
        '-log_z - distances',
        'tests/test_annealing.py::test_the_rate_distortion_curve_is_that_of_a_linear_gaussian_model',
    ),
)

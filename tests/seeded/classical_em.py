"""Seeded mistakes in EM, variational EM, Monte Carlo EM and full variational Bayes."""

from tests.mutations import Mutation

C, T, B = 'vae_jax/classical/', 'tests/test_classical_em.py::', 'tests/test_classical_bayes.py::'

MUTATIONS = [
    # the determinant of the noise left out with its sign
    Mutation(
        C + 'linear_gaussian.py',
        '- jnp.sum(jnp.log(weight))',
        '+ jnp.sum(jnp.log(weight))',
        T + 'test_the_marginal_and_the_posterior_are_those_of_the_joint_normal',
    ),
    # second moments without the posterior's covariance: the E-step of a point
    Mutation(
        C + 'linear_gaussian.py',
        '.at[:-1, :-1].add(q.covariance)',
        '.at[:-1, :-1].add(0 * q.covariance)',
        T + 'test_em_rises_to_the_closed_form_of_probabilistic_pca',
    ),
    # one noise for all where each has its own
    Mutation(
        C + 'linear_gaussian.py',
        "variance if old['log_std'].ndim else jnp.mean(variance)",
        'jnp.mean(variance)',
        T + 'test_em_of_factor_analysis_is_that_of_scikit_learn',
    ),
    # a standard deviation for a variance
    Mutation(
        C + 'linear_gaussian.py',
        "'log_std': 0.5 * jnp.log(jnp.maximum",
        "'log_std': jnp.log(jnp.maximum",
        T + 'test_em_rises_to_the_closed_form_of_probabilistic_pca',
    ),
    # the variances of q from the posterior's marginals: not the best q of independent parts
    Mutation(
        C + 'factor_em.py',
        'jnp.diag(1 / jnp.diag(lg.precision(old)))',
        'jnp.diag(jnp.diag(jnp.linalg.inv(lg.precision(old)))) * 1.5',
        T + 'test_variational_em_never_falls_and_ends_where_em_does',
    ),
    # an update without the part itself
    Mutation(
        C + 'factor_em.py',
        'add((h[j] - Lambda[j] @ m) / Lambda[j, j])',
        'set((h[j] - Lambda[j] @ m) / Lambda[j, j])',
        T + 'test_coordinate_ascent_finds_the_mean_of_the_posterior',
    ),
    # every batch writes over the first rows
    Mutation(
        C + 'factor_em.py',
        'state.opt_state.at[row].set(means)',
        'state.opt_state.at[: len(row)].set(means)',
        T + 'test_rows_of_a_batch_are_their_own',
    ),
    # steps grow where too little is accepted
    Mutation(
        C + 'mcem.py',
        'log_size + GAIN * (accepted - target)',
        'log_size - GAIN * (accepted - target)',
        T + 'test_monte_carlo_em_comes_near_the_closed_form_at_the_acceptance_that_was_asked',
    ),
    # every proposal is taken
    Mutation(
        C + 'mcem.py',
        'return state.position, info.acceptance_rate',
        'return info.proposal.position, info.acceptance_rate',
        T + 'test_transitions_leave_the_posterior_as_it_is',
    ),
    # one update whatever was asked
    Mutation(
        C + 'mcem.py',
        '(params, inner), length=updates)',
        '(params, inner), length=1)',
        T + 'test_monte_carlo_em_by_gradient_learns_any_model',
    ),
    # the KL of all rows in each of them
    Mutation(
        C + 'variational_bayes.py',
        'value + kl / rows',
        'value + kl',
        B + 'test_the_bound_at_the_best_belief_is_the_evidence_less_its_kl',
    ),
    # the prior's scale is not read
    Mutation(
        C + 'variational_bayes.py',
        'jnp.full_like(q.mean, log_std)',
        'jnp.full_like(q.mean, 0.0)',
        B + 'test_the_kl_of_parameters_is_that_of_their_normals',
    ),
    # the mean in place of a draw
    Mutation(
        C + 'variational_bayes.py',
        'q.sample(k) for q, k in zip',
        'q.mean for q, k in zip',
        B + 'test_only_the_parts_that_are_named_are_drawn',
    ),
]

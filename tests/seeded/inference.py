"""Seeded mistakes in gaps, the aggregate posterior, collapse, calibration by simulation and statistics over seeds."""

from tests.mutations import Mutation

E, V = 'vae_jax/evaluation/', 'vae_jax/statistics/'
G, A, C, R, S = (f'tests/test_{name}.py::' for name in ('gaps', 'aggregate', 'collapse', 'calibration', 'statistics'))

MUTATIONS = [
    # the gap of the family taken from the encoder's q
    Mutation(
        E + 'gaps.py',
        'return _less(self.log_p, self.refined)',
        'return _less(self.log_p, self.elbo)',
        G + 'test_gaps_of_exact_columns_are_the_closed_forms',
    ),
    # the sign of a gap
    Mutation(
        E + 'gaps.py',
        'Estimate(a.values - b.values, a.dims)',
        'Estimate(b.values - a.values, a.dims)',
        G + 'test_gaps_of_exact_columns_are_the_closed_forms',
    ),
    # -log p(x) for log p(x)
    Mutation(
        E + 'gaps.py',
        'return -refined.nll.estimate.values',
        'return refined.nll.estimate.values',
        G + 'test_a_full_covariance_leaves_no_gap_of_approximation',
    ),
    # the start in place of what was refined
    Mutation(
        E + 'gaps.py',
        'gaps_of(values, found.elbo.values, found.start.values,',
        'gaps_of(values, found.start.values, found.elbo.values,',
        G + 'test_a_refined_diagonal_has_the_gaps_of_the_best_one',
    ),
    # no log n in the aggregate posterior
    Mutation(
        E + 'aggregate.py',
        'logsumexp(under_all.astype(np.float64), 0) - math.log(n)',
        'logsumexp(under_all.astype(np.float64), 0)',
        A + 'test_information_and_marginal_kl_are_those_of_quadrature',
    ),
    # the mean of log-densities for the log of their mean
    Mutation(
        E + 'aggregate.py',
        'logsumexp(under_all.astype(np.float64), 0) - math.log(n)',
        'under_all.astype(np.float64).mean(0)',
        A + 'test_information_and_marginal_kl_are_those_of_quadrature',
    ),
    # information with the prior's density, marginal KL with its sign turned
    Mutation(
        E + 'aggregate.py',
        'parts.append((log_q - mixture, mixture - log_p, log_q - log_p))',
        'parts.append((log_q - mixture, log_p - mixture, log_q - log_p))',
        A + 'test_the_parts_add_up_to_the_rate',
    ),
    # all draws from the first code
    Mutation(
        E + 'aggregate.py',
        '(random.randint(k, (draws,), 0, n) for k',
        '(random.randint(k, (draws,), 0, 1) for k',
        A + 'test_information_and_marginal_kl_are_those_of_quadrature',
    ),
    # only the first group of draws is given back
    Mutation(
        E + 'aggregate.py',
        'few = slice(start, start + GROUP)',
        'few = slice(0, GROUP)',
        A + 'test_information_and_marginal_kl_are_those_of_quadrature',
    ),
    # log n + 1: the ceiling is never near
    Mutation(
        E + 'aggregate.py',
        'self.information.mean > self.ceiling - 1',
        'self.information.mean > self.ceiling + 1',
        A + 'test_codes_that_lie_far_apart_are_at_the_ceiling_and_it_says_so',
    ),
    # KL turned round
    Mutation(
        E + 'aggregate.py',
        'Normal(a, b).kl(Normal(c, d))',
        'Normal(c, d).kl(Normal(a, b))',
        A + 'test_rates_by_dimension_are_those_of_the_pairs_and_add_up',
    ),
    # standard error with n for n - 1
    Mutation(
        E + 'aggregate.py',
        'np.std(values, 0, ddof=1) / math.sqrt(n)',
        'np.std(values, 0, ddof=0) / math.sqrt(n)',
        A + 'test_rates_by_dimension_are_those_of_the_pairs_and_add_up',
    ),
    # ten times the rate that counts as none
    Mutation(
        E + 'collapse.py', 'LITTLE = 0.1  #', 'LITTLE = 1.0  #', C + 'test_a_small_rate_says_that_the_decoder_ignores_z'
    ),
    # a rate alone is asked
    Mutation(
        E + 'collapse.py',
        'self.spent.information.mean < LITTLE',
        'self.spent.rate.mean < LITTLE',
        C + 'test_a_rate_without_information_is_a_collapse_too',
    ),
    # layers counted from 0
    Mutation(E + 'collapse.py', "f'Layer {i + 1} of", "f'Layer {i} of", C + 'test_layers_that_are_not_used_are_named'),
    # active dimensions blamed for the cost of idle ones
    Mutation(
        E + 'collapse.py',
        'costly = idle & (',
        'costly = ~idle & (',
        C + 'test_idle_dimensions_are_counted_and_what_they_cost',
    ),
    # ranks from 1
    Mutation(
        E + 'calibration.py',
        'jnp.sum(zs < z[None], 0) +',
        'jnp.sum(zs <= z[None], 0) +',
        R + 'test_equal_values_are_ordered_at_random',
    ),
    # equal values always below
    Mutation(
        E + 'calibration.py',
        'random.randint(d, z.shape, 0, ties + 1)',
        'random.randint(d, z.shape, 0, 1)',
        R + 'test_equal_values_are_ordered_at_random',
    ),
    # z* in the middle of the prior
    Mutation(
        E + 'calibration.py',
        'of_row.prior(params).sample(a)',
        'of_row.prior(params).mean',
        R + 'test_ranks_of_the_exact_posterior_are_uniform',
    ),
    # too narrow for too wide
    Mutation(
        E + 'calibration.py',
        "((s > SURE, 'too narrow'), (s < -SURE, 'too wide'))",
        "((s < -SURE, 'too narrow'), (s > SURE, 'too wide'))",
        R + 'test_wrong_posteriors_are_rejected_and_named',
    ),
    # an interval that is open at its upper end
    Mutation(
        E + 'calibration.py',
        '(self.ranks <= self.draws - cut)',
        '(self.ranks < self.draws - cut)',
        R + 'test_coverage_of_ranks_that_are_all_there_is_what_it_should_be',
    ),
    # one edge too many: the last bin is half as wide
    Mutation(
        E + 'calibration.py',
        'places = ranks // ((draws + 1) // bins)',
        'places = np.minimum(ranks // (draws // bins), bins - 1)',
        R + 'test_ranks_of_the_exact_posterior_are_uniform',
    ),
    # Bonferroni's step for Holm's
    Mutation(
        V + 'pairs.py', '(len(order) - j) * found[i]', 'len(order) * found[i]', S + 'test_holm_has_its_hand_values'
    ),
    # Holm without the running maximum
    Mutation(
        V + 'pairs.py',
        'for j, i in enumerate(order)), max)',
        'for j, i in enumerate(order)), lambda a, b: b)',
        S + 'test_holm_has_its_hand_values',
    ),
    # one side of a two-sided test
    Mutation(
        V + 'pairs.py',
        '2 * float(stdtr(n - 1, -abs(value.mean) / error))',
        'float(stdtr(n - 1, -abs(value.mean) / error))',
        S + 'test_the_paired_t_test_is_that_of_scipy_and_agrees_with_its_interval',
    ),
    # n degrees of freedom
    Mutation(
        V + 'pairs.py',
        '2 * float(stdtr(n - 1, -abs',
        '2 * float(stdtr(n, -abs',
        S + 'test_the_paired_t_test_is_that_of_scipy_and_agrees_with_its_interval',
    ),
    # nothing is corrected for the number of comparisons
    Mutation(
        V + 'pairs.py',
        'zip(tested.items(), holm(one.p for one in tested.values()))',
        'zip(tested.items(), [one.p for one in tested.values()])',
        S + 'test_any_difference_that_is_called_one_among_many_alike_is_seldom',
    ),
    # bold where one other is told from the best
    Mutation(
        V + 'tables.py',
        'if len(rows) > 1 and not alike else None',
        'if len(rows) > 1 and len(alike) < len(rows) - 1 else None',
        S + 'test_a_bold_number_differs_from_every_other',
    ),
    # bold without a test
    Mutation(
        V + 'tables.py',
        'row.p is None or not row.p <= 1 - level',
        'row.p is None or row.p > 1 - level',
        S + 'test_one_seed_has_no_interval_and_nothing_bold',
    ),
    # the random signs of few pairs
    Mutation(
        V + 'pairs.py',
        'count = max(resamples, 2**_EXACT) if n <= _EXACT else resamples',
        'count = 2 ** (n - 1)',
        S + 'test_sign_flips_look_at_every_sign',
    ),
    # the report decides by intervals again
    Mutation(
        V + 'comparing.py',
        'return self.p is not None and self.p <= 1 - LEVEL',
        'return self.difference is not None and not self.difference.contains_zero',
        'tests/test_sweeps.py::test_a_difference_whose_interval_contains_zero_is_not_called_one',
    ),
]

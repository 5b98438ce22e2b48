"""Seeded mistakes in the evaluation of samples, pictures, codes, outliers and ensembles."""

from tests.mutations import Mutation

E = 'vae_jax/evaluation/'
S, P, R, O, M = (
    f'tests/test_{name}.py::' for name in ('samples_quality', 'pictures', 'probes', 'outliers', 'ensembles')
)

MUTATIONS = [
    # FID without the factor 2 of the root
    Mutation(
        E + 'distances.py',
        '+ np.trace(b) - 2 * root',
        '+ np.trace(b) - root',
        S + 'test_frechet_is_the_closed_form_and_that_of_a_matrix_square_root',
    ),
    # the root of the product of covariances where that of their roots belongs: exact for none
    Mutation(
        E + 'distances.py',
        '_root(a) @ _root(b), compute_uv',
        'a @ b, compute_uv',
        S + 'test_frechet_is_the_closed_form_and_that_of_a_matrix_square_root',
    ),
    # the jackknife's factor (g - 1) / g turned round
    Mutation(
        E + 'distances.py',
        'math.sqrt((g - 1) * float(np.var(values)))',
        'math.sqrt(float(np.var(values)) / (g - 1))',
        S + 'test_fid_of_gaussians_has_its_error_and_its_bias_goes_with_the_extrapolation',
    ),
    # a line in n in place of 1/n
    Mutation(
        E + 'distances.py',
        '[1 / len(x) + 1 / len(y) for x, y in rows]',
        '[1.0 * len(x) + len(y) for x, y in rows]',
        S + 'test_fid_of_gaussians_has_its_error_and_its_bias_goes_with_the_extrapolation',
    ),
    # the cubic kernel without 1 / d
    Mutation(
        E + 'distances.py',
        '(a @ b.T / a.shape[1] + 1) ** 3',
        '(a @ b.T + 1) ** 3',
        S + 'test_kid_is_the_plain_double_sum_and_zero_for_one_distribution',
    ),
    # different features beside each other
    Mutation(
        E + 'distances.py',
        '    check_comparable(*(row.features for row in rows))\n',
        '',
        S + 'test_numbers_under_different_features_are_never_put_side_by_side',
    ),
    # the biased V-statistic: the diagonal stays
    Mutation(
        E + 'two_samples.py',
        '        if same:\n            np.fill_diagonal(values[:, start:], 0.0)\n',
        '',
        S + 'test_kid_is_the_plain_double_sum_and_zero_for_one_distribution',
    ),
    # the first-order variance alone, which is twice too large where both have one distribution
    Mutation(
        E + 'two_samples.py',
        'math.sqrt(max(first - second, second))',
        'math.sqrt(first)',
        S + 'test_mmd_is_unbiased_and_its_standard_error_is_its_spread',
    ),
    # a permutation p-value that may be zero
    Mutation(
        E + 'two_samples.py',
        '(1 + larger) / (1 + permutations)',
        'larger / permutations',
        S + 'test_two_sample_tests_keep_their_level_and_find_a_difference',
    ),
    # labels that are not permuted
    Mutation(
        E + 'two_samples.py',
        'chosen[rng.permutation(n + m)[:n], i] = 1',
        'chosen[:n, i] = 1',
        S + 'test_two_sample_tests_keep_their_level_and_find_a_difference',
    ),
    # the classifier is tested on the rows it was trained on
    Mutation(
        E + 'two_samples.py',
        'test, train = (np.concatenate([part[i] for part in parts]) for i in (0, 1))',
        'test, train = (np.concatenate([part[i] for part in parts]) for i in (0, 0))',
        S + 'test_c2st_learns_from_other_rows_than_it_is_tested_on',
    ),
    # the median of squared distances as a width
    Mutation(
        E + 'two_samples.py',
        'np.sqrt(np.median(squared_distances(pooled, pooled)[np.triu_indices(len(pooled), 1)]))',
        'np.median(squared_distances(pooled, pooled)[np.triu_indices(len(pooled), 1)])',
        S + 'test_kernel_sums_do_not_depend_on_the_block',
    ),
    # precision and recall exchanged
    Mutation(
        E + 'manifolds.py',
        'precision, recall = _within(a, b, radii(b, k)), _within(b, a, radii(a, k))',
        'recall, precision = _within(a, b, radii(b, k)), _within(b, a, radii(a, k))',
        S + 'test_precision_and_recall_of_equal_disjoint_and_half_covered_sets',
    ),
    # a row counted as its own neighbour
    Mutation(
        E + 'manifolds.py',
        '.fit(xs).kneighbors()[0]',
        '.fit(xs).kneighbors(xs)[0]',
        S + 'test_balls_reach_to_the_kth_other_row',
    ),
    # density that is not divided by k
    Mutation(E + 'manifolds.py', 'inside.sum(1) / k', 'inside.sum(1) / 1', S + 'test_balls_reach_to_the_kth_other_row'),
    # the side of the test for copies
    Mutation(
        E + 'manifolds.py',
        "alternative='less'",
        "alternative='greater'",
        S + 'test_copies_of_the_training_set_are_found_and_fresh_draws_are_none',
    ),
    # the last block's filling counted as rows
    Mutation(
        E + 'features.py',
        'np.concatenate(values)[:n]',
        'np.concatenate(values)',
        S + 'test_features_are_named_and_taken_in_blocks',
    ),
    # means in place of samples
    Mutation(
        E + 'samples.py',
        '    return p.sample(key)\n',
        '    return p.mean\n',
        S + 'test_samples_of_the_true_model_pass_and_those_of_another_do_not',
    ),
    # PSNR with ten where twenty belongs
    Mutation(
        E + 'pictures.py',
        '20 * jnp.log10(data_range)',
        '10 * jnp.log10(data_range)',
        P + 'test_psnr_and_mse_are_their_formulas',
    ),
    # SSIM: k2 in both constants
    Mutation(
        E + 'pictures.py', '(K1 * data_range) ** 2', '(K2 * data_range) ** 2', P + 'test_ssim_has_its_known_values'
    ),
    # SSIM: a window that is not normalized by its sum
    Mutation(
        E + 'pictures.py', 'weights / weights.sum()', 'weights / weights.max()', P + 'test_ssim_has_its_known_values'
    ),
    # R^2: the std in place of the variance
    Mutation(
        E + 'probes.py',
        'spread = np.var(test_values)',
        'spread = np.std(test_values)',
        R + 'test_regression_gives_the_share_that_is_explained_with_its_error',
    ),
    # few labels: always the first rows of a class
    Mutation(
        E + 'probes.py',
        'rng.permutation(rows)[:per_class]',
        'rows[:per_class]',
        R + 'test_few_labels_draws_as_many_of_each_class_and_averages',
    ),
    # purity with the code itself among its neighbours
    Mutation(
        E + 'clusters.py',
        '.kneighbors(return_distance=False)',
        '.kneighbors(codes, return_distance=False)',
        R + 'test_purity_counts_other_codes',
    ),
    # the sign of the slant
    Mutation(
        E + 'style.py',
        'return -(xs * down * across)',
        'return (xs * down * across)',
        R + 'test_slant_and_thickness_of_drawn_strokes',
    ),
    # half of the thickness
    Mutation(
        E + 'style.py',
        '2 * float(distance[middle].mean()) / FINER',
        'float(distance[middle].mean()) / FINER',
        R + 'test_slant_and_thickness_of_drawn_strokes',
    ),
    # ties count as won
    Mutation(
        E + 'outliers.py',
        'ranks = rankdata(np.concatenate([inside, outside]))',
        "ranks = rankdata(np.concatenate([inside, outside]), 'ordinal')",
        O + 'test_auroc_is_scikit_learns_with_ties_and_its_known_cases',
    ),
    # DeLong: the sizes exchanged
    Mutation(
        E + 'outliers.py',
        'np.var(below, ddof=1) / n + np.var(above, ddof=1) / m',
        'np.var(below, ddof=1) / m + np.var(above, ddof=1) / n',
        O + 'test_the_standard_error_of_auroc_is_its_spread',
    ),
    # the wrong sign of the complexity
    Mutation(
        E + 'outliers.py',
        'return ours - theirs',
        'return ours + theirs',
        O + 'test_complexity_is_what_zlib_takes_in_nats',
    ),
    # bits in place of nats
    Mutation(
        E + 'outliers.py',
        'for row in flat]) * BITS',
        'for row in flat])',
        O + 'test_complexity_is_what_zlib_takes_in_nats',
    ),
    # typicality without the absolute value
    Mutation(
        E + 'outliers.py',
        "np.abs(_scores(nll_values, 'the examples')",
        "(_scores(nll_values, 'the examples')",
        O + 'test_scores_of_a_known_density_find_what_they_should',
    ),
    # no log m in the mixture
    Mutation(
        E + 'ensembles.py',
        'Score(math.log(len(self.log_p)) - logsumexp(self.log_p, 0))',
        'Score(-logsumexp(self.log_p, 0))',
        M + 'test_the_gain_is_never_negative_and_is_zero_for_equal_members',
    ),
    # the biased variance over members
    Mutation(
        E + 'ensembles.py',
        'ddof=1)\n',
        'ddof=0)\n',
        M + 'test_the_ensemble_of_a_population_is_the_mixture_of_its_exact_densities',
    ),
    # WAIC with the variance subtracted twice over
    Mutation(
        E + 'ensembles.py',
        'self.disagreement - np.mean(self.log_p, 0)',
        '-self.disagreement - np.mean(self.log_p, 0)',
        M + 'test_the_ensemble_of_a_population_is_the_mixture_of_its_exact_densities',
    ),
    # wrong edge bins: [a, b) in place of (a, b]
    Mutation(
        E + 'reliability.py',
        'np.ceil(confidence * bins) - 1',
        'np.floor(confidence * bins)',
        M + 'test_ece_and_brier_of_constructed_probabilities',
    ),
    # ECE that does not weigh bins
    Mutation(
        E + 'reliability.py',
        'float(np.sum(np.abs(sure - right)) / len(confidence))',
        'float(np.mean(np.abs(sure - right)) / len(confidence))',
        M + 'test_ece_and_brier_of_constructed_probabilities',
    ),
]

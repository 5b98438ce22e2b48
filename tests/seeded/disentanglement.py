"""Seeded mistakes of the disentanglement metrics: (file, old, new, test)."""

from tests.mutations import Mutation

T = 'tests/test_disentanglement.py::'
D = 'vae_jax/disentanglement/'
MUTATIONS = [
    # the third dimension, not the second, is what the gap is to
    Mutation(
        D + 'information.py',
        'ordered[:, -1] - ordered[:, -2]',
        'ordered[:, -1] - ordered[:, -3]',
        T + 'test_the_gap_of_mutual_information_is_exact[duplicated]',
    ),
    # bins between minus and plus the largest, so that the last edge is lost
    Mutation(
        D + 'information.py',
        '/ width * bins, bins - 1)',
        '/ width * (bins + 1), bins - 1)',
        'tests/test_factors.py::test_bins_are_equal_and_hold_every_code',
    ),
    # a factor of one half forgotten
    Mutation(
        D + 'information.py',
        '-0.5 * np.linalg.slogdet',
        '-1.0 * np.linalg.slogdet',
        T + 'test_total_correlation_of_gaussian_codes',
    ),
    # standard deviation for variance
    Mutation(
        D + 'interventions.py',
        'variances[:, live] / scale[live] ** 2',
        'variances[:, live] / scale[live]',
        T + 'test_the_factor_vae_score_weighs_variances_by_those_of_all_codes',
    ),
    # the vote of the most variance
    Mutation(
        D + 'interventions.py',
        'votes = np.argmin(',
        'votes = np.argmax(',
        T + 'test_the_factor_vae_score[duplicated-1]',
    ),
    # signed differences average to nothing
    Mutation(
        D + 'interventions.py',
        'jnp.mean(jnp.abs(z[:, 0] - z[:, 1]), 0)',
        'jnp.mean(z[:, 0] - z[:, 1], 0)',
        T + 'test_the_beta_vae_score[perfect-1]',
    ),
    # rows of a value begin one value later
    Mutation(
        D + 'interventions.py',
        'np.cumsum(counts, 1) - counts,',
        'np.cumsum(counts, 1) - counts[:, :1],',
        T + 'test_draws_of_a_table_agree_in_one_factor_and_every_value_is_as_likely',
    ),
    # a value drawn as often as it occurs
    Mutation(
        D + 'interventions.py',
        "value = random.randint(a, (), 0, data['sizes'][factor])",
        "value = jnp.searchsorted(data['starts'][factor], random.randint(a, (), 0, 9), side='right') - 1",
        T + 'test_draws_of_a_table_agree_in_one_factor_and_every_value_is_as_likely',
    ),
    # the standard error of one draw
    Mutation(
        D + 'interventions.py',
        'math.sqrt(share * (1 - share) / len(right))',
        'math.sqrt(share * (1 - share))',
        T + 'test_the_beta_vae_score[rotated-0.6666666666666666]',
    ),
    # deviations from the mean of all codes, not of those with the value
    Mutation(
        D + 'interventions.py',
        'np.abs(held - held.mean(0))',
        'np.abs(held)',
        T + 'test_interventional_robustness_is_exact',
    ),
    # least deviation over factors confused with the mean over them
    Mutation(
        D + 'interventions.py',
        '1 - deviations.min(0) /',
        '1 - deviations.mean(0) /',
        T + 'test_interventional_robustness_is_exact',
    ),
    # correlation for its square
    Mutation(
        D + 'attributes.py',
        '(z.T @ v) ** 2 / np.where(live, power, 1.0)',
        'np.abs(z.T @ v) / np.sqrt(np.where(live, power, 1.0))',
        T + 'test_sap_of_real_factors_is_that_of_squared_correlations[perfect]',
    ),
    # plain accuracy, for which a rare class is nothing
    Mutation(D + 'attributes.py', "average='macro'", "average='micro'", T + 'test_sap_balances_its_classes'),
    # entropy to the base e
    Mutation(
        D + 'attributes.py',
        'entropy(rows, axis=1) / np.log(rows.shape[1])',
        'entropy(rows, axis=1)',
        T + 'test_dci_of_importances_that_are_known',
    ),
    # completeness along the wrong axis
    Mutation(
        D + 'attributes.py',
        '_concentrated(found), _concentrated(found.T)',
        '_concentrated(found), _concentrated(found)',
        T + 'test_dci_of_importances_that_are_known',
    ),
    # each dimension weighs the same, dead ones too
    Mutation(
        D + 'attributes.py',
        'weights = found.sum(1) / (found.sum() or 1.0)',
        'weights = np.full(len(found), 1 / len(found))',
        T + 'test_dci_of_importances_that_are_known',
    ),
    # information, not its square
    Mutation(
        D + 'modular.py',
        'squares = informed(table, bins) ** 2',
        'squares = informed(table, bins)',
        T + 'test_modularity_is_of_squares',
    ),
    # over all factors, the best one too
    Mutation(
        D + 'modular.py',
        '* (len(table.names) - 1))',
        '* len(table.names))',
        T + 'test_modularity_is_exact[rotated-0.6666666666666666]',
    ),
    # the baseline is not taken off
    Mutation(
        D + 'modular.py',
        '(share.mean() - 1 / m) / (1 - 1 / m)',
        'share.mean()',
        T + 'test_infomec_leaves_out_what_hardly_varies_and_has_its_ends',
    ),
    # rows and columns exchanged: InfoM for InfoC
    Mutation(
        D + 'modular.py',
        'InfoMEC(_one_sided(information.T), told, _one_sided(information)',
        'InfoMEC(_one_sided(information), told, _one_sided(information.T)',
        T + 'test_infomec_within_the_error_of_its_neighbours[duplicated-1-0.7777777777777778]',
    ),
    # a penalty that hides what codes tell
    Mutation(
        D + 'modular.py',
        'LogisticRegression(C=1e6',
        'LogisticRegression(C=1e-3',
        T + 'test_explicitness_in_nats_is_of_the_least_cross_entropy',
    ),
    # the first third of sorted rows: not every value is judged
    Mutation(
        D + 'tables.py',
        'judged[order[::3]] = True',
        'judged[order[: len(order) // 3]] = True',
        T + 'test_rows_to_judge_by_are_a_third_of_every_value',
    ),
]

"""Seeded mistakes in mixtures by EM and by beliefs, probabilistic PCA, MADE and generators with noise."""

from tests.mutations import Mutation

C, T = 'vae_jax/classical/', 'tests/test_classical_mixtures.py::'

MUTATIONS = [
    # the ridge forgotten where each group has its covariance
    Mutation(
        C + 'shapes.py',
        '_covariances(xs, resp, counts, means) + ridge * jnp.eye(xs.shape[1], dtype=xs.dtype)[None])',
        '_covariances(xs, resp, counts, means))',
        T + 'test_em_is_that_of_scikit_learn_from_the_same_start[full]',
    ),
    # groups of all sizes alike in the covariance that all share
    Mutation(
        C + 'shapes.py',
        'within = jnp.tensordot(counts, _covariances(xs, resp, counts, means), 1) / jnp.sum(counts)',
        'within = jnp.mean(_covariances(xs, resp, counts, means), 0)',
        T + 'test_em_is_that_of_scikit_learn_from_the_same_start[tied]',
    ),
    # half of the log of a variance is the log of a standard deviation
    Mutation(
        C + 'shapes.py',
        'return vmap(Normal)(means, 0.5 * jnp.log(_variances(xs, resp, counts, means) + ridge))',
        'return vmap(Normal)(means, jnp.log(_variances(xs, resp, counts, means) + ridge))',
        T + 'test_em_is_that_of_scikit_learn_from_the_same_start[diag]',
    ),
    # the ridge of one count alone
    Mutation(
        C + 'shapes.py',
        'jnp.log(on + ridge) - jnp.log(off + ridge)',
        'jnp.log(on + ridge) - jnp.log(off)',
        T + 'test_em_of_bits_never_falls_and_counts',
    ),
    # weights of the groups left even
    Mutation(
        C + 'mixtures.py',
        'each = vmap(lambda part: vmap(part.log_prob)(xs), out_axes=1)(mixture.components) + log_prior[None]',
        'each = vmap(lambda part: vmap(part.log_prob)(xs), out_axes=1)(mixture.components)',
        T + 'test_em_is_that_of_scikit_learn_from_the_same_start[full]',
    ),
    # k weights are free in place of k - 1
    Mutation(
        C + 'mixtures.py',
        'return (k - 1 + shape.free(k, d))',
        'return (k + shape.free(k, d))',
        T + 'test_em_is_that_of_scikit_learn_from_the_same_start[full]',
    ),
    # centres by distance and not by its square: nearer rows are chosen too
    Mutation(
        C + 'mixtures.py',
        'chosen = xs[random.categorical(key, jnp.log(nearest))]',
        'chosen = xs[random.randint(key, (), 0, xs.shape[0])]',
        T + 'test_centres_of_the_start_are_far_apart',
    ),
    # the worst start kept
    Mutation(
        C + 'mixtures.py',
        'i = jnp.argmin(losses[:, -1])',
        'i = jnp.argmax(losses[:, -1])',
        T + 'test_the_best_of_several_starts_is_kept',
    ),
    # what is known does not weigh the groups
    Mutation(
        C + 'mixtures.py',
        'return Mixture(jax.nn.log_softmax(mixture.log_weights + log_p), components)',
        'return Mixture(mixture.log_weights, components)',
        T + 'test_what_is_given_and_what_is_left_make_the_whole',
    ),
    # d / beta forgotten
    Mutation(
        C + 'beliefs.py',
        'squares = d / q.strength + q.freedom',
        'squares = q.freedom',
        T + 'test_beliefs_are_those_of_scikit_learn_and_the_bound_never_falls',
    ),
    # the scatter between a group's mean and the prior's forgotten
    Mutation(
        C + 'beliefs.py',
        '(w[:, None] * off).T @ off + between',
        '(w[:, None] * off).T @ off',
        T + 'test_beliefs_are_those_of_scikit_learn_and_the_bound_never_falls',
    ),
    # the KL of the means without its trace
    Mutation(
        C + 'beliefs.py',
        '0.5 * q.freedom * (jnp.trace(turned) - d)',
        '0.5 * q.freedom * jnp.trace(turned)',
        T + 'test_the_bound_of_one_group_is_the_evidence',
    ),
    # the Dirichlet's KL with its sign turned
    Mutation(
        C + 'beliefs.py',
        'return jnp.sum(totals) - _dirichlet_kl(',
        'return jnp.sum(totals) + _dirichlet_kl(',
        T + 'test_the_bound_of_two_groups_is_just_below_the_evidence',
    ),
    # degrees of freedom of the posterior in place of those of the prediction
    Mutation(
        C + 'beliefs.py',
        'freedom = group.freedom + 1 - d',
        'freedom = group.freedom',
        T + 'test_a_new_row_is_predicted_by_students_t',
    ),
    # the noise is not taken off the factors
    Mutation(
        C + 'factors.py',
        'jnp.maximum(values[d - q :] - noise, 0)',
        'jnp.maximum(values[d - q :], 0)',
        T + 'test_ppca_is_that_of_scikit_learn',
    ),
    # the smallest eigenvalue for the mean of the others
    Mutation(
        C + 'factors.py',
        'noise = jnp.mean(values[: d - q])',
        'noise = values[0]',
        T + 'test_ppca_is_likeliest_and_its_posterior_is_bayes_rule',
    ),
    # the posterior's covariance without the noise
    Mutation(
        C + 'factors.py',
        'factor = jnp.linalg.cholesky(noise * inverse)',
        'factor = jnp.linalg.cholesky(inverse)',
        T + 'test_ppca_is_likeliest_and_its_posterior_is_bayes_rule',
    ),
    # a network without its masks looks ahead
    Mutation(
        C + 'made.py',
        "params[str(i)]['w'] * mask)",
        "params[str(i)]['w'])",
        T + 'test_made_looks_back_only_and_sums_to_one',
    ),
    # logits of another pixel
    Mutation(
        C + 'made.py',
        'return y.reshape(categories, n).T',
        'return y.reshape(n, categories)',
        T + 'test_made_looks_back_only_and_sums_to_one',
    ),
    # the last layer with an activation
    Mutation(
        C + 'made.py',
        'y = self.activation(y) if i < len(self.hidden) else y',
        'y = self.activation(y)',
        T + 'test_made_looks_back_only_and_sums_to_one',
    ),
    # variance for standard deviation
    Mutation(
        C + 'generators.py',
        "jnp.full_like(mean, params['noise'])",
        "jnp.full_like(mean, 2 * params['noise'])",
        T + 'test_a_generator_with_noise_is_a_normal_around_its_pictures',
    ),
    # noise of another model goes unseen
    Mutation(
        C + 'generators.py',
        "return add_part(generator.init(key, x), 'noise', jnp.asarray(log_std, jnp.float32))",
        "return {**generator.init(key, x), 'noise': jnp.asarray(log_std, jnp.float32)}",
        T + 'test_a_generator_with_noise_is_a_normal_around_its_pictures',
    ),
    # what init is given does not count
    Mutation(
        C + 'generators.py',
        'jnp.asarray(log_std, jnp.float32)',
        'jnp.zeros((), jnp.float32)',
        T + 'test_a_generator_with_noise_is_a_normal_around_its_pictures',
    ),
]

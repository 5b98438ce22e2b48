"""Seeded mistakes in densities, bounds, objectives, data and training."""

from tests.mutations import Mutation

N, L, B = 'vae_jax/distributions/normal.py', 'vae_jax/distributions/logistic.py', 'vae_jax/bounds/'
DIST, BOUNDS, EST = 'tests/test_distributions.py::', 'tests/test_bounds.py::', 'tests/test_estimators.py::'
CODES, DATA, OPTIONS = 'tests/test_codes.py::', 'tests/test_data.py::', 'tests/test_options.py::'
SCIPY = DIST + 'test_normal_against_scipy_in_float64'
KL = DIST + 'test_kl_of_normals_is_numpyros_and_the_mean_of_log_ratios'
CELLS = DIST + 'test_discretized_logistic_sums_to_one_at_any_scale'
NONE = CODES + 'test_there_is_no_total_correlation_where_all_posteriors_are_one'

MUTATIONS = [
    # a missing 1/2
    Mutation(N, 'return -0.5 * scaled**2 - log_std', 'return -scaled**2 - log_std', SCIPY),
    # twice the log of the standard deviation: log_std taken for a log-variance
    Mutation(N, 'scaled**2 - log_std - _HALF', 'scaled**2 - 2 * log_std - _HALF', SCIPY),
    # no 2 pi
    Mutation(N, '_HALF_LOG_2PI = 0.5 *', '_HALF_LOG_2PI = 0.0 *', SCIPY),
    # KL without the half of the trace
    Mutation(N, '-log_ratio + 0.5 * (jnp.expm1(2 * log_ratio) + distance**2)', '-log_ratio + 0.5 * distance**2', KL),
    # KL the wrong way round
    Mutation(N, 'jnp.sum(-log_ratio + 0.5', 'jnp.sum(log_ratio + 0.5', KL),
    # the cell next to the edge is taken for open
    Mutation(L, 'jnp.where(x < half, below_top', 'jnp.where(x < 3 * half, below_top', CELLS),
    # no open edge at the top
    Mutation(L, 'jnp.where(x > 1 - half, above_bottom, inner)', 'inner', CELLS),
    # no log k
    Mutation(
        B + 'elbo.py',
        'logsumexp(log_weights(model, params, key, x, k)) - math.log(k)',
        'logsumexp(log_weights(model, params, key, x, k))',
        BOUNDS + 'test_a_bound_is_below_log_p_and_compiles_once',
    ),
    # the prior left out of the weights
    Mutation(
        B + 'elbo.py',
        'return model.decode(params, z).log_prob(x) + p.log_prob(z) - log_q',
        'return model.decode(params, z).log_prob(x) - log_q',
        BOUNDS + 'test_weights_average_to_p',
    ),
    # sum w^2 / (sum w)^2
    Mutation(
        B + 'elbo.py',
        'jnp.exp(2 * logsumexp(log_w) - logsumexp(2 * log_w))',
        'jnp.exp(logsumexp(2 * log_w) - 2 * logsumexp(log_w))',
        BOUNDS + 'test_effective_samples_counts',
    ),
    # the mean of the others includes oneself
    Mutation(
        B + 'score.py',
        'jnp.where(jnp.eye(k, dtype=bool), others[:, None], held[None])',
        'jnp.broadcast_to(held[None], (k, k))',
        EST + 'test_value_and_gradient_average_to_the_exact_ones',
    ),
    # Renyi's bound with alpha for 1 - alpha
    Mutation(
        B + 'importance.py',
        '(logsumexp((1 - alpha) * log_w) - math.log(k)) / (1 - alpha)',
        '(logsumexp(alpha * log_w) - math.log(k)) / alpha',
        EST + 'test_renyi_falls_as_alpha_grows_and_more_samples_raise_it',
    ),
    # log(b n) with the wrong sign
    Mutation('vae_jax/losses/codes.py', '-math.log(b * n)', 'math.log(b * n)', NONE),
    # free bits of the batch taken for each example
    Mutation(
        'vae_jax/losses/codes.py',
        'jnp.sum(jnp.maximum(hyper.free, jnp.mean(rates, 0)))',
        'jnp.mean(jnp.sum(jnp.maximum(hyper.free, rates), 1))',
        CODES + 'test_free_bits_keep_their_conventions',
    ),
    # capacity held from below only
    Mutation(
        'vae_jax/losses/codes.py',
        'jnp.abs(jnp.mean(jnp.sum(rates, 1)) - hyper.capacity)',
        'jnp.maximum(hyper.capacity - jnp.mean(jnp.sum(rates, 1)), 0)',
        CODES + 'test_capacity_pulls_the_rate_to_it_from_both_sides',
    ),
    # one level too many
    Mutation(
        'vae_jax/data/splits.py',
        'return (x.astype(jnp.float32) + u) / levels',
        'return (x.astype(jnp.float32) + u) / (levels - 1)',
        DATA + 'test_dequantization_is_uniform_within_a_level_and_stays_below_one',
    ),
    # a saturated pixel that is off once in 65,536
    Mutation(
        'vae_jax/kernels.py',
        'u.astype(jnp.uint32) * (levels - 1) <',
        'u.astype(jnp.uint32) * levels <',
        'tests/test_kernels.py::test_binarize_has_the_mean_of_every_level_and_certain_extremes',
    ),
    # sigmoid(0) lost to the corner of max
    Mutation(
        'vae_jax/kernels.py',
        '@bernoulli_log_prob.defjvp\n',
        '',
        'tests/test_kernels.py::test_bernoulli_log_prob_at_logit_zero',
    ),
    # an average that is drawn to the initial parameters
    Mutation(
        'vae_jax/training/options.py',
        '(1 - decay) / -jnp.expm1(new.step * math.log(decay))',
        '(1 - decay)',
        OPTIONS + 'test_the_average_weighs_each_step_by_its_age',
    ),
    # the first step of a warm-up lost
    Mutation(
        'vae_jax/schedules.py',
        'return jnp.minimum(1.0, (step + 1) / steps)',
        'return jnp.minimum(1.0, step / steps)',
        'tests/test_schedules.py::test_a_warmup_rises_to_one_and_stays',
    ),
    # the ragged last block counted whole
    Mutation(
        'vae_jax/evaluation/streaming.py',
        'else np.asarray(a)[:count], arrays)',
        'else np.asarray(a), arrays)',
        'tests/test_evaluation.py::test_a_ragged_split_counts_every_example_once_whatever_its_order',
    ),
    # parts that were stored for other parameters
    Mutation(
        'vae_jax/evaluation/keeping.py',
        'for leaf in [*jax.tree.leaves(inputs), *program.consts]:',
        'for leaf in [*jax.tree.leaves(inputs)[1:], *program.consts]:',
        'tests/test_keeping.py::test_what_differs_in_anything_is_not_taken',
    ),
    # another model under the same name
    Mutation(
        'vae_jax/evaluation/keeping.py',
        '|{jax.__version__}|{text}',
        '|{jax.__version__}|',
        'tests/test_keeping.py::test_another_program_is_not_taken_for_this_one',
    ),
    # the variance over all, for one too many degrees of freedom
    Mutation(
        'vae_jax/evaluation/likelihood.py',
        'np.std(self.values, ddof=1) / math.sqrt(n)',
        'np.std(self.values, ddof=1) / n',
        'tests/test_evaluation.py::test_nll_is_the_exact_one_within_its_error',
    ),
]

"""Mixtures by EM and by beliefs, probabilistic PCA and MADE: equal to scikit-learn and scipy, identities, bad input."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import random, vmap
from jax.scipy.special import logsumexp
from scipy import stats
from scipy.special import multigammaln
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture

import vae_jax as vj
from vae_jax import losses, samplers
from vae_jax.classical import beliefs, factors, generators, made, mixtures, shapes
from vae_jax.errors import Fault

pytestmark = pytest.mark.usefixtures('quickly_compiled')
SHAPES = {'full': shapes.full, 'tied': shapes.tied, 'diag': shapes.diagonal, 'spherical': shapes.spherical}
HYPER, STEPS = mixtures.Hyper(ridge=1e-6), 40


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def iris():
    return jnp.asarray(load_iris().data, jnp.float64)


def covariances(mixture):
    return np.asarray(vmap(lambda part: factor_of(part) @ factor_of(part).T)(mixture.components))


def factor_of(part):
    return part.factor if hasattr(part, 'factor') else jnp.diag(jnp.exp(part.log_std))


SOME = [pytest.param(name, marks=[] if name in ('full', 'diag') else [pytest.mark.slow]) for name in SHAPES]


@pytest.mark.parametrize('name', SOME)
def test_em_is_that_of_scikit_learn_from_the_same_start(name, x64):
    xs, key, trainer = iris(), random.key(0), mixtures.em(SHAPES[name], 3)
    start = jax.jit(trainer.init)(key, {'x': xs}, HYPER).params['mixture']
    precisions = np.linalg.inv(covariances(start))
    theirs = {
        'full': precisions,
        'tied': precisions[0],
        'diag': np.diagonal(precisions, axis1=1, axis2=2),
        'spherical': precisions[:, 0, 0],
    }
    expected = GaussianMixture(
        3,
        covariance_type=name,
        tol=0,
        max_iter=STEPS,
        reg_covar=1e-6,
        weights_init=np.exp(start.log_weights),
        means_init=np.asarray(start.components.mean),
        precisions_init=theirs[name],
    )
    with pytest.warns(ConvergenceWarning):
        expected.fit(np.asarray(xs))
    fit = mixtures.fitted(SHAPES[name], 3, key[None], xs, HYPER, STEPS)
    full = {'full': lambda c: c, 'tied': lambda c: np.stack([c] * 3), 'diag': lambda c: np.stack([*map(np.diag, c)])}
    whole = full.get(name, lambda c: c[:, None, None] * np.eye(4)[None])(expected.covariances_)
    np.testing.assert_allclose(np.exp(fit.mixture.log_weights), expected.weights_, atol=1e-9)
    np.testing.assert_allclose(fit.mixture.components.mean, expected.means_, atol=1e-9)
    np.testing.assert_allclose(covariances(fit.mixture), whole, atol=1e-9)
    np.testing.assert_allclose(fit.bic, expected.bic(np.asarray(xs)), rtol=1e-12)
    log_resp, log_p = jax.jit(mixtures.responsibilities)(fit.mixture, xs)
    np.testing.assert_allclose(np.exp(log_resp), expected.predict_proba(np.asarray(xs)), atol=1e-9)
    np.testing.assert_allclose(log_p, vmap(fit.mixture.log_prob)(xs), rtol=1e-10)
    assert np.diff(fit.losses).max() < 1e-6  # the ridge alone can make it rise


def test_em_of_bits_never_falls_and_counts(x64):
    xs = random.bernoulli(random.key(0), 0.3, (60, 5)).astype(jnp.float64)
    fit = mixtures.fitted(shapes.bits, 3, random.split(random.key(1), 2), xs, mixtures.Hyper(ridge=1e-9), 30)
    assert np.diff(fit.losses).max() < 1e-8 and fit.losses[0] > fit.losses[-1]
    one = mixtures.likeliest(shapes.bits, xs, jnp.ones((60, 1)), 1.0)
    np.testing.assert_allclose(one.components.mean[0], (xs.sum(0) + 1) / 62)
    assert shapes.bits.free(3, 5) == 15 and shapes.tied.free(3, 4) == 22 and shapes.spherical.free(3, 4) == 15


def test_the_best_of_several_starts_is_kept(x64):
    keys = random.split(random.key(3), 4)
    each = [mixtures.fitted(shapes.full, 3, key[None], iris(), HYPER, STEPS).losses[-1] for key in keys]
    best = mixtures.fitted(shapes.full, 3, keys, iris(), HYPER, STEPS)
    assert np.std(each) > 1e-3  # they do not end alike
    np.testing.assert_allclose(best.losses[-1], min(each), rtol=1e-9)
    assert best.key == keys[int(np.argmin(each))]


def test_centres_of_the_start_are_far_apart():
    xs = jnp.repeat(jnp.array([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]]), jnp.array([40, 3, 2]), axis=0)
    start = jax.jit(vmap(lambda key: mixtures.k_means_plus_plus(key, xs, 3)))
    middles = start(random.split(random.key(0), 20))
    assert all(len(np.unique(each, axis=0)) == 3 for each in np.asarray(middles))
    resp = jax.jit(lambda key: mixtures.begin(key, xs, 3))(random.key(0))
    np.testing.assert_allclose(resp.sum(1), 1, rtol=1e-6)
    assert len(np.unique(np.argmax(resp, 1))) == 3


def test_an_ordinary_trainer_climbs_the_same_likelihood(x64):
    key, start = random.key(0), mixtures.em(shapes.full, 3).init
    fit = mixtures.fitted(shapes.full, 3, key[None], iris(), HYPER, STEPS)
    init = lambda _, x: start(key, {'x': iris()}, HYPER).params
    descent = vj.trainer(init, mixtures.negative_log_p, lambda hyper: optax.adam(0.02))
    _, losses = jax.jit(lambda key: mixtures.passes(descent, key, iris(), HYPER, 20))(key)
    np.testing.assert_allclose(losses[0], fit.losses[0], rtol=1e-9)
    assert fit.losses[20] < losses[-1] < losses[0] - 0.05


@pytest.mark.parametrize('shape', [shapes.full, shapes.diagonal])
def test_what_is_given_and_what_is_left_make_the_whole(shape, x64):
    xs = iris()
    mixture = mixtures.fitted(shape, 3, random.key(0)[None], xs, HYPER, STEPS).mixture
    x, known, other = xs[7], (2, 0), jnp.array([1, 3])

    @jax.jit
    def parts(mixture):
        seen = mixtures.marginal(mixture, known).log_prob(x[jnp.array(known)])
        rest = mixtures.given(mixture, known, x[jnp.array(known)]).log_prob(x[other])
        return seen + rest, mixtures.marginal(mixture, (0, 1, 2, 3)).log_prob(x), mixture.log_prob(x)

    both, turned, whole = parts(mixture)
    np.testing.assert_allclose((both, turned), (whole, whole), rtol=1e-10)
    part = mixtures.component(mixture, 1)
    np.testing.assert_allclose(part.mean, mixture.components.mean[1])


def test_known_groups_are_discriminant_analysis():
    from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis

    data = load_iris()
    xs, labels = jnp.asarray(data.data, jnp.float32), data.target
    model = jax.jit(lambda resp: mixtures.likeliest(shapes.full, xs, resp))(jax.nn.one_hot(labels, 3))
    expected = QuadraticDiscriminantAnalysis().fit(data.data, labels).predict(data.data)
    assert np.mean(np.argmax(jax.jit(mixtures.responsibilities)(model, xs)[0], 1) == expected) > 0.99


def test_bad_rows_and_entries_are_refused():
    xs = jnp.ones((5, 3))
    for made_of, k in ((jnp.ones((5, 3, 1)), 2), (xs, 6), (xs, 0)):
        with pytest.raises(Fault, match='fix'):
            mixtures.k_means_plus_plus(random.key(0), made_of, k)
        with pytest.raises(Fault, match='fix'):
            mixtures.em(shapes.full, k).init(random.key(0), {'x': made_of}, HYPER)
    mixture = mixtures.likeliest(shapes.diagonal, xs, jnp.ones((5, 1)), 1.0)
    for entries in ((), (0, 0), (3,), (-1,), (0, 1, 2)):
        with pytest.raises(Fault, match='entries'):
            mixtures.given(mixture, entries, jnp.zeros(len(entries)))
    with pytest.raises(Fault, match='entries'):
        mixtures.marginal(mixture, (0, 3))


def scikit_belief(xs, steps):
    """BayesianGaussianMixture after `steps`, and the responsibilities [n, 4] that it began with."""
    resp = np.random.RandomState(3).uniform(size=(len(xs), 4))
    found = BayesianGaussianMixture(
        n_components=4,
        init_params='random',
        random_state=3,
        reg_covar=0,
        tol=0,
        max_iter=steps,
        weight_concentration_prior_type='dirichlet_distribution',
        weight_concentration_prior=0.3,
    )
    with pytest.warns(ConvergenceWarning):
        found.fit(np.asarray(xs))
    return found, resp / resp.sum(1, keepdims=True)


def test_beliefs_are_those_of_scikit_learn_and_the_bound_never_falls(x64):
    xs = iris()
    expected, resp = scikit_belief(xs, 30)
    prior = beliefs.weak_prior(xs, 0.3)

    @jax.jit
    def run(resp):
        def step(q, _):
            log_resp, totals = beliefs.expected(q, xs)
            return beliefs.updated(prior, xs, jnp.exp(log_resp)), beliefs.elbo(q, prior, totals)

        return jax.lax.scan(step, beliefs.updated(prior, xs, resp), length=30)

    q, bounds = run(jnp.asarray(resp))
    assert np.diff(bounds).min() > -1e-9
    np.testing.assert_allclose(q.concentration, expected.weight_concentration_, rtol=1e-9)
    np.testing.assert_allclose(q.mean, expected.means_, rtol=1e-9)
    np.testing.assert_allclose(q.freedom, expected.degrees_of_freedom_, rtol=1e-9)
    np.testing.assert_allclose(q.scatter / q.freedom[:, None, None], expected.covariances_, atol=1e-9)
    np.testing.assert_allclose(covariances(beliefs.plugged_in(q)), expected.covariances_, atol=1e-9)


def evidence(prior, xs):
    """log p(xs) of one group, exact: normalizers of the normal-Wishart before and after."""
    q = jax.tree.map(lambda leaf: leaf[0], jax.jit(beliefs.updated)(prior, xs, jnp.ones((len(xs), 1))))
    (n, d), half = xs.shape, lambda a: 0.5 * float(a.freedom) * np.linalg.slogdet(a.scatter)[1]
    gammas = multigammaln(float(q.freedom) / 2, d) - multigammaln(float(prior.freedom) / 2, d)
    spread = d / 2 * math.log(float(prior.strength / q.strength))
    return -n * d / 2 * math.log(math.pi) + gammas + half(prior) - half(q) + spread


def test_the_bound_of_one_group_is_the_evidence(x64):
    xs = iris()
    prior = beliefs.weak_prior(xs, 2.0, 0.5)
    q = beliefs.updated(prior, xs, jnp.ones((len(xs), 1)))
    bound = jax.jit(lambda q: beliefs.elbo(q, prior, beliefs.expected(q, xs)[1]))(q)
    np.testing.assert_allclose(bound, evidence(prior, xs), rtol=1e-11)


def test_the_bound_of_two_groups_is_just_below_the_evidence(x64):
    xs = jnp.array([[-3.0], [-2.5], [2.4], [3.1], [2.8]])
    prior = beliefs.weak_prior(xs, 0.7, 0.3)
    q, losses = beliefs.believed(prior, 2, random.key(0), xs, 50)
    parts = []
    for groups in itertools.product((0, 1), repeat=5):
        at = np.array(groups)
        counts = np.array([np.sum(at == 0), np.sum(at == 1)])
        log_prior = math.lgamma(1.4) - math.lgamma(6.4) + sum(math.lgamma(0.7 + c) - math.lgamma(0.7) for c in counts)
        parts.append(log_prior + sum(evidence(prior, xs[at == j]) for j in (0, 1) if counts[j]))
    exact, one, bound = float(logsumexp(jnp.array(parts))), max(parts), -5 * float(losses[-1])
    assert one - 1e-9 < bound < exact
    assert bound < one + 0.1  # of groups this far apart it is little more than the joint density with one assignment
    assert int(beliefs.used(q, prior)) == 2


def test_a_new_row_is_predicted_by_students_t(x64):
    xs = iris()
    prior = beliefs.weak_prior(xs)
    q, _ = beliefs.believed(prior, 3, random.key(1), xs, 10)
    freedom = np.asarray(q.freedom) + 1 - 4
    spread = np.asarray(q.scatter * ((1 + q.strength) / (q.strength * freedom))[:, None, None])
    weights = np.asarray(q.concentration / q.concentration.sum())
    each = [w * stats.multivariate_t(m, s, df=f).pdf(xs[5]) for w, m, s, f in zip(weights, q.mean, spread, freedom)]
    np.testing.assert_allclose(jax.jit(beliefs.log_predictive)(q, xs[5]), math.log(sum(each)), rtol=1e-10)


def test_bad_priors_are_refused():
    xs = jnp.ones((5, 2))
    for bad in ({'concentration': 0.0}, {'width': -1.0}):
        with pytest.raises(Fault, match='above 0'):
            beliefs.weak_prior(xs, **bad)
    with pytest.raises(Fault, match='rows'):
        beliefs.weak_prior(xs[0])


def test_ppca_is_that_of_scikit_learn(x64):
    xs = iris()
    pca = PCA(2).fit(np.asarray(xs))
    found = factors.from_moments(jnp.mean(xs, 0), jnp.cov(xs.T), 2)  # as there, over n - 1
    density = factors.density(found)
    np.testing.assert_allclose(jnp.mean(vmap(density.log_prob)(xs)), pca.score(np.asarray(xs)), rtol=1e-10)
    np.testing.assert_allclose(density.factor @ density.factor.T, pca.get_covariance(), atol=1e-10)
    directions = np.asarray(found.loadings / jnp.linalg.norm(found.loadings, axis=0)[None])
    np.testing.assert_allclose(np.abs(directions.T @ pca.components_.T), np.eye(2), atol=1e-8)


def test_ppca_is_likeliest_and_its_posterior_is_bayes_rule(x64):
    xs = iris()
    found = factors.ppca(xs, 2)
    total = lambda f: jnp.sum(vmap(factors.density(f).log_prob)(xs))
    slope = jax.grad(total)(found)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(slope)) < 1e-6
    x, z = xs[3], jnp.array([0.3, -1.2])
    prior = vj.Normal(jnp.zeros(2), jnp.zeros(2)).log_prob(z)
    joint = prior + factors.decoded(found, z).log_prob(x)
    np.testing.assert_allclose(
        joint, factors.density(found).log_prob(x) + factors.posterior(found, x).log_prob(z), rtol=1e-10
    )


def test_bad_factors_are_refused():
    for xs, q in ((jnp.ones((9, 3)), 3), (jnp.ones((9, 3)), 0), (jnp.ones((3, 4)), 2), (jnp.ones(4), 1)):
        with pytest.raises(Fault, match='factors'):
            factors.ppca(xs, q)


def test_made_looks_back_only_and_sums_to_one():
    density = samplers.autoregressive(made.made((12,)), 4, 3)
    params = density.init(random.key(0), jnp.zeros((4, 3)))
    params = jax.tree.map(lambda a: a + 0.5 * random.normal(random.key(a.size), a.shape), params)
    states = jnp.asarray(np.eye(3)[np.array(list(itertools.product(range(3), repeat=4)))], jnp.float32)
    log_ps = jax.jit(vmap(density.given(params).log_prob))(states)
    np.testing.assert_allclose(jnp.sum(jnp.exp(log_ps)), 1, rtol=1e-5)
    assert np.std(log_ps) > 0.1
    logits = made.made((12,)).apply(params, states[5])
    assert logits.min() < 0 < logits.max()
    slopes = jax.jacfwd(lambda x: made.made((12,)).apply(params, x))(states[5])  # [4, 3, 4, 3]
    seen = np.abs(slopes).sum((1, 3)) > 0
    assert not np.triu(seen).any() and seen[np.tril_indices(4, -1)].all()
    with pytest.raises(Fault, match='hidden'):
        made.made(())


def test_a_generator_with_noise_is_a_normal_around_its_pictures():
    model = generators.noisy(losses.generator(vj.mlp_decoder((4,)), latent=2, like=jnp.zeros((2, 2))), math.log(0.3))
    params = model.init(random.key(0), jnp.zeros((2, 2)))
    z, x = jnp.array([0.4, -1.0]), jnp.array([[0.1, 0.5], [0.2, 0.9]])
    p = model.decode(params, z)
    expected = stats.norm(np.asarray(p.mean), 0.3).logpdf(np.asarray(x)).sum()
    np.testing.assert_allclose(p.log_prob(x), expected, rtol=1e-5)
    louder = model.decode(params | {'noise': jnp.zeros(())}, z)
    np.testing.assert_allclose(louder.log_std, 0)
    np.testing.assert_allclose(model.encode(params, x).log_prob(z), model.prior(params).log_prob(z))
    with pytest.raises(Fault, match='noise'):
        generators.noisy(model).init(random.key(0), x)

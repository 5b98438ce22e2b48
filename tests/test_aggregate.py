"""What the rate is spent on, against quadrature of the mixture, closed forms and the ELBO's own rate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random
from scipy import stats

import vae_jax as vj
from tests import oracles, small
from tests.layered import two_layers
from vae_jax import flows, models
from vae_jax.data.splits import Split, identity
from vae_jax.distributions import FullNormal
from vae_jax.distributions.chain import Chain
from vae_jax.errors import Fault
from vae_jax.evaluation.aggregate import GROUP, aggregate_posterior, rates_by_dimension
from vae_jax.evaluation.factors import spent

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(3)
MODEL = oracles.linear_gaussian(latent=1, dims=3)
PARAMS = MODEL.init(random.key(2), jnp.zeros(3))
X = random.normal(random.key(6), (40, 3)) * 2
SPLIT = Split({'x': X}, None, identity())
MOVED = MODEL._replace(prior=lambda params: vj.Normal(jnp.array([0.5]), jnp.array([0.3])))


def split_of(x):
    return Split({'x': x}, None, identity())


def parts_by_quadrature(model, params, xs):
    """I_q(x; z) and KL(q(z) || p(z)) of a scalar z."""
    q, p = jax.vmap(lambda x: model.encode(params, x))(xs), model.prior(params)
    grid = np.linspace(-15, 15, 20_001)
    each = stats.norm.pdf(grid[:, None], np.asarray(q.mean[:, 0]), np.exp(np.asarray(q.log_std[:, 0])))
    mixture = each.mean(1)
    entropy = lambda f: np.trapezoid(np.where(f > 0, f * np.log(np.where(f > 0, f, 1)), 0), grid)
    log_p = stats.norm.logpdf(grid, np.asarray(p.mean)[0], np.exp(np.asarray(p.log_std))[0])
    inner = np.mean([entropy(column) for column in each.T]) - entropy(mixture)
    return inner, entropy(mixture) - np.trapezoid(mixture * log_p, grid)


@pytest.mark.parametrize(('model', 'draws'), [(MODEL, 3 * GROUP + 7), (MOVED, 4 * GROUP)])
def test_information_and_marginal_kl_are_those_of_quadrature(model, draws):
    information, marginal = parts_by_quadrature(model, PARAMS, X)
    found = aggregate_posterior(model, PARAMS, SPLIT, KEY, draws=draws)
    assert len(found.rate.values) == draws and found.n == 40
    assert abs(found.information.mean - information) < 5 * found.information.se
    assert abs(found.marginal_kl.mean - marginal) < 5 * found.marginal_kl.se
    assert found.information.se < 0.1 * information and not found.at_ceiling and 'note' not in str(found)


def test_the_parts_add_up_to_the_rate():
    found = aggregate_posterior(MOVED, PARAMS, SPLIT, KEY, draws=8 * GROUP)
    total = found.information.values + found.marginal_kl.values
    np.testing.assert_allclose(total, found.rate.values, rtol=1e-5, atol=1e-5)
    exact = vj.elbo_estimate(MOVED, PARAMS, SPLIT, KEY).rate.mean  # a closed form, over the same rows
    assert abs(found.rate.mean - exact) < 5 * found.rate.se


def test_it_is_what_spent_says_of_gaussian_codes():
    codes = vj.encode(MODEL, PARAMS, SPLIT)
    plain = spent(codes['mean'], codes['log_std'], KEY, 5000)
    found = aggregate_posterior(MODEL, PARAMS, SPLIT, KEY, draws=8 * GROUP)
    assert abs(found.information.mean - plain.information) < 6 * found.information.se
    distance = plain.total_correlation + plain.dimension_kl
    assert abs(found.marginal_kl.mean - distance) < 6 * found.marginal_kl.se


def test_codes_that_lie_far_apart_are_at_the_ceiling_and_it_says_so():
    far = {**PARAMS, 'V': 1e4 * PARAMS['V'], 'log_std': PARAMS['log_std'] - 5}
    found = aggregate_posterior(MODEL, far, SPLIT, KEY, draws=GROUP)
    assert found.information.mean == pytest.approx(np.log(40), abs=1e-3) == found.ceiling and found.at_ceiling
    assert '40 codes hold at most log n = 3.69 nats' in str(found)


def test_any_posterior_and_any_prior():
    """A rotated Gaussian through its full covariance, a flow whose density needs the inverse, two layers, bits."""
    full = oracles.linear_gaussian(latent=2, dims=3)
    params = full.init(random.key(4), jnp.zeros(3))
    turned = full._replace(
        encode=lambda p, x: FullNormal((p['V'] @ x), p['log_std'], jnp.array([[0.0, 0.0], [0.4, 0.0]]))
    )
    flowed = models.flow_posterior(full, flows.iaf((8,)))
    family = vj.bounded_normal(-2.0, 1.0)
    layer = lambda d: vj.vae(
        vj.mlp_encoder(()), vj.mlp_decoder(()), latent=2, like=jnp.zeros(d), likelihood=family, posterior=family
    )
    deep = models.stacked(layer(3), layer(2))
    bits = full._replace(prior=lambda p: vj.Bernoulli(jnp.zeros(2)), encode=lambda p, x: vj.Bernoulli(p['V'] @ x))
    for model in (turned, flowed, deep, bits):
        held = params if model in (turned, bits) else model.init(random.key(5), jnp.zeros(3))
        found = aggregate_posterior(model, held, SPLIT, KEY, draws=64)
        np.testing.assert_allclose(found.information.values + found.marginal_kl.values, found.rate.values, atol=1e-4)
        assert np.all(found.information.values <= np.log(40) + 1e-3)
        assert found.information.mean > -5 * found.information.se


def test_a_population_is_its_members():
    several = jax.tree.map(lambda leaf: jnp.stack([leaf, 1.1 * leaf]), PARAMS)
    keys = random.split(KEY, 2)
    found = aggregate_posterior(MODEL, several, SPLIT, keys, draws=GROUP)
    alone = aggregate_posterior(MODEL, jax.tree.map(lambda leaf: 1.1 * leaf, PARAMS), SPLIT, keys[1], draws=GROUP)
    np.testing.assert_allclose(found[1].rate.values, alone.rate.values, rtol=1e-5)
    rates = rates_by_dimension(MODEL, several, SPLIT, keys)
    assert len(rates) == 2 and rates[0].mean.shape == (1,)


def test_a_conditional_has_an_aggregate_where_its_prior_is_one_for_all():
    rows = {'x': X, 'label': jnp.arange(40) % 2}
    like = (jnp.zeros(3), jnp.zeros(2))
    networks = vj.mlp_encoder(()), vj.mlp_decoder(())
    options = {'of': models.on_label(2), 'like': like, 'latent': 2, 'likelihood': vj.Normal}
    shared, learned = models.cvae(*networks, **options), models.cvae(*networks, vj.mlp_encoder(()), **options)
    split = Split(rows, None, identity())
    found = aggregate_posterior(shared, shared.init(KEY, like), split, KEY, draws=32)
    np.testing.assert_allclose(found.information.values + found.marginal_kl.values, found.rate.values, atol=1e-4)
    with pytest.raises(Fault, match='depends on c'):
        aggregate_posterior(learned, learned.init(KEY, like), split, KEY, draws=32)
    # the rate of a dimension is that of each row's own prior
    rates = rates_by_dimension(learned, learned.init(KEY, like), split, KEY)
    assert rates.mean.sum() == pytest.approx(vj.elbo_estimate(learned, learned.init(KEY, like), split, KEY).rate.mean)


def test_rates_by_dimension_are_those_of_the_pairs_and_add_up():
    params = small.MODEL.init(KEY, small.DATA.example)
    moved = small.MODEL._replace(prior=lambda params: vj.Normal(jnp.array([0.3, -1.0]), jnp.array([0.2, -0.4])))
    found = rates_by_dimension(moved, params, small.DATA.test, KEY)
    codes = vj.encode(moved, params, small.DATA.test)
    mean, std = codes['mean'].astype(float), np.exp(codes['log_std'].astype(float))
    centre, width = np.array([0.3, -1.0]), np.exp(np.array([0.2, -0.4]))
    exact = np.log(width / std) + (std**2 + (mean - centre) ** 2) / (2 * width**2) - 0.5
    np.testing.assert_allclose(found.mean, exact.mean(0), rtol=1e-4)
    np.testing.assert_allclose(found.se, exact.std(0, ddof=1) / np.sqrt(25), rtol=1e-3)
    total = vj.elbo_estimate(moved, params, small.DATA.test, KEY).rate.mean
    assert found.mean.sum() == pytest.approx(total, rel=1e-5) and '2 dimensions' in str(found)


def test_rates_by_dimension_of_layers_follow_each_other():
    model, xs = two_layers(), X[:, :2]
    params = model.init(KEY, xs[0])
    found = rates_by_dimension(model, params, split_of(xs), KEY)

    def kl(mean, log_std, prior):
        return prior - log_std - 0.5 + (np.exp(2 * log_std) + np.asarray(mean, float) ** 2) / (2 * np.exp(2 * prior))

    exact = np.concatenate([kl(xs, -0.3, 0.0), kl(0.5 * xs, 0.1, 0.2)], 1)
    np.testing.assert_allclose(found.mean, exact.mean(0), rtol=1e-4)
    backwards = model._replace(prior=lambda params: Chain(model.prior(params).links, (1, 0)))
    with pytest.raises(Fault, match='Gaussian posterior and prior'):  # z_2 of the prior is drawn before that of q
        rates_by_dimension(backwards, params, split_of(xs), KEY)


def test_what_has_no_aggregate_is_refused():
    with pytest.raises(Fault, match='1 draws'):
        aggregate_posterior(MODEL, PARAMS, SPLIT, KEY, draws=1)
    for f in (aggregate_posterior, rates_by_dimension):
        with pytest.raises(Fault, match='empty'):
            f(MODEL, PARAMS, split_of(X[:0]), KEY)
        with pytest.raises(Fault, match='not finite'):
            f(MODEL, {**PARAMS, 'V': PARAMS['V'] * jnp.nan}, SPLIT, KEY)
    with pytest.raises(Fault, match=r'log q\(z\|x\) is not finite for 1 of 40 examples, the first is row 5') as fault:
        aggregate_posterior(MODEL, PARAMS, split_of(X.at[5].set(jnp.nan)), random.key(0), draws=2)
    assert fault.value.code == 4
    planar = models.flow_posterior(MODEL, flows.planar)
    with pytest.raises(Fault, match='has an inverse'):
        aggregate_posterior(planar, planar.init(KEY, X[0]), SPLIT, KEY)
    with pytest.raises(Fault, match='Gaussian posterior and prior'):
        rates_by_dimension(planar, planar.init(KEY, X[0]), SPLIT, KEY)
    point = MODEL._replace(encode=lambda params, x: vj.distributions.Delta(params['V'] @ x))
    with pytest.raises(Fault, match='point'):
        aggregate_posterior(point, PARAMS, SPLIT, KEY)

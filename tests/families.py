"""The conformance list: every family over three values (or vectors), with data that it must refuse."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest

from vae_jax import distributions as d


class Case(NamedTuple):
    family: Any
    bad: Any  # x that has no mass
    dims: int = 3
    scale: float = 0.7  # of the features that tests draw


def _mixture(features):
    return d.Mixture(jnp.array([0.4, -0.3]), d.Normal(features[:, :2].T, features[:, 2:].T))


MIXTURE = d.Family(4, _mixture, d.Normal.supports, d.Normal.support, name='mixture of two')
NAN, TENTH = jnp.array([0.0, jnp.nan, 0.0]), jnp.array([0.0, 0.1234, 1.0])
HALF, TWO = jnp.array([0.0, 1.5, 1.0]), jnp.array([0.0, 2.0, 1.0])

CASES = {
    'Normal': Case(d.Normal, NAN),
    'fixed_normal': Case(d.fixed_normal(-0.5), NAN),
    'bounded_normal': Case(d.bounded_normal(-3.0, 1.0), NAN),
    'SharedNormal': Case(d.SharedNormal, NAN),
    'log_cosh': Case(d.log_cosh(10.0), NAN),
    'full_normal': Case(d.full_normal(3), NAN),
    'Laplace': Case(d.Laplace, NAN),
    'Mixture': Case(MIXTURE, NAN),
    'Delta': Case(d.Delta, NAN),
    'Bernoulli': Case(d.Bernoulli, TENTH),
    'SoftBernoulli': Case(d.SoftBernoulli, TWO),
    'straight_through(Bernoulli)': Case(d.straight_through(d.Bernoulli), TENTH),
    'ContinuousBernoulli': Case(d.ContinuousBernoulli, TWO, scale=3.0),
    'relaxed_bernoulli': Case(d.relaxed_bernoulli(0.6), NAN),
    'categorical': Case(d.categorical(4), jnp.ones((3, 4)), dims=2),
    'gumbel_softmax': Case(d.gumbel_softmax(4, 0.7), jnp.ones((3, 4)), dims=2),
    'categorical_levels': Case(d.categorical_levels(5), TENTH),
    'category_codes': Case(d.category_codes(5), HALF),
    'discretized_logistic': Case(d.discretized_logistic(17), TENTH),
    'logistic_mixture': Case(d.logistic_mixture(17, 3), TENTH),
    'beta_binomial': Case(d.beta_binomial(17), TENTH),
    'Poisson': Case(d.Poisson, HALF),
    'NegativeBinomial': Case(d.NegativeBinomial, HALF),
    'zero_inflated(Poisson)': Case(d.zero_inflated(d.Poisson), HALF),
    'masked(Normal)': Case(d.masked(d.Normal), d.Observed(NAN, jnp.ones(3, bool))),
    'columns': Case(d.columns(d.Normal, d.category_codes(4), d.Normal), jnp.array([0.0, 4.0, 1.0])),
    'VonMisesFisher': Case(d.VonMisesFisher, TWO),
    'PowerSpherical': Case(d.PowerSpherical, TWO),
}

# seconds to compile each; what is theirs alone is tested beside the rest in the quick files
_SLOW = {'NegativeBinomial', 'zero_inflated(Poisson)', 'beta_binomial', 'logistic_mixture', 'columns', 'PowerSpherical'}


def names(keep=lambda name: True):
    """The names of the list for parametrize, the slow ones marked."""
    return [pytest.param(n, marks=[pytest.mark.slow] * (n in _SLOW)) for n in CASES if keep(n)]


def quick_jit(f):
    """`jax.jit` for programs that run once: compiled in half the time, with slower code."""
    return jax.jit(f, compiler_options={'xla_backend_optimization_level': 0})

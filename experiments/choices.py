"""The tables of experiments.vae: what each word of its flags is, as a function. Strings become functions only here."""

from collections.abc import Callable
from typing import Any, NamedTuple

from vae_jax.errors import Fault

TOLD = 'leave it out, or see --help for what it goes with'


class Objective(NamedTuple):
    """make(model, config, kl, n) -> loss; what it reads of Hyper and Config; whether samples need a gradient."""

    make: Callable[[Any, Any, Any, int], Any]
    hyper: tuple[str, ...] = ()
    config: tuple[str, ...] = ()
    pathwise: bool = True
    splits: bool = True  # a mean over examples, which --accumulate may compute part by part


def _bound(name: str, *same: str, pathwise: bool = True, **other: str) -> Objective:
    """-bound(model, params, key, x, ...) of fields of Config: those of the same name, and argument=field."""
    fields = {**{field: field for field in same}, **other}

    def make(model: Any, config: Any, kl: Any, n: int) -> Any:
        import vae_jax as vj

        options = {argument: getattr(config, field) for argument, field in fields.items()}
        return _lifted(vj.negative(getattr(vj.bounds, name), model, **options), config)

    return Objective(make, (), tuple(fields.values()), pathwise)


def _lifted(objective: Any, config: Any) -> Any:
    import jax

    import vae_jax as vj

    return vj.per_example(jax.checkpoint(objective) if config.remat else objective)


def _elbo(model: Any, config: Any, kl: Any, n: int) -> Any:
    import jax

    import vae_jax as vj

    def averaged(params: Any, key: Any, x: Any, hyper: Any) -> Any:
        terms = jax.vmap(lambda k: vj.elbo_terms(model, params, k, x, kl))(jax.random.split(key, config.k))
        mean = jax.tree.map(lambda term: term.mean(0), terms)
        return mean.distortion + hyper.beta * mean.rate, mean

    return _lifted(averaged if config.k > 1 else vj.beta_elbo(model, kl), config)


def _coded(weigh: str, penalty: Callable[[Any, int], Any] | None = None, *hyper: str) -> Objective:
    """losses.coded(model, weigh, penalty(losses, size of the training split))."""

    def make(model: Any, config: Any, kl: Any, n: int) -> Any:
        from vae_jax import losses

        return losses.coded(model, getattr(losses, weigh), penalty(losses, n) if penalty else losses.no_penalty)

    return Objective(make, hyper, splits=False)


def _asleep(make: Callable[[Any, Any, Any], Any], *config: str) -> Objective:
    def made(model: Any, config: Any, kl: Any, n: int) -> Any:
        from vae_jax import losses

        return _lifted(make(losses, model, config), config)

    return Objective(made, (), config, pathwise=False)


OBJECTIVES: dict[str, Objective] = {
    'elbo': Objective(_elbo, ('beta',), ('k', 'warmup', 'warmup_shape')),
    'sticking_the_landing': _bound('sticking_the_landing'),
    'iwae': _bound('iwae', 'k'),
    'dreg': _bound('dreg', 'k'),
    'miwae': _bound('miwae', 'k', 'm'),
    'piwae': _bound('piwae', 'k', 'm'),
    'ciwae': _bound('ciwae', 'k', beta='share'),
    'renyi': _bound('renyi', 'k', 'alpha'),
    'score': _bound('score_elbo', 'k', pathwise=False),
    'vimco': _bound('vimco', 'k', pathwise=False),
    'wake_sleep': _asleep(lambda losses, model, config: losses.wake_sleep(model)),
    'reweighted_wake_sleep': _asleep(lambda losses, model, config: losses.reweighted_wake_sleep(model, config.k), 'k'),
    'capacity': _coded('capacity', None, 'gamma', 'capacity'),
    'free_bits': _coded('free_bits', None, 'free'),
    'free_bits_each': _coded('free_bits_each', None, 'free'),
    'free_bits_mean': _coded('free_bits_mean', None, 'free'),
    'beta_tc': _coded('beta', lambda losses, n: losses.total_correlation(n), 'beta', 'tc'),
    'beta_tc_stratified': _coded(
        'beta', lambda losses, n: losses.total_correlation(n, losses.stratified), 'beta', 'tc'
    ),
    'dip': _coded('beta', lambda losses, n: losses.dip(), 'beta', 'off', 'on'),
    'dip_samples': _coded('beta', lambda losses, n: losses.dip(of_samples=1.0), 'beta', 'off', 'on'),
    'mmd': _coded('beta', lambda losses, n: losses.mmd(), 'beta', 'mmd'),
}


class Posterior(NamedTuple):
    """family(config) of q(z|x) from features; around(model, config) wraps it; seen_as: how the decoder sees z."""

    family: Callable[[Any], Any]
    around: Callable[[Any, Any], Any] = lambda model, config: model
    seen_as: Callable[[], Any] | None = None
    config: tuple[str, ...] = ()


def _d(name: str, *fields: str) -> Callable[[Any], Any]:
    """The family of this name in vae_jax.distributions, or what it makes of those fields of Config."""

    def family(config: Any) -> Any:
        from vae_jax import distributions

        found = getattr(distributions, name)
        return found(*(getattr(config, field) for field in fields)) if fields else found

    return family


def _flowing(make: Callable[[Any, Any], Any]) -> Posterior:
    def family(config: Any) -> Any:
        from vae_jax.models import contextual

        return contextual(_d('Normal')(config))

    def around(model: Any, config: Any) -> Any:
        from vae_jax import flows, models

        return models.flow_posterior(model, flows.stacked(make(flows, config), config.flow_layers))

    return Posterior(family, around, config=('flow_layers', 'flow_hidden'))


def _straight_through(config: Any) -> Any:
    from vae_jax import distributions

    return distributions.straight_through(distributions.categorical(config.categories))


def _softmax() -> Any:
    import jax

    return jax.nn.softmax


def _sigmoid() -> Any:
    import jax

    return jax.nn.sigmoid


POSTERIORS: dict[str, Posterior] = {
    'normal': Posterior(_d('Normal')),
    'full_normal': Posterior(_d('full_normal', 'latent')),
    'laplace': Posterior(_d('Laplace')),
    'planar': _flowing(lambda flows, config: flows.amortized_planar),
    'coupling': _flowing(lambda flows, config: flows.affine_coupling()),
    'iaf': _flowing(lambda flows, config: flows.iaf(config.flow_hidden)),
    'von_mises_fisher': Posterior(_d('VonMisesFisher')),
    'power_spherical': Posterior(_d('PowerSpherical')),
    'gumbel_softmax': Posterior(
        _d('gumbel_softmax', 'categories', 'temperature'), seen_as=_softmax, config=('categories', 'temperature')
    ),
    'relaxed_bernoulli': Posterior(_d('relaxed_bernoulli', 'temperature'), seen_as=_sigmoid, config=('temperature',)),
    'categorical': Posterior(_d('categorical', 'categories'), config=('categories',)),
    'straight_through': Posterior(_straight_through, config=('categories',)),
    'bernoulli': Posterior(_d('Bernoulli')),
}


class Prior(NamedTuple):
    """around(model, config, data) -> the model with this prior."""

    around: Callable[[Any, Any, Any], Any]
    config: tuple[str, ...] = ()


def _vampprior(model: Any, config: Any, data: Any) -> Any:
    from vae_jax import models

    return models.vampprior(model, config.components)


def _mixture(model: Any, config: Any, data: Any) -> Any:
    from vae_jax import models

    return models.mixture_prior(model, config.components)


def _flow_prior(make: Callable[[Any, Any], Any]) -> Prior:
    def around(model: Any, config: Any, data: Any) -> Any:
        from vae_jax import flows, models

        return models.flow_prior(model, flows.stacked(make(flows, config), config.flow_layers))

    return Prior(around, ('flow_layers', 'flow_hidden'))


PRIORS: dict[str, Prior] = {
    'natural': Prior(lambda model, config, data: model),
    'mixture': Prior(_mixture, ('components',)),
    'vampprior': Prior(_vampprior, ('components',)),
    'maf': _flow_prior(lambda flows, config: flows.maf(config.flow_hidden)),
    'coupling': _flow_prior(lambda flows, config: flows.affine_coupling()),
}


def _likelihood(name: str, levels: bool = False, **options: Any) -> Callable[[int | None], Any]:
    def family(count: int | None) -> Any:
        from vae_jax import distributions

        found = getattr(distributions, name)
        if not levels:
            return found
        if count is None:
            raise Fault(f'{name} gives mass to a number of levels, and these data are real numbers', 'use normal')
        return found(count, **options)

    return family


LIKELIHOODS: dict[str, Callable[[int | None], Any]] = {
    'bernoulli': _likelihood('Bernoulli'),
    'soft_bernoulli': _likelihood('SoftBernoulli'),
    'continuous_bernoulli': _likelihood('ContinuousBernoulli'),
    'normal': _likelihood('Normal'),
    'shared_normal': _likelihood('SharedNormal'),
    'laplace': _likelihood('Laplace'),
    'logistic': _likelihood('discretized_logistic', levels=True),
    'logistic_mixture': _likelihood('logistic_mixture', levels=True),
    'beta_binomial': _likelihood('beta_binomial', levels=True),
    'categorical': _likelihood('categorical_levels', levels=True),
}
REAL = ('normal', 'shared_normal', 'laplace', 'continuous_bernoulli')  # densities: pixels are dequantized for them


def check_hyper(config: Any) -> None:
    """Raises Fault for a field of Hyper that was changed and that the objective does not read."""
    read, start = ('lr', *OBJECTIVES[config.objective].hyper), type(config.hyper)._field_defaults
    for field, value in config.hyper._asdict().items():
        if field not in read and value != start[field]:
            raise Fault(f'--{field} would change nothing under --objective {config.objective}', TOLD)


def unread(config: Any) -> list[str]:
    """Flags that were changed and that nothing chosen reads: in a sweep other choices may."""
    choices = (OBJECTIVES[config.objective], POSTERIORS[config.posterior], PRIORS[config.prior])
    tables: tuple[dict[str, Any], ...] = (OBJECTIVES, POSTERIORS, PRIORS)
    some = {field for table in tables for choice in table.values() for field in choice.config}
    read, start = {field for choice in choices for field in choice.config}, type(config).__dataclass_fields__
    changed = [field for field in sorted(some - read) if getattr(config, field) != start[field].default]
    return [f'--{field.replace("_", "-")}' for field in changed]

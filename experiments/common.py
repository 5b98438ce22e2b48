"""What every VAE experiment does when trained: evaluate on the test split, draw the report, print a summary."""

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from vae_jax.errors import ENVIRONMENT, Fault

Told = tuple[dict[str, Any], dict[str, Any]]


def data_of(dataset: str, run: Any, **options: Any) -> Any:
    """A dataset by name; under --smoke 256 rows of each split, generated where it is not there."""
    from vae_jax import data

    try:
        found = data.load(dataset, data_dir=run.data_dir, **options)
    except Fault as fault:
        if not run.smoke or fault.code != ENVIRONMENT:
            raise
        found = data.stand_in(dataset, binarization=options.get('binarization'))
    return data.first(found, 256) if run.smoke else found


def kl_of(model: Any, x: Any) -> Any:
    """How KL(q || p) is had: by formula where the pair of families has one, else at the sample."""
    import jax
    import jax.numpy as jnp

    from vae_jax import bounds

    params = jax.eval_shape(model.init, jax.random.key(0), x)

    def exact(params: Any, x: Any) -> Any:
        q = model.encode(params, x)
        return bounds.closed_form(q, model.prior(params), None, jnp.zeros(()))

    try:
        jax.eval_shape(exact, params, x)
    except Fault as fault:
        if 'closed form' not in fault.what:
            raise
        return bounds.monte_carlo
    return bounds.closed_form


def evaluator(
    model: Any, data: Any, k: int, notes: Sequence[str] = (), kl: Any = None
) -> Callable[[Any, Any, bool], Any]:
    """evaluate(params, key, quiet) -> (result, arrays of one row an example): test ELBO with its halves, NLL.

    Of members of a population, params [m, ...] and keys [m], a list of m of these.
    """

    def evaluate(params: Any, key: Any, quiet: bool) -> Any:
        import jax

        import vae_jax as vj

        elbo_key, nll_key = jax.random.split(key) if not key.ndim else jax.vmap(jax.random.split, out_axes=1)(key)
        bound = vj.elbo_estimate(model, params, data.test, elbo_key, kl=kl or vj.closed_form)
        nll = vj.nll(model, params, data.test, nll_key, k=k, quiet=quiet)
        if not key.ndim:
            return _told(bound, nll, active(params), notes)
        each = [jax.tree.map(lambda leaf, i=i: leaf[i], params) for i in range(key.size)]
        return [_told(*found, notes) for found in zip(bound, nll, map(active, each))]

    def active(params: Any) -> int | None:
        import vae_jax as vj
        from vae_jax import evaluation

        return evaluation.active_units(vj.encode(model, params, data.test)) if len(data.test) > 1 else None

    return evaluate


def validator(model: Any, data: Any, kl: Any = None) -> Callable[[Any, Any], dict[str, Any]]:
    """validate(params, key) -> loss (-ELBO), rate and distortion of the validation split, [m] of m members."""

    def validate(params: Any, key: Any) -> dict[str, Any]:
        import numpy as np

        import vae_jax as vj

        found = vj.elbo_estimate(model, params, data.validation, key, kl=kl or vj.closed_form)
        each = found if key.ndim else [found]
        told = {
            'loss': np.array([-one.elbo.mean for one in each]),
            'rate': np.array([one.rate.mean for one in each]),
            'distortion': np.array([one.distortion.mean for one in each]),
        }
        return told if key.ndim else {name: float(value[0]) for name, value in told.items()}

    return validate


def _told(bound: Any, nll: Any, active: int | None, notes: Sequence[str]) -> Told:
    import numpy as np

    result: dict[str, Any] = {}
    estimates = {'elbo': bound.elbo, 'rate': bound.rate, 'distortion': bound.distortion, 'nll': nll.estimate}
    for name, estimate in estimates.items():
        result |= {
            f'test_{name}': estimate.mean,
            f'test_{name}_se': estimate.se,
            f'test_{name}_bits_per_dim': estimate.bits_per_dim,
            f'test_{name}_bits_per_dim_se': estimate.bits_per_dim_se,
        }
    n = len(nll.effective)
    result |= {'active_units': active, 'k': nll.k, 'effective_samples': float(np.median(nll.effective))}
    result |= {'test_examples': n}
    examples = {'index': np.arange(n), 'effective_samples': nll.effective}
    examples |= {name: estimate.values for name, estimate in estimates.items()}
    return result | ({'notes': list(notes)} if notes else {}), examples


def check_support(likelihood: Any, data: Any) -> None:
    """Raises Fault where any example of any split has a value that the likelihood gives no mass to."""
    import jax

    from vae_jax.distributions import check_support
    from vae_jax.evaluation import view_rows

    for split in data.splits.values():
        binary = split.levels == 2 or data.binarization != 'none'  # then one block tells of all
        for start in range(0, 1 if binary else len(split), 2000):
            rows = range(start, min(start + 2000, len(split)))
            check_support(likelihood, view_rows(split, jax.random.key(0), rows))


def command(module: str, config: Any) -> str:
    """The command line that gives this configuration: the flags that differ from their defaults, and the seed."""
    from vae_jax.config import tokens

    return shlex.join(['python', '-m', module, *tokens(config)])


def reporter(model: Any, data: Any, command: str, notes: Sequence[str] = ()) -> Callable[..., Any]:
    """figures(directory, params, key, metrics, result, config) -> path of report.html."""

    def figures(
        directory: Any, params: Any, key: Any, metrics: list, result: Mapping[str, Any], config: Mapping
    ) -> Any:
        import jax
        import numpy as np

        import vae_jax as vj
        from vae_jax import evaluation, report

        keys = jax.random.split(key, 2)
        n = len(data.test)
        xs = evaluation.view_rows(data.test, keys[0], np.arange(min(32, n)))
        codes = vj.encode(model, params, data.test)
        half = min(8, n // 2, len(xs) // 2)
        arrays: dict[str, Any] = {
            'x': xs,
            'reconstructions': vj.reconstruct(model, params, xs),
            'samples': vj.sample_means(model, params, keys[1], 64),
            'codes': codes['mean'],
        }
        if half:
            arrays['interpolations'] = vj.interpolate(model, params, xs[:half], xs[half : 2 * half])
        if 'label' in codes:
            arrays['labels'] = codes['label']
        if 'log_std' in codes and isinstance(jax.eval_shape(model.prior, params), vj.distributions.Normal):
            arrays['rate_per_dim'] = evaluation.rate_per_dim(codes)
        if evaluation.has_manifold(model, params):
            arrays['manifold'] = evaluation.manifold(model, params)
        return report.run_report(
            directory,
            title=f'VAE on {data.name}',
            result=result,
            metrics=metrics,
            arrays={name: np.asarray(array) for name, array in arrays.items()},
            config=config,
            command=command,
            notes=notes,
        )

    return figures


def summary(result: Mapping[str, Any]) -> str:
    """The result as lines for a person: nats and bits/dim, each with its standard error."""
    titles = {
        'test_elbo': 'test ELBO',
        'test_rate': '  rate',
        'test_distortion': '  distortion',
        'test_nll': f'test -log p(x), {result["k"]} samples',
    }
    width = max(map(len, titles.values()))
    lines = [
        f'{title:{width}}  {result[name]:10.3f} +- {result[f"{name}_se"]:.3f} nats  '
        f'{result[f"{name}_bits_per_dim"]:9.4f} +- {result[f"{name}_bits_per_dim_se"]:.4f} bits/dim'
        for name, title in titles.items()
    ]
    return '\n'.join([*lines, *result.get('notes', [])])


def story(name: str, flags: str) -> NoReturn:
    """The general experiment under these flags and those of the command line, the later ones of which count."""
    from experiments import vae
    from vae_jax import cli

    cli.main(vae.Config, vae.build, name=name, version=vae.VERSION, argv=[*flags.split(), *sys.argv[1:]])

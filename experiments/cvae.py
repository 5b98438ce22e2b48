"""Conditional VAE: the rest of an image from one, two or three of its quadrants, or an image from its label.

Claim     -log p(x|c) by importance sampling, c the pixels seen and x those that are not (Sohn, Lee & Yan 2015, section
          5.1): a prior that knows c does better than N(0, I), and every quadrant seen leaves less to tell. A label
          saves about its entropy, log 10 = 2.3 nats of an image.
Command   python -m experiments.cvae --seeds 3                             (digits: one quadrant of 8x8 pixels)
          python -m experiments.cvae --see two --prior flow
          python -m experiments.cvae --dataset binarized_mnist --hidden 500 500 --latent 50 --steps 40000 --see three
Expected  digits, nats of a test image, means over three seeds with 95 % t intervals: one quadrant seen 16.78 (16.66 to
          16.90), with --prior standard 17.07 (16.99 to 17.16), with --prior flow 16.77 (16.75 to 16.79); two 11.13
          (11.10 to 11.17); three 5.56 (5.48 to 5.63); the label 20.03 (19.92 to 20.13), where
          experiments.vae needs 22.5 without it.
Time      a few minutes for three seeds, on cores that were shared by ten
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

from vae_jax.config import Range, RunFlags
from vae_jax.experiment import Experiment

VERSION = 1


class Hyper(NamedTuple):
    lr: Annotated[float, Range(above=0)] = 1e-3
    """learning rate"""
    beta: Annotated[float, Range(0)] = 1.0
    """weight of the rate"""


@dataclass(frozen=True)
class Config:
    """Train a conditional VAE, and tell -log p(x|c) of the test split."""

    dataset: str = 'digits'
    see: Literal['one', 'two', 'three', 'label'] = 'one'
    """quadrants: lower left, upper left, upper right, in this order; or the label alone"""
    prior: Literal['standard', 'learned', 'flow'] = 'learned'
    """p(z|c): N(0, I); a Gaussian that a network makes of c; that one pushed through four couplings"""
    latent: Annotated[int, Range(2)] = 16
    hidden: tuple[Annotated[int, Range(1)], ...] = (256,)
    batch_size: Annotated[int, Range(1)] = 128
    steps: Annotated[int, Range(0)] = 2000
    test_k: Annotated[int, Range(1)] = 200
    """importance samples an image for the final -log p(x|c)"""
    hyper: Hyper = Hyper()
    run: RunFlags = RunFlags()


def quadrants(see: str, shape: Any) -> Any:
    """Which pixels [h, w, 1] are seen."""
    import numpy as np

    mask, (h, w) = np.zeros(shape, bool), (shape[0] // 2, shape[1] // 2)
    places = [(slice(h, None), slice(w)), (slice(h), slice(w)), (slice(h), slice(w, None))]
    for place in places[: {'one': 1, 'two': 2, 'three': 3}[see]]:
        mask[place] = True
    return mask


def model_of(config: Config, data: Any) -> Any:
    """p(x|z, c) p(z|c) and q(z|x, c), c as the configuration says."""
    import vae_jax as vj
    from vae_jax import flows
    from vae_jax.models import conditional
    from vae_jax.models.flows import flow_prior

    classes = int(data.train.rows['label'].max()) + 1 if 'label' in data.train.rows else 0
    quadrant = config.see != 'label'
    of = (
        conditional.on_entries(quadrants(config.see, data.example.shape)) if quadrant else conditional.on_label(classes)
    )
    row = {name: column[0] for name, column in data.train.rows.items()} | {'x': data.example}
    network = None if config.prior == 'standard' else vj.mlp_encoder(config.hidden)
    model = conditional.cvae(
        vj.mlp_encoder(config.hidden),
        vj.mlp_decoder(config.hidden[::-1]),
        network,
        of=of,
        like=of(row),
        latent=config.latent,
    )
    if config.prior != 'flow':
        return model
    flow = flows.stacked(flows.affine_coupling(), 4)
    return conditional.conditional_map(model, lambda given: flow_prior(given, flow))


def build(config: Config) -> Experiment:
    """The experiment of a configuration."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    import vae_jax as vj
    from experiments import common
    from vae_jax import bounds, evaluation, losses, report
    from vae_jax.models import conditional

    data = common.data_of(config.dataset, config.run)
    model = model_of(config, data)
    kl = bounds.monte_carlo if config.prior == 'flow' else bounds.closed_form
    objective = conditional.given(model, lambda given: losses.beta_elbo(given, kl))
    validate = common.validator(model, data, kl)
    k = min(config.test_k, 20) if config.run.smoke else config.test_k

    def evaluate(params: Any, key: Any, quiet: bool) -> Any:
        elbo_key, nll_key = jax.random.split(key)
        bound = vj.elbo_estimate(model, params, data.test, elbo_key, kl=kl)
        nll = vj.nll(model, params, data.test, nll_key, k=k, quiet=quiet)
        found = {'elbo': bound.elbo, 'rate': bound.rate, 'nll': nll.estimate}
        means = {f'test_{name}': estimate.mean for name, estimate in found.items()}
        errors = {f'test_{name}_se': estimate.se for name, estimate in found.items()}
        examples = {'index': np.arange(len(data.test)), **{name: one.values for name, one in found.items()}}
        return {**means, **errors, 'k': k, 'dims': nll.estimate.dims}, examples

    def figures(directory: Any, params: Any, key: Any, metrics: Any, result: Any, told: Any) -> Any:
        xs = evaluation.view_rows(data.test, key, np.arange(min(16, len(data.test))))

        def completed(x: Any, label: Any, key: Any) -> Any:
            rest, c = model.of({'x': x, 'label': label})
            given = model.given(c)
            mean = given.decode(params, given.prior(params).sample(key)).mean
            if config.see == 'label':
                return mean
            seen = np.flatnonzero(quadrants(config.see, x.shape))
            unseen = np.flatnonzero(~quadrants(config.see, x.shape))
            return jnp.zeros(x.size).at[seen].set(c).at[unseen].set(mean).reshape(x.shape)

        labels = data.test.rows.get('label', jnp.zeros(len(data.test), int))[: len(xs)]
        drawn = jax.vmap(completed)(xs, labels, jax.random.split(key, len(xs)))
        return report.run_report(
            directory,
            title=f'CVAE on {data.name}, given {config.see}',
            result=result,
            metrics=metrics,
            arrays={'x': np.asarray(xs), 'reconstructions': np.asarray(drawn)},
            config=told,
            command=common.command('experiments.cvae', config),
            notes=['Beside each image: what is seen of it and the mean of the rest, at one z of p(z|c).'],
        )

    return Experiment(
        trainer=vj.trainer(
            model.init,
            losses.per_example(objective, of=losses.row_of),
            lambda hyper: optax.adam(hyper.lr),
            example=conditional.example_of(model),
        ),
        data=data,
        hyper=config.hyper,
        model=model,
        batch=min(config.batch_size, len(data.train)),
        steps=min(config.steps, 20) if config.run.smoke else config.steps,
        fit={'validate': validate, 'validate_some': validate},
        evaluate=evaluate,
        figures=figures,
        summary=lambda result: '\n'.join(
            f'{name:9} {result[f"test_{name}"]:9.3f} +- {result[f"test_{name}_se"]:.3f} nats of {result["dims"]} pixels'
            for name in ('elbo', 'rate', 'nll')
        ),
    )


if __name__ == '__main__':
    from vae_jax import cli

    cli.main(Config, build, name='cvae', version=VERSION, metric=('test_nll', 'min'))

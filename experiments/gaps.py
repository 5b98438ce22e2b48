"""What inference loses: the gap of the family and the gap of the encoder, for two encoders and two families.

Claim     On images that were not trained on, most of what the bound lacks is lost by the encoder and not by the family
          of q, for two encoders, two families and two datasets (after Cremer, Li & Duvenaud 2018, at reduced size).
          Flows have the smaller gap of approximation in three of four pairs, a larger encoder the smaller one of
          amortization in three of four: on fashion_mnist neither holds of flows behind the smaller encoder.
Command   python -m experiments.gaps --data-dir DIR        (all eight models; stores experiments/results/gaps.json)
Expected  approximation / amortization in nats, 100 test images, one seed; diagonal, encoder 32 and 300-300, then flows:
          binarized_mnist 1.64 / 6.56, 2.42 / 4.84; 0.68 / 7.38, 0.63 / 6.00; standard errors 0.01 to 0.04 / 0.13 to
          0.38; fashion_mnist 1.05 / 3.57, 1.48 / 2.81; 1.09 / 2.55, 0.85 / 2.96. For models that learned with flows
          a diagonal q* is 4 to 11 nats worse than one with flows.
Time      15 minutes on one core that others were using too
"""

import argparse
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from experiments import common, documents
from vae_jax.config import Range, RunFlags
from vae_jax.experiment import Experiment

VERSION = 1
DATASETS, ENCODERS = ('binarized_mnist', 'fashion_mnist'), ((32,), (300, 300))
POSTERIORS: tuple[Literal['diagonal', 'flows'], ...] = ('diagonal', 'flows')
SHOWN = ('log_p', 'best_flows', 'best_diagonal', 'elbo', 'approximation', 'amortization', 'inference')


class Hyper(NamedTuple):
    lr: Annotated[float, Range(above=0)] = 1e-3
    """learning rate"""


@dataclass(frozen=True)
class Config:
    """Train a VAE, and tell what its q(z|x) loses on some test images."""

    dataset: str = 'binarized_mnist'
    encoder: tuple[Annotated[int, Range(1)], ...] = (32,)
    posterior: Literal['diagonal', 'flows'] = 'diagonal'
    """a Gaussian, or one that is pushed through four affine couplings"""
    decoder: tuple[Annotated[int, Range(1)], ...] = (200,)
    latent: Annotated[int, Range(1)] = 20
    batch_size: Annotated[int, Range(1)] = 128
    steps: Annotated[int, Range(0)] = 6000
    images: Annotated[int, Range(2)] = 100
    """of the test split, whose posteriors are refined by `refinement` steps"""
    refinement: Annotated[int, Range(0)] = 1000
    k: Annotated[int, Range(1)] = 5000
    """importance samples of the refined flow for log p(x)"""
    hyper: Hyper = Hyper()
    run: RunFlags = RunFlags()


def build(config: Config) -> Experiment:
    """The experiment of a configuration."""
    import jax
    import numpy as np
    import optax

    import vae_jax as vj
    from vae_jax import bounds, flows, models
    from vae_jax.evaluation.gaps import inference_gaps
    from vae_jax.evaluation.refined import diagonal, flowed
    from vae_jax.evaluation.streaming import some

    smoke = config.run.smoke
    data = common.data_of(config.dataset, config.run)
    flow = flows.stacked(flows.affine_coupling(), 4)
    family, around = {
        'diagonal': (vj.Normal, lambda model: model),
        'flows': (models.contextual(vj.Normal), lambda model: models.flow_posterior(model, flow)),
    }[config.posterior]
    networks = vj.mlp_encoder(config.encoder), vj.mlp_decoder(config.decoder)
    model = around(vj.vae(*networks, latent=config.latent, like=data.example, posterior=family))
    kl = common.kl_of(model, data.example)
    images, work, k = (4, 3, 50) if smoke else (config.images, config.refinement, config.k)

    def evaluate(params: Any, key: Any, quiet: bool) -> common.Told:
        bound_key, flow_key, diagonal_key = jax.random.split(key, 3)
        bound = vj.elbo_estimate(model, params, data.test, bound_key, kl=kl)
        few = some(data.test, images)
        asked: dict[str, Any] = {'steps': work, 'k': k, 'quiet': quiet}
        by_flow = inference_gaps(model, params, few, flow_key, family=flowed(flow), lr=0.005, **asked)
        weighed = lambda *_: by_flow.log_p.values  # both families are held against one log p(x)
        by_diagonal = inference_gaps(model, params, few, diagonal_key, family=diagonal(), log_p=weighed, **asked)
        own = {'diagonal': by_diagonal, 'flows': by_flow}[config.posterior]
        told = {'log_p': own.log_p, 'best_flows': by_flow.refined, 'best_diagonal': by_diagonal.refined}
        told |= {name: getattr(own, name) for name in SHOWN[3:]}
        result = {'images': images, 'k': k}
        for name, found in (('test_elbo', bound.elbo), *told.items()):
            result |= {name: found.mean, f'{name}_se': found.se}
        return result, {'index': np.arange(images)} | {name: found.values for name, found in told.items()}

    return Experiment(
        trainer=vj.trainer(
            model.init,
            vj.per_example(vj.negative(bounds.elbo, model, kl=kl)),
            lambda hyper: optax.adam(hyper.lr),
        ),
        data=data,
        hyper=config.hyper,
        model=model,
        batch=min(config.batch_size, len(data.train)),
        steps=min(config.steps, 20) if smoke else config.steps,
        fit={},
        evaluate=evaluate,
        figures=common.reporter(model, data, 'python -m experiments.gaps'),
        summary=lambda result: ', '.join(f'{name} {result[name]:.2f} +- {result[f"{name}_se"]:.2f}' for name in SHOWN),
    )


def table(stored: dict[str, Any]) -> str:
    """The stored values as Markdown: a row a model, gaps of its own family, paired over images."""
    columns = [
        'data',
        'encoder',
        'posterior',
        'log p(x)',
        'ELBO[q*], flows',
        'ELBO[q*], diagonal',
        'ELBO[q]',
        *SHOWN[4:],
    ]
    lines = []
    for row in stored['rows']:
        cells = [row['dataset'], '-'.join(map(str, row['encoder'])), row['posterior']]
        cells += [f'{row[name]:.2f} +- {row[f"{name}_se"]:.2f}' for name in SHOWN]
        lines.append(cells)
    images, k = stored['rows'][0]['images'], stored['rows'][0]['k']
    return documents.markdown(columns, lines) + (
        f'\n\nNats, mean +- standard error over the first {images} test images; of a gap that of the differences image '
        f'by image. log p(x): {k:,} importance samples of the refined flow. Approximation and amortization are those '
        f"of the model's own family. One seed, reduced size: {stored['protocol']}"
    )


def store(results: list[tuple[Config, dict[str, Any]]], path: Path) -> Path:
    """Writes what the runs found, with command, date and device."""
    from experiments.studies import training_seconds

    first = results[0][0]
    rows = [
        {'dataset': config.dataset, 'encoder': list(config.encoder), 'posterior': config.posterior}
        | {name: value for name, value in result.items() if isinstance(value, int | float)}
        for config, result in results
    ]
    protocol = (
        f'{first.latent} latents, decoder {"-".join(map(str, first.decoder))}, {first.steps:,} steps of '
        f'{first.batch_size}, q* by {first.refinement:,} steps of Adam; fashion_mnist is binarized by chance, anew for '
        'each batch and once for the test.'
    )
    document = documents.made_by(
        'python -m experiments.gaps',
        training_s=round(sum(training_seconds(Path(result['path'])) for _, result in results)),
        protocol=protocol,
        rows=rows,
    )
    return documents.store(path, document)


def main() -> int:
    from vae_jax import cli, process
    from vae_jax.errors import Fault

    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--data-dir', help='prepared datasets')
    parser.add_argument('--out', type=Path, default=Path('runs') / 'gaps', help='where its run directories go')
    parser.add_argument('--smoke', action='store_true', help='in seconds, and nothing is stored')
    given = parser.parse_args()
    try:
        process.start_jax()
        results = []
        for dataset, encoder, posterior in itertools.product(DATASETS, ENCODERS, POSTERIORS):
            folder = given.out / f'{dataset}-{"-".join(map(str, encoder))}-{posterior}'
            flags = RunFlags(smoke=given.smoke, quiet=True, out=str(folder), data_dir=given.data_dir)
            config = Config(dataset=dataset, encoder=encoder, posterior=posterior, run=flags)
            results.append((config, cli.run(config, build, name='gaps', version=VERSION)))
        out = given.out / 'gaps.json' if given.smoke else Path(__file__).parent / 'results' / 'gaps.json'
        print(table(json.loads(store(results, out).read_text())))
    except Fault as fault:
        process.tell(f'error: {fault}')
        return fault.code
    return 0


if __name__ == '__main__':
    raise SystemExit(main())

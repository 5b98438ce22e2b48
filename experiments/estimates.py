"""One model, many numbers: -ELBO, importance sampling, annealing with its sandwich, and their cost.

Claim     On MNIST with the networks of Burda et al. (2015) 5,000 importance samples still overestimate -log p(x), by
          0.7 to 0.9 nats. AIS from q(z|x) is lower, with 0.0 to 0.1 nats between its bounds on simulated data (whose
          -log p(x) is 103 to 111: they are harder than digits); AIS from the prior has not come as far, with more
          temperatures. One seed each.
Command   python -m experiments.estimates RUN [RUN ...] --images 200
          RUN is the directory of a run, or SWEEP:NUMBER of one run of a sweep (here 784-200-200-50 tanh, static
          binarization, batch 100, 50 epochs, IWAE's objective with k = 1, 5, 50)
Expected  experiments/results/estimates.json; 200 test images, k = 1, 5, 50: -ELBO 97.88, 98.58, 102.72; IS-100 93.60,
          91.96, 91.89; IS-5,000 92.90, 90.97, 90.36; AIS from q 92.21, 90.24, 89.49, its gap on simulated data
          0.05 +- 0.05, -0.01 +- 0.05, 0.10 +- 0.06; AIS from the prior 92.49, 90.57, 89.75 (0.49 +- 0.13, 0.69 +- 0.15,
          0.80 +- 0.16)
Time      20 minutes on one core that others were using too; device: CPU
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from experiments import documents

HERE = Path(__file__).parent
OUT = HERE / 'results' / 'estimates.json'
SHOWN = ('k', 'objective', 'dataset', 'seed')


def peak(reset: bool = False) -> float | None:
    """MiB of memory that this process held at the most since the last reset (Linux: VmHWM), else None."""
    try:
        if reset:
            Path('/proc/self/clear_refs').write_text('5')
        lines = Path('/proc/self/status').read_text().splitlines()
    except OSError:
        return None
    return next(float(line.split()[1]) / 2**10 for line in lines if line.startswith('VmHWM'))


def measured(name: str, f: Callable[[], Any]) -> dict[str, Any]:
    """What f gives, with its seconds, compilation included, and the peak of memory while it ran."""
    before, started = peak(reset=True), time.monotonic()
    found = {'estimate': name, **f()}
    found |= {'seconds': time.monotonic() - started, 'before_mib': before, 'peak_mib': peak()}
    print(json.dumps({key: value for key, value in found.items() if key != 'values'}), flush=True)
    return found


def estimates_of(run: Any, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Every estimate of -log p(x) of the first `images` test images, in the order of their cost."""
    import jax
    import numpy as np

    import vae_jax as vj
    from vae_jax import bounds
    from vae_jax.evaluation import annealing, bidirectional, chains, streaming

    split = streaming.some(run.experiment.data.test, min(args.images, len(run.experiment.data.test)))
    simulated = streaming.some(split, min(args.simulated, len(split)))
    what = run.model, run.params
    kl = bounds.monte_carlo

    def told(estimate: Any, sign: int = 1, **more: Any) -> dict[str, Any]:
        return {'mean': sign * estimate.mean, 'se': estimate.se, 'values': (sign * estimate.values).tolist(), **more}

    def elbo() -> dict[str, Any]:
        return told(vj.elbo_estimate(*what, split, jax.random.key(0), samples=100, kl=kl, kept=args.kept).elbo, -1)

    def sampled(k: int) -> dict[str, Any]:
        found = vj.nll(*what, split, jax.random.key(1), k=k, quiet=args.quiet, kept=args.kept)
        return told(found.estimate, k=k, effective=float(np.median(found.effective)))

    def annealed(start: Any, steps: int) -> list[dict[str, Any]]:
        name = {chains.from_prior: 'the prior', chains.from_posterior: 'q'}[start]
        how: dict[str, Any] = {'chains': args.chains, 'steps': steps, 'start': start, 'quiet': args.quiet}
        how |= {'kept': args.kept}

        def real() -> dict[str, Any]:
            found = annealing.anneal(*what, split, jax.random.key(2), **how)
            more: dict[str, Any] = {'steps': steps, 'effective': float(np.median(found.effective))}
            return told(found.estimate, **more, acceptance=float(np.mean(found.acceptance)))

        def sandwich() -> dict[str, Any]:
            found = bidirectional.sandwich(*what, simulated, jax.random.key(3), **how)
            bounds_ = {'below': found.forward.mean, 'above': found.reverse.mean, 'simulated': len(simulated)}
            return told(found.gap, **bounds_, steps=steps, acceptance=float(np.mean(found.acceptance)))

        return [measured(f'AIS from {name}', real), measured(f'sandwich from {name}', sandwich)]

    return [
        measured('-ELBO', elbo),
        *[measured(f'IS-{k:,}', partial(sampled, k)) for k in args.k],
        *annealed(chains.from_posterior, args.steps),
        *annealed(chains.from_prior, args.prior_steps),
    ]


def loaded(name: str) -> Any:
    """The run that a word of the command line names."""
    import vae_jax as vj

    folder, _, number = name.rpartition(':')
    return vj.load(folder, run=int(number)) if folder and number.isdigit() else vj.load(name)


def smoke(out: Path) -> Any:
    """A run of the general experiment on digits, some steps long."""
    import vae_jax as vj
    from experiments import vae
    from vae_jax import cli, flags

    argv = ['--smoke', '--quiet', '--out', str(out)]
    config: Any = flags.parse(vae.Config, argv, 'estimates', '')
    return vj.load(cli.run(config, vae.build, name='vae', version=vae.VERSION)['path'])


def store(args: argparse.Namespace) -> dict[str, Any]:
    """Every estimate of every run, beside what they are of."""

    found = []
    for name in args.runs:
        run = loaded(name)
        config = {**vars(run.config), 'seed': run.config.run.seed}
        print(f'{name}: {", ".join(f"{key} {config[key]}" for key in SHOWN if key in config)}', flush=True)
        described = {key: config[key] for key in (*SHOWN, 'latent', 'hidden', 'epochs') if key in config}
        found.append({'run': described, 'estimates': estimates_of(run, args)})
    names = [Path(name).name for name in args.runs]
    return documents.made_by(
        shlex.join(['python', '-m', 'experiments.estimates', *names, '--images', str(args.images)]),
        settings={name: getattr(args, name) for name in ('images', 'simulated', 'chains', 'steps', 'prior_steps')},
        runs=found,
    )


def table(stored: dict[str, Any]) -> str:
    """Markdown: a block of rows for each run, -log p(x) +- its standard error over images, time and memory."""
    settings = stored['settings']
    lines = [
        f'`{stored["command"]}`, {stored["date"]}, {stored["machine"]}. -log p(x) of the first {settings["images"]} '
        f'test images, nats, +- standard error over images; `less` is the mean difference to the row above with its '
        f'own standard error. AIS has {settings["chains"]} chains of 10 leapfrog steps, its transitions tuned by two '
        f'more; the gap is that of both bounds on {settings["simulated"]} images that the model drew. Effective: of '
        'samples or chains, in the median. Seconds include compilation; memory is the most that the process held '
        'during the call (Linux, VmHWM, reset before each), of which the libraries, the data and what was compiled '
        'before are the number in brackets.',
        '',
    ]
    for one in stored['runs']:
        rows, before = {row['estimate']: row for row in one['estimates']}, None
        title = ', '.join(f'{name} {one["run"][name]}' for name in SHOWN if name in one['run'])
        heads = '| estimate | -log p(x) | less | effective | acceptance | gap, simulated | seconds | MiB |'
        lines += [f'**{title}**', '', heads, '|---' * 8 + '|']
        for name, row in rows.items():
            if name.startswith('sandwich'):
                continue
            other = rows.get(name.replace('AIS', 'sandwich')) if name.startswith('AIS') else None
            cells = [
                f'{name}, {row["steps"]} temperatures' if 'steps' in row else name,
                f'{row["mean"]:.2f} +- {row["se"]:.2f}',
                _less(before, row),
                f'{row["effective"]:.1f}' if 'effective' in row else '-',
                f'{row["acceptance"]:.2f}' if 'acceptance' in row else '-',
                f'{other["mean"]:.3f} +- {other["se"]:.3f}' if other else '-',
                f'{row["seconds"]:.0f}' + (f' + {other["seconds"]:.0f}' if other else ''),
                f'{row["peak_mib"]:.0f} ({row["before_mib"]:.0f})' if row['peak_mib'] else '-',
            ]
            lines.append(f'| {" | ".join(cells)} |')
            before = row
        lines.append('')
    return '\n'.join(lines).rstrip() + '\n'


def _less(before: dict[str, Any] | None, row: dict[str, Any]) -> str:
    import numpy as np

    if before is None:
        return '-'
    gap = np.subtract(before['values'], row['values'])
    return f'{gap.mean():.2f} +- {gap.std(ddof=1) / np.sqrt(len(gap)):.2f}'


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m experiments.estimates', description=__doc__)
    parser.add_argument('runs', nargs='*', help='directories of finished runs, or SWEEP:NUMBER')
    parser.add_argument('--images', type=int, default=200)
    parser.add_argument('--simulated', type=int, default=60, help='images of the sandwich')
    parser.add_argument('--k', type=int, nargs='+', default=[100, 5000])
    parser.add_argument('--chains', type=int, default=16)
    parser.add_argument('--steps', type=int, default=200, help='temperatures from q(z|x)')
    parser.add_argument('--prior-steps', type=int, default=300, help='temperatures from the prior')
    parser.add_argument('--kept', help='folder of what is done: the same command goes on behind it')
    parser.add_argument('--out', type=Path, default=OUT)
    parser.add_argument('--smoke', action='store_true', help='a run of its own, some images and temperatures')
    parser.add_argument('--quiet', action='store_true')
    args = parser.parse_args(argv)
    if args.smoke:
        args.images, args.simulated, args.steps, args.prior_steps, args.chains = 6, 4, 5, 5, 3
        args.k, args.runs, args.quiet = [5, 20], [str(smoke(args.out.parent / 'run').path)], True
    if not args.runs:
        parser.error('name a finished run')
    from vae_jax.files import write_json

    args.out.parent.mkdir(parents=True, exist_ok=True)
    stored = store(args)
    write_json(args.out, stored)
    print(table(stored))
    return 0


if __name__ == '__main__':
    sys.exit(main())

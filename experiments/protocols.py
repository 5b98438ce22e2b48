"""Published protocols as flags of experiments.vae, their results, and the table of them all in experiments/README.md.

Claim     Each protocol below gives the number its row expects; the table is written from committed results only.
Command   python -m experiments.protocols digits            (runs one, stores experiments/results/digits.json)
          python -m experiments.protocols                   (writes experiments/README.md from the stored results)
Expected  see the `expected` of each protocol
Time      see the table; device: two CPU cores
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments import (
    aevb_figure2,
    aevb_figure3,
    continuous_bernoulli,
    disentangled,
    documents,
    estimates,
    gaps,
    linear_vae,
    quadrants,
    snr,
    studies,
    targets,
    two_stage,
    usefulness,
)
from experiments.tour import page

HERE = Path(__file__).parent


class Protocol(NamedTuple):
    """What is run, and what was expected of it before it was run."""

    flags: str  # of python -m experiments.vae
    expected: str
    source: str
    seeds: int = 1


PROTOCOLS = {
    'digits': Protocol(
        '',
        'a test -log p(x) below its -ELBO; no published number',
        'what `make demo` runs: 8x8 digits of scikit-learn, 1,297 / 200 / 300, dynamic binarization',
        seeds=5,
    ),
    'static_mnist': Protocol(
        '--dataset binarized_mnist --hidden 500 --latent 20 --epochs 10 --select last --test-k 200',
        '-ELBO 103.3 +- 0.5 (flax’s own example: 103.1 to 103.6 over five seeds)',
        'the VAE example of flax: 784-500-20 relu, batch 128, Adam 1e-3, static binarization, 10 epochs',
        seeds=5,
    ),
    'iwae_network_k1': Protocol(
        '--dataset mnist --validation 0 --hidden 200 200 --activation tanh --latent 50 --batch-size 20 '
        '--epochs 100 --schedule cosine --output-bias data --select last',
        '-log p(x) 86.76 after 3,280 epochs; at 100 epochs -ELBO 94.6 or below, -log p(x) near 89.6',
        'Burda et al. 2015: one layer, k = 1, batch 20, dynamic binarization, all 60,000 training images; 100 epochs',
    ),
}


INTRODUCTION = """# Results

Written by `python -m experiments.protocols` from `experiments/results/`; nothing is typed in. Values are in nats an
image on the test split: mean over seeds +- its standard error; where there is one seed, marked *, +- the standard error
over test images. -log p(x) is an importance-sampled bound with the number of samples named. Time is that of training /
with evaluation and report, a seed, in seconds.

"""

EVALUATIONS = {
    'estimates': (estimates.table, 'Estimators of -log p(x), side by side'),
    'gaps': (gaps.table, 'Where the ELBO is lost'),
    'usefulness': (usefulness.table, 'What codes and samples are good for'),
    'disentanglement': (disentangled.table, 'Disentanglement on sprites'),
}

PAPERS = {
    'aevb_figure2': (aevb_figure2.table, 'AEVB beside wake-sleep (Kingma & Welling 2013, figure 2)'),
    'aevb_figure3': (aevb_figure3.table, 'AEVB, wake-sleep and Monte Carlo EM (Kingma & Welling 2013, figure 3)'),
    'snr': (snr.table, 'Tighter bounds and the signal in their gradients (Rainforth et al. 2018)'),
    'linear_vae': (linear_vae.table, 'Posterior collapse in the linear VAE (Lucas et al. 2019)'),
    'two_stage': (two_stage.table, 'A second model for the codes (Dai & Wipf 2019)'),
    'continuous_bernoulli': (continuous_bernoulli.table, 'Continuous Bernoulli (Loaiza-Ganem & Cunningham 2019)'),
    'quadrants': (quadrants.table, 'Quadrants from quadrants (Sohn, Lee & Yan 2015)'),
}

PICTURES = {  # of papers: drawn into docs/papers/, and what is seen there
    'aevb_figure2': (aevb_figure2.picture, 'Bounds that rise with the samples seen, a panel for each dataset'),
    'aevb_figure3': (aevb_figure3.picture, 'log p(x) that rises with the samples seen, a panel for each training set'),
    'snr': (snr.picture, "Straight lines against log K: all rise but that of IWAE's encoder, which falls"),
}


STUDIES = """## Studies

Sweeps over seeds, stored by `python -m experiments.studies NAME RUN ...`. Values are means over seeds +- half of their
95 % t interval, rows ordered by the first metric; the last column is the difference to the first row, paired by seed,
with its 95 % interval, which is for one comparison. p is that of the paired t test, corrected by Holm's method for all
pairs of rows: above 0.05 the row cannot be told from the first. Without p nothing was corrected.
"""


def run(name: str, data_dir: str | None, out: Path) -> None:
    """Trains and evaluates every seed of a protocol and stores its results in experiments/results/<name>.json."""
    from experiments import vae
    from vae_jax import cli, flags, runs
    from vae_jax.errors import Fault

    protocol, rows = PROTOCOLS[name], []
    for seed in range(protocol.seeds):
        argv = [*protocol.flags.split(), '--seed', str(seed), '--out', str(out / f'{name}-s{seed}'), '--quiet']
        config: Any = flags.parse(vae.Config, argv + (['--data-dir', data_dir] if data_dir else []), 'protocols', '')
        if (out / f'{name}-s{seed}' / 'result.json').exists():
            raise Fault(
                f'{out / f"{name}-s{seed}"} is finished: its time cannot be measured again', 'give another --out'
            )
        started = time.monotonic()
        result = cli.run(config, vae.build, name='vae', version=vae.VERSION)
        trained = [
            row['wall_s'] for row in runs.read_metrics(Path(result['path']) / 'metrics.jsonl') if 'wall_s' in row
        ]
        kept = {k: v for k, v in result.items() if k not in ('path', 'units')}
        rows.append({'seed': seed, **kept, 'training_s': trained[-1], 'total_s': round(time.monotonic() - started, 1)})
        print(json.dumps(rows[-1]), flush=True)
    document = documents.made_by(f'python -m experiments.protocols {name}', results=rows)
    documents.store(HERE / 'results' / f'{name}.json', document)


def _cell(rows: list[dict[str, Any]], metric: str, sign: int) -> str:
    """Mean over seeds +- its standard error; of one seed, the standard error over test examples, marked *."""
    values = [sign * row[metric] for row in rows]
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f'{mean:.2f} +- {rows[0][metric + "_se"]:.2f}*'
    error = (sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values)) ** 0.5
    return f'{mean:.2f} +- {error:.2f}'


def stored_sections(head: str, tables: Mapping[str, tuple[Callable[[dict[str, Any]], str], str]]) -> list[str]:
    """A headed section for each stored result that has a table of its own."""
    told = [head]
    for name, (table_of, title) in tables.items():
        path = HERE / 'results' / f'{name}.json'
        if not path.exists():
            told.append(f'### {title}\n\nNot run.')
            continue
        stored = json.loads(path.read_text())
        made = f'`{stored["command"]}`, {stored["machine"]}, {stored["date"]}.'
        drawn = f'\n\n![{PICTURES[name][1]}](../docs/papers/{name}.png)' if name in PICTURES else ''
        told.append(f'### {title}\n\n{made}\n\n{table_of(stored).strip()}{drawn}')
    return told


def draw() -> None:
    """docs/papers/*.png, from the stored results."""
    from vae_jax.plot import canvas

    for name, (picture, _) in PICTURES.items():
        path = HERE / 'results' / f'{name}.json'
        if path.exists():
            canvas.put(
                HERE.parent / 'docs' / 'papers' / f'{name}.png', picture(json.loads(path.read_text()), canvas.LIGHT)
            )


def table() -> str:
    """experiments/README.md, from the stored results."""

    columns = ['protocol', 'expected', '-ELBO', '-log p(x)', 'samples', 'seeds', 'time, s', 'machine, date']
    lines = []
    details = []
    for name, protocol in PROTOCOLS.items():
        path = HERE / 'results' / f'{name}.json'
        if not path.exists():
            lines.append([name, protocol.expected, *['not run'] * (len(columns) - 2)])
            continue
        stored = json.loads(path.read_text())
        rows = stored['results']
        seconds = [sum(row[k] for row in rows) / len(rows) for k in ('training_s', 'total_s')]
        cells = [name, protocol.expected, _cell(rows, 'test_elbo', -1), _cell(rows, 'test_nll', 1), f'{rows[0]["k"]:,}']
        cells += [str(len(rows)), f'{seconds[0]:.0f} / {seconds[1]:.0f}', f'{stored["machine"]}, {stored["date"]}']
        lines.append(cells)
        versions = ', '.join(f'{package} {version}' for package, version in stored['versions'].items())
        command = f'python -m experiments.vae {protocol.flags}'.strip()
        details.append(
            f'**{name}**: {protocol.source}. `{command}`' + f', or all its seeds: `{stored["command"]}`. {versions}.'
        )
    told = [INTRODUCTION.strip(), documents.markdown(columns, lines), *details, STUDIES.strip(), *studies.sections()]
    told += stored_sections(f'## Papers\n\n{targets.table()}', PAPERS)
    told += stored_sections(
        '## Evaluations\n\nWhat each number is: [docs/evaluation.md](../docs/evaluation.md).', EVALUATIONS
    )
    told.append(f'## Tour\n\n{page.table()}')
    return '\n\n'.join(told) + '\n'


def main() -> int:
    from vae_jax import process
    from vae_jax.errors import Fault

    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('name', nargs='?', choices=sorted(PROTOCOLS), help='protocol to run; none: write the table')
    parser.add_argument('--data-dir', help='prepared datasets')
    parser.add_argument('--out', type=Path, default=Path('runs') / 'protocols', help='where its run directories go')
    given = parser.parse_args()
    if given.name is None:
        (HERE / 'README.md').write_text(table())
        draw()
        return 0
    try:
        process.start_jax()
        run(given.name, given.data_dir, given.out)
    except Fault as fault:
        process.tell(f'error: {fault}')
        return fault.code
    return 0


if __name__ == '__main__':
    raise SystemExit(main())

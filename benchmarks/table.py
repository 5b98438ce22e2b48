"""Results -> markdown. `python -m benchmarks.table` writes README.md anew from results/cpu.json."""

import json
import statistics
from pathlib import Path

from benchmarks import evaluation, populations

HERE = Path(__file__).parent
# what was promised: (section, peer, its seconds over ours)
PROMISED = (
    ('mlp_100', 'torch_fresh', 1.9),
    ('mlp_100', 'torch_fresh_flush', 1.9),
    ('mlp_128', 'torch_fresh', 1.7),
    ('mlp_128', 'torch_fresh_flush', 1.7),
    ('mlp_512', 'torch_fresh', 1.3),
    ('mlp_512', 'torch_fresh_flush', 1.3),
    ('mlp_100', 'pythae', 2.8),
    ('mlp_128', 'pythae', 2.3),
    ('mlp_512', 'pythae', 1.5),
    ('mlp_128', 'flax', 1.25),
    ('conv_128', 'torch_conv', 0.9),
)
QUIET = 0.05  # the share of the cores that others may take before a ratio says nothing
LABELS = {
    'ours': 'vae_jax, `trainer.step`',
    'script': 'JAX script, plain formulas',
    'script_fast': 'JAX script, our likelihood',
}
FAIRNESS = """\
Each contestant is a process of its own, held to the same two cores, and they run in turn, one epoch each, so that a
slow minute hits all of them; who waits, sleeps. Every epoch is whole (60,000 uint8 images of 28 x 28, uniform random)
and ends when its last number is there. Figures are medians of seconds an epoch, with (min-max), after one warm-up
epoch; a ratio is the contestant's median over ours: above 1, ours is faster. `threads` is CPU time over wall time,
`others` the share of the two cores that anything else took meanwhile: above 5 % a ratio is not judged, for two threads
that wait for each other lose far more than that share, PyTorch's most of all. -ELBO is that of the last epoch, ours
that of the first.

PyTorch has `OMP_PROC_BIND=true` and two threads. Its loop is written with care: tensors preloaded, rows by
`index_select` from one permutation an epoch, `torch.rand(...).lt_(p)` (a quarter of the time of `torch.bernoulli`),
fused Adam, no `.item()`; `torch.compile` gained nothing. PyTorch computes with denormal numbers unless told otherwise
(XLA flushes them to zero), and Adam's moments are full of them here: `torch.set_flush_denormal(True)` is worth up to a
third of the epoch, so the loop that we are measured by is shown both ways. The convolutional network is the same in
both: 3x3 convolutions of stride 2, and back by transposed 4x4 ones.

pythae runs as its users run it: BaseTrainer, its dataset and DataLoader, BCE on grey pixels that are never binarized,
timed from its own callback. It needs no torchvision. flax's step is its example's protocol, fed by numpy. The two JAX
scripts are `with_jax.py`: no vmap, no modules; the second uses the two kernels of `vae_jax.kernels`, so its difference
to ours is what the framework costs.
"""


def markdown(results: dict) -> str:
    """The whole README."""
    m, sections = results['machine'], results['sections']
    versions = ', '.join(f'{name} {version}' for name, version in m['versions'].items())
    load = '; '.join(f'{when} {results[f"load_{when}"][0]:.2f}' for when in ('before', 'after'))
    lines = [
        '# What training costs',
        '',
        'Written by `make bench` (`python -m benchmarks.run`) from `results/cpu.json`; edit nothing here.',
        '',
        f'- `{results["command"]}`, {results["date"]}, {results["minutes"]:.1f} minutes',
        f'- {m["cpu"]}; cores {m["cores_used"]} of {m["cores_of_the_machine"]}; load average {load}',
        f'- {m["system"]}, Python {m["python"]}, {versions}',
        *_gemm(sections),
        *_apart(sections),
        '',
        *(['**A smoke run on small data: its figures mean nothing.**', ''] if results['quick'] else []),
        FAIRNESS,
        *([] if results['quick'] else _promises(sections)),
    ]
    for name, section in sections.items():
        if name.startswith(('mlp', 'conv')):
            lines += _timings(section)
    lines += [*_price(sections), *_quality(sections), *evaluation.markdown(sections, QUIET)]
    lines += populations.markdown(sections, QUIET)
    return '\n'.join(lines).rstrip() + '\n'


def _apart(sections: dict) -> list[str]:
    """Which sections are of another run of the benchmark than the rest."""
    runs: dict[str, tuple[dict, list[str]]] = {}
    for name, section in sections.items():
        if apart := section.get('apart'):
            runs.setdefault(apart['date'], (apart, []))[1].append(name)
    return [
        f'- measured apart: {", ".join(names) if len(names) < 4 else names[0] + " to " + names[-1]}; '
        f'`{run["command"]}`, {date}, {run["minutes"]:.1f} minutes, load average before {run["load_before"][0]:.2f}, '
        f'after {run["load_after"][0]:.2f}'
        for date, (run, names) in runs.items()
    ]


def _gemm(sections: dict) -> list[str]:
    if 'gemm' not in sections:
        return []
    section = sections['gemm']
    work = section['task']['options']['count'] * 2 * 1024**3
    rates = [
        f'{row["label"]} ' + (f'{work / row["median"] / 1e9:.0f} GFLOP/s' if 'median' in row else 'failed')
        for row in section['contestants'].values()
    ]
    return [f'- matrix products of 1024^3 float32 on these two cores: {", ".join(rates)}']


def _ratio(section: dict, peer: str, ours: str = 'ours') -> float | None:
    rows = section['contestants']
    if ours not in rows or 'median' not in rows[ours] or 'median' not in rows.get(peer, {}):
        return None
    return rows[peer]['median'] / rows[ours]['median']


def _quiet(section: dict, peer: str) -> bool:
    """Whether both had the cores to themselves: two threads that wait for each other lose far more than others take."""
    return all(statistics.median(section['contestants'][name]['others']) <= QUIET for name in ('ours', peer))


def _promises(sections: dict) -> list[str]:
    lines = []
    for name, peer, wanted in PROMISED:
        reached = _ratio(sections[name], peer) if name in sections else None
        if reached is not None:
            label, verdict = sections[name]['contestants'][peer]['label'], 'yes' if reached >= wanted else '**no**'
            if not _quiet(sections[name], peer):
                verdict = 'not judged: the cores were not quiet'
            lines.append(f'| {sections[name]["title"]} | {label} | {wanted} | {reached:.2f} | {verdict} |')
    head = ['| network | times faster than | wanted | reached | |', '|---|---|---|---|---|']
    return [*head, *lines, ''] if lines else []


def _timings(section: dict) -> list[str]:
    rows = section['contestants']
    half = 'ours_bfloat16' in rows
    heads = ['contestant', 'seconds an epoch', 'times ours', *(['times bfloat16'] if half else [])]
    heads += ['threads', 'others', '-ELBO, nats', 'parameters']
    lines = [f'## {section["title"]}', '', f'| {" | ".join(heads)} |', '|---' * len(heads) + '|']
    for name, row in rows.items():
        if 'median' not in row:
            lines.append(f'| {row["label"]} | failed: {row.get("failed", "no lap")} |{" |" * (len(heads) - 2)}')
            continue
        ratios = [_ratio(section, name), *([_ratio(section, name, 'ours_bfloat16')] if half else [])]
        shown = [
            row['label'],
            f'**{row["median"]:.2f}** ({row["min"]:.2f}-{row["max"]:.2f})',
            *('-' if ratio is None else f'{ratio:.2f}' for ratio in ratios),
            f'{statistics.median(row["cpu"]):.2f}',
            f'{statistics.median(row["others"]):.0%}',
            f'{row["loss"]:.1f}' if 'loss' in row else '-',
            f'{row["parameters"]:,}' if 'parameters' in row else '-',
        ]
        lines.append(f'| {" | ".join(shown)} |')
    return [*lines, '']


def _price(sections: dict) -> list[str]:
    if 'price' not in sections:
        return []
    row = sections['price']['contestants']['price']
    lines = ["## The framework's price", '']
    if 'failed' in row:
        return [*lines, f'failed: {row["failed"]}', '']
    lines += [
        "What XLA's `cost_analysis()` says of one compiled training step, 784-500-20, batch 128, on binarized images.",
        '',
        '| step | flops | bytes | ours over it: flops | bytes |',
        '|---|---|---|---|---|',
    ]
    for name, label in LABELS.items():
        cost = row[name]
        over = [f'{row["ours"][kind] / cost[kind] - 1:+.2%}' for kind in ('flops', 'bytes')]
        lines.append(f'| {label} | {cost["flops"]:,.0f} | {cost["bytes"]:,.0f} | {" | ".join(over)} |')
    lines.append('')
    timed = [
        f'{section["title"]} {1 / ratio - 1:+.1%}'
        for section in sections.values()
        if (ratio := _ratio(section, 'script_fast')) is not None
    ]
    told = f'In time, ours against the script with the same kernels: {"; ".join(timed)}.'
    return [*lines, *([told, ''] if timed else [])]


def _quality(sections: dict) -> list[str]:
    if 'quality' not in sections:
        return []
    heads = ['kind', 'data', 'epochs', 'test ELBO, nats, one a seed', 'mean']
    lines = ['## What bfloat16 costs in quality', '', f'| {" | ".join(heads)} |', '|---' * len(heads) + '|']
    for row in sections['quality']['contestants'].values():
        if 'elbo' not in row:
            lines.append(f'| {row["label"]} | failed: {row.get("failed")} | | | |')
            continue
        seeds = ', '.join(f'{value:.2f}' for value in row['elbo'])
        mean = statistics.mean(row['elbo'])
        lines.append(f'| {row["label"]} | {row["dataset"]} | {row["epochs"]} | {seeds} | **{mean:.2f}** |')
    return [*lines, '']


if __name__ == '__main__':
    (HERE / 'README.md').write_text(markdown(json.loads((HERE / 'results' / 'cpu.json').read_text())))

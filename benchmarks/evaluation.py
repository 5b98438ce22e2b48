"""Importance sampling of log p(x): what is measured, and its table."""

import statistics

from benchmarks.driver import Contestant, Section

NAME = 'evaluation'
WHOLE = 10_000  # images of MNIST's test split
WANTED = 1.0  # times as fast as PyTorch, at the least
OURS = Contestant('ours', 'vae_jax, `vj.nll` at its defaults', 'with_evaluation', 'nll')
TORCH = Contestant('torch', 'PyTorch, 16 images of 100 samples at a time', 'with_torch_evaluation', 'nll')
CONTESTANTS = (
    OURS,
    TORCH._replace(options={'chunk': 100, 'batch': 16}),
    TORCH._replace(
        name='torch_1000',
        label='PyTorch, 1 image of 1,000 samples at a time',
        options={'chunk': 1000, 'batch': 1},
    ),
)
TEXT = """\
## Importance sampling

-log p(x) with {k:,} samples of each image, 784-500-20, float32, on {rows} binary images of uniform random pixels, and
what {whole:,} images take at that rate. PyTorch is written by hand: inference mode, many decoder rows at a time in the
two shapes that were the fastest of six, sum x logit as one product of matrices so that the logits are passed once and
not three times, `logsumexp`, denormals flushed. Compilation is in the warm-up.
"""


def section(quick: bool) -> Section:
    """The only section of this table."""
    options = {'k': 500 if quick else 5000}
    task = {'rows': 16 if quick else 128, 'batch': 0, 'latent': 20, 'options': options}
    return Section(NAME, 'importance sampling, 784-500-20', task, CONTESTANTS)


def markdown(sections: dict, quiet: float) -> list[str]:
    """The table of a finished section, or nothing."""
    if NAME not in sections:
        return []
    task, rows = sections[NAME]['task'], sections[NAME]['contestants']
    text = TEXT.format(k=task['options']['k'], rows=task['rows'], whole=WHOLE)
    heads = [
        'contestant',
        'seconds a lap',
        f'minutes, {WHOLE:,} images',
        'times ours',
        'memory, MiB',
        'threads',
        'others',
    ]
    lines = [*text.splitlines(), '', f'| {" | ".join(heads)} |', '|---' * len(heads) + '|']
    for row in rows.values():
        if 'median' not in row:
            lines.append(f'| {row["label"]} | failed: {row.get("failed", "no lap")} |{" |" * (len(heads) - 2)}')
            continue
        ratio = f'{row["median"] / rows["ours"]["median"]:.2f}' if 'median' in rows['ours'] else '-'
        shown = [
            row['label'],
            f'**{row["median"]:.2f}** ({row["min"]:.2f}-{row["max"]:.2f})',
            f'{row["median"] * WHOLE / task["rows"] / 60:.1f}',
            ratio,
            f'{row["peak_mib"]:,.0f}',
            f'{statistics.median(row["cpu"]):.2f}',
            f'{statistics.median(row["others"]):.0%}',
        ]
        lines.append(f'| {" | ".join(shown)} |')
    return [*lines, '', *_verdict(rows, quiet)]


def _verdict(rows: dict, quiet: float) -> list[str]:
    peers = [row['median'] for name, row in rows.items() if name != 'ours' and 'median' in row]
    if not peers or 'median' not in rows['ours']:
        return []
    reached = min(peers) / rows['ours']['median']
    loud = any(statistics.median(row['others']) > quiet for row in rows.values() if 'median' in row)
    verdict = 'not judged: the cores were not quiet' if loud else 'yes' if reached >= WANTED else '**no**'
    return [f'Wanted: {WANTED} of the faster PyTorch. Reached: {reached:.2f} ({verdict}).', '']

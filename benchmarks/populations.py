"""Many runs at once against the same runs one after the other: what is measured, and its tables."""

import statistics
from typing import Any, NamedTuple

from benchmarks.driver import Contestant, Section

GROUP = 'populations'
EPOCH = 60_000 // 128  # steps


class Network(NamedTuple):
    """`wanted` times as fast as sequential runs; `steps` are those of all n runs together in one lap, {n: steps}.

    They are so few that `vj.fit` makes one program of them: one that lasts for more than five seconds it would split.
    """

    title: str
    latent: int
    kind: str
    sizes: list
    steps: dict[int, int]
    wanted: float


NETWORKS = {
    'large': Network('784-500-20', 20, 'mlp', [500], {1: 256, 4: 512, 16: 1024, 64: 1280}, 1.25),
    'small': Network('784-200-10', 10, 'mlp', [200], {1: 512, 4: 512, 16: 1024, 64: 2048}, 1.5),
    'conv': Network(
        'convolutions 16-32, dense 128, latent 16', 16, 'conv', [[16, 32], 128], {1: 128, 4: 128, 16: 256, 64: 384}, 1.0
    ),
}
RUNS = (1, 4, 16, 64)
NAMES = [f'{GROUP}_{name}_{n}' for name in NETWORKS for n in RUNS]
NOISE = 0.05  # of a ratio that should be 1

TEXT = """\
## Populations: n runs at once

`vj.fit(vj.population(trainer), ...)` of n runs as users call it, on two host devices, against the same runs one after
the other. In a lap every contestant of a table's n takes the same number of steps, n times `steps each`, of batches of
128 from 16,384 images [28, 28, 1]. Seconds are a lap's over its steps, times 468: an epoch of 60,000 images of one run.
Sequential runs are one run of all those steps in a process that does nothing else, so that they pay neither start nor
compilation again. `start` is the first lap less the median one: tracing, compiling, parameters, memory touched for the
first time. `memory` is the most that the process ever held, with its libraries and the images. Times sequential: above
1, faster than our sequential runs.

PyTorch with stacked matrices is written by hand: each parameter has a leading axis of runs, dense layers are `baddbmm`,
convolutions have a group for each run, one fused Adam steps all of them with one learning rate (in ours each run has
its own). Denormals are flushed in both rows of PyTorch.
"""


def _contestants(network: Network, n: int) -> tuple[Contestant, ...]:
    ours = Contestant('population', 'population: in turn on each of two host devices', 'with_populations', 'fit')
    alone = ours._replace(name='sequential', label='our runs, one after the other', options={'way': 'alone'})
    vmap = ours._replace(name='together', label='population by vmap, one device', options={'way': 'together'})
    two = {'devices': 2}
    idle = alone._replace(name='sequential_two', label='the same, two host devices set up', options=alone.options | two)
    spread = vmap._replace(
        name='spread_together',
        label='population by vmap on each of two host devices',
        options={'way': 'spread together'} | two,
    )
    return (
        alone,
        ours._replace(options={'way': 'default'} | two),
        *{1: [idle], 4: [vmap, spread], 16: [vmap]}.get(n, []),  # it loses more the larger n is, and takes minutes
        Contestant('torch', 'PyTorch loops, one after the other', 'with_torch', network.kind),
        Contestant('torch_stacked', 'PyTorch, stacked matrices', 'with_torch_stacked', network.kind),
    )


def _section(name: str, n: int, quick: bool) -> Section:
    network = NETWORKS[name]
    per_epoch, total = (16, 64) if quick else (128, network.steps[n])
    options = {
        'runs': n,
        'steps': total // n,
        'epochs': total // per_epoch,
        'kind': network.kind,
        'sizes': network.sizes,
        'devices': 1,
        'binarization': 'fresh',
    }
    task = {'rows': per_epoch * 128, 'batch': 128, 'latent': network.latent, 'options': options}
    laps = 1 if quick else 4 if n == 1 else 3
    return Section(
        f'{GROUP}_{name}_{n}', f'{network.title}, {n} runs', task, _contestants(network, n), laps, group=GROUP
    )


def sections(quick: bool) -> list[Section]:
    """One for each network and number of runs."""
    return [_section(name, n, quick) for name in NETWORKS for n in (RUNS[:2] if quick else RUNS)]


def markdown(sections: dict[str, Any], quiet: float) -> list[str]:
    """Their part of the README; a ratio is not judged where others took more than `quiet` of the cores."""
    if not any(name in sections for name in NAMES):
        return []
    lines = [TEXT, *_promises(sections, quiet)]
    for name, network in NETWORKS.items():
        heads = ['n', 'steps each', 'contestant', 'seconds a run-epoch', 'times sequential', 'start, s', 'memory, MiB']
        rows = [line for n in RUNS for line in _rows(sections.get(f'{GROUP}_{name}_{n}'), n)]
        if rows:
            heads = [*heads, 'threads', 'others']
            lines += [f'### {network.title}', '', f'| {" | ".join(heads)} |', '|---' * len(heads) + '|', *rows, '']
    return lines


def _ratio(section: dict, name: str) -> float | None:
    rows = section['contestants']
    if any('median' not in rows.get(one, {}) for one in ('sequential', name)):
        return None
    return rows['sequential']['median'] / rows[name]['median']


def _rows(section: dict | None, n: int) -> list[str]:
    lines = []
    for name, row in section['contestants'].items() if section else ():
        steps, ratio = section['task']['options']['steps'], _ratio(section, name)
        if 'median' not in row:
            lines.append(f'| {n} | {steps} | {row["label"]} | failed: {row.get("failed", "no lap")} |{" |" * 5}')
            continue
        median, low, high = (row[kind] / (n * steps) * EPOCH for kind in ('median', 'min', 'max'))
        shown = [
            f'{n} | {steps} | {row["label"]}',
            f'**{median:.2f}** ({low:.2f}-{high:.2f})',
            '-' if ratio is None else f'{ratio:.2f}',
            f'{max(0.0, row["warm_up"] - row["median"]):.1f}',
            f'{row["peak_mib"]:,.0f}',
            f'{statistics.median(row["cpu"]):.2f}',
            f'{statistics.median(row["others"]):.0%}',
        ]
        lines.append(f'| {" | ".join(shown)} |')
    return lines


def _promises(sections: dict, quiet: float) -> list[str]:
    lines = ['| network | n | | times sequential, wanted | reached | |', '|---|---|---|---|---|---|']
    for name, network in NETWORKS.items():
        for n in RUNS:
            section = sections.get(f'{GROUP}_{name}_{n}')
            for one in ('population', 'sequential_two') if section else ():
                if (ratio := _ratio(section, one)) is None:
                    continue
                wanted = 1 - NOISE if n == 1 else network.wanted
                rows = [section['contestants'][who] for who in ('sequential', one)]
                verdict = 'yes' if ratio >= wanted else '**no**'
                if any(statistics.median(row['others']) > quiet for row in rows):
                    verdict = 'not judged: the cores were not quiet'
                lines.append(f'| {network.title} | {n} | {rows[1]["label"]} | {wanted} | {ratio:.2f} | {verdict} |')
    return [*lines, '']

"""What figures 2 and 3 of Kingma & Welling (2013) share: the model, the methods, a curve, and the command line."""

import argparse
import itertools
import json
import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments import documents
from vae_jax.errors import NUMBERS, Fault

BATCH = 100
RATES, SEEDS = (0.01, 0.02, 0.1), 3
METHODS, WHERE = {'aevb': 'AEVB', 'wake_sleep': 'wake-sleep'}, ('train', 'test')


class Hyper(NamedTuple):
    lr: float = 0.02


def model_of(hidden: int, latent: int, like: Any, likelihood: Any) -> Any:
    """The paper's VAE, whose parameters begin at N(0, 0.01)."""
    import jax

    import vae_jax as vj

    nets = vj.mlp_encoder((hidden,), jax.nn.tanh), vj.mlp_decoder((hidden,), jax.nn.tanh)
    model = vj.vae(*nets, latent=latent, like=like, likelihood=likelihood)

    def init(key: Any, x: Any) -> Any:
        leaves, structure = jax.tree.flatten(model.init(key, x))
        keys = jax.random.split(key, len(leaves))
        return jax.tree.unflatten(structure, [0.1 * jax.random.normal(k, a.shape) for k, a in zip(keys, leaves)])

    return model._replace(init=init)


def objective_of(method: str, model: Any, rows: int) -> Any:
    """-bound or the loss of wake-sleep of one example, and its share of -log N(theta; 0, I) of the decoder."""
    import optax

    import vae_jax as vj
    from vae_jax import bounds, losses

    told = {'aevb': lambda: vj.negative(bounds.elbo, model), 'wake_sleep': lambda: losses.wake_sleep(model)}[method]()

    def objective(params: Any, key: Any, x: Any, hyper: Any) -> Any:
        loss, metrics = told(params, key, x, hyper)
        return loss + 0.5 * optax.tree.norm(params['decode'], squared=True) / rows, metrics

    return objective


def adagrad(hyper: Any) -> Any:
    """Adagrad that begins at no squared gradients (Duchi et al. 2011)."""
    import optax

    return optax.adagrad(hyper.lr, initial_accumulator_value=0.0, eps=1e-6)


def doubling(steps: int, points: int) -> list[int]:
    """Steps at which one looks: a half, a quarter and so on of `steps`, the last itself."""
    return sorted({max(1, round(steps / 2**i)) for i in range(points)})


def curve(
    trainer: Any, look: Any, train: Any, key: Any, rates: Sequence[float], samples: int, points: int
) -> list[Any]:
    """A row each time the samples seen have doubled: what `look(params)` tells, its 'train' the higher the better.

    Of several step sizes the one that is best at the first look goes on, as in section 5 of the paper. One whose
    numbers are not finite is out; a curve ends where they are not.
    """
    import time

    import vae_jax as vj

    chunk = max(1, samples // BATCH // 2 ** (points - 1))
    most = samples // BATCH // chunk

    def on(state: Any, chunks: int) -> Any:
        for _ in range(chunks):
            state, _ = vj.advance(trainer, state, train, key, steps=chunk, batch=BATCH)
        return state

    def seen(state: Any) -> dict[str, Any]:
        try:
            return look(state.params)
        except Fault as fault:
            if fault.code != NUMBERS:
                raise
            return {'train': -math.inf}

    def begun(lr: float) -> tuple[dict[str, Any], Any]:
        state = on(vj.start(trainer, train, Hyper(lr), key, batch=BATCH), 1)
        return {'lr': lr, **seen(state)}, state

    row, state = max((begun(lr) for lr in rates), key=lambda found: found[0]['train'])
    rows, spent = [row | {'samples': chunk * BATCH, 'seconds': 0.0}], 0.0
    for before, at in itertools.pairwise(doubling(most, points)):
        started = time.perf_counter()
        state = on(state, at - before)
        spent += time.perf_counter() - started
        row = {'lr': row['lr'], 'samples': at * chunk * BATCH, 'seconds': round(spent, 2), **seen(state)}
        rows.append(row)
    return [row for row in rows if math.isfinite(row['train'])]


def by_method(rows: list[dict[str, Any]], *names: str) -> dict[Any, dict[str, dict[int, list[dict[str, Any]]]]]:
    """{values of `names`: {method: {seed: its curve}}}."""
    found: dict[Any, dict[str, dict[int, list[dict[str, Any]]]]] = {}
    for row in rows:
        methods = found.setdefault(tuple(row[name] for name in names), {})
        methods.setdefault(row['method'], {}).setdefault(row['seed'], []).append(row)
    return found


def told(found: Any) -> str:
    """An interval over seeds as text; of one seed its value alone, and of what has no scale its power of ten."""
    from vae_jax import statistics

    if abs(found.mean) > 1e4:
        return f'{found.mean:.0e}'
    digits = statistics.places(found.high - found.mean)
    return f'{found.mean:.{digits}f}' + (f' +- {found.high - found.mean:.{digits}f}' if found.n > 1 else '')


def mean_curve(seeds: dict[int, list[dict[str, Any]]]) -> tuple[Any, Any]:
    """log10 of the samples seen, and the test bound there, mean over seeds."""
    import numpy as np

    rows = list(zip(*seeds.values()))  # as far as all seeds go
    return np.log10([row[0]['samples'] for row in rows]), np.mean([[one['test'] for one in row] for row in rows], 1)


def command(
    name: str,
    doc: str | None,
    argv: list[str] | None,
    sizes: Any,
    curves: Callable[..., Any],
    table: Callable[..., Any],
) -> int:
    """The command line of both figures: `curves(panel, run, seed)` of every panel and seed, stored and told."""
    from vae_jax import process

    given = flags(doc, argv)
    try:
        process.start_jax()
        panels = sizes[0] if given.smoke else sizes[2] if given.full else sizes[1]
        used = ', '.join(f'{p.dataset} {p.hidden} units' for p in panels)
        rates = ', '.join(f'{lr:g}' for lr in given.lr)
        protocol = f'Seeds: {given.seeds}. Networks: {used}; step size: {rates}' + (
            ', whichever is best at the first look.' if len(given.lr) > 1 else '.'
        )
        parts = [part(name, panel, given, seed, curves) for panel in panels for seed in range(given.seeds)]
        asked = f'python -m experiments.{name}' + (' --full' if given.full else '')
        asked += f' --seeds {given.seeds}' if given.seeds != SEEDS else ''
        out = (given.out or documents.RESULTS) / f'{name}.json'
        document = documents.made_by(asked, protocol=protocol + (' Smoke.' if given.smoke else ''), rows=sum(parts, []))
        print(table(json.loads(documents.store(out, document).read_text())))
    except Fault as fault:
        process.tell(f'error: {fault}')
        return fault.code
    return 0


def part(name: str, panel: Any, run: Any, seed: int, curves: Callable[..., Any]) -> list[dict[str, Any]]:
    """The curves of a panel and seed: as they lie in runs/<name>, where this code kept them, or measured now."""
    asked = {'panel': panel, 'lr': run.lr, 'smoke': run.smoke}
    code = b''.join((Path(__file__).parent / f'{file}.py').read_bytes() for file in ('aevb', name))
    mark = zlib.crc32(json.dumps(asked).encode() + code)
    place = (run.out / 'parts' if run.smoke else Path('runs') / name) / f'{panel.dataset}-{mark:08x}-s{seed}.json'
    if not place.exists():
        documents.store(place, {**asked, 'rows': curves(panel, run, seed)})
    return json.loads(place.read_text())['rows']


def flags(doc: str | None, argv: list[str] | None) -> argparse.Namespace:
    """Those of both figures. Under --smoke nothing is stored among the results."""
    parser = argparse.ArgumentParser(description=(doc or '').splitlines()[0])
    parser.add_argument('--data-dir', help='prepared datasets')
    parser.add_argument('--full', action='store_true', help="the paper's datasets and sizes: hours")
    parser.add_argument('--smoke', action='store_true', help='in seconds, and nothing is stored')
    parser.add_argument('--lr', type=float, nargs='+', default=RATES, help='step sizes of Adagrad: the best goes on')
    parser.add_argument('--seeds', type=int, default=SEEDS, help='how many (default: %(default)s)')
    parser.add_argument('--out', type=Path, help='folder of the stored results (default: experiments/results)')
    given = parser.parse_args(argv)
    if given.seeds < 1:
        parser.error(f'--seeds is {given.seeds}; expected 1 or more')
    if given.smoke:
        given.seeds, given.lr, given.out = 1, (0.02,), given.out or Path('runs') / 'aevb'
    return given

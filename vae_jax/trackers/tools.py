"""The tools: TensorBoard (through tensorboardX), W&B, trackio, MLflow. Each is an extra, imported when it is used."""

import contextlib
import functools
import io
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vae_jax.trackers.protocol import Curves, Place, Shown

PROJECT = 'vae_jax'  # unless WANDB_PROJECT or MLFLOW_EXPERIMENT_NAME say otherwise


def tensorboard(place: Place, runs: Sequence[Shown]) -> list[Curves]:
    """Event files in <run directory>/tensorboard, of a population in a folder a run: `tensorboard --logdir runs`."""
    from tensorboardX import SummaryWriter

    shutil.rmtree(place.path / 'tensorboard', ignore_errors=True)
    return [_events(SummaryWriter, place, i, len(runs), run) for i, run in enumerate(runs)]


def _events(SummaryWriter: Any, place: Place, i: int, n: int, run: Shown) -> Curves:
    told = re.sub(r'[^\w.=+-]+', '_', run.name.split(' ', 2)[-1])[:80]
    folder = place.path / 'tensorboard' / (f'{i:0{len(str(n - 1))}}-{told}' if n > 1 else '')
    # a TensorBoard that is open has the curves of before: they go when it meets the purge
    writer = SummaryWriter(str(folder), purge_step=0)
    writer.add_text('config', f'```\n{json.dumps(dict(run.config), indent=2)}\n```', 0)
    plain = {flag: v if isinstance(v, bool | int | float | str) else str(v) for flag, v in run.config.items()}

    def log(step: int, metrics: dict[str, float]) -> None:
        for metric, number in metrics.items():
            writer.add_scalar(metric, number, step)
        writer.flush()

    def end(result: Mapping[str, Any] | None) -> None:
        if result is not None:
            from tensorboardX.summary import hparams

            numbers = _numbers(result, run)
            for summary in hparams(plain, numbers):
                writer.file_writer.add_summary(summary)
            for metric, number in numbers.items():
                writer.add_scalar(metric, number)
        writer.close()

    return Curves(_none_held, log, end)


def wandb(place: Place, runs: Sequence[Shown]) -> list[Curves]:
    """W&B, under <run directory>/wandb unless WANDB_DIR is set; WANDB_MODE=offline needs no server."""
    import wandb

    many = len(runs) > 1
    settings = wandb.Settings(
        console='off',
        silent=place.quiet or many,
        init_timeout=float(os.environ.get('WANDB_INIT_TIMEOUT', 30)),
        finish_timeout=10,
        x_disable_stats=many,
    )

    def open_(i: int, run: Shown) -> Curves:
        its = wandb.init(
            project=os.environ.get('WANDB_PROJECT', PROJECT),
            dir=os.environ.get('WANDB_DIR', str(place.path)),
            id=f'{place.id}-{i}',
            name=run.name,
            group=place.group if many else None,
            config=dict(run.config),
            resume='allow',
            reinit='create_new',
            settings=settings,
        )
        # of the offline folders of one id `wandb sync` keeps the last, which must have everything
        held = -1 if its.offline else its.starting_step - 1

        def end(result: Mapping[str, Any] | None) -> None:
            its.summary.update(_numbers(result or {}, run))
            its.finish(exit_code=int((result or {}).get('status') == 'diverged'))

        return Curves(lambda metric: held, lambda step, metrics: its.log(metrics, step=step), end)

    return [open_(i, run) for i, run in enumerate(runs)]


def trackio(place: Place, runs: Sequence[Shown]) -> list[Curves]:
    """trackio, in its own folder (TRACKIO_DIR) or server: `trackio show`."""
    import trackio

    # It speaks on stdout, which is for the result: while it starts, here; in the thread that ends it, a redirection
    # would take the result too.
    aside = io.StringIO() if place.quiet else sys.stderr
    trackio.run.print = functools.partial(print, file=aside)

    def open_(run: Shown) -> Curves:
        its = trackio.init(
            PROJECT,
            name=f'{run.name} {place.id}',  # it knows a run by its name
            group=place.group,
            config=dict(run.config),
            resume='allow',
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        held = its._next_step - 1  # no public name tells it, here or on a server
        steps = [held]

        def log(step: int, metrics: dict[str, float]) -> None:
            its.log(metrics, step=step)
            steps.append(step)

        def end(result: Mapping[str, Any] | None) -> None:
            if result is not None:
                its.log(_numbers(result, run), step=max(0, steps[-1]))
            its.finish()

        return Curves(lambda metric: held, log, end)

    with contextlib.redirect_stdout(aside):
        curves = [open_(run) for run in runs]
    trackio.context_vars.current_run.set(None)  # or it ends the last one again when Python exits, on stdout
    return curves


def mlflow(place: Place, runs: Sequence[Shown]) -> list[Curves]:
    """MLflow, where MLFLOW_TRACKING_URI or `mlflow.set_tracking_uri` say, else in the file store ./mlruns."""
    # its seven retries would hold up the start for minutes
    os.environ.setdefault('MLFLOW_HTTP_REQUEST_MAX_RETRIES', '2')
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param
    from mlflow.tracking import get_tracking_uri, is_tracking_uri_set

    if not is_tracking_uri_set():
        os.environ.setdefault('MLFLOW_ALLOW_FILE_STORE', 'true')  # it wants to be told since 3.7
    client = MlflowClient(get_tracking_uri() if is_tracking_uri_set() else Path('mlruns').resolve().as_uri())
    project = os.environ.get('MLFLOW_EXPERIMENT_NAME', PROJECT)
    with contextlib.suppress(Exception):  # it is there, or was made by another process just now
        client.create_experiment(project)
    experiment = client.get_experiment_by_name(project).experiment_id
    ours = f"tags.`vae_jax.id` = '{place.id}'"
    there = {run.data.tags['vae_jax.run']: run for run in client.search_runs([experiment], ours, max_results=50000)}

    def open_(i: int, run: Shown) -> Curves:
        its = there.get(str(i))
        if its is None:
            tags = {'vae_jax.id': place.id, 'vae_jax.run': str(i), 'vae_jax.group': place.group}
            its = client.create_run(experiment, tags=tags, run_name=run.name)
            params = [Param(flag, str(v)[:6000]) for flag, v in run.config.items()]
            for start in range(0, len(params), 100):  # the most that a call takes
                client.log_batch(its.info.run_id, params=params[start : start + 100])
        name = its.info.run_id

        def held(metric: str) -> int:
            if str(i) not in there:
                return -1
            return max((m.step for m in client.get_metric_history(name, metric)), default=-1)

        def log(step: int, metrics: dict[str, float]) -> None:
            now = int(1000 * time.time())
            client.log_batch(name, [Metric(metric, number, now, step) for metric, number in metrics.items()])

        def end(result: Mapping[str, Any] | None) -> None:
            if result is not None:
                log(0, {metric: number for metric, number in _numbers(result, run).items() if held(metric) < 0})
                client.set_terminated(name, 'FAILED' if result.get('status') == 'diverged' else 'FINISHED')

        return Curves(held, log, end)

    return [open_(i, run) for i, run in enumerate(runs)]


def _none_held(metric: str) -> int:
    return -1


def _numbers(result: Mapping[str, Any], run: Shown) -> dict[str, float]:
    """The metrics of a result, which names the run's point too."""
    told = {'run', *run.config}
    numbers = {name: v for name, v in result.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return {name: float(v) for name, v in numbers.items() if name not in told}

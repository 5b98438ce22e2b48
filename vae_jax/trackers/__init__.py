"""Trackers show a run in TensorBoard, W&B, trackio or MLflow. metrics.jsonl stays the truth.

    with trackers.following(trackers.mlflow, directory.path, trackers.shown(directory.path, config)) as tracker:
        run = fit(..., out=directory, track=tracker.track)
        tracker.end([result])

A tool is one function, tool(place, runs) -> the Curves of each run. What is shown is always all of metrics.jsonl, each
step once, however often a run was stopped: where a tool's files are replaced as a whole (TensorBoard, W&B offline) it
is written anew at every start; the others are asked for the last step that they hold, and given what comes behind it.
"""

from vae_jax.trackers.protocol import Curves, Place, Shown, Tool, Tracker, following, nowhere, shown
from vae_jax.trackers.tools import mlflow, tensorboard, trackio, wandb

__all__ = [
    'Curves',
    'Place',
    'Shown',
    'Tool',
    'Tracker',
    'following',
    'mlflow',
    'nowhere',
    'shown',
    'tensorboard',
    'trackio',
    'wandb',
]

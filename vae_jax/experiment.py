"""What an experiment's `build(config)` returns: all that the command line needs to train, evaluate and report it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

_AFTER, _VERBS = 2**32 - 1, 2**32 - 2  # streams of a run's key that no epoch or step of its training reaches


class Experiment(NamedTuple):
    """One run, ready to start. Nothing is trained yet; `fit` holds further keyword arguments of `training.fit`.

    evaluate(params, key, quiet) -> (result, examples): numbers for result.json, and arrays with one row an example.
    figures(directory, params, key, metrics, result, config) -> path of the report.
    summary(result) -> lines for a person.
    evaluate_some(params [m, ...], keys [m], quiet) -> a list of m such pairs: of members of a population together,
    each as `evaluate` would have it; None: one by one.

    The runs of a population share one: but for `hyper`, `build` must not look at config.hyper or config.run.seed.
    """

    trainer: Any
    data: Any
    hyper: Any
    model: Any
    batch: int
    steps: int
    fit: Mapping[str, Any]
    evaluate: Callable[[Any, Any, bool], tuple[dict[str, Any], dict[str, Any]]]
    figures: Callable[..., Path]
    summary: Callable[[Mapping[str, Any]], str]
    evaluate_some: Callable[[Any, Any, bool], list[tuple[dict[str, Any], dict[str, Any]]]] | None = None


class Keys(NamedTuple):
    """The keys of one run, all from its seed."""

    training: Any
    evaluation: Any
    figures: Any
    verbs: Any  # what is done to a finished run


def keys(seed: int) -> Keys:
    """The keys of a run; that of its training is key(seed) itself, as a script of a few lines would have it."""
    import jax

    key = jax.random.key(seed)
    after, verbs = (jax.random.fold_in(key, stream) for stream in (_AFTER, _VERBS))
    evaluation, figures = jax.random.split(after)
    return Keys(key, evaluation, figures, verbs)

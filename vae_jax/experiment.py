"""What an experiment's `build(config)` returns: all that the command line needs to train, evaluate and report it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Experiment(NamedTuple):
    """One run, ready to start. Nothing is trained yet; `fit` holds further keyword arguments of `training.fit`.

    evaluate(params, key, quiet) -> (result, examples): numbers for result.json, and arrays with one row an example.
    figures(directory, params, key, metrics, result, config) -> path of the report.
    summary(result) -> lines for a person.
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

"""All metrics of one table of codes and factors."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from jax import Array, random

from vae_jax.disentanglement.attributes import DCI, dci, sap
from vae_jax.disentanglement.information import mutual_information_gap
from vae_jax.disentanglement.interventions import (
    beta_vae_score,
    factor_vae_score,
    interventional_robustness,
    of_table,
)
from vae_jax.disentanglement.modular import InfoMEC, explicitness, infomec, modularity
from vae_jax.disentanglement.tables import Score, checked, needs_two
from vae_jax.errors import NUMBERS, Fault


def all_scores(codes: Any, factors: Mapping[str, Any], key: Array) -> dict[str, Score]:
    """Every metric of codes [n, d] and factors {name: [n]} under its conventions by default: {name: Score}.

    A factor is a column of numbers, each value in two rows or more; SAP takes floats for real numbers. Metrics that fit
    and judge need three: where a value is in two, theirs are nan, and `how` says why. Raises Fault as the other metrics
    do: fewer than two factors or dimensions, a factor of one value, codes that are not finite.
    """
    needs_two(codes, 'a table of all metrics')
    checked(codes, factors, least=2)
    keys, source = random.split(key, 6), of_table(codes, factors)
    gap = mutual_information_gap(codes, factors)
    return {
        'beta_vae': beta_vae_score(source, keys[2]),
        'factor_vae': factor_vae_score(source, keys[3]),
        'mig': Score(gap.mean, gap.each, gap.how),
        **_or_why(('sap',), lambda: (sap(codes, factors, keys[4]),)),
        **_or_why(
            ('dci_disentanglement', 'dci_completeness', 'dci_informativeness'),
            lambda: _parts(dci(codes, factors, keys[0])),
        ),
        'modularity': modularity(codes, factors),
        **_or_why(('explicitness',), lambda: (explicitness(codes, factors, keys[5]),)),
        'irs': interventional_robustness(codes, factors),
        **_or_why(('infom', 'infoe', 'infoc'), lambda: _parts(infomec(codes, factors, keys[1]))),
    }


def _parts(found: DCI | InfoMEC) -> tuple[Score, ...]:
    return tuple(Score(value, {}, found.how) for value in found[:3])


def _or_why(names: tuple[str, ...], made: Callable[[], tuple[Score, ...]]) -> dict[str, Score]:
    """Scores by their names, or nan of each and why: a value too rare for some metrics is no reason to have none."""
    try:
        return dict(zip(names, made()))
    except Fault as fault:
        if fault.code == NUMBERS:
            raise
        return {name: Score(math.nan, {}, f'none, as {fault.what}') for name in names}


def scores(codes: Any, factors: Mapping[str, Any], key: Array) -> dict[str, float]:
    """{name: value} of `all_scores`."""
    return {name: score.value for name, score in all_scores(codes, factors, key).items()}

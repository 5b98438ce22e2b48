"""All metrics of one table of codes and factors."""

from collections.abc import Mapping
from typing import Any

from jax import Array, random

from vae_jax.disentanglement.attributes import dci, sap
from vae_jax.disentanglement.information import mutual_information_gap
from vae_jax.disentanglement.interventions import (
    beta_vae_score,
    factor_vae_score,
    interventional_robustness,
    of_table,
)
from vae_jax.disentanglement.modular import explicitness, infomec, modularity
from vae_jax.disentanglement.tables import Score


def all_scores(codes: Any, factors: Mapping[str, Any], key: Array) -> dict[str, Score]:
    """Every metric of codes [n, d] and factors {name: [n]} under its conventions by default: {name: Score}.

    A factor is a column of numbers, each value in three rows or more; SAP takes floats for real numbers. Raises Fault
    as the metrics do: fewer than two factors or dimensions, a factor of one value, codes that are not finite.
    """
    keys = random.split(key, 6)
    gap, parts = mutual_information_gap(codes, factors), dci(codes, factors, keys[0])
    nats, source = infomec(codes, factors, keys[1]), of_table(codes, factors)
    return {
        'beta_vae': beta_vae_score(source, keys[2]),
        'factor_vae': factor_vae_score(source, keys[3]),
        'mig': Score(gap.mean, gap.each, gap.how),
        'sap': sap(codes, factors, keys[4]),
        'dci_disentanglement': Score(parts.disentanglement, {}, parts.how),
        'dci_completeness': Score(parts.completeness, {}, parts.how),
        'dci_informativeness': Score(parts.informativeness, {}, parts.how),
        'modularity': modularity(codes, factors),
        'explicitness': explicitness(codes, factors, keys[5]),
        'irs': interventional_robustness(codes, factors),
        'infom': Score(nats.modularity, {}, nats.how),
        'infoe': Score(nats.explicitness, {}, nats.how),
        'infoc': Score(nats.completeness, {}, nats.how),
    }


def scores(codes: Any, factors: Mapping[str, Any], key: Array) -> dict[str, float]:
    """{name: value} of `all_scores`."""
    return {name: score.value for name, score in all_scores(codes, factors, key).items()}

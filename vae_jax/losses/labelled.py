"""Objectives of rows {'x', 'label'} of which few have a label: a label of -1 is not known."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax, random

from vae_jax import bounds
from vae_jax.errors import Fault
from vae_jax.models import Model
from vae_jax.models.labelled import by_label

Objective = Callable[..., tuple[Array, dict[str, Array]]]


def partly_labelled(model: Model, share: float) -> Objective:
    """U(x) of a row without label, L(x, y) + hyper.alpha / share * -log q(y|x) of one with; times its weight, if any.

    `share` is that of labelled rows among all: the mean over rows is then the mean bound + alpha times the mean
    cross-entropy of labelled rows (Kingma et al. 2014, eq. 8 and 9; their alpha = 0.1 N is 0.1 here). Rows may come
    repeated, with the column 'weight' of `data.few_labels`. The model is one of `over_labels`. Metrics are those of
    labelled rows and of others, each divided by its share. Raises Fault on a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise Fault(f'the share of labelled rows is {share}', 'give one above 0, at most 1')

    def objective(params: Any, key: Array, row: Any, hyper: Any) -> tuple[Array, dict[str, Array]]:
        weight, known = row.get('weight', 1.0), row['label'] >= 0
        q, distortions, rates = by_label(model, params, key, row['x'])
        log_q, costs = jax.nn.log_softmax(q.label.logits), distortions + rates
        unlabelled = jnp.exp(log_q) @ (costs + log_q)
        wrong = -log_q[row['label']]
        bound = weight * jnp.where(known, costs[row['label']], unlabelled)
        cross_entropy = weight * jnp.where(known, wrong, 0.0) / share
        return bound + hyper.alpha * cross_entropy, {'bound': -bound, 'cross_entropy': cross_entropy}

    return objective


def stacked_labelled(lower: Model, upper: Objective, name: str = 'upper') -> Objective:
    """-ELBO of `lower`, and the objective of what lies above on its codes z ~ q(z|x), held: M1+M2 learnt side by side.

    params are those of `models.stacked`; neither learns from the other's term, so that `lower` is what it would be
    alone (Kingma et al. 2014, section 3.1: M1 is trained first, and kept).
    """

    def objective(params: Any, key: Array, row: Any, hyper: Any) -> tuple[Array, dict[str, Array]]:
        a, b, c = random.split(key, 3)
        terms = bounds.elbo_terms(lower, params, a, row['x'])
        code = lax.stop_gradient(lower.encode(params, row['x']).sample(b))
        value, metrics = upper(params[name], c, {**row, 'x': code}, hyper)
        cost = row.get('weight', 1.0) * (terms.distortion + terms.rate)
        return cost + value, {'lower_bound': -cost, **metrics}

    return objective

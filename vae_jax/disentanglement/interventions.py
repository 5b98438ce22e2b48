"""Metrics that hold one factor and let the others vary: beta-VAE and FactorVAE scores, interventional robustness."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax, random, vmap

from vae_jax.disentanglement.tables import Score, checked
from vae_jax.errors import NUMBERS, Fault

DEAD = 0.05  # a standard deviation: of codes with a prior of 1, as Locatello et al. (2019) prune them


class Source(NamedTuple):
    """Where codes come from: agreeing(data, key, factor, n) -> [n, d], n examples that share one random value of the
    factor with that number, all else at random; anything(data, key) -> [d], one example; pure functions of arrays.

    `of_table` makes one of codes that are there; a renderer with an encoder behind it is another.
    """

    agreeing: Callable[[Any, Array, Array, int], Array]
    anything: Callable[[Any, Array], Array]
    data: Any
    names: tuple[str, ...]


def of_table(codes: Any, factors: Mapping[str, Any]) -> Source:
    """Draws of rows with replacement, a factor's values equally likely; nothing is rendered or encoded anew.

    Where the rows are all combinations of the factors, or a random part of these, the others vary independently; else
    as they do in the table. Raises Fault as `tables.checked` does, each value being in two rows or more.
    """
    table = checked(codes, factors, least=2)
    most = max(table.sizes)
    counts = np.stack([np.bincount(column, minlength=most) for column in table.numbers.T])
    data = {
        'codes': table.codes - table.codes.mean(0),  # float32 keeps differences, not what all codes have in common
        'order': np.argsort(table.numbers, 0, kind='stable').T,
        'starts': np.cumsum(counts, 1) - counts,
        'counts': counts,
        'sizes': np.array(table.sizes),
    }
    return Source(_agreeing, _anything, jax.tree.map(jnp.asarray, data), table.names)


def _agreeing(data: Any, key: Array, factor: Array, n: int) -> Array:
    a, b = random.split(key)
    value = random.randint(a, (), 0, data['sizes'][factor])
    place = random.randint(b, (n,), 0, data['counts'][factor, value])
    return data['codes'][data['order'][factor, data['starts'][factor, value] + place]]


def _anything(data: Any, key: Array) -> Array:
    return data['codes'][random.randint(key, (), 0, data['codes'].shape[0])]


def beta_vae_score(source: Source, key: Array, *, pairs: int = 64, fit: int = 10_000, judge: int = 5000) -> Score:
    """Accuracy of a linear classifier that tells from mean_l |z_l - z'_l| [d] which factor each pair l shares.

    Higgins et al. (2017), section 3; 1/k is chance for k factors, 1 best. The pairs of one mean share the
    factor, each pair at a value of its own. Numbers of draws and classifier (logistic, C = 1, on differences as they
    are, so that codes should have about unit scale) are those of Locatello et al. (2019). The accuracy is that of
    `judge` draws which the classifier has not seen. Raises Fault on fewer draws than factors, and (code 4) on codes
    that are not finite.
    """
    from sklearn.linear_model import LogisticRegression

    features, labels = _many(source, key, fit, judge, _difference, pairs)
    classifier = LogisticRegression(max_iter=1000).fit(features[:fit], labels[:fit])
    right = classifier.predict(features[fit:]) == labels[fit:]
    how = f'{pairs} pairs, logistic regression of {fit}, accuracy of {judge} others'
    return _accuracy(right, labels[fit:], source.names, how)


def _difference(draw: Any, pairs: int, key: Array, factor: Array) -> Array:
    z = vmap(lambda key: draw(key, factor, 2))(random.split(key, pairs))
    return jnp.mean(jnp.abs(z[:, 0] - z[:, 1]), 0)


def factor_vae_score(
    source: Source, key: Array, *, size: int = 64, fit: int = 10_000, judge: int = 5000, dead: float = DEAD
) -> Score:
    """Accuracy of the majority vote of argmin_d Var(z_d | a factor held) / Var(z_d) for which factor was held.

    Kim & Mnih (2018), section 4; 1/k is chance for k factors, 1 best. Each vote is of `size` codes at one value of the
    factor; variances of all codes are those of 10,000 draws. Dimensions with a standard deviation of `dead` or less are
    left out; with none left the score is 0. Numbers of draws and `dead` are those of Locatello et al. (2019); the
    accuracy is that of `judge` votes which the majority has not seen. Raises Fault as `beta_vae_score` does.
    """
    keys = random.split(key)
    codes = np.asarray(vmap(partial(source.anything, source.data))(random.split(keys[0], 10_000)), np.float64)
    scale = codes.std(0, ddof=1)
    how = f'{size} codes a vote, {fit} votes, accuracy of {judge} others; standard deviations above {dead:g}'
    if not (live := scale > dead).any():
        return Score(0.0, dict.fromkeys(source.names, 0.0), how, 0.0)
    variances, labels = _many(source, keys[1], fit, judge, _variances, size)
    votes = np.argmin(variances[:, live] / scale[live] ** 2, 1)
    counts = np.zeros((int(live.sum()), len(source.names)), int)
    np.add.at(counts, (votes[:fit], labels[:fit]), 1)
    return _accuracy(counts.argmax(1)[votes[fit:]] == labels[fit:], labels[fit:], source.names, how)


def _variances(draw: Any, size: int, key: Array, factor: Array) -> Array:
    return jnp.var(draw(key, factor, size), 0, ddof=1)


def _many(source: Source, key: Array, fit: int, judge: int, of: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(features `of` n codes [fit + judge, d], the factors held [fit + judge]): as many of each factor as can be."""
    least = len(source.names)
    if min(fit, judge) < least:
        raise Fault(f'{min(fit, judge)} draws of {least} factors', 'give as many draws as factors, or more')
    if least < 2:
        raise Fault(f'the only factor is {source.names}', 'give two factors or more to tell apart')
    labels = np.concatenate([np.arange(n) % least for n in (fit, judge)])
    features = _drawn(of, n, source.agreeing, source.data, random.split(key, len(labels)), jnp.asarray(labels))
    if not np.isfinite(found := np.asarray(features, np.float64)).all():
        raise Fault('the codes drawn are not finite', 'the model has diverged', NUMBERS)
    return found, labels


@partial(jax.jit, static_argnames=('of', 'n', 'agreeing'))
def _drawn(of: Any, n: int, agreeing: Any, data: Any, keys: Array, factors: Array) -> Array:
    return lax.map(lambda drawn: of(partial(agreeing, data), n, *drawn), (keys, factors), batch_size=250)


def _accuracy(right: np.ndarray, labels: np.ndarray, names: tuple[str, ...], how: str) -> Score:
    share = float(right.mean())
    each = {name: float(right[labels == k].mean()) for k, name in enumerate(names)}
    return Score(share, each, how, math.sqrt(share * (1 - share) / len(right)))


def interventional_robustness(codes: Any, factors: Mapping[str, Any], quantile: float = 0.99) -> Score:
    """IRS: mean over d of 1 - min_k E_v q|z_d - E[z_d|v_k = v]| / max|z_d - E[z_d]|, weighted by the denominators.

    Suter et al. (2019), for rows that are all combinations of the factors, or a random part of these; 0 to 1. q is a
    quantile over the rows with that value: 1 is the paper's maximum, 0.99 that of Locatello et al. (2019). Codes at
    random have more than 0, the more the further their tails are beyond the quantile. `each` is by dimension; those
    that do not vary have no weight, and with none left IRS is 0. Raises Fault as `tables.checked` does, and on a
    quantile outside (0, 1].
    """
    if not 0 < quantile <= 1:
        raise Fault(f'the quantile {quantile} of deviations', 'give one above 0 and up to 1')
    table = checked(codes, factors, least=2)
    z = table.codes - table.codes.mean(0)
    largest = np.abs(z).max(0)
    live = np.ptp(table.codes, 0) > 0
    deviations = np.zeros((len(table.names), z.shape[1]))
    for k, (column, size) in enumerate(zip(table.numbers.T, table.sizes)):
        for value in range(size):
            held = z[column == value]
            deviations[k] += np.quantile(np.abs(held - held.mean(0)), quantile, axis=0) / size
    robust = np.where(live, 1 - deviations.min(0) / np.where(live, largest, 1.0), 0.0)
    mean = float(np.average(robust[live], weights=largest[live])) if live.any() else 0.0
    each = {f'z{d}': float(one) for d, one in enumerate(robust)}
    return Score(mean, each, f'quantile {quantile:g} of deviations; {len(z)} rows')

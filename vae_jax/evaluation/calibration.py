"""Whether q(z|x) is the posterior of the model's own draws: simulation-based calibration and coverage."""

import math
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, random, vmap

from vae_jax import statistics
from vae_jax.errors import NUMBERS, Fault
from vae_jax.evaluation.checks import counted, split_and_key
from vae_jax.evaluation.scores import share_se
from vae_jax.evaluation.streaming import ROWS, Rows, blocks, example, over
from vae_jax.evaluation.weights import check_densities
from vae_jax.models import Conditional, Model

FEWEST = 5  # expected in a bin, for a chi-square that is one
SURE = 3.0  # standard errors that name a direction


class Coverage(NamedTuple):
    """Share [d] of z* inside of the central interval of q's draws, its standard error, and what it should be."""

    found: np.ndarray
    se: np.ndarray
    expected: float


class Ranks(NamedTuple):
    """Ranks [n, d], 0 to `draws`, of z* among draws of q(z|x); `counts` [d, bins] of them; uniform where q is exact.

    p [d] is that of a chi-square test of each dimension, `corrected` [d] by Holm's method for all of them.
    """

    ranks: np.ndarray
    draws: int
    counts: np.ndarray
    p: np.ndarray
    corrected: np.ndarray

    @property
    def rejected(self) -> np.ndarray:
        """Dimensions whose ranks are not uniform: bool [d], corrected p at most 0.05."""
        return self.corrected <= 1 - statistics.LEVEL

    @property
    def verdicts(self) -> list[str]:
        """Of each dimension, how q is wrong: 'exact' where nothing was found; several words where several are true.

        Ranks as quantiles of N(0, 1): their mean, z* less that of q in standard deviations of q, tells q 'too low' or
        'too high'; their variance 'too narrow' (the U shape) or 'too wide', unless q is off by more than one of these.
        A q that is off to different sides for different x has a U shape too.
        """
        from scipy.special import ndtri

        n, quantiles = len(self.ranks), ndtri((np.arange(self.draws + 1) + 0.5) / (self.draws + 1))
        found, square = quantiles[self.ranks], np.mean(quantiles**2)
        off = found.mean(0)
        bias = off / np.sqrt(square / n)
        spread = (found.var(0, ddof=1) - square) / np.sqrt((np.mean(quantiles**4) - square**2) / n)
        told = []
        for rejected, o, b, s in zip(self.rejected, off, bias, spread):
            words = [word for yes, word in ((b > SURE, 'too low'), (b < -SURE, 'too high')) if yes]
            widths = ((s > SURE, 'too narrow'), (s < -SURE, 'too wide')) if abs(o) < 1 else ()
            words += [word for yes, word in widths if yes]
            told.append((' and '.join(words) or 'of another shape') if rejected else 'exact')
        return told

    def coverage(self, level: float = 0.9) -> Coverage:
        """Of central intervals that leave floor((1 - level) / 2 (draws + 1)) ranks out at either end.

        Raises Fault on a level that is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise Fault(f'the level is {level}, expected 0 to 1', 'pass level=0.9')
        cut = math.floor((1 - level) / 2 * (self.draws + 1) + 1e-9)
        inside = (self.ranks >= cut) & (self.ranks <= self.draws - cut)
        expected = (self.draws + 1 - 2 * cut) / (self.draws + 1)
        found = inside.mean(0)
        return Coverage(found, share_se(found, len(inside)), expected)

    def __str__(self) -> str:
        n, d = self.ranks.shape
        within = self.coverage()
        told = f'{n} simulations of {self.draws} draws: 90 % intervals hold {100 * np.mean(within.found):.1f} % of z'
        told += f' (exact {100 * within.expected:.1f} %); '
        if not self.rejected.any():
            told += f'no dimension of {d} is told from the exact posterior'
            return f'{told}, least corrected p {min(self.corrected):.2g}'
        wrong = [f'z{i} {word}' for i, word in enumerate(self.verdicts) if self.rejected[i]]
        more = f' and {len(wrong) - 5} more' if len(wrong) > 5 else ''
        return f'{told}q is wrong in {len(wrong)} of {d} dimensions: {", ".join(wrong[:5])}{more}'


@cache
def _rank_rows(model: Model | Conditional, draws: int) -> Rows:
    def rows_of(member: tuple[Any, Array], shared: tuple[Any, Array]) -> tuple[Array, Array]:
        (params, key), (split, rows) = member, shared
        flat = lambda z: jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(z)])

        def one(row: Array) -> tuple[Array, Array]:
            of_row, _, model_key = example(model, split, key, row)
            a, b, c, d = random.split(model_key, 4)
            z = of_row.prior(params).sample(a)
            q = of_row.encode(params, of_row.decode(params, z).sample(b))
            zs, z = vmap(lambda key: flat(q.sample(key)))(random.split(c, draws)), flat(z)
            ties = jnp.sum(zs == z[None], 0)
            rank = jnp.sum(zs < z[None], 0) + random.randint(d, z.shape, 0, ties + 1)
            return rank, jnp.all(jnp.isfinite(zs)) & jnp.all(jnp.isfinite(z))

        return vmap(one)(rows)

    return rows_of


def simulated_ranks(
    model: Model | Conditional,
    params: Any,
    split: Any,
    key: Array,
    *,
    n: int = 1000,
    draws: int = 99,
    bins: int = 20,
    quiet: bool = True,
    kept: str | Path | None = None,
) -> Any:
    """Ranks of z*_d among draws of q(z_d|x), x ~ p(x|z*), z* ~ p(z): uniform where q is exact (Talts et al. 2018).

    `n` simulations; equal values are ordered at random. It is about data of the model: of the split only conditions are
    read, those of a Conditional. A Ranks; of the members of a population a list of m. (Cook et al. 2006 for continuous
    quantiles.) Raises Fault on bins that do not divide draws + 1, fewer than 5 simulations a bin, an empty split, a
    model without densities or whose q has draws of another form than p(z), and (code 4) on draws that are not finite.
    """
    split_and_key(split, key)
    n, draws, bins = counted('n', n, 0), counted('draws', draws, 0), counted('bins', bins, 0)
    if draws < 1 or bins < 2 or (draws + 1) % bins:
        raise Fault(f'{draws + 1} ranks do not fill {bins} bins evenly', 'pass draws=99, bins=20')
    if n < FEWEST * bins:
        found = f'{n} simulations in {bins} bins, expected {FEWEST} or more in each'
        raise Fault(found, f'ask for {FEWEST * bins} or more (n, --images), or fewer bins')
    next(blocks(split, 1, True, 'conditions'))  # refuses a split without rows here
    _check_same(*check_densities(model, params, split, key)[:2])
    rows = split.at(np.arange(n) % len(split))
    size = max(1, min(n, ROWS // draws))
    found = over(_rank_rows(model, draws), params, key, rows, size, quiet, f'ranks, {draws} draws', kept)
    told = [_ranks(ranks, whole, draws, bins) for ranks, whole in (found if key.ndim else [found])]
    return told if key.ndim else told[0]


def _check_same(p: Any, q: Any) -> None:
    """Raises Fault where draws of q have not as many numbers as those of p: quantized codes bring their features."""
    forms = [jax.eval_shape(lambda d: d.sample(random.key(0)), d) for d in (q, p)]
    ours, theirs = (sum(leaf.size for leaf in jax.tree.leaves(form)) for form in forms)
    if ours != theirs:
        found = f'q(z|x) is over {ours} numbers and p(z) over {theirs}, so that z of one has no rank among the other'
        raise Fault(found, 'calibrate a model whose q and p are over the same z; quantized codes are not')


def _ranks(ranks: np.ndarray, whole: np.ndarray, draws: int, bins: int) -> Ranks:
    from scipy.stats import chisquare

    if not whole.all():
        raise Fault(f'{np.sum(~whole)} of {len(whole)} simulations are not finite', 'the model has diverged', NUMBERS)
    places = ranks // ((draws + 1) // bins)
    counts = np.stack([np.bincount(column, minlength=bins) for column in places.T])
    p = np.asarray(chisquare(counts, axis=1).pvalue)
    return Ranks(ranks, draws, counts, p, np.array(statistics.holm(p)))

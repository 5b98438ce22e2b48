"""Parts of what Doersch's tutorial says (2016, section 2 to 2.1.1), for the items of the tour that measure it.

smoothed, carried    a distribution of one number, and the function that makes it of N(0, 1); a picture of both
fitted      a model with d latents, the same shapes for each d          many, lasting    10^e for people
moved       how near images are by the sum of squared differences: a digit, itself with a cut, another class, itself
            moved by two pixels of 28
"""

from typing import Any

MOST = 10_000  # training rows that are looked at


def smoothed(values: Any) -> tuple[Any, Any, Any]:
    """Places [801], F and its density there, of values [n] with a Gaussian kernel around each."""
    import numpy as np
    from scipy import stats

    kernels = stats.gaussian_kde(values)
    at = np.linspace(np.min(values) - 3 * np.std(values), np.max(values) + 3 * np.std(values), 801)
    return at, np.array([kernels.integrate_box_1d(-np.inf, end) for end in at]), kernels(at)


def carried(theme: Any, target: tuple[Any, Any, Any], drawn: Any, unit: str) -> bytes:
    """Left F^-1(Phi(z)) over z, right a histogram of draws [n] and the density; PNG."""
    import numpy as np
    from scipy import stats

    from vae_jax.plot import canvas

    at, F, density = target
    figure, (left, right) = canvas.figure(theme, 4.8, 2.3, 2)
    left.plot(zs := np.linspace(-3.5, 3.5, 200), np.interp(stats.norm.cdf(zs), F, at), color=theme.bar, linewidth=2)
    right.hist(drawn, 40, density=True, color=theme.faint)
    right.plot(at, density, color=theme.bar, linewidth=2)
    left.set(xlabel='z', ylabel=f'F⁻¹(Φ(z)), {unit}')
    right.set(xlabel=unit, yticks=[], xlim=(at[F > 1e-3][0], at[F > 1 - 1e-3][0]))
    return canvas.deliver(figure, None)


def fitted(xs: Any, d: int) -> dict[str, Any]:
    """Probabilistic PCA of xs [n, 64] (Tipping & Bishop 1999), d of 50 latents in use: params['decode']."""
    import numpy as np

    values, vectors = (a[..., ::-1] for a in np.linalg.eigh(np.cov(xs.T)))
    scales = np.sqrt(np.where(np.arange(50) < d, values[:50] - values[d:].mean(), 0))
    found = {'loadings': vectors[:, :50] * scales, 'mean': xs.mean(0), 'log_std': np.log(values[d:].mean()) / 2}
    return {name: np.float32(a) for name, a in found.items()}


def many(e: float) -> str:
    """10^e for people."""
    return f'10^{e:.0f}' if e > 6 else f'{10**e:,.{max(0, 1 - int(e // 1))}f}'


def lasting(e: float) -> str:
    """10^e seconds for people."""
    size, unit = (7.5, 'years') if e > 7.5 else (0, 's') if e > 0 else (-3, 'ms')
    return f'{many(e - size)} {unit}'


def moved(found: Any) -> tuple[dict[str, float], Any]:
    """Distances [] from test digits to the three, medians of 100, and one digit with its three, [1, 4, h, w].

    The cut is as many rows high as the moved one has gone down and to the right: a pixel for each 14 of the image.
    """
    import numpy as np

    rows = [{name: np.asarray(a[:MOST]) for name, a in split.rows.items()} for split in (found.train, found.test)]
    train, x = (np.float32(row['x'][..., 0]) / (found.train.levels - 1) for row in rows)
    x, same = x[:100], rows[0]['label'][None] == rows[1]['label'][:100, None]
    move = max(1, x.shape[1] // 14)
    shifted, cut = np.pad(x, ((0, 0), (move, 0), (move, 0)))[:, :-move, :-move], x.copy()
    cut[:, x.shape[1] // 2 :][:, :move] = 0
    apart = np.stack([np.sum((train - one) ** 2, (1, 2)) for one in x])
    others, a = np.where(same, np.inf, apart), int(np.argmax(rows[1]['label'] == 2))
    far = [np.sum((x - cut) ** 2, (1, 2)), others.min(1), np.sum((x - shifted) ** 2, (1, 2))]
    (to_cut, to_other, to_moved), sigma = np.median(far, 1), np.sqrt(np.median(far[0]) / np.log(1e4))
    numbers = {'to_cut': to_cut, 'to_other': to_other, 'to_moved': to_moved, 'pixels': move, 'side': len(x[0])}
    numbers |= {'nearer': np.mean(np.maximum(*far[:2]) < far[2]), 'sigma': sigma, 'generated': len(train)}
    numbers |= {'moved_nats': to_moved / (2 * sigma**2), 'none_near': np.mean(apart.min(1) > far[0])}
    return numbers, np.stack([x[a], cut[a], train[others[a].argmin()], shifted[a]])[None]

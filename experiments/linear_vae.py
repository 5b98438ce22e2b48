"""Posterior collapse in a linear VAE is that of its likelihood's maximum, and not of its bound.

Claim     With noise s^2 held, a linear VAE keeps as many latents as the data have variances above s^2, the others are
          the prior, and its ELBO reaches the likelihood of probabilistic PCA: what collapses there was not lost by
          amortization, by the bound or by the weight of the KL.
Command   python -m experiments.linear_vae          (digits; stores experiments/results/linear_vae.json)
Expected  three seeds alike: 1, 4, 10, 15 latents where as many variances are above s^2, the ELBO within 0.0001 nats of
          the maximum, sigma of the others 1.000
Time      159 s on one core that others were using too

(Lucas, Tucker, Grosse & Norouzi 2019, sections 4 and 5: latent i collapses if and only if eigenvalue i <= s^2.)
"""

from typing import Any, NamedTuple

from experiments import documents

ACTIVE = 0.01  # variance over the data of a latent's mean (Burda et al. 2015, section 5.2)


class Sizes(NamedTuple):
    """Latents, steps of Adam on all rows, seeds, and how many latents the four noises should leave."""

    latent: int = 20
    steps: int = 10_000
    seeds: int = 3
    kept: tuple[int, ...] = (1, 4, 10, 15)


SMOKE = Sizes(latent=6, steps=3000, seeds=2, kept=(1, 4))


def measured(sizes: Sizes) -> list[dict[str, Any]]:
    """A row a noise: latents that should be left, those that are, and how far the ELBO is from the maximum."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    from vae_jax import data
    from vae_jax.classical import linear_gaussian as lg

    split = data.load('digits', binarization='none').train
    grey = np.asarray(split.rows['x'], np.float32).reshape(len(split), -1) / 16
    xs = jnp.asarray(grey - grey.mean(0))
    variances, vectors = np.linalg.eigh(np.cov(np.asarray(xs, np.float64).T, ddof=0))
    variances, vectors = variances[::-1], vectors[:, ::-1]
    model = lg.probabilistic_pca(sizes.latent, xs[0])
    noises = jnp.array([0.5 * np.log(np.sqrt(variances[k - 1] * variances[k])) for k in sizes.kept], jnp.float32)

    def elbo(params: Any, log_std: Any) -> Any:
        decode = params['decode'] | {'log_std': log_std}

        def one(x: Any) -> Any:
            q = model.encode(params, x)
            return lg.elbo(decode, lg.Posterior(q.mean, jnp.diag(jnp.exp(2 * q.log_std))), x)

        return jnp.mean(jax.vmap(one)(xs))

    optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, sizes.steps))

    def learned(key: Any, log_std: Any) -> tuple[Any, Any, Any]:
        def step(state: Any, _: Any) -> Any:
            params, moments = state
            updates, moments = optimizer.update(jax.grad(lambda p: -elbo(p, log_std))(params), moments)
            return (optax.apply_updates(params, updates), moments), None

        start = model.init(key, xs[0])
        params = jax.lax.scan(step, (start, optimizer.init(start)), length=sizes.steps)[0][0]
        means = jax.vmap(lambda x: model.encode(params, x).mean)(xs)
        return elbo(params, log_std), jnp.var(means, axis=0), jnp.exp(params['encode']['log_std'])

    keys = jax.random.split(jax.random.key(0), sizes.seeds)
    each = jax.jit(jax.vmap(lambda log_std: jax.lax.map(lambda key: learned(key, log_std), keys)))
    rows = []
    for i, (found, moving, widths) in enumerate(zip(*map(np.asarray, each(noises)))):
        s2 = float(np.exp(2 * noises[i]))
        gain = np.sqrt(np.maximum(variances[: sizes.latent] - s2, 0))
        best: dict[str, Any] = {
            'loadings': vectors[:, : sizes.latent] * gain,
            'mean': np.zeros(64),
            'log_std': np.asarray(noises[i]),
        }
        best = {name: jnp.asarray(value, jnp.float32) for name, value in best.items()}
        most = float(jnp.mean(jax.vmap(lambda x: lg.log_marginal(best, x))(xs)))  # noqa: B023
        rows.append(
            {
                's2': s2,
                'predicted': int((variances[: sizes.latent] > s2).sum()),
                'active': (moving > ACTIVE).sum(-1).tolist(),
                'below': (most - found).tolist(),
                'log_p': most,
                'collapsed_width': [float(w[m <= ACTIVE].mean()) for w, m in zip(widths, moving)],
            }
        )
    return rows


def table(stored: dict[str, Any]) -> str:
    """The stored values as Markdown: a row a noise."""
    columns = [
        's^2',
        'variances above it',
        'active latents',
        'maximum of log p(x)',
        'ELBO below it',
        'sigma of the rest',
    ]
    lines = []
    for row in stored['rows']:
        widths = row['collapsed_width']
        cells = [f'{row["s2"]:.4f}', str(row['predicted']), ', '.join(map(str, row['active'])), f'{row["log_p"]:.3f}']
        cells += [', '.join(f'{round(v, 4) + 0:.4f}' for v in row['below']), f'{min(widths):.3f} to {max(widths):.3f}']
        lines.append(cells)
    sizes = stored['sizes']
    return documents.markdown(columns, lines) + (
        f'\n\nGrey digits, centred; nats an image, all training rows; {sizes["latent"]} latents, {sizes["steps"]:,} '
        f'steps of Adam on the exact ELBO, {sizes["seeds"]} seeds, each its own number. s^2 lies between two '
        'variances of the data (eigenvalues of their covariance). Active: the variance of the mean code is above 0.01.'
    )


def main() -> None:
    """Measures, stores and prints."""

    def values(smoke: bool) -> dict[str, Any]:
        sizes = SMOKE if smoke else Sizes()
        return {'sizes': sizes._asdict(), 'rows': measured(sizes)}

    documents.measure('linear_vae', __doc__, values, table)


if __name__ == '__main__':
    main()

"""Autoencoders: what PCA is without a network, and what a penalty or noise makes of one

Claim     A linear autoencoder under squared error finds the subspace of PCA, though not its axes. An L1 penalty leaves
          more codes at zero; a penalty on the encoder's slope, and noise at the input, help where the input is noisy.
Equation  min sum_i |x_i - D E x_i|^2: at its minima D spans the leading principal axes (Baldi & Hornik 1989);
          + s sum_j |z_j|; + c |dz/dx|^2 (Rifai et al. 2011, eq. 1); z of x + noise (Vincent et al. 2008)
Command   python -m experiments.tour.autoencoders
Expected  digits: 0.03 degrees to PCA; error from noisy digits 0.239 plain, 0.189 contractive, 0.172 denoising, 3 seeds
Time      27 s of one CPU core
"""

from typing import NamedTuple

from experiments.tour import telling

CLAIMS = {
    'A linear autoencoder spans what PCA spans, to half a degree.': lambda n: n['angle_degrees'] < 0.5,
    'Its loss is that of PCA, to a thousandth.': lambda n: abs(n['loss_linear'] / n['loss_pca'] - 1) < 1e-3,
    'Its units are not the principal axes.': lambda n: n['units_to_axes_degrees'] > 10,
    'An L1 penalty leaves more codes at zero.': lambda n: n['silent_sparse'] > n['silent_plain'] + 0.1,
    'A penalised slope helps with noise.': lambda n: n['noisy_error_contractive'] < 0.95 * n['noisy_error_plain'],
    'Noise in training helps too.': lambda n: n['noisy_error_denoising'] < 0.95 * n['noisy_error_plain'],
}
ROWS = ('x', 'PCA', 'linear', 'x with noise', 'plain', 'sparse', 'contractive', 'denoising')
HEADS = {'error': 'error of clean digits, rms of a pixel', 'noisy_error': 'of noisy digits'}
HEADS |= {'moved': 'shift of codes by noise, of their spread', 'silent': 'share of codes at zero'}
SEEN = 'Above: x, and what PCA and a linear autoencoder make of it. Below: x with noise, and what four make of that.'
ALT = 'Eight rows of digits. The second and third are alike and blurred; below a row of noise the last is cleanest.'


class Hyper(NamedTuple):
    sparse: float = 0.0
    slope: float = 0.0
    noise: float = 0.0
    beta: float = 0.0  # of |z|^2 / 2
    regular: float = 1.0


def tell(asked: telling.Asked) -> telling.Told:
    import jax
    import numpy as np
    from scipy.linalg import subspace_angles
    from sklearn.decomposition import PCA

    import vae_jax as vj
    from experiments import common
    from vae_jax import distributions, evaluation, losses, plot, report

    data = common.data_of('digits', asked, binarization='none')
    keys, steps = jax.random.split(jax.random.key(asked.seed), 3), (1500, 240) if asked.smoke else (2000, 2000)
    x, train = (np.asarray(evaluation.view_rows(s, keys[0], range(len(s)))) for s in (data.test, data.train))
    noisy = x + 0.35 * np.random.default_rng(asked.seed).normal(size=x.shape)
    pca = PCA(4).fit(train.reshape(len(train), -1))
    back = lambda xs: pca.inverse_transform(pca.transform(xs.reshape(len(xs), -1))).reshape(xs.shape)
    kinds = {'posterior': distributions.Delta, 'likelihood': distributions.fixed_normal(0.0)}
    model = vj.vae(vj.mlp_encoder(()), vj.mlp_decoder(()), latent=4, like=data.example, **kinds)
    params, loss = trained(data, model, losses.autoencoder(model), keys, steps[0], len(train), 0.05, Hyper())
    spans = np.asarray(params['decode']['params']['Dense_0']['kernel'], np.float64)
    nearest = np.abs(spans / np.linalg.norm(spans, axis=-1, keepdims=True) @ pca.components_.T).max(-1)
    numbers = {'loss_pca': float(np.mean(np.sum((train - back(train)) ** 2, (1, 2, 3))))}
    numbers['loss_linear'] = float(2 * loss.mean() - x[0].size * np.log(2 * np.pi))
    numbers['angle_degrees'] = float(max(np.degrees(subspace_angles(one.T, pca.components_.T)[0]) for one in spans))
    numbers['units_to_axes_degrees'] = float(np.degrees(np.arccos(nearest)).mean())  # of each unit to its nearest axis
    found, rows, one = penalised(data, keys, steps[1], x, noisy), [], jax.tree.map(lambda a: a[0], params)
    pictures = [x, back(x), vj.reconstruct(model, one, x), noisy, *found.pop('noisy_x')[:, 0]]
    for i, name in enumerate(ROWS[4:]):
        numbers |= {f'{what}_{name}': float(values[i].mean()) for what, values in found.items()}
        numbers |= {f'{what}_{name}_se': float(values[i].std(ddof=1) / np.sqrt(3)) for what, values in found.items()}
        rows.append([name, *(f'{found[what][i].mean():.3f}' for what in HEADS)])
    board = lambda theme: plot.board(np.stack([xs[:10] for xs in pictures]).clip(0, 1), ROWS, theme=theme)
    figure = telling.themed('What autoencoders give back', SEEN, ALT, board)
    return telling.Told(numbers, [figure], [report.Table('Sixteen units', ('', *HEADS.values()), rows)], seeds=3)


def trained(data, model, objective, keys, steps, batch, lr, hyper):
    """Parameters and last losses of a population under Adam, its steps ever smaller."""
    import optax

    import vae_jax as vj

    adam = optax.adam(optax.cosine_decay_schedule(lr, steps))
    trainer = vj.population(vj.trainer(model.init, vj.per_example(objective), lambda hyper: adam))
    state = vj.start(trainer, data.train, hyper, keys, batch=batch)
    state, seen = vj.advance(trainer, state, data.train, keys, steps=steps, batch=batch)
    return state.params, seen['loss'][-1]


def penalised(data, keys, steps, x, noisy):
    """Of each of four kinds and three seeds: errors, how far codes move, how many are zero, what is made of noisy x."""
    import jax
    import jax.numpy as jnp

    import vae_jax as vj
    from vae_jax import distributions, losses

    relu = lambda f: distributions.Delta(jax.nn.relu(f[..., 0] + 1))
    codes = distributions.Family(1, relu, jnp.isfinite, 'any real number')
    kinds = {'posterior': codes, 'likelihood': distributions.fixed_normal(0.0)}
    model = vj.vae(vj.mlp_encoder((128,)), vj.mlp_decoder((128,)), latent=16, like=data.example, **kinds)

    def objective(params, key, x, hyper):
        slope = losses.contraction(model, params, None, x)  # of the encoder that sees no noise
        penalty = lambda _, params, z, x: hyper.sparse * jnp.sum(jnp.abs(z)) + hyper.slope * slope
        noise = lambda key, x: x + hyper.noise * jax.random.normal(key, x.shape)
        return losses.denoising(lambda noisy: losses.rae(noisy, penalty), model, noise)(params, key, x, hyper)

    def told(params):
        code, rms = jax.vmap(lambda x: model.encode(params, x).mean), lambda a: jnp.sqrt(jnp.mean(a**2))
        back, z = vj.reconstruct(model, params, noisy), code(x)
        found = {'error': rms(vj.reconstruct(model, params, x) - x), 'noisy_error': rms(back - x), 'noisy_x': back}
        return {**found, 'moved': rms(z - code(noisy)) / rms(z - z.mean(0, keepdims=True)), 'silent': jnp.mean(z == 0)}

    weights = jnp.repeat(jnp.diag(jnp.array([0, 0.1, 0.3, 0.35]))[1:], 3, axis=1)  # of three seeds each
    params, _ = trained(data, model, objective, jnp.tile(keys, 4), steps, 64, 2e-3, Hyper(*weights))
    return {name: a.reshape(4, 3, *a.shape[1:]) for name, a in jax.jit(jax.vmap(told))(params).items()}


if __name__ == '__main__':
    telling.main(tell)

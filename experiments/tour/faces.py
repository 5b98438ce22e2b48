"""The convolutional VAE on faces: a film of its training, and attributes as directions

Claim     What each z shows is settled early, and sharpened later. Where the eyes are and what the mouth does are
          directions among the codes: they are read off linearly, and a step moves one, and the other less.
Equation  conv -> {mean, log std} -> z -> upsampling conv, trained by the ELBO (Kingma & Welling 2013, eq. 10);
          directions b: mean of z given attributes a = c + sum_j a_j b_j, by least squares (of one attribute that is 0
          or 1: the difference of mean codes of Larsen et al. 2016)
Command   python -m experiments.tour.faces [--data-dir DIR]
Expected  Frey faces, 3 seeds: R^2 of the eyes 0.960 +- 0.007, of the mouth 0.438 +- 0.009; a step for the eyes moves
          them by 0.804 +- 0.003 of a standard deviation, one for the mouth changes it by 0.20 +- 0.02
Time      34 s of one CPU core
"""

from typing import NamedTuple

from experiments.tour import telling

CLAIMS = {
    'What a z shows is seen a fifth of the way.': lambda n: n['alike_fifth'] > n['alike_first'] + 0.05,
    'Where the eyes are is read off the codes.': lambda n: n['r2_eyes'] > 0.4,
    'So is the mouth.': lambda n: n['r2_mouth'] > 0.4,
    'A step for the eyes moves them, the mouth less.': lambda n: n['moved_eyes'] > max(0.1, 1.5 * n['leaked_eyes']),
    'A step for the mouth changes it, the eyes less.': lambda n: n['moved_mouth'] > max(0.1, 1.5 * n['leaked_mouth']),
}


class Hyper(NamedTuple):
    beta: float = 1.0


def eyes(xs):
    """How far right the dark is in the upper half of pictures [n, h, w, 1], as a share of the width."""
    import numpy as np

    dark = (1 - xs[:, : xs.shape[1] // 2, ..., 0].clip(0, 1)).sum(1)
    return dark @ np.linspace(0, 1, xs.shape[2]) / dark.sum(1)


def mouth(xs):
    """How dark it is in the lower middle of pictures [n, h, w, 1], above what it is in all of them."""
    h, w = xs.shape[1:3]
    light = lambda xs: xs.clip(0, 1).mean((1, 2, 3))
    return light(xs) - light(xs[:, 5 * h // 8 : 7 * h // 8, w // 4 : w - w // 4])


def tell(asked: telling.Asked) -> telling.Told:
    """A convolutional VAE on Frey faces (digits where they are not prepared), three seeds; film, walks, readings."""
    import jax
    import numpy as np
    import optax

    import vae_jax as vj
    from experiments import common
    from vae_jax import evaluation, losses, plot

    name = telling.prepared(asked, 'frey_faces', 'digits')
    data = common.data_of(name, asked, binarization='none')
    keys, unit, few = jax.random.split(jax.random.key(asked.seed), 3), *((20, 16) if asked.smoke else (50, 60))
    train, test = (np.asarray(evaluation.view_rows(s, keys[0], range(len(s)))) for s in (data.train, data.test))
    networks = vj.conv_encoder((8, 16), 64, jax.nn.silu), vj.conv_decoder((16, 8), 64, jax.nn.silu)
    family, mean = vj.distributions.fixed_normal(np.log(0.1)), vj.data.mean(data.train)
    model = vj.vae(*networks, latent=10, like=data.example, likelihood=family, output_bias=mean)
    loss = vj.per_example(losses.beta_elbo(model))
    trainer = vj.population(vj.trainer(model.init, loss, lambda hyper: optax.adam(2e-3)))
    state, film = vj.start(trainer, data.train, Hyper(), keys, batch=64), {}
    drawn = jax.jit(jax.vmap(lambda params: vj.sample_means(model, params, keys[0], 60)))
    for i in range(1, few + 1):
        state, _ = vj.advance(trainer, state, data.train, keys, steps=unit, batch=64)
        if i in (1, few // 5, few // 2, few):
            film[i * unit] = np.asarray(drawn(state.params))
    shown = [xs - xs.mean(1, keepdims=True) for xs in film.values()]
    alike = [np.sum(xs * shown[-1]) / np.sqrt(np.sum(xs**2) * np.sum(shown[-1] ** 2)) for xs in shown]
    numbers = {'alike_first': alike[0], 'alike_fifth': alike[1], 'steps': few * unit, 'images': len(train)}
    each = [read(model, jax.tree.map(lambda a, i=i: a[i], state.params), train, test) for i in range(3)]
    for what in each[0][0]:
        values = [told[what] for told, _ in each]
        numbers |= {what: float(np.mean(values)), f'{what}_se': float(np.std(values, ddof=1) / np.sqrt(3))}
    rows = np.stack([frames[0, :12] for frames in film.values()] + [test[:12]]).clip(0, 1)
    far, names = ['-2', '', '', '0', '', '', '+2'], [*(f'{step:,} steps' for step in film), 'test images']
    figures = [
        telling.themed(
            'A film of training: each column is one z',
            'Pictures at twelve fixed z, later in training from row to row; below, test images.',
            'Columns of faces: noise or the mean face at first, then the same face ever sharper; the last row is real.',
            lambda theme: plot.board(rows, names, theme=theme),
        ),
        telling.themed(
            'Attributes as directions',
            'Reconstructed test images in the middle, up to two standard deviations of the attribute both ways.',
            'Six rows of seven faces whose eyes wander, or whose mouths change, from left to right.',
            lambda theme: plot.board(each[0][1].clip(0, 1), ['eyes', '', '', 'mouth', '', ''], far, theme=theme),
        ),
    ]
    return telling.Told(numbers, figures, notes=[] if name == 'frey_faces' else [f'data: {name}, not faces'], seeds=3)


def read(model, params, train, test):
    """(what codes tell of the two attributes, and what steps of one standard deviation do to both; walks of six)."""
    import jax
    import numpy as np

    from vae_jax import evaluation

    encode = jax.jit(jax.vmap(lambda x: model.encode(params, x).mean))
    decode = jax.jit(jax.vmap(lambda z: model.decode(params, z).mean))
    codes, test_codes = (np.asarray(encode(xs)) for xs in (train, test))
    scaled = np.stack([(f(train) - f(train).mean()) / f(train).std() for f in (eyes, mouth)], 1)
    ways, told, walks = np.linalg.lstsq(scaled, codes - codes.mean(0))[0], {}, []
    for way, of, other in zip(ways, (eyes, mouth), (mouth, eyes)):
        told[f'r2_{of.__name__}'] = evaluation.regression(codes, of(train), test_codes, of(test)).r2
        low, high = (np.asarray(decode(test_codes + step * way)) for step in (-1, 1))
        for kind, f in (('moved', of), ('leaked', other)):
            told[f'{kind}_{of.__name__}'] = float(np.mean(f(high) - f(low)) / 2 / f(train).std())
        walks += [decode(test_codes[i] + np.linspace(-2, 2, 7)[:, None] * way) for i in range(3)]
    return told, np.asarray(walks)


if __name__ == '__main__':
    telling.main(tell)

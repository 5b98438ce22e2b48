"""What a code says of a digit: slant and thickness, read, changed, and carried over

Claim     Slant and thickness, which no label tells, are read off a digit's code by a straight line (ten principal
          components read slant worse and thickness better), and directions change them and leave the digit. One
          digit's slant is carried over by slanted - upright + another; half of the digits become other ones.
Equation  R^2 = 1 - mean (y - a - b . z)^2 / var y on test digits, z = E[z|x]; slant: the shear that makes ink
          uncorrelated; thickness: twice the mean distance to the ground (Castro et al. 2019, Morpho-MNIST);
          directions: E[z | slant, thickness, label] by least squares, which holds the label fixed
Command   python -m experiments.tour.attributes [--data-dir DIR]
Expected  MNIST, 4,000 images, 3 seeds: R^2 slant 0.919 +- 0.004 (PCA 0.823), thickness 0.447 +- 0.013 (PCA 0.633)
Time      37 s of one CPU core, shared (60 s by the clock)
"""

from typing import NamedTuple

from experiments.tour import telling

CLAIMS = {
    'Slant is read off the codes.': lambda n: n['r2_slant'] > 0.6,
    'So is thickness.': lambda n: n['r2_thickness'] > 0.3,
    'A step for slant slants.': lambda n: n['moved_slant'] > 0.3,
    'A step for thickness thickens.': lambda n: n['moved_thickness'] > 0.1,
    'Most digits stay what they were.': lambda n: min(n['kept_slant'], n['kept_thickness']) > 0.6,
    'Slanted - upright + another is slanted.': lambda n: n['moved_sum'] > 0.3,
}


class Hyper(NamedTuple):
    beta: float = 1.0


def tell(asked: telling.Asked) -> telling.Told:
    """A convolutional VAE of digits, three seeds: R^2 of styles, steps along them, arithmetic with pairs of digits."""
    import jax
    import numpy as np
    import optax

    import vae_jax as vj
    from experiments import common
    from vae_jax import evaluation, losses, plot

    name = telling.prepared(asked, 'mnist', 'digits')
    data = vj.data.first(common.data_of(name, asked, binarization='none'), 4000)
    keys, steps = jax.random.split(jax.random.key(asked.seed), 3), 400 if asked.smoke else 1500
    splits = data.train, evaluation.some(data.test, min(len(data.test), 500))
    train, test = (np.asarray(evaluation.view_rows(s, keys[0], range(len(s)))) for s in splits)
    labels = [np.asarray(split.rows['label']) for split in splits]
    networks = vj.conv_encoder((8, 16), 64, jax.nn.silu), vj.conv_decoder((16, 8), 64, jax.nn.silu)
    family = vj.distributions.fixed_normal(np.log(0.2))
    model = vj.vae(*networks, latent=10, like=data.example, likelihood=family)
    loss = vj.per_example(losses.beta_elbo(model))
    trainer = vj.population(vj.trainer(model.init, loss, lambda hyper: optax.adam(2e-3)))
    state = vj.start(trainer, data.train, Hyper(), keys, batch=64)
    state, _ = vj.advance(trainer, state, data.train, keys, steps=steps, batch=64)
    given = evaluation.styles(train, test)
    each = [
        read(model, jax.tree.map(lambda a, i=i: a[i], state.params), (train, test), labels, given) for i in range(3)
    ]
    numbers: dict[str, float] = {'images': len(train), 'steps': steps}
    for what in each[0][0]:
        values = [told[what] for told, *_ in each]
        numbers |= {what: float(np.mean(values)), f'{what}_se': float(np.std(values, ddof=1) / np.sqrt(3))}
    (_, walks, sums), far = each[0], ['-2', '', '', '0', '', '', '+2']
    figures = [
        telling.themed(
            'Slant and thickness as directions',
            'Reconstructed test digits in the middle, up to two standard deviations of the attribute both ways.',
            'Six rows of seven digits; the upper three lean ever more, the lower three get ever thicker.',
            lambda theme: plot.board(walks, ['slant', '', '', 'thickness', '', ''], far, theme=theme),
        ),
        telling.themed(
            'Arithmetic with digits',
            'In each column: a slanted digit, minus an upright one of its class, plus another digit, and the result.',
            'Four rows of ten digits; those of the last row lean to the right, and about half are those of the third.',
            lambda theme: plot.board(sums, ['slanted', '- upright', '+ another', '= result'], theme=theme),
        ),
    ]
    return telling.Told(numbers, figures, notes=['data: digits'] if name == 'digits' else [], seeds=3)


def read(model, params, pictures, labels, given):
    """(numbers, walks, sums) of one trained model: R^2, what steps move, what slanted - upright + another gives."""
    import jax
    import numpy as np
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression

    from vae_jax import evaluation

    encode = jax.jit(jax.vmap(lambda x: model.encode(params, x).mean))
    decode = lambda z: np.asarray(jax.vmap(lambda z: model.decode(params, z).mean)(z)).clip(0, 1)
    codes, test_codes = (np.asarray(encode(xs)) for xs in pictures)
    flat = lambda xs: xs.reshape(len(xs), -1)
    judge = LogisticRegression(max_iter=200).fit(flat(pictures[0])[:2000], labels[0][:2000])
    axes = [PCA(10).fit(flat(pictures[0])).transform(flat(xs)) for xs in pictures]  # as many numbers, without a network
    scaled = np.stack([(y - y.mean()) / y.std() for y, _ in given.values()], 1)
    ways = np.linalg.lstsq(np.hstack([scaled, np.eye(10)[labels[0]]]), codes)[0]
    told, walks, measures = {}, [], {'slant': evaluation.slant, 'thickness': evaluation.thickness}
    for way, (name, (y, test_y)) in zip(ways, given.items()):
        told[f'r2_{name}'] = evaluation.regression(codes, y, test_codes, test_y).r2
        told[f'r2_{name}_pca'] = evaluation.regression(axes[0], y, axes[1], test_y).r2
        low, high = (decode(test_codes + step * way) for step in (-1, 1))
        told[f'moved_{name}'] = float(np.mean(measures[name](high) - measures[name](low)) / 2 / y.std())
        told[f'kept_{name}'] = float(np.mean(judge.predict(flat(high)) == judge.predict(flat(decode(test_codes)))))
        walks += [decode(test_codes[i] + np.linspace(-2, 2, 7)[:, None] * way) for i in range(3)]
    order, rng = np.argsort(given['slant'][1]), np.random.default_rng(0)
    classes = [order[labels[1][order] == label] for label in rng.permutation(np.repeat(np.arange(10), 20))]
    ends = [(rng.choice(one[-(len(one) // 3) :]), rng.choice(one[: len(one) // 3])) for one in classes if len(one) > 2]
    a, b = np.transpose(ends)  # slanted, and an upright one of its class
    c = rng.choice(order[: len(order) // 3], len(a))
    made, plain = decode(test_codes[a] - test_codes[b] + test_codes[c]), decode(test_codes[c])
    lean = lambda xs: evaluation.slant(xs).mean()
    told['moved_sum'] = float((lean(made) - lean(plain)) / (lean(pictures[1][a]) - lean(pictures[1][b])))
    told['kept_sum'] = float(np.mean(judge.predict(flat(made)) == judge.predict(flat(plain))))
    return told, np.stack(walks), np.stack([xs[:10] for xs in (pictures[1][a], pictures[1][b], plain, made)])


if __name__ == '__main__':
    telling.main(tell)

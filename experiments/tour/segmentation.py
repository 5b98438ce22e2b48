"""A picture in, a mask out: one answer or several

Claim     Where a bar hides part of a shape, several masks fit. A network that gives one answer leaves the hidden edge
          grey; a conditional VAE draws whole masks, under which the truth is likelier, which differ most where the
          picture leaves most open. Whoever wants a single mask is served better by the regressor.
Equation  log p(mask|image) = log E p(mask|z, image) over z ~ p(z|image) (Sohn, Lee & Yan 2015, section 3), and
          IoU = pixels in both masks / pixels in either
Command   python -m experiments.tour.segmentation [--data-dir DIR]
Expected  512 test pictures, 3 seeds, CVAE and regressor: -log p(mask|image) 13.16 +- 0.08 and 21.4 +- 0.3 nats; IoU of
          one answer 0.490 +- 0.006 and 0.516 +- 0.002, of the best of 30 of the CVAE 0.733 +- 0.004; bits that a mask
          leaves open 17.7 to 18.8 and 27.1 +- 0.5
Time      75 s of one CPU core, shared (95 s by the clock)
"""

from typing import Any

from experiments.tour import telling

CLAIMS = {
    'The true mask is likelier under the CVAE than under the regressor': lambda n: n['gain'] > 3 * n['gain_se'],
    'Answers of the CVAE differ more where the bar hides most of a shape than where it hides none': (
        lambda n: n['differ_hidden'] > n['differ_free']
    ),
    'Given z, it leaves fewer bits open': lambda n: n['entropy_cvae'] < n['entropy'],
    'Over all z too': lambda n: n['open'] < n['entropy'],
    'The best of many answers overlaps more than the one of the regressor': lambda n: n['iou_best'] > n['iou'] + 0.01,
    'A single one overlaps less, and so does their mean': lambda n: max(n['iou_cvae'], n['iou_mean']) < n['iou'],
}


def tell(asked: telling.Asked) -> telling.Told:
    import dataclasses

    import jax
    import jax.numpy as jnp
    import numpy as np

    import vae_jax as vj
    from experiments import answers
    from vae_jax import plot
    from vae_jax.data import sprites
    from vae_jax.report import Table

    grid, held = (sprites.Grid(4, 3, 4, 8, 8), 128) if asked.smoke else (sprites.Grid(4, 3, 4, 12, 12), 512)
    hidden, steps, count, k, rate = ((96,), 600, 20, 20, 3e-3) if asked.smoke else ((256, 256), 3000, 30, 200, 1e-3)
    masks, side, many, draws = sprites.sprites(grid, 16, held), 16, 100, np.random.default_rng(asked.seed)

    def barred(split: Any) -> Any:
        """The split, and beside x a picture: x at a contrast of 0.6 in noise of 0.1, -1 behind a bar of 6 pixels."""
        x = np.array(split.rows['x'], np.float32)
        left = draws.integers(0, side - 5, len(x))[:, None]
        bar = (np.arange(side) >= left) & (np.arange(side) < left + 6)
        seen = np.where(bar[:, None, :, None], -1, np.clip(0.2 + 0.6 * x + 0.1 * draws.normal(size=x.shape), 0, 1))
        return dataclasses.replace(split, rows={'x': split.rows['x'], 'seen': jnp.asarray(seen, jnp.float32)})

    data = dataclasses.replace(masks, **{name: barred(split) for name, split in masks.splits.items()})
    test = {name: np.array(column, np.float32) for name, column in data.test.rows.items()}
    of = lambda row: (row['x'], row['seen'])
    row, keys = {'x': data.example, 'seen': test['seen'][0]}, jax.random.split(jax.random.key(asked.seed), 3)
    truth, bar = test['x'][..., 0], test['seen'][..., 0] < 0
    gone = (truth * bar).sum((1, 2)) / truth.sum((1, 2))  # the part of each sprite behind the bar
    numbers: dict[str, Any] = {}

    def note(name: str, values: Any) -> None:  # one value a seed
        numbers.update({name: np.mean(values), f'{name}_se': np.std(values, ddof=1) / np.sqrt(len(values))})

    def overlap(pictures: Any) -> Any:  # IoU [n, m] of pictures [n, m, h, w]
        on, true = pictures > 0.5, truth[:, None] > 0.5
        return (on & true).sum((2, 3)) / (on | true).sum((2, 3))

    nats, shown = {}, {}
    for method, model in answers.pair(of, row, hidden, 12, vj.Bernoulli).items():
        trainer, hyper = vj.population(answers.learner(model)), answers.Hyper(rate)
        params = vj.fit(trainer, data, hyper, keys, steps=steps, batch=64, quiet=True).params
        nats[method] = [one.estimate.mean for one in vj.nll(model, params, data.test, keys, k=k)]
        m, name = (many, '_cvae') if method == 'cvae' else (1, '')
        told = [answers.answers_of(model, vj.take(params, i), test, keys[i], m) for i in range(3)]
        each = [one.means[:, :count, ..., 0] for one in told]
        shown[method] = each[0]
        note(f'nats{name}', nats[method])
        note(f'entropy{name}', [answers.bits(p[:, 0]).sum((1, 2)).mean() for p in each])
        note(f'iou{name}', [overlap(p[:, :1]).mean() for p in each])
    flat = lambda xs: xs.reshape(held, many, -1)
    least, most = np.array([answers.open_bits(flat(one.means), flat(one.drawn)) for one in told]).T
    note('least', least)
    note('open', most)
    note('gain', np.subtract(nats['regressor'], nats['cvae']))
    note('iou_mean', [overlap(p.mean(1, keepdims=True)).mean() for p in each])
    note('iou_best', [overlap(p).max(1).mean() for p in each])
    differ = np.array([2 * count / (count - 1) * (p > 0.5).var(1).sum((1, 2)) for p in each])  # pixels, of two answers
    note('differ_hidden', differ[:, gone > 0.5].mean(1))
    note('differ_free', differ[:, gone == 0].mean(1))
    numbers |= {'answers': count, 'images': held, 'training': len(data.train)}

    def drawn(theme: Any) -> bytes:
        at = np.flatnonzero(gone > 0.5)[:6]
        pictures = np.concatenate([shown['regressor'][at], shown['cvae'][at, :4], truth[at, None]], 1)
        given = answers.inked(theme, np.clip(test['seen'][at, None, ..., 0], 0, 1), False, bar[at, None])
        tiles = np.concatenate([given, answers.inked(theme, pictures)], 1)
        return plot.board(tiles, (), ['picture', 'regressor', *['CVAE'] * 4, 'truth'], theme=theme)

    figure = telling.themed(
        'Masks of shapes behind a bar',
        'Six test pictures more than half of whose shape is behind the bar. The regressor gives one mask, the CVAE '
        'another one for each z ~ p(z|image), here four.',
        'A row a picture: noise with a bar before a shape, one mask with grey edges of the regressor, four different '
        'masks of the conditional VAE, and the true shape.',
        drawn,
    )
    cells = lambda *names: [telling.number(numbers[name], numbers[f'{name}_se']) for name in names]
    rows = [['regressor', *cells('nats', 'entropy', 'entropy', 'iou')]]
    rows += [['CVAE', *cells('nats_cvae', 'entropy_cvae', 'open', 'iou_cvae')]]
    header = ['', 'nats', 'bits a mask, given z', 'over all z', 'overlap (IoU) of one']
    table = Table('Masks of test pictures', header, rows)
    return telling.Told(numbers, [figure], [table], [], 3)


if __name__ == '__main__':
    telling.main(tell)

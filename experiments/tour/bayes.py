"""Beliefs about the parameters too: the other half of variational Bayes

Claim     The doubly stochastic estimator finds the best belief of independent parts, right in the mean and too narrow;
          beliefs about all weights save a model from overfitting few rows, and make no difference where rows are many.
Equation  log p(X) >= E_q[sum_i ELBO(x_i; theta)] - KL(q(theta) || p(theta)), from a batch and one theta a step
          (Kingma & Welling 2013, appendix F); the exact answers: Bishop 2006, eqs. 3.50, 3.51 and 10.12
Command   python -m experiments.tour.bayes [--data-dir DIR]
Expected  digits, 3 seeds; test log p(x) of beliefs less that of the likeliest weights: 21.4 nats (standard error 0.05)
          of 50 training images, -0.30 (0.06) of 150, -0.33 (0.02) of 1,297, where a point learned alike has -0.25
Time      36 s of processor; 65 s by the clock of a core that others were using too
"""

from typing import NamedTuple

from experiments.tour import telling

CLAIMS = {
    'means are within a tenth of the exact standard deviation': lambda n: n['mean_off'] < 0.1,
    'widths are within a tenth of those of the best belief of independent parts': lambda n: n['width_off'] < 0.1,
    'beliefs of independent parts are too narrow': lambda n: n['too_narrow'] < 0.9,
    'few rows: beliefs beat the likeliest weights': lambda n: n['few_gain'] > 3 * n['few_gain_se'] + 1,
    'many rows: there is little left to gain': lambda n: n['many_gain'] < 0.25 * n['few_gain'],
}


class Hyper(NamedTuple):
    lr: float = 0.02


def learned(init, loss, split, steps, batch, keys):
    import optax

    import vae_jax as vj

    schedule = lambda hyper, step: Hyper(hyper.lr * vj.schedules.cosine(steps)(step))
    runs = vj.population(vj.trainer(init, loss, lambda hyper: optax.adam(hyper.lr), schedule))
    state = vj.start(runs, split, Hyper(), keys, batch=batch)
    return vj.advance(runs, state, split, keys, steps=steps, batch=batch)[0].params


def tell(asked):
    import jax
    import jax.numpy as jnp
    import numpy as np

    import vae_jax as vj
    from experiments import common
    from vae_jax.classical import factors
    from vae_jax.classical import variational_bayes as vb
    from vae_jax.classical.linear_gaussian import log_marginal, probabilistic_pca

    keys = jax.random.split(jax.random.key(asked.seed), 2 if asked.smoke else 3)
    table, notes = telling.table(asked, 'howell1')  # weights of people by height and sex: conjugate, so exact
    x = np.stack([table['height'], table['male'], table['weight']], 1)[table['age'] >= 18]
    x = (x - x.mean(0)) / x.std(0)
    rows, (X, y) = len(x), (x[:, :2], x[:, 2])
    noise = np.std(y - X @ np.linalg.lstsq(X, y, rcond=None)[0])
    precision = X.T @ X / noise**2 + np.eye(2)
    covariance = np.linalg.inv(precision)
    mean, exact, best = covariance @ X.T @ y / noise**2, np.sqrt(np.diag(covariance)), np.diag(precision) ** -0.5

    def regression(params, key, row, hyper):
        return -vj.Normal(params['w'] @ row[:2], jnp.float32(np.log(noise))).log_prob(row[2]), {}

    loss = vb.bayesian(vj.per_example(regression), ('w',), rows)
    split = vj.data.Split({'x': jnp.asarray(x, jnp.float32)}, None, vj.data.identity())
    weights = learned(vb.believed(lambda *_: {'w': jnp.zeros(2)}, ('w',)), loss, split, 3000, 64, keys)['w']
    middle, width = np.asarray(weights['mean']).mean(0), np.exp(np.asarray(weights['log_std']).mean(0))
    numbers = {'mean_off': np.abs((middle - mean) / exact).max(), 'width_off': np.abs(width / best - 1).max()}
    numbers |= {'too_narrow': (width / exact).max()}

    sizes, latent, steps = ((24, 256), 10, 800) if asked.smoke else ((50, 150, 1297), 20, 5000)
    data, found, part = common.data_of('digits', asked, binarization='none'), {}, ('decode',)
    view = lambda split: vj.evaluation.view_rows(split, jax.random.key(0), range(len(split)))
    model, test = probabilistic_pca(latent, data.example), view(data.test)
    log_p, draws = jax.jit(lambda p: jax.vmap(lambda x: log_marginal(p, x))(test)), jax.random.split(keys[0], 50)
    for size in sizes:
        few = vj.data.first(data, size).train
        one = float(log_p(factors.ppca(view(few).reshape(size, -1), latent)._asdict()).mean())
        elbo = vj.per_example(vj.negative(vj.bounds.elbo, model))
        point = jax.vmap(lambda p: log_p(p['decode']))(learned(model.init, elbo, few, steps, 24, keys)).mean()
        loss = vb.bayesian(elbo, part, size, log_std=-1.5)
        params = learned(vb.believed(model.init, part), loss, few, steps, 24, keys)
        under = jax.vmap(lambda p: jax.vmap(lambda k: log_p(vb.drawn(p, k, part)['decode']))(draws))(params)
        others = np.asarray((jax.nn.logsumexp(under, axis=1) - jnp.log(len(draws))).mean(1))
        found[size], name = (one, others.mean()), {sizes[0]: 'few', sizes[-1]: 'many'}.get(size, 'some')
        numbers |= {f'{name}_likeliest': one, f'{name}_point': point, f'{name}_beliefs': others.mean()}
        numbers |= {f'{name}_gain': others.mean() - one, f'{name}_gain_se': others.std(ddof=1) / len(keys) ** 0.5}
    numbers = {name: float(value) for name, value in numbers.items()}
    numbers |= {'people': rows, 'few': sizes[0], 'many': sizes[-1]}
    circle = 2 * np.stack([f(np.linspace(0, 2 * np.pi, 200)) for f in (np.cos, np.sin)])
    ellipses = mean[:, None] + np.linalg.cholesky(covariance) @ circle, middle[:, None] + width[:, None] * circle
    return telling.Told(numbers, [drawn(ellipses, found)], notes=notes, seeds=len(keys))


def drawn(ellipses, found):
    from vae_jax.plot import canvas

    def draw(theme):
        made, (left, right) = canvas.figure(theme, 7.2, 3.0, 2)
        for colour, ellipse, values in zip(canvas.PALETTE, ellipses, zip(*found.values())):
            left.plot(*ellipse, color=colour, linewidth=1.8)
            right.plot(list(found), values, 'o-', color=colour, linewidth=1.8)
        left.set(xlabel='weight of height', ylabel='weight of sex')
        right.set(xscale='log', xlabel='training images', ylabel='test log p(x), nats')
        right.set_xticks(list(found), list(found))
        right.minorticks_off()
        canvas.legend(left, left.lines, ['exact', 'independent'], theme)
        canvas.legend(right, right.lines, ['likeliest weights', 'beliefs'], theme)
        return canvas.deliver(made, None)

    caption = 'Left: two standard deviations of the belief about two weights. Right: what beliefs are worth, by rows.'
    alt = 'A tilted ellipse and a smaller upright one at its middle; two lines that rise with the number of images.'
    return telling.themed('Beliefs about parameters', caption, alt, draw)


if __name__ == '__main__':
    telling.main(tell)

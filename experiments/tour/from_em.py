"""From EM to the VAE: six ways to learn one model whose best answer is known

Claim     EM falls to the closed form; a q of independent parts costs it speed; gradients come later, wake-sleep last.
Equation  log p(x) = E_q[log p(x, z) - log q(z)] + KL(q || p(z|x)): EM sets q = p(z|x), then maximizes over p (Neal &
          Hinton 1998, section 2); AEVB follows the gradient in both (Kingma & Welling 2013, section 2.3). The model is
          probabilistic PCA, whose maximum is an eigendecomposition (Tipping & Bishop 1999, section 3.2).
Command   python -m experiments.tour.from_em
Expected  digits, 200 passes, 3 seeds, nats below the maximum (standard error): EM 0.000, variational 0.027 (0.002),
          Monte Carlo EM 0.036 (0.004), wake-sleep 0.31 (0.06), reweighted 0.005 (0.001), AEVB 0.12 (0.01)
Time      82 s on one CPU core that others were using too
"""

from typing import NamedTuple

from experiments.tour import telling

NAMES = {'em': 'EM', 'variational': 'variational EM', 'mcem': 'Monte Carlo EM', 'wake_sleep': 'wake-sleep'}
NAMES |= {'reweighted': 'reweighted', 'aevb': 'AEVB'}
CLAIMS = {
    'EM never falls, and ends within 0.01 nats of the closed form': lambda n: n['em_falls'] < 1e-3 and n['em'] < 0.01,
    'after five passes EM is nearer than all that follow gradients': lambda n: 2 * n['em_at_5'] < n['best_at_5'],
    'a q of independent parts makes EM slower': lambda n: n['variational'] > 2 * n['em'] + 1e-4,
    'wake-sleep ends further away than AEVB': lambda n: n['wake_sleep'] > 1.2 * n['aevb'],
    'reweighting its samples mends wake-sleep': lambda n: n['reweighted'] < 0.5 * n['wake_sleep'],
}


class Hyper(NamedTuple):
    lr: float


def trainers(model, rows, steps, batch):
    import optax

    import vae_jax as vj
    from vae_jax import bounds, losses
    from vae_jax.classical import factor_em, mcem

    schedule = lambda hyper, step: Hyper(hyper.lr * vj.schedules.cosine(steps)(step))
    adam = lambda hyper: optax.adam(hyper.lr)
    learned = lambda objective: vj.trainer(model.init, vj.per_example(objective), adam, schedule)
    return {
        'em': (factor_em.exact_em(model), rows),
        'variational': (factor_em.variational_em(model, rows), rows),
        'mcem': (mcem.monte_carlo_em(model, mcem.in_closed_form(), rows), rows),
        'wake_sleep': (learned(losses.wake_sleep(model)), batch),
        'reweighted': (learned(losses.reweighted_wake_sleep(model, k=10)), batch),
        'aevb': (learned(vj.negative(bounds.elbo, model)), batch),
    }


def tell(asked):
    import dataclasses
    import time

    import jax
    import jax.numpy as jnp
    import numpy as np

    import vae_jax as vj
    from experiments import common
    from vae_jax.classical import factors
    from vae_jax.classical.linear_gaussian import log_marginal, probabilistic_pca

    latent, passes, batch, seeds = (3, 60, 32, 2) if asked.smoke else (10, 200, 100, 3)
    data = common.data_of('digits', asked, binarization='none')
    train, rows = data.train, len(data.train)
    train = dataclasses.replace(train, rows={**train.rows, 'row': jnp.arange(rows)})
    seen = [vj.evaluation.view_rows(split, jax.random.key(0), range(len(split))) for split in (train, data.test)]
    log_p = jax.jit(lambda p: jnp.stack([jnp.mean(jax.vmap(lambda x: log_marginal(p, x))(xs)) for xs in seen]))
    best = np.asarray(log_p(factors.ppca(seen[0].reshape(rows, -1), latent)._asdict()))
    model, keys = probabilistic_pca(latent, data.example), jax.random.split(jax.random.key(asked.seed), seeds)
    behind, seconds, numbers = {}, {}, {'best_test': best[1]}
    for name, (trainer, size) in trainers(model, rows, passes * (rows // batch), batch).items():
        runs, a_pass = vj.population(trainer), {'steps': rows // size, 'batch': size}
        state, curve, spent = vj.start(runs, train, Hyper(0.02), keys, batch=size), [], []
        vj.advance(runs, state, train, keys, **a_pass)  # compiled before the clock starts
        for _ in range(passes):
            started = time.perf_counter()
            state, _ = vj.advance(runs, state, train, keys, **a_pass)
            spent.append((time.perf_counter() - started) / seeds)
            curve.append(jax.vmap(log_p)(state.params['decode']))
        curve = best - np.asarray(curve)  # [passes, seeds, 2]
        behind[name], seconds[name] = curve[..., 0].mean(1), np.cumsum(spent)
        for what, of_seeds in ((name, curve[-1, :, 0]), (f'{name}_test', best[1] - curve[-1, :, 1])):
            numbers |= {what: of_seeds.mean(), f'{what}_se': of_seeds.std(ddof=1) / seeds**0.5}
        numbers |= {f'{name}_seconds': seconds[name][-1]}
        if name == 'em':
            numbers |= {'em_falls': np.diff(curve[..., 0], axis=0).max(), 'em_at_5': behind[name][4]}
    numbers['best_at_5'] = min(behind[name][4] for name in ('wake_sleep', 'reweighted', 'aevb'))
    numbers = {name: float(value) for name, value in numbers.items()} | {'passes': passes, 'latent': latent}
    return telling.Told(numbers, [drawn(behind, seconds)], seeds=seeds)


def drawn(behind, seconds):
    import numpy as np

    from vae_jax.plot import canvas

    def draw(theme):
        made, panels = canvas.figure(theme, 7.2, 3.2, 2)
        for axes, label in zip(panels, ('passes over the data', 'seconds of one core')):
            for colour, (name, gap) in zip(canvas.PALETTE, behind.items()):
                at = np.arange(1, len(gap) + 1) if axes is panels[0] else seconds[name]
                axes.loglog(at, np.maximum(gap, 1e-3), color=colour, linewidth=1.6)
            axes.minorticks_off()
            axes.set(xlabel=label)
            axes.grid(axis='y', color=theme.faint, linewidth=0.6)
        panels[0].set(ylabel='nats an image below the maximum')
        canvas.legend(made, panels[0].lines, NAMES.values(), theme)
        return canvas.deliver(made, None)

    caption = 'How far log p(x) of the training images is below its maximum; less than 0.001 nats are drawn as 0.001.'
    alt = 'Six falling lines, axes logarithmic: EM falls first and furthest, those that follow gradients later.'
    return telling.themed('One model learned in six ways', caption, alt, draw)


if __name__ == '__main__':
    telling.main(tell)

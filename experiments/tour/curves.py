"""The ELBO and what it leaves out: three curves that add up

Claim     log p(x) = ELBO + KL(q || p(z|x)) at every step of training, to the last digits, where log p(x) is exact. And
          reconstruction + KL(q || p(z)) is the same number as -log p(x) + KL(q || p(z|x)). The gap may widen.
Equation  log p(x) = E_q[log p(x|z)] - KL(q(z|x) || p(z)) + KL(q(z|x) || p(z|x)) (Kingma & Welling 2013, eq. 1 and 3)
Command   python -m experiments.tour.curves
Expected  digits, 3 seeds: 1e-12 nats apart at most in 60,000 sums; the gap falls from 1.46 +- 0.28 to 0.10 +- 0.01; of
          the steps that raise the ELBO 35 +- 2 % widen it, and 15 +- 1 % lower log p(x)
Time      27 to 36 s of processor (65 to 78 s by the clock) on one CPU core that others were using too
"""

from collections import namedtuple
from typing import Any

from experiments.tour import telling

CLAIMS = {
    'The three curves add up at every step, to 1e-9 nats': lambda n: n['apart'] < 1e-9,
    'Quadrature on another grid gives the same log p(x), to 1e-5 nats': lambda n: n['quadrature_apart'] < 1e-5,
    'The ELBO rises by more than its gap closes': lambda n: n['elbo_rise'] > 2 * n['gap_start'] > 0,
    'Of the steps that raise the ELBO many widen the gap': lambda n: n['widened'] > max(0.1, 5 * n['widened_se']),
    'At the end more of the gap is the encoder than its family': lambda n: n['amortization'] > n['approximation'],
}
Hyper = namedtuple('Hyper', 'beta')


def walk(model: Any, split: Any, keys: Any, steps: int) -> Any:
    """Adam on the ELBO, a run for each key: params before each step, leaves [steps * runs, ...]."""
    import jax
    import jax.numpy as jnp
    import optax
    from jax.flatten_util import ravel_pytree

    import vae_jax as vj

    trainer = vj.trainer(model.init, vj.per_example(vj.beta_elbo(model)), lambda hyper: optax.adam(3e-3))

    def step(state: Any, batch: Any) -> Any:
        after, metrics = trainer.step(state, batch)
        return after, {**metrics, 'params': ravel_pytree(state.params)[0]}

    watched = vj.population(vj.Trainer(trainer.init, step))
    state = vj.training.start(watched, split, Hyper(1.0), keys)
    seen = vj.advance(watched, state, split, keys, steps=steps)[1]['params']
    unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], state.params))[1]
    return jax.vmap(unravel)(jnp.float32(seen.reshape(steps * len(keys), -1)))


def on_grid(model: Any, params: Any, x: Any) -> dict[str, Any]:
    """log p(x) and what it is made of, by sums over 1,601 values of z [1]; but KL(q || p(z)) by its formula."""
    import jax.numpy as jnp
    from jax import nn, vmap

    q, p, zs = model.encode(params, x), model.prior(params), jnp.linspace(-16, 16, 1601)[:, None]
    log_x = vmap(lambda z: model.decode(params, z).log_prob(x))(zs)
    log_q, log_joint, log_h = vmap(q.log_prob)(zs), log_x + vmap(p.log_prob)(zs), jnp.log(zs[1, 0] - zs[0, 0])
    log_p, w = nn.logsumexp(log_joint) + log_h, jnp.exp(log_q + log_h)
    return {'log_p': log_p, 'error': -w @ log_x, 'rate': q.kl(p), 'gap': w @ (log_q - (log_joint - log_p))}


def tell(asked: telling.Asked) -> telling.Told:
    import jax
    import jax.numpy as jnp
    import numpy as np
    from flax.linen import tanh

    import vae_jax as vj
    from experiments import common
    from vae_jax import evaluation, plot, report

    key, steps, n = jax.random.key(asked.seed), 200 if asked.smoke else 1000, 4 if asked.smoke else 20
    bits = common.data_of('digits', asked, binarization='dynamic')
    few, keys = evaluation.some(bits.test, n), jnp.stack([key] * 3)
    model = vj.vae(vj.mlp_encoder((64,), tanh), vj.mlp_decoder((64,), tanh), latent=1, like=bits.example)
    path = walk(model, bits.train, jax.random.split(key, 3), steps)
    with jax.enable_x64(True):
        xs = jnp.float64(evaluation.view_rows(few, key, np.arange(n)))
        of = jax.jit(lambda path: jax.lax.map(lambda p: jax.vmap(lambda x: on_grid(model, p, x))(xs), path))
        found = {name: np.asarray(a).reshape(steps, 3, n) for name, a in of(jax.tree.map(jnp.float64, path)).items()}
    end = jax.tree.map(lambda leaf: leaf[-3:], path)
    again = np.stack([one.estimate.values for one in evaluation.quadrature(model, end, few, keys)])
    best = np.stack([one.elbo.values for one in evaluation.refine(model, end, few, keys, steps=200, k=2000)])
    off = found['log_p'] + found['error'] + found['rate'] - found['gap']
    apart = {'apart': np.abs(off).max(), 'quadrature_apart': np.abs(again + found['log_p'][-1]).max()}
    numbers = {'steps': steps, 'images': n, 'sums': off.size} | apart
    log_p, error, rate, gap = (found[name].mean(2) for name in ('log_p', 'error', 'rate', 'gap'))
    elbo, family = -error - rate, (found['log_p'][-1] - best).mean(1)
    told = {'gap_start': gap[0], 'gap_least': gap.min(0), 'gap_end': gap[-1], 'elbo_rise': elbo[-1] - elbo[0]}
    rises = lambda values: np.sum((np.diff(values, axis=0) > 0) & (np.diff(elbo, axis=0) > 0), 0)
    told |= {'widened': rises(gap) / rises(elbo), 'log_p_fell': 1 - rises(log_p) / rises(elbo), 'log_p_end': log_p[-1]}
    for name, a in (told | {'approximation': family, 'amortization': gap[-1] - family}).items():
        numbers |= {name: a.mean(), f'{name}_se': a.std(ddof=1) / np.sqrt(3)}

    def curves(theme: Any) -> bytes:
        figure, axes = plot.canvas.figure(theme, 7.2, 2.7, 3)
        step, orange = 1 + np.arange(steps), plot.canvas.PALETTE[1]
        for ax, late in zip(axes, (slice(None), slice(steps // 2, None))):
            area = ax.fill_between(step[late], elbo[late, 0], log_p[late, 0], color=orange, alpha=0.5, linewidth=0)
            drawn = [ax.plot(step[late], a[late, 0], color=c)[0] for a, c in ((log_p, theme.ink), (elbo, theme.bar))]
        for values, colour, wide in zip(gap.T[::-1], (theme.faint, theme.faint, orange), (1, 1, 1.5)):
            axes[2].plot(step, values, color=colour, linewidth=wide)
        axes[2].set(yscale='log', yticks=(ticks := (0.05, 0.1, 0.2, 0.5, 1, 2)), yticklabels=ticks)
        for ax, name, kind in zip(axes, ('nats', 'nats, enlarged', 'KL(q || p(z|x)), nats'), ('log', 'linear', 'log')):
            ax.set(xlabel='step', ylabel=name, xscale=kind)
            ax.minorticks_off()
        plot.canvas.legend(axes[0], [*drawn, area], ['log p(x)', 'ELBO', 'KL between them'], theme)
        return plot.canvas.deliver(figure, None)

    caption = 'log p(x) of test digits and the ELBO; the second half enlarged; the KL between them, three seeds.'
    alt = 'Two curves that draw near each other; enlarged a band is left between them; its width falls, rises and falls'
    one = telling.themed('Three curves that add up', caption, alt, curves)
    sides = (error, rate, error + rate, -log_p, gap, gap - log_p)
    rows = [[i + 1, *(f'{side[i, 0]:.6f}' for side in sides)] for i in (0, 9, 49, steps - 1)]
    header = ['step', 'reconstruction', '+ KL(q || p(z))', '= -ELBO', '-log p(x)', '+ KL(q || p(z|x))', '= -ELBO']
    return telling.Told(numbers, [one], [report.Table('Two views of one number', header, rows)], seeds=3)


if __name__ == '__main__':
    telling.main(tell)

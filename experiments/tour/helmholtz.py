"""The Helmholtz machine, a deep VAE of 1995: binary layers that learn awake and asleep

Claim     Wake-sleep learns a layered binary model without one gradient through a sample, far better than independent
          pixels; reweighting five samples an image gains more than the two layers above the first.
Equation  wake: grad log p(x, z) at z ~ q(z|x) moves p; sleep: grad log q(z|x) at z, x ~ p moves q (Hinton, Dayan, Frey
          & Neal 1995); reweighted: Bornschein & Bengio 2015, section 2
Command   python -m experiments.tour.helmholtz
Expected  digits, 3 seeds, -log p(x) in nats by 1,000 importance samples (standard error): pixels alone 27.32, one layer
          24.08 (0.03), three 23.64 (0.03), reweighted 22.89 (0.03)
Time      45 s of processor; 150 s by the clock of a core that others were using too
"""

from typing import NamedTuple

from experiments.tour import telling

CLAIMS = {
    'wake-sleep beats independent pixels by more than a nat': lambda n: n['wake_sleep'] < n['independent'] - 1,
    'reweighting helps': lambda n: n['reweighting'] > 2 * n['reweighting_se'] and n['reweighting'] > 0.2,
    'it helps more than layers above the first': lambda n: n['reweighting'] > n['deeper'],
}


class Hyper(NamedTuple):
    lr: float = 0.01


def machine(sizes, like, bias=None):
    """p(z_1) ... p(x | z_L) of independent bits given the layer above, sizes from x upwards; q the other way."""
    import jax.numpy as jnp

    import vae_jax as vj
    from vae_jax import models

    linear, bits = (vj.mlp_encoder(()), vj.mlp_decoder(())), vj.Bernoulli
    first = vj.vae(*linear, latent=sizes[0], like=like, posterior=bits, output_bias=bias)
    return first if len(sizes) == 1 else models.stacked(first, machine(sizes[1:], jnp.zeros(sizes[0])))


def tell(asked):
    import jax
    import numpy as np
    import optax

    import vae_jax as vj
    from experiments import common
    from vae_jax import data as of_data
    from vae_jax import evaluation, losses, plot

    sizes, steps, batch, seeds, k = ((16, 8), 800, 64, 2, 200) if asked.smoke else ((32, 16, 8), 3000, 100, 3, 1000)
    data = common.data_of('digits', asked, binarization='dynamic')
    bias = losses.logit(of_data.mean(data.train))
    pixels = vj.Bernoulli(bias)
    test = evaluation.view_rows(data.test, jax.random.key(0), range(len(data.test)))
    keys = jax.random.split(jax.random.key(asked.seed), seeds)
    falling = vj.schedules.cosine(steps)

    def learned(sizes, objective):
        """-log p(x) of test images [seeds, n], and dreams of the first seed."""
        model = machine(sizes, data.example, bias)
        runs = vj.population(
            vj.trainer(
                model.init,
                vj.per_example(objective(model)),
                lambda hyper: optax.adam(hyper.lr),
                lambda hyper, step: Hyper(hyper.lr * falling(step)),
            )
        )
        state = vj.start(runs, data.train, Hyper(), keys, batch=batch)
        state, _ = vj.advance(runs, state, data.train, keys, steps=steps, batch=batch)
        found = vj.nll(model, state.params, data.test, keys, k=k)
        first = jax.tree.map(lambda leaf: leaf[0], state.params)
        return np.stack([one.estimate.values for one in found]), vj.sample_means(model, first, keys[0], 12)

    shallow, _ = learned(sizes[:1], losses.wake_sleep)
    deep, dreams = learned(sizes, losses.wake_sleep)
    weighed, better = learned(sizes, lambda model: losses.reweighted_wake_sleep(model, k=5))
    numbers = {'independent': -float(np.mean(jax.vmap(pixels.log_prob)(test)))}
    of_seeds = {'shallow': shallow, 'wake_sleep': deep, 'reweighted': weighed}
    of_seeds |= {'deeper': shallow - deep, 'reweighting': deep - weighed}
    for name, values in of_seeds.items():
        each = values.mean(1)
        numbers |= {name: float(each.mean()), f'{name}_se': float(each.std(ddof=1) / seeds**0.5)}
    numbers |= {'layers': len(sizes), 'k': k}
    tiles, names = np.stack([test[:12], dreams, better]), ['test digits', 'wake-sleep', 'reweighted']
    images = telling.themed(
        'What it dreams',
        'Dreams of two machines: the probability of each pixel, given bits drawn from the top down.',
        'Three rows of small digits: real ones, blurred ones of wake-sleep, and clearer ones of reweighted wake-sleep.',
        lambda theme: plot.board(tiles, names, theme=theme),
    )
    return telling.Told(numbers, [images, drawn(numbers)], seeds=seeds)


def drawn(numbers):
    from vae_jax.plot import canvas

    names = {'independent': 'pixels alone', 'shallow': 'one layer, wake-sleep', 'wake_sleep': 'all layers, wake-sleep'}
    names |= {'reweighted': 'all layers, reweighted'}

    def draw(theme):
        made, (axes,) = canvas.figure(theme, 4.8, 2.0)
        values, shown = [numbers[name] for name in names], list(names.values())
        axes.plot(values, shown, 'o', color=theme.bar, markersize=8)
        for value, name in zip(values, shown):
            axes.annotate(f'  {value:.2f}', (value, name), color=theme.ink, fontsize=8, va='center')
        axes.grid(color=theme.faint, linewidth=0.6)
        axes.margins(0.15, 0.2)
        axes.set_xlabel('-log p(x) of test images, nats')
        axes.invert_yaxis()
        return canvas.deliver(made, None)

    caption = 'Importance sampling under q, mean over seeds; lower is better.'
    alt = 'Four points, each further left than the one above it: pixels alone, one layer, all layers, reweighted.'
    return telling.themed('What it is worth', caption, alt, draw)


if __name__ == '__main__':
    telling.main(tell)

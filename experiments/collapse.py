"""Posterior collapse: a decoder that sees the pixels before each pixel leaves little for the code to say.

Claim     Beside plain training, free bits (Kingma et al. 2016, eq. 15) keep the rate near their allowance and all units
          active, and so does warming up the weight of the rate (Bowman et al. 2016; Sonderby et al. 2016).
Command   python -m experiments.collapse --sweep.remedy plain free_bits free_bits_each free_bits_mean warmup --seeds 3
          python -m experiments.collapse --decoder independent --seeds 3
          python -m experiments.collapse --dataset binarized_mnist --remedy free_bits_mean
Expected  digits, three seeds, 95 % t intervals; plain / free_bits / free_bits_each / free_bits_mean / warmup: rate 2.2
          [1.7, 2.8] / 4.8 [4.5, 5.1] / 6.8 [6.5, 7.0] / 4.7 [4.6, 4.8] / 5.6 [5.2, 5.9] nats, active units of 16: 10
          [1, 19] / 16 / 16 / 16 / 16, -log p(x) 22.84 / 22.52 / 22.76 / 22.79 / 22.64; less plain, seed by seed: -0.32
          [-0.35, -0.29] / -0.08 [-0.28, 0.12] / -0.04 [-0.25, 0.16] / -0.20 [-0.29, -0.11]. Pixels independent given z:
          rate 4.1 [3.9, 4.3], 12 [9.5, 14.5] units, 22.78 [22.65, 22.90].
Time      15 runs: minutes on one core that others were using; binarized_mnist was not run; device: CPU
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

from experiments import beta, common
from vae_jax.config import Range, RunFlags
from vae_jax.experiment import Experiment

VERSION = 1


class Hyper(NamedTuple):
    lr: Annotated[float, Range(above=0)] = 1e-3
    """learning rate"""
    beta: Annotated[float, Range(0)] = 1.0
    """weight of the rate; of plain and warmup"""
    free: Annotated[float, Range(0)] = 0.25
    """nats a dimension that cost nothing; free_bits allows an example as many as all its dimensions"""


@dataclass(frozen=True)
class Config:
    """Train a VAE whose decoder may do without its code, and tell the rate and the active units."""

    dataset: str = 'digits'
    decoder: Literal['autoregressive', 'independent'] = 'autoregressive'
    """a pixel given z alone, or also the pixels before it, linearly in the logits"""
    remedy: Literal['plain', 'free_bits', 'free_bits_each', 'free_bits_mean', 'warmup'] = 'plain'
    """free nats of an example, of each dimension of an example, of each dimension on average; or beta risen from 0"""
    rising: Annotated[float, Range(0, 1)] = 0.5
    """warmup: part of the steps in which beta rises"""
    network: Literal['mlp', 'gated'] = 'mlp'
    latent: Annotated[int, Range(2)] = 16
    hidden: Annotated[int, Range(1)] = 128
    batch_size: Annotated[int, Range(2)] = 128
    steps: Annotated[int, Range(0)] = 2000
    test_k: Annotated[int, Range(1)] = 200
    """importance samples an image for the final -log p(x)"""
    hyper: Hyper = Hyper()
    run: RunFlags = RunFlags()


class InOrder(NamedTuple):
    """prod_i Bernoulli(x_i | logits_i + sum_{j < i} before_ij x_j): logits [*shape], before [d, d] lower triangular."""

    logits: Any
    before: Any

    def log_prob(self, x: Any) -> Any:
        """log p(x), nats: every pixel's logits at once, as x is known."""
        import vae_jax as vj

        return vj.Bernoulli(self.logits + (self.before @ x.reshape(-1)).reshape(self.logits.shape)).log_prob(x)

    def sample(self, key: Any) -> Any:
        """x, one pixel after the other."""
        from jax import random

        return self._drawn(lambda u, p: (u < p) * 1.0, random.uniform(key, (self.logits.size,)))

    @property
    def mean(self) -> Any:
        """E[x_i | the means of those before it], for pictures: the mean of x itself has no formula."""
        import jax.numpy as jnp

        return self._drawn(lambda u, p: p, jnp.zeros(self.logits.size))

    def _drawn(self, draw: Any, noise: Any) -> Any:
        import jax
        import jax.numpy as jnp

        def pixel(x: Any, each: Any) -> Any:
            i, logit, row, u = each
            return x.at[i].set(draw(u, jax.nn.sigmoid(logit + row @ x))), None

        n = self.logits.size
        each = jnp.arange(n), self.logits.reshape(-1), self.before, noise
        return jax.lax.scan(pixel, jnp.zeros(n), each)[0].reshape(self.logits.shape)


def autoregressive(model: Any) -> Any:
    """The model whose pixels also know those before them: its logits, and a matrix of its own (Frey 1998)."""
    import jax.numpy as jnp

    from vae_jax.models import add_part

    def init(key: Any, x: Any) -> Any:
        return add_part(model.init(key, x), 'before', jnp.zeros((x.size, x.size)))

    def decode(params: Any, z: Any) -> Any:
        return InOrder(model.decode(params, z).logits, jnp.tril(params['before'], -1))

    return model._replace(init=init, decode=decode)


def build(config: Config) -> Experiment:
    """The experiment of a configuration."""
    from vae_jax import losses, schedules

    data = common.data_of(config.dataset, config.run)
    steps = min(config.steps, 20) if config.run.smoke else config.steps
    model = {'autoregressive': autoregressive, 'independent': lambda model: model}[config.decoder](
        beta.model_of(config, data)
    )
    weigh = {
        'plain': losses.beta,
        'free_bits': lambda rates, hyper: losses.free_bits(rates, hyper._replace(free=hyper.free * config.latent)),
        'free_bits_each': losses.free_bits_each,
        'free_bits_mean': losses.free_bits_mean,
        'warmup': losses.beta,
    }[config.remedy]
    rising = round(config.rising * steps) if config.remedy == 'warmup' else 0
    parts = model, data, losses.coded(model, weigh)
    schedule = schedules.on(beta=schedules.linear_warmup(rising))
    return beta.finished(config, 'experiments.collapse', parts, steps, schedule, lambda codes, key: {})


if __name__ == '__main__':
    from vae_jax import cli

    cli.main(Config, build, name='collapse', version=VERSION, metric=('test_nll', 'min'))

"""One answer, or a distribution over answers: two methods for x given c, their answers, and pictures of them.

regressor    p(x|c), pixels independent: one answer          cvae    p(x|z, c) p(z|c): another one at each z
"""

import math
from functools import cache
from typing import Any, NamedTuple


class Hyper(NamedTuple):
    lr: float = 1e-3
    """learning rate"""
    beta: float = 1.0
    """weight of the rate"""


def regressor(network: Any, *, of: Any, like: tuple[Any, Any], likelihood: Any) -> Any:
    """p(x|c) = likelihood(head(network(c))), pixels independent given c: a CVAE whose code is never read.

    q = p = N(0, 1), so that the rate is 0, and the ELBO and every importance weight are log p(x|c) itself.
    """
    import jax.numpy as jnp

    import vae_jax as vj

    shape = jnp.shape(like[0])
    net = vj.Head(network, math.prod(shape) * likelihood.arity)
    unread = lambda params, *_: vj.distributions.Normal(jnp.zeros(1), jnp.zeros(1))

    def given(c: Any) -> Any:
        def decode(params: Any, z: Any) -> Any:
            return likelihood.from_features(net.apply(params['net'], c).reshape(*shape, likelihood.arity))

        return vj.Model(lambda key, x: {'net': net.init(key, c)}, unread, unread, decode)

    return vj.Conditional(lambda key, xc: {'net': net.init(key, xc[1])}, given, of)


def pair(of: Any, row: Any, hidden: tuple[int, ...], latent: int, likelihood: Any) -> dict[str, Any]:
    """The two methods of the same hidden layers: what the CVAE's decoder makes of (z, c), the regressor makes of c."""
    import vae_jax as vj
    from vae_jax.models import conditional

    like = of(row)
    encoder, decoder = vj.mlp_encoder(hidden), vj.mlp_decoder(hidden[::-1])
    options: Any = {'of': of, 'like': like, 'likelihood': likelihood}
    return {
        'regressor': regressor(vj.mlp_encoder(hidden[::-1]), **options),
        'cvae': conditional.cvae(encoder, decoder, vj.mlp_encoder(hidden), latent=latent, **options),
    }


def learner(model: Any) -> Any:
    """The trainer of a conditional: -ELBO given c, under Adam."""
    import optax

    import vae_jax as vj
    from vae_jax import losses
    from vae_jax.models import conditional

    loss = vj.per_example(conditional.given(model, losses.beta_elbo), of=losses.row_of)
    return vj.trainer(model.init, loss, lambda hyper: optax.adam(hyper.lr), example=conditional.example_of(model))


class Answers(NamedTuple):
    """What a conditional says of rows [n]: the truth x [n, d], means E[x|z, c] [n, m, d] at m codes, x drawn there."""

    truth: Any
    means: Any
    drawn: Any


def answers_of(model: Any, params: Any, rows: Any, key: Any, m: int) -> Answers:
    """m answers to the condition of each row: z ~ p(z|c), x ~ p(x|z, c)."""
    import jax
    import numpy as np

    n = len(jax.tree.leaves(rows)[0])
    return Answers(*map(np.asarray, _answered()(model, params, rows, jax.random.split(key, n), m)))


@cache
def _answered() -> Any:
    import jax

    from vae_jax.models import conditional

    def answered(model: Any, params: Any, rows: Any, keys: Any, m: int) -> Any:
        def one(row: Any, key: Any) -> Any:
            of_row, x = conditional.at_row(model, row)

            def answer(key: Any) -> Any:
                code, pixels = jax.random.split(key)
                p = of_row.decode(params, of_row.prior(params).sample(code))
                return p.mean, p.sample(pixels)

            return x, *jax.vmap(answer)(jax.random.split(key, m))

        return jax.vmap(one)(rows, keys)

    return jax.jit(answered, static_argnames=('model', 'm'))


def wrong(truth: Any, pictures: Any) -> Any:
    """How many pixels [n, m] of pictures [n, m, d], taken as black or white, are not those of the truth [n, d]."""
    return ((pictures > 0.5) != (truth > 0.5)[:, None]).sum(-1)


def bits(p: Any) -> Any:
    """Entropy of pixels that are on with probability p: 0 where they are certain, 1 where nothing is known."""
    import numpy as np
    from scipy.special import xlogy

    p = np.asarray(p, np.float64)
    return -(xlogy(p, p) + xlogy(1 - p, 1 - p)) / np.log(2)


def inked(theme: Any, images: Any, given: Any = False, hidden: Any = False) -> Any:
    """Colours [..., 3] of pixels in [0, 1]: ink on paper, in blue those that were given, and no pixel where hidden."""
    import numpy as np
    from matplotlib.colors import to_rgb

    paper, ink, blue, faint = (np.array(to_rgb(c)) for c in (theme.paper, theme.ink, theme.bar, theme.faint))
    pale = 0.75 * paper + 0.25 * blue
    v = np.asarray(images)[..., None]
    given, hidden = (np.broadcast_to(mask, np.shape(images))[..., None] for mask in (given, hidden))
    drawn = np.where(given, pale + v * (blue - pale), paper + v * (ink - paper))
    return np.where(hidden, faint, drawn)


def board(theme: Any, tiles: Any, above: list[str], beside: list[str] | None = None) -> bytes:
    """Pictures [rows, columns, h, w, 3] side by side, with a name over each column and beside each row."""
    import numpy as np
    from matplotlib.colors import to_rgb

    from vae_jax.plot import canvas

    n, m, h, w, _ = tiles.shape
    ground = np.empty((n, m, h + 1, w + 1, 3))
    ground[:] = to_rgb(theme.faint)
    ground[:, :, 1:, 1:] = tiles
    figure, (axes,) = canvas.figure(theme, 4.8, 0.3 + 4.6 * n * (h + 1) / (m * (w + 1)))
    axes.imshow(ground.transpose(0, 2, 1, 3, 4).reshape(n * (h + 1), m * (w + 1), 3), interpolation='nearest')
    axes.set_xticks(np.arange(m) * (w + 1) + w / 2, above)
    axes.set_yticks(np.arange(n) * (h + 1) + h / 2 if beside else [], beside or [])
    axes.xaxis.tick_top()
    axes.spines['bottom'].set_visible(False)
    return canvas.deliver(figure, None)

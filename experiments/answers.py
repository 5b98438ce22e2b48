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


def open_bits(means: Any, drawn: Any) -> tuple[float, float]:
    """Bits that p(x|c) = E p(x|z, c) of black and white pixels leaves open: bounds of its entropy, below and above.

    x of the first of m > 1 codes is scored by the mean of p(x|z, c) over all m, and over the m - 1 others: in
    expectation the entropy lies between, and equals both where z is not read. means, drawn [n, m, d].
    """
    import numpy as np
    from scipy.special import logsumexp, xlog1py, xlogy

    p, x = np.asarray(means, np.float64), np.asarray(drawn[:, :1], np.float64)
    log_p = (xlogy(x, p) + xlog1py(1 - x, -p)).sum(-1)
    below, above = (np.log(each.shape[1]) - logsumexp(each, 1).mean() for each in (log_p, log_p[:, 1:]))
    return below / np.log(2), above / np.log(2)


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

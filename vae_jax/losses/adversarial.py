"""Critics: objectives of two players, with the critic a part of params like any other.

    judge = critic(network);   model = with_critic(model, judge, a_code);   loss = factor_vae(model, judge)

A game's `judge` moves the critic alone and its `play` all but the critic: `stop_gradient` says so, and one optimizer,
`training.divided` or `training.alternating` takes the steps. The critic says how much a value looks like a real one.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax, random, vmap

from vae_jax.bounds.elbo import check_pathwise, closed_form
from vae_jax.distributions import Delta
from vae_jax.errors import Fault
from vae_jax.losses.codes import Codes, Weigh, beta, coded
from vae_jax.losses.objectives import Loss, x_of
from vae_jax.models import Model, add_part, standard_normal
from vae_jax.networks import Head

_stop = lax.stop_gradient


class Critic(NamedTuple):
    """A part `name` of params: logit(params, value) -> scalar that the value is real, features(params, value) [f]."""

    name: str
    init: Callable[[Array, Any], Any]  # key, value -> the part
    logit: Callable[[Any, Any], Array]
    features: Callable[[Any, Any], Array]


class Game(NamedTuple):
    """judge(real logits [b], fake logits [b]) is the critic's loss, play(fake logits [b]) that of who makes the fakes.

    smooth(logit, key, reals, fakes, hyper) is added to the critic's loss.
    """

    judge: Callable[[Array, Array], Array]
    play: Callable[[Array], Array]
    smooth: Callable[..., Array]


def critic(network: Any, name: str = 'critic') -> Critic:
    """A linear head of one logit on the features of any (init, apply) network."""
    head = Head(network, 1)
    return Critic(
        name,
        head.init,
        logit=lambda params, value: head.apply(params[name], value)[0],
        features=lambda params, value: network.apply(params[name]['network'], value),
    )


def a_code(model: Model, params: Any, key: Array, x: Any) -> Any:
    """z ~ q(z|x): for critics of codes."""
    return model.encode(params, x).sample(key)


def the_data(model: Model, params: Any, key: Array, x: Any) -> Any:
    """x: for critics of data."""
    return x


def with_critic(model: Model, judge: Critic, of: Callable[[Model, Any, Array, Any], Any] = a_code) -> Model:
    """The model with the critic of `of(model, params, key, x)` among its params. Raises Fault where there is one."""

    def init(key: Array, x: Any) -> dict[str, Any]:
        a, b, c = random.split(key, 3)
        params = model.init(a, x)
        return add_part(params, judge.name, judge.init(b, of(model, params, c, x)))

    return model._replace(init=init)


def generator(decoder: Callable[..., Any], *, latent: int, like: Array, likelihood: Any = Delta) -> Model:
    """z ~ N(0, I), x = decoder(z) through a likelihood of arity 1: a model without a posterior, for `gan`."""
    shape = tuple(jnp.shape(like))
    net: Any = decoder(shape)

    def encode(params: Any, x: Any) -> Any:
        raise Fault('a generator has no posterior', 'train with losses.gan, or build the model with vae()')

    return Model(
        init=lambda key, x: {'decode': net.init(key, jnp.zeros(latent))},
        prior=standard_normal(latent),
        encode=encode,
        decode=lambda params, z: likelihood.from_features(net.apply(params['decode'], z).reshape(*shape, 1)),
    )


def _unsmoothed(logit: Any, key: Array, reals: Any, fakes: Any, hyper: Any) -> Array:
    return jnp.zeros(())


def gradient_penalty(logit: Callable[[Any], Array], key: Array, reals: Array, fakes: Array, hyper: Any) -> Array:
    """hyper.smooth E[(|d logit/dv| - 1)^2] at v between a real and a fake (Gulrajani et al. 2017, eq. 3)."""
    n = min(reals.shape[0], fakes.shape[0])
    share = random.uniform(key, (n, *[1] * (reals.ndim - 1)))
    slopes = vmap(jax.grad(logit))(share * reals[:n] + (1 - share) * fakes[:n])
    squares = jnp.sum(slopes.reshape(n, -1) ** 2, 1)
    return hyper.smooth * jnp.mean((jnp.sqrt(squares + 1e-12) - 1) ** 2)


def _cross_entropy(real: Array, fake: Array) -> Array:
    return jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake))


non_saturating = Game(_cross_entropy, lambda fake: jnp.mean(jax.nn.softplus(-fake)), _unsmoothed)
"""-E log D(real) - E log(1 - D(fake)) against -E log D(fake), D = sigmoid(logit) (Goodfellow et al. 2014, 3)."""

density_ratio = Game(_cross_entropy, lambda fake: -jnp.mean(fake), _unsmoothed)
"""The same critic, whose best logit is log p_real - log p_fake; the play is KL(fake || real) as it sees it, in nats."""

wasserstein = Game(
    lambda real, fake: jnp.mean(fake) - jnp.mean(real), lambda fake: -jnp.mean(fake), smooth=gradient_penalty
)
"""E logit(fake) - E logit(real), with the gradient penalty hyper.smooth (Gulrajani et al. 2017, algorithm 1)."""


def contest(judge: Critic, game: Game, params: Any, key: Array, reals: Any, fakes: Any, hyper: Any) -> Any:
    """(play, judge) of reals [n, ...] and fakes [m, ...]: play moves what made the fakes, judge the critic alone."""
    logits = lambda params, values: vmap(partial(judge.logit, params))(values)
    play = game.play(logits(_stop(params), fakes))
    reals, fakes = _stop((reals, fakes))
    smooth = game.smooth(partial(judge.logit, params), key, reals, fakes, hyper)
    return play, game.judge(logits(params, reals), logits(params, fakes)) + smooth


def permuted(key: Array, zs: Array) -> Array:
    """zs [b, d] with each dimension in an order of its own: draws of prod_d q(z_d) (Kim & Mnih 2018, algorithm 1)."""
    return vmap(random.permutation, (0, 1), 1)(random.split(key, zs.shape[1]), zs)


def factor_vae(model: Model, judge: Critic, weigh: Weigh = beta, of: Callable[[Any], Any] = x_of) -> Loss:
    """`coded` + hyper.gamma KL(q(z) || prod_d q(z_d)), as a critic of z and permuted z has it (Kim & Mnih 2018, eq. 2).

    The permuted codes are those of the same batch. Needs what `coded` needs.
    """

    def loss(params: Any, key: Array, batch: Any, hyper: Any) -> tuple[Array, dict[str, Array]]:
        def penalty(codes: Codes, key: Array, hyper: Any) -> tuple[Array, dict[str, Array]]:
            a, b = random.split(key)
            tc, judged = contest(judge, density_ratio, params, a, permuted(b, codes.z), codes.z, hyper)
            return hyper.gamma * tc + judged, {'total_correlation': tc, 'judge': judged}

        return coded(model, weigh, penalty, of)(params, key, batch, hyper)

    return loss


def adversarial_autoencoder(
    model: Model, judge: Critic, game: Game = non_saturating, of: Callable[[Any], Any] = x_of
) -> Loss:
    """mean distortion + hyper.adversary play, of a critic of draws of the prior and codes (Makhzani et al. 2015).

    With a Delta posterior it is the deterministic one, and WAE-GAN (Tolstikhin et al. 2018, algorithm 1). No KL is
    needed. Raises Fault on a q without a pathwise gradient.
    """

    def loss(params: Any, key: Array, batch: Any, hyper: Any) -> tuple[Array, dict[str, Array]]:
        xs = of(batch)
        a, b, c = random.split(key, 3)

        def one(key: Array, x: Any) -> tuple[Any, Array]:
            q = model.encode(params, x)
            check_pathwise(q)
            z = q.sample(key)
            return z, -model.decode(params, z).log_prob(x)

        n = jax.tree.leaves(xs)[0].shape[0]
        zs, distortion = vmap(one)(random.split(a, n), xs)
        draws = vmap(model.prior(params).sample)(random.split(b, n))
        play, judged = contest(judge, game, params, c, draws, zs, hyper)
        metrics = {'distortion': jnp.mean(distortion), 'play': play, 'judge': judged}
        return metrics['distortion'] + hyper.adversary * play + judged, metrics

    return loss


def gan(model: Model, judge: Critic, game: Game = non_saturating, of: Callable[[Any], Any] = x_of) -> Loss:
    """play + judge, of a critic of x and draws of the model (Goodfellow et al. 2014, algorithm 1).

    With `game = wasserstein` it is WGAN-GP. Raises Fault where p(x|z) has no pathwise gradient.
    """

    def loss(params: Any, key: Array, batch: Any, hyper: Any) -> tuple[Array, dict[str, Array]]:
        xs = of(batch)

        def dream(key: Array) -> Any:
            a, b = random.split(key)
            p = model.decode(params, model.prior(params).sample(a))
            check_pathwise(p)
            return p.sample(b)

        a, b = random.split(key)
        fakes = vmap(dream)(random.split(a, jax.tree.leaves(xs)[0].shape[0]))
        play, judged = contest(judge, game, params, b, xs, fakes, hyper)
        return play + judged, {'play': play, 'judge': judged}

    return loss


def vae_gan(model: Model, judge: Critic, game: Game = non_saturating, of: Callable[[Any], Any] = x_of) -> Loss:
    """hyper.beta rate + 1/2 |f(x) - f(x')|^2 + hyper.adversary play: f the critic's features, x' = E[x|z], z ~ q(z|x).

    The play, of x' and of E[x|z] at z ~ p(z), moves the decoder alone; a unit Gaussian of f moves decoder and encoder
    (Larsen et al. 2016, algorithm 1). Raises Fault on a q without a pathwise gradient.
    """

    def loss(params: Any, key: Array, batch: Any, hyper: Any) -> tuple[Array, dict[str, Array]]:
        xs, p = of(batch), model.prior(params)

        def one(key: Array, x: Array) -> Any:
            a, b = random.split(key)
            q = model.encode(params, x)
            check_pathwise(q)
            z, log_q = q.sample_and_log_prob(a)
            features = lambda value: judge.features(_stop(params), value)
            apart = 0.5 * jnp.sum((features(x) - features(model.decode(params, z).mean)) ** 2)
            fakes = [model.decode(params, _stop(z)).mean for z in (z, p.sample(b))]
            return apart, closed_form(q, p, z, log_q), fakes

        a, b = random.split(key)
        distortion, rate, fakes = vmap(one)(random.split(a, xs.shape[0]), xs)
        play, judged = contest(judge, game, params, b, xs, jnp.concatenate(fakes), hyper)
        metrics = {'distortion': jnp.mean(distortion), 'rate': jnp.mean(rate), 'play': play, 'judge': judged}
        return metrics['distortion'] + hyper.beta * metrics['rate'] + hyper.adversary * play + judged, metrics

    return loss

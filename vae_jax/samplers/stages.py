"""Two stages: a second VAE whose data are the codes of the first, and the one model that both are."""

from typing import Any

from jax import Array, random
from jax.tree_util import Partial

from vae_jax.distributions.chain import Chain
from vae_jax.errors import Fault
from vae_jax.models import Model, add_part


def two_stage(model: Model, second: Model, name: str = 'second') -> Model:
    """p(u) p(z|u) p(x|z) and q(z|x) q(u|z) over (z, u); `second`, of z, trained on `codes` (Dai & Wipf 2019, sec. 3).

    Its params are the part `name`; the model's own prior is not used. Bounds are of the whole, by kl=monte_carlo.
    Raises Fault where the name is taken, and where either model has terms, which know of one stage only.
    """
    if model.terms is not None or second.terms is not None:
        raise Fault('two_stage: a model computes its terms in one go', 'use models without terms')

    # functions made once a model: those of fresh ones would be traced anew
    above = lambda params, before: second.prior(params)
    generate = lambda params, before: second.decode(params, before[0])
    infer = lambda q, before: q
    infer_above = lambda params, before: second.encode(params, before[0])

    def init(key: Array, x: Any) -> dict[str, Any]:
        a, b, c = random.split(key, 3)
        params = model.init(a, x)
        return add_part(params, name, second.init(b, model.encode(params, x).sample(c)))

    def prior(params: Any) -> Chain:
        return Chain((Partial(above, params[name]), Partial(generate, params[name])), order=(1, 0))

    def encode(params: Any, x: Any) -> Chain:
        return Chain((Partial(infer, model.encode(params, x)), Partial(infer_above, params[name])))

    return Model(init, prior, encode, lambda params, zs: model.decode(params, zs[0]))

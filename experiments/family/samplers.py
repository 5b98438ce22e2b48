"""Samplers of a trained model: densities fitted to its codes, and what they make of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jax import random

import vae_jax as vj
from experiments.family.bench import Bench
from vae_jax import flows, samplers

COLUMNS = ('sampler', 'expression', 'source', 'test')


class Sampler(NamedTuple):
    """build(model, zs, b) is the model that samples, of codes zs [n, d] of the training split."""

    name: str
    build: Callable[[Any, Any, Bench], Any]
    source: str
    test: str = 'test_samplers.py'
    of: Callable[[Bench], Any] = lambda b: b.vae()


def _vq(b: Bench) -> Any:
    return vj.models.vq(b.encoder, b.decoder, codes=6, dims=3, positions=4, like=b.x)


SAMPLERS = [
    Sampler('prior', lambda m, zs, b: m, 'Kingma & Welling 2013'),
    Sampler('Gaussian',
            lambda m, zs, b: samplers.with_prior(m, samplers.fixed(samplers.gaussian(zs))),
            'Ghosh et al. 2020'),
    Sampler('Gaussian mixture',
            lambda m, zs, b: samplers.with_prior(m, samplers.fixed(samplers.gaussian_mixture(zs, 3, random.key(0)))),
            'Ghosh et al. 2020, 4'),
    Sampler('flow', lambda m, zs, b: samplers.with_prior(m, samplers.flow(flows.maf((8,)), samplers.gaussian(zs))),
            'Papamakarios et al. 2017'),
    Sampler('two stages', lambda m, zs, b: samplers.two_stage(m, b.vae(like=zs[0], likelihood=vj.Normal)),
            'Dai & Wipf 2019, 3'),
    Sampler('autoregressive codes',
            lambda m, zs, b: samplers.with_prior(m, samplers.over_codes(samplers.autoregressive(
                samplers.causal_transformer(8, 1, 2), 4, 6))),
            'van den Oord et al. 2017, 3.2', of=_vq),
    Sampler('temperature', lambda m, zs, b: samplers.with_temperature(m, 0.7), 'Kingma & Dhariwal 2018, 5'),
]  # fmt: skip


def cells(sampler: Sampler) -> list[str]:
    """A line of docs/family.md."""
    import sys

    from experiments.family.page import expression

    built = expression(sampler.name, sys.modules[__name__])
    return [sampler.name, f'`{built}`', sampler.source, sampler.test]

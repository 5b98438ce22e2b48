"""Small data and networks: what the expressions of the family are built on, tested on, and named with."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import vae_jax as vj
from vae_jax.data.splits import Data, Split, identity, scale
from vae_jax.models.missing import observed

LATENT, CLASSES = 4, 3


class Hyper(NamedTuple):
    """Every field that some objective reads."""

    lr: float = 1e-2
    beta: float = 1.0
    tc: float = 4.0
    gamma: float = 2.0
    capacity: float = 1.0
    gamma_continuous: float = 1.0
    capacity_continuous: float = 1.0
    gamma_discrete: float = 1.0
    capacity_discrete: float = 0.5
    free: float = 0.1
    off: float = 1.0
    on: float = 1.0
    mmd: float = 1.0
    swd: float = 1.0
    regular: float = 0.1
    adversary: float = 1.0
    smooth: float = 1.0
    alpha: float = 0.1
    commitment: float = 0.25
    decay: float = 0.9


class Product(NamedTuple):
    """What is trained: params of `init`, by `loss`; `model` evaluates. `rest` are parts that learn nothing from it."""

    model: Any
    loss: Any
    rest: tuple[str, ...] = ()
    optimizer: Callable[[Any], Any] = lambda hyper: optax.adam(hyper.lr)
    example: Callable[[Any], Any] = lambda batch: jax.tree.map(lambda leaf: leaf[0], batch['x'])
    around: Callable[[Any], Any] = lambda trainer: trainer


class Row(NamedTuple):
    """One line of docs/family.md; likelihood, posterior and prior are read off the model that `build` makes."""

    name: str
    build: Callable[['Bench'], Product]
    objective: str
    source: str
    test: str  # tests/file.py::function
    adds: tuple[Callable[..., Any], ...] = ()  # what the library has for this member alone
    networks: str = 'MLP'
    data: str = 'bits'


@dataclasses.dataclass(frozen=True)
class Bench:
    """Data of one kind: `x` is an example, `encoder` and `decoder` are networks for it."""

    kind: str

    @property
    def data(self) -> Data:
        """120 waves of 6 x 6 pixels, with labels."""
        return _data(self.kind)

    @property
    def x(self) -> Any:
        return self.data.example

    @property
    def row(self) -> Any:
        """The first row as a loss sees it."""
        split = self.data.train
        return {**{name: column[0] for name, column in split.rows.items()}, 'x': self.x}

    encoder: Any = vj.mlp_encoder((12,))
    decoder: Any = vj.mlp_decoder((12,))

    def vae(self, **options: Any) -> Any:
        """A model of these networks, Bernoulli where nothing else is said."""
        chosen = {'encoder': self.encoder, 'decoder': self.decoder, 'latent': LATENT, 'like': self.x, **options}
        return vj.vae(chosen.pop('encoder'), chosen.pop('decoder'), **chosen)

    def cvae(self, **options: Any) -> Any:
        """A conditional model of x given the label."""
        of = vj.models.on_label(CLASSES)
        chosen = {'of': of, 'like': of(self.row), 'latent': LATENT, **options}
        return vj.models.cvae(self.encoder, self.decoder, chosen.pop('prior_network', None), **chosen)


@functools.cache
def _data(kind: str) -> Data:
    rng = np.random.default_rng(0)
    phase = rng.uniform(0, 6, (120, 1, 1))
    wave = 0.5 + 0.45 * np.sin(phase + np.arange(6)[:, None] + 0.4 * np.arange(6))
    label = (phase.ravel() // 2).astype(np.int32)
    if kind == 'partly labelled':
        label = np.where(np.arange(120) % 3 == 0, label, -1).astype(np.int32)
    bits, counts = np.rint(wave), np.rint(wave * 4)
    x, levels, view = {
        'grey': (np.rint(wave * 16), 17, scale(17)),
        'real': (wave, None, identity()),
        'counts': (counts, None, identity()),
        'table': (np.stack([wave[:, 0, 0], wave[:, 3, 2], bits[:, 1, 1], counts[:, 2, 4]], 1), None, identity()),
        'missing': (np.where(rng.random(wave.shape) < 0.3, np.nan, bits), None, observed),
    }.get(kind, (bits, 2, scale(2)))
    stored = jnp.asarray(x, jnp.float32 if levels is None else jnp.uint8)
    split = lambda rows: Split({'x': stored[rows], 'label': jnp.asarray(label[rows])}, levels, view)
    return Data(kind, split(slice(0, 80)), split(slice(80, 100)), split(slice(100, 120)), 'none')

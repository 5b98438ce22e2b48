"""Members and products: finite, one trace, gradients to exactly what learns, a member = its lone run, exact resume."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

import vae_jax as vj
from experiments.family import bench, collections, members, page, products, samplers
from tests.test_training import stop_at
from vae_jax import training
from vae_jax.models import Conditional

pytestmark = pytest.mark.usefixtures('quickly_compiled')

ROOT = Path(__file__).parent.parent
ROWS = {row.name: row for row in [*members.MEMBERS, *products.PRODUCTS]}
SIZE = 8


@pytest.fixture(autouse=True)
def programs_of_one_row():
    yield
    jax.clear_caches()  # no row shares a program with another


def made(row):
    """(product, its training split, a batch of it as the loss sees it)."""
    data = bench.Bench(row.data).data
    product, split = row.build(bench.Bench(row.data)), data.train
    keys = random.split(random.key(5), SIZE)
    columns = {name: column[:SIZE] for name, column in split.rows.items()}
    return product, data, {**columns, 'x': jax.vmap(split.view)(keys, split.rows['x'][:SIZE])}


def trainer_of(product, loss=None):
    trained = vj.trainer(product.model.init, loss or product.loss, product.optimizer, example=product.example)
    return product.around(trained)


def learns(row):
    """A gradient that is finite, and not zero in exactly the parts that learn; the program is made once."""
    product, _, batch = made(row)
    traces = []

    def loss(params, key, hyper):
        traces.append(1)
        return product.loss(params, key, batch, hyper)[0]

    params = product.model.init(random.key(1), product.example(batch))
    step = jax.jit(jax.value_and_grad(loss))
    value, grads = step(params, random.key(2), bench.Hyper(*map(jnp.float32, bench.Hyper())))
    step(params, random.key(3), bench.Hyper(*map(jnp.float32, bench.Hyper(lr=0.5, beta=0.5))))
    assert jnp.isfinite(value) and len(traces) == 1
    for leaf in jax.tree.leaves(grads):
        assert jnp.all(jnp.isfinite(leaf))
    moved = {name for name, part in grads.items() if any(bool(jnp.any(leaf)) for leaf in jax.tree.leaves(part))}
    assert moved == set(params) - set(product.rest), row.name


HALF = [pytest.param(name, marks=[pytest.mark.slow] * (i % 2)) for i, name in enumerate(ROWS)]


@pytest.mark.parametrize('name', HALF)
def test_it_learns_in_exactly_its_parts(name):
    learns(ROWS[name])


PRODUCTS = [
    pytest.param(row.name, marks=[] if i % 8 == 0 else [pytest.mark.slow]) for i, row in enumerate(products.PRODUCTS)
]


@pytest.mark.parametrize('name', PRODUCTS)
def test_a_product_conforms(name, tmp_path):
    product, data, _ = made(ROWS[name])
    traces = []

    def loss(params, key, batch, hyper):
        traces.append(1)
        return product.loss(params, key, batch, hyper)

    trainer, how = trainer_of(product, loss), {'steps': 4, 'batch': SIZE, 'chunk': 2, 'quiet': True}
    keys, rates = random.split(random.key(7), 2), (1e-2, 3e-2)
    first = vj.fit(trainer, data, bench.Hyper(lr=rates[0]), keys[0], **how)
    count = len(traces)
    lone = [first, vj.fit(trainer, data, bench.Hyper(lr=rates[1]), keys[1], **how)]
    assert len(traces) == count, 'another learning rate was another program'
    with pytest.raises(training.Stopped):
        vj.fit(trainer, data, bench.Hyper(lr=rates[0]), keys[0], out=tmp_path / 'run', stop=stop_at(2), **how)
    resumed = vj.fit(trainer, data, bench.Hyper(lr=rates[0]), keys[0], out=tmp_path / 'run', **how)
    for a, b in zip(jax.tree.leaves(resumed.params), jax.tree.leaves(lone[0].params), strict=True):
        np.testing.assert_array_equal(a, b)
    together = vj.fit(vj.population(trainer), data, bench.Hyper(lr=jnp.array(rates)), keys, **how)
    for i, run in enumerate(lone):
        for a, b in zip(jax.tree.leaves(together.params), jax.tree.leaves(run.params), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-5)


def test_what_is_evaluated_needs_no_word_of_the_variant():
    for row in products.PRODUCTS[::6]:
        product, data, batch = made(row)
        params = product.model.init(random.key(1), product.example(batch))
        found = vj.nll(product.model, params, data.test, random.key(2), k=3)
        assert np.isfinite(found.estimate.mean), row.name


@pytest.mark.parametrize('one', samplers.SAMPLERS, ids=lambda one: one.name)
def test_a_sampler_gives_a_model_that_samples_and_evaluates(one):
    b = bench.Bench('bits')
    model = one.of(b)
    params = model.init(random.key(1), b.x)
    zs = samplers.samplers.codes(model, params, b.data.train, random.key(2)) if one.of is not samplers._vq else None
    sampled = one.build(model, zs, b)
    params = {**sampled.init(random.key(3), b.x)}
    assert vj.sample(sampled, params, random.key(4), 5).shape == (5, 6, 6)
    assert np.isfinite(vj.nll(sampled, params, b.data.test, random.key(5), k=3).estimate.mean)


def test_the_page_is_that_of_the_code():
    assert (ROOT / 'docs/family.md').read_text() == page.page(), 'run python -m experiments.family'


def test_rows_name_tests_that_are_there():
    for row in ROWS.values():
        file, _, function = row.test.partition('::')
        assert (ROOT / 'tests' / file).exists(), row.test
        assert not function or f'def {function}(' in (ROOT / 'tests' / file).read_text(), row.test
    assert len(ROWS) == len(members.MEMBERS) + len(products.PRODUCTS) and len(products.PRODUCTS) >= 30


def test_collections_are_whole_and_name_members():
    assert (len(collections.PYTHAE), len(collections.SAMPLERS), len(collections.PYTORCH_VAE)) == (26, 10, 18)
    known = {row.name for row in members.MEMBERS} | {one.name for one in samplers.SAMPLERS}
    every = [*collections.PYTHAE, *collections.SAMPLERS, *collections.PYTORCH_VAE]
    assert all((one.member in known) != bool(one.obstacle) for one in every)
    assert sum(bool(one.obstacle) for one in every) <= 8


def test_a_new_member_stays_small():
    """20 lines for an objective, 40 for a wrapper, 45 for a density with its sampler and KL."""
    for row in ROWS.values():
        for function in row.adds:
            room, lines = function.__module__.split('.')[1], page.lines_of(function)
            most = {'bounds': 20, 'losses': 20, 'distributions': 45}.get(room, 40)
            assert lines <= most, (row.name, function.__name__, lines)


def test_a_conditional_is_evaluated_given_what_each_row_says():
    row = ROWS['CVAE']
    product, data, batch = made(row)
    assert isinstance(product.model, Conditional)
    params = product.model.init(random.key(1), product.example(batch))
    assert np.isfinite(vj.nll(product.model, params, data.test, random.key(2), k=3).estimate.mean)

"""A population is its members: alone or among others, on one device or several, stopped or not."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import optax
import pytest
from jax import random

import vae_jax as vj
from tests import small
from tests.test_training import plain, stop_at
from vae_jax import losses, placement, training
from vae_jax.errors import NUMBERS, Fault
from vae_jax.training import chunk

KEYS = random.split(random.key(3), 5)
LRS = np.array([1e-2, 3e-3, 1e-3, 1e-2, 3e-2], np.float32)
STEPS = 23
WAYS = {'in turn': placement.in_turn, 'together': placement.together}


def fit(out=None, way=placement.in_turn, lrs=LRS, **options):
    options = {'batch': 16, 'steps': STEPS, 'validate': small.validate, 'quiet': True, **options}
    trainer = options.pop('trainer', small.TRAINER)
    keys = KEYS[: len(lrs)]
    return vj.fit(vj.population(trainer, way), small.DATA, small.Hyper(lr=lrs), keys, out=out, **options)


def alone(i, lrs=LRS, **options):
    options = {'batch': 16, 'steps': STEPS, 'validate': small.validate, 'quiet': True, **options}
    trainer = options.pop('trainer', small.TRAINER)
    return vj.fit(trainer, small.DATA, small.Hyper(lr=float(lrs[i])), KEYS[i], **options)


def member_rows(rows, i):
    return [{k: v for k, v in row.items() if k not in ('run', 'wall_s')} for row in rows if row['run'] == i]


@pytest.fixture(scope='module')
def whole():
    return fit()


@pytest.mark.parametrize('name', WAYS)
@pytest.mark.parametrize('i', [0, 4])
def test_a_member_is_its_lone_run(name, i):
    run, lone = fit(way=WAYS[name]), alone(i)
    exact = name == 'in turn'  # the same program inside a loop; under vmap the products are larger ones
    for a, b in zip(plain(placement.take((run.state, run.params), i)), plain((lone.state, lone.params)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=0 if exact else 1e-5)
    for mine, theirs in zip(member_rows(run.metrics, i), lone.metrics, strict=True):
        theirs = {k: v for k, v in theirs.items() if k != 'wall_s'}
        assert mine.keys() == theirs.keys()
        for k in mine:
            assert mine[k] == (theirs[k] if exact else pytest.approx(theirs[k], rel=1e-4))
    assert run.best_step[i] == lone.best_step


def test_any_number_of_learning_rates_is_one_trace():
    traces = []

    def counting(params, key, batch, hyper):
        traces.append(1)
        return losses.per_example(losses.beta_elbo(small.MODEL))(params, key, batch, hyper)

    trainer = vj.trainer(small.MODEL.init, counting, lambda hyper: optax.adam(hyper.lr))
    fit(trainer=trainer, validate=None)
    few = len(traces)
    for shift in (0.5, 0.25):
        fit(trainer=trainer, validate=None, lrs=LRS * shift)
    assert len(traces) == few, 'another learning rate was another trace'
    traces.clear()
    fit(trainer=trainer, validate=None, lrs=LRS[:2])
    assert len(traces) <= few, 'the number of traces grows with the number of members'


@pytest.mark.parametrize('step', [1, 10])
def test_a_population_stopped_and_resumed_equals_the_whole(whole, tmp_path, step):
    with pytest.raises(training.Stopped):
        fit(tmp_path / 'run', chunk=1, stop=stop_at(step))
    resumed = fit(tmp_path / 'run')
    for a, b in zip(plain((resumed.state, resumed.params)), plain((whole.state, whole.params)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [member_rows(resumed.metrics, i) for i in range(5)] == [member_rows(whole.metrics, i) for i in range(5)]
    lines = [json.loads(line) for line in (tmp_path / 'run/metrics.jsonl').read_text().splitlines()]
    assert [(row['run'], row['step']) for row in lines] == [(row['run'], row['step']) for row in whole.metrics]


WILD = np.array([1e-2, 1e30, 1e-3], np.float32)


@pytest.mark.parametrize('name', [pytest.param(name, marks=[pytest.mark.slow] * (name == 'together')) for name in WAYS])
def test_a_member_that_diverges_is_frozen_and_stops_nobody(name, capsys):
    def fit_wild(**options):
        return fit(way=WAYS[name], lrs=WILD, **options)

    run = fit_wild()
    assert run.diverged[1] > 0 and list(run.diverged[[0, 2]]) == [-1, -1]
    assert f'run 1 is not finite at step {run.diverged[1]}' in capsys.readouterr().err
    assert int(run.state.step[1]) == run.diverged[1] and int(run.state.step[0]) == STEPS
    logged = [row['step'] for row in run.metrics if row['run'] == 1]
    assert all(step < run.diverged[1] for step in logged)
    lone = alone(2, lrs=WILD)
    for a, b in zip(plain(placement.take(run.params, 2)), plain(lone.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    for a, b in zip(plain(fit_wild(chunk=3).state), plain(run.state), strict=True):
        np.testing.assert_array_equal(a, b)  # frozen at that very step, wherever chunks end


def validate_some(params, keys):
    found = vj.elbo_estimate(small.MODEL, params, small.DATA.validation, keys)
    return {'loss': [-one.elbo.mean for one in found], 'rate': [one.rate.mean for one in found]}


@pytest.mark.parametrize('lrs', [LRS, WILD])
def test_members_validated_together_are_validated_each(lrs, whole):
    """Also where one of them is frozen on the way."""
    one, some = fit(lrs=lrs, patience=2, steps=40), fit(lrs=lrs, patience=2, steps=40, validate_some=validate_some)
    drop = lambda rows: [{k: v for k, v in row.items() if k != 'wall_s'} for row in rows]
    assert [list(row) for row in drop(some.metrics)] == [list(row) for row in drop(one.metrics)]
    for a, b in zip(drop(some.metrics), drop(one.metrics)):
        assert a == pytest.approx(b, rel=1e-5)
    assert list(some.best_step) == list(one.best_step) and list(some.diverged) == list(one.diverged)


def test_a_validation_without_numbers_freezes_its_member():
    def validate(params, key):
        if not np.any(params['encode']['head']['params']['bias']):  # as it was made: it has learnt nothing
            raise Fault('rate is not finite', 'the model has diverged', NUMBERS)
        return small.validate(params, key)

    run = fit(lrs=np.array([1e-2, 0.0], np.float32), validate=validate)
    assert run.diverged[0] == -1 and run.diverged[1] == 4


def test_where_all_diverge_the_numbers_are_to_blame():
    with pytest.raises(Fault, match='no run is finite') as fault:
        fit(lrs=np.full(3, 1e30, np.float32))
    assert fault.value.code == NUMBERS


def test_patience_ends_each_member_by_itself():
    never = np.array([1e-2, 0.0], np.float32)  # a learning rate of zero never gets better, but for the noise of its key
    run = fit(lrs=never, patience=1, steps=60)
    lone = [alone(i, lrs=never, patience=1, steps=60) for i in range(2)]
    assert [int(step) for step in run.state.step] == [int(one.state.step) for one in lone]
    assert run.state.step[0] != run.state.step[1]
    assert list(run.best_step) == [one.best_step for one in lone]


def test_steps_of_ones_own_are_those_of_fit():
    for trainer, key, hyper in (
        (small.TRAINER, KEYS[0], small.Hyper(lr=1e-2)),
        (vj.population(small.TRAINER, placement.in_turn), KEYS, small.Hyper(lr=LRS)),
    ):
        state = vj.start(trainer, small.DATA.train, hyper, key, batch=16)
        for steps in (3, 9):
            state, metrics = vj.advance(trainer, state, small.DATA.train, key, steps=steps, batch=16)
            assert metrics['loss'].shape == (steps, *key.shape)
        run = vj.fit(trainer, small.DATA, hyper, key, steps=12, batch=16, quiet=True)
        for a, b in zip(plain(state), plain(run.state), strict=True):
            np.testing.assert_array_equal(a, b)


def test_keys_and_trainer_must_fit():
    with pytest.raises(Fault, match='wrap it'):
        vj.fit(small.TRAINER, small.DATA, small.Hyper(), KEYS, steps=1, batch=16)
    with pytest.raises(Fault, match=r'give it keys \[n\]'):
        vj.fit(vj.population(small.TRAINER), small.DATA, small.Hyper(), KEYS[0], steps=1, batch=16)
    with pytest.raises(Fault, match='one value for each key'):
        vj.fit(vj.population(small.TRAINER), small.DATA, small.Hyper(lr=LRS[:2]), KEYS, steps=1, batch=16)
    with pytest.raises(Fault, match='devices were asked for'):
        placement.default(1000)
    with pytest.raises(Fault, match='too late|has started'):
        vj.use_host_devices(3)


ON_DEVICES = """
    import sys, numpy as np, jax
    import vae_jax as vj
    vj.use_host_devices(int(sys.argv[1]))
    from tests import small
    from tests.test_populations import fit, plain
    from vae_jax import placement
    assert len(jax.devices()) == int(sys.argv[1])
    spread = placement.default()
    assert spread.devices == len(jax.devices())
    run = fit(way=spread)
    np.savez(sys.argv[2], *plain((run.state, run.params)))
    together = fit(way=placement.spread(placement.together, jax.devices()))
    for a, b in zip(plain(together.params), plain(run.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
"""


def on_devices(n, script, *args):
    env = {**os.environ, 'PYTHONPATH': os.getcwd(), 'PYTHONWARNINGS': 'error'}
    code = textwrap.dedent(script)
    done = subprocess.run([sys.executable, '-c', code, str(n), *args], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize('n', [2, pytest.param(8, marks=pytest.mark.slow)])
def test_sharded_equals_unsharded(whole, tmp_path, n):
    """Five members on 2 devices and on 8: neither divides them, and on eight most have none."""
    on_devices(n, ON_DEVICES, str(tmp_path / 'found.npz'))
    found = np.load(tmp_path / 'found.npz')
    for name, b in zip(found.files, plain((whole.state, whole.params)), strict=True):
        np.testing.assert_array_equal(found[name], b)


NO_COLLECTIVE = """
    import sys, jax, jax.numpy as jnp, numpy as np, re
    import vae_jax as vj
    vj.use_host_devices(int(sys.argv[1]))
    from tests import small
    from vae_jax import placement
    from vae_jax.training import chunk
    from jax import random
    keys = random.split(random.key(0), 8)
    for inner in (placement.in_turn, placement.together):
        way = placement.spread(inner, jax.devices())
        hyper = small.Hyper(lr=np.full(8, 1e-3, np.float32), beta=np.ones(8, np.float32))
        state = vj.start(vj.population(small.TRAINER, way), small.DATA.train, hyper, keys, batch=16)
        orders = jnp.zeros((8, 1, 70), jnp.int32)
        members = placement.padded(chunk.Member(state, keys, orders, jnp.full(8, 4, jnp.int32)), way)
        shared = placement.shared(chunk.Shared(small.DATA.train, jnp.int32(0), jnp.int32(0)), way)
        text = chunk.run_chunk.lower(small.TRAINER, way, 16, 4, members, shared).compile().as_text()
        found = re.findall(r'all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter', text)
        assert 'while' in text and not found, set(found)
    # The trap: with its checks on, shard_map sums the gradients of members that share nothing but an input.
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ('run',))
    P = jax.sharding.PartitionSpec
    loss = lambda w, x: jnp.sum(w * x)
    gradient = lambda ws, xs: jax.grad(lambda w: loss(w, xs))(jnp.ones(()))[None] + 0 * ws
    xs, ws = jnp.arange(8.0), jnp.zeros(8)
    def grads(check):
        way = jax.shard_map(gradient, mesh=mesh, in_specs=P('run'), out_specs=P('run'), check_vma=check)
        return jax.jit(way)(ws, xs)

    np.testing.assert_array_equal(grads(True), np.full(8, 28.0))
    np.testing.assert_array_equal(grads(False), xs)
    mine = placement.spread(placement.in_turn, jax.devices())
    ours = jax.jit(mine.over(lambda x, w: jax.grad(loss)(w, x)))(xs, jnp.ones(()))
    np.testing.assert_array_equal(ours, xs)
"""


def test_devices_exchange_nothing_and_no_gradient_is_summed():
    on_devices(8, NO_COLLECTIVE)


@pytest.mark.parametrize('platform', ['cpu', 'cuda', 'tpu'])
def test_a_population_lowers_for_every_backend(platform):
    hyper, n = small.Hyper(lr=LRS, beta=np.ones(5, np.float32)), len(small.DATA.train)
    state = vj.start(vj.population(small.TRAINER, placement.together), small.DATA.train, hyper, KEYS, batch=16)
    members = chunk.Member(state, KEYS, np.zeros((5, 1, n), np.int32), np.full(5, 4, np.int32))
    shared = chunk.Shared(small.DATA.train, np.int32(0), np.int32(0))
    traced = chunk.run_chunk.trace(small.TRAINER, placement.together, 16, 4, members, shared)
    assert 'while' in traced.lower(lowering_platforms=(platform,)).as_text()


def test_patience_and_divergence_may_end_them_all(tmp_path):
    """One ends by patience, the other diverges: there is a result, and the directory knows it."""
    lrs = np.array([0.0, 1e30], np.float32)
    options = {'lrs': lrs, 'patience': 1, 'steps': 60}
    run = fit(tmp_path / 'run', **options)
    assert run.diverged[0] == -1 and run.diverged[1] > 0 and run.state.step[0] < 60
    assert list(fit(tmp_path / 'run', **options).diverged) == list(run.diverged)


def test_a_population_of_which_none_is_left_stays_so(tmp_path):
    for _ in range(2):
        with pytest.raises(Fault, match='no run is finite'):
            fit(tmp_path / 'run', lrs=np.full(2, 1e30, np.float32))

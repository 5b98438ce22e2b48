"""A run is a function of its inputs alone: not of chunk size, of being stopped, of devices, of who watches."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import random

import vae_jax as vj
from tests import small
from vae_jax import checkpoints, losses, runs, training
from vae_jax.errors import Fault
from vae_jax.training import chunk as chunks

KEY = random.key(3)
STEPS = 23  # 70 rows in batches of 16 are 4 steps an epoch: neither chunks nor the end fall on an epoch


def fit(out=None, steps=STEPS, **options):
    options = {'batch': 16, 'validate': small.validate, 'quiet': True, **options}
    return vj.fit(small.TRAINER, small.DATA, small.Hyper(), KEY, steps=steps, out=out, **options)


def plain(tree):
    as_data = lambda a: random.key_data(a) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a
    return [np.asarray(as_data(a)) for a in jax.tree.leaves(tree)]


def assert_same(a, b):
    for x, y in zip(plain((a.state, a.params)), plain((b.state, b.params)), strict=True):
        np.testing.assert_array_equal(x, y)
    drop = lambda rows: [{k: v for k, v in row.items() if k != 'wall_s'} for row in rows]
    assert drop(a.metrics) == drop(b.metrics)
    assert a.best_step == b.best_step


@pytest.fixture(scope='module')
def whole():
    return fit()


def stop_at(step):
    """A stop that asks for the end once, at the first chunk that ends at or behind `step`; chunks are of one step."""
    asked = iter([None] * (step - 1) + [130])
    return lambda: next(asked)


@pytest.mark.parametrize('size', [1, 3, 7, 100])
def test_any_chunk_size_gives_the_same_run(whole, size):
    assert_same(fit(chunk=size), whole)


@pytest.mark.parametrize('step', [1, 4, 10, 22])
def test_a_run_stopped_at_any_step_and_resumed_equals_the_whole(whole, tmp_path, step):
    with pytest.raises(training.Stopped) as stopped:
        fit(tmp_path / 'run', chunk=1, stop=stop_at(step))
    assert stopped.value.step == step and checkpoints.latest(tmp_path / 'run/checkpoints/last') == step
    resumed = fit(tmp_path / 'run')
    assert_same(resumed, whole)
    lines = (tmp_path / 'run/metrics.jsonl').read_text().splitlines()
    assert [json.loads(line)['step'] for line in lines] == [row['step'] for row in whole.metrics]
    assert_same(fit(tmp_path / 'run'), whole)  # finished: the same line again trains nothing


def test_a_longer_run_continues_a_shorter_one(tmp_path):
    fit(tmp_path / 'run', steps=8)
    longer = fit(tmp_path / 'run', steps=STEPS)
    for a, b in zip(plain(longer.state), plain(fit().state), strict=True):
        np.testing.assert_array_equal(a, b)


PROGRAM = """
import sys
from tests import test_training as t
import jax
run = t.fit(sys.argv[1], chunk=1, save_seconds=0.0, steps=int(sys.argv[2]))
print(len(jax.devices()), run.best_step)
"""


def start(*argv, **env):
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path), **env}
    return subprocess.Popen([sys.executable, '-c', PROGRAM, *map(str, argv)], env=env, stdout=subprocess.PIPE)


def test_kill_9_loses_nothing_acknowledged(whole, tmp_path):
    run, last = tmp_path / 'run', tmp_path / 'run/checkpoints/last'
    seen = -1
    for target in (2, 9):
        process = start(run, STEPS)
        while process.poll() is None and (checkpoints.latest(last) or 0) < target:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        at = checkpoints.latest(last)
        assert at is not None and at >= max(target, seen)
        seen = at
    assert_same(fit(run), whole)


def test_two_kills_between_the_two_saves_leave_a_run_that_resumes(whole, tmp_path, monkeypatch):
    """The best checkpoint is written first: until the last one follows, the one before it must stay."""
    with pytest.raises(training.Stopped):
        fit(tmp_path / 'run', chunk=1, stop=stop_at(4))
    for step in (8, 12):

        def killed(directory, *args, real=checkpoints.save, **kwargs):
            if directory.name == 'last':
                raise KeyboardInterrupt
            real(directory, *args, **kwargs)

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(checkpoints, 'save', killed)
            fit(tmp_path / 'run', chunk=1, stop=stop_at(step - 4))
    assert checkpoints.latest(tmp_path / 'run/checkpoints/last') == 4
    assert_same(fit(tmp_path / 'run'), whole)


@pytest.mark.slow
def test_two_host_devices_give_the_same_run(whole, tmp_path):
    process = start(tmp_path / 'run', STEPS, XLA_FLAGS='--xla_force_host_platform_device_count=2')
    out, _ = process.communicate(timeout=120)
    assert out.split()[0] == b'2'
    assert_same(fit(tmp_path / 'run'), whole)


def test_learning_rates_share_one_trace():
    traces = []

    def counted(*args):
        traces.append(1)
        return losses.per_example(vj.beta_elbo(small.MODEL))(*args)

    trainer = vj.trainer(small.MODEL.init, counted, lambda hyper: optax.adam(hyper.lr))
    finals = []
    for lr in (1e-3, 1e-2, 1):
        run = vj.fit(trainer, small.DATA, small.Hyper(lr=lr), KEY, epochs=1, batch=16, quiet=True)
        finals.append(run.metrics[-1]['train/loss'])
        once = len(traces) if len(finals) == 1 else once  # noqa: F821
    assert len(traces) == once and len(set(finals)) == 3


def test_an_epoch_visits_each_row_once_and_epochs_differ():
    orders = [np.asarray(chunks.epoch_order(KEY, e, 70)) for e in range(3)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(70))
    assert not np.array_equal(orders[0], orders[1])


def test_binarization_is_drawn_anew_every_step():
    batch = lambda step: chunks.minibatch(small.DATA.train, jnp.arange(16), chunks.view_key(KEY, step))['x']
    assert np.any(batch(0) != batch(1)) and np.array_equal(batch(0), batch(0))


def test_training_learns_and_keeps_the_best(whole):
    first, last = whole.metrics[0], whole.metrics[-1]
    assert last['validation/loss'] < 0.95 * [r for r in whole.metrics if 'validation/loss' in r][0]['validation/loss']
    losses_ = {r['step']: r['validation/loss'] for r in whole.metrics if 'validation/loss' in r}
    assert whole.best_step == min(losses_, key=losses_.get) and first['step'] == 4


def test_patience_ends_a_run_and_best_is_what_it_returns(tmp_path):
    worse = iter(range(100))
    first = []

    def validate(params, key):
        first.append(params)
        return {'loss': float(next(worse))}

    run = fit(tmp_path / 'run', validate=validate, patience=2)
    assert int(run.state.step) == 12 and run.best_step == 4
    for a, b in zip(plain(run.params), plain(first[0]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert checkpoints.latest(tmp_path / 'run/checkpoints/best') == 4
    again = fit(tmp_path / 'run', validate=validate, patience=2)  # its counter is in the checkpoint
    assert int(again.state.step) == 12 and again.best_step == 4


def test_what_is_not_finite_is_named_with_its_step(tmp_path):
    def objective(params, key, x, hyper):
        return jnp.where(params['w'] > 2.5, jnp.nan, 1.0) * params['w'] - 2 * params['w'], {}

    exploding = vj.trainer(lambda key, x: {'w': jnp.zeros(())}, losses.per_example(objective), lambda h: optax.sgd(1.0))
    with pytest.raises(Fault, match=r"not finite at step 4: .*params \['w'\]") as fault:
        vj.fit(exploding, small.DATA, small.Hyper(), KEY, steps=50, batch=16, out=tmp_path / 'run', quiet=True)
    assert fault.value.code == 4


def test_observing_gradients_changes_nothing_else():
    options = {'optimizer': lambda hyper: optax.adam(hyper.lr), 'init_params': small.MODEL.init}
    loss = vj.per_example(vj.beta_elbo(small.MODEL))
    batch = chunks.minibatch(small.DATA.train, jnp.arange(16), KEY)
    states = []
    for observe in (training.nothing, vj.gradient_norms):
        trainer = vj.trainer(loss=loss, observe=observe, **options)
        state, metrics = trainer.step(trainer.init(KEY, batch, small.Hyper()), batch)
        states.append(plain(state))
    for a, b in zip(*states, strict=True):
        np.testing.assert_array_equal(a, b)
    grads = jax.grad(lambda p: loss(p, random.fold_in(random.split(KEY)[0], 0), batch, small.Hyper())[0])
    params = trainer.init(KEY, batch, small.Hyper()).params
    np.testing.assert_allclose(metrics['grad_norm/encode'], optax.tree.norm(grads(params)['encode']), rtol=1e-5)


def test_warm_start_and_freeze(whole):
    frozen = vj.trainer(
        small.MODEL.init, vj.per_example(vj.beta_elbo(small.MODEL)), vj.freeze(lambda h: optax.adam(h.lr), 'decode')
    )
    warm = vj.warm_start(frozen, whole.params, ['decode'])
    run = vj.fit(warm, small.DATA, small.Hyper(), random.key(8), steps=5, batch=16, quiet=True)
    for a, b in zip(plain(run.params['decode']), plain(whole.params['decode']), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(plain(run.params['encode'])[1], plain(whole.params['encode'])[1])
    with pytest.raises(Fault, match='decode'):
        vj.fit(
            vj.warm_start(small.TRAINER, whole.params, ['decoder']), small.DATA, small.Hyper(), KEY, steps=1, batch=16
        )
    other = small.model(small.DATA.example, latent=3)
    trainer = vj.trainer(other.init, vj.per_example(vj.beta_elbo(other)), lambda h: optax.adam(h.lr))
    with pytest.raises(Fault, match='shapes'):
        vj.fit(vj.warm_start(trainer, whole.params), small.DATA, small.Hyper(), KEY, steps=1, batch=16)


def test_one_batch_can_be_overfitted():
    _, metrics = vj.overfit(small.TRAINER, small.DATA.train, small.Hyper(), KEY, steps=200, batch=4)
    assert metrics['loss'].shape == (200,) and metrics['loss'][-1] < 0.5 * metrics['loss'][0]


def test_a_profile_is_written(tmp_path):
    fit(steps=8, profile=tmp_path / 'profile')
    assert list((tmp_path / 'profile').rglob('*.xplane.pb'))


def test_the_step_lowers_for_every_platform():
    batch = chunks.minibatch(small.DATA.train, jnp.arange(16), KEY)
    state = small.TRAINER.init(KEY, batch, small.Hyper())
    exported = jax.export.export(jax.jit(small.TRAINER.step), platforms=['cpu', 'cuda', 'tpu'])(state, batch)
    assert exported.platforms == ('cpu', 'cuda', 'tpu')


def test_other_data_under_the_same_directory_are_refused(tmp_path):
    other = dataclasses.replace(small.DATA, train=small.data(levels=9).train)
    with runs.opened(tmp_path / 'other', config={}) as directory:
        vj.fit(small.TRAINER, small.DATA, small.Hyper(), KEY, steps=4, batch=16, out=directory, quiet=True)
        with pytest.raises(Fault, match='another data'):
            vj.fit(small.TRAINER, other, small.Hyper(), KEY, steps=8, batch=16, out=directory, quiet=True)


def test_bad_calls_are_refused(tmp_path):
    with pytest.raises(Fault, match='70 examples'):
        fit(batch=71)
    with pytest.raises(Fault, match='70 examples'):
        training.check(small.TRAINER, small.DATA, small.Hyper(), batch=71)
    with pytest.raises(Fault, match='epochs or steps'):
        vj.fit(small.TRAINER, small.DATA, small.Hyper(), KEY, batch=16)
    fit(tmp_path / 'run', steps=4)
    with pytest.raises(Fault, match='has 4 steps, more than 3'):
        fit(tmp_path / 'run', steps=3)
    before = {p: p.read_bytes() for p in (tmp_path / 'run').rglob('*') if p.is_file()}
    with pytest.raises(Fault, match='lr'):
        vj.fit(small.TRAINER, small.DATA, small.Hyper(lr=0.5), KEY, steps=4, batch=16, out=tmp_path / 'run', quiet=True)
    after = {p: p.read_bytes() for p in (tmp_path / 'run').rglob('*') if p.is_file()}
    assert {p: b for p, b in before.items() if p.name != 'lock'} == {p: b for p, b in after.items() if p.name != 'lock'}

"""Options of the trainer: what each promises when on, and that nothing of it is there when off."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import random

import vae_jax as vj
from experiments import vae
from tests import small
from vae_jax import cli, config, runs, schedules, training
from vae_jax.errors import Fault
from vae_jax.training import chunk as chunks

pytestmark = pytest.mark.usefixtures('quickly_compiled')

KEY = random.key(5)
LOSS = vj.per_example(vj.beta_elbo(small.MODEL))
ADAM = lambda hyper: optax.adam(hyper.lr)
BATCH = chunks.minibatch(small.DATA.train, jnp.arange(24), KEY)


def trainer(loss=LOSS, optimizer=ADAM, **options):
    return vj.trainer(small.MODEL.init, loss, optimizer, **options)


def after(trainer, steps=1, key=KEY, hyper=None):
    state = trainer.init(key, BATCH, hyper or small.Hyper())
    for _ in range(steps):
        state, metrics = jax.jit(trainer.step)(state, BATCH)
    return state, metrics


def everything(loss=LOSS, decay=0.9):
    """All options at once."""
    objective = jax.checkpoint(vj.beta_elbo(small.MODEL))
    optimizer = training.clipped(ADAM, 0.5)
    made = trainer(vj.per_example(objective), optimizer, gradient=training.accumulate(4))
    return training.averaged(made, decay)


def close(a, b, **tolerance):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, **tolerance)


def same(a, b):
    plain = lambda x: random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(plain(x), plain(y))


@pytest.mark.parametrize('n', [2, 3, 24])
def test_the_gradient_in_parts_is_that_of_the_whole_batch(n):
    params = small.MODEL.init(KEY, small.DATA.example)
    hyper = small.Hyper(beta=2.0)
    expected = training.whole(LOSS)(params, KEY, BATCH, hyper)
    close(training.accumulate(n)(LOSS)(params, KEY, BATCH, hyper), expected, rtol=2e-5, atol=2e-5)


def test_each_example_has_the_noise_that_it_has_in_the_whole_batch():
    noise = vj.per_example(lambda params, key, x, hyper: (params['w'] * random.normal(key), {}))
    for n in (1, 4):
        _, grads = training.accumulate(n)(noise)({'w': 1.0}, KEY, BATCH, small.Hyper())
        expected = jnp.mean(jax.vmap(random.normal)(random.split(KEY, 24)))
        np.testing.assert_allclose(grads['w'], expected, rtol=1e-5)


def temporary_bytes(trainer, batch):
    state = trainer.init(KEY, batch, small.Hyper())
    return jax.jit(trainer.step).lower(state, batch).compile().memory_analysis().temp_size_in_bytes


def test_parts_take_less_memory():
    batch = chunks.minibatch(small.DATA.train, jnp.arange(4800) % 70, KEY)
    assert temporary_bytes(trainer(gradient=training.accumulate(12)), batch) < 0.5 * temporary_bytes(trainer(), batch)


def test_the_average_weighs_each_step_by_its_age():
    decay, made = 0.8, training.averaged(trainer(), 0.8)
    lone, visited = trainer().init(KEY, BATCH, small.Hyper()), []
    state = made.init(KEY, BATCH, small.Hyper())
    same(state.params, lone.params)
    for _ in range(6):
        state, _ = jax.jit(made.step)(state, BATCH)
        lone, _ = jax.jit(trainer().step)(lone, BATCH)
        close(training.learning(state), lone.params, rtol=1e-5, atol=1e-6)
        visited.append(training.learning(state))
        mean = jax.tree.map(lambda *p: np.average(np.stack(p), 0, decay ** -np.arange(1.0, len(p) + 1)), *visited)
        close(state.params, mean, rtol=1e-4, atol=1e-6)
    same(training.learning(lone), lone.params)


def fit(out=None, validate=small.validate, **options):
    options = {'steps': 12, 'batch': 16, 'out': out, 'validate': validate, 'quiet': True, **options}
    return vj.fit(AVERAGED, small.DATA, small.Hyper(), KEY, **options)


AVERAGED = everything()


def test_averages_are_what_is_validated_selected_and_stored(tmp_path):
    seen = []

    def validate(params, key):
        seen.append(jax.tree.map(np.asarray, params))
        return {'loss': -float(len(seen))}

    run = fit(tmp_path / 'run', validate=validate)
    same(seen[-1], run.state.params)
    same(run.params, run.state.params)
    same(runs.load(tmp_path / 'run').params, run.params)
    apart = jax.tree.map(lambda a, b: float(jnp.max(jnp.abs(a - b))), run.params, training.learning(run.state))
    assert max(jax.tree.leaves(apart)) > 1e-3


def test_a_run_with_all_options_resumes_bit_for_bit(tmp_path):
    asked = iter([None] * 4 + [130])
    with pytest.raises(training.Stopped):
        fit(tmp_path / 'run', chunk=1, stop=lambda: next(asked))
    same(fit(tmp_path / 'run').state, fit().state)


def test_an_average_starts_where_a_warm_start_does():
    start = small.MODEL.init(random.key(77), small.DATA.example)
    inside = training.averaged(vj.warm_start(trainer(), start), 0.9)
    outside = vj.warm_start(training.averaged(trainer(), 0.9), start)
    for made in (inside, outside):
        state = made.init(KEY, BATCH, small.Hyper())
        same(state.params, start)
        same(training.learning(state), start)


def test_what_is_frozen_does_not_move_by_a_bit():
    made = training.averaged(trainer(optimizer=vj.freeze(training.clipped(ADAM, 1.0), 'decode')), 0.99)
    before = made.init(KEY, BATCH, small.Hyper()).params
    state, _ = after(made, steps=5)
    same(state.params['decode'], before['decode'])
    assert not np.array_equal(*(jax.tree.leaves(p['encode'])[-1] for p in (state.params, before)))


def test_clipping_bounds_the_norm_of_what_learns():
    sgd = lambda hyper: optax.sgd(1.0)
    start = trainer().init(KEY, BATCH, small.Hyper())
    grads = training.whole(LOSS)(start.params, random.fold_in(start.key, 0), BATCH, small.Hyper())[1]
    for frozen in ((), ('decode',)):
        optimizer = training.clipped(sgd, 0.25)
        state, metrics = after(trainer(optimizer=vj.freeze(optimizer, *frozen), observe=vj.gradient_norms))
        kept = {name: part for name, part in grads.items() if name not in frozen}
        moved = {name: jax.tree.map(jnp.subtract, start.params[name], state.params[name]) for name in kept}
        scale = 0.25 / optax.tree.norm(kept)
        assert scale < 1
        close(moved, optax.tree.scale(scale, kept), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(metrics['grad_norm'], optax.tree.norm(grads), rtol=1e-4)  # as it was
    large, plain = training.clipped(sgd, 1e6), sgd
    close(after(trainer(optimizer=large))[0].params, after(trainer(optimizer=plain))[0].params, rtol=1e-6)


def test_recomputed_activations_give_the_same_step():
    made = trainer(vj.per_example(jax.checkpoint(vj.beta_elbo(small.MODEL))))
    close(after(made)[0].params, after(trainer())[0].params, rtol=1e-4, atol=1e-5)
    assert 'remat' in jaxpr(made) and 'remat' not in jaxpr(trainer())


def build(**fields):
    flags = config.RunFlags(data_dir='no data here')
    return vae.build(vae.Config(hidden=(16,), batch_size=24, run=flags, **fields))


def jaxpr(trainer, batch=BATCH):
    state = jax.eval_shape(trainer.init, KEY, batch, small.Hyper())
    return re.sub(r'0x[0-9a-f]+', '0x', str(jax.make_jaxpr(trainer.step)(state, batch)))


@pytest.mark.parametrize('network', ['mlp', 'conv'])
def test_bfloat16_is_in_the_products_and_nowhere_in_the_state(network):
    half, full = (build(dtype=dtype, network=network, channels=(4, 8)) for dtype in ('bfloat16', 'float32'))
    batch = chunks.minibatch(half.data.train, jnp.arange(24), KEY)
    state = jax.eval_shape(half.trainer.init, KEY, batch, half.hyper)
    new = jax.eval_shape(half.trainer.step, state, batch)
    floats = [a.dtype for a in jax.tree.leaves(new) if jnp.issubdtype(a.dtype, jnp.floating)]
    assert set(floats) == {jnp.dtype('float32')}
    assert 'bfloat16' in jaxpr(half.trainer, batch) and 'bf16' not in jaxpr(full.trainer, batch)
    if network == 'mlp':
        state = half.trainer.init(KEY, batch, half.hyper)
        ours, theirs = (jax.jit(e.trainer.step)(state, batch)[1]['loss'] for e in (half, full))
        np.testing.assert_allclose(ours, theirs, rtol=2e-2)
        assert ours != theirs


def test_what_is_off_is_not_in_the_program():
    made = build()
    batch = chunks.minibatch(made.data.train, jnp.arange(24), KEY)
    model = vj.vae(
        vj.mlp_encoder((16,), jax.nn.relu), vj.mlp_decoder((16,), jax.nn.relu), latent=16, like=made.data.example
    )
    schedule = schedules.on(lr=schedules.constant, beta=schedules.linear_warmup(0))
    bare = vj.trainer(model.init, vj.per_example(vj.beta_elbo(model)), ADAM, schedule=schedule)
    assert jaxpr(made.trainer, batch) == jaxpr(bare, batch)
    assert training.averaged(bare, 0.0) is bare and training.clipped(ADAM, 0.0) is ADAM
    assert training.accumulate(1) is training.whole
    for on in ({'accumulate': 2}, {'ema': 0.9}, {'clip': 1.0}, {'remat': True}, {'dtype': 'bfloat16'}):
        assert jaxpr(build(**on).trainer, batch) != jaxpr(bare, batch)


def test_members_of_a_population_with_all_options_are_their_lone_runs():
    keys, hyper = random.split(KEY, 3), small.Hyper(jnp.array([1e-3, 1e-2, 3e-2]), jnp.array([0.5, 1.0, 2.0]))
    made = everything()
    states = jax.vmap(made.init, (0, None, 0))(keys, BATCH, hyper)
    step = jax.jit(jax.vmap(made.step, (0, None)))
    for _ in range(3):
        states, metrics = step(states, BATCH)
    for i in range(3):
        lone, its = after(made, 3, keys[i], small.Hyper(*(float(v[i]) for v in hyper)))
        assert metrics['loss'][i] == pytest.approx(float(its['loss']), rel=1e-4)
        one = jax.tree.map(lambda a: a[i], states)  # noqa: B023
        close(one.params, lone.params, rtol=1e-3, atol=1e-5)
        close(training.learning(one), training.learning(lone), rtol=1e-3, atol=1e-5)


def test_a_command_with_all_options_evaluates_the_average(tmp_path):
    flags = config.RunFlags(smoke=True, quiet=True, out=str(tmp_path / 'run'), data_dir=str(tmp_path))
    on = {'accumulate': 4, 'ema': 0.9, 'clip': 1.0, 'remat': True, 'dtype': 'bfloat16', 'freeze': ('decode',)}
    result = cli.run(vae.Config(run=flags, batch_size=130, **on), vae.build)
    assert np.isfinite(result['test_nll'])
    loaded = runs.load(tmp_path / 'run')
    again, _ = loaded.experiment.evaluate(loaded.params, cli.keys(0).evaluation, True)
    assert again['test_nll'] == pytest.approx(result['test_nll'], rel=1e-5)


@pytest.mark.parametrize(
    'fields, said',
    [
        ({'accumulate': 5, 'batch_size': 128}, 'a batch of 128 is not 5 equal parts'),
        ({'accumulate': 0}, '--accumulate is 0'),
        ({'ema': 1.0}, '--ema is 1.0'),
        ({'ema': -0.1}, '--ema is -0.1'),
        ({'clip': -1.0}, '--clip is -1.0'),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(fields, said, tmp_path):
    flags = config.RunFlags(quiet=True, out=str(tmp_path / 'run'))
    with pytest.raises(Fault) as fault:
        cli.run(vae.Config(run=flags, **fields), vae.build)
    assert said in str(fault.value) and fault.value.code == 2 and not (tmp_path / 'run').exists()


def test_bad_calls_are_refused():
    for call in (
        lambda: training.averaged(trainer(), 1.0),
        lambda: training.averaged(trainer(), float('nan')),
        lambda: training.clipped(ADAM, -1.0),
        lambda: training.accumulate(0),
    ):
        with pytest.raises(Fault):
            call()

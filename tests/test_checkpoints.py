"""A checkpoint comes back bit for bit or not at all, whatever is flipped in it and whenever its writer is killed."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

from vae_jax import checkpoints
from vae_jax.errors import ENVIRONMENT, USAGE, Fault


class State(NamedTuple):
    step: Any
    key: Any
    params: Any
    opt_state: Any


def train_state(seed=0):
    params = {'encoder': {'w': jax.random.normal(jax.random.key(seed), (20, 3)), 'b': jnp.zeros(3)}, 'prior': {}}
    return State(jnp.int32(seed), jax.random.key(seed), params, optax.adam(1e-3).init(params))


def small(i):
    return {'a': np.full(50, float(i)), 'n': i}


def bits(leaf):
    if isinstance(leaf, bool | int | float | str):
        return type(leaf), repr(leaf)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return str(leaf.dtype), leaf.shape, np.asarray(jax.random.key_data(leaf)).tobytes()
    return str(leaf.dtype), leaf.shape, np.asarray(leaf).tobytes()


def assert_same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for (path, a), b in zip(jax.tree_util.tree_flatten_with_path(found)[0], jax.tree.leaves(expected)):
        assert bits(a) == bits(b), path


_ODD = np.array([[0x7FC12345, 0x80000000, 0xFF800001]], np.uint32).view(
    np.float32
)  # a NaN's payload, -0.0, a signalling NaN
_LEAVES = {
    'float32': _ODD,
    'on device': jnp.asarray(_ODD),
    'bfloat16': jnp.asarray([1.5, -0.0, jnp.nan], jnp.bfloat16),
    'float8': jnp.asarray([1.5, -0.0], jnp.float8_e4m3fn),
    'float64': np.array(np.pi),
    'reversed': np.array([1.0, 2.0])[::-1],
    'scalar': jnp.int32(-7),
    'numpy scalar': np.float32(0.1),
    'uint32': np.uint32([2**32 - 1]),
    'int64': np.int64([-(2**62)]),
    'bool': jnp.array([True, False]),
    'complex': np.array([1 + 2j], np.complex64),
    'zero size': jnp.zeros((0, 3), jnp.bfloat16),
    'fortran': np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    'strided': np.arange(12.0)[::2],
    'int4': np.array([-8, 7], ml_dtypes.int4),
}


def test_every_kind_of_leaf_comes_back_bit_for_bit(tmp_path):
    keys = {
        'key': jax.random.key(3),
        'batch of another kind': jax.random.split(jax.random.key(0, impl='rbg'), 2),
        'no keys': jax.random.split(jax.random.key(0), 2)[:0],
    }
    plain = {'int': 2**80, 'float': float('-inf'), 'minus zero': -0.0, 'flag': True, 'name': 'Grüße/…', 'none': None}
    odd_names = {'a/b': jnp.ones(1), 'a': {'b': jnp.zeros(1)}, 'a.b': jnp.full(1, 2, jnp.int8), '': jnp.ones(2)}
    nodes = {
        'list': [jnp.ones(1), (jnp.zeros(2), {})],
        'optax': optax.adam(1e-3).init(_LEAVES['on device']),
        7: np.ones(1),
    }
    tree = {
        'leaves': _LEAVES,
        'keys': keys,
        'plain': plain,
        'names': odd_names,
        'nodes': {str(k): v for k, v in nodes.items()},
    }
    checkpoints.save(tmp_path, 3, tree)
    step, found = checkpoints.restore(tmp_path, tree)
    assert step == 3
    assert_same(found, tree)
    assert isinstance(found['leaves']['float64'], np.ndarray) and isinstance(found['leaves']['scalar'], jax.Array)
    assert type(found['leaves']['numpy scalar']) is np.float32
    assert checkpoints.verify(tmp_path) == []


def test_a_restored_state_compiles_no_second_program_and_stays_where_it_was(tmp_path):
    traces = []

    @jax.jit
    def step(state):
        traces.append(1)
        return jax.tree.map(lambda x: x, state)

    state = step(
        {'strong': jnp.ones(3), 'weak': jnp.full(3, 0.1), 'scalar': jnp.asarray(2.0), 'key': jax.random.key(0)}
    )
    state = step(state)
    seen = len(traces)
    checkpoints.save(tmp_path, 1, state)
    _, found = checkpoints.restore(tmp_path, state)
    assert_same(found, state)
    assert [found[name].weak_type for name in ('strong', 'weak', 'scalar')] == [False, True, True]
    step(found)
    assert len(traces) == seen
    pinned = state | {'weak': jax.device_put(state['weak'], jax.devices()[0])}
    assert [leaf.committed for leaf in jax.tree.leaves(found)] == [False] * 4
    assert checkpoints.restore(tmp_path, pinned)[1]['weak'].committed


def test_restoring_to_shapes_needs_no_arrays(tmp_path):
    state = train_state(4)
    checkpoints.save(tmp_path, 4, {'state': state, 'progress': {'best': 0.5}})
    _, found = checkpoints.restore(
        tmp_path, {'state': jax.eval_shape(lambda: state), 'progress': {'best': np.zeros(())}}
    )
    assert_same(found['state'], state)
    assert found['progress']['best'] == np.asarray(0.5)


def test_params_without_a_template_keep_their_containers(tmp_path):
    state = train_state(1)
    params = {**state.params, 'layers': [jnp.ones(2), (jnp.zeros(1, jnp.bfloat16),)], 'float64': np.ones(1)}
    checkpoints.save(tmp_path, 1, {'state': state._replace(params=params), 'progress': {'n': 2}})
    assert_same(checkpoints.restore_params(tmp_path), params)
    assert checkpoints.restore_params(tmp_path, under='progress') == {'n': 2}
    with pytest.raises(Fault, match="no 'decoder' among encoder, float64, layers, prior"):
        checkpoints.restore_params(tmp_path, under='state/params/decoder')


@pytest.mark.parametrize(
    'change, said',
    [
        (lambda p: {**p, 'w': jnp.zeros((3, 2))}, r'params/w is float32\[2,3\], expected float32\[3,2\]'),
        (lambda p: {**p, 'w': p['w'].astype(jnp.bfloat16)}, r'params/w is float32\[2,3\], expected bfloat16\[2,3\]'),
        (lambda p: {'w': p['w'], 'c': p['b']}, 'params is a dict with b, key, n, expected a dict with c'),
        (lambda p: {**p, 'b': {'x': p['b']}}, r'params/b is float32\[3\], expected a dict'),
        (lambda p: {**p, 'n': 'three'}, 'params/n is int, expected str'),
        (lambda p: {**p, 'key': jax.random.key(0, impl='rbg')}, r'params/key is key<fry>\[\], expected key<rbg>\[\]'),
    ],
)
def test_another_template_is_refused_by_path_found_and_expected(tmp_path, change, said):
    params = {'w': jnp.ones((2, 3)), 'b': jnp.zeros(3), 'n': 3, 'key': jax.random.key(0)}
    checkpoints.save(tmp_path, 1, {'params': params})
    with pytest.raises(Fault, match=said) as fault:
        checkpoints.restore(tmp_path, {'params': change(params)})
    assert fault.value.code == USAGE


def test_the_newest_are_kept_and_a_save_ends_the_history(tmp_path):
    for step in (1, 5, 9):
        checkpoints.save(tmp_path, step, small(step), keep=2)
    assert sorted(os.listdir(tmp_path)) == ['5', '9'] and checkpoints.latest(tmp_path) == 9
    checkpoints.save(tmp_path, 6, small(6), keep=2)  # after a return to 5, the 9 is of a future that did not come
    assert sorted(os.listdir(tmp_path)) == ['5', '6']
    assert checkpoints.restore(tmp_path, small(0))[1]['n'] == 6
    assert checkpoints.restore(tmp_path, small(0), step=5)[1]['n'] == 5
    with pytest.raises(Fault, match='no checkpoint of step 9'):
        checkpoints.restore(tmp_path, small(0), step=9)


def test_nothing_there_is_none_or_a_fault(tmp_path):
    assert checkpoints.latest(tmp_path / 'none') is None
    with pytest.raises(Fault, match='no checkpoint in') as fault:
        checkpoints.restore(tmp_path / 'none', small(0))
    assert fault.value.code == ENVIRONMENT
    assert checkpoints.verify(tmp_path / 'none') == [f'{tmp_path / "none"}: no such folder']


def test_what_cannot_be_saved_is_refused_by_path(tmp_path):
    with pytest.raises(Fault, match='a/b is a object'):
        checkpoints.save(tmp_path, 1, {'a': {'b': object()}})
    with pytest.raises(Fault, match='a is an array of <U1'):
        checkpoints.save(tmp_path, 1, {'a': np.array(['x'])})
    (tmp_path / 'file').write_text('')
    with pytest.raises(Fault, match='cannot write checkpoint 1') as fault:
        checkpoints.save(tmp_path / 'file', 1, small(1))
    assert fault.value.code == ENVIRONMENT


def flip(file, at):
    data = bytearray(file.read_bytes())
    data[at] ^= 1 << at % 8
    file.write_bytes(data)


def test_a_flipped_bit_in_any_file_is_a_fault_that_names_it(tmp_path):
    tree = {'w': jnp.arange(60.0).reshape(20, 3), 'key': jax.random.key(0), 'best': 0.5}
    checkpoints.save(tmp_path, 1, tree)
    files = [file for file in sorted((tmp_path / '1').rglob('*')) if file.is_file()]
    assert len(files) > 5
    draw = random.Random(0)
    for file in files:
        whole = file.read_bytes()
        for at in {0, len(whole) - 1, draw.randrange(len(whole)), draw.randrange(len(whole))}:
            flip(file, at)
            with pytest.raises(Fault, match=file.name) as fault:
                checkpoints.restore(tmp_path, tree)
            assert fault.value.code == ENVIRONMENT and len(checkpoints.verify(tmp_path)) == 1
            file.write_bytes(whole)
        file.unlink()
        with pytest.raises(Fault, match=file.name):
            checkpoints.restore(tmp_path, tree)
        file.write_bytes(whole)
    assert_same(checkpoints.restore(tmp_path, tree)[1], tree)


def test_an_array_that_is_not_what_was_saved_is_a_fault_even_where_every_file_is(tmp_path, monkeypatch):
    from vae_jax import trees

    described = trees.hosted
    monkeypatch.setattr(trees, 'hosted', lambda r, leaf: (described(r, leaf)[0], np.asarray(leaf) + (r['path'] == 'b')))
    tree = {'a': np.ones(3), 'b': np.ones(3)}
    checkpoints.save(tmp_path, 1, tree)
    with pytest.raises(Fault, match='array b has not the SHA-256'):
        checkpoints.restore(tmp_path, tree)


def test_damage_is_passed_over_for_an_older_step_aloud_and_the_next_save_mends(tmp_path, capfd):
    for step in (1, 2):
        checkpoints.save(tmp_path, step, small(step), keep=2)
    flip(tmp_path / '2' / 'state' / 'manifest.ocdbt', 20)
    assert checkpoints.restore(tmp_path, small(0))[1]['n'] == 1
    said = capfd.readouterr().err
    assert said.count('\n') == 1 and 'step 1 is restored instead' in said and 'manifest.ocdbt' in said
    with pytest.raises(Fault):
        checkpoints.restore(tmp_path, small(0), step=2)
    checkpoints.save(tmp_path, 2, small(2), keep=2)
    assert checkpoints.verify(tmp_path) == [] and checkpoints.restore(tmp_path, small(0))[1]['n'] == 2
    assert capfd.readouterr() == ('', '')


_WRITER = """
import sys
import orbax.checkpoint
from tests.test_checkpoints import small
from vae_jax import checkpoints
print('ready', flush=True)
for n in range(1, 10**6):
    checkpoints.save(sys.argv[1], n // 2, small(n))   # every other save replaces a step of the same number
    print(n, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_what_it_acknowledged(tmp_path):
    draw = random.Random(1)
    root = Path(__file__).parent.parent
    command = [sys.executable, '-c', _WRITER]
    env = os.environ | {'PYTHONPATH': str(root)}
    folders = [tmp_path / str(i) for i in range(6)]
    with contextlib.ExitStack() as stack:
        writers = [
            subprocess.Popen([*command, f], stdout=subprocess.PIPE, text=True, cwd=root, env=env) for f in folders
        ]
        for writer in writers:
            stack.enter_context(writer)
            stack.callback(writer.kill)
        for folder, writer in zip(folders, writers):
            for line in iter(writer.stdout.readline, '1\n'):
                assert line == 'ready\n'
            time.sleep(draw.uniform(0, 0.15))
            writer.send_signal(signal.SIGKILL)
            acknowledged = max(map(int, writer.stdout.read().split()), default=1)
            step, found = checkpoints.restore(folder, small(0))
            assert_same(found, small(found['n']))
            assert found['n'] // 2 == step and found['n'] in (acknowledged, acknowledged + 1)
            assert checkpoints.verify(folder) == []
            checkpoints.save(folder, step + 1, small(0))
            assert os.listdir(folder) == [str(step + 1)]


def test_a_kill_at_each_move_of_a_save_loses_nothing(tmp_path, monkeypatch):
    rename, moves = os.rename, []

    def killed_at(n):
        def stop(a, b):
            moves.append(a)
            if len(moves) == n:
                raise KeyboardInterrupt
            rename(a, b)

        return stop

    for step in (1, 2):  # the same again, and the next
        n, done = 0, False
        while not done:
            n += 1
            folder = tmp_path / f'{step}-{n}'
            checkpoints.save(folder, 1, small(1))
            monkeypatch.setattr(os, 'rename', killed_at(n))
            moves.clear()
            try:
                checkpoints.save(folder, step, small(2))
                done = True
            except KeyboardInterrupt:
                done = False
            monkeypatch.setattr(os, 'rename', rename)
            found = checkpoints.restore(folder, small(0))[1]
            assert found['n'] == 2 or not done
            assert_same(found, small(found['n']))
            assert checkpoints.verify(folder) == []
            checkpoints.save(folder, 3, small(3))
            assert os.listdir(folder) == ['3']
        assert n > 2, 'each save has moves to be killed at'


def test_saving_and_restoring_twenty_arrays_is_fast_and_silent(tmp_path, capfd):
    tree = {str(i): jnp.full((100, 50), i, jnp.float32) for i in range(20)}
    checkpoints.save(tmp_path, 0, tree)
    took = []
    for step in range(1, 4):
        started = time.monotonic()
        checkpoints.save(tmp_path, step, tree)
        saved = time.monotonic()
        checkpoints.restore(tmp_path, tree)
        took.append((saved - started, time.monotonic() - saved))
    assert min(s for s, _ in took) < 0.3 and min(r for _, r in took) < 0.3, took
    assert capfd.readouterr() == ('', '')


def test_a_run_that_was_moved_or_copied_is_restored(tmp_path):
    checkpoints.save(tmp_path / 'a', 1, small(1))
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    shutil.rmtree(tmp_path / 'a')
    assert checkpoints.restore(tmp_path / 'b', small(0))[1]['n'] == 1

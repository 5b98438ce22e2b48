"""One model over several devices and several processes is the model of one."""

import json
import os
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from jax import random

import vae_jax as vj
from tests import small
from tests.test_training import plain
from vae_jax import hosts
from vae_jax.errors import ENVIRONMENT, Fault

KEY = random.key(3)


def started(code, *args):
    env = {**os.environ, 'PYTHONPATH': os.getcwd()}
    command = [sys.executable, '-c', textwrap.dedent(code), *map(str, args)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(*processes):
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said


@pytest.fixture(scope='module')
def lone():
    run = vj.fit(small.TRAINER, small.DATA, small.Hyper(), KEY, steps=23, batch=16, validate=small.validate, quiet=True)
    return plain(run.params)


ON_TWO_DEVICES = """
    import sys, re, jax, numpy as np
    import vae_jax as vj
    vj.use_host_devices(2)
    from jax import random
    import jax.numpy as jnp
    from tests import small
    from tests.test_training import plain, stop_at
    from vae_jax import placement, training
    from vae_jax.training import chunk

    trainer, out = vj.data_parallel(small.TRAINER), sys.argv[1]
    options = {'steps': 23, 'batch': 16, 'validate': small.validate, 'quiet': True}
    fit = lambda *a, **more: vj.fit(trainer, small.DATA, small.Hyper(), random.key(3), *a, **options, **more)
    whole = fit()
    try:
        fit(out=f'{out}/run', chunk=1, stop=stop_at(10))
    except training.Stopped:
        pass
    resumed = fit(out=f'{out}/run')
    for a, b in zip(plain(resumed.state), plain(whole.state), strict=True):
        np.testing.assert_array_equal(a, b)
    np.savez(f'{out}/params.npz', *plain(whole.params))

    state = vj.start(trainer, small.DATA.train, small.Hyper(), random.key(3), batch=16)
    member = chunk.Member(state, random.key(3), jnp.zeros((1, 70), jnp.int32), jnp.int32(4))
    shared = chunk.Shared(small.DATA.train, jnp.int32(0), jnp.int32(0))
    text = chunk.run_chunk.lower(trainer, placement.alone, 16, 4, member, shared).compile().as_text()
    assert 'all-reduce' in text and re.search(r'f32\\[8,30\\]', text), 'the batch of 16 was not divided'
"""


def test_devices_of_one_process_share_a_batch(lone, tmp_path):
    ended(started(ON_TWO_DEVICES, tmp_path))
    found = np.load(tmp_path / 'params.npz')
    for name, b in zip(found.files, lone, strict=True):
        np.testing.assert_allclose(found[name], b, rtol=0, atol=1e-5)


RUNS_AND_EXAMPLES = """
    import re, sys, jax, numpy as np
    import vae_jax as vj
    vj.use_host_devices(4)
    import jax.numpy as jnp
    from jax import random
    from tests import small
    from tests.test_training import plain
    from vae_jax import placement
    from vae_jax.training import chunk
    from vae_jax.training.population import Population, begin, each

    way = placement.default(4, per_run=2)
    assert way.devices == 4 and way.lanes == 2
    trainer = vj.data_parallel(small.TRAINER, 2)
    keys = jnp.stack([random.key(seed) for seed in (3, 4, 5)])
    hyper = small.Hyper(lr=jnp.array([1e-3, 3e-3, 1e-2]))
    run = vj.fit(vj.population(trainer, way), small.DATA, hyper, keys, steps=23, batch=16, quiet=True)
    np.savez(sys.argv[1], *plain(run.params))

    members, shared = placement.padded((keys, each(hyper, keys)), way), placement.shared(small.DATA.train, way)
    orders = jnp.zeros((4, 1, 70), jnp.int32)
    inputs = chunk.Shared(shared, jnp.int32(0), jnp.int32(0))
    state = begin(Population(trainer, way), inputs, orders, members[1], members[0], 16)
    member = chunk.Member(state, members[0], orders, jnp.full(4, 4, jnp.int32))
    text = chunk.run_chunk.lower(trainer, way, 16, 4, member, inputs).compile().as_text()
    groups = set(re.findall(r'replica_groups=(\\S+?),? ', text))
    assert 'all-reduce' in text and groups <= {'[2,2]<=[4]', '{{0,1},{2,3}}'}, groups
"""


def test_runs_and_examples_on_a_grid_of_devices(tmp_path):
    ended(started(RUNS_AND_EXAMPLES, tmp_path / 'params.npz'))
    found = np.load(tmp_path / 'params.npz')
    for i, (seed, lr) in enumerate([(3, 1e-3), (4, 3e-3), (5, 1e-2)]):
        run = vj.fit(small.TRAINER, small.DATA, small.Hyper(lr=lr), random.key(seed), steps=23, batch=16, quiet=True)
        for name, b in zip(found.files, plain(run.params), strict=True):
            np.testing.assert_allclose(found[name][i], b, rtol=0, atol=1e-5)


PROCESS = """
    import sys, numpy as np
    import vae_jax as vj
    process, port, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    vj.hosts.join(f'127.0.0.1:{port}', 2, process, 60)
    from jax import random
    from tests import small
    from tests.test_training import plain
    from vae_jax import training

    options = {'steps': 23, 'batch': 16, 'validate': small.validate, 'quiet': True, 'chunk': 4, 'out': f'{out}/run'}
    fit = lambda **more: vj.fit(
        vj.data_parallel(small.TRAINER), small.DATA, small.Hyper(), random.key(3), **options, **more
    )
    asked = iter([None] * 2 + [143] if process == 1 else [None] * 100)
    try:
        fit(stop=lambda: next(asked))
        raise SystemExit('nobody stopped')
    except training.Stopped as stopped:
        assert (stopped.code, stopped.step) == (143, 12), stopped
    run = fit()
    assert (run.path is None) == (process == 1)
    np.savez(f'{out}/{process}.npz', *plain(run.state))
    np.savez(f'{out}/params-{process}.npz', *plain(run.params))
"""


@pytest.mark.slow
def test_two_processes_train_the_model_of_one(lone, tmp_path):
    """On loopback; process 1 alone is asked to stop, both do, and go on from the directory that process 0 keeps."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    ended(*(started(PROCESS, i, port, tmp_path) for i in (0, 1)))
    first, second = (np.load(tmp_path / f'{i}.npz') for i in (0, 1))
    for name in first.files:
        np.testing.assert_array_equal(first[name], second[name])
    found = np.load(tmp_path / 'params-0.npz')
    for name, b in zip(found.files, lone, strict=True):
        np.testing.assert_allclose(found[name], b, rtol=0, atol=1e-5)


ALONE = """
    import vae_jax as vj
    try:
        vj.hosts.join('127.0.0.1:1', 2, 1, 3)
    except vj.Fault as fault:
        raise SystemExit(f'{fault.code} {fault.what}')
"""


@pytest.mark.slow
def test_a_coordinator_that_is_not_there_is_named():
    process = started(ALONE)
    _, said = process.communicate(timeout=60)
    # jaxlib may end a process that never joins by itself; where it lets us speak, we say what to do
    assert process.returncode != 0 and ('did not join 127.0.0.1:1' in said or 'DEADLINE_EXCEEDED' in said), said


def test_what_cannot_be_divided_is_refused():
    with pytest.raises(Fault, match='devices were asked for') as fault:
        vj.data_parallel(small.TRAINER, 1000)
    assert fault.value.code == ENVIRONMENT
    with pytest.raises(Fault, match='number the processes'):
        hosts.join('127.0.0.1:1', 2, 2)
    assert hosts.is_first() and hosts.largest(3) == 3 and hosts.of_first({'a': 1}) == {'a': 1}


INDIVISIBLE = """
    import vae_jax as vj
    vj.use_host_devices(2)
    from jax import random
    from tests import small
    try:
        vj.fit(vj.data_parallel(small.TRAINER), small.DATA, small.Hyper(), random.key(3), steps=1, batch=15, quiet=True)
    except vj.Fault as fault:
        assert 'a batch of 15 cannot be divided among 2 devices' in str(fault)
    else:
        raise SystemExit('it was divided')
"""


def test_a_batch_that_devices_cannot_share_is_refused():
    ended(started(INDIVISIBLE))


def test_the_command_line_divides_the_batch_of_one_run(tmp_path):
    command = [sys.executable, '-m', 'tests.tiny', '--steps', '8', '--quiet', '--out', str(tmp_path / 'run')]
    done = subprocess.run([*command, '--devices', '2'], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert np.isfinite(json.loads(done.stdout.splitlines()[-1])['test_elbo'])

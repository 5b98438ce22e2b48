"""A long evaluation that was stopped goes on behind what it had done, to the same bits."""

import dataclasses

import jax
import numpy as np
import pytest

import vae_jax as vj
from tests import oracles
from vae_jax import evaluation
from vae_jax.errors import Fault
from vae_jax.evaluation import keeping, streaming

pytestmark = pytest.mark.usefixtures('quickly_compiled')


def ragged(n=21):
    xs = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    return vj.data.from_arrays('rows', xs, test_x=xs, validation=0).test


def rows_of(member, shared):
    (params, key), (split, rows) = member, shared
    one = lambda row: {'a': params * split.rows['x'][row], 'b': jax.random.normal(jax.random.fold_in(key, row))}
    return jax.vmap(one)(rows)


def evaluated(monkeypatch, kept, key, params, what='test', split=None):
    """The result, and how many blocks were computed for it."""
    calls, true = [], streaming.block
    monkeypatch.setattr(streaming, 'block', lambda *args: calls.append(0) or true(*args))
    found = streaming.over(rows_of, params, key, ragged() if split is None else split, 4, True, what, kept)
    monkeypatch.setattr(streaming, 'block', true)
    return found, len(calls)


@pytest.mark.parametrize('members', [0, 3])
def test_goes_on_behind_what_is_kept_to_the_same_bits(members, tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, 'EVERY', -1.0)
    key, params = jax.random.key(1), jax.numpy.float32(2)
    if members:
        key, params = jax.random.split(key, members), jax.numpy.arange(float(members))
    plain, _ = evaluated(monkeypatch, None, key, params)
    first, calls = evaluated(monkeypatch, tmp_path, key, params)
    parts = sorted(tmp_path.glob('*/*.npz'), key=lambda path: int(path.stem))
    assert [int(path.stem) for path in parts] == [0, 4, 8, 12, 16, 20]
    again, none = evaluated(monkeypatch, tmp_path, key, params)
    parts[3].write_bytes(parts[3].read_bytes()[:40])  # what a failing disk leaves; those behind it do not count
    resumed, some = evaluated(monkeypatch, tmp_path, key, params)
    assert some - none == 3  # rows 12, 16 and 20; what every call traces is in both
    assert calls - none == 6
    for other in (first, again, resumed):
        assert jax.tree.structure(other) == jax.tree.structure(plain)
        jax.tree.map(np.testing.assert_array_equal, other, plain)


def test_what_differs_in_anything_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, 'EVERY', -1.0)
    key, params = jax.random.key(1), jax.numpy.float32(2)
    evaluated(monkeypatch, tmp_path, key, params)
    count = lambda: len(list(tmp_path.glob('*/')))
    assert count() == 1
    evaluated(monkeypatch, tmp_path, jax.random.key(2), params)
    evaluated(monkeypatch, tmp_path, key, params + 1)
    evaluated(monkeypatch, tmp_path, key, params, 'another')
    evaluated(monkeypatch, tmp_path, key, params, split=ragged(9))
    assert count() == 5
    (tmp_path / 'mine.txt').write_text('')
    keeping.forget(tmp_path)
    assert [path.name for path in tmp_path.rglob('*')] == ['mine.txt']


def test_another_program_is_not_taken_for_this_one(tmp_path, monkeypatch):
    """Equal arrays and words: another function, number inside of it, or view of the rows is another store."""
    monkeypatch.setattr(keeping, 'EVERY', -1.0)
    split, key = ragged(9), jax.random.key(0)
    seen_as = lambda view: dataclasses.replace(split, view=view)
    times = lambda n: lambda member, shared: jax.vmap(lambda row: n * example_of(shared[0], row))(shared[1])
    example_of = lambda split, row: split.view(key, split.rows['x'][row])
    found = [
        streaming.over(times(n), (), key, seen_as(view), 4, True, 'what', tmp_path)
        for n, view in ((1.0, split.view), (2.0, split.view), (1.0, lambda key, x: x + 1))
    ]
    np.testing.assert_allclose(found[1], 2 * found[0])
    np.testing.assert_allclose(found[2], found[0] + 1)
    assert len(list(tmp_path.glob('*/'))) == 3


def test_some_rows_have_the_values_that_they_have_in_the_whole():
    model, split = oracles.linear_gaussian(2, 3), ragged()
    params = model.init(jax.random.key(0), split.rows['x'][0])
    whole, cut = (
        vj.nll(model, params, s, jax.random.key(3), k=7).estimate.values for s in (split, streaming.some(split, 5))
    )
    np.testing.assert_allclose(cut, whole[:5], rtol=1e-6)
    for n in (0, 22):
        with pytest.raises(Fault, match=f'{n} examples were asked for, the split has 21'):
            evaluation.some(split, n)

"""Populations in a script: grids, the best of them, halving and population-based training as an indexing of State."""

import jax
import numpy as np
import pytest

import vae_jax as vj
from tests import small
from vae_jax import placement

TRAIN = small.DATA.train


def population():
    return vj.population(small.TRAINER, placement.in_turn)


def losses(state, keys):
    """-ELBO of each member on the validation split."""
    return np.array([small.validate(vj.take(state.params, i), keys[i])['loss'] for i in range(len(keys))])


def test_a_grid_is_every_combination_with_the_keys_of_its_seeds():
    found = vj.grid(small.Hyper, lr=[1e-2, 1e-3], beta=[0.5, 1, 2], seeds=2)
    assert len(found.points) == 12 and found.hyper.lr.shape == found.keys.shape == (12,)
    assert found.points[:3] == [
        {'lr': 1e-2, 'beta': 0.5, 'seed': 0},
        {'lr': 1e-2, 'beta': 0.5, 'seed': 1},
        {'lr': 1e-2, 'beta': 1.0, 'seed': 0},
    ]
    for i, point in enumerate(found.points):
        assert found.hyper.lr[i] == np.float32(point['lr']) and found.hyper.beta[i] == np.float32(point['beta'])
        assert found.keys[i] == jax.random.key(point['seed'])
    shared = vj.grid(small.Hyper(beta=3.0), lr=[1e-2], seeds=[4, 7])
    assert list(shared.hyper.beta) == [3, 3] and [point['seed'] for point in shared.points] == [4, 7]


@pytest.mark.parametrize(
    ('fields', 'said'),
    [
        ({'bta': [1]}, "Hyper has no field 'bta'; fix: did you mean 'beta'?"),
        ({'beta': []}, 'beta is \\[\\]'),
        ({'beta': [1, 1.0]}, 'each once'),
        ({'seeds': 0}, 'seeds is \\[\\]'),
    ],
)
def test_what_is_no_grid_is_refused(fields, said):
    with pytest.raises(vj.Fault, match=said):
        vj.grid(small.Hyper, **fields)


def test_the_best_of_a_population_is_found_among_its_metrics():
    found = vj.grid(small.Hyper, lr=[1e-30, 1e-2], seeds=2)
    run = vj.fit(
        population(),
        small.DATA,
        found.hyper,
        found.keys,
        steps=40,
        batch=16,
        validate=small.validate,
        quiet=True,
    )
    row = vj.best(run.metrics)
    assert found.points[row['run']]['lr'] == 1e-2  # the others did not learn
    lowest = min(r['validation/loss'] for r in run.metrics if 'validation/loss' in r)
    assert row['validation/loss'] == lowest and run.best_step[row['run']] == row['step']
    with pytest.raises(vj.Fault, match='no row has'):
        vj.best(run.metrics, 'validation/nll')


def test_successive_halving_drops_members_between_chunks():
    found = vj.grid(small.Hyper, lr=[1e-4, 1e-3, 1e-2, 3e-2])
    keys, numbers = found.keys, np.arange(4)
    state = vj.start(population(), TRAIN, found.hyper, keys, batch=16)
    for _ in range(2):
        state, _ = vj.advance(population(), state, TRAIN, keys, steps=15, batch=16)
        kept = np.argsort(losses(state, keys))[: len(numbers) // 2]
        state, keys, numbers = vj.take(state, kept), keys[kept], numbers[kept]
    # what is left never knew that it had company
    point = found.points[numbers[0]]
    lone = small.Hyper(lr=point['lr'])
    alone = vj.fit(small.TRAINER, small.DATA, lone, jax.random.key(point['seed']), steps=30, batch=16, quiet=True)
    for a, b in zip(jax.tree.leaves(vj.take(state, 0).params), jax.tree.leaves(alone.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def test_population_based_training_is_an_indexing_of_the_state():
    found = vj.grid(small.Hyper, lr=[1e-30, 1e-5, 1e-2, 1e-3])
    state = vj.start(population(), TRAIN, found.hyper, found.keys, batch=16)
    rng = np.random.default_rng(0)
    for _ in range(3):
        state, _ = vj.advance(population(), state, TRAIN, found.keys, steps=15, batch=16)
        order = np.argsort(losses(state, found.keys))
        source = np.arange(4)
        source[order[-1]] = order[0]  # exploit: the worst becomes a copy of the best, its optimizer's state too
        noise = state.key  # but draws its own numbers
        state = vj.take(state, source)._replace(key=noise)
        factor = np.where(source == np.arange(4), 1.0, rng.choice([0.8, 1.25], 4)).astype(np.float32)
        state = state._replace(hyper=state.hyper._replace(lr=state.hyper.lr * factor))  # explore
    assert np.all(state.step == 45)
    assert np.sum(state.hyper.lr > 1e-4) > 2  # those that did not learn are copies of those that did
    fixed = vj.start(population(), TRAIN, found.hyper, found.keys, batch=16)
    for _ in range(3):
        fixed, _ = vj.advance(population(), fixed, TRAIN, found.keys, steps=15, batch=16)
    assert np.mean(losses(state, found.keys)) < np.mean(losses(fixed, found.keys))


def test_a_batch_of_optunas_trials_is_one_population():
    optuna = pytest.importorskip('optuna')
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction='minimize', sampler=optuna.samplers.RandomSampler(seed=0))
    keys = vj.grid(small.Hyper, seeds=4).keys
    for _ in range(2):
        trials = [study.ask() for _ in range(4)]
        lr = np.array([trial.suggest_float('lr', 1e-4, 1e-1, log=True) for trial in trials], np.float32)
        run = vj.fit(
            population(),
            small.DATA,
            small.Hyper(lr=lr),
            keys,
            steps=20,
            batch=16,
            validate=small.validate,
            quiet=True,
        )
        for i, trial in enumerate(trials):
            mine = [row for row in run.metrics if row['run'] == i]
            study.tell(trial, vj.best(mine)['validation/loss'])
    assert len(study.trials) == 8 and 1e-4 <= study.best_params['lr'] <= 1e-1
    assert study.best_value == min(trial.value for trial in study.trials)

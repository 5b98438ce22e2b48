"""Imports point down only, in two legs that meet in experiments/ and the command line; flax lives in networks."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / 'vae_jax'
GROUND = {'errors', 'hosts', 'placement'}  # hosts and placement know jax alone
PROBABILITY = ['kernels', 'distributions', 'networks', 'flows', 'models', 'bounds', 'losses']
PROBABILITY += ['classical', 'disentanglement', 'evaluation', 'samplers']
MACHINE = [
    {'trees', 'files', 'fields', 'config', 'flags', 'schedules', 'statistics', 'plot', 'process', 'experiment'},
    {'data', 'checkpoints', 'runs', 'report', 'trackers'},
    {'training'},
    {'sweeps', 'launchers'},
]
ABOVE = {'cli', 'chosen', 'verbs', 'opened', 'measures', 'evaluating', '__main__', '__init__'}
# the views call the binarization kernel; a long evaluation keeps its parts in files, and tests its ranks
# EM and its kin are trainers, and say so by the shapes of training
SHARED = {'data': {'kernels'}, 'evaluation': {'files', 'statistics'}, 'classical': {'training'}}


def imports(room):
    """Modules of vae_jax that a room's files import, at any depth of the code."""
    files = [PACKAGE / f'{room}.py'] if (PACKAGE / f'{room}.py').exists() else sorted((PACKAGE / room).rglob('*.py'))
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == 'vae_jax':
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or '').startswith('vae_jax.'):
                found.add(node.module.split('.')[1])
            elif isinstance(node, ast.Import):
                found |= {a.name.split('.')[1] for a in node.names if a.name.startswith('vae_jax.')}
    return found - {room}


def below(room):
    if room in PROBABILITY:
        return GROUND | set(PROBABILITY[: PROBABILITY.index(room)]) | SHARED.get(room, set())
    floor = next(i for i, rooms in enumerate(MACHINE) if room in rooms)
    return GROUND | set().union(*MACHINE[: floor + 1]) | SHARED.get(room, set())


ROOMS = sorted(
    {p.stem for p in PACKAGE.glob('*.py')} | {p.name for p in PACKAGE.iterdir() if (p / '__init__.py').exists()}
)


@pytest.mark.parametrize('room', [r for r in ROOMS if r not in ABOVE | GROUND])
def test_a_room_imports_only_what_is_below_it(room):
    assert imports(room) <= below(room)


def test_training_knows_no_vae_and_flax_lives_in_networks():
    assert not imports('training') & set(PROBABILITY)
    users = {p.relative_to(PACKAGE).parts[0] for p in PACKAGE.rglob('*.py') if 'import flax' in p.read_text()}
    assert {user.removesuffix('.py') for user in users} <= {'networks'}

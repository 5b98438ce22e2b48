"""Configurations: JSON and back, names that survive new fields, ranges, the schema, and every way to write a flag."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import pytest

from vae_jax import config, flags
from vae_jax.config import Range, RunFlags
from vae_jax.errors import Fault


class Hyper(NamedTuple):
    lr: Annotated[float, Range(above=0)] = 1e-3
    """learning rate"""
    beta: float = 1.0


@dataclass(frozen=True)
class Sweep:
    beta: float = 2.0


@dataclass(frozen=True)
class Config:
    """Trains a thing."""

    network: Literal['mlp', 'conv'] = 'mlp'
    """of the encoder
    and the decoder"""
    hidden: tuple[Annotated[int, Range(1)], ...] = (500,)
    batch_size: Annotated[int, Range(1, 1024)] = 128
    steps: Annotated[int | None, Range(0)] = None
    label: str | None = None
    verbose: Annotated[bool, config.NO_EFFECT] = False
    sweep: Sweep = Sweep(beta=4.0)
    hyper: Hyper = Hyper(lr=3e-4)
    run: RunFlags = RunFlags()


def parsed(*argv: str) -> Config:
    return flags.parse(Config, argv, 'python -m experiments.thing')


def refusal(*argv: str) -> str:
    with pytest.raises(Fault) as caught:
        parsed(*argv)
    assert caught.value.code == 2 and '\n' not in str(caught.value)
    return str(caught.value)


ELSEWHERE = Config('conv', (3, 4), 7, 5, 'a=b', True, Sweep(9.0), Hyper(0.1, 2.0), RunFlags(seed=3, out='x'))


@pytest.mark.parametrize('held', [Config(), ELSEWHERE])
def test_json_gives_the_same_configuration_back(held):
    assert config.from_json(Config, json.loads(json.dumps(config.to_json(held)))) == held


def test_fields_absent_from_json_take_the_defaults_of_this_config_not_of_its_parts():
    assert config.from_json(Config, {'hyper': {'beta': 2}}) == Config(hyper=Hyper(3e-4, 2.0))


@pytest.mark.parametrize(
    ('data', 'said'),
    [
        ({'hiden': [1]}, "unknown field 'hiden'; fix: did you mean 'hidden'?"),
        ({'hyper': {'betta': 1.0}}, "unknown field 'hyper.betta'; fix: did you mean 'beta'?"),
        ({'batch_size': 'many'}, "--batch-size is 'many'; fix: give an integer"),
        ({'hyper': {'beta': 'big'}}, "--beta is 'big'; fix: give a number"),
        ({'hyper': {'beta': True}}, '--beta is True; fix: give a number'),
        ({'hidden': 3}, '--hidden is 3; fix: give a list, each an integer'),
        ({'network': 'cnv'}, "--network is 'cnv'; fix: give one of mlp, conv"),
        ({'run': 3}, "the field 'run' of the configuration is 3; fix: give an object"),
        ({'hyper': {'lr': -1.0}}, '--lr is -1.0; fix: give a value > 0'),
    ],
)
def test_json_that_does_not_fit_is_refused_by_name(data, said):
    with pytest.raises(Fault) as caught:
        config.from_json(Config, data)
    assert said in str(caught.value)


def test_a_name_is_of_what_can_change_the_result():
    name = config.run_name('thing', Config(), 1)
    quiet = RunFlags(
        out='x', fresh=True, quiet=True, max_time='1h', data_dir='y', debug=True, profile=True, dry_run=True
    )
    assert config.run_name('thing', Config(run=quiet, verbose=True), 1) == name
    assert name.startswith('thing-') and name.endswith('-s0')
    assert config.run_name('thing', Config(run=RunFlags(seed=7)), 1) == name.replace('-s0', '-s7')
    others = [
        Config(hidden=(500, 500)),
        Config(run=RunFlags(smoke=True)),
        Config(hyper=Hyper(3e-4, 2.0)),
        Config(sweep=Sweep()),
        Config(steps=0),
    ]
    names = {config.run_name('thing', other, 1) for other in others} | {config.run_name('thing', Config(), 2), name}
    assert len(names) == len(others) + 2


def test_a_new_field_at_its_default_renames_no_run_and_this_hash_is_for_ever():
    @dataclass(frozen=True)
    class Later(Config):
        extra: int = 3

    told = {'network': 'conv', 'hyper': {'beta': 2}, 'run': {'seed': 5}}
    before, after = config.from_json(Config, told), config.from_json(Later, told)
    assert config.run_name('thing', after, 1) == config.run_name('thing', before, 1) == 'thing-91f58d0c-s5'
    assert config.run_name('thing', dataclasses.replace(after, extra=4), 1) != 'thing-91f58d0c-s5'


def test_one_and_one_point_zero_are_one_run():
    assert config.run_name('a', Config(hyper=Hyper(1, 2)), 1) == config.run_name('a', Config(hyper=Hyper(1.0, 2.0)), 1)


@pytest.mark.parametrize(
    ('text', 'seconds'), [('3h50m', 13800), ('90s', 90), ('15m', 900), ('1d', 86400), ('1.5h', 5400), ('45', 45)]
)
def test_durations(text, seconds):
    assert config.parse_duration(text) == seconds


@pytest.mark.parametrize('text', ['', '0s', '3x', 'h', '3h5', '-5m', '1h garbage', 'inf', '5 m'])
def test_what_is_no_duration(text):
    with pytest.raises(Fault, match='is not a duration; fix: '):
        config.parse_duration(text)


def test_the_schema_says_type_default_range_choices_help_and_what_is_traced():
    schema = config.describe(Config, ('test_nll', 'min'))
    fields = json.loads(json.dumps(schema))['properties']
    assert schema['metric'] == {'name': 'test_nll', 'direction': 'min'}
    assert fields['network'] == {
        'enum': ['mlp', 'conv'],
        'default': 'mlp',
        'description': 'of the encoder and the decoder',
        'field': 'network',
        'traced': False,
        'changes_result': True,
    }
    assert fields['lr']['exclusiveMinimum'] == 0 and fields['lr']['default'] == 3e-4 and fields['lr']['traced']
    assert fields['hidden']['items'] == {'type': 'integer', 'minimum': 1}
    assert (fields['batch-size']['minimum'], fields['batch-size']['maximum']) == (1, 1024)
    assert fields['steps']['type'] == ['integer', 'null'] and fields['sweep.beta']['default'] == 4.0
    assert [name for name, field in fields.items() if not field['changes_result']][:2] == ['verbose', 'out']


def test_flags_may_be_written_in_every_usual_way():
    same = [
        ['--batch-size', '7', '--beta', '-2', '--hidden', '3', '4', '--smoke', '--network', 'conv'],
        ['--network=conv', '--smoke=True', '--hidden=3,4', '--beta=-2', '--batch_size=7'],
        ['--hidden', '[3, 4]', '--smoke', 'true', '--batch-size=7', '--network=conv', '--beta=-2.0'],
        [
            '--hidden=3 4',
            '--no-smoke',
            '--smoke=1',
            '--batch_size',
            '9',
            '--batch_size',
            '7',
            '--network=conv',
            '--beta=-2',
        ],
    ]
    expected = Config('conv', (3, 4), 7, hyper=Hyper(3e-4, -2.0), run=RunFlags(smoke=True))
    assert [parsed(*argv) for argv in same] == [expected] * len(same)
    assert parsed('--no-verbose', '--smoke=False', '--hidden', '--steps', 'None') == Config(hidden=())
    assert parsed('--label=-a=b', '--sweep.beta', '1e-3') == Config(label='-a=b', sweep=Sweep(1e-3))


@pytest.mark.parametrize(
    ('argv', 'said'),
    [
        (['--netwrk', 'mlp'], "unknown flag --netwrk; fix: did you mean '--network'?"),
        (['--sweep.bta=3'], "unknown flag --sweep.bta; fix: did you mean '--sweep.beta'?"),
        (['--no-hidden'], 'unknown flag --no-hidden'),
        (['--batch', '3'], "unknown flag --batch; fix: did you mean '--batch-size'?"),
        (['-s', '3'], 'unknown flag -s'),
        (['--network', 'cnv'], "--network is 'cnv'; fix: did you mean 'conv'?"),
        (['--batch-size', 'abc'], "--batch-size is 'abc'; fix: give an integer"),
        (['--batch-size', '1.5'], "--batch-size is '1.5'; fix: give an integer"),
        (['--batch-size', '0'], '--batch-size is 0; fix: give a value >= 1 and <= 1024'),
        (['--hidden', '3', '0'], '--hidden is 0; fix: give a value >= 1'),
        (['--hidden', '3', 'x'], "--hidden is 'x'; fix: give an integer"),
        (['--steps', '-1'], '--steps is -1; fix: give a value >= 0'),
        (['--beta', 'nan'], '--beta is nan; fix: give a finite number'),
        (['--beta', '-inf'], '--beta is -inf; fix: give a finite number'),
        (['--smoke=maybe'], "--smoke is 'maybe'; fix: give --smoke, --no-smoke"),
        (['--seed'], '--seed has no value'),
        (['--seed', '--quiet'], '--seed has no value'),
        (['mnist'], "'mnist' belongs to no flag"),
        (['--seed', '1', '2'], "'2' belongs to no flag"),
        (['--max-time', 'soon'], "'soon' is not a duration"),
    ],
)
def test_a_wrong_command_line_is_one_line_with_the_remedy(argv, said):
    assert said in refusal(*argv)


def test_help_shows_every_flag_with_its_default_and_range_in_plain_text(capsys):
    with pytest.raises(SystemExit) as leaving:
        parsed('--help')
    shown = capsys.readouterr().out
    assert leaving.value.code == 0 and '\x1b' not in shown
    lines = ' '.join(shown.replace('│', ' ').split())
    for flag in config.describe(Config)['properties']:
        assert f'--{flag}' in shown
    assert lines.count('(default: ') == len(config.describe(Config)['properties'])
    assert 'learning rate (> 0) (default: 0.0003)' in lines


def test_two_fields_of_one_flag_and_a_field_no_flag_can_give_are_refused_to_the_author():
    @dataclass(frozen=True)
    class Twice:
        beta: float = 1.0
        hyper: Hyper = Hyper()

    @dataclass(frozen=True)
    class Odd:
        table: dict[str, int] = dataclasses.field(default_factory=dict)

    with pytest.raises(TypeError, match='two fields for the flag --beta'):
        config.describe(Twice)
    with pytest.raises(TypeError, match='field table is'):
        config.describe(Odd)

"""A configuration is a frozen dataclass of plain fields: what one experiment turns, its `Hyper`, flags of every run.

    @dataclass(frozen=True)
    class Config:
        latent: Annotated[int, config.Range(1)] = 20
        '''dimensions of z'''
        hyper: Hyper = Hyper()                     # NamedTuple of floats: traced, so that a sweep never recompiles
        run: config.RunFlags = config.RunFlags()

Fields are bool, int, float, str, `| None`, Literal, tuples, or dataclasses of these (`--sweep.beta`). Nothing here
imports jax: a wrong command line is refused before the second which that takes.
"""

import dataclasses
import functools
import hashlib
import inspect
import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from vae_jax.errors import Fault, nearest
from vae_jax.fields import NO_EFFECT, POSITIONAL, Leaf, Range, fits, is_group, json_schema, leaves, members, said, slots

__all__ = [
    'NO_EFFECT',
    'POSITIONAL',
    'Range',
    'RunFlags',
    'changed',
    'check',
    'describe',
    'differences',
    'from_json',
    'parse_duration',
    'replaced',
    'run_name',
    'to_json',
    'tokens',
    'value',
]
T = TypeVar('T')
_LIMITS = ('minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum')
_SECONDS = {'d': 86400.0, 'h': 3600.0, 'm': 60.0, 's': 1.0, '': 1.0}


def parse_duration(text: str) -> float:
    """Seconds of '3h50m', '90s', '1d', '1.5h' or a plain number of seconds. Raises Fault for anything else, and 0."""
    parts = re.findall(r'(\d+(?:\.\d*)?)([dhms]?)', text)
    seconds = sum(float(count) * _SECONDS[unit] for count, unit in parts)
    whole = ''.join(count + unit for count, unit in parts) == text and all(unit for _, unit in parts[:-1])
    if not (whole and seconds > 0 and (len(parts) == 1 or parts[-1][1])):
        raise Fault(f'{text!r} is not a duration', 'give a time such as 3h50m, 15m or 90s')
    return seconds


@dataclasses.dataclass(frozen=True)
class RunFlags:
    """Flags of every experiment. Only `seed` and `smoke` can change a result."""

    seed: Annotated[int, Range(0, 2**32 - 1)] = 0
    """the run's key: initial parameters, order of the data, every sample"""
    smoke: bool = False
    """shrink the experiment to seconds; data that are missing become generated stand-ins"""
    out: Annotated[str | None, NO_EFFECT] = None
    """run directory; None: runs/<name>-<hash>-s<seed>"""
    fresh: Annotated[bool, NO_EFFECT] = False
    """set an existing run directory aside and start anew"""
    max_time: Annotated[str | None, NO_EFFECT, parse_duration] = None
    """after a time such as 3h50m: checkpoint, then exit 75 (start me again)"""
    data_dir: Annotated[str | None, NO_EFFECT] = None
    """prepared datasets; None: $TFDS_DATA_DIR, else ~/tensorflow_datasets"""
    seeds: Annotated[int | None, Range(1), NO_EFFECT] = None
    """a sweep: seed .. seed + seeds - 1, each with every value of the --sweep flags"""
    points: Annotated[str | None, NO_EFFECT] = None
    """a file of one {flag: value} a line: these runs as one population, in one run directory"""
    devices: Annotated[int | None, Range(1), NO_EFFECT] = None
    """of a sweep: devices for its runs, None: all, of a CPU its cores; of one run: devices that share each batch"""
    devices_per_run: Annotated[int, Range(1), NO_EFFECT] = 1
    """of a sweep: devices that share each batch of a run"""
    launcher: Annotated[Literal['local', 'ray', 'slurm'], NO_EFFECT] = 'local'
    """who runs the tasks of a sweep"""
    ray_address: Annotated[str | None, NO_EFFECT] = None
    """a Ray cluster, host:port or auto; None: $RAY_ADDRESS, else one that is started here"""
    slurm: Annotated[tuple[str, ...], NO_EFFECT] = ()
    """options of a task's job: partition=gpu time=4h"""
    tracker: Annotated[Literal['none', 'tensorboard', 'wandb', 'trackio', 'mlflow'], NO_EFFECT] = 'none'
    """where else to show metrics.jsonl; each is an extra: pip install 'vae_jax[wandb]'"""
    quiet: Annotated[bool, NO_EFFECT] = False
    """print the last line of JSON and nothing else"""
    describe: Annotated[bool, NO_EFFECT] = False
    """print every field as a JSON schema, then exit"""
    dry_run: Annotated[bool, NO_EFFECT] = False
    """print what would run and how large it is, then exit"""
    profile: Annotated[bool, NO_EFFECT] = False
    """write a trace of a few chunks of training to <run>/profile"""
    debug: Annotated[bool, NO_EFFECT] = False
    """add the traceback to an error"""


def value(config: Any, leaf: Leaf) -> Any:
    """The value of one leaf; an int where floats are held becomes a float, so that 1 and 1.0 are one run."""
    found = functools.reduce(getattr, leaf.path, config)
    kinds = members(leaf.type)
    return float(found) if type(found) is int and float in kinds and int not in kinds else found


def check(config: T) -> T:
    """The same configuration, all values of their type, finite and within range. Raises Fault naming the flag."""
    for leaf in leaves(type(config)):
        held, shown = value(config, leaf), leaf.flag if POSITIONAL in leaf.marks else f'--{leaf.flag}'
        if not fits(leaf.type, held):
            raise Fault(f'{shown} is {held!r}', f'give {said(leaf.type)}')
        for v in held if isinstance(held, tuple) else (held,):
            if isinstance(v, float) and not math.isfinite(v):
                raise Fault(f'{shown} is {v}', 'give a finite number')
            if v is not None and v not in leaf.range:
                raise Fault(f'{shown} is {v}', f'give a value {leaf.range}')
            for parse in filter(callable, leaf.marks if v is not None else ()):
                parse(v)
    return config


def to_json(config: Any) -> dict[str, Any]:
    """Nested dict of JSON values, of which `from_json` makes an equal configuration."""
    plain: dict[str, Any] = {}
    for leaf in leaves(type(config)):
        *groups, name = leaf.path
        held = value(config, leaf)
        place = functools.reduce(lambda group, key: group.setdefault(key, {}), groups, plain)
        place[name] = list(held) if isinstance(held, tuple) else held
    return plain


def from_json(kind: type[T], data: dict[str, Any]) -> T:
    """The configuration that `to_json` wrote; absent fields take defaults. Raises Fault naming the wrong field."""
    return check(_from_json(kind, data, (), dataclasses.MISSING))


def changed(config: Any) -> dict[str, Any]:
    """{flag: value} of the fields that differ from their defaults and can change the result, all but the seed."""
    return {
        leaf.flag: value(config, leaf)
        for leaf in leaves(type(config))
        if NO_EFFECT not in leaf.marks and leaf.path != ('run', 'seed') and value(config, leaf) != leaf.default
    }


def replaced(config: T, values: Mapping[tuple[str, ...], Any]) -> T:
    """The configuration with other values at some paths of its leaves. They are not checked."""
    for (name, *rest), held in values.items():
        inner = replaced(getattr(config, name), {tuple(rest): held}) if rest else held
        change: Any = getattr(config, '_replace', None) or functools.partial(dataclasses.replace, config)
        config = change(**{name: inner})
    return config


def tokens(config: Any) -> list[str]:
    """Flags of a command line that give this configuration: those of `changed`, and the seed."""
    words: list[str] = []
    for flag, held in changed(config).items():
        told = [] if held is True else [str(held)] if not isinstance(held, tuple) else map(str, held)
        words += [f'--no-{flag}'] if held is False else [f'--{flag}', *told]
    return [*words, '--seed', str(config.run.seed)]


def differences(found: Any, expected: Any) -> list[str]:
    """A clause for each flag that can change the result and is not the same in two configurations of one class."""
    return [
        f'--{leaf.flag} is {value(found, leaf)} there, expected {value(expected, leaf)}'
        for leaf in leaves(type(expected))
        if NO_EFFECT not in leaf.marks and value(found, leaf) != value(expected, leaf)
    ]


def run_name(name: str, config: Any, version: int = 1) -> str:
    """'<name>-<hash>-s<seed>', the hash over the experiment's version and `changed`: a new field orphans no old run."""
    identity = json.dumps([version, changed(config)], sort_keys=True, allow_nan=False)
    return f'{name}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}-s{config.run.seed}'


def describe(kind: Any, metric: tuple[str, str] = ('test_nll', 'min')) -> dict[str, Any]:
    """JSON schema of an experiment's flags (type, default, range, choices, help; traced or static), and the metric."""
    properties = {}
    for leaf in leaves(kind):
        bounds = leaf.range
        limits = zip(_LIMITS, (bounds.low, bounds.high, bounds.above, bounds.below))
        schema = json_schema(leaf.type, leaf.path)
        schema.get('items', schema).update({word: bound for word, bound in limits if bound is not None})
        if leaf.default is not dataclasses.MISSING:
            schema['default'] = leaf.default
        schema |= {'description': leaf.help, 'field': '.'.join(leaf.path), 'traced': leaf.traced}
        properties[leaf.flag] = schema | {'changes_result': NO_EFFECT not in leaf.marks}
    return {
        'description': (inspect.getdoc(kind) or '').split('\n')[0],
        'type': 'object',
        'properties': properties,
        'additionalProperties': False,
        'metric': {'name': metric[0], 'direction': metric[1]},
    }


def _from_json(kind: Any, data: Any, path: tuple[str, ...], default: Any) -> Any:
    known = {slot.name: slot for slot in slots(kind, default)}
    if not isinstance(data, dict):
        what = f'the field {".".join(path)!r} of the configuration' if path else 'the configuration'
        raise Fault(f'{what} is {data!r}', f'give an object with {", ".join(known)}')
    for name in sorted(data.keys() - known.keys()):
        raise Fault(f'the configuration has an unknown field {".".join((*path, name))!r}', nearest(name, known))
    values = {}
    for name, slot in known.items():
        here = (*path, name)
        if name not in data and slot.default is dataclasses.MISSING:
            raise Fault(f'the configuration lacks the field {".".join(here)!r}', 'add it')
        if name not in data:
            values[name] = slot.default
        elif is_group(slot.type):
            values[name] = _from_json(slot.type, data[name], here, slot.default)
        else:
            values[name] = tuple(data[name]) if isinstance(data[name], list) else data[name]
    return kind(**values)

"""A command line becomes a configuration: tyro over the dataclass, every mistake one line with a remedy, before jax.

Taken: `--flag value`, `--flag=value`, any order, `_` or `-`; `--on`, `--no-on`, `--on=True`, `--on False`; lists as
`--hidden 500 200`, `--hidden=500,200` or `--hidden='[500, 200]'`, which is what launchers send. Before any flag that
can change a result, `sweep.` makes it a list: `--sweep.beta 0.5 1 2`, `--sweep.hidden 500 500,200`.
"""

import contextlib
import dataclasses
import io
import re
import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from vae_jax.config import NO_EFFECT, check
from vae_jax.errors import Fault, nearest
from vae_jax.fields import POSITIONAL, Leaf, Range, is_group, leaves, members, prefix_free, said, slots

T = TypeVar('T')
_TRUTH = {'true': True, '1': True, 'yes': True, 'false': False, '0': False, 'no': False}
_HELP = ('-h', '--help')
_SWEEP = 'sweep.'
_HOW_TO_SWEEP = 'Any flag that can change a result takes several values: --sweep.<flag> a b c, and --seeds n.\n'


def parse(kind: type[T], argv: Sequence[str], prog: str, description: str = '') -> T:
    """The configuration that a command line asks for, checked. Raises Fault; `--help` prints all flags and exits 0."""
    import tyro

    tokens, box = rewrite(argv, leaves(kind)), io.StringIO()
    if description and set(_HELP) & set(tokens):
        print(description.strip() + '\n')  # as it is written: tyro would fill its lines
        if any(leaf.path == ('run', 'seeds') for leaf in leaves(kind)):
            print(_HOW_TO_SWEEP)
    try:
        with contextlib.redirect_stderr(box):
            told = tyro.cli(
                _mirror(kind),
                prog=prog,
                args=tokens,
                config=(tyro.conf.CascadeSubcommandArgs, tyro.conf.PositionalMetavarFromFieldName),
            )
    except SystemExit as leaving:
        if leaving.code in (0, None):
            raise
        raise Fault(_said(box.getvalue()), f'see {prog} --help') from None
    return check(_back(kind, told))


def rewrite(argv: Sequence[str], known: Sequence[Leaf]) -> list[str]:
    """The tokens as tyro takes them: booleans bare, lists apart. Raises Fault for an unknown flag with the nearest."""
    flags = {leaf.flag: leaf for leaf in known if POSITIONAL not in leaf.marks}
    wanted = [leaf for leaf in known if POSITIONAL in leaf.marks]
    tokens: list[str] = []
    rest = list(argv)
    while rest:
        token = rest.pop(0)
        if token in _HELP:
            tokens.append(token)
        elif _is_flag(token):
            name, equals, held = token.partition('=')
            leaf, on = _find(name, flags)
            values = [held] if equals else []
            while not equals and rest and not _is_flag(rest[0]) and len(values) < _width(leaf, rest[0]):
                values.append(rest.pop(0))
            tokens += _spell(leaf, on, values)
        elif wanted:
            wanted.pop(0)
            tokens.append(token)
        else:
            raise Fault(f'{token!r} belongs to no flag', f'write it as --flag {token}; --help lists the flags')
    if wanted and not set(_HELP) & set(tokens):
        raise Fault(f'no {wanted[0].flag} was given', f'give {wanted[0].help}')
    return tokens


def swept(argv: Sequence[str], known: Sequence[Leaf]) -> tuple[list[str], dict[str, tuple[Any, ...]]]:
    """(the other tokens, {flag: its values}) of a command line with `--sweep.<flag>`. Raises Fault, naming the nearest.

    `--sweep.beta 0.5 1 2` or `--sweep.beta=0.5,1,2`; of a list each value is one token: `--sweep.hidden 500 500,200`.
    """
    own = {leaf.flag for leaf in known}  # an experiment's own group of this name is not a sweep
    held = {_SWEEP + leaf.flag: leaf for leaf in known if NO_EFFECT not in leaf.marks}
    found: dict[str, tuple[Any, ...]] = {}
    others: list[str] = []
    rest = list(argv)
    while rest:
        token = rest.pop(0)
        name, equals, text = token.partition('=')
        asked = name.removeprefix('--').replace('_', '-')
        if not name.startswith('--' + _SWEEP) or asked in own:
            others.append(token)
            continue
        if asked.removeprefix(_SWEEP) in own and asked not in held:
            raise Fault(f'{name}: that flag changes no result', 'sweep over another')
        if asked not in held:
            raise Fault(f'unknown flag {name}', nearest(f'--{asked}', [f'--{flag}' for flag in held]))
        leaf, words = held[asked], [text] if equals else []
        while not equals and rest and not _is_flag(rest[0]):
            words.append(rest.pop(0))
        if leaf.flag in found:
            raise Fault(f'--{asked} is given twice', f'give all values at once: --{asked} a b c')
        found[leaf.flag] = tuple(read(f'--{asked}', leaf.type, word) for word in _words(leaf, words, bool(equals)))
        if not found[leaf.flag]:
            raise Fault(f'--{asked} has no value', f'give some: --{asked} a b c')
    given = {token.partition('=')[0].removeprefix('--').replace('_', '-') for token in others if _is_flag(token)}
    if twice := sorted(given & found.keys()):
        raise Fault(f'--{twice[0]} and --{_SWEEP}{twice[0]} are both given', 'give one of them')
    return others, found


def _words(leaf: Leaf, words: list[str], joined: bool) -> list[str]:
    if typing.get_origin(leaf.type) is tuple:
        return [word for each in words for word in (each.split() if joined else [each])]
    if leaf.type is str and not joined:
        return words
    return [word for each in words for word in re.split(r'[\s,]+', each.strip('[]() ')) if word]


def read(flag: str, kind: Any, text: str) -> Any:
    """The value that a text is of a field's type. Raises Fault naming the flag."""
    if typing.get_origin(kind) is tuple:
        parts = [part for part in re.split(r'[\s,]+', text.strip('[]() ')) if part]
        return tuple(read(flag, typing.get_args(kind)[0], part) for part in parts)
    if kind is bool:
        if text.lower() not in _TRUTH:
            raise Fault(f'{flag} is {text!r}', f'give {said(kind)}')
        return _TRUTH[text.lower()]
    _readable(flag, kind, text)
    for one in members(kind):
        if typing.get_origin(one) is typing.Literal:
            return next(choice for choice in typing.get_args(one) if str(choice) == text)
        if _reads(one, text) and one is not str:
            return None if one is types.NoneType else one(text)
    return text


def _find(name: str, flags: dict[str, Leaf]) -> tuple[Leaf, bool]:
    asked = name[2:].replace('_', '-') if name.startswith('--') else ''
    positive = flags.get(asked.removeprefix('no-'))
    if asked in flags:
        return flags[asked], True
    if positive and positive.type is bool:
        return positive, False
    raise Fault(f'unknown flag {name}', nearest(f'--{name.lstrip("-").replace("_", "-")}', [f'--{f}' for f in flags]))


def _width(leaf: Leaf, following: str) -> float:
    if leaf.type is bool:
        return following.lower() in _TRUTH
    return float('inf') if typing.get_origin(leaf.type) is tuple else 1


def _spell(leaf: Leaf, on: bool, values: list[str]) -> list[str]:
    flag = f'--{leaf.flag}'
    if leaf.type is bool:
        said = _TRUTH.get(values[0].lower()) if values else True
        if said is None or (values and not on):
            raise Fault(f'{flag} is {values[0]!r}', f'give {flag}, --no-{leaf.flag}, {flag}=True or {flag}=False')
        return [flag if said == on else f'--no-{leaf.flag}']
    if typing.get_origin(leaf.type) is tuple:
        parts = [part for v in values for part in re.split(r'[\s,]+', v.strip('[]() ')) if part]
        for part in parts:
            _readable(flag, typing.get_args(leaf.type)[0], part)
        return [flag, *parts]
    if not values:
        raise Fault(f'{flag} has no value', f'give one: {flag}=...')
    _readable(flag, leaf.type, values[0])
    return [f'{flag}={values[0]}']


def _readable(flag: str, kind: Any, text: str) -> None:
    choices = [str(choice) for one in members(kind) for choice in typing.get_args(one)]
    if text in choices or any(_reads(one, text) for one in members(kind)):
        return
    raise Fault(f'{flag} is {text!r}', nearest(text, choices) if choices else f'give {said(kind)}')


def _reads(kind: Any, text: str) -> bool:
    if kind in (int, float):
        with contextlib.suppress(ValueError):
            kind(text)
            return True
    return kind is str or (kind is types.NoneType and text == 'None')


def _is_flag(token: str) -> bool:
    return token.startswith('-') and not re.match(r'-(\d|\.\d|inf|nan|$)', token)


def _mirror(kind: Any, default: Any = dataclasses.MISSING) -> Any:
    """The class as tyro wants it: the same fields and defaults, its own marks, the range in the help."""
    import tyro

    fields: list[Any] = []
    for slot in slots(kind, default):
        if is_group(slot.type):
            group = _mirror(slot.type, slot.default)
            shown = Annotated[group, tyro.conf.OmitArgPrefixes] if prefix_free(slot.name) else group
            fields.append((slot.name, shown, dataclasses.field(default_factory=group)))
            continue
        bounds = ''.join(f' ({mark})' for mark in slot.marks if isinstance(mark, Range))
        asked: Any = Annotated[slot.type, tyro.conf.arg(help=(slot.help + bounds).strip())]
        if POSITIONAL in slot.marks:
            asked = Annotated[asked, tyro.conf.Positional]
        fields.append((slot.name, asked, dataclasses.field(default=slot.default)))
    return dataclasses.make_dataclass(kind.__name__, fields, frozen=True)


def _back(kind: Any, told: Any) -> Any:
    held = {slot.name: getattr(told, slot.name) for slot in slots(kind)}
    groups = {slot.name: slot.type for slot in slots(kind) if is_group(slot.type)}
    return kind(**{name: _back(groups[name], v) if name in groups else v for name, v in held.items()})


def _said(box: str) -> str:
    lines = [line.strip('│╭╮╰╯─|+- \t') for line in box.splitlines()[1:]]
    said = lines[: lines.index('')] if '' in lines else lines
    return ' '.join(said).strip().rstrip('.') or 'the command line is not understood'

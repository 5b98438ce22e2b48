"""The fields of a configuration's classes: their types, bounds, defaults and help, read once from the class itself.

`leaves(Config)` is all that the command line, the JSON schema and a run's name know about a configuration.
"""

import ast
import dataclasses
import functools
import inspect
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple

_WITHOUT_PREFIX = ('hyper', 'run')
_NAMES = {bool: 'boolean', int: 'integer', float: 'number', str: 'string', types.NoneType: 'null'}
_SAID = {bool: 'true or false', int: 'an integer', float: 'a number', str: 'a text', types.NoneType: 'None'}


@dataclasses.dataclass(frozen=True)
class Range:
    """What a field, or each element of a tuple, may be: `low <= v <= high`, `above < v < below`; None is no bound."""

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None

    def __contains__(self, v: float) -> bool:
        return (
            (self.low is None or v >= self.low)
            and (self.high is None or v <= self.high)
            and (self.above is None or v > self.above)
            and (self.below is None or v < self.below)
        )

    def __str__(self) -> str:
        bounds = (('>=', self.low), ('>', self.above), ('<=', self.high), ('<', self.below))
        return ' and '.join(f'{sign} {bound}' for sign, bound in bounds if bound is not None)


@dataclasses.dataclass(frozen=True)
class Mark:
    """What a field is to the command line: `NO_EFFECT` on a result (so not in a run's name), `POSITIONAL` (no flag)."""

    kind: str


NO_EFFECT, POSITIONAL = Mark('no effect'), Mark('positional')


class Slot(NamedTuple):
    """One field of one class, a plain value or a class in its turn. The default is MISSING where it must be given."""

    name: str
    type: Any
    marks: tuple[Any, ...]
    default: Any
    help: str


class Leaf(NamedTuple):
    """One plain field: its place, its flag, the rest of its slot; traced where its class is a NamedTuple."""

    path: tuple[str, ...]
    flag: str
    type: Any
    marks: tuple[Any, ...]
    default: Any
    help: str
    traced: bool

    @property
    def range(self) -> Range:
        return next((mark for mark in self.marks if isinstance(mark, Range)), Range())


def is_group(kind: Any) -> bool:
    """Whether a type has fields of its own: a dataclass or a NamedTuple."""
    return dataclasses.is_dataclass(kind) or (isinstance(kind, type) and hasattr(kind, '_field_defaults'))


def slots(group: Any, default: Any = dataclasses.MISSING) -> tuple[Slot, ...]:
    """The fields of one dataclass or NamedTuple, in order, with the defaults of its class or of the value `default`."""
    hints, helps = typing.get_type_hints(group, include_extras=True), _docstrings(group)
    if dataclasses.is_dataclass(group):
        defaults = {f.name: _default(f) for f in dataclasses.fields(group)}
    else:
        defaults = {name: group._field_defaults.get(name, dataclasses.MISSING) for name in group._fields}
    now = {name: getattr(default, name, own) for name, own in defaults.items()}
    return tuple(Slot(name, *_bare(hints[name]), held, helps.get(name, '')) for name, held in now.items())


def leaves(group: Any, path: tuple[str, ...] = (), default: Any = dataclasses.MISSING) -> tuple[Leaf, ...]:
    """All plain fields, nested ones too. The flag is the dotted path, '-' for '_'; `hyper` and `run` add no prefix."""
    found: list[Leaf] = []
    for slot in slots(group, default):
        here = (*path, slot.name)
        if is_group(slot.type):
            found += leaves(slot.type, here, slot.default)
        else:
            json_schema(slot.type, here)
            flag = '.'.join(here[1:] if path and here[0] in _WITHOUT_PREFIX else here).replace('_', '-')
            found.append(Leaf(here, flag, *slot[1:], traced=not dataclasses.is_dataclass(group)))
    flags = [leaf.flag for leaf in found]
    twice = {flag for flag in flags if flags.count(flag) > 1}
    if twice:
        raise TypeError(f'{group.__name__} has two fields for the flag --{min(twice)}: rename one')
    return tuple(found)


def prefix_free(name: str) -> bool:
    """Whether the fields of the group of this name are flags without a prefix."""
    return name in _WITHOUT_PREFIX


def members(kind: Any) -> tuple[Any, ...]:
    """The alternatives of `int | None`, or the type alone."""
    return typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)


def fits(kind: Any, v: Any) -> bool:
    """Whether a value is of a field's type; an int is a float, a bool is not an int."""
    args = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        return v in args
    if typing.get_origin(kind) is tuple:
        kinds = args[:1] * len(v) if isinstance(v, tuple) and Ellipsis in args else args
        return isinstance(v, tuple) and len(kinds) == len(v) and all(map(fits, kinds, v))
    return type(v) in members(kind) or (type(v) is int and float in members(kind))


def said(kind: Any) -> str:
    """A type as an error names it: 'an integer or None', 'one of mlp, conv'."""
    if typing.get_origin(kind) is Literal:
        return 'one of ' + ', '.join(map(str, typing.get_args(kind)))
    if typing.get_origin(kind) is tuple:
        return f'a list, each {said(typing.get_args(kind)[0])}'
    return ' or '.join(_SAID.get(one, f'the fields of {getattr(one, "__name__", one)}') for one in members(kind))


def written(value: Any) -> str:
    """A value of a flag as a person writes it: '0.5', '500,200'."""
    if isinstance(value, list | tuple):
        return ','.join(map(written, value)) or '()'
    return f'{value:g}' if isinstance(value, float) and float(f'{value:g}') == value else str(value)


def in_words(flags: Mapping[str, Any]) -> str:
    """Flags and their values: 'beta 0.5, latent 8'."""
    return ', '.join(f'{flag} {written(value)}' for flag, value in flags.items())


def json_schema(kind: Any, path: tuple[str, ...]) -> dict[str, Any]:
    """JSON schema of a field's type. Raises TypeError for what no configuration can hold."""
    args = typing.get_args(kind)
    if kind in _NAMES:
        return {'type': _NAMES[kind]}
    if typing.get_origin(kind) is Literal:
        return {'enum': list(args)}
    if typing.get_origin(kind) is tuple and args:
        length = {} if Ellipsis in args else {'minItems': len(args), 'maxItems': len(args)}
        return {'type': 'array', 'items': json_schema(args[0], path), **length}
    if len(members(kind)) > 1 and all(one in _NAMES for one in args):
        return {'type': [_NAMES[one] for one in args]}
    raise TypeError(
        f'field {".".join(path)} is {kind}: a configuration holds bool, int, float, str, None, Literal, tuple'
    )


def _default(field: dataclasses.Field) -> Any:
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


def _bare(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        kind, inner = _bare(args[0])
        return kind, inner + args[1:]
    if origin is tuple and args:  # the marks of its elements, tuple[Annotated[int, Range(1)], ...], are the field's
        kinds, marks = zip(*map(_bare, args))
        return types.GenericAlias(tuple, kinds), marks[0]
    return hint, ()


@functools.cache
def _docstrings(group: Any) -> dict[str, str]:
    return {name: text for base in reversed(group.__mro__) for name, text in _own_docstrings(base)}


def _own_docstrings(group: type) -> Iterator[tuple[str, str]]:
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(group))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):  # a class typed at a prompt has no source, hence no help
        return
    statements = body.body if isinstance(body, ast.ClassDef) else []
    for field, after in zip(statements, statements[1:]):
        match field, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text).replace('\n', ' ')

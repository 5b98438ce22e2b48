"""Trees of arrays as JSON: the structure, and of each leaf its path, type, shape and SHA-256. It builds no class.

A leaf of a structure is its index in jax's order of leaves; any other node is [kind, [[key, child], ...]].
"""

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from vae_jax.errors import Fault

__all__ = [
    'as_template',
    'compare',
    'described',
    'empty',
    'hosted',
    'indices',
    'is_stored',
    'is_whole',
    'part',
    'rebuilt',
]
Record = dict[str, Any]
_NUMBERS = {'bool': 'bool[]', 'int': 'int64[]', 'float': 'float64[]'}  # a Python number is as good as the array of one


def described(tree: Any) -> tuple[Any, list[Record], list[Any]]:
    """(structure, records, leaves) of a tree of arrays, or of their shapes.

    Raises Fault for a leaf that is no numeric array, no typed PRNG key and no Python bool, int, float or str.
    """
    records: list[Record] = []
    leaves: list[Any] = []

    def walk(node: Any, path: str) -> Any:
        level = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda child: child is not node)[0]
        if level and not level[0][0]:
            records.append({'path': path or 'value', **_kind(node, path)})
            leaves.append(node)
            return len(leaves) - 1
        keys = [_key(entries[0]) for entries, _ in level]
        below = [f'{path}/{quote(str(key), safe="") or "%"}'.lstrip('/') for key in keys]
        return [type(node).__name__, [[key, walk(child, at)] for key, at, (_, child) in zip(keys, below, level)]]

    return walk(tree, ''), records, leaves


def _key(entry: Any) -> str | int:
    found = next(getattr(entry, name) for name in ('key', 'idx', 'name') if hasattr(entry, name))
    return found if isinstance(found, str | int) else str(found)


def _kind(leaf: Any, path: str) -> Record:
    if type(leaf) in (bool, int, float, str):
        return {'kind': type(leaf).__name__}
    if not (hasattr(leaf, 'dtype') and hasattr(leaf, 'shape')):
        raise Fault(f'{path} is a {type(leaf).__name__}', 'save arrays, PRNG keys, and Python numbers or strings')
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    if not is_key and leaf.dtype.kind not in 'biufc' and not hasattr(ml_dtypes, leaf.dtype.name):
        raise Fault(f'{path} is an array of {leaf.dtype}', 'save arrays of numbers')
    kind = 'key' if is_key else 'numpy' if isinstance(leaf, np.ndarray | np.generic) else 'jax'
    return {'kind': kind, 'dtype': leaf.dtype.name, 'shape': list(leaf.shape)}


def hosted(record: Record, leaf: Any) -> tuple[Record, Any]:
    """The record with what makes it complete, a Python value or a hash; and the leaf as the numpy array to be kept."""
    if 'shape' not in record:
        return record | {'value': struct.pack('>d', leaf).hex() if record['kind'] == 'float' else leaf}, leaf
    is_key = record['kind'] == 'key'
    value = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
    value = value.astype(value.dtype.newbyteorder('='), copy=False)
    record = record | ({'impl': str(jax.random.key_impl(leaf)), 'words': value.shape[-1]} if is_key else {})
    return record | {'sha256': _sha256(value)}, value


def _sha256(array: np.ndarray) -> str:
    # The elements as they lie in memory, in C order: -0.0 and the payload of a NaN count.
    return hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).hexdigest()


def is_stored(record: Record) -> bool:
    """Whether elements must be kept beside the record: a Python value is in it, and an array may have no elements."""
    return 'shape' in record and 0 not in record['shape']


def empty(record: Record) -> np.ndarray:
    """The array of a record that has no elements."""
    return np.zeros(*_form(record))


def is_whole(record: Record, array: np.ndarray) -> bool:
    """Whether an array that was read has the shape, type and hash of its record."""
    return (
        isinstance(array, np.ndarray)
        and (array.shape, array.dtype) == _form(record)
        and _sha256(array) == record['sha256']
    )


def _form(record: Record) -> tuple[tuple[int, ...], np.dtype]:
    if record['kind'] == 'key':
        return (*record['shape'], record['words']), np.dtype('uint32')
    return tuple(record['shape']), np.dtype(record['dtype'])


def _said(record: Record) -> str:
    return record['kind'] if 'shape' not in record else f'{record["dtype"]}[{",".join(map(str, record["shape"]))}]'


def compare(found: Any, stored: Sequence[Record], expected: Any, wanted: Sequence[Record], path: str = '') -> None:
    """Raises Fault at the first path where two described trees differ; names count, the classes of nodes do not."""

    def differs(has: str, needs: str) -> Fault:
        what = f'checkpoint does not fit: {path or "the tree"} is {has}, expected {needs}'
        return Fault(what, 'restore with the configuration and the code that saved it, or start another run')

    if isinstance(found, int) or isinstance(expected, int):
        has, needs = (_said(leaves[node]) if isinstance(node, int) else f'a {node[0]}' for node, leaves in
                      ((found, stored), (expected, wanted)))  # fmt: skip
        if _NUMBERS.get(has, has) != _NUMBERS.get(needs, needs):
            raise differs(has, needs)
        return
    below, names = ({str(key): child for key, child in node[1]} for node in (found, expected))
    if below.keys() != names.keys():
        less, more = (', '.join(sorted(one.keys() - other.keys())) for one, other in ((below, names), (names, below)))
        raise differs(f'a {found[0]} with {less or "nothing more"}', f'a {expected[0]} with {more or "nothing more"}')
    for name in names:
        compare(below[name], stored, names[name], wanted, f'{path}/{name}'.lstrip('/'))


def part(structure: Any, path: str) -> Any:
    """The node of a structure under 'a/b/c'. Raises Fault naming what there is where the path ends."""
    for name in filter(None, path.split('/')):
        names = {} if isinstance(structure, int) else {str(key): child for key, child in structure[1]}
        if name not in names:
            what = f'the checkpoint has no {path!r}: no {name!r} among {", ".join(names) or "nothing"}'
            raise Fault(what, 'give another path')
        structure = names[name]
    return structure


def indices(structure: Any) -> Iterator[int]:
    """Those of the leaves in it."""
    if isinstance(structure, int):
        yield structure
    else:
        for _, child in structure[1]:
            yield from indices(child)


def _value(record: Record, array: np.ndarray | None) -> Any:
    if 'shape' not in record:
        return struct.unpack('>d', bytes.fromhex(record['value']))[0] if record['kind'] == 'float' else record['value']
    return jax.random.wrap_key_data(_on_device(array), impl=record['impl']) if record['kind'] == 'key' else array


def _on_device(array: np.ndarray | None) -> jax.Array:
    return jax.device_put(array, may_alias=False)  # jnp.array would compile a copy for every shape


def as_template(record: Record, array: np.ndarray | None, leaf: Any) -> Any:
    """The recorded value as what `leaf` is: a Python value, a numpy array, a key, or a jax array of its sharding."""
    value = _value(record, array)
    if type(leaf) in (bool, int, float, str):
        return type(leaf)(value)
    if isinstance(leaf, np.ndarray | np.generic):
        value = np.asarray(value, leaf.dtype)
        return value[()] if isinstance(leaf, np.generic) else value
    if record['kind'] != 'key':
        value = _on_device(np.asarray(value, leaf.dtype))
    if getattr(leaf, 'weak_type', False):
        # A weak type promotes differently: a resumed run would differ from one that was never stopped.
        value = jnp.full(value.shape, value.dtype.type(0).item()).at[...].set(value)
    sharding = getattr(leaf, 'sharding', None)
    # device_put commits an array to its device; one that was free stays free, or the compiled step would be made again.
    return jax.device_put(value, sharding) if sharding is not None and getattr(leaf, 'committed', True) else value


def rebuilt(structure: Any, records: Sequence[Record], arrays: Mapping[int, Any]) -> Any:
    """Dicts, lists and tuples of the values, a NamedTuple or another node as the dict of its fields."""
    if isinstance(structure, int):
        record, value = records[structure], _value(records[structure], arrays.get(structure))
        exact = record['kind'] == 'jax' and jax.dtypes.canonicalize_dtype(value.dtype) == value.dtype
        return _on_device(value) if exact else value
    kind, children = structure[0], [(key, rebuilt(child, records, arrays)) for key, child in structure[1]]
    if kind in ('list', 'tuple'):
        return {'list': list, 'tuple': tuple}[kind](value for _, value in children)
    return None if kind == 'NoneType' else dict(children)

"""What an evaluation is asked for, looked at once at its door: what was found, what was expected, and what to do."""

import contextlib
import operator
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax import Array

from vae_jax.errors import Fault

SHAPES = ('shape', 'dimension', 'rank', 'size', 'axis')  # what jax and flax speak of where arrays do not fit


def shown(value: Any) -> str:
    """A value in a few words: an array by its type and shape, all else as it is written, or by its type if long."""
    if hasattr(value, 'shape') and hasattr(value, 'dtype'):
        return f'an array {value.dtype}{list(value.shape)}'
    return text if len(text := repr(value)) < 30 and '\n' not in text else f'of type {type(value).__name__}'


def counted(name: str, value: Any, least: int = 1) -> int:
    """value as an int. Raises Fault on what is no whole number, and below `least`."""
    expected = f'expected {least} or more'
    try:
        found = operator.index(value)
    except TypeError:
        raise Fault(f'{name} is {shown(value)}, {expected}, a whole number', f'pass {name} as an int') from None
    if found < least:
        raise Fault(f'{name} is {found}, {expected}', f'pass {name}={max(least, 1)} or more')
    return found


def called(name: str, value: Any, example: str) -> None:
    """Raises Fault where value is no function."""
    if not callable(value):
        raise Fault(f'{name} is {shown(value)}, expected a function', f'pass {name}={example}')


def float_type(dtype: Any) -> np.dtype | None:
    """dtype as numpy's, None as it is. Raises Fault on what is no type of real numbers."""
    if dtype is None:
        return None
    with contextlib.suppress(TypeError):
        found = jax.numpy.dtype(dtype)
        if jax.numpy.issubdtype(found, jax.numpy.floating):
            return found
    raise Fault(f'dtype is {shown(dtype)}, expected a type of real numbers', "pass dtype='float64', or leave it out")


def in_type(dtype: Any) -> str:
    """Of what a result is named by: ', float64' of this dtype, nothing of None. Raises Fault as `float_type` does."""
    found = float_type(dtype)
    return '' if found is None else f', {found.name}'


def split_and_key(split: Any, key: Any) -> None:
    """Raises Fault where split is none (an array, say), and where key is no typed key of jax, or keys [m]."""
    if not hasattr(split, 'rows') or not hasattr(split, 'view'):
        fix = "pass a split of data, data.test, or data.from_arrays('mine', xs).test of an array xs"
        raise Fault(f'the split is {shown(split)}, expected a Split', fix)
    if not isinstance(key, Array) or not jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key) or key.ndim > 1:
        fix = 'pass jax.random.key(0), or jax.random.split of one for the members of a population'
        raise Fault(f'the key is {shown(key)}, expected a key of jax', fix)


@contextlib.contextmanager
def applied(split: Any) -> Iterator[None]:
    """Where a model is traced on rows of a split: what it raises of shapes is a Fault that names the shape of x."""
    try:
        yield
    except Fault:
        raise
    except Exception as error:  # flax has exceptions of its own, and lives in networks
        said = str(error).strip().partition('\n')[0]
        if not any(word in said for word in SHAPES):
            raise
        found = f'the model cannot take x {list(split.shape)}: {said}'
        raise Fault(found, 'give the data that it was trained on, and the params of this model') from error

"""Datasets as values on the device: unscaled rows, their levels, and the view through which a model sees one row.

    raw files or downloads -> tfds (array_record) -> uint8 .npy cache -> Data(train, validation, test)

Names are imported when first used (PEP 562): the command line asks for a name's spelling long before it needs jax.
"""

import importlib
from typing import Any

_HOMES = {
    'splits': ('Data', 'Split', 'dequantize', 'dequantized', 'dynamic', 'identity', 'scale'),
    'arrays': ('BINARIZATIONS', 'from_arrays'),
    'files': ('from_path',),
    'streaming': ('from_disk', 'streamed'),
    'hiding': ('few_labels', 'missing'),
    'parts': ('first', 'mean'),
    'loading': ('load', 'stand_in'),
    'catalogue': ('CATALOGUE', 'canonical', 'default_binarization'),
    'tables': ('Table', 'TABLES', 'table', 'table_stand_in'),
    'preparing': ('Prepared', 'prepare'),
    'commands': ('command',),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f'vae_jax.data.{_HOME[name]}'), name)
    raise AttributeError(f'vae_jax.data has no {name!r}; it has {", ".join(__all__)}')


def __dir__() -> list[str]:
    return list(__all__)

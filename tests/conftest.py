"""Every test: warnings are errors, no silent rank promotion, a compilation cache shared by all."""

import gc
import os
from pathlib import Path

# One cache for all tests, their processes and the next time; nothing is too small or too quick to keep.
CACHE = Path(__file__).parent.parent / '.pytest_cache' / 'xla'
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(CACHE))
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES', '-1')
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('TQDM_DISABLE', '1')

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update('jax_numpy_rank_promotion', 'raise')


@pytest.fixture(scope='module', autouse=True)
def programs_of_one_file():
    """Programs are given back file by file: all of them together are gigabytes."""
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture(scope='module')
def quickly_compiled():
    """For files whose claims hold of unoptimized programs too: compiling them takes half of the time."""
    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', False)

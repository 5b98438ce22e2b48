"""The package as a name: every name it lists exists, and importing it imports no jax."""

import subprocess
import sys

import vae_jax
import vae_jax.data


def test_every_listed_name_exists():
    for module in (vae_jax, vae_jax.data):
        for name in module.__all__:
            assert getattr(module, name) is not None


def test_importing_it_waits_for_nothing():
    code = 'import sys, vae_jax; print(sorted({"jax", "flax", "optax", "numpy"} & set(sys.modules)))'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout.strip() == '[]'

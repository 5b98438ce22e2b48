"""What a run was made with: versions, commits, device; and a word where they are not those of today."""

import contextlib
import functools
import importlib.util
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ['FORMAT', 'commit', 'environment', 'flat', 'say_differences', 'software']
FORMAT = 1  # of the run directory
_PRNG = 'jax_default_prng_impl'
_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'tensorflow-datasets')
_COMPARED = ('versions', 'commit', 'build_commit', 'device', 'threads', 'prng')


def environment(build: str | None = None) -> dict[str, Any]:
    """Versions, commits of this package and of the module of `build` ('-dirty' if changed), device, threads, PRNG."""
    import jax

    device = {'platform': jax.default_backend(), 'kind': jax.devices()[0].device_kind, 'count': jax.device_count()}
    threads = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    machine = {'device': device, 'threads': threads, 'host': socket.gethostname()}
    return software(build) | {'prng': getattr(jax.config, _PRNG)} | machine


def software(build: str | None) -> dict[str, Any]:
    """The part of the environment that takes no import of jax."""
    import vae_jax

    versions = {'python': platform.python_version(), 'vae_jax': vae_jax.__version__}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    theirs = {'build_commit': commit(str(build).partition(':')[0])} if build else {}
    return {'format': FORMAT, 'versions': versions, 'commit': commit('vae_jax'), **theirs}


def say_differences(path: Path, stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """One line on stderr where what made the run of a config.json is not what there is now."""
    then = stored.get('environment') or {}
    old, new = (flat({name: found[name] for name in _COMPARED if name in found}) for found in (then, now))
    changed = [
        f'{name} {old[name]}, now {new[name]}' for name in sorted(old.keys() & new.keys()) if old[name] != new[name]
    ]
    if changed:
        print(f'note: {path} was made with {"; ".join(changed)}: numbers may differ', file=sys.stderr)


def flat(value: Any, name: str = '') -> dict[str, Any]:
    """{'a.b': leaf} of nested dicts."""
    if not isinstance(value, Mapping) or (name and not value):
        return {name: value}
    return {k: v for key, item in value.items() for k, v in flat(item, f'{name}.{key}' if name else key).items()}


@functools.cache
def commit(module: str) -> str | None:
    """Git's name of the state of the folder that a module lies in; None where git does not track it."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or not spec.origin or not Path(spec.origin).is_file():
        return None
    origin, said = Path(spec.origin), None
    # A package installed beneath somebody's repository is not tracked by it: that commit would say nothing.
    for words in ('ls-files --error-unmatch --', 'describe --always --dirty --abbrev=40 --exclude=*'):
        command = ['git', '-C', str(origin.parent), *words.split(), *([origin.name] if words.endswith('--') else [])]
        try:
            environ = os.environ | {'GIT_OPTIONAL_LOCKS': '0'}
            said = subprocess.run(command, capture_output=True, text=True, timeout=10, env=environ)
        except (OSError, subprocess.SubprocessError):
            return None
        if said.returncode:
            return None
    return said.stdout.strip() if said else None

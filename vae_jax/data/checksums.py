"""Raw files found and held to their registered SHA-256, before anything reads them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from vae_jax.data.catalogue import CATALOGUE, Spec
from vae_jax.data.sources import Source
from vae_jax.errors import ENVIRONMENT, Fault


def raw_files(spec: Spec, source: Path) -> tuple[Source, dict[str, Path]]:
    """The raw files found in `source` or its subfolder, each with its registered SHA-256; else raises Fault."""
    if not source.is_dir():
        raise Fault(f'{source} is not a folder', f'give one that holds {wanted(spec)}', ENVIRONMENT)
    for folder in (source / spec.folder, source):
        for kind in spec.sources:
            files = {name: folder / name for name in kind.files}
            if all(path.is_file() for path in files.values()):
                hold(spec, kind, files)
                return kind, files
    raise Fault(f'{source} does not hold the raw files of {spec.name}', f'put {wanted(spec)} there', ENVIRONMENT)


def wanted(spec: Spec) -> str:
    """The raw files of a dataset, in words."""
    return ' or '.join(' '.join(f'{spec.folder}/{name}' for name in kind.files) for kind in spec.sources)


def hold(spec: Spec, kind: Source, files: Mapping[str, Path]) -> None:
    """Raises Fault where a file's SHA-256 is not the registered one, naming the dataset that it belongs to, if any."""
    for name, path in files.items():
        with path.open('rb') as file:
            got = hashlib.file_digest(file, 'sha256').hexdigest()
        if kind.files[name] not in (None, got):
            owner = next((s.name for s in CATALOGUE.values() for k in s.sources if got in k.files.values()), None)
            whose = f" (it is {owner}'s)" if owner else ''
            found = f'{path} has SHA-256 {got}{whose}, {spec.name} needs {kind.files[name]}'
            raise Fault(found, 'get the original file', ENVIRONMENT)

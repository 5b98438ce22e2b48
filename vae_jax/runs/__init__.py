"""The run directory: one writer, files that are whole or not there, and `result.json` last, whose presence means done.

    config.json      `identity` (what must be equal to go on), `config`, `build: module:function`, environment
    metrics.jsonl    one object a line                      evaluation.npz    values per example
    checkpoints/     last, best (vae_jax.checkpoints)       result.json       written by `record`, and never again
    manifest.json    SHA-256 of the files and of the data, when finished

The stored result of a finished run is there without an import of jax.
"""

from vae_jax.files import append, dumps, read_json, read_metrics, truncate, write_json
from vae_jax.runs.directory import Directory, finished, held, opened, record, save_examples
from vae_jax.runs.environment import FORMAT, environment
from vae_jax.runs.manifest import trained_on
from vae_jax.runs.reading import Loaded, load, table, units, verify
from vae_jax.runs.several import Member, members

__all__ = [
    'FORMAT',
    'Directory',
    'Loaded',
    'Member',
    'append',
    'dumps',
    'environment',
    'finished',
    'held',
    'load',
    'members',
    'opened',
    'read_json',
    'read_metrics',
    'record',
    'save_examples',
    'table',
    'trained_on',
    'truncate',
    'units',
    'verify',
    'write_json',
]

"""The command line of the data: `prepare NAME... [--from DIR] [--data-dir D]`."""

import argparse
import sys

from vae_jax.data.catalogue import CATALOGUE
from vae_jax.data.tables import TABLES
from vae_jax.errors import USAGE, Fault


def command(argv: list[str]) -> int:
    """Runs one command and returns its exit code; an error is one line on stderr: `error: ...; fix: ...`."""
    try:
        given = _parser().parse_args(argv)
        from vae_jax.data.preparing import prepare

        for name in given.names:
            print(f'{name}: preparing', file=sys.stderr)
            made = prepare(name, given.source, given.data_dir)
            sizes = ', '.join(f'{split} {n:,}' for split, n in made.sizes.items())
            print(
                f'{made.name}: {sizes}; {made.folder or CATALOGUE[made.name].ready + ", nothing to prepare"}',
                flush=True,
            )
    except Fault as fault:
        print(f'error: {fault}', file=sys.stderr)
        return fault.code
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise Fault(message, f'{self.prog} --help', USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog='python -m vae_jax', description='Datasets: make them once, offline if need be.')
    verbs = parser.add_subparsers(dest='verb', required=True, metavar='prepare')
    verb = verbs.add_parser('prepare', help='make datasets ready to load', prog='python -m vae_jax prepare')
    names = f'{", ".join(CATALOGUE)}, or any tfds image dataset; tables: {", ".join(TABLES)}'
    verb.add_argument('names', nargs='+', metavar='NAME', help=names)
    where = 'raw files: DIR/<dataset>/... or the folder of the dataset itself; without it they are downloaded'
    verb.add_argument('--from', dest='source', metavar='DIR', help=where)
    verb.add_argument(
        '--data-dir', metavar='D', help='where datasets live (default: $TFDS_DATA_DIR, ~/tensorflow_datasets)'
    )
    return parser

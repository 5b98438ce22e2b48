"""`python -m vae_jax.data prepare NAME --from DIR [--data-dir D]`."""

import sys

from vae_jax.data.commands import command

if __name__ == '__main__':
    sys.exit(command(sys.argv[1:]))

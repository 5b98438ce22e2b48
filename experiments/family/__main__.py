"""Writes docs/family.md."""

from pathlib import Path

from experiments.family.page import page
from vae_jax import process

if __name__ == '__main__':
    process.start_jax()
    (Path(__file__).parents[2] / 'docs' / 'family.md').write_text(page())

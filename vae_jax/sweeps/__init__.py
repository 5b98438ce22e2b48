"""Sweeps: points of a configuration, run as populations, one a static configuration, and gathered into one table.

    flags -> points -> groups of one static configuration -> tasks -> launch -> gather -> sweep.csv, report, result.json

Importing this does not import jax.
"""

from vae_jax.sweeps.points import Group, Point, Task

__all__ = ['Group', 'Point', 'Task']

"""Values over seeds: means with intervals, paired tests, corrections for many of them, configurations compared."""

from vae_jax.statistics.comparing import Summary, best, compared
from vae_jax.statistics.intervals import LEVEL, Interval, bca_interval, interval, percentile_interval, places
from vae_jax.statistics.pairs import (
    Difference,
    all_pairs,
    differences,
    holm,
    paired,
    sign_flips,
    t_test,
    wilcoxon,
)
from vae_jax.statistics.tables import Row, Table, table

__all__ = [
    'LEVEL',
    'Difference',
    'Interval',
    'Row',
    'Summary',
    'Table',
    'all_pairs',
    'bca_interval',
    'best',
    'compared',
    'differences',
    'holm',
    'interval',
    'paired',
    'percentile_interval',
    'places',
    'sign_flips',
    't_test',
    'table',
    'wilcoxon',
]

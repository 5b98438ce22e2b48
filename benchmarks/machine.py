"""The machine under the figures: its name, its load, and how much of the two cores others took."""

import os
import platform
from importlib import metadata
from pathlib import Path

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'numpy', 'torch', 'pythae')


def pin(count: int, cores: list[int] | None) -> list[int]:
    """Keeps this process, and all it starts, to `cores`, or to the first `count` it is allowed."""
    allowed = sorted(os.sched_getaffinity(0))
    chosen = cores or allowed[:count]
    missing = [core for core in chosen if core not in allowed]
    if missing or len(chosen) < count:
        raise SystemExit(f'cannot use cores {chosen}: {count} are needed, of {allowed}')
    os.sched_setaffinity(0, chosen)
    return chosen


def busy(cores: list[int]) -> float:
    """Seconds that the cores have worked since boot, for anyone."""
    ticks = 0
    for line in Path('/proc/stat').read_text().splitlines():
        name, *fields = line.split()
        if name in {f'cpu{core}' for core in cores}:
            user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
            ticks += user + nice + system + irq + softirq + steal
    return ticks / os.sysconf('SC_CLK_TCK')


def _cpu() -> str:
    lines = Path('/proc/cpuinfo').read_text().splitlines()
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    flags = next((line for line in lines if line.startswith('flags')), '').split()
    wide = [label for label, flag in (('AVX2', 'avx2'), ('AVX-512', 'avx512f'), ('AMX', 'amx_bf16')) if flag in flags]
    return ', '.join([names[0] if names else platform.processor() or platform.machine(), *wide])


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def describe(cores: list[int]) -> dict:
    """Facts that a figure is worth nothing without."""
    return {
        'cpu': _cpu(),
        'cores_of_the_machine': os.cpu_count(),
        'cores_used': cores,
        'system': f'{platform.system()} {platform.release()}',
        'python': platform.python_version(),
        'versions': {name: version for name in PACKAGES if (version := _version(name)) is not None},
    }

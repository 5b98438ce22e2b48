"""Statistical claims: a mean of draws within five of its own standard errors, under a fixed seed."""

import numpy as np


def assert_mean(draws, expected, sigmas: float = 5.0) -> None:
    """draws [n, ...] average to `expected` [...] within `sigmas` standard errors; constant draws must be equal."""
    draws = np.asarray(draws, np.float64)
    error = np.std(draws, 0, ddof=1) / np.sqrt(len(draws))
    distance = np.abs(np.mean(draws, 0) - np.asarray(expected, np.float64))
    limit = sigmas * error + 1e-6 * (1 + np.abs(expected))
    assert np.all(distance <= limit), f'{distance} exceeds {limit}: mean {np.mean(draws, 0)}, expected {expected}'

"""Codes and draws between an autoencoder and a VAE: what is measured of them, where the answer is known."""

import numpy as np
import pytest

from experiments.tour.parts import switched


def test_draws_that_are_distributed_as_codes_fall_into_holes_in_one_of_twenty_cases():
    codes, held, draws = np.random.default_rng(0).normal(size=(3, 4000, 2))
    assert abs(switched.holes(draws, codes, held) - 0.05) < 0.015


def test_draws_where_no_code_is_fall_into_holes():
    codes, held, draws = np.random.default_rng(0).normal(size=(3, 1000, 2))
    draws[::4] += 30
    assert 0.25 <= switched.holes(draws, codes, held) < 0.25 + 0.75 * 0.05 + 0.03


@pytest.mark.parametrize(('mean', 'std'), [(0.0, 0.5), (1.0, 1.0), (1.5, 0.6)])
def test_the_bound_lies_just_below_the_divergence_of_normals(mean, std):
    codes, held = mean + std * np.random.default_rng(0).normal(size=(2, 4000, 2))
    density = float(np.mean(-np.log(2 * np.pi) - np.sum(held**2, 1) / 2))
    exact = mean**2 + std**2 - 1 - 2 * np.log(std)  # of both dimensions
    assert exact - 0.15 < switched.at_least(codes, held, density) < exact + 0.05

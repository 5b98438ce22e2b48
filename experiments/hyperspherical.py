"""Codes on a sphere: von Mises-Fisher and power spherical posteriors against Gaussians, by dimension, on digits.

Claim     On low-dimensional spheres hyperspherical codes match or beat Gaussian ones; in higher dimensions the Gaussian
          wins, as one concentration serves all directions (Davidson et al. 2018, table 2).
Command   python -m experiments.hyperspherical
Expected  see README.md
Time      about 5 minutes on two CPU cores
"""

from experiments import common

FLAGS = '--sweep.posterior normal von_mises_fisher power_spherical --sweep.latent 3 6 11 21 --seeds 3 --test-k 1000'

if __name__ == '__main__':
    common.story('hyperspherical', FLAGS)

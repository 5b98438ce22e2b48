"""Codes on a sphere: von Mises-Fisher and power spherical posteriors against Gaussians, by dimension, on digits.

Claim     The higher the dimension, the more a sphere loses to a Gaussian, as one concentration serves all directions
          (Davidson et al. 2018, table 2, where spheres win in low dimensions). On digits the Gaussian of the same
          latent wins everywhere, and from R^11 on spherical posteriors collapse in some runs, in R^21 in all of them.
          A sphere in R^d has d - 1 dimensions, so equal latents are not equal sizes.
Command   python -m experiments.hyperspherical
Expected  -log p(x), three seeds: latent 3: 23.02 +- 0.01 (Gaussian), 23.43 +- 0.09 (von Mises-Fisher), 23.47 +- 0.12
          (power spherical); 6: 22.59, 22.75, 22.81; 11: 22.53, 25.7, 24.4; 21: 22.57, 27.14, 27.28
Time      about 5 minutes on two CPU cores
"""

from experiments import common

FLAGS = '--sweep.posterior normal von_mises_fisher power_spherical --sweep.latent 3 6 11 21 --seeds 3 --test-k 1000'

if __name__ == '__main__':
    common.story('hyperspherical', FLAGS)

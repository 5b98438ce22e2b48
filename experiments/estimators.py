"""Bounds and gradient estimators beside each other, each with sixteen samples of z in all, on digits.

Claim     What is maximized decides the trade: by the Renyi bound, the nearest to the ELBO of these, q is closer to the
          posterior, -ELBO lowest by 0.9; the tight bounds (IWAE, DReG, CIWAE, VIMCO) have the lower -log p(x),
          by less than a tenth of a nat, which is sure of DReG. VIMCO is where IWAE is, without a gradient through z
          (Rainforth et al. 2018, table 1; Tucker et al. 2019; Mnih & Rezende 2016).
Command   python -m experiments.estimators
Expected  see README.md
Time      about 5 minutes on two CPU cores
"""

from experiments import common

FLAGS = '--k 16 --sweep.objective iwae dreg ciwae renyi vimco --seeds 5 --latent 16'

if __name__ == '__main__':
    common.story('estimators', FLAGS)

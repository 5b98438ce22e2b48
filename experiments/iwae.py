"""More samples in the bound: IWAE with k = 1, 5 and 50 on static MNIST.

Claim     -log p(x) falls as k grows and more units stay active, though -ELBO rises: the bound no longer asks q to be
          right, only to cover (Burda et al. 2015, table 1: 88.71, 87.63, 87.10 on static MNIST after 3,280 epochs).
Command   python -m experiments.iwae --data-dir DIR
Expected  k = 1 / 5 / 50, three seeds, 95 % t intervals: -log p(x) 93.40 +- 0.15 / 91.84 +- 0.16 / 90.86 +- 0.18, -ELBO
          98.4 / 99.4 / 103.5, active units of 50: 24.0 / 24.7 / 28.7; k = 50 less k = 1, paired: -2.54 [-2.76, -2.31]
Time      104 minutes of training on two CPU cores that others were using, nearly all of it k = 50
"""

from experiments import common

FLAGS = (
    '--dataset binarized_mnist --hidden 200 200 --activation tanh --latent 50 --batch-size 100 --epochs 50 '
    '--schedule cosine --objective iwae --sweep.k 1 5 50 --seeds 3 --output-bias data --select last'
)

if __name__ == '__main__':
    common.story('iwae', FLAGS)

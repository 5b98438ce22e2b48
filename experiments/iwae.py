"""More samples in the bound: IWAE with k = 1, 5 and 50 on static MNIST.

Claim     -log p(x) falls as k grows and more units stay active, though -ELBO rises: the bound no longer asks q to be
          right, only to cover (Burda et al. 2015, table 1: 88.71, 87.63, 87.10 on static MNIST after 3,280 epochs).
Command   python -m experiments.iwae --data-dir DIR
Expected  k = 50 below k = 5 below k = 1 in -log p(x), the other way round in active units; the table is in README.md
Time      about 80 minutes on two CPU cores, nearly all of it k = 50
"""

from experiments import common

FLAGS = (
    '--dataset binarized_mnist --hidden 200 200 --activation tanh --latent 50 --batch-size 100 --epochs 50 '
    '--schedule cosine --objective iwae --sweep.k 1 5 50 --seeds 3 --output-bias data --select last'
)

if __name__ == '__main__':
    common.story('iwae', FLAGS)

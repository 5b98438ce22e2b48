"""VampPrior against the standard normal on static MNIST: a prior made of the posteriors of pseudo-inputs.

Claim     A VampPrior lowers -log p(x) by about three nats and keeps more units active (Tomczak & Welling 2018, table 1:
          85.57 against 88.56 after early stopping; 500 pseudo-inputs).
Command   python -m experiments.vampprior --data-dir DIR
Expected  the VampPrior ahead by nats, not tenths; the table is in README.md
Time      about half an hour on two CPU cores
"""

from experiments import common

FLAGS = (
    '--dataset binarized_mnist --network gated --hidden 300 300 --latent 40 --batch-size 100 --epochs 50 --warmup 10 '
    '--schedule cosine --components 200 --sweep.prior natural vampprior --seeds 3 --test-k 1000'
)

if __name__ == '__main__':
    common.story('vampprior', FLAGS)

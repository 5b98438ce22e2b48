"""VampPrior against the standard normal on static MNIST: a prior made of the posteriors of pseudo-inputs.

Claim     A VampPrior lowers -log p(x) by three nats (Tomczak & Welling 2018, table 1: 85.57 against 88.56 after early
          stopping; 500 pseudo-inputs), an inverse autoregressive posterior by somewhat less. Active units do not tell
          them apart: nearly all 40 are.
Command   python -m experiments.vampprior --data-dir DIR
Expected  -log p(x), 1,000 samples, three seeds, 95 % t intervals: VampPrior 86.79 +- 0.36, standard 89.84 +- 0.30, so
          3.06 [2.45, 3.66] paired by seed; --prior natural --posterior iaf --flow-hidden 320: 88.10 +- 0.01. The
          VampPrior's first 60 test images, seeds 0, 1, 2: 87.00, 85.68, 85.89 with 5,000 samples; 86.42, 85.87, 85.89
          by annealing (--metrics nll ais --start posterior --images 60 --temperatures 100 --chains 8), whose bounds are
          0.24 +- 0.09, 0.16 +- 0.08, 0.12 +- 0.10 apart on simulated images
Time      about half an hour on two CPU cores
"""

from experiments import common

FLAGS = (
    '--dataset binarized_mnist --network gated --hidden 300 300 --latent 40 --batch-size 100 --epochs 50 --warmup 10 '
    '--schedule cosine --components 200 --sweep.prior natural vampprior --seeds 3 --test-k 1000'
)

if __name__ == '__main__':
    common.story('vampprior', FLAGS)

"""The family: each member as the expression that builds it, and products that no collection expresses.

Claim     Every class of pythae and PyTorch-VAE is a product of small functions, or is named with its obstacle.
Command   python -m experiments.family                    (writes docs/family.md)
Expected  docs/family.md as committed: a test holds it
Time      a minute

bench         small data and networks that the expressions are built on
members       a row for each objective, prior, posterior, likelihood and network
products      combinations
collections   the classes of pythae and PyTorch-VAE, by the member that each is
page          docs/family.md
"""

from experiments.family.bench import Bench, Product, Row

__all__ = ['Bench', 'Product', 'Row']

"""The classes of pythae 0.1 and of PyTorch-VAE, each with the member that it is, or its obstacle."""

from typing import NamedTuple


class Known(NamedTuple):
    """A class of a collection: the member that it is here, what differs in words, or why it is not yet one."""

    name: str
    member: str = ''
    note: str = ''
    obstacle: str = ''


RIEMANNIAN = 'needs a density on a curved space: the Riemannian normal and its normalizer'

PYTHAE = [
    Known('AE', 'autoencoder'),
    Known('VAE', 'VAE'),
    Known('BetaVAE', 'VAE', 'hyper.beta'),
    Known('DisentangledBetaVAE', 'capacity'),
    Known('BetaTCVAE', 'beta-TCVAE'),
    Known('FactorVAE', 'FactorVAE'),
    Known('InfoVAE_MMD', 'InfoVAE'),
    Known('WAE_MMD', 'WAE-MMD'),
    Known('VAMP', 'VampPrior'),
    Known('SVAE', 'hyperspherical VAE'),
    Known('PoincareVAE', obstacle=RIEMANNIAN),
    Known('VAE_LinNF', 'planar and radial flows'),
    Known('VAE_IAF', 'IAF'),
    Known('HVAE', 'Hamiltonian VAE'),
    Known('RHVAE', obstacle='needs a metric learned from the data and its generalized leapfrog'),
    Known('IWAE', 'IWAE'),
    Known('MIWAE', 'MIWAE'),
    Known('PIWAE', 'PIWAE'),
    Known('CIWAE', 'CIWAE'),
    Known('VQVAE', 'VQ-VAE, averaged codebook'),
    Known('HRQVAE', 'residual VQ', 'codes of several levels, each of what those before it left'),
    Known('VAEGAN', 'VAE-GAN'),
    Known('Adversarial_AE', 'adversarial autoencoder'),
    Known('RAE_GP', 'RAE-GP'),
    Known('RAE_L2', 'RAE-L2'),
    Known('MSSSIM_VAE', obstacle='a structural similarity is no log-likelihood: no bound, no evaluation'),
]

SAMPLERS = [
    Known('NormalSampler', 'prior'),
    Known('GaussianMixtureSampler', 'Gaussian mixture'),
    Known('TwoStageVAESampler', 'two stages'),
    Known('HypersphereUniformSampler', 'prior', 'of a hyperspherical model'),
    Known('PoincareDiskSampler', obstacle=RIEMANNIAN),
    Known('VAMPSampler', 'prior', 'of a model with a VampPrior'),
    Known('RHVAESampler', obstacle='needs the metric of RHVAE'),
    Known('MAFSampler', 'flow'),
    Known('IAFSampler', 'flow', 'inverse(maf)'),
    Known('PixelCNNSampler', 'autoregressive codes'),
]

PYTORCH_VAE = [
    Known('VanillaVAE', 'VAE'),
    Known('ConditionalVAE', 'CVAE, standard prior'),
    Known('WAE_MMD (RBF)', 'WAE-MMD', 'losses.mmd(losses.squared_exponential(log_std))'),
    Known('WAE_MMD (IMQ)', 'WAE-MMD'),
    Known('BetaVAE', 'VAE', 'hyper.beta'),
    Known('DisentangledBetaVAE', 'capacity'),
    Known('BetaTCVAE', 'beta-TCVAE'),
    Known('IWAE', 'IWAE'),
    Known('MIWAE', 'MIWAE'),
    Known('DFCVAE', obstacle='needs the features of a network trained on ImageNet, which is not ours to ship'),
    Known('MSSIMVAE', obstacle='a structural similarity is no log-likelihood: no bound, no evaluation'),
    Known('CategoricalVAE', 'Gumbel-softmax'),
    Known('JointVAE', 'JointVAE'),
    Known('InfoVAE', 'InfoVAE'),
    Known('LogCoshVAE', 'log cosh likelihood'),
    Known('SWAE', 'sliced Wasserstein'),
    Known('VQVAE', 'VQ-VAE'),
    Known('DIPVAE', 'DIP-VAE II'),
]

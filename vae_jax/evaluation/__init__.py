"""Functions of (model, params, split): estimates with standard errors, streamed over examples and samples.

Each is a function of one example, vmapped a few examples at a time; sums are made once, over the true number of
examples, so a ragged last block weighs what it should. Example i is always seen under fold_in(key, i). Long ones take
`kept`, a folder where finished parts wait for the next call. Functions of codes, pictures and scores take plain arrays.

likelihood     importance sampling, the ELBO       annealing, bidirectional   AIS, and its sandwich
exact          quadrature, linear-Gaussian         refined, gaps              a q for each image, and what q(z|x) loses
aggregate      information, KL(q(z) || p(z))       collapse, calibration      what is unused; whether q is the posterior
samples        FID, KID, precision, C2ST, MMD      pictures                   MSE, PSNR, SSIM
usefulness     probes, clusters, style of codes    outliers, ensembles        other data; several seeds as one
rate_distortion, codes, imputation, factors
"""

from vae_jax.evaluation.aggregate import Aggregate, Rates, aggregate_posterior, rates_by_dimension
from vae_jax.evaluation.annealing import Annealed, anneal
from vae_jax.evaluation.bidirectional import Bracketed, Sandwich, bracketed, sandwich
from vae_jax.evaluation.calibration import Coverage, Ranks, simulated_ranks
from vae_jax.evaluation.chains import from_posterior, from_prior, geometric, linear, sigmoid
from vae_jax.evaluation.clusters import Agreement, agreement, clustered, gaussian_mixture, k_means, purity
from vae_jax.evaluation.codes import (
    active_units,
    encode,
    has_manifold,
    interpolate,
    manifold,
    rate_per_dim,
    reconstruct,
    sample,
    sample_means,
)
from vae_jax.evaluation.collapse import Collapse, collapse_report
from vae_jax.evaluation.distances import Distance, fid, fid_infinity, frechet, kid, side_by_side
from vae_jax.evaluation.ensembles import Ensemble, ensemble, ensembled
from vae_jax.evaluation.exact import LinearGaussian, Quadrature, linear_gaussian, quadrature
from vae_jax.evaluation.factors import Gap, Spent, mutual_information, mutual_information_gap, spent
from vae_jax.evaluation.features import (
    Featured,
    Features,
    check_comparable,
    encoder_features,
    featured,
    named_features,
    pca_features,
)
from vae_jax.evaluation.gaps import Gaps, gaps_of, inference_gaps
from vae_jax.evaluation.imputation import imputations, impute, imputed, missing_error
from vae_jax.evaluation.likelihood import ELBO, NLL, Estimate, elbo_estimate, log_p_streamed, nll
from vae_jax.evaluation.manifolds import Copies, Manifolds, copies, density_coverage, nearest, precision_recall
from vae_jax.evaluation.outliers import (
    AUROC,
    Detection,
    auroc,
    compressed,
    detected,
    detection,
    less_complexity,
    likelihood_ratio,
    typicality,
)
from vae_jax.evaluation.pictures import Fidelity, fidelity, mse, psnr, ssim
from vae_jax.evaluation.probes import (
    Fit,
    Labelled,
    LowLabel,
    Probe,
    labelled,
    linear_probe,
    low_label,
    neighbour_probe,
    regression,
)
from vae_jax.evaluation.rate_distortion import Curve, nats, rate_distortion_curve, squared_error
from vae_jax.evaluation.refined import Refined, Variational, diagonal, flowed, full, refine
from vae_jax.evaluation.reliability import Calibration, averaged, class_calibration
from vae_jax.evaluation.samples import (
    Quality,
    drawn,
    mean_of,
    sample_copies,
    sample_quality,
    sample_tests,
    samples_beside,
)
from vae_jax.evaluation.scores import Score
from vae_jax.evaluation.streaming import log_cell, seen, some, view_rows
from vae_jax.evaluation.style import slant, thickness
from vae_jax.evaluation.two_samples import C2ST, MMD, MMDTest, c2st, gaussian_kernel, median_distance, mmd, mmd_test
from vae_jax.evaluation.usefulness import Read, read, read_codes, read_values, styles

__all__ = [
    'AUROC',
    'Aggregate',
    'Agreement',
    'Annealed',
    'Bracketed',
    'C2ST',
    'Calibration',
    'Collapse',
    'Copies',
    'Coverage',
    'Curve',
    'Detection',
    'Distance',
    'ELBO',
    'Ensemble',
    'Estimate',
    'Featured',
    'Features',
    'Fidelity',
    'Fit',
    'Gap',
    'Gaps',
    'Labelled',
    'LinearGaussian',
    'LowLabel',
    'MMD',
    'MMDTest',
    'Manifolds',
    'NLL',
    'Probe',
    'Quadrature',
    'Quality',
    'Ranks',
    'Rates',
    'Read',
    'Refined',
    'Sandwich',
    'Score',
    'Spent',
    'Variational',
    'active_units',
    'aggregate_posterior',
    'agreement',
    'anneal',
    'auroc',
    'averaged',
    'bracketed',
    'c2st',
    'check_comparable',
    'class_calibration',
    'clustered',
    'collapse_report',
    'compressed',
    'copies',
    'density_coverage',
    'detected',
    'detection',
    'diagonal',
    'drawn',
    'elbo_estimate',
    'encode',
    'encoder_features',
    'ensemble',
    'ensembled',
    'featured',
    'fid',
    'fid_infinity',
    'fidelity',
    'flowed',
    'frechet',
    'from_posterior',
    'from_prior',
    'full',
    'gaps_of',
    'gaussian_kernel',
    'gaussian_mixture',
    'geometric',
    'has_manifold',
    'imputations',
    'impute',
    'imputed',
    'inference_gaps',
    'interpolate',
    'k_means',
    'kid',
    'labelled',
    'less_complexity',
    'likelihood_ratio',
    'linear',
    'linear_gaussian',
    'linear_probe',
    'log_cell',
    'log_p_streamed',
    'low_label',
    'manifold',
    'mean_of',
    'median_distance',
    'missing_error',
    'mmd',
    'mmd_test',
    'mse',
    'mutual_information',
    'mutual_information_gap',
    'named_features',
    'nats',
    'nearest',
    'neighbour_probe',
    'nll',
    'pca_features',
    'precision_recall',
    'psnr',
    'purity',
    'quadrature',
    'rate_distortion_curve',
    'rate_per_dim',
    'rates_by_dimension',
    'read',
    'read_codes',
    'read_values',
    'reconstruct',
    'refine',
    'regression',
    'sample',
    'sample_copies',
    'sample_means',
    'sample_quality',
    'sample_tests',
    'samples_beside',
    'sandwich',
    'seen',
    'side_by_side',
    'sigmoid',
    'simulated_ranks',
    'slant',
    'some',
    'spent',
    'squared_error',
    'ssim',
    'styles',
    'thickness',
    'typicality',
    'view_rows',
]

"""Products of members that no collection expresses: the conformance list of tests/test_family.py."""

import jax

import vae_jax as vj
from experiments.family.bench import CLASSES, LATENT, Product, Row
from experiments.family.members import by, coded, each, elbo, given, judged, sampled
from vae_jax import bounds, flows, losses, models
from vae_jax.bounds import monte_carlo

NOBODY = 'no collection'
TEST = 'test_family.py::test_a_product_conforms'


def iaf(model):
    """An inverse autoregressive posterior, with a context where the model has one."""
    return models.flow_posterior(model, flows.stacked(flows.iaf((8,)), 2))


def maf(model):
    """A masked autoregressive prior."""
    return models.flow_prior(model, flows.maf((8,)))


def vamp(model):
    """A VampPrior of five pseudo-inputs."""
    return models.vampprior(model, 5)


def ladder(b, **options):
    """Two layers, the lower one of the size of the others here."""
    return models.ladder([b.encoder] * 2, [b.decoder] * 2, latents=(2, LATENT), like=b.x, **options)


def top_down(b, **options):
    """Two residual layers."""
    return models.top_down(
        [b.encoder] * 2, [b.encoder] * 2, b.decoder, latents=(2, LATENT), state=(6,), like=b.x, **options
    )


def _(name, build, objective, data='bits', networks='MLP'):
    return Row(name, build, objective, NOBODY, TEST, networks=networks, data=data)


PRODUCTS = [
    _('VampPrior + IAF + DReG + discretized logistic',
      lambda b: by(bounds.dreg, iaf(vamp(b.vae(likelihood=vj.discretized_logistic(17)))), k=3), 'DReG', 'grey'),
    _('VampPrior + IAF + mixture of logistics',
      lambda b: by(bounds.iwae, iaf(vamp(b.vae(likelihood=vj.logistic_mixture(17, 2)))), k=3), 'IWAE', 'grey'),
    _('mixture prior + coupling posterior + Renyi',
      lambda b: by(bounds.renyi, models.flow_posterior(models.mixture_prior(b.vae(), 4), flows.affine_coupling()), k=3,
                   alpha=0.5), 'Renyi'),
    _('MAF prior + IAF posterior + IWAE', lambda b: by(bounds.iwae, iaf(maf(b.vae())), k=3), 'IWAE'),
    _('MAF prior + full covariance + sticking the landing',
      lambda b: by(bounds.sticking_the_landing, maf(b.vae(posterior=vj.full_normal(LATENT)))), 'ELBO, landing sticks'),
    _('spline prior + Laplace posterior + beta-binomial',
      lambda b: sampled(models.flow_prior(b.vae(posterior=vj.Laplace, likelihood=vj.beta_binomial(17)),
                                          flows.spline_coupling(bins=4))), 'ELBO', 'grey'),
    _('VampPrior + full covariance + MIWAE',
      lambda b: by(bounds.miwae, vamp(b.vae(posterior=vj.full_normal(LATENT))), k=2, m=2), 'MIWAE'),
    _('VampPrior + Laplace + PIWAE', lambda b: by(bounds.piwae, vamp(b.vae(posterior=vj.Laplace)), k=2, m=2), 'PIWAE'),
    _('VampPrior + planar + CIWAE',
      lambda b: by(bounds.ciwae, models.flow_posterior(vamp(b.vae()), flows.planar), k=2, beta=0.5), 'CIWAE'),
    _('VampPrior over a mixed table',
      lambda b: sampled(vamp(b.vae(likelihood=vj.columns(vj.Normal, vj.Normal, vj.Bernoulli, vj.Poisson)))), 'ELBO',
      'table'),
    _('IAF over counts with extra zeros',
      lambda b: sampled(iaf(b.vae(likelihood=vj.zero_inflated(vj.NegativeBinomial)))), 'ELBO', 'counts'),
    _('VampPrior + missing entries',
      lambda b: by(bounds.dreg, maf(models.partly_observed(b.encoder, b.decoder, like=b.x, latent=LATENT)), k=3),
      'DReG of what is seen', 'missing'),
    _('hyperspherical + mixture of logistics + IWAE',
      lambda b: by(bounds.iwae, b.vae(posterior=vj.VonMisesFisher, likelihood=vj.logistic_mixture(17, 2)), k=3), 'IWAE',
      'grey'),
    _('hyperspherical VampPrior + DReG',
      lambda b: by(bounds.dreg, vamp(b.vae(posterior=vj.PowerSpherical)), k=3), 'DReG'),
    _('hyperspherical CVAE', lambda b: given(b.cvae(posterior=vj.PowerSpherical)), 'ELBO given c'),
    _('discrete latents + VIMCO + discretized logistic',
      lambda b: by(bounds.vimco, b.vae(posterior=vj.categorical(3), likelihood=vj.discretized_logistic(17)), k=3),
      'VIMCO', 'grey'),
    _('discrete latents + VampPrior + VIMCO',
      lambda b: by(bounds.vimco, vamp(b.vae(posterior=vj.Bernoulli)), k=3), 'VIMCO'),
    _('Gumbel-softmax + IWAE',
      lambda b: by(bounds.iwae, b.vae(posterior=vj.gumbel_softmax(3, 0.5), seen_as=jax.nn.softmax), k=3), 'IWAE'),
    _('straight-through + free bits',
      lambda b: elbo(b.vae(posterior=vj.straight_through(vj.Bernoulli), likelihood=vj.ContinuousBernoulli)), 'ELBO',
      'real'),
    _('IAF + reweighted wake-sleep', lambda b: Product(m := iaf(b.vae()), each(losses.reweighted_wake_sleep(m, 3))),
      'reweighted wake-sleep'),
    _('CVAE with a flow prior + IWAE',
      lambda b: given(models.conditional_map(b.cvae(), maf), lambda m: vj.negative(bounds.iwae, m, k=3)),
      'IWAE given c'),
    _('CVAE with a VampPrior + IAF',
      lambda b: given(models.conditional_map(b.cvae(), lambda m: iaf(vamp(m))),
                      lambda m: vj.beta_elbo(m, monte_carlo)),
      'ELBO given c'),
    _('CVAE with a learned prior + DReG + discretized logistic',
      lambda b: given(b.cvae(prior_network=b.encoder, likelihood=vj.discretized_logistic(17)),
                      lambda m: vj.negative(bounds.dreg, m, k=3)), 'DReG given c', 'grey'),
    _('CVAE with the sigma of each example',
      lambda b: given(b.cvae(prior_network=b.encoder, likelihood=vj.SharedNormal)), 'ELBO given c', 'real'),
    _('ladder + IWAE', lambda b: by(bounds.iwae, ladder(b), k=3), 'IWAE'),
    _('ladder + DReG + beta-binomial',
      lambda b: by(bounds.dreg, ladder(b, likelihood=vj.beta_binomial(17)), k=3), 'DReG', 'grey'),
    _('ladder with a VampPrior on top', lambda b: sampled(models.mixture_prior(ladder(b), 4)), 'ELBO'),
    _('residual top-down + IWAE + discretized logistic',
      lambda b: by(bounds.iwae, top_down(b, likelihood=vj.discretized_logistic(17)), k=3), 'IWAE', 'grey'),
    _('residual top-down + Renyi', lambda b: by(bounds.renyi, top_down(b), k=3, alpha=0.5), 'Renyi'),
    _('beta-TC + discretized logistic',
      lambda b: coded(b.vae(likelihood=vj.discretized_logistic(17)), losses.beta, losses.total_correlation(80)),
      'beta-TC', 'grey'),
    _('capacity + DIP II + gated networks',
      lambda b: coded(b.vae(encoder=vj.networks.gated_mlp_encoder((12,))), losses.capacity, losses.dip(of_samples=1.0)),
      'capacity + DIP II', networks='gated MLP'),
    _('free bits + MMD + beta-binomial',
      lambda b: coded(b.vae(likelihood=vj.beta_binomial(17)), losses.free_bits_mean, losses.mmd()), 'free bits + MMD',
      'grey'),
    _('FactorVAE with free bits',
      lambda b: judged(b, b.vae(), lambda m, j: losses.factor_vae(m, j, losses.free_bits_mean)), 'free bits + critic'),
    _('adversarial autoencoder + discretized logistic',
      lambda b: judged(b, b.vae(likelihood=vj.discretized_logistic(17)), losses.adversarial_autoencoder),
      'distortion + critic of codes', 'grey'),
    _('adversarial autoencoder on a sphere',
      lambda b: judged(b, b.vae(posterior=vj.PowerSpherical),
                       lambda m, j: losses.adversarial_autoencoder(m, j, losses.wasserstein)),
      'distortion + Wasserstein critic'),
    _('denoising VampPrior + IAF',
      lambda b: Product(m := iaf(vamp(b.vae())),
                        each(losses.denoising(lambda m: vj.beta_elbo(m, monte_carlo), m, losses.erased(0.3)))),
      'ELBO of clean x'),
    _('M2 with a transformer',
      lambda b: Product(m := models.over_labels(b.cvae(), vj.networks.transformer_encoder(3, 8, 1, 2), CLASSES),
                        each(losses.partly_labelled(m, 1 / 3), of=losses.row_of)), 'L and U', 'partly labelled',
      'transformer'),
    _('residual VQ + discretized logistic',
      lambda b: Product(m := models.vq(b.encoder, b.decoder, codes=6, dims=3, positions=2, levels=2, like=b.x,
                                       likelihood=vj.discretized_logistic(17)), losses.quantized(m)),
      'distortion + codebook', 'grey'),
    _('sigma-VAE + VampPrior',
      lambda b: sampled(models.learned_scale(vamp(b.vae(likelihood=vj.fixed_normal(0.0))))), 'ELBO', 'real'),
    _('transformer + VampPrior + DReG',
      lambda b: by(bounds.dreg, vamp(b.vae(encoder=vj.networks.transformer_encoder(3, 8, 1, 2))), k=3), 'DReG',
      networks='transformer'),
]  # fmt: skip

"""One row for each member of the family: its expression, its source, and the test that holds it exact."""

import jax
import jax.numpy as jnp

import vae_jax as vj
from experiments.family.bench import CLASSES, LATENT, Product, Row
from vae_jax import bounds, distributions, flows, losses, models, networks
from vae_jax.bounds import monte_carlo
from vae_jax.distributions import Delta

each = vj.per_example


def by(bound, model, **options):
    """Maximizes a bound."""
    return Product(model, each(vj.negative(bound, model, **options)))


def elbo(model, kl=vj.closed_form):
    """Maximizes the beta-ELBO."""
    return Product(model, each(vj.beta_elbo(model, kl)))


def coded(model, *parts):
    """Minimizes distortion + weigh + penalty."""
    return Product(model, losses.coded(model, *parts))


def given(conditional, lift=vj.beta_elbo):
    """Maximizes the beta-ELBO of x given c."""
    loss = each(models.given(conditional, lift), of=losses.row_of)
    return Product(conditional, loss, example=models.example_of(conditional))


def judged(b, model, lift, of=losses.a_code):
    """The loss lift(model, critic) of a model with a critic among its params."""
    judge = losses.critic(b.encoder)
    model = losses.with_critic(model, judge, of)
    return Product(model, lift(model, judge))


def sampled(model):
    """Maximizes the ELBO with the KL at the sample."""
    return elbo(model, monte_carlo)


BOUNDS = [
    Row('VAE', lambda b: elbo(b.vae()), 'ELBO', 'Kingma & Welling 2013, eq. 3',
        'test_bounds.py::test_elbo_and_its_gradient_average_to_the_closed_form', (bounds.elbo_terms,)),
    Row('ELBO by Monte Carlo', lambda b: sampled(b.vae()), 'ELBO, KL at the sample', 'Kingma & Welling 2013, eq. 2',
        'test_bounds.py::test_elbo_and_its_gradient_average_to_the_closed_form', (monte_carlo,)),
    Row('sticking the landing', lambda b: by(bounds.sticking_the_landing, b.vae()), 'ELBO without the score of q',
        'Roeder et al. 2017', 'test_estimators.py::test_the_landing_sticks_and_the_plain_gradient_does_not',
        (bounds.sticking_the_landing,)),
    Row('IWAE', lambda b: by(bounds.iwae, b.vae(), k=3), 'IWAE', 'Burda et al. 2015, eq. 8',
        'test_bounds.py::test_iwae_rises_to_log_p', (bounds.iwae,)),
    Row('DReG', lambda b: by(bounds.dreg, b.vae(), k=3), 'IWAE, doubly reparameterized', 'Tucker et al. 2019, eq. 8',
        'test_estimators.py::test_signal_to_noise_falls_with_samples_for_iwae_and_rises_for_dreg', (bounds.dreg,)),
    Row('MIWAE', lambda b: by(bounds.miwae, b.vae(), k=3, m=2), 'MIWAE', 'Rainforth et al. 2018, eq. 8',
        'test_estimators.py::test_value_and_gradient_average_to_the_exact_ones', (bounds.miwae,)),
    Row('PIWAE', lambda b: by(bounds.piwae, b.vae(), k=3, m=2), 'PIWAE', 'Rainforth et al. 2018, section 4',
        'test_estimators.py::test_piwae_gives_each_its_own_bound', (bounds.piwae,)),
    Row('CIWAE', lambda b: by(bounds.ciwae, b.vae(), k=3, beta=0.5), 'CIWAE', 'Rainforth et al. 2018, section 4',
        'test_estimators.py::test_value_and_gradient_average_to_the_exact_ones', (bounds.ciwae,)),
    Row('Renyi', lambda b: by(bounds.renyi, b.vae(), k=3, alpha=0.5), 'Renyi bound', 'Li & Turner 2016, eq. 9',
        'test_estimators.py::test_renyi_falls_as_alpha_grows_and_more_samples_raise_it', (bounds.renyi,)),
    Row('score function', lambda b: by(bounds.score_elbo, b.vae(posterior=distributions.Bernoulli), k=3),
        'ELBO, score gradient with a baseline', 'Mnih & Rezende 2016, 2.2',
        'test_estimators.py::test_the_baseline_of_the_others_lowers_the_variance', (bounds.score_elbo,)),
    Row('VIMCO', lambda b: by(bounds.vimco, b.vae(posterior=distributions.Bernoulli), k=3), 'IWAE, score gradient',
        'Mnih & Rezende 2016, eq. 8-10',
        'test_estimators.py::test_scores_learn_a_discrete_posterior_and_pathwise_bounds_refuse_it', (bounds.vimco,)),
    Row('wake-sleep', lambda b: Product(m := b.vae(posterior=distributions.Bernoulli), each(losses.wake_sleep(m))),
        'wake-sleep', 'Hinton et al. 1995', 'test_dreams.py', (losses.wake_sleep,)),
    Row('reweighted wake-sleep', lambda b: Product(m := b.vae(), each(losses.reweighted_wake_sleep(m, 3))),
        'reweighted wake-sleep', 'Bornschein & Bengio 2015', 'test_dreams.py', (losses.reweighted_wake_sleep,)),
]  # fmt: skip

OBJECTIVES = [
    Row('capacity', lambda b: coded(b.vae(), losses.capacity), 'capacity', 'Burgess et al. 2018, eq. 8',
        'test_codes.py::test_capacity_pulls_the_rate_to_it_from_both_sides', (losses.capacity,)),
    Row('free bits, of an example', lambda b: coded(b.vae(), losses.free_bits), 'free bits', 'Kingma et al. 2016, C.8',
        'test_codes.py::test_free_bits_keep_their_conventions', (losses.free_bits,)),
    Row('free bits, of each dimension', lambda b: coded(b.vae(), losses.free_bits_each), 'free bits',
        'Kingma et al. 2016, C.8', 'test_codes.py::test_free_bits_keep_their_conventions', (losses.free_bits_each,)),
    Row('free bits, of the mean', lambda b: coded(b.vae(), losses.free_bits_mean), 'free bits',
        'Kingma et al. 2016, eq. 15', 'test_codes.py::test_free_bits_keep_their_conventions',
        (losses.free_bits_mean,)),
    Row('beta-TCVAE', lambda b: coded(b.vae(), losses.beta, losses.total_correlation(80)), 'beta-TC, weighted',
        'Chen et al. 2018, eq. 2', 'test_codes.py::test_the_parts_of_the_rate_add_up', (losses.total_correlation,)),
    Row('beta-TCVAE, stratified',
        lambda b: coded(b.vae(), losses.beta, losses.total_correlation(80, losses.stratified)),
        'beta-TC, stratified', 'Chen et al. 2018, app. C.1',
        'test_codes.py::test_stratified_weights_are_unbiased_over_batches', (losses.stratified,)),
    Row('DIP-VAE I', lambda b: coded(b.vae(), losses.beta, losses.dip()), 'DIP I', 'Kumar et al. 2018, eq. 6',
        'test_codes.py::test_dip_is_its_formula', (losses.dip,)),
    Row('DIP-VAE II', lambda b: coded(b.vae(), losses.beta, losses.dip(of_samples=1.0)), 'DIP II',
        'Kumar et al. 2018, eq. 7', 'test_codes.py::test_dip_is_its_formula'),
    Row('InfoVAE', lambda b: coded(b.vae(), losses.beta, losses.mmd()), 'ELBO + MMD', 'Zhao et al. 2019',
        'test_codes.py::test_mmd_of_few_points_is_the_sum_by_hand', (losses.mmd,)),
    Row('FactorVAE', lambda b: judged(b, b.vae(), losses.factor_vae), 'ELBO + total correlation by a critic',
        'Kim & Mnih 2018, eq. 2', 'test_adversarial.py', (losses.factor_vae,)),
    Row('adversarial autoencoder', lambda b: judged(b, b.vae(posterior=Delta), losses.adversarial_autoencoder),
        'distortion + critic of codes', 'Makhzani et al. 2015', 'test_adversarial.py',
        (losses.adversarial_autoencoder,)),
    Row('VAE-GAN', lambda b: judged(b, b.vae(likelihood=vj.Normal), losses.vae_gan, losses.the_data),
        'rate + features of a critic', 'Larsen et al. 2016, alg. 1', 'test_adversarial.py', (losses.vae_gan,),
        data='real'),
    Row('GAN',
        lambda b: judged(b, losses.generator(b.decoder, latent=LATENT, like=b.x), losses.gan, losses.the_data),
        'non-saturating game', 'Goodfellow et al. 2014, alg. 1', 'test_adversarial.py', (losses.gan,), data='real'),
    Row('autoencoder', lambda b: Product(m := b.vae(posterior=Delta), each(losses.autoencoder(m))), 'distortion',
        'Hinton & Salakhutdinov 2006', 'test_autoencoders.py', (losses.autoencoder,)),
    Row('RAE-L2', lambda b: Product(m := b.vae(posterior=Delta), each(losses.rae(m, losses.decoder_l2()))),
        'distortion + |z|^2 + |decoder|^2', 'Ghosh et al. 2020', 'test_autoencoders.py',
        (losses.rae, losses.decoder_l2)),
    Row('RAE-GP', lambda b: Product(m := b.vae(posterior=Delta), each(losses.rae(m, losses.decoder_gradient))),
        'distortion + |z|^2 + gradient penalty', 'Ghosh et al. 2020', 'test_autoencoders.py',
        (losses.decoder_gradient,)),
    Row('contractive autoencoder',
        lambda b: Product(m := b.vae(posterior=Delta), each(losses.rae(m, losses.contraction))),
        'distortion + |dz/dx|^2', 'Rifai et al. 2011', 'test_autoencoders.py', (losses.contraction,)),
    Row('denoising VAE', lambda b: Product(m := b.vae(), each(losses.denoising(vj.beta_elbo, m, losses.erased(0.3)))),
        'ELBO of clean x, q of corrupted x', 'Im et al. 2017', 'test_autoencoders.py', (losses.denoising,)),
    Row('WAE-MMD', lambda b: Product(m := b.vae(posterior=Delta), losses.wae(m, losses.mmd())), 'distortion + MMD',
        'Tolstikhin et al. 2018, alg. 2', 'test_transport.py', (losses.wae,)),
    Row('sliced Wasserstein',
        lambda b: Product(m := b.vae(posterior=Delta), losses.wae(m, losses.sliced_wasserstein(10))),
        'distortion + sliced Wasserstein', 'Kolouri et al. 2018', 'test_transport.py', (losses.sliced_wasserstein,)),
    Row('JointVAE',
        lambda b: Product(
            m := b.vae(posterior=(f := vj.joint(continuous=(vj.Normal, 3), discrete=(vj.gumbel_softmax(4, 0.67), 1))),
                       latent=f.dims, seen_as=distributions.seen_parts(discrete=jax.nn.softmax)),
            losses.part_capacities(m)
        ),
        'a capacity for each part', 'Dupont 2018, eq. 7', 'test_joint.py', (vj.joint, losses.part_capacities)),
    Row('sigma-VAE, optimal',
        lambda b: Product(m := models.learned_scale(b.vae(likelihood=distributions.fixed_normal(0.0))),
                          losses.optimal_sigma(m)),
        'ELBO at the best sigma', 'Rybkin et al. 2021, 4', 'test_sigma.py', (losses.optimal_sigma,), data='real'),
]  # fmt: skip

PRIORS = [
    Row('mixture prior', lambda b: sampled(models.mixture_prior(b.vae(), 5)), 'ELBO', 'Tomczak & Welling 2018, 4',
        'test_priors.py', (models.mixture_prior,)),
    Row('VampPrior', lambda b: sampled(models.vampprior(b.vae(), 5)), 'ELBO', 'Tomczak & Welling 2018, 2',
        'test_priors.py', (models.vampprior,)),
    Row('flow prior, MAF', lambda b: sampled(models.flow_prior(b.vae(), flows.maf((8,)))), 'ELBO',
        'Papamakarios et al. 2017; Chen et al. 2017', 'test_flow_models.py', (models.flow_prior, flows.maf)),
    Row('flow prior, coupling',
        lambda b: sampled(models.flow_prior(b.vae(), flows.stacked(flows.affine_coupling(), 2))), 'ELBO',
        'Dinh et al. 2017', 'test_flow_models.py', (flows.affine_coupling,)),
    Row('flow prior, spline',
        lambda b: sampled(models.flow_prior(b.vae(), flows.stacked(flows.spline_coupling(bins=4), 2))), 'ELBO',
        'Durkan et al. 2019', 'test_flows.py', (flows.spline_coupling,)),
]  # fmt: skip

POSTERIORS = [
    Row('full covariance', lambda b: elbo(b.vae(posterior=vj.full_normal(LATENT))), 'ELBO',
        'Kingma & Welling 2019, 2.5', 'test_families_densities.py', (distributions.full_normal,)),
    Row('Laplace posterior', lambda b: sampled(b.vae(posterior=vj.Laplace)), 'ELBO', 'Kotz et al. 2001',
        'test_families_densities.py', (distributions.Laplace,)),
    Row('planar flow', lambda b: sampled(models.flow_posterior(b.vae(), flows.stacked(flows.planar, 2))), 'ELBO',
        'Rezende & Mohamed 2015, eq. 10', 'test_flows.py'),
    Row('planar flow, amortized',
        lambda b: sampled(
            models.flow_posterior(b.vae(posterior=models.contextual(vj.Normal, 2)), flows.amortized_planar)),
        'ELBO', 'Rezende & Mohamed 2015, eq. 10', 'test_flows.py'),
    Row('IAF',
        lambda b: sampled(models.flow_posterior(b.vae(posterior=models.contextual()), flows.iaf((8,)))), 'ELBO',
        'Kingma et al. 2016, alg. 1', 'test_flow_models.py', (flows.iaf, models.flow_posterior)),
    Row('planar and radial flows',
        lambda b: sampled(models.flow_posterior(b.vae(), flows.chain(flows.planar, flows.radial, flows.planar))),
        'ELBO', 'Rezende & Mohamed 2015, eq. 14', 'test_radial.py'),
    Row('Hamiltonian VAE', lambda b: sampled(models.hamiltonian(b.vae(), 2)), 'ELBO', 'Caterini et al. 2018',
        'test_hamiltonian.py', (models.hamiltonian,)),
    Row('coupling posterior',
        lambda b: sampled(models.flow_posterior(b.vae(), flows.stacked(flows.affine_coupling(), 2))), 'ELBO',
        'Dinh et al. 2017', 'test_flow_models.py'),
    Row('hyperspherical VAE', lambda b: elbo(b.vae(posterior=vj.VonMisesFisher)), 'ELBO', 'Davidson et al. 2018',
        'test_families_sphere.py', (vj.VonMisesFisher,)),
    Row('power spherical', lambda b: elbo(b.vae(posterior=vj.PowerSpherical)), 'ELBO', 'De Cao & Aziz 2020',
        'test_families_sphere.py', (vj.PowerSpherical,)),
    Row('Gumbel-softmax',
        lambda b: sampled(b.vae(posterior=vj.gumbel_softmax(3, 0.5), seen_as=jax.nn.softmax)), 'ELBO, relaxed',
        'Maddison et al. 2017; Jang et al. 2017', 'test_families_densities.py', (distributions.gumbel_softmax,)),
    Row('straight-through', lambda b: elbo(b.vae(posterior=vj.straight_through(vj.categorical(3)))),
        'ELBO, biased gradient', 'Bengio et al. 2013', 'test_families_composite.py', (distributions.straight_through,)),
    Row('VQ-VAE',
        lambda b: Product(m := models.vq(b.encoder, b.decoder, codes=6, dims=3, positions=2, like=b.x),
                          losses.quantized(m)),
        'distortion + codebook + commitment', 'van den Oord et al. 2017, eq. 3', 'test_quantized.py',
        (models.vq, losses.quantized)),
    Row('VQ-VAE, averaged codebook',
        lambda b: Product(
            m := models.vq(b.encoder, b.decoder, codes=6, dims=3, positions=2, like=b.x,
                           codebook=models.averaged_codebook),
            losses.quantized(m), optimizer=losses.following(Product._field_defaults['optimizer']),
            around=lambda trainer: losses.restarting(trainer, m)),
        'distortion + commitment', 'van den Oord et al. 2017, app. A.1; Dhariwal et al. 2020', 'test_quantized.py',
        (losses.following, losses.restarting)),
    Row('residual VQ',
        lambda b: Product(m := models.vq(b.encoder, b.decoder, codes=6, dims=3, positions=2, levels=2, like=b.x),
                          losses.quantized(m)),
        'distortion + codebook + commitment', 'Zeghidour et al. 2021', 'test_quantized.py'),
    Row('two stochastic layers',
        lambda b: sampled(models.stacked(b.vae(), vj.vae(b.encoder, b.decoder, latent=2, like=jnp.zeros(LATENT),
                                                       likelihood=vj.Normal))),
        'ELBO', 'Burda et al. 2015, 5', 'test_hierarchies.py', (models.stacked,)),
    Row('ladder VAE',
        lambda b: elbo(models.ladder([b.encoder] * 2, [b.decoder] * 2, latents=(2, LATENT), like=b.x)), 'ELBO, fused',
        'Sonderby et al. 2016', 'test_hierarchies.py', (models.ladder,)),
    Row('residual top-down',
        lambda b: elbo(models.top_down([b.encoder] * 2, [b.encoder] * 2, b.decoder, latents=(2, LATENT), state=(6,),
                                       like=b.x)),
        'ELBO, fused', 'Kingma et al. 2016; Child 2021', 'test_hierarchies.py', (models.top_down,)),
]  # fmt: skip

LIKELIHOODS = [
    Row('continuous Bernoulli', lambda b: elbo(b.vae(likelihood=vj.ContinuousBernoulli)), 'ELBO',
        'Loaiza-Ganem & Cunningham 2019', 'test_families_densities.py', (vj.ContinuousBernoulli,), data='real'),
    Row('Gaussian, fixed sigma', lambda b: elbo(b.vae(likelihood=vj.fixed_normal(-1.0))), 'ELBO',
        'Kingma & Welling 2013, app. C.2', 'test_distributions.py', (vj.fixed_normal,), data='real'),
    Row('Gaussian, sigma of each pixel', lambda b: elbo(b.vae(likelihood=vj.Normal)), 'ELBO',
        'Kingma & Welling 2013, app. C.2', 'test_distributions.py', (vj.Normal,), data='real'),
    Row('sigma-VAE, learned', lambda b: elbo(models.learned_scale(b.vae(likelihood=vj.fixed_normal(0.0)))), 'ELBO',
        'Rybkin et al. 2021, 4', 'test_sigma.py', (models.learned_scale,), data='real'),
    Row('Laplace likelihood', lambda b: elbo(b.vae(likelihood=vj.Laplace)), 'ELBO', 'Kotz et al. 2001',
        'test_families_densities.py', data='real'),
    Row('log cosh likelihood',
        lambda b: elbo(b.vae(likelihood=distributions.fixed_log_cosh(10.0, distributions.unit_log_std(10.0)))), 'ELBO',
        'Chen et al. 2019', 'test_log_cosh.py', (distributions.fixed_log_cosh,), data='real'),
    Row('discretized logistic', lambda b: elbo(b.vae(likelihood=vj.discretized_logistic(17))), 'ELBO',
        'Kingma et al. 2016, C.3', 'test_distributions.py', (vj.discretized_logistic,), data='grey'),
    Row('mixture of logistics', lambda b: elbo(b.vae(likelihood=vj.logistic_mixture(17, 3))), 'ELBO',
        'Salimans et al. 2017', 'test_families_densities.py', (vj.logistic_mixture,), data='grey'),
    Row('beta-binomial', lambda b: elbo(b.vae(likelihood=vj.beta_binomial(17))), 'ELBO', 'Child 2021',
        'test_families_densities.py', (vj.beta_binomial,), data='grey'),
    Row('categorical levels', lambda b: elbo(b.vae(likelihood=vj.categorical_levels(17))), 'ELBO',
        'van den Oord et al. 2016', 'test_families_densities.py', (vj.categorical_levels,), data='grey'),
    Row('Poisson', lambda b: elbo(b.vae(likelihood=vj.Poisson)), 'ELBO', 'Lopez et al. 2018',
        'test_families_densities.py', (vj.Poisson,), data='counts'),
    Row('negative binomial', lambda b: elbo(b.vae(likelihood=vj.NegativeBinomial)), 'ELBO', 'Lopez et al. 2018',
        'test_families_densities.py', (vj.NegativeBinomial,), data='counts'),
    Row('zero-inflated', lambda b: elbo(b.vae(likelihood=vj.zero_inflated(vj.NegativeBinomial))), 'ELBO',
        'Lopez et al. 2018', 'test_families_composite.py', (vj.zero_inflated,), data='counts'),
    Row('columns of a table',
        lambda b: elbo(b.vae(likelihood=vj.columns(vj.Normal, vj.Normal, vj.Bernoulli, vj.Poisson))), 'ELBO',
        'Nazabal et al. 2020', 'test_families_composite.py', (vj.columns,), data='table'),
]  # fmt: skip

NETWORKS = [
    Row('gated layers',
        lambda b: elbo(b.vae(encoder=networks.gated_mlp_encoder((12,)), decoder=networks.gated_mlp_decoder((12,)))),
        'ELBO', 'Dauphin et al. 2017; Tomczak & Welling 2018', 'test_networks_dense.py',
        (networks.gated_mlp_encoder,), networks='gated MLP'),
    Row('convolutions',
        lambda b: elbo(b.vae(encoder=vj.conv_encoder((4,), 8), decoder=vj.conv_decoder((4,), 8))), 'ELBO',
        'Radford et al. 2016', 'test_networks.py', (vj.conv_encoder,), networks='conv'),
    Row('residual blocks',
        lambda b: elbo(b.vae(encoder=vj.resnet_encoder((4,), 8), decoder=vj.resnet_decoder((4,), 8))), 'ELBO',
        'He et al. 2016', 'test_networks.py', (vj.resnet_encoder,), networks='residual, GroupNorm'),
    Row('patch transformer',
        lambda b: elbo(b.vae(encoder=networks.transformer_encoder(3, 8, 1, 2),
                             decoder=networks.transformer_decoder(3, 8, 1, 2))),
        'ELBO', 'Dosovitskiy et al. 2021', 'test_networks_dense.py', (networks.transformer_encoder,),
        networks='transformer, LayerNorm'),
]  # fmt: skip

CONDITIONAL = [
    Row('CVAE', lambda b: given(b.cvae(prior_network=b.encoder)), 'ELBO given c', 'Sohn et al. 2015',
        'test_conditional.py', (models.cvae,)),
    Row('CVAE, standard prior', lambda b: given(b.cvae()), 'ELBO given c', 'Sohn et al. 2015', 'test_conditional.py'),
    Row('M2',
        lambda b: Product(m := models.over_labels(b.cvae(), b.encoder, CLASSES),
                          each(losses.partly_labelled(m, 1 / 3), of=losses.row_of)),
        'L of labelled, U of unlabelled', 'Kingma et al. 2014, eq. 9', 'test_labelled.py',
        (models.over_labels, losses.partly_labelled), data='partly labelled'),
    Row('MIWAE, missing entries',
        lambda b: by(bounds.iwae, models.partly_observed(b.encoder, b.decoder, like=b.x, latent=LATENT), k=3),
        'IWAE of what is seen', 'Mattei & Frellsen 2019, eq. 4', 'test_missing.py', (models.partly_observed,),
        data='missing'),
]  # fmt: skip

MEMBERS = [*BOUNDS, *OBJECTIVES, *PRIORS, *POSTERIORS, *LIKELIHOODS, *NETWORKS, *CONDITIONAL]

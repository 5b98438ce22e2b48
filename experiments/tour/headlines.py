"""The numbers of each item that stand in its row of experiments/README.md, each with its standard error."""

HEADLINES = {
    'heights': 'p of a normal for grown women {women_p}, for grown people of both sexes {adults_p}, for a whole '
    'village {village_p}; gradient and closed form are {gradient_apart_cm} cm apart',
    'prices': 'log p of a house, nats: EM {em}, gradient {gradient}; held out {em_test} and {gradient_test}, by '
    'variational Bayes {variational_test}; BIC chooses {k} groups',
    'discriminative': 'errors with 200 labels: normals {full_200}, logistic regression {logistic_200}, naive Bayes '
    '{naive_200}; with half of the pixels gone {full_half_gone} and {logistic_half_gone}',
    'techniques': '-log p(x), nats: VAE {vae}, MADE {made}, flow {flow}, pixels alone {independent}, mixture '
    '{mixture}, normal {normal}, GAN {gan}',
    'functions': 'p that the ring is one {ring_p}, that waiting times are those of Old Faithful {waits_p}; share of '
    'the variance of digits that the sheet explains {sheet}, the best plane {plane}',
    'naive': 'samples for an error of 10 % with 50 latents: 10^{log10_prior_50} of the prior, 10^{log10_q_50} near '
    'the posterior',
    'posterior': 'log p(data): sum {sum}, Laplace {log_p_laplace}; the reverse KL makes widths {narrow} of the right '
    'ones, the forward KL {wide}',
    'mean_field': 'variance of mean field, as a part of the right one: mean {narrow_mean}, slope {narrow_slope}; '
    'factors of any shape end {free_apart} from the formula',
    'curves': 'the curves are {apart} nats apart at most; the gap goes from {gap_start} to {gap_end} nats; {widened} '
    'of the steps that raise the ELBO widen it',
    'reparameterization': 'variance with 8 samples: score {score_8}, against the other samples {others_8}, pathwise '
    '{pathwise_8}',
    'from_em': 'nats below the best fit after {passes} passes: EM {em}, variational EM {variational}, Monte Carlo EM '
    '{mcem}, wake-sleep {wake_sleep}, reweighted {reweighted}, AEVB {aevb}',
    'helmholtz': '-log p(x), nats: pixels alone {independent}, one layer {shallow}, three {wake_sleep}, reweighted '
    '{reweighted}',
    'bayes': 'nats a test digit that beliefs gain over the likeliest parameters: from {few} digits {few_gain}, from '
    '{many} {many_gain}',
    'autoencoders': 'from PCA {angle_degrees} degrees; error from noisy digits: plain {noisy_error_plain}, sparse '
    '{noisy_error_sparse}, contractive {noisy_error_contractive}, denoising {noisy_error_denoising}',
    'smoothness': 'length of the way between two codes (1: straight): autoencoder {way_autoencoder}, VAE {way_vae}, '
    'large VAE {way_large_vae}; digits covered by draws: {drawn_autoencoder}, {drawn_vae}, {drawn_large_vae}',
    'faces': 'R^2 of eyes {r2_eyes}, of the mouth {r2_mouth}; a step along the eyes moves them by {moved_eyes} and '
    'the mouth by {leaked_eyes}',
    'attributes': 'R^2 of slant {r2_slant} (PCA {r2_slant_pca}), of thickness {r2_thickness} ({r2_thickness_pca}); '
    'digits that stay what they were: {kept_slant}, {kept_thickness}',
    'adversaries': '-log p(x), nats: VAE {nll_vae}, VAE-GAN {nll_vae_gan}, GAN {nll_gan}; edges, real ones 1: '
    '{edges_vae}, {edges_vae_gan}, {edges_gan}; coverage {coverage_vae}, {coverage_vae_gan}, {coverage_gan}',
    'conditional': '-log p(x|c), nats: CVAE {nats_cvae}, regressor {nats_regressor}; wrong pixels of one answer '
    '{wrong_cvae} and {wrong_regressor}, of the best of {answers} {best_cvae} and {best_regressor}',
    'segmentation': '-log p(mask|picture), nats: CVAE {nats_cvae}, regressor {nats}; overlap of one answer '
    '{iou_cvae} and {iou}, of the best {iou_best}',
    'few_labels': 'errors with 100 labels, %: network {network}, M2 {m2}, M1 + M2 {m1_m2}, support vectors {svm}',
}

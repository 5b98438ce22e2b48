"""The questions that the introductions ask, each answered by a number of another item."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Question(NamedTuple):
    """What is asked, the item whose numbers answer it, the answer, and what must hold for it to be one."""

    asked: str
    item: str
    answer: str
    holds: Callable[[Mapping[str, float]], bool]


QUESTIONS: tuple[Question, ...] = (
    Question(
        'Are heights normal?',
        'heights',
        'Of the grown women of one people yes, as far as a test can tell (p = {women_p:.2f}). Of the {adults} '
        'grown people of both sexes no (p = {adults_p:.3f}), of a village of all ages still less: one normal has '
        '{believed_above_180_cm:.1%} of them above 180 cm.',
        lambda n: n['women_p'] > 0.05 > n['adults_p'] > n['village_p'],
    ),
    Question(
        'Does EM need a learning rate, and does it end higher than gradient steps?',
        'prices',
        'It needs none, and it never falls. On house prices it ends at {em:.2f} nats a house; gradient steps of the '
        'same mixture are at {gradient_as_many:.2f} after as many passes, and at {gradient:.2f} after ten times that.',
        lambda n: n['em'] > n['gradient'] and n['em_largest_fall'] < 1e-6,
    ),
    Question(
        'With few labels, is it better to learn p(x, y) or p(y | x)?',
        'discriminative',
        'It depends on how well p(x | y) fits: with 200 labels a normal with all covariances a class errs in '
        '{full_200:.1%}, logistic regression in {logistic_200:.1%}, naive Bayes in {naive_200:.1%}.',
        lambda n: n['full_200'] < n['logistic_200'] < n['naive_200'],
    ),
    Question(
        'Why not estimate p(x) with samples of the prior?',
        'naive',
        'For an error of 10 % with 50 latent dimensions it takes 10^{log10_prior_50:.0f} samples of the prior, and '
        '10^{log10_q_50:.0f} of a q that is 20 % too wide.',
        lambda n: n['log10_prior_50'] > n['log10_q_50'] + 20,
    ),
    Question(
        'If a posterior has two modes, what does the reverse KL do, and what does HMC do?',
        'posterior',
        'The reverse KL takes one of them and loses {two_reverse:.2f} nats, about log 2. Chains that start in one mode '
        'stay there: {two_crossed:.0%} of the draws are in the other.',
        lambda n: 0.6 < n['two_reverse'] < 0.8 and n['two_crossed'] < 0.01,
    ),
    Question(
        'Does mean field underestimate variances?',
        'mean_field',
        'As far as what it takes for independent is not. The variance of a slope is {narrow_slope:.3f} of the right '
        'one, and {narrow_slope_centred:.2f} of it once the data are centred, when nothing depends on anything.',
        lambda n: n['narrow_slope'] < 0.1 and abs(n['narrow_slope_centred'] - 1) < 0.01,
    ),
    Question(
        'When the ELBO rises, does log p(x) rise, or does the gap close?',
        'curves',
        'Over all of training the ELBO rises by {elbo_rise:.0f} nats and the gap ends at {gap_end:.2f}. Step by step, '
        '{widened:.0%} of the steps that raise the ELBO widen the gap, and {log_p_fell:.0%} lower log p(x).',
        lambda n: n['widened'] > 0.05 and n['log_p_fell'] > 0.05,
    ),
    Question(
        'What does reparameterization save?',
        'reparameterization',
        'With 8 samples the score function has a variance of {score_8:,.0f}, with a baseline from the other samples '
        '{others_8:.1f}, and the pathwise gradient {pathwise_8:.1f}.',
        lambda n: n['score_8'] > n['others_8'] > n['pathwise_8'],
    ),
    Question(
        'For the same cost, more samples of z or more images in a batch?',
        'reparameterization',
        'More images: the variance is {cost_1:.0f} with one sample of each of 64 images, {cost_8:.0f} with 8 '
        'of each of eight.',
        lambda n: n['cost_1'] < n['cost_8'],
    ),
    Question(
        'What happens to the information in z as sigma of q(z|x) grows to 1?',
        'reparameterization',
        'It falls: from {information_0:.1f} nats at sigma {sigma_0:.2f} to {information_3:.3f} at '
        '{sigma_3:.3f}, where q is the prior whatever x is.',
        lambda n: n['information_0'] > 1 and n['information_3'] < 0.1,
    ),
    Question(
        'Is a VAE better than EM?',
        'from_em',
        'Not where EM can be done: after {passes} passes it is {em:.4f} nats below the best possible fit, '
        'AEVB {aevb:.3f}. A VAE needs no posterior in closed form.',
        lambda n: n['em'] < n['aevb'],
    ),
    Question(
        'Should one have beliefs about the parameters too?',
        'bayes',
        'With few rows: from {few} digits it gains {few_gain:.0f} nats a test digit over the likeliest parameters of '
        'as many factors. With {many} of them it changes {many_gain:+.1f}.',
        lambda n: n['few_gain'] > 5 > n['many_gain'],
    ),
    Question(
        'What does a linear autoencoder find?',
        'autoencoders',
        'The plane of PCA, to {angle_degrees:.2f} degrees, but not its axes: its units are {units_to_axes_degrees:.0f} '
        'degrees away from them.',
        lambda n: n['angle_degrees'] < 1 < n['units_to_axes_degrees'],
    ),
    Question(
        'Is the answer of a regressor wrong because it is blurred?',
        'conditional',
        'As one answer it has fewer wrong pixels, {wrong_regressor:.1f} against {wrong_cvae:.1f}. As a '
        'distribution it is {gain:.1f} nats worse, and the best of {answers} drawn from it is worse too: '
        '{best_regressor:.1f} wrong pixels against {best_cvae:.1f}.',
        lambda n: n['wrong_regressor'] < n['wrong_cvae'] and n['best_cvae'] < n['best_regressor'] and n['gain'] > 1,
    ),
    Question(
        'Do images without a label help?',
        'few_labels',
        'The same network, yes: {network:.1f} % errors with 100 labels alone, {m2:.1f} % with M2. But '
        'support vectors on the labels alone have {svm:.1f} %.',
        lambda n: n['m2'] < n['network'],
    ),
    Question(
        'Which technique gives digits the highest likelihood?',
        'techniques',
        'A VAE with {vae:.1f} nats an image, then MADE with {made:.1f}; independent pixels need '
        '{independent:.1f}, and a GAN, which never looks at it, {gan:.0f}.',
        lambda n: n['vae'] < n['made'] < n['independent'] < n['gan'],
    ),
    Question(
        'How can one latent plane of a normal become any distribution?',
        'functions',
        'Through a function. z/10 + z/|z| makes a ring of it, exactly (p = {ring_p:.2f} in a test); a decoder bends a '
        'plane into digits and explains {sheet:.0%} of their variance, where the best flat plane explains {plane:.0%}.',
        lambda n: n['sheet'] > n['plane'] + 0.05 and n['ring_p'] > 0.001,
    ),
    Question(
        'Can layers of bits learn without one gradient through a sample?',
        'helmholtz',
        'Yes. A Helmholtz machine of {layers} layers needs {wake_sleep:.1f} nats a digit after wake-sleep, '
        '{reweighted:.1f} with reweighted samples; independent pixels need {independent:.1f}.',
        lambda n: n['reweighted'] < n['wake_sleep'] < n['independent'],
    ),
    Question(
        'Why can one draw from a VAE and not from an autoencoder?',
        'smoothness',
        'The KL keeps its codes where one draws: pictures from N(0, I) cover {drawn_vae:.0%} of the test digits, those '
        'of an autoencoder {drawn_autoencoder:.0%}. But from a normal that is fitted to its codes it covers '
        '{fitted_autoencoder:.0%}: half of the trouble is not knowing where to draw.',
        lambda n: n['drawn_vae'] > n['drawn_autoencoder'] + 0.1 < n['fitted_autoencoder'],
    ),
    Question(
        'Does a direction among the codes change one thing alone?',
        'faces',
        'Mostly. One standard deviation along the direction of the eyes moves them by {moved_eyes:.2f} of it, the '
        'mouth by {leaked_eyes:.2f}.',
        lambda n: n['leaked_eyes'] < n['moved_eyes'] / 2,
    ),
    Question(
        'Can one add and subtract codes, as the texts say?',
        'attributes',
        'Half. The slant is carried over, {moved_sum:.2f} of it; but only {kept_sum:.0%} of the digits are still read '
        'as what they were.',
        lambda n: n['moved_sum'] > 0.5 > n['kept_sum'],
    ),
    Question(
        'GAN or VAE?',
        'adversaries',
        'For draws with edges the GAN: they have {edges_gan:.2f} of those of real digits, draws of the VAE '
        '{edges_vae:.2f}. For the likelihood the VAE: {nll_vae:.0f} nats a digit against {nll_gan:.0f}. That the GAN '
        'covers less is not seen: {coverage_gan:.2f} against {coverage_vae:.2f}.',
        lambda n: n['nll_vae'] < n['nll_gan'] and n['edges_vae'] < n['edges_gan'],
    ),
    Question(
        'If half of a shape is hidden, is one mask the answer?',
        'segmentation',
        'As the one to bet on: it overlaps with the truth by {iou:.2f}, one draw of a conditional VAE by '
        '{iou_cvae:.2f}. As knowledge no: the truth is {gain:.1f} nats likelier under the draws, the best of which '
        'overlaps by {iou_best:.2f}.',
        lambda n: n['gain'] > 1 and n['iou_best'] > n['iou'],
    ),
)


def answered(found: Mapping[str, Mapping[str, Any]]) -> list[tuple[Question, str]]:
    """Each question with its answer, the numbers filled in; of items that were not run, that."""
    told = []
    for question in QUESTIONS:
        if question.item not in found:
            told.append((question, f'Not run: {question.item}.'))
            continue
        numbers = found[question.item]['numbers']
        told.append((question, question.answer.format(**numbers)))
    return told

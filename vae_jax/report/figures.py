"""The pictures of a report, each with its caption: which of them there are follows from the arrays there are."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_jax import plot
from vae_jax.errors import Fault

EXAMPLES = {'x': 1, 'reconstructions': 1, 'samples': 1, 'interpolations': 2, 'manifold': 2}  # axes before an example's
OTHERS = {'codes': 2, 'labels': 1, 'rate_per_dim': 1}  # all of their axes
_PAIRS, _DRAWS, _PATHS, _DOTS = 32, 64, 10, 10_000  # as many as one can look at


class Figure(NamedTuple):
    """A picture with what one sees in it: PNG bytes for light and, where they differ, dark pages."""

    heading: str
    caption: str
    alt: str
    light: bytes
    dark: bytes | None = None


class _Plan(NamedTuple):
    """A figure before it is drawn; `draw(path, theme)` where the colours of the page matter, else `draw(path)`."""

    name: str
    heading: str
    caption: str
    alt: str
    draw: Callable[..., bytes]
    themed: bool = True


def figures_of(
    arrays: Mapping[str, np.ndarray], folder: Path, split: str, flags: Sequence[str]
) -> tuple[list[Figure], list[str]]:
    """(figures, remarks on what could not be drawn); every figure is also `folder`/<name>.png."""
    shape = _checked(arrays)
    plans = [*(_images if _is_image(shape) else _vectors)(arrays, split), *_latents(arrays, split)]
    marks = f' ({"; ".join(flags)})' if flags else ''
    made = []
    for plan in plans:
        path = folder / f'{plan.name}.png'
        light = plan.draw(path, plot.LIGHT) if plan.themed else plan.draw(path)
        dark = plan.draw(None, plot.DARK) if plan.themed else None
        made.append(Figure(plan.heading, plan.caption + marks, plan.alt, light, dark))
    lost = 'manifold' in arrays and not _is_image(shape)
    return made, ['The manifold is not drawn: its points are vectors, not images.'] if lost else []


def _checked(arrays: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    shapes = {}
    for name, values in arrays.items():
        lead = EXAMPLES.get(name)
        if not values.size or (values.ndim <= lead if lead else values.ndim != OTHERS[name]):
            axes = f'{lead} axes before those of an example' if lead else f'{OTHERS[name]} axes'
            raise Fault(f'{name} has shape {values.shape}', f'give a non-empty array with {axes}')
        if lead:
            shapes[name] = values.shape[lead:]
    if len(set(shapes.values())) > 1:
        raise Fault(f'examples of several shapes: {shapes}', 'give every array in the shape of the data')
    if 'reconstructions' in arrays and len(arrays.get('x', ())) < len(arrays['reconstructions']):
        raise Fault('reconstructions without their x', "give the examples they were made from as arrays['x']")
    return next(iter(shapes.values()), ())


def _is_image(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[-1] in (1, 3))


def _images(arrays: Mapping[str, np.ndarray], split: str) -> Iterator[_Plan]:
    grey, words = _for_the_eye({name: values for name, values in arrays.items() if name in EXAMPLES})
    if 'reconstructions' in grey:
        hat = grey['reconstructions'][:_PAIRS]
        caption = f'Rows in pairs: {len(hat)} {split} examples above, their reconstructions below.{words}'
        alt = f'{len(hat)} pairs of images, the original above its reconstruction'
        yield _Plan(
            'reconstructions',
            'Reconstructions',
            caption,
            alt,
            lambda path: plot.reconstructions(grey['x'][: len(hat)], hat, path),
            False,
        )
    if 'samples' in grey:
        drawn = grey['samples'][:_DRAWS]
        caption, alt = f'{len(drawn)} draws from the prior, decoded.{words}', f'A grid of {len(drawn)} generated images'
        yield _Plan('samples', 'Samples', caption, alt, lambda path: plot.grid(drawn, path), False)
    if 'interpolations' in grey:
        walks = grey['interpolations'][:_PATHS]
        steps = walks.shape[1]
        caption = f'Each row walks from the code of one {split} example to that of another in {steps} steps.{words}'
        alt = f'{len(walks)} rows of {steps} images that change little by little'
        yield _Plan(
            'interpolations', 'Interpolations', caption, alt, lambda path: plot.interpolations(walks, path), False
        )
    if 'manifold' in grey:
        high, wide = grey['manifold'].shape[:2]
        caption = (
            f'The two latent dimensions on a lattice of {wide} by {high}, every point decoded in its place.{words}'
        )
        alt = f'{wide} by {high} images side by side that change little by little'
        yield _Plan('manifold', 'Manifold', caption, alt, lambda path: plot.manifold(grey['manifold'], path), False)


def _for_the_eye(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], str]:
    """Pixels in [0, 1]: the data's own range where they leave it, with what a model puts beyond it clipped."""
    low, high = 0.0, 1.0
    first = next(iter(arrays.values()), np.zeros(1))
    if first.min() < 0 or first.max() > 1:
        low, high = float(first.min()), float(first.max())
    stretched = {name: (values - low) / ((high - low) or 1.0) for name, values in arrays.items()}
    beyond = any(values.min() < -0.01 or values.max() > 1.01 for values in stretched.values())
    words = f' Black is {low:.3g} or less, white {high:.3g} or more.' if beyond or (low, high) != (0, 1) else ''
    return {name: values.clip(0, 1) for name, values in stretched.items()}, words


def _vectors(arrays: Mapping[str, np.ndarray], split: str) -> Iterator[_Plan]:
    flat = {
        name: values.reshape(*values.shape[: EXAMPLES[name]], -1) for name, values in arrays.items() if name in EXAMPLES
    }
    wide = next(iter(flat.values())).shape[-1] if flat else 0
    rows = 'Every row is one example, every column a dimension.' if wide > 2 else ''

    def plan(name: str, heading: str, caption: str, sets: Mapping[str, Any]) -> _Plan:
        caption = f'{caption} {rows}'.strip()
        return _Plan(name, heading, caption, caption, lambda path, theme: plot.vectors(sets, path, theme))

    most = _DRAWS if wide > 2 else 2000
    if 'reconstructions' in flat:
        hat = flat['reconstructions'][:most]
        caption = f'{len(hat)} {split} examples and their reconstructions.'
        yield plan(
            'reconstructions', 'Reconstructions', caption, {'data': flat['x'][: len(hat)], 'reconstructions': hat}
        )
    if 'samples' in flat:
        drawn = flat['samples'][:most]
        beside = {'data': flat['x'][: len(drawn)]} if 'x' in flat else {}
        caption = f'{len(drawn)} draws from the prior, decoded{", beside data" if beside else ""}.'
        yield plan('samples', 'Samples', caption, {**beside, 'samples': drawn})
    if 'interpolations' in flat:
        walks = flat['interpolations'][:4]
        caption = f'{len(walks)} walks from the code of one {split} example to that of another.'
        yield plan('interpolations', 'Interpolations', caption, {f'walk {i + 1}': walk for i, walk in enumerate(walks)})


def _latents(arrays: Mapping[str, np.ndarray], split: str) -> Iterator[_Plan]:
    if 'codes' in arrays:
        codes, labels = arrays['codes'], arrays.get('labels')
        if labels is not None and len(labels) != len(codes):
            raise Fault(f'{len(labels)} labels for {len(codes)} codes', 'give one label for each code, or none')
        kept = np.unique(np.linspace(0, len(codes) - 1, min(len(codes), _DOTS)).astype(int))
        codes, labels = codes[kept], None if labels is None else labels[kept]
        caption = f'The codes of {len(kept):,} {split} examples{"" if labels is None else ", coloured by label"}.'
        draw = lambda path, theme: plot.latent(codes, labels, path, theme)
        yield _Plan('latent', 'Latent space', caption, f'Scatter plot: {caption}', draw)
    if 'rate_per_dim' in arrays:
        rate = arrays['rate_per_dim']
        caption = (
            f'KL of each latent dimension, mean over {split} examples. Those near zero say nothing about the data.'
        )
        alt = f'Bars for {len(rate)} latent dimensions, from {rate.max():.3g} down to {rate.min():.3g} nats'
        yield _Plan('rates', 'Rate by dimension', caption, alt, lambda path, theme: plot.rates(rate, path, theme))

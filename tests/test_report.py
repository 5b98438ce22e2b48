"""A report is one file that asks for nothing, shows what there is and no more, and trusts no text."""

import json
import re

import numpy as np
import pytest

from tests.pages import Reader
from vae_jax import plot
from vae_jax.errors import Fault
from vae_jax.report import Figure, Table, headlines, run_report, write
from vae_jax.report.page import shown

RESULT = {
    'test_elbo': -20.1143,
    'test_elbo_se': 0.1132,
    'test_elbo_bits_per_dim': 0.45341,
    'test_elbo_bits_per_dim_se': 0.00255,
    'test_log_p': -19.2,
    'test_log_p_se': 0.11,
    'k': 5000,
    'effective_samples': 412.31,
    'wall_s': 41.2,
}
METRICS = [
    {'step': 10 * i, 'epoch': i, 'train/loss': 30 / i, 'wall_s': float(i)}
    | ({'validation/loss': 31 / i} if i % 2 else {})
    for i in range(1, 30)
]


def arrays(shape=(8, 8, 1), latent=3):
    rng = np.random.default_rng(0)
    return {
        'x': rng.uniform(size=(6, *shape)),
        'reconstructions': rng.uniform(size=(6, *shape)),
        'samples': rng.uniform(size=(9, *shape)),
        'interpolations': rng.uniform(size=(2, 5, *shape)),
        'manifold': rng.uniform(size=(3, 3, *shape)),
        'codes': rng.normal(size=(50, latent)),
        'labels': np.arange(50) % 4,
        'rate_per_dim': rng.gamma(1.0, size=latent),
    }


def report(directory, **changes):
    given = {'title': 'A run', 'result': RESULT, 'metrics': METRICS, 'arrays': arrays(), 'config': {'lr': 1e-3}}
    return run_report(directory, **(given | {'command': 'python -m experiments.vae'} | changes))


def read(path):
    return Reader(path.read_text(encoding='utf-8'))


@pytest.fixture(scope='module')
def usual(tmp_path_factory):
    return read(report(tmp_path_factory.mktemp('usual')))


def test_the_page_asks_the_network_for_nothing(usual):
    page = usual
    for tag, attributes in page.tags:
        for name in ('src', 'href', 'srcset', 'action', 'poster', 'data', 'xlink:href', 'style'):
            assert attributes.get(name, 'data:').startswith('data:'), (tag, name)
    assert 'url(' not in page.styles
    assert '@import' not in page.styles
    assert all('src' not in script for script in page.all('script'))
    policy = next(meta['content'] for meta in page.all('meta') if 'http-equiv' in meta)
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert 'unsafe' not in policy


def test_the_page_can_be_found_read_aloud_and_read_small(usual):
    page = usual
    assert page.all('html') == [{'lang': 'en'}]
    assert any(meta.get('name') == 'viewport' for meta in page.all('meta'))
    assert len(page.all('h1')) == 1
    images = page.all('img')
    assert images
    assert all(image['alt'].strip() and int(image['width']) and int(image['height']) for image in images)
    charts = [svg for svg in page.all('svg') if svg.get('class') == 'chart']
    assert [svg['aria-label'] for svg in charts] == [
        'loss over steps: train/loss from 30.00 to 1.034; validation/loss from 31.00 to 1.069'
    ]


HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>&amp;\x00\u202e\ud800$^_$\'</title></script>'


def test_no_text_of_a_user_becomes_markup(tmp_path, usual):
    changes = {
        'title': HOSTILE,
        'command': HOSTILE,
        'config': {HOSTILE: HOSTILE},
        'environment': {HOSTILE: [HOSTILE]},
        'notes': [HOSTILE, f'data: stand-in {HOSTILE}'],
        'result': RESULT | {HOSTILE: 1.0, f'{HOSTILE}_se': 0.5, 'path': HOSTILE},
        'metrics': [{**row, f'train/{HOSTILE}': 1.0} for row in METRICS],
        'arrays': arrays() | {'labels': np.array([HOSTILE.replace('\x00', '').replace('\ud800', ''), 'b'] * 25)},
        'split': HOSTILE,
    }
    page = read(report(tmp_path, **changes))
    assert len(page.all('script')) == len(usual.all('script')) == 1
    assert len(page.all('img')) == len(usual.all('img'))
    assert not any(name.startswith('on') for _, attributes in page.tags for name in attributes)
    assert page.text.count('<script>alert(1)</script>') >= 8
    assert '\x00' not in page.text
    assert '\u202e' not in page.text


def test_equal_arrays_give_equal_bytes(tmp_path):
    first, second = report(tmp_path / 'a'), report(tmp_path / 'b')
    assert first.read_bytes() == second.read_bytes()
    names = sorted(path.name for path in (tmp_path / 'a/figures').iterdir())
    assert names == sorted(
        f'{name}.png'
        for name in ('curves', 'interpolations', 'latent', 'manifold', 'rates', 'reconstructions', 'samples')
    )
    for name in names:
        png = (tmp_path / 'a/figures' / name).read_bytes()
        assert png == (tmp_path / 'b/figures' / name).read_bytes()
        assert not {b'tEXt', b'iTXt', b'tIME', b'zTXt'} & {png[i : i + 4] for i in range(len(png))}
    assert not [path for path in tmp_path.rglob('*') if 'tmp' in path.name]


SECTIONS = {
    'reconstructions': 'Reconstructions',
    'samples': 'Samples',
    'interpolations': 'Interpolations',
    'manifold': 'Manifold',
    'codes': 'Latent space',
    'rate_per_dim': 'Rate by dimension',
}


@pytest.mark.parametrize('name', SECTIONS)
def test_a_section_is_there_exactly_when_its_array_is(tmp_path, name):
    every = arrays()
    needed = {name: every[name]} | ({'x': every['x']} if name == 'reconstructions' else {})
    only = read(report(tmp_path / 'only', arrays=needed, metrics=[]))
    assert [heading for heading in only.headings if heading in SECTIONS.values()] == [SECTIONS[name]]
    rest = read(report(tmp_path / 'rest', metrics=[], arrays={key: every[key] for key in every if key != name}))
    assert set(SECTIONS.values()) - set(rest.headings) == {SECTIONS[name]}


def test_what_is_absent_leaves_no_heading(tmp_path):
    page = read(write(tmp_path / 'r.html', title='Nothing'))
    assert page.headings == []
    page = read(report(tmp_path, metrics=[], arrays={}))
    assert page.headings == ['Further results', 'How to reproduce', 'Configuration']


def test_numbers_carry_their_error_and_unit(tmp_path):
    page = read(report(tmp_path, arrays={}, config={'hyper': {'lr': 1e-3}, 'hidden': [500, 200]}))
    for text in (
        '\u221220.11 \u00b1 0.11 nats',
        '0.4534 \u00b1 0.0026 bits/dim',
        'with k = 5,000',
        '\u221219.20 \u00b1 0.11',
    ):
        assert text in page.text
    for text in ('hyper.lr', '0.001', '500, 200', 'effective_samples', '412.3', 'python -m experiments.vae'):
        assert text in page.text
    numbers, rest = headlines(RESULT)
    assert [number.label for number in numbers] == ['Test ELBO', 'Test log p(x)']
    assert set(rest) == {'k', 'effective_samples', 'wall_s'}


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        (0, '0'),
        (-1234567, '\u22121,234,567'),
        (0.0, '0'),
        (-20.1143, '\u221220.11'),
        (1234.5, '1,234'),
        (3e-7, '3e\u221207'),
        (float('nan'), 'nan'),
        (float('-inf'), '\u2212\u221e'),
        (True, 'True'),
        (None, 'None'),
        (np.float32(0.5), '0.5000'),
        ('nan', 'nan'),
    ],
)
def test_numbers_for_people(value, text):
    assert shown(value) == text


def test_flags_stand_under_the_title_and_in_every_caption(tmp_path, usual):
    notes = ['data: stand-in', 'not a likelihood: grey pixels', 'Another remark.']
    path = report(tmp_path, result=RESULT | {'notes': notes}, notes=notes)
    captions = re.findall('<figcaption>(.*?)</figcaption>', path.read_text())
    drawn = [caption for caption in captions if 'start of training' not in caption]
    assert len(drawn) == 6
    assert all('(data: stand-in; not a likelihood)' in caption for caption in drawn)
    text = read(path).text
    assert 'data: stand-in; not a likelihood: grey pixels' in text
    assert text.count('Another remark.') == 1
    assert 'lower bound on log p(x)' not in text
    assert 'stand-in' not in usual.text


def test_the_environment_is_what_the_run_stored(tmp_path):
    (tmp_path / 'config.json').write_text(
        json.dumps({'config': {'secret': 1}, 'environment': {'versions': {'jax': '9.8.7'}}})
    )
    page = read(report(tmp_path, arrays={}))
    assert 'Environment' in page.headings
    assert 'versions.jax' in page.text
    assert '9.8.7' in page.text
    assert 'secret' not in page.text


@pytest.mark.parametrize('shape', [(1,), (2,), (12,), (3, 4, 2)])
def test_vectors_are_drawn_without_images_and_their_manifold_is_declined(tmp_path, shape):
    page = read(report(tmp_path, arrays=arrays(shape, latent=2)))
    assert set(SECTIONS.values()) - set(page.headings) == {'Manifold'}
    assert 'The manifold is not drawn' in page.text


def test_pixels_beyond_the_data_are_clipped_and_said_so(tmp_path):
    some = {'x': np.zeros((2, 4, 4)), 'reconstructions': np.full((2, 4, 4), 1.5)}
    some['x'][0, 0, 0] = 1
    assert 'white 1 or more' in read(report(tmp_path / 'a', arrays=some)).text
    some = {'x': np.linspace(-3, 5, 32).reshape(2, 4, 4)}
    some['samples'] = some['x']
    assert 'Black is -3 or less, white 5 or more.' in read(report(tmp_path / 'b', arrays=some)).text


def test_a_long_curve_keeps_its_spike_and_drops_what_is_not_finite(tmp_path):
    rows = [{'step': i, 'train/loss': 1.0 + i % 2} for i in range(20_000)]
    rows[9_999]['train/loss'] = 7.25
    rows[10_000]['train/loss'] = float('nan')
    chart = next(svg for svg in read(report(tmp_path, metrics=rows)).all('svg') if svg.get('class') == 'chart')
    data = json.loads(chart['data-chart'])
    assert len(data['y'][0]) <= 402
    assert max(data['y'][0]) == 7.25
    assert (data['x'][0][0], data['x'][0][-1]) == (0, 19_999)


def test_a_failing_report_leaves_the_old_one(tmp_path):
    old = report(tmp_path, arrays={}).read_bytes()
    with pytest.raises(Fault):
        report(tmp_path, arrays={'codes': np.zeros(3)})
    assert (tmp_path / 'report.html').read_bytes() == old


def test_a_table_and_a_figure_of_ones_own(tmp_path):
    png = plot.grid(np.zeros((1, 2, 2)))
    path = write(
        tmp_path / 'sweep.html',
        title='Sweep',
        tables=[Table('<i>Members', ['<i>beta', 'ELBO'], [[0.5, -20.0], ['<i>', None]])],
        figures=[Figure('<i>Beta', '<i>One point.', '"><i>', png)],
    )
    page = read(path)
    assert page.headings == ['What it learned', '<i>Beta', '<i>Members']
    assert len(page.all('td')) == 4
    assert not page.all('i')


IMAGES = np.zeros((4, 3, 3))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'arrays': {'sample': IMAGES}}, "'sample' for a report; fix: did you mean 'samples'"),
        ({'arrays': {'reconstructions': IMAGES}}, "arrays\\['x'\\]"),
        ({'arrays': {'x': IMAGES, 'samples': np.zeros((4, 3, 4))}}, 'several shapes'),
        ({'arrays': {'codes': np.zeros((4, 2)), 'labels': np.zeros(3)}}, '3 labels for 4 codes'),
        ({'arrays': {'samples': np.zeros(3)}}, 'samples has shape'),
    ],
)
def test_a_report_refuses_arrays_that_do_not_fit(tmp_path, changes, message):
    with pytest.raises(Fault, match=message):
        report(tmp_path, **changes)

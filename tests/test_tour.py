"""The tour: each item's claims hold at smoke size on what is always there; its text, header, page and table follow."""

import json
import re
from pathlib import Path
from string import Formatter

import numpy as np
import pytest

from experiments import tour
from experiments.tour import __main__ as command
from experiments.tour import page, quiz, telling
from experiments.tour.headlines import HEADLINES
from tests.pages import Reader
from vae_jax import plot
from vae_jax.errors import Fault

ROOT = Path(__file__).parent.parent
HERE = ROOT / 'experiments/tour'
QUICK = ()  # the others take seconds each


def smoke(item, tmp_path):
    """What an item tells at smoke size, where no data are prepared."""
    return telling.keep(item, telling.Asked(data_dir=str(tmp_path / 'no data here'), smoke=True), tmp_path / item)


@pytest.mark.parametrize(
    'item', [pytest.param(item, marks=[] if item in QUICK else [pytest.mark.slow]) for item in tour.ITEMS]
)
def test_the_claims_of_an_item_hold_at_smoke_size(item, tmp_path):
    found = smoke(item, tmp_path)
    assert found['claims'] and not [sentence for sentence, holds in found['claims'].items() if not holds]
    assert found['figures'] and all(len(figure['alt']) > 20 and figure['caption'] for figure in found['figures'])
    assert (tmp_path / item / f'{item}-0.png').read_bytes()[:4] == b'\x89PNG'
    text = (HERE / f'text/{item}.md').read_text().format(**found['numbers'])
    assert len(text.split()) > 60 and '#' not in text.replace('C#', '')
    assert json.loads((tmp_path / item / 'told.json').read_text()) == json.loads(json.dumps(found))


def test_the_first_dataset_that_is_at_hand_is_taken(tmp_path):
    asked = telling.Asked(data_dir=str(tmp_path))
    assert telling.prepared(asked, 'mnist', 'digits') == 'digits'
    assert telling.prepared(asked, 'sprites', 'digits') == 'sprites'
    assert telling.prepared(asked._replace(smoke=True), 'sprites', 'digits') == 'digits'
    assert telling.prepared(asked, 'mnist', 'frey_faces') == 'frey_faces'  # which has a stand-in


@pytest.mark.parametrize('item', tour.ITEMS)
def test_an_item_is_short_and_says_what_it_shows(item):
    text = (HERE / f'{item}.py').read_text()
    assert len(text.splitlines()) < 120
    said = telling.header(telling.module_of(item))
    assert {'title', 'claim', 'equation', 'command', 'expected', 'time'} <= set(said)
    assert said['command'].startswith(f'python -m experiments.tour.{item}') and re.search(r'\d', said['expected'])


def test_every_file_of_the_tour_is_an_item():
    others = {'__init__', '__main__', 'telling', 'page', 'quiz', 'headlines', 'regions'}
    assert {path.stem for path in HERE.glob('*.py')} - others == set(tour.ITEMS)
    assert {path.stem for path in (HERE / 'text').glob('*.md')} - {'introduction'} == set(tour.ITEMS)


def told(item):
    """What an item could have told: 1 for every number that its text and the quiz name."""
    texts = [
        (HERE / f'text/{item}.md').read_text(),
        HEADLINES[item],
        *(q.answer for q in quiz.QUESTIONS if q.item == item),
    ]
    names = {name for text in texts for _, name, *_ in Formatter().parse(text) if name}
    return {
        'numbers': dict.fromkeys(sorted(names), 1.0) | {'one': 1.0, 'one_se': 0.1},
        'claims': {'it <holds>': True, 'it does not': False},
        'figures': [{'heading': 'what', 'caption': 'seen', 'alt': 'a <picture>'}],
        'tables': [{'heading': 'rows', 'header': ['a', 'b'], 'rows': [['x', 0.5]]}],
        'notes': ['data: stand-in for it'],
        'seeds': 3,
        'seconds': 2.0,
        'machine': 'one core',
        'date': 'today',
    }


@pytest.fixture
def finished(tmp_path):
    """(what all items told but the last, the folder of their pictures)."""
    found = {item: told(item) for item in tour.ITEMS[:-1]}
    for item in found:
        plot.grid(np.zeros((1, 2, 2)), tmp_path / item / f'{item}-0.png')
    return found, tmp_path


def test_the_page_needs_no_network_and_shows_every_item(finished):
    found, folder = finished
    text = page.write(found, folder).read_text()
    read = Reader(text)
    assert [a['id'] for a in read.all('section')] == [*tour.ITEMS, 'quiz']
    links = [a['href'] for a in read.all('a')]
    assert [link for link in links if link[0] == '#'] == [f'#{item}' for item in (*tour.ITEMS, 'quiz')]
    assert all(link.startswith(('#', 'https://')) for link in links)
    assert all(a['alt'] == 'a <picture>' and a['src'].startswith('data:') for a in read.all('img'))
    assert len(read.all('img')) == len(tour.ITEMS) - 1 and text.count('Not run.') == 1
    assert "default-src 'none'" in text and 'Held: It &lt;holds&gt;.' in text and 'Did not hold: It does not.' in text
    assert read.text.count('data: stand-in for it') == len(tour.ITEMS) - 1 and '1.00 ± 0.10' in read.text
    assert len(read.all('details')) == len(tour.ITEMS) - 1 + len(quiz.QUESTIONS)


def test_the_document_and_the_table_say_what_was_found_and_what_was_not_run(finished):
    found, _ = finished
    text = page.markdown(found)
    for i, item in enumerate(tour.ITEMS, 1):
        assert f'## {i}. {telling.header(telling.module_of(item))["title"]}\n' in text
        assert (f'![a <picture>](tour/{item}.png)' in text) == (item in found)
    assert text.count('Not run.') == 1 and '3 seeds, 2 s, one core, today' in text
    rows = page.table(found).splitlines()
    assert len([row for row in rows if row.startswith('| `')]) == len(found) and '| not run |' in rows[-1]
    assert list(page.lost(found)) == list(tour.ITEMS)  # one was not run, of each of the others a claim did not hold


def test_the_quiz_is_answered_by_numbers_that_items_tell():
    assert len(quiz.QUESTIONS) >= 12 and all(question.item in tour.ITEMS for question in quiz.QUESTIONS)
    held = page.stored()
    assert set(held) == set(tour.ITEMS)
    for question in quiz.QUESTIONS:
        assert question.holds(held[question.item]['numbers']), question.asked


def test_what_is_committed_is_what_was_stored():
    held = page.stored()
    assert (ROOT / 'docs/tour.md').read_text() == page.markdown(held)
    assert not list(page.lost(held)) and not any(item['notes'] for item in held.values())
    shown = set(re.findall(r'\]\(tour/(.*?\.png)\)', (ROOT / 'docs/tour.md').read_text()))
    assert {path.name for path in (ROOT / 'docs/tour').glob('*.png')} == shown
    assert {f'{item}.png' for item in held} <= shown


@pytest.mark.slow
def test_the_command_goes_on_where_it_stopped_and_says_what_went_wrong(tmp_path, capsys, monkeypatch):
    asked = telling.Asked(str(tmp_path / 'none'), smoke=True)
    first, second = 'curves', 'naive'
    assert command.tour([first], asked, tmp_path / 'out', 1) == []
    before = (tmp_path / f'out/{first}/told.json').stat().st_mtime_ns
    assert command.tour([first, second], asked, tmp_path / 'out', 1) == []
    assert (tmp_path / f'out/{first}/told.json').stat().st_mtime_ns == before
    assert f'1/1 {second}: done' in capsys.readouterr().err
    assert telling.kept(first, asked._replace(seed=1), tmp_path / 'out' / first) is None
    with pytest.raises(Fault, match='did you mean'):
        command.tour(['curvse'], asked, tmp_path / 'out', 1)

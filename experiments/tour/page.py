"""The tour as one offline page, as docs/tour.md, and as rows of experiments/README.md: all from what items told."""

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from experiments import documents
from experiments.tour import ITEMS, quiz, telling
from experiments.tour.headlines import HEADLINES

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
STORED = HERE.parent / 'results' / 'tour.json'
DOCS = ROOT / 'docs' / 'tour'
Found = Mapping[str, Mapping[str, Any]]  # what each item told, by its name


def stored() -> dict[str, Any]:
    """What the items told when they were last stored, by name."""
    return json.loads(STORED.read_text())['items'] if STORED.exists() else {}


def words(item: str, found: Mapping[str, Any]) -> str:
    """The text of an item with its numbers filled in."""
    return (HERE / f'text/{item}.md').read_text().strip().format(**found['numbers'])


def introduction() -> str:
    """The text before the first item."""
    return (HERE / 'text/introduction.md').read_text().strip()


def told_by(found: Mapping[str, Any]) -> str:
    """Seeds, time and machine of what was measured, in a line."""
    seeds = f'{found["seeds"]} seeds' if found['seeds'] > 1 else 'one seed'
    return f'{seeds}, {found["seconds"]:.0f} s, {found["machine"]}, {found["date"]}'


def _claims(found: Mapping[str, Any]) -> list[str]:
    said = {f'{claim[0].upper()}{claim[1:].rstrip(".")}.': holds for claim, holds in found['claims'].items()}
    return [f'{"Held" if holds else "Did not hold"}: {claim}' for claim, holds in said.items()]


def _places(item: str, told: Mapping[str, Any]) -> list[str]:
    """The files of an item's pictures in docs/tour."""
    return [f'{item}-{i}.png' if i else f'{item}.png' for i in range(len(told['figures']))]


def _rows(header: Iterable[Any], rows: Iterable[Iterable[Any]]) -> str:
    from vae_jax.report import shown

    return documents.markdown(map(shown, header), (map(shown, row) for row in rows))


def markdown(found: Found) -> str:
    """docs/tour.md."""
    parts = [
        introduction(),
        'Written by `python -m experiments.tour --store`; no number that was measured is typed in.',
    ]
    for i, item in enumerate(ITEMS, 1):
        said = telling.header(telling.module_of(item))
        parts.append(f'## {i}. {said["title"]}')
        if item not in found:
            parts.append('Not run.')
            continue
        told = found[item]
        parts.append(words(item, told))
        for place, figure in zip(_places(item, told), told['figures']):
            parts += [f'![{figure["alt"]}](tour/{place})', f'*{figure["caption"]}*']
        parts += [f'**{t["heading"]}**\n\n{_rows(t["header"], t["rows"])}' for t in told['tables']]
        parts += [f'    {said["equation"]}', '\n'.join(f'- {claim}' for claim in _claims(told))]
        parts.append(f'`{said["command"]}`: {told_by(told)}. {" ".join(told["notes"])}'.strip())
    parts.append(f'## {len(ITEMS) + 1}. Quiz')
    parts += [f'**{question.asked}** {answer}' for question, answer in quiz.answered(found)]
    return '\n\n'.join(parts) + '\n'


def table(found: Found | None = None) -> str:
    """The items as a Markdown table, of what was stored if nothing else is given: claim, numbers, seeds, time."""
    found = stored() if found is None else found
    columns = ['item', 'claim', 'numbers', 'seeds', 'time, s']
    lines = []
    for item in ITEMS:
        if item not in found:
            lines.append([item, *['not run'] * (len(columns) - 1)])
            continue
        told = found[item]
        numbers, said = told['numbers'], telling.header(telling.module_of(item))
        each = {name: telling.number(value, numbers.get(f'{name}_se')) for name, value in numbers.items()}
        shown = HEADLINES[item].format(**each)
        cells = [f'`{item}`', said['claim'], shown, str(told['seeds']), f'{told["seconds"]:.0f}']
        lines.append(cells)
    made = sorted({f'{told["machine"]}, {told["date"]}' for told in found.values()})
    head = f'What they show: [docs/tour.md](../docs/tour.md). ± is the standard error over seeds. {"; ".join(made)}.'
    return f'{head}\n\n{documents.markdown(columns, lines)}'


def _figures(item: str, told: Mapping[str, Any], folder: Path) -> str:
    from vae_jax.report.page import broad, pictured

    drawn = []
    for i, figure in enumerate(told['figures']):
        light, dark = folder / item / f'{item}-{i}.png', folder / item / f'{item}-{i}-dark.png'
        twin = dark.read_bytes() if dark.exists() else None
        made = pictured(figure['heading'], figure['caption'], figure['alt'], light.read_bytes(), twin)
        drawn.append(f'<div class="broad">{made}</div>' if broad(light.read_bytes()) else made)
    return f'<div class="figures">{"".join(drawn)}</div>'


def _section(number: int, item: str, told: Mapping[str, Any] | None, folder: Path) -> str:
    from markdown_it import MarkdownIt

    from vae_jax.report.page import esc, listed, tabulated

    said = telling.header(telling.module_of(item))
    head = f'<section id="{item}"><h2>{number}. {esc(said["title"])}</h2>\n'
    if told is None:
        return f'{head}<p class="flags">Not run.</p></section>'
    marks = ''.join(f'<p class="flags">{esc(note)}</p>' for note in told['notes'])
    held = ''.join(f'<li>{esc(claim)}</li>' for claim in _claims(told))
    numbers = {
        name.replace('_', ' '): telling.number(value, told['numbers'].get(f'{name}_se'))
        for name, value in told['numbers'].items()
        if not name.endswith('_se')
    }
    tables = ''.join(f'<h3>{esc(t["heading"])}</h3>{tabulated(t["header"], t["rows"])}' for t in told['tables'])
    equation = f'<pre class="equation">{esc(said["equation"])}</pre>'
    rest = f'<details><summary>All numbers</summary>{listed(numbers)}</details>'
    source = f'<p class="soft"><code>{esc(said["command"])}</code>: {esc(told_by(told))}</p>'
    text = MarkdownIt('js-default').render(words(item, told))  # this preset lets no HTML through
    figures = _figures(item, told, folder)
    return f'{head}{marks}{text}{equation}{figures}{tables}<ul>{held}</ul>{rest}{source}</section>'


def write(found: Found, folder: Path) -> Path:
    """One page with all pictures inside, which asks the network for nothing: folder/tour.html."""
    from markdown_it import MarkdownIt

    from vae_jax import plot
    from vae_jax.report.page import document, esc

    titles = [telling.header(telling.module_of(item))['title'] for item in ITEMS]
    links = ''.join(f'<li><a href="#{item}">{esc(title)}</a></li>' for item, title in zip(ITEMS, titles, strict=True))
    parts = [MarkdownIt('js-default').render(introduction())]
    parts.append(f'<nav aria-label="items"><ol>{links}<li><a href="#quiz">Quiz</a></li></ol></nav>')
    parts += [_section(i, item, found.get(item), folder) for i, item in enumerate(ITEMS, 1)]
    asked = ''.join(
        f'<details><summary>{esc(question.asked)}</summary><p>{esc(answer)}</p></details>'
        for question, answer in quiz.answered(found)
    )
    parts.append(f'<section id="quiz"><h2>{len(ITEMS) + 1}. Quiz</h2>{asked}</section>')
    return plot.put(folder / 'tour.html', document('A tour of variational autoencoders', '\n'.join(parts)).encode())


def store(found: Found, folder: Path) -> None:
    """experiments/results/tour.json, docs/tour.md and its pictures, in 128 colours."""
    from PIL import Image

    from vae_jax import plot, runs

    document: dict[str, Any] = {
        'command': 'python -m experiments.tour --store',
        'date': documents.today(),
        'items': {item: found[item] for item in ITEMS if item in found},
    }
    runs.write_json(STORED, document)
    for item, told in document['items'].items():
        for i, place in enumerate(_places(item, told)):
            out = io.BytesIO()
            with Image.open(folder / item / f'{item}-{i}.png') as image:
                image.convert('RGB').quantize(128, dither=Image.Dither.NONE).save(out, 'png', optimize=True)
            plot.put(DOCS / place, out.getvalue())
    plot.put(ROOT / 'docs' / 'tour.md', markdown(stored()).encode())


def lost(found: Found) -> Iterable[str]:
    """Items that there are no numbers of, or of which a claim did not hold."""
    return [item for item in ITEMS if item not in found or not all(found[item]['claims'].values())]

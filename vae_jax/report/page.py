"""The page of a report: one HTML file that asks the network for nothing, readable on a telephone and in the dark.

Whatever came from a user passes through `esc`. A content security policy names the style and the script by their
hashes, so that the browser itself refuses anything else.
"""

import base64
import hashlib
import html
import math
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from vae_jax.statistics import places

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1f2328;--soft:#59626d;--line:#e3e6ea;--wash:#f5f6f8;--warn:#8a4600;
--c0:#2f6fad;--c1:#b4580a;--c2:#6b3fa0;--c3:#3d7a46}
@media (prefers-color-scheme:dark){:root{--paper:#15171a;--ink:#e4e6e9;--soft:#a2a9b3;--line:#2b2f35;--wash:#1c1f23;
--warn:#f0b266;--c0:#6aa9de;--c1:#eb9a4c;--c2:#b795e0;--c3:#7fbf8a}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,sans-serif;
-webkit-text-size-adjust:100%}
main{max-width:1040px;margin:0 auto;padding:48px 24px 72px}
h1{font-size:1.75rem;line-height:1.25;font-weight:600;letter-spacing:-.01em;margin:0;overflow-wrap:anywhere}
h2{font-size:1.125rem;font-weight:600;margin:0 0 20px}
h3{font-size:1rem;font-weight:600;margin:0 0 10px}
h3 small{font-weight:400}
p{margin:0 0 12px;max-width:44rem}
section{margin-top:56px}
.flags{margin:12px 0 0;color:var(--warn);font-weight:600}
.soft,figcaption,.key,.place,h3 small{color:var(--soft);font-size:.875rem;line-height:1.5}
.numbers{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,210px),1fr));gap:32px 28px;margin:36px 0 0}
.numbers>div{border-top:2px solid var(--line);padding-top:12px}
.numbers dt{font-weight:600}
.numbers dd{margin:0;font-variant-numeric:tabular-nums}
.numbers .value{font-size:2rem;line-height:1.3;letter-spacing:-.02em;white-space:nowrap}
.numbers .value small{font-size:1rem;letter-spacing:0;color:var(--soft)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:44px 36px;
align-items:start}
.curves{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,290px),1fr));gap:32px 28px}
figure{margin:0;min-width:0}
img{display:block;max-width:100%;height:auto}
.wide{width:100%}
figcaption{margin-top:12px;max-width:36rem}
.chart{display:block;width:100%;overflow:visible;touch-action:pan-y;cursor:crosshair}
.chart text{fill:var(--soft);font-size:11px;font-variant-numeric:tabular-nums}
.chart line{stroke:var(--line)}
.chart path{fill:none;stroke-width:1.6;stroke-linejoin:round;vector-effect:non-scaling-stroke}
.chart .cursor line{stroke:var(--soft)}
.s0{stroke:var(--c0);color:var(--c0)}.s1{stroke:var(--c1);color:var(--c1)}
.s2{stroke:var(--c2);color:var(--c2)}.s3{stroke:var(--c3);color:var(--c3)}
circle{fill:currentColor;stroke:none}
.key{margin:0 0 8px;display:flex;flex-wrap:wrap;gap:2px 14px;font-variant-numeric:tabular-nums}
.key b{font-weight:600}
.head{display:flex;justify-content:space-between;align-items:baseline;gap:12px}
.notes{margin-top:32px}
pre{margin:0;padding:16px 18px;background:var(--wash);border-radius:6px;font:.875rem/1.6 ui-monospace,monospace;
white-space:pre-wrap;overflow-wrap:anywhere;user-select:all}
code{font:.875em ui-monospace,monospace;overflow-wrap:anywhere}
h1+p,pre+p{margin-top:20px}
.equation{margin:20px 0 28px}
.broad{grid-column:1/-1}.broad>figure{max-width:48rem}
ul,ol{max-width:44rem;padding-left:1.4em}
a{color:var(--c0)}
.list{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,300px),1fr));column-gap:36px;margin:0;
font-size:.875rem}
.list>div{display:flex;justify-content:space-between;gap:16px;padding:6px 0;border-bottom:1px solid var(--line)}
.list dt{color:var(--soft)}
.list dd{margin:0;text-align:right;overflow-wrap:anywhere;min-width:0;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:6px 20px 6px 0;border-bottom:1px solid var(--line)}
summary{cursor:pointer;margin:20px 0}
:focus-visible{outline:2px solid var(--c0);outline-offset:4px}
@media (max-width:600px){main{padding:28px 18px 48px}section{margin-top:44px}
.broad picture{display:block;overflow-x:auto}.broad img{width:38rem;max-width:none}}
@media print{section,figure{break-inside:avoid}}
"""

# one chart: the pointer or the arrow keys choose a step, the key above the chart shows its values
SCRIPT = """
'use strict';
for (const svg of document.querySelectorAll('svg.chart')) {
  const d = JSON.parse(svg.dataset.chart), cursor = svg.querySelector('.cursor');
  const values = svg.parentNode.querySelectorAll('.key b'), place = svg.parentNode.querySelector('.place');
  const rest = [...values].map(v => v.textContent), at = place.textContent, steps = [...new Set(d.x.flat())];
  steps.sort((a, b) => a - b);
  let now = steps.length - 1;
  const near = (xs, x) => xs.reduce((best, v, i) => Math.abs(v - x) < Math.abs(xs[best] - x) ? i : best, 0);
  const text = v => (Math.abs(v) >= 1e4 || Math.abs(v) < 1e-3 ? String(v) : v.toPrecision(4)).replace('-', '\\u2212');
  const show = i => {
    now = Math.min(Math.max(i, 0), steps.length - 1);
    const left = d.left + (steps[now] - d.low) / (d.high - d.low || 1) * d.wide;
    cursor.querySelector('line').setAttribute('x1', left);
    cursor.querySelector('line').setAttribute('x2', left);
    cursor.removeAttribute('display');
    d.x.forEach((xs, j) => {
      const k = near(xs, steps[now]), dot = cursor.querySelectorAll('circle')[j];
      dot.setAttribute('cx', d.left + (xs[k] - d.low) / (d.high - d.low || 1) * d.wide);
      const down = Math.min(Math.max((d.max - d.y[j][k]) / (d.max - d.min), 0), 1);
      dot.setAttribute('cy', d.top + down * d.tall);
      values[j].textContent = text(d.y[j][k]);
    });
    place.textContent = 'at step ' + steps[now].toLocaleString('en');
  };
  const leave = () => {
    cursor.setAttribute('display', 'none');
    values.forEach((v, j) => { v.textContent = rest[j]; });
    place.textContent = at;
  };
  svg.addEventListener('pointermove', e => {
    const box = svg.getBoundingClientRect(), x = (e.clientX - box.left) / box.width * d.width;
    show(near(steps, d.low + (x - d.left) / d.wide * (d.high - d.low)));
  });
  svg.addEventListener('pointerleave', leave);
  svg.addEventListener('blur', leave);
  svg.addEventListener('keydown', e => {
    const move = {ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: steps.length - 1}[e.key];
    if (move !== undefined) { e.preventDefault(); show(move); }
  });
}
"""


_NAMES = {'elbo': 'ELBO', 'iwae': 'IWAE bound', 'log p': 'log p(x)', 'nll': '\u2212log p(x)', 'kl': 'KL'}

# control characters, halves of surrogate pairs, and the marks that reverse the direction of text
_HIDDEN = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]')


def esc(value: Any) -> str:
    """Any value as text that can stand in HTML or in a quoted attribute; what hides or reorders text becomes U+FFFD."""
    return html.escape(_HIDDEN.sub('\ufffd', str(value)))


def shown(value: Any, decimals: int | None = None) -> str:
    """A number for people: a true minus, commas in thousands, `decimals` places or four significant figures."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return str(value)
    if not math.isfinite(value):
        return str(float(value)).replace('-', '\u2212').replace('inf', '\u221e')
    if isinstance(value, Integral):
        return f'{int(value):,}'.replace('-', '\u2212')
    value = float(value)
    if decimals is None:
        if value and not 1e-4 <= abs(value) < 1e9:
            return f'{value:.3g}'.replace('-', '\u2212')
        decimals = min(max(3 - math.floor(math.log10(abs(value))), 0), 7) if value else 0
    return f'{value:,.{decimals}f}'.replace('-', '\u2212')


def labelled(name: str) -> tuple[str, str]:
    """('test \u2212log p(x)', 'nll') of 'test_nll': a metric for people, and what it is of whatever split."""
    stem = name.removeprefix('test_').removeprefix('validation_').replace('_', ' ')
    split = name[: name.index('_')] if name.startswith(('test_', 'validation_')) else ''
    return f'{split} {_NAMES.get(stem, stem)}'.strip(), stem


def section(heading: str, content: str) -> str:
    """A headed part of the page, or nothing where there is no content."""
    return f'<section><h2>{esc(heading)}</h2>\n{content}</section>' if content else ''


def listed(values: Mapping[str, Any] | None, text: Callable[[Any], str] = str) -> str:
    """Names and values in columns; sequences joined by commas."""
    rows = []
    for name, value in (values or {}).items():
        value = ', '.join(map(text, value)) if isinstance(value, list | tuple) else text(value)
        rows.append(f'<div><dt>{esc(name)}</dt><dd>{esc(value)}</dd></div>')
    return f'<dl class="list">{"".join(rows)}</dl>' if rows else ''


def measured(numbers: Iterable[Any]) -> str:
    """The headline: each Number large, with +- one standard error of two figures, and bits/dim below it."""
    items = []
    for label, value, se, unit, bits, bits_se, meaning in numbers:
        large, error = with_error(value, se)
        lines = [
            f'<dt>{esc(label)}</dt><dd class="value">{esc(large)} <small>{esc(f"{error} {unit}".strip())}</small></dd>'
        ]
        if bits is not None:
            lines.append(f'<dd>{esc(" ".join(filter(None, with_error(bits, bits_se))))} bits/dim</dd>')
        lines.append(f'<dd class="soft">{esc(meaning)}</dd>' if meaning else '')
        items.append(f'<div>{"".join(lines)}</div>')
    return f'<dl class="numbers">{"".join(items)}</dl>' if items else ''


def with_error(value: Any, se: Any) -> tuple[str, str]:
    """A number for people and, behind a plus-minus sign, its standard error; digits as the latter has them."""
    if not (isinstance(value, Real) and isinstance(se, Real) and math.isfinite(se) and float(se) > 0):
        return shown(value), '' if se is None else f'\u00b1 {shown(se)}'
    decimals = places(float(se))
    return shown(float(value), decimals), f'\u00b1 {shown(float(se), decimals)}'


def pictured(heading: str, caption: str, alt: str, light: bytes, dark: bytes | None = None) -> str:
    """A figure with its PNG inside the page, half its pixels wide or as wide as its column, and its dark twin."""
    wide, high = struct.unpack('>II', light[16:24])
    data = [f'data:image/png;base64,{base64.b64encode(png).decode()}' for png in (light, dark) if png is not None]
    twin = f'<source media="(prefers-color-scheme:dark)" srcset="{data[1]}">' if dark is not None else ''
    size = f'width="{(wide + 1) // 2}" height="{(high + 1) // 2}"{" class=wide" if wide >= 500 else ""}'
    image = f'<img src="{data[0]}" {size} alt="{esc(alt)}">'
    words = f'<h3>{esc(heading)}</h3><picture>{twin}{image}</picture><figcaption>{esc(caption)}</figcaption>'
    return f'<figure>{words}</figure>\n'


def broad(png: bytes) -> bool:
    """Whether a picture is so much wider than high that a telephone had better show it in parts."""
    wide, high = struct.unpack('>II', png[16:24])
    return wide > 1.5 * high


def tabulated(header: Iterable[Any], rows: Iterable[Iterable[Any]]) -> str:
    """A table that scrolls sideways by itself where the screen is narrow."""
    lines = ['<tr>' + ''.join(f'<td>{esc(shown(cell))}</td>' for cell in row) + '</tr>' for row in rows]
    names = ''.join(f'<th scope="col">{esc(name)}</th>' for name in header)
    table = f'<table><thead><tr>{names}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    return f'<div class="scroll" tabindex="0">{table}</div>' if lines else ''


def document(title: str, body: str) -> str:
    """The whole page around `body`, with a policy that allows its own style, its own script and inline images only."""
    style, script = (base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in (STYLE, SCRIPT))
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{style}'; script-src 'sha256-{script}'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f'<title>{esc(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n'
        f'<script>{SCRIPT}</script>\n</body>\n</html>\n'
    )

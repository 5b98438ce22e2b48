"""The report in a real browser: no network, no complaint, every picture decoded, any width, light and dark."""

import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from experiments.tour import page as tour_page
from vae_jax.report import Table, run_report, write

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
# the pipe wants file descriptors 3 and 4 of its own process, wherever ours happen to be
LAUNCH = """
import os, sys
commands, answers = os.dup2({0}, 13), os.dup2({1}, 14)
os.dup2(commands, 3)
os.dup2(answers, 4)
os.execvp(sys.argv[1], sys.argv[1:])
"""
QUIET = (
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--remote-debugging-pipe',
)


class Page:
    """Chromium over the DevTools pipe: commands out, answers and events back, NUL between them."""

    def __init__(self, profile):
        out_read, out_write = os.pipe()
        in_read, in_write = os.pipe()
        launcher = [sys.executable, '-c', LAUNCH.format(out_read, in_write), CHROMIUM, *QUIET]
        self.process = subprocess.Popen(
            [*launcher, f'--user-data-dir={profile}', 'about:blank'],
            pass_fds=(out_read, in_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(out_read)
        os.close(in_write)
        self.write, self.read, self.buffer = out_write, in_read, b''
        self.number, self.session, self.events = 0, None, []
        deadline = time.monotonic() + 30
        while not (pages := [t for t in self('Target.getTargets')['targetInfos'] if t['type'] == 'page']):
            assert time.monotonic() < deadline, 'chromium opened no page'
            time.sleep(0.05)
        self.session = self('Target.attachToTarget', targetId=pages[0]['targetId'], flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self(f'{domain}.enable')

    def __call__(self, method, **params):
        self.number += 1
        message = {'id': self.number, 'method': method, 'params': params}
        message |= {'sessionId': self.session} if self.session else {}
        os.write(self.write, json.dumps(message).encode() + b'\0')
        while (answer := self.receive()).get('id') != self.number:
            self.events.append(answer)
        assert 'error' not in answer, (method, answer)
        return answer['result']

    def receive(self):
        while b'\0' not in self.buffer:
            chunk = os.read(self.read, 1 << 20)
            assert chunk, 'chromium went away'
            self.buffer += chunk
        message, self.buffer = self.buffer.split(b'\0', 1)
        return json.loads(message)

    def open(self, path):
        self.events = []
        self('Page.navigate', url=path.as_uri())
        while not any(event.get('method') == 'Page.loadEventFired' for event in self.events):
            self.events.append(self.receive())

    def evaluate(self, expression):
        answer = self('Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True)
        assert 'exceptionDetails' not in answer, answer
        return answer['result'].get('value')

    def said(self, *methods):
        return [event for event in self.events if event.get('method') in methods]

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        os.close(self.write)
        os.close(self.read)


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip('no chromium on this machine: apt-get install chromium')
    page = Page(tmp_path_factory.mktemp('profile'))
    yield page
    page.close()


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(8, 9, 8, 8, 1))
    return run_report(
        tmp_path_factory.mktemp('run'),
        title='A <title> & more',
        result={
            'test_elbo': -20.1,
            'test_elbo_se': 0.1,
            'test_elbo_bits_per_dim': 0.453,
            'k': 5000,
            'data': 'stand-in',
        },
        metrics=[
            {'step': 10 * i, 'epoch': i, 'train/loss': 20 + 9 / i, **({'validation/loss': 21.0} if i % 2 else {})}
            for i in range(1, 40)
        ],
        arrays={
            'x': images[0],
            'reconstructions': images[1],
            'samples': images[2],
            'interpolations': images,
            'manifold': images[:, :8],
            'codes': rng.normal(size=(200, 4)),
            'labels': np.arange(200) % 10,
            'rate_per_dim': rng.gamma(1.0, size=4),
        },
        config={'dataset': 'digits', 'a_long_name_without_any_break': 'x' * 90, 'hyper': {'lr': 1e-3}},
        command='python -m experiments.vae --seed 0',
        environment={'jax': '0.0'},
        notes=['A note.'],
    )


@pytest.fixture
def opened(page, report):
    page.open(report)
    return page


def test_the_page_loads_without_a_complaint_and_asks_the_network_for_nothing(opened):
    assert opened.evaluate('document.title') == 'A <title> & more'
    complaints = opened.said('Runtime.exceptionThrown', 'Runtime.consoleAPICalled', 'Log.entryAdded')
    assert not complaints, complaints
    asked = [event['params']['request']['url'] for event in opened.said('Network.requestWillBeSent')]
    assert [url for url in asked if not url.startswith('data:')] == [opened.evaluate('location.href')]


def test_every_image_is_decoded(opened):
    widths = opened.evaluate('[...document.images].map(i => i.naturalWidth)')
    assert len(widths) == 6
    assert min(widths) > 100


def test_the_policy_stops_a_script_that_is_not_ours(opened):
    opened.evaluate(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.broke = 1';"
        'document.body.append(s) })()'
    )
    assert opened.evaluate('window.broke === undefined')


def test_the_pointer_and_the_keys_read_the_curves(opened):
    place = "document.querySelector('.place').textContent"
    values = "[...document.querySelector('svg.chart').parentNode.querySelectorAll('.key b')].map(b => b.textContent)"
    last = opened.evaluate(values)
    x, y = opened.evaluate(
        "(() => { const e = document.querySelector('svg.chart'); e.scrollIntoView({block: 'center'});"
        'const b = e.getBoundingClientRect(); return [b.x, b.y] })()'
    )
    opened('Input.dispatchMouseEvent', type='mouseMoved', x=x + 90, y=y + 60)
    assert opened.evaluate(place) != 'at step 390'
    assert opened.evaluate(values) != last
    opened('Input.dispatchMouseEvent', type='mouseMoved', x=2, y=2)
    assert opened.evaluate(values) == last
    opened.evaluate("document.querySelector('svg.chart').focus()")
    for key in ('Home', 'ArrowRight'):
        opened('Input.dispatchKeyEvent', type='keyDown', key=key)
    assert opened.evaluate(place) == 'at step 20'
    assert opened.evaluate(values)[0] == '24.50'


@pytest.mark.parametrize('width', [320, 390, 1200])
def test_nothing_is_wider_than_the_screen(page, report, width):
    page('Emulation.setDeviceMetricsOverride', width=width, height=800, deviceScaleFactor=2, mobile=width < 500)
    try:
        page.open(report)
        assert page.evaluate('document.documentElement.scrollWidth') <= width
        assert page.evaluate('Math.min(...[...document.images].map(i => i.clientWidth))') > 100
    finally:
        page('Emulation.clearDeviceMetricsOverride')


def test_a_wide_table_scrolls_by_itself(page, tmp_path):
    path = write(
        tmp_path / 'r.html', title='t', tables=[Table('Runs', [f'column {i}' for i in range(40)], [range(40)])]
    )
    page.open(path)
    assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
    assert page.evaluate("document.querySelector('.scroll').scrollWidth > innerWidth")


# WCAG 2 contrast: relative luminance of each text's colour against the nearest ground that is painted
CONTRAST = """
(() => {
  const rgb = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const lum = c => c.slice(0, 3).map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
  const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
  let worst = 99;
  for (const e of document.querySelectorAll('main *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const style = getComputedStyle(e), ink = e.tagName === 'text' ? style.fill : style.color;
    const a = lum(rgb(ink)), b = lum(ground(e));
    worst = Math.min(worst, (Math.max(a, b) + .05) / (Math.min(a, b) + .05));
  }
  return worst;
})()
"""


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_every_text_can_be_read_in_light_and_dark(page, report, scheme):
    page('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': scheme}])
    try:
        page.open(report)
        assert page.evaluate(CONTRAST) >= 4.5
        ground = page.evaluate('getComputedStyle(document.body).backgroundColor')
        assert ground == {'light': 'rgb(255, 255, 255)', 'dark': 'rgb(21, 23, 26)'}[scheme]
        shown = page.evaluate('[...document.images].filter(i => i.currentSrc !== i.src).length')
        assert shown == {'light': 0, 'dark': 2}[scheme]
    finally:
        page('Emulation.setEmulatedMedia', features=[])


def test_without_script_the_last_values_and_all_images_stay(page, report):
    page('Emulation.setScriptExecutionDisabled', value=True)
    try:
        page.open(report)
        root = page('DOM.getDocument', depth=-1)['root']['nodeId']
        html = page('DOM.getOuterHTML', nodeId=root)['outerHTML']
    finally:
        page('Emulation.setScriptExecutionDisabled', value=False)
    assert 'train <b>20.23</b>' in html
    assert html.count('<img ') == 6


@pytest.fixture(scope='module')
def the_tour(tmp_path_factory):
    """The page of the tour as it was last stored, with the pictures that docs/ has."""
    folder = tmp_path_factory.mktemp('tour')
    found = {item: told | {'figures': told['figures'][:1]} for item, told in tour_page.stored().items()}
    for item in found:
        (folder / item).mkdir()
        shutil.copy(tour_page.DOCS / f'{item}.png', folder / item / f'{item}-0.png')
    return tour_page.write(found, folder)


@pytest.mark.parametrize('width', [320, 390, 1200])
def test_the_tour_is_readable_at_any_width_and_asks_the_network_for_nothing(page, the_tour, width):
    page('Emulation.setDeviceMetricsOverride', width=width, height=800, deviceScaleFactor=2, mobile=width < 500)
    try:
        page.open(the_tour)
        assert not page.said('Runtime.exceptionThrown', 'Runtime.consoleAPICalled', 'Log.entryAdded')
        asked = [event['params']['request']['url'] for event in page.said('Network.requestWillBeSent')]
        assert [url for url in asked if not url.startswith('data:')] == [page.evaluate('location.href')]
        assert page.evaluate('document.documentElement.scrollWidth') <= width
        assert page.evaluate('Math.min(...[...document.images].map(i => i.naturalWidth))') > 100
        page.evaluate("document.querySelector('nav a:last-of-type').click()")
        assert page.evaluate("document.querySelectorAll('#quiz details').length") >= 12
    finally:
        page('Emulation.clearDeviceMetricsOverride')

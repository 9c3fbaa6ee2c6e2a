"""The book builds without a warning, and every page works in a browser that reaches no other host."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
import websocket
import yaml

from xmr_lab.book import _latest, build_book
from xmr_lab.notebooks import ROOT, find_notebooks

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, [os.environ.get("XMR_LAB_BROWSER"), *map(shutil.which, NAMES)]), None)
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --remote-debugging-port=0 about:blank"
).split()


class Page:
    """A page in a headless browser, driven through the DevTools protocol."""

    def __init__(self, socket_address: str) -> None:
        self.socket = websocket.create_connection(socket_address, suppress_origin=True, timeout=60)
        self.numbers, self.events = itertools.count(1), []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict:
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if hasattr(self, "session"):
            message["sessionId"] = self.session
        self.socket.send(json.dumps(message))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self.events.append((answer.get("method"), answer.get("params", {})))

    def evaluate(self, expression: str):
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, (expression, answer)
        return answer["result"].get("value")

    def wait_for(self, expression: str, *, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"waited {seconds} s for {expression}"
            time.sleep(0.05)

    def open(self, address: str) -> None:
        """Load a page and all that it asks for, math included."""
        self.events.clear()
        self.call("Page.navigate", url=address)
        self.wait_for(f"location.href.split('#')[0] == {json.dumps(address)} && document.readyState == 'complete'")
        self.evaluate("window.MathJax?.startup?.promise.then(() => true) ?? true")
        self.evaluate("new Promise(done => setTimeout(done, 300))")  # what scripts ask for after loading

    def complaints(self, host: str) -> list[str]:
        """Failed requests, requests to other hosts, errors in the console."""
        found = []
        for method, event in self.events:
            if method == "Network.requestWillBeSent":
                parts = urlsplit(event["request"]["url"])
                if parts.scheme not in ("data", "blob", "about") and parts.netloc != host:
                    found.append(f"asks another host: {event['request']['url'][:200]}")
            elif method == "Network.loadingFailed":
                found.append(f"request failed: {event['errorText']}")
            elif method == "Network.responseReceived" and event["response"]["status"] >= 400:
                found.append(f"{event['response']['status']}: {event['response']['url'][:200]}")
            elif method == "Runtime.exceptionThrown":
                details = event["exceptionDetails"]
                what = details.get("exception", {}).get("description", details["text"])
                found.append(f"exception: {what}")
            elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "assert"):
                found.append(f"console: {event['args']}")
            elif method == "Log.entryAdded" and event["entry"]["level"] == "error":
                found.append(f"log: {event['entry']['text']}")
        return found


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Path:
    """The folder of the built pages; XMR_LAB_BOOK names one that is already built."""
    if built := os.environ.get("XMR_LAB_BOOK"):
        return Path(built)
    if not find_notebooks():
        pytest.skip("there are no notebooks yet")
    return build_book(ROOT / "out", tmp_path_factory.mktemp("book")).parent


@pytest.fixture(scope="module")
def site(book) -> Iterator[str]:
    """The book on a port of this machine."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(book)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    if not BROWSER:
        pytest.skip(f"no browser found: none of {', '.join(NAMES)} on the path, and XMR_LAB_BROWSER is not set")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = subprocess.Popen(
            [BROWSER, f"--user-data-dir={profile}", *FLAGS],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port_file, end = Path(profile, "DevToolsActivePort"), time.monotonic() + 60
            while not (port_file.exists() and len(port_file.read_text().split()) == 2):
                assert time.monotonic() < end and browser.poll() is None, f"{BROWSER} did not start"
                time.sleep(0.1)
            port, path = port_file.read_text().split()
            yield Page(f"ws://127.0.0.1:{port}{path}")
        finally:
            browser.terminate()
            browser.wait(30)


def pages_of(book: Path) -> list[str]:
    """The pages by name; what the theme leaves in ``_static`` are templates, not pages."""
    names = sorted(path.relative_to(book).as_posix() for path in book.rglob("*.html"))
    return [name for name in names if not name.startswith("_static/")]


def test_every_page_works_and_asks_no_other_host(book, site, page):
    pages = pages_of(book)
    assert "index.html" in pages and "search.html" in pages
    found = []
    for name in pages:
        if name == "index.html":  # sends the reader on to the first page
            continue
        page.open(f"http://{site}/{name}")
        found += [f"{name}: {complaint}" for complaint in page.complaints(site)]
        for selector in ("img:not([alt])", "img[alt='']", "audio:not([aria-label])", "mjx-merror"):
            if count := page.evaluate(f'document.querySelectorAll("{selector}").length'):
                found.append(f"{name}: {count} x {selector}")
        if broken := page.evaluate("[...document.images].filter(image => !image.naturalWidth).length"):
            found.append(f"{name}: {broken} pictures do not load")
        math, drawn = page.evaluate(
            "['.math', '.math mjx-container svg'].map(s => document.querySelectorAll(s).length)"
        )
        if bool(math) != bool(drawn):
            found.append(f"{name}: {math} formulas, {drawn} drawn")
        for link in page.evaluate("[...document.querySelectorAll('a[href]')].map(a => a.href)"):
            parts = urlsplit(link)
            if parts.netloc == site and not (book / parts.path.lstrip("/")).exists():
                found.append(f"{name}: dead link to {parts.path}")
        if page.evaluate("document.documentElement.scrollWidth > window.innerWidth + 1"):
            found.append(f"{name}: wider than the window")
    assert not found, "\n".join(found)


def test_math_is_drawn_and_search_finds_a_term(site, page):
    page.open(f"http://{site}/glossary.html")
    assert page.evaluate("document.querySelectorAll('mjx-container svg').length") >= 3
    page.open(f"http://{site}/search.html?q=hubness")
    page.wait_for("document.querySelectorAll('#search-results li').length > 0")
    assert "Glossary" in page.evaluate("document.querySelector('#search-results').innerText")
    assert not page.complaints(site)


def test_the_first_page_leads_to_the_introduction(site, page):
    page.call("Page.navigate", url=f"http://{site}/index.html")
    page.wait_for("location.pathname == '/intro.html'")


def test_pages_load_nothing_from_another_host(book):
    loads = re.compile(r"""<(?:script|img|iframe|audio|source|link)\b[^>]*?\b(?:src|href)=["'](?:https?:)?//[^"']+""")
    found = {name: loads.findall((book / name).read_text(encoding="utf-8")) for name in pages_of(book)}
    assert not any(found.values()), found


@pytest.mark.skipif(not find_notebooks(), reason="there are no notebooks yet")
def test_table_of_contents_names_every_notebook():
    parts = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))["parts"]
    named = [chapter["file"] for part in parts for chapter in part["chapters"]]
    assert [name for name in named if name.startswith("notebooks/")] == [
        f"notebooks/{path.stem}" for path in find_notebooks().values()
    ]


def test_a_run_of_another_version_is_not_shown(tmp_path, capsys):
    def write(name: str, source: str, output: str) -> Path:
        outputs = [nbformat.v4.new_output("stream", text=output)]
        nbformat.write(
            nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source, outputs=outputs)]),
            tmp_path / name,
        )
        return tmp_path / name

    committed, same, other = write("c", "x", "committed"), write("s", "x", "run"), write("o", "y", "old")
    shown = [_latest(committed, run).cells[0].outputs[0].text for run in (same, other, tmp_path / "none")]
    assert shown == ["run", "committed", "committed"]
    assert capsys.readouterr().out.count("the book shows the committed outputs") == 2


def test_vendored_mathjax_is_what_its_readme_says():
    folder = ROOT / "book" / "static" / "mathjax"
    named = re.findall(r"SHA-256\s+(\w{64})\s+(\S+)", (folder / "README.md").read_text(encoding="utf-8"))
    assert {name for _, name in named} == {"tex-svg-full.js", "LICENSE"}
    for digest, name in named:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest

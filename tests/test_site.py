"""The documentation as a site: it builds, strictly and in seconds, and loads nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import diagrams
import pytest
from test_browser import CHROMIUM, FLAGS

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "deploy" / "site" / "mkdocs.yml"


def build(out: Path, config: Path = CONFIG) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = build(out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


class Loads(HTMLParser):
    """What a browser loads for a page without being asked."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in {"script", "img", "iframe", "source", "video", "audio", "embed"}:
            self.found.append(given.get("src") or "")
        elif tag == "link" and given.get("rel") not in {"canonical", "next", "prev"}:
            self.found.append(given.get("href") or "")


def test_the_site_has_a_page_for_each_page_of_the_docs(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        name = (
            "decisions/index" if page.match("decisions/README.md") else page.relative_to(ROOT / "docs").with_suffix("")
        )
        assert (site / f"{name}.html").is_file(), page
    for name in ("index", "CHANGELOG", "CONTRIBUTING", "SECURITY"):
        assert (site / f"{name}.html").is_file()


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        text = page.read_text("utf-8")
        loads = Loads()
        loads.feed(text)
        assert [one for one in loads.found if re.match(r"(https?:)?//", one)] == [], page
        assert 'class="mermaid"' not in text, "the theme would load a library from elsewhere to draw it"
        assert "api.github.com" not in text
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", "".join(re.findall(r"<style.*?</style>", text, re.S)))
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import\s", style.read_text("utf-8")), style


def test_links_between_pages_lead_to_pages_and_links_to_code_are_text(site: Path) -> None:
    page = (site / "architecture.html").read_text("utf-8")
    assert "ingest/parsing.py" in page
    assert '<a href="../ingest/parsing.py"' not in page
    assert "images/architecture.svg" in page
    start = (site / "index.html").read_text("utf-8")
    assert 'href="docs/' not in start
    assert 'href="topics.html"' in start


def test_a_link_that_leads_nowhere_stops_the_build(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("# A page\n\n[gone](missing.md) and [no such part](index.md#nowhere)\n")
    config = tmp_path / "site" / "mkdocs.yml"
    config.parent.mkdir()
    text = re.sub(r"^nav:.*", "", CONFIG.read_text(), flags=re.M | re.S)
    text = text.replace("../../docs", "../docs").replace("hooks: [hooks.py]", "")
    config.write_text(text)
    done = build(tmp_path / "out", config)
    assert done.returncode != 0
    assert "missing.md" in done.stderr
    assert "#nowhere" in done.stderr


def test_the_drawing_of_each_diagram_was_made_from_it() -> None:
    found = diagrams.diagrams()
    assert found
    for file, diagram in found.items():
        assert diagrams.signature(diagram) in file.read_text("utf-8"), f"run tests/diagrams.py for {file.name}"


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_asks_nobody_else_and_the_search_finds_a_page(site: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    from playwright.sync_api import TimeoutError as TooLate
    from playwright.sync_api import sync_playwright

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    class Patient(ThreadingHTTPServer):
        request_queue_size = 128  # a browser asks for everything at once; with 5, a busy machine refuses some of it

    server = Patient(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_port}"
    asked: list[str] = []
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = browser.new_page()
            page.set_default_timeout(90_000)
            page.on("request", lambda request: asked.append(request.url))
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(f"{here}/architecture.html")
            page.locator("img[src='images/architecture.svg']").wait_for()
            # What is typed before the page's script listens is lost, and so is an index that came too late for the
            # page, so a busy machine may need a second try.
            for attempt in range(10):
                page.fill("input[name=query]", "")
                page.fill("input[name=query]", "watermark")
                try:
                    page.locator(".md-search-result__item").first.wait_for(timeout=10_000)
                    break
                except TooLate:
                    assert attempt < 9, "the search finds nothing"
                    page.reload()
            browser.close()
    finally:
        server.shutdown()
        server.server_close()
    assert [url for url in asked if not url.startswith((here, "data:", "blob:"))] == []
    assert errors == []

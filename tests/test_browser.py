"""The way of a user through the pages, in a headless Chromium: the system's, driven by Playwright."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from servers import wait_until

from foreshock.dashboard import serve, text
from foreshock.dashboard.errors import PortTaken
from foreshock.dashboard.settings import ServeSettings
from foreshock.ingest.markup import plain_text
from foreshock.monitor.delivery.notice import link_to
from foreshock.processes.batches import BatchSize

pytestmark = pytest.mark.browser

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def tab(browser: Any) -> Any:
    """One page for several desks: in a new one, the browser loads and compiles all scripts anew, for one or two
    seconds."""
    return browser.new_context().new_page()


class Desk:
    """A browser page on a dashboard, with all that its console said and all that it asked for.

    It is new and has a context of its own, or it is `tab`, as if it were new.
    """

    def __init__(self, browser: Any, base: str, *, tab: Any = None, **context: Any) -> None:
        self.base = base
        viewport = context.pop("viewport", {"width": 1280, "height": 900})
        self._is_own = tab is None
        self.page = tab or browser.new_context(**context).new_page()
        self.context = self.page.context
        if not self._is_own:
            assert not context
            self.context.clear_cookies()
            self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size(viewport)
        self.page.set_default_timeout(30_000)
        self.console: list[str] = []
        self.hosts: set[str] = set()
        self._listeners = {"console": self._said, "pageerror": self._failed, "request": self._asked}
        for event, listener in self._listeners.items():
            self.page.on(event, listener)

    def _said(self, message: Any) -> None:
        self.console.append(f"{message.type}: {message.text}")

    def _failed(self, error: Any) -> None:
        self.console.append(f"error: {error}")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith("blob:"):  # the page's own script, from its own memory
            self.hosts.add(urlsplit(request.url).hostname or "")

    def open(self, path: str = "") -> Any:
        self.page.goto(f"{self.base}/{path}")
        self.page.wait_for_selector(".fs-asof, .fs-empty")
        return self.page

    def close(self) -> None:
        if self._is_own:
            self.context.close()
            return
        self.page.evaluate("localStorage.clear(), sessionStorage.clear()")
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)
        self.page.goto("about:blank")


@pytest.fixture(scope="module")
def store(crisis_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copy(crisis_store, tmp_path_factory.mktemp("desk") / "news.db"))


@pytest.fixture(scope="module")
def base(browser: Any, store: Path) -> Iterator[str]:
    settings = ServeSettings(store=f"sqlite:///{store}", port=free_port())
    with serve.started(settings):
        yield serve.address(settings)


@pytest.fixture
def desk(browser: Any, base: str, tab: Any) -> Iterator[Desk]:
    made = Desk(browser, base, tab=tab)
    yield made
    made.close()


def test_the_way_of_a_user_from_the_falling_topic_to_its_acknowledgement(desk: Desk, store: Path) -> None:
    page = desk.open()
    # The crisis is the first thing one sees.
    first = page.locator(".fs-say").first
    assert "Many stories on Weftware: 17 stories from 8 sources" in first.inner_text()
    # The falling topic.
    page.get_by_placeholder("Find a topic").fill("weft")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('.fs-table tbody tr').length === 1")
    assert "find=weft" in page.url
    page.locator(".fs-topics td.nm a").click()
    page.wait_for_selector("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg")
    assert "topic=Weftware" in page.url
    # Its alert, and the evidence.
    page.locator(".fs-say a").first.click()
    page.wait_for_url("**/Alerts?alert=*")
    page.get_by_text("Evidence", exact=True).wait_for()
    page.locator(".fs-table tbody tr").nth(10).wait_for()  # more than ten stories
    assert page.get_by_text("estimated start of the change").is_visible()
    address = page.url
    # Acknowledge it.
    page.get_by_role("button", name="Acknowledge").first.click()
    page.get_by_label("Your name").first.fill("Ada")
    page.get_by_label("Note (may be empty)").first.fill("calling them")
    page.get_by_role("button", name="Acknowledge this alert").click()
    page.get_by_text("This does not change detection").wait_for()
    with sqlite3.connect(store) as connection:
        rows = connection.execute("SELECT action, by, note FROM desk_actions").fetchall()
    assert rows == [("acknowledge", "Ada", "calling them")]
    # The address alone brings it back.
    page.goto(address)
    page.get_by_text("acknowledged by").first.wait_for()
    page.locator(".fs-timeline", has_text="calling them").wait_for()
    assert desk.console == []
    assert desk.hosts == {"127.0.0.1"}, "nothing is fetched from elsewhere"


def test_the_way_of_a_desk_from_a_message_to_the_incident_and_back_to_now(
    browser: Any, base: str, tab: Any, store: Path
) -> None:
    with sqlite3.connect(store) as connection:
        (incident,) = connection.execute(
            "SELECT id FROM incidents WHERE title LIKE '%Weftware%' AND state = 'open'"
        ).fetchone()
    link = link_to(incident, base, "incident")
    assert link is not None
    desk = Desk(browser, base, tab=tab, viewport={"width": 1440, "height": 900})
    page = desk.page
    page.goto(link)
    # Its stories, and what happened so far.
    page.get_by_text("Prosecutors raid Weftware offices over security breach").wait_for()
    timeline = page.locator(".fs-timeline")
    timeline.get_by_text("fired: surge of bad news on cybersecurity").wait_for()
    page.get_by_text("alerts of its kind fire from").wait_for()
    # A name that is typed slowly stays while the page refreshes.
    page.get_by_placeholder("Your name").click()
    page.keyboard.type("Grace", delay=1_300)
    page.get_by_role("button", name="Acknowledge").click()
    page.get_by_text("Acknowledged.").wait_for()
    page.get_by_role("button", name="Useful").click()
    page.get_by_text("Called useful.").wait_for()
    timeline.get_by_text("called useful by Grace").wait_for()
    # Back to Now: others see it, and incidents leave half of the screen to the rest.
    page.get_by_role("link", name="Now").first.click()
    card = page.locator(".fs-card").first
    card.get_by_text(re.compile("acknowledged by .*Grace.* called useful by Grace")).wait_for()
    page.locator("tr.fs-row").nth(20).wait_for()
    tops = "(name) => document.querySelector(name).getBoundingClientRect().top"
    assert page.evaluate(tops, ".fs-market") - page.evaluate(tops, ".st-key-fs-now-head") <= 450
    # A row opens in place, and the next page of topics comes in place; the address has both.
    page.evaluate("window.stayed = true")
    page.wait_for_selector("html[data-fs-here=heard]", state="attached")
    page.locator("tr.fs-row td.po").nth(1).click()
    page.locator("tr.fs-opened").get_by_text("events an hour in the last 24 hours").wait_for()
    assert "open=cybersecurity" in page.url
    # A refresh that replaces the table between press and release takes no click away.
    cell = page.locator("tr.fs-row td.po").nth(1).bounding_box()
    page.mouse.move(cell["x"] + 5, cell["y"] + 5)
    page.mouse.down()
    page.evaluate("(() => { const t = document.querySelector('.fs-topics'); t.replaceWith(t.cloneNode(true)); })()")
    page.mouse.up()
    page.locator("tr.fs-opened").wait_for(state="detached")
    assert "open=" not in page.url
    page.locator(".fs-pages").get_by_text("next").click()
    page.get_by_text("page 2 of 2").wait_for()
    page.locator(".fs-pages").get_by_text("previous").click()
    page.get_by_text("page 1 of 2").wait_for()
    page.get_by_test_id("stButtonGroup").get_by_text("silent", exact=True).click()
    page.wait_for_function("document.querySelectorAll('tr.fs-row').length === 1")
    page.locator("tr.fs-row a.fs-here").click()
    page.locator("tr.fs-opened").get_by_text("No story in the last 24 hours.").wait_for()
    assert page.evaluate("window.stayed") is True
    # Loaded again, it is as it was.
    page.reload()
    page.locator("tr.fs-opened").wait_for()
    assert page.locator("tr.fs-row").count() == 1
    card.get_by_text(re.compile("acknowledged by .*Grace")).wait_for()
    card.locator(".fs-say a").click()
    page.wait_for_url(f"**/Alerts?incident={incident}")
    page.locator(".fs-timeline").get_by_text("acknowledged by Grace").wait_for()
    assert desk.console == []
    assert desk.hosts == {"127.0.0.1"}
    desk.close()


def test_a_clicked_bar_shows_its_stories_and_stands_in_the_address(desk: Desk) -> None:
    page = desk.open("Topic?topic=Weftware&range=week")
    bars = page.locator("[data-testid=stVegaLiteChart]").nth(2)
    bars.scroll_into_view_if_needed()
    page.wait_for_timeout(1500)
    box = bars.bounding_box()
    # The crisis is at the end of the week: some bar there is hit.
    for share in (0.93, 0.9, 0.87, 0.84, 0.95):
        page.mouse.click(box["x"] + box["width"] * share, box["y"] + 30)
        page.wait_for_timeout(1500)
        if "at=" in page.url:
            break
    assert "at=" in page.url
    page.get_by_text("Stories from ").first.wait_for()
    address = page.url
    page.goto(address)
    page.get_by_text("Stories from ").first.wait_for()
    assert desk.console == []


def test_the_pointer_reads_the_chart_and_draws_a_range_that_the_address_keeps(desk: Desk) -> None:
    page = desk.open("Topic?topic=Weftware")
    chart = page.locator("[data-testid=stVegaLiteChart]").first
    chart.locator("canvas, svg").first.wait_for()
    page.wait_for_timeout(1000)
    box = chart.bounding_box()
    # In the shading of an alert, at the end of the month.
    page.mouse.move(box["x"] + box["width"] * 0.93, box["y"] + 40)
    page.mouse.move(box["x"] + box["width"] * 0.932, box["y"] + 40)
    tooltip = page.locator("#vg-tooltip-element")
    tooltip.get_by_text("independent events").wait_for()
    said = tooltip.inner_text()
    assert "24 hours until" in said
    assert "usual" in said
    assert "run_band" not in said
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 60)
    page.mouse.down()
    for share in (0.65, 0.7, 0.75, 0.8):
        page.mouse.move(box["x"] + box["width"] * share, box["y"] + 60)
    page.mouse.up()
    page.wait_for_url(re.compile("from=.*&to="))
    address = page.url
    page.goto(address)
    page.get_by_text("Show the time up to now").wait_for()
    assert page.url == address
    assert desk.console == []


def test_streamlits_menu_deploy_button_and_footer_are_off(desk: Desk) -> None:
    page = desk.open()
    for test_id in ("stMainMenu", "stAppDeployButton", "stDeployButton"):
        assert page.get_by_test_id(test_id).count() == 0
    assert page.get_by_text("Made with Streamlit").count() == 0


def test_the_page_refreshes_in_place(desk: Desk, store: Path) -> None:
    page = desk.open()
    before = page.locator(".fs-asof").inner_text()
    page.evaluate("window.stayed = true")
    page.wait_for_function(
        "before => document.querySelector('.fs-asof').innerText !== before", arg=before, timeout=30_000
    )
    assert page.evaluate("window.stayed") is True


def test_two_dashboards_on_one_store_show_the_same(browser: Any, base: str, tab: Any, store: Path) -> None:
    settings = ServeSettings(store=f"sqlite:///{store}", port=free_port())
    with serve.started(settings):
        said = []
        for address in (base, serve.address(settings)):
            desk = Desk(browser, address, tab=tab)
            page = desk.open()
            page.locator(".fs-table tbody tr").first.wait_for()  # the last of the page: all is drawn
            said.append(page.locator(".fs-say").all_inner_texts())
            desk.close()
    assert said[0] == said[1]


def test_a_port_in_use_is_refused_in_words(store: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = ServeSettings(store=f"sqlite:///{store}", port=taken.getsockname()[1])
        with pytest.raises(PortTaken, match="Choose another port"), serve.started(settings):
            pass


def test_a_page_of_another_name_gets_no_connection(base: str) -> None:
    from http.client import HTTPConnection

    where = urlsplit(base)
    for host, expected in ((where.netloc, 101), ("evil.example", 403)):
        connection = HTTPConnection(where.hostname or "", where.port, timeout=10)
        headers = {"Host": host, "Origin": f"http://{host}", "Connection": "Upgrade", "Upgrade": "websocket",
                   "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
        connection.request("GET", "/_stcore/stream", headers=headers)
        assert connection.getresponse().status == expected
        connection.close()


HOSTILE = [
    "<script>window.hacked=1</script>Bank fails",
    '<img src=x onerror="window.hacked=1">Bank falls',
    "</td></table><svg onload=window.hacked=1>",
    "[Bank](javascript:window.hacked=1) **bold** :red[red] $x^2$ `code`",
    "\u202eknab a fo sessol\u202c Bank",
    '=HYPERLINK("http://evil.example","Bank")',
    "{{7*7}} ${7*7} %s \\u003cscript\\u003e",
]


def test_hostile_stories_are_shown_as_text_and_nothing_executes(
    browser: Any, tab: Any, tmp_path: Path, quick_scorer: Any
) -> None:
    from foreshock.monitor.settings import StoreSettings
    from foreshock.processes.replay import replay
    from foreshock.settings.models import Settings

    topic = '<b onmouseover="window.hacked=1">bold</b>'
    feed = tmp_path / "<i>feed.jsonl"
    rows = [
        {"id": str(n), "title": title, "source": "<u>@Wire</u>", "topics": [topic], "url": "javascript:window.hacked=1",
         "published_at": f"2026-03-02T10:{n:02}:00Z"}
        for n, title in enumerate(HOSTILE)
    ]  # fmt: skip
    dead = {"title": "dead <script>window.hacked=1</script>", "published_at": "<img src=x onerror=window.hacked=1>"}
    feed.write_text("".join(json.dumps(row) + "\n" for row in [*rows, dead]))
    url = f"sqlite:///{tmp_path / 'news.db'}"
    settings = Settings.model_validate({"store": StoreSettings(url=url), "watchlist": {"defaults": False}})
    replay(settings, [feed], scorer=quick_scorer)
    served = ServeSettings(store=url, port=free_port())
    with serve.started(served):
        desk = Desk(browser, serve.address(served), tab=tab)
        page = desk.open("Stories")
        page.locator(".fs-table tbody tr").first.wait_for()
        shown = page.locator(".fs-table").inner_text()
        for title in HOSTILE:
            assert text.clean(plain_text(title)) in shown
        assert page.locator("[href^=javascript]").count() == 0
        with page.expect_download() as download:
            page.get_by_text("Download these as CSV").click()
        cells = [cell for row in csv.reader(io.StringIO(Path(download.value.path()).read_text())) for cell in row]
        assert any(cell.startswith("'=HYPERLINK") for cell in cells)
        assert not any(cell.startswith(("=", "@")) for cell in cells)
        for path in ("", text.address("Topic", topic=topic), "Alerts?alert=<script>window.hacked=1</script>", "Health"):
            page = desk.open(path)
            page.wait_for_timeout(1000)
            for element in page.locator(".fs-table a, .fs-table td").all()[:8]:
                element.dispatch_event("mouseover", {"bubbles": True}, timeout=2000)
            assert page.evaluate("window.hacked") is None, path
            assert page.locator(".stHtml script, .stHtml svg, .stHtml [onerror], .stHtml [onmouseover]").count() == 0
        assert desk.console == []
        assert desk.hosts == {"127.0.0.1"}
        desk.close()


def test_the_page_lives_through_the_store_going_and_coming(
    browser: Any, tab: Any, crisis_store: Path, tmp_path: Path
) -> None:
    store = tmp_path / "news.db"
    settings = ServeSettings(store=f"sqlite:///{store}", port=free_port())
    with serve.started(settings):
        desk = Desk(browser, serve.address(settings), tab=tab)
        page = desk.open()
        page.get_by_text("No store yet").wait_for()
        shutil.copy(crisis_store, store)
        page.locator(".fs-alert").first.wait_for(timeout=20_000)
        for file in tmp_path.glob("news.db*"):
            file.unlink()
        page.get_by_text("No store yet").wait_for(timeout=20_000)
        shutil.copy(crisis_store, store)
        page.locator(".fs-alert").first.wait_for(timeout=20_000)
        assert desk.console == []
        desk.close()


def has_buckets(store: Path) -> bool:
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        return bool(connection.execute("SELECT 1 FROM buckets LIMIT 1").fetchone())
    return False


STORIES = BatchSize().records + 500


def test_the_page_stays_open_when_the_run_is_killed(browser: Any, tab: Any, tmp_path: Path) -> None:
    """A replay is killed in its middle: the page shows what was decided, and the next run goes on."""
    from foreshock.demo import generator

    feed, store = tmp_path / "feed.jsonl", tmp_path / "news.db"
    scores = {"negative": 0.2, "neutral": 0.6, "positive": 0.2}
    with feed.open("w") as file:
        stories = islice(generator.generate(7), STORIES)  # more than one batch
        file.writelines(json.dumps({**story, "scores": scores}) + "\n" for story in stories)
    command = [sys.executable, "-m", "foreshock", "replay", str(feed), "--store", f"sqlite:///{store}"]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    settings = ServeSettings(store=f"sqlite:///{store}", port=free_port())
    with ExitStack() as stack:
        stack.callback(run.wait)
        stack.callback(run.kill)
        wait_until(lambda: has_buckets(store), "something is decided", 60, every=0.01)
        run.send_signal(signal.SIGSTOP)  # so that it does not come to its end before the page is there
        stack.enter_context(serve.started(settings))
        desk = Desk(browser, serve.address(settings), tab=tab)
        page = desk.open()
        page.locator(".fs-table tbody tr").first.wait_for(timeout=60_000)
        run.kill()
        run.wait()
        with closing(sqlite3.connect(store)) as connection:
            assert connection.execute("SELECT count(*) FROM stories").fetchone()[0] < STORIES
        time.sleep(6)  # one refresh after the kill
        assert page.locator(".fs-table tbody tr").count() > 0
        again = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=200, check=False)
        assert again.returncode == 0
        page.get_by_text("at its end").wait_for(timeout=20_000)
        assert desk.console == []
        desk.close()


def test_ctrl_c_stops_the_dashboard_with_one_word(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "foreshock", "dashboard", "--port", str(free_port())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [*command, "--store", f"sqlite:///{tmp_path}/none.db"], env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert "Foreshock's dashboard: http" in process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all that run in it
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    # The note may not have been said yet, or only without the end of its line: it comes after the address.
    assert (process.returncode, said.removeprefix("Press Ctrl-C to stop it.").lstrip()) == (130, "Stopped.\n")


def test_the_server_ends_with_whoever_started_it(store: Path) -> None:
    port = free_port()
    script = (
        "from foreshock.dashboard import serve\nfrom foreshock.dashboard.settings import ServeSettings\n"
        f"with serve.started(ServeSettings(store='sqlite:///{store}', port={port})) as process:\n"
        "    print(process.pid, flush=True)\n    process.wait()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    assert parent.stdout.readline().strip().isdigit()
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return
        time.sleep(0.1)
    pytest.fail("the dashboard outlived its parent")

"""Every page without a serious finding of axe-core, in both themes; contrast; and the way of a desk by keyboard alone.

axe-core comes with the package `axe-playwright-python`, so nothing is downloaded.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_browser import Desk, browser, free_port, tab  # noqa: F401  # two are fixtures

from foreshock.dashboard import axes, marks, serve, text
from foreshock.dashboard.settings import ServeSettings

FOLDER = Path(serve.__file__).parent
GRAVE = ("serious", "critical")
EXCEPTIONS = {
    (
        "svg-img-alt",
        'class="mark-rect role-mark zoom_brush',
    ): "Vega draws the rectangle of a zoom as a mark that has no "
    "name, and has no setting for one. The chart around it has a name, and from and to are inputs on the page.",
}
"""Findings that a library causes and that we cannot mend: the rule, a part of the element, and the reason."""


@pytest.fixture(scope="module")
def store(crisis_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copy(crisis_store, tmp_path_factory.mktemp("accessible") / "news.db"))


@pytest.fixture(scope="module")
def base(browser: Any, store: Path) -> Iterator[str]:  # noqa: F811
    settings = ServeSettings(store=f"sqlite:///{store}", port=free_port(), exchange="XNYS")
    with serve.started(settings):
        yield serve.address(settings)


def pages(store: Path) -> list[str]:
    with sqlite3.connect(store) as connection:
        query = "SELECT id, group_id FROM alerts WHERE state = 'firing' AND group_id IS NOT NULL LIMIT 1"
        alert, incident = connection.execute(query).fetchone()
    # A topic with lines, and one with events one by one; what there is not.
    topics = [text.address("Topic", topic="Weftware"), text.address("Topic", topic="Vale", range="week")]
    alerts = ["Alerts", text.address("Alerts", alert=alert), text.address("Alerts", incident=incident)]
    return [
        "?open=Weftware",
        *topics,
        *alerts,
        text.address("Alerts", alert="none"),
        "Stories",
        "Stories?words=zzz",
        "Health",
    ]


COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
"""The rules of axe-core that look at colours: no other can find anything else in another theme."""


def findings(page: Any, only: dict[str, Any] | None = None, within: str = "html") -> list[str]:
    """Return the serious findings of axe-core on a page or in a part of it, of all rules or `only` of some."""
    import axe_playwright_python

    page.wait_for_function("!document.querySelector('[data-stale=true]')")  # pale while the page is drawn anew
    if not page.evaluate("'axe' in window"):
        page.evaluate((Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    options = {"resultTypes": ["violations"], **({"runOnly": only} if only else {})}
    found = page.evaluate("([within, options]) => axe.run(within, options)", [within, options])["violations"]
    return [
        f"{rule['impact']}: {rule['id']} at {node['target'][0]}: {node['html'][:200]}"
        for rule in found
        if rule["impact"] in GRAVE
        for node in rule["nodes"]
        if not any(rule["id"] == name and part in node["html"] for name, part in EXCEPTIONS)
    ]


def fits(page: Any, width: int, where: str) -> None:
    """Assert that the page scrolls in no direction but down, and has the colours of its theme."""
    wide = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
    assert wide <= width, where
    color = page.evaluate("getComputedStyle(document.querySelector('.fs-asof')).color")
    assert color not in ("", "rgb(0, 0, 0)"), where


def look(page: Any, scheme: str) -> None:
    """Show the page in a theme."""
    page.emulate_media(color_scheme=scheme)
    page.wait_for_function("s => getComputedStyle(document.querySelector('.stApp')).colorScheme === s", arg=scheme)


@pytest.mark.browser
def test_no_page_has_a_serious_finding_or_scrolls_sideways_in_either_theme(
    browser: Any,  # noqa: F811
    base: str,
    tab: Any,  # noqa: F811
    store: Path,
) -> None:
    desk, titles, schemes, widths = Desk(browser, base, tab=tab), set[str](), ["light", "dark"], [1280, 390]
    for path in pages(store):
        page = desk.open(path)
        page.wait_for_timeout(1000)
        titles.add(page.title())
        for width in widths:
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(500)
            for scheme in schemes:
                look(page, scheme)
                fits(page, width, f"{path}, {scheme}, {width}")
                if width != 1280:
                    continue
                assert findings(page, None if scheme == schemes[0] else COLOURS) == [], f"{path}, {scheme}"
                for form in page.get_by_test_id("stPopoverButton").all() if "?alert=" in path else ():
                    form.click()
                    page.get_by_test_id("stPopoverBody").get_by_label("Your name").wait_for()
                    known = (COLOURS, "[data-testid=stPopoverBody]") if scheme == schemes[1] else ()
                    assert findings(page, *known) == [], f"{path}, {scheme}, {form.inner_text()}"
                    page.keyboard.press("Escape")
                    page.get_by_test_id("stPopoverBody").wait_for(state="hidden")
            schemes.reverse()
        widths.reverse()  # the next page is loaded in the width and the theme that this one ends in
    assert titles == {f"{name} – Foreshock" for name in ("Now", "Topic", "Alerts", "Stories", "Health")}
    # On a phone the pages are another row of links.
    page.set_viewport_size({"width": 390, "height": 900})
    for path in ("", text.address("Topic", topic="Weftware")):
        desk.open(path)
        page.wait_for_timeout(1000)
        assert findings(page) == [], f"{path} at 390 pixels"
    menu = page.locator(".st-key-fs-menu a")  # no menu stays open
    assert menu.all_inner_texts() == ["Now", "Topic", "Alerts", "Stories", "Health"]
    menu.nth(2).click()
    page.wait_for_url("**/Alerts")
    assert page.get_by_test_id("stSidebar").filter(visible=True).count() == 0
    assert desk.console == []
    desk.close()


@pytest.mark.browser
def test_a_desk_needs_no_mouse(
    browser: Any,  # noqa: F811
    base: str,
    tab: Any,  # noqa: F811
    store: Path,
) -> None:
    """From the firing alert to its acknowledgement by Tab, Enter and Escape, and the focus is always seen."""
    desk = Desk(browser, base, tab=tab)
    page = desk.open()
    page.locator(".fs-say a").first.wait_for()

    def tab_to(wanted: str, most: int = 60) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            found = page.evaluate(
                "() => { const e = document.activeElement, s = getComputedStyle(e);"
                " return ['A', 'BUTTON', 'INPUT'].includes(e.tagName)"
                " ? [(e.getAttribute('aria-label') || e.innerText || e.placeholder).trim(), e.tagName === 'INPUT'"
                " || s.boxShadow !== 'none' || (s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 1)]"
                " : ['', true] }"
            )
            assert found[1], f"the focus on {found[0]!r} is not seen"
            if wanted in found[0]:
                return
        pytest.fail(f"{wanted} was not reached")

    first = page.locator(".fs-say a").first.inner_text()
    tab_to(first)
    # The part that has the focus is drawn anew, with other words in it, and the focus stays.
    with sqlite3.connect(store) as connection:
        connection.execute(
            "INSERT INTO desk_actions (number, at, by, action, alert_id, note) "
            "SELECT row_number() OVER (), 0, 'Bob', 'acknowledge', id, '' FROM alerts WHERE state = 'firing'"
        )
    page.locator(".fs-alert", has_text="Bob").first.wait_for(timeout=20_000)
    assert page.evaluate("document.activeElement.innerText") == first
    page.keyboard.press("Enter")
    page.wait_for_url("**/Alerts?*")
    desk.open(next(path for path in pages(store) if "?alert=" in path))
    page.get_by_text("Evidence", exact=True).wait_for()
    page.wait_for_timeout(1000)
    tab_to("Acknowledge")
    page.keyboard.press("Enter")
    page.get_by_label("Your name").first.wait_for()
    page.wait_for_function("document.activeElement.getAttribute('aria-label') === 'Your name'")
    page.keyboard.press("Escape")  # closes the form, and leads back to its button
    page.wait_for_function("document.activeElement.innerText.startsWith('Acknowledge')")
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.getAttribute('aria-label') === 'Your name'")
    page.keyboard.type("Ada")
    tab_to("Acknowledge this alert", 6)
    page.keyboard.press("Enter")
    page.get_by_text("This does not change detection").wait_for()
    with sqlite3.connect(store) as connection:
        assert connection.execute("SELECT by FROM desk_actions WHERE at > 0").fetchall() == [("Ada",)]
    assert desk.console == []
    desk.close()


def luminance(color: str) -> float:
    """The relative luminance of WCAG 2.2."""
    parts = [int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_of_words_and_marks_stands_out_from_what_lies_behind(scheme: str) -> None:
    """4.5 to 1 for words, 3 to 1 for marks, as WCAG 2.2 AA asks; also where words lie on a chart's bands."""
    theme = tomllib.loads((FOLDER / ".streamlit" / "config.toml").read_text())["theme"][scheme]
    css = (FOLDER / "style.css").read_text()
    pairs = dict(re.findall(r"--fs-(\w+): light-dark\((#\w{6}, #\w{6})\)", css))
    named = {name: both.split(", ")[scheme == "dark"] for name, both in pairs.items()}
    ink = axes.ink(scheme == "dark")
    page = theme["backgroundColor"]
    for name in ("ink", "faint", "rust", "teal", "red"):
        for ground in (page, named["pale"]):
            assert contrast(named[name], ground) >= 4.5, f"{name} on {ground}"
    for color in (ink.line, ink.faint, ink.rust):
        for ground in (page, ink.band, ink.market):
            assert contrast(color, ground) >= 4.5, f"{color} on {ground}"
    for color in (theme["textColor"], theme["linkColor"], theme["primaryColor"]):
        assert contrast(color, page) >= 4.5
    for color in (marks.RUST, marks.TEAL, ink.teal, ink.red):
        assert contrast(color, page) >= 3, color

"""*Topic* and *Stories* in a browser: stories beside the charts, a comparison, a note, one story and its label."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from test_browser import Desk, base, browser, desk, free_port, store, tab
from test_topic_page import LONG, NAMES, odd_store

from foreshock.dashboard import serve
from foreshock.dashboard.settings import ServeSettings

pytestmark = pytest.mark.browser

__all__ = ["base", "browser", "desk", "odd_store", "store", "tab"]


def test_the_way_from_a_comparison_to_a_note_a_story_and_its_label(desk: Desk, store: Path) -> None:
    desk.page.set_viewport_size({"width": 1440, "height": 1000})
    page = desk.open("Topic?topic=Weftware&compare=banks&compare=Vale")
    page.get_by_text("Compared", exact=True).wait_for()
    chart = page.locator("[data-testid=stVegaLiteChart]").first
    stories = page.locator(".fs-list").first
    stories.wait_for()
    assert stories.bounding_box()["x"] > chart.bounding_box()["x"] + chart.bounding_box()["width"], "beside the charts"
    page.get_by_text("negative share", exact=True).click()
    page.wait_for_url("**measure=negative*")
    # A note on a time.
    page.get_by_role("button", name="Note on a time").click()
    page.get_by_label("Note, such as: our press conference").fill("our press conference")
    page.get_by_label("Your name").first.fill("Ada")
    page.get_by_role("button", name="Add this note").click()
    page.get_by_text("Noted at").wait_for()
    page.locator(".fs-timeline", has_text="our press conference").wait_for()
    # Below the charts where there is no room beside them.
    page.set_viewport_size({"width": 1024, "height": 900})
    page.wait_for_timeout(800)
    assert stories.bounding_box()["x"] < chart.bounding_box()["x"] + 60
    # The words are asked for. The store's scores are not of these weights, and the page says so or why not.
    page.get_by_text("Underline the words").click()
    page.wait_for_url("**underline=true*")
    page.get_by_text("makes the story worse news").wait_for()
    # One story, and its label.
    page.locator(".fs-list a", has_text="open").first.click()
    page.wait_for_url("**/Stories?story=*")
    page.get_by_text("More like this").wait_for()
    page.get_by_role("button", name="Correct the label").click()
    page.get_by_text("positive", exact=True).first.click()
    page.get_by_label("Your name").first.fill("Ada")
    page.get_by_role("button", name="Save this label").click()
    page.get_by_text("Called positive by").wait_for()
    with sqlite3.connect(store) as connection:
        rows = connection.execute("SELECT action, by, label FROM desk_actions ORDER BY number").fetchall()
    assert rows[-2:] == [("note", "Ada", None), ("label", "Ada", "positive")]
    # A search: its order is in the address, hits are marked, and a source is one click away.
    page = desk.open("Stories?words=breach")
    page.locator("mark").first.wait_for()
    page.get_by_text("gravest", exact=True).click()
    page.wait_for_url("**order=gravest*")
    page.get_by_text("Gravest first.").wait_for()
    page.locator(".fs-sub a").first.click()
    page.wait_for_url("**source=*")
    page.locator("mark").first.wait_for()
    assert "words=breach" in page.url
    assert desk.console == []
    assert desk.hosts == {"127.0.0.1"}


def test_names_of_any_length_and_direction_stay_inside_a_phone(browser: Any, odd_store: Path) -> None:
    settings = ServeSettings(store=f"sqlite:///{odd_store}", port=free_port())
    with serve.started(settings):
        made = Desk(browser, serve.address(settings), viewport={"width": 390, "height": 844})
        for path in (
            f"Topic?topic={quote(LONG.strip())}&compare={quote(NAMES[3])}&compare={quote(NAMES[2])}",
            f"Topic?topic={quote(NAMES[3])}",
            f"Stories?topic={quote(LONG.strip())}",
        ):
            page = made.open(path)
            page.wait_for_timeout(1500)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
            assert page.locator("[data-testid=stException]").count() == 0
        assert made.console == []
        made.close()

"""The alert on a new name on the pages, and the button and the command that put the name on the watchlist."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pages import Show, click, html, made_store, show, words
from typer.testing import CliRunner

from foreshock.cli.app import app as command
from foreshock.monitor.store import desk_actions
from foreshock.monitor.store.database import connect, reading
from foreshock.monitor.topics.rules import load_watchlist
from foreshock.monitor.units import NEW

pytestmark = pytest.mark.slow
__all__ = ["show"]

HALDEN = {
    "topic": NEW + "Halden Foods",
    "kind": "new_name",
    "sentence": "New name: Halden Foods, 5 negative stories from 4 sources in 12 hours; not on your list.",
}
BUTTON = "Add Halden Foods to the watchlist"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    place = tmp_path / "store.db"
    made_store(place, ["Acme"], [{"id": "one", "title": "Bad news on a new name, Halden Foods.", "alerts": [HALDEN]}])
    return place


def acts(store: Path) -> list[tuple[str, str, str]]:
    with reading(connect(f"sqlite:///{store}", create=False)) as connection:
        return [(a["action"], a["by"], a["topic"]) for a in desk_actions.actions(connection)]


def test_the_button_puts_the_name_on_the_watchlist_with_the_persons_name(
    show: Show, store: Path, tmp_path: Path
) -> None:
    file = tmp_path / "watchlist.csv"
    file.write_text("name,names\nAcme,Acme\n")
    app = show("now", store, watchlist_file=file)
    assert NEW not in words(app)
    click(app, BUTTON)
    assert not acts(store), "a person without a name cannot act"
    app.text_input(key="by").input("Ada").run()
    click(app, BUTTON)
    assert acts(store) == [("watch", "Ada", NEW + "Halden Foods")]
    assert [rule.name for rule in load_watchlist(file)] == ["Acme", "Halden Foods"]
    again = show("now", store, watchlist_file=file)
    assert BUTTON not in [button.label for button in again.button]
    assert "Halden Foods is on your list, put there by Ada" in words(again)


def test_who_may_not_act_and_who_has_no_file_has_no_button(show: Show, store: Path, tmp_path: Path) -> None:
    reader = show("now", store, host="0.0.0.0", watchlist_file=tmp_path / "watchlist.csv")
    assert not [button for button in reader.button if button.label == BUTTON]
    without = show("now", store)
    assert not [button for button in without.button if button.label == BUTTON]
    assert "set [watchlist] file" in words(without)


def test_a_file_that_cannot_be_written_is_said_and_nothing_is_recorded(show: Show, store: Path, tmp_path: Path) -> None:
    app = show("now", store, watchlist_file=tmp_path / "nowhere" / "watchlist.csv")
    app.text_input(key="by").input("Ada").run()
    click(app, BUTTON)
    assert "cannot be written" in app.error[0].value
    assert not acts(store)


@pytest.mark.parametrize("query", [{"alert": "one-0"}, {"incident": "one"}, {"topic": NEW + "Halden Foods"}])
def test_the_pages_of_the_alert_show_the_name_alone(show: Show, store: Path, query: dict[str, str]) -> None:
    app = show("alerts", store, **query)
    assert "Halden Foods" in words(app)
    assert NEW not in words(app)
    assert 'href="Topic?topic=_new' not in html(app), "a name has no page of its own"


def test_the_command_puts_a_name_on_the_watchlist(store: Path, tmp_path: Path) -> None:
    settings = tmp_path / "desk.toml"
    settings.write_text(f'[store]\nurl = "sqlite:///{store}"\n[watchlist]\nfile = "list.csv"\n')
    run = CliRunner().invoke
    said = run(command, ["topics", "add-name", "Halden Foods", "--by", "Ada", "--config", str(settings), "--json"])
    assert json.loads(said.stdout) == {"topic": "Halden Foods", "names": ["Halden Foods"], "tickers": [], "by": "Ada"}
    assert [rule.name for rule in load_watchlist(tmp_path / "list.csv")] == ["Halden Foods"]
    assert acts(store) == [("watch", "Ada", NEW + "Halden Foods")]
    again = run(command, ["topics", "add-name", "Halden Foods", "--by", "Bo", "--config", str(settings)])
    assert again.exit_code != 0
    assert "already" in str(again.exception)
    assert len(acts(store)) == 1

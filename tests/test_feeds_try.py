"""`foreshock feeds try`: what would be taken of a feed or a file, under a run's own guards, and nothing is stored."""

from __future__ import annotations

import gzip
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from feed_server import Server, entry, rss_of
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.analysis import feed_try
from foreshock.analysis.feed_check import check
from foreshock.cli import main
from foreshock.ingest import rss
from foreshock.ingest.errors import FeedUnavailable
from foreshock.ingest.feed_remedies import remedy, with_remedy
from foreshock.ingest.parsing import ParseRules
from foreshock.settings.models import FeedSettings, Settings

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_url_is_asked_once_and_nothing_is_stored(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    now = time.time()
    undated, ahead = entry(3, None, "Inflation slows again"), entry(4, now + 7_200, "From tomorrow")
    odd = "<item><title>Odd</title><guid>https://zeta.example/5</guid><pubDate>yesterday</pubDate></item>"
    server.sends(rss_of(entry(1, now - 600, "Ford shares fall after recall"), odd, undated, ahead))
    assert main(["feeds", "try", server.url + "/feed", "--allow-private"]) == 0
    shown = capsys.readouterr().out
    assert "rss; it would give 3 stories, 1 dead letter" in shown
    assert re.search(r"\(no date\) +Inflation slows again", shown)
    assert re.search(r"\(date unreadable\) +Odd", shown)
    assert "date_in_future" in shown
    assert "Nothing was stored." in shown
    assert len(server.asked) == 1
    assert list(Path().iterdir()) == []


def test_an_own_address_is_asked_only_if_that_is_meant(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["feeds", "try", server.url + "/feed"]) == 2
    assert "--allow-private" in " ".join(capsys.readouterr().err.split())
    assert main(["feeds", "try", "ftp://news.example.com/feed"]) == 2
    assert server.asked == []


def test_a_configured_feed_is_asked_with_its_own_headers(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    url = server.url.replace("//", "//desk:word@") + "/feed"
    Path("foreshock.toml").write_text(
        f'[[feeds]]\nrss = "{url}"\nname = "zeta"\nallow_private = true\nuser_agent = "Desk desk@example.com"\n'
        'source = "Zeta"\ntopics = ["own"]\nheaders = { X-Key = "k1" }\n'
    )
    server.sends(rss_of(entry(1, time.time() - 60)))
    for named in (url, "zeta", "rss:zeta"):
        assert main(["feeds", "try", named, "--json"]) == 0
        (taken,) = told(capsys)["taken"]
        assert (taken["source"], "own" in taken["topics"]) == ("Zeta", True)
    sent = server.asked[-1]
    assert (sent["User-Agent"], sent["X-Key"]) == ("Desk desk@example.com", "k1")
    assert sent["Authorization"].startswith("Basic ")
    assert main(["feeds", "try", "zeta"]) == 0
    assert "word" not in capsys.readouterr().out


def test_a_feed_that_fails_says_why_and_what_to_do(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.sends(b"", 403)
    assert main(["feeds", "try", server.url + "/feed", "--allow-private"]) == 1
    error = capsys.readouterr().err
    assert "the server answered 403 Forbidden. The server may ask for" in error
    assert "user_agent" in error
    server.sends(b"<html><body>A page</body></html>")
    assert main(["feeds", "try", server.url + "/feed", "--allow-private"]) == 1
    assert "is not an RSS or Atom feed" in capsys.readouterr().err


def test_what_limits_cut_is_said(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    now = time.time()
    many = [entry(number, now - 60 - number, title=f"Story {number}") for number in range(rss.MOST_ITEMS + 3)]
    server.sends(rss_of(entry(9_999, now - 30, title="x" * (rss.TITLE_LIMIT + 1)), *many))
    assert main(["feeds", "try", server.url + "/feed", "--allow-private", "--json"]) == 0
    trial = told(capsys)
    assert trial["stories"] == rss.MOST_ITEMS
    assert trial["taken"][0]["title"].startswith("xxx"), "the newest comes first"
    assert f"the newest {rss.MOST_ITEMS:,} by date are taken, 4 older ones are not" in trial["cut"][0]
    assert f"The title of 1 story is cut at {rss.TITLE_LIMIT:,} characters." in trial["cut"][1]


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_saved_feed_is_read_as_if_it_came_from_the_server(
    pack: Any, encoding: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = rss_of(entry(1, time.time() - 60, "Öl wird teurer")).decode()
    text = text.replace("?>", f' encoding="{encoding}"?>', 1)
    Path("saved").write_bytes(pack(text.encode(encoding)))
    assert main(["feeds", "try", "saved", "--json"]) == 0
    trial = told(capsys)
    assert (trial["kind"], trial["taken"][0]["title"]) == ("rss", "Öl wird teurer")
    Path("page.xml").write_text("<?xml version='1.0'?><page/>")
    assert main(["feeds", "try", "page.xml"]) == 1
    assert "page.xml: is not an RSS or Atom feed" in capsys.readouterr().err


def test_a_file_of_dead_letters_fails_and_names_their_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    Path("odd.csv").write_text("title,published_at\nA,tomorrow\n,2024-05-06T00:00:00Z\n")
    assert main(["feeds", "try", "odd.csv"]) == 1
    shown = capsys.readouterr().out
    assert "it would give 0 stories, 2 dead letters" in shown
    assert "bad_date" in shown
    assert "no_text" in shown
    assert main(["feeds", "try", "none.csv"]) == 2


RECORD = st.fixed_dictionaries(
    {},
    optional={
        "title": st.sampled_from(["Oil falls", "", 7]),
        "published_at": st.sampled_from(["2024-05-06T10:00:00Z", "2024-05-06", "soon", 12, "2024-05-06T10:00:00"]),
        "source": st.sampled_from(["A", {"name": "B"}]),
        "topics": st.lists(st.sampled_from(["x", "y"]), max_size=2),
    },
)


@settings(max_examples=30, deadline=None)
@given(st.lists(RECORD, max_size=6))
def test_a_trial_of_a_file_counts_what_check_counts(records: list[dict[str, Any]]) -> None:
    """Invariant: for any file, stories and dead letters of a trial are those of `check`, reason by reason."""
    path = Path("some.jsonl")
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    trial, report = feed_try.try_file(path, ParseRules(), Settings()), check(path, ParseRules())
    reasons = {reason: letters.count for reason, letters in report.dead_letters.items()}
    found = {reason: sum(dead.reason == reason for dead in trial.dead) for reason in {d.reason for d in trial.dead}}
    assert (trial.stories, found) == (report.stories, reasons)


def test_a_trial_keeps_a_bounded_number_and_counts_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_try, "KEPT", 5)
    good = json.dumps({"title": "Oil falls", "published_at": "2024-05-06T10:00:00Z"})
    Path("long.jsonl").write_text(f"{good}\nbad\n" * 9)
    trial = feed_try.try_file(Path("long.jsonl"), ParseRules(), Settings())
    assert (trial.stories, len(trial.taken), trial.dead_letters, len(trial.dead)) == (9, 5, 9, 5)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("the server answered 403 Forbidden", "user_agent"),
        ("the server answered 404 Not Found", "URL"),
        ("the server answered 429 Too Many Requests", "every"),
        ("the server answered 503 Service Unavailable", "wait"),
        ("cannot be fetched: the name x cannot be resolved", "DNS"),
        ("cannot be fetched: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", "certificate"),
        ("no answer within 10 s", "proxy"),
        ("has more than 300,000 tags", "publisher"),
    ],
)
def test_each_failure_has_a_remedy(error: str, says: str) -> None:
    assert says in remedy(error)
    assert with_remedy(error) == f"{error}. {remedy(error)}"


def test_an_answer_304_to_the_first_request_is_a_failure(server: Server) -> None:
    server.sends(b"", 304)
    with pytest.raises(FeedUnavailable, match="304"):
        feed_try.try_url(FeedSettings(rss=server.url, allow_private=True), Settings())

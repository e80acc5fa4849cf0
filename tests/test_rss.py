"""RSS and Atom: what a server may send, what becomes of it, and that each item is taken once."""

from __future__ import annotations

import contextlib
import gzip
import json
import sqlite3
import time
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import structlog
from feed_server import MICRO, NOW, Answer, Server, entry, rss_of
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from sqlalchemy.exc import OperationalError

from foreshock.ingest import rss_poll
from foreshock.ingest.errors import FeedUnavailable
from foreshock.ingest.markup import as_utf8, plain
from foreshock.ingest.rss import FeedRules, items
from foreshock.ingest.rss_poll import Validators, fetch
from foreshock.monitor.closing import Closer
from foreshock.monitor.errors import Misconfigured, StoreUnavailable
from foreshock.monitor.store import open_store, progress, rss_feeds
from foreshock.monitor.store.database import connect, reading
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.topics.matching import matcher_of
from foreshock.observability.outage import Outage
from foreshock.processes import redrive, wiring
from foreshock.processes.batches import BatchSize, Worker
from foreshock.processes.loop import Loop
from foreshock.processes.run import run
from foreshock.settings.load import SettingsError, load
from foreshock.settings.models import Settings
from foreshock.settings.versions import topic_rules
from foreshock.sources import rss as sources_rss
from foreshock.sources.feeds import Feeds
from foreshock.sources.rss import RssSource

pytestmark = pytest.mark.slow

NONE = Validators()


def ask(server: Server, validators: Validators = NONE, path: str = "/feed") -> rss_poll.Answer | None:
    return fetch(server.url + path, validators, FeedRules("zeta"), allow_private=True)


def records(data: bytes, **rules: Any) -> list[dict[str, Any]]:
    found = items(data, "", "https://zeta.example/news/feed.xml", FeedRules("zeta", **rules), NOW * MICRO)
    return [json.loads(item.record) for item in found]


# An item becomes a record


def test_an_item_is_a_record_in_plain_text_with_absolute_links() -> None:
    data = rss_of(
        "<language>en-us</language><item><title>AT&amp;T &lt;b&gt;up&lt;/b&gt; 3 &lt; 4</title><link>/a/1</link>"
        '<guid isPermaLink="false">17</guid><pubDate>Mon, 02 Feb 2026 10:00:00 GMT</pubDate><description><![CDATA['
        '<p>Hello <a href="/x">w</a>orld</p><script>alert(1)</script><p>R&amp;D</p>]]></description></item>'
    )
    assert records(data) == [
        {
            "id": "zeta#17",
            "title": "AT&T up 3 < 4",
            "body": "Hello world R&D",
            "url": "https://zeta.example/a/1",
            "published_at": "Mon, 02 Feb 2026 10:00:00 GMT",
            "source": "Zeta News",
            "language": "en-us",
        }
    ]


def test_an_atom_entry_is_one_too() -> None:
    data = (
        b'<feed xmlns="http://www.w3.org/2005/Atom" xml:base="https://b.example/x/"><title>B</title><entry>'
        b'<title type="html">R&amp;amp;D</title><id>tag:b,1</id><link href="y"/><updated>2026-02-02T10:00:00Z</updated>'
        b'<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml">Hi <b>there</b></div></content></entry>'
        b"</feed>"
    )
    assert records(data, source="desk", language="de", topics=("x",)) == [
        {
            "id": "tag:b,1",
            "title": "R&D",
            "body": "Hi there",
            "url": "https://b.example/x/y",
            "published_at": "2026-02-02T10:00:00Z",
            "source": "desk",
            "language": "de",
            "topics": ["x"],
        }
    ]


def test_items_come_oldest_first_each_once_and_undated_ones_when_they_were_fetched() -> None:
    data = rss_of(entry(3, None), entry(2, NOW - 60), entry(1, NOW - 120), entry(2, NOW - 60, "again"))
    assert [record["id"][-1] for record in records(data)] == ["1", "2", "2", "3"], "an id may have two texts"
    assert len(records(rss_of(entry(2), entry(2)))) == 1


def test_what_has_no_guid_is_known_by_its_link_and_else_by_its_text() -> None:
    first, second = records(rss_of("<item><title>a</title></item>", "<item><title>b</title><link>/l</link></item>"))
    assert {first["id"], second["id"]} >= {"https://zeta.example/l"}
    assert records(rss_of("<item><title>a</title></item>"))[0]["id"] in {first["id"], second["id"]}


def test_links_that_are_not_of_the_web_are_left_out_and_an_aggregators_sources_are_kept() -> None:
    (record,) = records(
        rss_of(
            "<item><title>x</title><link>javascript:alert(1)</link>"
            '<source url="https://r.example">Reuters</source></item>'
        )
    )
    assert "url" not in record
    assert record["source"] == "Reuters"


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2026-02-02T10:00:00", "2026-02-02T10:00:00"),  # without a zone: ingest's rules decide
        ("2026-02-02", "2026-02-02"),
        ("Mon, 2 Feb 26 9:00 EST", "Mon, 2 Feb 26 9:00 EST"),
        ("20 hours ago, 2026-02-02T10:00Z", ""),
        ("Mon, 02 Feb 2026 10:00:00 +02:00", "Mon, 02 Feb 2026 10:00:00 +02:00"),
        ("Mon, 02 Feb 2026 10:00:00 CEST", ""),  # unreadable: as if there were no date
        *((date, date) for date in ("Mon, 02 Feb 2026 10:0:0 GMT", "2026-02-02T10:0:00Z", "Mon, 2 Feb 2026 1:2:3 GMT")),
        *(
            (date, date)
            for date in ("2 Feb 2026 22:00:00 PM GMT", "2 Feb 2026 0:00 AM GMT", "2 Feb 2026 9:00 +0000 GMT")
        ),
        ("soon", ""),
        ("0000-00-00T00:00:00Z", ""),
        ("0000-01-01T00:00:00Z", ""),
        ("0000-00-00 00:00:00 +0000", ""),
        ("2026-02-31T10:00:00Z", ""),  # no other day is taken for one that does not exist
        ("2026-02-02T10:00:00+02:00Z", ""),
        ("99999-01-01T00:00:00Z", ""),
    ],
)
def test_a_date_is_passed_on_as_it_stands_or_said_to_be_unread(date: str, expected: str) -> None:
    (record,) = records(rss_of(f"<item><title>x</title><pubDate>{date}</pubDate></item>"))
    assert record.get("published_at", "") == expected
    assert record.get("published_unread", "") == ("" if expected else date)


@given(st.text("0123456789-:.,TZ+ Mondy GMTE", max_size=30), st.sampled_from(["pubDate", "updated", "dc:date"]))
def test_no_date_makes_a_feed_unreadable(date: str, name: str) -> None:
    dublin = 'xmlns:dc="http://purl.org/dc/elements/1.1/"'
    (record,) = records(rss_of(f"<item {dublin}><title>x</title><{name}>{date}</{name}></item>"))
    assert record["title"] == "x"
    assert record.get("published_at", record.get("published_unread", "")) == date.strip()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "windows-1252", "iso-8859-1"])
def test_a_feed_in_any_encoding_is_read(encoding: str) -> None:
    text = (
        f'<?xml version="1.0" encoding="{encoding}"?>' + rss_of(entry(1, None, "café €1")).decode().partition("?>")[2]
    )
    text = text.replace("€", "E") if encoding == "iso-8859-1" else text
    assert records(text.encode(encoding))[0]["title"].startswith("café")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"<html><title>Not found</title></html>", "not an RSS or Atom feed"),
        (b"", "not an RSS or Atom feed"),
        (b"<!DOCTYPE a [<!ENTITY b 'c'><!ENTITY d '&b;&b;'>]>" + rss_of(entry(1)), "entities"),
        ('<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY b "c">]><rss/>'.encode("utf-16"), "entities"),
        (rss_of("<a/>" * 400_000), "tags"),
        (rss_of(f"<item><description>{'&lt;a>' * 400_000}</description></item>"), "tags"),
    ],
)
def test_what_is_no_feed_or_a_bomb_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(FeedUnavailable, match=why):
        records(data)


@given(st.text(max_size=300), st.binary(max_size=300))
def test_markup_and_bytes_of_any_kind_become_text(text: str, data: bytes) -> None:
    assert "\n" not in plain(text)
    as_utf8(data).decode()
    with contextlib.suppress(FeedUnavailable):
        assert len(records(b"<rss version='2.0'><channel><item><title>" + data)) <= 300


@pytest.mark.parametrize(
    "reference",
    ["&#xD800;", "&#xdfff;", "&#0;", "&#x110000;", "&#9999999999;", f"&#{'9' * 5000};", f"&#x{'f' * 5000};"],
)
def test_a_reference_to_no_character_costs_that_character_alone(reference: str) -> None:
    item = f"<item><title>a{reference}b</title><description>{reference.replace('&', '&amp;')}</description></item>"
    found = {
        record["title"]: record.get("body") for record in records(rss_of(entry(1, title="Good &#x41;&#66;"), item))
    }
    assert found == {"Good AB": None, "a\ufffdb": "\ufffd"}
    assert plain(f"a{reference}b") == "a\ufffdb"
    assert plain(f"a&#{'0' * 5000}65;&#x1F600;&#128512;") == "aA\U0001f600\U0001f600"


@pytest.mark.parametrize("start", ["<!--", "<a ", "<a href='", "</", "<![CDATA[", "<script>", "<?", "<"])
def test_html_that_never_ends_takes_time_that_grows_with_its_length_alone(start: str) -> None:
    began = time.process_time()
    plain(start * (200_000 // len(start)))
    assert time.process_time() - began < 5


def test_a_tag_that_does_not_end_takes_no_text_with_it() -> None:
    assert plain("<b>AT&amp;T</b> up <a href='/x") == "AT&T up <a href='/x"
    assert plain("Up <!-- so <b>it</b> goes") == "Up <!-- so it goes"
    assert plain("Up<script>if (a < b) c()") == "Up"


# What a server may answer


def test_it_is_asked_conditionally_and_304_is_nothing_new(server: Server) -> None:
    server.answer = lambda path, headers: (
        (304, {}, b"")
        if headers.get("If-None-Match") == '"v1"' and headers.get("If-Modified-Since") == "yesterday"
        else (200, {"ETag": '"v1"', "Last-Modified": "yesterday"}, rss_of(entry(1)))
    )
    first = ask(server)
    assert first is not None
    assert ask(server, first.validators) is None


@given(
    st.lists(st.binary(max_size=40), min_size=1, max_size=4),
    st.sampled_from([b"", b"\0" * 9, b"\n", b"\x1f", b"<html>"]),
    st.integers(1, 60),
)
def test_gzip_of_several_members_is_read_to_its_end(parts: list[bytes], behind: bytes, size: int) -> None:
    """Wherever the network cuts it, and with whatever a server writes behind it."""
    members = [gzip.compress(part) for part in parts]
    packed = b"".join(members)

    def unpacked(data: bytes) -> bytes:
        chunks = (data[at : at + size] for at in range(0, len(data), size))
        return b"".join(rss_poll._unpacked(chunks, packed=True))

    assert unpacked(packed + behind) == b"".join(parts)
    with pytest.raises(FeedUnavailable, match="truncated"):
        unpacked(packed[: -min(size, len(members[-1]) - 2)])


def test_gzip_is_read_and_a_bomb_of_it_or_a_torn_one_is_not(server: Server) -> None:
    packed = gzip.compress(rss_of(entry(1)))
    server.sends(packed, Content_Encoding="gzip", Content_Type="text/plain")
    answer = ask(server)
    assert answer is not None
    assert len(answer.items) == 1
    server.sends(gzip.compress(b"\0" * (rss_poll.LARGEST + 1000)), Content_Encoding="gzip")
    with pytest.raises(FeedUnavailable, match="larger than 10 MiB"):
        ask(server)
    server.sends(packed[:-20], Content_Encoding="gzip")
    with pytest.raises(FeedUnavailable, match="truncated"):
        ask(server)
    server.sends(b"?", Content_Encoding="br")
    with pytest.raises(FeedUnavailable, match="did not offer"):
        ask(server)


def test_redirects_are_followed_and_a_move_for_good_is_told(server: Server) -> None:
    def answer(path: str, headers: Any) -> Answer:
        if path == "/circle":
            return 302, {"Location": "/circle"}, b""
        return (301, {"Location": "/new"}, b"") if path == "/feed" else (200, {}, rss_of(entry(1)))

    server.answer = answer
    found = ask(server)
    assert found is not None
    assert found.moved_to == server.url + "/new"
    with pytest.raises(FeedUnavailable, match="circle"):
        ask(server, path="/circle")


def test_errors_say_what_was_answered(server: Server) -> None:
    server.sends(b"", 503, Retry_After="120")
    with pytest.raises(FeedUnavailable, match="503 Service Unavailable") as error:
        ask(server)
    assert (error.value.retry_after, error.value.gone) == (120, False)
    server.sends(b"", 410)
    with pytest.raises(FeedUnavailable, match="410 Gone") as error:
        ask(server)
    assert error.value.gone


def test_a_server_that_hangs_or_drips_is_left(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rss_poll, "SILENCE", 0.2)
    server.answer = lambda path, headers: (time.sleep(0.6), (200, {}, b""))[1]
    with pytest.raises(FeedUnavailable, match=r"no answer within 0\.2 s"):
        ask(server)
    monkeypatch.setattr(rss_poll, "SECONDS", -1.0)
    server.sends(rss_of(entry(1)))
    with pytest.raises(FeedUnavailable, match="did not arrive completely"):
        ask(server)


# A feed in a run


class Desk:
    """Loop and feeds with a clock that stands until it is moved; feeds are polled when the test says."""

    def __init__(
        self,
        folder: Path,
        server: Server,
        scorer: Any,
        paths: tuple[str, ...] = ("/feed",),
        url: str = "",
        **of_worker: Any,
    ) -> None:
        self.url = url or f"sqlite:///{folder / 'store.db'}"
        self.settings = load(None, flags={"store.url": self.url, "watchlist.defaults": False}, environ={}).settings
        self.now = NOW * MICRO
        self.engine = connect(self.url, create=True)
        rules = wiring.time_rules(self.settings)
        with reading(self.engine) as connection:
            known = progress.load(connection)
            self.sources = [
                RssSource(
                    known.get(f"rss:{path}") or Partition(f"rss:{path}", "rss"),
                    server.url + path,
                    FeedRules(path),
                    connection,
                    every=120 * MICRO,
                    clock=lambda: self.now,
                    allow_private=True,
                    seen=self.seen,
                )
                for path in paths
            ]
        worker = Worker(matcher_of(topic_rules(self.settings)), scorer, rules, settings=1, **of_worker)
        closer = Closer(self.engine, rules, settings=1)
        self.loop = Loop(
            self.engine,
            worker,
            closer,
            [Feeds(self.sources)],
            rules,
            clock=lambda: self.now,
            outage=Outage("store", shortest=0.0, longest=0.0),
        )
        self.loop.begin()

    def seen(self, name: str, ids: Any) -> set[tuple[str, str]]:
        with reading(self.engine) as connection:
            return rss_feeds.taken(connection, name, ids)

    def poll(self, after: float = 120) -> None:
        self.now += round(after * MICRO)
        for source in self.sources:
            source.poll()
        while self.loop.turn():
            pass

    def titles(self) -> list[str]:
        return sorted(row["title"] for row in open_store(self.url).stories())

    def rows(self) -> dict[str, rss_feeds.RssFeed]:
        with reading(self.engine) as connection:
            return rss_feeds.load(connection)


def test_items_are_taken_once_also_after_a_restart(tmp_path: Path, server: Server, quick_scorer: Any) -> None:
    server.sends(
        rss_of(
            entry(1, NOW - 60), "<item><guid>d</guid><pubDate>2026-02-02T10:00:00</pubDate><title>dead</title></item>"
        )
    )
    desk = Desk(tmp_path, server, quick_scorer)
    desk.poll()
    desk.poll()
    for _ in range(2):  # stopped and started again; killed and started again
        desk.loop.end(close=False)
        desk = Desk(tmp_path, server, quick_scorer)
        server.sends(
            rss_of(entry(1, NOW - 60, "changed"), entry(2, NOW), "<item><guid>d</guid><title>x</title></item>")
        )
        desk.poll()
    assert len(desk.titles()) == 4, "what was rewritten is taken too, and once"
    assert [row["reason"] for row in open_store(desk.url).dead_letters()] == ["date_without_zone"]
    assert desk.sources[0].partition.next_offset == 5


def test_an_item_whose_date_cannot_be_read_is_like_one_without(
    tmp_path: Path, server: Server, quick_scorer: Any
) -> None:
    unread = [
        f"<item><guid>u{n}</guid><pubDate>{date}</pubDate><title>unread {n}</title></item>"
        for n, date in enumerate(("soon", "Mon, 01 Jan 0001 00:00:00 +0000", "06/05/2026 10:00"))
    ]
    server.sends(rss_of(entry(1, NOW - 60), *unread))
    desk = Desk(tmp_path, server, quick_scorer)
    desk.poll()
    assert len(desk.titles()) == 4
    assert list(open_store(desk.url).dead_letters()) == []


def test_what_to_ask_next_survives_a_restart(tmp_path: Path, server: Server, quick_scorer: Any) -> None:
    server.sends(rss_of(entry(1)), ETag='"v7"')
    Desk(tmp_path, server, quick_scorer).poll()
    server.sends(b"", 304)
    Desk(tmp_path, server, quick_scorer).poll()
    assert server.asked[-1]["If-None-Match"] == '"v7"'


def test_what_was_not_committed_is_asked_for_again(tmp_path: Path, server: Server, quick_scorer: Any) -> None:
    """Killed between a poll and its commit: the next start asks unconditionally."""
    server.sends(rss_of(entry(1)), ETag='"v7"')
    desk = Desk(tmp_path, server, quick_scorer)
    desk.sources[0].poll()
    desk = Desk(tmp_path, server, quick_scorer)
    desk.poll()
    assert "If-None-Match" not in server.asked[-1]
    assert len(desk.titles()) == 1


def test_a_date_more_than_an_hour_ahead_of_the_fetch_is_a_dead_letter_and_none_is_the_fetch(
    tmp_path: Path, server: Server, quick_scorer: Any
) -> None:
    # The fetch is two minutes after NOW.
    server.sends(rss_of(entry(1, NOW + 120 + 3590), entry(2, NOW + 120 + 3610), entry(3, None)))
    desk = Desk(tmp_path, server, quick_scorer)
    desk.poll()
    assert [row["reason"] for row in open_store(desk.url).dead_letters()] == ["date_in_future"]
    by_title = {row["title"]: row["published_at"] for row in open_store(desk.url).stories()}
    undated = datetime.fromisoformat(str(by_title["Story 3 of many in the feed today"]))
    assert undated.timestamp() == NOW + 120


def test_a_feed_that_fails_is_backed_off_to_an_hour_and_harms_no_other(
    tmp_path: Path, server: Server, quick_scorer: Any
) -> None:
    asked: list[float] = []

    def answer(path: str, headers: Any) -> Answer:
        if path == "/good":
            return 200, {}, rss_of(entry(1, NOW))
        asked.append(desk.now / MICRO)
        return 500, {}, b""

    server.answer = answer
    desk = Desk(tmp_path, server, quick_scorer, ("/bad", "/good"))
    with structlog.testing.capture_logs() as logs:
        for _ in range(150):
            desk.poll()
    gaps = [later - before for before, later in pairwise(asked)]
    assert gaps[:3] == [240, 480, 960]
    assert 0.9 * 3600 <= max(gaps) <= 3600  # less up to a tenth, by chance
    assert len(desk.titles()) == 1
    failed = [line for line in logs if line["event"] == "feed failed"]
    assert len(failed) == len(asked)
    assert "500 Internal Server Error" in failed[0]["error"]
    assert desk.rows()["rss:/bad"].failures == len(asked)
    assert REGISTRY.get_sample_value("foreshock_feed_failures", {"feed": "rss:/bad"}) == len(asked)
    store = open_store(desk.url)
    assert list(store.overview()["failing_feeds"]) == ["rss:/bad"]
    errors = {row["source"]: row["error"] for row in store.sources()}
    assert errors["rss:/good"] is None
    assert errors["rss:/bad"].startswith(f"failed {len(asked)} times in a row: ")
    # Time goes on without it: the good feed's story is decided.
    assert [row["ending"] for row in open_store(desk.url).stories()] == ["scored"]
    server.sends(rss_of(entry(2, desk.now / MICRO)))
    desk.poll(4000)
    assert desk.rows()["rss:/bad"].failures == 0
    assert store.overview()["failing_feeds"] == {}
    assert REGISTRY.get_sample_value("foreshock_feed_failures", {"feed": "rss:/bad"}) == 0


def test_a_feed_that_is_gone_leaves_and_is_not_asked_again(tmp_path: Path, server: Server, quick_scorer: Any) -> None:
    server.sends(b"", 410)
    desk = Desk(tmp_path, server, quick_scorer)
    desk.poll()
    desk.poll()
    assert len(server.asked) == 1
    with reading(desk.engine) as connection:
        assert not progress.load(connection)["rss:/feed"].progress.member


def test_what_a_feed_said_is_saved_only_once_all_of_it_is_stored(
    tmp_path: Path, server: Server, quick_scorer: Any
) -> None:
    """Reading stopped before the last item, while those before it were still on their way into the store."""
    dead = [
        f"<item><guid>d{n}</guid><pubDate>2026-02-02T10:00:00</pubDate><title>dead</title></item>" for n in range(3)
    ]
    server.sends(rss_of(entry(1), entry(2), *dead), ETag='"v7"')
    desk = Desk(tmp_path, server, quick_scorer, size=BatchSize(records=2), watched=3)
    with pytest.raises(Misconfigured, match="date_without_zone"):
        desk.poll()
    desk.loop.end(close=False)
    assert desk.rows() == {}
    Desk(tmp_path, server, quick_scorer).poll()
    assert "If-None-Match" not in server.asked[-1]
    assert len(list(open_store(desk.url).dead_letters())) == 3


def test_a_feed_of_which_the_store_could_not_say_what_it_has_is_not_saved(
    tmp_path: Path, server: Server, quick_scorer: Any
) -> None:
    server.sends(rss_of(entry(1)), ETag='"v7"')
    desk = Desk(tmp_path, server, quick_scorer, ("/a", "/b"))
    locked = OperationalError("SELECT", {}, sqlite3.OperationalError("database is locked"))
    desk.sources[1]._seen = Mock(side_effect=locked)
    with pytest.raises(OperationalError):
        desk.poll()
    desk.loop.end(close=False)
    assert set(desk.rows()) == {"rss:/a"}


def test_a_feed_that_is_gone_is_asked_again_where_that_could_not_be_stored(
    tmp_path: Path, server: Server, quick_scorer: Any, failing_commits: Callable[..., None]
) -> None:
    server.sends(b"", 410)
    desk = Desk(tmp_path, server, quick_scorer)
    failing_commits(StoreUnavailable("The store does not answer."))
    for _ in range(2):
        desk.poll(600)
        desk.loop.turn()
    assert desk.rows()["rss:/feed"].failures == 2
    assert desk.sources[0].over


def test_nothing_new_is_no_reason_to_go_on_from_an_answer_that_was_not_stored(
    tmp_path: Path,
    server: Server,
    quick_scorer: Any,
    monkeypatch: pytest.MonkeyPatch,
    failing_commits: Callable[..., None],
) -> None:
    """The loop reads its place again just when a poll has been told that nothing is new since that answer."""
    server.sends(rss_of(entry(1)), ETag='"v7"')
    desk = Desk(tmp_path, server, quick_scorer)
    failing_commits(StoreUnavailable("The store does not answer."))
    desk.poll()
    source, answered = desk.sources[0], False

    def nothing_new(*_: Any, **__: Any) -> None:
        nonlocal answered
        answered = True

    def clock() -> int:
        if answered:
            desk.loop.turn()
        return desk.now

    with monkeypatch.context() as patch:
        patch.setattr(rss_poll, "fetch", nothing_new)
        patch.setattr(source, "_clock", clock)
        source.poll()
    desk.loop.turn()
    assert desk.rows()["rss:/feed"].etag == ""
    desk.poll()
    assert desk.titles() == ["Story 1 of many in the feed today"]


@pytest.mark.postgres
def test_time_waits_for_no_feed_that_the_settings_no_longer_have(
    tmp_path: Path, server: Server, quick_scorer: Any, postgres: str
) -> None:
    for url in ("", postgres):
        server.sends(rss_of(entry(1, NOW)))
        Desk(tmp_path, server, quick_scorer, ("/old", "/feed"), url).poll()  # and is killed
        desk = Desk(tmp_path, server, quick_scorer, ("/feed",), url)
        with reading(desk.engine) as connection:
            members = {name for name, p in progress.load(connection).items() if p.progress.member}
        desk.engine.dispose()
        assert members == {"rss:/feed"}


def test_time_waits_for_a_poll_that_is_overdue(tmp_path: Path, server: Server, quick_scorer: Any) -> None:
    """After a night asleep, what the feed published meanwhile is not late."""
    server.sends(rss_of(entry(1, NOW)))
    desk = Desk(tmp_path, server, quick_scorer)
    desk.poll()
    desk.now += 2 * 3600 * MICRO
    while desk.loop.turn():
        pass
    assert desk.sources[0].partition.progress.watermark == NOW * MICRO, "as at the poll"
    server.sends(rss_of(entry(2, NOW + 3600), entry(3, NOW + 2 * 3600)))
    desk.poll(1)
    assert [row["late"] for row in open_store(desk.url).stories()] == [False, False, False]
    assert sources_rss.GRACE < 3600 * MICRO


def test_the_whole_command_reads_rss(tmp_path: Path, server: Server, quick_scorer: Any, all_rows: Any) -> None:
    now = time.time()
    server.sends(rss_of(*(entry(n, now - 600 + n) for n in range(20)), entry(99, now + 7200)))
    url = f"sqlite:///{tmp_path / 'store.db'}"
    settings = settings_for(
        url, [{"rss": server.url.replace("://", "://me:secret@") + "/feed", "topics": ["T"], "allow_private": True}]
    )
    with structlog.testing.capture_logs() as logs:
        result = run(settings, until_end=True, scorer=quick_scorer)
    assert (result.counts["scored"], result.counts["dead_letters"]) == (20, 1)
    assert open_store(url).series("T")["stories"].sum() == 20
    assert server.asked[-1]["Authorization"].startswith("Basic ")
    assert "secret" not in str(logs) + str(all_rows(url))
    run(settings, until_end=True, scorer=quick_scorer)
    assert len(all_rows(url)["stories"]) == 20
    # Dead letters of a feed are records like others: fed again, they are judged again.
    again = redrive.replay_dead_letters(settings, scorer=quick_scorer)
    assert again.counts["records"] == 1


def settings_for(url: str, feeds: list[dict[str, Any]]) -> Settings:
    return load(None, flags={"store.url": url, "watchlist.defaults": False, "feeds": feeds}, environ={}).settings


@pytest.mark.parametrize(
    ("feed", "why"),
    [
        ({}, "one of rss"),
        ({"rss": "https://a.example/x", "file": "b"}, "one of rss"),
        ({"rss": "ftp://a.example/x"}, "not a URL"),
        ({"rss": "https://a.example/x", "every": "1s"}, "10s or more"),
        ({"file": "a.jsonl", "language": "de"}, "language is for rss"),
        ({"rss": "https://a.example/x", "evry": "1s"}, "did you mean"),
    ],
)
def test_a_feed_that_makes_no_sense_is_refused(feed: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        settings_for("sqlite:///x.db", [feed])


def test_two_feeds_of_one_name_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"two feeds are called news\.jsonl"):
        settings_for("sqlite:///x.db", [{"file": "a/news.jsonl"}, {"file": "b/news.jsonl"}])

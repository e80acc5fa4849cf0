"""What real feeds have and a tidy one has not: nested titles, wrong encodings, rewritten items, more than is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from feed_server import MICRO, NOW, Server, entry, rss_of
from hypothesis import given
from hypothesis import strategies as st
from test_rss import Desk, records

from foreshock.ingest import rss, rss_poll
from foreshock.ingest.markup import as_utf8, plain_text
from foreshock.ingest.nested import without_nested
from foreshock.ingest.parsing import ParseRules, parse
from foreshock.ingest.rss import FeedRules, in_order
from foreshock.ingest.rss_poll import Validators, fetch
from foreshock.ingest.story import Story
from foreshock.monitor.store import open_store
from foreshock.settings.models import FeedSettings
from foreshock.sources import rss as rss_source

CONTENT = "{http://purl.org/rss/1.0/modules/content/}"
MEDIA = f'xmlns:media="http://search.yahoo.com/mrss/" xmlns:content="{CONTENT.strip("{}")}"'


def rss_with(item: str) -> bytes:
    return f'<rss version="2.0" {MEDIA}><channel><title>Zeta</title><item>{item}</item></channel></rss>'.encode()


# Nested elements


@pytest.mark.parametrize(
    "item",
    [
        "<title>Own</title><description>Body</description><image><title>Photo</title><link>/x</link></image>",
        "<image><title>Photo</title></image><title>Own</title><description>Body</description>",
        "<title>Own</title><description>Body</description><media:description>Caption</media:description>",
        "<media:title>Photo</media:title><title>Own</title><media:description>Caption</media:description>"
        "<description>Body</description>",
        "<title>Own</title><description>Body</description><media:content url='/x'><media:title>Photo</media:title>"
        "<media:description>Caption</media:description></media:content>",
        "<title>Own</title><description>Body</description><related><item><title>Other</title></item></related>",
        "<title>Own</title><description>Short</description><content:encoded>&lt;p&gt;Body&lt;/p&gt;</content:encoded>"
        "<enclosure><description>Photo</description></enclosure>",
    ],
)
def test_nested_titles_and_captions_do_not_replace_those_of_the_item(item: str) -> None:
    (record,) = records(rss_with(item))
    assert (record["title"], record["body"]) == ("Own", "Body")


def test_a_caption_stands_in_for_a_text_that_is_missing() -> None:
    caption = "<media:group><media:description>Caption</media:description></media:group>"
    (record,) = records(rss_with(f"<title>Own</title>{caption}"))
    assert record["title"] == "Own"


def test_xhtml_and_the_source_of_an_entry_keep_what_is_in_them() -> None:
    data = (
        b'<feed xmlns="http://www.w3.org/2005/Atom"><title>Zeta</title><entry><id>urn:1</id><title>Own</title>'
        b"<source><title>Quay</title></source>"
        b'<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>Hello <b>world</b></p></div></content>'
        b"</entry></feed>"
    )
    (record,) = records(data)
    assert (record["title"], record["body"], record["source"]) == ("Own", "Hello world", "Quay")


OWN = {
    "title": "<title>Own</title>",
    "link": "<link>https://zeta.example/1</link>",
    "guid": "<guid>urn:1</guid>",
    "date": "<pubDate>Mon, 06 May 2024 13:30:00 GMT</pubDate>",
    "body": "<description>Body</description>",
}
OWN_OF_ATOM = {
    "title": "<title>Own</title>",
    "link": '<link href="https://zeta.example/1"/>',
    "guid": "<id>urn:1</id>",
    "date": "<updated>2024-05-06T13:30:00Z</updated>",
    "body": "<summary>Body</summary>",
}
NESTED = st.sampled_from(
    [
        '<media:content url="u"/>',
        "<media:content url='a>b'/>",
        "<media:content url='u'></media:content>",
        "<media:content url='u'><media:title>Photo</media:title></media:content>",
        "<media:group><media:content /><media:description>Caption</media:description></media:group>",
        '<media:thumbnail url="u"/>',
        "<media:title/>",
        "<media:description>Caption /></media:description>",
        "<image/>",
        "<image><title/><link>/photo</link></image>",
        "<related><item/><item><title>Other</title><guid>urn:2</guid></item></related>",
        "<enclosure url='u' type='image/png'><description>Photo</description></enclosure>",
        "<content:encoded/>",
    ]
)


@pytest.mark.parametrize("atom", [False, True])
@given(st.permutations(list(OWN)), st.lists(st.tuples(st.integers(0, 5), NESTED), max_size=4))
def test_an_item_is_the_same_wherever_nested_elements_stand_among_its_own(
    atom: bool, order: list[str], nested: list[tuple[int, str]]
) -> None:
    """Its fields do not depend on the order of its elements, nor on nested ones, empty or filled, between them."""
    own = OWN_OF_ATOM if atom else OWN
    parts = [own[name] for name in order]
    for place, element in nested:
        parts.insert(place, element)
    inside = "".join(parts)
    atom_feed = f'<feed xmlns="http://www.w3.org/2005/Atom" {MEDIA}><title>Zeta</title><entry>{inside}</entry></feed>'
    (record,) = records(atom_feed.encode() if atom else rss_with(inside))
    published = record.pop("published_at")
    assert published == ("2024-05-06T13:30:00Z" if atom else "Mon, 06 May 2024 13:30:00 GMT")
    assert record == {
        "id": "urn:1", "title": "Own", "body": "Body", "url": "https://zeta.example/1", "source": "Zeta",
    }  # fmt: skip


_ATTRIBUTES = st.sampled_from(["", ' a="/"', " a='>'", ' a="/>" ', " "])
_TAGS = st.sampled_from(
    ["title", "link", "description", "content:encoded", "media:content", "media:title", "item", "x", "image", "guid"]
)
_ELEMENTS = st.recursive(
    st.builds(lambda tag, given: f"<{tag}{given}/>", _TAGS, _ATTRIBUTES) | st.sampled_from(["a/>", "<!--/>-->", " "]),
    lambda inner: st.builds(
        lambda tag, given, children: f"<{tag}{given}>{''.join(children)}</{tag}>",
        _TAGS,
        _ATTRIBUTES,
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)


@given(st.lists(_ELEMENTS, max_size=5).map("".join))
def test_what_is_cut_from_a_feed_is_whole_elements(inside: str) -> None:
    """A feed that is XML stays XML, and keeps the elements of its item that have no prefix and are not nested."""
    before = ElementTree.fromstring(rss_with(inside))
    after = ElementTree.fromstring(without_nested(rss_with(inside)))
    (item, left) = (feed.find("channel/item") for feed in (before, after))
    assert item is not None
    assert left is not None
    own = {"title", "link", "description", "guid", "x", "image", CONTENT + "encoded"}
    assert [part.tag for part in left if part.tag in own] == [part.tag for part in item if part.tag in own]


@given(st.binary(max_size=60))
def test_what_is_no_xml_is_left_as_it_is(data: bytes) -> None:
    assert without_nested(data + b"<a") == data + b"<a"


# Settings


def test_the_form_of_dates_and_the_limit_of_a_source_reach_the_parser() -> None:
    """All that a process of its own needs is in the request, as JSON."""
    parsing = ParseRules(date_format="dayfirst", source_bytes=300)
    request = rss.request_of("", "https://zeta.example/", FeedRules("zeta", parsing=parsing))
    data = rss_of(f"<item><title>x</title><pubDate>31.12.2023 10:00 GMT</pubDate><source>{'s' * 400}</source></item>")
    (record,) = rss.records_of(data, **json.loads(json.dumps(request)))
    assert (record["published_at"], record["source"]) == ("31.12.2023 10:00 GMT", "s" * 300)


# Encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-16", "cp1252"])
@pytest.mark.parametrize("declared", ["UTF-8", "UTF-16", "ISO-8859-1", "windows-1252"])
@pytest.mark.parametrize("header", ["", "text/xml; charset=utf-16", "text/xml; charset=ISO-8859-1"])
def test_the_bytes_decide_where_the_declared_encoding_is_wrong(encoding: str, declared: str, header: str) -> None:
    text = f'<?xml version="1.0" encoding="{declared}"?><rss>Société up 3 €</rss>'
    assert as_utf8(text.encode(encoding), header).decode() == "<rss>Société up 3 €</rss>"


def test_a_declared_encoding_counts_where_the_bytes_are_not_utf8() -> None:
    text = '<?xml version="1.0" encoding="windows-1251"?><rss>Новости рынка</rss>'
    assert as_utf8(text.encode("cp1251")).decode() == "<rss>Новости рынка</rss>"


# Items


def test_of_a_long_feed_the_newest_are_taken_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rss, "MOST_ITEMS", 3)
    oldest_first = [json.loads(e) for e in (json.dumps(entry(n, NOW + n)) for n in range(6))]
    assert [record["id"][-1] for record in records(rss_of(*oldest_first))] == ["3", "4", "5"]
    assert [record["id"][-1] for record in records(rss_of(*reversed(oldest_first)))] == ["3", "4", "5"]


def test_what_a_long_feed_left_out_is_counted(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rss, "MOST_ITEMS", 2)
    server.sends(rss_of(*(entry(n, NOW + n) for n in range(5))))
    answer = fetch(server.url + "/feed", Validators(), FeedRules("zeta"), allow_private=True)
    assert answer is not None
    assert (len(answer.items), answer.left_out) == (2, 3)


@given(st.lists(st.tuples(st.integers(0, 9), st.one_of(st.none(), st.integers(0, 99))), max_size=12))
def test_the_items_taken_are_the_newest_in_order_of_time(given_items: list[tuple[int, int | None]]) -> None:
    """Whatever the order of the feed, no item that is left out is newer than one that is taken."""
    wire = [
        {"id": str(number), "title": "x", "source": "s"} | ({} if at is None else {"published_at": at + 10**9})
        for number, at in given_items
    ]
    times = sorted((NOW if at is None else at + 10**9) for _, at in given_items)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rss, "MOST_ITEMS", 4)
        taken = in_order(wire, FeedRules("f"), NOW * MICRO)
    found = [json.loads(item.record).get("published_at", NOW) for item in taken]
    assert found == times[-4:]


def test_an_item_rewritten_under_its_guid_is_a_revision_and_an_unchanged_one_is_not_read_again(
    tmp_path: Path, server: Server, quick_scorer: Any
) -> None:
    desk = Desk(tmp_path, server, quick_scorer)
    server.sends(rss_of(entry(1, title="Zeta opens a plant in the north")))
    desk.poll()
    desk.poll()
    assert len(desk.titles()) == 1
    server.sends(rss_of(entry(1, title="UPDATE: Zeta shuts its plant after a fire")))
    desk.poll()
    desk.poll()
    assert desk.titles() == ["UPDATE: Zeta shuts its plant after a fire", "Zeta opens a plant in the north"]


def test_a_dead_item_is_read_once_and_again_when_it_is_mended(
    tmp_path: Path, server: Server, quick_scorer: Any
) -> None:
    desk = Desk(tmp_path, server, quick_scorer)
    server.sends(rss_of(entry(1, NOW + 10**6)))
    desk.poll()
    desk.poll()
    assert desk.titles() == []
    again = Desk(tmp_path, server, quick_scorer)
    again.poll()
    assert again.titles() == []
    server.sends(rss_of(entry(1, NOW, "Mended")))
    again.poll()
    assert again.titles() == ["Mended"]


def test_the_dead_items_that_are_remembered_are_bounded_and_those_still_in_the_feed_stay(
    tmp_path: Path, server: Server, quick_scorer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rss_source, "DEAD_REMEMBERED", 3)
    dead = [entry(n, NOW + 10**6) for n in range(9)]
    desk = Desk(tmp_path, server, quick_scorer)
    for n in range(1, 9):
        server.sends(rss_of(dead[0], dead[n]))
        desk.poll()
        assert len(desk.sources[0]._dead) <= 3
    again = Desk(tmp_path, server, quick_scorer)
    again.poll()
    stored = [json.loads(row["raw"])["title"] for row in open_store(desk.url).dead_letters()]
    assert len(stored) == 9 + 1, "the first item is so old that a new process has forgotten it"
    assert len(set(stored)) == 9


# Headers


def test_own_headers_are_sent_and_do_not_follow_a_redirect_to_another_server(server: Server) -> None:
    other = Server()
    try:
        other.sends(rss_of(entry(1)))
        server.answer = lambda path, headers: (302, {"Location": other.url + "/feed"}, b"")
        own = {"user-agent": "Desk desk@zeta.example", "X-Key": "secret"}
        fetch(server.url + "/feed", Validators(), FeedRules("zeta"), allow_private=True, headers=own)
        first, second = server.asked[0], other.asked[0]
    finally:
        other.close()
    assert {name.lower(): value for name, value in first.items()}["user-agent"] == "Desk desk@zeta.example"
    assert first["X-Key"] == "secret"
    assert {name.lower(): value for name, value in second.items()}["user-agent"] == "Desk desk@zeta.example"
    assert "X-Key" not in second


def test_headers_in_the_settings_are_checked_and_hidden() -> None:
    feed = FeedSettings(rss="https://zeta.example/rss", user_agent="Desk", headers={"X-Key": "secret"})
    assert feed.sent_headers == {"X-Key": "secret", "User-Agent": "Desk"}
    assert "secret" not in feed.model_dump_json()
    for bad in ({"X Key": "a"}, {"X": "a\r\nHost: b"}, {"Host": "b"}):
        with pytest.raises(ValueError, match="headers"):
            FeedSettings(rss="https://zeta.example/rss", headers=bad)
    assert rss_poll.MOST_REDIRECTS


# Plain text at every entrance


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("R&amp;D at Zeta", "R&D at Zeta"),
        ("Zeta &#39;soars&#39;", "Zeta 'soars'"),
        ("<p>Zeta <b>up</b> 3 %</p><p>Again</p>", "Zeta up 3 % Again"),
        ("<P>Zeta</P>", "Zeta"),
        ("<B>Zeta</B> up", "Zeta up"),
        ('<a href="https://x.example">Zeta</a> up', "Zeta up"),
        ("Zeta<br/>up<script>alert(1)</script>", "Zeta up"),
        ("&lt;p&gt;Zeta&lt;/p&gt;", "Zeta"),
        ("&amp;lt;b&amp;gt;Zeta", "Zeta"),
        ("STANDARD <SRD> TO FORM UNIT", "STANDARD <SRD> TO FORM UNIT"),
        ("BARNES <B> AND AGILENT <A> UP", "BARNES <B> AND AGILENT <A> UP"),
        ("3 < 4 and 5 > 4", "3 < 4 and 5 > 4"),
        ("AT&T and S&P", "AT&T and S&P"),
        ("https://x.example/?a=1&copy=2", "https://x.example/?a=1&copy=2"),
        ("line one\nline two", "line one\nline two"),
    ],
)
def test_html_in_a_record_becomes_plain_text_and_all_else_stays(text: str, expected: str) -> None:
    raw = json.dumps({"title": text, "body": text, "published_at": "2026-02-02T10:00:00Z"}).encode()
    story = parse(raw, "p", 0, ParseRules())
    assert isinstance(story, Story)
    assert (story.title, story.body) == (expected, expected)


MARKUP = [
    "<b>",
    "</b>",
    "<p>",
    "<B>",
    "<IBM>",
    "&amp;",
    "amp;",
    "&",
    "lt;",
    "gt;",
    "&lt;",
    "#39;",
    "<",
    ">",
    "x",
    " ",
    "<!--",
]


@given(st.lists(st.sampled_from(MARKUP), max_size=14).map("".join))
def test_plain_text_is_plain_text(text: str) -> None:
    """Making a text plain twice changes nothing: a story that is exported and replayed is the same story."""
    once = plain_text(text)
    assert plain_text(once) == once
    assert len(once) <= len(text)

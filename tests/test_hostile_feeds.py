"""A feed's server can waste its own poll, and nothing else: neither time, nor memory, nor what others sent."""

from __future__ import annotations

import contextlib
import gzip
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpcore
import pytest
from hostile import DEAR, OK, SLOW, HostileServer, deep, hostile, many_attributes, slowly, soup_of_attributes, whole
from hypothesis import given
from hypothesis import strategies as st

from foreshock.ingest import connection, feed_parser, rss_poll
from foreshock.ingest.connection import CheckedBackend, TooMuch
from foreshock.ingest.errors import FeedUnavailable
from foreshock.ingest.feed_limits import MOST_ATTRIBUTES, refuse_what_is_dear
from foreshock.ingest.feed_parser import FeedParser
from foreshock.ingest.rss import FeedRules, items, request_of
from foreshock.ingest.rss_poll import Validators, fetch
from foreshock.monitor.store import open_store, rss_feeds
from foreshock.monitor.store.database import connect, writing
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.store.rss_feeds import RssFeed
from foreshock.processes.run import run
from foreshock.settings.load import load
from foreshock.sources.rss import RssSource

pytestmark = pytest.mark.slow

SECRET = b"root:x:0:0:private words of another service"
RULES = FeedRules("zeta")
FEED = (
    b'<?xml version="1.0"?><rss version="2.0"><channel><title>Z</title>'
    b"<item><title>One</title><guid>urn:1</guid></item></channel></rss>"
)
GENEROUS = 30.0
"""Seconds beside a limit that a busy machine may take."""


def ask(url: str, **options: Any) -> rss_poll.Answer | None:
    return fetch(url, options.pop("validators", Validators()), RULES, **{"allow_private": True, **options})


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of a few seconds, so that the tests need not wait for the real ones."""
    monkeypatch.setattr(rss_poll, "SECONDS", 1.5)
    monkeypatch.setattr(rss_poll, "SILENCE", 1.0)


# One deadline


@pytest.mark.parametrize("attack", SLOW)
def test_an_answer_that_never_ends_is_left_at_the_deadline(limits: None, attack: str) -> None:
    began, cpu = time.monotonic(), time.process_time()
    with hostile(SLOW[attack]) as server, pytest.raises(FeedUnavailable):
        ask(server.url)
    assert time.monotonic() - began < 1.5 + GENEROUS
    assert time.process_time() - cpu < 10


def test_redirects_share_the_deadline(limits: None) -> None:
    def attack(connection: socket.socket) -> None:
        time.sleep(0.6)
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /%d\r\nContent-Length: 0\r\n\r\n" % time.time_ns())

    began = time.monotonic()
    with hostile(attack) as server, pytest.raises(FeedUnavailable, match="within"):
        ask(server.url)
    assert time.monotonic() - began < 1.5 + GENEROUS
    assert len(server.requests) <= 3


def test_a_name_that_is_never_resolved_is_left_at_the_deadline(limits: None) -> None:
    def never(host: str, port: int) -> list[str]:
        time.sleep(20)
        return ["127.0.0.1"]

    began = time.monotonic()
    with pytest.raises(FeedUnavailable, match=r"no answer|within"):
        ask("http://feed.example/", resolver=never)
    assert time.monotonic() - began < 15


@given(st.integers(1, 9), st.floats(1, 60), st.floats(0.5, 20) | st.just(float("inf")))
def test_silent_addresses_leave_time_for_the_last_one(silent: int, seconds: float, silence: float) -> None:
    """Each address gets its share of what is left, so a name with a broken IPv6 address is reached by the other."""
    now, waits = 0.0, list[float]()

    def connect(_: Any, address: str, port: int, timeout: float, *rest: Any) -> Any:
        nonlocal now
        waits.append(timeout)
        if len(waits) <= silent:
            now += timeout
            raise httpcore.ConnectTimeout("nothing came")
        return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "time", SimpleNamespace(monotonic=lambda: now))
        patch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
        addresses = [f"2001:db8::{number}" for number in range(silent)] + ["192.0.2.1"]
        backend = CheckedBackend(seconds, allow_private=True, resolver=lambda host, port: addresses, silence=silence)
        backend.connect_tcp("zeta.example", 443)
    assert len(waits) == silent + 1
    assert waits[-1] == pytest.approx(min(silence, seconds - sum(waits[:-1])))
    assert waits[-1] >= min(silence, seconds / (silent + 1)) * 0.999


@pytest.mark.parametrize("before", [b"", OK, OK + b"Content-Length: 1000000000\r\n\r\n"])
def test_more_bytes_than_a_feed_has_are_not_read(before: bytes) -> None:
    flood = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2_000 if not before else b"X-More: " + b"x" * 4_000 + b"\r\n"
    with hostile(slowly(flood, pause=0.0, before=before)) as server, pytest.raises(FeedUnavailable):
        ask(server.url)


# What is dear to parse


@pytest.mark.parametrize("body", DEAR)
def test_a_body_that_is_dear_to_parse_costs_one_poll(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    monkeypatch.setattr(rss_poll, "PARSE_SECONDS", 0.0)
    monkeypatch.setattr(rss_poll, "SECONDS", 5.0)
    began, cpu = time.monotonic(), time.process_time()
    with hostile(whole(DEAR[body])) as server, contextlib.suppress(FeedUnavailable):
        ask(server.url)
    assert time.monotonic() - began < 5 + feed_parser.STARTING + GENEROUS
    assert time.process_time() - cpu < 10, "the parser's process pays"
    with hostile(whole(FEED)) as server:  # and the next feed is read
        answer = ask(server.url)
    assert answer is not None
    assert [item.id for item in answer.items] == ["urn:1"]


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (many_attributes(), "attributes"),
        (many_attributes(MOST_ATTRIBUTES + 1), "attributes"),
        (soup_of_attributes(), "a tag of more than"),
        (deep(), "deep"),
        (b"<rss>" + b"<a" + b"".join(b' xmlns:p%d="u"' % n for n in range(150)) + b"/>" * 1 + b"</rss>", ""),
        (b"<rss>" + b"".join(b'<a xmlns:p%d="u"/>' % n for n in range(2_000)) + b"</rss>", "namespaces"),
        (b'<!DOCTYPE r [<!ENTITY a "b">]><rss/>', "entities"),
        (b"<a>" * 300_001, "tags"),
    ],
)
def test_limits_hold_before_the_parser_sees_a_body(body: bytes, match: str) -> None:
    if not match:
        return refuse_what_is_dear(body)
    with pytest.raises(FeedUnavailable, match=match):
        refuse_what_is_dear(body)
    return None


@given(st.binary(max_size=2_000) | st.text("<>/=&;![]- \"'abx", max_size=2_000).map(str.encode))
def test_no_bytes_break_the_limits_check(data: bytes) -> None:
    try:
        refuse_what_is_dear(data)
    except FeedUnavailable as error:
        assert str(error)  # noqa: PT017 - any other error fails the test


@pytest.fixture
def parser() -> Iterator[FeedParser]:
    found = FeedParser()
    yield found
    found.close()


def parsed(parser: FeedParser, data: bytes, seconds: float = 60.0) -> list[dict[str, Any]]:
    return parser.parse(data, request_of("application/xml", "https://zeta.example/", RULES), seconds=seconds)


def test_the_parser_is_ended_when_it_is_out_of_time_or_memory_and_comes_back(
    parser: FeedParser, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = parsed(parser, FEED)
    assert expected[0]["title"] == "One"
    process = parser._process
    assert process is not None
    os.kill(process.pid, 19)  # SIGSTOP: it does nothing more, as in an endless loop
    with pytest.raises(FeedUnavailable, match="took more than 1 s"):
        parsed(parser, FEED, seconds=1.0)
    assert process.poll() is not None
    assert parsed(parser, FEED) == expected
    assert parser._process is not None
    os.kill(parser._process.pid, 9)  # as the system does when memory is short
    parser._process.wait(10)
    assert parsed(parser, FEED) == expected


def test_a_parser_that_a_large_process_started_is_kept() -> None:
    """What the process that starts it has taken is not counted as the parser's own."""
    program = (
        "from foreshock.ingest.feed_parser import FeedParser\n"
        "from foreshock.ingest.rss import FeedRules, request_of\n"
        "taken = bytearray(b'x') * (400 << 20)\n"
        "parser = FeedParser()\n"
        "request = request_of('application/xml', 'https://zeta.example/', FeedRules('zeta'))\n"
        f"parser.parse({FEED!r}, request, seconds=60.0)\n"
        "print(parser._process is not None)\n"
        "parser.close()\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout.split() == ["True"]


def test_parsing_in_another_process_gives_what_parsing_here_gives(parser: FeedParser) -> None:
    here = items(FEED, "application/xml", "https://zeta.example/", RULES, 1)
    assert [item.id for item in here] == [record["id"] for record in parsed(parser, FEED)]
    process = parser._process
    with pytest.raises(FeedUnavailable, match="cannot be read: TypeError"):
        parser.parse(FEED, {"no": "argument of the parser"}, seconds=60.0)
    assert parsed(parser, FEED)
    assert parser._process is process, "an error that nobody thought of costs its own feed"


# What the server wants to see again


@pytest.mark.parametrize(
    "etag", ['"caf\u00e9"', '"a\x01b"', '"' + "x" * 600 + '"', '"\u20ac"', "\x7f", '"line\r\nX-Injected: 1"']
)
def test_headers_that_cannot_be_sent_back_are_dropped(etag: str) -> None:
    assert Validators(etag, "Mon, 02 Feb 2026 11:00:00 GMT") == Validators("", "Mon, 02 Feb 2026 11:00:00 GMT")
    with hostile(
        whole(FEED, b"ETag: " + etag.split("\r", maxsplit=1)[0].encode("latin-1", "replace") + b"\r\n")
    ) as server:
        try:
            answer = ask(server.url)
        except FeedUnavailable:
            answer = None  # some are refused as no HTTP
        assert ask(server.url, validators=Validators(etag)) is not None or answer is None
    assert all(etag.encode("utf-8", "replace") not in request for request in server.requests)


# Where it leads


def private_pages(connection: socket.socket) -> None:
    connection.sendall(
        b"HTTP/1.1 200 " + SECRET + b"\r\nContent-Type: " + SECRET + b"\r\nContent-Length: 43\r\n\r\n" + SECRET[:43]
    )


@pytest.mark.parametrize(
    "answer",
    [
        private_pages,
        whole(SECRET),
        whole(gzip.compress(SECRET), b"Content-Encoding: " + SECRET.replace(b" ", b"-") + b"\r\n"),
        slowly(b"", before=b"HTTP/1.1 500 " + SECRET + b"\r\nContent-Length: 0\r\n\r\n"),
        slowly(b"", before=SECRET + b"\r\n\r\n"),
        slowly(b"", before=OK + SECRET.replace(b":", b";") + b"\r\n\r\n"),
    ],
)
def test_errors_quote_nothing_that_a_private_address_answered(limits: None, answer: Any) -> None:
    with hostile(answer) as server, pytest.raises(FeedUnavailable) as error:
        ask(server.url)
    assert "root" not in str(error.value)
    assert "private words" not in str(error.value)


def test_a_public_name_with_a_private_address_is_not_asked() -> None:
    with hostile(whole(FEED)) as server:
        port = server.url.rpartition(":")[2]
        for addresses in (["127.0.0.1"], ["::1"], ["10.0.0.1", "169.254.169.254"], ["::ffff:127.0.0.1"]):
            with pytest.raises(FeedUnavailable, match=r"nothing is sent there.*allow_private = true for this feed"):
                ask(f"http://public.example:{port}", allow_private=False, resolver=lambda h, p, a=addresses: a)
        with pytest.raises(FeedUnavailable, match="loopback"):
            ask(server.url, allow_private=False)
        assert server.requests == []


def test_a_redirect_to_a_private_address_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address is checked at each redirect, as a name and written out."""
    monkeypatch.setattr("foreshock.ingest.connection.refusal", lambda address: None if address == "127.0.0.1" else "it")
    with hostile(whole(FEED)) as inside:
        for location in (
            inside.url.replace("127.0.0.1", "127.0.0.2"),
            inside.url.replace("127.0.0.1", "inside.example"),
        ):
            there = b"HTTP/1.1 302 Found\r\nLocation: " + location.encode() + b"\r\nContent-Length: 0\r\n\r\n"
            with hostile(slowly(b"", before=there)) as server, pytest.raises(FeedUnavailable, match="nothing is sent"):
                ask(
                    server.url.replace("127.0.0.1", "public.example"),
                    allow_private=False,
                    resolver=lambda host, port: ["127.0.0.1"] if host == "public.example" else ["127.0.0.2"],
                )
    assert inside.requests == []


def test_a_login_is_not_sent_to_another_server() -> None:
    with hostile(whole(FEED)) as other:
        there = b"HTTP/1.1 302 Found\r\nLocation: " + other.url.encode() + b"\r\nContent-Length: 0\r\n\r\n"
        with hostile(slowly(b"", before=there)) as server:
            assert ask(server.url.replace("://", "://me:secret@")) is not None
    assert b"Authorization: Basic " in server.requests[0]
    assert b"Authorization" not in other.requests[0]


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://a.example/", "gopher://127.0.0.1/", "http://", "\x00"]
)
def test_a_redirect_to_another_protocol_is_not_followed(location: str) -> None:
    there = b"HTTP/1.1 302 Found\r\nLocation: " + location.encode() + b"\r\nContent-Length: 0\r\n\r\n"
    with hostile(slowly(b"", before=there)) as server, pytest.raises(FeedUnavailable):
        ask(server.url)


@pytest.mark.parametrize("attack", ["slow headers", "slow trailers", "nothing at all"])
def test_a_run_reads_its_other_feeds_beside_one_that_never_ends(
    limits: None, tmp_path: Path, quick_scorer: Any, attack: str
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with hostile(SLOW[attack]) as bad, hostile(whole(FEED)) as good:
        feeds = [
            {"rss": server.url, "name": name, "allow_private": True} for server, name in ((bad, "bad"), (good, "good"))
        ]
        flags = {"store.url": url, "watchlist.defaults": False, "feeds": feeds, "metrics.listen": ""}
        settings = load(None, flags=flags, environ={}).settings
        with pytest.raises(FeedUnavailable, match=r"1 of 2 feeds could not be read: rss:bad"):
            run(settings, until_end=True, scorer=quick_scorer)
    assert [story["title"] for story in open_store(url).stories()] == ["One"]


def test_an_etag_that_cannot_be_sent_and_is_in_the_store_stops_no_feed(tmp_path: Path) -> None:
    """A store of an older version may hold one."""
    engine = connect(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    with hostile(whole(FEED)) as server, writing(engine) as connection:
        rss_feeds.save(connection, RssFeed("rss:z", server.url, etag='"caf\u00e9"'))
        source = RssSource(
            Partition("rss:z", "rss"),
            server.url,
            RULES,
            connection,
            every=120_000_000,
            clock=lambda: time.time_ns() // 1_000,
            allow_private=True,
            seen=lambda name, ids: set(),
        )
        source.poll()
        assert source.failures == 0
        assert source.next() is not None


def test_a_connection_counts_what_comes() -> None:
    backend = CheckedBackend(10.0, allow_private=True)
    server = HostileServer(whole(b"x" * 1_000_000))
    backend.allowance = 100_000
    stream = backend.connect_tcp("127.0.0.1", int(server.url.split(":")[2].split("/")[0]))
    stream.write(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(TooMuch):
        list(iter(lambda: stream.read(65_536), b""))
    stream.close()
    server.close()

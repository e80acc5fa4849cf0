"""The world around a soak: a producer that restarts, an RSS server that goes away, a receiver that dies.

All of them run in threads of the benchmark, and take orders from it.
"""

from __future__ import annotations

import hashlib
import json
import queue
import random
import socket
import threading
import time
import zlib
from collections import Counter, deque
from collections.abc import Callable
from email.utils import formatdate
from functools import cached_property
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.critical import COMPANIES
from benchmarks.soak_checks import Attempt
from foreshock.demo import generator
from foreshock.demo.receiver import verify

REPOSTS = 0.1
"""The share of stories that repeat a recent headline under another id and source, as wires do."""
POISON = 0.0002
"""The share of records that are not stories."""
REPEATED_SECONDS = 30.0
"""How far back a restarted producer sends again what it sent before."""
SPREAD = ("BBC", "Reuters", "Bloomberg", "AFP", "Dow Jones", "Nikkei")
CRISIS = (
    "{company} plant explosion kills {number} workers",
    "Blast at {company} site leaves {number} dead, several missing",
    "{company} shares plunge after deadly explosion at factory",
    "Regulators open investigation into {company} after fatal blast",
    "{company} halts production as death toll rises to {number}",
)


class Wording:
    """Endless headlines: the first half of one demo headline and the second half of another. Hardly any comes twice,
    because the scorer keeps the scores of repeated texts."""

    def __init__(self, seed: int, feeds: int = 2) -> None:
        self._rng, self._seeds = random.Random(seed), range(seed, seed + feeds)

    @cached_property
    def _stories(self) -> list[dict[str, Any]]:
        return [story for seed in self._seeds for story in generator.generate(seed)]

    def story(self) -> dict[str, Any]:
        """Return a new story without id and time."""
        one, other = self._rng.choice(self._stories), self._rng.choice(self._stories)
        begin, end = str(one["title"]).split(), str(other["title"]).split()
        title = " ".join(begin[: len(begin) // 2 + 1] + end[len(end) // 2 :])
        kept: dict[str, Any] = {key: one[key] for key in ("source", "topics", "tickers") if key in one}
        return {**kept, "title": title}


class Producer(threading.Thread):
    """Send stories to a topic at random moments, `rate` a second, until it is closed.

    Ids say what a record is: `s` a story at its time, `slow` within the allowed lateness, `late` beyond it, `stale`
    beyond the staleness, `c` of a crisis. `log` gets one id a line for every record sent; `poison` counts the others.
    Numbers in ids begin after `first`. A story's date is the moment at which it was due, so a producer that is held up
    makes latency longer, not the load smaller.
    """

    def __init__(
        self, bootstrap: str, topic: str, partitions: int, log: Path, rate: float, wording: Wording, first: int
    ) -> None:
        super().__init__(name="producer", daemon=True)
        self.rate, self.sent, self.poison, self.failed = rate, 0, 0, 0
        self.repeated = set[str]()
        self.error: BaseException | None = None
        self._servers, self._topic, self._partitions, self._log = bootstrap, topic, partitions, log
        self._wording, self._draw = wording, random.Random(3)
        self._recent: deque[tuple[float, str, bytes]] = deque()
        self._titles: deque[dict[str, Any]] = deque(maxlen=500)
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._closing, self._number = threading.Event(), first

    def close(self) -> None:
        """Stop, once all records are acknowledged."""
        self._closing.set()
        self.join()
        if self.error is not None:
            raise self.error

    def restart(self, seconds: float) -> None:
        """Go away for so long, and come back with what was sent last, byte for byte."""
        self._orders.put(lambda: self._restart(seconds))

    def burst(self, kind: str, count: int, youngest: float, oldest: float) -> None:
        """Send so many stories at once, dated so many seconds back."""
        self._orders.put(lambda: self._burst(kind, count, youngest, oldest))

    def crisis(self, number: int) -> None:
        """Send some grave reports on one company."""
        self._orders.put(lambda: self._crisis(number))

    def run(self) -> None:
        try:
            self._open()
            with self._log.open("a", encoding="utf-8") as self._file:
                self._loop()
            self._kafka.flush()
            self._kafka.close()
        except BaseException as error:  # raised again where it is closed
            self.error = error

    def _loop(self) -> None:
        due = time.time()
        while not self._closing.is_set():
            while not self._orders.empty():
                began = time.time()
                self._orders.get()()
                due += max(0.0, time.time() - began - 1.0)  # it was away; what it missed is not made up for
            if (early := due - time.time()) > 0:
                time.sleep(min(early, 0.05))
                continue
            self._ordinary(due)
            due += self._draw.expovariate(self.rate)

    def _open(self) -> None:
        from kafka import KafkaProducer

        self._kafka = KafkaProducer(bootstrap_servers=self._servers, acks="all", linger_ms=5)

    def _ordinary(self, at: float) -> None:
        chance = self._draw.random()
        if chance < POISON:
            bad = self._draw.choice([b"\xff\xfe not JSON", b"{}", b'{"title": 7, "published_at": 1}'])
            self._put(f"p{self._number}", bad)
            self.poison += 1
            return
        if chance < POISON + REPOSTS and self._titles:
            story = {**self._draw.choice(self._titles), "source": self._draw.choice(SPREAD)}
        else:
            story = self._wording.story()
            self._titles.append(story)
        self._story("s", story, at)

    def _story(self, kind: str, story: dict[str, Any], at: float) -> None:
        self._number += 1
        name = f"{kind}-{self._number}"
        value = json.dumps({**story, "id": name, "published_at": round(at, 3)}).encode()
        self._put(name, value)
        self._file.write(name + "\n")
        if kind == "s":
            self._recent.append((time.time(), name, value))
            while self._recent[0][0] < time.time() - REPEATED_SECONDS:
                self._recent.popleft()

    def _put(self, name: str, value: bytes) -> None:
        partition = zlib.crc32(name.encode()) % self._partitions
        self._kafka.send(self._topic, value, partition=partition).add_errback(self._fails)
        self.sent += 1

    def _fails(self, _: BaseException) -> None:
        self.failed += 1

    def _restart(self, seconds: float) -> None:
        self._kafka.flush()
        self._kafka.close()
        again = list(self._recent)
        self._closing.wait(seconds)
        self._open()
        for _, name, value in again:
            self._put(name, value)
            self._file.write(name + "\n")
            self.repeated.add(name)

    def _burst(self, kind: str, count: int, youngest: float, oldest: float) -> None:
        now = time.time()
        for _ in range(count):
            self._story(kind, self._wording.story(), now - self._draw.uniform(youngest, oldest))

    def _crisis(self, number: int) -> None:
        for place, words in enumerate(CRISIS):
            title = words.format(company=COMPANIES[number % len(COMPANIES)], number=number + 3)
            self._story("c", {"title": title, "source": SPREAD[place]}, time.time())


class _Listener:
    """A web server that can be taken away and comes back at the same port."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._server: ThreadingHTTPServer | None = None

    def up(self) -> None:
        assert self._server is None
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def down(self) -> None:
        """Connections are refused from now on."""
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        self._server = None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        raise NotImplementedError


class Inbox(_Listener):
    """A receiver of webhooks, at `url`/NAME for each sender. If its `mood` is `ill`, it answers 500 and 429 in turn."""

    def __init__(self, secret: str) -> None:
        super().__init__()
        self.mood, self.attempts = "well", list[Attempt]()
        self._secret, self._lock = secret, threading.Lock()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = json.loads(content)
                with inbox._lock:
                    answer = 204 if inbox.mood == "well" else (500, 429)[len(inbox.attempts) % 2]
                    inbox.attempts.append(
                        Attempt(
                            *(self.path.strip("/"), headers["webhook-id"], body["data"]["id"], body["type"]),
                            *(body["timestamp"], answer, verify(inbox._secret, headers, content)),
                        )
                    )
                self.send_response(answer)
                if answer == 429:
                    self.send_header("retry-after", "3")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class RssServer(_Listener):
    """An RSS feed with a new item every few seconds. Back after a time away, it has other ETags and the old items."""

    def __init__(self, every: float, wording: Wording, kept: int = 200) -> None:
        super().__init__()
        self.titles = Counter[str]()
        self.polls, self.unchanged = 0, 0
        self._items: deque[tuple[int, float, str]] = deque(maxlen=kept)
        self._every, self._wording, self._starts, self._number = every, wording, 0, 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._writes, name="rss", daemon=True)
        self._thread.start()

    def up(self) -> None:
        self._starts += 1
        super().up()

    def crisis(self, number: int) -> None:
        company = COMPANIES[number % len(COMPANIES)]
        self._add(f"{company} plant explosion kills {number + 3} workers")

    def close(self) -> None:
        """Write no more items. Those that are there stay."""
        self._closing.set()
        self._thread.join()

    def _writes(self) -> None:
        while not self._closing.wait(self._every):
            self._add(f"{self._wording.story()['title']} {self._number}")

    def _add(self, title: str) -> None:
        self._number += 1
        self._items.appendleft((self._number, time.time(), title))
        self.titles[title] += 1

    def _body(self) -> bytes:
        items = "".join(
            f"<item><title>{escape(title)}</title><guid>https://wire.example/{number}</guid>"
            f"<pubDate>{formatdate(at, usegmt=True)}</pubDate></item>"
            for number, at, title in list(self._items)
        )
        return f'<?xml version="1.0"?><rss version="2.0"><channel><title>Wire</title>{items}</channel></rss>'.encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        feed = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                feed.polls += 1
                body = feed._body()
                tag = f'"{feed._starts}-{hashlib.sha256(body).hexdigest()[:16]}"'
                same = self.headers.get("if-none-match") == tag
                feed.unchanged += same
                self.send_response(304 if same else 200)
                self.send_header("etag", tag)
                self.send_header("content-length", "0" if same else str(len(body)))
                self.end_headers()
                if not same:
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

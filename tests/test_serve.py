"""`foreshock serve`: who may ask, what is answered, and how it starts and stops."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from delivering import NOON, put
from hypothesis import given
from hypothesis import strategies as st
from processes import Processes
from servers import free_port, wait_until
from starlette.testclient import TestClient

from foreshock.cli import main
from foreshock.model.errors import ModelError
from foreshock.monitor.store import incident_events, open_store
from foreshock.monitor.store.counts import decided_until
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.units import HOUR, MINUTE
from foreshock.observability import metrics
from foreshock.processes.serve import refuse_unsafe, serve
from foreshock.serving import cursors, gate
from foreshock.serving.app import Parts, application
from foreshock.serving.batching import Batcher
from foreshock.serving.errors import Refused, ServingError
from foreshock.serving.events import Watch
from foreshock.serving.keys import Keyring, hashed, new_key
from foreshock.serving.rates import Rates
from foreshock.serving.settings import KeySettings, ServeSettings
from foreshock.serving.store import ServedStore
from foreshock.settings.load import SettingsError, load

READER, SCORER = "r" * 40, "s" * 40
KEYS = [
    KeySettings(name="desk", sha256=hashed(READER), scopes=("read",)),
    KeySettings(name="quant", sha256=hashed(SCORER), scopes=("score",)),
]


class SlowScorer:
    """The interface of `Scorer`: a text's length decides its scores. It keeps the size of each pass."""

    identity = "slow-1"

    def __init__(self) -> None:
        self.passes: list[int] = []
        self.may_go = threading.Event()
        self.may_go.set()

    def score(self, texts: Sequence[str], entities: Sequence[str | None] | None = None) -> Any:
        self.may_go.wait(10)
        self.passes.append(len(texts))
        negative = [(len(text) % 7 + (name is not None)) / 10 for text, name in zip(texts, entities or [], strict=True)]
        return np.array([[n, 0.1, 0.9 - n] for n in negative], np.float32).reshape(-1, 3)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with six days of news of two topics."""
    folder = tmp_path_factory.mktemp("serve")
    with (folder / "news.jsonl").open("w") as out:
        for i in range(300):
            scores = {"negative": 0.1 + i % 5 / 10, "neutral": 0.3, "positive": 0.6 - i % 5 / 10}
            at = f"2026-02-{2 + i // 48:02}T{i // 2 % 24:02}:{i % 2 * 30:02}:00Z"
            topic = "alpha" if i % 3 else "beta"
            row = {"id": str(i), "title": f"news {i}", "published_at": at, "source": "abc"[i % 3], "topics": [topic]}
            out.write(json.dumps({**row, "scores": scores}) + "\n")
    url = f"sqlite:///{folder / 'store.db'}"
    assert main(["replay", str(folder / "news.jsonl"), "--store", url]) == 0
    return url


@contextmanager
def client(
    url: str, scorer: SlowScorer | None = None, *, keys: Sequence[KeySettings] = (), **limits: Any
) -> Iterator[TestClient]:
    """A client of an application in this process; its name is localhost."""
    settings, keyring = ServeSettings(**limits), Keyring(keys)
    served = ServedStore(url)
    batcher = Batcher(lambda: scorer or SlowScorer(), most_waiting=settings.waiting_texts)
    parts = Parts(batcher, served, Watch(served, most=settings.event_clients))
    metrics.health.restart()
    failures: list[BaseException] = []
    with TestClient(
        application(settings, keyring, parts, failed=failures.append), base_url="http://localhost"
    ) as answering:
        wait_until(lambda: not parts.not_ready(), "it is ready", 10)
        yield answering
    assert not failures


def lines(*command: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def pages(answering: TestClient, path: str, limit: int) -> list[dict[str, Any]]:
    rows, cursor, sign = list[dict[str, Any]](), "", "&" if "?" in path else "?"
    while True:
        answer = answering.get(f"{path}{sign}limit={limit}" + (f"&cursor={cursor}" if cursor else "")).json()
        assert len(answer["items"]) <= limit
        rows += answer["items"]
        cursor = answer["next"]
        if cursor is None:
            return rows


def test_pages_of_any_size_are_what_the_commands_print(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    series = ("series", "alpha", "beta", "--every", "6h", "--start", "2026-02-03")
    expected = {
        "/topics": lines("topics", "list", "--store", url, capsys=capsys),
        "/stories": lines("stories", "--store", url, capsys=capsys),
        "/stories?topic=beta&source=a&start=2026-02-03&end=2026-02-05T12:00:00Z": lines(
            "stories", "--store", url, "--topic", "beta", "--source", "a", "--start", "2026-02-03",
            "--end", "2026-02-05T12:00", capsys=capsys,
        ),
        "/series?topic=alpha&topic=beta&every=6h&start=2026-02-03": lines(*series, "--store", url, capsys=capsys),
        "/alerts": lines("alerts", "list", "--store", url, capsys=capsys),
        "/incidents": lines("incidents", "list", "--store", url, capsys=capsys),
    }  # fmt: skip
    assert len(expected["/stories"]) == 300
    assert len(expected["/series?topic=alpha&topic=beta&every=6h&start=2026-02-03"]) > 20
    with client(url, requests_per_minute=100_000) as answering:
        for path, rows in expected.items():
            for limit in (7, 1000):
                assert pages(answering, path, limit) == rows, (path, limit)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.slow])])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store that is not there yet, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'a.db'}"
    url: str = request.getfixturevalue("postgres")
    return url


def test_alerts_and_incidents_are_paged_by_when_they_fired(empty: str) -> None:
    url = empty
    engine = connect(url, create=True)
    for i in range(7):  # several fire in one bucket
        put(engine, f"{'abcdefg'[6 - i]}0", "firing", NOON + i // 3 * HOUR, topic="Banks" if i % 2 else "Oil")
    engine.dispose()
    with client(url, requests_per_minute=100_000) as answering:
        assert answering.get("/stories?cursor=" + cursors.write("stories", 1, "a", 1)).json()["items"] == []
        for path in ("/alerts", "/incidents"):
            whole = answering.get(path).json()["items"]
            assert len(whole) == 7
            assert [(row["fired_at"], row["id"]) for row in whole] == sorted((r["fired_at"], r["id"]) for r in whole)
            for limit in (1, 2, 3, 6):
                assert pages(answering, path, limit) == whole
        assert len(pages(answering, "/alerts?topic=Banks", 2)) == 3
        assert answering.get("/incidents?state=ended").json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/topics?limit=0", 422, "limit: "),
        ("/topics?cursor=abc", 422, "cursor: not a cursor of /topics"),
        ("/stories?cursor=" + cursors.write("alerts", 1, "a"), 422, "cursor: not a cursor of /stories"),
        ("/stories?cursor=" + cursors.write("stories", 1 << 63, "a", 1), 422, "cursor: "),
        ("/series?topic=alpha&cursor=" + cursors.write("series", 9, 1), 422, "cursor: of a request for other topics"),
        ("/series?topic=alpha&cursor=" + cursors.write("series", 0, 1 << 62), 422, "cursor: not a cursor of /series"),
        ("/series?topic=alpah", 404, "Did you mean alpha?"),
        ("/series", 422, "topic: "),
        ("/series?topic=alpha&every=7x", 422, "every: "),
        ("/series?topic=alpha&every=7m", 422, "every: a step must be a multiple of the bucket"),
        ("/series?topic=alpha&every=9999999d", 422, "every: "),
        ("/stories?topic=%00", 422, "topic: "),
        ("/stories?start=yesterday", 422, "start: "),
        ("/nothing", 404, "/openapi.json lists them"),
        ("/score", 405, "method"),
    ],
)
def test_a_bad_question_is_answered_with_a_sentence(url: str, path: str, status: int, says: str) -> None:
    with client(url) as answering:
        answer = answering.get(path)
        assert answer.status_code == status
        assert says in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"texts": ["a", 1]}, "texts[1]: "),
        ({"texts": ["a"], "entities": ["b", None]}, "entities: 2 for 1 texts"),
        ({"texts": ["a"] * 1001}, "at most 1,000"),
        ({"texts": ["a"], "entity": "b"}, "entity: "),
        ({}, "texts: "),
    ],
)
def test_a_bad_question_for_scores_is_answered_with_a_sentence(url: str, body: object, says: str) -> None:
    with client(url) as answering:
        answer = answering.post("/score", json=body)
        assert answer.status_code == 422
        assert says in answer.json()["error"]
        assert "not JSON" in answering.post("/score", content=b"{", headers={"content-type": "application/json"}).text
        deep = b"[" * 100_000
        for content in (b"\xff\xfe", deep):
            answer = answering.post("/score", content=content, headers={"content-type": "application/json"})
            assert (answer.status_code, answer.json()["error"]) == (422, "The body is not JSON in UTF-8.")
        assert "application/json" in answering.post("/score", content=b'{"texts": []}').json()["error"]


def test_keys_open_what_their_scopes_name_and_nothing_else(url: str) -> None:
    def with_key(key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"}

    with client(url, keys=KEYS) as answering:
        answer = answering.get("/topics")
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        for headers in (with_key("x" * 40), {"authorization": READER}, {"authorization": f"Basic {READER}"}):
            assert answering.get("/topics", headers=headers).status_code == 401
            assert answering.get("/nothing", headers=headers).status_code == 401
        assert answering.get("/topics", headers=with_key(READER)).status_code == 200
        assert answering.post("/score", json={"texts": ["a"]}, headers=with_key(SCORER)).status_code == 200
        for answer in (
            answering.get("/topics", headers=with_key(SCORER)),
            answering.post("/score", json={"texts": ["a"]}, headers=with_key(READER)),
        ):
            assert answer.status_code == 403
            assert "no scope" in answer.json()["error"]
        assert answering.get("/healthz").status_code == 200
        assert answering.get("/topics", headers=[("authorization", f"Bearer {READER}")] * 2).status_code == 401


def test_without_keys_only_this_machines_names_are_answered(url: str) -> None:
    with client(url) as answering:
        assert answering.get("/topics", headers={"host": "127.0.0.1:8600"}).status_code == 200
        for host in ("evil.example", "localhost.evil.example", "localhost@evil.example"):
            assert answering.get("/topics", headers={"host": host}).status_code == 403


def test_a_key_that_asks_too_often_is_told_when_to_come_back(url: str) -> None:
    with client(url, keys=KEYS, requests_per_minute=30) as answering:
        reader, scorer = ({"authorization": f"Bearer {key}"} for key in (READER, SCORER))
        statuses = [answering.get("/topics", headers=reader).status_code for _ in range(7)]
        assert statuses[:5] == [200] * 5
        assert statuses[-1] == 429
        answer = answering.get("/topics", headers=reader)
        assert 1 <= int(answer.headers["retry-after"]) <= 2
        assert answering.post("/score", json={"texts": []}, headers=scorer).status_code == 200
        assert answering.get("/healthz").status_code == 200


@given(st.integers(1, 6000), st.lists(st.integers(0, 30_000_000_000), max_size=60))
def test_no_stretch_of_time_admits_more_than_the_rate(per_minute: int, pauses: list[int]) -> None:
    now, second = 0, 1_000_000_000
    rates, admitted = Rates(per_minute, clock=lambda: now), list[int]()
    for pause in pauses:
        now += pause
        if wait := rates.wait("desk"):
            now += wait * second
            assert rates.wait("desk") == 0  # what Retry-After promises
        admitted.append(now)
    for i, begin in enumerate(admitted):
        for j in range(i, len(admitted)):
            assert j - i + 1 <= max(1, per_minute // 6) + (admitted[j] - begin) * per_minute / (60 * second) + 1e-9


def test_a_long_body_is_refused_stated_or_not(url: str) -> None:
    headers = {"content-type": "application/json"}
    with client(url, body_bytes=2048) as answering:
        for content in (b"x" * 3000, iter([b"x" * 1500] * 2)):
            answer = answering.post("/score", content=content, headers=headers)
            assert answer.status_code == 413
            assert "2,048 bytes" in answer.json()["error"]
        assert answering.post("/score", json={"texts": ["a"] * 200}).status_code == 200


def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.05)
    sent: list[Any] = []

    async def never() -> Any:
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/score", "method": "POST", "headers": [(b"host", b"localhost")]}
    admitting = gate.Gate(None, keyring=Keyring([]), rates=Rates(60), body_bytes=100)
    asyncio.run(admitting(scope, never, send))
    assert sent[0]["status"] == 408


def test_requests_that_come_together_share_a_pass_and_get_their_own_scores() -> None:
    scorer = SlowScorer()

    async def ask() -> tuple[list[list[list[int]]], list[int]]:
        batcher = Batcher(lambda: scorer, most_waiting=1000)
        running = asyncio.get_running_loop().create_task(batcher.run())
        while not batcher.ready:
            await asyncio.sleep(0.01)
        alone = [await batcher.score(["x" * i, "y"], [None, "y"]) for i in range(20)]
        scorer.passes.clear()
        scorer.may_go.clear()
        asked = [asyncio.create_task(batcher.score(["x" * i, "y"], [None, "y"])) for i in range(20)]
        await asyncio.sleep(0.05)
        asked[7].cancel()  # a client that hangs up costs the others nothing
        scorer.may_go.set()
        together = await asyncio.gather(*asked, return_exceptions=True)
        running.cancel()
        assert isinstance(together.pop(7), asyncio.CancelledError)
        alone.pop(7)
        assert together == alone
        return alone, scorer.passes

    _, passes = asyncio.run(ask())
    assert len(passes) <= 3
    assert max(passes) >= 30


def test_what_finds_no_room_is_refused_and_what_waits_is_answered() -> None:
    scorer = SlowScorer()

    async def ask() -> list[Any]:
        batcher = Batcher(lambda: scorer, most_waiting=10)
        running = asyncio.get_running_loop().create_task(batcher.run())
        while not batcher.ready:
            await asyncio.sleep(0.01)
        scorer.may_go.clear()
        asked = [asyncio.create_task(batcher.score(["a"] * 4, [None] * 4)) for _ in range(4)]
        await asyncio.sleep(0.05)
        scorer.may_go.set()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert len(await batcher.score(["a"] * 300, [None] * 300)) == 300  # a long one alone is taken, in turns
        running.cancel()
        return found

    found = asyncio.run(ask())
    assert [len(rows) for rows in found[:2]] == [4, 4]
    assert all(isinstance(error, Refused) and error.status == 503 and error.retry_after for error in found[2:])
    assert max(scorer.passes) <= 256


def test_a_pass_that_fails_fails_its_requests_and_no_later_one() -> None:
    class Failing(SlowScorer):
        def score(self, texts: Sequence[str], entities: Sequence[str | None] | None = None) -> Any:
            if "bad" in texts:
                raise RuntimeError("out of memory")
            return super().score(texts, entities)

    async def ask() -> None:
        batcher = Batcher(Failing, most_waiting=10)
        running = asyncio.get_running_loop().create_task(batcher.run())
        while not batcher.ready:
            await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError):
            await batcher.score(["bad"], [None])
        assert len(await batcher.score(["good"], [None])) == 1
        running.cancel()

    asyncio.run(ask())


# Events


def _decide(engine: Any, until: int) -> None:
    from sqlalchemy import update

    from foreshock.monitor.store import schema

    with writing(engine) as connection:
        connection.execute(update(schema.feed).values(decided_until=until))
        assert decided_until(connection) == until


def _read(
    served: ServedStore, place: Any, count: int, during: Callable[[], None] = lambda: None
) -> list[dict[str, str]]:
    """What a reader gets until there are so many blocks, the first of them `start`: the fields of each."""

    async def follow() -> list[dict[str, str]]:
        watch = Watch(served, most=1)
        watch.readers = 1
        running = asyncio.get_running_loop().create_task(watch.run())
        got: list[bytes] = []

        async def read() -> None:
            async for part in watch.stream(place):
                got.append(part)
                if len(got) == count:
                    watch.close()

        reader = asyncio.create_task(read())
        while not got:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(during)
        await asyncio.wait_for(reader, 30)
        running.cancel()
        return [
            dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
            for block in b"".join(got).decode().split("\n\n")
            if block
        ]

    return asyncio.run(follow())


def test_a_reader_gets_what_happens_and_resumes_after_the_last_event(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foreshock.serving.events.LOOK_SECONDS", 0.05)
    engine = connect(empty, create=True)
    served = ServedStore(empty)
    _decide(engine, NOON)
    put(engine, "aa", "firing", NOON - HOUR)
    with reading(engine) as connection:
        start = incident_events.now(connection)

    put(engine, "bb", "firing", NOON + HOUR)
    for event in ("resolved", "updated-000001"):
        put(engine, "bb", event, NOON + HOUR)
    put(engine, "ab", "firing", NOON + HOUR)
    _decide(engine, NOON + HOUR)
    first = _read(served, start, 5)
    told = [(event["event"], json.loads(event["data"]).get("id", "")[:2]) for event in first]
    assert told == [("start", ""), ("firing", "ab"), ("firing", "bb"), ("updated", "bb"), ("resolved", "bb")]
    assert json.loads(first[1]["data"])["incident"]["title"] == "ab firing"
    for i in range(len(first)):
        place = incident_events.Place(*cursors.read(first[i]["id"], "events", int, str, int, str))
        again = _read(served, place, len(first) - i)
        assert [event["id"] for event in again[1:]] == [event["id"] for event in first[i + 1 :]]
    served.close()
    engine.dispose()


def test_what_is_sent_ahead_comes_at_once_and_takes_its_place_when_it_is_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foreshock.serving.events.LOOK_SECONDS", 0.05)
    url = f"sqlite:///{tmp_path / 'a.db'}"
    engine = connect(url, create=True)
    served = ServedStore(url)
    _decide(engine, NOON)
    with reading(engine) as connection:
        start = incident_events.now(connection)

    def happen() -> None:
        put(engine, "bb", "firing", NOON + HOUR)  # ahead of its bucket
        time.sleep(0.5)
        put(engine, "aa", "firing", NOON + MINUTE)  # a bucket before it is decided
        _decide(engine, NOON + 2 * HOUR)

    got = _read(served, start, 3, happen)
    told = [(json.loads(event["data"]).get("id", "")[:2], "id" in event) for event in got]
    assert told == [("", True), ("bb", False), ("aa", True)]
    again = _read(served, start, 3)  # who reconnects misses nothing, and finds both in order
    assert [json.loads(event["data"])["id"][:2] for event in again[1:]] == ["aa", "bb"]
    served.close()


def test_a_quiet_stream_has_a_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foreshock.serving.events.HEARTBEAT_SECONDS", 0.1)
    url = f"sqlite:///{tmp_path / 'a.db'}"
    connect(url, create=True).dispose()
    got = _read(ServedStore(url), incident_events.Place(0, "", 0, ""), 3)
    assert [event.get("") for event in got[1:]] == ["heartbeat"] * 2


def test_one_reader_too_many_is_told_to_come_back(url: str) -> None:
    with client(url, event_clients=0) as answering:
        answer = answering.get("/events")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "30"
        assert answering.get("/events", headers={"last-event-id": "x"}).status_code == 422


# Settings, and the process


def test_other_machines_need_a_key() -> None:
    refuse_unsafe(ServeSettings(), [])
    refuse_unsafe(ServeSettings(host="::1"), [])
    refuse_unsafe(ServeSettings(host="0.0.0.0"), KEYS)
    for host in ("0.0.0.0", "192.0.2.1", "::", "desk.example"):
        with pytest.raises(ServingError, match="--new-key"):
            refuse_unsafe(ServeSettings(host=host), [])
    with pytest.raises(ServingError, match="'desk'"):
        refuse_unsafe(ServeSettings(), [KEYS[0], KEYS[0]])


def test_weights_that_are_not_there_are_refused_before_anyone_can_connect() -> None:
    settings = load(None, flags={"model.weights": "defualt", "serve.port": 0}, environ={}).settings
    with pytest.raises(ModelError, match=r"did you mean default\?"):
        serve(settings, on_listening=lambda url: pytest.fail(f"listens at {url}"))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('sha256 = "abc"', "64 hexadecimal digits"),
        ("", "needs one of sha256 and key"),
        ('key = "short-key-of-the-desk"', "32 or more characters"),
        ('key = "${NO_SUCH_KEY}"', "NO_SUCH_KEY is not set"),
        ('sha256 = "abc"\nscopes = ["write"]', "scopes"),
    ],
)
def test_a_key_that_protects_nothing_is_refused_and_not_repeated(tmp_path: Path, table: str, says: str) -> None:
    file = tmp_path / "foreshock.toml"
    file.write_text(f'[[api_keys]]\nname = "desk"\n{table}\n')
    with pytest.raises(SettingsError, match="api_keys") as error:
        load(file, environ={})
    assert says in str(error.value)
    assert "short-key-of-the-desk" not in str(error.value)


def test_a_key_from_the_environment_is_shown_nowhere(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    key = new_key()
    environ = {"FORESHOCK_API_KEYS": json.dumps([{"name": "desk", "key": key, "scopes": ["read"]}])}
    settings = load(environ=environ).settings
    assert key not in repr(settings)
    assert key not in settings.model_dump_json()
    caller = Keyring(settings.api_keys).caller(key)
    assert caller is not None
    assert caller.name == "desk"


def test_a_new_key_fits_the_table_that_is_shown_with_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["serve", "--new-key", "desk"]) == 0
    shown = capsys.readouterr()
    file = tmp_path / "foreshock.toml"
    file.write_text(shown.err[shown.err.index("[[api_keys]]") :])
    assert Keyring(load(file, environ={}).settings.api_keys).caller(shown.out.strip()) is not None


def test_without_fastapi_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert main(["serve"]) == 2
    assert "pip install 'foreshock[serve]'" in capsys.readouterr().err


def test_a_server_that_only_reads_imports_no_encoder(url: str) -> None:
    code = (
        "import sys, threading; from foreshock.processes.serve import serve; from foreshock.processes.stop import Stop;"
        "from foreshock.settings.load import load; import urllib.request; stop = Stop();"
        f"s = load(environ={{'FORESHOCK_STORE__URL': {url!r}, 'FORESHOCK_SERVE__PORT': '0',"
        " 'FORESHOCK_SERVE__SCORE': 'false', 'FORESHOCK_METRICS__LISTEN': ''}).settings;"
        "ask = lambda url: (print(urllib.request.urlopen(url + '/topics').read().decode()), stop.set());"
        "serve(s, stop=stop, on_listening=lambda url: threading.Thread(target=ask, args=[url]).start());"
        "print(sorted(set(sys.modules) & {'torch', 'openvino', 'tokenizers', 'transformers', 'streamlit', 'pandas'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    page, *_, imported = (line for line in done.stdout.splitlines() if line.startswith(("[", '{"items')))
    assert json.loads(page)["items"]
    assert imported == "[]"


@pytest.mark.slow
def test_scores_are_those_of_foreshock_score_and_a_stop_answers_what_has_begun(tmp_path: Path, url: str) -> None:
    texts = [f"{name} {what} {i} %" for i, what in enumerate(("falls", "profit rises", "cuts outlook")) for name in ("Apple", "BP", "Weftware")]  # fmt: skip  # noqa: E501
    texts = [f"{text} <b>in</b> quarter {i % 4}" for i, text in enumerate(texts * 12)]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"title": t, "entity": "BP"}) + "\n" for t in texts))
    scored = {}
    for name, more in (("whole", []), ("towards", ["--entities", "entity"])):
        assert main(["score", str(tmp_path / "texts.jsonl"), "-o", str(tmp_path / f"{name}.jsonl"), *more]) == 0
        rows = map(json.loads, (tmp_path / f"{name}.jsonl").read_text().splitlines())
        scored[name] = [{label: row[label] for label in ("negative", "neutral", "positive")} for row in rows]
    assert scored["whole"] != scored["towards"]

    processes, key, port = Processes(tmp_path / "process"), new_key(), free_port()
    config = processes.settings(
        store={"url": url},
        serve={"port": port, "requests_per_minute": 100_000},
        api_keys=[{"name": "desk", "sha256": hashed(key), "scopes": ["score", "read"]}],
    )
    try:
        process = processes.start("serve", config=config)
        base = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=base, headers={"authorization": f"Bearer {key}"}, timeout=60) as http:
            wait_until(lambda: _is_ready(base), "the encoder is loaded", 60)
            found: dict[int, list[Any]] = {}

            def ask(i: int) -> None:
                part = texts[i : i + 5]
                body = {"texts": part, "entities": ["BP"] * len(part)} if i % 2 else {"texts": part}
                found[i] = http.post("/score", json=body).raise_for_status().json()["scores"]

            threads = [threading.Thread(target=ask, args=[i]) for i in range(0, len(texts), 3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for i, answered in found.items():
                assert answered == scored["towards" if i % 2 else "whole"][i : i + 5]
            assert len(found) == len(threads)

            # A stop: the stream of events ends, a long request that has begun is answered, and the process ends well.
            ended = threading.Event()

            def follow() -> None:
                with http.stream("GET", "/events") as stream:
                    assert list(stream.iter_lines())[:2] == ["retry: 3000", "event: start"]
                ended.set()

            many = {"texts": [f"{text}, says analyst {i}" for i, text in enumerate(texts * 2)]}
            answer: list[int] = []
            follower = threading.Thread(target=follow)
            asker = threading.Thread(target=lambda: answer.append(http.post("/score", json=many).status_code))
            follower.start()
            asker.start()
            time.sleep(0.3)
            assert process.stop(30) == 0
            asker.join(5)
            follower.join(5)
            assert answer == [200]
            assert ended.is_set()
        assert process.events("stopped")
        assert key not in process.text()
    finally:
        processes.close()


def _is_ready(base: str) -> bool:
    try:
        return httpx.get(f"{base}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_a_store_that_is_missing_is_said_and_found_when_it_comes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'later.db'}"
    served = ServedStore(url)
    with pytest.raises(Refused) as refused, served.asked():
        pass
    assert refused.value.status == 503
    assert str(tmp_path) not in str(refused.value)
    connect(url, create=True).dispose()
    with served.asked() as store:
        assert store.topic_names() == []
    open_store(url).close()
    served.close()


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--no-score", "--port", str(port)]) == 2
    assert f"127.0.0.1:{port} cannot be listened on" in capsys.readouterr().err

"""What a loop has in hand: the encoder has its next batch before it is done with one, and no order changes."""

import json
import queue
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_topic import MemoryReader, MemoryTopic
from rows import assert_same, promised_rows

from foreshock.monitor.settings import StoreSettings
from foreshock.monitor.store.database import connect, writing
from foreshock.processes import loop as loops
from foreshock.processes import wiring
from foreshock.processes.batches import BatchSize
from foreshock.processes.in_hand import IN_FLIGHT, InHand
from foreshock.processes.replay import replay
from foreshock.processes.rows import Taken
from foreshock.settings.load import load
from foreshock.settings.models import Settings
from foreshock.sources.kafka import KafkaFeed


class Recording:
    """A scorer that remembers in which order it was asked."""

    identity = "quick-1"
    languages = frozenset({"en"})

    def __init__(self) -> None:
        self.asked: list[str] = []

    def score_stories(self, pairs: Sequence[tuple[str, str]]) -> Any:
        self.asked += [title for title, _ in pairs]
        return np.full((len(pairs), 3), [2_000, 3_000, 5_000], dtype=np.int32)


def _feed(path: Path, scored: Sequence[bool]) -> None:
    scores = {"scores": {"negative": 0.1, "neutral": 0.2, "positive": 0.7}}
    rows = [
        {"id": f"s{i}", "title": f"story {i}", "published_at": 1_770_000_000 + 20 * i, **(scores if has else {})}
        for i, has in enumerate(scored)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


class Slow:
    """A worker whose encoder takes its time, and fails."""

    def __init__(self) -> None:
        self.begun, self.done = threading.Event(), 0

    def take(self, sources: Any, filling: Any) -> Taken:
        return Taken(dead_letters=[None], to_encode=1)  # type: ignore[list-item]

    def is_full(self, taken: Any) -> bool:
        return True

    def encode(self, taken: Any) -> None:
        self.begun.set()
        time.sleep(0.2)
        self.done += 1
        raise RuntimeError

    def forget(self) -> None:
        pass


def test_what_is_dropped_has_left_the_encoder() -> None:
    worker = Slow()
    in_hand = InHand(worker, linger_seconds=0)  # type: ignore[arg-type]
    for _ in range(3):
        in_hand.take([])
    worker.begun.wait(10)
    in_hand.drop()
    assert worker.done == 1, "one was with the encoder, and the others did not get there"
    assert in_hand.empty
    in_hand.stop()


class Held:
    """An executor whose calls return when the test says so, in their order."""

    def __init__(self) -> None:
        self.calls: list[tuple[Future[Any], Any]] = []

    def submit(self, call: Any, taken: Taken) -> Future[Any]:
        self.calls.append((Future(), partial(call, taken)))
        return self.calls[-1][0]

    def finish(self) -> None:
        future, call = self.calls.pop(0)
        future.set_result(call())

    def shutdown(self, **_: Any) -> None: ...


class Numbers:
    """A worker whose records are numbers; even ones are texts for the encoder. Four records, or two texts, are full."""

    def __init__(self, came: list[int]) -> None:
        self.came = came

    def take(self, sources: Any, filling: Taken) -> Taken:
        while self.came and not self.is_full(filling):
            filling.dead_letters.append(number := self.came.pop(0))  # type: ignore[arg-type]
            filling.to_encode += number % 2 == 0
        return filling

    def is_full(self, taken: Taken) -> bool:
        return len(taken) >= 4 or taken.to_encode >= 2

    def encode(self, taken: Taken) -> list[Any]:
        return list(taken.dead_letters)

    def rows(self, taken: Taken) -> list[Any]:
        return self.encode(taken)

    def make(self, taken: Taken, encoded: list[Any]) -> list[Any]:
        return encoded


LINGER = 3
in_hand_steps: st.SearchStrategy[tuple[str, list[int]]] = st.one_of(
    st.tuples(st.just("come"), st.lists(st.integers(0, 9), min_size=1, max_size=6)),
    st.tuples(st.sampled_from(["take", "finish", "commit", "due"]), st.just([])),
    st.tuples(st.just("time"), st.lists(st.just(0), min_size=1, max_size=4)),
)


@given(st.lists(in_hand_steps, max_size=60))
def test_a_batch_waits_for_the_encoder_and_for_others_and_for_no_commit(steps: list[tuple[str, list[int]]]) -> None:
    """Invariant: when records were taken and the encoder is free, the batch that fills is younger than the linger.

    A batch that is not full is submitted only while the encoder is free, so at most one such batch is with it. Records
    are committed in the order in which they came.
    """
    came, now, order, committed = list[int](), 0.0, list[int](), list[int]()
    worker, encoder = Numbers(came), Held()
    in_hand = InHand(worker, linger_seconds=LINGER)  # type: ignore[arg-type]
    in_hand.stop()
    in_hand._encoder = encoder  # type: ignore[assignment]
    began = 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("foreshock.processes.in_hand.time.monotonic", lambda: now)
        for step, numbers in steps:
            free, before = not encoder.calls, in_hand.in_flight
            if step == "come":
                came += numbers
                order += numbers
            elif step == "time":
                now += len(numbers)
            elif step == "finish" and encoder.calls:
                encoder.finish()
            elif step == "commit" and in_hand.in_flight and in_hand.made(0):
                committed += in_hand.oldest()[1]  # type: ignore[arg-type]
                in_hand.committed()
            elif step == "take":
                filled = in_hand.fills
                full = in_hand.take([])
                began = began if filled else now
                assert full == (in_hand.in_flight > before and worker.is_full(in_hand._in_flight[-1][0]))
            elif step == "due":
                in_hand.submit_if_due()
            if in_hand.in_flight > before and not worker.is_full(in_hand._in_flight[-1][0]):
                assert free, "what is not full waits for the encoder, and fills meanwhile"
                assert now - began >= LINGER
            if step in ("take", "due") and not encoder.calls and in_hand.fills:
                assert now - began < LINGER, "the encoder does not wait for a batch that is due"
    in_hand.submit()
    while encoder.calls:
        encoder.finish()
    while in_hand.in_flight:
        committed += in_hand.oldest()[1]  # type: ignore[arg-type]
        in_hand.committed()
    assert committed == order[: len(committed)]
    assert order[len(committed) :] == came


class Gate:
    """A scorer that says when it is asked, and answers when it may."""

    identity = "quick-1"
    languages = frozenset({"en"})

    def __init__(self) -> None:
        self.asked: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
        self.may = threading.Semaphore(0)

    def score_stories(self, pairs: Sequence[tuple[str, str]]) -> Any:
        self.asked.put([title for title, _ in pairs])
        assert self.may.acquire(timeout=30)
        return np.full((len(pairs), 3), [2_000, 3_000, 5_000], dtype=np.int32)


def test_what_comes_while_the_encoder_works_is_read_meanwhile_and_scored_before_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = 1_770_000_000
    stories = [json.dumps({"id": str(i), "title": f"story {i}", "published_at": at}).encode() for i in range(6)]
    topic = MemoryTopic({0: [(i, at * 1_000_000, story) for i, story in enumerate(stories)]}, {0: 1})
    url, scorer = f"sqlite:///{tmp_path / 's.db'}", Gate()
    engine = connect(url, create=True)
    settings = load(None, flags={"store.url": url, "watchlist.defaults": False}, environ={}).settings
    number = adopted(engine, settings)
    feed = KafkaFeed(
        MemoryReader(topic, [0]),
        "news",
        settings.parsing().rules(),
        clock=lambda: at * 1_000_000,
    )
    worker = wiring.worker(settings, engine, number, lambda: scorer)
    loop = loops.Loop(engine, worker, None, [feed], wiring.time_rules(settings), clock=lambda: at * 1_000_000)
    loop.begin()
    commit, with_the_encoder = loop._commit_next, list[list[str]]()

    def commit_next() -> None:
        with_the_encoder.append(scorer.asked.get(timeout=30))
        commit()

    monkeypatch.setattr(loop, "_commit_next", commit_next)
    try:
        assert loop.turn(), "the encoder works, and the loop looks again"
        assert scorer.asked.get(timeout=30) == ["story 0"]
        for end in (3, 6):
            topic.ends[0] = end
            assert loop.turn()
        assert loop.records == 0
        scorer.may.release()
        while not loop.records:
            loop.turn()
        assert with_the_encoder == [[f"story {i}" for i in range(1, 6)]], "it had its next batch before the commit"
        scorer.may.release()
    finally:
        scorer.may.release(10)
        loop.stop()
        engine.dispose()


def adopted(engine: Any, settings: Settings) -> int:
    with writing(engine) as connection:
        return wiring.adopt(connection, settings)


def _given(scorer: Any) -> Any:
    return scorer


@settings(max_examples=25)
@given(scored=st.lists(st.booleans(), min_size=1, max_size=60), texts=st.integers(1, 9), records=st.integers(1, 15))
def test_the_encoder_has_its_next_batches_when_one_is_committed(scored: list[bool], texts: int, records: int) -> None:
    """Invariant: while a file has more records, each batch is committed with IN_FLIGHT - 1 others submitted behind it.

    And batches are encoded and committed in the order in which they were taken, so the rows are those of one batch.
    """
    behind: list[tuple[int, bool]] = []
    commit, ended = loops.Loop._commit_next, InHand.take
    dry = False

    def take(self: InHand, sources: Any) -> bool:
        nonlocal dry
        full = ended(self, sources)
        dry = not full
        return full

    def commit_next(self: loops.Loop) -> None:
        behind.append((self._in_hand.in_flight, dry))
        commit(self)

    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        patch.setattr(InHand, "take", take)
        patch.setattr(loops.Loop, "_commit_next", commit_next)
        file = Path(name) / "news.jsonl"
        _feed(file, scored)
        found: list[Any] = []
        for size in (BatchSize(records=records, texts=texts), BatchSize()):
            scorer = Recording()
            url = f"sqlite:///{name}/{len(found)}.db"
            replay(Settings(store=StoreSettings(url=url)), [file], scorer=partial(_given, scorer), batch_size=size)
            assert scorer.asked == [f"story {i}" for i, has in enumerate(scored) if not has]
            assert all(in_flight == IN_FLIGHT or was_dry for in_flight, was_dry in behind)
            behind.clear()
            found.append(promised_rows(url))
        assert_same(*found)

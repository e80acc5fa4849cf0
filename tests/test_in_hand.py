"""What a loop has in hand: the encoder has its next batch before it is done with one, and no order changes."""

import json
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import assert_same, promised_rows

from foreshock.monitor.settings import StoreSettings
from foreshock.processes import loop as loops
from foreshock.processes.batches import BatchSize
from foreshock.processes.in_hand import IN_FLIGHT, InHand
from foreshock.processes.replay import replay
from foreshock.processes.rows import Taken
from foreshock.settings.models import Settings


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

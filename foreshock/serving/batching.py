"""Score the texts of many requests together: whatever waits when the encoder is free goes into its next pass.

Nothing waits for a batch to fill. While a pass runs, requests come in, and they are the next batch. So a lone request
is answered at once, and a busy server has large batches by itself. A request gives its texts in turns of `PASS`, so a
long one does not hold up the short ones beside it. No score depends on its batch (`foreshock.model.scorer`).

The scoring thread takes its next pass by itself: the encoder never waits for the event loop, which may be busy reading
and writing requests.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from foreshock.observability import metrics
from foreshock.serving.errors import Refused

PASS = 64
"""Texts from which on a pass takes no further request. All requests of a pass wait for its last text, and twice as many
texts would make the encoder only a few percent faster."""

Scores = list[list[int]]


class Scoring(Protocol):
    """What scores: `foreshock.model.scorer.Scorer`."""

    identity: str

    def score(self, texts: Sequence[str], entities: Sequence[str | None] | None = None) -> NDArray[np.float32]: ...


@dataclass(slots=True)
class _Turn:
    texts: Sequence[str]
    entities: Sequence[str | None]
    scores: asyncio.Future[Scores]


class Batcher:
    """Give the texts of requests to one scorer, in one thread.

    `load` makes the scorer; it is called once, in that thread. `most_waiting`: the most texts that wait.
    """

    def __init__(self, load: Callable[[], Scoring], *, most_waiting: int) -> None:
        self.identity = ""
        """The identity of the model, once it is loaded."""
        self._load = load
        self._most_waiting = most_waiting
        self._waiting = 0
        self._turns: deque[_Turn] = deque()
        self._more = threading.Condition()
        """Guards `_turns` and `_ended`, and tells the scoring thread of a change."""
        self._ended = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scorer")
        self._scorer: Scoring | None = None
        self._companies = False

    @property
    def ready(self) -> bool:
        """Whether the encoder is loaded."""
        return self._scorer is not None

    async def run(self) -> None:
        """Load the scorer and score until cancelled. Raises what loading raises."""
        loop = asyncio.get_running_loop()
        try:
            self._scorer = await loop.run_in_executor(self._thread, self._loaded)
            self.identity = self._scorer.identity
            await loop.run_in_executor(self._thread, self._work, loop)
        finally:
            with self._more:
                self._ended = True
                self._more.notify()
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def score(self, texts: Sequence[str], entities: Sequence[str | None]) -> Scores:
        """Return the scores of each text in 1/10,000, towards its company or as a whole (None).

        Raises `Refused`: too many texts wait or the encoder is not loaded yet (503), or its weights have no head for
        companies (422).
        """
        if self._scorer is None:
            raise Refused(503, "The encoder is being loaded. Try again in a few seconds.", retry_after=2)
        if not self._companies and any(name is not None for name in entities):
            raise Refused(422, "entities: the weights of this server have no head for companies; leave entities out.")
        if self._waiting and self._waiting + len(texts) > self._most_waiting:
            raise Refused(503, f"{self._waiting:,} texts wait for the encoder already. Try again later.", retry_after=1)
        self._waiting += len(texts)
        metrics.waiting_texts(self._waiting)
        try:
            found: Scores = []
            for start in range(0, len(texts), PASS):
                part = slice(start, start + PASS)
                turn = _Turn(texts[part], entities[part], asyncio.get_running_loop().create_future())
                with self._more:
                    self._turns.append(turn)
                    self._more.notify()
                found += await turn.scores
            return found
        finally:
            self._waiting -= len(texts)
            metrics.waiting_texts(self._waiting)

    def _loaded(self) -> Scoring:
        from foreshock.model.errors import ModelError

        scorer = self._load()
        try:
            scorer.score(["a"], ["a"])
            self._companies = True
        except ModelError:
            pass
        return scorer

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """Score what waits until the end, in the scoring thread."""
        while turns := self._next():
            found: list[Scores] | Exception
            try:
                found = self._pass(turns)
            except Exception as error:  # these requests fail, and the next ones are tried
                found = error
            with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits for an answer
                loop.call_soon_threadsafe(_answer, turns, found)

    def _next(self) -> list[_Turn]:
        """Wait for turns and return those of the next pass; none at the end."""
        turns, texts = list[_Turn](), 0
        with self._more:
            while not turns:
                self._more.wait_for(lambda: self._turns or self._ended)
                if self._ended:
                    return []
                while self._turns and texts < PASS:
                    turn = self._turns.popleft()
                    if not turn.scores.done():  # a client that hung up has cancelled it
                        turns.append(turn)
                        texts += len(turn.texts)
        return turns

    def _pass(self, turns: Sequence[_Turn]) -> list[Scores]:
        from foreshock.model.scorer import quantise

        assert self._scorer is not None
        begun = time.monotonic()
        texts = [text for turn in turns for text in turn.texts]
        entities = [name for turn in turns for name in turn.entities]
        rows: Scores = quantise(self._scorer.score(texts, entities)).tolist()
        metrics.encoded(len(texts), seconds=time.monotonic() - begun)
        metrics.shared_pass(len(turns))
        given = iter(rows)
        return [[next(given) for _ in turn.texts] for turn in turns]


def _answer(turns: Sequence[_Turn], found: list[Scores] | Exception) -> None:
    """Give each turn its scores, or the error, in the event loop."""
    for i, turn in enumerate(turns):
        if turn.scores.done():
            continue
        if isinstance(found, Exception):
            turn.scores.set_exception(found)
        else:
            turn.scores.set_result(found[i])

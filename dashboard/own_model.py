"""The dashboard's own model: it says which words matter in a text, and how near two texts are.

    ready = of_this_process().explained([text, ...], wait=0.8)       # what is known by then; ask again for the rest

One thread does the work, with the weights in the settings. It loads them, some 270 MB, when a person first asks.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foreshock.dashboard.settings import served
from foreshock.model.errors import ModelError
from foreshock.model.explain import Explanation, Scores
from foreshock.monitor.store.story import StoryText

KEPT = 2_000
"""Texts whose words are remembered."""
WAITING = 48
"""Texts whose words are still to be worked out, at most: those of four pages. A headline takes a second, a long body
ten."""
PATIENCE_SECONDS = 5.0


class Encoder(Scores, Protocol):
    """What is needed of a scorer: scores, and embeddings."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


class OwnModel:
    """Scores texts, one after another, in a thread of its own."""

    def __init__(self, load: Callable[[], Encoder]) -> None:
        self._load = load
        self._scorer: Encoder | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="own-model")
        self._lock = threading.Lock()
        self._asked: OrderedDict[str, Future[Explanation]] = OrderedDict()

    def explained(self, texts: Sequence[str], wait: float) -> dict[str, Explanation | BaseException]:
        """Return which words make these texts what they are, or why that is not known.

        What is not worked out after `wait` seconds is left out. It is worked out meanwhile, for whoever asks again,
        unless `WAITING` other texts are asked for after it.
        """
        futures = {one: self._ask(one) for one in dict.fromkeys(texts)}
        self._forget()
        wait_for(futures.values(), timeout=wait)
        done = {one: future for one, future in futures.items() if future.done() and not future.cancelled()}
        return {one: future.exception() or future.result() for one, future in done.items()}

    def closeness(self, asked: str, texts: Sequence[str]) -> NDArray[np.float64] | None:
        """Return the cosines (n,) between the embedding of one text and those of others; None without weights.

        None also if other work takes longer than `PATIENCE_SECONDS`.
        """
        if not texts:
            return np.empty(0)
        future = self._pool.submit(self._embed, [asked, *texts])
        try:
            embedded = future.result(PATIENCE_SECONDS)
        except (ModelError, TimeoutError):
            future.cancel()  # nobody would read it
            return None
        embedded = embedded.astype(np.float64)
        embedded /= np.linalg.norm(embedded, axis=1, keepdims=True)
        found: NDArray[np.float64] = embedded[1:] @ embedded[0]
        return found

    def _ask(self, asked: str) -> Future[Explanation]:
        with self._lock:
            known = self._asked.get(asked)
            if known is None or (known.done() and known.exception() is not None):  # weights may have been restored
                self._asked[asked] = self._pool.submit(self._explain, asked)
            self._asked.move_to_end(asked)
            return self._asked[asked]

    def _forget(self) -> None:
        """Drop what was asked for longest ago, so that no more than `WAITING` texts wait and `KEPT` are remembered."""
        with self._lock:
            waiting = [one for one, future in self._asked.items() if not future.done()]
            for one in waiting[:-WAITING]:
                if self._asked[one].cancel():  # not what is being worked out
                    del self._asked[one]
            while len(self._asked) > KEPT:
                self._asked.popitem(last=False)

    def _explain(self, asked: str) -> Explanation:
        from foreshock.model.explain import explain

        return explain(self._loaded(), asked)

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._loaded().embed(texts)

    def _loaded(self) -> Encoder:
        if self._scorer is None:
            self._scorer = self._load()
        return self._scorer


@cache
def of_this_process() -> OwnModel:
    """Return the model of this process, which has the weights of the settings."""

    def load() -> Encoder:
        from foreshock.model.scorer import load_scorer

        # The pages' own thread is on a CPU, also where a GPU scores: it must not take the GPU's memory.
        here: dict[str, Any] = {"device": "cpu", "precision": "auto", "torch_compile": False, "threads": 1}
        return load_scorer(**{**served().model.loading(), **here}, cached=1_000)

    return OwnModel(load)


def read(story: StoryText) -> str:
    """Return what the encoder reads of a story."""
    return f"{story.title}\n{story.body}" if story.body else story.title

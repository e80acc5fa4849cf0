"""The words that made a story good or bad news: worked out in the background when a person asks for them.

    ready = words_of({position: text, ...})       # what is known by now; a refresh brings the rest

One thread of this process does the work, with the weights of the settings; it loads them when the first person asks
(some 270 MB). Each text is worked out once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from functools import cache
from typing import Protocol

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from foreshock.dashboard import text
from foreshock.dashboard.settings import served
from foreshock.model.errors import ModelError
from foreshock.model.explain import Explanation, Scores, Word
from foreshock.monitor.store.story import Position, StoryText

KEPT = 2_000
"""Texts whose words are remembered."""
ENOUGH = 0.4
"""A word is underlined if it contributes at least this part of what the strongest word does."""
LEAST = 0.03
"""The least contribution of an underlined word. The balance goes from -1 to 1."""
APART = 0.03
"""If the stored scores and these weights' own differ by more, the words are not those behind the stored scores."""


class Reading(Scores, Protocol):
    """What is needed of a scorer: scores, and embeddings."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


class Words:
    """Works out which words make texts what they are, one text after another in a thread of its own."""

    def __init__(self, load: Callable[[], Reading]) -> None:
        self._load = load
        self._scorer: Reading | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="words")
        self._lock = threading.Lock()
        self._asked: OrderedDict[str, Future[Explanation]] = OrderedDict()

    def explained(self, texts: Sequence[str], wait: float) -> dict[str, Explanation | Exception]:
        """Return what is known of these texts after at most `wait` seconds; the rest is worked out meanwhile."""
        futures = {one: self._ask(one) for one in dict.fromkeys(texts)}
        wait_for(futures.values(), timeout=wait)
        return {one: error or f.result() for one, f in futures.items() if f.done() for error in [f.exception()]}  # type: ignore[misc]

    def closeness(self, asked: str, texts: Sequence[str]) -> NDArray[np.float64] | None:
        """Return the cosines (n,) between the embedding of one text and those of others; None without weights."""
        if not texts:
            return np.empty(0)
        try:
            embedded = self._pool.submit(self._embed, [asked, *texts]).result().astype(np.float64)
        except ModelError:
            return None
        embedded /= np.linalg.norm(embedded, axis=1, keepdims=True)
        found: NDArray[np.float64] = embedded[1:] @ embedded[0]
        return found

    def _ask(self, asked: str) -> Future[Explanation]:
        with self._lock:
            if asked not in self._asked:
                self._asked[asked] = self._pool.submit(self._explain, asked)
            self._asked.move_to_end(asked)
            while len(self._asked) > KEPT:
                self._asked.popitem(last=False)[1].cancel()
            return self._asked[asked]

    def _explain(self, asked: str) -> Explanation:
        from foreshock.model.halves import explain_by_halves

        return explain_by_halves(self._loaded(), asked)

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._loaded().embed(texts)

    def _loaded(self) -> Reading:
        if self._scorer is None:
            self._scorer = self._load()
        return self._scorer


@cache
def of_this_process() -> Words:
    """Return the one of this process, which uses the weights of the settings."""

    def load() -> Reading:
        from foreshock.model.scorer import load_scorer

        return load_scorer(served().weights, device="cpu", threads=1, cached=1_000)

    return Words(load)


def words_of(stories: Sequence[StoryText], wait: float) -> tuple[dict[Position, Explanation], str]:
    """Return the words of these stories that are known after `wait` seconds, and a sentence on what is not."""
    scored = [story for story in stories if story.scores is not None]
    found = of_this_process().explained([read(story) for story in scored], wait)
    shown, others, error = {}, 0, None
    for story in scored:
        one = found.get(read(story))
        if isinstance(one, Exception):
            error = one
        elif one is not None and _apart(story, one) > APART:
            others += 1
        elif one is not None:
            shown[story.position] = one
    if error is not None:
        return {}, f"The words cannot be shown, because this dashboard cannot score: {error}"
    said = []
    if len(found) < len({read(story) for story in scored}):
        said.append("The words of further stories are being worked out.")
    if others:
        said.append("No words are underlined where the scores came with the feed or from other weights.")
    return shown, " ".join(said)


def title_of(explained: Explanation, story: StoryText, limit: int = 400) -> Markup:
    """Return the story's title as HTML, with the words that made it good or bad news underlined."""
    from foreshock.model.tokenizing import clean

    return _marked(explained, 0, len(clean(story.title)), limit)


def body_of(explained: Explanation, story: StoryText, limit: int = 6_000) -> Markup:
    """Return the part of the story's body that the encoder could read, as `title_of` does."""
    from foreshock.model.tokenizing import clean

    return _marked(explained, len(clean(story.title)), len(explained.text), limit)


def is_marked(word: Word, strongest: float) -> bool:
    """Return whether a word is underlined. `strongest`: the largest contribution of the text, either way."""
    return abs(word.contribution) >= max(LEAST, ENOUGH * strongest)


def _marked(explained: Explanation, start: int, end: int, limit: int) -> Markup:
    strongest = max((abs(word.contribution) for word in explained.words), default=0.0)
    parts, place, room = [], start, limit
    for word in explained.words:
        if not start <= word.start < end or room <= 0:
            continue
        said = text.clean(word.word, min(room, 100))
        room -= len(said) + 1
        place = word.end
        if is_marked(word, strongest):
            tone, says = ("fs-bad", "worse") if word.contribution < 0 else ("fs-good", "better")
            moves = f"makes it {says} by {abs(word.contribution):.2f}"
            parts.append(f'<span class="{tone}" title="{moves}">{escape(said)}</span>')
        else:
            parts.append(str(escape(said)))
    rest = text.clean(explained.text[place:end], max(room, 0)) if room > 0 else "…"
    joined = " ".join(filter(None, [*parts, str(escape(rest))]))
    return Markup(f'<bdi dir="auto">{joined}</bdi>')  # noqa: S704  # escaped above


def read(story: StoryText) -> str:
    """Return what the encoder reads of a story."""
    return f"{story.title}\n{story.body}" if story.body else story.title


def _apart(story: StoryText, explained: Explanation) -> float:
    assert story.scores is not None
    return max(abs(stored / 10_000 - own) for stored, own in zip(story.scores, explained.scores, strict=True))

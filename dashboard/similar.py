"""More like this: the stories most like one story, by the encoder's embeddings.

The signs of embeddings find a few hundred stories (`monitor.store.similar`). Then this process, if it has the weights,
encodes these and puts them in the order of the embeddings themselves. Copies of one report are shown as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
from sqlalchemy import Engine

from foreshock.dashboard import frame, own_model
from foreshock.dashboard.reader import Look
from foreshock.monitor.store import story
from foreshock.monitor.store.similar import Signs
from foreshock.monitor.store.story import StoryText
from foreshock.monitor.store.views import StoryRow

CANDIDATES, SHOWN = 256, 20
FOR_SECONDS = 60
"""How long an answer is shown before the store is asked again for new stories."""

_signs: WeakKeyDictionary[Engine, Signs] = WeakKeyDictionary()


def draw(look: Look, asked: StoryText) -> None:
    """Draw the stories most like one, or say why there are none."""
    answer = frame.reader().for_seconds(("similar", asked.position), FOR_SECONDS, lambda: _ask(look, asked))
    if answer is None:
        frame.header("More like this", "Not known: this story came with its scores, or was scored by an older version.")
        return
    rows, among, exact = answer
    how = "by the encoder's embeddings" if exact else "by the signs of the encoder's embeddings alone"
    frame.header("More like this", f"The nearest of {among:,} other stories, {how}.")
    frame.show("similar.html", rows=rows)


def _ask(look: Look, asked: StoryText) -> tuple[list[tuple[StoryRow, float | None]], int, bool] | None:
    held = _signs.setdefault(frame.reader().engine(), Signs())
    answer = held.near(look.connection, asked.position, CANDIDATES)
    if answer is None:
        return None
    near, among = answer
    texts = story.texts(look.connection, [one.position for one in near])
    found = distinct(asked, [texts[one.position] for one in near if one.position in texts])
    closeness = own_model.of_this_process().closeness(own_model.read(asked), [own_model.read(one) for one in found])
    order: Sequence[int] = range(len(found))
    if closeness is not None:
        order = np.lexsort((np.arange(len(found)), -closeness)).tolist()
    rows = [(_row(found[place]), None if closeness is None else float(closeness[place])) for place in order[:SHOWN]]
    return rows, among, closeness is not None


def distinct(asked: StoryText, found: Sequence[StoryText]) -> list[StoryText]:
    """Return the stories found without those of one title, of which the first stays."""
    seen = {" ".join(asked.title.casefold().split())}
    kept = []
    for one in found:
        title = " ".join(one.title.casefold().split())
        if title not in seen:
            seen.add(title)
            kept.append(one)
    return kept


def _row(one: StoryText) -> StoryRow:
    return StoryRow(
        *(one.title, one.url, one.source, one.published_at, one.scores, one.withdrawn, one.severity, one.position)
    )

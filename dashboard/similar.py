"""Stories like one story, by the encoder's embeddings."""

from __future__ import annotations

from foreshock.dashboard.reader import Look
from foreshock.monitor.store.story import StoryText


def draw(look: Look, asked: StoryText) -> None:
    pass

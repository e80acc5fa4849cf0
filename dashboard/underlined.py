"""The words that made a story good or bad news, underlined in its title and body."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from foreshock.dashboard import frame, own_model, text
from foreshock.model.explain import Explanation, Word
from foreshock.monitor.store.story import Position, StoryText

ENOUGH = 0.4
"""A word is underlined if it contributes at least this part of what the strongest word does."""
LEAST = 0.03
"""The least contribution of an underlined word. The balance goes from -1 to 1."""
APART = 0.03
"""If the stored scores and these weights' own differ by more, the words are not those behind the stored scores."""


def words_of(stories: Sequence[StoryText], wait: float) -> tuple[dict[Position, Explanation], str]:
    """Return the words of these stories that are known after `wait` seconds, and a sentence on what is not.

    The page is drawn again soon if some are still being worked out.
    """
    scored = [story for story in stories if story.scores is not None]
    found = own_model.of_this_process().explained([own_model.read(story) for story in scored], wait)
    shown, others, error = {}, 0, None
    for story in scored:
        one = found.get(own_model.read(story))
        if isinstance(one, BaseException):
            error = one
        elif one is not None and _apart(story, one) > APART:
            others += 1
        elif one is not None:
            shown[story.position] = one
    if error is not None:
        return {}, f"The words cannot be shown, because this dashboard cannot score: {error}"
    said = []
    if len(found) < len({own_model.read(story) for story in scored}):
        said.append("Further words are being worked out.")
        frame.soon()
    if others:
        said.append("No words are underlined where the scores came with the feed or from other weights.")
    return shown, " ".join(said)


def title_of(explained: Explanation, story: StoryText, limit: int = 400) -> Markup:
    """Return the story's title as HTML, with the words that made it good or bad news underlined."""
    from foreshock.model.tokenizing import clean

    return _marked(explained, explained.text[: len(clean(story.title))], 0, limit)


def body_of(explained: Explanation, story: StoryText, limit: int = 6_000) -> Markup:
    """Return the story's body as `title_of` does its title. What stands behind the part that is read has no marks."""
    from foreshock.model.tokenizing import clean

    return _marked(explained, _whole(explained, story), len(clean(story.title)), limit)


def exceeds(explained: Explanation, story: StoryText, limit: int) -> bool:
    """Return whether `body_of` leaves out a part of the body. Links, which the encoder does not read, do not count."""
    from foreshock.model.tokenizing import clean

    return text.exceeds(_whole(explained, story)[len(clean(story.title)) :], limit)


def _whole(explained: Explanation, story: StoryText) -> str:
    """Return title and body as the encoder reads them, and what stands behind."""
    from foreshock.model.tokenizing import behind

    return explained.text + behind(own_model.read(story))


def is_marked(word: Word, strongest: float) -> bool:
    """Return whether a word is underlined. `strongest`: the largest contribution of the text, either way."""
    return abs(word.contribution) >= max(LEAST, ENOUGH * strongest)


def _marked(explained: Explanation, whole: str, start: int, limit: int) -> Markup:
    """Return a text from `start` on as HTML with marks. `whole` begins like the explained text, or is its beginning."""
    strongest = max((abs(word.contribution) for word in explained.words), default=0.0)
    parts: list[str] = []
    place, room = start, limit
    for word in explained.words:
        if not start <= word.start < len(whole) or room <= 0:
            continue
        said = text.clean(word.word, min(room, 100))
        room -= len(said) + 1
        if parts and word.start > place:  # Chinese has no spaces between its words
            parts.append(" ")
        place = word.end
        if is_marked(word, strongest):
            tone, says = ("fs-bad", "worse") if word.contribution < 0 else ("fs-good", "better")
            moves = f"makes it {says} by {abs(word.contribution):.2f}"
            parts.append(f'<span class="{tone}" title="{moves}">{escape(said)}</span>')
        else:
            parts.append(str(escape(said)))
    rest = text.clean(whole[place:], max(room, 0)) if room > 0 else "…"
    if parts and rest and (room <= 0 or whole[place].isspace()):
        parts.append(" ")
    return Markup(f'<bdi dir="auto">{"".join(parts)}{escape(rest)}</bdi>')  # noqa: S704  # escaped above


def _apart(story: StoryText, explained: Explanation) -> float:
    assert story.scores is not None
    return max(abs(stored / 10_000 - own) for stored, own in zip(story.scores, explained.scores, strict=True))

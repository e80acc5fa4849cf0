"""The rules of critical stories: words, excludes, how negative a story must be, and on which topics.

`critical.py` applies them. Without a table in the settings, one table with the built-in words (`critical.toml`) is in
force.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from foreshock.monitor.topics.normalise import folded, words
from foreshock.monitor.units import ALL, OTHER

MOST_WORDS = 2_000
"""The most words and phrases of one table."""


class CriticalRule(BaseModel):
    """One `[[critical]]` table. A story is critical for a topic if a word of the table stands in its title or in the
    first 300 characters of its body, and the encoder calls it negative."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, use_attribute_docstrings=True)

    words: tuple[str, ...] = Field(default=(), max_length=MOST_WORDS)
    """Words and phrases, as they are to match, without case. Empty: the built-in ones, such as insolvency, fraud,
    recall, breach, explosion, sanctions."""
    exclude: tuple[str, ...] = Field(default=(), max_length=MOST_WORDS)
    """A word does not count where it overlaps one of these phrases: "recall" in "recall election". With the built-in
    words, the built-in phrases are excluded, too. In a story on a topic, the topic's own name never counts."""
    avoid: tuple[str, ...] = Field(default=(), max_length=MOST_WORDS)
    """A story whose title has one of these words or phrases is not critical: "settles". With the built-in words, the
    built-in ones are avoided, too."""
    negative: float = Field(default=0.7, ge=0.5, le=1)
    """The probability of negative that the encoder must give the story; towards the company, where the story names
    several."""
    severity: float = Field(default=1.8, ge=0, le=3)
    """The severity that the encoder must give the story: 1 mild, 2 serious, 3 grave. It does not apply to a story
    without one."""
    topics: tuple[str, ...] = ()
    """The topics that are watched. Empty: your own and the built-in companies, but no built-in theme."""

    @field_validator("words", "exclude", "avoid")
    @classmethod
    def _can_match(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            if not words(entry):
                raise ValueError(f"has the entry {entry!r}, which contains neither a letter nor a digit")
        return entries

    @field_validator("topics")
    @classmethod
    def _are_topics(cls, topics: tuple[str, ...]) -> tuple[str, ...]:
        for name in topics:
            if not name or name in (ALL, OTHER):
                raise ValueError(f"{name or 'an empty name'} is not a topic that a story can name; name topics")
        return topics

    @model_validator(mode="after")
    def _some_word_can_count(self) -> CriticalRule:
        excluded = {folded(words(phrase)) for phrase in self.exclude}
        for word in self.words:
            if folded(words(word)) in excluded:
                raise ValueError(f"the word {word!r} is in exclude, too, so it can never count; remove one of them")
        return self

    def resolved(self) -> CriticalRule:
        """Return the rule with its words written out."""
        if self.words:
            return self
        built_in, exclude, avoid = built_in_words()
        more = {"exclude": (*self.exclude, *exclude), "avoid": (*self.avoid, *avoid)}
        return self.model_copy(update={"words": built_in, **more})


@cache
def built_in_words() -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the built-in words, the phrases that are excluded, and those that are avoided."""
    tables = tomllib.loads((Path(__file__).parent / "critical.toml").read_text("utf-8"))
    found = tuple(dict.fromkeys(word for group in tables["words"].values() for word in group))
    return found, tuple(tables["exclude"]["phrases"]), tuple(tables["avoid"]["phrases"])

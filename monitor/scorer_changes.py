"""What can change about the scorer in the stories of a source, and what each change means.

* **words**: the texts hold words that the training texts did not. The feed has another language, broken characters or
  markup, or the world has new words. Scores are worth less.
* **doubt**: the scorer is less sure than of the same classes before. The texts are of another kind. Scores are worth
  less.
* **stuck**: nearly all stories are of one class, which was not so before. Something in front of each text decides, or
  the scorer is broken.
* **mood**: the classes have other shares, and the rest is as before. That is news. It is noted, and nobody is called.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Literal

from foreshock.monitor.units import OTHER

Kind = Literal["words", "doubt", "stuck", "mood"]
CALLS: frozenset[Kind] = frozenset({"words", "doubt", "stuck"})
"""The kinds that concern an operator."""
Ending = Literal["back", "stayed", "silent", "model"]
"""How a change ended: the figures are back, they stayed so for long that this is the source now, nothing came, or
another model scores."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change that was found. Times are microseconds of event time, figures ratios from 0 to 1."""

    source: str
    kind: Kind
    found_at: int
    began_at: int
    stories: int
    """That the figure after it is made of."""
    after: float
    before: float | None
    """None: the source was so from its first stories on."""
    card: float | None
    """What the model's card says; None where it says nothing, and of shares."""
    label: str = ""
    """The class, of `stuck` and `mood`."""

    @property
    def calls(self) -> bool:
        """Return whether an operator should look."""
        return self.kind in CALLS


@dataclass(frozen=True, slots=True)
class Ended:
    """A change that is over."""

    source: str
    kind: Kind
    found_at: int
    ended_at: int
    because: Ending


def sentence(change: Change) -> str:
    """Return what was found, with its figures."""
    digits = ".1%" if change.kind == "words" else ".0%"
    after, before, card = (
        "" if figure is None else format(figure, digits) for figure in (change.after, change.before, change.card)
    )
    said = {
        "words": f"{after} of the tokens are ones that the training texts did not hold",
        "doubt": f"the scorer is {after} sure",
        "stuck": f"{after} of the stories are {change.label}",
        "mood": f"{after} of the stories are {change.label}",
    }[change.kind]
    said += f", {before} before" if before else ", as from its first stories on"
    said += f"; the model's card says {card}" if card else ""
    return f"{said} ({change.stories:,} stories)"


MEANING: dict[Kind, str] = {
    "words": "The feed may have another language, broken characters or markup. Its scores are worth less.",
    "doubt": "The texts may be of another kind than before. Their scores are worth less.",
    "stuck": "Something that stands in every text may decide, or the scorer is broken.",
    "mood": "The scorer is as sure as before, and knows the words: that is news.",
}
"""What each kind means, in words."""


def remedy(change: Change) -> str:
    """Return the command that shows its newest stories to an operator; "" if none is needed."""
    if not change.calls or change.source == OTHER:
        return ""
    return f"foreshock stories --source {shlex.quote(change.source)}"

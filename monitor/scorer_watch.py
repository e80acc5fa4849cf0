"""Is the scorer still right? Compare what it says of each source with that source's past and with the model's card.

    watch = ScorerWatch(cards)
    found, ended = watch.take(end, rulings)     # each decided bucket, in order

A source's stories are put into blocks of at least BLOCK_STORIES stories and BLOCK_SPAN of event time. Each block gives
its figures to Page-Hinkley detectors (page_hinkley.py). A change counts if it is also large, and beyond every labelled
set of the card. scorer_changes.py says what each kind means.

Memory is bounded, however many sources a feed names: PLACES of them are watched apart, and all others together as
`_other`. A source takes a place as in Metwally et al. 2005 ("Efficient Computation of Frequent and Top-k Elements in
Data Streams"): from the one with the fewest stories, whose number it inherits. One that has filled a block keeps its
place until it is silent for FORGET.

Invariant: what is found depends only on the buckets' rulings, in order, and not on how they were split into calls or
where the state was stored and loaded between them. Stories before a change of the model, and after it, are in other
buckets (store/switches.py): with the first bucket of another model everything begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from foreshock.model.labels import LABELS
from foreshock.monitor import page_hinkley
from foreshock.monitor.counting import Ruling
from foreshock.monitor.scorer_blocks import Sums, Usual, doubt
from foreshock.monitor.scorer_changes import Change, Ended, Ending, Kind
from foreshock.monitor.units import DAY, HOUR, OTHER

BLOCK_STORIES = 100
"""The fewest stories of a block: a share of them is known to about five points, and a mean confidence to one."""
BLOCK_SPAN = 6 * HOUR
"""The least event time of a block, so that one burst of news is not several blocks."""
RECENT = 4
"""Blocks that say what is so now, and on which a new source is judged."""
PLACES = 256
"""Sources that are watched apart."""
NEWCOMERS = 16
"""Sources that may take a place in one bucket, those with the most stories first. The rest counts as `_other`."""
FORGET = 28 * DAY
"""How long a source may be silent and keep its place, and how long a change is one."""

WORDS, DOUBT, MOOD = 0.08, 0.05, 0.15
"""How large a change must be to count: of novelty, of confidence, and of a class's share."""
STUCK, NOT_STUCK = 0.97, 0.85
"""A class is stuck if recent stories have it in this share, and the past had it in less than the other one."""
DETECTORS: dict[str, dict[str, Any]] = {
    "words": {"delta": 0.02, "threshold": 0.1, "mode": "up"},
    "doubt": {"delta": 0.02, "threshold": 0.1, "mode": "up"},
    **{label: {"delta": 0.05, "threshold": 0.5, "mode": "both"} for label in LABELS},
}
"""The detectors of a source. Blocks of the same kind differ by one to two points in novelty and confidence, and by
about five in a share: what lies within adds nothing."""


@dataclass(slots=True)
class Place:
    """What is remembered of a source."""

    stories: int = 0
    """As the sources with most stories are found: with what it inherited."""
    last_at: int = 0
    model: str = ""
    """The model that scored the stories of all places. Only the place `_other` has it."""
    begun_at: int | None = None
    """When the open block began."""
    open: Sums = field(default_factory=Sums)
    past: Sums = field(default_factory=Sums)
    blocks: int = 0
    recent: list[tuple[int, Sums]] = field(default_factory=list)
    """The last blocks, each with its begin."""
    moving: dict[str, int] = field(default_factory=dict)
    """When a rise ("+") or a fall ("-") began that may become a change, by sign and name of the detector."""
    hits: dict[str, int] = field(default_factory=dict)
    """When a change began that a detector has found in the last blocks, by the detector's name. It counts once it is
    large."""
    states: dict[str, list[float]] = field(default_factory=dict)
    changes: dict[Kind, Change] = field(default_factory=dict)
    """Those that are not over."""

    def to_json(self) -> dict[str, Any]:
        return {
            "stories": self.stories,
            "last_at": self.last_at,
            "model": self.model,
            "begun_at": self.begun_at,
            "open": self.open.to_json(),
            "past": self.past.to_json(),
            "blocks": self.blocks,
            "recent": [[at, sums.to_json()] for at, sums in self.recent],
            "moving": self.moving,
            "hits": self.hits,
            "states": self.states,
            "changes": [asdict(change) for change in self.changes.values()],
        }

    @classmethod
    def of_json(cls, found: dict[str, Any]) -> Place:
        changes = [Change(**change) for change in found["changes"]]
        sums = {name: Sums.of_json(found[name]) for name in ("open", "past")}
        recent = [(at, Sums.of_json(one)) for at, one in found["recent"]]
        return cls(**found | sums | {"recent": recent, "changes": {change.kind: change for change in changes}})

    def now(self, since: int = 0) -> Sums:
        """Return the recent blocks together, or those of them that began at or after `since`."""
        total = Sums()
        for began, sums in self.recent:
            if began >= since:
                total.add(sums)
        return total


class ScorerWatch:
    """What is remembered of all sources. `cards`: what the card of each model says, if it says anything.

    `changed`, `removed`: the sources whose place differs from when they were last cleared.
    """

    def __init__(self, cards: Mapping[str, Usual], places: dict[str, Place] | None = None) -> None:
        self.cards = cards
        self._places = {OTHER: Place()} if places is None else {OTHER: Place(), **places}
        self.changed: set[str] = set()
        self.removed: set[str] = set()

    @property
    def places(self) -> dict[str, Place]:
        """The places, by source."""
        return self._places

    def take(self, end: int, rulings: Iterable[Ruling]) -> tuple[list[Change], list[Ended]]:
        """Take the stories of a bucket that ends at `end`. Return the changes that were found, and those that ended.

        What counts is the first story of each event that a model scored here, so a text that many repeat is one.
        """
        heard: dict[str, Sums] = {}
        model = None
        for ruling in rulings:
            story = ruling.member
            if story.model is not None and ruling.weighs and ruling.event is None and story.scores is not None:
                heard.setdefault(story.source, Sums()).take(story.scores, story.novelty)
                model = story.model
        found: list[Change] = []
        ended: list[Ended] = []
        if model is None:
            return found, ended
        if model != self._places[OTHER].model:
            ended += self._begin_anew(end, model)
        tail = self._places[OTHER]
        if end // DAY != tail.last_at // DAY:
            ended += self._forget(end)
        tail.last_at = end
        self.changed.add(OTHER)
        for source in self._seated(heard, end):
            place = self._places[source]
            if (
                place.begun_at is not None
                and place.open.stories >= BLOCK_STORIES
                and end - place.begun_at >= BLOCK_SPAN
            ):
                new, over = _close(source, place, end, self.cards.get(model))
                found += new
                ended += over
        return found, ended

    def _seated(self, heard: dict[str, Sums], end: int) -> list[str]:
        """Add the stories to the places of their sources. Return the sources that got some, in bytewise order."""
        newcomers = sorted(heard.keys() - self._places.keys(), key=lambda name: (-heard[name].stories, name))
        admitted = set[str]()
        for name in newcomers[:NEWCOMERS]:
            self._admit(name, heard[name].stories)
            admitted.add(name)
        seated = set()
        for source, sums in heard.items():
            name = source if source in self._places else OTHER
            place = self._places[name]
            place.stories += 0 if name in admitted else sums.stories  # a newcomer's are counted already
            place.last_at = end
            place.begun_at = end if place.begun_at is None else place.begun_at
            place.open.add(sums)
            seated.add(name)
        self.changed |= seated
        return sorted(seated)

    def _admit(self, source: str, stories: int) -> None:
        """Give a new source a place, if there is one. What is known of who loses it counts as `_other`.

        It has what it inherits and its own `stories` at once, or else the next newcomer would take its place.
        """
        place = Place(stories=stories)
        if len(self._places) > PLACES:
            weakest = min(
                (name for name, known in self._places.items() if not known.blocks and name != OTHER),
                key=lambda name: (self._places[name].stories, name),
                default=None,
            )
            if weakest is None:
                return
            lost = self._remove(weakest)
            place.stories += lost.stories
            tail = self._places[OTHER]
            tail.open.add(lost.open)
            tail.begun_at = lost.begun_at if tail.begun_at is None else tail.begun_at
        self._places[source] = place
        self.removed.discard(source)

    def _remove(self, source: str) -> Place:
        self.removed.add(source)
        self.changed.discard(source)
        return self._places.pop(source)

    def _forget(self, end: int) -> list[Ended]:
        """Take the places of sources that have been silent for long."""
        silent = [name for name, p in self._places.items() if name != OTHER and end - p.last_at > FORGET]
        return self._without(silent, end, "silent")

    def _begin_anew(self, end: int, model: str) -> list[Ended]:
        """Forget everything: another model has habits of its own."""
        ended = self._without(self._places, end, "model")
        self._places[OTHER] = Place(model=model, last_at=end)
        self.removed.discard(OTHER)
        return ended

    def _without(self, names: Iterable[str], end: int, because: Ending) -> list[Ended]:
        """Take the places of these sources. Return what ended with them."""
        return [
            Ended(name, change.kind, change.found_at, end, because)
            for name in sorted(names)
            for change in self._remove(name).changes.values()
        ]


def _close(source: str, place: Place, end: int, usual: Usual | None) -> tuple[list[Change], list[Ended]]:
    """Close the open block of a source that holds enough. Return what was found, and what ended."""
    assert place.begun_at is not None
    block, began = place.open, place.begun_at
    place.open, place.begun_at = Sums(), None
    place.blocks += 1
    place.recent = [*place.recent[-RECENT + 1 :], (began, block)]
    ended = _endings(source, place, end, usual)
    found = list(_found(source, place, block, end, usual))
    place.changes |= {change.kind: change for change in found}
    if not place.changes.keys() & {"words", "doubt"}:  # else what is wrong would become what is usual
        place.past.add(block)
        place.past.fade()
    return found, ended


def _found(source: str, place: Place, block: Sums, end: int, usual: Usual | None) -> Iterable[Change]:
    """Yield the changes that show with this block."""
    past, first, known = place.past, place.recent[0][0], place.changes
    values = {"words": block.words, "doubt": doubt(block, past, usual)}
    values |= {label: block.share(c) for c, label in enumerate(LABELS)}
    for name, value in values.items():
        if value is not None and name not in known:
            _update(place, name, value)
    place.hits = {name: began for name, began in place.hits.items() if began >= first}
    is_new = place.blocks == RECENT and usual is not None

    def change(
        kind: Kind, of: Sums, since: int, after: float, before: float | None, card: float | None = None, label: str = ""
    ) -> Change:
        place.hits.pop(label or kind, None)
        before, card = (None if figure is None else round(figure, 4) for figure in (before, card))
        return Change(source, kind, end, since, of.stories, round(after, 4), before, card, label)

    if "words" not in known:
        since = place.hits.get("words", first)
        now, card = place.now(since), None if usual is None else usual.words
        after, before = now.words or 0.0, past.words
        if "words" in place.hits and before is not None and after - before > WORDS and after > (card or 0.0):
            yield change("words", now, since, after, before, card)
        elif is_new and card is not None and usual is not None and after > card + WORDS and _is_unlike(now, usual):
            yield change("words", now, first, after, None, card)
    if "doubt" not in known:
        since = place.hits.get("doubt", first)
        now = place.now(since)
        less, worst = (0.0, 0.0) if usual is None else (usual.doubt_of(now), usual.doubt)
        card = None if usual is None else now.confidence + less
        lost = doubt(now, past, usual)
        if "doubt" in place.hits and lost > DOUBT and (usual is None or less > worst):
            yield change("doubt", now, since, now.confidence, now.confidence + lost, card)
        elif is_new and less > worst + DOUBT:
            yield change("doubt", now, first, now.confidence, None, card)
    if place.blocks <= RECENT or not past.stories:
        return
    now = place.now()
    for c, label in enumerate(LABELS):
        if "stuck" not in known and now.share(c) >= STUCK and past.share(c) < NOT_STUCK:
            yield change("stuck", now, first, now.share(c), past.share(c), label=label)
    moved = {c: place.now(place.hits[label]) for c, label in enumerate(LABELS) if label in place.hits}
    large = {c: abs(now.share(c) - past.share(c)) for c, now in moved.items()}
    if "mood" not in known and large and max(large.values()) > MOOD:
        most = max(large, key=lambda c: large[c])
        began = place.hits[LABELS[most]]
        yield change("mood", moved[most], began, moved[most].share(most), past.share(most), label=LABELS[most])


def _is_unlike(now: Sums, usual: Usual) -> bool:
    """Whether the scorer is less sure of these stories than of any labelled set, or gives nearly all of them one class.

    Asked of a source without a past whose words are new. Names that no training text has are new words too, and a feed
    has names of its own: around them the scorer is as sure as ever, and finds good and bad news. It says
    neutral to nearly all texts whose words it cannot read (another language, broken characters).
    """
    return usual.doubt_of(now) > usual.doubt or max(now.share(c) for c in range(len(LABELS))) >= NOT_STUCK


def _update(place: Place, name: str, value: float) -> None:
    """Give a detector its next value, and note when what it may find began."""
    detector = page_hinkley.restored(page_hinkley.fresh(**DETECTORS[name]), place.states.get(name, ()))
    detector.update(value)
    place.states[name] = page_hinkley.state(detector)
    ways = {"+": page_hinkley.risen(detector)}
    if DETECTORS[name]["mode"] == "both":
        ways["-"] = page_hinkley.fallen(detector)
    for sign, far in ways.items():
        if far > 0:
            place.moving.setdefault(sign + name, place.recent[-1][0])
        else:
            place.moving.pop(sign + name, None)
    if detector.drift_detected:
        place.hits[name] = place.moving[max(ways, key=lambda sign: ways[sign]) + name]


def _endings(source: str, place: Place, end: int, usual: Usual | None) -> list[Ended]:
    """Return which changes are over with the block that has just closed, and forget them."""
    now, past = place.now(), place.past
    ended = []
    for kind, change in list(place.changes.items()):
        if end - change.found_at > FORGET:
            because = "stayed"
            place.past, place.states, place.moving, place.hits = place.now(), {}, {}, {}
        elif _is_back(change, now, past, usual):
            because = "back"
            place.states.pop(kind, None)
            place.hits.pop(kind, None)
            place.moving = {name: at for name, at in place.moving.items() if name[1:] != kind}
        else:
            continue
        del place.changes[kind]
        ended.append(Ended(source, kind, change.found_at, end, because))  # type: ignore[arg-type]
    return ended


def _is_back(change: Change, now: Sums, past: Sums, usual: Usual | None) -> bool:
    if change.kind == "words":
        level = change.before if change.before is not None else change.card
        return now.words is None or level is None or now.words < level + WORDS / 2
    if change.kind == "doubt":
        apart = usual.doubt_of(now) - usual.doubt if change.before is None and usual else doubt(now, past, usual)
        return apart < DOUBT / 2
    share = now.share(LABELS.index(change.label))
    if change.kind == "stuck":
        return share < (STUCK + NOT_STUCK) / 2
    return change.before is None or abs(share - change.before) < MOOD / 2

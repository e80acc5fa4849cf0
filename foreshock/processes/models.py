"""Which model scores a story: the one in force at the time at which the story counts (`monitor.store.switches`).

Each is loaded when the first story needs it. So a process that has passed a switch never loads the model before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy import Connection

from foreshock.monitor.store import switches
from foreshock.monitor.store.switches import Switch


class StoryScorer(Protocol):
    """What a worker needs of the encoder: `foreshock.model.scorer.Scorer`, or a quick one in tests."""

    identity: str
    languages: frozenset[str]

    def score_stories(self, pairs: Any) -> Any: ...


class Models:
    """The models of a store, by the time from which on each scores.

    `first`: makes the scorer that the store was begun with; `after`: the one of a switch.
    """

    def __init__(self, first: Callable[[], StoryScorer], after: Callable[[Switch], StoryScorer] | None = None) -> None:
        self._first = first
        self._after = after
        self._recorded: tuple[Switch, ...] = ()
        self._loaded: dict[int, StoryScorer] = {}

    @property
    def number(self) -> int:
        """The number of the last switch that is known; 0: none."""
        return self._recorded[-1].number if self._recorded else 0

    def follow(self, connection: Connection) -> None:
        """Learn of the switches that the store has recorded."""
        self._recorded = tuple(switches.timeline(connection))

    def place(self, time: int) -> int:
        """Return which model scores stories that count at `time`: 0 is the first."""
        return sum(switch.in_force_from is not None and switch.in_force_from <= time for switch in self._recorded)

    def load(self, place: int) -> StoryScorer:
        """Return the scorer at a place. Raises as `of` does."""
        return self.of(self._recorded[place - 1] if place else None)

    def of(self, switch: Switch | None) -> StoryScorer:
        """Return the scorer of a switch, which need not be recorded yet; the first one for None.

        Raises:
            SettingsDiffer: the store is bound to another model.
            ModelError: the weights cannot be used.
        """
        number = 0 if switch is None else switch.number
        if number not in self._loaded:
            if switch is None:
                self._loaded[number] = self._first()
            else:
                assert self._after is not None
                self._loaded[number] = self._after(switch)
        return self._loaded[number]

    def loaded(self, place: int) -> StoryScorer | None:
        """Return the scorer at a place if it was loaded."""
        return self._loaded.get(self._recorded[place - 1].number if place else 0)

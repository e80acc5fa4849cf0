"""`foreshock model switch`: score the recent past by another model, beside whoever decides, until it is in force.

This process scores. Where another one decides (`run`, `monitor`), that one records the bucket and goes over to the new
model by itself; else this process does. It may be ended at any moment: the next one goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Engine

from foreshock.model.huggingface.folder import PREFIX
from foreshock.model.settings import ModelSettings, absolute
from foreshock.monitor import lease
from foreshock.monitor.closing import Closer
from foreshock.monitor.errors import LeaseHeld, Overtaken, SettingsDiffer
from foreshock.monitor.store import desk_actions, settings_versions, switches
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.switches import Switch
from foreshock.monitor.store.times import iso, iso_or_none
from foreshock.monitor.watermark import TimeRules
from foreshock.processes import wiring
from foreshock.processes.models import Models, StoryScorer
from foreshock.processes.rescoring import Rescorer
from foreshock.processes.stop import Stop
from foreshock.processes.store_failures import said_clearly
from foreshock.processes.switches import Switches
from foreshock.settings.models import Settings
from foreshock.settings.versions import shaping

LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Switched:
    """How a switch stands.

    `state`: `in force`, `armed` (its bucket is recorded), `scoring`, `unchanged` or `taken back`.
    """

    state: str
    weights: str
    model: str
    before: str | None
    in_force_from: str | None
    """The start of the first bucket that the model scores."""
    rescored: int
    """Stories that were scored again."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def switch(
    settings: Settings,
    weights: str,
    *,
    stop: Stop | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Switched:
    """Switch the store of `settings` to other weights. Return once they are in force, or `stop` is set.

    It also returns once the bucket is recorded, if that is still to come and nobody decides.

    Raises:
        SettingsDiffer: nothing was scored or decided yet, or a switch to another model waits for its bucket.
        MonitorError: the store cannot be used.
        ModelError: the weights cannot be used.
    """
    stop, url = stop or Stop(), settings.store.url
    wanted = _wanted(settings.model, weights)
    with said_clearly(url, "model switch"):
        engine = connect(url, create=False)
        try:
            scorer = wiring.scorer_of(wanted)
            with reading(engine) as connection:
                rules = settings_versions.time_rules(connection)
            stored = _stored(settings, wanted)
            planned = desk_actions.record(  # a worker or the monitor may write at the same moment
                engine, lambda connection: switches.plan(connection, stored, scorer.identity, rules)
            )
            if planned is None:
                return _unchanged(engine, wanted, scorer)
            _go_on(engine, url, rules, planned, scorer, stop, on_progress or (lambda share: None))
            return _standing(engine, planned, wanted)
        finally:
            engine.dispose()


def take_back(settings: Settings) -> Switched:
    """Take back the switch under way in the store of `settings`.

    Raises:
        SettingsDiffer: there is none, or stories have scores of its model.
        MonitorError: the store cannot be used.
    """
    url = settings.store.url
    with said_clearly(url, "model switch --cancel"):
        engine = connect(url, create=False)
        try:
            taken = desk_actions.record(engine, switches.cancel)  # a worker may write at the same moment
        finally:
            engine.dispose()
    at = iso_or_none(taken.in_force_from)
    return Switched("taken back", str(taken.settings["weights"]), taken.model, taken.before, at, taken.rescored)


def record(settings: Settings, engine: Engine, weights: str, at: int) -> None:
    """Record a switch at a bucket to come (microseconds): the feed is one whose model was switched there.

    Raises:
        SettingsDiffer: it cannot be recorded there, or the settings name its model where nothing was scored yet.
        ModelError: the weights cannot be used.
    """
    wanted = _wanted(settings.model, weights)
    identity = wiring.scorer_of(wanted).identity
    after, named = _stored(settings, wanted), _stored(settings, _wanted(settings.model, settings.model.weights))
    with writing(engine) as connection:
        began = settings_versions.model_begun(connection) or named
        if began == after and not switches.timeline(connection):
            raise SettingsDiffer(f"{identity} scores before {iso(at)} already. {switches.FIRST}")
        switches.plan_at(connection, after, identity, at, wiring.time_rules(settings))


def _wanted(model: ModelSettings, weights: str) -> ModelSettings:
    """Return [model] with other weights. `labels` and `languages` are kept for an `hf:` model only.

    `also` is kept unless it cannot stand beside them: beside an `hf:` model, or beside the same weights.
    """
    update: dict[str, Any] = {"weights": absolute(weights)}
    if weights.startswith(PREFIX) or weights in model.also:
        update["also"] = ()
    if not weights.startswith(PREFIX):
        update |= {"labels": None, "languages": ("en",)}
    return model.model_copy(update=update)


def _stored(settings: Settings, wanted: ModelSettings) -> dict[str, Any]:
    """Return what the store records of the model's settings."""
    found: dict[str, Any] = shaping(settings.model_copy(update={"model": wanted}))["model"]
    return {key: value for key, value in found.items() if key not in settings_versions.OF_COMPANIES}


def _go_on(
    engine: Engine,
    url: str,
    rules: TimeRules,
    planned: Switch,
    scorer: StoryScorer,
    stop: Stop,
    on_progress: Callable[[float], None],
) -> None:
    rescorer = Rescorer(engine, rules)
    while not stop.wanted:
        due = rescorer.due(armed=False)
        if due is not None and due.number == planned.number:
            rescorer.step(due, scorer)
            with reading(engine) as connection:
                on_progress(next((said["done"] for said in switches.under_way(connection)), 1.0))
            continue
        try:
            with lease.held(url, "model switch", wait_for_expiry=False):
                if _decide(engine, rules, planned, scorer, stop):
                    return
        except LeaseHeld:  # whoever decides goes over to the model by itself
            if _is_over(engine, planned):
                return
            stop.wait(LOOK_SECONDS)


def _decide(engine: Engine, rules: TimeRules, planned: Switch, scorer: StoryScorer, stop: Stop) -> bool:
    """Take the steps of who decides. Return whether there is nothing more to do, or only once stories come."""
    with reading(engine) as connection:
        number = settings_versions.in_force(connection)
    models = Models(lambda: scorer, lambda _: scorer)
    steps = Switches(engine, rules, Closer(engine, rules, settings=number or 1), models, arms=True)
    while not stop.wanted and not _is_over(engine, planned):
        try:
            if not steps.step():
                return True
        except Overtaken:  # by a worker, or somebody who changed the settings
            time.sleep(LOOK_SECONDS)
    return True


def _is_over(engine: Engine, planned: Switch) -> bool:
    with reading(engine) as connection:
        return all(under_way.number != planned.number for under_way in switches.unfinished(connection))


def _unchanged(engine: Engine, wanted: ModelSettings, scorer: StoryScorer) -> Switched:
    with reading(engine) as connection:
        changed = switches.done(connection)
    last = changed[-1] if changed else None
    before, at = (None, None) if last is None else (last.before, iso_or_none(last.in_force_from))
    return Switched("unchanged", wanted.weights, scorer.identity, before, at, 0)


def _standing(engine: Engine, planned: Switch, wanted: ModelSettings) -> Switched:
    words = {switches.DONE: "in force", switches.ARMED: "armed", switches.COUNTING: "scoring"}
    with reading(engine) as connection:
        now = switches.of_number(connection, planned.number)
    state = words.get(now.state, now.state)
    at = iso_or_none(now.in_force_from)
    return Switched(state, wanted.weights, now.model, now.before, at, now.rescored)

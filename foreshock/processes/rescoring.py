"""Count decided buckets again with the scores of the model of a switch (`monitor.store.switches`).

Rulings stand: which record is a duplicate or a copy does not change. Stories with scores of the feed keep them, and so
do those in a language that the new model cannot read.

Invariant: what a step writes depends on the stored stories, the settings and the model alone. So steps may be taken by
any process with that model, and again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from sqlalchemy import Engine

from foreshock.monitor.counting import Position
from foreshock.monitor.errors import Overtaken
from foreshock.monitor.moods import Scores
from foreshock.monitor.recounting import Ruled, recount
from foreshock.monitor.store import counts, rescoring, settings_versions, switches
from foreshock.monitor.store.database import reading, writing
from foreshock.monitor.store.rescoring import Text
from foreshock.monitor.store.switches import Switch
from foreshock.monitor.topics.matching import Matcher, matcher_of
from foreshock.monitor.topics.rules import TopicRule
from foreshock.monitor.units import ALL
from foreshock.monitor.watermark import TimeRules
from foreshock.processes.companies import score_towards
from foreshock.processes.models import StoryScorer


class Rescorer:
    """Takes the steps of a switch that need its model."""

    def __init__(self, engine: Engine, rules: TimeRules) -> None:
        self._engine = engine
        self._rules = rules
        self._matcher: tuple[int | None, Matcher] | None = None

    def due(self, *, armed: bool) -> Switch | None:
        """Return the switch that has decided buckets to count. `armed`: only one that is armed."""
        with reading(self._engine) as connection:
            under_way = switches.unfinished(connection)
            until = counts.decided_until(connection)
            if not under_way or until is None or (armed and under_way[0].state != switches.ARMED):
                return None
            switch = under_way[0]
            if switch.counted_until is not None and switch.counted_until >= until:
                return None
            # One that a replay recorded waits until its stories are there.
            early = switch.counted_until is None and until < min(switch.day, switch.in_force_from or 0)
            return None if early else switch

    def step(self, switch: Switch, scorer: StoryScorer) -> bool:
        """Count some more buckets; return whether it was written. `scorer`: of the switch's model."""
        with reading(self._engine) as connection:
            until = counts.decided_until(connection)
            if until is None:
                return False
            part = rescoring.next_part(connection, switch, until, self._rules)
            number, body = settings_versions.newest(connection) or (None, {})
            if self._matcher is None or self._matcher[0] != number:
                rules = [TopicRule.model_validate(rule) for rule in body.get("topics", ())]
                self._matcher = number, matcher_of(rules)
            companies = bool(body.get("model", {}).get("per_company"))
        ruled = _with_scores(part.ruled, part.texts, scorer, self._matcher[1] if companies else None)
        topics = {topic for some in ruled.values() for one in some for topic in one.member.topics}
        rows = recount(ruled, topics | {ALL}, part.before, self._rules)
        with suppress(Overtaken), writing(self._engine) as connection:
            switches.move(connection, switch, counted_until=part.until, rescored=switch.rescored + len(part.texts))
            rescoring.write(connection, switch, rows)
            return True
        return False


def _with_scores(
    ruled: Mapping[int, Sequence[Ruled]], texts: Mapping[Position, Text], scorer: StoryScorer, matcher: Matcher | None
) -> dict[int, list[Ruled]]:
    """Return stories as `scorer` scores them. `matcher`: finds the companies of a text; None: none are scored."""
    topics = {one.member.position: set(one.member.topics) for some in ruled.values() for one in some}
    positions = [at for at in sorted(texts) if texts[at].language in scorer.languages]
    pairs = [(texts[at].title, texts[at].body) for at in positions]
    scores: dict[Position, Scores] = {}
    if pairs:
        scores = {at: tuple(row) for at, row in zip(positions, scorer.score_stories(pairs).tolist(), strict=True)}
    named: list[dict[str, str]] = []
    for at in positions:
        text = texts[at]
        found = matcher.read(text.title, text.body, text.tickers, (), text.language).companies if matcher else {}
        named.append({topic: name for topic, name in found.items() if topic in topics[at]})
    moods = dict(zip(positions, score_towards(pairs, named, scorer), strict=True))

    def rescored(one: Ruled) -> Ruled:
        at = one.member.position
        if at not in scores:
            return one
        own = {topic: mood for topic, mood in moods[at].items() if mood != scores[at]}
        return replace(one, member=replace(one.member, scores=scores[at], moods=own))

    return {start: [rescored(one) for one in some] for start, some in ruled.items()}

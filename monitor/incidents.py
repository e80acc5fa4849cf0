"""Incidents: what a reader receives as one thing. Alerts join them, and messages tell of them.

    for said in incidents.take(changes): ...      # the changes of one moment, in event time
    for said in incidents.pass_time(until): ...   # whole hours up to `until`

An alert that fires joins the open incident of the alert to which it is tied (`grouping.py`), or begins one. What it
adds is reported: a new topic, a new kind, a second wave, a graver level. An alert that another one explains is
*inhibited* (`inhibition.py`): it joins in silence. Between changes only whole hours do anything: an incident may get
graver, report what it held back, and end.

Invariant: what follows depends on the changes in order of time and on the stories that count before each moment, and
never on how their passage was split into calls. So any split of the same records into batches gives the same incidents
and the same messages, with the same ids (property-tested).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from foreshock.monitor.alerts import Alert, AlertChange
from foreshock.monitor.grouping import Evidence, Member, Side, Tie, Ties, says_more, seen, silent_tie, wanted_by
from foreshock.monitor.incident import Incident, Joined, Said, incident_id
from foreshock.monitor.inhibition import Read, inhibition
from foreshock.monitor.kinds import CRITICAL, DRIFT, KINDS, NEW_NAME, SPIKE
from foreshock.monitor.severity import CRITICAL as GRAVEST
from foreshock.monitor.severity import Weighed, graver, gravity, severity
from foreshock.monitor.units import ALL, DAY, HOUR, UNIT, is_new, shown

SAME_TOPIC = 48 * HOUR
"""An alert joins the incident of its topic if that was active so lately: as long as a story remembers its copies."""
QUIET = 24 * HOUR
"""An incident ends when its last alert ended so long ago: a second wave next morning is still the same crisis."""
BETWEEN = HOUR
"""At least this long lies between two messages of an incident, but for its end."""
GROWS = 96 * HOUR
"""How long after its last alert fired an incident may still get graver by itself: the longest window of a surge."""


class Incidents:
    """The open incidents and their alerts, as of `clock`: the whole hours up to it have passed (None: no time has).

    `stood`: stretches (start, end] in which time stood still. Their whole hours never pass.
    """

    def __init__(
        self,
        evidence: Evidence,
        clock: int | None = None,
        incidents: Iterable[Incident] = (),
        members: Iterable[Joined] = (),
        stood: Sequence[tuple[int, int]] = (),
    ) -> None:
        self._evidence = evidence
        self._stood = stood
        self._clock = clock
        self.open = {i.id: i for i in incidents}
        self.members: dict[str, Joined] = {}
        """The alerts of open incidents, by their ids."""
        self._of: dict[str, dict[str, Joined]] = {}
        self._on: dict[str, dict[str, Joined]] = {}
        for member in members:
            self._place(member)
        self._story_of: Mapping[str, tuple[str, int]] = {}
        self._silences: dict[str, Side] = {}
        self.kept_incidents: dict[str, Incident] = {}
        self.kept: dict[str, Joined] = {}
        """Incidents and their alerts that differ from what was given."""

    def new_names(self) -> list[str]:
        """Return the topics of open incidents that are names which no topic has."""
        return sorted(topic for topic, alerts in self._on.items() if alerts and is_new(topic))

    def pass_time(self, until: int) -> list[Said]:
        """Let the whole hours up to `until` pass."""
        said: list[Said] = []
        if self._clock is not None and self.open:
            for hour in range(self._clock // HOUR * HOUR + HOUR, until // HOUR * HOUR + 1, HOUR):
                if any(start < hour <= end for start, end in self._stood):
                    continue
                said += self._reconsider(hour)
                for incident in self._in_order():
                    said += self._tick(incident, hour)
                if not self.open:
                    break
        self._clock = until if self._clock is None else max(self._clock, until)
        return said

    def take(
        self, changes: Sequence[AlertChange], at: int, story_of: Mapping[str, tuple[str, int]] | None = None
    ) -> list[Said]:
        """Take the changes of the moment `at` (microseconds).

        `story_of`: by the id of a critical alert, the story for which it fires.
        """
        said, self._story_of = self.pass_time(at), story_of or {}
        for change in changes:
            if change.event == "resolved" and (member := self.members.get(change.alert.id)) is not None:
                self._keep(replace(member, alert=change.alert))
                self._keep_incident(replace(self.open[member.incident], updated_at=at))
        firing = [change.alert for change in changes if change.event == "firing"]
        sides = {a.id: Side.of(a, self._evidence, at) if _has_stories(a) else self._silence(a) for a in firing}
        narrow_first = sorted(firing, key=lambda a: _wideness(sides[a.id]))
        # A theme joins its company's incident, but a topic that is silent explains the narrower ones that are.
        with_stories = [a for a in narrow_first if _has_stories(a)]
        silent = [a for a in reversed(narrow_first) if not _has_stories(a)]
        for alert in (*with_stories, *silent):
            if alert.id not in self.members:
                said += self._join(sides[alert.id], at)
        return [self._with_all_topics(one, at) for one in said]

    def _with_all_topics(self, said: Said, at: int) -> Said:
        """Return the first message of an incident that one story began for several topics: it tells of all of them."""
        incident = self.open.get(said.incident.id)
        if said.event != "firing" or said.at != at or incident is None or said.alerts[0].alert.kind != CRITICAL:
            return said
        return self._said("firing", at, incident)

    # An alert fires.

    def _join(self, mine: Side, at: int) -> list[Said]:
        alert, read = mine.alert, dict[str, Side]()

        def side(member: Member) -> Side:
            if member.alert.id not in read:
                read[member.alert.id] = Side.of(member.alert, self._evidence, member.until(at, alert.kind))
            return read[member.alert.id]

        ties = self._critical_ties(alert, at) if alert.kind == CRITICAL else self._ties(Ties(mine, side), at)
        level = severity_of(mine)
        if not ties:
            return self._begin(mine, level, at)
        best = min(ties, key=self._strength)
        home, common = best.member.incident, Ties(mine, side).common
        of_it = sorted((tie for tie in ties if tie.member.incident == home), key=self._strength)
        reasons = (inhibition(mine, tie, common(tie.member, at), side) for tie in of_it)
        by, because = next((reason for reason in reasons if reason[0] is not None), (None, None))
        self._add(Joined(alert, home, round(mine.unusual), level, by, because), best, at)
        if _is_better_name(mine, best, side, self.open[home].lead):
            self._keep_incident(replace(self.open[home], lead=alert.id))
        said: list[Said] = []
        for tie in ties:
            if tie.how == "above" and (tie.wider or tie.member.alert.kind != DRIFT):  # a drift merged when it fired
                wide = mine if tie.wider else side(tie.member)
                said += self._absorb(wide, side, at)
        return said + self._tell(self.open[self.members[alert.id].incident], at)

    def _ties(self, ties: Ties, at: int) -> list[Tie]:
        """Return what ties an alert to those of open incidents, in a fixed order."""
        alert, found = ties.mine.alert, list[Tie]()
        if not _has_stories(alert):
            return self._silent_ties(ties.mine)
        # Alerts of other topics share no stories.
        topics = {alert.topic, ALL}.union(*(s.topics for s in ties.mine.events.values()))
        near = (member for topic in topics for member in self._on.get(topic, {}).values())
        for member in _by_time(near):
            if member.alert.direction != alert.direction or member.alert.id == alert.id:
                continue
            if _lately_of_one_topic(alert, member.alert, at):
                found.append(Tie(member, 1.0, "topic"))
                continue
            tie = ties.tie(member, at) if _is_lately(member.alert, at) else None
            if tie is not None and (tie.how != "within" or tie.wider or self._leads(member)):
                found.append(tie)
        return found

    def _silent_ties(self, mine: Side) -> list[Tie]:
        """Return what ties a silence to others that still fire."""
        silent = [m for m in self.members.values() if not _has_stories(m.alert) and m.alert.resolved_at is None]
        found = (silent_tie(mine, m, lambda other: self._silence(other.alert)) for m in _by_time(silent))
        return [tie for tie in found if tie is not None]

    def _silence(self, alert: Alert) -> Side:
        """Return the usual stories of a silent topic. They end where it fell silent, so they are read once."""
        if alert.id not in self._silences:
            self._silences[alert.id] = Side.of_silence(alert, self._evidence)
        return self._silences[alert.id]

    def _leads(self, member: Member) -> bool:
        """Return whether an incident is about an alert's topic, and not about a narrower one that explains it.

        Two companies that share no story are two crises, although their theme fires for both. It belongs to one.
        """
        lead = self.members[self.open[member.incident].lead].alert
        return lead.topic == member.alert.topic

    def _critical_ties(self, alert: Alert, at: int) -> list[Tie]:
        """Return what ties a critical alert: its own topic, or else another topic of the same story.

        Nothing else that shares stories, because an incident of another topic has not said this.
        """
        same_topic = [
            Tie(member, 1.0, "topic")
            for member in _by_time(self._on.get(alert.topic, {}).values())
            if member.alert.direction == alert.direction and _lately_of_one_topic(alert, member.alert, at)
        ]
        story = self._story_of.get(alert.id)
        if same_topic or story is None:
            return same_topic
        began = (m for i in self.open.values() if i.fired_at == at for m in self.of(i.id))
        return [Tie(m, 1.0, "alike") for m in _by_time(began) if self._story_of.get(m.alert.id) == story]

    def _strength(self, tie: Tie) -> tuple[int, float, int, str]:
        incident = self.open[tie.member.incident]
        return (
            ("topic", "twin", "alike", "silent", "within", "above").index(tie.how),
            -tie.share,
            incident.fired_at,
            incident.id,
        )

    def _begin(self, mine: Side, level: str, at: int) -> list[Said]:
        alert = mine.alert
        identity = incident_id(alert.id)
        self._keep(Joined(alert, identity, round(mine.unusual), level))
        incident = Incident(
            *(identity, alert.id, "open", alert.direction, alert.started_at, at, at, at, level, alert.id)
        )
        self._keep_incident(self._peaked(incident, at))
        return [self._said("firing", at, self.open[identity])]

    def _add(self, member: Joined, tie: Tie, at: int) -> None:
        """Add an alert to the incident of the one that it is tied to."""
        alert, incident = member.alert, self.open[member.incident]
        loud = [m for m in self.of(incident.id) if m.inhibited_by is None]
        self._keep(member)
        incident = replace(incident, started_at=min(incident.started_at, alert.started_at), updated_at=at)
        if alert.kind == CRITICAL:  # the incident has been reported: it says only that it got graver
            if incident.severity != GRAVEST:
                incident = _graver(_hold(incident, CRITICAL, f"{alert.kind} of {shown(alert.topic)}"), GRAVEST)
        elif member.inhibited_by is None:
            if alert.topic not in {m.alert.topic for m in loud}:
                change = "topic"
            elif alert.kind not in {m.alert.kind for m in loud if m.alert.topic == alert.topic}:
                change = "kind"
            else:
                change = "again"
            incident = _hold(incident, change, f"{alert.kind} of {shown(alert.topic)}")
            incident = _graver(incident, member.severity)
            if (tie.how == "within" and not tie.wider) or (tie.how == "above" and tie.wider):
                # The company that its theme rang for says more than the theme, and a theme more than its parts.
                incident = replace(incident, lead=alert.id)
        self._keep_incident(self._peaked(incident, at))

    def _absorb(self, wide: Side, side: Read, at: int) -> list[Said]:
        """Merge the incidents of all alerts that ring because of a wider one."""
        home = self.members[wide.alert.id].incident
        above = (tie for tie in self._ties(Ties(wide, side), at) if tie.how == "above" and tie.wider)
        others = {tie.member.incident for tie in above} - {home}
        if not others:
            return []
        oldest, *rest = sorted((self.open[i] for i in {home, *others}), key=lambda i: (i.fired_at, i.id))
        said: list[Said] = []
        for merged in rest:
            theirs = tuple(self.of(merged.id))
            for member in theirs:
                self._keep(replace(member, incident=oldest.id))
            ended = replace(merged, state="ended", updated_at=at, ended_at=at, merged_into=oldest.id, held=())
            said.append(Said("unsaid" if merged.fired_at == at else "resolved", at, ended, theirs))
            self._keep_incident(ended)
            oldest = replace(
                oldest,
                started_at=min(oldest.started_at, merged.started_at),
                updated_at=at,
                peak_events=max(oldest.peak_events, merged.peak_events),
            )
            oldest = _graver(_hold(oldest, "merged", merged.id), merged.severity)
        self._keep_incident(self._peaked(replace(oldest, lead=wide.alert.id), at))
        return said

    def _reconsider(self, hour: int) -> list[Said]:
        """Merge incidents that tell of one thing, as far as is known by now.

        An alert fires early: of eight companies, two may have had their stories by then. So what fired within the last
        day is compared again, with all that came since.
        """
        said, near, read = list[Said](), self._near(hour), dict[str, Side]()

        def side(other: Member) -> Side:
            # For an alert that is compared, others' evidence ends at the same time. So all share what is read.
            if other.alert.id not in read:
                read[other.alert.id] = Side.of(other.alert, self._evidence, other.until(hour, SPIKE))
            return read[other.alert.id]

        for member in _by_time(self.members.values()):
            now = self.members.get(member.alert.id)
            if now is None or not self._is_compared(now.alert, hour):
                continue
            if not near.get(now.alert.direction, set()) - {now.incident}:
                continue
            mine = side(now)
            # What is not spread stands above nothing.
            if mine.is_spread() and (merged := self._absorb(mine, side, hour)):
                said, near = said + merged, self._near(hour)
        return said

    @staticmethod
    def _is_compared(alert: Alert, hour: int) -> bool:
        """Return whether an alert is compared again: it fires, and has not for longer than a crisis takes to come.

        A drift reports what came before it fired. So what comes later would only give it a crisis that is not its own.
        """
        kind = KINDS[alert.kind]
        if alert.resolved_at is not None or kind.by_rule or not kind.has_stories or alert.kind == DRIFT:
            return False
        return hour - (alert.fired_at or 0) <= DAY

    def _near(self, hour: int) -> dict[str, set[str]]:
        """Return the incidents to which an alert may be tied, by direction."""
        near: dict[str, set[str]] = {}
        for m in self.members.values():
            if _has_stories(m.alert) and _is_lately(m.alert, hour):
                near.setdefault(m.alert.direction, set()).add(m.incident)
        return near

    # Time passes.

    def _tick(self, incident: Incident, hour: int) -> list[Said]:
        """What a whole hour brings an incident: it ends, gets graver, or says what it held back."""
        members = self.of(incident.id)
        if all(m.alert.resolved_at is not None for m in members):
            last = max((m.alert.resolved_at or 0 for m in members), default=0)
            if hour - last >= QUIET:
                ended = replace(incident, state="ended", ended_at=hour, updated_at=hour, notified_at=hour, held=())
                said = self._said("resolved", hour, ended, incident.held)
                self._keep_incident(ended)
                return [said]
        fired = max((m.alert.fired_at or 0 for m in members), default=0)
        if hour - fired <= GROWS:
            incident = self._grown(incident, members, hour)
        return self._tell(incident, hour)

    def _grown(self, incident: Incident, members: Sequence[Joined], hour: int) -> Incident:
        """Return an incident with the level and the peak of the last day, while bad news surge."""
        before, surges = incident, False
        for m in members:
            alert = m.alert
            if alert.kind not in (SPIKE, NEW_NAME) or alert.resolved_at is not None or m.inhibited_by is not None:
                continue
            if not self._evidence.records(alert.topic, hour - HOUR, hour, "negative", 1):
                continue
            surges = True
            day = seen(self._evidence.records(alert.topic, hour - DAY, hour, "negative")).values()
            usual = alert.baseline * DAY / max(alert.window_end - alert.window_start, 1)
            mass = sum(s.negative for s in day) / UNIT
            grave = gravity([(None if s.severity is None else s.severity / 100, s.negative / UNIT) for s in day])
            sources = len(frozenset[str]().union(*(s.sources for s in day)))
            level = severity(Weighed(SPIKE, alert.direction, mass, usual, _margin(alert), grave, sources))
            incident = _graver(incident, level)
        if surges:
            incident = self._peaked(incident, hour)
        if incident != before:
            if incident.severity != before.severity:
                incident = replace(incident, updated_at=hour)
            self._keep_incident(incident)
        return incident

    def _tell(self, incident: Incident, at: int) -> list[Said]:
        """Say what changed, at most once an hour; at once if a critical story made it critical, which happens once."""
        at_once = any(change == CRITICAL for change, _ in incident.held)
        if not incident.held or (at - incident.notified_at < BETWEEN and not at_once):
            return []
        notified = replace(incident, notified_at=at, held=(), messages=incident.messages + 1)
        self._keep_incident(notified)
        return [self._said("updated", at, notified, incident.held)]

    def _peaked(self, incident: Incident, at: int) -> Incident:
        """Return an incident with the number of its events in the last day, if that is its largest.

        An event is the incident's from where the evidence of the topic begins, as in its messages.
        """
        starts: dict[tuple[str, str], int] = {}
        for m in self.of(incident.id):
            if m.inhibited_by is None and _has_stories(m.alert):
                key, start = (m.alert.topic, wanted_by(m.alert)), m.alert.window_start
                starts[key] = min(starts.get(key, start), start)
        found = (self._evidence.records(t, max(start, at - DAY), at, wanted) for (t, wanted), start in starts.items())
        day = {record.event for records in found for record in records}
        return replace(incident, peak_events=len(day), peak_at=at) if len(day) > incident.peak_events else incident

    # What is kept.

    def of(self, identity: str) -> list[Joined]:
        """Return the alerts of an incident, in the order in which they fired."""
        return _by_time(self._of.get(identity, {}).values())

    def _said(self, event: str, at: int, incident: Incident, changes: tuple[tuple[str, str], ...] = ()) -> Said:
        return Said(event, at, incident, tuple(self.of(incident.id)), changes)

    def _in_order(self) -> list[Incident]:
        return sorted(self.open.values(), key=lambda i: (i.fired_at, i.id))

    def _keep(self, member: Joined) -> None:
        self.kept[member.alert.id] = member
        self._remove(member.alert.id)
        self._place(member)

    def _keep_incident(self, incident: Incident) -> None:
        self.kept_incidents[incident.id] = incident
        if incident.state == "open":
            self.open[incident.id] = incident
            return
        self.open.pop(incident.id, None)
        for member in self.of(incident.id):
            self._remove(member.alert.id)

    def _place(self, member: Joined) -> None:
        identity = member.alert.id
        self.members[identity] = member
        self._of.setdefault(member.incident, {})[identity] = member
        self._on.setdefault(member.alert.topic, {})[identity] = member

    def _remove(self, identity: str) -> None:
        member = self.members.pop(identity, None)
        if member is not None:
            del self._of[member.incident][identity]
            del self._on[member.alert.topic][identity]


def _by_time(members: Iterable[Joined]) -> list[Joined]:
    return sorted(members, key=lambda m: (m.alert.fired_at or 0, m.alert.id))


def _lately_of_one_topic(alert: Alert, other: Alert, at: int) -> bool:
    """Return whether two alerts are of one topic and follow each other closely.

    A drift may fire for weeks, so it was active when it fired; another alert is active while it fires.
    """
    if alert.topic != other.topic or not (_has_stories(alert) and _has_stories(other)):
        return False
    active = other.fired_at or 0 if other.kind == DRIFT else (other.resolved_at or at)
    return at - active <= SAME_TOPIC


def _is_lately(alert: Alert, at: int) -> bool:
    """Return whether an alert may still explain others: a drift that fires for weeks says nothing of today's news."""
    return alert.kind != DRIFT or at - (alert.fired_at or 0) <= SAME_TOPIC


def _has_stories(alert: Alert) -> bool:
    return KINDS[alert.kind].has_stories


def _wideness(side: Side) -> tuple[tuple[bool, float], int, str, str]:
    """Order alerts of one moment: narrow topics first, whatever their names."""
    alert = side.alert
    return side.wideness, KINDS[alert.kind].rank, alert.topic, alert.kind


def _is_better_name(mine: Side, tie: Tie, side: Read, lead: str) -> bool:
    """Return whether an alert's topic is a better name for the stories that it shares with one of its incident."""
    if tie.how == "twin":
        return mine.unusual > side(tie.member).unusual
    if tie.how == "silent":
        return tie.wider
    return tie.how == "alike" and tie.member.alert.id == lead and says_more(mine, side(tie.member))


def severity_of(side: Side) -> str:
    """Return how grave an alert is that fires, from the stories of its window."""
    alert, events = side.alert, side.window
    grave = gravity([(None if s.severity is None else s.severity / 100, s.negative / UNIT) for s in events])
    sources = len(frozenset[str]().union(*(s.sources for s in events)))
    return severity(
        Weighed(alert.kind, alert.direction, alert.observed, alert.baseline, _margin(alert), grave, sources)
    )


def _margin(alert: Alert) -> float:
    return 0.0 if alert.statistic is None or alert.threshold is None else alert.statistic - alert.threshold


def _hold(incident: Incident, change: str, detail: str) -> Incident:
    return replace(incident, held=(*incident.held, (change, detail)))


def _graver(incident: Incident, level: str) -> Incident:
    """Return an incident at the graver of its level and another."""
    now = graver(incident.severity, level)
    if now == incident.severity:
        return incident
    return _hold(replace(incident, severity=now), "severity", f"{incident.severity} to {now}")

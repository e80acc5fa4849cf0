"""Incidents: which alerts belong together, what is told of them, and that batches do not matter."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.monitor import made_stories
from foreshock.monitor.alerts import Alert, AlertChange, alert_id
from foreshock.monitor.grouping import Member, Past, Record, Side, mainly, silent_tie
from foreshock.monitor.incident import Incident, Joined, Said, incident_id, title
from foreshock.monitor.incidents import BETWEEN, QUIET, SAME_TOPIC, Incidents
from foreshock.monitor.made_stories import MadeStories
from foreshock.monitor.units import ALL, DAY, HOUR

START = 20_003 * DAY
NOW = START + 30 * DAY
THEME = "banks"
COMPANIES = [f"bank {n}" for n in range(10)]


def usual(topics: Sequence[str] = COMPANIES, theme: str = THEME, *, each: int = 8) -> list[Record]:
    """A month in which each company has some stories a day, a quarter of them negative, all borne by their theme."""
    return [
        story(START + day * DAY + place * HOUR + number, {company, theme}, 0.9 if (place + number) % 4 == 0 else 0.1)
        for day in range(30)
        for number, company in enumerate(topics)
        for place in range(0, 24, 24 // each)
    ]


def story(at: int, topics: set[str], negative: float = 0.9, *, source: str = "wire", severity: int = 200) -> Record:
    key = f"{at}/{'+'.join(sorted(topics))}/{source}"
    return Record((key, 0), at, frozenset(topics), source, round(negative * 10_000), severity if negative > 0.5 else 0)


def burst(topics: set[str], number: int, *, after: float = 0.0, hours: float = 2.0) -> list[Record]:
    """So many negative stories, each of another source, from some hours after `NOW` on."""
    return [
        story(NOW + round((after + hours * n / number) * HOUR), topics, source=f"source {n % 9}") for n in range(number)
    ]


def alert(topic: str, fired: float, *, kind: str = "negativity_spike", since: float = 0.0, **more: object) -> Alert:
    """An alert that fired some hours after `NOW`, on stories since some hours after it."""
    at, began = NOW + round(fired * HOUR), NOW + round(since * HOUR)
    values: dict[str, object] = {
        **{"id": alert_id(topic, kind, "worse", at), "topic": topic, "kind": kind, "direction": "worse"},
        **{"state": "firing", "started_at": began, "pending_at": at, "fired_at": at, "resolved_at": None},
        **{"observed": 12.0, "baseline": 0.5, "window_start": began, "window_end": at, "score": 6.0},
        **{"statistic": 6.0, "threshold": 5.0},
    }
    return Alert(**{**values, **more})  # type: ignore[arg-type]


def fires(*alerts: Alert) -> list[AlertChange]:
    return [AlertChange("firing", one) for one in alerts]


def ends(one: Alert, after: float) -> AlertChange:
    return AlertChange("resolved", replace(one, state="resolved", resolved_at=NOW + round(after * HOUR)))


def told(desk: Incidents, *changes: AlertChange) -> list[Said]:
    """Take changes moment by moment."""
    said: list[Said] = []
    for at in sorted({moment(change) for change in changes}):
        said += desk.take([change for change in changes if moment(change) == at], at)
    return said


def moment(change: AlertChange) -> int:
    at = change.alert.fired_at if change.event == "firing" else change.alert.resolved_at
    assert at is not None
    return at


def desk(*stories: Record) -> Incidents:
    return Incidents(MadeStories([*usual(), *stories]), NOW)


def test_a_second_kind_of_the_same_topic_joins_and_is_told_after_an_hour() -> None:
    found = desk(*burst({COMPANIES[0], THEME}, 20))
    spike, drift = alert(COMPANIES[0], 1), alert(COMPANIES[0], 1.5, kind="drift", observed=-0.4, baseline=0.1)
    said = told(found, *fires(spike, drift))
    assert [(s.event, s.at) for s in said] == [("firing", NOW + HOUR)]
    assert [m.incident for m in said[0].alerts] == [incident_id(spike.id)]
    said = found.pass_time(NOW + 3 * HOUR)
    assert [(s.event, s.at) for s in said] == [("updated", NOW + 2 * HOUR)], "at most one message an hour"
    assert said[0].changes[0] == ("kind", f"drift of {COMPANIES[0]}")


def test_volume_says_nothing_new_where_the_bad_news_are_what_makes_it_busy() -> None:
    found = desk(*burst({COMPANIES[0], THEME}, 20))
    said = told(found, *fires(alert(COMPANIES[0], 1), alert(COMPANIES[0], 1, kind="volume")))
    assert [s.event for s in said + found.pass_time(NOW + 9 * HOUR)] == ["firing"]
    (volume,) = (m for m in found.members.values() if m.alert.kind == "volume")
    assert volume.inhibited_by == alert(COMPANIES[0], 1).id
    assert volume.inhibited_because


def test_two_crises_on_one_day_stay_two_also_when_their_theme_and_the_market_ring() -> None:
    stories = burst({COMPANIES[0], THEME}, 20) + burst({COMPANIES[1], THEME}, 18, hours=2.1)
    found = desk(*stories)
    told(found, *fires(alert(COMPANIES[0], 1), alert(COMPANIES[1], 1), alert(THEME, 2), alert(ALL, 2)))
    assert len(found.open) == 2
    theirs = {m.alert.topic: m.incident for m in found.members.values()}
    assert theirs[COMPANIES[0]] != theirs[COMPANIES[1]]


def test_a_title_names_the_company_that_its_theme_fires_for_and_no_theme_of_a_company() -> None:
    one = [*usual(), *usual(["coast"], "floods"), *burst({COMPANIES[0], THEME, "floods"}, 20)]
    many = [*usual(), *(s for n in range(8) for s in burst({COMPANIES[n], THEME}, 6, after=n / 10))]

    def about(stories: list[Record], topic: str) -> str | None:
        evidence, at = MadeStories(stories), NOW + 3 * HOUR
        return mainly(Side.of(alert(topic, 3), evidence, at), evidence, at)

    assert about(one, THEME) == COMPANIES[0]
    assert about(one, ALL) == COMPANIES[0]
    assert about(one, COMPANIES[0]) is None
    assert about(many, THEME) is None
    assert about(many, ALL) is None, "most usual stories are the theme's"
    said = told(Incidents(MadeStories(one), NOW), *fires(alert(THEME, 3)))[0]
    assert title(said.incident, said.alerts, 20, 9, COMPANIES[0]).startswith(
        f"Bad news on {THEME}, mainly {COMPANIES[0]}: 20 stories from 9 sources since "
    )


def test_the_topic_that_holds_more_of_another_gives_the_incident_its_name() -> None:
    """A breach at a company that is usually no news of `breaches`: all of these are the company's, not the reverse."""
    company, theme = COMPANIES[0], "breaches"
    stories = [*usual(), *usual(["others"], theme), *burst({company, THEME}, 8), *burst({company, THEME, theme}, 12)]
    for first, second in ((theme, company), (company, theme)):
        found = Incidents(MadeStories(stories), NOW)
        said = told(found, *fires(alert(first, 1.5), alert(second, 2.5)))
        assert [s.event for s in said] == ["firing", "updated"]
        (incident,) = found.open.values()
        assert found.members[incident.lead].alert.topic == company


def test_two_crises_stay_two_when_their_theme_fires_for_the_first_and_the_second_is_greater() -> None:
    """The theme belongs to one of them. Its alert ties the other to nothing: they share no story."""
    stories = burst({COMPANIES[0], THEME}, 12, hours=1) + burst({COMPANIES[1], THEME}, 30, after=2, hours=2)
    found = desk(*stories)
    told(found, *fires(alert(COMPANIES[0], 1), alert(THEME, 1.2), alert(COMPANIES[1], 4, since=2)))
    theirs = {m.alert.topic: m.incident for m in found.members.values()}
    assert theirs[THEME] == theirs[COMPANIES[0]] != theirs[COMPANIES[1]]
    assert not [s for s in found.pass_time(NOW + 24 * HOUR) if s.event == "resolved"], "and nothing merges them later"


def test_a_crisis_becomes_one_incident_when_enough_of_its_companies_have_news_although_no_more_alerts_fire() -> None:
    stories = [s for n in range(8) for s in burst({COMPANIES[n], THEME}, 8, after=2 * n)]
    found = desk(*stories)
    said = told(found, *fires(alert(COMPANIES[0], 2), alert(COMPANIES[1], 4), alert(THEME, 4)))
    assert len({m.incident for m in found.members.values()}) == 2, "two companies may be two crises"
    said = found.pass_time(NOW + 20 * HOUR)
    (merged,) = (s for s in said if s.event == "resolved")
    (incident,) = found.open.values()
    assert merged.incident.merged_into == incident.id == incident_id(alert(COMPANIES[0], 2).id), "the older id stays"
    assert found.members[incident.lead].alert.topic == THEME
    assert merged.at % HOUR == 0


def test_a_theme_stands_above_a_company_that_is_usually_most_of_it() -> None:
    """The usual stories of each bear the other, but what is unusual is the theme's."""
    often = [story(START + day * DAY + place * HOUR, {COMPANIES[9], THEME}) for day in range(30) for place in range(23)]
    stories = [s for n in range(8) for s in burst({COMPANIES[n], THEME}, 8, after=n / 10, hours=3)]
    found = Incidents(MadeStories([*usual(), *often, *stories, *burst({COMPANIES[9], THEME}, 20, hours=3)]), NOW)
    told(found, *fires(alert(THEME, 2), alert(COMPANIES[9], 3)))
    assert len(found.open) == 1
    (incident,) = found.open.values()
    assert found.members[incident.lead].alert.topic == THEME


def test_a_slow_drift_that_shares_a_crisis_of_some_days_is_an_incident_of_its_own() -> None:
    """The crisis was small when it fired. What is shared is compared with all that it became."""
    slow = [s for day in range(10) for s in burst({"inflation"}, 10, after=24 * day, hours=20)]
    shared = burst({COMPANIES[0], "inflation"}, 9, after=96, hours=40)
    crisis = burst({COMPANIES[0], THEME}, 60, after=96, hours=60)
    found = desk(*usual(["inflation"], "economy"), *slow, *shared, *crisis)
    spike = alert(COMPANIES[0], 98, since=96)
    told(found, *fires(spike), ends(spike, 180), *fires(alert("inflation", 200, kind="drift", since=0)))
    assert len({m.incident for m in found.members.values()}) == 2


def test_comparing_again_reads_the_evidence_of_an_alert_once_an_hour() -> None:
    """Two crises are not spread over their theme, so neither it nor a company stands above anything."""
    stories = MadeStories([*usual(), *(s for n in range(2) for s in burst({COMPANIES[n], THEME}, 20, after=n / 10))])
    found, topics = Incidents(stories, NOW), [*COMPANIES[:2], THEME, ALL]
    told(found, *fires(*(alert(topic, 2) for topic in topics)))
    assert len(found.open) == 2
    asked: list[str] = []
    past = stories.past

    def counted(topic: str, end: int, wanted: str) -> Past:
        asked.append(topic)
        return past(topic, end, wanted)

    found.pass_time(NOW + 2 * HOUR)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stories, "past", counted)
        found.pass_time(NOW + 4 * HOUR)
    assert sorted(asked) == sorted(topics * 2)


@pytest.mark.parametrize("later", ["negativity_spike", "drift"])
def test_a_drift_takes_no_part_in_a_crisis_that_began_after_it_fired(later: str) -> None:
    """The mood of the theme drifted for a day, to 08:00. At 12:00 bad news on eight companies begin."""
    slow = burst({THEME}, 8, after=-16, hours=20)
    crisis = [s for n in range(8) for s in burst({COMPANIES[n], THEME}, 9, after=12 + n / 10, hours=2)]
    found = desk(*slow, *crisis)
    drift = alert(THEME, 8, kind="drift", since=-16)
    later_ones = [alert(COMPANIES[n], 14 + n / 2, since=12) for n in range(2)]
    last = alert(COMPANIES[2], 15.5, since=12, kind=later)
    told(found, *fires(drift, *later_ones, last))
    said = found.pass_time(NOW + 20 * HOUR)
    assert not [s for s in said if s.event == "resolved"]
    assert found.of(incident_id(drift.id))[0].alert == drift
    assert {m.alert.topic for m in found.of(incident_id(drift.id))} <= {THEME, last.topic if later == "drift" else ""}


@pytest.mark.parametrize("first", ["freight", "shipping"])
def test_silences_that_miss_the_same_stories_are_one_incident(first: str) -> None:
    often = [
        story(START + day * DAY + n * HOUR, {"freight", *(["shipping"] * (n % 2))})
        for day in range(30)
        for n in range(20)
    ]
    found = Incidents(MadeStories([*usual(), *often]), NOW)
    second = {"freight": "shipping", "shipping": "freight"}[first]
    silences = [alert(topic, 10 + place, kind="silence") for place, topic in enumerate((first, second, COMPANIES[0]))]
    said = told(found, *fires(*silences))
    theirs = {m.alert.topic: m for m in found.members.values()}
    assert theirs["freight"].incident == theirs["shipping"].incident != theirs[COMPANIES[0]].incident
    assert found.members[found.open[theirs["freight"].incident].lead].alert.topic == "freight"
    assert (theirs["shipping"].inhibited_by is not None) == (first == "freight")
    assert [s.event for s in said].count("firing") == 2


@pytest.mark.parametrize("order", [("acme", "lenders"), ("lenders", "acme")])
@pytest.mark.parametrize("apart", [0, 1])
def test_a_silence_joins_that_of_a_topic_so_busy_that_only_its_last_days_are_read(
    order: tuple[str, str], apart: int
) -> None:
    """In 30 days `lenders` has 3,000 stories, of which 1,000 are read. All 60 of `acme` are among the 3,000."""
    often = [
        story(START + day * DAY + n * DAY // 100, {"lenders", *(["acme"] if n in (10, 60) else [])})
        for day in range(30)
        for n in range(100)
    ]
    found = Incidents(MadeStories([*usual(), *often]), NOW)
    said = told(found, *fires(*(alert(topic, 10 + n * apart, kind="silence") for n, topic in enumerate(order))))
    (incident,) = found.open.values()
    assert found.members[incident.lead].alert.topic == "lenders"
    assert [s.event for s in said].count("firing") == 1


def test_topics_that_fall_silent_in_one_hour_are_one_incident_with_the_topic_that_has_the_stories_of_all() -> None:
    often = [
        story(START + day * DAY + n * HOUR, {"wires", "east" if n % 2 else "west"})
        for day in range(30)
        for n in range(20)
    ]
    found = Incidents(MadeStories([*usual(), *often]), NOW)
    said = told(found, *fires(*(alert(topic, 10, kind="silence") for topic in ("east", "wires", "west"))))
    said += found.pass_time(NOW + 12 * HOUR)
    assert [s.event for s in said] == ["firing"]
    wide = alert("wires", 10, kind="silence").id
    assert {m.alert.topic: m.inhibited_by for m in found.members.values()} == {
        "wires": None,
        "east": wide,
        "west": wide,
    }


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 40), st.sampled_from([20, 60, 1_000]))
def test_which_of_two_silences_fires_first_changes_only_which_is_the_wider(
    one: int, other: int, both: int, days: int, most: int
) -> None:
    """`one` and `other` stories a day are of one topic, `both` of both. No more than `most` of a topic are read."""
    borne = [*[{"east"}] * one, *[{"west"}] * other, *[{"east", "west"}] * both]
    often = [story(NOW - day * DAY - n * HOUR // 2, topics) for day in range(1, days) for n, topics in enumerate(borne)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made_stories, "USUAL_STORIES", most)
        east, west = (
            Side.of_silence(alert(topic, 1, kind="silence"), MadeStories([*usual(each=1), *often]))
            for topic in ("east", "west")
        )
    first = silent_tie(east, Member(west.alert, "west's", 1), lambda _: west)
    second = silent_tie(west, Member(east.alert, "east's", 1), lambda _: east)
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert first.share == second.share
        assert not (first.wider and second.wider)
        if one + both > 2 * (other + both):
            assert first.wider
        assert both >= min(one, other), "the quieter has half of its stories in common with the other"


def test_a_silence_after_another_has_ended_is_an_incident_of_its_own() -> None:
    often = [story(START + day * DAY + n * HOUR, {"freight", "shipping"}) for day in range(30) for n in range(20)]
    found = Incidents(MadeStories([*usual(), *often]), NOW)
    over = alert("freight", 10, kind="silence")
    told(found, *fires(over), ends(over, 12), *fires(alert("shipping", 13, kind="silence", since=12)))
    assert len(found.open) == 2


@pytest.mark.parametrize("first", ["theme", "companies", "together"])
def test_a_crisis_of_most_companies_of_a_theme_is_one_incident(first: str) -> None:
    stories = [s for n in range(8) for s in burst({COMPANIES[n], THEME}, 6, after=n / 10, hours=3)]
    found = desk(*stories)
    companies = [alert(COMPANIES[n], 2 + n / 10 if first != "together" else 3) for n in range(8)]
    theme = alert(THEME, {"theme": 1.5, "companies": 3.5, "together": 3}[first])
    said = told(found, *fires(*companies, theme))
    assert len(found.open) == 1
    (incident,) = found.open.values()
    assert incident.lead == theme.id
    assert len(found.of(incident.id)) == 9
    assert not {s.incident.id for s in said if s.event == "resolved"} & {incident.id}
    if first == "theme":
        assert [s.event for s in said] == ["firing"], "companies say nothing new, unless they are worse"
        assert incident.id == incident_id(theme.id)
    if first == "companies":
        assert incident.id == incident_id(companies[0].id), "the older id stays"
        assert {s.incident.merged_into for s in said if s.event == "resolved"} == {incident.id}
        assert sum(s.event == "firing" for s in said) - sum(s.event == "resolved" for s in said) == 1


def test_a_company_that_is_much_worse_than_its_theme_is_told() -> None:
    stories = [s for n in range(8) for s in burst({COMPANIES[n], THEME}, 4, after=n / 10, hours=3)]
    stories += burst({COMPANIES[9], THEME}, 40, after=1.7, hours=0.7)
    found = desk(*stories[:32], *(replace_source(s) for s in stories[32:]))
    theme, worst = alert(THEME, 1.5), alert(COMPANIES[9], 2.5, since=1.7)
    told(found, *fires(theme))
    mild = alert(COMPANIES[3], 1.6)
    told(found, *fires(mild, worst))
    inhibited = {m.alert.topic: m.inhibited_by for m in found.members.values()}
    assert inhibited[COMPANIES[3]] == theme.id
    assert inhibited[COMPANIES[9]] is None


def replace_source(record: Record) -> Record:
    return record._replace(source=f"{record.source} of another town")


def test_a_theme_that_is_as_usual_without_its_company_is_quiet() -> None:
    found = desk(*burst({COMPANIES[0], THEME}, 25))
    company, theme, market = alert(COMPANIES[0], 1), alert(THEME, 2), alert(ALL, 2)
    said = told(found, *fires(company, theme, market))
    said += found.pass_time(NOW + 10 * HOUR)
    assert {change for s in said for change, _ in s.changes} <= {"severity"}
    by = {m.alert.topic: m.inhibited_by for m in found.members.values()}
    assert by == {COMPANIES[0]: None, THEME: company.id, ALL: company.id}


def test_two_companies_in_the_same_stories_are_one_incident() -> None:
    found = desk(*burst({COMPANIES[0], COMPANIES[1], THEME}, 12))
    told(found, *fires(alert(COMPANIES[0], 1), alert(COMPANIES[1], 1)))
    assert len(found.open) == 1


def test_an_incident_ends_a_quiet_day_after_its_last_alert() -> None:
    found = desk(*burst({COMPANIES[0], THEME}, 12))
    spike = alert(COMPANIES[0], 1)
    told(found, *fires(spike), ends(spike, 30.5))
    assert found.pass_time(NOW + 54 * HOUR) == []
    (end,) = found.pass_time(NOW + 60 * HOUR)
    assert (end.event, end.at) == ("resolved", NOW + 55 * HOUR)
    assert end.at - (spike_end := NOW + round(30.5 * HOUR)) >= QUIET > end.at - HOUR - spike_end
    assert not found.open


def test_a_crisis_on_an_old_drift_is_an_incident_of_its_own() -> None:
    found = desk(*burst({COMPANIES[0], THEME}, 12, after=100))
    drift = alert(COMPANIES[0], 1, kind="drift", since=-200)
    spike = alert(COMPANIES[0], 101, since=100)
    assert moment(fires(spike)[0]) - moment(fires(drift)[0]) > SAME_TOPIC
    told(found, *fires(drift, spike))
    assert len(found.open) == 2


def test_an_incident_that_lasts_a_month_is_told_at_most_once_an_hour() -> None:
    stories = [s for day in range(30) for s in burst({COMPANIES[0], THEME}, 10 + day, after=24 * day, hours=9)]
    found = desk(*stories)
    waves = [alert(COMPANIES[0], 24 * day + 1 + hour / 3, since=24 * day) for day in range(30) for hour in range(6)]
    said = told(found, *(change for wave in waves for change in [*fires(wave), ends(wave, (wave_end(wave)))]))
    said += found.pass_time(NOW + 40 * DAY)
    assert [s.event for s in said].count("firing") == [s.event for s in said].count("resolved") == 1
    times = [s.at for s in said]
    assert all(b - a >= BETWEEN for a, b in itertools.pairwise(times))


def wave_end(wave: Alert) -> float:
    assert wave.fired_at is not None
    return (wave.fired_at - NOW) / HOUR + 5


# Batches.

topics = st.sampled_from([*COMPANIES[:5], THEME, ALL])
stories_made = st.lists(
    st.builds(
        lambda company, number, after: burst({company, THEME}, number, after=after, hours=3),
        *(st.sampled_from(COMPANIES[:5]), st.integers(1, 15), st.floats(0, 60)),
    ),
    max_size=6,
)
alerts_made = st.lists(
    st.builds(
        lambda topic, fired, back, lasts, kind: (
            alert(topic, fired / 12, since=fired / 12 - back, kind=kind),
            fired / 12 + lasts,
        ),
        *(topics, st.integers(1, 800), st.floats(0.5, 30), st.integers(1, 60)),
        st.sampled_from(["negativity_spike", "volume", "drift", "silence"]),
    ),
    max_size=14,
    unique_by=lambda made: (made[0].topic, made[0].fired_at, made[0].kind),
)


@settings(max_examples=60, deadline=None)
@given(stories_made, alerts_made, st.lists(st.integers(0, 1600), max_size=12), st.data())
def test_any_split_into_batches_gives_the_same_incidents(
    made: list[list[Record]], alerts: list[tuple[Alert, float]], cuts: list[int], data: st.DataObject
) -> None:
    stories = MadeStories([*usual(each=4), *(s for some in made for s in some)])
    changes = [change for one, until in alerts for change in [*fires(one), ends(one, until)]]
    end = NOW + 140 * HOUR
    whole = run(stories, changes, [end])
    times = sorted({NOW + cut * HOUR // 12 for cut in cuts} | {end})
    shuffled = data.draw(st.permutations(changes))
    assert run(stories, shuffled, times) == whole
    incidents, members, said = whole
    for member in members.values():
        assert member.incident in incidents
    assert len({s.incident.id for s in said if s.event == "firing"}) == len(incidents), "each is announced once"
    for incident in incidents.values():
        mine = [s for s in said if s.incident.id == incident.id]
        assert [s.event for s in mine if s.event != "updated"] in (
            ["firing"],
            ["firing", "resolved"],
            ["firing", "unsaid"],
        )
        updates = [s.at for s in mine if s.event in ("firing", "updated")]
        assert all(b - a >= BETWEEN for a, b in itertools.pairwise(updates))
        if incident.merged_into is not None:
            older = incidents[incident.merged_into]
            assert (older.fired_at, older.id) <= (incident.fired_at, incident.id)


Outcome = tuple[dict[str, Incident], dict[str, Joined], list[Said]]


def run(stories: MadeStories, changes: Sequence[AlertChange], times: Sequence[int]) -> Outcome:
    """Decide batch by batch, each with what the one before kept, as a restarted monitor does."""
    incidents: dict[str, Incident] = {}
    members: dict[str, Joined] = {}
    said: list[Said] = []
    since = NOW
    for until in times:
        opened = {key: i for key, i in incidents.items() if i.state == "open"}
        batch = Incidents(stories, since, opened.values(), (m for m in members.values() if m.incident in opened))
        some = [change for change in changes if since < moment(change) <= until]
        for at in sorted({moment(change) for change in some}):
            said += batch.take([c for c in some if moment(c) == at], at)
        said += batch.pass_time(until)
        incidents |= batch.kept_incidents
        members |= batch.kept
        since = until
    return incidents, members, said

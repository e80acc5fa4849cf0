"""Routes: who hears of what. First match or `continue`, the default, and what `config check` and `routes test` say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from foreshock.cli.app import app
from foreshock.monitor.delivery import route_checks
from foreshock.monitor.delivery.route_settings import KIND_NAMES, QuietHoursSettings, RouteSettings
from foreshock.monitor.delivery.routes import Routing, stands_for
from foreshock.monitor.delivery.time_intervals import TimeIntervalSettings
from foreshock.monitor.severity import LEVELS
from foreshock.monitor.store import desk_actions
from foreshock.monitor.store.database import connect, writing
from foreshock.monitor.store.hearing import Subject, subject_of
from foreshock.monitor.store.topic_labels import Labels
from foreshock.monitor.units import HOUR, MINUTE, SECOND
from foreshock.settings.load import SettingsError, load
from foreshock.settings.versions import shaping, topic_labels

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LABELS = {
    "Deutsche Bank": Labels(frozenset({"banks", "germany"}), "topics"),
    "Commerzbank": Labels(frozenset({"banks"}), "file"),
    "Apple": Labels(frozenset(), "defaults"),
}
NIGHT = TimeIntervalSettings(name="night", times=("22:00-07:00",), location="Europe/Berlin")
OFFICE = TimeIntervalSettings(
    name="office", times=("09:00-17:30",), weekdays=("monday:friday",), location="Europe/Berlin"
)
NOON = 1_772_449_200 * SECOND
"""12:00 in Berlin on 2 March 2026, a Monday."""
MIDNIGHT = NOON + 12 * HOUR


def routing(
    *routes: dict[str, Any], quiet: tuple[dict[str, Any], ...] = (), receivers: str = "desk chat boss"
) -> Routing:
    return Routing.of(
        [RouteSettings.model_validate(route) for route in routes],
        [QuietHoursSettings.model_validate(one) for one in quiet],
        [NIGHT.interval(), OFFICE.interval()],
        receivers.split(),
        LABELS,
    )


def hear(found: Routing, topic: str = "Apple", kind: str = "drift", severity: str = "warning", at: int = NOON) -> str:
    return " ".join(sorted(found.reached(Subject(severity, ((topic, kind),)), at)))


def test_without_routes_all_receivers_hear():
    assert hear(routing()) == "boss chat desk"


def test_the_first_route_that_matches_takes_an_incident_and_the_default_takes_what_is_left():
    found = routing(
        {"severities": ["critical"], "receivers": ["boss"]},
        {"topics": ["Deutsche *"], "receivers": ["desk"]},
    )
    assert hear(found, severity="critical") == "boss"
    assert hear(found, "Deutsche Bank") == "desk"
    assert hear(found, "Deutsche Bank", severity="critical") == "boss"
    assert hear(found) == "chat", "the default: who is in no route"


def test_a_route_that_continues_lets_the_next_ones_match_too():
    found = routing({"severities": ["critical"], "receivers": ["boss"], "continue": True})
    assert hear(found, severity="critical") == "boss chat desk"
    assert hear(found) == "chat desk"


def test_a_route_without_receivers_takes_what_nobody_is_to_hear():
    found = routing({"kinds": ["volume"], "receivers": []})
    assert (hear(found, kind="volume"), hear(found)) == ("", "boss chat desk")


@pytest.mark.parametrize(
    ("condition", "matching", "other"),
    [
        ({"topics": ["Apple", "Gold"]}, {"topic": "Apple"}, {"topic": "Commerzbank"}),
        ({"topics": ["*bank"]}, {"topic": "Commerzbank"}, {"topic": "Deutsche Bank"}),
        ({"kinds": ["drift", "silence"]}, {"kind": "silence"}, {"kind": "volume"}),
        ({"severities": ["info"]}, {"severity": "info"}, {"severity": "warning"}),
        ({"tags": ["banks"]}, {"topic": "Commerzbank"}, {"topic": "Apple"}),
        ({"watchlists": ["file"]}, {"topic": "Commerzbank"}, {"topic": "Apple"}),
        ({"watchlists": ["feed"]}, {"topic": "whatever a feed says"}, {"topic": "Apple"}),
        ({"hours": ["night"]}, {"at": MIDNIGHT}, {"at": NOON}),
        ({"hours": ["night", "office"]}, {"at": NOON}, {"at": NOON + 7 * HOUR}),
        (
            {"tags": ["banks"], "severities": ["critical"]},
            {"topic": "Commerzbank", "severity": "critical"},
            {"topic": "Commerzbank"},
        ),
    ],
)
def test_all_conditions_of_a_route_must_hold(condition, matching, other):
    found = routing({**condition, "receivers": ["boss"]})
    assert hear(found, **matching) == "boss"
    assert hear(found, **other) == "chat desk"


def test_a_route_matches_an_incident_if_it_matches_one_of_its_alerts_that_are_not_inhibited():
    found = routing({"topics": ["Apple"], "kinds": ["drift"], "receivers": ["boss"]})
    alert = {"topic": "Gold", "kind": "drift", "inhibited_by": None}
    lead = {**alert, "severity": "info"}
    loud = {"severity": "critical", "alerts": [alert, {**alert, "topic": "Apple"}]}
    quiet = {"severity": "critical", "alerts": [alert, {**alert, "topic": "Apple", "inhibited_by": "x"}]}
    other = {"severity": "critical", "alerts": [{**alert, "topic": "Apple", "kind": "volume"}, alert]}
    assert subject_of({**lead, "incident": loud}).severity == "critical"
    reached = [" ".join(found.reached(subject_of({**lead, "incident": one}), NOON)) for one in (loud, quiet, other)]
    assert reached == ["boss", "desk chat", "desk chat"], "topic and kind are those of one alert"
    assert subject_of({**lead, "severity": None}) == Subject("warning", (("Gold", "drift"),))


def test_names_of_topics_are_not_expressions():
    assert stands_for("*", "")
    assert stands_for("A.*", "A.B\nC")
    assert not stands_for("A.*", "AxB")
    assert not stands_for("[ab]", "a")


def test_a_receiver_is_muted_only_if_all_routes_to_it_are_and_quiet_hours_are_its_own():
    found = routing(
        {"receivers": ["desk", "chat"], "mute_time_intervals": ["night"], "continue": True},
        {"severities": ["critical"], "receivers": ["desk"]},
        quiet=({"receivers": ["boss"], "time_intervals": ["night"], "except_severities": ["critical"]},),
    )

    def muted(severity: str, at: int) -> list[str]:
        reached = found.reached(Subject(severity, (("Apple", "drift"),)), at)
        return [name for name, one in reached.items() if found.muted(one.mutes, at)]

    assert muted("critical", MIDNIGHT) == ["chat"]
    assert muted("warning", MIDNIGHT) == ["desk", "chat", "boss"]
    assert muted("warning", NOON) == []
    assert found.muted(found.kept("boss", None, "info"), MIDNIGHT)
    assert found.muted(found.kept("chat", "route 1", "critical"), MIDNIGHT)
    assert not found.muted(found.kept("chat", "a route of before", "critical"), MIDNIGHT)


# What `config check` warns of


def warned(*routes: dict[str, Any]) -> list[str]:
    return list(route_checks.warnings(routing(*routes), LABELS))


EVERYTHING = {"name": "rest", "receivers": ["desk", "chat", "boss"]}


def test_routes_that_are_in_order_are_not_warned_of():
    assert warned() == []
    assert warned({"severities": ["critical"], "receivers": ["boss"], "continue": True}, EVERYTHING) == []
    assert warned({"hours": ["night"], "receivers": ["boss"]}, EVERYTHING) == []
    assert warned({"topics": ["Deutsche *"], "receivers": ["boss"]}, EVERYTHING) == []
    assert warned({"severities": ["critical"], "receivers": ["boss"]}) == [], "the others are left for the default"


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        ([EVERYTHING, {"name": "late", "receivers": ["boss"]}], "'late' is never reached: 'rest' before it takes"),
        (
            [
                {"tags": ["banks"], "receivers": ["desk"]},
                {"name": "late", "topics": ["Commerzbank"], "receivers": ["boss"]},
            ],
            "'late' is never reached: 'route 1' before it",
        ),
        (
            [
                {"hours": ["night"], "severities": ["critical"], "receivers": ["desk"]},
                {"severities": ["warning", "critical"], "receivers": ["chat"]},
                {"name": "late", "severities": ["critical"], "hours": ["night"], "receivers": ["boss"]},
            ],
            "'late' is never reached: 'route 1' before it",
        ),
        (
            [
                {"severities": ["info", "warning"], "receivers": ["desk"]},
                {"severities": ["critical"], "receivers": ["chat"]},
                {"name": "late", "kinds": ["drift"], "receivers": ["boss"]},
            ],
            "'late' is never reached: 'route 1' and 'route 2' before it",
        ),
        (
            [{"name": "none", "tags": ["germany"], "watchlists": ["file"], "receivers": ["boss"]}, EVERYTHING],
            "'none' matches nothing",
        ),
        (
            [{"tags": ["bank"], "receivers": ["boss"]}, EVERYTHING],
            "the tag 'bank', which no topic has; did you mean 'banks'?",
        ),
        (
            [{"topics": ["Comerzbank"], "receivers": ["boss"]}, EVERYTHING],
            "the topic 'Comerzbank', which has no rule; it matches only if a feed calls a topic so; did you mean "
            "'Commerzbank'?",
        ),
        ([{"receivers": ["desk", "chat"]}], "no incident reaches the receiver 'boss'"),
        (
            [{"severities": ["critical"], "receivers": ["desk", "chat", "boss"]}],
            "nobody hears of some incidents, such as negativity_spike of Deutsche Bank, warning",
        ),
    ],
)
def test_config_check_warns_of_routes_that_take_nothing_and_of_what_nobody_hears(routes, said):
    assert any(said in warning for warning in warned(*routes)), warned(*routes)


conditions = st.fixed_dictionaries(
    {"receivers": st.lists(st.sampled_from(["desk", "chat", "boss"]), max_size=2, unique=True)},
    optional={
        "topics": st.lists(st.sampled_from(["Apple", "Commerzbank", "*bank", "Deutsche *", "Gold"]), max_size=2),
        "kinds": st.lists(st.sampled_from(KIND_NAMES), max_size=2),
        "severities": st.lists(st.sampled_from(LEVELS), max_size=2),
        "tags": st.lists(st.sampled_from(["banks", "germany"]), max_size=2),
        "watchlists": st.lists(st.sampled_from(["topics", "file", "defaults", "feed"]), max_size=2),
        "hours": st.lists(st.sampled_from(["night", "office"]), max_size=2),
        "continue": st.booleans(),
    },
)


@settings(max_examples=60, deadline=None)
@given(st.lists(conditions, min_size=1, max_size=4))
def test_a_route_is_said_to_take_nothing_if_and_only_if_no_case_is_left_for_it(given_):
    """Invariant: the warnings agree with trying topics, kinds, severities and hours of a week one by one."""
    found = routing(*given_)
    topics = [*LABELS, "_all", "Gold", "Deutsche ", "Deutsche x", "bank", "xbank", "whatever"]
    taken: set[str] = set()
    matching: set[str] = set()
    heard: set[str] = set()
    nobody = False
    for at in range(NOON, NOON + 7 * 24 * HOUR, HOUR // 2):
        for severity in LEVELS:
            for topic in topics if at < NOON + 24 * HOUR else ["whatever"]:
                for kind in KIND_NAMES:
                    subject = Subject(severity, ((topic, kind),))
                    for route in found.routes[:-1]:
                        if route.name not in matching and route.refusal(subject, LABELS, at) is None:
                            matching.add(route.name)
                    routes = found.matched(subject, at)
                    taken.update(route.name for route in routes)
                    hears = {name for route in routes for name in route.receivers}
                    heard |= hears
                    nobody = nobody or (not hears and routes[-1].name == "default")
        if at == NOON + 24 * HOUR:
            break
    said = "\n".join(route_checks.warnings(found, LABELS))
    for route in found.routes[:-1]:
        assert (f"{route.name!r} matches nothing" in said) == (route.name not in matching)
        assert (f"{route.name!r} is never reached" in said) == (route.name in matching - taken)
    for name in found.receivers:
        assert (f"receiver {name!r}" in said) == (name not in heard)
    assert ("nobody hears" in said) == nobody


# Settings and commands


@pytest.fixture
def write(tmp_path: Path):
    def made(text: str) -> Path:
        hooks = "".join(
            f'[[webhooks]]\nname = "{name}"\nurl = "https://x.example/"\nsecrets = "{SECRET}"\n'
            for name in ("desk", "on-call")
        )
        file = tmp_path / "desk.toml"
        store = f'[store]\nurl = "sqlite:///{tmp_path}/s.db"\n'
        night = '[[time_intervals]]\nname = "night"\ntimes = ["22:00-07:00"]\nlocation = "Europe/Berlin"\n'
        old = f'[[webhooks]]\nname = "old"\nurl = "https://x.example/"\nsecrets = "{SECRET}"\nversion = 1\n'
        pager = f'[[receivers]]\nname = "pager"\nkind = "pagerduty"\nkey = "{"a" * 32}"\n'
        file.write_text(store + hooks + old + pager + night + text)
        return file

    return made


ROUTE = '[[routes]]\nreceivers = ["desk"]\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[[routes]]\nreceivers = ["on-cal"]',
            "[1].receivers: no receiver is called 'on-cal'; did you mean 'on-call'?",
        ),
        (ROUTE + '[[routes]]\nreceivers = ["zzz"]', "routes[2].receivers: no receiver is called 'zzz'; known: desk"),
        (ROUTE + 'hours = ["nigth"]', "routes[1].hours: no time interval is called 'nigth'; did you mean 'night'?"),
        (ROUTE + 'mute_time_intervals = ["day"]', "no time interval is called 'day'; known: night."),
        (ROUTE + 'kinds = ["drfit"]', "'drfit': did you mean 'drift'?"),
        (ROUTE + 'severities = ["high"]', "'high': known: info, warning, critical."),
        (ROUTE + 'watchlists = ["files"]', "'files': did you mean 'file'?"),
        (ROUTE + "continues = true", "unknown setting routes[1].continues; did you mean routes[1].continue?"),
        (ROUTE + 'escalate_after = "5m"', "escalate_after and escalate_to belong together"),
        (ROUTE + 'escalate_after = "5m"\nescalate_to = ["old"]', "'old' is of version 1"),
        (ROUTE + 'escalate_after = "5m"\nescalate_to = ["bos"]', "[1].escalate_to: no receiver is called 'bos'"),
        ('[[routes]]\nname = "default"\nreceivers = ["desk"]', "'default' is what follows the last route"),
        (ROUTE + 'name = "a"\n' + ROUTE + 'name = "a"', "routes: two are called 'a'"),
        ('[[routes]]\ntopics = ["Apple"]', "routes[1].receivers: Field required"),
        ('[[time_intervals]]\nname = "night"', "time_intervals: two are called 'night'"),
        ('[[time_intervals]]\nname = "x"\nlocation = "Europe/Berln"', "Did you mean Europe/Berlin?"),
        ('[[quiet_hours]]\ntime_intervals = ["nite"]', "[1].time_intervals: no time interval is called 'nite'"),
        (
            '[[quiet_hours]]\nreceivers = ["dsk"]\ntime_intervals = ["night"]',
            "quiet_hours[1].receivers: no receiver is called 'dsk'; did you mean 'desk'?",
        ),
        (
            '[[time_intervals]]\nname = "day"\ntimes = ["07:00-22:00"]\nlocation = "Europe/Berlin"\n'
            '[[quiet_hours]]\nreceivers = ["desk"]\ntime_intervals = ["night"]\n'
            '[[routes]]\nreceivers = ["desk"]\nmute_time_intervals = ["day"]',
            "routes[1]: its mute times and the quiet hours of 'desk' cover the whole week",
        ),
        ('[[digests]]\nname = "m"\nreceivers = ["old"]', "digests[1].receivers: 'old' takes no digests"),
        ('[[digests]]\nname = "m"\nreceivers = ["pager"]', "digests[1].receivers: 'pager' takes no digests"),
        ('[[digests]]\nname = "m"\nreceivers = ["desk"]\nat = "7.30"', "'7.30' is not a time of day"),
        ('[[digests]]\nname = "m"\nreceivers = ["desk"]\nevery = "month"', "digests[1].every"),
        ('[[digests]]\nname = "m"\nreceivers = ["desk"]\nlocation = "Berlin"', "is not a time zone"),
    ],
)
def test_what_routes_cannot_mean_is_an_error_with_the_place_and_the_nearest_name(write, text, said):
    file = write(text)
    with pytest.raises(SettingsError) as caught:
        load(file, environ={})
    assert said in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_secret_whose_variable_is_misspelt_is_an_error_that_names_the_variable(write, monkeypatch):
    monkeypatch.setenv("PAGERDUTY_KEY", "b" * 32)
    file = write('[[receivers]]\nname = "p2"\nkind = "pagerduty"\nkey = "${PAGERDUTY_KEYY}"\n')
    with pytest.raises(SettingsError, match=r"receiver 'p2': .*PAGERDUTY_KEYY") as caught:
        load(file, environ={})
    assert "b" * 32 not in str(caught.value)


def test_tags_and_watchlists_are_read_from_all_rules_and_change_no_decision(write, tmp_path):
    (tmp_path / "mine.csv").write_text("name,names,tags\nAcme,Acme Corp,banks|small\nZeta,Zeta Inc,\n")
    text = (
        f'[watchlist]\nfile = "{tmp_path}/mine.csv"\n'
        '[[topics]]\nname = "Apple"\ntickers = ["AAPL"]\ntags = ["phones"]\n'
    )
    found = load(write(text), environ={}).settings
    labels = topic_labels(found)
    assert labels["Acme"] == Labels(frozenset({"banks", "small"}), "file")
    assert labels["Apple"] == Labels(frozenset({"phones"}), "topics"), "the last definition counts"
    assert labels["Microsoft"].watchlist == "defaults"
    without = load(write(text.replace('tags = ["phones"]\n', "")), environ={}).settings
    assert shaping(found) == shaping(without)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([("night",), ("office",), ("night", "office")]), st.integers(0, 3_000))))
def test_the_end_of_a_mute_time_is_the_same_whatever_was_asked_before(asked):
    """Invariant: what a routing remembers changes no answer, also if the clock goes back.

    `asked`: what mutes a delivery, and the minute.
    """
    found = routing()
    for names, minute in asked:
        at = NOON + minute * MINUTE + 7
        if found.muted((names,), at):
            assert found.muted_until((names,), at) == routing().muted_until((names,), at)


def run(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


GRAVE = (
    '[[routes]]\nname = "grave"\nseverities = ["critical"]\nreceivers = ["on-call"]\ncontinue = true\n'
    'escalate_after = "15m"\nescalate_to = ["pager"]\n'
    '[[routes]]\nreceivers = ["desk"]\nmute_time_intervals = ["night"]\n'
)


def test_routes_test_says_who_would_hear_and_why(write, tmp_path):
    file = write(GRAVE)
    asked = ["routes", "test", "--config", str(file), "--topic", "Apple", "--at", "2026-03-02T23:10+01:00"]
    said = run(*asked, "--severity", "critical").output
    assert "grave (on-call): yes: it matches, and the next ones are tried, too" in said
    assert "default (old): no: route 2 takes it before" in said
    assert "on-call hears at once, by grave." in said
    assert "desk hears at 2026-03-03T06:00:00Z, by route 2: muted by night until then." in said
    assert "If nobody acknowledges it within 15m: pager, by grave." in said
    found = json.loads(run(*asked, "--json").output)
    assert [(one["route"], one["matches"]) for one in found["routes"]] == [
        ("grave", False),
        ("route 2", True),
        ("default", False),
    ]
    assert found["routes"][0]["because"] == "severity is warning, not critical"
    assert found["receivers"] == [
        {
            "receiver": "desk",
            "routes": ["route 2"],
            "hears": "later",
            "muted_by": ["night"],
            "until": "2026-03-03T06:00:00Z",
        }
    ]
    assert found["escalations"] == []
    assert "critical of Apple, critical, at" in run(*asked, "--kind", "critical").output, "as such an alert is"
    assert not (tmp_path / "s.db").exists(), "it creates no store"


def test_routes_test_says_that_a_topic_is_silenced_and_that_nobody_hears(write, tmp_path):
    file = write("[[routes]]\nreceivers = []\n")
    engine = connect(f"sqlite:///{tmp_path}/s.db", create=True)
    with writing(engine) as connection:
        desk_actions.silence(connection, "Apple", until=NOON + HOUR, by="Ada", now=NOON)
    engine.dispose()
    said = run("routes", "test", "--config", str(file), "--topic", "Apple", "--at", "2026-03-02T12:00+01:00").output
    assert "Nobody hears." in said
    assert "But Apple is silenced until 2026-03-02T12:00:00Z: until then nobody hears." in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--severity", "crit"], "did you mean 'critical'?"),
        (["--kind", "spike"], "known: negativity_spike"),
        (["--at", "yesterday"], "is not a time"),
    ],
)
def test_routes_test_refuses_what_it_does_not_know(write, words, said):
    done = run("routes", "test", "--config", str(write(GRAVE)), "--topic", "Appel", *words)
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


def test_routes_test_hints_at_a_misspelt_topic(write):
    done = run("routes", "test", "--config", str(write(GRAVE)), "--topic", "Appel")
    assert "No rule defines the topic 'Appel': only a feed may call one so; did you mean Apple" in done.output


def test_config_check_prints_the_warnings_and_is_done(write):
    done = run("config", "check", "--config", str(write(GRAVE + '[[routes]]\nname = "late"\nreceivers = ["old"]\n')))
    assert done.exit_code == 0, done.output
    assert "Warning: routes: 'late' is never reached: 'route 2' before it takes all that it matches." in done.output
    found = run("config", "check", "--json", "--config", str(write(GRAVE)))
    (warning,) = json.loads(found.stdout)["warnings"]
    assert "no incident reaches the receiver 'old'" in warning

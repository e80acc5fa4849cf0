"""Names in headlines: which of them may be companies that no topic has."""

from __future__ import annotations

import doctest
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.monitor.topics import names as module
from foreshock.monitor.topics.names import NAMES, Names, distinct_forms, key_of
from foreshock.monitor.topics.rules import TopicRule, default_rules, default_watchlist

WEFTWARE = TopicRule(name="Weftware", tickers=["WEFT"], names=["Weftware"])
OWN = Names([WEFTWARE, TopicRule(name="oil", names=["oil", "crude"]), TopicRule(name="Acme", names=["Acme Steel"])])


def found(title: str, *, language: str = "en", tickers: list[str] | None = None) -> tuple[str, ...]:
    return OWN.find(title, tickers or [], [], language)


def test_the_examples_run() -> None:
    assert not doctest.testmod(module).failed


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("Halden Foods recalls baby milk after deaths", ("Halden Foods",)),
        ("Shares of Halden Foods plunge", ("Halden Foods",)),
        ("Halden's chief executive resigns", ("Halden",)),
        ("Regulator fines Halden and Bexmoor Bank", ("Halden", "Bexmoor Bank")),
        ("British Halden Foods cuts jobs", ("Halden Foods",)),
        ("General Corvex Motors halts production", ("Corvex Motors",)),
        ("HBX shares fall 20%", ("HBX",)),
        ("Kestrel & Rowe files for bankruptcy", ("Kestrel & Rowe",)),
        ("Halden-owned stores close", ("Halden",)),
        ("HALDEN FOODS PLC RECALLS BABY MILK AFTER DEATHS", ("HALDEN FOODS PLC",)),
        ("Halden Foods Recalls Baby Milk After Deaths In Hospital", ("Halden Foods",)),
        ("UPDATE 2-Halden Foods recalls baby milk", ("Halden Foods",)),
        ("avoid $hldn at all costs", ("$HLDN",)),
    ],
)
def test_a_company_in_a_headline_is_found(title: str, names: tuple[str, ...]) -> None:
    assert found(title) == names


@pytest.mark.parametrize(
    "title",
    [
        "Workers strike over pay",  # an ordinary word at the head of a sentence
        "Oil falls as demand weakens",
        "Tuesday's losses deepen",
        "Germany warns of recession",  # places
        "Rhode Island governor sues",
        "President Alvarez resigns in disgrace",  # people
        "Chief executive Alvarez resigns",
        "Robert Alvarez is charged with fraud",
        "Merkel loses vote",
        "Supreme Court rejects appeal",  # offices
        "SEC opens probe into fraud",
        "Profit warnings mount: Reuters",  # who reports
        "Profit warnings mount again this week - Handelsblatt",
        "Bank collapses after run, says lawyer: Alvarez",
        "Weftware shares plunge",  # on the list
        "Weftware Inc recalls software",
        "Acme Steel Group closes mill",
        "what a terrible day for everyone",
        "PROFITS FALL SHARPLY ACROSS INDUSTRY",
        "Bitter Dispute Over Wages Ends In Court",
    ],
)
def test_what_is_no_company_or_is_on_the_list_is_not_found(title: str) -> None:
    assert found(title) == ()


def test_a_list_of_names_names_none() -> None:
    names = [f"{start}{end}" for start in ("Hal", "Bex", "Cor", "Dun") for end in ("mond", "vex", "dale")]
    assert len(found(f"Downgraded: {', '.join(names[:NAMES])}")) == NAMES
    assert found(f"Downgraded: {', '.join(names[: NAMES + 1])}") == ()


def test_a_thousand_names_cost_no_more_than_few() -> None:
    hostile = " and ".join(f"Qx{place:04}vor" for place in range(20_000))
    begun = time.process_time()
    assert found(hostile, tickers=[f"T{place}" for place in range(20_000)]) == ()
    assert time.process_time() - begun < 0.5


def test_other_languages_have_cashtags_alone() -> None:
    assert found("Ernte in Halden verbrannt", language="de") == ()
    assert found("Ernte verbrannt $HLDN", language="de") == ("$HLDN",)


def test_tickers_of_the_feed_are_names_where_the_title_has_none() -> None:
    assert found("profit falls again", tickers=["HLDN"]) == ("$HLDN",)
    assert found("Halden profit falls again", tickers=["HLDN"]) == ("Halden",)
    assert found("profit falls again", tickers=["WEFT"]) == ()


def test_a_topic_of_the_feed_is_no_new_name() -> None:
    assert OWN.find("Halden Foods recalls milk", [], ["Halden Foods plc"], "en") == ()
    assert OWN.find("recall of milk", ["HLDN"], ["Halden Foods plc"], "en") == (), "its ticker is another name of it"
    assert OWN.find("recall of milk", ["HLDN"], ["earnings"], "en") == ("$HLDN",), "a built-in theme is no company"


@given(form=st.sampled_from(["Halden", "Halden Foods", "Halden Foods plc", "HALDEN FOODS PLC", "The Halden Group"]))
def test_variants_of_a_name_are_known_by_one_key(form: str) -> None:
    assert key_of(form) == "halden"


def test_companies_that_share_their_first_word_are_known_by_two() -> None:
    assert key_of("General Corvex") != key_of("General Kestrel")
    assert key_of("Deutsche Corvex") != key_of("Deutsche Kestrel")


@given(st.text(max_size=400), st.lists(st.text(max_size=20), max_size=4))
def test_any_text_is_read(title: str, tickers: list[str]) -> None:
    made = Names([WEFTWARE]).find(title, tickers, [], "en")
    assert len(made) <= NAMES
    assert all(key_of(name) for name in made)
    assert len({key_of(name) for name in made}) == len(made)


def test_forms_differ_by_more_than_case_and_legal_form() -> None:
    assert distinct_forms(["Halden", "HALDEN", "Halden plc", "Halden Foods"]) == ["Halden", "Halden Foods"]


def test_the_built_in_companies_are_on_the_list() -> None:
    built_in = Names([*default_rules(), *default_watchlist()])
    assert built_in.find("Apple shares fall, Goldman Sachs and Boeing cut jobs", [], [], "en") == ()

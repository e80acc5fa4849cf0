"""Which companies a text names, as they stand in it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.model.entities import mentions
from foreshock.monitor.topics.matching import COMPANIES, Matcher
from foreshock.monitor.topics.normalise import spans, words
from foreshock.monitor.topics.rules import (
    TopicRule,
    WatchlistError,
    default_rules,
    default_watchlist,
    load_watchlist,
)

NORVANE = TopicRule(name="Norvane", tickers=["NRVN"], names=["Norvane S.A."])
CASTELLOR = TopicRule(name="Castellor", tickers=["CSTL"], names=["Castellor", "Bank of Castell"])
TARVALE = TopicRule(name="Tarvale & Söhne", tickers=["TRV"], names=["Tarvale & Söhne"])
SUITS = TopicRule(name="suits", names=["sues", "suit"])
RULES = [NORVANE, CASTELLOR, TARVALE, SUITS]


def companies(
    title: str, body: str = "", tickers: tuple[str, ...] = (), topics: tuple[str, ...] = ()
) -> dict[str, str]:
    return Matcher(RULES).read(title, body, tickers, topics).companies


@pytest.mark.parametrize(
    ("title", "body", "expected"),
    [
        ("Norvane sues Castellor", "", {"Norvane": "Norvane", "Castellor": "Castellor"}),
        ("NORVANE'S SUIT", "bank of  castell shaken", {"Norvane": "NORVANE", "Castellor": "bank of  castell"}),
        ("Tarvale&Sohne buys Norvane, S.A.", "", {"Tarvale & Söhne": "Tarvale&Sohne", "Norvane": "Norvane"}),
        ("TARVALE & SÖHNE down", "(NYSE: NRVN) up", {"Tarvale & Söhne": "TARVALE & SÖHNE", "Norvane": "NYSE: NRVN"}),
        ("$NRVN up, $CSTL down", "", {"Norvane": "$NRVN", "Castellor": "$CSTL"}),
        ("Norvane ($NRVN) gains on Castellor", "", {"Norvane": "Norvane", "Castellor": "Castellor"}),
        ("Norvane rises", "", {}),
        ("Norvane sues", "a suit", {}),  # a theme is no company
        ("Castellor, Bank of Castell", "", {}),  # one company by two names
    ],
)
def test_companies_are_named_as_they_stand_in_the_text(title: str, body: str, expected: dict[str, str]) -> None:
    assert companies(title, body) == expected


def test_a_company_of_which_only_the_ticker_field_or_the_feeds_topics_speak_is_not_named() -> None:
    read = Matcher(RULES).read("Norvane sues Castellor", "", ("TRV", "NRVN"), ("Tarvale & Söhne",))
    assert "Tarvale & Söhne" in read.topics
    assert read.companies == {"Norvane": "Norvane", "Castellor": "Castellor"}
    assert companies("Norvane sues", "", ("CSTL", "TRV")) == {}


def test_rules_of_tickers_alone_name_companies_too() -> None:
    rules = [TopicRule(name="Norvane", tickers=["NRVN"]), TopicRule(name="Castellor", tickers=["CSTL"])]
    read = Matcher(rules).read("Which of them", "$CSTL or $NRVN", [], [])
    assert list(read.companies.items()) == [("Castellor", "$CSTL"), ("Norvane", "$NRVN")]


def test_of_a_list_only_the_first_companies_are_named() -> None:
    rules = [TopicRule(name=f"Firm {chr(97 + n)}", names=[f"Firm {chr(97 + n)}"], company=True) for n in range(20)]
    title, body = ", ".join(rule.name for rule in rules[10:]), ", ".join(rule.name for rule in rules[:10])
    read = Matcher(rules).read(title, body, [], [])
    assert list(read.companies) == [rule.name for rule in rules[10 : 10 + COMPANIES]]
    assert len(read.topics) == 20


def test_what_a_company_is_may_be_said_and_else_follows_from_tickers_and_context() -> None:
    assert NORVANE.is_company
    assert not SUITS.is_company
    assert TopicRule(name="Huvare", names=["Huvare"], company=True).is_company
    assert not TopicRule(name="coin", tickers=["CN"], company=False).is_company
    assert not TopicRule(name="coin", tickers=["CN"], weak=["coin"], context="theme").is_company
    assert all(rule.is_company for rule in default_watchlist())
    assert not any(rule.is_company for rule in default_rules())


def test_a_watchlist_says_what_a_company_is(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("name,names,company\nHuvare,Huvare,yes\nsuits,suit,\n")
    assert [rule.is_company for rule in load_watchlist(path)] == [True, False]
    path.write_text("name,names,company\nHuvare,Huvare,maybe\n")
    with pytest.raises(WatchlistError, match="line 2: company is 'maybe'; write true or false"):
        load_watchlist(path)


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_the_words_of_any_text_are_found_where_they_stand(text: str) -> None:
    """Invariant: where spans are known, each holds what its word was made of, and they are in order."""
    found = spans(text)
    if found is None:
        return
    spoken = words(text).split()
    assert len(found) == len(spoken)
    # One character may be several words: a quarter is "1 4".
    assert all(word in words(text[start:end]).split() for (start, end), word in zip(found, spoken, strict=True))
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in itertools.pairwise(found))


@given(
    st.lists(st.sampled_from(["Norvane", "Castellor's", "$NRVN", "Tarvale & Söhne", "sues", "—", "sinks,"]), max_size=9)
)
def test_reading_changes_no_topic_and_a_name_is_found_again_in_the_text(pieces: list[str]) -> None:
    """Invariant: topics are those of `match`; each named company is one of them and stands in the text."""
    text, matcher = " ".join(pieces), Matcher(RULES)
    read = matcher.read(text, "", ("CSTL",), ("other",))
    assert read.topics == matcher.match(text, "", ("CSTL",), ("other",))
    assert set(read.companies) <= set(read.topics)
    assert len(read.companies) != 1
    assert all(mentions(text, written) for written in read.companies.values())

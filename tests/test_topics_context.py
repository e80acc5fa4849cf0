"""Ambiguous names: which headlines are about the company or theme, and which about the word, person or place."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.topics import UNSEEN, measure, sentences
from foreshock.monitor.topics import Matcher, TopicRule, default_rules, default_watchlist, matches
from foreshock.monitor.topics.context import read
from foreshock.monitor.topics.normalise import words

CASES = Path(__file__).parents[2] / "shared" / "cases" / "61-topic-collisions"


@pytest.fixture(scope="module")
def shipped() -> Matcher:
    return Matcher([*default_rules(), *default_watchlist()])


def rule(context: str, **settings: object) -> TopicRule:
    return TopicRule.model_validate({"name": "topic", "weak": ["Acme"], "context": context, **settings})


def test_the_built_in_rules_stay_right_on_made_up_headlines() -> None:
    for given_sentences in ([one for one in sentences() if one.held], sentences(UNSEEN)):
        counts = measure(given_sentences)
        assert counts["all"].precision >= 0.9
        assert counts["all"].recall >= 0.9
    assert len({one.topic for one in sentences()}) >= 150


@pytest.mark.skipif(not CASES.exists(), reason="needs ../shared/cases")
def test_the_collisions_that_were_reported_are_gone(shipped: Matcher) -> None:
    called = {"GM": "General Motors"}
    with (CASES / "sentences.tsv").open(encoding="utf-8") as lines:
        for _, topic, meant, text in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            assert (called.get(topic, topic) in shipped.match(text, "", [], [])) == (meant == "1"), text
    with (CASES / "recall.tsv").open(encoding="utf-8") as lines:
        for topic, text in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            assert topic in shipped.match(text, "", [], []), text


@pytest.mark.parametrize(
    "text",
    [
        "Acme shares fall",
        "ACME PROFIT FALLS",
        "acme shares fall again",
        "Acme to cut jobs",
        "Acme is cutting jobs",
        "Acme's third-quarter profit doubles",
        "Retailer Acme opens a shop",
        "Lawsuit against Acme may go on",
        "Walmart and Acme end talks",
        "Acme (NYSE: ACM) slips",
        "Fund buys stake in Acme",
        "Acme Inc. moves",
        "Acme-backed start-up closes",
    ],
)
@pytest.mark.parametrize("context", ["word", "name", "letters"])
def test_words_of_a_company_beside_a_name_make_it_one(context: str, text: str) -> None:
    assert matches(rule(context), text)


@pytest.mark.parametrize(
    "text",
    [
        "Senator Acme backs shares plan",
        "Harold Acme sells shares",
        "Acme Road closes",
        "the acme of fashion",
        "Half-acme measures fail",
        "Acme",
    ],
)
@pytest.mark.parametrize("context", ["word", "name"])
def test_a_person_a_place_and_a_word_are_no_company(context: str, text: str) -> None:
    assert not matches(rule(context), text)


def test_a_capital_in_the_middle_of_a_sentence_is_enough_for_a_word_but_not_for_a_name() -> None:
    assert matches(rule("word"), "Critics turn on Acme again")
    assert not matches(rule("name"), "Critics turn away as Acme sings")
    assert not matches(rule("word"), "Critics Turn Away As Acme Sings")


def test_letters_after_a_figure_are_a_unit() -> None:
    assert not matches(rule("letters"), "Rates rise by 25 ACME")
    assert matches(rule("letters"), "Acme raises rates")


def test_a_usual_name_counts_until_something_speaks_against_it() -> None:
    usual = rule("usual", avoid=["orchard"])
    assert matches(usual, "Acme again")
    assert not matches(usual, "Acme in the orchard")
    assert not matches(usual, "Mayor Acme again")


def test_support_adds_to_the_evidence_and_avoid_takes_from_it() -> None:
    named = rule("name", support=["anvils"], avoid=["orchard"])
    assert matches(named, "Acme and its anvils")
    assert not matches(named, "Acme and its anvils in the orchard")
    assert matches(named, "Acme raises prices")


def test_a_theme_needs_the_market_in_its_sentence() -> None:
    gold = TopicRule(name="gold", weak=["gold"], context="market")
    assert matches(gold, "Gold prices climb")
    assert not matches(gold, "Gold for the swimmer")
    assert not matches(gold, "A heart of gold. Prices climb")
    oil = TopicRule(name="oil", weak=["oil"], context="theme")
    assert matches(oil, "Drillers find oil")
    assert not matches(oil, "Oil painting shown in museum")


def test_without_a_context_a_weak_name_needs_support_or_a_second_one() -> None:
    sugar = TopicRule(name="sugar", weak=["sugar", "beet"], support=["mill"])
    assert matches(sugar, "Sugar from the mill")
    assert matches(sugar, "Sugar and beet")
    assert not matches(sugar, "Sugar, sugar")


def test_a_rule_whose_weak_name_can_never_count_is_refused() -> None:
    with pytest.raises(ValueError, match="a weak name needs a context"):
        TopicRule(name="x", weak=["Acme"])
    with pytest.raises(ValueError, match="restrict weak names"):
        TopicRule(name="x", names=["Acme"], support=["anvils"])


VOCABULARY = ["acme", "Acme", "ACME", "shares", "the", "Senator", "profit", "s", "in", "stake", "harvest", "三菱", "é"]
VOCABULARY += [",", ".", "-", "'", "(", "&", "25", "\n"]


@given(st.lists(st.sampled_from(VOCABULARY)).map(" ".join), st.lists(st.sampled_from(VOCABULARY)).map("".join))
def test_a_weak_name_never_counts_where_the_plain_name_is_not(title: str, body: str) -> None:
    """Context only takes matches away; and it never fails, whatever the text."""
    for context in ("word", "name", "letters", "usual", "market", "theme"):
        if matches(rule(context), title, body):
            assert matches(TopicRule(name="topic", names=["Acme"]), title, body)


@given(st.text())
def test_the_words_with_punctuation_are_the_words_without(text: str) -> None:
    assert list(read(text).cased) == words(text).split()
    assert len(read(text).before) == len(read(text).low) == len(read(text).cased)

"""Topics by rules: what a rule matches, what it leaves alone, and what a bad rule or watchlist is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from foreshock.monitor.topics import (
    BODY_CHARACTERS,
    Matched,
    Matcher,
    TopicRule,
    WatchlistError,
    check_distinct,
    default_rules,
    default_watchlist,
    load_watchlist,
    matches,
    watchlist_file,
)


@pytest.fixture(scope="module")
def shipped() -> Matcher:
    return Matcher([*default_rules(), *default_watchlist()])


def rule(*names: str, **settings: object) -> TopicRule:
    return TopicRule.model_validate({"name": "topic", "names": list(names), **settings})


# What the shipped rules make of real and of treacherous headlines.


@pytest.mark.parametrize(
    ("title", "company"),
    [
        ("Target Corp raises its forecast", "Target"),
        ("Retailers Walmart and Target cut prices", "Target"),
        ("TARGET CORP SEES HIGHER PROFIT", "Target"),
        ("Gap's Old Navy to open 30 stores", "Gap"),
        ("Gap Inc. names new chief", "Gap"),
        ("Visa and Mastercard settle with merchants", "Visa"),
        ("Visa Inc profit beats estimates on card payments", "Visa"),
        ("Shell plc to sell its refinery", "Shell"),
        ("Royal Dutch Shell cuts dividend", "Shell"),
        ("ROYAL DUTCH/SHELL RAISES OIL PRICES", "Shell"),
        ("Apple's iPhone sales fall", "Apple"),
        ("Amazon.com opens a warehouse", "Amazon"),
        ("Delta cancels flights", "Delta Air Lines"),
        ("BP profit doubles", "BP"),
        ("Ford Motor recalls trucks", "Ford"),
        ("Telecoms group Orange to cut costs", "Orange"),
        ("Facebook owner Meta Platforms to lay off staff", "Meta Platforms"),
        ("Payments firm Square buys Afterpay", "Block"),
        ("NESTLE SA SEES SALES UP", "Nestlé"),
        ("J.P. Morgan profit falls", "JPMorgan Chase"),
        ("News Corp revenue beats", "News Corp"),
    ],
)
def test_a_company_is_recognised(shipped: Matcher, title: str, company: str) -> None:
    assert company in shipped.match(title, "", [], [])


@pytest.mark.parametrize(
    "title",
    [
        "Target price raised to 50",
        "Analysts lift target for the euro",
        "Fed on Target to Hit Inflation Goal",
        "Brokerage raises price target on retailer Macy's",
        "TRADE GAP WIDENS",
        "Gap between rich and poor widens",
        "Clothing workers protest pay gap",
        "U.S. curbs visa applications",
        "Visa fees to rise for students",
        "Prosecutors find network of shell companies",
        "Shell companies hid oil money",
        "Apple pie prices climb",
        "Washington apple growers fear tariffs",
        "Fires spread in the Amazon rainforest",
        "Delta variant spreads, airlines warn",
        "Harrison Ford hurt in plane crash",
        "Orange juice futures jump",
        "Square feet leased in Manhattan fall",
        "Progressive caucus blocks bill",
        "Total sales of insurers rose",
        "Fed up voters turn to snap election",
        "Protest in Times Square",
        "No news is good news, says minister",
        "The oracle of Omaha speaks",
        "Caterpillars eat crops",
        "Bond yields gain 5 bp",
    ],
)
def test_an_ordinary_word_is_no_company(shipped: Matcher, title: str) -> None:
    companies = {rule.name for rule in default_watchlist()} - {"Macy's"}
    assert not companies & set(shipped.match(title, "", [], []))


@pytest.mark.parametrize(
    ("title", "theme", "expected"),
    [
        ("Fed raises interest rates", "central banks", True),
        ("Fed up investors leave", "central banks", False),
        ("Oil jumps after OPEC cut", "oil", True),
        ("Palm oil exports rise", "oil", False),
        ("Palm oil exports rise", "agriculture", True),
        ("Gold hits record", "gold", True),
        ("Swimmer wins gold medal", "gold", False),
        ("Chipmakers slide", "technology", True),
        ("Blue chips slide", "technology", False),
        ("Central bank cuts growth outlook", "banks", False),
        ("Bad loans weigh on lenders", "banks", True),
        ("Dollar General opens stores", "currencies", False),
        ("Dollar slips against yen", "currencies", True),
        ("Retailer files for Chapter 11", "bankruptcy", True),
    ],
)
def test_a_theme_knows_what_its_words_also_mean(shipped: Matcher, title: str, theme: str, expected: bool) -> None:
    assert (theme in shipped.match(title, "", [], [])) is expected


def test_the_shipped_rules_have_distinct_names() -> None:
    check_distinct([*default_rules(), *default_watchlist()])


def test_each_company_of_the_watchlist_is_found_by_its_first_name_in_some_headline() -> None:
    for company in default_watchlist():
        first = [*company.names, *company.weak][0]
        assert matches(company, f"{first} shares fall, {' '.join(company.require[:1])}"), company.name


# Names.


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Daimler AG", "Daimler rises"),
        ("Daimler", "Daimler AG rises"),
        ("Merck & Co., Inc.", "Merck falls"),
        ("Fiat S.p.A.", "fiat sales"),
        ("Philips N.V.", "PHILIPS NV SEES"),
        ("Tata Motors Pvt. Ltd.", "Tata Motors rises"),
        ("Barclays plc", "Barclays' profit"),
        ("Coca-Cola Co", "Coca Cola bottler"),
        ("Nestlé S.A.", "Nestle sales"),
        ("Nestle", "Nestlé's sales"),
        ("AT&T Inc", "AT & T cuts jobs"),
        ("J.P. Morgan", "J. P. Morgan says"),
        ("Moody's", "Moody’s downgrades"),
        ("Apple", "(Apple)"),
        ("Apple", "#Apple"),
        ("Apple", "Apple-led rally"),
        ("Société Générale", "SOCIÉTÉ GÉNÉRALE"),
    ],
)
def test_suffix_case_accent_and_punctuation_do_not_matter(name: str, text: str) -> None:
    assert matches(rule(name), text)


@pytest.mark.parametrize(("name", "text"), [("Apple", "Pineapple"), ("Apple", "Apples"), ("BP", "BPM"), ("3M", "13M")])
def test_a_name_is_not_a_part_of_a_word(name: str, text: str) -> None:
    assert not matches(rule(name), text)


def test_a_name_that_is_only_a_suffix_keeps_it() -> None:
    assert matches(rule("SE"), "SE shares")
    assert not matches(rule("SE"), "shares")


def test_a_case_sensitive_name_matches_as_written_only() -> None:
    case = rule("Target", "TGT Stores", case_sensitive=True)
    assert matches(case, "Target opens")
    assert not matches(case, "A target is set")
    assert not matches(case, "TARGET OPENS")
    assert matches(rule("Target", "TARGET", case_sensitive=True), "TARGET OPENS")


def test_a_letter_that_folds_to_two_keeps_the_case_check_in_place() -> None:
    assert matches(rule("Apple", case_sensitive=True), "Die große Straße: Apple wächst")
    assert not matches(rule("Apple", case_sensitive=True), "Die große Straße: apple wächst")


def test_names_in_scripts_without_spaces_need_no_boundary() -> None:
    assert matches(rule("三菱商事"), "昨日三菱商事が上昇した")
    assert matches(rule("三菱UFJ"), "昨日三菱UFJは")
    assert matches(rule("삼성전자"), "삼성전자가 올랐다")
    assert matches(rule("Apple"), "苹果Apple公司")
    assert not matches(rule("Apple"), "苹果Apples公司")


def test_nothing_matches_across_title_and_body() -> None:
    assert not matches(rule("General Electric"), "A new general", "Electric cars sell")


def test_the_body_counts_up_to_2000_characters() -> None:
    assert matches(rule("Acme"), "Title", "x" * (BODY_CHARACTERS - 6) + " Acme")
    assert not matches(rule("Acme"), "Title", "x" * BODY_CHARACTERS + " Acme")


# require and exclude.


def test_require_asks_for_one_of_its_phrases_anywhere() -> None:
    target = rule("Target", require=["retailer", "Target Corp"])
    assert not matches(target, "Target rises")
    assert matches(target, "Target rises", "The RETAILER said")
    assert matches(target, "Target Corp. rises")


def test_an_occurrence_inside_an_excluded_phrase_does_not_count_but_another_does() -> None:
    apple = rule("Apple", exclude=["apple pie", "big apple"])
    assert not matches(apple, "Apple pie in the Big Apple")
    assert matches(apple, "Apple pie for Apple staff")


def test_an_excluded_phrase_that_overlaps_in_part_counts_too() -> None:
    assert not matches(rule("Bank of America"), "America First")
    assert not matches(rule("Delta Air", exclude=["Air Force"]), "Delta Air Force base")


def test_excluding_one_topic_leaves_another_alone() -> None:
    matcher = Matcher(
        [
            TopicRule(name="a", names=["Apple"], exclude=["apple pie"]),
            TopicRule(name="b", names=["Apple"]),
        ]
    )
    assert matcher.match("Apple pie", "", [], []) == ("b",)


# Tickers.


@pytest.mark.parametrize("text", ["$AAPL up", "buy $aapl!", "($AAPL)", "STANDARD <AAPL> TO FORM UNIT", "$AAPL."])
def test_a_cashtag_and_a_wires_ticker_match(text: str) -> None:
    assert matches(TopicRule(name="Apple", tickers=["AAPL"]), text)


@pytest.mark.parametrize("text", ["AAPL up", "$Aapl", "$AAPLX", "US$AAPL", "<aapl>", "AAPL$", "$$AAPL"])
def test_a_bare_word_or_a_badly_written_tag_is_no_ticker(text: str) -> None:
    assert not matches(TopicRule(name="Apple", tickers=["AAPL"]), text)


def test_a_sum_of_money_is_no_cashtag() -> None:
    tickers = TopicRule(name="Macy's", tickers=["M", "BN"])
    assert not matches(tickers, "raises $m and $bn, $5M")
    assert matches(tickers, "long $M")


def test_markup_is_no_ticker() -> None:
    assert not matches(TopicRule(name="Barnes", tickers=["B"]), "<B>Shares</B> fall")


def test_the_storys_own_tickers_match_after_upper_casing() -> None:
    apple = TopicRule(name="Apple", tickers=["$aapl"])
    assert matches(apple, "x", tickers=[" aapl "])
    assert matches(apple, "x", tickers=["$AAPL"])
    assert not matches(apple, "x", tickers=["AAPL.MX"])


def test_a_ticker_with_an_exchange_matches_whole() -> None:
    berkshire = TopicRule(name="Berkshire", tickers=["BRK.B"])
    assert matches(berkshire, "long $BRK.B.")
    assert not matches(berkshire, "long $BRK.A")


def test_require_and_exclude_do_not_touch_tickers() -> None:
    assert matches(TopicRule(name="t", tickers=["TGT"], names=["Target"], require=["retailer"]), "$TGT target price")


# Languages, the feed's own topics, order.


def test_a_rule_with_a_language_leaves_other_languages_alone() -> None:
    german = rule("Gift", language="DE", tickers=["GFT"])
    assert matches(german, "Gift", language="de")
    assert matches(german, "Gift", language="de-AT")
    assert not matches(german, "Gift", language="en")
    assert not matches(german, "x", tickers=["GFT"], language="en")


def test_the_feeds_own_topics_are_taken_as_written_and_once() -> None:
    matcher = Matcher([rule("oil", name="oil")])
    assert matcher.match("Oil up", "", [], ["oil", " Banks ", "", "oil"]) == ("Banks", "oil")


def test_the_reserved_name_is_ignored_in_a_feed_and_refused_in_a_rule() -> None:
    assert Matcher([]).match("x", "", [], ["_all", " _all "]) == ()
    with pytest.raises(ValidationError, match="_all is the name of a series that Foreshock makes"):
        rule("x", name=" _all ")


def test_topics_are_in_bytewise_order() -> None:
    topics = ["é", "z", "Z", "銀", "\U0001f4b0", "\uffee"]
    assert list(Matcher([]).match("x", "", [], topics)) == sorted(topics, key=lambda topic: topic.encode())


def test_explain_says_by_what_a_rule_matched() -> None:
    matcher = Matcher([rule("Société Générale", name="bank"), TopicRule(name="t", tickers=["GLE"])])
    assert matcher.explain("SOCIETE GENERALE $gle up") == (Matched("bank", "SOCIETE GENERALE"), Matched("t", "$gle"))


@given(st.text(max_size=80), st.text(max_size=80), st.text(min_size=1, max_size=12))
def test_any_text_can_be_matched_and_a_name_between_spaces_is_found(title: str, body: str, name: str) -> None:
    try:
        named = rule(name)
    except ValidationError:
        return
    assert matches(named, title + "\n" + name + "\n", body)
    assert matches(named, "", body + " | " + name)


# Bad rules and watchlists.


def test_a_rule_that_can_match_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least one of tickers and names"):
        TopicRule(name="x")
    with pytest.raises(ValidationError, match="neither a letter nor a digit"):
        rule("!?")


def test_two_rules_of_one_name_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'oil'"):
        Matcher([rule("a", name="oil"), rule("b", name="oil")])


def watchlist(tmp_path: Path, text: str) -> list[TopicRule]:
    path = tmp_path / "list.csv"
    path.write_text(text, "utf-8")
    return load_watchlist(path)


def test_a_watchlist_holds_lists_and_truths(tmp_path: Path) -> None:
    rules = watchlist(
        tmp_path,
        '\ufeffname,tickers,names,case_sensitive,require\nGap,GPS;GAP,"Gap | Gap, Inc.",yes,"Old Navy"\n\nOil,,oil,,\n',
    )
    assert rules == [
        TopicRule(
            name="Gap", tickers=["GPS", "GAP"], names=["Gap", "Gap, Inc."], case_sensitive=True, require=["Old Navy"]
        ),
        TopicRule(name="Oil", names=["oil"]),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,ticker\nA,B\n", "line 1: unknown column 'ticker'; did you mean 'tickers'"),
        ("name,price\nA,B\n", "line 1: unknown column 'price'; known are name, tickers"),
        ("tickers\nA\n", "line 1: no column 'name'"),
        ("", "line 1: no column 'name'"),
        ("name,tickers\nA,B\nA,C\n", "line 3: the topic 'A' is already in line 2"),
        ("name,tickers\nA,B,C\n", "line 2: more cells than columns"),
        ("name,names,case_sensitive\nA,B,maybe\n", "line 2: case_sensitive is 'maybe'; write true or false"),
        ("name,names\nA,a\n_all,B\n", "line 3: name: _all is the name"),
        ("name,names\nA,\n", "line 2: a topic needs at least one of tickers and names"),
        ('name,names\nA,"b\n', "is not CSV"),
    ],
)
def test_a_bad_watchlist_is_told_its_line_and_the_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(WatchlistError) as caught:
        watchlist(tmp_path, text)
    assert message in str(caught.value)
    assert "list.csv" in str(caught.value)


def test_a_watchlist_that_is_missing_or_not_utf8_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(WatchlistError, match="no such file"):
        load_watchlist(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("name,names\nA,b\nN,Nestlé\n".encode("latin-1"))
    with pytest.raises(WatchlistError, match="line 3: is not UTF-8"):
        load_watchlist(tmp_path / "latin.csv")


# A topic that is added to a watchlist file.

HALDEN = TopicRule(name="Halden", names=["Halden"])


def refused(file: Path, before: bytes, rule: TopicRule, why: str) -> None:
    file.write_bytes(before)
    with pytest.raises(WatchlistError, match=why):
        watchlist_file.add(file, rule)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    "rule",
    [
        TopicRule(name="Halden; ...", names=["Halden; ..."]),
        TopicRule(name="Halden", names=["Halden", "Halden|Foods"]),
        TopicRule(name="HL|DN", tickers=["HL|DN"]),
    ],
)
def test_an_entry_with_a_mark_that_separates_entries_is_refused(tmp_path: Path, rule: TopicRule) -> None:
    refused(tmp_path / "watchlist.csv", b"name,names\nCelmere,Celmere\n", rule, "separates the entries of a list")


def test_the_file_is_checked_before_it_replaces_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchlist_file, "_with", lambda *_: b"name,names\nCelmere,Celmere\nCelmere,Celmere\n")
    file = tmp_path / "watchlist.csv"
    refused(file, b"name,names\nCelmere,Celmere\n", HALDEN, f"^{file}, line 3: .* already in line 2")


def test_a_line_is_added_to_a_file_whose_lines_end_in_cr_alone(tmp_path: Path) -> None:
    file = tmp_path / "watchlist.csv"
    file.write_bytes(b"name,names\rCelmere,Celmere\r")
    watchlist_file.add(file, HALDEN)
    assert file.read_bytes() == b"name,names\rCelmere,Celmere\rHalden,Halden\r"
    assert [rule.name for rule in load_watchlist(file)] == ["Celmere", "Halden"]

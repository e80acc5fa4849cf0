"""Tickers in the notations of exchanges, wires and vendors become one."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.ingest import tickers
from foreshock.ingest.tickers import normalised_ticker, read_tickers, tickers_in_text
from foreshock.monitor.topics.matching import matches
from foreshock.monitor.topics.rules import TopicRule


@pytest.mark.parametrize(
    ("ticker", "notations"),
    [
        (
            "TRNX",
            (
                "TRNX",
                "trnx",
                "$TRNX",
                " $trnx ",
                "TRNX.O",
                "TRNX.OQ",
                "TRNX.N",
                "TRNX.K",
                "TRNX.US",
                "TRNX:US",
                "US:TRNX",
                "TRNX-US",
                "TRNX US",
                "TRNX US Equity",
                "TRNX UW Equity",
                "NASDAQ:TRNX",
                "Nasdaq: TRNX",
                "NYSE TRNX",
                "NYSE American: TRNX",
                "NYSE Arca:TRNX",
                "NasdaqGS:TRNX",
                "OTCMKTS:TRNX",
                "XNAS:TRNX",
                "TRNX (NASDAQ)",
                "(NASDAQ: TRNX)",
                "<TRNX.O>",
                "[TRNX]",
                "'TRNX'",
                "TRNX.OQ^L23",
            ),
        ),
        (
            "QRS.B",
            (
                "QRS.B",
                "QRS/B",
                "QRS-B",
                "QRS B",
                "QRSb",
                "QRSb.N",
                "QRS.B US Equity",
                "QRS/B UN Equity",
                "NYSE: QRS.B",
                "NYSE:QRS/B",
                "$QRS.B",
                "qrs.b",
            ),
        ),
        (
            "VOD.L",
            ("VOD.L", "VOD LN", "VOD LN Equity", "LON:VOD", "LSE: VOD", "LON:VOD.L", "VOD-GB", "UK:VOD", "XLON:VOD"),
        ),
        ("7203.T", ("7203.T", "7203 JP Equity", "TYO:7203", "TSE:7203", "7203-JP", "JP:7203")),
        ("SHOP.TO", ("SHOP.TO", "TSX:SHOP", "TSE:SHOP", "SHOP CN Equity", "CA:SHOP")),
        ("0700.HK", ("0700.HK", "700.HK", "700 HK Equity", "HKG:0700", "HKEX:700", "HK:700")),
        ("600519.SS", ("600519.SS", "600519.SH", "SHA:600519", "600519 CH Equity")),
        ("NESN.SW", ("NESN.SW", "NESN.S", "SWX:NESN", "NESN SW Equity")),
        ("HM-B.ST", ("HM-B.ST", "HMb.ST", "STO:HM-B", "HM/B SS Equity")),
        ("UA", ("NYSE:UA", "UA.N", "UA US Equity")),
    ],
)
def test_every_notation_of_a_ticker_is_one(ticker: str, notations: tuple[str, ...]) -> None:
    assert {notation: normalised_ticker(notation) for notation in notations} == dict.fromkeys(notations, (ticker, True))


@pytest.mark.parametrize(
    "written",
    ["Acme Industries", "US0378331005", "BTC-USD", "EURUSD=X", "^GSPC", "CRYPTO:BTC", "NASDAQ", "7", "a.bcdef"],
)
def test_what_is_no_ticker_is_kept_in_capitals(written: str) -> None:
    assert normalised_ticker(written) == (written.upper(), False)


@pytest.mark.parametrize(
    ("value", "tickers"),
    [
        ("TRNX,BWPX", "TRNX BWPX"),
        ("TRNX|BWPX; QRS", "TRNX BWPX QRS"),
        ("TRNX BWPX", "TRNX BWPX"),
        ("$TRNX $BWPX", "TRNX BWPX"),
        ("['TRNX', 'BWPX']", "TRNX BWPX"),
        ("['TRNX' 'BWPX']", "TRNX BWPX"),
        ('["T"]', "T"),
        ("[T, BWPX]", "T BWPX"),
        ("{T,BWPX}", "T BWPX"),
        ("('TRNX',)", "TRNX"),
        ("{'TRNX'}", "TRNX"),
        ("NYSE: QRS.A, QRS.B", "QRS.A QRS.B"),
        ("TRNX US Equity, BWPX UN Equity", "TRNX BWPX"),
        ('["NASDAQ:TRNX","NYSE:F"]', "TRNX F"),
        ("NASDAQ:GOOG, GOOGL", "GOOG GOOGL"),
        (["TRNX", None, "NYSE:F"], "TRNX F"),
        (["T|F"], "T F"),
        (7203, "7203"),
        ("QRS B", "QRS.B"),
        ("nan", ""),
        ("None", ""),
        ("[]", ""),
        ("", ""),
        (None, ""),
        ("N/A", ""),
        ("NAN", "NAN"),
        ("NA", "NA"),
    ],
)
def test_a_field_holds_tickers_in_any_form_of_list(value: Any, tickers: str) -> None:
    assert [ticker for ticker, _ in read_tickers(value)] == tickers.split()


@pytest.mark.parametrize(
    ("text", "tickers"),
    [
        ("Tarn Steel (NASDAQ: TRNX) falls", "TRNX"),
        ("Tarn (NASDAQ:TRNX)", "TRNX"),
        ("Tarn (Nasdaq: TRNX), up", "TRNX"),
        ("<TRNX.O> slips", "TRNX"),
        ("Tarn <TRNX>", "TRNX"),
        ("Tarn (TRNX.N)", "TRNX"),
        ("[TRNX.OQ]", "TRNX"),
        ("TRNX.N rose", "TRNX"),
        ("TRNX US Equity gains", "TRNX"),
        ("Tarn (TRNX US)", "TRNX"),
        ("<QRSb.N>", "QRS.B"),
        ("NYSE: QRS/B", "QRS.B"),
        ("(NASDAQ: GOOG, GOOGL)", "GOOG GOOGL"),
        ("(TSX: SHOP; NYSE: SHOP)", "SHOP.TO SHOP"),
        ("(LSE: VOD)", "VOD.L"),
        ("(NYSE American: XYZ)", "XYZ"),
        ("(NYSE: WMT, NASDAQ: COST)", "WMT COST"),
        ("NYSE:UA", "UA"),
        ("Time: NOW", ""),
        ("NYSE: Record high", ""),
        ("the U.N. said", ""),
        ("A.P. Moller (APM)", ""),
        ("TRNX up", ""),
        ("<B>Shares</B> of <TRNX>", ""),
        ("CEO: A man", ""),
        ("(IPO)", ""),
    ],
)
def test_prose_marks_tickers(text: str, tickers: str) -> None:
    assert list(dict.fromkeys(ticker for ticker, _ in tickers_in_text(text))) == tickers.split()


@pytest.mark.parametrize(
    "text", ["(NASDAQ: TRNX)", "<TRNX.O>", "TRNX US Equity", "$TRNX", "NASDAQ:TRNX", "(TRNX.OQ)", "$trnx"]
)
def test_a_rule_matches_its_ticker_in_every_notation(text: str) -> None:
    assert matches(TopicRule(name="Tarn", tickers=["TRNX"]), f"Steel maker {text} falls")
    assert matches(TopicRule(name="Tarn", tickers=["NASDAQ:TRNX"]), f"Steel maker {text} falls")
    assert not matches(TopicRule(name="Tarn", tickers=["TRNX.L"]), f"Steel maker {text} falls")


@pytest.mark.parametrize("text", ["$QRS.B", "$QRS/B", "$QRS-B", "(NYSE: QRS.B)"])
def test_a_class_of_shares_is_a_ticker_of_its_own(text: str) -> None:
    assert matches(TopicRule(name="Quay", tickers=["QRS-B"]), text)
    assert not matches(TopicRule(name="Quay", tickers=["QRS.A"]), text)


@given(st.text(st.sampled_from("ABab1./-: $()[]'\"LONTUSEquity,|"), max_size=14) | st.text(max_size=12))
def test_a_ticker_that_was_normalised_stays_what_it_is(written: str) -> None:
    """An export holds normalised tickers, and its replay must give the same ones."""
    once = list(read_tickers(written))
    again = list(read_tickers([ticker for ticker, _ in once]))
    assert again == once


@given(st.lists(st.sampled_from(["$", "[]", "()", "{}", "  "]), min_size=1, max_size=4), st.integers(1, 3_000))
def test_a_ticker_is_read_through_whatever_is_around_it_however_often(around: list[str], times: int) -> None:
    before, behind = "".join(pair[0] for pair in around), "".join(pair[1:] for pair in reversed(around))
    assert list(read_tickers(before * times + "AAPL" + behind * times)) == [("AAPL", True)]


def test_a_megabyte_of_signs_is_read_in_time_and_not_kept() -> None:
    kept = tickers._kept.cache_info().currsize
    started = time.process_time()
    for text in ("$" * (1 << 20), "[" * (1 << 19) + "]" * (1 << 19), "x" * (1 << 20)):
        list(read_tickers(text))
    assert time.process_time() - started < 5
    assert tickers._kept.cache_info().currsize == kept


@given(st.text(st.sampled_from("ABx0 .:/-<>()[]$,"), max_size=200))
def test_any_text_can_be_searched(text: str) -> None:
    for ticker, written in tickers_in_text(text):
        assert normalised_ticker(ticker)[0] == ticker
        assert written in text


@pytest.mark.parametrize("part", [":", ": A,", "<A", "(A.", "NYSE: ", "A.N ", " Equity", "A,"])
def test_searching_takes_time_proportional_to_the_text(part: str) -> None:
    started = time.perf_counter()
    list(tickers_in_text(part * 50_000))
    assert time.perf_counter() - started < 5

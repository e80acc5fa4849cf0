"""Read tickers in the notations of exchanges, wires and data vendors, and write each in one way.

The one way is the bare symbol for a listing in the United States (`AAPL`, `BRK.B`: a class of shares behind a dot), and
the symbol with a suffix elsewhere (`VOD.L`, `7203.T`, `0700.HK`, `HM-B.ST`), as Yahoo and most files have it:

    AAPL  $aapl  AAPL.O  AAPL.OQ  AAPL.US  AAPL:US  US:AAPL  AAPL-US  AAPL US Equity  NASDAQ:AAPL  NASDAQ: AAPL
    BRK.B  BRK/B  BRK-B  BRK B  BRKb  BRKb.N  BRK/B US Equity  NYSE:BRK.B
    VOD.L  VOD LN Equity  LON:VOD  LSE: VOD  VOD-GB  XLON:VOD
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

# Suffix -> Bloomberg's codes; other suffixes (Reuters, ISO 10383); names and codes of the exchange; the country.
_MARKETS: dict[str, tuple[str, str, str, str]] = {
    "": (
        "US UN UW UQ UR UA UP UV UF",
        "O OQ N K P PK OB NB A@ US",
        "NASDAQ NASDAQGS NASDAQGM NASDAQCM NASDAQ-GS NGS NMS NYSE NYQ NYSEARCA NYSEAMERICAN NYSEMKT NYSEAMEX AMEX ARCA"
        " BATS CBOE OTC OTCMKTS OTCQX OTCQB OTCBB OTCPK PINK PINKSHEETS XNAS XNYS XNGS XNMS XASE ARCX BATO",
        "US USA",
    ),
    ".L": ("LN", "L XLON", "LSE LON XLON AIM", "GB UK"),
    ".TO": ("CN CT", "TO XTSE", "TSX TOR XTSE", "CA"),
    ".V": ("CV", "V XTSX", "TSXV TSX-V CVE XTSX", ""),
    ".DE": ("GR GY", "DE XETR", "ETR XETRA XETR", "DE"),
    ".F": ("GF", "F XFRA", "FRA FWB XFRA", ""),
    ".PA": ("FP", "PA XPAR", "EPA XPAR PAR", "FR"),
    ".AS": ("NA", "AS XAMS", "AMS XAMS", "NL"),
    ".BR": ("BB", "BR XBRU", "EBR XBRU", "BE"),
    ".MI": ("IM", "MI XMIL MTAA", "BIT XMIL MTAA", "IT"),
    ".MC": ("SM SQ", "MC XMAD", "BME XMAD", "ES"),
    ".LS": ("PL", "LS XLIS", "ELI XLIS", "PT"),
    ".SW": ("SW SE VX", "SW S VX XSWX XVTX", "SWX SIX VTX XSWX", "CH"),
    ".VI": ("AV", "VI XWBO", "VIE XWBO", "AT"),
    ".IR": ("ID", "IR I XDUB", "XDUB", "IE"),
    ".ST": ("SS", "ST XSTO", "STO XSTO", "SE"),
    ".CO": ("DC", "CO XCSE", "CPH XCSE", "DK"),
    ".HE": ("FH", "HE XHEL", "HEL XHEL", "FI"),
    ".OL": ("NO", "OL XOSL", "OSL OSE XOSL", "NO"),
    ".WA": ("PW", "WA XWAR", "WSE GPW XWAR", "PL"),
    ".AT": ("GA", "AT XATH", "ATH XATH", "GR"),
    ".IS": ("TI", "IS XIST", "IST BIST XIST", "TR"),
    ".TA": ("IT", "TA XTAE", "TLV TASE XTAE", "IL"),
    ".SR": ("AB", "SR SE XSAU", "TADAWUL SAU XSAU", "SA"),
    ".JO": ("SJ", "JO J XJSE", "JSE XJSE", "ZA"),
    ".T": ("JP JT", "T XTKS", "TYO TOKYO XTKS", "JP"),
    ".HK": ("HK", "HK XHKG", "HKG HKEX SEHK HKSE XHKG", "HK"),
    ".SS": ("CG", "SS SH XSHG", "SHA SSE XSHG", ""),
    ".SZ": ("CS", "SZ XSHE", "SHE SZSE XSHE", ""),
    ".KS": ("KS KP", "KS XKRX", "KRX XKRX", "KR"),
    ".KQ": ("KQ", "KQ XKOS", "KOSDAQ XKOS", ""),
    ".TW": ("TT", "TW XTAI", "TPE TWSE XTAI", "TW"),
    ".NS": ("IN IS", "NS XNSE", "NSE XNSE", "IN"),
    ".BO": ("IB", "BO XBOM", "BSE BOM XBOM", ""),
    ".AX": ("AU AT", "AX XASX", "ASX XASX", "AU"),
    ".NZ": ("NZ", "NZ XNZE", "NZE NZX XNZE", "NZ"),
    ".SI": ("SP", "SI XSES", "SGX XSES", "SG"),
    ".KL": ("MK", "KL XKLS", "KLSE XKLS", "MY"),
    ".JK": ("IJ", "JK XIDX", "IDX XIDX", "ID"),
    ".BK": ("TB", "BK XBKK", "SET BKK XBKK", "TH"),
    ".SA": ("BZ BS", "SA BVMF", "BVMF B3 BOVESPA", "BR"),
    ".MX": ("MM", "MX XMEX", "BMV XMEX", "MX"),
    ".ME": ("RM RX", "ME MM MISX", "MOEX MCX MISX", "RU"),
}


def _by(column: int) -> dict[str, str]:
    return {code.rstrip("@"): suffix for suffix, codes in _MARKETS.items() for code in codes[column].split()}


_BLOOMBERG, _SUFFIXES, _EXCHANGES, _COUNTRIES = (_by(column) for column in range(4))
del _SUFFIXES["A"]  # Reuters writes .A for NYSE American, most write it for a class of shares
_SUFFIXES["SE"] = ".SR"
_NAMED = {name for name in _EXCHANGES if len(name) > 2} | {"TSE"}
_CLASSES = "ABCDE"
_MISSING = frozenset(("", "-", "--", "n/a", "none", "null", "nil", "nan", "[]", "{}", "()", "set()"))
_SYMBOL = re.compile(r"[A-Z][A-Z0-9]{0,5}|[0-9]{3,6}[A-Z]?|[A-Z0-9]{2,6}")
_CLASSED = re.compile(rf"([A-Z][A-Z0-9]{{0,5}})(?:[./\- ]([{_CLASSES}])|([a-e]))")
_PLAIN = re.compile(r"[A-Z][A-Z0-9]{0,5}")
_PREFIXED = re.compile(r"([A-Za-z][A-Za-z0-9 .\-]{0,19}?)\s*[:/]\s*(\S{1,12})|([A-Za-z0-9]{3,20})\s+(\S{1,12})")
_BEHIND = re.compile(r"(\S{1,12})\s*\(\s*([A-Za-z][A-Za-z .\-]{1,19})\s*\)")
_VENDOR = re.compile(r"(\S{1,8}(?: [A-E])?)(?:\s+|:|-)([A-Za-z]{2})(?:\s+[Ee][Qq][Uu][Ii][Tt][Yy])?")
_SUFFIXED = re.compile(r"(.{1,9})\.([A-Za-z]{1,4}|B3)(?:\^[A-Z][0-9]{2})?")
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_BRACKETS = {"[": "]", "(": ")", "{": "}", "<": ">"}
_SEPARATORS = re.compile(r"[|;,\n\t\r]+")


_LONGEST_KEPT = 50
"""Characters of a notation that is kept for the next time. None that is understood has more, but for what is around."""


def normalised_ticker(written: str) -> tuple[str, bool]:
    """Return a ticker in the one way that Foreshock writes it, and whether the notation was understood.

    What is not understood is returned in capitals, without spaces around it: a rule may name it so.

    >>> normalised_ticker("NYSE: BRK/B"), normalised_ticker("VOD LN Equity"), normalised_ticker("GOOGL.O")
    (('BRK.B', True), ('VOD.L', True), ('GOOGL', True))
    >>> normalised_ticker("Acme Industries")
    ('ACME INDUSTRIES', False)
    """
    # Records bring texts of up to a megabyte, of which a full cache would be gigabytes.
    return _kept(written) if len(written) <= _LONGEST_KEPT else _normalised(written)


def read_tickers(value: Any) -> Iterator[tuple[str, bool]]:
    """Yield the tickers in a field, each normalised, and whether its notation was understood.

    Reading what was read gives the same again: an export holds normalised tickers.
    """
    for written in tickers_in(value):
        ticker, understood = normalised_ticker(written)
        if understood or ticker == written:
            yield ticker, understood
        else:
            yield from read_tickers(ticker)


def tickers_in(value: Any) -> Iterator[str]:
    """Yield the tickers in a field as they are written: of a list, or of text that holds one or several.

    Text may be a list as JSON, Python, NumPy or PostgreSQL writes it (`["T"]`, `['AAPL', 'QCOM']`, `['AAPL' 'QCOM']`,
    `{T,VZ}`), or names behind each other (`NVDA,AMD`; also with `|`, `;` and spaces). Words for nothing are left out.
    """
    if value is None:
        return
    if isinstance(value, list):
        for item in value:
            yield from tickers_in(item)
        return
    if not isinstance(value, str):
        yield str(value)
        return
    text = _unwrapped(value)
    quoted = [one or other for one, other in _QUOTED.findall(text)] if text[:1] in {"'", '"'} else []
    for part in _SEPARATORS.split("|".join(quoted) or text):
        piece = part.strip("'\"` ,")
        if piece.lower() in _MISSING and piece != "NAN":
            continue
        if " " in piece and not normalised_ticker(piece)[1]:
            words = piece.split()
            if all(_PLAIN.fullmatch(word) or _CLASSED.fullmatch(word) or word[:1] == "$" for word in words):
                yield from words
                continue
        yield piece


# Each begins with a sign that prose seldom has, so that a text is read quickly; what stands before is looked at then.
_BEHIND_COLON = re.compile(
    r":\s?\$?([A-Z0-9]{1,6}(?:[./-][A-Z])?(?:\s?,\s?[A-Z]{1,5}(?:[./-][A-Z])?(?![A-Za-z:]))*)(?![A-Za-z0-9])"
)
_EXCHANGE_BEFORE = re.compile(
    r"(?<![A-Za-z0-9])((?:[A-Z][A-Za-z0-9]{2,12})(?:[ -]?(?:GS|GM|CM|Arca|ARCA|American|AMERICAN|MKT|V))?)\s?$"
)
_BRACKETED = re.compile(
    r"[<(\[](?:([A-Z0-9]{1,6}[a-e]?(?:[./-][A-Z]{1,4})?)|([A-Z0-9]{1,6}(?:/[A-Z])?[ :][A-Z]{2}))[>)\]]"
)
_EQUITY = re.compile(r"\b[A-Z0-9]{1,6}(?:/[A-Z])? [A-Z]{2} Equity\b")
_WIRE_SUFFIX = re.compile(r"\.(?:OQ|O|N)(?![\w.])")
_SYMBOL_BEFORE = re.compile(r"(?<![\w.$/-])[A-Z]{2,6}$")


def tickers_in_text(text: str) -> Iterator[tuple[str, str]]:
    """Yield (normalised, as written) for the tickers that prose marks as such.

    Marked are an exchange before a colon (`(NASDAQ: NVDA)`, `NYSE:BRK.B`), a wire's code (`<AAPL.O>`, `<AAPL>`,
    `(JPM.N)`, `JPM.N`) and Bloomberg's (`JPM US Equity`, `(JPM US)`). A bare word or a word in round brackets is none.
    Text with `</` is markup, whose tags are not tickers.
    """
    if ":" in text:
        for match in _BEHIND_COLON.finditer(text):
            before = _EXCHANGE_BEFORE.search(text, max(0, match.start() - 22), match.start())
            if before is None or before[1].upper().replace(" ", "") not in _NAMED:
                continue
            for symbol in match[1].split(","):
                ticker, understood = normalised_ticker(f"{before[1]}:{symbol.strip()}")
                if understood:
                    yield ticker, text[before.start() : match.end()]
    marked_up = "</" in text
    for match in _BRACKETED.finditer(text):
        angle = match[0][0] == "<"
        if (angle and marked_up) or (match[1] and not angle and "." not in match[1]):
            continue
        ticker, understood = normalised_ticker(match[0][1:-1])
        if understood:
            yield ticker, match[0]
    if " Equity" in text:
        yield from ((normalised_ticker(match[0])[0], match[0]) for match in _EQUITY.finditer(text))
    for match in _WIRE_SUFFIX.finditer(text):
        before = _SYMBOL_BEFORE.search(text, max(0, match.start() - 7), match.start())
        if before is not None:
            yield before[0], before[0] + match[0]


def _normalised(written: str) -> tuple[str, bool]:
    text = _unwrapped(written, before="$'\"`,", behind="'\"`,")
    upper = text.upper()
    found = _understood(text) or (_understood(upper) if text != upper else None)
    if found is None and _PLAIN.fullmatch(upper) and not (upper in _EXCHANGES and len(upper) > 5):
        found = upper
    return (upper, False) if found is None else (found, True)


_kept = lru_cache(maxsize=1 << 15)(_normalised)


def _unwrapped(text: str, before: str = "", behind: str = "") -> str:
    """Return a text without the brackets and spaces around it, and without any of these signs before and behind it.

    What is returned has nothing around it that could be taken away. The time is proportional to the length.
    """
    first, last = 0, len(text)
    while first < last:
        if text[first].isspace() or text[first] in before:
            first += 1
        elif text[last - 1].isspace() or text[last - 1] in behind:
            last -= 1
        elif first + 1 < last and _BRACKETS.get(text[first]) == text[last - 1]:
            first, last = first + 1, last - 1
        else:
            break
    return text[first:last]


def _understood(text: str) -> str | None:
    """Return the ticker in the one way, or None."""
    if (found := _CLASSED.fullmatch(text)) and not text.isdigit():
        return f"{found[1]}.{(found[2] or found[3]).upper()}"
    if found := _SUFFIXED.fullmatch(text):
        suffix = _SUFFIXES.get(found[2].upper())
        if suffix is not None and (ticker := _listed(found[1], suffix)):
            return ticker
    prefixed, behind = _PREFIXED.fullmatch(text), _BEHIND.fullmatch(text)
    name = symbol = ""
    if behind is not None:
        symbol, name = behind.groups()
    elif prefixed is not None:
        name, symbol = prefixed[1] or prefixed[3], prefixed[2] or prefixed[4]
    name, symbol = name.upper().replace(" ", "").replace(".", ""), symbol.removeprefix("$")
    if name == "TSE":  # Tokyo has digits, Toronto has letters
        name = "TYO" if symbol[:1].isdigit() else "TSX"
    if (suffix := _EXCHANGES.get(name)) is not None:
        return _listed(symbol, suffix)
    if found := _VENDOR.fullmatch(text):
        code = found[2].upper()
        suffix = (_COUNTRIES if text[len(found[1])] == "-" else _BLOOMBERG).get(code)
        if code == "CH" and suffix is None:
            suffix = ".SS" if found[1].startswith("6") else ".SZ"
        if suffix is not None and (ticker := _listed(found[1], suffix)):
            return ticker
    if (suffix := _COUNTRIES.get(name)) is not None and ":" in text:
        return _listed(symbol, suffix)
    return None


def _listed(symbol: str, suffix: str) -> str | None:
    """Return the symbol with its class and suffix, or None if it is no symbol."""
    if found := _CLASSED.fullmatch(symbol):
        sign = "." if suffix == "" else "-"
        return f"{found[1]}{sign}{(found[2] or found[3]).upper()}{suffix}"
    if suffix and symbol.upper().endswith(suffix):
        symbol = symbol[: -len(suffix)]
    symbol = symbol.upper()
    if not _SYMBOL.fullmatch(symbol) or (suffix == "" and symbol.isdigit()):
        return None
    if suffix == ".HK" and symbol.isdigit():
        symbol = f"{int(symbol):04}"
    return symbol + suffix

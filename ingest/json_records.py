"""Decode the JSON object of a record: what orjson reads, and what it rejects although it can be mended.

A byte order mark, lone surrogates and NUL are mended, because feeds do send them. Everything else that is not JSON is
an error with a reason.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

from foreshock.ingest.errors import BadRecord

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_BROKEN = re.compile("[\0\ud800-\udfff]")


def decode(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in `raw`. Raises `BadRecord`: not_utf8, bad_json, not_an_object."""
    try:
        record = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        record = mended(_second_look(raw, error))
    if type(record) is not dict:
        kind = {list: "an array", str: "a string", type(None): "null", bool: "true or false"}.get(
            type(record), "a number"
        )
        raise BadRecord("not_an_object", f"The record is {kind}; a story is a JSON object.")
    clean: dict[str, Any] = mended(record) if b"\\u0000" in raw else record
    return clean


def _second_look(raw: bytes, error: ValueError) -> Any:
    """Parse what orjson rejects: a byte order mark or lone surrogates. Report bytes that are not UTF-8."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as broken:
        raise BadRecord("not_utf8", f"Byte {broken.start} (0x{raw[broken.start]:02x}) is not UTF-8.") from None
    if text and (_SURROGATE.search(raw) or raw.startswith(b"\xef\xbb\xbf")):
        try:
            return json.loads(text, parse_constant=_no_constant, parse_int=_integer)
        except (ValueError, RecursionError):
            pass
    raise BadRecord("bad_json", f"Not JSON: {error}.") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _integer(digits: str) -> int | float:
    value = int(digits) if len(digits) < 20 else float(digits)
    return value if isinstance(value, float) or -(2**63) <= value < 2**63 else float(value)


def mended(value: Any, depth: int = 0) -> Any:
    """Return a decoded value with U+FFFD for NUL and lone surrogates, and None for numbers that are not finite.

    Raises `BadRecord` (bad_json) if it is nested more than 200 deep.
    """
    if depth > 200:
        raise BadRecord("bad_json", "The JSON is nested too deeply.")
    if isinstance(value, str):
        return _BROKEN.sub("\ufffd", value)
    if isinstance(value, list):
        return [mended(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {mended(key, depth): mended(item, depth + 1) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value

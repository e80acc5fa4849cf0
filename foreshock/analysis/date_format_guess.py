"""Propose `--date-format` for dates that cannot be read without, and say the reason: for `foreshock check`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from foreshock.ingest.date_formats import by_format, numeric_parts
from foreshock.ingest.dates import date_form

_FORMS = (
    "%d%m%Y", "%m%d%Y", "%d%m%Y%H%M", "%m%d%Y%H%M", "%d%m%Y%H%M%S", "%m%d%Y%H%M%S", "%d-%b-%y", "%b-%d-%y", "%d %b %y",
    "%b %d, %y", "%d-%b-%y %H:%M", "%d %b %y %H:%M", "%d-%b-%y %H:%M:%S", "%d %b %y %H:%M:%S", "%Y-%d-%m",
    "%Y%m%d-%H%M", "%Y%m%d-%H%M%S", "%Y%m%d-%H:%M:%S", "%Y%m%d_%H%M%S", "%Y%m%d_%H%M", "%Y-%m-%d_%H:%M:%S",
    "%Y-%m-%d-%H-%M-%S", "%Y-%m-%d-%H.%M.%S", "%Y-%m-%d %H.%M", "%Y-%m-%d %H.%M.%S", "%d.%m.%Y %H.%M", "%d/%m/%Y %H.%M",
    "%d.%m.%Y %Hh%M", "%d/%m/%Y %Hh%M", "%Y%m%d%H",
)  # fmt: skip
"""Forms that files have. Only one that fits, where no other does, is proposed."""
_MOST = 0.95
"""Share of the unreadable dates that a form must fit."""


class Proposal(NamedTuple):
    """A form (None: it is open), and a sentence with the reason."""

    date_format: str | None
    reason: str


def propose(values: Iterable[Any]) -> Proposal | None:
    """Return a form for the dates among `values` that cannot be read; None if there are none or no form fits."""
    unread = [value for value in values if date_form(value)[0] == "unreadable"]
    if not unread:
        return None
    least = _MOST * len(unread)
    numbers = [parts for value in unread if (parts := numeric_parts(value)) is not None]
    if len(numbers) >= least:
        return _by_days(unread, numbers)
    if sum(by_format(value, "excel") is not None for value in unread) >= least:
        return Proposal("excel", f"numbers such as {unread[0]} are days since 1899-12-30, as Excel counts them: excel")
    fitting = [form for form in _FORMS if sum(by_format(value, form) is not None for value in unread) >= least]
    if len(fitting) == 1:
        return Proposal(fitting[0], f"dates such as {str(unread[0])!r} have the form {fitting[0]}")
    if fitting:
        return Proposal(None, f"Dates such as {str(unread[0])!r} may have the form {' or '.join(fitting)}")
    return None


def _by_days(unread: list[Any], numbers: list[tuple[int, int]]) -> Proposal | None:
    first, second = sum(one > 12 for one, _ in numbers), sum(two > 12 for _, two in numbers)
    example = next((value for value in unread if max(numeric_parts(value) or (0,)) > 12), unread[0])
    if first and not second:
        return Proposal("dayfirst", f"13 to 31 stand first in dates such as {example!r}: dayfirst")
    if second and not first:
        return Proposal("monthfirst", f"13 to 31 stand second in dates such as {example!r}: monthfirst")
    if first and second:
        return Proposal(
            None,
            f"In {first:,} dates a day from 13 to 31 stands first, in {second:,} second: the file has both orders. "
            "Split it by source, and replay each part with its own --date-format: dayfirst or monthfirst",
        )
    return Proposal(
        None,
        f"Dates such as {unread[0]!r} have two meanings, and no number from 13 to 31 shows where the day stands. If "
        "you know, say --date-format dayfirst or --date-format monthfirst",
    )

"""Fill a JSON template with an alert's fields.

The template is parsed as JSON first, and its texts are filled afterwards, so no headline can add a key or break the
JSON. A text that consists of one field in braces becomes that field's value, with its type:

>>> Template('{"text": "{topic}: {sources} sources", "count": "{sources}"}', "template").fill(
...     {"topic": "Banks", "sources": 7})
{'text': 'Banks: 7 sources', 'count': 7}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import quote

from foreshock.monitor.delivery.notice import Notice
from foreshock.monitor.store.times import iso

_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")

OF_ALERTS = (
    *("id", "topic", "kind", "direction", "state", "origin", "started_at", "fired_at", "resolved_at", "observed"),
    *("baseline", "evidence", "sources", "events", "sentence"),
)
FIELDS = (*OF_ALERTS, "event", "time", "incident", "title", "severity", "link", "alert")
"""What may stand in braces. `alert` is the whole object of `alerts list --json`."""


def fields(notice: Notice) -> dict[str, Any]:
    """Return the fields of a notice for a template."""
    found = {name: notice.alert.get(name) for name in OF_ALERTS}
    found |= {name: notice.alert["incident"][name] for name in ("sources", "events") if "incident" in notice.alert}
    return found | {
        "event": notice.event,
        "time": iso(notice.at),
        "incident": notice.incident,
        "title": notice.title,
        "severity": notice.severity,
        "link": notice.link,
        "alert": notice.alert,
    }


class Template:
    """A JSON template. Raises ValueError if it is not JSON or names an unknown field. `where`: for the error."""

    def __init__(self, text: str, where: str) -> None:
        try:
            self._value = json.loads(text)
        except RecursionError:
            raise ValueError(f"{where}: lists or objects within one another, too deep to read") from None
        except json.JSONDecodeError as error:
            raise ValueError(f"{where}: not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
        for name in _names(self._value):
            if name not in FIELDS:
                near = get_close_matches(name, FIELDS, 1)
                meant = f"did you mean {{{near[0]}}}?" if near else f"Known: {', '.join(FIELDS)}."
                raise ValueError(f"{where}: no field {{{name}}}; {meant} Write {{{{ and }}}} for braces")

    def fill(self, values: Mapping[str, Any]) -> Any:
        """Return the JSON value with its fields filled."""
        return _filled(self._value, values)


def fill_url(url: str, incident: str) -> str:
    """Return a URL in which `{incident}` is the incident's id, quoted."""
    return url.replace("{incident}", quote(incident, safe=""))


def _names(value: Any) -> list[str]:
    if isinstance(value, str):
        return [found[1] for found in _FIELD.finditer(value) if found[1] is not None]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [name for part in parts for name in _names(part)]


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(part, values) for key, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, values) for part in value]
    if not isinstance(value, str):
        return value
    whole = _FIELD.fullmatch(value)
    if whole and whole[1] is not None:
        return values[whole[1]]

    def text(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0][0]
        part = values[found[1]]
        return "" if part is None else part if isinstance(part, str) else json.dumps(part, ensure_ascii=False)

    return _FIELD.sub(text, value)

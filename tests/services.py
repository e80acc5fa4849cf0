"""On-call services on this machine: they answer as their public documents say, and check each request by its schema.

The schemas follow "Send an Alert Event" (PagerDuty, Events API v2), the "Alert API" (Opsgenie) and
`api/v2/openapi.yaml` (Alertmanager), with `additionalProperties: false` so that a misspelt field is noticed.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jsonschema

TEXT = {"type": "string"}
TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"}
LABELS = {
    "type": "object",
    "minProperties": 1,
    "propertyNames": {"pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"},
    "additionalProperties": TEXT,
}

PAGERDUTY: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["routing_key", "event_action"],
    "properties": {
        "routing_key": {"type": "string", "minLength": 32, "maxLength": 32},
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "maxLength": 255},
        "client": TEXT,
        "client_url": {"type": "string", "pattern": "^https?://"},
        "links": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["href"],
                "properties": {"href": {"type": "string", "pattern": "^https?://"}, "text": TEXT},
            },
        },
        "payload": {
            "type": "object",
            "additionalProperties": False,
            "required": ["summary", "source", "severity"],
            "properties": {
                "summary": {"type": "string", "minLength": 1, "maxLength": 1024},
                "source": {"type": "string", "minLength": 1},
                "severity": {"enum": ["critical", "error", "warning", "info"]},
                "timestamp": TIME,
                "component": TEXT,
                "group": TEXT,
                "class": TEXT,
                "custom_details": {"type": "object"},
            },
        },
    },
    "if": {"properties": {"event_action": {"const": "trigger"}}},
    "then": {"required": ["payload"]},
    "else": {"required": ["dedup_key"]},
}

OPSGENIE_CREATE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["message"],
    "properties": {
        "message": {"type": "string", "minLength": 1, "maxLength": 130},
        "alias": {"type": "string", "maxLength": 512},
        "description": {"type": "string", "maxLength": 15000},
        "tags": {"type": "array", "maxItems": 20, "items": {"type": "string", "maxLength": 50}},
        "details": {"type": "object", "additionalProperties": TEXT},
        "entity": {"type": "string", "maxLength": 512},
        "source": {"type": "string", "maxLength": 100},
        "priority": {"enum": ["P1", "P2", "P3", "P4", "P5"]},
        "user": {"type": "string", "maxLength": 100},
        "note": {"type": "string", "maxLength": 25000},
    },
}
OPSGENIE_CLOSE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "user": {"type": "string", "maxLength": 100},
        "source": {"type": "string", "maxLength": 100},
        "note": {"type": "string", "maxLength": 25000},
    },
}

ALERTMANAGER: dict[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["labels"],
        "properties": {
            "labels": LABELS,
            "annotations": {**LABELS, "minProperties": 0},
            "startsAt": TIME,
            "endsAt": TIME,
            "generatorURL": {"type": "string", "pattern": "^https?://"},
        },
    },
}

Answer = tuple[int, dict[str, str], str]


def _validate(body: Any, schema: dict[str, Any]) -> None:
    """As `jsonschema.validate`, but check the schema itself only once: that takes nearly all of the time."""
    validator = _validators.get(id(schema))
    if validator is None:
        cls = jsonschema.validators.validator_for(schema)
        cls.check_schema(schema)
        validator = _validators[id(schema)] = cls(schema)
    error = jsonschema.exceptions.best_match(validator.iter_errors(body))
    if error is not None:
        raise error


_validators = dict[int, Any]()


@dataclass
class Services:
    """A server that plays all three. `open`: the keys of what is open, as the service would show it."""

    key: str = "k" * 32
    open: dict[str, Any] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    """Path, headers and body of each."""
    answer: Callable[[str, dict[str, str], Any], Answer | None] = lambda *_: None
    """Replaces the answer, if it returns one."""

    def __enter__(self) -> Services:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def take(self, path: str, headers: dict[str, str], body: Any) -> Answer:
        self.requests.append((path, headers, body))
        if (own := self.answer(path, headers, body)) is not None:
            return own
        try:
            return self._take(path, headers, body)
        except jsonschema.ValidationError as error:
            return 400, {}, f"invalid: {error.message}"

    def _take(self, path: str, headers: dict[str, str], body: Any) -> Answer:
        if path == "/v2/enqueue":
            _validate(body, PAGERDUTY)
            if body["routing_key"] != self.key:
                return 400, {}, '{"status":"invalid event","errors":["Invalid routing key"]}'
            self._note(body["dedup_key"], None if body["event_action"] == "resolve" else body)
            return 202, {}, json.dumps({"status": "success", "dedup_key": body["dedup_key"]})
        if path.startswith("/v2/alerts"):
            if headers.get("authorization") != f"GenieKey {self.key}":
                return 422, {}, f'{{"message":"Key format is not valid: {headers.get("authorization")}"}}'
            if closed := re.fullmatch(r"/v2/alerts/([^/?]+)/close\?identifierType=alias", path):
                _validate(body, OPSGENIE_CLOSE)
                self._note(closed[1], None)
            else:
                assert path == "/v2/alerts"
                _validate(body, OPSGENIE_CREATE)
                self._note(body["alias"], body)
            return 202, {}, '{"result":"Request will be processed"}'
        if path == "/api/v2/alerts":
            _validate(body, ALERTMANAGER)
            for alert in body:
                starts, ends = (datetime.fromisoformat(alert[name]) for name in ("startsAt", "endsAt"))
                if starts > ends:
                    return 400, {}, '"start time must be before end time"'
                over = ends.timestamp() <= datetime.now().timestamp()
                self._note(json.dumps(alert["labels"], sort_keys=True), None if over else alert)
            return 200, {}, ""
        return 404, {}, "no such path"

    def _note(self, key: str, body: Any) -> None:
        if body is None:
            self.open.pop(key, None)
        else:
            self.open[key] = body


def _handler(services: Services) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, more, text = services.take(self.path, headers, json.loads(content))
            self.send_response(status)
            for name, value in {**more, "content-length": str(len(text.encode()))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    return Handler

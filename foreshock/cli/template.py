"""Build the commented settings file that `config init` writes from the settings' models.

The comment above a setting is the docstring of its field. Each setting is commented out and shows its default value; a
setting without a default shows an example.
"""

from __future__ import annotations

import json
import textwrap
from typing import Any

from pydantic import BaseModel

EXAMPLES: dict[str, Any] = {
    "store.password_file": "store-password.txt",
    "time.assume_zone": "America/New_York",
    "model.labels": ["positive", "negative", "neutral"],
    "ingest.encoding": "cp1252",
    "ingest.date_format": "dayfirst",
    "watchlist.file": "watchlist.csv",
    "heartbeat.url": "https://hc-ping.example.com/your-check",
    "heartbeat.headers": {"Authorization": "Bearer ${HEARTBEAT_KEY}"},
    "heartbeat.headers_file": "heartbeat-headers.txt",
    "heartbeat.proxy": "http://proxy.example.com:3128",
    "traces.url": "http://localhost:4318/v1/traces",
    "traces.headers": {"Authorization": "Bearer ${COLLECTOR_KEY}"},
    "traces.headers_file": "collector-headers.txt",
    "feeds.rss": "https://example.com/news.rss",
    "feeds.file": "live.jsonl",
    "feeds.name": "example",
    "feeds.source": "Example News",
    "feeds.every": "2m",
    "feeds.language": "en",
    "feeds.topics": ["markets"],
    "feeds.user_agent": "Example Desk desk@example.com",
    "feeds.proxy": "http://proxy.example.com:3128",
    "feeds.headers": {"X-Api-Key": "KEY"},
    "kafka.bootstrap_servers": "localhost:9092",
    "kafka.ssl_cafile": "ca.pem",
    "kafka.ssl_certfile": "client.pem",
    "kafka.ssl_keyfile": "client.key",
    "kafka.ssl_password": "",
    "kafka.ssl_password_file": "key-password.txt",
    "kafka.ssl_crlfile": "revoked.pem",
    "kafka.ssl_ciphers": "ECDHE+AESGCM",
    "kafka.sasl_mechanism": "SCRAM-SHA-512",
    "kafka.sasl_plain_username": "foreshock",
    "kafka.sasl_plain_password": "",
    "kafka.sasl_plain_password_file": "kafka-password.txt",
    "kafka.sasl_kerberos_name": "foreshock@EXAMPLE.COM",
    "kafka.sasl_kerberos_domain_name": "example.com",
    "kafka.sasl_oauth_token_file": "token.txt",
    "kafka.sasl_oauth_token_url": "https://login.example.com/oauth2/token",
    "kafka.sasl_oauth_client_id": "foreshock",
    "kafka.sasl_oauth_client_secret": "",
    "kafka.sasl_oauth_client_secret_file": "oauth-secret.txt",
    "kafka.sasl_oauth_scope": "kafka",
    "topics.name": "Target",
    "topics.tickers": ["TGT"],
    "topics.names": ["Target Corp"],
    "topics.require": ["retailer", "stores", "shares"],
    "topics.exclude": ["target price", "price target"],
    "topics.weak": ["Target"],
    "topics.context": "word",
    "topics.support": ["shoppers", "Walmart"],
    "topics.avoid": ["inflation"],
    "topics.language": "en",
    "topics.weight": 4.0,
    "critical.words": ["recall", "recalls", "explosion"],
    "critical.exclude": ["recall election"],
    "critical.avoid": ["settles"],
    "critical.negative": 0.7,
    "critical.severity": 1.8,
    "critical.topics": ["Target"],
    "sources.name": "Some Blog",
    "sources.weight": 0.5,
    "dashboard.external_url": "https://foreshock.example.com",
    "dashboard.exchange": "XNYS",
    "sign_in.metadata_url": "https://login.example.com/.well-known/openid-configuration",
    "sign_in.client_id": "foreshock",
    "sign_in.client_secret": "${OIDC_CLIENT_SECRET}",
    "sign_in.client_secret_file": "oidc-secret.txt",
    "sign_in.operators": ["desk"],
    "webhooks.name": "desk",
    "webhooks.version": 2,
    "webhooks.url": "https://receiver.example.com/foreshock",
    "webhooks.secrets": [],
    "webhooks.secrets_file": "webhook-secrets.txt",
    "webhooks.allow_private": False,
    "webhooks.proxy": "http://proxy.example.com:3128",
    "webhooks.headers": {"Authorization": "Bearer ${GATEWAY_TOKEN}"},
    "webhooks.headers_file": "webhook-headers.txt",
    "messages.name": "chat",
    "messages.apprise_url": "slack://TOKEN_A/TOKEN_B/TOKEN_C/#alerts",
    "messages.apprise_url_file": "slack-url.txt",
    "receivers.name": "on-call",
    "receivers.kind": "pagerduty",
    "receivers.url": "https://events.eu.pagerduty.com/v2/enqueue",
    "receivers.key": "${PAGERDUTY_KEY}",
    "receivers.key_file": "pagerduty-key.txt",
    "receivers.template": '{"text": "{sentence}", "id": "{incident}", "state": "{event}"}',
    "receivers.template_file": "ticket.json",
    "receivers.resolved_url": "https://tickets.example.com/api/{incident}/close",
    "receivers.resolved_template": '{"id": "{incident}"}',
    "receivers.headers": {"Authorization": "Bearer ${GATEWAY_TOKEN}"},
    "receivers.headers_file": "receiver-headers.txt",
    "receivers.allow_private": False,
    "receivers.proxy": "http://proxy.example.com:3128",
    "routes.name": "grave",
    "routes.receivers": ["on-call"],
    "routes.topics": ["Deutsche *"],
    "routes.kinds": ["negativity_spike"],
    "routes.severities": ["critical"],
    "routes.tags": ["banks"],
    "routes.watchlists": ["topics", "file"],
    "routes.hours": ["night"],
    "routes.continue": False,
    "routes.mute_time_intervals": [],
    "routes.escalate_after": "15m",
    "routes.escalate_to": ["desk"],
    "time_intervals.name": "night",
    "time_intervals.times": ["22:00-07:00"],
    "time_intervals.weekdays": ["monday:friday"],
    "time_intervals.location": "Europe/Berlin",
    "quiet_hours.receivers": ["chat"],
    "quiet_hours.time_intervals": ["night"],
    "quiet_hours.except_severities": ["critical"],
    "digests.name": "morning",
    "digests.receivers": ["chat"],
    "digests.every": "day",
    "digests.at": "07:30",
    "digests.weekday": "monday",
    "digests.location": "Europe/Berlin",
    "topics.tags": ["banks"],
    "api_keys.name": "desk",
    "api_keys.sha256": "",
    "api_keys.key": "${DESK_KEY}",
    "api_keys.scopes": ["read", "score"],
}

HEAD = """\
Settings of Foreshock. Every line below is a default or an example. Remove the # from a line to change it.
An environment variable (FORESHOCK_STORE__URL) overrides this file, and a command-line flag overrides both.
Write durations as text: "90s", "5m", "6h", "2d". Relative paths start from the folder of this file.
"""


def template() -> str:
    """Return the whole file as TOML."""
    from foreshock.settings.load import LISTS, keys, sections
    from foreshock.settings.models import Settings

    parts = [_comment(HEAD)]
    for name, model in sections():
        optional = Settings.model_fields[name].default is None
        head = f"# [[{name}]]" if name in LISTS else f"# [{name}]" if optional else f"[{name}]"
        lines = [_comment(_first_paragraph(model.__doc__)), head]
        texts = field_docstrings(model)
        # An entry of a list has no defaults as a whole, so it shows examples.
        defaults = {} if name in LISTS else model().model_dump(mode="json")
        for field in keys(model):
            value = EXAMPLES.get(f"{name}.{field}", defaults.get(field, False))
            lines += [_comment(texts[field])] if field in texts else []
            lines.append(f"# {field} = {toml_value(value)}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def field_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstring of each field that has one, on one line."""
    return {
        field.alias or name: " ".join(field.description.split())
        for name, field in model.model_fields.items()
        if field.description is not None
    }


def toml_value(value: Any) -> str:
    """Return a setting's value as TOML writes it."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml_value(part)}" for key, part in value.items()) + " }"
    # JSON and TOML write all other values of settings (text, numbers, booleans, lists) in the same way.
    return json.dumps(value, ensure_ascii=False)


def _comment(text: str) -> str:
    lines = (line for paragraph in text.strip().splitlines() for line in textwrap.wrap(paragraph, 110) or [""])
    return "\n".join(f"## {line}".rstrip() for line in lines)


def _first_paragraph(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())

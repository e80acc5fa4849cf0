"""The settings for Kafka: brokers, topic, consumer group, and kafka-python's security options under their own names.

A secret comes from the settings, the environment or a file, and is never shown. `client_options` returns the options
for kafka-python's consumer, producer and admin client.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, SecretStr, model_validator

from foreshock.ingest.redaction import redacted

Servers = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: [part.strip() for part in value.split(",")] if isinstance(value, str) else value),
]


def _shown(url: str | None) -> str | None:
    return None if url is None else redacted(url)


class BrokerSettings(BaseModel):
    """A topic of news, and how to reach it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    bootstrap_servers: Servers = ("localhost:9092",)
    """Brokers to connect to first: "host:9092,other:9092", or a list."""
    topic: str = Field(default="news", min_length=1, max_length=249, pattern=r"^[A-Za-z0-9._-]+$")
    """The topic that stories are read from."""
    group: str = Field(default="foreshock", min_length=1, max_length=255)
    """The consumer group in which workers share partitions. Workers continue from the offsets in the store; offsets in
    Kafka are only for tools that watch lag."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How to connect to brokers."""
    ssl_cafile: Path | None = None
    """Certificates to trust (PEM). Without it, those of the system."""
    ssl_certfile: Path | None = None
    """This client's certificate (PEM)."""
    ssl_keyfile: Path | None = None
    """This client's private key (PEM)."""
    ssl_password: SecretStr | None = None
    """The private key's password."""
    ssl_password_file: Path | None = None
    """Or a file that holds it."""
    ssl_crlfile: Path | None = None
    """Revoked certificates (PEM)."""
    ssl_ciphers: str | None = None
    """Allowed ciphers, as an OpenSSL cipher string."""
    ssl_check_hostname: bool = True
    """Whether a broker's certificate must name its host."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI"] | None = None
    """How this client authenticates."""
    sasl_plain_username: str | None = None
    """User name for PLAIN and SCRAM."""
    sasl_plain_password: SecretStr | None = None
    """Password of this user."""
    sasl_plain_password_file: Path | None = None
    """Or a file that holds it."""
    sasl_kerberos_name: str | None = None
    """Name of the Kerberos principal."""
    sasl_kerberos_service_name: str = "kafka"
    """Kerberos service name of the brokers."""
    sasl_kerberos_domain_name: str | None = None
    """Kerberos domain of the brokers."""
    sasl_oauth_token_file: Path | None = None
    """For OAUTHBEARER: a file with the token. It is read at each use, so that another program can renew it."""
    sasl_oauth_token_url: Annotated[str | None, PlainSerializer(_shown, when_used="json")] = None
    """Or the URL that issues a token for a client id and secret (OAuth 2.0, client credentials)."""
    sasl_oauth_client_id: str | None = None
    """Client id for this URL."""
    sasl_oauth_client_secret: SecretStr | None = None
    """Client secret for this URL."""
    sasl_oauth_client_secret_file: Path | None = None
    """Or a file that holds it."""
    sasl_oauth_scope: str | None = None
    """Scope to request."""

    @model_validator(mode="after")
    def _is_whole(self) -> BrokerSettings:
        if any(not server for server in self.bootstrap_servers) or not self.bootstrap_servers:
            raise ValueError("bootstrap_servers is empty: expected host:port")
        for name in ("ssl_password", "sasl_plain_password", "sasl_oauth_client_secret"):
            if getattr(self, name) is not None and getattr(self, f"{name}_file") is not None:
                raise ValueError(f"set one of {name} and {name}_file, not both")
        mechanism = self.sasl_mechanism
        if self.security_protocol.startswith("SASL") != (mechanism is not None):
            raise ValueError(
                'sasl_mechanism and security_protocol = "SASL_SSL" (or "SASL_PLAINTEXT") go together: set both or none'
            )
        if mechanism in {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} and not (
            self.sasl_plain_username and (self.sasl_plain_password or self.sasl_plain_password_file)
        ):
            raise ValueError(f"{mechanism} needs sasl_plain_username and sasl_plain_password (or its file)")
        if mechanism == "OAUTHBEARER" and (self.sasl_oauth_token_file is None) == (self.sasl_oauth_token_url is None):
            raise ValueError("OAUTHBEARER needs one of sasl_oauth_token_file and sasl_oauth_token_url")
        return self

    def client_options(self) -> dict[str, Any]:
        """Return the options for a kafka-python client. Raises ValueError if the file of a secret cannot be read."""
        options: dict[str, Any] = {
            "bootstrap_servers": list(self.bootstrap_servers),
            "client_id": "foreshock",
            "security_protocol": self.security_protocol,
        }
        plain = (
            *("ssl_ciphers", "ssl_check_hostname", "sasl_mechanism", "sasl_plain_username", "sasl_kerberos_name"),
            *("sasl_kerberos_service_name", "sasl_kerberos_domain_name"),
        )
        paths = ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_crlfile")
        options |= {name: getattr(self, name) for name in plain if getattr(self, name) is not None}
        options |= {name: str(getattr(self, name)) for name in paths if getattr(self, name) is not None}
        for name in ("ssl_password", "sasl_plain_password"):
            if (secret := self._secret(name)) is not None:
                options[name] = secret
        if self.sasl_mechanism == "OAUTHBEARER":
            options["sasl_oauth_token_provider"] = _token_provider(self)
        return options

    def _secret(self, name: str) -> str | None:
        given, file = getattr(self, name), getattr(self, f"{name}_file")
        if file is not None:
            return _read(file, name)
        return None if given is None else str(given.get_secret_value())


def _read(file: Path, name: str) -> str:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{name}_file: {file} cannot be read: {error}") from None
    if not text:
        raise ValueError(f"{name}_file: {file} is empty")
    return text


def _token_provider(settings: BrokerSettings) -> Any:
    """Return kafka-python's token provider for OAUTHBEARER. Its base class needs kafka-python to be imported."""
    from kafka.net.sasl.oauth import AbstractTokenProvider

    class Tokens(AbstractTokenProvider):  # type: ignore[misc]
        """Tokens from a file, or from a token endpoint; the latter are kept until a minute before they expire."""

        def __init__(self) -> None:
            self._token, self._until = "", 0.0

        def token(self) -> str:
            if settings.sasl_oauth_token_file is not None:
                return _read(settings.sasl_oauth_token_file, "sasl_oauth_token")
            if time.monotonic() >= self._until:
                self._token, lifetime = _fetch_token(settings, settings._secret("sasl_oauth_client_secret"))
                self._until = time.monotonic() + max(1.0, lifetime - 60)
            return self._token

        def extensions(self) -> dict[str, str]:
            return {}

    return Tokens()


def _fetch_token(settings: BrokerSettings, secret: str | None) -> tuple[str, float]:
    """Request a token; return it and its lifetime in seconds (RFC 6749, section 4.4)."""
    import httpx

    form = {"grant_type": "client_credentials"}
    if settings.sasl_oauth_scope:
        form["scope"] = settings.sasl_oauth_scope
    answer = httpx.post(
        settings.sasl_oauth_token_url or "",
        data=form,
        auth=(settings.sasl_oauth_client_id or "", secret or ""),
        timeout=10,
    )
    answer.raise_for_status()
    body = answer.json()
    return str(body["access_token"]), float(body.get("expires_in", 300))

"""The settings of `foreshock serve`: where it listens, its limits, and who may ask what."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from foreshock.dashboard.settings import is_loopback
from foreshock.monitor.delivery.headers import from_environment
from foreshock.monitor.delivery.settings import Name

Scope = Literal["score", "read"]
PORT = 8600
SHORTEST_KEY = 32
"""Characters. Keys are stored as one SHA-256, which protects only what nobody can guess."""


class ServeSettings(BaseModel):
    """`foreshock serve`: where it listens, and how much it takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    host: str = Field(default="127.0.0.1", min_length=1, max_length=253)
    """The address to listen on. 0.0.0.0 admits other machines, and needs [[api_keys]]."""
    port: int = Field(default=PORT, ge=0, le=65_535)
    """The port to listen on; 0: any that is free."""
    score: bool = True
    """Whether POST /score is answered. False, or keys without the scope score: the encoder is not loaded."""
    body_bytes: int = Field(default=1 << 20, ge=1024, le=1 << 28)
    """The largest body of a request in bytes. A larger one is answered with 413."""
    texts_per_request: int = Field(default=1000, ge=1, le=100_000)
    """The most texts of one request to /score. More are answered with 422."""
    requests_per_minute: int = Field(default=6000, ge=1, le=10_000_000)
    """The most requests of one key. Ten seconds' worth may come at once. More are answered with 429."""
    waiting_texts: int = Field(default=4096, ge=1, le=1_000_000)
    """The most texts that wait for the encoder. A request that finds no room is answered with 503."""
    event_clients: int = Field(default=100, ge=0, le=10_000)
    """The most readers of /events at a time. One more is answered with 503."""

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)


class KeySettings(BaseModel):
    """A key for `foreshock serve`. `foreshock serve --new-key NAME` makes one."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    name: Name
    """Whose key it is. Logs and metrics show this name, never the key."""
    sha256: str = Field(default="", repr=False)
    """The SHA-256 of the key, in hexadecimal digits."""
    key: SecretStr | None = None
    """Or the key itself, from the environment: ${DESK_KEY} is the environment variable DESK_KEY."""
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)] = ("read",)
    """What it may ask: score (POST /score), read (everything else)."""

    @model_validator(mode="after")
    def _can_be_used(self) -> KeySettings:
        try:
            self.digest()
        except ValueError as error:
            raise ValueError(f"API key {self.name!r}: {error}") from None
        return self

    def digest(self) -> bytes:
        """Return the SHA-256 of the key (32 bytes). Raises ValueError."""
        if (self.key is None) == (not self.sha256):
            raise ValueError("needs one of sha256 and key; to make them: foreshock serve --new-key NAME")
        if self.key is None:
            if not re.fullmatch(r"[0-9a-fA-F]{64}", self.sha256):
                raise ValueError("sha256 is not 64 hexadecimal digits; to make one: foreshock serve --new-key NAME")
            return bytes.fromhex(self.sha256)
        return hashlib.sha256(self.secret().encode()).digest()

    def secret(self) -> str:
        """Return the key, empty if only its hash is known. Raises ValueError."""
        if self.key is None:
            return ""
        given = from_environment(self.key.get_secret_value(), "key")
        if len(given) < SHORTEST_KEY or not re.fullmatch(r"[\x21-\x7e]+", given):
            raise ValueError(
                f"key needs {SHORTEST_KEY} or more characters of ASCII without spaces, so that nobody can guess it"
            )
        return given

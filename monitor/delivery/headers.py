"""Read the headers and keys of receivers, whose values may come from the environment or from a file.

`${NAME}` in a value is replaced by the environment variable NAME, so that a settings file needs no secret:

    headers = { Authorization = "Bearer ${GATEWAY_TOKEN}" }
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from pydantic import SecretStr

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_SET_BY_FORESHOCK = {
    *("host", "connection", "content-length", "content-type", "transfer-encoding", "accept-encoding"),
    *("webhook-id", "webhook-timestamp", "webhook-signature"),
}


def from_environment(text: str, where: str) -> str:
    """Return a text with `${NAME}` replaced. Raises ValueError, which names the variable and never a value."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{where}: write the name of an environment variable in ${{...}}")
        if not (given := os.environ.get(name, "").strip()):
            near = get_close_matches(name, os.environ, 1, 0.8)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"{where}: the environment variable {name} is {_lack(name)}{meant}")
        return given

    return _VARIABLE.sub(value, text)


def headers_of(given: Mapping[str, SecretStr], file: Path | None) -> dict[str, str]:
    """Return headers with their values, from a table and from a file with `Name: value` lines. Raises ValueError."""
    found = {name: from_environment(value.get_secret_value(), f"headers.{name}") for name, value in given.items()}
    if file is not None:
        for number, line in enumerate(read(file).splitlines(), 1):
            if line.strip():
                name, colon, value = line.partition(":")
                if not colon:
                    raise ValueError(f"{file}, line {number}: expected Name: value")
                found[name.strip()] = from_environment(value.strip(), f"{file}, line {number}")
    for name, value in found.items():
        if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", name) or not re.fullmatch(r"[\x20-\x7e]+", value):
            shown = name if re.fullmatch(r"[A-Za-z0-9-]{1,64}", name) else "one of them"
            raise ValueError(f"headers: {shown} is not a header: write a name and one line of ASCII text")
        if name.lower() in _SET_BY_FORESHOCK:
            raise ValueError(f"headers: {name} is set by Foreshock; leave it out")
    return found


def read(file: Path) -> str:
    """Return a file's text. Raises ValueError."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not UTF-8 text") from None


def _lack(name: str) -> str:
    return "empty" if name in os.environ else "not set"

"""Read the settings: flags override the environment, which overrides the file.

All layers become one table of values, each with its origin, and are checked together. So an error names the place of
the wrong value, and `config show` names where each value comes from.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ValidationError

from foreshock.ingest.meant import nearest
from foreshock.model.adapted import NAMES
from foreshock.model.huggingface.folder import PREFIX as HUGGING_FACE
from foreshock.settings.models import Settings
from foreshock.settings.redact import remember_given, remember_settings, without_secrets

DEFAULT_FILE = Path("foreshock.toml")
PREFIX = "FORESHOCK_"

LISTS = (
    *("topics", "critical", "sources", "feeds", "webhooks", "messages", "receivers"),
    *("routes", "time_intervals", "quiet_hours", "digests", "api_keys"),
)
"""Sections that are lists of tables: `[[topics]]`."""

_BESIDE_THE_FILE = (
    ("store", "password_file", ()),
    ("watchlist", "file", ()),
    ("model", "weights", NAMES),
    ("model", "score_cache", ("auto", "off")),
    ("feeds", "file", ()),
    *(("kafka", f"{name}file", ()) for name in ("ssl_ca", "ssl_cert", "ssl_key", "ssl_crl", "ssl_password_")),
    *(
        ("kafka", f"{name}_file", ())
        for name in ("sasl_plain_password", "sasl_oauth_token", "sasl_oauth_client_secret")
    ),
    ("webhooks", "secrets_file", ()),
    ("webhooks", "headers_file", ()),
    ("heartbeat", "headers_file", ()),
    ("traces", "headers_file", ()),
    *(("receivers", f"{name}_file", ()) for name in ("key", "template", "headers")),
    ("messages", "apprise_url_file", ()),
    ("sign_in", "client_secret_file", ()),
)
"""Section and key of each path that starts from the folder of the settings file, with values that are not paths."""

_SECRET = (
    *("store", "feeds", "kafka", "webhooks", "messages", "receivers", "heartbeat", "traces", "sign_in", "api_keys"),
)
"""Sections whose values may hold secrets. Errors never repeat them."""

_NOT_SETTINGS = {"FORESHOCK_TRACEBACK"}
_OPTIONS = {"time.assume_zone": "as", "model.also": "weights"}
"""The options that set what is not called as they are: the zone of a preset, and no weights beside those named."""


class SettingsError(Exception):
    """The settings cannot be read or used. The text names the file or variable, the key and the remedy."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, with the origin of each dotted key that was set.

    An origin is a file, a variable or a flag: `foreshock.toml`, `FORESHOCK_STORE__URL`, `--store`.
    """

    settings: Settings
    origins: dict[str, str]
    file: Path | None


def load(
    file: Path | None = None, *, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Loaded:
    """Read and check the settings.

    `file`: a settings file that must exist; None means ./foreshock.toml, if that exists. `flags`: values by dotted key,
    such as `{"store.url": ...}`; a value None means that the flag was not given. Raises `SettingsError`.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if file is None and DEFAULT_FILE.is_file():
        file = DEFAULT_FILE
    if file is not None:
        values = _read_file(file)
        origins = dict.fromkeys(_leaves(values), str(file))
    for name, value in sorted((os.environ if environ is None else environ).items()):
        if (key := _key_of_variable(name)) is not None and value.strip():
            _put(values, origins, key, _value_of_variable(name, value), name)
    for key, value in (flags or {}).items():
        if value is not None:
            section, _, name = key.partition(".")
            option = _OPTIONS.get(key) or (section if section == "store" else name or section)
            _put(values, origins, key, value, f"--{option.replace('_', '-')}")
    remember_given(values, _SECRET)
    _refuse_nul(values, origins)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        sentences = "\n".join(_sentence(values, origins, item) for item in error.errors())
        raise SettingsError(without_secrets(sentences)) from None
    remember_settings(settings)
    return Loaded(settings, origins, file)


def keys(model: type[BaseModel]) -> dict[str, str]:
    """Return what a file calls each field of a section: mostly as the field is called."""
    return {info.alias or name: name for name, info in model.model_fields.items()}


def sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the name and the model of each section, including lists of tables (`LISTS`)."""
    for name in Settings.model_fields:
        model = _model_at((name,))
        assert model is not None
        yield name, model


def _read_file(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SettingsError(f"{file}: no such settings file. Write one with: foreshock config init {file}") from None
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: not UTF-8 (byte {error.start}).") from None
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at line (\d+)", str(error))
        what = re.sub(r"\s*\(at [^)]*\)", "", str(error))
        raise SettingsError(f"{file}{', line ' + where[1] if where else ''}: not TOML: {what}.") from None
    except RecursionError:
        raise SettingsError(f"{file}: lists or tables within one another, too deep to read. Remove them.") from None
    # Paths in the file start from its folder, wherever the command runs.
    for section, key, names in _BESIDE_THE_FILE:
        found = values.get(section)
        for table in found if isinstance(found, list) else [found]:
            if isinstance(table, dict) and isinstance(table.get(key), str) and table[key] not in names:
                kind = HUGGING_FACE if table[key].startswith(HUGGING_FACE) else ""
                table[key] = kind + str(file.parent / Path(table[key].removeprefix(kind)).expanduser())
    return values


def _key_of_variable(name: str) -> str | None:
    """Return the dotted key that an environment variable sets; None if it sets none."""
    if not name.upper().startswith(PREFIX) or name.upper() in _NOT_SETTINGS:
        return None
    rest = name[len(PREFIX) :].lower()
    if "__" in rest or rest in Settings.model_fields:
        return rest.replace("__", ".")
    section, _, key = rest.partition("_")
    if section in Settings.model_fields:
        raise SettingsError(f"{name} is not a setting; did you mean {PREFIX}{section.upper()}__{key.upper()}?")
    return None


def _value_of_variable(name: str, value: str) -> Any:
    if value.lstrip()[:1] not in {"[", "{"}:
        return value
    try:
        return json.loads(value)
    except RecursionError:
        raise SettingsError(f"{name}: lists or tables within one another, too deep to read.") from None
    except ValueError as error:
        raise SettingsError(f"{name}: starts like JSON but cannot be read as JSON: {error}.") from None


def _put(values: dict[str, Any], origins: dict[str, str], key: str, value: Any, origin: str) -> None:
    *parents, last = key.split(".")
    table = values
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise SettingsError(f"{origin}: {parent} already has a value, so it cannot have settings below it.")
    table[last] = value
    origins[key] = origin


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}"


def _sentence(values: Mapping[str, Any], origins: Mapping[str, str], error: Any) -> str:
    path: tuple[str | int, ...] = error["loc"]
    key = _dotted(path)
    message = error["msg"].removeprefix("Value error, ").rstrip(".")
    about = re.match(r"[a-z_]+", message)  # what is wrong with several tables begins with the place: `routes[1].topics`
    origin = _origin((about[0],) if not path and about and about[0] in Settings.model_fields else path, origins)
    if error["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
        model = _model_at(path[:-1])
        known = list(keys(model)) if model else []
        near = nearest(str(path[-1]), known)
        if near is None and len(path) == 1:
            # A key above the sections belongs in one of them.
            near = next((f"{name}.{path[0]}" for name, of in sections() if path[0] in of.model_fields), None)
        meant = f"did you mean {_dotted((*path[:-1], near))}?" if near else f"Known here: {', '.join(known)}."
        return f"{origin}: unknown setting {key}; {meant}"
    if error["type"] in {"tuple_type", "list_type"}:
        if len(path) == 1 and isinstance(error["input"], dict):
            return f"{origin}: [{key}] is one table; write [[{key}]], with two brackets, above each of them."
        if isinstance(error["input"], str):
            return f'{origin}: {key} is a list; write it in brackets: {path[-1]} = ["..."].'
    secret = path[:1] and path[0] in _SECRET
    shown = "" if secret or isinstance(error["input"], (dict, list)) else f" = {error['input']!r}"
    text = f"{origin}: {key}{shown}: {message}" if key else f"{origin}: {message}"
    return text if text.endswith("?") else f"{text}."


def _refuse_nul(values: Any, origins: Mapping[str, str], path: tuple[str | int, ...] = ()) -> None:
    """Refuse the NUL character in any text: no path may hold it, and the system's own error names no setting."""
    if isinstance(values, str) and "\0" in values:
        raise SettingsError(f"{_origin(path, origins)}: {_dotted(path)}: holds a NUL character; remove it.")
    if isinstance(values, dict):
        for key, value in values.items():
            _refuse_nul(value, origins, (*path, str(key).replace("\0", "?")))
    elif isinstance(values, list):
        for place, value in enumerate(values):
            _refuse_nul(value, origins, (*path, place))


def _dotted(path: tuple[str | int, ...]) -> str:
    """Write a path as `topics[2].names`, counting from 1."""
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _origin(path: tuple[str | int, ...], origins: Mapping[str, str]) -> str:
    names = [part for part in path if isinstance(part, str)]
    for length in range(len(names), 0, -1):
        key = ".".join(names[:length])
        for candidate, origin in origins.items():
            if candidate == key or candidate.startswith(key + "."):
                return origin
    return "settings"


def _model_at(path: tuple[str | int, ...]) -> type[BaseModel] | None:
    model: type[BaseModel] = Settings
    for part in path:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        if field is None:
            return None
        found = [kind for kind in (field.annotation, *get_args(field.annotation)) if _is_model(kind)]
        if not found:
            return None
        model = found[0]
    return model


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)

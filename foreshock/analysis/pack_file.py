"""The file of an alert pack: a zip archive with JSON lines, and a manifest with the SHA-256 of each member.

    write(path, manifest, members)
    manifest, members = read(path)

Equal contents give equal bytes: members are in a fixed order, without times and attributes of files. A pack may come
from anybody, so `read` believes nothing: it knows all names, reads no more than it allows, and compares every hash. A
row has exactly the columns of its table, each of its type.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, LargeBinary, Table

from foreshock.monitor import snapshots
from foreshock.monitor.store import schema

FORMAT, VERSION = "foreshock-alert-pack", 1
MANIFEST, ALERT = "manifest.json", "alert.json"
TABLES: tuple[Table, ...] = (
    *(schema.settings_versions, schema.daily_state, schema.buckets),
    *(schema.stories, schema.story_topics, schema.decisions, schema.critical_stories),
)
"""The tables whose rows a pack holds, without the columns that say when or how Foreshock processed something."""
LARGEST = 512 << 20
"""Bytes of all members together, unpacked. A larger pack is neither written nor read."""
LARGEST_MANIFEST = 1 << 20
LARGEST_STATE = 512 << 20
"""Bytes of the largest state, unpacked. A larger one is neither packed nor verified."""
_LEVEL = 6
_NUMBER = 1 << 62

Rows = Sequence[Mapping[str, Any]]


class PackRefused(ValueError):
    """A file is no pack that this version can use, or an alert cannot be packed. The text says why."""

    exit_code = 2


def columns(table: Table) -> list[Column[Any]]:
    """Return the columns of a table that a pack holds."""
    return [column for column in table.columns if column.name not in schema.HAPPENED_TO_US]


def name_of(table: Table) -> str:
    """Return the name of the member with a table's rows."""
    return f"{table.name}.jsonl"


def lines(table: Table, rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the member with a table's rows, in the order given."""
    names = [(column.name, isinstance(column.type, LargeBinary)) for column in columns(table)]
    made = (
        {
            name: base64.b64encode(row[name]).decode() if binary and row[name] is not None else row[name]
            for name, binary in names
        }
        for row in rows
    )
    return b"".join(f"{json.dumps(row, ensure_ascii=False, separators=(',', ':'))}\n".encode() for row in made)


def write(path: Path, about: Mapping[str, Any], members: Mapping[str, bytes]) -> str:
    """Write a pack. Return the SHA-256 of its manifest, which names the contents. Raises PackRefused."""
    if sum(map(len, members.values())) > LARGEST:
        raise PackRefused(f"The pack would hold more than {LARGEST >> 20} MiB.")
    listed = {name: {"sha256": sha256(data).hexdigest(), "bytes": len(data)} for name, data in sorted(members.items())}
    manifest = {"format": FORMAT, "version": VERSION, **about, "members": listed}
    text = f"{json.dumps(manifest, indent=2, ensure_ascii=False)}\n".encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in ((MANIFEST, text), *sorted(members.items())):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED, _LEVEL)
    return sha256(text).hexdigest()


def read(path: Path) -> tuple[dict[str, Any], dict[str, bytes], str]:
    """Return the manifest, the members by name, and the SHA-256 of the manifest. Raises PackRefused."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive)
    except FileNotFoundError:
        raise PackRefused(f"{path}: no such file. Make a pack with: foreshock alerts pack ALERT --out FILE") from None
    except PackRefused as error:
        raise PackRefused(f"{path}: {error}") from None
    except OSError as error:  # a damaged directory of the archive may point anywhere
        raise PackRefused(f"{path} cannot be read as a pack: {error.strerror or error}.") from None
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, OverflowError, ValueError) as error:
        raise PackRefused(f"{path} is no pack, or it is damaged: {error}.") from None


def _read(archive: zipfile.ZipFile) -> tuple[dict[str, Any], dict[str, bytes], str]:
    wanted = {MANIFEST, ALERT, *(name_of(table) for table in TABLES)}
    infos = {info.filename: info for info in archive.infolist()}
    if MANIFEST not in infos:
        raise PackRefused("it is a zip archive without a manifest.json, so it is no pack.")
    text = _member(archive, infos[MANIFEST], LARGEST_MANIFEST)
    manifest = json_of(text, MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise PackRefused("its manifest is not one of an alert pack.")
    if manifest.get("version") != VERSION:
        raise PackRefused(
            f"it is a pack of version {manifest.get('version')!r}; this Foreshock reads version {VERSION}. "
            f"It was made by Foreshock {manifest.get('foreshock')!r}: verify it with that."
        )
    if missing := sorted(wanted - infos.keys()):
        raise PackRefused(f"the member {missing[0]} is missing.")
    if len(archive.infolist()) != len(wanted) or infos.keys() != wanted:
        raise PackRefused("it has members that a pack does not have.")
    listed = manifest.get("members")
    if not isinstance(listed, dict) or listed.keys() != wanted - {MANIFEST}:
        raise PackRefused("its manifest lists other members than it has.")
    members: dict[str, bytes] = {}
    left = LARGEST
    for name in sorted(listed):
        members[name] = data = _member(archive, infos[name], left)
        left -= len(data)
        said = listed[name]
        if not isinstance(said, dict) or said.get("sha256") != sha256(data).hexdigest():
            raise PackRefused(f"the SHA-256 of {name} is not the one in the manifest: it was changed, or damaged.")
    return manifest, members, sha256(text).hexdigest()


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    """Read a member of at most so many bytes, whatever size it claims."""
    if info.flag_bits & 1:
        raise PackRefused(f"{info.filename} is encrypted.")
    if info.compress_type not in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        # Only these are unpacked in pieces: bzip2 and LZMA give all that a piece unpacks to at once.
        raise PackRefused(f"{info.filename} is compressed in another way than a pack's members are.")
    if info.file_size <= most:
        with archive.open(info) as file:
            data = file.read(most + 1)
        if len(data) <= most:
            return data
    raise PackRefused(f"unpacked it is larger than {most >> 20} MiB, which no pack is.")


def refuse_large_state(body: bytes) -> None:
    """Raise PackRefused if a state would be too large unpacked, or is damaged. It is unpacked in pieces."""
    if len(body) > snapshots.LARGEST:
        raise PackRefused("Its state is too large.")
    too_large = f"Its state is larger than {LARGEST_STATE >> 20} MiB unpacked, so no pack holds it."
    expand, size, rest = zlib.decompressobj(), 0, body
    while rest and not expand.eof:
        try:
            size += len(expand.decompress(rest, 4 << 20))
        except zlib.error as error:
            raise PackRefused(f"Its state is damaged: {error}.") from None
        if size > LARGEST_STATE:
            raise PackRefused(too_large)
        rest = expand.unconsumed_tail
    try:
        size = snapshots.unpacked_size(body)
    except ValueError as error:
        raise PackRefused(f"Its state is damaged: {error}.") from None
    if size > LARGEST_STATE:
        raise PackRefused(too_large)


def rows(table: Table, data: bytes) -> list[dict[str, Any]]:
    """Return the rows of a member, checked against the columns of its table. Raises PackRefused."""
    kept = columns(table)
    names = [column.name for column in kept]
    found = []
    for number, line in enumerate(data.splitlines(), 1):
        where = f"{name_of(table)}, line {number}"
        row = json_of(line, where)
        if not isinstance(row, dict) or list(row) != names:
            raise PackRefused(f"{where}: expected an object with {', '.join(names)}.")
        found.append({column.name: _value(column, row[column.name], where) for column in kept})
    return found


def _value(column: Column[Any], value: Any, where: str) -> Any:
    kind = column.type
    if value is None:
        if column.nullable:
            return None
    elif isinstance(kind, Boolean):
        if isinstance(value, bool):
            return value
    elif isinstance(kind, (Integer, BigInteger)):
        if type(value) is int and abs(value) < _NUMBER:
            return value
    elif isinstance(kind, Double):
        if type(value) in (int, float):
            return float(value)
    elif isinstance(value, str):
        if not isinstance(kind, LargeBinary):
            return value
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            pass
    raise PackRefused(f"{where}: {column.name} cannot be {json.dumps(value)[:60]}.")


def json_of(data: bytes, where: str) -> Any:
    """Return the JSON value of a member or a line. Raises PackRefused."""
    try:
        return json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise PackRefused(f"{where} is not JSON: {error}.") from None

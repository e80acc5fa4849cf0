"""Write and read the bytes of a snapshot: arrays by name, and JSON beside them, compressed.

The format is safetensors', compressed by zlib. Most of a state is zeros, and zlib takes as long for them as for the
rest. So what follows the header comes in pieces, each with a bit for every eight bytes, and without those that are
zero. Pieces are written one after another, so that a snapshot needs the memory of one array and of the compressed
bytes, not of the whole state again. Equal states give equal bytes.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

LARGEST = 256 << 20
"""Compressed bytes of the largest snapshot that is written. SQLite takes at most 1 GB in a cell."""
LARGEST_RAW = 2 << 30
"""Bytes of the header and the arrays of the largest snapshot that is written, and of the largest one that is read."""
_CHUNK = 4 << 20
_DAMAGED = (zlib.error, KeyError, TypeError, ValueError, AttributeError, IndexError)
_ZEROS = {"zeros": "left out"}
"""What the header says; older snapshots have no pieces."""

_TYPES = {
    **{"int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "bool": "BOOL"},
    **{"float64": "F64", "float32": "F32", "float16": "F16"},
}


class OtherVersion(ValueError):
    """Another version of Foreshock wrote a snapshot."""


def write(arrays: Mapping[str, npt.NDArray[np.generic]], meta: Mapping[str, object]) -> bytes:
    """Return the snapshot, or no bytes if it would be larger than `LARGEST`: the state is then rebuilt."""
    text = json.dumps(meta, sort_keys=True, separators=(",", ":"))
    header: dict[str, object] = {"__metadata__": {"foreshock": text, **_ZEROS}}
    end = 0
    for name in sorted(arrays):
        array = arrays[name]
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": _TYPES[array.dtype.name], "shape": array.shape, "data_offsets": [begin, end]}
    said = json.dumps(header, separators=(",", ":")).encode()
    said += b" " * (-len(said) % 8)
    if 8 + len(said) + end > LARGEST_RAW:
        return b""
    squeeze, written, size = zlib.compressobj(1), list[bytes](), 0
    values = (_bytes(arrays[name]) for name in sorted(arrays))
    pieces = (_piece(part[start : start + _CHUNK]) for part in values for start in range(0, len(part), _CHUNK))
    for part in chain((len(said).to_bytes(8, "little") + said,), pieces):
        written.append(squeeze.compress(part))
        size += len(written[-1])
        if size > LARGEST:
            return b""
    written.append(squeeze.flush())
    return b"".join(written) if size + len(written[-1]) <= LARGEST else b""


def read(snapshot: bytes, *versions: int) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Return the arrays and the JSON of a snapshot of one of some `versions`, ours first.

    The version is read before the arrays, which may be large.

    Raises:
        OtherVersion: it is of none of the versions.
        ValueError: the bytes are not a snapshot, are damaged, or hold more than `LARGEST_RAW`.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        about, at, whole = _header(snapshot)
        meta: dict[str, Any] = json.loads(about["foreshock"])
        if meta["version"] not in versions:
            theirs, ours = meta["version"], versions[0]
            raise OtherVersion(f"the monitor's snapshot is of version {theirs}, this program reads {ours}")
        expand = zlib.decompressobj()
        # Between the arrays' bytes are a bit for each eight, and up to 9 bytes a piece. The header has more an array.
        raw = expand.decompress(snapshot, LARGEST_RAW + LARGEST_RAW // 32 + at)
        if not expand.eof or whole > LARGEST_RAW:
            raise ValueError("it is cut off, or too large")
        return load(_with_zeros(raw, at, whole) if about.items() >= _ZEROS.items() else raw), meta
    except OtherVersion:
        raise
    except (*_DAMAGED, SafetensorError, MemoryError, OverflowError) as error:
        raise ValueError(f"not a snapshot of the monitor's state: {error}") from error


def unpacked_size(snapshot: bytes) -> int:
    """Return the bytes of a snapshot when it is read, as its header says; `read` refuses more.

    Raises:
        ValueError: the bytes are not a snapshot.
    """
    try:
        return _header(snapshot)[2]
    except _DAMAGED as error:
        raise ValueError(f"not a snapshot of the monitor's state: {error}") from error


def _header(snapshot: bytes) -> tuple[dict[str, str], int, int]:
    """Return what the header says of the snapshot, where it ends, and the bytes of all with zeros, unpacked."""
    size = int.from_bytes(zlib.decompressobj().decompress(snapshot, 8), "little")
    head = zlib.decompressobj().decompress(snapshot, 8 + size) if 0 < size < LARGEST else b""
    if len(head) < 8 + size:
        raise ValueError("it is cut off, or too large")
    arrays = json.loads(head[8:])
    about: dict[str, str] = arrays.pop("__metadata__")
    return about, 8 + size, 8 + size + max((int(array["data_offsets"][1]) for array in arrays.values()), default=0)


def _piece(part: memoryview) -> bytes:
    """Return the size of a part, a bit for each of its words of eight bytes, those that are not 0, and what is left."""
    words = np.frombuffer(part, np.int64, len(part) // 8)
    there = words != 0
    left = part[8 * len(words) :]
    return b"".join((len(part).to_bytes(8, "little"), np.packbits(there).tobytes(), words[there].tobytes(), left))


def _with_zeros(raw: bytes, at: int, most: int) -> bytes:
    """Return the header, which ends before `at`, and all pieces after it with their zeros.

    Raises:
        ValueError: a piece is cut off, or the whole is larger than `most` bytes.
    """
    parts, whole = [raw[:at]], at
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 8], "little")
        whole += size
        if whole > most:
            raise ValueError("it holds more than its header says")
        count, at = size // 8, at + 8
        bits = np.frombuffer(raw, np.uint8, -(-count // 8), at)
        there = np.unpackbits(bits, count=count).astype(bool)
        words, known = np.zeros(count, np.int64), int(np.count_nonzero(there))
        at += len(bits)
        words[there] = np.frombuffer(raw, np.int64, known, at)
        at += 8 * known
        parts += [words.tobytes(), raw[at : at + size % 8]]
        at += size % 8
    return b"".join(parts)


def _bytes(array: npt.NDArray[np.generic]) -> memoryview:
    flat: npt.NDArray[np.uint8] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return flat.data

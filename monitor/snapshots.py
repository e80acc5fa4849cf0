"""Write and read the bytes of a snapshot: arrays by name, and JSON beside them, compressed.

The format is safetensors', compressed by zlib. Arrays are written one after another, so that a snapshot needs the
memory of one array and of the compressed bytes, not of the whole state again. Equal states give equal bytes.
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
LARGEST_RAW = 4 << 30
"""Bytes of the largest snapshot that is read, when no longer compressed."""
_CHUNK = 4 << 20

_TYPES = {
    **{"int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "bool": "BOOL"},
    **{"float64": "F64", "float32": "F32", "float16": "F16"},
}


def write(arrays: Mapping[str, npt.NDArray[np.generic]], meta: Mapping[str, object]) -> bytes:
    """Return the snapshot, or no bytes if it would be larger than `LARGEST`: the state is then rebuilt."""
    text = json.dumps(meta, sort_keys=True, separators=(",", ":"))
    header: dict[str, object] = {"__metadata__": {"foreshock": text}}
    end = 0
    for name in sorted(arrays):
        array = arrays[name]
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": _TYPES[array.dtype.name], "shape": array.shape, "data_offsets": [begin, end]}
    said = json.dumps(header, separators=(",", ":")).encode()
    said += b" " * (-len(said) % 8)
    squeeze, written, size = zlib.compressobj(1), list[bytes](), 0
    parts = chain(
        (memoryview(len(said).to_bytes(8, "little") + said),), (_bytes(arrays[name]) for name in sorted(arrays))
    )
    for part in parts:
        for start in range(0, len(part), _CHUNK):
            written.append(squeeze.compress(part[start : start + _CHUNK]))
            size += len(written[-1])
            if size > LARGEST:
                return b""
    return b"".join([*written, squeeze.flush()])


def read(snapshot: bytes) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Return the arrays and the JSON of a snapshot.

    Raises:
        ValueError: the bytes are not a snapshot, are damaged, or hold more than `LARGEST_RAW`.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        expand = zlib.decompressobj()
        raw = expand.decompress(snapshot, LARGEST_RAW)
        if not expand.eof:
            raise ValueError("not a snapshot of the monitor's state: it is cut off, or too large")
        arrays = load(raw)
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        return arrays, json.loads(header["__metadata__"]["foreshock"])
    except (zlib.error, SafetensorError, KeyError, TypeError, MemoryError, OverflowError) as error:
        raise ValueError(f"not a snapshot of the monitor's state: {error}") from error


def _bytes(array: npt.NDArray[np.generic]) -> memoryview:
    flat: npt.NDArray[np.uint8] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return flat.data

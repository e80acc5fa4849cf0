"""Find the stories most like one story, by the signs of the encoder's embeddings.

The one idea: of an embedding of 384 numbers, the signs alone (48 bytes) say well enough which texts are near each other
to find a few hundred of them; whoever has the weights then puts those in their exact order. A worker has the signs
from the pass in which it scores. A process that searches keeps all of them in memory, and a search compares all of
them: 2 million take some 60 ms. So there is no index that could be wrong or out of date.

Invariant: which stories are found follows from the rows of `story_signs` alone, whatever was loaded when. Their number
may contain stories that retention deleted in the last `RECHECK_SECONDS`; none of those is found.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, and_, func, select

from foreshock.monitor.store import lookup, schema
from foreshock.monitor.store.story import Position

AT_ONCE = 65_536
"""How many stories are compared at once: their signs fit the processor's cache."""
RECHECK_SECONDS = 600.0
"""How often it is looked which stories are gone. A look counts all rows, so a search cannot do it each time."""
_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class Near:
    """A story that was found, and in how many bits its signs differ from those of the one that was asked for."""

    position: Position
    apart: int


def model_number(identity: str) -> int:
    """Return the number that `story_signs` has for a model. Signs of two models say nothing of each other."""
    return zlib.crc32(identity.encode())


def nearest(
    signs: NDArray[np.uint64], asked: NDArray[np.uint64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of the `count` rows of signs (n, words) nearest to `asked` (words), and how many bits differ.

    The nearest come first; equal ones in the order of their places.
    """
    apart = np.empty(len(signs), np.int64)
    for start in range(0, len(signs), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        apart[part] = np.bitwise_count(signs[part] ^ asked).sum(axis=1, dtype=np.uint16)
    places = np.arange(len(apart))
    if count < len(apart):
        places = np.flatnonzero(apart <= np.partition(apart, count - 1)[count - 1])
    order = np.lexsort((places, apart[places]))[:count]
    return places[order], apart[places[order]]


@dataclass(frozen=True, slots=True)
class _Held:
    """The signs of one model in one partition, in the order of offsets."""

    offsets: NDArray[np.int64]
    signs: NDArray[np.uint64]


class Signs:
    """All signs of a store, in memory. The first search loads them; each further one loads what came since.

    A partition's offsets only grow, so what came since lies beyond the last one. Retention deletes rows, mostly the
    oldest: those before a partition's first row are dropped at each search. Others are passed over, and dropped once
    that was seen, or after a while.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[int, str], _Held] = {}
        self._checked: dict[int, float] = {}
        """When it was last looked which stories of a model are gone (`time.monotonic`)."""
        self._lock = threading.Lock()

    def near(self, connection: Connection, position: Position, count: int) -> tuple[list[Near], int] | None:
        """Return the `count` stories most like the one at `position`, the nearest first, and among how many they are.

        None if that story has no signs: it came with scores, or was scored before signs were stored.
        """
        g = schema.story_signs.c
        here = and_(g.partition == position[0], g.offset == position[1])
        row = connection.execute(select(g.model, g.signs).where(here)).first()
        if row is None:
            return None
        asked = _words([row.signs])[0]
        wanted, stored, rechecked = count + 1, select(g.partition, g.offset), False
        while True:
            found, among = self._nearest(connection, row.model, asked, wanted)
            positions = [one.position for one in found]
            there = {
                (row[0], row[1]) for row in lookup.by_position(connection, stored, g.partition, g.offset, positions)
            }
            if len(there) < len(found) and not rechecked:  # some are gone: look again without them
                self._checked.pop(row.model, None)
                rechecked = True
                continue
            near = [one for one in found if one.position in there and one.position != position]
            if len(near) >= count or len(found) < wanted:
                return near[:count], among - 1
            wanted *= 2

    def _nearest(
        self, connection: Connection, model: int, asked: NDArray[np.uint64], count: int
    ) -> tuple[list[Near], int]:
        found: list[Near] = []
        among = 0
        for name, held in self._loaded(connection, model):
            among += len(held.offsets)
            places, apart = nearest(held.signs, asked, count)
            near = zip(held.offsets[places].tolist(), apart.tolist(), strict=True)
            found += [Near((name, offset), bits) for offset, bits in near]
        return sorted(found, key=lambda near: (near.apart, near.position))[:count], among

    def _loaded(self, connection: Connection, model: int) -> list[tuple[str, _Held]]:
        g = schema.story_signs.c
        names = connection.execute(select(schema.partitions.c.partition).order_by("partition")).scalars().all()
        with self._lock:
            due = time.monotonic() - self._checked.get(model, float("-inf")) >= RECHECK_SECONDS
            if due:
                self._checked[model] = time.monotonic()
            for name in names:
                first = connection.execute(select(func.min(g.offset)).where(g.partition == name)).scalar()
                held = self._held.pop((model, name), None)
                if held is not None and first is not None and held.offsets[-1] >= first:
                    kept = slice(np.searchsorted(held.offsets, first), None)
                    held = _Held(held.offsets[kept], held.signs[kept])
                    held = _without_deleted(connection, model, name, held) if due else held
                else:
                    held = None
                if held is not None:
                    self._held[model, name] = held
                last = -1 if held is None else int(held.offsets[-1])
                here = and_(g.partition == name, g.offset > last, g.model == model)
                parts = [] if held is None else [held]
                query = select(g.offset, g.signs).where(here).order_by(g.offset)
                # Not all rows at once: PostgreSQL's driver would hold each twice.
                for rows in connection.execute(query, execution_options={"yield_per": _ROWS}).partitions():
                    offsets, signs = zip(*rows, strict=True)
                    parts.append(_Held(np.array(offsets, np.int64), _words(signs)))
                if len(parts) > 1 or (parts and held is None):
                    joined = (np.concatenate([getattr(part, of) for part in parts]) for of in ("offsets", "signs"))
                    self._held[model, name] = _Held(*joined)
            return [(name, held) for (number, name), held in self._held.items() if number == model]


def _without_deleted(connection: Connection, model: int, name: str, held: _Held) -> _Held | None:
    """Return the signs of the stories that the store still has; None if it has none of them."""
    g = schema.story_signs.c
    here = and_(g.partition == name, g.model == model, g.offset <= int(held.offsets[-1]))
    if connection.execute(select(func.count()).where(here)).scalar() == len(held.offsets):
        return held
    stored = np.fromiter(connection.execute(select(g.offset).where(here)).scalars(), np.int64)
    kept = np.isin(held.offsets, stored)
    return _Held(held.offsets[kept], held.signs[kept]) if kept.any() else None


def _words(signs: Sequence[bytes]) -> NDArray[np.uint64]:
    """Return signs (n, words) as whole numbers of 64 bits; what is missing of the last one is 0 in all of them."""
    rows = np.frombuffer(b"".join(signs), np.uint8).reshape(len(signs), -1)
    return np.ascontiguousarray(np.pad(rows, ((0, 0), (0, -rows.shape[1] % 8)))).view(np.uint64)

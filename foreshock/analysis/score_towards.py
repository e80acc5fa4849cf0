"""Score the rows of a file towards a company: one for all rows, or for each row the one that a column names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from foreshock.ingest.errors import BadRecord
from foreshock.ingest.formats import RawRecord
from foreshock.ingest.json_records import decode
from foreshock.ingest.paths import value_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from foreshock.model.scorer import Scorer


@dataclass(frozen=True, slots=True)
class Towards:
    """Whom scores are towards: one company by its name, or for each row the company that a column names."""

    name: str | None = None
    column: str | None = None

    def company(self, record: RawRecord) -> str | None:
        """Return the company of a row; None for the text as a whole."""
        if self.column is None:
            return self.name
        try:
            value = value_at(decode(record.data), self.column)[0]
        except BadRecord:
            return None
        return value if isinstance(value, str) and value.strip() else None


def scored_towards(scorer: Scorer, asked: Sequence[tuple[tuple[str, str] | None, str | None]]) -> NDArray[np.int32]:
    """Return the scores (n, 3) in 1/10,000 of (title, body) pairs, each towards its company or as a whole (None)."""
    from foreshock.model.scorer import quantise

    texts = ["\n".join(filter(None, text or ())) for text, _ in asked]
    return quantise(scorer.score(texts, [name for _, name in asked]))

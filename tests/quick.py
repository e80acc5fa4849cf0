"""A scorer without a model. It is here for processes that need no other thing of the tests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np


class QuickScorer:
    """The interface of `Scorer`, without a model: scores are a function of the hash of the text, and of the company."""

    identity = "quick-1"
    languages = frozenset({"en"})

    def score_stories(self, pairs: Sequence[tuple[str, str]]) -> Any:
        rows = []
        for title, body in pairs:
            a, b = hashlib.sha256(f"{title}\n{body}".encode()).digest()[:2]
            negative = a * 10_000 // 510
            positive = b * 10_000 // 510
            rows.append((negative, 10_000 - negative - positive, positive))
        return np.array(rows, np.int32).reshape(-1, 3)

    def score_companies(self, asked: Sequence[tuple[str, str, str]]) -> Any:
        return self.score_stories([(f"{name} in {title}", body) for title, body, name in asked])

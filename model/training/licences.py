"""State what may be done with weights, given the texts and the base encoder that they were made of."""

from __future__ import annotations

from collections.abc import Sequence

from foreshock.model.training.base import UNKNOWN, Base
from foreshock.model.training.soft_labels import SoftLabel

LICENCES = {
    "fpb": "CC BY-NC-SA 3.0",
    "fiqa": "research use",
    "sentfin": "research use",
    "tfns": "MIT",
    "generated": "Apache-2.0",
}
"""The licence of each known labelled set."""
FREE = ("MIT", "Apache-2.0")
"""Licences that allow any use."""


def licence(sets: Sequence[str], base: Base, soft: Sequence[SoftLabel]) -> str:
    """Return the licence of weights, in one sentence. `sets`: trained on; `soft`: soft labels used, if any."""
    named = ", ".join(f"{s} ({LICENCES.get(s, UNKNOWN)})" for s in sets)
    if soft:
        named += ", and a teacher's soft labels"
    if not base.licence.startswith(FREE):
        named += f", from {base.name} ({base.licence.split(';')[0]})"
    free = all(LICENCES.get(s) in FREE for s in sets) and not soft and base.licence.startswith(FREE)
    return f"{'Apache-2.0' if free else 'research and non-commercial use only'}; trained on {named}"

"""What can go wrong in this room: one error for weights, one for labelled data. Each names the file and the remedy."""

from __future__ import annotations


class ModelError(Exception):
    """A weights folder is missing, damaged, foreign or unsuitable."""


class LabelledDataError(Exception):
    """A labelled file cannot be read, or what it holds cannot be trained or measured on."""

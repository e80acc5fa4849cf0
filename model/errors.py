"""What can go wrong in this room: one error for weights, one for data of each kind. Each names file and remedy."""

from __future__ import annotations

from typing import ClassVar


class ModelError(Exception):
    """A weights folder is missing, damaged, foreign or unsuitable."""

    exit_code: ClassVar[int] = 2


class Diverged(ModelError):
    """A training's loss is no number any more."""

    exit_code = 1


class LabelledDataError(Exception):
    """A labelled file cannot be read, or what it holds cannot be trained or measured on."""

    exit_code: ClassVar[int] = 2


class UnlabelledDataError(Exception):
    """A folder of feed files to pretrain on is empty, or a line of one is no story; the message names file and line."""

    exit_code: ClassVar[int] = 2

"""The errors of this room: one for weights, one for each kind of data. Each message names the file and the remedy."""

from __future__ import annotations

from typing import ClassVar


class ModelError(Exception):
    """A folder of weights is missing, damaged, foreign or unsuitable, or a package that training needs is absent."""

    exit_code: ClassVar[int] = 2


class Diverged(ModelError):
    """The loss or the logits of a training are not finite any more."""

    exit_code = 1


class LabelledDataError(Exception):
    """A labelled file cannot be read, or its rows are not enough to train or measure on."""

    exit_code: ClassVar[int] = 2


class UnlabelledDataError(Exception):
    """A folder has no feed files to pretrain on, or a line is not a story. The message names file and line."""

    exit_code: ClassVar[int] = 2

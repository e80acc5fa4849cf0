"""What can go wrong with a server, and with one request to it. Each text is a sentence for whoever reads it."""

from __future__ import annotations

from typing import ClassVar


class ServingError(Exception):
    """The server cannot be started as it is asked for. The text says why, and what to do."""

    exit_code: ClassVar[int] = 2


class Refused(Exception):
    """A request is refused.

    `status`: the HTTP status. `retry_after`: after how many seconds it may work, None if never.
    """

    def __init__(self, status: int, sentence: str, *, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.retry_after = retry_after

"""The store of a server: opened at the first question, and opened again until it answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from foreshock.monitor.errors import StoreError
from foreshock.monitor.store.api import Store, open_store
from foreshock.observability import metrics
from foreshock.observability.log import log
from foreshock.serving.errors import Refused

RETRY_SECONDS = 5


class ServedStore:
    """Answer questions about one store. Any thread may ask."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._store: Store | None = None
        self._said = ""
        self.answers = False
        """Whether the last question was answered."""

    @contextmanager
    def asked(self) -> Iterator[Store]:
        """Give the open store to one question. Raises `Refused` (503) if it does not answer."""
        try:
            with self._lock:
                if self._store is None:
                    self._store = open_store(self._url)
            yield self._store
        except (StoreError, SQLAlchemyError) as error:
            # What the database says stays in the log: whoever has a key need not learn where the store is.
            said = str(getattr(error, "orig", None) or error)
            if said != self._said:
                log().warning("the store does not answer", error=said)
            self._said, self.answers = said, False
            metrics.lost("store", said)
            raise Refused(503, "The store does not answer. Try again later.", retry_after=RETRY_SECONDS) from error
        metrics.reached("store")
        self._said, self.answers = "", True

    def close(self) -> None:
        if self._store is not None:
            self._store.close()

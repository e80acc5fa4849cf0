"""The store: SQLite or PostgreSQL, one schema, one file a concern. `open_store(url)` is the way in for readers.

Importing the package does not import SQLAlchemy: the settings use its times, and many commands need nothing else of it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foreshock.monitor.store.api import Store, open_store

__all__ = ["Store", "open_store"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from foreshock.monitor.store import api

    return getattr(api, name)

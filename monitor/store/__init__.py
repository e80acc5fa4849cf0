"""The store: SQLite or PostgreSQL, one schema, one file a concern. `open_store(url)` is the way in for readers."""

from foreshock.monitor.store.api import Store, open_store

__all__ = ["Store", "open_store"]

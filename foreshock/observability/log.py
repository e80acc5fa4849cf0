"""The one logger of all processes. A room below logs through `structlog.get_logger()` itself."""

from __future__ import annotations

from typing import Any


def log() -> Any:
    """Return the logger. structlog is imported only when something is logged."""
    import structlog

    return structlog.get_logger()

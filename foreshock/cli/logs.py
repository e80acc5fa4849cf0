"""Logs go to stderr: coloured lines on a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import logging
import sys


def configure() -> None:
    import structlog

    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if sys.stderr.isatty():
        processors.append(structlog.dev.ConsoleRenderer())
    else:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # What matters of it (brokers that do not answer, what was assigned) the loop says itself, once.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    # stderr as it is when something is said: what it was at the start may be closed by then.
    structlog.configure(processors=processors, logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))

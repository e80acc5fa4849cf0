"""Send logs to stderr: coloured lines on a terminal, otherwise one JSON object per line."""

from __future__ import annotations

import logging
import sys


def configure() -> None:
    """Configure structlog for this process."""
    import structlog

    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if sys.stderr.isatty():
        processors.append(structlog.dev.ConsoleRenderer())
    else:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # The loop itself logs what matters (brokers that do not answer, assignments), once each.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    # Look up stderr at each line: the stream that was there at the start may be closed by then.
    structlog.configure(processors=processors, logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))

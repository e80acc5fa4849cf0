"""Send logs to stderr: coloured lines on a terminal, otherwise one JSON object per line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from foreshock.cli.output import clean_lines
from foreshock.observability.log import hidden, hide_secrets_of_libraries


def configure() -> None:
    """Configure structlog for this process."""
    import structlog

    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Before anything is printed: a renderer's own tracebacks would show local variables, and so settings.
        structlog.processors.format_exc_info,
        _fit_to_print,
    ]
    if sys.stderr.isatty():
        processors.append(structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback))
    else:
        processors.append(structlog.processors.JSONRenderer())
    hide_secrets_of_libraries()
    # The loop itself logs what matters (brokers that do not answer, assignments), once each.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    # Look up stderr at each line: the stream that was there at the start may be closed by then.
    structlog.configure(processors=processors, logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


@contextmanager
def only_errors() -> Iterator[None]:
    """Log errors alone in this context, where a command says in its own words what happens."""
    import structlog

    before = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        yield
    finally:
        structlog.configure(wrapper_class=before)


def _fit_to_print(_logger: Any, _method: str, line: Any) -> Any:
    """Remove secrets from a log line, and what would steer the terminal: a feed chooses its names and errors."""
    return {key: clean_lines(value) if isinstance(value, str) else value for key, value in hidden(line).items()}

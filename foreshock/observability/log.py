"""The one logger of all processes, and what keeps secrets out of every log.

A room below logs through `structlog.get_logger()` itself.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from foreshock.ingest.redaction import without_secrets


class LogSettings(BaseModel):
    """What is logged beside what always is."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    stories: bool = False
    """Log each story's id when it is stored and when it is decided: two lines a story. An alert's lines always name its
    stories, and a delivery's line its alert."""


def log() -> Any:
    """Return the logger. structlog is imported only when something is logged."""
    import structlog

    return structlog.get_logger()


def hidden(value: Any) -> Any:
    """Return a value of a log line or a report without secrets, whatever lists and tables it is made of."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {key: hidden(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [hidden(inner) for inner in value]
    if isinstance(value, BaseException):
        return without_secrets(str(value))
    return value


def hide_secrets_of_libraries() -> None:
    """Hide secrets in what libraries log through `logging`, and in the tracebacks of threads."""
    make = logging.getLogRecordFactory()
    if getattr(make, "hides_secrets", False):
        return

    def record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made = make(*args, **kwargs)
        try:
            made.msg, made.args = without_secrets(made.getMessage()), ()
        except Exception:  # a library's format that does not fit its values: `logging` reports that itself
            return made
        if made.exc_info and made.exc_info[0] is not None:
            made.exc_text = without_secrets("".join(traceback.format_exception(*made.exc_info))).rstrip()
        return made

    record.hides_secrets = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(record)

    def in_thread(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_value is None or issubclass(failed.exc_type, SystemExit):
            return
        name = failed.thread.name if failed.thread is not None else "?"
        text = "".join(traceback.format_exception(failed.exc_value))
        logging.getLogger("foreshock").error("thread %s failed:\n%s", name, text.rstrip())

    if threading.excepthook is threading.__excepthook__:  # a program that embeds this one may have its own
        threading.excepthook = in_thread

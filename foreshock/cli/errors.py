"""Turn what a command raised into a sentence on stderr and an exit code.

Foreshock's own errors are sentences for a person, and each class names its `exit_code`. Errors from elsewhere get a
sentence here.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any, cast

from typer import TyperException

from foreshock.cli.output import clean_lines
from foreshock.ingest.redaction import without_secrets

FAILED = 1
USAGE = 2


def report(error: Exception) -> int:
    """Print what happened on stderr and return the exit code."""
    if os.environ.get("FORESHOCK_TRACEBACK"):
        print(clean_lines(without_secrets("".join(traceback.format_exception(error)))), file=sys.stderr, end="")
    if isinstance(error, TyperException):
        from typer import rich_utils  # a fifth of the time until a command begins, and needed only here

        error.message = error.message.replace("Value error, ", "")  # what pydantic puts before a wrong choice
        rich_utils.rich_format_error(cast(Any, error))  # its annotation names typer's private copy of click
        return error.exit_code
    sentence, code = explain(error)
    print(f"foreshock: {clean_lines(without_secrets(sentence))}", file=sys.stderr)
    return code


def explain(error: Exception) -> tuple[str, int]:
    """Return the sentence and the exit code of an error."""
    kind = type(error)
    if kind.__module__.startswith("foreshock."):
        return str(error), getattr(error, "exit_code", FAILED)
    if kind.__module__.startswith("sqlalchemy."):
        return f"the store failed: {getattr(error, 'orig', None) or error}", FAILED
    match error:
        case FileNotFoundError(filename=str() | bytes() as name) | IsADirectoryError(filename=str() | bytes() as name):
            return f"{os.fsdecode(name)}: {error.strerror}.", USAGE
        case OSError(filename=str() | bytes() as name):
            return f"{os.fsdecode(name)}: {error.strerror}.", FAILED
        case MemoryError():
            return "out of memory.", FAILED
        case ModuleNotFoundError(name=str() as package) if package and not package.startswith("foreshock"):
            return f"the package {package} is not installed: pip install {package}", FAILED
    first = (str(error).strip().splitlines() or ["no message"])[0]
    return f"unexpected {kind.__name__}: {first}. For the traceback: FORESHOCK_TRACEBACK=1 foreshock ...", FAILED

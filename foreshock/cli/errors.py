"""Turn whatever a command raised into a sentence on stderr and an exit code.

The rooms' own errors are sentences for a person already, and carry their `exit_code` (1 where they carry none).
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any, cast

from typer import TyperException, rich_utils

FAILED = 1
USAGE = 2


def report(error: Exception) -> int:
    """Say what happened on stderr and return the exit code."""
    if os.environ.get("FORESHOCK_TRACEBACK"):
        traceback.print_exception(error)
    if isinstance(error, TyperException):
        rich_utils.rich_format_error(cast(Any, error))  # its annotation names typer's private copy of click
        return error.exit_code
    sentence, code = explain(error)
    print(f"foreshock: {sentence}", file=sys.stderr)
    return code


def explain(error: Exception) -> tuple[str, int]:
    """The sentence and the exit code of an error."""
    kind = type(error)
    if kind.__module__.startswith("foreshock."):
        return str(error), getattr(error, "exit_code", FAILED)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}.", (
            USAGE if isinstance(error, (FileNotFoundError, IsADirectoryError)) else FAILED
        )
    if kind.__module__.startswith("sqlalchemy."):
        return f"the store failed: {getattr(error, 'orig', None) or error}", FAILED
    if isinstance(error, MemoryError):
        return "out of memory.", FAILED
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("foreshock"):
        return f"the package {error.name} is not installed: pip install {error.name}", FAILED
    first = (str(error).strip().splitlines() or ["no message"])[0]
    return f"unexpected {kind.__name__}: {first}. For the whole story: FORESHOCK_TRACEBACK=1 foreshock ...", FAILED

"""The command `foreshock`. Each command parses its options, calls one function and prints the result.

Exit codes: 0 done, 1 failed, 2 bad usage, bad configuration or missing file, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


class ReaderGone(Exception):
    """The reader of stdout has closed the pipe (`| head`)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. An error becomes a sentence on stderr, not a traceback."""
    try:
        # Inside the try: Ctrl-C may come while the first modules load.
        from foreshock.cli.app import app

        code = app(list(sys.argv[1:] if arguments is None else arguments), prog_name="foreshock", standalone_mode=False)
        sys.stdout.flush()
        if code == 130:
            print("Stopped.", file=sys.stderr)
        return code if isinstance(code, int) else 0
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except (BrokenPipeError, ReaderGone):
        # The interpreter flushes stdout once more at exit. Send that to nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from foreshock.cli.errors import report

        return report(error)

"""Read the command line of a benchmark, so that `--help` explains it and a misspelt option runs nothing."""

from __future__ import annotations

import argparse


def parser(doc: str | None, *, small: bool = False) -> argparse.ArgumentParser:
    """Return a parser that shows a module's docstring. `small`: it takes `--small`."""
    found = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if small:
        found.add_argument("--small", action="store_true", help="measure little, and record nothing")
    return found

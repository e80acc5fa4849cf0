"""Notice that a store's file was removed or replaced while a process writes to it.

On Unix a removed file can still be written, and all of it is lost when the process ends. So each transaction that
writes looks at the file's name again, which takes a few microseconds.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from foreshock.monitor.errors import StoreError


@dataclass(slots=True)
class SameFile:
    """The file that a process opened: its path, and its device and inode once it is there."""

    path: Path
    identity: tuple[int, int] | None = None

    def check(self) -> None:
        """Compare the file under this path with the one that was opened. Raises StoreError where it is another."""
        try:
            found = os.stat(self.path)
        except OSError:
            found = None
        now = None if found is None else (found.st_dev, found.st_ino)
        if self.identity is None:
            self.identity = now
        elif now != self.identity:
            what = "removed" if now is None else "replaced by another file"
            raise StoreError(
                f"The store {self.path} was {what} while this command wrote to it, so what it wrote since is lost. "
                "Restore it from a backup, or run the command again to make a new store."
            )

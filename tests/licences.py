"""Write docs/licences.md: every package that a Foreshock in production installs, with its version and licence.

    python tests/licences.py PYTHON        # the interpreter of an environment with nothing but Foreshock in it

`make release` does it for the wheel. Refuses licences that would bind the code that imports them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "licences.md"
NOT_OURS = {"foreshock", "pip"}
BINDING = re.compile(r"\bA?GPL|GNU (Affero )?General Public", re.IGNORECASE)
"""Licences that bind what imports the package. The LGPL of a library that is imported and not changed does not."""
STATED = {"feedparser-sgmllib": "Python Software Foundation License"}
"""The licences of packages whose metadata names none, as the file of the licence in the package says."""

HEAD = """# Licences of the packages

What `pip install 'foreshock[EXTRAS]'` installs on Linux, with the licence that each package states. `make release`
writes this list from the environment in which it tried the wheel.

Foreshock's code has the Apache License 2.0. The weights of the model have
[a licence of their own](../model/weights/LICENSE). psycopg and crc32c have the LGPL: they are imported as they are, so
you may replace them by builds of your own. The build of torch for CUDA also installs NVIDIA's libraries, under NVIDIA's
licences.

| package | version | licence |
|---|---|---|
"""


def page(packages: list[dict[str, str]]) -> str:
    """Return the page. Raises SystemExit for a package without a licence, or with one that binds."""
    rows, wrong = [], []
    for one in sorted(packages, key=lambda one: one["Name"].lower()):
        name, licence = one["Name"], " ".join(one["License"].split())
        if licence == "UNKNOWN":
            licence = STATED.get(name, licence)
        if licence == "UNKNOWN" or BINDING.search(licence):
            wrong.append(f"{name}: {licence}")
        if len(licence) > 120:  # some state the whole text
            licence = f"{licence[:117]}..."
        rows.append(f"| {name} | {one['Version'].split('+')[0]} | {licence.replace('|', '/')} |\n")
    if wrong:
        raise SystemExit("Look at these licences before a release: " + "; ".join(wrong))
    return HEAD + "".join(rows)


def main(python: str) -> None:
    command = [sys.executable, "-m", "piplicenses", "--python", python, "--format", "json", "--with-system"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    packages = [one for one in found if one["Name"].lower() not in NOT_OURS]
    PAGE.write_text(page(packages), encoding="utf-8")
    print(f"docs/licences.md: {len(packages)} packages")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Name the scripts that a page will need, so that a browser loads them while the server prepares the page.

Streamlit's page loads the script of an element only once such an element has arrived, then what that script imports;
for a chart, the drawing library after that. These are waits one after the other, for up to a megabyte.
`<link rel="modulepreload">` lets a browser fetch and compile all of it at once
(https://html.spec.whatwg.org/#link-type-modulepreload).

Streamlit's files have names by content, which change with its version. So the names are found in its folder, by their
stems, and a stem that is not there is left out: the page then loads as it does without hints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

CHART = ("ArrowVegaLiteChart", "loadVegaEmbed", "embed", "vega-interpreter")
"""The stems of the scripts that draw a Vega-Lite chart."""
_ALL = ("Html", "PageLink", "DownloadButton")
_CHOICE = ("TextInput", "Selectbox", "ButtonGroup")
NEEDED = {
    "": (*_ALL, *_CHOICE, "Button", "BidiComponent"),
    "Topic": (*_ALL, *CHART, "Selectbox", "ButtonGroup", "DateTimeInput", "Multiselect", "Checkbox"),
    "Alerts": (*_ALL, *CHART, *_CHOICE, "DateInput", "BidiComponent"),
    "Stories": (*_ALL, *_CHOICE, "DateInput", "Button"),
    "Health": _ALL,
}
"""For each page, the stems of the elements that its first picture has."""
_IMPORTED = re.compile(r'(?:^|[;}])import(?:[^"();]*?from)?"\./([\w.-]+\.js)"')
"""A static import at the head of a bundled module."""
_HEAD = 20_000
"""How much of a script is read for its imports, in characters: bundlers write them first."""


def scripts(folder: Path, stems: Iterable[str]) -> list[str]:
    """Return the names of the scripts of these stems in `folder` and of all that they import, each once.

    >>> scripts(Path("no such folder"), CHART)
    []
    """
    there, found = _names(folder, folder.stat().st_mtime_ns) if folder.is_dir() else (), set[str]()
    waiting = [name for stem in stems for name in there if name.startswith(f"{stem}.")]
    while waiting:
        name = waiting.pop()
        if name not in found:
            with suppress(OSError):  # asked again by the next page
                waiting += _imports(folder / name)
                found.add(name)
    return sorted(found)


@lru_cache(maxsize=8)
def _names(folder: Path, changed_at: int) -> tuple[str, ...]:
    """Return the names of the scripts in a folder, which is listed once for all pages. `changed_at`: its time stamp."""
    return tuple(path.name for path in folder.glob("*.js"))


@lru_cache(maxsize=4096)
def _imports(path: Path) -> tuple[str, ...]:
    """Return the names that a script imports at its head.

    Pages share most scripts, so each is read once. Another content has another name.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        return tuple(_IMPORTED.findall(file.read(_HEAD)))


def hints(index: bytes, names: Iterable[str], prefix: str) -> bytes:
    """Return the links for those of the scripts that the page does not name yet. `prefix`: the path above `static/`."""
    links = (
        f'<link rel="modulepreload" crossorigin href="{prefix}/static/js/{name}">'
        for name in names
        if name.encode() not in index
    )
    return "".join(links).encode()

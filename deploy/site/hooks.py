"""Make the pages of the site from the files of the repository, as they are.

The pages are written to be read in the repository too: there they link to code, to results, and to README.md, which is
the first page here. A link that leaves docs/ becomes a link to the page that its file has here, or to the repository if
that has an address (`extra.repository`), or else plain text. One that leads nowhere is an error.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
PAGES = {"README.md": "index.md", **{name: name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")}}
"""Files beside docs/ that are pages, and their names here."""

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.M | re.S)
_DIAGRAM = re.compile(r"^```mermaid\n.*?^```\n", re.M | re.S)

log = logging.getLogger("mkdocs.hooks")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not in docs/."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Rewrite links, and show the picture of a diagram: drawing it would load a library from elsewhere."""
    place = page.file.src_uri
    here = _ROOT_OF.get(place, f"docs/{place}")
    if "```mermaid" in markdown:
        picture = posixpath.relpath(f"images/{Path(place).stem}.svg", posixpath.dirname(place) or ".")
        markdown = _DIAGRAM.sub(f"![The diagram of this section]({picture})\n", markdown)
    parts, end = [], 0
    for fence in _FENCE.finditer(markdown):  # code is left alone
        parts += [_rewritten(markdown[end : fence.start()], here, place, config), fence[0]]
        end = fence.end()
    return "".join([*parts, _rewritten(markdown[end:], here, place, config)])


_ROOT_OF = {page: name for name, page in PAGES.items()}


def _rewritten(text: str, here: str, place: str, config: Any) -> str:
    def link(found: re.Match[str]) -> str:
        picture, label, target = found[1], found[2], found[3]
        path, hash_, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return found[0]
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(here), path))
        if wanted.startswith("docs/") and (ROOT / wanted).is_file():
            there = wanted.removeprefix("docs/")
        elif wanted in PAGES:
            there = PAGES[wanted]
        elif (ROOT / wanted).exists() and not wanted.startswith(".."):
            repository = config.extra["repository"].rstrip("/")
            return f"[{label}]({repository}/blob/main/{wanted}{hash_}{anchor})" if repository else label
        else:
            log.warning("%s links to %s, which does not exist", here, target)
            return found[0]
        relative = posixpath.relpath(there, posixpath.dirname(place) or ".")
        return f"{picture}[{label}]({relative}{hash_}{anchor})"

    return _LINK.sub(link, text)

"""Draw the Mermaid diagrams of docs/ as docs/images/PAGE.svg, which the site shows in their place.

    npm pack mermaid && tar -xzf mermaid-*.tgz package/dist/mermaid.min.js
    python tests/diagrams.py package/dist/mermaid.min.js          # needs chromium

A drawing holds the hash of its diagram, and a test compares them.
"""

from __future__ import annotations

import re
import shutil
import sys
from hashlib import sha256
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def diagrams() -> dict[Path, str]:
    """Return the diagram of each page that has one, by the file of its drawing."""
    found = {}
    for page in sorted(DOCS.rglob("*.md")):
        if diagram := re.search(r"^```mermaid\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S):
            found[DOCS / "images" / f"{page.stem}.svg"] = diagram[1]
    return found


def signature(diagram: str) -> str:
    return f"<!-- made from {sha256(diagram.encode()).hexdigest()} by tests/diagrams.py -->"


def main(library: str) -> None:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.set_content("<body></body>")
        tab.add_script_tag(path=library)
        # Grey lines and letters are read on white and on black.
        theme = {"lineColor": "#888888", "primaryColor": "#e8ecef", "primaryTextColor": "#222222"}
        tab.evaluate(
            "theme => mermaid.initialize({startOnLoad: false, htmlLabels: false, theme: 'base', themeVariables: theme,"
            " flowchart: {htmlLabels: false}, fontFamily: 'sans-serif'})",
            theme,
        )
        for file, diagram in diagrams().items():
            upright = diagram.replace("flowchart LR", "flowchart TB")  # pages are narrower than diagrams are long
            drawn = tab.evaluate("async text => (await mermaid.render('diagram', text)).svg", upright)
            file.write_text(f"{drawn}\n{signature(diagram)}\n", encoding="utf-8")
            print(file.name)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

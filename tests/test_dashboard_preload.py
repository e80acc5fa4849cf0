"""What lets a page appear early: scripts that are named in advance, and packets that do not wait."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest
import streamlit
import uvicorn

from foreshock.dashboard import server
from foreshock.dashboard.gate import Gate
from foreshock.dashboard.preload import NEEDED, hints, scripts
from foreshock.dashboard.settings import ServeSettings

FOLDER = Path(streamlit.__file__).parent / "static" / "static" / "js"


def test_all_that_a_script_imports_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "Chart.Ab-1.js").write_text(
        'import{a as b}from"./shared.X_2.js";import"./side.Y.js";x();import(`./later.Z.js`)'
    )
    (tmp_path / "shared.X_2.js").write_text('import{c}from"./side.Y.js";import"./Chart.Ab-1.js";import"./gone.Q.js";')
    (tmp_path / "side.Y.js").write_text("export{}")
    (tmp_path / "later.Z.js").write_text("export{}")
    assert scripts(tmp_path, ["Chart", "Unknown"]) == ["Chart.Ab-1.js", "shared.X_2.js", "side.Y.js"]


def test_what_the_page_names_already_is_not_named_again() -> None:
    index = b'<link rel="modulepreload" crossorigin href="/desk/static/js/shared.X.js">'
    assert hints(index, ["chart.A.js", "shared.X.js"], "/desk") == (
        b'<link rel="modulepreload" crossorigin href="/desk/static/js/chart.A.js">'
    )


def test_the_installed_streamlit_has_the_scripts_of_every_page() -> None:
    """It fails if a new version of Streamlit names them otherwise: then NEEDED must follow."""
    for page, stems in NEEDED.items():
        names = scripts(FOLDER, stems)
        assert {name.partition(".")[0] for name in names} >= set(stems), page
        assert all((FOLDER / name).is_file() for name in names)


def test_each_page_names_its_own_scripts_once() -> None:
    gate = Gate(None, ServeSettings(store="sqlite:///none.db"))
    chart = b"/static/js/ArrowVegaLiteChart."
    assert {page for page, content in gate.pages.items() if chart in content} == {"Topic", "Alerts"}
    for content in gate.pages.values():
        links = re.findall(rb'<link rel="modulepreload"[^>]*href="([^"]+)"', content)
        assert len(links) == len(set(links))
        assert content.index(links[-1]) < content.index(b"</head>")


def test_packets_leave_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection of the server does not wait for the browser's acknowledgement before it sends on."""
    served: list[Any] = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets=None: served.append(sockets))
    server._send_at_once()
    with socket.socket() as listener:  # like Streamlit's, it does not name its protocol
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        uvicorn.Server.run(uvicorn.Server(uvicorn.Config(lambda: None)), sockets=[listener])
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert served == [[listener]]

"""Foreshock, a streaming financial sentiment monitor: it turns news into scores, series by topic, and alerts.

    from foreshock import load_scorer, open_store

    load_scorer().score(["Profit falls 12 %"])           # float32, shape (1, 3): negative, neutral, positive
    open_store("sqlite:///foreshock.db").series("banks")     # a pandas frame, indexed by known_at

Both names load on first use: importing this package imports neither torch nor pandas.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if (Path(__file__).parent / "ingest").is_file():
    # In a checkout the rooms are links. Where links are not allowed, git writes small text files instead.
    raise ImportError(
        f"{Path(__file__).parent / 'ingest'} is a text file, not a link to the folder ingest: this checkout was "
        "made where symbolic links are not allowed (Windows without developer mode). Install the wheel, clone it "
        "inside WSL, or enable developer mode, run 'git config core.symlinks true' and check out again."
    )

if TYPE_CHECKING:
    from foreshock.model.scorer import load_scorer
    from foreshock.monitor.store import open_store

__all__ = ["load_scorer", "open_store"]
__version__ = "0.2.0"

_HOMES = {"load_scorer": "foreshock.model.scorer", "open_store": "foreshock.monitor.store"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

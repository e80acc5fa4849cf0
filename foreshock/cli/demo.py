"""`foreshock demo`: six weeks of made-up news through the real encoder."""

from __future__ import annotations

from typing import Annotated

import typer


def demo(
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another feed of the same kind.")] = 0,
    dashboard: Annotated[bool, typer.Option("--dashboard/--no-dashboard", help="Then open the dashboard.")] = True,
) -> None:
    """Replay six weeks of made-up news with a crisis, a drift, an outage and two decoys; print alerts as they fire.

    Default settings throughout; the store is a file of its own, replaced each time.
    """
    from foreshock.demo import run

    run(seed=seed, dashboard=dashboard)

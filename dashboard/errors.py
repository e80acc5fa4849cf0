"""The errors of the dashboard. Messages say what happened, where, and what to do."""

from __future__ import annotations

from typing import ClassVar


class DashboardError(Exception):
    """The dashboard cannot be started."""

    exit_code: ClassVar[int] = 1


class PortTaken(DashboardError):
    """Another program listens on the port."""

"""The settings of one dashboard. `serve` passes them to the server's process in one environment variable.

A command line would show the store's password to every user of the machine. Only its owner sees an environment.
"""

from __future__ import annotations

import ipaddress
import os

from pydantic import BaseModel, ConfigDict

VARIABLE = "FORESHOCK_DASHBOARD"
PORT = 8501


class ServeSettings(BaseModel):
    """One dashboard: the store it reads, and where it listens."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    store: str
    """URL of the store; of a SQLite file, with its absolute path."""
    host: str = "127.0.0.1"
    port: int = PORT
    weights: str = "default"
    """The model's weights, as in `[model] weights`. *Health* shows their card and licence."""

    @property
    def exposed(self) -> bool:
        """Whether other machines can reach the dashboard."""
        if self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return True


def served() -> ServeSettings:
    """Return the settings of this server process."""
    return ServeSettings.model_validate_json(os.environ[VARIABLE])

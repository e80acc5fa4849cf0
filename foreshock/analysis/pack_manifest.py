"""Check what a pack says of its alert: its manifest, and the alert as it was sent. Anybody may have written both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from foreshock.analysis import pack_file
from foreshock.analysis.pack_file import PackRefused
from foreshock.monitor.deciding import READABLE
from foreshock.monitor.store.database import HEAD
from foreshock.monitor.store.times import microseconds

GIVEN = ("group_id", "inhibited_by", "inhibited_because")
"""What follows from the stories of other topics, and is taken as the pack says."""


def alert_of(data: bytes) -> dict[str, Any]:
    """Return the alert as it was sent, from its member. Raises PackRefused."""
    said = pack_file.json_of(data, pack_file.ALERT)
    texts = ("id", "topic", "kind", "direction", "state", "fired_at")
    if not isinstance(said, dict) or any(not isinstance(said.get(name), str) for name in texts):
        raise PackRefused("alert.json is not an alert.")
    if missing := [name for name in GIVEN if name not in said]:
        raise PackRefused(f"alert.json lacks {missing[0]}.")
    return said


def microseconds_of(text: str) -> int:
    """Return an ISO 8601 time in microseconds. Raises PackRefused."""
    try:
        return microseconds(datetime.fromisoformat(text))
    except (ValueError, TypeError):
        raise PackRefused(f"alert.json: {text[:40]!r} is not a time.") from None


def refuse_other_alert(manifest: Mapping[str, Any], said: Mapping[str, Any]) -> None:
    """Raise PackRefused if the manifest says of the alert what alert.json does not: `verify` prints the manifest."""
    about = {name: said[name] for name in ("id", "topic", "kind", "fired_at")}
    if manifest.get("alert") != about:
        raise PackRefused("its manifest names another alert than alert.json.")
    for name, kinds in (("model", (str, type(None))), ("foreshock", (str,)), ("stories", (str,))):
        if name not in manifest:
            raise PackRefused(f"its manifest is not one of an alert pack: {name} is missing.")
        if not isinstance(manifest[name], kinds):
            raise PackRefused(f"in its manifest, {name} cannot be {json.dumps(manifest[name])[:60]}.")


def refuse_other_versions(manifest: Mapping[str, Any]) -> None:
    """Raise PackRefused if a Foreshock with another schema or another state made the pack."""
    for what, ours in (("schema", (HEAD,)), ("snapshot", READABLE)):
        if manifest.get(what) not in ours:
            raise PackRefused(
                f"Foreshock {manifest.get('foreshock')!r} made it ({what} {manifest.get(what)!r}, here "
                f"{ours[0]!r}). Another version may decide otherwise, so verify it with that one."
            )

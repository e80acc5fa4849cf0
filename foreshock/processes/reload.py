"""Read the settings file again when it changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from foreshock.monitor.errors import MonitorError
from foreshock.monitor.topics.rules import WatchlistError
from foreshock.observability.log import log
from foreshock.settings.load import Loaded, SettingsError
from foreshock.settings.models import Settings
from foreshock.settings.versions import shaping

SETTINGS_SECONDS = 2.0
"""How often a process looks at its settings file."""
NOT_TAKEN = "the changed settings are not taken: going on with those before"


class SettingsFile:
    """Watches the settings' files. A change that cannot be used is logged once, and not taken.

    A change is returned again and again until it is settled: the store may be away when it is to be taken.

    A file that is being written is not read: it may be empty for a moment, and an empty file is valid. So a change is
    read only when two looks found the same, and only if the files are still the same after it was read.
    """

    def __init__(self, load: Callable[[], Loaded], loaded: Loaded) -> None:
        self._load = load
        self._loaded = loaded
        self._stamp = self._seen = self._last = self._stamp_now()
        self._look_at = time.monotonic() + SETTINGS_SECONDS

    def changed(self) -> Settings | None:
        """Return the settings if their files were written since a change was settled last."""
        if time.monotonic() < self._look_at:
            return None
        self._look_at = time.monotonic() + SETTINGS_SECONDS
        last, stamp = self._last, self._stamp_now()
        self._last = stamp
        if stamp == self._stamp or stamp != last:
            return None
        before = self._loaded
        try:
            loaded = self._load()
            shaping(loaded.settings)  # reads the watchlist
        except (SettingsError, WatchlistError, MonitorError, OSError) as error:
            if self._stamp_now() == stamp:
                self._stamp = stamp
                log().error("the settings cannot be used: going on with those before", because=str(error))
            return None
        self._loaded = loaded
        seen = self._stamp_now()  # the settings may name other files now
        known = {one[0] for one in stamp}
        if any(one not in stamp for one in seen if one[0] in known):  # written meanwhile
            self._loaded = before
            return None
        self._seen = self._last = seen
        return loaded.settings

    def settle(self) -> None:
        """Note that the last change was taken, or refused for good."""
        self._stamp = self._seen

    def _stamp_now(self) -> tuple[Any, ...]:
        found = list[tuple[Any, ...]]()
        settings = self._loaded.settings
        secrets = [m.apprise_url_file for m in settings.messages]
        for webhook in settings.webhooks:
            secrets += [webhook.secrets_file, webhook.headers_file]
        secrets.append(settings.heartbeat.headers_file)
        for receiver in settings.receivers:
            secrets += [receiver.key_file, receiver.headers_file, receiver.template_file]
        for path in (self._loaded.file, settings.watchlist.file, *secrets):
            if path is not None:
                try:
                    stat = path.stat()
                except OSError:
                    found.append((path, None))
                else:
                    found.append((path, stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return tuple(found)

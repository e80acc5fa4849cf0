"""Messages for people, in Slack, Teams and e-mail, by apprise: a plain sentence and a link.

A sentence holds a topic's name, and a feed may name its topics as it likes: what those services read as markup,
mentions or links is replaced by characters that look alike and mean nothing.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import unicodedata
from contextvars import ContextVar
from typing import Any

from foreshock.monitor.delivery.notice import Notice, Receipt
from foreshock.monitor.delivery.settings import MESSAGE_SCHEMES, TEAMS_HOSTS, MessageSettings
from foreshock.monitor.errors import Undelivered

SECONDS = 20.0
"""For all of an attempt. apprise bounds each wait, not their sum."""

LONGEST = 1_000
"""Characters of a sentence; services cut or refuse long ones."""

FOLDED_SHOWN = 5
"""Of the alerts that one stands for."""

TITLES = {"firing": "Alert", "resolved": "Over", "test": "Test"}

JOINER = "\u2060"
"""Takes no room and breaks no line, but parts an @ from the name behind it."""

LOOK_ALIKES = str.maketrans(
    {
        **{"<": "‹", ">": "›", "[": "［", "]": "］", "*": "∗", "_": "＿", "`": "ˋ", "~": "∼", "|": "∣", "#": "＃"},
        **{"&": "＆", "\\": "＼"},
        "@": "@" + JOINER,
        "!": "!" + JOINER,
    }
)


def plain(text: str) -> str:
    """One line without control characters, direction overrides or anything invisible, not too long."""
    kept = "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else c for c in text)
    return " ".join(kept.split())[:LONGEST]


def defused(text: str) -> str:
    """`plain`, and nothing in it is markup, a mention or a link to Slack or Teams."""
    return plain(text).translate(LOOK_ALIKES).replace("://", ":" + JOINER + "//")


class Message:
    """A receiver of messages."""

    def __init__(self, settings: MessageSettings, *, seconds: float = SECONDS) -> None:
        self.name = settings.name
        self._target = settings.target()
        self._kind = MESSAGE_SCHEMES[self._target.partition("://")[0].lower()]
        self._seconds = seconds

    def send(self, notice: Notice) -> Receipt:
        """One attempt; raises Undelivered."""
        started = time.monotonic()
        outcome: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(
            target=lambda: outcome.put(self._attempt(notice)), name=f"message-{self.name}", daemon=True
        ).start()
        try:
            error = outcome.get(timeout=self._seconds)
        except queue.Empty:
            raise Undelivered(f"not sent within {self._seconds:g} s", receiver_down=True) from None
        if error is not None:
            raise Undelivered(error)
        return Receipt(None, time.monotonic() - started)

    def refusal(self) -> str | None:
        """Why nothing can be sent by this apprise_url, if so. Asks nobody."""
        try:
            self._plugin()
        except Exception as error:
            return _error(error)
        return None

    def _plugin(self) -> Any:
        """What apprise makes of the URL; raises Undelivered if it is of no use, and what a plugin may raise."""
        import apprise

        # No redirects: what a message may reach was checked by its host. No images, which apprise links to.
        asset = apprise.AppriseAsset(
            app_id="Foreshock",
            app_desc="Foreshock",
            app_url="",
            image_url_mask="",
            image_url_logo="",
            http_redirects=False,
            async_mode=False,
        )
        plugin = apprise.Apprise.instantiate(self._target, asset=asset, suppress_exceptions=True)
        if plugin is None:
            raise Undelivered("apprise cannot use this apprise_url; see its documentation for the form")
        # apprise reads a URL in its own way: what it made of it is what counts.
        if getattr(plugin, "template", None) or plugin.redirects:
            raise Undelivered("templates and redirects are not used")
        if self._kind == "Teams" and not str(plugin.host).lower().endswith(TEAMS_HOSTS):
            raise Undelivered(f"{plugin.host} is no host of Teams")
        return plugin

    def _attempt(self, notice: Notice) -> str | None:
        """The error, or None. Runs in a thread of its own, so it must not raise."""
        try:
            import apprise

            plugin = self._plugin()
            escape = plain if self._kind == "e-mail" else defused
            lines = [notice.alert["sentence"], *_folded(notice)]
            body, body_format = "\n".join(escape(line) for line in lines), apprise.NotifyFormat.TEXT
            if (
                notice.link and self._kind == "Teams"
            ):  # whose cards are markdown, in which nothing of ours means anything
                body, body_format = f"{body}\n\n[{notice.link}]({notice.link})", apprise.NotifyFormat.MARKDOWN
            elif notice.link:
                body = f"{body}\n{notice.link}"
            heard = _Heard()
            _attempt.set(heard)
            logger = logging.getLogger("apprise")
            logger.addHandler(heard)
            try:
                sent = apprise.Apprise(services=[plugin], asset=plugin.asset).notify(
                    title=f"{_title(notice)}: {escape(_topic(notice))}",
                    body=body,
                    body_format=body_format,
                    notify_type=apprise.NotifyType.WARNING if notice.event == "firing" else apprise.NotifyType.INFO,
                    interpret_escapes=False,
                )
            finally:
                logger.removeHandler(heard)
            return None if sent else plain(" ".join(heard.lines)) or "apprise could not send it"
        except Exception as error:  # a plugin of apprise may raise anything, and this thread has nobody above it
            return _error(error)


def _error(error: Exception) -> str:
    return str(error) if isinstance(error, Undelivered) else f"apprise failed: {type(error).__name__}"


def _title(notice: Notice) -> str:
    said = TITLES[notice.event]
    return f"{said}, decided late" if notice.alert.get("belated") else said


def _folded(notice: Notice) -> list[str]:
    """Of a notice that stands for several: a line for each of the first of them, and how many there are."""
    count, told = notice.alert.get("folded_count", 0), notice.alert.get("folded", [])
    if not count:
        return []
    listed = [alert["sentence"] for alert in told[:FOLDED_SHOWN]]
    more = [f"And {count - len(listed)} more."] if count > len(listed) else []
    return [f"Decided late, too, {count}:", *listed, *more]


def _topic(notice: Notice) -> str:
    topic = str(notice.alert["topic"])
    return "all stories" if topic == "_all" else topic[:100]


class _Heard(logging.Handler):
    """What apprise says of one attempt: it returns no more than yes or no.

    It works in threads of its own, to which it hands this one's context.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if _attempt.get() is self:
            self.lines.append(record.getMessage())


_attempt: ContextVar[_Heard | None] = ContextVar("attempt", default=None)

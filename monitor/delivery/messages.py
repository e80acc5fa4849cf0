"""Send messages to Slack, Teams and e-mail with apprise: a plain sentence and a link.

A sentence contains a topic's name, and a feed may name its topics freely. Characters that these services read as
markup, mentions or links are replaced by similar characters without a meaning.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import unicodedata
from contextvars import ContextVar
from typing import Any

from foreshock.monitor.delivery import digest_text
from foreshock.monitor.delivery.notice import Notice, Receipt
from foreshock.monitor.delivery.settings import MESSAGE_SCHEMES, TEAMS_HOSTS, MessageSettings
from foreshock.monitor.errors import Undelivered
from foreshock.monitor.kinds import KINDS, quoted
from foreshock.monitor.units import ALL

SECONDS = 20.0
"""The limit for a whole attempt. apprise limits each wait, not their sum."""

LONGEST = 1_000
"""The most characters of a sentence. Services cut or refuse longer ones."""

FOLDED_SHOWN = 5
"""How many of the alerts that a message stands for it lists."""

TITLES = {"firing": "Alert", "updated": "Update", "resolved": "Over", "test": "Test"}
"""The title of a message, by its event."""

CHANGES = {
    "topic": "Another topic",
    "kind": "Another kind of alert",
    "again": "Again",
    "severity": "Graver",
    "critical": "Critical now",
    "merged": "Another incident is part of it",
}
"""What a message calls the changes of an incident."""

JOINER = "\u2060"
"""WORD JOINER: invisible, and allows no line break. It separates an @ from the name after it."""

LOOK_ALIKES = str.maketrans(
    {
        **{"<": "‹", ">": "›", "[": "［", "]": "］", "*": "∗", "_": "＿", "`": "ˋ", "~": "∼", "|": "∣", "#": "＃"},
        **{"&": "＆", "\\": "＼"},
        "@": "@" + JOINER,
        "!": "!" + JOINER,
    }
)


def plain(text: str) -> str:
    """Return one line of limited length, without control characters, direction overrides or invisible characters."""
    kept = "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else c for c in text)
    return " ".join(kept.split())[:LONGEST]


def defused(text: str) -> str:
    """Return `plain` text that Slack and Teams do not read as markup, a mention or a link."""
    return plain(text).translate(LOOK_ALIKES).replace("://", ":" + JOINER + "//")


class Message:
    """A receiver in Slack, Teams or e-mail."""

    def __init__(self, settings: MessageSettings, *, seconds: float = SECONDS) -> None:
        self.name = settings.name
        self.version = 2
        self.takes_digests = True
        self._target = settings.target
        self._kind = MESSAGE_SCHEMES[self._target.partition("://")[0].lower()]
        self._seconds = seconds

    def send(self, notice: Notice) -> Receipt:
        """Make one attempt. Raises Undelivered."""
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
        """Return why this apprise_url cannot be used, or None. Makes no connection."""
        try:
            self._plugin()
        except Exception as error:
            return _error(error)
        return None

    def server(self) -> tuple[str, int, bool]:
        """Return the host and port that apprise connects to, and whether with TLS at once. Raises Undelivered."""
        plugin = self._plugin()
        if self._kind == "Slack":
            return "slack.com" if str(plugin.mode) == "bot" else "hooks.slack.com", 443, True
        if self._kind == "Teams":
            return str(plugin.host), int(plugin.port or 443), True
        tls = bool(plugin.secure) and str(plugin.secure_mode) == "ssl"  # STARTTLS begins in the clear
        return str(plugin.smtp_host or plugin.host), int(plugin.port), tls

    def _plugin(self) -> Any:
        """Return apprise's plugin for the URL. Raises Undelivered if it cannot be used; a plugin may raise anything."""
        import apprise

        # No redirects, because only the URL's host was checked. No images, because apprise would link to its own.
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
        # apprise parses URLs in its own way, so check its result too.
        if getattr(plugin, "template", None) or plugin.redirects:
            raise Undelivered("templates and redirects are not used")
        if self._kind == "Teams" and not str(plugin.host).lower().endswith(TEAMS_HOSTS):
            raise Undelivered(f"{plugin.host} is not a Microsoft Teams host")
        return plugin

    def _attempt(self, notice: Notice) -> str | None:
        """Make the attempt and return its error, or None. It runs in its own thread, so it must not raise."""
        try:
            import apprise

            plugin = self._plugin()
            escape = plain if self._kind == "e-mail" else defused
            if digest := notice.alert.get("digest"):
                title, lines = escape(digest_text.title(digest)), digest_text.lines(digest)
            else:
                title = f"{_title(notice)}: {escape(_topic(notice))}"
                lines = [*_sentences(notice), *_folded(notice)]
            body, body_format = "\n".join(escape(line) for line in lines), apprise.NotifyFormat.TEXT
            if notice.link and self._kind == "Teams":  # its cards are Markdown, and `defused` removed all other markup
                body, body_format = f"{body}\n\n[{notice.link}]({notice.link})", apprise.NotifyFormat.MARKDOWN
            elif notice.link:
                body = f"{body}\n{notice.link}"
            heard = _Heard()
            _attempt.set(heard)
            logger = logging.getLogger("apprise")
            logger.addHandler(heard)
            try:
                sent = apprise.Apprise(services=[plugin], asset=plugin.asset).notify(
                    title=title,
                    body=body,
                    body_format=body_format,
                    notify_type=_type(notice),
                    interpret_escapes=False,
                )
            finally:
                logger.removeHandler(heard)
            return None if sent else plain(" ".join(heard.lines)) or "apprise could not send it"
        except Exception as error:  # a plugin of apprise may raise anything, and no caller of this thread would see it
            return _error(error)


def _error(error: Exception) -> str:
    return str(error) if isinstance(error, Undelivered) else f"apprise failed: {type(error).__name__}"


def _title(notice: Notice) -> str:
    title = TITLES[notice.event]
    if "incident" in notice.alert:
        title = f"{title} ({notice.alert['incident']['severity']})"
    if notice.alert.get("escalated"):
        title = f"{title}, not acknowledged"
    return f"{title}, decided late" if notice.alert.get("belated") else title


def _type(notice: Notice) -> Any:
    import apprise

    return apprise.NotifyType.WARNING if notice.event in ("firing", "updated") else apprise.NotifyType.INFO


def _sentences(notice: Notice) -> list[str]:
    """Return the incident's title, what changed, and the lead alert's sentence with its numbers; or that alone."""
    incident = notice.alert.get("incident")
    if incident is None:
        return [notice.alert["sentence"]]
    changes = [_change(change["change"], change["detail"], incident["direction"]) for change in notice.alert["changes"]]
    return [incident["title"], *changes, notice.alert["sentence"]]


def _change(change: str, detail: str, direction: str) -> str:
    """Return a sentence for a change, in the words of titles: without names of kinds, and without ids."""
    if change == "merged":
        return f"{CHANGES[change]}."
    kind, _, topic = detail.partition(" of ")
    if kind in KINDS and topic:
        detail = f"{KINDS[kind].headline[direction].lower()} {_named(topic)}"
    return f"{CHANGES[change]}: {detail}."


def _folded(notice: Notice) -> list[str]:
    """Return lines for the alerts that a notice stands for: the first few sentences, and how many there are."""
    count, folded = notice.alert.get("folded_count", 0), notice.alert.get("folded", [])
    if not count:
        return []
    listed = [alert.get("title") or alert["sentence"] for alert in folded[:FOLDED_SHOWN]]
    more = [f"And {count - len(listed)} more."] if count > len(listed) else []
    return [f"Decided late, too, {count}:", *listed, *more]


def _topic(notice: Notice) -> str:
    return _named(str(notice.alert["topic"]))


def _named(topic: str) -> str:
    return "all stories" if topic == ALL else quoted(topic[:100])


class _Heard(logging.Handler):
    """Collects apprise's log lines of one attempt, because apprise itself returns only success or failure.

    apprise works in its own threads and passes this thread's context to them.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if _attempt.get() is self:
            self.lines.append(record.getMessage())


_attempt: ContextVar[_Heard | None] = ContextVar("attempt", default=None)

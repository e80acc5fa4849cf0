"""Say what to do about a feed that failed: a sentence for each way in which a poll fails (`errors.FeedUnavailable`)."""

from __future__ import annotations

import re

_REMEDIES = (
    (r"allow_private = true", ""),  # the refusal of an address says it itself
    (
        r"the server answered (401|403|406)",
        "The server may ask for a login, a key or a contact: set user_agent or headers for this feed.",
    ),
    (r"the server answered (404|410)", "Look up the feed's present URL and set it."),
    (r"the server answered 429", "The feed is asked too often: raise every."),
    (r"the server answered 5", "The server is at fault: wait, or ask its operator."),
    (r"is not an RSS or Atom feed", "The URL may be that of a page: set the URL of the feed itself."),
    (r"cannot be resolved|was not resolved", "Check the name of the host in the URL, and this machine's DNS."),
    (r"the URL is not one|redirects (to|in)", "Correct the URL."),
    (
        r"certificate|SSL|TLS",
        "Check the server's certificate and this machine's clock and trusted roots (SSL_CERT_FILE).",
    ),
    (
        r"no answer within|did not arrive|timed out",
        "Check that this machine can reach it; if it needs a proxy, set proxy.",
    ),
    (r"cannot be fetched", "Check the URL, and that this machine can reach it; if it needs a proxy, set proxy."),
)


def remedy(error: str) -> str:
    """Return a sentence that says what to do about a failed poll. Empty if the error says it itself."""
    found = next((sentence for pattern, sentence in _REMEDIES if re.search(pattern, error)), None)
    return "The feed breaks a limit or is damaged: tell its publisher, or use another feed." if found is None else found


def with_remedy(error: str) -> str:
    """Return a poll's error as sentences, the last of which says what to do."""
    text = error.rstrip()
    text = text if text.endswith((".", "!", "?")) else f"{text}."
    return f"{text} {remedy(error)}".rstrip()

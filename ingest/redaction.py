"""Hide secrets in whatever is shown: the one redactor, in the lowest room so that all rooms can use it.

    redacted(url)           a URL without what may be a secret, for lists and settings
    remember(url)           hide this URL's secrets in all later texts of this process
    without_secrets(text)   an error, a log line or a page's text without any secret that is remembered

A URL is shown by what is known to be harmless, not hidden by what is known to be secret: a value of a query is shown
only under a key of `_HARMLESS`. Libraries put parts of a URL into their errors, perhaps percent-encoded or quoted.
So where settings are read, their secrets are remembered, and everything that shows an error asks `without_secrets`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, quote, quote_plus, unquote, unquote_plus

HIDDEN = "***"
SHORTEST = 4
"""A shorter secret is hidden in URLs, but not searched for in texts: it would be found in ordinary words."""
WHOLE = 12
"""A secret of letters alone that is shorter than this is hidden only where it stands as a word of its own."""

_MAIL = ("mailto", "mailtos")
_OF_DATABASES = """application_name client_encoding connect_timeout dbname gssencmode host hostaddr port service sslcert
sslkey sslmode sslrootcert target_session_attrs user"""
_OF_FEEDS = """action category cat ceid count country edition feed format gl hl lang language limit locale max n num
output page q query region rss section sort symbol symbols tag ticker tickers topic type"""
_HARMLESS = frozenset(f"{_OF_DATABASES} {_OF_FEEDS}".split())
_KEY = re.compile("[A-Za-z_-]{1,24}")
"""A key of a query that may be shown although its value is hidden: no digits, as tokens have."""
_NAMED = re.compile(
    r"(?i)((?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|credential)s?(?:\s*=|['\"]\s*[:=])\s*"
    r"|authorization['\"]?\s*[:=]\s*['\"]?(?:bearer|basic)\s+)('[^']*'|\"[^\"]*\"|[^\s'\",;&)]+)"
)
_IN_TEXT = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{1,30}://[^\s'\"<>`]{1,4000}")

_remembered: dict[str, str] = {}
"""What is searched for in texts -> its regular expression."""
_search: re.Pattern[str] | None = None


def redacted(url: str) -> str:
    """Return the URL without passwords, tokens and anything else that may be a secret.

    >>> redacted("postgresql://me:hunter2@db/news?sslmode=require&sslpassword=hunter2")
    'postgresql://me:***@db/news?sslmode=require&sslpassword=***'
    >>> redacted("https://feeds.example/u/8f14e45fceea167a5a36dedd4bea2543/rss.xml?format=rss&key=abc")
    'https://feeds.example/u/***/rss.xml?format=rss&key=***'
    """
    scheme, sign, rest = url.partition("://")
    if not sign:
        return url if not _looks_secret(url) else HIDDEN
    if scheme.startswith("sqlite"):  # a file, whose name may contain @ and :
        path, question, query = rest.partition("?")
        return f"{scheme}{sign}{path}{question}{_query(query)}"
    place, question, query = rest.partition("?")
    if "@" in query:  # a password may hold a question mark: where it ends cannot be said
        return f"{scheme}{sign}{HIDDEN}"
    if scheme.lower() in ("http", "https"):
        return _web(scheme, place, question, query)
    # A password may contain an unescaped @ or /. The last @ ends it.
    user, at, host = place.rpartition("@")
    if at and ":" in user:
        user = f"{user.partition(':')[0]}:{HIDDEN}"
    return f"{scheme}{sign}{user}{at}{host}{question}{_query(query)}"


def site(url: str) -> str:
    """Return the URL's scheme and host alone: in the address of a webhook, all the rest may be a token."""
    scheme, _, rest = url.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    return f"{scheme}://{host if _is_place(host) else HIDDEN}/{HIDDEN}"


def remember(url: str) -> None:
    """Hide the secrets of this URL in every later text of this process. A text that is no URL is a secret itself."""
    for secret in _secrets_in(url):
        remember_value(secret)


def remember_value(value: str) -> None:
    """Hide this value, a password, a token or a key, in every later text of this process."""
    global _search  # noqa: PLW0603  # one process has one set of secrets, and any of its libraries may print them
    if new := _forms(value.strip()) - _remembered.keys():
        _remembered.update({form: _pattern(form) for form in new})
        _search = re.compile("|".join(_remembered[form] for form in sorted(_remembered, key=len, reverse=True)))


def without_secrets(text: str) -> str:
    """Return a text without the remembered secrets, the secrets of its URLs, and what stands after `password=`."""
    if _search is not None:
        text = _search.sub(HIDDEN, text)
    if "://" in text:
        text = _IN_TEXT.sub(lambda found: _shown_in_text(found[0]), text)
    return _NAMED.sub(lambda found: found[1] + HIDDEN, text)


def _shown_in_text(url: str) -> str:
    end = len(url.rstrip(".,;:!?)]}"))
    return redacted(url[:end]) + url[end:]


def _web(scheme: str, place: str, question: str, query: str) -> str:
    place, sharp, _ = place.partition("#")
    query, sharp_too, _ = query.partition("#")
    authority, slash, path = place.partition("/")
    user, at, host = authority.rpartition("@")
    if not _is_place(host):
        return f"{scheme}://{HIDDEN}"
    shown = "/".join(HIDDEN if _looks_secret(part) else part for part in path.split("/"))
    fragment = f"#{HIDDEN}" if sharp or sharp_too else ""
    return f"{scheme}://{HIDDEN * bool(at and user)}{at}{host}{slash}{shown}{question}{_query(query)}{fragment}"


def _is_place(host: str) -> bool:
    """Return whether this is a host with an optional port: a password with a slash would look like one's beginning."""
    return bool(re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:@\[\]]*)(:\d{0,5})?", host))


def _query(query: str) -> str:
    parts = list[str]()
    for part in query.split("&") if query else []:
        key, sign, value = part.partition("=")
        if not part or _is_harmless(key, value):
            parts.append(part)
        else:
            parts.append(f"{key}={HIDDEN}" if sign and _KEY.fullmatch(key) else HIDDEN)
    return "&".join(parts)


def _is_harmless(key: str, value: str) -> bool:
    known = key.lower() in _HARMLESS or (key.lower() in ("id", "cid", "p") and value.isdigit() and len(value) < 13)
    return known and not _looks_secret(value)


def _looks_secret(part: str) -> bool:
    """Return whether a part of a path looks drawn at random: long, and no words with hyphens between them."""
    text = unquote(part)
    if len(text) < 12:
        return False
    if re.fullmatch(r"(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text):
        return True
    words = re.findall(r"[0-9]+|[A-Z]+(?![a-z])|[A-Z]?[a-z]+", text)  # and each is about as long as a word
    runs = re.findall(r"[A-Za-z0-9]+", text)
    drawn = any(len(run) >= 24 or (len(run) >= 16 and len(re.findall(r"[0-9]", run)) >= 4) for run in runs)
    return drawn or len(words) * 4 >= len(text) or (len(runs) == 1 and len(text) >= 20 and len(words) * 6 >= len(text))


def _secrets_in(text: str) -> Iterator[str]:
    """Yield what `redacted` hides in a URL, and what apprise reads from one."""
    scheme, sign, rest = text.partition("://")
    if not sign:
        yield text
        return
    if scheme.startswith("sqlite"):
        yield from _values(rest.partition("?")[2])
        return
    place, _, query = rest.partition("?")
    if "@" in query:
        yield rest.rpartition("@")[0].partition(":")[2]
    place, _, fragment = place.partition("#")
    yield from _values(query.partition("#")[0])
    if scheme.lower() in ("http", "https", *_MAIL):
        authority, _, path = place.partition("/")
        user, at, _ = authority.rpartition("@")
        if at:
            name, colon, password = user.partition(":")
            yield from (password,) if scheme.lower() in _MAIL or colon else (name,)
            if scheme.lower() not in _MAIL:
                yield name
        yield from (part for part in path.split("/") if _looks_secret(part))
        yield fragment
        return
    user, at, _ = place.rpartition("@")
    if at and ":" in user:
        yield user.partition(":")[2]
    if not scheme.startswith("postgres"):  # of a chat service: its tokens are the host and the path
        yield from (part for part in re.split(r"[/:@]", place) if part and not part.startswith(("#", "%23")))


def _values(query: str) -> Iterator[str]:
    for key, value in parse_qsl(query, keep_blank_values=True):
        if not _is_harmless(key, value):
            yield value
    for part in query.split("&"):
        if "=" not in part:
            yield part


def _forms(secret: str) -> set[str]:
    """Return the ways in which a library may print a secret: as it is, percent-encoded, decoded, or quoted."""
    ways = {secret, unquote(secret), unquote_plus(secret)}
    ways |= {way for text in tuple(ways) for way in (quote(text, safe=""), quote(text), quote_plus(text))}
    ways |= {repr(text)[1:-1] for text in tuple(ways)}
    ways |= {text.replace("\\", "\\\\").replace('"', '\\"') for text in tuple(ways)}
    return {way for way in ways if len(way) >= SHORTEST and way.strip("*")}


def _pattern(secret: str) -> str:
    exact = re.escape(secret)
    if secret.isalpha() and len(secret) < WHOLE:
        return rf"(?<![^\W_]){exact}(?![^\W_])"
    return exact

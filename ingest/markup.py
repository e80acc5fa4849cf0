"""Convert what comes from the web: bytes in any encoding to UTF-8, and HTML to text.

They accept any input, never raise, and take time proportional to its length. A headline with a broken tag is
still a headline.
"""

from __future__ import annotations

import codecs
import contextlib
import re
from html import unescape
from html.parser import HTMLParser

_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_CHARSET = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9._-]{1,40})""", re.IGNORECASE)
_DECLARATION = re.compile(r"^\s*<\?xml[^>]{0,200}\?>")
_MARKS = (  # the longer first: the mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_TAG = re.compile(r"<[^<>]*>")
_REFERENCE = re.compile(r"&#(?:[xX]([0-9A-Fa-f]+)|([0-9]+))")
_ASCII = "".join(map(chr, range(32, 127)))
# References that end with a semicolon: "AT&T" and "?a=1&copy=2" are none.
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_MOST_TIMES = 8
_UNSEEN = {"script", "style", "template", "noscript", "iframe", "object"}
_INLINE = {"a", "abbr", "b", "big", "code", "em", "font", "i", "mark", "q", "s", "small", "span", "strong", "sub",
           "sup", "u", "wbr"}  # fmt: skip
# Names of tags, in lower or upper case. A single capital may be a ticker (<B>), so it needs its end tag.
_NAMES = (
    "abbr|article|aside|blockquote|body|br|big|button|caption|center|cite|code|col|dd|del|div|dl|dt|em|embed|figcaption"
    "|figure|font|footer|form|h[1-6]|head|header|hr|html|iframe|img|ins|label|li|link|main|mark|meta|nav|noscript"
    "|object|ol|pre|script|section|small|span|strike|strong|style|sub|sup|svg|table|tbody|td|template|tfoot|th|thead"
    "|time|tr|tt|ul|video|wbr"
)
_HTML = re.compile(
    rf"</?({_NAMES}|{_NAMES.upper()}|[abipqsu])(?:\s[^<>]*)?/?>"
    r"|</([ABIPQSU])\s*>|<([ABIPQSU])(?=[^<>]*>[^<>]*</\3>)(?:\s[^<>]*)?>"
)
_SCRIPT = re.compile(r"<(script|style)\b[^<>]*>", re.IGNORECASE)


def marked_encoding(start: bytes) -> str | None:
    """Return the encoding that a byte order mark names, if there is one."""
    return next((name for mark, name in _MARKS if start.startswith(mark)), None)


def as_utf8(data: bytes, content_type: str = "") -> bytes:
    """Return an XML document in UTF-8, without its XML declaration.

    The bytes decide: a byte order mark, the zeros of UTF-16, or bytes above 127 that are UTF-8. Where they leave it
    open, the encoding comes from the content type, else from the declaration, else it is UTF-8. If none of them fits,
    it is Windows-1252. Encodings that hide ASCII (UTF-7, EBCDIC) are refused, because the
    checks before parsing would not find what they look for. References to non-characters (surrogates, NUL, beyond
    U+10FFFF) become U+FFFD, because a parser would reject the whole document for one of them.
    """
    text = _decoded(data, content_type)
    return _REFERENCE.sub(_possible, _DECLARATION.sub("", text, count=1)).encode("utf-8", "replace")


def plain(html: str) -> str:
    """Return the text of HTML on one line, without tags, scripts and styles, and with references resolved.

    >>> plain("<p>R&amp;D at <b>Zeta</b> Corp</p><script>alert(1)</script><p>up 3&nbsp;%")
    'R&D at Zeta Corp up 3 %'
    """
    html = _REFERENCE.sub(_possible, html)
    reader = _Text()
    try:
        reader.feed(html)
        # The rest begins with a tag or comment that does not end. `close()` would search for its end again from each
        # later `<`, which takes 18 s for 40,000 characters.
        text = "".join(reader.parts) + ("" if reader.unseen else _without_tags(reader.rawdata))
    except (AssertionError, ValueError, RecursionError):
        text = _without_tags(html)
    return " ".join(text.split())


def plain_text(text: str) -> str:
    """Return a text of a file or a Kafka record as plain text: without the tags and references of HTML.

    What is no HTML stays: `3 < 4`, `AT&T`, and a wire's ticker `<IBM>`. Doing it again changes nothing, so an exported
    story is the same story.

    >>> plain_text("<p>R&amp;amp;D at <b>Zeta</b> <ZETA.O> up, 3 < 4</p>")
    'R&D at Zeta <ZETA.O> up, 3 < 4'
    """
    if "&" not in text and "<" not in text:
        return text
    for _ in range(_MOST_TIMES):
        before = text
        if "<" in text:
            text = _without_parts(text)
        if "<" in text and _HTML.search(text):
            text = " ".join(
                _HTML.sub(lambda tag: "" if (tag[1] or tag[2] or tag[3]).lower() in _INLINE else " ", text).split()
            )
        if "&" in text:
            text = _ENTITY.sub(lambda found: unescape(_REFERENCE.sub(_possible, found[0])), text).strip()
        if text == before:
            return text
    return text


def _without_parts(text: str) -> str:
    """Cut comments, scripts and styles that end. One that does not end is left: its text may be all there is."""
    for opening, closing in ((_SCRIPT, None), (re.compile("<!--"), "-->")):
        low, at, parts = text.lower(), 0, []
        if len(low) != len(text):  # a letter that becomes two: then nothing is cut
            continue
        while found := opening.search(text, at):
            mark = closing or f"</{found[1].lower()}"
            end = low.find(mark, found.end())
            end = low.find(">", end) + 1 if end >= 0 else 0
            if not end:  # none of this kind ends from here on, which also bounds the time
                break
            parts += [text[at : found.start()], " "]
            at = end
        if parts:
            text = " ".join("".join([*parts, text[at:]]).split())
    return text


def _without_tags(html: str) -> str:
    return unescape(_TAG.sub(" ", html))


def _possible(reference: re.Match[str]) -> str:
    digits = (reference[1] or reference[2]).lstrip("0")
    code = int(digits or "0", 16 if reference[1] else 10) if len(digits) < 9 else -1
    if not (0 < code < 0xD800 or 0xDFFF < code <= 0x10FFFF):
        return "&#65533"
    return reference[0] if len(reference[0]) < 12 else f"&#{code}"


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.unseen = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if not self.unseen and tag in _UNSEEN:
            self.unseen = tag
        if tag not in _INLINE:
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag == self.unseen:
            self.unseen = ""
        if tag not in _INLINE:
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if not self.unseen:
            self.parts.append(data)


def _decoded(data: bytes, content_type: str) -> str:
    if (marked := marked_encoding(data)) is not None:
        return data.decode(marked, "replace")
    if data.startswith((b"<\0", b"\0<")):
        return data.decode("utf-16-le" if data.startswith(b"<") else "utf-16-be", "replace")
    if not data.isascii():
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode("utf-8")
    charset, declared = _CHARSET.search(content_type), _DECLARED.match(data)
    names = [charset[1] if charset else "", declared[1].decode() if declared else "", "utf-8"]
    for name in names:
        try:
            codec = codecs.lookup(name).name if name else ""
            if codec == "iso8859-1":
                codec = "cp1252"  # as browsers do
            if codec and _ASCII.encode().decode(codec) == _ASCII:
                return data.decode(codec)
        except (LookupError, ValueError, AttributeError):  # unknown, wrong, or not an encoding of text
            continue
    return data.decode("cp1252", "replace")

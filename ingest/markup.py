"""What comes from the web, made plain: bytes in any encoding to UTF-8, HTML to text.

Both take anything, never raise, and take time that grows with its length and no faster: a headline with a broken tag is
still a headline.
"""

from __future__ import annotations

import codecs
import re
from html import unescape
from html.parser import HTMLParser

_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_CHARSET = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9._-]{1,40})""", re.IGNORECASE)
_DECLARATION = re.compile(r"^\s*<\?xml[^>]{0,200}\?>")
_MARKS = (  # the longer first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_TAG = re.compile(r"<[^<>]*>")
_REFERENCE = re.compile(r"&#(?:[xX]([0-9A-Fa-f]+)|([0-9]+))")
_ASCII = "".join(map(chr, range(32, 127)))
_UNSEEN = {"script", "style", "template", "noscript", "iframe", "object"}
_INLINE = {"a", "abbr", "b", "big", "code", "em", "font", "i", "mark", "q", "s", "small", "span", "strong", "sub",
           "sup", "u", "wbr"}  # fmt: skip


def as_utf8(data: bytes, content_type: str = "") -> bytes:
    """An XML document in UTF-8, without its XML declaration. References to what is no character (a surrogate, NUL,
    beyond U+10FFFF) become U+FFFD: for one of them a parser would refuse all.

    The encoding is that of its byte order mark, else of the content type, else of its declaration, else UTF-8; where
    none of them fits, Windows' Latin. Encodings that hide ASCII (UTF-7, EBCDIC) are not taken: what is looked for
    before parsing would not be found in them.
    """
    text = _decoded(data, content_type)
    return _REFERENCE.sub(_possible, _DECLARATION.sub("", text, count=1)).encode("utf-8", "replace")


def plain(html: str) -> str:
    """The text of HTML on one line: tags are gone, character references resolved, scripts and styles left out.

    >>> plain("<p>R&amp;D at <b>Zeta</b> Corp</p><script>alert(1)</script><p>up 3&nbsp;%")
    'R&D at Zeta Corp up 3 %'
    """
    html = _REFERENCE.sub(_possible, html)
    reader = _Text()
    try:
        reader.feed(html)
        # What is left begins with a tag or comment that does not end. Closed, the reader would look for its end again
        # from each later `<`: of 40,000 characters for 18 s.
        text = "".join(reader.parts) + ("" if reader.unseen else _without_tags(reader.rawdata))
    except (AssertionError, ValueError, RecursionError):
        text = _without_tags(html)
    return " ".join(text.split())


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
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data.decode(name, "replace")
    charset, declared = _CHARSET.search(content_type), _DECLARED.match(data)
    names = [charset[1] if charset else "", declared[1].decode() if declared else "", "utf-8"]
    for name in names:
        try:
            codec = codecs.lookup(name).name if name else ""
            if codec == "iso8859-1":
                codec = "cp1252"  # as browsers read it
            if codec and (codec.startswith("utf-16") or _ASCII.encode().decode(codec) == _ASCII):
                return data.decode(codec)
        except (LookupError, ValueError, AttributeError):  # unknown, not fitting, or no encoding of text
            continue
    return data.decode("cp1252", "replace")

"""Tell by its characters in which language a text is that does not say it: English, Chinese, Japanese, Korean, or none
of these.

The one idea: these four have scripts of their own, and no statistics of a language are needed to tell them apart.
Other languages in Latin letters count as English, and a text in any other script is of an unknown language.

Invariant: the answer depends on the first READ characters of the text alone.
"""

from __future__ import annotations

import re

READ = 1_000
"""How many characters of a text are looked at."""
UNKNOWN = "und"
"""The code (ISO 639-2) of a language that is not known."""
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff]")
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa]")
_HANGUL = re.compile("[\uac00-\ud7a3]")
_LATIN_WORD = re.compile("[A-Za-z\u00c0-\u024f]+")
_LETTER = re.compile(r"[^\W\d_]")


def is_chinese(text: str) -> bool:
    """Return whether a text is Chinese: it has more Han characters than Latin words, and hardly any kana or Hangul.

    >>> is_chinese("苹果发布iPhone，A股产业链大涨"), is_chinese("Alibaba (阿里巴巴) to buy back more of its shares")
    (True, False)
    >>> is_chinese("トヨタ、今期の営業利益見通しを上方修正"), is_chinese("")
    (False, False)
    """
    if text.isascii():
        return False
    read = text[:READ]
    han = len(_HAN.findall(read))
    if han <= len(_LATIN_WORD.findall(read)):
        return False
    # A Japanese brand in a Chinese headline may bring a few kana; of a Japanese sentence a third or more are kana.
    return 10 * (len(_KANA.findall(read)) + len(_HANGUL.findall(read))) <= han


def language_of(text: str) -> str:
    """Return `en`, `zh`, `ja`, `ko`, or UNKNOWN where most letters are of another script.

    >>> [language_of(text) for text in ("Profit falls", "净利润下降", "決算を発表した", "실적 발표", "Прибыль упала")]
    ['en', 'zh', 'ja', 'ko', 'und']
    """
    if text.isascii():
        return "en"
    if is_chinese(text):
        return "zh"
    read = text[:READ]
    words = _LATIN_WORD.findall(read)
    counts = {"ja": len(_KANA.findall(read)), "ko": len(_HANGUL.findall(read))}
    script = max(counts, key=lambda code: counts[code])
    if counts[script] > len(words):
        return script
    others = len(_LETTER.findall(read)) - sum(map(len, words))
    return UNKNOWN if others > sum(map(len, words)) else "en"

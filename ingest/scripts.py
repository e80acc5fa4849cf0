"""Tell by its characters whether a text is Chinese.

The one idea: Chinese is told from English by its script, and from Japanese and Korean, which use Han characters too, by
kana and Hangul. No statistics of a language are needed for that. Whose Latin words are English, nobody asks here.

Invariant: the answer depends on the first READ characters of the text alone.
"""

from __future__ import annotations

import re

READ = 1_000
"""How many characters of a text are looked at."""
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff]")
_KANA_OR_HANGUL = re.compile("[\u3041-\u3096\u30a1-\u30fa\uac00-\ud7a3]")
_LATIN_WORD = re.compile("[A-Za-z]+")


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
    # A Japanese brand in a Chinese headline may bring a few kana; a Japanese sentence has one in three or more.
    return han > len(_LATIN_WORD.findall(read)) and 10 * len(_KANA_OR_HANGUL.findall(read)) <= han

"""Turn the names and three-letter codes of languages that news services write into ISO 639-1."""

from __future__ import annotations

_NAMES = {
    "ar": "ara arabic", "bg": "bul bulgarian", "ca": "cat catalan", "cs": "ces cze czech", "da": "dan danish",
    "de": "deu ger german", "el": "ell gre greek", "en": "eng english", "es": "spa spanish", "et": "est estonian",
    "fa": "fas per persian", "fi": "fin finnish", "fr": "fra fre french", "he": "heb hebrew", "hi": "hin hindi",
    "hr": "hrv croatian", "hu": "hun hungarian", "id": "ind indonesian", "it": "ita italian", "ja": "jpn japanese",
    "ko": "kor korean", "lt": "lit lithuanian", "lv": "lav latvian", "ms": "msa may malay", "nl": "nld dut dutch",
    "no": "nor norwegian", "pl": "pol polish", "pt": "por portuguese", "ro": "ron rum romanian", "ru": "rus russian",
    "sk": "slk slo slovak", "sl": "slv slovenian", "sr": "srp serbian", "sv": "swe swedish", "th": "tha thai",
    "tr": "tur turkish", "uk": "ukr ukrainian", "vi": "vie vietnamese", "zh": "zho chi chinese",
}  # fmt: skip
_CODES = {name: code for code, names in _NAMES.items() for name in names.split()}


def code_of(language: str) -> str:
    """Return the ISO 639-1 code of a language in lower case; any other text unchanged.

    >>> code_of("english"), code_of("deu"), code_of("fr")
    ('en', 'de', 'fr')
    """
    return _CODES.get(language, language)

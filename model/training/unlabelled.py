"""Read texts without labels from a folder's feed files, for pretraining and distillation.

The one idea: a text is the part of a story that the scorer would read (the title, then the body), or one sentence of a
body. Each story and each sentence is taken once.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from foreshock.model.errors import UnlabelledDataError
from foreshock.model.labels import file_sha256
from foreshock.model.training.labelled import fingerprint

WORDS = 32
"""Words that are read of a story, about 50 tokens: the title and the beginning of the body, which has the news."""
HELD_OUT = 25
"""One text in so many is held out, to measure on after training."""
SENTENCE = (8, 40)
"""The fewest and the most words of a sentence that is taken."""
_BREAK = re.compile(r"(?<=[a-z0-9)%][.!?])\s+(?=[A-Z\"'])")


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """The texts of a folder, in the order of its files.

    Parameters
    ----------
    texts, held_out
        Texts to train on, and texts to measure on after training.
    duplicates, empty, labelled
        How many stories were left out because they are copies, have no words, or are texts of labelled sets.
    sha256
        The SHA-256 of each file.
    """

    texts: list[str]
    held_out: list[str]
    duplicates: int
    empty: int
    labelled: int
    sha256: dict[str, str]


def read_unlabelled(folder: Path, barred: Collection[str] = ()) -> Unlabelled:
    """Read all .jsonl and .jsonl.gz files of a folder in the order of their names.

    A text is the `title` (or `headline`, or `text`) of a line and then its `body`, at most WORDS words. Texts that
    differ only in case and punctuation are duplicates. Which texts are held out depends on the texts alone. `barred`:
    fingerprints of labelled texts, which later measurements need unseen; they are left out and counted. Raises
    UnlabelledDataError, which names file and line.
    """
    files = _files(folder)
    seen: set[str] = set()
    texts: list[str] = []
    held_out: list[str] = []
    duplicates = empty = labelled = 0
    for path in files:
        for story, _ in _stories(path):
            mark = fingerprint(story)
            if not mark:
                empty += 1
            elif mark in barred:
                labelled += 1
            elif mark in seen:
                duplicates += 1
            else:
                seen.add(mark)
                (held_out if _is_held_out(mark) else texts).append(story)
    return Unlabelled(texts, held_out, duplicates, empty, labelled, {path.name: file_sha256(path) for path in files})


def read_sentences(folder: Path) -> list[str]:
    """Return the sentences of all bodies in a folder, in order, each once. SENTENCE limits their words.

    Raises UnlabelledDataError, which names file and line.
    """
    found: dict[str, str] = {}
    for path in _files(folder):
        for _, body in _stories(path):
            for sentence in _BREAK.split(" ".join(body.split())):
                if SENTENCE[0] <= len(sentence.split()) <= SENTENCE[1]:
                    found.setdefault(fingerprint(sentence), sentence)
    return list(found.values())


def _files(folder: Path) -> list[Path]:
    """Return the feed files of a folder by name. Raises UnlabelledDataError where it has none."""
    files = sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")])
    if not files:
        raise UnlabelledDataError(f"{folder}: holds no .jsonl or .jsonl.gz file; give the folder of the feed files")
    return files


def _stories(path: Path) -> Iterator[tuple[str, str]]:
    """Yield for each story of a file the text that the scorer would read, and the body."""
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _text(line, f"{path}, line {number}")
    except (OSError, EOFError, zlib.error) as error:  # not gzip, cut off, or damaged
        raise UnlabelledDataError(
            f"{path}, after line {number}: cannot be read ({error}); is the file whole?"
        ) from error


def _text(line: bytes, where: str) -> tuple[str, str]:
    """Return the text and the body of a line. `where`: file and line, for errors."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UnlabelledDataError(f"{where}: not JSON ({error}); each line is one story, with a `title`") from error
    title = (
        next((row[key] for key in ("title", "headline", "text") if row.get(key)), "") if isinstance(row, dict) else 0
    )
    if not isinstance(title, str):
        raise UnlabelledDataError(f"{where}: not a story; each line is a JSON object with a `title`")
    body = row.get("body")
    body = body if isinstance(body, str) else ""
    return " ".join(f"{title}\n{body}".split()[:WORDS]), body


def _is_held_out(mark: str) -> bool:
    """Return whether the text with this fingerprint is held out. It depends on the fingerprint alone."""
    return int.from_bytes(hashlib.blake2b(mark.encode(), digest_size=4).digest(), "big") % HELD_OUT == 0

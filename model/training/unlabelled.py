"""Reading texts without labels, for pretraining and distillation: the stories of a folder's feed files.

The one idea: a text is what the scorer would read of a story, title first and then the body, or a sentence of a body;
each story and each sentence is taken once.
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

# About 50 tokens: a title and the beginning of its body, in which a newswire says what happened.
WORDS = 32
# One text in so many is held out, for what is measured after training.
HELD_OUT = 25
# Words of a sentence that may stand by itself.
SENTENCE = (8, 40)
_BREAK = re.compile(r"(?<=[a-z0-9)%][.!?])\s+(?=[A-Z\"'])")


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """Texts to train on and texts held out, in the order of the files; what was left out; the files' hashes."""

    texts: list[str]
    held_out: list[str]
    duplicates: int
    empty: int
    labelled: int
    sha256: dict[str, str]


def read_unlabelled(folder: Path, barred: Collection[str] = ()) -> Unlabelled:
    """Read every .jsonl and .jsonl.gz file of a folder, by name: `title` (`headline`, `text`) and then `body` of each
    line, WORDS words at most.

    Texts that differ in nothing but case and punctuation are duplicates. `barred`: fingerprints of labelled texts that
    later measurements need unseen; they are left out and counted. Which texts are held out follows from the
    texts alone. Raises UnlabelledDataError naming file and line.
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
    """The sentences of the bodies of every story in a folder, in order, each once; of SENTENCE words.

    Raises UnlabelledDataError naming file and line.
    """
    found: dict[str, str] = {}
    for path in _files(folder):
        for _, body in _stories(path):
            for sentence in _BREAK.split(" ".join(body.split())):
                if SENTENCE[0] <= len(sentence.split()) <= SENTENCE[1]:
                    found.setdefault(fingerprint(sentence), sentence)
    return list(found.values())


def _files(folder: Path) -> list[Path]:
    files = sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")])
    if not files:
        raise UnlabelledDataError(f"{folder}: holds no .jsonl or .jsonl.gz file; name the folder of the feed files")
    return files


def _stories(path: Path) -> Iterator[tuple[str, str]]:
    """What the scorer would read of each story of a file, and its body."""
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _text(line, f"{path}, line {number}")
    except (OSError, EOFError, zlib.error) as error:  # no gzip file, a cut one, a damaged one
        raise UnlabelledDataError(
            f"{path}, after line {number}: cannot be read ({error}); is the file whole?"
        ) from error


def _text(line: bytes, where: str) -> tuple[str, str]:
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
    return int.from_bytes(hashlib.blake2b(mark.encode(), digest_size=4).digest(), "big") % HELD_OUT == 0

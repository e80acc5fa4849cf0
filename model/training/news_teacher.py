"""A teacher that has seen the guideline's rows labels stories, so that the small encoder learns from many more texts.

The one idea: what is kept is by id, as our labels are, and holds no texts: the teacher's logits of class and severity
for a story. The mean of several files is the mean of several teachers.

    python -m foreshock.model.training.news_teacher --teacher DIR --data DIR --feeds DIR --out FILE [--part I/N]
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from foreshock.model.storage import open_weights
from foreshock.model.tokenizing import load_tokenizer, tokenize
from foreshock.model.training.guided import read_text
from foreshock.model.training.labelled import fingerprint
from foreshock.model.training.news_figures import predict
from foreshock.model.training.news_rows import Soft
from foreshock.model.training.steps import softmax
from foreshock.model.training.wide import read_teacher

# Which share of a feed's stories is labelled; wires of 1987 are long, and nobody's feed today reads like them.
SHARES = {"reuters": 0.6, "cnbc": 1.0, "stocknet": 0.2, "reuters21578": 0.1}


def stories(data: Path, feeds: Path) -> dict[str, str]:
    """The texts that can be labelled, by id: the rows of `news_train`, and each different story of the feeds."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for file in [data / "news_train.jsonl.gz", *sorted(feeds.glob("*.jsonl.gz"))]:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                story = json.loads(line)
                text = str(story["text"]) if "text" in story else read_text(story)
                if (known := fingerprint(text)) not in seen:
                    seen.add(known)
                    found[str(story["id"])] = text
    return found


def tell(teacher: Path, data: Path, feeds: Path, out: Path, part: tuple[int, int] = (0, 1)) -> int:
    """Write the teacher's logits for the rows of `news_train` and stories of the feeds to `out`.

    part: (i, n) for the i-th of n parts, which may be written at the same time. Returns how many rows it wrote.
    """
    tokenizer = load_tokenizer(open_weights("default").tokenizer)
    encoder, heads = read_teacher(teacher)
    texts = stories(data, feeds)
    with gzip.open(data / "news_train.jsonl.gz", "rt", encoding="utf-8") as lines:
        own = {str(json.loads(line)["id"]) for line in lines}
    chosen = [key for key in texts if key in own or _place(key) < SHARES.get(key.rpartition("-")[0], 1.0)]
    chosen = [key for key in chosen if int(_place("part" + key) * part[1]) == part[0]]
    logits, grades = predict(encoder, heads, tokenize(tokenizer, [texts[key] for key in chosen]))
    save_file(
        {"logits": logits.astype(np.float16), "grades": grades.astype(np.float16)}, out, {"ids": "\n".join(chosen)}
    )
    return len(chosen)


def read_told(file: Path, data: Path, feeds: Path | None) -> Sequence[tuple[str | None, Soft]]:
    """What `tell` wrote, with the texts again: (set, or None for a story of the feeds; the soft label)."""
    with safe_open(file, "np") as kept:
        logits, grades, meta = kept.get_tensor("logits"), kept.get_tensor("grades"), kept.metadata()
    texts = stories(data, feeds or data)
    with gzip.open(data / "news_train.jsonl.gz", "rt", encoding="utf-8") as lines:
        own = {str(json.loads(line)["id"]) for line in lines}
    shares = softmax(logits)
    levels = 1 / (1 + np.exp(-grades.astype(np.float32)))
    return [
        ("news" if key in own else None, Soft(texts[key], shares[i], levels[i]))
        for i, key in enumerate(meta["ids"].split("\n"))
    ]


def _place(key: str) -> float:
    """A number from 0 to 1 that follows from a key alone."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--feeds", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", default="0/1", help="which of how many parts")
    given = parser.parse_args()
    torch.set_grad_enabled(False)
    part, parts = (int(number) for number in given.part.split("/"))
    print(tell(given.teacher, given.data, given.feeds, given.out, (part, parts)), "rows")


if __name__ == "__main__":
    main()

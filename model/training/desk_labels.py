"""Read a desk's labelled texts: CSV, JSON lines and the other formats of feeds, and what the page exports.

The one idea: what is read depends on the texts and their labels alone. Rows come out in the order of a hash of their
texts, copies counted once, and near copies belong to one group, which never stands on both sides of a split. So the
order of a file changes nothing, and no figure is of a text that was learned from.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreshock.ingest.errors import BadRecord
from foreshock.ingest.formats import open_format
from foreshock.ingest.json_records import decode
from foreshock.ingest.markup import plain_text
from foreshock.model.errors import LabelledDataError
from foreshock.model.labels import LABELS
from foreshock.model.training.labelled import fingerprint

LEAST, MOST = 20, 2_000
"""The command refuses fewer than LEAST rows, and learns from MOST at most. `foreshock model finetune` takes more."""
NEAR = 0.8
"""Two texts are near copies if they share at least this part of their words."""
_TEXTS = ("text", "title", "headline")
_LABEL_COLUMNS = ("label", "sentiment")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class DeskLabels:
    """Texts with labels (n,), indices into LABELS, and their groups (n,), in the order of a hash of the texts.

    unlabelled: rows without a label. copies: rows whose text another row has. left_out: rows that MOST leaves out.
    corrections: of how many rows the file says that a model had given another label; of `compared` rows it says which.
    """

    texts: list[str]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    unlabelled: int = 0
    copies: int = 0
    left_out: int = 0
    corrections: int = 0
    compared: int = 0

    def sha256(self) -> str:
        """Return a hash of the texts and labels."""
        hashed = hashlib.sha256()
        for text, label in zip(self.texts, self.labels.tolist(), strict=True):
            hashed.update(f"{label}\t{row_key(text)}\n".encode())
        return hashed.hexdigest()


def read_desk_labels(
    path: Path, *, text_column: str | None = None, label_column: str | None = None, encoding: str | None = None
) -> DeskLabels:
    """Read a file of labelled texts.

    text_column: default `text`, else `title` or `headline` (with `body`, as a story has them). label_column: default
    `label`, else `sentiment`. encoding: of its text, if it is not UTF-8. Rows count from 1, a header not counted.

    Raises IngestError where the file cannot be read, and LabelledDataError where a row has no text, a label is none of
    the three, copies of a text have different labels, or there are too few rows or classes. It names the rows.
    """
    file = open_format(path, encoding)
    rows: list[tuple[int, str, str, str | None]] = []
    unlabelled = 0
    for number, record in enumerate(file.records(), 1):
        where = f"{path}, row {number}"
        if record.flaw is not None:
            raise LabelledDataError(f"{where}: {record.flaw[1]} Shorten or leave out this row.")
        try:
            fields = decode(record.data)
        except BadRecord as error:
            raise LabelledDataError(f"{where}: {error}") from error
        columns = file.columns or tuple(fields)  # a row of a CSV lacks the cells that are empty
        label = fields.get(_column(columns, label_column, _LABEL_COLUMNS, "--label-column", where))
        if label is None or label == "":
            unlabelled += 1
            continue
        of_text = _column(columns, text_column, _TEXTS, "--text-column", where)
        text, scored = _text(fields, of_text, where), fields.get("scored")
        rows.append((number, text, str(label).strip().casefold(), scored if isinstance(scored, str) else None))
    _check_labels(path, rows)
    return _gathered(path, rows, unlabelled)


def folds(labels: NDArray[np.int64], groups: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return a fold (n,) for each row, 0 to count - 1: groups stay whole, and each fold gets its part of each class.

    Invariants: equal groups have equal folds; the folds depend on the order of the groups' numbers and on nothing else.
    """
    fold = np.empty(len(labels), dtype=np.int64)
    sizes = np.zeros((count, len(LABELS)), dtype=np.int64)
    by_group: dict[int, list[int]] = defaultdict(list)
    for place, group in enumerate(groups.tolist()):
        by_group[group].append(place)
    for _, places in sorted(by_group.items()):
        classes = np.bincount(labels[places], minlength=len(LABELS))
        main = int(classes.argmax())
        into = min(range(count), key=lambda f: (sizes[f, main], sizes[f].sum(), f))
        fold[places] = into
        sizes[into] += classes
    return fold


def group_near_copies(texts: Sequence[str]) -> NDArray[np.int64]:
    """Return a group (n,) for each text, numbered in the order of the texts: near copies, and their near copies, share
    one. Case, punctuation and links are ignored.

    Only texts that share one of their rarest words are compared. A near copy lacks at most (1 - NEAR) of a text's
    words, so two near copies have such a word in common (Chaudhuri et al. 2006, "A Primitive Operator for Similarity
    Joins in Data Cleaning").
    """
    bags = [frozenset(fingerprint(text).split()) for text in texts]
    often = Counter(word for bag in bags for word in bag)
    having: dict[str, list[int]] = defaultdict(list)
    group = list(range(len(texts)))

    def root(i: int) -> int:
        while group[i] != i:
            group[i] = group[group[i]]
            i = group[i]
        return i

    for i, bag in enumerate(bags):
        lacking = len(bag) - math.ceil(NEAR * len(bag) - 1e-9)
        rarest = sorted(bag, key=lambda word: (often[word], word))[: lacking + 1]
        for other in {other for word in rarest for other in having[word]}:
            number = len(bag & bags[other])
            if number >= NEAR * (len(bag) + len(bags[other]) - number):
                first, second = sorted((root(i), root(other)))
                group[second] = first
        for word in rarest:
            having[word].append(i)
    return np.array([root(i) for i in range(len(texts))], dtype=np.int64)


def _gathered(path: Path, rows: Sequence[tuple[int, str, str, str | None]], unlabelled: int) -> DeskLabels:
    by_key: dict[str, list[tuple[int, str, str, str | None]]] = defaultdict(list)
    for row in rows:
        by_key[row_key(row[1])].append(row)
    _check_copies(path, by_key)
    kept = [min(same, key=lambda row: row[1]) for _, same in sorted(by_key.items())]
    groups = group_near_copies([text for _, text, _, _ in kept])
    taken = _sampled(groups)
    texts = [kept[i][1] for i in taken]
    labels = np.array([LABELS.index(kept[i][2]) for i in taken], dtype=np.int64)
    if len(texts) < LEAST:
        more = f" ({unlabelled:,} rows have no label)" if unlabelled else ""
        raise LabelledDataError(
            f"{path}: {len(texts)} different labelled texts{more}, and fewer than {LEAST} say too little; label "
            f"{LEAST - len(texts)} more, drawn at random from your feed"
        )
    if len(np.unique(labels)) < 2:
        raise LabelledDataError(
            f"{path}: all {len(texts)} texts are {LABELS[labels[0]]}, and one class teaches nothing; label texts of "
            "other classes, too"
        )
    said = [kept[i] for i in taken if kept[i][3] is not None]
    return DeskLabels(
        texts,
        labels,
        groups[taken],
        unlabelled=unlabelled,
        copies=len(rows) - len(kept),
        left_out=len(kept) - len(taken),
        corrections=sum(label != scored for _, _, label, scored in said),
        compared=len(said),
    )


def _sampled(groups: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the places of at most MOST rows. Hashes have put the groups in order.

    A group is taken whole where it fits into what is left, else it is skipped. A group of more than MOST rows never
    fits: its first rows are taken, as many as its share of all rows.

    Invariants: no more than MOST rows; all rows where there are no more; a group of at most MOST rows is whole or
    absent, and absent only where it did not fit.
    """
    if len(groups) <= MOST:
        return np.arange(len(groups))
    order = np.argsort(groups, kind="stable")
    taken: list[NDArray[np.intp]] = []
    left = MOST
    for whole in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        part = whole[: min(left, max(1, MOST * len(whole) // len(groups)))] if len(whole) > MOST else whole
        if len(part) <= left:
            taken.append(part)
            left -= len(part)
    return np.sort(np.concatenate(taken))


def row_key(text: str) -> str:
    """Return what copies of a text have in common: a hash of its words, or of the text where it has none."""
    return hashlib.sha256((fingerprint(text) or text.strip()).encode("utf-8", "surrogatepass")).hexdigest()


def _column(columns: Sequence[str], asked: str | None, names: Sequence[str], option: str, where: str) -> str:
    """Return the column that holds the text or the label: the one that was asked for, else the first of `names`."""
    wanted = names if asked is None else (asked,)
    found = next((name for name in wanted if name in columns), None)
    if found is None:
        raise LabelledDataError(
            f"{where}: no column {' or '.join(f'`{name}`' for name in wanted)}; there is "
            f"{', '.join(f'`{name}`' for name in columns) or 'none'}: name it with {option}"
        )
    return found


def _text(fields: Mapping[str, Any], column: str, where: str) -> str:
    """Return what the encoder reads of a row. A column that has a title goes with the body, if the row has one."""
    text = fields.get(column)
    if not isinstance(text, str) or not (plain := plain_text(text.strip())):
        raise LabelledDataError(f"{where}: `{column}` is {text!r}, not a text; write one, or leave out this row")
    body = fields.get("body") if column in ("title", "headline") else None
    return f"{plain}\n{plain_text(body.strip())}" if isinstance(body, str) and body.strip() else plain


def _check_labels(path: Path, rows: Sequence[tuple[int, str, str, str | None]]) -> None:
    unknown: dict[str, list[int]] = defaultdict(list)
    for number, _, label, _ in rows:
        if label not in LABELS:
            unknown[label].append(number)
    if not unknown:
        return
    shown = "; ".join(
        f"{label[:40]!r} ({len(of):,}, first in row {of[0]})"
        for label, of in sorted(unknown.items(), key=lambda item: -len(item[1]))[:_SHOWN]
    )
    raise LabelledDataError(
        f"{path}: {sum(map(len, unknown.values())):,} of {len(rows):,} rows have a label that is none of "
        f"{', '.join(LABELS)}: {shown}. Rename these labels, or leave out these rows"
    )


def _check_copies(path: Path, by_key: Mapping[str, Sequence[tuple[int, str, str, str | None]]]) -> None:
    differing = [same for same in by_key.values() if len({label for _, _, label, _ in same}) > 1]
    if not differing:
        return
    shown = "; ".join(
        ", ".join(f"row {number}: {label}" for number, _, label, _ in sorted(same)[:_SHOWN]) + f" ({same[0][1][:60]!r})"
        for same in sorted(differing, key=lambda same: min(same)[0])[:_SHOWN]
    )
    raise LabelledDataError(
        f"{path}: {len(differing):,} texts stand there several times with different labels: {shown}. Decide on one "
        "label for each, or leave them out"
    )

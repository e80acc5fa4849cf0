"""Adapt the head of weights to a desk's labels, and refuse it where that does not help.

The one idea: whatever is chosen is chosen without the rows that judge it. Each row is judged by a head that was fitted,
with all its choices, on the rows of the other groups (nested cross-validation), so the figures are those of the whole
procedure, and no row is lost to a split. The head that is written is fitted on all rows in the same way.

A desk's rows do not say how other news should be read. So no pull is chosen with which the built-in check (check.py)
loses more than a point of weighted F1.

Invariant: the same labels give the same file, byte for byte, in whatever order they stand. It is checked in
tests/test_model_adapting.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreshock.model.adapted import to_card
from foreshock.model.answers import Answers
from foreshock.model.evaluation import measure
from foreshock.model.labels import LABELS
from foreshock.model.scorer import EncoderEngine, load_scorer
from foreshock.model.storage import open_adaptable
from foreshock.model.training.check import built_in_check
from foreshock.model.training.contrasts import contrasts
from foreshock.model.training.desk_labels import DeskLabels, folds
from foreshock.model.training.generated import generate
from foreshock.model.training.head_fitting import Floats, Rows, Whitening, fit
from foreshock.model.training.headlines import headlines

STRENGTHS = (1000.0, 300.0, 100.0, 30.0)
"""Pulls towards the shipped head that are tried, from strong to weak. Chosen on fpb with `permissive`: weaker ones lose
there from 20 rows to 500."""
OFFSETS = (0.0, -0.15, 0.15, -0.3, 0.3, -0.6, 0.6)
"""Shifts of the calibration's offset that are tried, none first and the largest last."""
FOLDS, FEW, FOLDS_OF_FEW = 5, 100, 10
"""Rows are judged in FOLDS parts, fewer than FEW rows in FOLDS_OF_FEW. The pull is chosen in FOLDS parts."""
MOST_LOST = 0.01
"""The weighted F1 that the built-in check may lose."""
_AT_ONCE = 128
_DRAWN_AGAIN = 1_000
_SEED = 11
_LEAST_PROBABILITY = 1e-6


@dataclass(frozen=True, slots=True)
class Head:
    """A head that was fitted: what is added to the weight (3, width), the bias (3,) and the calibration's offset.

    pull: towards the shipped head; None where no change was chosen. barred: the pull that was chosen first, and with
    which the built-in check has the weighted F1 `barred_f1`, too little; None where there is none.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    offset: float
    pull: float | None
    barred: float | None
    barred_f1: float

    @property
    def changes_nothing(self) -> bool:
        """Whether it gives the labels of the shipped head. A shift of how sure they are is not enough."""
        return self.pull is None


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What adapting gave. `refused`: why it should not be used, sentences; empty where it helps.

    before, after: figures of the rows, each judged by a head that did not see it. check_before, check_after: of the
    built-in check, by the head that is fitted on all rows. changed: the rows whose label such a head changes. gain: of
    weighted F1, and the bounds within which it lies in nine of ten draws of other rows like these. They leave out how
    the fit itself varies: the heads stay those of these rows, and others may give more or less than the bounds say.
    """

    head: Head
    before: dict[str, float]
    after: dict[str, float]
    changed: int
    gain: tuple[float, float, float]
    check_before: dict[str, float]
    check_after: dict[str, float]
    refused: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the figures, without the change itself."""
        return {
            "adapted": not self.refused,
            "refused": list(self.refused),
            "held_out": {"before": self.before, "after": self.after},
            "changed": self.changed,
            "gain": dict(zip(("weighted_f1", "low", "high"), self.gain, strict=True)),
            "built_in_check": {"before": self.check_before, "after": self.check_after},
            "pull": self.head.pull,
            "offset": self.head.offset,
        }


class Adapting:
    """Adapts the head of one set of weights; it may be asked several times. Not safe for several threads.

    Parameters
    ----------
    weights
        `default`, `permissive` or a folder.
    loading
        Keyword arguments of `load_scorer` beside `weights`.
    on_progress
        Called with the share of the built-in texts that is read, 0 to 1.

    Raises ModelError where weights cannot be used, are of another house, or are an adapted head themselves.
    """

    def __init__(
        self,
        weights: str = "default",
        loading: Mapping[str, Any] | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        self.weights, self.folder = weights, open_adaptable(weights)
        scorer = load_scorer(weights, **(loading or {}), cached=0)
        assert isinstance(scorer.answers, Answers)
        self._answers = scorer.answers
        self._scorer = scorer.read_by(scorer.answers, _Remembering(scorer.engine))
        self._check = built_in_check()
        ordinary = anchors()
        self.read([*ordinary, *self._check.texts], on_progress)
        self._whitening = Whitening(self._scorer.read(ordinary))
        self._of_check = self._rows(self._check.texts, self._check.labels)
        self._check_f1 = measure(self._of_check.logits, self._check.labels)["weighted_f1"]

    def read(self, texts: Sequence[str], on_progress: Callable[[float], None] | None = None) -> None:
        """Encode texts, which are then remembered."""
        for done in range(0, len(texts), _AT_ONCE):
            self._scorer.read(texts[done : done + _AT_ONCE])
            if on_progress is not None:
                on_progress(min(1.0, (done + _AT_ONCE) / len(texts)))

    def scores(self, texts: Sequence[str], head: Head | None = None) -> NDArray[np.float32]:
        """Return the scores (n, 3) of texts, read by a head; None: by the shipped one. They are those of serving."""
        if head is None:
            return self._scorer.score(texts)
        return self._scorer.read_by(self._answers.adapted(head.weight, head.bias, head.offset)).score(texts)

    def adapt(self, desk: DeskLabels, on_progress: Callable[[float], None] | None = None) -> Adaptation:
        """Fit a head to a desk's labels and judge it."""
        report = on_progress or (lambda share: None)
        rows = self._rows(desk.texts, desk.labels)
        parts = FOLDS_OF_FEW if len(rows) < FEW else FOLDS
        before = self.scores(desk.texts)
        after = before.copy()
        fold = folds(desk.labels, desk.groups, parts)
        for part in range(parts):
            held, others = np.flatnonzero(fold == part), np.flatnonzero(fold != part)
            if len(held):
                head = self.fit(rows.part(others), desk.groups[others])
                after[held] = self.scores([desk.texts[i] for i in held], head)
            report((part + 1) / (parts + 1))
        head = self.fit(rows, desk.groups)
        report(1.0)
        judged = _figures(before, desk.labels), _figures(after, desk.labels)
        changed = int((before.argmax(axis=1) != after.argmax(axis=1)).sum())
        check = self._check
        of_check = tuple(_figures(self.scores(check.texts, one), check.labels) for one in (None, head))
        return Adaptation(
            head=head,
            before=judged[0],
            after=judged[1],
            changed=changed,
            gain=_gain(before, after, desk),
            check_before=of_check[0],
            check_after=of_check[1],
            refused=_refusals(head, changed, judged[0], judged[1], of_check[0], of_check[1]),
        )

    def fit(self, rows: Rows, groups: NDArray[np.int64]) -> Head:
        """Fit a head to rows: its pull and its shift of the calibration are chosen by rows left out in turn.

        Among pulls that do about as well, the strongest is taken: the first whose loss is within a standard error of
        the best. Among shifts that do about as well, the smallest is taken.
        """
        logits = np.repeat(rows.logits[None], 1 + len(STRENGTHS), axis=0)
        fold = folds(rows.labels, groups, FOLDS)
        for part in range(FOLDS):
            held, others = np.flatnonzero(fold == part), np.flatnonzero(fold != part)
            for i, change in enumerate(fit(rows.part(others), STRENGTHS), 1):
                logits[i, held] += rows.whitened[held] @ change.T
        losses = np.array([self._loss(rows, of_pull, 0.0) for of_pull in logits])
        changes = [np.zeros((len(LABELS), rows.whitened.shape[1])), *fit(rows, STRENGTHS)]
        f1 = [measure(self._of_check.logits + self._of_check.whitened @ c.T, self._check.labels) for c in changes]
        bearable = [True, *(one["weighted_f1"] >= self._check_f1 - MOST_LOST for one in f1[1:])]
        first, pull = _strongest(losses, [True] * len(changes)), _strongest(losses, bearable)
        shifted = np.array([self._loss(rows, logits[pull], shift) for shift in OFFSETS])
        offset = OFFSETS[_strongest(shifted, [True] * len(shifted))]
        chosen = self._whitening.back(changes[pull])
        return Head(
            chosen.weight.astype(np.float32),
            chosen.bias.astype(np.float32),
            offset,
            None if pull == 0 else STRENGTHS[pull - 1],
            None if bearable[first] else STRENGTHS[first - 1],
            f1[first]["weighted_f1"],
        )

    def card(self, desk: DeskLabels, found: Adaptation, *, name: str, set_: str) -> dict[str, Any]:
        """Return what `write_adapted` writes. set_: what to call the rows among what the model was trained on."""
        counts = np.bincount(desk.labels, minlength=len(LABELS)).tolist()
        return to_card(
            name=name,
            weights=self.weights,
            made_for=self.folder.identity(""),
            weight=found.head.weight,
            bias=found.head.bias,
            offset=found.head.offset,
            about={
                "trained_on": [set_],
                "rows": {"n": len(desk.texts), **dict(zip(LABELS, counts, strict=True)), "sha256": desk.sha256()},
                "figures": found.to_json(),
            },
        )

    def _rows(self, texts: Sequence[str], labels: NDArray[np.int64]) -> Rows:
        embedded = self._scorer.read(texts)
        logits = self._answers.logits(embedded)
        return Rows(embedded, self._whitening.rows(embedded), logits, self._answers.scales(logits, embedded), labels)

    def _loss(self, rows: Rows, logits: Floats, offset: float) -> Floats:
        """Return the loss (n,) of each row. A label that no row has is left out of the odds, as in `fit`."""
        there = np.unique(rows.labels)
        answers = self._answers.adapted(_NONE, _NONE, offset)
        shares = answers.calibrated(logits, rows.embedded).astype(np.float64)
        mine = shares[np.arange(len(rows)), rows.labels] / shares[:, there].sum(axis=1)
        return _nats(mine)


_NONE = np.zeros(1, dtype=np.float32)
"""A change of nothing, whatever the width."""


class _Remembering:
    """An engine that remembers embeddings: heads are tried on the same texts again and again."""

    def __init__(self, engine: EncoderEngine) -> None:
        self.threads, self.runtime = engine.threads, engine.runtime
        self._engine = engine
        self._known: dict[tuple[int, ...], NDArray[np.float32]] = {}

    def embed(self, rows: Sequence[Sequence[int]], marks: Sequence[Sequence[int]] | None = None) -> NDArray[np.float32]:
        assert marks is None, "companies are not asked about here"
        keys = [tuple(row) for row in rows]
        if missing := [key for key in dict.fromkeys(keys) if key not in self._known]:
            self._known.update(zip(missing, self._engine.embed(missing), strict=True))
        return np.stack([self._known[key] for key in keys])


def anchors() -> list[str]:
    """Return the ordinary texts by which a change is measured. None of them is in the built-in check."""
    made = [*headlines(800, seed=_SEED), *contrasts(300, seed=_SEED)]
    return [*(row.text for row in made), *generate(400, seed=_SEED).texts]


def _strongest(losses: Floats, allowed: Sequence[bool]) -> int:
    """Return the first row of losses (choices, n) that is within a standard error of the best; of those allowed.

    With fewer than two losses, there is no standard error: then it is the first that is allowed.
    """
    places = np.flatnonzero(allowed)
    if losses.shape[1] < 2:
        return int(places[0])
    best = losses[places[losses[places].mean(axis=1).argmin()]]
    for place in places.tolist():
        worse = losses[place] - best
        if worse.mean() <= worse.std(ddof=1) / np.sqrt(len(worse)):
            return place
    raise AssertionError("the best is within a standard error of itself")


def _nats(shares: Floats) -> Floats:
    found: Floats = -np.log(np.maximum(shares, _LEAST_PROBABILITY))
    return found


def _figures(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    mine = scores[np.arange(len(labels)), labels].astype(np.float64)
    return {**measure(scores, labels), "log_loss": float(_nats(mine).mean())}


def _gain(before: NDArray[np.float32], after: NDArray[np.float32], desk: DeskLabels) -> tuple[float, float, float]:
    """Return the gain in weighted F1, and its bounds (5 % and 95 %) where groups of rows are drawn again."""
    classes = len(LABELS)
    _, group = np.unique(desk.groups, return_inverse=True)
    cells = []
    for scores in (before, after):
        of_group = np.zeros((group.max() + 1, classes * classes))
        np.add.at(of_group, (group, desk.labels * classes + scores.argmax(axis=1)), 1)
        cells.append(of_group)
    random = np.random.default_rng(_SEED)
    drawn = random.multinomial(len(cells[0]), np.full(len(cells[0]), 1 / len(cells[0])), size=_DRAWN_AGAIN)
    drawn = np.vstack([np.ones(len(cells[0]), dtype=np.int64), drawn])
    lost, won = (_weighted_f1((drawn @ of_group).reshape(-1, classes, classes)) for of_group in cells)
    gains = won - lost
    return float(gains[0]), float(np.quantile(gains[1:], 0.05)), float(np.quantile(gains[1:], 0.95))


def _weighted_f1(tables: NDArray[Any]) -> Floats:
    """Return the weighted F1 (n,) of tables (n, classes, classes): labels by predictions."""
    hits, support = np.diagonal(tables, axis1=1, axis2=2), tables.sum(axis=2)
    f1 = 2 * hits / np.maximum(support + tables.sum(axis=1), 1)
    found: Floats = (f1 * support).sum(axis=1) / support.sum(axis=1)
    return found


def _refusals(
    head: Head,
    changed: int,
    before: Mapping[str, float],
    after: Mapping[str, float],
    check_before: Mapping[str, float],
    check_after: Mapping[str, float],
) -> tuple[str, ...]:
    """Return why a head should not be used, sentences."""
    said = []
    lost = check_before["weighted_f1"] - (head.barred_f1 if head.barred is not None else check_after["weighted_f1"])
    if head.changes_nothing and head.barred is not None:
        said.append(
            f"What these labels teach costs the built-in check {100 * lost:.1f} points of weighted F1 "
            f"({check_before['weighted_f1']:.3f} before, {head.barred_f1:.3f} after). One point is allowed."
        )
    elif head.changes_nothing:
        said.append("These labels teach nothing that holds for rows that were left out.")
    elif lost > MOST_LOST + 1e-9 and head.barred is None:
        said.append(f"The built-in check loses {100 * lost:.1f} points of weighted F1. One point is allowed.")
    if not changed and not head.changes_nothing:
        said.append("No label changed on texts that were left out, so nothing says that the head helps.")
    for name, figure, worse in (("weighted F1", "weighted_f1", -1), ("the log loss", "log_loss", 1)):
        if worse * (after[figure] - before[figure]) > 0:
            verb = "falls" if worse < 0 else "rises"
            said.append(f"On rows that it did not see, {name} {verb} from {before[figure]:.4f} to {after[figure]:.4f}.")
    return tuple(said)

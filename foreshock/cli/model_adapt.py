"""`foreshock model adapt`: adapt the head of the model to a desk's labels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreshock.cli import options, output
from foreshock.cli.errors import FAILED

if TYPE_CHECKING:
    from foreshock.model.training.adapting import Adaptation
    from foreshock.model.training.desk_labels import DeskLabels

_FIGURES = (
    ("accuracy", "accuracy"),
    ("weighted_f1", "weighted F1"),
    ("ece", "calibration error"),
    ("log_loss", "log loss"),
)


def adapt(
    labels: Annotated[
        Path,
        typer.Argument(metavar="LABELS", help="Labelled texts: CSV, JSON lines, Parquet, .xlsx; also .gz and .zst."),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The file to write. Its name becomes the model's.")
    ] = Path("adapted.json"),
    text_column: Annotated[
        str | None,
        typer.Option(
            "--text-column",
            metavar="NAME",
            help="Column of the texts. Default: text, else title or headline with body.",
        ),
    ] = None,
    label_column: Annotated[
        str | None,
        typer.Option("--label-column", metavar="NAME", help="Column of the labels. Default: label, else sentiment."),
    ] = None,
    weights: options.Weights = None,
    device: options.Device = None,
    encoding: options.Encoding = None,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Adapt the model to 20 to 2,000 texts that you labelled, and write a small file that can score.

    It compares the adapted model with the one before, on texts that it did not learn from and on headlines of its own.
    Where it loses, it writes nothing and exits with 1. The same labels give the same file, from rows in any order.
    """
    if out.exists():
        raise typer.BadParameter(f"{out} already exists; name another file", param_hint="--out")
    if out.suffix != ".json":
        raise typer.BadParameter(f"{out}: the file is JSON; name it {out.stem}.json", param_hint="--out")
    if not os.access(out.absolute().parent, os.W_OK) or not out.absolute().parent.is_dir():
        raise typer.BadParameter(f"{out.parent}: no folder that can be written to; make it first", param_hint="--out")
    settings = options.load(config, weights=weights, device=device, encoding=encoding).settings

    from foreshock.model.adapted import write_adapted
    from foreshock.model.comparing import set_of, trained_on, was_trained_on
    from foreshock.model.settings import absolute
    from foreshock.model.storage import open_adaptable
    from foreshock.model.training.desk_labels import read_desk_labels

    open_adaptable(settings.model.weights)
    desk = read_desk_labels(
        labels, text_column=text_column, label_column=label_column, encoding=settings.ingest.encoding
    )
    from foreshock.model.training.adapting import Adapting  # torch: two seconds, which a bad file should not cost

    loading = settings.model.loading() | {"also": ()}  # one head is adapted, of these weights
    base = absolute(loading.pop("weights"))
    with output.progress("adapt") as advance:

        def step(begin: float, share: float, words: str) -> Any:
            return lambda done: advance(begin + share * done, 1.0, words)

        task = Adapting(base, loading, step(0.0, 0.25, "reading the built-in texts"))
        task.read(desk.texts, step(0.25, 0.45, "reading your texts"))
        found = task.adapt(desk, step(0.7, 0.3, "fitting"))
    set_ = set_of(labels)
    known = was_trained_on(set_, trained_on(base) or ())
    if not found.refused:
        write_adapted(out, task.card(desk, found, name=out.stem, set_=set_))
    if json:
        said = {"rows": len(desk.texts), "trained_on_it": known, "file": None if found.refused else str(out)}
        output.print_json(said | found.to_json())
    else:
        _print(desk, found, base, set_ if known else None)
        if not found.refused:
            output.print_text(f'Wrote {out}. Use it with [model] weights = "{out}", or --weights {out}.')
            output.print_text(f"For a store that has stories: foreshock model switch {out}")
    if found.refused:
        output.note(f"Refused, and nothing was written: {' '.join(found.refused)}")
        raise typer.Exit(FAILED)


def _print(desk: DeskLabels, found: Adaptation, weights: str, known: str | None) -> None:
    counted = [
        f"{number:,} {words}"
        for number, words in (
            (desk.copies, "copies counted once"),
            (desk.unlabelled, "rows without a label left out"),
            (desk.left_out, "left out, because 2,000 are enough: `foreshock model finetune` is for more"),
        )
        if number
    ]
    output.print_text("; ".join([f"{len(desk.texts):,} labelled texts", *counted]) + ".")
    if known is not None:
        output.print_text(
            f"{weights} was trained on {known}: it knows its convention, and is better on texts that it was trained on."
        )
    if desk.compared and 2 * desk.corrections > desk.compared:
        output.print_text(
            f"{desk.corrections:,} of {desk.compared:,} rows correct the model. Mistakes alone do not show what it "
            "gets right: label some texts that were drawn at random, too."
        )
    rows = [
        (words, *(f"{of[name]:.4f}" for of in (found.before, found.after, found.check_before, found.check_after)))
        for name, words in _FIGURES
    ]
    columns = ("yours, before", "yours, after", "check, before", "check, after")
    output.print_table(("", *columns), rows, right=columns)
    gain, low, high = (100 * value for value in found.gain)
    output.print_text(
        f"Gain on your texts: {gain:+.1f} points of weighted F1 (other texts like these: {low:+.1f} to {high:+.1f} in "
        "nine cases of ten, by the same heads). Each text was judged by a head that did not see it. "
        f"{found.changed:,} labels changed."
    )

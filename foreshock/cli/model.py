"""`foreshock model`: train, measure and time the sentiment model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foreshock.cli import options, output

Weights = Annotated[str | None, typer.Option("--weights", help="default, permissive or a folder.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")]


def teach(
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="Holds SET_train.jsonl.gz and SET_valid.jsonl.gz of each set.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the teacher goes.")] = Path("teacher"),
    sets: Annotated[str, typer.Option("--sets", help="Labelled sets to train on.")] = "fpb,tfns,fiqa,sentfin",
    epochs: Annotated[int, typer.Option("--epochs", min=1)] = 3,
    batch: Annotated[int, typer.Option("--batch", min=2)] = 32,
    frozen: Annotated[int, typer.Option("--frozen", min=0, max=12, help="So many of 12 layers are not trained.")] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    board: Annotated[Path | None, typer.Option("--board", metavar="DIR", help="TensorBoard's logs go there.")] = None,
    json: options.Json = False,
) -> None:
    """Train a larger encoder, whose soft labels the small one then learns from. Needed for training only.

    Run again after an interruption, it goes on from its last checkpoint to the same result.
    """
    from foreshock.model import teaching

    names = [name.strip() for name in sets.split(",") if name.strip()]
    record = teaching.teach(
        data, out, sets=names, epochs=epochs, batch=batch, frozen=frozen, seed=seed, board=board
    )
    if json:
        output.print_json(record)
    else:
        output.print_text(f"The teacher is in {out}; what it reaches stands in {out / 'record.json'}.")


def finetune(
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="Holds SET_train.jsonl.gz and SET_valid.jsonl.gz of each set.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the weights go.")] = Path("weights"),
    sets: Annotated[str, typer.Option("--sets", help="Labelled sets to train on.")] = "fpb,tfns,fiqa,sentfin",
    epochs: Annotated[int, typer.Option("--epochs", min=1)] = 4,
    batch: Annotated[int, typer.Option("--batch", min=2)] = 32,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    json: options.Json = False,
) -> None:
    """Train the encoder on labelled news: supervised contrastive loss together with cross-entropy.

    Run again after an interruption, it goes on from its last checkpoint to the same result.
    """
    from foreshock.model import finetuning

    names = [name.strip() for name in sets.split(",") if name.strip()]
    record = finetuning.finetune(data, out, name=out.name, sets=names, epochs=epochs, batch=batch, seed=seed)
    if json:
        output.print_json(record)
    else:
        output.print_text(f"The weights are in {out}; what they reach stands in {out / 'record.json'}.")
        output.print_text(f'Use them with [model] weights = "{out}", or --weights {out}.')


def evaluate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines with text and label; .gz as it is.")],
    weights: Weights = None,
    device: Device = None,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Score labelled texts and compare: accuracy, F1 and calibration error."""
    from foreshock.model import evaluation
    from foreshock.model.scorer import load_scorer

    model = options.load(config, weights=weights, device=device).settings.model
    metrics = evaluation.evaluate(load_scorer(model.weights, model.device), file)
    if json:
        output.print_json(metrics)
    else:
        rows = ((key, f"{value:.4f}" if isinstance(value, float) else f"{value:,}") for key, value in metrics.items())
        output.print_table(("metric", "value"), rows, right=("value",))


def bench(
    weights: Weights = None, device: Device = None, json: options.Json = False, config: options.Config = None
) -> None:
    """Texts per second, against a transformers pipeline around a BERT-base: same texts, same threads, same run."""
    from foreshock.model import bench as benchmark
    from foreshock.model.scorer import load_scorer

    model = options.load(config, weights=weights, device=device).settings.model
    result = benchmark.bench(load_scorer(model.weights, model.device))
    if json:
        output.print_json(result)
    else:
        rows = ((key, f"{value:,.2f}" if isinstance(value, float) else value) for key, value in result.items())
        output.print_table(("measure", "value"), rows, right=("value",))

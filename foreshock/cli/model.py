"""`foreshock model`: train, measure and time the sentiment model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from foreshock.cli import options, output

Weights = Annotated[str | None, typer.Option("--weights", help="default, permissive or a folder.")]
Data = Annotated[
    Path, typer.Option("--data", metavar="DIR", help="Holds SET_train.jsonl.gz and SET_valid.jsonl.gz of each set.")
]
Board = Annotated[Path | None, typer.Option("--board", metavar="DIR", help="TensorBoard's logs go there.")]
Similarity = Literal["cosine", "euclidean", "manhattan", "angular"]
Loss = Literal["infonce", "triplet", "mse"]
Positives = Literal["views", "matched", "both"]
_PROBES = ("alignment", "uniformity", "flip_probe")
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")]


def pretrain(
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="Feed files (.jsonl, .jsonl.gz) to read texts of.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the encoder goes.")] = Path("pretrained"),
    labelled: Annotated[
        Path | None,
        typer.Option("--labelled", metavar="DIR", help="Holds labelled sets, whose validation texts are left out."),
    ] = None,
    similarity: Annotated[
        Similarity, typer.Option("--similarity", help="cosine, euclidean, manhattan or angular.")
    ] = "cosine",
    loss: Annotated[Loss, typer.Option("--loss", help="infonce, triplet or mse.")] = "infonce",
    negatives: Annotated[
        int, typer.Option("--negatives", min=0, help="Hard negatives (flipped texts) for each positive.")
    ] = 1,
    positives: Annotated[
        Positives,
        typer.Option("--positives", help="views of the text, matched (the most similar text seen lately) or both."),
    ] = "views",
    temperature: Annotated[float, typer.Option("--temperature", min=0.01, help="Of infonce.")] = 0.05,
    learn_temperature: Annotated[bool, typer.Option("--learn-temperature", help="Begin there and learn it.")] = False,
    masked: Annotated[
        float, typer.Option("--masked", min=0, help="Weight of masked-language modelling beside it; 0: none.")
    ] = 0.0,
    texts: Annotated[int, typer.Option("--texts", min=0, help="So many texts, drawn at random; 0: all.")] = 0,
    steps: Annotated[int, typer.Option("--steps", min=0, help="0: one pass over the texts.")] = 0,
    batch: Annotated[int, typer.Option("--batch", min=2)] = 64,
    learning_rate: Annotated[float, typer.Option("--learning-rate", min=0, help="The peak, for the top layer.")] = 5e-5,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    board: Board = None,
    json: options.Json = False,
) -> None:
    """Train the encoder on news without labels: views of a text together, texts that mean the opposite apart.

    Run again after an interruption, it goes on from its last checkpoint to the same result.
    """
    from foreshock.model.training import pretraining

    settings = pretraining.Settings(
        similarity=similarity,
        loss=loss,
        negatives=negatives,
        positives=positives,
        temperature=temperature,
        learned=learn_temperature,
        masked=masked,
        texts=texts,
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        seed=seed,
    )
    record = pretraining.pretrain(data, out, settings, name=out.name, labelled=labelled, board=board)
    if json:
        output.print_json(record)
        return
    before, after = (record["held_out"][when] for when in ("before", "after"))
    rows = [(key.replace("_", " "), *(_figure(found[key]) for found in (before, after))) for key in _PROBES]
    output.print_table(("of held-out texts", "before", "after"), rows, right=("before", "after"))
    output.print_text(f"The encoder is in {out}; fine-tune it with foreshock model finetune --base {out}.")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def teach(
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the teacher goes.")] = Path("teacher"),
    sets: Annotated[str, typer.Option("--sets", help="Labelled sets to train on.")] = "fpb,tfns,fiqa",
    base: Annotated[
        Path | None,
        typer.Option(
            "--base",
            metavar="DIR",
            help="An encoder that transformers reads: config.json, tokenizer.json, model.safetensors; else "
            "all-mpnet-base-v2.",
        ),
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", min=1)] = 3,
    batch: Annotated[int, typer.Option("--batch", min=2)] = 32,
    frozen: Annotated[int, typer.Option("--frozen", min=0, help="How many of the lowest layers are not trained.")] = 6,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    texts: Annotated[
        Path | None, typer.Option("--texts", metavar="DIR", help="Feed files whose texts get soft labels too.")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=0, help="So many of those texts.")] = 20_000,
    sentences: Annotated[int, typer.Option("--sentences", min=0, help="So many sentences of their bodies.")] = 0,
    variants: Annotated[int, typer.Option("--variants", min=0, help="Variants of each training text.")] = 2,
    kept: Annotated[
        Path | None,
        typer.Option("--kept", metavar="FILE", help="A teacher's soft-labels.safetensors, which says what to label."),
    ] = None,
    board: Board = None,
    json: options.Json = False,
) -> None:
    """Train a larger encoder, and write its soft labels, from which the small one learns. Needed for training only.

    Run again after an interruption, it goes on from its last checkpoint to the same result. Where --out holds a
    teacher, only the soft labels are made anew. With --kept no teacher is needed: the file holds what one said of the
    same texts.
    """
    from foreshock.model.training import teaching
    from foreshock.model.training.teacher import TeacherBase

    if kept is not None:
        counts = teaching.recall(data, kept, out, texts=texts)
        if json:
            output.print_json(counts)
        else:
            _tell_soft_labels(out, counts)
        return
    if not (out / "record.json").is_file():
        names = _names(sets)
        settings = teaching.Settings(sets=names, epochs=epochs, batch=batch, frozen=frozen, seed=seed)
        start = TeacherBase(base, base.resolve().name) if base else None
        teaching.teach(data, out, settings, base=start, board=board)
    counts = teaching.label(data, out, texts=texts, count=count, sentences=sentences, variants=variants, seed=seed)
    if json:
        output.print_json(counts)
    else:
        output.print_text(f"The teacher is in {out}; what it reaches stands in {out / 'record.json'}.")
        _tell_soft_labels(out, counts)


def _tell_soft_labels(out: Path, counts: Mapping[str, int]) -> None:
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in counts.items())
    output.print_text(f"Its soft labels are in {out / 'soft-labels.jsonl.gz'}: {kinds}.")


def finetune(
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the weights go.")] = Path("weights"),
    sets: Annotated[str, typer.Option("--sets", help="Labelled sets to train on.")] = "fpb,tfns,fiqa,sentfin",
    base: Annotated[
        Path | None,
        typer.Option(
            "--base", metavar="DIR", help="What `model pretrain` or `model finetune` wrote; else all-MiniLM-L6-v2."
        ),
    ] = None,
    soft_labels: Annotated[
        Path | None, typer.Option("--soft-labels", metavar="FILE", help="What `model teach` wrote.")
    ] = None,
    distillation: Annotated[
        float, typer.Option("--distillation", min=0, max=1, help="The soft label's share where there is a hard one.")
    ] = 0.7,
    epochs: Annotated[int, typer.Option("--epochs", min=1)] = 4,
    batch: Annotated[int, typer.Option("--batch", min=2)] = 32,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="The peak, of the top layer.")] = 1e-4,
    contrastive: Annotated[
        float, typer.Option("--contrastive", min=0, max=1, help="Weight of the supervised contrastive loss.")
    ] = 0.2,
    source_bias: Annotated[
        bool, typer.Option("--source-bias", help="Learn a bias for each set, dropped at inference.")
    ] = False,
    averaging: Annotated[
        float, typer.Option("--averaging", min=0, max=0.9999, help="Decay of an average over the steps' weights.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    folds: Annotated[
        int | None, typer.Option("--folds", metavar="K", min=2, help="Cross-validate over training and validation.")
    ] = None,
    search: Annotated[
        int | None, typer.Option("--search", metavar="N", min=1, help="Try N sets of hyper-parameters, keep the best.")
    ] = None,
    board: Board = None,
    json: options.Json = False,
) -> None:
    """Train the encoder on labelled news: supervised contrastive loss, cross-entropy, a teacher's soft labels.

    Run again after an interruption, it goes on from its last checkpoint to the same result.
    """
    if folds and search:
        raise typer.BadParameter("cross-validate what --search found, in a second run", param_hint="--folds")
    if base and base.resolve() == out.resolve():
        raise typer.BadParameter("holds the base, which would be overwritten; give another folder", param_hint="--out")

    from foreshock.model.training import finetuning
    from foreshock.model.training.base import minilm, read_base

    settings = finetuning.Settings(
        sets=_names(sets),
        distillation=distillation,
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate,
        contrastive=contrastive,
        source_bias=source_bias,
        averaging=averaging,
        seed=seed,
    )
    start = read_base(base) if base else minilm()

    def train(data: Path, folder: Path, **found: Any) -> dict[str, Any]:
        # Folds and trials have curves of their own; in one folder each would purge the steps of the one before.
        logs = board / folder.name if board and folder != out else board
        return finetuning.finetune(
            data, folder, replace(settings, **found), name=out.name, base=start, soft_labels=soft_labels, board=logs
        )

    binding: dict[str, Any] = asdict(settings) | {"base": start.name}
    if folds or search:
        binding["data_sha256"] = finetuning.data_sha256(data, settings.sets, soft_labels)
    if folds:
        from foreshock.model.training.crossvalidation import cross_validate

        record = cross_validate(train, data, out, folds=folds, sets=settings.sets, seed=seed, settings=binding)
    elif search:
        from foreshock.model.training.searching import search as search_

        record = search_(train, data, out, trials=search, seed=seed, settings=binding)
    else:
        record = train(data, out)
    if json:
        output.print_json(record)
    elif folds:
        rows = ((s, f"{f1['mean']:.4f}", f"{f1['deviation']:.4f}") for s, f1 in record["weighted_f1"].items())
        output.print_table(("set", "weighted F1", "deviation"), rows, right=("weighted F1", "deviation"))
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


def _names(sets: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in sets.split(",") if name.strip())

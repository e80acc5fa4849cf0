"""`foreshock model`: train, evaluate and time the sentiment model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from foreshock.cli import options, output

Data = Annotated[
    Path,
    typer.Option("--data", metavar="DIR", help="Folder with SET_train.jsonl.gz and SET_valid.jsonl.gz of each set."),
]
Board = Annotated[Path | None, typer.Option("--board", metavar="DIR", help="Folder for TensorBoard logs.")]
Similarity = Literal["cosine", "euclidean", "manhattan", "angular"]
Loss = Literal["infonce", "triplet", "mse"]
Positives = Literal["views", "matched", "both"]
_PROBES = ("alignment", "uniformity", "flip_probe")


def pretrain(
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="Folder of feed files (.jsonl, .jsonl.gz) to train on.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the encoder.")] = Path("pretrained"),
    labelled: Annotated[
        Path | None,
        typer.Option("--labelled", metavar="DIR", help="Folder of labelled sets. Their validation texts are left out."),
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
        typer.Option("--positives", help="views of the text, matched (the most similar recent text), or both."),
    ] = "views",
    temperature: Annotated[float, typer.Option("--temperature", min=0.01, help="Temperature of infonce.")] = 0.05,
    learn_temperature: Annotated[
        bool, typer.Option("--learn-temperature", help="Start at --temperature and learn it.")
    ] = False,
    masked: Annotated[
        float, typer.Option("--masked", min=0, help="Weight of an additional masked-language loss; 0 for none.")
    ] = 0.0,
    texts: Annotated[int, typer.Option("--texts", min=0, help="Number of texts, drawn at random; 0 for all.")] = 0,
    steps: Annotated[int, typer.Option("--steps", min=0, help="Number of steps; 0 for one pass over the texts.")] = 0,
    batch: Annotated[int, typer.Option("--batch", min=2, help="Texts a step.")] = 64,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", min=0, help="Peak learning rate of the top layer.")
    ] = 5e-5,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides all random choices.")] = 0,
    board: Board = None,
    json: options.Json = False,
) -> None:
    """Train the encoder on unlabelled news: pull views of a text together, push texts with the opposite meaning apart.

    If you run it again after an interruption, it continues from its last checkpoint and gives the same result.
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
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the teacher.")] = Path("teacher"),
    sets: Annotated[str, typer.Option("--sets", help="Labelled sets to train on.")] = "fpb,tfns,fiqa",
    base: Annotated[
        Path | None,
        typer.Option(
            "--base",
            metavar="DIR",
            help="Folder of an encoder that transformers reads (config.json, tokenizer.json, model.safetensors). "
            "Default: all-mpnet-base-v2.",
        ),
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the training rows.")] = 3,
    batch: Annotated[int, typer.Option("--batch", min=2, help="Texts a step.")] = 32,
    frozen: Annotated[int, typer.Option("--frozen", min=0, help="How many of the lowest layers are not trained.")] = 6,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides all random choices.")] = 0,
    texts: Annotated[
        Path | None, typer.Option("--texts", metavar="DIR", help="Feed files whose texts get soft labels, too.")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=0, help="Number of these texts.")] = 20_000,
    sentences: Annotated[int, typer.Option("--sentences", min=0, help="Number of sentences from their bodies.")] = 0,
    variants: Annotated[int, typer.Option("--variants", min=0, help="Number of variants of each training text.")] = 2,
    kept: Annotated[
        Path | None,
        typer.Option("--kept", metavar="FILE", help="A teacher's soft-labels.safetensors to use instead of a teacher."),
    ] = None,
    board: Board = None,
    json: options.Json = False,
) -> None:
    """Train a larger encoder and write its soft labels, from which the small one learns. Only training needs it.

    If you run it again after an interruption, it continues from its last checkpoint and gives the same result. If --out
    already holds a teacher, only the soft labels are written again. With --kept no teacher is needed: the file holds
    a teacher's soft labels of the same texts.
    """
    from foreshock.model.training import labelling, teaching
    from foreshock.model.training.teacher import TeacherBase

    if kept is not None:
        counts = labelling.recall(data, kept, out, texts=texts)
        if json:
            output.print_json(counts)
        else:
            _print_soft_labels(out, counts)
        return
    if not (out / "record.json").is_file():
        names = _names(sets)
        settings = teaching.Settings(sets=names, epochs=epochs, batch=batch, frozen=frozen, seed=seed)
        start = TeacherBase(base, base.resolve().name) if base else None
        teaching.teach(data, out, settings, base=start, board=board)
    counts = labelling.label(data, out, texts=texts, count=count, sentences=sentences, variants=variants, seed=seed)
    if json:
        output.print_json(counts)
    else:
        output.print_text(f"The teacher is in {out}; its figures are in {out / 'record.json'}.")
        _print_soft_labels(out, counts)


def _print_soft_labels(out: Path, counts: Mapping[str, int]) -> None:
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in counts.items())
    output.print_text(f"The soft labels are in {out / 'soft-labels.jsonl.gz'}: {kinds}.")


def finetune(
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the weights.")] = Path("weights"),
    sets: Annotated[str, typer.Option("--sets", help="Labelled sets to train on.")] = "fpb,tfns,fiqa,sentfin",
    base: Annotated[
        Path | None,
        typer.Option(
            "--base",
            metavar="DIR",
            help="Folder that `model pretrain` or `model finetune` wrote. Default: all-MiniLM-L6-v2.",
        ),
    ] = None,
    soft_labels: Annotated[
        Path | None, typer.Option("--soft-labels", metavar="FILE", help="Soft labels that `model teach` wrote.")
    ] = None,
    distillation: Annotated[
        float, typer.Option("--distillation", min=0, max=1, help="Weight of the soft label where a text has both.")
    ] = 0.7,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the training rows.")] = 4,
    batch: Annotated[int, typer.Option("--batch", min=2, help="Texts a step.")] = 32,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", help="Peak learning rate of the top layer.")
    ] = 1e-4,
    contrastive: Annotated[
        float, typer.Option("--contrastive", min=0, max=1, help="Weight of the supervised contrastive loss.")
    ] = 0.2,
    source_bias: Annotated[
        bool, typer.Option("--source-bias", help="Learn a bias for each set; inference drops it.")
    ] = False,
    averaging: Annotated[
        float,
        typer.Option("--averaging", min=0, max=0.9999, help="Decay of the moving average of the weights; 0 for none."),
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides all random choices.")] = 0,
    folds: Annotated[
        int | None,
        typer.Option("--folds", metavar="K", min=2, help="Cross-validate over training and validation texts."),
    ] = None,
    search: Annotated[
        int | None,
        typer.Option("--search", metavar="N", min=1, help="Try N sets of hyper-parameters and keep the best."),
    ] = None,
    board: Board = None,
    json: options.Json = False,
) -> None:
    """Train the encoder on labelled news: supervised contrastive loss, cross-entropy, and a teacher's soft labels.

    If you run it again after an interruption, it continues from its last checkpoint and gives the same result.
    """
    if folds and search:
        raise typer.BadParameter(
            "--folds and --search exclude each other: cross-validate what --search found in a second run",
            param_hint="--folds",
        )
    if base and base.resolve() == out.resolve():
        raise typer.BadParameter(
            "this folder holds the base, which would be overwritten; give another folder", param_hint="--out"
        )

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
        # Each fold or trial needs its own folder of logs. In a shared one it would delete the previous one's steps.
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
        output.print_text(f"The weights are in {out}; their figures are in {out / 'record.json'}.")
        output.print_text(f'Use them with [model] weights = "{out}", or --weights {out}.')


def evaluate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines with text and label; also .gz.")],
    weights: options.Weights = None,
    device: options.Device = None,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Score labelled texts and print accuracy, F1 and calibration error."""
    from foreshock.model import evaluation
    from foreshock.model.scorer import load_scorer

    model = options.load(config, weights=weights, device=device).settings.model
    metrics = evaluation.evaluate(load_scorer(**model.loading()), file)
    if json:
        output.print_json(metrics)
    else:
        rows = ((key, f"{value:.4f}" if isinstance(value, float) else f"{value:,}") for key, value in metrics.items())
        output.print_table(("metric", "value"), rows, right=("value",))


def compare(
    models: Annotated[
        list[str], typer.Argument(metavar="FOLDER...", help="default, permissive, folders of weights, or hf:FOLDER.")
    ],
    file: Annotated[
        Path, typer.Option("--on", metavar="FILE", help="JSON lines with text and label; also .gz.", dir_okay=False)
    ],
    device: options.Device = None,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Compare models on labelled texts: accuracy, calibration, speed, memory, and whether they were trained on them."""
    from foreshock.model import comparing

    settings = options.load(config, device=device).settings.model
    loading = {key: value for key, value in settings.loading().items() if key not in {"weights", "also"}}
    found = comparing.compare(models, file, loading)
    if json:
        output.print_json([asdict(row) for row in found])
        return
    set_ = comparing.set_of(file)
    trained = {True: "yes", False: "no", None: "unknown"}
    measured = ("accuracy", "weighted F1", "ece", "texts/s", "one text, ms", "MB")
    head = ("model", "precision", *measured, f"trained on {set_}")
    rows = [
        (
            row.model,
            row.precision,
            *(f"{value:.4f}" for value in (row.accuracy, row.weighted_f1, row.ece)),
            f"{row.texts_per_second:,.1f}",
            f"{row.one_text_ms:.2f}",
            f"{row.memory_mb:,}",
            trained[row.trained_on_it],
        )
        for row in found
    ]
    output.print_table(head, rows, right=measured)
    skipped = f", {found[0].skipped:,} rows with other labels left out" if found[0].skipped else ""
    output.print_text(f"{found[0].n:,} texts of {file}{skipped}. Each model ran alone, one after the other.")
    if any(row.trained_on_it for row in found):
        output.print_text(f"A model that was trained on {set_} knows its convention: compare it on texts new to all.")


def export(weights: options.Weights = None, json: options.Json = False, config: options.Config = None) -> None:
    """Write the weights in 8 bits beside the weights, so that loading them takes less time; no score changes."""
    from foreshock.model import quantised
    from foreshock.model.storage import open_exportable, read_arrays

    folder = open_exportable(options.load(config, weights=weights).settings.model.weights)
    path = quantised.export(folder, read_arrays(folder))
    size = path.stat().st_size
    if json:
        output.print_json({"path": str(path), "bytes": size})
    else:
        output.print_text(
            f"Wrote {path} ({size / 1e6:.1f} MB). It is loaded from now on where scores are computed in 8 bits."
        )


def bench(
    weights: options.Weights = None,
    device: options.Device = None,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Measure texts per second beside a transformers pipeline around BERT-base, on the same texts and threads."""
    from foreshock.model import bench as benchmark
    from foreshock.model.scorer import load_scorer

    model = options.load(config, weights=weights, device=device).settings.model
    result = benchmark.bench(load_scorer(**model.loading()))
    if json:
        output.print_json(result)
    else:
        rows = ((key, f"{value:,.2f}" if isinstance(value, float) else value) for key, value in result.items())
        output.print_table(("measure", "value"), rows, right=("value",))


def _names(sets: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in sets.split(",") if name.strip())

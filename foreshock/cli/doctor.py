"""`foreshock doctor`: check the installation and show what it would run with."""

from __future__ import annotations

import platform
import shlex
import sys
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreshock.cli import options, output
from foreshock.model.settings import ModelSettings
from foreshock.observability.log import hidden

if TYPE_CHECKING:
    from foreshock.monitor.store.api import Store
    from foreshock.settings.models import Settings

PACKAGES = (
    "openvino",
    "torch",
    "tokenizers",
    "numpy",
    "pandas",
    "pyarrow",
    "sqlalchemy",
    "river",
    "orjson",
)
DAMAGED = "Stop every process that uses it, and restore it from a backup, or replay the feed into a new store."
LICENCE_NOTE = (
    "Some of the sets that the default weights were trained on allow research or non-commercial use only. "
    'For other use: [model] weights = "permissive".'
)


def doctor(
    connect: Annotated[
        bool,
        typer.Option(
            "--connect", help="Poll each feed, and connect to the broker and to each receiver. Sends no alert."
        ),
    ] = False,
    json: options.Json = False,
    store: options.Store = None,
    config: options.Config = None,
) -> None:
    """Show versions, device, model, licence, store and Kafka; and for each problem, how to fix it.

    A feed of the settings is a problem if its last poll failed or it does not answer. --connect tries each feed, broker
    and receiver now, and its answer counts instead.
    """
    problems: list[str] = []
    loaded = options.load(config, store=store)
    model = loaded.settings.model
    report: dict[str, Any] = {
        "foreshock": _version("foreshock"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "settings": str(loaded.file) if loaded.file else None,
        "device": _device(model, problems),
        "model": _model(model, problems),
        "store": _store(loaded.settings, problems),
        "kafka": _kafka(loaded.settings, [] if connect else problems),
        "connections": _connections(loaded.settings, problems) if connect else None,
    }
    problems += _feeds(loaded.settings, report["store"], report["connections"] or [])
    problems += [
        f"The package {name} is not installed: pip install {name}"
        for name, version in report["packages"].items()
        if version is None
    ]
    report["problems"] = problems
    report = hidden(report)
    if json:
        output.print_json(report)
    else:
        _print(report)
    if problems:
        raise typer.Exit(1)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _device(wanted: ModelSettings, problems: list[str]) -> dict[str, Any]:
    """Return what would compute scores on this machine, and `reason`: why not in 8 bits, where `auto` was set."""
    from foreshock.model.choosing import choose_for
    from foreshock.model.errors import ModelError
    from foreshock.model.threads import threads_to_use

    threads = threads_to_use() if wanted.threads == "auto" else wanted.threads
    report: dict[str, Any] = {"wanted": wanted.device, "threads": threads, "wanted_precision": wanted.precision}
    name = platform.processor() or platform.machine()
    try:
        choice = choose_for(wanted.weights, wanted.device, wanted.precision)
    except ModelError as error:
        problems.append(f"{error}.")
        return {**report, "used": "none", "name": name, "precision": "none", "library": "none", "reason": None}
    except Exception as error:  # a broken torch raises many kinds of errors
        problems.append(f"torch cannot be loaded: {error}. Install it again: pip install --force-reinstall torch")
        return {**report, "used": "none", "name": "unknown", "precision": "none", "library": "none", "reason": None}
    if choice.device == "cuda":
        import torch

        name = torch.cuda.get_device_name()
    return {
        **report,
        "used": choice.device,
        "name": name,
        "precision": choice.precision,
        "library": choice.library,
        "reason": choice.reason,
    }


def _model(wanted: ModelSettings, problems: list[str]) -> dict[str, Any]:
    from foreshock.model.errors import ModelError
    from foreshock.model.storage import check_also, check_weights, describe_weights

    weights = wanted.weights
    try:
        check_weights(weights, wanted.labels)
        check_also(weights, wanted.also)
        described = describe_weights(weights)
        also = [describe_weights(name) for name in wanted.also]
    except ModelError as error:
        if not any(str(error) in problem for problem in problems):  # what computes is asked of the same folder
            problems.append(f"The model: {error}")
        return {"name": weights, "note": LICENCE_NOTE if weights == "default" else None}
    for one in (described, *also):
        if not one["sha256_ok"]:
            problems.append(f"{one['path']}: a file does not match its SHA-256. Install Foreshock again.")
    if also:
        described["also"] = also
    return {**described, "note": LICENCE_NOTE if described.get("adapted_from", weights) == "default" else None}


def _store(settings: Settings, problems: list[str]) -> dict[str, Any]:
    from sqlalchemy.exc import DBAPIError

    from foreshock.monitor.errors import MonitorError, StoreMissing
    from foreshock.monitor.store import open_store
    from foreshock.monitor.store.database import HEAD
    from foreshock.settings.redact import redacted

    url = settings.store.url
    report: dict[str, Any] = {"url": redacted(url), "exists": False, "schema": None, "decided_until": None}
    try:
        store = open_store(url)
        report["integrity"] = _integrity(store, problems)
        report |= {"exists": True, "schema": HEAD, **store.overview(settings.receiver_names)}
        problems += report["processes"]
        problems += [
            f"The scorer, of {found['source']} since {found['began_at']}: {found['sentence']}. {found['meaning']}"
            + (f" To read its newest stories: {found['remedy']}" if found["remedy"] else "")
            for found in report["scorer"]
            if found["calls"]
        ]
        if report["standstill"]:
            problems.append(f"The store: {report['standstill']}.")
    except StoreMissing:
        pass  # not a problem: the first replay creates it
    except DBAPIError as error:
        report["exists"] = None
        problems.append(f"The store: {str(error.orig).strip()}. {DAMAGED}")
    except MonitorError as error:
        report["exists"] = None  # unknown
        damaged = isinstance(error.__cause__, DBAPIError) and "malformed" in str(error)
        problems.append(f"The store: {_sentence(str(error))} {DAMAGED}" if damaged else f"The store: {error}")
    return report


def _receiver(state: dict[str, Any]) -> str:
    """Return a receiver's state in words: works, fails, is held, or is tried again with one delivery."""
    counts = ", ".join(f"{state[word]:,} {word}" for word in ("waiting", "muted", "delivered", "parked") if state[word])
    since = f"{state['failures']} failures in a row since {state['down_since']}"
    said = {
        "ok": "works" if state["delivered"] else "nothing delivered yet",
        "failing": since,
        "held": f"held until {state['held_until']}, after {since}",
        "trial": f"the next delivery decides, after {since}",
    }[state["state"]]
    error = f": {state['last_error']}" if state["last_error"] else ""
    return f"{said}{f' ({counts})' if counts else ''}{error}"


def _integrity(store: Store, problems: list[str]) -> str | None:
    from foreshock.monitor.store import integrity

    found = integrity.check(store.engine)
    if found is None:
        return None
    if found.damage:
        problems.append(f"The store's file is damaged: {'; '.join(found.damage)}. {DAMAGED}")
        return "damaged"
    if not found.finished:
        return f"not known: the quick check was given up after {found.seconds:.0f} s"
    return f"ok (quick check of all pages, {found.seconds:.1f} s)"


def _kafka(settings: Any, problems: list[str]) -> dict[str, Any] | None:
    """Return what the brokers report about the topic; None without a `[kafka]` section."""
    if settings.kafka is None:
        return None
    from foreshock.ingest.errors import IngestError
    from foreshock.ingest.kafka import TopicReader

    report: dict[str, Any] = {"servers": list(settings.kafka.bootstrap_servers), "topic": settings.kafka.topic}
    reader = TopicReader(settings.kafka, shared=False)
    try:
        report["partitions"] = len(reader.connect().partitions)
    except IngestError as error:
        problems.append(f"Kafka: {error}")
    finally:
        reader.close()
    return report


def _connections(settings: Settings, problems: list[str]) -> list[dict[str, Any]]:
    from foreshock.analysis.connections import attempts

    found = attempts(settings)
    for attempt in found:
        if not attempt.ok:
            problems.append(f"The {attempt.kind} {attempt.name}: {_sentence(attempt.said)} {attempt.remedy}".rstrip())
    return [asdict(attempt) for attempt in found]


def _feeds(settings: Settings, store: dict[str, Any], connections: list[dict[str, Any]]) -> list[str]:
    """Return a problem for each feed of the settings whose last poll failed, or which was set aside.

    A feed that was tried just now is judged by that attempt alone.
    """
    from foreshock.ingest.feed_remedies import with_remedy

    tried = {attempt["name"] for attempt in connections if attempt["kind"] == "feed"}
    feeds = {feed.partition: feed.partition.removeprefix("rss:") for feed in settings.feeds if feed.rss}
    failed, aside = store.get("failed_polls", {}), store.get("set_aside", {})
    found = [
        f"The feed {name} failed at its last poll: {with_remedy(failed[partition])} To try it now: "
        f"foreshock feeds try {shlex.quote(name)}"
        for partition, name in feeds.items()
        if partition in failed and name not in tried
    ]
    topic = None if settings.kafka is None else settings.kafka.topic
    for source, since in aside.items():
        kafka = topic is not None and source.startswith(f"{topic}/")
        if (source in feeds and source not in failed and feeds[source] not in tried) or kafka:
            found.append(
                f"The feed {source} stands still: it has not answered since before {since}. Check that its process "
                "runs and that the feed answers: foreshock doctor --connect"
            )
    return found


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _print(report: dict[str, Any]) -> None:
    from foreshock.monitor.store import fills, switches

    model, store, device = report["model"], report["store"], report["device"]
    packages = ", ".join(f"{name} {version}" for name, version in report["packages"].items())
    lines = [
        f"foreshock  {report['foreshock']}, Python {report['python']} ({sys.executable}), {report['platform']}",
        f"packages   {packages}",
        f"settings   {report['settings'] or 'none: all defaults'}",
        f"device     {device['used']} (set: {device['wanted']}), {device['name']}, {device['threads']} threads",
        f"precision  {device['precision']} (set: {device['wanted_precision']}), {device['library']}"
        + (f": {device['reason']}" if device["reason"] else ""),
        f"model      {model['name']}, {model.get('path', 'not found')}",
        f"licence    {model.get('licence', 'unknown')}",
        *([f"           {model['note']}"] if model["note"] else []),
        *(f"also       {one['name']}, {one['path']}: {one['licence']}" for one in model.get("also", ())),
        f"store      {store['url']}: "
        + (
            f"schema {store['schema']}, {store['stories']:,} stories, decided until {store['decided_until'] or '-'}"
            if store["exists"]
            else "cannot be used, see below"
            if store["exists"] is None
            else "does not exist yet; the first replay creates it"
        ),
    ]
    if store.get("integrity"):
        lines.append(f"integrity  {store['integrity']}")
    if store["exists"]:
        lines.append(f"alerts     {store['false_alarms']['sentence']}")
        if said := store["false_alarms"]["critical_sentence"]:
            lines.append(f"critical   {said}")
        if (verdicts := store["feedback"])["judged"]:
            lines.append(f"feedback   {verdicts['useful']} of {verdicts['judged']} useful")
            lines += [
                f"           {kind}: {tally['useful']} of {tally['judged']} useful"
                for kind, tally in verdicts["by_kind"].items()
            ]
    if store["exists"] and (counts := store["delivery"]["deliveries"]):
        lines.append("delivery   " + ", ".join(f"{count:,} {state}" for state, count in counts.items()))
        lines += [f"           {name}: {error}" for name, error in store["delivery"]["errors"].items()]
    if store["exists"]:
        lines += [f"receiver   {name}: {_receiver(state)}" for name, state in store["delivery"]["receivers"].items()]
    if store["exists"]:
        lines += [f"gap        {name}: {records:,} records" for name, records in store["gaps"].items()]
        lines += [f"scorer     {found['source']}: {found['sentence']}. {found['meaning']}" for found in store["scorer"]]
        lines += [f"filling    {fills.sentence(said)}" for said in store["fills"]]
        lines += [f"switching  {switches.sentence(said)}" for said in store["model_switches"]]
        lines += [f"feed       {name}: {error}" for name, error in store["failing_feeds"].items()]
        lines += [
            f"set aside  {name}: it has not answered since before {since}. Event time goes on without it."
            for name, since in store["set_aside"].items()
        ]
        if open_sources := store["unfinished_sources"]:
            lines.append(
                f"open       {', '.join(open_sources)}: being read, or not finished. Event time waits for them."
            )
            lines.append("           If a file is lost: foreshock sources leave SOURCE")
    if (kafka := report["kafka"]) is not None:
        partitions = f"{kafka['partitions']} partitions" if "partitions" in kafka else "not reached"
        lines.append(f"kafka      {kafka['topic']} at {', '.join(kafka['servers'])}: {partitions}")
    for attempt in report["connections"] or []:
        said = "ok" if attempt["ok"] else "FAILED"
        advice = f" {attempt['remedy']}" if attempt["remedy"] else ""
        lines.append(f"connect    {attempt['kind']} {attempt['name']}: {said}, {_sentence(attempt['said'])}{advice}")
    if report["connections"] == []:
        lines.append("connect    the settings name no feed, broker or receiver")
    output.print_text("\n".join(lines))
    for problem in report["problems"]:
        output.print_text(f"PROBLEM    {problem}")
    if not report["problems"]:
        output.print_text("No problems found.")

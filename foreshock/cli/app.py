"""List the commands and their panels in `foreshock --help`. Commands import heavy packages only when they run."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from foreshock.cli import (
    ReaderGone,
    alerts,
    backtest,
    check,
    config,
    critical,
    dashboard,
    deadletters,
    demo,
    doctor,
    feeds,
    incidents,
    logs,
    model,
    model_adapt,
    model_switch,
    monitor,
    packs,
    power,
    replay,
    routes,
    run,
    score,
    series,
    serve,
    sources,
    store,
    stories,
    topics,
)

FEED = "Read news"
READ = "See results"
MODEL = "The model"
HOUSE = "Installation and settings"


def _without_types(params: list[Any]) -> list[Any]:
    """Let the help show flags without "<bool>", which reads as if they took a value."""
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
    return params


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> Any:
        return _without_types(super().get_params(ctx))


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> Any:
        return _without_types(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise ReaderGone from None  # typer would exit with 1, although nothing failed


app = typer.Typer(
    name="foreshock",
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: foreshock demo",
)


def _version(wanted: bool) -> None:
    if wanted:
        from foreshock import __version__

        print(f"foreshock {__version__}")
        raise typer.Exit


@app.callback()
def _foreshock(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """A streaming financial sentiment monitor: it turns news into scores, series by topic, and alerts with evidence."""
    logs.configure()


def _add(command: object, panel: str, example: str, name: str | None = None, to: typer.Typer = app) -> None:
    to.command(
        name,
        cls=_Command,
        help=_reflowed(inspect.getdoc(command) or ""),
        rich_help_panel=panel or None,
        epilog=f"Example: {example}",
    )(command)  # type: ignore[type-var]


def _reflowed(text: str) -> str:
    """Return a docstring whose paragraphs are one line each, so that the help wraps them at the terminal's width.

    Typer keeps the line ends of all but the first. Indented lines (examples) and lists stay as they are.
    """
    return "\n\n".join(
        paragraph
        if any(line.startswith((" ", "* ", "- ")) for line in paragraph.split("\n"))
        else " ".join(paragraph.split("\n"))
        for paragraph in text.split("\n\n")
    )


def _group(name: str, panel: str, text: str) -> typer.Typer:
    group = typer.Typer(cls=_Group, no_args_is_help=True, rich_markup_mode="rich", help=text)
    app.add_typer(group, name=name, rich_help_panel=panel)
    return group


_add(demo.demo, FEED, "foreshock demo")
_add(check.check, FEED, "foreshock check news.csv --map title=Headline,published_at=Date")
_feeds = _group("feeds", FEED, "Live feeds.")
_add(feeds.try_, "", "foreshock feeds try https://news.example.com/markets.rss", "try", _feeds)
_add(run.run, FEED, "foreshock run --config desk.toml")
_add(run.worker, FEED, "foreshock worker --config desk.toml")
_add(monitor.monitor, FEED, "foreshock monitor --config desk.toml")
_add(replay.replay, FEED, "foreshock replay news.jsonl.gz --store sqlite:///news.db")
_add(score.score, FEED, "foreshock score news.csv --output scored.csv")

_add(dashboard.dashboard, READ, "foreshock dashboard --store sqlite:///news.db")
_add(stories.stories, READ, "foreshock stories --topic oil --limit 20")
_add(series.series, READ, "foreshock series oil banks --every 1h --csv > series.csv")
_add(serve.serve, READ, "foreshock serve --config desk.toml")
_topics = _group("topics", READ, "Topics and their rules.")
_add(topics.list_, "", "foreshock topics list --json", "list", _topics)
_add(topics.try_, "", "foreshock topics try 'Target' --require retailer --exclude 'price target'", "try", _topics)
_add(topics.add_name, "", "foreshock topics add-name 'Halden Foods' --by Ada", "add-name", _topics)
_critical = _group("critical", READ, "Critical stories: one story that does not wait for statistics.")
_add(critical.try_, "", "foreshock critical try --negative 0.8", "try", _critical)
_incidents = _group("incidents", READ, "Incidents: the alerts that tell of one thing.")
_add(incidents.list_, "", "foreshock incidents list --state open", "list", _incidents)
_add(incidents.show, "", "foreshock incidents show 4a00490a", "show", _incidents)
_alerts = _group("alerts", READ, "Alerts and their evidence.")
_add(alerts.list_, "", "foreshock alerts list --json", "list", _alerts)
_add(alerts.why, "", "foreshock alerts why 'Deutsche Bank' --at 2026-03-02T14:10Z", "why", _alerts)
_add(alerts.ack, "", "foreshock alerts ack ALERT --by Ada --note 'looking into it'", "ack", _alerts)
_add(alerts.feedback, "", "foreshock alerts feedback ALERT useless --by Ada", "feedback", _alerts)
_add(alerts.silence, "", "foreshock alerts silence oil --for 8h --by Ada", "silence", _alerts)
_add(packs.pack, "", "foreshock alerts pack 4a00490a --out alert.zip", "pack", _alerts)
_add(packs.verify, "", "foreshock alerts verify alert.zip", "verify", _alerts)
_add(alerts.resend, "", "foreshock alerts resend --to desk", "resend", _alerts)
_add(alerts.send_samples, "", "foreshock alerts test --to desk", "test", _alerts)
_add(backtest.backtest, READ, "foreshock backtest news.jsonl.gz --events events.csv --curve curve.svg")
_add(power.power, READ, "foreshock power 'Deutsche Bank' --within 3d")
_dead = _group("deadletters", READ, "Records that could not become stories.")
_add(deadletters.list_, "", "foreshock deadletters list", "list", _dead)
_add(deadletters.replay, "", "foreshock deadletters replay --map published_at=Date", "replay", _dead)

_sources = _group("sources", READ, "Files, feeds and partitions, and how far each was read.")
_add(sources.list_, "", "foreshock sources list", "list", _sources)
_add(sources.leave, "", "foreshock sources leave old/news.jsonl", "leave", _sources)

_model = _group("model", MODEL, "Train and measure the sentiment model.")
_add(model.pretrain, "", "foreshock model pretrain --data feeds/ --out pretrained/ --negatives 2", "pretrain", _model)
_add(model.teach, "", "foreshock model teach --data labelled/ --out teacher/", "teach", _model)
_add(model.finetune, "", "foreshock model finetune --data labelled/ --out my-weights/", "finetune", _model)
_add(model.evaluate, "", "foreshock model evaluate labelled/fpb_valid.jsonl.gz", "evaluate", _model)
_add(
    model.compare,
    "",
    "foreshock model compare default hf:finbert/ --on labelled/fpb_valid.jsonl.gz",
    "compare",
    _model,
)
_add(model_adapt.adapt, "", "foreshock model adapt labels.csv --out desk.json", "adapt", _model)
_add(model_switch.switch, "", "foreshock model switch my-weights/", "switch", _model)
_add(model.export, "", "foreshock model export --weights my-weights/", "export", _model)
_add(model.bench, "", "foreshock model bench", "bench", _model)

_add(doctor.doctor, HOUSE, "foreshock doctor")
_store = _group("store", HOUSE, "The database: check, measure, compact, copy.")
_add(store.check, "", "foreshock store check", "check", _store)
_add(store.stats, "", "foreshock store stats --json", "stats", _store)
_add(store.vacuum, "", "foreshock store vacuum", "vacuum", _store)
_add(store.backup, "", "foreshock store backup monday.db", "backup", _store)
_add(store.restore, "", "foreshock store restore monday.db --store sqlite:///again.db", "restore", _store)
_routes = _group("routes", HOUSE, "Who hears of what.")
_at = "--at 2026-03-02T23:10+01:00"
_add(routes.who_hears, "", f"foreshock routes test --topic oil --severity critical {_at}", "test", _routes)
_config = _group("config", HOUSE, "The settings file.")
_add(config.init, "", "foreshock config init", "init", _config)
_add(config.check, "", "foreshock config check --config desk.toml", "check", _config)
_add(config.show, "", "foreshock config show", "show", _config)

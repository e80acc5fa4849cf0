"""The docs say what there is: every command, setting, table, field, reason and exit code; and README's commands run.

Lists that follow from the code (options of commands, settings) stand in the docs between markers, and are compared. To
write them anew after a change:

    python tests/test_docs.py
"""

from __future__ import annotations

import inspect
import json
import math
import re
import shlex
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import soak_checks, worked_text
from benchmarks.detection.report import tables
from foreshock.cli import main
from foreshock.cli.template import field_docstrings
from foreshock.ingest.errors import REASONS
from foreshock.model.labels import LABELS
from foreshock.monitor.deciding import DetectionRules, State
from foreshock.monitor.store import schema
from foreshock.monitor.store.alerts import alert_json
from foreshock.monitor.store.series import COLUMNS as SERIES
from foreshock.settings.load import LISTS, keys, sections

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
COMMANDS, SETTINGS = DOCS / "commands.md", DOCS / "settings.md"
PAGES = [README, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]

FIGURED = [
    README,
    *(
        DOCS / f"{name}.md"
        for name in (
            "commands",
            "store",
            "measurements",
            "scaling",
            "model",
            "detection",
            "dashboard",
            "serve",
            "tracing",
            "kubernetes",
            "webhooks",
        )
    ),
]
"""Pages with figures that were measured."""

RESULTS = ROOT / "benchmarks" / "results"
_MARKED = re.compile(r"<!-- (options|settings|figure): ([\w -]+) -->\n(.*?)<!-- end -->\n", re.S)


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its full name, `topics try`; groups are not commands."""
    import typer

    from foreshock.cli.app import app

    def walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        below = getattr(command, "commands", None)
        if below is None:
            yield name, command
        for part, sub in (below or {}).items():
            yield from walk(sub, f"{name} {part}".strip())

    yield from walk(typer.main.get_command(app), "")


def panels() -> dict[str, list[str]]:
    """The commands by their panel in `foreshock --help`, in the order in which it shows them."""
    import typer

    from foreshock.cli.app import app

    found: dict[str, list[str]] = {}
    for top, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        names = [name for name, _ in commands() if name.split()[0] == top]
        found.setdefault(command.rich_help_panel, []).extend(names)
    return found


def list_of_commands() -> str:
    """The commands of each panel, with links to their sections."""
    return "\n".join(
        f"* **{panel}**: " + " · ".join(f"[{name}](#foreshock-{name.replace(' ', '-')})" for name in names)
        for panel, names in panels().items()
    )


def options_of(command: Any) -> str:
    lines = ["| | |", "|---|---|"]
    for param in command.params:
        if param.name in {"help", "install_completion", "show_completion"} or getattr(param, "hidden", False):
            continue
        if param.param_type_name == "argument":
            shown = param.metavar or param.name.upper()
        else:
            shown = ", ".join([*param.opts, *param.secondary_opts])
            shown += f" {param.metavar}" if param.metavar else "" if param.is_flag else " VALUE"
        default = param.default
        says = (param.help or "").replace("|", "\\|")
        has_default = isinstance(default, (str, int, float, Path)) and default != ""
        if param.param_type_name == "option" and not param.is_flag and has_default:
            says += f" Default: `{default}`."
        lines.append(f"| `{shown}` | {says} |")
    return "\n".join(lines) + "\n" if len(lines) > 2 else "No options.\n"


def settings_of(section: str, model: Any) -> str:
    texts = field_docstrings(model)
    # What a list's entries must have has no default, and is left out here.
    defaults = (model.model_construct() if section in LISTS else model()).model_dump(mode="json")
    lines = [
        " ".join(inspect.cleandoc(model.__doc__).split("\n\n")[0].split()),
        "",
        "| key | default | |",
        "|---|---|---|",
    ]
    for field, name in keys(model).items():
        info = model.model_fields[name]
        default = "required" if info.is_required() else json.dumps(defaults[field])
        shown = default if default == "required" else f"`{default}`" if default not in {"null", "[]"} else ""
        says = texts.get(field, "").replace("|", "\\|")
        lines.append(f"| `{field}` | {shown} | {says} |")
    return "\n".join(lines) + "\n"


BELOW_DOCS = {
    "cost",
    "growth",
    "scorer_watch",
    "detection",
    "worked_example",
    "kafka",
    "monitor",
    "ablation",
    "fewshot",
    "adapt",
    "robustness",
    "long_texts",
    "accuracy",
    "calibration",
    "news",
    "crisis_kinds",
    "companies",
    "chinese",
    "critical",
    "new_names",
    "judged_stocknet",
    "incidents",
    "serve",
    "dashboard",
    "replay_profile",
    "tracing",
    "memory",
    "soak",
    "chaos",
}
"""Figures of pages in docs/, whose links begin there."""


def figures() -> Iterator[tuple[str, str]]:
    """Sentences with the figures in benchmarks/results; one that was not measured yet says so."""

    def measured(name: str, sentence: Callable[[dict[str, Any]], str]) -> tuple[str, str]:
        file = RESULTS / f"{name}.json"
        if not file.exists():
            return name, "Not measured yet.\n"
        result = json.loads(file.read_text())
        where = f"[{name}.json]({'../' if name in BELOW_DOCS else ''}benchmarks/results/{name}.json)"
        command, cores = result["command"], result.get("machine", {}).get("cores", "?")
        return name, f"{sentence(result)} ({where}: `{command}`, {result['date']}, {cores} cores)\n"

    yield measured(
        "installation",
        lambda r: (
            f"`.venv` takes {r['venv_mb'] / 1000:.2f} GB, including {r['torch_mb'] / 1000:.2f} GB for the CPU build of "
            f"torch. The checkout takes {r['checkout_mb']} MB."
        ),
    )
    yield measured("demo", _of_the_demo)
    yield measured("kafka", _of_kafka)
    yield measured("chinese", _of_chinese)
    yield measured("critical", _of_critical)
    yield measured("new_names", _of_new_names)
    yield measured("judged_stocknet", _of_judged)
    yield measured("incidents", _of_incidents)
    yield measured("monitor", _of_the_monitor)
    yield measured("serve", _of_serve)
    yield measured("tracing", _of_traces)
    yield measured("memory", _of_memory)
    yield measured("soak", _of_the_soak)
    yield measured("chaos", _of_chaos)
    yield measured("dashboard", _of_the_pages)
    yield "too slow", _too_slow(json.loads((RESULTS / "dashboard.json").read_text()))
    yield "scaling", _scaling()
    yield "beyond", _beyond_one_monitor()
    yield "limits", _limits()
    yield "one monitor", _of_one_monitor()
    yield measured(
        "cost",
        lambda r: (
            f"* **Cost**: {r['us_a_topic_hour']:.1f} µs of processor time a topic-hour and {r['us_an_event']:.1f} µs "
            f"an event, at {r['topics']:,} topics and buckets of five minutes. The aim is at most 5 and 50. The daily "
            "snapshot is not in it."
        ),
    )
    surges = json.loads((RESULTS / "surges.json").read_text())
    yield "surges", _of_surges(surges)
    yield "budget", _of_the_budget(surges)
    yield measured("detection", tables)
    yield measured("scorer", _of_the_scorer)
    yield measured("replay", _of_replays)
    yield measured("replay_profile", _of_a_replay)
    yield measured(
        "newswire",
        lambda r: (
            f"A complete newswire of 1987 ({r['first']['stories']:,} stories with long bodies) took "
            f"{r['first']['seconds']:,.0f} s to replay ({r['stories_per_second']:,.0f} stories a second)."
        ),
    )
    yield measured(
        "growth",
        lambda r: (
            f"A complete newswire of 1987 has {r['stories']:,} stories of {r['text_bytes_a_story']} characters on "
            f"average, {r['topics_a_story']} topics a story, {r['topics']} topics and {r['days']} days with news. Its "
            f"store takes {r['bytes'] / 1e6:.1f} MB, which is {r['bytes_a_story']:,} bytes a story. The largest tables "
            "with their indexes, in bytes a story: "
            + ", ".join(
                f"`{table}` {size:,}" for table, size in r["bytes_a_story_by_table"].items() if table != "others"
            )
            + (f", all others {others:,}" if (others := r["bytes_a_story_by_table"].get("others")) else "")
            + f". The stored state of one day takes {r['snapshot_bytes_a_day'] / 1000:,.0f} kB; `daily_state` grows "
            f"with topics and days, not with stories. Without it a story takes {_bytes_a_story(r):,} bytes, so a year "
            f"of 100,000 stories a day takes {36.6e6 * _bytes_a_story(r) / 1e9:,.0f} GB. Once a story is deleted, only "
            f"its part of the series stays, {r['bytes_a_story_by_table']['buckets']} bytes."
        ),
    )
    yield measured("scorer_watch", _of_the_watch)
    yield measured("worked_example", worked_text.example)
    worked = json.loads((RESULTS / "worked_example.json").read_text())
    yield "alert", worked_text.alert(worked)
    yield "webhook", worked_text.webhook(worked)
    yield measured("accuracy", _of_accuracy)
    yield measured("calibration", _of_calibration)
    yield measured("news", _of_news)
    yield measured("crisis_kinds", _of_crisis_kinds)
    yield measured("companies", _of_companies)
    yield measured("ablation", _of_the_ablation)
    yield measured("fewshot", _of_few_shots)
    yield measured("adapt", _of_adapted_heads)
    yield measured("robustness", _of_robustness)
    yield measured("long_texts", _of_long_texts)
    yield "pretraining", _of_pretraining()


def _of_adapted_heads(r: dict[str, Any]) -> str:
    """What adapted heads gain, by weights, set and number of rows, and how often they are refused."""
    lines = [
        "| weights | set | rows | drawn | accepted | F1 before | stated | fresh | check | elsewhere | lost | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in r["rows"]:
        gains = ("" if row[k] is None else f"{100 * row[k]:+.1f}" for k in ("stated", "fresh", "check", "elsewhere"))
        lines.append(
            f"| `{row['weights']}` | {row['set']} | {row['n']:,} | {row['draws']} | {row['accepted']} | "
            f"{row['base']:.3f} | {' | '.join(gains)} | {row['accepted_and_lost']} | {row['processor_seconds']:.0f} |"
        )
    said = (
        "Gains and losses in points of weighted F1. CPU seconds are those of the command, without the start of Python."
    )
    return "\n".join([*lines, "", said])


def _of_the_watch(r: dict[str, Any]) -> str:
    """What the scorer watch found where nothing was wrong, of made faults, and what it costs."""
    parts, made, cost = r["parts"], r["parts"]["made"], r["parts"]["cost"]
    feeds = {name: part for name, part in parts.items() if name not in ("made", "cost")}
    calls = sum(n for kind, n in made["changes"].items() if not kind.startswith("mood"))
    first = next(iter(feeds.values()))
    lines = [
        f"In {made['sources']} made sources of {made['days']} days each, with weeks of bad news and nothing wrong, "
        f"{calls} calls and {made['changes'].get('mood', 0)} notes of another mood. Parts of real feeds, and faults "
        "put into their texts; with each the kind that called, and after how many stories:",
        "",
        f"| feed | stories | false calls | at first | {' | '.join(first['faults'])} |",
        f"|---|---|---|---|{'---|' * len(first['faults'])}",
    ]
    for name, part in feeds.items():
        cells = [_of_a_fault(fault) for fault in part["faults"].values()]
        counts = f"{part['stories_that_count']:,} | {part['false_calls']} | {part['calls_at_the_beginning']}"
        lines.append(f"| {name} | {counts} | {' | '.join(cells)} |")
    lines += ["", "Each detector alone, on new words in the same feeds and in the three faults of their texts:", ""]
    lines += ["| detector | changes in the feeds | faults found | microseconds a story |", "|---|---|---|---|"]
    for name in first["detectors_alone"]:
        rows = [part["detectors_alone"][name] for part in feeds.values()]
        found, of = (sum(row[key] for row in rows) for key in ("faults_found", "of"))
        changes, most = (
            sum(row["changes_in_the_whole_feed"] for row in rows),
            max(r["microseconds_a_story"] for r in rows),
        )
        lines.append(f"| {name} | {changes} | {found} of {of} | {most:,.2f} |")
    many = cost["with_5000_sources"]
    lines += [
        "",
        f"The watch takes {cost['watching_microseconds_a_story']:,.0f} microseconds a story, and new words "
        f"{cost['novelty_microseconds_a_text']:,.1f}, beside {cost['encoder_microseconds_a_text']:,.0f} of the "
        f"encoder. With 5,000 sources it remembers {many['places']} places, {many['bytes_stored'] / 1000:,.0f} kB.",
    ]
    return "\n".join(lines)


def _of_a_fault(fault: dict[str, Any]) -> str:
    kinds = [kind for kind in fault["found"] if kind != "mood"]
    after = fault["called_after_stories"]
    return "–" if after is None else f"{', '.join(kinds)}: {after}"


def _of_the_pages(r: dict[str, Any]) -> str:
    """What the pages cost at a desk's size, for each database that was measured."""
    columns = {
        "first_ms": "whole page, ms",
        "first_cpu_ms": "of a processor, ms",
        "new_bucket_ms": "after a new bucket, ms",
        "new_bucket_cpu_ms": "of a processor, ms",
        "refresh_ms": "nothing new, ms",
        "refresh_cpu_ms": "of a processor, ms",
    }
    said = []
    for name, called in (("sqlite", "SQLite"), ("postgresql", "PostgreSQL")):
        if name not in r:
            continue
        found, rows, crowd = r[name], r[name]["rows"], r[name]["crowd"]
        pictures, again = found.get("first_picture_s", {}), found.get("again_s", {})
        head = [
            "page",
            *columns.values(),
            *(["picture in a new browser, s"] if pictures else []),
            *(["again, s"] if again else []),
        ]
        lines = [
            [
                page.replace("_", " "),
                *(f"{cost[column]:,}" for column in columns),
                *(f"{taken[page]:.2f}" for taken in (pictures, again) if taken),
            ]
            for page, cost in found["pages"].items()
        ]
        table = [head, ["---"] * len(head), *lines]
        size = f"{rows['topics']:,} topics, {rows['stories']:,} stories, {rows['buckets']:,} bucket rows"
        said.append(f"{called}, {size}:\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in table))
        together = (
            f"{crowd['viewers']} viewers at once for {crowd['seconds']:.0f} s: {len(crowd['errors'])} errors, "
            f"{crowd['refreshes']:,} refreshes, half of them within {crowd['refresh_median_ms']:,} ms and 95 % within "
            f"{crowd['refresh_p95_ms']:,} ms, for {crowd['cores_used']} of a core. The server takes "
            f"{crowd['server_mb']} MB, and {crowd['mb_per_viewer']} MB for each viewer."
        )
        together += f" The machine's load was {found['load_before']} before."
        if alone := found.get("streamlit_alone_s"):
            together += (
                f" A Streamlit page of one word takes a new browser {alone['word']} s, and one of a small chart "
                f"{alone['chart']} s."
            )
        left = found.get("left_open")
        said.append(together + (f" *Now*, left open, costs {left['share_of_a_core']:.1%} of a core." if left else ""))
    return "\n\n".join(said)


def _too_slow(r: dict[str, Any]) -> str:
    """Which pages miss the aims of docs/dashboard.md on SQLite, in a browser that was never here and with a crowd."""
    found = r["sqlite"]
    late = {page: s for page, s in found["first_picture_s"].items() if s > PICTURE_SECONDS}
    slow = sum(cost["refresh_ms"] > REFRESH_MS for cost in found["pages"].values())
    crowd, left = found["crowd"], found["left_open"]["share_of_a_core"]
    said = ", ".join(f"*{page.replace('_', ' ')}* {s:.2f} s" for page, s in sorted(late.items()))
    return (
        f"On SQLite, {slow} of {len(found['pages'])} pages need longer than {REFRESH_MS} ms for a refresh by itself. "
        f"With {crowd['viewers']} viewers at once, half of the refreshes take at most {crowd['refresh_median_ms']:,} "
        f"ms, and one in twenty takes more than {crowd['refresh_p95_ms']:,} ms. *Now*, left open, takes {left:.1%} of "
        f"a core. A new browser waits longer than {PICTURE_SECONDS} s for {len(late)} pages: {said or 'none'}.\n"
    )


PICTURE_SECONDS, REFRESH_MS = 1.5, 300
"""Aims of docs/dashboard.md: the first picture in a new browser, and the server's time for a refresh."""

DAILY = (1_000_000, 10_000_000, 100_000_000)
PEAK, BUSY = 4, 0.7
"""Assumptions of docs/scaling.md: the peak as a multiple of the day's average, and the share of a worker's capacity
that is used at the peak."""


def _of_traces(r: dict[str, Any]) -> str:
    cost = r["microseconds_a_story_by_share"]
    scored = 1e6 / json.loads((RESULTS / "kafka.json").read_text())["stories_per_second"]
    return (
        f"Making and packing the {r['spans_a_story']} spans of a story takes a worker {cost['1.0']:.0f} µs of "
        f"processor time with `share = 1`, and {cost['0.01']:.1f} µs a story with `share = 0.01`; without `url` it "
        f"takes none. For comparison: a worker on two cores takes {scored:,.0f} µs for a headline."
    )


def _of_the_soak(r: dict[str, Any]) -> str:
    """What was sent in an hour, what was lost or doubled, and what grew."""
    left, rows, flat = r["left"], r["samples"], r["flatness"]
    calm = [row["latency"]["p50"] for row in rows if not row["disturbed"] and "p50" in row["latency"]]
    others = float(np.median([row["others_cores"] for row in rows]))
    lines = [
        f"For {r['minutes']:.0f} minutes {r['stories_per_second']:,.0f} stories a second were sent: "
        f"{100 * r['share']:.0f} % of the {r['capacity']['stories_per_second']:,.0f} that one worker with one scoring "
        f"thread took beside all the rest. Other programs used {others:.1f} cores of the machine, at a lower priority. "
        f"Sending to commit took {np.median(calm):.1f} s (the median minute's median), and "
        f"{flat['latency.p95']['median']:.1f} s (its 95th percentile), disturbed minutes aside.",
        "",
        _must_be_zero(r),
        "",
    ]
    records = left["records"]
    for name, called in (("kafka", "Kafka"), ("rss", "RSS")):
        found = left[name]
        lines.append(
            f"* {called}: {found['records_sent']:,} records of {found['ids_sent']:,} stories; {found['lost']} lost, "
            f"{found['doubled']} doubled."
        )
    lines += [
        f"* With the {records['poison_sent']:,} records that are not stories, the broker acknowledged "
        f"{records['acknowledged']:,} records. It has {records['at_the_broker']:,}, and the store "
        f"{records['in_the_store']:,}, {records['dead_letters']:,} of them dead letters.",
        _of_late_stories(left["late"]),
    ]
    for name, called in (("scaled", "scaled-out"), ("single", "single-process")):
        hooks, alerts, same = left[name]["webhooks"], left[name]["alerts"], left[name]["replayed"]
        wrong = sum(hooks[key] for key in soak_checks.MESSAGES)
        differ = sum(table["only_live"] + table["only_replayed"] for table in same.values())
        lines.append(
            f"* The {called} desk: {alerts['fired']} alerts fired, {alerts['no_end']} without an end; "
            f"{alerts['without_a_message']} incidents had no message. {hooks['accepted']} messages were accepted after "
            f"{hooks['refused']} refusals; {wrong} were missing, doubled, out of order, not expected or not verified. "
            f"A replay of the exported stories gave "
            f"{sum(table['rows'] for table in same.values()):,} rows of series, alerts and incidents; {differ} differ."
        )
    lines.append(_of_the_end(r))
    lines += ["", "| process | MB at the end | MB an hour | handles an hour | verdict |", "|---|---|---|---|---|"]
    for name, process in rows[-1]["processes"].items():
        if f"{name}.mb" not in flat:
            continue
        mb, handles, threads = (flat[f"{name}.{figure}"] for figure in ("mb", "handles", "threads"))
        verdicts = sorted({one["verdict"] for one in (mb, handles, threads)} - {"flat"}) or ["flat"]
        low, high = mb["interval"]
        lines.append(
            f"| {name} | {process['mb']:,.0f} | {mb['an_hour']:+.1f} ({low:+.1f} to {high:+.1f}) | "
            f"{handles['an_hour']:+.1f} | {', '.join(verdicts)} |"
        )
    p95, cpu = flat["latency.p95"], flat["latency.cpu_ms_a_story"]
    loads = [row["load_average"] for row in rows]
    lines += [
        "",
        f"The 95th percentile of latency changed by {p95['an_hour']:+.2f} s an hour ({p95['interval'][0]:+.2f} to "
        f"{p95['interval'][1]:+.2f}; limit {p95['limit']:.2f}): {p95['verdict']}. The processor time of a story, "
        f"{cpu['median']:.2f} ms, changed by {cpu['an_hour']:+.2f} ms an hour ({cpu['interval'][0]:+.2f} to "
        f"{cpu['interval'][1]:+.2f}; limit {cpu['limit']:.2f}): {cpu['verdict']}. The machine's load average was "
        f"{min(loads):.0f} to {max(loads):.0f} meanwhile, mostly by other programs. The store grew to "
        f"{rows[-1]['store_mb']['scaled'] / 1000:.1f} GB. From the second quarter of the hour to the last, "
        f"{_of_growing_work(rows)}.",
        "",
    ]
    return "\n".join(lines)


def _must_be_zero(r: dict[str, Any]) -> str:
    wrong, where = soak_checks.not_zero(r), "[soak_checks.py](../benchmarks/soak_checks.py)"
    if wrong:
        return f"**Not zero, and they must be** ({where}): {'; '.join(wrong)}."
    return f"{len(soak_checks.must_be_zero(r))} figures must be zero ({where} lists them), and all are."


def _of_late_stories(late: dict[str, Any]) -> str:
    """What was sent late, by kind, and what was found late."""
    sent, found = late["sent"], late["found_late_stale"]
    others = sum(found_late for kind, (_, found_late, _) in found.items() if kind not in {"slow", "late", "stale"})
    return (
        f"* {sent['slow']:,} stories came late within the allowed lateness: {found['slow'][1]:,} were found late. "
        f"{sent['late']:,} came beyond it: {found['late'][1]:,} were found late. {sent['stale']:,} came beyond the "
        f"staleness: {found['stale'][2]:,} were found stale. All others were sent in time: {others:,} were found late."
    )


def _of_the_end(r: dict[str, Any]) -> str:
    """How long after the last story everything was done, how the processes ended, and what the viewer saw."""
    stages = ", ".join(
        f"not {stage}" if isinstance(took, str) else f"{stage} after {took:.0f} s"
        for stage, took in r["settled"]["seconds_until"].items()
    )
    codes = r["settled"]["exit_codes"]
    return (
        f"* When sending had ended, everything was {stages}. Of {len(codes)} processes, "
        f"{sum(code == 0 for code in codes.values())} ended with exit code 0. The viewer's "
        f"{r['viewer']['refreshes']:,} refreshes had {len(r['viewer']['errors'])} errors."
    )


def _of_growing_work(rows: list[dict[str, Any]]) -> str:
    """How much more processor time a minute takes in the last quarter than in the second, for the three that decide."""
    quarter, said = len(rows) // 4, []
    active = max(
        ("monitor 1", "monitor 2"), key=lambda name: sum(row["processes"][name]["cpu_seconds"] for row in rows)
    )
    for name, called in (("worker", "the worker"), (active, "the active monitor"), ("postgresql", "PostgreSQL")):
        used = [row["processes"][name]["cpu_seconds"] for row in rows]
        before, after = np.median(used[quarter : 2 * quarter]), np.median(used[-quarter:])
        said.append(f"{called} went from {before:.1f} to {after:.1f} s")
    return f"the processor time of a minute changed: {', '.join(said)}"


def _of_chaos(r: dict[str, Any]) -> str:
    """What became of each seed of the fault campaign."""
    same = [row for row in r["seeds"] if row["result"] == "same rows"]
    others = [f"seed {row['seed']}: {row['result']}" for row in r["seeds"] if row["result"] != "same rows"]
    sizes = Counter(row["stories"] for row in r["seeds"])
    seeds = " and ".join(f"{count} of {stories:,} stories" for stories, count in sorted(sizes.items(), reverse=True))
    kills, rows = sum(row["kills"] for row in same), sum(row["rows_compared"] for row in same)
    return (
        f"{len(r['seeds'])} seeds were run, {seeds}. {len(same)} ended with the rows of an undisturbed run, after "
        f"{kills:,} kills of workers and monitors and {sum(row['servers_restarted'] for row in same)} restarts of the "
        f"broker and the database; {rows:,} rows were compared."
        + (f" The others: {'; '.join(others)}." if others else "")
    )


def _of_memory(r: dict[str, Any]) -> str:
    by_topics = "; ".join(f"{int(topics):,} topics {mb:,.0f} MB" for topics, mb in r["monitor_mb_by_topics"].items())
    pages = json.loads((RESULTS / "dashboard.json").read_text())["postgresql"]["crowd"]
    lag = json.loads((RESULTS / "kafka.json").read_text())["lag"]
    return (
        f"The most memory that a process took: a replay of {r['headlines']:,} headlines, which scores and decides, "
        f"{r['replay_with_encoder_mb']:,.0f} MB; a process that decides two days with {r['stories']:,} stories or "
        f"more, by topics: {by_topics}; `serve`, after {r['requests']} requests of 64 texts, {r['serve_mb']:,.0f} MB. "
        f"A worker without an encoder that read a lag of {lag['records']:,} records took "
        f"{lag['megabytes_at_most']:,.0f} MB ([kafka.json](../benchmarks/results/kafka.json)), and the dashboard on "
        f"PostgreSQL {pages['server_mb']} MB and {pages['mb_per_viewer']} MB a reader "
        "([dashboard.json](../benchmarks/results/dashboard.json))."
    )


def _bytes_a_story(growth: dict[str, Any]) -> int:
    """How many bytes a story takes in the store, without the stored states, which do not grow with stories."""
    return int(growth["bytes_a_story"] - growth["bytes_a_story_by_table"]["daily_state"])


def _costs_of_a_monitor(monitor: dict[str, Any]) -> list[float]:
    """Seconds that a story, a topic-bucket and a known topic in a bucket take.

    Three measurements, three costs: nothing is left over to test the fit with.
    """
    measured = {int(topics): found for topics, found in monitor["by_topics"].items()}
    buckets = 86_400 // 300
    work = [[monitor["stories"], found["topic_buckets"], topics * buckets] for topics, found in measured.items()]
    return list(np.linalg.solve(np.array(work, float), [found["seconds"] for found in measured.values()]))


def _most_of_a_monitor() -> int:
    """How many million stories a day keep one monitor busy at the peak, with as many topics as were measured."""
    monitor = json.loads((RESULTS / "monitor.json").read_text())
    story, row, topic = _costs_of_a_monitor(monitor)
    left = 300 - (row + topic) * max(int(topics) for topics in monitor["by_topics"])
    return int(left / 300 / story * 86_400 / PEAK / 1e7) * 10


def _of_one_monitor() -> str:
    monitor = json.loads((RESULTS / "monitor.json").read_text())
    return (
        "* Divide the work of one monitor. By its costs, estimated from three measurements before today's detectors "
        f"({monitor['date']}), it can decide about {_most_of_a_monitor()} million stories a day. "
        "[What lies beyond](docs/scaling.md#beyond-one-monitor) is planned and not built.\n"
    )


def _limits() -> str:
    """What ends first as a desk grows, and what helps."""
    kafka, newswire, growth = (
        json.loads((RESULTS / f"{name}.json").read_text()) for name in ("kafka", "newswire", "growth")
    )
    peak = PEAK * 1e8 / 86_400
    workers = [math.ceil(peak / (BUSY * rate["stories_per_second"])) for rate in (kafka, newswire)]
    by_workers = {int(n): rate for n, rate in kafka["scored_stories_per_second_by_workers"].items()}
    most = max(by_workers, key=lambda n: by_workers[n])
    written = int(by_workers[most] * 86_400 / PEAK / 1e7) * 10
    size = _bytes_a_story(growth) * 1e7
    rows = [
        (
            "10 million a day",
            f"the disk: {size / 1e9:,.0f} GB a day, {366 * size / 1e12:,.0f} TB with a year of stories",
            '`keep_stories = "90d"`; older stories to [Parquet](research.md) or ClickHouse',
        ),
        (
            "100 million a day",
            f"encoding: {workers[0]} workers for headlines, {workers[1]} for long bodies",
            "GPUs, or more workers. They share nothing, so this grows as far as Kafka's partitions do.",
        ),
        (f"{_most_of_a_monitor()} million a day", "the monitor, per story", "shards"),
        (
            f"{written} million a day",
            f"PostgreSQL, which took {by_workers[most]:,.0f} stories a second from {most} workers on the same "
            f"{kafka['machine']['cores']} cores",
            "shards have one each",
        ),
    ]
    return "\n".join(
        ["| from about | what ends first | remedy |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows), ""]
    )


def _beyond_one_monitor() -> str:
    """What a story, a topic-bucket and a known topic cost the monitor, and its load by these three at the peak."""
    monitor, growth = (json.loads((RESULTS / f"{name}.json").read_text()) for name in ("monitor", "growth"))
    measured = {int(topics): found for topics, found in monitor["by_topics"].items()}
    story, row, topic = _costs_of_a_monitor(monitor)
    lines = [
        "| stories a day | peak a second | busy at the peak, with "
        + " / ".join(f"{t:,}" for t in measured)
        + " topics |"
    ]
    lines.append("|---|---|---|")
    for daily in (*DAILY, 300_000_000, 1_000_000_000):
        peak = PEAK * daily / 86_400
        busy = []
        for topics in measured:
            rows = min(topics, growth["topics_a_story"] * peak * 300)
            busy.append(f"{100 * (story * peak * 300 + row * rows + topic * topics) / 300:,.0f} %")
        lines.append(f"| {daily:,} | {peak:,.0f} | {' / '.join(busy)} |")
    costs = (
        f"It takes {1e6 * story:.0f} µs a story, {1e6 * row:.0f} µs a topic that has stories in a bucket, and "
        f"{1e6 * topic:.2f} µs a known topic in each bucket. These are three costs from three measurements, so nothing "
        f"is left over to test them with. The measurements are of {monitor['date']}; the detectors have changed since."
    )
    after = (
        f"Over 100 %, the monitor falls behind during the peak and catches up afterwards; over {PEAK * 100} % it never "
        "does. So the number of *stories* is the limit, not that of topics: about "
        f"{_most_of_a_monitor()} million a day, at a peak of {PEAK} times the average."
    )
    return "\n".join([costs, "", *lines, "", after, ""])


def _scaling() -> str:
    """What so many stories a day need, by the figures measured; empty while one of them is missing."""
    files = {name: RESULTS / f"{name}.json" for name in ("kafka", "newswire", "growth")}
    if not all(file.exists() for file in files.values()):
        return ""
    kafka, newswire, growth = (json.loads(file.read_text()) for file in files.values())
    headlines, long = kafka["stories_per_second"], newswire["stories_per_second"]
    lines = [
        f"| stories a day | average a second | peak a second ({PEAK} times) | workers, headlines "
        "| workers, long bodies | growth of the store a day |",
        "|---|---|---|---|---|---|",
    ]
    for daily in DAILY:
        average = daily / 86_400
        peak = PEAK * average
        lines.append(
            f"| {daily:,} | {average:,.0f} | {peak:,.0f} | {math.ceil(peak / (BUSY * headlines)):,} "
            f"| {math.ceil(peak / (BUSY * long)):,} | {daily * _bytes_a_story(growth) / 1e9:,.1f} GB |"
        )
    lines += [
        "",
        f"Each worker has {kafka['machine']['cores']} cores and no GPU, and runs at {100 * BUSY:.0f} % of its capacity "
        f"at the peak. Its capacity is {headlines:,.0f} headlines a second, or {long:,.0f} stories with long bodies. "
        "The stored states of the detectors, which grow with topics and days, come on top of the store's growth.",
    ]
    return "\n".join(lines) + "\n"


def _of_the_scorer(r: dict[str, Any]) -> str:
    """All rates are of one measurement, whose turns they shared; `foreshock model bench` ran after it."""
    short, beside = r["undisturbed"]["headlines"], r["beside_busy_processes"]["headlines"]["int8"]
    ours, times = short["int8"], r["times_the_pipeline"]["int8"]
    rates = {name: f"{of['texts_per_second']:,.0f}" for name, of in short.items()}
    return (
        f"On {r['threads']} cores the scorer processes {rates['int8']} headlines a second (in `float32` "
        f"{rates['float32']}). A `transformers` pipeline around a BERT-base, in batches of {r['batch']}, processes "
        f"{rates['pipeline_32']}, and the same BERT-base in our engine, in 8 bits, {rates['bert_base_int8']}. One "
        f"headline takes {ours['one_text_ms_p50']:.1f} ms, and in the pipeline {times['one_text']:.0f} times as long. "
        f"Beside as many busy processes as threads, the scorer processes {beside['texts_per_second']:,.0f}. The ratios "
        "say more than the rates, because the machine's speed drifts: `foreshock model bench`, later in the same run, "
        f"counted {r['scorer_texts_per_second']:,.0f} and {r['bert_base_texts_per_second']:,.0f}, {r['ratio']:.0f} "
        f"times as many instead of {times['batches_of_32']:.0f}."
    )


def _of_replays(r: dict[str, Any]) -> str:
    turns = sorted(r["replay_over_scorer_each_turn"])
    return (
        "A replay of the demo's headlines, which are shorter, processes "
        f"{r['replay_stories_per_second']:,.0f} a second, {r['replay_over_scorer']:.2f} of the "
        f"{r['scorer_texts_per_second']:,.0f} that the scorer alone took in that run ({turns[0]:.2f} to "
        f"{turns[-1]:.2f} by turn). If the stories carry their scores, it processes "
        f"{r['scored_stories_per_second_20_a_bucket']:,.0f} stories a second with 20 stories in a bucket, and "
        f"{r['buckets_per_second_about_one_story_each']:,.0f} buckets a second with one or two."
    )


def _of_chinese(r: dict[str, Any]) -> str:
    lines = ["| held-out texts | | weighted F1 | bad | neutral | good |", "|---|---|---|---|---|---|"]
    for name, said in (("zhfin", "zhfin (no neutral ones)"), ("lines", "our own lines")):
        of, (low, high) = r[name], r[name]["interval"]
        recall = " | ".join(f"{of['recall'][c]:.2f}" if c in of["recall"] else "" for c in LABELS)
        lines.append(f"| {said} | {of['rows']} | {of['weighted_f1']:.3f} ({low:.3f} to {high:.3f}) | {recall} |")
    kinds = sorted(r["kinds"].items(), key=lambda kind: kind[1][0] / kind[1][1])
    severity, companies, speed = r["severity"], r["companies"], r["speed"]
    by_level = ", ".join(f"{mean}" for mean in severity["mean_by_level"].values())
    differ, guess = companies["differ"], r["guess"]
    return "\n".join(lines) + (
        "\n\nThe columns give F1 with its 95 % interval, and the share of bad, neutral and good texts that are scored "
        f"as such. {r['zhfin']['called_neutral']:.0%} of zhfin is scored as neutral, which counts as wrong; if only "
        f"bad and good may be chosen, {r['zhfin']['either']:.1%} is right. `default` has "
        f"{r['default_on_chinese']['weighted_f1']:.3f} there. Lines written in Chinese have "
        f"{r['lines']['written']:.3f}, translated ones "
        f"{r['lines']['translated']:.3f}. Right by kind: "
        f"{', '.join(f'{kind} {right} of {of}' for kind, (right, of) in kinds)}. Serious and grave bad news that "
        "is called negative: "
        f"{' of '.join(map(str, severity['serious_called_negative']))}; grave alone: "
        f"{' of '.join(map(str, severity['grave_called_negative']))}. Mean severity of lines of level 0, 1, 2 and 3: "
        f"{by_level} (correlation {severity['correlation']:.2f}). Of {companies['asked']} companies, the text's score "
        f"is right for {companies['text']:.3f}, and the head for companies, which is not used, would be for "
        f"{companies['towards']:.3f}; where fates differ, for {differ['text']} and {differ['towards']} of "
        f"{differ['asked']}. The calibration error (`ece`) on the lines, "
        f"on which the calibration was fitted, is {r['lines']['ece']:.3f}. By their script, "
        f"{guess['zhfin'][0]:,} of {guess['zhfin'][1]:,} texts of zhfin are Chinese, and "
        f"{guess['english_called_chinese'][0]} of {guess['english_called_chinese'][1]:,} English ones. On one thread, "
        f"{speed['chinese_texts_a_cpu_second']} Chinese headlines a CPU second, and "
        f"{speed['default_texts_a_cpu_second']} English ones of `default`, in one run."
    )


def _of_kafka(r: dict[str, Any]) -> str:
    by_workers = r["scored_stories_per_second_by_workers"]
    waits = r["latency_seconds_by_share_of_capacity"]
    lag = r["lag"]
    return (
        f"One worker takes {r['stories_per_second']:,.0f} headlines a second from Kafka to committed rows on "
        f"PostgreSQL, {r['over_scorer']:.2f} of what its scorer alone processes on the same texts. Stories that carry "
        "their scores: "
        + ", ".join(f"{rate:,.0f} a second with {n} worker{'s' * (n != '1')}" for n, rate in by_workers.items())
        + ". Beside the sender of the stories, which uses the same cores, the worker takes "
        f"{r['capacity_beside_the_sender']:,.0f} headlines a second. Time from sending a story to its commit: "
        + "; ".join(
            f"at {share} of that ({w['stories_per_second']:,.0f} a second), {w['p50']:.2f} s (median), "
            f"{w['p95']:.2f} s (95 %), {w['p99']:.2f} s (99 %)"
            for share, w in waits.items()
        )
        + f". A worker read a lag of {lag['records']:,} records in {lag['seconds']:,.0f} s. Meanwhile it used "
        f"{lag['megabytes_in_the_second_tenth']:,.0f} MB of memory in the second tenth of that time, "
        f"{lag['megabytes_in_the_last_tenth']:,.0f} MB in the last tenth, and {lag['megabytes_at_most']:,.0f} MB at "
        "most. The broker, the database and the workers shared the machine."
    )


def _of_a_replay(r: dict[str, Any]) -> str:
    dense, sparse = r["20 stories a bucket"], r["one or two"]
    of_dense, of_sparse = dense["microseconds_a_story"], sparse["microseconds_a_story"]
    lines = ["| step | 20 stories a bucket | one or two |", "|---|---|---|"]
    lines += [f"| {step} | {took:.0f} | {of_sparse[step]:.0f} |" for step, took in of_dense.items()]
    return "\n".join(lines) + (
        f"\n\nMicroseconds of processor time a story. In all, {dense['stories_per_processor_second']:,} stories, and "
        f"{sparse['buckets_per_processor_second']:,} buckets of one or two stories, a second of one core; the load was "
        f"{r['machine']['load_before']:.0f} when this began"
    )


def _of_the_monitor(r: dict[str, Any]) -> str:
    return (
        f"The monitor alone, on PostgreSQL, with {r['stories']:,} stories of one topic each, spread over a day: "
        + "; ".join(
            f"with {int(topics):,} topics it decides {of['stories_per_second']:,.0f} stories and "
            f"{of['topic_buckets_per_second']:,.0f} topic-buckets a second, and rebuilds its state in "
            f"{of['seconds_to_rebuild_the_state']:.1f} s"
            for topics, of in r["by_topics"].items()
        )
        + "."
    )


def _of_serve(r: dict[str, Any]) -> str:
    lines = [
        "| texts a request | scorer alone, texts a second | served | ratio | p50 / p95 / p99 at 70 % load |",
        "|---|---|---|---|---|",
    ]
    for size, of in r["by_texts_a_request"].items():
        waits = " / ".join(f"{of[f'p{q}_ms_at_load']:,.0f}" for q in (50, 95, 99))
        lines.append(
            f"| {size} | {of['scorer_texts_per_second']:,} | {of['served_texts_per_second']:,} "
            f"| {of['over_scorer']:.2f} | {waits} ms |"
        )
    return "\n".join(lines) + (
        f"\n\nOn loopback, with {r['connections']} connections where no others are named, and the client on the same "
        f"cores. Load by other work on the machine before the run: {r['machine']['load_before']}. {_missed(r)}"
    )


def _missed(r: dict[str, Any]) -> str:
    """Which aims of `serve` are missed, in which rows: a share of the scorer's rate, and milliseconds at the 99th."""
    rows = r["by_texts_a_request"]
    slow = {size: f"{of['over_scorer']:.2f}" for size, of in rows.items() if of["over_scorer"] < SERVE_RATIO}
    late = {size: f"{of['p99_ms_at_load']:,.0f} ms" for size, of in rows.items() if of["p99_ms_at_load"] > SERVE_MS}

    def said(missed: dict[str, str]) -> str:
        rows = "; ".join(f"{size}: {value}" for size, value in missed.items())
        return f"is missed ({rows})" if missed else "is met"

    return (
        f"The first aim, {SERVE_RATIO} of the scorer's own rate, {said(slow)}. The second, {SERVE_MS} ms for 99 of 100 "
        f"requests at 70 % load, {said(late)}."
    )


SERVE_RATIO, SERVE_MS = 0.8, 250
"""Aims of docs/serve.md."""


def _of_the_demo(result: dict[str, Any]) -> str:
    seeds = result["seeds"]

    def each(key: str) -> str:
        return ", ".join("never" if seed[key] is None else str(seed[key]) for seed in seeds)

    def of(found: Iterable[bool]) -> str:
        return f"{sum(found)} of {len(seeds)}"

    seconds = [seed["seconds"] for seed in seeds]
    further = ", ".join(str(len(seed["further_incidents"])) for seed in seeds)
    whole = of(seed["incidents_of_crisis_drift_silence"] == [1, 1, 1] and seed["they_are_apart"] for seed in seeds)
    drift, silence, decoys = (
        of(bool(seed[key]) for seed in seeds) for key in ("drift_found", "silence_found", "decoys_that_alerted")
    )
    return (
        f"In {len(seeds)} demo feeds (seeds {each('seed')}), the alert for the crisis fired "
        f"{each('crisis_after_hours')} hours after its start. The drift was detected in {drift} feeds and the silence "
        f"in {silence}; a decoy raised an alert in {decoys}. Crisis, drift and silence were one incident each in "
        f"{whole} feeds. There were {further} further incidents. A feed took "
        f"{min(seconds):.0f} to {max(seconds):.0f} s to replay."
    )


def _of_the_ablation(result: dict[str, Any]) -> str:
    def spread(row: dict[str, Any]) -> str:
        return "" if row["spread"] is None else f" ± {row['spread']:.3f}"

    def figure(value: float | None, digits: int = 3) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    lines = [
        "| | mean F1 | seeds | fpb | tfns | fiqa | flip probe | alignment | uniformity |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        f1 = " | ".join(figure(row[name]) for name in ("fpb", "tfns", "fiqa"))
        probes = f"{figure(row['flip_probe'])} | {figure(row['alignment'], 2)} | {figure(row['uniformity'], 2)}"
        lines.append(f"| {row['row']} | {row['mean']:.3f}{spread(row)} | {row['seeds']} | {f1} | {probes} |")
    judged = [row for row in result["rows"] if row["differs"] is not None]
    differing = [f"{row['row']} ({row['against']:+.3f})" for row in judged if row["differs"]]
    alike = len(judged) - len(differing)
    says = (
        f"Different from the reference, over the same seeds: {', '.join(differing) or 'none'}. "
        + (f"The other {alike} rows with three seeds show no difference. " if alike else "")
        + "Rows with fewer seeds were not compared."
    )
    return "\n".join(lines) + f"\n\n{says}"


def _of_accuracy(r: dict[str, Any]) -> str:
    kinds = {"weighted_f1": "weighted F1", "ece": "`ece`", "ece_cross_fitted": "`ece`, cross-fitted"}
    kinds["ece_uncalibrated"] = "`ece`, no calibration"
    kinds["weighted_f1_without_near_copies"] = "weighted F1, without near copies"
    lines = [f"| | | {' | '.join(r['rows'])} |", "|---|---" + "|---" * len(r["rows"]) + "|"]
    for weights, by_set in r["weights"].items():
        for kind, words in kinds.items():
            cells = (f"{found[kind]:.3f}" if kind in found else "" for found in by_set.values())
            lines.append(f"| `{weights}` | {words} | {' | '.join(cells)} |")
    rows = ", ".join(f"{s} {n:,}" for s, n in r["rows"].items())
    near = ", ".join(f"{s} {n:,}" for s, n in r["near_copies"].items())
    return "\n".join(lines) + f"\n\nMeasured on the validation rows ({rows}; near copies of training rows: {near})"


def _of_calibration(r: dict[str, Any]) -> str:
    lines = [f"| | {' | '.join(r['sets'])} |", "|---|" + "---|" * len(r["sets"])]
    kinds = {
        ("as_used", "ece"): "`ece` as used, 15 bins",
        ("as_used", "ece_of_several_bins"): "mean over 10 to 20 bins",
        ("by_chance", "mean"): "by chance alone, mean",
        ("by_chance", "most"): "19 of 20 draws of chance stay below",
        ("sets_alike", "ece_of_several_bins"): "cross-fitted, 10 to 20 bins: each set counts alike (shipped)",
        ("rows_alike", "ece_of_several_bins"): "cross-fitted, 10 to 20 bins: each row counts alike",
        ("sets_alike", "too_sure"): "confidence less accuracy: each set counts alike (shipped)",
        ("rows_alike", "too_sure"): "confidence less accuracy: each row counts alike",
    }
    for (part, key), says in kinds.items():
        lines.append(f"| {says} | {' | '.join(f'{of[part][key]:.3f}' for of in r['sets'].values())} |")
    rows = ", ".join(f"{name} {of['rows']:,}" for name, of in r["sets"].items())
    return "\n".join(lines) + f"\n\nValidation rows of `default` ({rows}); cross-fitted in {r['ways']} ways"


def _of_few_shots(result: dict[str, Any]) -> str:
    def cell(one: dict[str, Any]) -> str:
        return f"{one['mean']:.3f}" + ("" if one["spread"] is None else f" ± {one['spread']:.3f}")

    lines = ["| | texts a class | without | with pretraining | seeds |", "|---|---|---|---|---|"]
    for row in result["rows"]:
        without, pretrained = row["without"], row["with"]
        seeds = min(without["seeds"], pretrained["seeds"])
        lines.append(f"| {row['way']} | {row['shots']} | {cell(without)} | {cell(pretrained)} | {seeds} |")
    return "\n".join(lines) + "\n\nMean weighted F1 of the three sets"


def _of_long_texts(result: dict[str, Any]) -> str:
    sets = list(result["texts"])
    lines = [
        f"| | {' | '.join(f'{name} ({texts:,})' for name, texts in result['texts'].items())} | labels changed |",
        "|---" * (2 + len(sets)) + "|",
    ]
    for rule, of in result["right"].items():
        changed = result["labels_changed_on_labelled_leads_train"][rule]
        lines.append(f"| {rule} | {' | '.join(f'{of[name]:.3f}' for name in sets)} | {100 * changed:.1f} % |")
    return "\n".join(lines) + (
        "\n\nShare of long stories with the right label. As shipped, a long story takes "
        f"{result['cpu_time_over_that_of_first']:.2f} times the CPU time of its first window"
    )


def _of_news(result: dict[str, Any]) -> str:
    weights = result["weights"]
    first = next(iter(weights.values()))

    def row(name: str, value: Callable[[dict[str, Any]], str | None]) -> str:
        return f"| {name} | {' | '.join(value(of) or '' for of in weights.values())} |"

    def percent(share: float) -> str:
        return f"{100 * share:.1f} %"

    lines = [
        f"| | {' | '.join(f'`{name}`' for name in weights)} |",
        "|---" * (1 + len(weights)) + "|",
        row("weighted F1", lambda of: f"{of['weighted_f1']:.3f}"),
        row("`ece`", lambda of: f"{of['ece']:.3f}"),
        *(
            row(
                f"{name} news called negative ({first[f'{name}_rows']} rows)",
                lambda of, n=name: percent(of[f"{n}_called_negative"]),  # type: ignore[misc]
            )
            for name in ("bad", "serious", "grave")
        ),
        row(
            "severity: mean error, correlation",
            lambda of: (
                of["severity"] and f"{of['severity']['mean_absolute_error']:.2f}, {of['severity']['correlation']:.2f}"
            ),
        ),
    ]
    for name, all_of in (first["companies"] or {}).items():
        counts = f"{all_of['companies']:,} companies, {all_of['where_fates_differ']} where fates differ"
        for way, says in (("towards", "asked towards it"), ("by_text", "by the text's score")):
            lines.append(
                row(
                    f"{name} ({counts}), {says}: accuracy, macro F1, accuracy where fates differ",
                    lambda of, n=name, w=way: (  # type: ignore[misc]
                        of["companies"]
                        and ", ".join(
                            f"{of['companies'][n][w][key]:.3f}"
                            for key in ("accuracy", "macro_f1", "accuracy_where_fates_differ")
                        )
                    ),
                )
            )
    lines += [
        *(
            row(
                f"roles swapped in {first[key]['sentences']} sentences{when}, right (95 % interval over sentences)",
                lambda of, k=key: (
                    of[k]
                    and f"{percent(of[k]['right'])} ({percent(of[k]['interval'][0])} to "  # type: ignore[misc]
                    f"{percent(of[k]['interval'][1])})"
                ),
            )
            for key, when in (("roles_swapped", ""), ("roles_written_later", " that were written after all training"))
        ),
        row("hard kinds, right", lambda of: of["kinds"] and percent(of["kinds"]["right"])),
        row(
            "label's probability while half of the words go: named first, random",
            lambda of: f"{of['explanations']['area_named']:.2f}, {of['explanations']['area_random']:.2f}",
        ),
    ]
    return "\n".join(lines) + f"\n\nValidation part of news, {first['rows']} rows"


def _of_crisis_kinds(result: dict[str, Any]) -> str:
    """The shares of bad news and of look-alikes that are called negative, by kind, the worst kind first."""
    weights = result["weights"]
    first = next(iter(weights.values()))

    def row(name: str, of: Callable[[dict[str, Any]], dict[str, Any]]) -> str:
        cells = [
            "-" if (share := of(one)[group]["called_negative"]) is None else f"{100 * share:.0f} %"
            for group in ("bad", "grave", "look_alikes")
            for one in weights.values()
        ]
        counts = "/".join(str(of(first)[group]["texts"]) for group in ("bad", "grave", "look_alikes"))
        return f"| {name} | {counts} | {' | '.join(cells)} |"

    heads = [f"{group}, `{name}`" for group in ("bad", "grave", "look-alikes") for name in weights]
    kinds = sorted(first["kinds"], key=lambda kind: first["kinds"][kind]["both"]["bad"]["called_negative"])
    lines = [
        f"| | texts | {' | '.join(heads)} |",
        "|---" * (2 + len(heads)) + "|",
        row("**all**", lambda one: one["both"]),
        row("the choice half", lambda one: one["choice"]),
        row("the probe", lambda one: one["probe"]),
        *(row(kind, lambda one, kind=kind: one["kinds"][kind]["both"]) for kind in kinds),  # type: ignore[misc]
    ]
    said = "Shares called negative; of look-alikes, lower is better. Texts: bad, grave of these, look-alikes"
    return "\n".join([*lines, "", said])


def _of_companies(result: dict[str, Any]) -> str:
    lines = [
        "| held-out companies | | text's score | as stored | better | worse |",
        "|---|---|---|---|---|---|",
    ]
    for name, words in (("every_name_a_topic", "every name"), ("built_in_topics", "built-in")):
        of = result["accuracy"][name]
        for part, says in (("all", "all"), ("asked_towards", "asked"), ("asked_where_fates_differ", "fates differ")):
            row = of[part]
            lines.append(
                f"| {words}, {says} | {row['companies']:,} | {row['by_text']:.3f} | {row['as_stored']:.3f} "
                f"| {row['better']} | {row['worse']} |"
            )
    streams = ", ".join(
        f"{of['texts_with_several']:.1%} and {of['passes_more']:.1%} in {stream}"
        for stream, of in result["streams"].items()
    )
    parts = "Texts that name several companies, and the further passes that they take, as parts of all texts"
    lines += ["", f"{parts}: {streams}."]
    if replay := result["replay"]:
        lines.append(
            f"A replay of {replay['stories']:,} stories of {replay['stream']}, with {replay['passes_more']:.1%} passes "
            f"more, took {1 / replay['with_over_without']:.2f} times the processor's time of one without."
        )
    return "\n".join(lines)


def _of_critical(result: dict[str, Any]) -> str:
    lines = ["| feed | days | critical stories | in 28 days | read | worth a message |", "|---|---|---|---|---|---|"]
    for feed, of in result["feeds"].items():
        share = f"{of['worth_a_message']} ({of['precision']:.0%})" if of["read"] else "-"
        lines.append(
            f"| {feed} | {of['days']} | {of['fired']} | {of['in_28_days']:.1f} | {of['read'] or '-'} | {share} |"
        )
    live = result["live_seconds"]
    return "\n".join(lines) + (
        f"\n\nFrom a story's line to the post: median {live['median']:.1f} s, at most {live['largest']:.1f} s, of "
        f"{live['stories']} stories; the first, with the start of the process and of the encoder, "
        f"{live['first_with_start_of_process_and_encoder']:.0f} s."
    )


def _of_new_names(result: dict[str, Any]) -> str:
    lines = [
        "| made feed | feeds | days | fired | first 60 days, over the budget | later, over the budget | stored, kB |",
        "|---|---|---|---|---|---|---|",
    ]
    for of in result["made"]:
        over = f"{of['first_60_days']:.2f} | {of['later']:.2f} | {of['stored_bytes'] / 1000:.0f}"
        lines.append(f"| {of['kind']} | {of['seeds']} | {of['days']} | {of['fired']} | {over} |")
    lines += [
        "",
        "| real feed | stories | weeks | new names | a week | read | events |",
        "|---|---|---|---|---|---|---|",
    ]
    for of in result["real"]:
        read = of.get("read")
        share = f"{read['true']} ({read['true'] / read['read']:.0%})" if read else "-"
        counts = f"{of['stories']:,} | {of['weeks']} | {of['fired']} | {of['a_week']:.2f}"
        lines.append(f"| {of['feed']} | {counts} | {read['read'] if read else '-'} | {share} |")
    return "\n".join(lines) + "\n\nThe budget of names is 0.1 a week."


def _of_judged(result: dict[str, Any]) -> str:
    def said(counts: dict[str, int]) -> str:
        return ", ".join(f"{counts.get(name, 0)} {name}" for name in ("true", "routine", "chance"))

    detectors, critical = result["of_detectors"], result["critical_stories"]
    return (
        f"The first {len(result['alerts'])} alerts of {result['feed']}, of {result['weeks']:.0f} weeks under a budget "
        f"of {result['budget']}, were judged {said(result['verdicts'])}: {sum(detectors.values())} of detectors "
        f"{said(detectors)}, and {sum(critical.values())} critical stories {said(critical)}."
    )


SHOWN_CRISES = ("explosive", "smouldering", "sparse", "sudden")


def _of_surges(result: dict[str, Any]) -> str:
    """False bad news over the budget, and the crises noticed, of each kind of feed and of all (the mean: each kind has
    as many days and crises)."""
    lines = [f"| feed | false bad news | {' | '.join(SHOWN_CRISES)} |", "|---|---|" + "---|" * len(SHOWN_CRISES)]
    for kind, feeds in [*((feed["kind"], [feed]) for feed in result["feeds"]), ("all", result["feeds"])]:
        false = np.mean([feed["false_bad_news_over_budget"] for feed in feeds])
        cells = [
            " / ".join(f"{_noticed(feeds, crisis, when):.0f}" for when in ("within_60_min", "within_180_min", "at_all"))
            + " %"
            for crisis in SHOWN_CRISES
        ]
        lines.append(f"| {kind} | {false:.2f} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _noticed(feeds: list[dict[str, Any]], crisis: str, when: str) -> float:
    """Percentage of a kind of crises that were noticed so early. The files have shares in two digits, of few crises."""
    found = [feed["noticed"]["Foreshock"][crisis] for feed in feeds]
    return 100 * sum(round(one[when] * one["of"]) for one in found) / sum(one["of"] for one in found)


def _of_the_budget(result: dict[str, Any]) -> str:
    """README's figures of the budget: false bad news over it, and the share of crises noticed, in made feeds."""
    feeds = result["feeds"]
    false = [feed["false_bad_news_over_budget"] for feed in feeds]
    return (
        f"In {len(feeds)} kinds of made feeds, alerts of bad news fired falsely {min(false):.2f} to {max(false):.2f} "
        f"times as often as the budget allows. {_noticed(feeds, 'explosive', 'within_180_min'):.0f} % of the explosive "
        f"crises were noticed within 3 hours, and {_noticed(feeds, 'smouldering', 'at_all'):.0f} % of those that "
        "smoulder for days were noticed at all ([surges.json](benchmarks/results/surges.json), "
        "[how it was measured](docs/measurements.md#surges)).\n"
    )


def _of_incidents(result: dict[str, Any]) -> str:
    rows: dict[str, list[str]] = defaultdict(list)
    sets = {name: result[name] for name in ("development", "held_out") if name in result}
    for one in sets.values():
        crises, pairs, shocks = one["sector_crises"], one["two_crises_on_a_day"], one["shared_shocks"]
        rows["Sector crises that are one incident | 95 %"].append(
            f"{crises['incidents_by_crisis'].get('1', 0)} of {crises['noticed']} noticed ({crises['crises']} planted)"
        )
        rows["Alerts per sector crisis |"].append(f"{crises['alerts_per_crisis']:.1f}")
        rows["Announcements per sector crisis (of its topics) | 1"].append(
            f"{crises['announcements_per_crisis']:.1f} ({crises['announcements_of_its_topics_per_crisis']:.1f})"
        )
        for kind, name in (("one_theme", "one theme"), ("two_themes", "two themes")):
            found = pairs[kind]
            rows[f"Pairs of crises of {name} that stay two | 95 %"].append(
                f"{found['stay_two']} of {found['both_noticed']} of which both were noticed ({found['pairs']} planted)"
            )
        for what in ("notifications", "alerts"):
            name = "incidents" if what == "notifications" else "alerts"
            aim = "0.5 to 1.1" if what == "notifications" else ""
            rows[f"Shared shocks: {name} over the budget | {aim}"].append(
                f"{shocks[f'{what}_over_budget']:.2f} ({shocks[what]} of {shocks['allowed']:.0f} allowed)"
            )
    lines = [f"| | aim | {' | '.join(name.replace('_', ' ') for name in sets)} |", "|---" * (2 + len(sets)) + "|"]
    lines += [f"| {name} | {' | '.join(values)} |".replace("|  |", "| |") for name, values in rows.items()]
    null = " and ".join(f"{len(one['seeds']['null'])} ({name.replace('_', ' ')})" for name, one in sets.items())
    return "\n".join(lines) + f"\n\nFeeds without changes: {null}."


def _of_robustness(result: dict[str, Any]) -> str:
    weights = result["weights"]
    lines = [
        f"| change | bound | {' | '.join(f'`{name}`' for name in weights)} | texts |",
        "|---" * (3 + len(weights)) + "|",
    ]
    for change, first in next(iter(weights.values())).items():
        turns = change in {"flipped", "negated"}
        shares = " | ".join(
            f"{100 * of[change]['changed']:.1f} %" + ("" if of[change]["kept"] else " (out of bounds)")
            for of in weights.values()
        )
        bound = f"{'at least' if turns else 'at most'} {100 * first['bound']:.0f} %"
        lines.append(
            f"| {change} | {bound} | {shares} | {' / '.join(str(of[change]['n']) for of in weights.values())} |"
        )
    return "\n".join(lines) + "\n\nShare of labels that change"


def _of_pretraining() -> str:
    """What held-out texts are like before and after the pretraining that the shipped weights start from."""
    file = ROOT / "model" / "runs" / "pretrained.json"
    if not file.exists():
        return ""
    record = json.loads(file.read_text())
    lines = ["| on held-out texts | before | after |", "|---|---|---|"]
    for key in ("alignment", "uniformity", "flip_probe"):
        before, after = (record["held_out"][when][key] for when in ("before", "after"))
        lines.append(f"| {key.replace('_', ' ')} | {before:.3f} | {after:.3f} |")
    return (
        "\n".join(lines) + f"\n\n{record['steps']:,} steps of {record['settings']['batch']} texts, "
        f"{record['data']['texts']:,} texts to draw from, {record['data']['held_out']:,} held out "
        f"([pretrained.json](../model/runs/pretrained.json): `{record['command']}`)\n"
    )


def generated() -> dict[tuple[str, str], str]:
    """(kind, name) -> what stands between the markers."""
    blocks = {("options", name): options_of(command) for name, command in commands()}
    blocks.update({("settings", name): settings_of(name, model) for name, model in sections()})
    blocks.update({("figure", name): text for name, text in figures()})
    blocks["figure", "commands"] = f"{list_of_commands()}\n"
    return blocks


def blocks_in(page: Path) -> dict[tuple[str, str], str]:
    return {(kind, name): body for kind, name, body in _MARKED.findall(page.read_text())}


GENERATED = generated()
WRITE = "run python tests/test_docs.py"


@pytest.mark.parametrize("name", [name for kind, name in GENERATED if kind == "options"])
def test_every_command_is_documented_with_its_options(name: str) -> None:
    text = COMMANDS.read_text()
    assert f"## foreshock {name}\n" in text, f"docs/commands.md has no section for {name}"
    assert blocks_in(COMMANDS).get(("options", name)) == GENERATED["options", name], WRITE


def test_no_command_is_documented_that_does_not_exist() -> None:
    headings = re.findall(r"^## foreshock (.+)$", COMMANDS.read_text(), re.M)
    assert headings == [name for names in panels().values() for name in names], "sections are in the order of the list"


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    assert f"Example: foreshock {name}" in " ".join(re.sub(r"[│\s]+", " ", capsys.readouterr().out).split())


def test_a_paragraph_of_the_help_is_one_line_which_the_terminal_wraps() -> None:
    assert [name for name, command in commands() if re.search(r"[^\n]\n[^\s*-]", command.help)] == []


@pytest.mark.parametrize("name", [name for kind, name in GENERATED if kind == "settings"])
def test_every_setting_is_documented(name: str) -> None:
    assert blocks_in(SETTINGS).get(("settings", name)) == GENERATED["settings", name], WRITE


def test_every_setting_says_what_it_is_for() -> None:
    silent = [
        f"{section}.{field}"
        for section, model in sections()
        for field in keys(model)
        if field not in field_docstrings(model) and (section, field) != ("topics", "name")
    ]
    assert not silent


@pytest.mark.parametrize("page", FIGURED, ids=lambda page: page.name)
def test_every_figure_is_the_one_that_was_measured(page: Path) -> None:
    shown = {name: body for (kind, name), body in blocks_in(page).items() if kind == "figure"}
    assert shown
    assert shown == {name: GENERATED["figure", name] for name in shown}, WRITE


def table_section(name: str) -> str:
    found = re.search(rf"^### {name}\n(.*?)(?=^##|\Z)", (DOCS / "store.md").read_text(), re.M | re.S)
    assert found, f"docs/store.md has no section for the table {name}"
    return found[1]


def first_cells(section: str) -> set[str]:
    """The names in backquotes in the first column of a section's tables."""
    return {name for row in re.findall(r"^\| (`[^|]*) \|", section, re.M) for name in re.findall(r"`([^`]+)`", row)}


@pytest.mark.parametrize("table", schema.metadata.sorted_tables, ids=lambda table: table.name)
def test_every_column_is_documented_and_no_other(table: Any) -> None:
    assert first_cells(table_section(table.name)) == {column.name for column in table.columns}


def test_every_table_of_a_store_is_named(tmp_path: Path) -> None:
    from sqlalchemy import inspect as look_at

    from foreshock.monitor.store.database import connect

    engine = connect(f"sqlite:///{tmp_path / 'new.db'}", create=True)
    text = (DOCS / "store.md").read_text()
    assert [
        name for name in look_at(engine).get_table_names() if not re.search(rf"`{name}`|^### {name}$", text, re.M)
    ] == []
    engine.dispose()


def test_the_queries_in_the_docs_run(desk: Path) -> None:
    import sqlite3

    assert main(["replay", "news.jsonl"]) == 0
    with sqlite3.connect(desk / "foreshock.db") as connection:
        for query in re.findall(r"^```sql\n(.*?)^```", (DOCS / "store.md").read_text(), re.M | re.S):
            assert connection.execute(query).description


def test_every_index_is_documented_with_its_reason() -> None:
    text = (DOCS / "store.md").read_text().partition("## Indexes and why")[2]
    indexes = {index.name for table in schema.metadata.sorted_tables for index in table.indexes}
    assert {name for name in indexes if f"`{name}`" not in text} == set()


def test_what_the_promise_of_equal_rows_leaves_out_is_listed() -> None:
    text = (DOCS / "store.md").read_text().partition("## Equal rows")[2].partition("\n## ")[0]
    assert {name for name in schema.HAPPENED_TO_US if f"`{name}`" not in text} == set()


def test_every_field_of_an_alert_is_documented() -> None:
    row: dict[str, Any] = dict.fromkeys([column.name for column in schema.alerts.columns], 0)
    section = (DOCS / "alerts.md").read_text().partition("## Fields")[2].partition("Each story in")[0]
    assert first_cells(section) >= set(alert_json({**row, "evidence": "[]"}))


def test_the_alert_in_the_readme_is_one_of_today() -> None:
    row: dict[str, Any] = dict.fromkeys([column.name for column in schema.alerts.columns], 0)
    block = blocks_in(README)["figure", "alert"]
    shown = json.loads(re.search(r"^```json\n(.*?)^```", block, re.M | re.S)[1])  # type: ignore[index]
    assert list(shown) == list(alert_json({**row, "evidence": "[]"}))


def test_every_reason_of_a_dead_letter_is_documented() -> None:
    section = (DOCS / "feeds.md").read_text().partition("## Dead letters")[2].partition("```")[0]
    assert first_cells(section) == set(REASONS)


def test_the_symbols_of_detection_have_the_names_that_the_code_has() -> None:
    section = (DOCS / "detection.md").read_text().partition("## Symbols")[2].partition("\n## ")[0]
    rows = [row.strip("|").split(" | ") for row in re.findall(r"^\|.*\|$", section, re.M)[2:]]
    assert len(rows) > 20
    unknown = [
        (name, file)
        for *_, names, files in rows
        for file in re.findall(r"\]\(([^)]+)\)", files)
        for name in re.findall(r"`(\w+)`", names)
        if not re.search(rf"\b{name}\b", (DOCS / file).read_text())
    ]
    assert not unknown


def test_the_arrays_of_a_topic_hold_what_the_docs_say() -> None:
    def size(capacity: int) -> int:
        parts = State(DetectionRules(bucket=300_000_000, stall_after=3_600_000_000), capacity).parts().values()
        return sum(getattr(part, name).nbytes for part in parts for name in part.ARRAYS)

    kilobytes = (size(2048) - size(1024)) / 1024 / 1000
    cost = (DOCS / "detection.md").read_text().partition("## Cost")[2]
    assert f"The arrays hold {kilobytes:.0f} kB a topic." in cost
    (most,) = re.findall(r"takes about (\d+) kB", cost)
    assert kilobytes < int(most)
    for page in (SETTINGS, DOCS / "security.md"):
        assert f"about {most} kB" in page.read_text()


def test_every_file_that_contributing_names_exists() -> None:
    """Also those that are named without a link; NAME stands for a new file."""
    named = re.findall(r"`([\w/]+(?:/|\.py|\.md|\.json))`", (ROOT / "CONTRIBUTING.md").read_text())
    assert named
    assert [name for name in named if "NAME" not in name and not (ROOT / name).exists()] == []


def test_every_metric_is_documented_and_no_other() -> None:
    from prometheus_client import REGISTRY

    import foreshock.observability.metrics  # noqa: F401 - registers them

    found = (family for family in REGISTRY.collect() if family.name.startswith("foreshock_"))
    names = {family.name + ("_total" if family.type == "counter" else "") for family in found}
    text = (DOCS / "metrics.md").read_text().partition("\n## What to watch")[0]
    assert {name for name in first_cells(text) if name.startswith("foreshock_")} == names


def test_every_column_of_a_series_is_documented() -> None:
    section = COMMANDS.read_text().partition("## foreshock series\n")[2].partition("\n## ")[0]
    assert set(SERIES) - first_cells(section) == set()


def test_every_exit_code_is_documented() -> None:
    from foreshock.cli import errors

    section = COMMANDS.read_text().partition("## Exit codes")[2]
    assert first_cells(section) == {"0", "130", str(errors.FAILED), str(errors.USAGE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page if not path else page.parent / path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def shell_lines(page: Path) -> list[str]:
    """The commands of the page's console blocks, those that a person types: lines that begin with `$ `."""
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(), re.M | re.S)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_scorer: Any) -> Path:
    """A folder with a small feed that README's commands can run on, and the quick scorer in the encoder's place."""
    import foreshock.model.scorer

    feed = [
        {
            "id": f"s{number}",
            "title": f"Oil and Target shares fall for the {number}th day",
            "published_at": 1_714_500_000 + 600 * number,
            "source": "abc"[number % 3],
        }
        for number in range(200)
    ]
    (tmp_path / "news.jsonl").write_text("".join(json.dumps(story) + "\n" for story in feed))
    rows = [f"{story['title']},{story['published_at']},TGT" for story in feed]
    (tmp_path / "news.csv").write_text("\n".join(["Headline,Date,Stock", *rows]) + "\n")
    monkeypatch.setattr(foreshock.model.scorer, "load_scorer", lambda *_args, **_kwargs: quick_scorer())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_of_the_readme_run(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    ran = 0
    for line in shell_lines(README):
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            assert words[1] in targets
        elif words[0] == "foreshock" and words[1] not in {"demo", "run", "dashboard"}:
            command, _, target = line.partition(" > ")
            assert main(shlex.split(command, comments=True)[1:]) == 0, line + capsys.readouterr().err
            if target:
                (desk / target.strip()).write_text(capsys.readouterr().out)
            ran += 1
        else:
            assert words[0] in {"foreshock", "git", "cd", "pip", "."}, line
    assert ran >= 5


@pytest.mark.parametrize("page", [README, DOCS / "store.md"], ids=lambda page: page.name)
def test_the_python_in_the_docs_runs(desk: Path, page: Path) -> None:
    assert main(["replay", "news.jsonl"]) == 0
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    assert blocks
    for block in blocks:
        if "load_scorer" not in block:
            exec(compile(block, page.name, "exec"), {})


@pytest.mark.slow
def test_the_scorer_of_the_readme_scores() -> None:
    (block,) = re.findall(r"^```python\n((?:(?!^```).)*load_scorer.*?)^```", README.read_text(), re.M | re.S)
    lines = block.strip().splitlines()
    names: dict[str, Any] = {}
    exec("\n".join([*lines[:-1], f"scores = {lines[-1]}"]), names)
    assert names["scores"].shape == (1, 3)
    assert names["scores"][0, 0] > 0.5


def test_the_examples_in_the_docs_name_commands_that_exist() -> None:
    known = {name for name, _ in commands()}
    unknown = []
    for page in PAGES:
        for line in shell_lines(page):
            words = line.split()
            if words[0] == "foreshock" and not ({" ".join(words[1:2]), " ".join(words[1:3])} & known):
                unknown.append(f"{page.name}: {line}")
    assert not unknown


def test_the_settings_in_the_docs_are_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "watchlist.csv").write_text("name,names\nAcme,Acme\n")
    (tmp_path / "wire.jsonl").touch()
    (tmp_path / "webhook-secrets.txt").write_text("whsec_" + "A" * 32 + "\n")
    (tmp_path / "finbert").mkdir()
    (tmp_path / "finbert" / "config.json").write_text('{"id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}}')
    for name in ("tokenizer.json", "model.safetensors"):
        (tmp_path / "finbert" / name).touch()
    (tmp_path / "headers.txt").write_text("X-Desk: 1\n")
    (tmp_path / "pagerduty-key.txt").write_text("k" * 32 + "\n")
    for name in ("PAGERDUTY_KEY", "OPSGENIE_KEY", "GATEWAY_TOKEN", "TICKETS_TOKEN"):
        monkeypatch.setenv(name, "k" * 32)
    for page in PAGES:
        for number, block in enumerate(re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.M | re.S)):
            file = tmp_path / f"{page.stem}-{number}.toml"
            file.write_text(block)
            assert main(["config", "check", "--config", str(file)]) == 0, block


def test_no_machine_paths_in_what_is_published() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "README.md", "CHANGELOG.md", "docs"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    pages = [ROOT / name for name in tracked if name.endswith(".md")] or PAGES
    assert [page.name for page in pages if page.exists() and re.search(r"/work/|/home/|/root/", page.read_text())] == []


def write() -> None:
    """Put what follows from the code between the markers; a command or section without a place gets one."""
    for kind, page, before in (("options", COMMANDS, "## Exit codes\n"), ("settings", SETTINGS, None)):
        text = page.read_text()
        for (of, name), _ in GENERATED.items():
            if kind == of and f"<!-- {kind}: {name} -->" not in text:
                text = with_section(text, kind, name, before)
        page.write_text(text)
    for page in (COMMANDS, SETTINGS, *FIGURED):
        text = page.read_text()
        page.write_text(_MARKED.sub(lambda m: f"<!-- {m[1]}: {m[2]} -->\n{GENERATED[m[1], m[2]]}<!-- end -->\n", text))


def with_section(text: str, kind: str, name: str, before: str | None) -> str:
    marked = f"<!-- {kind}: {name} -->\n<!-- end -->\n"
    if kind == "options":
        helped = inspect.cleandoc(dict(commands())[name].help or "")
        section = f"## foreshock {name}\n\n{helped}\n\n{marked}\n"
    else:
        section = f"## {f'[[{name}]]' if name in LISTS else f'[{name}]'}\n\n{marked}"
    return text.replace(before, section + before) if before else f"{text.rstrip()}\n\n{section}"


if __name__ == "__main__":
    write()
